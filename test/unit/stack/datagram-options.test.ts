/** How datagrams are sent and refused, and multicast groups, between two lwIP stacks. */
import test from 'ava';
import type {
  DatagramOptions,
  Endpoint,
  IpBytes,
  StackErrno,
  UdpHandle,
  UdpSink,
} from '#src/stack/stack.js';
import { A4, A6, any, B4, B6, expectClean, ip4, ip6, on, pattern, World } from './world.js';

class Socket implements UdpSink {
  readonly got: { from: Endpoint; to: IpBytes; ttl: number; tos: number; len: number }[] = [];
  readonly errors: StackErrno[] = [];
  readonly handle: UdpHandle;
  readonly #world: World;
  readonly #stack: World['a'];
  wanted = true;

  constructor(world: World, stack: World['a'], local: Endpoint, reuse = false) {
    this.#world = world;
    this.#stack = stack;
    const handle = stack.udpOpen(world.at, local, reuse, this);
    if (typeof handle !== 'number') throw new Error(handle);
    this.handle = handle;
  }

  send(to: Endpoint, len: number, options?: DatagramOptions): StackErrno | undefined {
    const result = this.#stack.udpSend(this.#world.at, this.handle, to, pattern(len), options);
    this.#world.flush();
    return result;
  }

  close(): void {
    this.#stack.udpClose(this.#world.at, this.handle);
  }

  isWanted(): boolean {
    return this.wanted;
  }

  onDatagram(payload: Uint8Array, from: Endpoint, to: IpBytes, ttl: number, tos: number): void {
    this.got.push({ from, to, ttl, tos, len: payload.length });
  }

  onUnreachable(_to: Endpoint, errno: StackErrno): void {
    this.errors.push(errno);
  }
}

for (const [name, own, peer] of [
  ['IPv4', A4, B4],
  ['IPv6', A6, B6],
] as const) {
  test(`${name}: TTL, TOS and source are as told; without options as before`, (t) => {
    const world = new World();
    const server = new Socket(world, world.b, any(53));
    const client = new Socket(world, world.a, any(0));
    t.is(client.send(on(peer, 53), 1, { ttl: 7, tos: 0x28, source: own }), undefined);
    t.is(client.send(on(peer, 53), 2), undefined);
    t.true(world.run(() => server.got.length === 2));
    const [told, plain] = server.got;
    t.deepEqual([told?.ttl, told?.tos, told?.from.ip], [7, 0x28, own]);
    t.deepEqual([plain?.ttl, plain?.tos, plain?.from.ip], [64, 0, own]);
    expectClean(t, world, server, client);
  });

  for (const len of [5, 4000]) {
    test(`${name}: ${len} bytes that nobody wants are answered with port unreachable`, (t) => {
      const world = new World();
      const server = new Socket(world, world.b, any(53));
      const client = new Socket(world, world.a, any(0));
      server.wanted = false;
      client.send(on(peer, 53), len);
      t.true(world.run(() => client.errors.length === 1));
      t.deepEqual(client.errors, ['ECONNREFUSED']);
      t.is(server.got.length, 0);
      t.is(world.b.counters()['udpRefused'], 1);
      expectClean(t, world, server, client);
    });
  }

  test(`${name}: a refusal over loopback reaches the own sender`, (t) => {
    const world = new World();
    const server = new Socket(world, world.a, any(53));
    const client = new Socket(world, world.a, any(0));
    server.wanted = false;
    client.send(on(own, 53), 5);
    t.true(world.run(() => client.errors.length === 1));
    expectClean(t, world, server, client);
  });
}

test('a source of the other family is EINVAL', (t) => {
  const world = new World();
  const client = new Socket(world, world.a, any(0));
  t.is(client.send(on(B4, 53), 1, { source: A6 }), 'EINVAL');
  expectClean(t, world, client);
});

for (const [name, group, mac] of [
  ['IPv4', ip4('239.129.2.3'), [0x01, 0x00, 0x5e, 0x01, 0x02, 0x03]],
  ['IPv6', ip6('ff02::1234'), [0x33, 0x33, 0, 0, 0x12, 0x34]],
] as const) {
  test(`${name}: a multicast arrives only while the group is joined, and the group is named`, (t) => {
    const world = new World();
    const server = new Socket(world, world.b, any(5353));
    const client = new Socket(world, world.a, any(0));
    const named = () => world.b.multicastGroups().filter((g) => g.mac.join() === mac.join()).length;
    client.send(on(group, 5353), 1);
    world.pass(100);
    t.deepEqual([server.got.length, named()], [0, 0]);
    t.true(world.b.groupJoin(world.at, group));
    t.true(world.b.groupJoin(world.at, group));
    t.is(named(), 1);
    client.send(on(group, 5353), 2, { ttl: 1 });
    t.true(world.run(() => server.got.length === 1));
    t.deepEqual([server.got[0]?.to, server.got[0]?.ttl], [group, 1]);
    world.b.groupLeave(world.at, group);
    client.send(on(group, 5353), 3);
    t.true(
      world.run(() => server.got.length === 2),
      'joined twice, left once',
    );
    world.b.groupLeave(world.at, group);
    t.is(named(), 0);
    client.send(on(group, 5353), 4);
    world.pass(100);
    t.is(server.got.length, 2);
    expectClean(t, world, server, client);
  });

  test(`${name}: a multicast comes back to the own sockets only when asked to`, (t) => {
    const world = new World();
    const server = new Socket(world, world.a, any(5353));
    const client = new Socket(world, world.a, any(0));
    world.a.groupJoin(world.at, group);
    client.send(on(group, 5353), 1, { loop: false });
    client.send(on(group, 5353), 2, { loop: true });
    t.true(world.run(() => server.got.length === 1));
    t.is(server.got[0]?.len, 2);
    t.deepEqual(server.got[0]?.from.ip, group.length === 4 ? A4 : server.got[0]?.from.ip);
    world.a.groupLeave(world.at, group);
    expectClean(t, world, server, client);
  });
}

test('a broadcast comes back to the own sockets when asked to', (t) => {
  const world = new World();
  const own = new Socket(world, world.a, any(53));
  const other = new Socket(world, world.b, any(53));
  const client = new Socket(world, world.a, any(0));
  client.send(on(ip4('10.0.0.255'), 53), 1, { loop: true });
  client.send(on(ip4('255.255.255.255'), 53), 2, { loop: true });
  client.send(on(ip4('10.0.0.255'), 53), 3);
  t.true(world.run(() => other.got.length === 3));
  t.deepEqual(
    own.got.map((g) => g.len),
    [1, 2],
  );
  expectClean(t, world, own, other, client);
});

test('256 groups can be joined, and one more when one was left', (t) => {
  const world = new World();
  const group = (i: number) => Uint8Array.of(239, 0, i >> 8, i & 0xff);
  for (let i = 0; i < 256; i++) t.true(world.a.groupJoin(world.at, group(i)));
  t.false(world.a.groupJoin(world.at, group(256)));
  world.a.groupLeave(world.at, group(9));
  t.true(world.a.groupJoin(world.at, group(256)));
  t.false(world.a.groupJoin(world.at, A4), 'no group');
  for (let i = 0; i < 257; i++) world.a.groupLeave(world.at, group(i));
  expectClean(t, world);
});

for (const [family, own, peer, request] of [
  [4, A4, B4, 8],
  [6, A6, B6, 128],
] as const) {
  test(`IPv${family}: an echo request carries the source, TTL and TOS it was given`, (t) => {
    const world = new World();
    world.keepFrames = true;
    const replies: number[] = [];
    const sink = { onReply: (m: Uint8Array) => replies.push(m.length) };
    t.is(world.a.echoOpen(world.at, family, 77, sink), undefined);
    const message = Uint8Array.of(request, 0, 0, 0, 0, 77, 0, 1, 9);
    t.is(world.a.echoSend(world.at, peer, message, { source: own, ttl: 9, tos: 4 }), undefined);
    t.true(world.run(() => replies.length === 1));
    const ttlAt = family === 4 ? 8 : 7;
    const isEcho = (p: Uint8Array) => p[family === 4 ? 20 : 40] === request;
    const frame = world.sniffed.find((f) => isEcho(f.payload));
    t.is(frame?.payload[ttlAt], 9);
    world.a.echoClose(world.at, family, 77);
    expectClean(t, world);
  });
}
