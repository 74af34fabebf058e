/** Datagrams and names on the host's network, over real loopback. */
import * as dgram from 'node:dgram';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import test from 'ava';
import { HostNames, serverOf, serversIn } from '#src/host/host-names.js';
import { DoorHostNetwork } from '#src/host/host-network.js';
import { HOST_SOCKETS_MAX, UserLimits } from '#src/host/user-limits.js';
import { DnsClient } from '#src/preload/dns-client.js';
import {
  DnsType,
  emitQuery,
  emitReply,
  parseAnswers,
  parseQuestion,
} from '#src/preload/dns-message.js';
import { type HostDatagrams, NOTHING_GRANTED } from '#src/preload/fallthrough.js';
import { dnsOnHost } from '#src/preload/host-dns.js';
import { Quota } from '#src/preload/quota.js';
import type { Endpoint } from '#src/stack/stack.js';

const LOOPBACK = Uint8Array.of(127, 0, 0, 1);
/** Flag of a DNS message's third byte. */
const TRUNCATED = 2;
/** What one socket lets wait. */
const QUEUE_BYTES = 256 * 1024;
const EMPTY = new Uint8Array(0);

async function server(answer: (m: Buffer, from: dgram.RemoteInfo, s: dgram.Socket) => void) {
  const s = dgram.createSocket('udp4');
  s.on('message', (m, from) => answer(m, from, s));
  s.bind(0, '127.0.0.1');
  await once(s, 'listening');
  return { s, to: { ip: LOOPBACK, port: s.address().port } };
}

function network(sockets = new UserLimits().hostSockets, names?: HostNames) {
  return new DoorHostNetwork(
    (act) => act(),
    () => undefined,
    () => NOTHING_GRANTED,
    sockets,
    names,
  );
}

/** Opens a socket whose next event is awaited. */
function open(n: DoorHostNetwork, peer?: Endpoint) {
  let told: (what: string) => void = () => undefined;
  const next = () =>
    new Promise<string>((r) => {
      told = r;
    });
  const port = n.openDatagrams(4, peer, undefined, {
    onDatagram: (payload, from) =>
      told(`${Buffer.from(payload)} ${from.ip.join('.')}:${from.port}`),
    onError: (errno) => told(errno),
  });
  if (typeof port === 'string') throw new Error(port);
  return { port, next };
}

test('an answer comes back with its true source, with and without a peer', async (t) => {
  const { s, to } = await server((m, from, socket) => socket.send(m, from.port, from.address));
  const n = network();
  for (const peer of [undefined, to]) {
    const { port, next } = open(n, peer);
    const answered = next();
    t.is(port.send(to, Buffer.from('hello')), undefined);
    t.is(await answered, `hello 127.0.0.1:${to.port}`);
    t.true(port.local().port > 0);
    if (peer !== undefined) t.is(port.local().ip.join('.'), '127.0.0.1');
    port.close();
    port.close();
  }
  t.is(n.counters().hostDatagrams, 0);
  s.close();
});

test('a refusal is told to a socket with a peer', async (t) => {
  const { s, to } = await server(() => undefined);
  s.close();
  await once(s, 'close');
  const n = network();
  const { port, next } = open(n, to);
  const told = next();
  port.send(to, Buffer.from('x'));
  t.is(await told, 'ECONNREFUSED');
  n.close();
  t.is(n.counters().hostDatagrams, 0);
});

test('what waits to be sent is bounded', (t) => {
  const n = network();
  const { port } = open(n, { ip: LOOPBACK, port: 9 });
  const part = new Uint8Array(QUEUE_BYTES / 8);
  for (let i = 0; i < 8; i++) t.is(port.send({ ip: LOOPBACK, port: 9 }, part), undefined);
  t.is(port.send({ ip: LOOPBACK, port: 9 }, Uint8Array.of(1)), 'ENOBUFS');
  n.close();
});

test('a user has 1,024 sockets on the host, at all doors together', (t) => {
  const { hostSockets } = new UserLimits();
  const [one, two] = [network(hostSockets), network(hostSockets)];
  const sink = { onDatagram: () => undefined, onError: () => undefined };
  const openAt = (n: DoorHostNetwork, user: number | undefined) =>
    n.openDatagrams(4, undefined, user, sink);
  const first = openAt(two, undefined) as HostDatagrams;
  for (let i = 1; i < HOST_SOCKETS_MAX; i++) t.true(typeof openAt(one, undefined) !== 'string');
  for (const n of [one, two]) t.is(openAt(n, undefined), 'ENOBUFS');
  t.true(typeof openAt(one, 7) !== 'string', 'another user');
  first.close();
  t.true(typeof openAt(one, undefined) !== 'string', 'one was closed');
  t.is(openAt(two, undefined), 'ENOBUFS');
  t.deepEqual(one.counters(), { hostDatagrams: 1025, dropHostDatagrams: 1 });
  t.deepEqual(two.counters(), { hostDatagrams: 0, dropHostDatagrams: 2 });
  one.close();
  t.is(hostSockets.total, 0);
});

test('empty datagrams are bounded by their number', (t) => {
  const n = network();
  for (const peer of [undefined, { ip: LOOPBACK, port: 9 }]) {
    const { port } = open(n, peer);
    const results = Array.from({ length: 5_000 }, () =>
      port.send({ ip: LOOPBACK, port: 9 }, EMPTY),
    );
    t.is(results.filter((r) => r === undefined).length, 1_024);
    t.is(results.at(-1), 'ENOBUFS');
  }
  n.close();
});

test('port 0: a peer with it gives the local address, and nothing is sent to it', async (t) => {
  const n = network();
  const nowhere = { ip: LOOPBACK, port: 0 };
  const { port } = open(n, nowhere);
  while (port.local().port === 0) await new Promise((r) => setImmediate(r));
  t.is(port.local().ip.join('.'), '127.0.0.1');
  t.is(port.send(nowhere, Buffer.from('x')), 'EINVAL');
  t.is(open(n).port.send(nowhere, Buffer.from('x')), 'EINVAL');
  n.close();
  t.is(n.counters().hostDatagrams, 0);
});

test('a socket that cannot be connected says so, and holds nothing', async (t) => {
  const n = network();
  // Linux refuses a broadcast that was not asked for.
  const peer = { ip: Uint8Array.of(255, 255, 255, 255), port: 9 };
  const { port, next } = open(n, peer);
  const told = next();
  t.is(port.send(peer, Buffer.from('x')), undefined);
  t.false(port.hasFailed());
  t.is(await told, 'EACCES');
  t.true(port.hasFailed());
  t.is(port.send(peer, Buffer.from('x')), 'ENETUNREACH');
  n.close();
});

test('a file that cannot be read is as an empty one', (t) => {
  for (const path of ['/', '/nonexistent']) {
    const names = new HostNames(path, path);
    t.is(names.hosts(), '');
    t.deepEqual(names.servers(), [{ ip: LOOPBACK, port: 53 }]);
  }
});

test('servers and hosts are those that the files name now', (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'netcon-names-'));
  const [hosts, resolv] = [path.join(folder, 'hosts'), path.join(folder, 'resolv.conf')];
  const names = new HostNames(hosts, resolv);
  const n = network(new UserLimits().hostSockets, names);
  const servers = () => n.nameServers().map((s) => `${s.ip.join('.')}:${s.port}`);
  t.deepEqual(servers(), ['127.0.0.1:53']);
  fs.writeFileSync(resolv, 'search lan\nnameserver 192.0.2.1\n');
  t.deepEqual(servers(), ['192.0.2.1:53']);
  fs.writeFileSync(resolv, 'search lan\nnameserver 192.0.2.2\n');
  t.deepEqual(servers(), ['192.0.2.2:53']);
  fs.writeFileSync(`${resolv}.new`, 'nameserver 192.0.2.3\nnameserver 192.0.2.4\n');
  fs.renameSync(`${resolv}.new`, resolv);
  t.deepEqual(servers(), ['192.0.2.3:53', '192.0.2.4:53']);
  fs.writeFileSync(hosts, '192.0.2.9 nine\n');
  t.is(n.hosts(), '192.0.2.9 nine\n');
  fs.rmSync(folder, { recursive: true });
});

test('resolv.conf: the first three servers, whatever else it says', (t) => {
  const shown = (text: string) => serversIn(text).map((s) => `${s.ip.join('.')}:${s.port}`);
  t.deepEqual(shown('# nameserver 192.0.2.8\n;x\nnameserver\t192.0.2.1 # one\noptions rotate\n'), [
    '192.0.2.1:53',
  ]);
  t.deepEqual(shown('nameserver 192.0.2.1;two\nnameserver nonsense\nnameservers 192.0.2.3'), [
    '192.0.2.1:53',
  ]);
  const many = [1, 2, 3, 4].map((i) => `nameserver 192.0.2.${i}`).join('\n');
  t.is(shown(many).length, 3);
  t.is(serversIn('nameserver fe80::1%eth0')[0]!.ip.length, 16);
});

test('names: the hosts file and the servers of the host', (t) => {
  t.regex(network().hosts(), /localhost/);
  t.true(
    network()
      .nameServers()
      .every((s) => s.port > 0),
  );
  const shown = (text: string) => {
    const s = serverOf(text);
    return s && `${s.ip.join('.')} ${s.port}`;
  };
  t.is(shown('192.0.2.1'), '192.0.2.1 53');
  t.is(shown('192.0.2.1:5300'), '192.0.2.1 5300');
  t.is(shown('fe80::1%eth0'), shown('fe80::1'));
  t.regex(shown('[2001:db8::1]:5300')!, /^32\.1\..*\.1 5300$/);
  t.is(shown('nonsense'), undefined);
});

test('a question to a server of the host: an answer, a truncated one over TCP, and silence', async (t) => {
  const { s, to } = await server((m, from, socket) => {
    const question = parseQuestion(m)!;
    const reply = emitReply(m, question, 0, [Uint8Array.of(10, 9, 8, 7)]);
    if (question.name === 'long.test') reply[2]! |= TRUNCATED;
    socket.send(reply, from.port, from.address);
  });
  const tcp = net.createServer((c) => {
    // The client resets: it has its answer.
    c.on('error', () => c.destroy());
    c.on('data', (m) => {
      const question = parseQuestion(m.subarray(2))!;
      const reply = emitReply(m.subarray(2), question, 0, [Uint8Array.of(10, 0, 0, 1)]);
      c.write(Buffer.concat([Buffer.from([reply.length >> 8, reply.length & 0xff]), reply]));
    });
  });
  tcp.listen(to.port, '127.0.0.1');
  await once(tcp, 'listening');
  const n = network();
  const view = { wake: () => undefined, now: () => ({ mono: 0, wall: 0 }), random32: () => 77 };
  const client = new DnsClient(dnsOnHost(n, view), new Quota(2));
  const ask = (name: string) =>
    new Promise<string | undefined>((r) => {
      client.ask([to], emitQuery(5, name, DnsType.a)!, undefined, (answer) =>
        r(answer && parseAnswers(answer)?.[0]?.data.join('.')),
      );
    });
  t.is(await ask('short.test'), '10.9.8.7');
  t.is(await ask('long.test'), '10.0.0.1');
  tcp.close();
  s.close();
  await once(s, 'close');
  t.is(await ask('nobody.test'), undefined, 'refused twice');
  t.is(n.counters().hostDatagrams, 0);
  t.is(client.size, 0);
  n.close();
});
