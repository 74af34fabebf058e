#!/usr/bin/env node
/** The service program [4 section 3]: command line, start, signals, end. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { errorText, stderrLog } from './host/log.js';
import { Service } from './host/service.js';
import { startApi } from './http/api.js';

const DEFAULT_HOME = '/var/lib/zerotier-one';
const DAEMON_WAIT_MS = 10_000;
const DAEMON_POLL_MS = 20;
const FORCED_END_MS = 5_000;
/** Set in the child of `-d`, which reports its start on descriptor 3. */
const CHILD_MARK = 'NETCON_SERVICE_CHILD';

const USAGE = `netcon service: ZeroTier networks for programs, without root and without a network device
usage: zerotier-sdk-service [switches] [home folder]

  -d            run in the background; returns when the service answers
  -p<port>      UDP and control port (default 9993, 0 = random)
  -U            accepted for compatibility (root is never needed)
  -v            version
  -h            this help

The home folder is the argument, else the environment variable ZEROTIER_HOME, else
${DEFAULT_HOME}. Networks are joined with zerotier-cli -D<home> join <network id>.
`;

interface CommandLine {
  readonly daemon: boolean;
  readonly port: number | undefined;
  readonly home: string;
}

/** Prints and ends: exit code as the reference's [4 section 3]. */
class Usage extends Error {
  readonly exitCode: number;
  readonly text: string;

  constructor(exitCode: number, text = USAGE) {
    super(text);
    this.exitCode = exitCode;
    this.text = text;
  }
}

function parse(args: readonly string[]): CommandLine {
  let daemon = false;
  let port: number | undefined;
  const words: string[] = [];
  for (const a of args) {
    if (a === '-' || !a.startsWith('-')) words.push(a);
    else if (a === '-d') daemon = true;
    else if (a === '-U') continue;
    else if (a.startsWith('-v')) throw new Usage(0, '1.14.1\n');
    else if (a.startsWith('-p')) port = parsePort(a.slice(2));
    else throw new Usage(0);
  }
  if (words.length > 1) throw new Usage(0);
  const home = words[0] ?? process.env['ZEROTIER_HOME'] ?? DEFAULT_HOME;
  return { daemon, port, home };
}

function parsePort(text: string): number {
  const port = Number(/^[0-9]*/.exec(text)![0]);
  if (port > 65_535) throw new Usage(1);
  return port;
}

async function run(c: CommandLine): Promise<void> {
  const log = stderrLog(process.env['NETCON_LOG'] === 'info');
  const service = await Service.start({ home: c.home, port: c.port, log });
  let api: Awaited<ReturnType<typeof startApi>>;
  try {
    api = await startApi(service);
  } catch (e) {
    await service.stop();
    throw e;
  }
  const end = (): void => {
    const forced = setTimeout(() => process.exit(1), FORCED_END_MS);
    forced.unref();
    api
      .close()
      .then(() => service.stop())
      .then(
        () => process.exit(0),
        (e: unknown) => {
          process.stderr.write(`${errorText(e)}\n`);
          process.exit(1);
        },
      );
  };
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const) process.on(signal, end);
  for (const signal of ['SIGHUP', 'SIGPIPE', 'SIGIO', 'SIGUSR2'] as const)
    process.on(signal, () => undefined);
  if (process.env[CHILD_MARK] !== undefined) process.disconnect?.();
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

/** `-d`: a detached child; the parent returns when it answers, or repeats why it does not. */
async function runInBackground(c: CommandLine): Promise<number> {
  const args = process.argv.slice(2).filter((a) => a !== '-d');
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), ...args], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, [CHILD_MARK]: '1' },
  });
  let errors = '';
  child.stderr.on('data', (d: Buffer) => {
    errors += d.toString();
  });
  let exitCode: number | undefined;
  child.on('exit', (code) => {
    exitCode = code ?? 1;
  });
  const home = resolve(c.home);
  const deadline = Date.now() + DAEMON_WAIT_MS;
  while (Date.now() < deadline && exitCode === undefined) {
    await new Promise((r) => setTimeout(r, DAEMON_POLL_MS));
    const pidFile = join(home, 'zerotier-one.pid');
    const portFile = join(home, 'zerotier-one.port');
    if (!existsSync(pidFile) || !existsSync(portFile)) continue;
    if (readFileSync(pidFile, 'utf8').trim() !== String(child.pid)) continue;
    if (await canConnect(Number(readFileSync(portFile, 'utf8')))) {
      child.stderr.destroy();
      child.unref();
      return 0;
    }
  }
  process.stderr.write(errors);
  if (exitCode !== undefined) return exitCode;
  process.stderr.write(
    `the service did not answer within ${DAEMON_WAIT_MS / 1000} s; it goes on as pid ${child.pid}\n`,
  );
  child.unref();
  return 1;
}

try {
  const c = parse(process.argv.slice(2));
  if (c.daemon) process.exit(await runInBackground(c));
  await run(c);
} catch (e) {
  if (e instanceof Usage) {
    process.stdout.write(e.text);
    process.exit(e.exitCode);
  }
  const name = basename(process.argv[1] ?? 'zerotier-sdk-service');
  const code = (e as { code?: string }).code;
  process.stderr.write(
    code === 'ERR_LOCAL_CONF' ? `ERROR: ${errorText(e)}\n` : `${name}: ${errorText(e)}\n`,
  );
  process.exit(1);
}
