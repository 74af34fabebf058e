/** `netcon run`: starts a program on a virtual network [5 section 12]. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { networkIdText, parseNetworkId } from '../wire/address.js';
import { CommandError, launcherProgram, preloadLibrary, UsageError } from './args.js';
import { requireDoor } from './door.js';
import { findProgram, preloadObstacle } from './executable.js';

export const RUN_USAGE = `usage: netcon run -n NETWORK [-D HOME] [OPTIONS] [--] COMMAND...
       netcon run HOME/nc_NETWORK [OPTIONS] [--] COMMAND...

Runs COMMAND with its sockets on the virtual network NETWORK (16 hex digits; all = every network
that is joined) of the service whose home folder is HOME (default: the environment variable
ZEROTIER_HOME, else /var/lib/zerotier-one). Exit code and signals pass through. Options of netcon
come before COMMAND: the first word that is none begins it.

  --wait SECONDS
             wait for HOME/nc_NETWORK to appear, and for the service at the first socket
             (0 to 3600, default 3)
  --fallthrough none|loopback|full
             also reach the host where nothing virtual answers: its loopback, or everything; within
             what the service grants (settings.netcon.fallthrough in its local.conf; default none)
  --debug 0|1|2|3
             trace on standard error: errors; control calls too; slow paths of data calls too
  --seccomp  also for programs that a preloaded library cannot reach (static, Go, system calls of
             their own): a supervisor answers their socket calls. Linux 5.19 or newer; no root
             needed. Exit code 125: that could not be set up
`;

const FALLTHROUGHS = ['none', 'loopback', 'full'];
const MAX_WAIT_S = 3600;
/** As shells have it. */
const EXIT_NOT_FOUND = 127;
const EXIT_NOT_EXECUTABLE = 126;
const DEFAULT_HOME = '/var/lib/zerotier-one';
const FORWARDED = ['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH', 'SIGCONT'] as const;
/** These reach the whole foreground group when a terminal sends them. */
const FROM_TERMINAL = ['SIGINT', 'SIGQUIT'] as const;

export interface ProgramEnvironment {
  readonly LD_PRELOAD: string;
  readonly ZT_NC_NETWORK: string;
  readonly [name: string]: string;
}

/** Environment that puts a program on a network. `door` = absolute `HOME/nc_<nwid>`. */
export function programEnvironment(door: string): ProgramEnvironment {
  const inherited = process.env['LD_PRELOAD'];
  const library = preloadLibrary();
  return {
    LD_PRELOAD: inherited === undefined || inherited === '' ? library : `${library}:${inherited}`,
    ZT_NC_NETWORK: door,
  };
}

const TAKES_VALUE: ReadonlySet<string> = new Set([
  '-n',
  '--network',
  '-D',
  '--home',
  '--wait',
  '--fallthrough',
  '--debug',
]);
/** HOME/nc_NETWORK, as ZT_NC_NETWORK has it. */
const DOOR = /^(?:(.*)\/)?nc_([0-9a-f]{16}|all)$/i;

interface RunLine {
  readonly options: readonly string[];
  readonly door: { readonly home: string; readonly network: string } | undefined;
  readonly command: readonly string[];
}

/** Options end at --, or at the first word that is neither one nor HOME/nc_NETWORK. */
function splitLine(args: readonly string[]): RunLine {
  const options: string[] = [];
  let door: RunLine['door'];
  let at = 0;
  while (at < args.length && args[at] !== '--') {
    const word = args[at]!;
    const named = door === undefined ? DOOR.exec(word) : null;
    if (word.startsWith('-')) {
      const count = TAKES_VALUE.has(word) ? 2 : 1;
      options.push(...args.slice(at, at + count));
      at += count;
    } else if (named !== null) {
      door = { home: named[1] === undefined ? '.' : named[1] || '/', network: named[2]! };
      at++;
    } else {
      break;
    }
  }
  return { options, door, command: args.slice(args[at] === '--' ? at + 1 : at) };
}

/** @returns the exit code of the program; ends this process by the program's signal if it had one. */
export async function runCommand(args: readonly string[]): Promise<number> {
  const { options, door: named, command } = splitLine(args);
  const { values } = parseArgs({
    args: [...options],
    options: {
      network: { type: 'string', short: 'n' },
      home: { type: 'string', short: 'D' },
      wait: { type: 'string', default: '3' },
      fallthrough: { type: 'string' },
      debug: { type: 'string' },
      seccomp: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(RUN_USAGE);
    return 0;
  }
  if (named !== undefined && (values.network !== undefined || values.home !== undefined))
    throw new UsageError(`HOME/nc_NETWORK says it all: leave out -n and -D\n${RUN_USAGE}`);
  const wanted = named?.network ?? values.network;
  if (wanted === undefined)
    throw new UsageError(`-n NETWORK, or HOME/nc_NETWORK, is missing\n${RUN_USAGE}`);
  const network = wanted === 'all' ? 'all' : networkText(wanted);
  if (network === undefined)
    throw new UsageError(
      `-n ${wanted}: not a network id of 16 hex digits, nor "all"\n${RUN_USAGE}`,
    );
  if (command.length === 0) throw new UsageError(`there is no command to run\n${RUN_USAGE}`);
  if (!/^[0-9]{1,4}$/.test(values.wait) || Number(values.wait) > MAX_WAIT_S)
    throw new UsageError(
      `--wait ${values.wait}: not a whole number of seconds from 0 to ${MAX_WAIT_S}\n${RUN_USAGE}`,
    );
  if (values.fallthrough !== undefined && !FALLTHROUGHS.includes(values.fallthrough))
    throw new UsageError(
      `--fallthrough ${values.fallthrough}: must be none, loopback or full\n${RUN_USAGE}`,
    );
  if (values.debug !== undefined && !/^[0-3]$/.test(values.debug))
    throw new UsageError(`--debug ${values.debug}: must be 0, 1, 2 or 3\n${RUN_USAGE}`);
  if (!values.seccomp) requirePreloadable(command[0]!);
  const home = resolve(named?.home ?? values.home ?? process.env['ZEROTIER_HOME'] ?? DEFAULT_HOME);
  const door = `${home}/nc_${network}`;
  await requireDoor(door, network, Number(values.wait));
  const env = {
    ...process.env,
    ZT_NC_WAIT: values.wait,
    ...(values.fallthrough === undefined ? {} : { ZT_NC_FALLTHROUGH: values.fallthrough }),
    ...(values.debug === undefined ? {} : { ZT_NC_DEBUG: values.debug }),
  };
  return values.seccomp
    ? supervise([launcherProgram(), '--', ...command], { ...env, ZT_NC_NETWORK: door })
    : supervise(command, { ...env, ...programEnvironment(door) });
}

function networkText(text: string | undefined): string | undefined {
  const nwid = text === undefined ? undefined : parseNetworkId(text);
  return nwid === undefined ? undefined : networkIdText(nwid);
}

/** @throws CommandError for a program that would use the host's network in spite of the library. */
function requirePreloadable(command: string): void {
  const file = findProgram(command);
  const obstacle = file === undefined ? undefined : preloadObstacle(file);
  if (obstacle !== undefined)
    throw new CommandError(
      `${obstacle}: a preloaded library cannot reach it and it would use the host's network; try netcon run --seccomp`,
    );
}

function supervise(command: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const [file, ...rest] = command;
  const isTerminal = process.stdin.isTTY === true;
  // Before the program starts: a signal of its first moments must not end this process.
  for (const s of FORWARDED) process.on(s, () => child.kill(s));
  for (const s of FROM_TERMINAL) {
    process.on(s, () => {
      if (!isTerminal) child.kill(s);
    });
  }
  const child = spawn(file!, rest, { stdio: 'inherit', env });
  return new Promise((done) => {
    child.on('error', (e: NodeJS.ErrnoException) => {
      const isMissing = e.code === 'ENOENT';
      process.stderr.write(`netcon: ${file}: ${isMissing ? 'command not found' : e.message}\n`);
      done(isMissing ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
    });
    child.on('exit', (code, signal) => {
      if (signal === null) return done(code ?? 1);
      for (const s of [...FORWARDED, ...FROM_TERMINAL]) process.removeAllListeners(s);
      process.kill(process.pid, signal);
      // Signals that do not end this process become the shell's 128 + n.
      setTimeout(() => done(128 + constants.signals[signal]), 100);
    });
  });
}
