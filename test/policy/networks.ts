/**
 * One program on two networks of two controllers (`HOME/nc_all`): it reaches members of both, and
 * listens to both, while networks are left and joined.
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { createNetwork, Member, type World, within } from '../apps/world.js';
import { packageFile, runProgram } from '../helpers/service.js';
import type { Tally } from '../helpers/tally.js';
import type { Program } from '../preload/run.js';
import { needLauncher } from './launcher.js';

const SUBNET = '10.92.1';
const V6_POOL = 'fd92::';
const PORT = 9500;
const PATIENCE_MS = 60_000;
const ENETUNREACH = 101;

interface Stage {
  readonly world: World;
  /** The service of `a` on the first network, on the second, and on both. */
  readonly first: Member;
  readonly second: Member;
  readonly all: Member;
  /** Another service, on the first network and on the second, which it controls. */
  readonly other1: Member;
  readonly other2: Member;
}

/** Echoes over TCP and UDP, dual-stack, until it is killed; names whom it heard. */
const ECHO = `
import os, socket, threading
def tcp():
    s = socket.socket(socket.AF_INET6); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('::', ${PORT})); s.listen(16)
    while True:
        c, who = s.accept()
        data = c.recv(100); c.sendall(data + b' from ' + c.getsockname()[0].encode()); c.close()
if not os.path.exists(os.environ['ZT_NC_NETWORK'] + '.dg'): tcp()
threading.Thread(target=tcp, daemon=True).start()
u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); u.bind(('::', ${PORT}))
while True:
    data, who = u.recvfrom(2000)
    u.sendto(data, who)
`;

/** Asks each address over TCP and, where there are datagrams, over UDP; pings all but loopback. */
const ASK = `
import os, socket, sys
datagrams = os.path.exists(os.environ['ZT_NC_NETWORK'] + '.dg')
def tcp(ip):
    s = socket.create_connection((ip, ${PORT}), 20); s.sendall(b'hello')
    got = b''
    while True:
        d = s.recv(100)
        if not d: return got.decode()
        got += d
def udp(ip):
    s = socket.socket(socket.AF_INET6 if ':' in ip else socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2)
    for _ in range(10):
        s.sendto(b'ping', (ip, ${PORT}))
        try: return s.recvfrom(100)[1][0]
        except TimeoutError: pass
def echo(ip):
    six = ':' in ip
    s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM, 58 if six else 1); s.settimeout(2)
    for _ in range(10):
        s.sendto(bytes([128 if six else 8, 0, 0, 0, 0, 0, 0, 1]) + b'x' * 20, (ip, 0))
        try: return s.recvfrom(100)[1][0]
        except TimeoutError: pass
for ip in sys.argv[1:]:
    pings = datagrams and ip not in ('127.0.0.1', '::1')
    print(tcp(ip), udp(ip) if datagrams else '-', echo(ip) if pings else '-')
`;

/** Asks each address over TCP. */
const TALK = `
import socket, sys
for ip in sys.argv[1:]:
    s = socket.create_connection((ip, ${PORT}), 20); s.sendall(b'hello')
    print(s.makefile().read())
`;

/** What ASK prints on `from`. */
const expected = (from: Member, ips: readonly string[]): string =>
  ips
    .map((ip) => {
      const isLoopback = ip === '127.0.0.1' || ip === '::1';
      const stream = `hello from ${ip.includes(':') ? ip : `::ffff:${ip}`}`;
      const pings = from.hasDatagrams && !isLoopback;
      return `${stream} ${from.hasDatagrams ? ip : '-'} ${pings ? ip : '-'}\n`;
    })
    .join('');

async function withEcho(on: Member, from: Member, ip: string, body: () => Promise<void>) {
  const server = on.start('python3', ['-c', ECHO]);
  try {
    await reachable(from, ip, server);
    await body();
  } finally {
    await server.stop();
  }
}

async function reachable(from: Member, ip: string, server: Program): Promise<void> {
  let ended = false;
  void server.finished.then(() => {
    ended = true;
  });
  await within(`the echo at ${ip}`, PATIENCE_MS, async () => {
    if (ended) throw new Error(`the server ended: ${server.output()}`);
    const done = await from.run('bash', ['-c', `exec 3<>/dev/tcp/${ip}/${PORT}`]);
    return done.code === 0 ? true : undefined;
  });
}

async function ask(from: Member, ...ips: string[]): Promise<void> {
  const done = await from.run('python3', ['-c', ASK, ...ips]);
  assert.equal(done.stdout, expected(from, ips), done.stderr);
}

async function reachesBoth(s: Stage): Promise<void> {
  await withEcho(s.other1, s.all, s.other1.ip, () =>
    withEcho(s.other2, s.all, s.other2.ip, () =>
      ask(s.all, s.other1.ip, s.other2.ip, s.other1.ip6, s.other2.ip6),
    ),
  );
}

async function listensToBoth(s: Stage): Promise<void> {
  await withEcho(s.all, s.other1, s.first.ip, async () => {
    await ask(s.other1, s.first.ip, s.first.ip6);
    await ask(s.other2, s.second.ip, s.second.ip6);
    await ask(s.all, '127.0.0.1', '::1', s.first.ip, s.second.ip);
    const taken = await s.second.run('python3', [
      '-c',
      `import socket\ntry: socket.socket().bind(('', ${PORT}))\nexcept OSError as e: print(e.errno)`,
    ]);
    assert.equal(taken.stdout, '98\n', 'the port is taken for programs of one network too');
  });
}

const INTERFACES = `
import socket, sys
names = [n for _, n in socket.if_nameindex()]
print(' '.join(names))
for name in names[1:]:
    s = socket.socket(); s.settimeout(10)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode())
    print(s.connect_ex((sys.argv[1], 9)))
print(socket.gethostbyname('both.test'))
`;
const ECONNREFUSED = 111;

async function interfaces(s: Stage, nwids: readonly string[]): Promise<void> {
  fs.writeFileSync(`${s.all.door}.hosts`, `${s.other1.ip} both.test\n`);
  const sorted = [...nwids].sort();
  const done = await s.all.run('python3', ['-c', INTERFACES, s.other1.ip]);
  const results = sorted.map((n) => (n === s.world.nwid ? ECONNREFUSED : ENETUNREACH));
  const lines = [`lo ${sorted.map((n) => `zt${n.slice(6)}`).join(' ')}`, ...results, s.other1.ip];
  assert.equal(done.stdout, `${lines.join('\n')}\n`, done.stderr);
}

/** A network is left and joined again under a program that goes on. */
async function comesAndGoes(s: Stage, nwid: string): Promise<void> {
  await withEcho(s.all, s.other2, s.second.ip, async () => {
    await s.all.service.request('DELETE', `/network/${nwid}`);
    await ask(s.other1, s.first.ip);
    const lost = await s.all.run('python3', [
      '-c',
      `import socket\nprint(socket.socket().connect_ex(('${s.other2.ip}', 9)))`,
    ]);
    assert.equal(lost.stdout, `${ENETUNREACH}\n`, lost.stderr);
    await s.second.join(nwid);
    await within('the network is heard again', PATIENCE_MS, async () => {
      const done = await s.other2.run('bash', ['-c', `exec 3<>/dev/tcp/${s.second.ip}/${PORT}`]);
      return done.code === 0 ? true : undefined;
    });
    await ask(s.other2, s.second.ip);
    await ask(s.other1, s.first.ip);
  });
}

async function commandLine(s: Stage): Promise<void> {
  await withEcho(s.other2, s.all, s.other2.ip, async () => {
    const args = ['run', '-D', s.all.service.home, '-n', 'all', '--', 'python3', '-c', ASK];
    const done = await runProgram(process.execPath, [
      packageFile('dist/netcon.js'),
      ...args,
      s.other2.ip,
    ]);
    assert.equal(done.stdout, expected(s.all, [s.other2.ip]), done.stderr);
  });
  const wrong = await runProgram(process.execPath, [
    packageFile('dist/netcon.js'),
    ...['run', '-n', 'everything', '--', 'true'],
  ]);
  assert.equal(wrong.code, 2);
}

/** The launcher's supervisor speaks to the same door. */
async function underLauncher(s: Stage): Promise<void> {
  needLauncher(s.all);
  const program = ['--seccomp', '-D', s.all.service.home, '-n', 'all', '--', 'python3', '-c', TALK];
  await withEcho(s.other1, s.all, s.other1.ip, () =>
    withEcho(s.other2, s.all, s.other2.ip, async () => {
      const ips = [s.other1.ip, s.other2.ip, s.other2.ip6];
      const args = [packageFile('dist/netcon.js'), 'run', ...program, ...ips];
      const done = await runProgram(process.execPath, args);
      const lines = ips.map((ip) => `hello from ${ip.includes(':') ? ip : `::ffff:${ip}`}\n`);
      assert.equal(done.stdout, lines.join(''), done.stderr);
    }),
  );
}

export async function checkNetworks(world: World, tally: Tally): Promise<void> {
  const controller = world.b.service;
  const status = JSON.parse((await controller.request('GET', '/status')).text) as {
    address: string;
  };
  const nwid = `${status.address}0000b2`;
  await createNetwork(controller, nwid, SUBNET, V6_POOL);
  const other2 = new Member(world.b.service, 'b on the second network', nwid);
  const second = new Member(world.a.service, 'a on the second network', nwid);
  await other2.join(nwid);
  await second.join(nwid);
  const all = new Member(world.a.service, 'a on both networks', 'all');
  assert.ok(fs.existsSync(path.join(world.a.service.home, 'nc_all.key')));
  const s: Stage = { world, first: world.a, second, all, other1: world.b, other2 };
  const checks: readonly (readonly [string, () => Promise<void>])[] = [
    ['one program reaches members of two networks', () => reachesBoth(s)],
    ['one program listens to two networks and loopback', () => listensToBoth(s)],
    [
      'interfaces of both networks, SO_BINDTODEVICE, nc_all.hosts',
      () => interfaces(s, [world.nwid, nwid]),
    ],
    ['a network is left and joined under a running program', () => comesAndGoes(s, nwid)],
    ['netcon run -n all', () => commandLine(s)],
    ['netcon run --seccomp -n all', () => underLauncher(s)],
  ];
  for (const [name, body] of checks) await tally.check(name, body);
}
