#!/usr/bin/env node
/** The friendly front: `netcon demo | run | planet | doctor`. */
import { CommandError, UsageError } from './cli/args.js';
import { demoCommand } from './cli/demo.js';
import { doctorCommand } from './cli/doctor.js';
import { planetCommand } from './cli/planet.js';
import { runCommand } from './cli/run.js';
import { NETCON_VERSION } from './host/version.js';

const USAGE = `netcon ${NETCON_VERSION}: unmodified Linux programs on ZeroTier networks, without root
usage: netcon COMMAND [options]      (netcon COMMAND --help tells more)

  demo     a private universe on this machine: root, controller, two members, a web server
  run      run a program on a network: netcon run -n NETWORK -D HOME -- COMMAND...
  planet   make a signed planet file for roots of your own
  doctor   check the installation and a running service
`;

const COMMANDS: Readonly<Record<string, (args: readonly string[]) => number | Promise<number>>> = {
  demo: demoCommand,
  run: runCommand,
  planet: planetCommand,
  doctor: doctorCommand,
};

async function main(args: readonly string[]): Promise<number> {
  const [name = '', ...rest] = args;
  if (name === '' || name === '-h' || name === '--help' || name === 'help') {
    process.stdout.write(USAGE);
    return name === '' ? 2 : 0;
  }
  if (name === '-v' || name === '--version') {
    process.stdout.write(`${NETCON_VERSION}\n`);
    return 0;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) throw new UsageError(`unknown command "${name}"\n${USAGE}`);
  return command(rest);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (e) {
  const isUsage =
    e instanceof UsageError || (e as { code?: string }).code?.startsWith('ERR_PARSE_ARGS') === true;
  process.stderr.write(`netcon: ${e instanceof Error ? e.message : String(e)}\n`);
  if (isUsage && !(e instanceof UsageError))
    process.stderr.write('netcon COMMAND --help shows the options of a command\n');
  if (!isUsage && !(e instanceof CommandError) && process.env['NETCON_LOG'] === 'info')
    console.error(e);
  process.exitCode = isUsage ? 2 : 1;
}
