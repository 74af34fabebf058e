/**
 * Servers whose processes replace one another: nginx's binary upgrade, and programs that get a
 * connection as standard input and output, with the library in them and without.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { OWN_ADDRESS } from './harness.js';
import { type Context, need, type ProgramTest } from './programs.js';
import { expect, run, start, until } from './run.js';

const UPGRADE_PORT = 8050;
const INETD_PORT = 8051;

/* A master that is no daemon takes USR2 for a mistake. */
const NGINX = (folder: string): string => `
daemon on;
user root root;
worker_processes 2;
pid ${folder}/pid;
error_log ${folder}/error.log;
env LD_PRELOAD; env ZT_NC_NETWORK;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi; uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi;
  server { listen ${UPGRADE_PORT}; return 200 "virtual\\n"; }
}
`;

async function ask(context: Context, port: number): Promise<string> {
  const url = `http://${OWN_ADDRESS}:${port}/`;
  const done = await run(await need('curl'), ['-sS', '--max-time', '20', url], context.env);
  expect(done.code === 0, `curl ended with ${done.code}: ${done.stderr}`);
  return done.stdout;
}

function pidIn(file: string): number | undefined {
  const text = fs.existsSync(file) ? fs.readFileSync(file, 'utf8').trim() : '';
  return text === '' ? undefined : Number(text);
}

function isAlive(pid: number): boolean {
  return fs.existsSync(`/proc/${pid}`) && !/\) [ZX] /.test(statOf(pid));
}

function statOf(pid: number): string {
  try {
    return fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch (e) {
    if (['ENOENT', 'ESRCH'].includes((e as NodeJS.ErrnoException).code ?? '')) return ') X ';
    throw e;
  }
}

async function quit(pid: number | undefined): Promise<void> {
  if (pid === undefined || !isAlive(pid)) return;
  process.kill(pid, 'SIGQUIT');
  await until(`the end of ${pid}`, () => !isAlive(pid));
}

/** USR2 starts the new master, which inherits the listener; QUIT ends the old one. */
async function upgrade(context: Context): Promise<void> {
  const { folder } = context;
  const nginx = await need('nginx');
  const config = path.join(folder, 'nginx.conf');
  fs.writeFileSync(config, NGINX(folder));
  const args = ['-c', config, '-e', path.join(folder, 'error.log')];
  const files = { now: path.join(folder, 'pid'), before: path.join(folder, 'pid.oldbin') };
  let old: number | undefined;
  let successor: number | undefined;
  try {
    const started = await run(nginx, args, context.env);
    expect(started.code === 0, started.stderr);
    await until('the first master', () => {
      old = pidIn(files.now);
      return old !== undefined;
    });
    expect((await ask(context, UPGRADE_PORT)) === 'virtual\n', 'before');
    process.kill(old!, 'SIGUSR2');
    await until('the new master', () => {
      successor = pidIn(files.before) === old ? pidIn(files.now) : undefined;
      return successor !== undefined;
    });
    for (let i = 0; i < 10; i++) expect((await ask(context, UPGRADE_PORT)) === 'virtual\n', 'both');
    await quit(old);
    for (let i = 0; i < 10; i++) expect((await ask(context, UPGRADE_PORT)) === 'virtual\n', 'new');
    expect(isAlive(successor!), 'the new master ended');
  } finally {
    await quit(old);
    await quit(successor);
  }
  const log = fs.readFileSync(path.join(folder, 'error.log'), 'utf8');
  expect(!/\[(alert|emerg|crit)\]/.test(log), log);
}

/** Serves two connections, one by a program with the library and one by a program without. */
const INETD = `
import os, socket, sys
server = socket.socket(); server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(('0.0.0.0', ${INETD_PORT})); server.listen()
for environment in (os.environ, {}):
    connection, _ = server.accept()
    if os.fork() == 0:
        for number in (0, 1): os.dup2(connection.fileno(), number)
        os.closerange(3, 256)
        os.execve(sys.executable, [sys.executable, '-c', sys.argv[1]], dict(environment))
    connection.close()
    os.wait()
`;

/** Reads a line from its connection and answers with it and what it knows of the peer. */
const INETD_PROGRAM = `
import socket, sys
own = socket.socket(fileno=0)
peer = own.getpeername()[0] if own.family == socket.AF_INET else own.family.name
print(sys.stdin.readline().strip().upper(), peer, flush=True)
`;

const INETD_CLIENT = `
import socket
for n in range(2):
    with socket.create_connection(('${OWN_ADDRESS}', ${INETD_PORT}), 20) as s:
        s.sendall(b'hello\\n'); s.shutdown(socket.SHUT_WR)
        text = b''
        while part := s.recv(100): text += part
        print(text.decode(), end='')
`;

async function inetd(context: Context): Promise<void> {
  const python = await need('python3');
  const server = start(python, ['-c', INETD, INETD_PROGRAM], context.env);
  try {
    await until('the listener', () => context.harness.door.view.counters().listeners === 1);
    const done = await run(python, ['-c', INETD_CLIENT], context.env);
    const wanted = `HELLO ${OWN_ADDRESS}\nHELLO AF_UNIX\n`;
    expect(done.stdout === wanted, done.stdout + done.stderr + server.output());
  } finally {
    await server.stop();
  }
}

export const PROCESS_LIFE: readonly ProgramTest[] = [
  { name: 'nginx: a new binary takes over the listener, the old master ends', run: upgrade },
  { name: 'a connection as standard input and output, with and without the library', run: inetd },
];
