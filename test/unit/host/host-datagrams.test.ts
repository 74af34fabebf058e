/** Datagrams and names on the host's network, over real loopback. */
import * as dgram from 'node:dgram';
import { once } from 'node:events';
import test from 'ava';
import { HostNames } from '#src/host/host-names.js';
import { DoorHostNetwork } from '#src/host/host-network.js';
import { DnsType, emitReply, parseQuestion } from '#src/preload/dns-message.js';
import { type HostDatagrams, NOTHING_GRANTED } from '#src/preload/fallthrough.js';
import type { Endpoint } from '#src/stack/stack.js';

const LOOPBACK = Uint8Array.of(127, 0, 0, 1);
/** What one socket lets wait. */
const QUEUE_BYTES = 256 * 1024;

async function server(answer: (m: Buffer, from: dgram.RemoteInfo, s: dgram.Socket) => void) {
  const s = dgram.createSocket('udp4');
  s.on('message', (m, from) => answer(m, from, s));
  s.bind(0, '127.0.0.1');
  await once(s, 'listening');
  return { s, to: { ip: LOOPBACK, port: s.address().port } };
}

function network() {
  return new DoorHostNetwork(
    (act) => act(),
    () => undefined,
    () => NOTHING_GRANTED,
  );
}

/** Opens a socket whose next event is awaited. */
function open(n: DoorHostNetwork, peer?: Endpoint) {
  let told: (what: string) => void = () => undefined;
  const next = () =>
    new Promise<string>((r) => {
      told = r;
    });
  const port = n.openDatagrams(4, peer, {
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
  t.is(n.datagramSockets, 0);
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
  t.is(n.datagramSockets, 0);
});

test('what waits to be sent is bounded, and so are the sockets', (t) => {
  const n = network();
  const { port } = open(n, { ip: LOOPBACK, port: 9 });
  const part = new Uint8Array(QUEUE_BYTES / 8);
  for (let i = 0; i < 8; i++) t.is(port.send({ ip: LOOPBACK, port: 9 }, part), undefined);
  t.is(port.send({ ip: LOOPBACK, port: 9 }, part), 'ENOBUFS');
  const sink = { onDatagram: () => undefined, onError: () => undefined };
  const more: (HostDatagrams | string)[] = [];
  for (let i = 0; i < 1024; i++) more.push(n.openDatagrams(4, undefined, sink));
  t.is(more.pop(), 'ENOBUFS');
  t.true(more.every((p) => typeof p !== 'string'));
  n.close();
  t.is(n.datagramSockets, 0);
});

test('names: the hosts file of the host, then its servers, and no such name', async (t) => {
  const { s, to } = await server((m, from, socket) => {
    const question = parseQuestion(m)!;
    const isKnown = question.name === 'known.test' && question.type === DnsType.a;
    const reply = isKnown ? [Uint8Array.of(10, 9, 8, 7)] : [];
    socket.send(
      emitReply(m, question, question.name === 'known.test' ? 0 : 3, reply),
      from.port,
      from.address,
    );
  });
  const names = new HostNames([`127.0.0.1:${to.port}`]);
  const ask = (name: string, family: number) =>
    new Promise<string>((r) => {
      names.resolve(name, family, (a) =>
        r(typeof a === 'string' ? a : a.map((ip) => ip.join('.')).join()),
      );
    });
  t.is(await ask('known.test', 4), '10.9.8.7');
  t.is(await ask('known.test', 0), '10.9.8.7');
  t.is(await ask('unknown.test', 0), 'notFound');
  t.is(await ask('localhost', 4), '127.0.0.1');
  names.resolve('known.test', 4, () => t.fail())();
  t.is(names.size, 0);
  s.close();
});
