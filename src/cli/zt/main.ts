/** `zerotier-cli`: from words to an exit code [4 section 4]. */
import { type Context, EXIT_OK, EXIT_USAGE, printRefusal, request } from './answers.js';
import { parseCommandLine } from './args.js';
import { bond, listBonds } from './bonds.js';
import { dump } from './dump.js';
import { findService, NotFoundError } from './find.js';
import { deorbit, listMoons, orbit } from './moons.js';
import { get, join, leave, listNetworks, set } from './networks.js';
import { info, listPeers, peers } from './peers.js';
import { CLI_USAGE, err, out } from './print.js';

const VERSION = '1.14.1';

type Command = (c: Context) => Promise<number>;

const COMMANDS: ReadonlyMap<string, Command> = new Map<string, Command>([
  ['info', info],
  ['status', info],
  ['listpeers', listPeers],
  ['peers', peers],
  ['listnetworks', listNetworks],
  ['listmoons', listMoons],
  ['join', join],
  ['leave', leave],
  ['orbit', orbit],
  ['deorbit', deorbit],
  ['set', set],
  ['get', get],
  ['bond', bond],
  ['listbonds', listBonds],
  ['dump', dump],
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
