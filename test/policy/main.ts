/**
 * What a preloaded program reaches beside its network, and how one program uses several networks
 * [5 section 12], with real programs and a real host: `node build/test/policy/main.js`. Runs in a
 * network namespace of its own, whose "host" has loopback and one more address. Last line:
 * `policy: N passed, N failed, N skipped`.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Member, SERVER_LIMIT_MS, World, within } from '../apps/world.js';
import { readOptions } from '../helpers/args.js';
import { packageFile, runProgram } from '../helpers/service.js';
import { Skip, Tally } from '../helpers/tally.js';
import { type Program, run, start } from '../preload/run.js';
import { needLauncher } from './launcher.js';
import { checkNetworks } from './networks.js';

const USAGE = `usage: node build/test/policy/main.js [options]

What a preloaded program reaches beside its network, and programs on several networks, in a network
namespace of its own.

  --help   this

Last line: policy: N passed, N failed, N skipped
`;

readOptions('policy', USAGE, {});

const INSIDE = 'NETCON_POLICY_INSIDE';
const OUTSIDE = '198.18.7.1';
const DENIED = '198.18.8.1';
const PORT = 9400;
/** curl: could not connect. */
const CURL_REFUSED = 7;
const tally = new Tally('policy');

function enterNamespace(): never {
  const flags = process.getuid?.() === 0 ? ['-n'] : ['-rn'];
  const inner = [process.execPath, fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  const script = `ip link set lo up && ip addr add ${OUTSIDE}/32 dev lo && ip addr add ${DENIED}/32 dev lo && exec "$@"`;
  const done = spawnSync('unshare', [...flags, '--', '/bin/sh', '-c', script, 'sh', ...inner], {
    stdio: 'inherit',
    env: { ...process.env, [INSIDE]: '1' },
  });
  process.exit(done.status ?? 1);
}

interface Stage {
  readonly world: World;
  /** Members that are granted nothing, loopback, and everything but DENIED. */
  readonly none: Member;
  readonly loopback: Member;
  readonly full: Member;
  readonly folder: string;
  readonly bytes: Buffer;
}

const url = (ip: string, file = 'file'): string =>
  `http://${ip.includes(':') ? `[${ip}]` : ip}:${PORT}/${file}`;

/** Exit code of curl, and whether it got the host's file whole. */
async function fetched(
  s: Stage,
  on: Member,
  wanted: string | undefined,
  ip: string,
): Promise<{ code: number | null; isWhole: boolean }> {
  const out = path.join(s.folder, 'got');
  fs.rmSync(out, { force: true });
  const env = wanted === undefined ? {} : { ZT_NC_FALLTHROUGH: wanted };
  const args = ['-sS', '--max-time', '20', '-o', out, url(ip)];
  const done = await on.run('curl', args, env);
  const isWhole = fs.existsSync(out) && s.bytes.equals(fs.readFileSync(out));
  return { code: done.code, isWhole };
}

async function isolated(s: Stage): Promise<void> {
  for (const ip of ['127.0.0.1', '::1', OUTSIDE])
    for (const on of [s.none, s.loopback, s.full])
      assert.deepEqual(await fetched(s, on, undefined, ip), { code: CURL_REFUSED, isWhole: false });
  for (const ip of ['127.0.0.1', OUTSIDE])
    assert.equal((await fetched(s, s.none, 'full', ip)).code, CURL_REFUSED);
}

async function loopback(s: Stage): Promise<void> {
  for (const ip of ['127.0.0.1', '::1']) {
    assert.deepEqual(await fetched(s, s.loopback, 'loopback', ip), { code: 0, isWhole: true });
    assert.deepEqual(await fetched(s, s.loopback, 'full', ip), { code: 0, isWhole: true });
  }
  assert.equal((await fetched(s, s.loopback, 'full', OUTSIDE)).code, CURL_REFUSED);
}

async function virtualFirst(s: Stage): Promise<void> {
  const dir = path.join(s.folder, 'virtual');
  fs.mkdirSync(dir);
  fs.writeFileSync(path.join(dir, 'which'), 'virtual\n');
  const server = s.loopback.start('python3', ['-m', 'http.server', String(PORT)], {}, dir);
  try {
    await s.world.reachable(s.full, s.loopback.ip, PORT, server);
    const env = { ZT_NC_FALLTHROUGH: 'loopback' };
    const done = await s.loopback.run('curl', ['-sS', '-m', '20', url('127.0.0.1', 'which')], env);
    assert.equal(done.stdout, 'virtual\n', done.stderr);
  } finally {
    await server.stop();
  }
}

async function full(s: Stage): Promise<void> {
  for (const ip of ['127.0.0.1', OUTSIDE])
    assert.deepEqual(await fetched(s, s.full, 'full', ip), { code: 0, isWhole: true });
  assert.equal((await fetched(s, s.full, 'full', DENIED)).code, CURL_REFUSED, 'denied');
  assert.equal((await fetched(s, s.full, 'loopback', OUTSIDE)).code, CURL_REFUSED, 'not asked for');
}

const NAMES = `
import socket, sys
s = socket.create_connection((sys.argv[1], ${PORT}), 10)
print(*s.getpeername(), s.getsockname()[0])
s.sendall(b'GET /file HTTP/1.0\\r\\n\\r\\n'); s.shutdown(socket.SHUT_WR)
n = 0
while True:
    d = s.recv(65536)
    if not d: break
    n += len(d)
print(n > ${1 << 20})
t = socket.socket()
try: t.connect((sys.argv[1], 9))
except OSError as e: print(e.errno)
`;
const ECONNREFUSED = 111;

async function socketCalls(s: Stage): Promise<void> {
  const env = { ZT_NC_FALLTHROUGH: 'full' };
  const done = await s.full.run('python3', ['-c', NAMES, OUTSIDE], env);
  assert.equal(done.stdout, `${OUTSIDE} ${PORT} ${OUTSIDE}\nTrue\n${ECONNREFUSED}\n`, done.stderr);
}

async function commandLine(s: Stage): Promise<void> {
  const args = (...more: string[]): string[] => [
    ...[packageFile('dist/netcon.js'), 'run', '-D', s.loopback.service.home],
    ...['-n', s.world.nwid, ...more, '--', 'curl', '-sS', '-m', '20', '-o', '/dev/null'],
  ];
  const ask = async (...more: string[]) =>
    runProgram(process.execPath, [...args(...more), url('127.0.0.1')]);
  assert.equal((await ask('--fallthrough', 'loopback')).code, 0);
  assert.equal((await ask()).code, CURL_REFUSED);
  const wrong = await ask('--fallthrough', 'everything');
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /must be none, loopback or full/);
  const traced = await ask('--debug', '2');
  assert.match(traced.stderr, /ztnc\[\d+\.\d+\] connect\(\d+, [0-9a-f]{8}, 127\.0\.0\.1:9400\) = /);
}

/** ZT_NC_DEBUG=1 names what stands in the way: of an echo request, no grant does. */
async function noRouteLines(s: Stage): Promise<void> {
  if (!s.full.hasDatagrams)
    throw new Skip('the service has no door for datagrams (is the addon built?)');
  const dial = `import socket, sys
try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, int(sys.argv[2])).connect((sys.argv[1], 9))
except OSError: pass
`;
  const said = async (ip: string, protocol: number, wanted: string): Promise<string> => {
    const run = [packageFile('dist/netcon.js'), 'run', '-D', s.full.service.home];
    const options = ['-n', s.world.nwid, '--fallthrough', wanted, '--debug', '1', '--'];
    const program = ['python3', '-c', dial, ip, String(protocol)];
    return (await runProgram(process.execPath, [...run, ...options, ...program])).stderr;
  };
  const [icmp, udp] = [1, 17];
  assert.match(
    await said(OUTSIDE, icmp, 'full'),
    /; echo requests \(ping\) never leave the network$/m,
  );
  assert.match(
    await said(DENIED, udp, 'full'),
    /, nor of the host, as far as fallthrough in .* grants it$/m,
  );
  assert.match(
    await said(OUTSIDE, udp, 'loopback'),
    /; ZT_NC_FALLTHROUGH asks for .* loopback alone$/m,
  );
  assert.equal(await said(OUTSIDE, udp, 'full'), '');
}

/** Writes the grant of a member whose service runs, and waits until `ip` can be reached, or not. */
async function regrant(s: Stage, on: Member, netcon: object, ip: string, code: number) {
  const conf = JSON.stringify({ settings: { netcon } });
  fs.writeFileSync(path.join(on.service.home, 'local.conf'), conf);
  await within(`a changed grant, by ${ip}`, 30_000, async () =>
    (await fetched(s, on, 'full', ip)).code === code ? true : undefined,
  );
}

/** Where networks are allowed no others are reached, and denied parts of them neither. */
async function allowed(s: Stage): Promise<void> {
  const both = { fallthroughAllow: [`${OUTSIDE}/32`], fallthroughDeny: [`${DENIED}/24`] };
  const lists = { fallthrough: 'full', fallthroughAllow: [`${OUTSIDE}/20`, `${DENIED}/32`] };
  await regrant(s, s.full, { fallthrough: 'full', ...both }, '127.0.0.1', CURL_REFUSED);
  assert.deepEqual(await fetched(s, s.full, 'full', OUTSIDE), { code: 0, isWhole: true });
  assert.equal((await fetched(s, s.full, 'full', DENIED)).code, CURL_REFUSED, 'denied');
  await regrant(s, s.full, lists, DENIED, 0);
  assert.deepEqual(await fetched(s, s.full, 'full', OUTSIDE), { code: 0, isWhole: true });
  assert.equal((await fetched(s, s.full, 'full', '127.0.0.1')).code, CURL_REFUSED, 'not allowed');
  const loopbackOnly = { fallthrough: 'full', fallthroughAllow: ['127.0.0.1'] };
  await regrant(s, s.full, loopbackOnly, DENIED, CURL_REFUSED);
  assert.equal((await fetched(s, s.full, 'full', '127.0.0.1')).code, 0);
  await regrant(s, s.full, FULL, OUTSIDE, 0);
}

/** Under the launcher a program gets the same as under the preload library. */
async function underLauncher(s: Stage): Promise<void> {
  needLauncher(s.full);
  const out = path.join(s.folder, 'launched');
  const get = (on: Member, ip: string, ...more: string[]) =>
    runProgram(process.execPath, [
      ...[packageFile('dist/netcon.js'), 'run', '--seccomp', '-D', on.service.home],
      ...['-n', s.world.nwid, ...more, '--', 'curl', '-sS', '-m', '20', '-o', out, url(ip)],
    ]);
  for (const ip of ['127.0.0.1', OUTSIDE]) {
    const done = await get(s.full, ip, '--fallthrough', 'full');
    assert.equal(done.code, 0, done.stderr);
    assert.ok(s.bytes.equals(fs.readFileSync(out)));
    fs.rmSync(out);
  }
  assert.equal((await get(s.full, DENIED, '--fallthrough', 'full')).code, CURL_REFUSED, 'denied');
  assert.equal((await get(s.full, OUTSIDE)).code, CURL_REFUSED, 'not asked for');
  assert.equal((await get(s.none, OUTSIDE, '--fallthrough', 'full')).code, CURL_REFUSED);
  const wanted = ['--fallthrough', 'loopback'];
  assert.equal((await get(s.loopback, '127.0.0.1', ...wanted)).code, 0);
  assert.equal((await get(s.loopback, OUTSIDE, ...wanted)).code, CURL_REFUSED);
}

/** Changes are taken up while the service runs. */
async function takenBack(s: Stage): Promise<void> {
  assert.equal((await fetched(s, s.full, 'full', OUTSIDE)).code, 0);
  const conf = { settings: { netcon: { fallthrough: 'loopbck' } } };
  fs.writeFileSync(path.join(s.full.service.home, 'local.conf'), JSON.stringify(conf));
  const named = /"loopbck"; it must be none, loopback or full/;
  await within('the wrong word is named', 30_000, () =>
    named.test(s.full.service.stderr) ? true : undefined,
  );
  assert.equal((await fetched(s, s.full, 'full', OUTSIDE)).code, CURL_REFUSED);
  assert.equal((await fetched(s, s.loopback, 'full', '127.0.0.1')).code, 0, 'the host serves');
}

/** One line per destination: what came back to an unconnected and to a connected socket. */
const DATAGRAMS = `
import socket, sys
def ask(ip, connected):
    s = socket.socket(socket.AF_INET6 if ':' in ip else socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10)
    try:
        if connected: s.connect((ip, ${PORT})); s.send(b'one')
        else: s.sendto(b'one', (ip, ${PORT}))
        data, who = s.recvfrom(100)
        return '%s %s %d' % (data.decode(), who[0], who[1])
    except OSError as e: return e.errno
for ip in sys.argv[1:]: print(ask(ip, False), ask(ip, True))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10); s.connect((sys.argv[1], 9)); s.send(b'x')
try: s.recv(10)
except OSError as e: print(e.errno)
try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('${DENIED}', 9))
except OSError as e: print(e.errno)
`;
const UDP_SERVER = `
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(('::', ${PORT}))
print('up', flush=True)
while True:
    data, who = s.recvfrom(2000); s.sendto(b'host ' + data, who)
`;
const ENETUNREACH = 101;

async function datagrams(s: Stage): Promise<void> {
  if (!s.full.hasDatagrams)
    throw new Skip('the service has no door for datagrams (is the addon built?)');
  const server = start('python3', ['-c', UDP_SERVER]);
  try {
    await within('the UDP server', 20_000, () =>
      server.output().includes('up') ? true : undefined,
    );
    const ips = ['127.0.0.1', OUTSIDE, '::1'];
    const done = await s.full.run('python3', ['-c', DATAGRAMS, ...ips], {
      ZT_NC_FALLTHROUGH: 'full',
    });
    const lines = ips.map((ip) => `host one ${ip} ${PORT} host one ${ip} ${PORT}`);
    const expected = [...lines, ECONNREFUSED, ENETUNREACH].join('\n');
    assert.equal(done.stdout, `${expected}\n`, done.stderr);
    const not = `import socket\ntry: socket.socket(2, 2).connect(('${OUTSIDE}', 9))\nexcept OSError as e: print(e.errno)`;
    for (const [on, wanted] of [
      [s.full, 'loopback'],
      [s.loopback, 'full'],
      [s.none, 'full'],
    ] as const) {
      const refused = await on.run('python3', ['-c', not], { ZT_NC_FALLTHROUGH: wanted });
      assert.equal(refused.stdout, `${ENETUNREACH}\n`, refused.stderr);
    }
  } finally {
    await server.stop();
  }
}

const FULL = { fallthrough: 'full', fallthroughDeny: [`${DENIED}/24`] };

const CHECKS: readonly (readonly [string, (s: Stage) => Promise<void>])[] = [
  ['by default, and where nothing is granted, the host cannot be reached', isolated],
  ["loopback reaches the host's loopback, and nothing else", loopback],
  ['a program of the network that listens comes before the host', virtualFirst],
  ['full reaches the host, but for what is denied', full],
  ['only what is allowed, once something is, and lists that change', allowed],
  ['names, half-close and errors of a connection by the host', socketCalls],
  ['datagrams to the host and back, refusals, what is denied', datagrams],
  ['netcon run --fallthrough and --debug', commandLine],
  ['a destination that no route leads to is named, with what may help', noRouteLines],
  ['netcon run --seccomp --fallthrough', underLauncher],
  ['a grant is taken back while the service runs, a wrong one is named', takenBack],
];

async function hostServer(folder: string): Promise<Program> {
  const args = ['-m', 'http.server', String(PORT), '--bind', '::'];
  const server = start('python3', args, {}, folder, SERVER_LIMIT_MS);
  await within('the server of the host', 20_000, async () =>
    (await run('curl', ['-sS', '-o', '/dev/null', url('127.0.0.1')])).code === 0 ? true : undefined,
  );
  return server;
}

async function main(): Promise<void> {
  if (process.env[INSIDE] === undefined) enterNamespace();
  for (const tool of ['curl', 'python3'])
    if ((await run('sh', ['-c', `command -v ${tool}`])).code !== 0) {
      tally.skip('fall-through to the host', `${tool} is not installed`);
      tally.finish();
      return;
    }
  const world = new World();
  let server: Program | undefined;
  try {
    await world.up();
    const folder = world.place('policy');
    const bytes = randomBytes(3 << 20);
    fs.writeFileSync(path.join(folder, 'file'), bytes);
    server = await hostServer(folder);
    const granted = (name: string, identity: number, netcon: object): Promise<Member> =>
      world.member(name, identity, { conf: { settings: { netcon } } });
    const s: Stage = {
      world,
      none: world.a,
      loopback: await granted('loopback', 3, { fallthrough: 'loopback' }),
      full: await granted('full', 4, FULL),
      folder,
      bytes,
    };
    for (const [name, body] of CHECKS) await tally.check(name, () => body(s));
    await checkNetworks(world, tally);
  } finally {
    await server?.stop();
    await world.down();
  }
  tally.finish();
}

await main();
