/**
 * One instance per home [4 section 14]: the holder listens on `HOME/netcon.lock`, and answers a
 * connection with its pid. A socket file that nobody listens on is stale and replaced - by one process
 * at a time, which makes `<path>.takeover` meanwhile: a second one would else remove the first's new
 * socket and both would hold the home.
 */
import { closeSync, openSync, rmSync, statSync } from 'node:fs';
import { createConnection, createServer, type Server } from 'node:net';

export class HomeInUseError extends Error {
  readonly code = 'ERR_HOME_IN_USE';
}

export interface HomeLock {
  release(): Promise<void>;
}

const ANSWER_MS = 2_000;
/** How often another's takeover is waited for, in ms, and for how long at most. */
const TAKEOVER_POLL_MS = 20;
const TAKEOVER_LIFE_MS = 5_000;

function listen(path: string): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.end(`${process.pid}\n`);
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      server.unref();
      resolve(server);
    });
  });
}

/** Pid of the holder; undefined when nobody listens. */
function holder(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = '';
    const socket = createConnection(path);
    socket.setTimeout(ANSWER_MS, () => socket.destroy());
    socket.on('data', (d) => {
      text += d.toString();
    });
    socket.on('error', (e: NodeJS.ErrnoException) =>
      resolve(e.code === 'ECONNREFUSED' || e.code === 'ENOENT' ? undefined : '?'),
    );
    socket.on('close', () => resolve(text.trim() || '?'));
  });
}

/** Makes the takeover file; one left behind by a process that died counts for 5 s. */
async function beginTakeover(file: string): Promise<void> {
  for (;;) {
    try {
      closeSync(openSync(file, 'wx', 0o600));
      return;
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code !== 'EEXIST') throw e;
    }
    const made = statSync(file, { throwIfNoEntry: false })?.mtimeMs;
    if (made !== undefined && Math.abs(Date.now() - made) > TAKEOVER_LIFE_MS)
      rmSync(file, { force: true });
    else await new Promise((resolve) => setTimeout(resolve, TAKEOVER_POLL_MS));
  }
}

/** Replaces a stale socket. @throws HomeInUseError when somebody listens after all. */
async function takeOver(path: string, home: string): Promise<Server> {
  const file = `${path}.takeover`;
  await beginTakeover(file);
  try {
    const pid = await holder(path);
    if (pid !== undefined) throw new HomeInUseError(`${home} is in use by pid ${pid}`);
    rmSync(path, { force: true });
    return await listen(path);
  } finally {
    rmSync(file, { force: true });
  }
}

/** @throws HomeInUseError, or the reason why the socket can not be made. */
export async function lockHome(path: string, home: string): Promise<HomeLock> {
  let server: Server;
  try {
    server = await listen(path);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw e;
    const pid = await holder(path);
    if (pid !== undefined) throw new HomeInUseError(`${home} is in use by pid ${pid}`);
    server = await takeOver(path, home);
  }
  return { release: () => new Promise((resolve) => server.close(() => resolve())) };
}
