import test from 'ava';
import type { Endpoint, IpBytes, StackErrno, UdpHandle, UdpSink } from '#src/stack/stack.js';
import { A4, A6, any, B4, B6, expectClean, ip4, on, pattern, World } from './world.js';

interface Got {
  readonly payload: Uint8Array;
  readonly from: Endpoint;
  readonly to: IpBytes;
  readonly ttl: number;
  readonly tos: number;
}

/** A UDP socket that records what it gets. */
class Socket implements UdpSink {
  readonly got: Got[] = [];
  readonly errors: { to: Endpoint; errno: StackErrno }[] = [];
  readonly handle: UdpHandle;
  readonly #world: World;
  readonly #stack: World['a'];

  constructor(world: World, stack: World['a'], local: Endpoint, reuse = false) {
    this.#world = world;
    this.#stack = stack;
    const handle = stack.udpOpen(world.at, local, reuse, this);
    if (typeof handle !== 'number') throw new Error(handle);
    this.handle = handle;
  }

  send(to: Endpoint, payload: Uint8Array): StackErrno | undefined {
    const result = this.#stack.udpSend(this.#world.at, this.handle, to, payload);
    this.#world.flush();
    return result;
  }

  close(): void {
    this.#stack.udpClose(this.#world.at, this.handle);
  }

  onDatagram(payload: Uint8Array, from: Endpoint, to: IpBytes, ttl: number, tos: number): void {
    this.got.push({ payload: payload.slice(), from, to, ttl, tos });
  }

  onUnreachable(to: Endpoint, errno: StackErrno): void {
    this.errors.push({ to, errno });
  }
}

for (const [name, from, to] of [
  ['IPv4', A4, B4],
  ['IPv6', A6, B6],
] as const) {
  test(`a datagram goes there and back over ${name}`, (t) => {
    const world = new World({ latencyMs: 1 });
    const server = new Socket(world, world.b, any(53));
    const client = new Socket(world, world.a, any(0));
    const port = world.a.udpLocal(client.handle)?.port ?? 0;
    t.true(port >= 49152);
    t.is(client.send(on(to, 53), pattern(100)), undefined);
    t.true(world.run(() => server.got.length === 1));
    t.deepEqual(server.got[0]?.from, on(from, port));
    t.deepEqual(server.got[0]?.to, to);
    t.deepEqual(server.got[0]?.payload, pattern(100));
    t.is(server.send(on(from, port), pattern(0)), undefined);
    t.true(world.run(() => client.got.length === 1));
    t.is(client.got[0]?.payload.length, 0);
    expectClean(t, world, client, server);
  });
}

for (const [name, to, max] of [
  ['IPv4', B4, 65507],
  ['IPv6', B6, 65487],
] as const) {
  test(`${name}: the longest datagram arrives in fragments, one byte more is EMSGSIZE`, (t) => {
    const world = new World({ mtu: 1280 });
    const server = new Socket(world, world.b, any(53));
    const client = new Socket(world, world.a, any(0));
    client.send(on(to, 53), pattern(1));
    t.true(world.run(() => server.got.length === 1));
    t.is(client.send(on(to, 53), pattern(max + 1)), 'EMSGSIZE');
    t.is(client.send(on(to, 53), pattern(max)), undefined);
    t.true(world.run(() => server.got.length === 2));
    t.deepEqual(server.got[1]?.payload, pattern(max));
    expectClean(t, world, client, server);
  });
}

test('a port without socket is reported as ECONNREFUSED to the sender', (t) => {
  const world = new World();
  const client = new Socket(world, world.a, any(0));
  client.send(on(B4, 9), pattern(5));
  client.send(on(B6, 9), pattern(5));
  t.true(world.run(() => client.errors.length === 2));
  t.deepEqual(client.errors, [
    { to: on(B4, 9), errno: 'ECONNREFUSED' },
    { to: on(B6, 9), errno: 'ECONNREFUSED' },
  ]);
  expectClean(t, world, client);
});

test('errors of sending: no route, bad address, port 0', (t) => {
  const world = new World();
  const client = new Socket(world, world.a, any(0));
  t.is(client.send(on(ip4('192.168.9.9'), 1), pattern(1)), 'ENETUNREACH');
  t.is(client.send(on(new Uint8Array(3), 1), pattern(1)), 'EINVAL');
  t.is(client.send(on(B4, 0), pattern(1)), 'EINVAL');
  expectClean(t, world, client);
});

test('conflicting sockets are refused unless both reuse the address', (t) => {
  const world = new World();
  const { a, at } = world;
  const first = new Socket(world, a, any(53));
  t.is(a.udpOpen(at, on(A4, 53), false, first), 'EADDRINUSE');
  t.is(a.udpOpen(at, on(A4, 53), true, first), 'EADDRINUSE');
  t.is(a.udpOpen(at, on(B4, 54), false, first), 'EADDRNOTAVAIL');
  const one = new Socket(world, a, any(55), true);
  const two = new Socket(world, a, on(A4, 55), true);
  expectClean(t, world, first, one, two);
});

test('a specific address is preferred to the wildcard', (t) => {
  const world = new World();
  const wild = new Socket(world, world.b, any(53), true);
  const exact = new Socket(world, world.b, on(B4, 53), true);
  const client = new Socket(world, world.a, any(0));
  client.send(on(B4, 53), pattern(1));
  client.send(on(B6, 53), pattern(2));
  t.true(world.run(() => wild.got.length + exact.got.length === 2));
  t.is(exact.got.length, 1);
  t.is(wild.got[0]?.payload.length, 2);
  expectClean(t, world, wild, exact, client);
});

test('broadcasts reach a wildcard socket', (t) => {
  const world = new World();
  const server = new Socket(world, world.b, any(53));
  const client = new Socket(world, world.a, any(0));
  t.is(client.send(on(ip4('255.255.255.255'), 53), pattern(1)), undefined);
  t.is(client.send(on(ip4('10.0.0.255'), 53), pattern(2)), undefined);
  t.true(world.run(() => server.got.length === 2));
  t.deepEqual(server.got[0]?.to, ip4('255.255.255.255'));
  expectClean(t, world, client, server);
});

test('a socket queues at most 512 datagrams between two drains and drops the newest', (t) => {
  const world = new World();
  const client = new Socket(world, world.a, any(0));
  const server = new Socket(world, world.b, any(53));
  client.send(on(B4, 53), pattern(1));
  t.true(world.run(() => server.got.length === 1));
  world.keepFrames = true;
  client.send(on(B4, 53), pattern(7));
  t.true(world.run(() => server.got.length === 2));
  const frame = world.sniffed.find((f) => f.payload.length === 20 + 8 + 7);
  if (frame === undefined) return t.fail();
  for (let i = 0; i < 600; i++) {
    world.b.frameIn(world.at, frame.dst, frame.src, frame.etherType, frame.payload);
  }
  t.is(world.b.counters()['udpQueuedUsed'], 512);
  world.flush();
  t.is(server.got.length, 2 + 512);
  t.is(world.b.counters()['dropUdpQueue'], 88);
  expectClean(t, world, client, server);
});

test('closing a socket drops what it had queued', (t) => {
  const world = new World();
  const client = new Socket(world, world.a, any(0));
  const server = new Socket(world, world.b, any(53));
  client.send(on(B4, 53), pattern(1));
  t.true(world.run(() => server.got.length === 1));
  world.filter = (f, from) => {
    if (from === world.a) world.b.frameIn(world.at, f.dst, f.src, f.etherType, f.payload);
    return undefined;
  };
  client.send(on(B4, 53), pattern(1));
  server.close();
  world.flush();
  t.is(world.b.counters()['udpUsed'], 0);
  t.is(world.b.udpLocal(server.handle), undefined);
  expectClean(t, world, client);
});

test('all of 127.0.0.0/8 is loopback: each address has its own sockets, and 127.0.0.1 asks', (t) => {
  const world = new World();
  const before = world.frames;
  const one = new Socket(world, world.a, on(ip4('127.0.0.1'), 53));
  const other = new Socket(world, world.a, on(ip4('127.0.0.53'), 53));
  const all = new Socket(world, world.a, any(54));
  const client = new Socket(world, world.a, any(0));
  const port = world.a.udpLocal(client.handle)?.port ?? 0;
  for (const to of ['127.0.0.53', '127.0.0.1', '127.0.0.53'])
    t.is(client.send(on(ip4(to), 53), pattern(10)), undefined);
  t.is(client.send(on(ip4('127.9.9.9'), 54), pattern(10)), undefined);
  t.true(world.run(() => one.got.length === 1 && other.got.length === 2 && all.got.length === 1));
  for (const got of [...one.got, ...other.got, ...all.got])
    t.deepEqual(got.from, on(ip4('127.0.0.1'), port));
  t.deepEqual(all.got[0]?.to, ip4('127.9.9.9'));
  // The answer comes from the address that was asked.
  t.is(other.send(on(ip4('127.0.0.1'), port), pattern(20)), undefined);
  t.true(world.run(() => client.got.length === 1));
  t.deepEqual(client.got[0]?.from, on(ip4('127.0.0.53'), 53));
  // Nobody on the wire can send there.
  t.is(world.frames, before);
  const foreign = new Socket(world, world.b, any(0));
  t.is(foreign.send(on(A4, 53), pattern(10)), undefined);
  world.pass(2_000);
  t.is(other.got.length, 2);
  for (const s of [one, other, all, client, foreign]) s.close();
  expectClean(t, world);
});
