/** One application of the matrix: what it needs, how its version is told, and what is done with it. */
import { Skip } from '../helpers/tally.js';
import { type Program, run, which } from '../preload/run.js';
import type { Member, World } from './world.js';

export { Skip };

/** Debian's, whatever else of that name comes first in PATH. */
export const PYTHON = '/usr/bin/python3';

/** unbound and Redis tell their whole build in one line. */
const VERSION_LEN = 100;

export interface App {
  readonly name: string;
  /** Programs that must be installed, with the package that has each. */
  readonly needs: Readonly<Record<string, string>>;
  /** Commands that print versions, one line of each is kept. */
  readonly versions: readonly (readonly string[])[];
  /** Part of the subset that `npm test` runs. */
  readonly core?: boolean;
  /** Needs a door for datagrams, which the service has with the addon only. */
  readonly datagrams?: boolean;
  /** @returns what was done, with its figures. */
  run(world: World): Promise<string>;
}

export function expect(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message);
}

/** Runs `body` while `server`, whose output explains a failure, answers at a port of `on`. */
export async function serving<T>(
  world: World,
  on: Member,
  port: number,
  server: Program,
  body: () => Promise<T>,
): Promise<T> {
  const from = on === world.a ? world.b : world.a;
  try {
    await world.reachable(from, on.ip, port, server);
    return await body();
  } catch (e) {
    throw new Error(`${(e as Error).message}\nserver said: ${server.output().slice(-2_000)}`);
  } finally {
    await server.stop();
  }
}

/** Standard output of a program that must succeed. */
export async function output(
  on: Member,
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  cwd?: string,
): Promise<string> {
  const done = await on.run(command, args, env, cwd);
  expect(
    done.code === 0,
    `${command} ${args.join(' ')}: exit ${done.code ?? done.signal}: ${(done.stderr + done.stdout).slice(-1_500)}`,
  );
  return done.stdout;
}

/** Throws Skip unless all programs are there. */
export async function require(needs: App['needs']): Promise<void> {
  for (const [program, debian] of Object.entries(needs))
    if ((await which(program)) === undefined)
      throw new Skip(`${program} is not installed (Debian package ${debian})`);
}

/** Of each command the first line with a version, or at least a number. */
export async function versionText(app: App): Promise<string> {
  const out: string[] = [];
  for (const [command, ...args] of app.versions) {
    const done = await run(command!, args);
    const lines = `${done.stdout}\n${done.stderr}`.split('\n');
    const line = lines.find((l) => /\d\.\d/.test(l)) ?? lines.find((l) => /\d/.test(l));
    out.push((line ?? 'unknown').trim().slice(0, VERSION_LEN));
  }
  return out.join('; ');
}
