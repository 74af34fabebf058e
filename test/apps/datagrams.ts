/** Programs that speak UDP and ICMP, and those that a preload cannot reach. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { packageFile } from '../helpers/service.js';
import { type Finished, type Program, run, which } from '../preload/run.js';
import { type App, expect, output, PYTHON, Skip, serving } from './row.js';
import { type Member, type World, within } from './world.js';

const PATIENCE_MS = 20_000;
/** Datagrams may be lost; that many in a row of a few hundred would be a fault. */
const AGAIN_MAX = 3;

/** Runs `body` while a server without a TCP port runs; `ready` is asked until it is true. */
async function beside<T>(
  server: Program,
  ready: () => Promise<boolean>,
  body: () => Promise<T>,
): Promise<T> {
  try {
    await within('the server answers', PATIENCE_MS, async () => {
      if (server.child.exitCode !== null) throw new Error('the server ended');
      return (await ready()) ? true : undefined;
    });
    return await body();
  } catch (e) {
    throw new Error(`${(e as Error).message}\nserver said: ${server.output().slice(-2_000)}`);
  } finally {
    await server.stop();
  }
}

async function ping(world: World): Promise<string> {
  const { a, b } = world;
  const rates: string[] = [];
  for (const [from, ip] of [
    [b, a.ip],
    [b, a.ip6],
    [a, b.ip],
  ] as const) {
    const text = await output(from, 'ping', ['-q', '-c', '20', '-i', '0.05', '-W', '5', ip]);
    expect(text.includes(' 20 received'), text);
    rates.push(`${/= [\d.]+\/([\d.]+)/.exec(text)?.[1]} ms`);
  }
  return `20 of 20 answered over IPv4 and IPv6 and back: ${rates.join(', ')}`;
}

/** Debian's ping has file capabilities, of which ld.so takes a preload away unless root runs it. */
async function userPing(world: World): Promise<string> {
  if (process.getuid?.() !== 0) throw new Skip('only root can start the service of another user');
  const user = await world.member('user', 4, { user: 'www-data' });
  const asUser = (...words: string[]): Promise<Finished> => {
    const own = ['run', '-n', world.nwid, '-D', user.service.home, ...words];
    const drop = ['--reuid=www-data', '--regid=www-data', '--clear-groups'];
    return run('setpriv', [...drop, process.execPath, packageFile('dist/netcon.js'), ...own]);
  };
  const ask = ['-q', '-c', '5', '-i', '0.2', '-W', '5'];
  const program = (await which('ping'))!;
  const isRaised = (await run('getcap', [program])).stdout !== '';
  const plain = await asUser('ping', ...ask, world.a.ip);
  const isAsPromised = isRaised
    ? /has file capabilities/.test(plain.stderr)
    : plain.stdout.includes(' 5 received');
  expect(isAsPromised, `${plain.stdout}${plain.stderr}`);
  const copy = path.join(world.place('ping'), 'ping');
  fs.copyFileSync(program, copy);
  for (const words of [
    [copy, ...ask, world.a.ip],
    ['--seccomp', 'ping', ...ask, world.a.ip],
    ['--seccomp', 'ping', ...ask, world.a.ip6],
  ]) {
    const done = await asUser(...words);
    expect(done.stdout.includes(' 5 received'), `${words.join(' ')}: ${done.stdout}${done.stderr}`);
  }
  return `user www-data with a service of its own: netcon run ${isRaised ? 'refuses ping, which has file capabilities,' : 'takes ping'} and takes a copy; ping under --seccomp over IPv4 and IPv6; 5 of 5 answered each`;
}

const dig = (on: Member, server: string, ...more: string[]): Promise<string> =>
  on
    .run('dig', [`@${server}`, '+short', '+time=2', '+tries=1', ...more])
    .then((done) => done.stdout.trim());

async function askAll(world: World, answer: string): Promise<string> {
  const { a, b } = world;
  for (const more of [['virtual.test'], ['virtual.test', '+tcp'], ['virtual.test', '+notcp']]) {
    const got = await dig(b, a.ip, ...more);
    expect(got === answer, `dig ${more.join(' ')}: ${got}`);
  }
  const by6 = await dig(b, a.ip6, 'virtual.test');
  expect(by6 === answer, `dig over IPv6: ${by6}`);
  return 'dig over UDP and TCP, IPv4 and IPv6';
}

async function unbound(world: World): Promise<string> {
  const { a, b } = world;
  const dir = world.place('unbound');
  fs.writeFileSync(
    path.join(dir, 'conf'),
    `server:
  interface: 0.0.0.0
  interface: ::0
  port: 53
  access-control: 0.0.0.0/0 allow
  access-control: ::0/0 allow
  username: ""
  chroot: ""
  directory: "${dir}"
  pidfile: "${dir}/pid"
  use-syslog: no
  module-config: "iterator"
  local-zone: "test." static
  local-data: "virtual.test. A 192.0.2.7"
remote-control:
  control-enable: no
`,
  );
  const server = a.start('unbound', ['-d', '-c', path.join(dir, 'conf')]);
  return beside(
    server,
    async () => (await dig(b, a.ip, 'virtual.test')) === '192.0.2.7',
    () => askAll(world, '192.0.2.7'),
  );
}

async function dnsmasq(world: World): Promise<string> {
  const { a, b } = world;
  const options = [
    ...['--no-daemon', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--user=root'],
    ...['--bind-interfaces', `--listen-address=${a.ip}`, `--listen-address=${a.ip6}`],
    ...['--port=53', '--address=/virtual.test/192.0.2.8'],
  ];
  const server = a.start('dnsmasq', options);
  return beside(
    server,
    async () => (await dig(b, a.ip, 'virtual.test')) === '192.0.2.8',
    () => askAll(world, '192.0.2.8'),
  );
}

async function iperf(world: World): Promise<string> {
  const { a, b } = world;
  const server = a.start('iperf3', ['-s', '-p', '5202']);
  const told: string[] = [];
  try {
    for (const reverse of ['', '-R']) {
      const done = await output(b, 'bash', [
        '-c',
        `for i in $(seq 100); do iperf3 -c ${a.ip} -p 5202 -u -b 20M -t 2 -J ${reverse} && exit 0; sleep 0.1; done; exit 1`,
      ]);
      const all = done.split(/^\}\n/m).filter((t) => t.includes('lost_percent'));
      const { end } = JSON.parse(`${all.at(-1)}}`) as {
        end: { sum: { packets: number; lost_percent: number } };
      };
      // Lost are those that a busy machine leaves unread; the wire has none to lose.
      expect(end.sum.packets > 1_000 && end.sum.lost_percent < 20, JSON.stringify(end.sum));
      told.push(`${end.sum.packets} datagrams, ${end.sum.lost_percent.toFixed(1)} % lost`);
    }
    return `UDP at 20 Mbit/s for 2 s: ${told.join('; and back ')}`;
  } finally {
    await server.stop();
  }
}

const UDP_SERVER = `
import asyncio
class Echo(asyncio.DatagramProtocol):
    def connection_made(self, t): self.t = t
    def datagram_received(self, d, a): self.t.sendto(d[::-1], a)
async def main():
    await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=('0.0.0.0', 8095))
    await asyncio.sleep(3600)
asyncio.run(main())
`;
const UDP_CLIENT = `
import asyncio, os, sys
class Client(asyncio.DatagramProtocol):
    def __init__(self): self.got = asyncio.Queue()
    def datagram_received(self, d, a): self.got.put_nowait(d)
async def main():
    t, p = await asyncio.get_running_loop().create_datagram_endpoint(Client, remote_addr=(sys.argv[1], 8095))
    good = again = 0
    for n in [1, 100, 1400, 2772, 5000, 30000, 65507] * 5:
        d = os.urandom(n)
        for i in range(5):
            again += i > 0
            t.sendto(d)
            try:
                r = await asyncio.wait_for(p.got.get(), 2)
            except asyncio.TimeoutError:
                continue
            good += r == d[::-1]
            break
    print(good, again)
asyncio.run(main())
`;

async function asyncio(world: World): Promise<string> {
  const { a, b } = world;
  const server = a.start(PYTHON, ['-c', UDP_SERVER]);
  const ask = (): Promise<string> => output(b, PYTHON, ['-c', UDP_CLIENT, a.ip]);
  return beside(
    server,
    async () => {
      const probe = `import socket,sys
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(1); s.connect((sys.argv[1],8095)); s.send(b'x'); s.recv(9)`;
      return (await b.run(PYTHON, ['-c', probe, a.ip])).code === 0;
    },
    async () => {
      const [good, again] = (await ask()).trim().split(' ');
      expect(good === '35' && Number(again) <= AGAIN_MAX, `${good} of 35, ${again} sent again`);
      return `35 datagrams of 1 to 65,507 bytes echoed, ${again} of them sent again`;
    },
  );
}

const MEMCACHED = `
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2); s.connect((sys.argv[1], 11212))
good = again = 0
def ask(i, text):
    global again
    for n in range(5):
        again += n > 0
        s.send(struct.pack('>HHHH', i, 0, 1, 0) + text)
        try:
            while True:
                d = s.recv(4096)
                if struct.unpack('>H', d[:2])[0] == i: return d[8:]
        except socket.timeout: pass
for i in range(100):
    v = b'value%d' % i
    stored = ask(2 * i, b'set k%d 0 0 %d\\r\\n%s\\r\\n' % (i, len(v), v)) == b'STORED\\r\\n'
    good += stored and v in ask(2 * i + 1, b'get k%d\\r\\n' % i)
print(good, again)
`;

async function memcached(world: World): Promise<string> {
  const { a, b } = world;
  const args = ['-u', 'nobody', '-l', '0.0.0.0', '-p', '11212', '-U', '11212'];
  const server = a.start('memcached', args);
  return serving(world, a, 11212, server, async () => {
    const told = (await output(b, PYTHON, ['-c', MEMCACHED, a.ip])).trim();
    const [good, again] = told.split(' ');
    expect(good === '100' && Number(again) <= AGAIN_MAX, `${good} of 100, ${again} asked again`);
    return `100 values set and got over UDP, four threads at one socket, ${again} asked again`;
  });
}

/** A program under `netcon run --seccomp` on a member. */
function supervised(world: World, on: Member, ...command: string[]): [string, string[]] {
  const own = ['run', '--seccomp', '-D', on.service.home, '-n', world.nwid, '--', ...command];
  return [process.execPath, [packageFile('dist/netcon.js'), ...own]];
}

async function busybox(world: World): Promise<string> {
  const { a, b } = world;
  const dir = world.place('busybox');
  const text = 'static busybox\n'.repeat(50_000);
  fs.writeFileSync(path.join(dir, 'page'), text);
  const none = { LD_PRELOAD: '' };
  const httpd = ['busybox', 'httpd', '-f', '-p', '8096', '-h', dir];
  const server = a.start(...supervised(world, a, ...httpd), none);
  return serving(world, a, 8096, server, async () => {
    const url = `http://${a.ip}:8096/page`;
    const wget = ['busybox', 'wget', '-q', '-O', '-', url];
    expect((await output(b, ...supervised(world, b, ...wget), none)) === text, 'busybox wget');
    expect((await output(b, 'curl', ['-sS', '-m', '20', url])) === text, 'preloaded curl');
    return 'static httpd and wget under netcon run --seccomp, and a preloaded curl: 750 kB, equal';
  });
}

export const DATAGRAMS: readonly App[] = [
  {
    name: 'ping',
    needs: { ping: 'iputils-ping' },
    versions: [['ping', '-V']],
    core: true,
    datagrams: true,
    run: ping,
  },
  {
    name: 'ping of a user',
    needs: { ping: 'iputils-ping', getcap: 'libcap2-bin', setpriv: 'util-linux' },
    versions: [['ping', '-V']],
    datagrams: true,
    run: userPing,
  },
  {
    name: 'dig and unbound',
    needs: { dig: 'bind9-dnsutils', unbound: 'unbound' },
    versions: [
      ['dig', '-v'],
      ['unbound', '-V'],
    ],
    datagrams: true,
    run: unbound,
  },
  {
    name: 'dig and dnsmasq',
    needs: { dig: 'bind9-dnsutils', dnsmasq: 'dnsmasq-base' },
    versions: [['dnsmasq', '-v']],
    datagrams: true,
    run: dnsmasq,
  },
  {
    name: 'iperf3 over UDP',
    needs: { iperf3: 'iperf3' },
    versions: [['iperf3', '--version']],
    core: true,
    datagrams: true,
    run: iperf,
  },
  {
    name: 'python3 asyncio over UDP',
    needs: { [PYTHON]: 'python3' },
    versions: [[PYTHON, '--version']],
    core: true,
    datagrams: true,
    run: asyncio,
  },
  {
    name: 'memcached over UDP',
    needs: { memcached: 'memcached', [PYTHON]: 'python3' },
    versions: [['memcached', '--version']],
    datagrams: true,
    run: memcached,
  },
  {
    name: 'busybox httpd and wget, static',
    needs: { busybox: 'busybox-static', curl: 'curl' },
    versions: [['busybox', '--help']],
    run: busybox,
  },
];
