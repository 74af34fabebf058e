/**
 * Real programs that use datagrams under the preload: UDP servers with their clients, and ping.
 *
 * As in programs.ts: what is not installed is skipped with its name, ports are the test's own.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { OWN_ADDRESS, OWN_ADDRESS6 } from './harness.js';
import { type Context, need, type ProgramTest } from './programs.js';
import { expect, type Program, run, Skip, start, until } from './run.js';

/** Runs `body` while `server` has a UDP port (one more than before). */
async function serving(
  context: Context,
  server: () => Program,
  body: (server: Program) => Promise<void>,
): Promise<void> {
  if (!fs.existsSync(`${context.harness.network}.dg`)) {
    throw new Skip('the service has no door for datagrams (is the addon built?)');
  }
  const ports = () => context.harness.door.view.counters().udpPorts;
  const before = ports();
  const program = server();
  let ended = false;
  void program.finished.then(() => {
    ended = true;
  });
  try {
    await until(`a UDP port of ${program.child.spawnargs.join(' ')}`, () => {
      if (ended) throw new Error(`the server ended: ${program.output()}`);
      return ports() > before;
    });
    await body(program);
  } catch (e) {
    throw new Error(`${(e as Error).message}\nserver said: ${program.output()}`);
  } finally {
    await program.stop();
  }
}

async function expectOutput(done: ReturnType<typeof run>, wanted: RegExp): Promise<void> {
  const { code, stdout, stderr } = await done;
  expect(code === 0 && wanted.test(stdout), `ended with ${code}: ${stdout}${stderr}`);
}

interface IperfReport {
  end?: { sum?: { packets: number; lost_packets: number } };
}

async function iperfUdp(context: Context): Promise<void> {
  const tool = await need('iperf3');
  const server = start(tool, ['-s', '-4', '-p', '8020', '-1'], context.env);
  try {
    await until('the listener of iperf3', () => context.harness.door.view.counters().listeners > 0);
    const args = [
      '-c',
      OWN_ADDRESS,
      '-p',
      '8020',
      '-u',
      '-b',
      '20M',
      '-l',
      '1200',
      '-k',
      '1000',
      '-J',
    ];
    const done = await run(tool, args, context.env);
    const { packets = 0, lost_packets = 0 } =
      (JSON.parse(done.stdout) as IperfReport).end?.sum ?? {};
    expect(packets >= 1_000 && lost_packets < packets / 2, done.stdout + server.output());
  } finally {
    await server.stop();
  }
}

const ASYNCIO_UDP = `
import asyncio
class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport): self.transport = transport
    def datagram_received(self, data, peer): self.transport.sendto(data[::-1], peer)
class Ask(asyncio.DatagramProtocol):
    def __init__(self): self.answers, self.all = [], asyncio.get_running_loop().create_future()
    def datagram_received(self, data, peer):
        self.answers.append(data)
        if len(self.answers) == 100: self.all.set_result(None)
    def error_received(self, e): self.all.set_exception(e)
async def main():
    loop = asyncio.get_running_loop()
    server, _ = await loop.create_datagram_endpoint(Echo, local_addr=('0.0.0.0', 8021))
    t, ask = await loop.create_datagram_endpoint(Ask, remote_addr=('${OWN_ADDRESS}', 8021))
    for i in range(100):
        t.sendto(b'%03d' % i)
        await asyncio.sleep(0)
    await asyncio.wait_for(ask.all, 10)
    print('all', sorted(a[::-1] for a in ask.answers) == [b'%03d' % i for i in range(100)])
    t.close(); server.close()
    t, ask = await loop.create_datagram_endpoint(Ask, remote_addr=('${OWN_ADDRESS}', 8029))
    t.sendto(b'x')
    try:
        await asyncio.wait_for(ask.all, 10)
    except ConnectionRefusedError:
        print('refused')
asyncio.run(main())
`;

async function asyncioUdp(context: Context): Promise<void> {
  const python = await need('python3');
  await expectOutput(run(python, ['-c', ASYNCIO_UDP], context.env), /^all True\nrefused\n$/);
}

const NODE_DGRAM = `
import dgram from 'node:dgram';
const server = dgram.createSocket({ type: 'udp6' });
server.on('message', (m, r) => server.send(m.toString().toUpperCase() + ' ' + r.address, r.port, r.address));
server.bind(8022, () => {
  const client = dgram.createSocket('udp4');
  client.on('message', (m, r) => {
    console.log(m.toString(), r.address, r.size);
    const six = dgram.createSocket('udp6');
    six.connect(8022, '${OWN_ADDRESS6}', () => six.send('six'));
    six.on('message', (m2) => {
      console.log(m2.toString(), six.remoteAddress().address);
      for (const s of [server, client, six]) s.close();
    });
  });
  client.send([Buffer.from('he'), Buffer.from('llo')], 8022, '${OWN_ADDRESS}');
});
`;

async function nodeDgram(context: Context): Promise<void> {
  const file = path.join(context.folder, 'dgram.mjs');
  fs.writeFileSync(file, NODE_DGRAM);
  const done = run(process.execPath, [file], context.env);
  const mapped = `::ffff:${OWN_ADDRESS}`;
  const size = `HELLO ${mapped}`.length;
  const wanted = `^HELLO ${mapped} ${OWN_ADDRESS} ${size}\nSIX ${OWN_ADDRESS6} ${OWN_ADDRESS6}\n$`;
  await expectOutput(done, new RegExp(wanted));
}

async function dns(context: Context): Promise<void> {
  const server = await need('dnsmasq');
  const dig = await need('dig');
  const args = ['-k', '-p', '8023', '-C', '/dev/null', '--no-resolv', '--no-hosts', '--pid-file='];
  const records = ['--address=/name.test/10.1.2.3', '--address=/name.test/fd00::5'];
  const user = ['--user=root', '--bind-interfaces', `--listen-address=${OWN_ADDRESS}`];
  await serving(
    context,
    () => start(server, [...args, ...records, ...user], context.env),
    async () => {
      const ask = (...words: string[]) =>
        run(dig, [`@${OWN_ADDRESS}`, '-p', '8023', '+short', ...words], context.env);
      await expectOutput(ask('name.test', 'A'), /^10\.1\.2\.3\n$/);
      await expectOutput(ask('name.test', 'AAAA'), /^fd00::5\n$/);
      await expectOutput(ask('+tcp', 'name.test', 'A'), /^10\.1\.2\.3\n$/);
    },
  );
}

/** The memcached protocol over UDP: request id, sequence, count and zero before each datagram. */
const MEMCACHED_CLIENT = `
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10)
def ask(i, text):
    s.sendto(struct.pack('!HHHH', i, 0, 1, 0) + text, ('${OWN_ADDRESS}', 8024))
    data, _ = s.recvfrom(2000)
    assert struct.unpack('!H', data[:2])[0] == i
    return data[8:]
assert ask(1, b'set k 0 0 7\\r\\nvirtual\\r\\n') == b'STORED\\r\\n'
print(all(ask(i, b'get k\\r\\n') == b'VALUE k 0 7\\r\\nvirtual\\r\\nEND\\r\\n' for i in range(2, 60)))
`;

async function memcached(context: Context): Promise<void> {
  const server = await need('memcached');
  const python = await need('python3');
  const args = ['-U', '8024', '-p', '8024', '-l', OWN_ADDRESS, '-u', 'root', '-t', '4'];
  await serving(
    context,
    () => start(server, args, context.env),
    () => expectOutput(run(python, ['-c', MEMCACHED_CLIENT], context.env), /^True\n$/),
  );
}

async function netcat(context: Context): Promise<void> {
  const nc = await need('nc');
  const help = await run(nc, ['-h']);
  if (!/OpenBSD/.test(help.stdout + help.stderr)) throw new Skip('nc is not the one of OpenBSD');
  await serving(
    context,
    () => start(nc, ['-u', '-l', OWN_ADDRESS, '8025'], context.env),
    async (server) => {
      const line = `printf 'over nc\\n' | ${nc} -u -w 1 ${OWN_ADDRESS} 8025`;
      await run('/bin/sh', ['-c', line], context.env);
      await until('the line of nc', () => server.output().includes('over nc'));
    },
  );
}

async function socat(context: Context): Promise<void> {
  const tool = await need('socat');
  await serving(
    context,
    () => start(tool, ['UDP6-RECVFROM:8026,fork', 'EXEC:cat'], context.env),
    async () => {
      const line = `printf 'over socat' | ${tool} -t 2 - UDP6:[${OWN_ADDRESS6}]:8026`;
      await expectOutput(run('/bin/sh', ['-c', line], context.env), /^over socat$/);
    },
  );
}

async function ping(context: Context): Promise<void> {
  const tool = await need('ping');
  if (process.getuid?.() !== 0) throw new Skip('a file capability of ping drops the library');
  if (!fs.existsSync(`${context.harness.network}.dg`)) {
    throw new Skip('the service has no door for datagrams (is the addon built?)');
  }
  const four = await run(tool, ['-c', '3', '-i', '0.1', OWN_ADDRESS], context.env);
  const both = four.stdout + four.stderr;
  expect(four.code === 0 && /3 received/.test(both), both);
  expect(/icmp_seq=3 ttl=\d+ time=/.test(both) && !/WARNING/.test(both), both);
  const six = await run(tool, ['-6', '-c', '2', '-i', '0.1', OWN_ADDRESS6], context.env);
  expect(six.code === 0 && /2 received/.test(six.stdout), six.stdout + six.stderr);
  const silent = await run(tool, ['-c', '1', '-W', '1', '10.147.17.99'], context.env);
  expect(silent.code === 1 && /0 received/.test(silent.stdout), silent.stdout + silent.stderr);
}

const NEED_DATAGRAMS: readonly ProgramTest[] = [
  { name: 'iperf3 over UDP: a second socket on the port of a connected one', run: iperfUdp },
  { name: 'python asyncio over UDP, and a refused port', run: asyncioUdp },
  { name: 'node dgram, dual-stack server, both families', run: nodeDgram },
  { name: 'dnsmasq and dig', run: dns },
  { name: 'memcached over UDP: four threads on one socket', run: memcached },
  { name: 'nc -u', run: netcat },
  { name: 'socat over UDP, a process for each datagram', run: socat },
  { name: 'ping, both families', run: ping },
];

export const DATAGRAM_PROGRAMS: readonly ProgramTest[] = NEED_DATAGRAMS.map((test) => ({
  name: test.name,
  run: async (context) => {
    if (!fs.existsSync(`${context.harness.network}.dg`))
      throw new Skip('the service has no door for datagrams (is the addon built?)');
    await test.run(context);
  },
}));
