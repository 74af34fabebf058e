/**
 * Running programs of a test: output collected, time limited, nothing left behind.
 *
 * Processes are started in a group of their own and ended by that group's id.
 */
import { type ChildProcess, spawn } from 'node:child_process';

/** Longest a program of these tests may take, ms. */
const LIMIT_MS = 60_000;

/** A test that cannot run here throws this with the reason. */
export class Skip extends Error {}

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Program {
  readonly child: ChildProcess;
  readonly finished: Promise<Finished>;
  /** What it has printed so far. */
  output(): string;
  stop(): Promise<Finished>;
}

function endGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, signal);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== 'ESRCH') throw e;
  }
}

/** Starts a program; `env` is added to the environment, and `limitMs` ends it at the latest. */
export function start(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  cwd?: string,
  limitMs: number = LIMIT_MS,
): Program {
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    ...(cwd === undefined ? {} : { cwd }),
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const limit = setTimeout(() => endGroup(child, 'SIGKILL'), limitMs);
  const finished = new Promise<Finished>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      clearTimeout(limit);
      resolve({ code, signal, stdout, stderr });
    });
  });
  return {
    child,
    finished,
    output: () => stdout + stderr,
    async stop() {
      endGroup(child, 'SIGTERM');
      const hard = setTimeout(() => endGroup(child, 'SIGKILL'), 3000);
      const result = await finished;
      clearTimeout(hard);
      return result;
    },
  };
}

/** Runs a program to its end. */
export function run(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  cwd?: string,
  limitMs?: number,
): Promise<Finished> {
  return start(command, args, env, cwd, limitMs).finished;
}

/** Waits until `condition` holds. @throws Error naming `what` after ten seconds. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export function expect(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}

/** Path of an installed program, or undefined. */
export async function which(name: string): Promise<string | undefined> {
  const found = await run('/bin/sh', ['-c', `command -v ${name}`]);
  return found.code === 0 ? found.stdout.trim() : undefined;
}
