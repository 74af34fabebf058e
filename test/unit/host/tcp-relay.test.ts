import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import {
  datagramFrame,
  FrameReader,
  greetingFrame,
  isRelayable,
  type RelayedDatagram,
  RelayFrameError,
  RelayPolicy,
  TcpRelay,
} from '#src/host/tcp-relay.js';
import { fromHex, toHex } from '#src/lib/hex.js';
import { inetAddress, inetAddressText, parseIp, remoteAddress } from '#src/wire/inetaddress.js';

const VECTORS = new URL('../../../../test/vectors/service/http-tcp-relay.json', import.meta.url);
const at = (ip: string, port: number) => remoteAddress(inetAddress(parseIp(ip)!, port));

/** What ZeroTier One 1.14.1 sent to a relay of the laboratory. */
function recorded(): string[] {
  const file = JSON.parse(readFileSync(VECTORS, 'utf8')) as {
    records: { id: string; framesHex?: string[] }[];
  };
  return file.records.find((r) => r.id === 'relay-first-frames')!.framesHex!;
}

test('frames are those of the reference, byte for byte', (t) => {
  const [greeting, ...datagrams] = recorded();
  t.is(toHex(greetingFrame()), greeting!);
  t.true(datagrams.length > 0);
  for (const hex of datagrams) {
    const [d, ...more] = new FrameReader().push(fromHex(hex));
    t.is(more.length, 0);
    t.is(toHex(datagramFrame(d!.from, d!.bytes)), hex);
  }
});

test('a stream is cut into datagrams wherever it is torn', (t) => {
  const stream = fromHex(recorded().join(''));
  const whole = new FrameReader().push(stream).map((d) => toHex(d.bytes));
  t.is(whole.length, recorded().length - 1, 'the greeting is none');
  for (const step of [1, 2, 5, 7, 64]) {
    const reader = new FrameReader();
    const out: RelayedDatagram[] = [];
    for (let i = 0; i < stream.length; i += step)
      out.push(...reader.push(stream.subarray(i, i + step)));
    t.deepEqual(
      out.map((d) => toHex(d.bytes)),
      whole,
      `pieces of ${step}`,
    );
  }
});

test('frames of IPv6, without an address and too short ones are left out; rubbish ends it', (t) => {
  const frame = (...payload: number[]): Uint8Array =>
    Uint8Array.of(0x17, 3, 3, payload.length >> 8, payload.length & 255, ...payload);
  const reader = new FrameReader();
  t.deepEqual(reader.push(frame()), []);
  t.deepEqual(reader.push(frame(0, 1, 2, 3, 4, 5, 6, 7)), []);
  t.deepEqual(reader.push(frame(6, ...new Uint8Array(20))), []);
  t.deepEqual(reader.push(frame(4, 1, 2, 3, 4, 5)), []);
  t.is(reader.push(frame(4, 99, 1, 1, 1, 0, 9, 7))[0]?.bytes.length, 1);
  t.throws(() => reader.push(Uint8Array.of(0x16, 3, 3, 0, 4, 0)), { instanceOf: RelayFrameError });
});

test('a server does not speak for addresses of private networks', (t) => {
  for (const ip of ['10.1.1.1', '127.0.0.1', '192.168.1.1', '169.254.1.1', '0.0.0.0'])
    t.deepEqual(new FrameReader().push(datagramFrame(at(ip, 9993), Uint8Array.of(7))), [], ip);
});

test('only global IPv4 addresses are reached through it', (t) => {
  t.true(isRelayable(at('99.1.1.1', 1)));
  for (const ip of ['10.1.1.1', '127.0.0.1', '192.168.1.1', '2001:db8::1'])
    t.false(isRelayable(at(ip, 1)), ip);
});

test('it is opened after 60 s of sending without an answer, and closed by an answer', (t) => {
  const p = new RelayPolicy(0);
  t.false(p.decide(59_999, 0, 1), 'the service is too young');
  t.true(p.decide(60_000, 0, 2));
  t.true(p.decide(90_000, 0, 2), 'nothing came');
  t.false(p.decide(90_001, 1, 3), 'UDP is back');
  t.false(p.decide(150_000, 1, 4));
  t.true(p.decide(150_001, 1, 5));
});

test('it is not opened while nothing is sent, nor soon after the machine woke', (t) => {
  const idle = new RelayPolicy(0);
  idle.decide(1_000, 0, 1);
  t.true(idle.decide(60_999, 0, 1));
  const quiet = new RelayPolicy(0);
  quiet.decide(1_000, 0, 1);
  t.false(quiet.decide(61_000, 0, 1));
  const woken = new RelayPolicy(0);
  woken.woke(100_000);
  t.false(woken.decide(159_999, 0, 1));
  t.true(woken.decide(160_000, 0, 2));
});

async function server(t: ExecutionContext): Promise<{ server: Server; port: number }> {
  const s = createServer();
  s.listen(0, '127.0.0.1');
  await once(s, 'listening');
  t.teardown(() => s.close());
  return { server: s, port: (s.address() as AddressInfo).port };
}

test('a connection greets, carries both ways and says when it ends', async (t) => {
  const { server: s, port } = await server(t);
  const heard: RelayedDatagram[] = [];
  let wake = (): void => undefined;
  const relay = new TcpRelay(
    () => undefined,
    (d) => {
      heard.push(d);
      wake();
    },
    () => wake(),
  );
  t.teardown(() => relay.close());
  const until = async (so: () => boolean): Promise<void> => {
    while (!so()) await new Promise<void>((r) => (wake = r));
  };
  relay.send(at('99.1.1.1', 9), Uint8Array.of(1));
  t.is(relay.counters.dropped, 1, 'not open yet');
  const accepted = once(s, 'connection') as Promise<[Socket]>;
  relay.open(0, at('127.0.0.1', port));
  const [peer] = await accepted;
  let received = '';
  peer.on('data', (d: Buffer) => {
    received += d.toString('hex');
    wake();
  });
  await until(() => relay.isOpen && received === toHex(greetingFrame()));
  relay.send(at('99.1.1.1', 9), Uint8Array.of(7, 8));
  relay.send(at('10.1.1.1', 9), Uint8Array.of(7, 8));
  t.is(relay.counters.dropped, 2, 'not for private addresses');
  await until(() => received.length > 18);
  t.is(received.slice(18), '17030300090463010101' + '0009' + '0708');
  peer.write(datagramFrame(at('99.2.2.2', 77), Uint8Array.of(5)));
  await until(() => heard.length > 0);
  t.is(inetAddressText(heard[0]!.from), '99.2.2.2/77');
  t.deepEqual([...heard[0]!.bytes], [5]);
  peer.write('GET / HTTP/1.1\r\n\r\n');
  await until(() => !relay.isOpen);
  t.is(relay.counters.failed, 1);
});

test('a server that ends the connection is tried again after 10 s, another one at once', async (t) => {
  const [first, second] = [await server(t), await server(t)];
  const accepted = { first: 0, second: 0 };
  let wake = (): void => undefined;
  first.server.on('connection', (c) => {
    accepted.first++;
    c.on('error', () => undefined);
    c.destroy();
  });
  second.server.on('connection', () => {
    accepted.second++;
    wake();
  });
  let changes = 0;
  const relay = new TcpRelay(
    () => undefined,
    () => undefined,
    () => {
      changes++;
      wake();
    },
  );
  t.teardown(() => relay.close());
  const until = async (so: () => boolean): Promise<void> => {
    while (!so()) await new Promise<void>((r) => (wake = r));
  };
  relay.open(0, at('127.0.0.1', first.port));
  await until(() => changes === 2);
  relay.open(9_999, at('127.0.0.1', first.port));
  relay.open(10_000, at('127.0.0.1', first.port));
  await until(() => changes === 4);
  t.is(accepted.first, 2, 'once each, and not at 9,999');
  relay.open(10_001, at('127.0.0.1', second.port));
  await until(() => accepted.second === 1);
  t.pass();
});
