/** `zerotier-cli`: from words to an exit code [4 section 4]. */
import { type Context, EXIT_OK, EXIT_USAGE, printRefusal, request } from './answers.js';
import { parseCommandLine } from './args.js';
import { findService, NotFoundError } from './find.js';
import { CLI_USAGE, err, out } from './print.js';

const VERSION = '1.14.1';

type Command = (c: Context) => Promise<number>;

/** Each group of commands is a file of its own, loaded when one of them is used. */
const bonds = () => import('./bonds.js');
const dump = () => import('./dump.js');
const moons = () => import('./moons.js');
const networks = () => import('./networks.js');
const peers = () => import('./peers.js');

const COMMANDS: ReadonlyMap<string, Command> = new Map<string, Command>([
  ['info', async (c) => (await peers()).info(c)],
  ['status', async (c) => (await peers()).info(c)],
  ['listpeers', async (c) => (await peers()).listPeers(c)],
  ['peers', async (c) => (await peers()).peers(c)],
  ['listnetworks', async (c) => (await networks()).listNetworks(c)],
  ['listmoons', async (c) => (await moons()).listMoons(c)],
  ['join', async (c) => (await networks()).join(c)],
  ['leave', async (c) => (await networks()).leave(c)],
  ['orbit', async (c) => (await moons()).orbit(c)],
  ['deorbit', async (c) => (await moons()).deorbit(c)],
  ['set', async (c) => (await networks()).set(c)],
  ['get', async (c) => (await networks()).get(c)],
  ['bond', async (c) => (await bonds()).bond(c)],
  ['listbonds', async (c) => (await bonds()).listBonds(c)],
  ['dump', async (c) => (await dump()).dump(c)],
]);

/** `/path`: the body as it came; `-j` makes no difference. */
async function rawPath(c: Context): Promise<number> {
  const answer = await request(c, 'GET', c.words[0]!);
  if (answer.status !== 200) return printRefusal(c.words[0]!, answer);
  out(answer.body);
  return EXIT_OK;
}

/**
 * Runs one command line.
 * @param name the program's name in messages.
 * @returns the exit code [4 section 4.9].
 */
export async function cliMain(
  name: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<number> {
  const line = parseCommandLine(args);
  if (line.kind === 'usage') {
    out(CLI_USAGE);
    return line.exitCode;
  }
  if (line.kind === 'version') {
    out(`${VERSION}\n`);
    return EXIT_OK;
  }
  let service: Context['service'];
  try {
    service = findService(line.switches, env);
  } catch (e) {
    if (!(e instanceof NotFoundError)) throw e;
    err(`${name}: ${e.message}\n`);
    return EXIT_USAGE;
  }
  const { words } = line;
  const word = words[0] ?? '';
  const c: Context = {
    service,
    json: line.switches.json,
    words,
    arg1: words[1] ?? '',
    arg2: words.length > 2 ? words.at(-1)! : '',
  };
  const command = word.startsWith('/') ? rawPath : COMMANDS.get(word);
  if (command !== undefined) return command(c);
  err(CLI_USAGE);
  return EXIT_OK;
}
