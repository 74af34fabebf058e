/**
 * Real programs under the preload, each as server and client of the same virtual network.
 *
 * A program that is not installed is skipped with its name. Every program runs with a port,
 * folder and configuration of the test's own.
 */
import { createHash, randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { Harness } from './harness.js';
import { OWN_ADDRESS } from './harness.js';
import { expect, type Program, run, Skip, start, until, which } from './run.js';

export interface Context {
  readonly harness: Harness;
  /** Environment that puts a program on the virtual network. */
  readonly env: NodeJS.ProcessEnv;
  /** Folder of the running test. */
  readonly folder: string;
  readonly root: string;
}

export interface ProgramTest {
  readonly name: string;
  run(context: Context): Promise<void>;
}

/** Path of an installed program. @throws Skip */
export async function need(name: string): Promise<string> {
  const found = await which(name);
  if (found === undefined) throw new Skip(`${name} is not installed`);
  return found;
}

/** Runs `body` while `server` listens (one more listener than before). */
async function serving(
  context: Context,
  server: () => Program,
  body: (server: Program) => Promise<void>,
): Promise<void> {
  const before = context.harness.door.view.counters().listeners;
  const program = server();
  let ended = false;
  void program.finished.then(() => {
    ended = true;
  });
  try {
    await until(`a listener of ${program.child.spawnargs.join(' ')}`, () => {
      if (ended) throw new Error(`the server ended: ${program.output()}`);
      return context.harness.door.view.counters().listeners > before;
    });
    await body(program);
  } catch (e) {
    throw new Error(`${(e as Error).message}\nserver said: ${program.output()}`);
  } finally {
    await program.stop();
  }
}

async function curl(context: Context, ...args: string[]): Promise<string> {
  const tool = await need('curl');
  const done = await run(tool, ['-sS', '--max-time', '30', ...args], context.env);
  expect(done.code === 0, `curl ended with ${done.code}: ${done.stderr}`);
  return done.stdout;
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

const url = (port: number, rest = '/') => `http://${OWN_ADDRESS}:${port}${rest}`;

async function pythonServer(context: Context): Promise<void> {
  const python = await need('python3');
  const bytes = randomBytes(20 << 20);
  fs.writeFileSync(path.join(context.folder, 'big.bin'), bytes);
  const args = ['-m', 'http.server', '8001', '--bind', '0.0.0.0'];
  await serving(
    context,
    () => start(python, args, context.env, context.folder),
    async () => {
      const listing = await curl(context, url(8001));
      expect(listing.includes('big.bin'), `listing: ${listing}`);
      const copy = path.join(context.folder, 'copy.bin');
      await curl(context, '-o', copy, url(8001, '/big.bin'));
      expect(sha256(fs.readFileSync(copy)) === sha256(bytes), 'the copy differs');
    },
  );
}

async function nodeServer(context: Context): Promise<void> {
  const example = path.join(context.root, 'examples/httpserver.js');
  await serving(
    context,
    () => start(process.execPath, [example, '8002'], context.env),
    async () => {
      const answer = await curl(context, url(8002, '/path'));
      expect(answer.includes(OWN_ADDRESS) && answer.includes('GET /path'), answer);
      const client = `fetch('${url(8002)}').then((r) => r.text()).then((t) => console.log(t))`;
      const done = await run(process.execPath, ['-e', client], context.env);
      expect(done.stdout.includes(`hello from ::ffff:${OWN_ADDRESS}`), done.stdout + done.stderr);
    },
  );
}

async function stubServer(context: Context): Promise<void> {
  const gcc = await need('gcc');
  const program = path.join(context.folder, 'httpstub');
  const source = path.join(context.root, 'examples/httpstub.c');
  const built = await run(gcc, ['-Wall', '-Wextra', '-Werror', '-o', program, source]);
  expect(built.code === 0, built.stderr);
  await serving(
    context,
    () => start(program, ['8003'], context.env),
    async () => {
      for (let i = 0; i < 20; i++) {
        const answer = await curl(context, url(8003));
        expect(answer === `hello ${OWN_ADDRESS}\n`, answer);
      }
    },
  );
}

const NGINX = (folder: string, user: string) => `
${user}
daemon off;
worker_processes 2;
pid ${folder}/pid;
error_log ${folder}/error.log;
env LD_PRELOAD; env ZT_NC_NETWORK;
events { worker_connections 256; }
http {
  access_log off;
  sendfile on; tcp_nopush on;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi; uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi;
  upstream inner { server 127.0.0.1:8005; keepalive 4; }
  server { listen 8004 reuseport; listen [::]:8004 ipv6only=on; root ${folder}/www;
    location /inner/ { proxy_pass http://inner/; proxy_http_version 1.1; proxy_set_header Connection ""; } }
  server { listen 8005 deferred; root ${folder}/www; }
}
`;

async function nginx(context: Context): Promise<void> {
  const tool = await need('nginx');
  const www = path.join(context.folder, 'www');
  const bytes = randomBytes(3 << 20);
  fs.chmodSync(context.folder, 0o755);
  fs.mkdirSync(www, { mode: 0o755 });
  fs.writeFileSync(path.join(www, 'big.bin'), bytes, { mode: 0o644 });
  fs.writeFileSync(path.join(www, 'index.html'), 'virtual nginx\n', { mode: 0o644 });
  const config = path.join(context.folder, 'nginx.conf');
  const user =
    process.getuid?.() === 0 && process.env['NETCON_MAPPED_ROOT'] !== '1'
      ? 'user nobody nogroup;'
      : 'user root root;';
  fs.writeFileSync(config, NGINX(context.folder, user));
  await serving(
    context,
    () => start(tool, ['-c', config, '-e', `${context.folder}/error.log`], context.env),
    async (server) => {
      await until(
        'both nginx listeners',
        () => context.harness.door.view.counters().listeners >= 3,
      );
      expect((await curl(context, url(8004))) === 'virtual nginx\n', 'index');
      const copy = path.join(context.folder, 'copy.bin');
      for (const where of ['/big.bin', '/inner/big.bin']) {
        await curl(context, '-o', copy, url(8004, where));
        expect(sha256(fs.readFileSync(copy)) === sha256(bytes), `${where} differs`);
      }
      process.kill(server.child.pid!, 'SIGHUP');
      for (let i = 0; i < 50; i++) {
        expect((await curl(context, url(8004))) === 'virtual nginx\n', 'during reload');
      }
    },
  );
}

async function lighttpd(context: Context): Promise<void> {
  const tool = await need('lighttpd');
  fs.writeFileSync(path.join(context.folder, 'index.html'), 'virtual lighttpd\n');
  const config = path.join(context.folder, 'lighttpd.conf');
  fs.writeFileSync(
    config,
    `server.document-root = "${context.folder}"\nserver.port = 8006\nserver.bind = "0.0.0.0"\n` +
      'index-file.names = ( "index.html" )\n',
  );
  await serving(
    context,
    () => start(tool, ['-D', '-f', config], context.env),
    async () => {
      for (let i = 0; i < 10; i++) {
        expect((await curl(context, url(8006))) === 'virtual lighttpd\n', 'index');
      }
    },
  );
}

async function redis(context: Context): Promise<void> {
  const server = await need('redis-server');
  const cli = await need('redis-cli');
  const args = ['--bind', '0.0.0.0', '--port', '8007', '--protected-mode', 'no', '--save', ''];
  await serving(
    context,
    () => start(server, [...args, '--dir', context.folder], context.env),
    async () => {
      const ask = (...words: string[]) =>
        run(cli, ['-h', OWN_ADDRESS, '-p', '8007', ...words], context.env);
      expect((await ask('set', 'k', 'virtual')).stdout === 'OK\n', 'set');
      expect((await ask('get', 'k')).stdout === 'virtual\n', 'get');
      const bench = await run(
        'redis-benchmark',
        ['-h', OWN_ADDRESS, '-p', '8007', '-q', '-n', '5000', '-c', '50', '-t', 'set,get'],
        context.env,
      );
      expect(/GET: [\d.]+ requests/.test(bench.stdout), bench.stdout + bench.stderr);
    },
  );
}

async function iperf(context: Context): Promise<void> {
  const tool = await need('iperf3');
  await serving(
    context,
    () => start(tool, ['-s', '-4', '-p', '8008', '-1'], context.env),
    async () => {
      const args = ['-c', OWN_ADDRESS, '-p', '8008', '-t', '1', '-J'];
      const done = await run(tool, args, context.env);
      const report = JSON.parse(done.stdout) as { end?: { sum_received?: { bytes: number } } };
      expect((report.end?.sum_received?.bytes ?? 0) > 1 << 20, done.stdout);
    },
  );
}

async function manyConnections(context: Context): Promise<void> {
  const tool = await need('ab');
  const example = path.join(context.root, 'examples/httpserver.js');
  await serving(
    context,
    () => start(process.execPath, [example, '8009'], context.env),
    async () => {
      const done = await run(tool, ['-n', '2000', '-c', '50', url(8009)], context.env);
      expect(/Complete requests:\s+2000/.test(done.stdout), done.stdout + done.stderr);
      expect(/Failed requests:\s+0/.test(done.stdout), done.stdout);
    },
  );
}

const ASYNCIO = `
import asyncio, hashlib, os
async def serve(r, w):
    data = await r.read()
    w.write(hashlib.sha256(data).hexdigest().encode()); await w.drain(); w.close()
async def ask(i, port):
    data = os.urandom(1000 * i)
    r, w = await asyncio.open_connection('${OWN_ADDRESS}', port)
    w.write(data); w.write_eof()
    answer = await r.read(); w.close()
    return answer.decode() == hashlib.sha256(data).hexdigest()
async def main():
    server = await asyncio.start_server(serve, '0.0.0.0', 8010)
    results = await asyncio.gather(*[ask(i, 8010) for i in range(200)])
    print(sum(results))
    server.close()
asyncio.run(main())
`;

async function asyncio(context: Context): Promise<void> {
  const python = await need('python3');
  const done = await run(python, ['-c', ASYNCIO], context.env);
  expect(done.stdout.trim() === '200', done.stdout + done.stderr);
}

const CLUSTER = `
import cluster from 'node:cluster';
import http from 'node:http';
if (cluster.isPrimary) {
  for (let i = 0; i < 2; i++) cluster.fork();
} else {
  http.createServer((q, r) => r.end('worker')).listen(8011);
}
`;

async function nodeCluster(context: Context): Promise<void> {
  const file = path.join(context.folder, 'cluster.mjs');
  fs.writeFileSync(file, CLUSTER);
  for (const policy of ['rr', 'none']) {
    await serving(
      context,
      () => start(process.execPath, [file], { ...context.env, NODE_CLUSTER_SCHED_POLICY: policy }),
      async () => {
        for (let i = 0; i < 10; i++) expect((await curl(context, url(8011))) === 'worker', policy);
      },
    );
  }
}

export const PROGRAMS: readonly ProgramTest[] = [
  { name: 'python http.server and curl, 20 MiB with equal SHA-256', run: pythonServer },
  { name: 'python asyncio: 200 connections at once, half-closed by the client', run: asyncio },
  { name: 'node http server, curl and fetch', run: nodeServer },
  { name: 'node cluster, both ways of sharing a listener', run: nodeCluster },
  { name: 'httpstub in C', run: stubServer },
  { name: 'nginx: workers of another user, reuseport, upstream, reload', run: nginx },
  { name: 'lighttpd', run: lighttpd },
  { name: 'redis server, client and benchmark', run: redis },
  { name: 'iperf3', run: iperf },
  { name: 'ab: 2000 connections to node', run: manyConnections },
];
