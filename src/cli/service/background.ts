/**
 * `-d` [4 section 14]: starts the service as a detached child and waits until it answers, so that a
 * script can go on with the next command; a failed start is reported like one in the foreground.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { fstatSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';

/** How long the parent waits for the service, and how often it looks, in ms. */
const WAIT_MS = 10_000;
const POLL_MS = 20;

/**
 * Whether the child may keep our standard error. Not if it is a pipe: whoever reads it to its end
 * would wait for the service's.
 */
function keepsStderr(): boolean {
  try {
    const s = fstatSync(2);
    return !s.isFIFO() && !s.isSocket();
  } catch {
    return false;
  }
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect({ host: '127.0.0.1', port }, () => {
      socket.destroy();
      done(true);
    });
    socket.on('error', () => done(false));
  });
}

function content(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Whether the child holds the home and its control port takes connections. */
async function answers(child: ChildProcess, home: string): Promise<boolean> {
  if (content(join(home, 'zerotier-one.pid')).trim() !== String(child.pid)) return false;
  const port = Number(content(join(home, 'zerotier-one.port')));
  return port > 0 && (await canConnect(port));
}

/** @param args the words for the child, without `-d`. @returns the exit code of the parent. */
export async function startInBackground(
  program: string,
  args: readonly string[],
  home: string,
): Promise<number> {
  const child = spawn(process.execPath, [program, ...args], {
    detached: true,
    stdio: ['ignore', 'ignore', keepsStderr() ? 'inherit' : 'pipe'],
  });
  let errors = '';
  child.stderr?.on('data', (d: Buffer) => {
    errors += d.toString();
  });
  let exitCode: number | undefined;
  child.on('close', (code) => {
    exitCode = code ?? 1;
  });
  child.on('error', (e) => {
    errors += `${e.message}\n`;
    exitCode = 1;
  });
  const deadline = Date.now() + WAIT_MS;
  while (Date.now() < deadline && exitCode === undefined) {
    if (await answers(child, resolve(home))) {
      release(child);
      return 0;
    }
    await new Promise((r) => setTimeout(r, POLL_MS));
  }
  process.stderr.write(errors);
  if (exitCode !== undefined) return exitCode;
  process.stderr.write(
    `the service did not answer within ${WAIT_MS / 1000} s; it goes on as pid ${child.pid}\n`,
  );
  release(child);
  return 1;
}

function release(child: ChildProcess): void {
  child.stderr?.destroy();
  child.unref();
}
