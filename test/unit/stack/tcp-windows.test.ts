/** TCP of two stacks: windows, and the memory that peers who do not read may hold. */
import test from 'ava';
import { any, B4, expectClean, type Frame, on, Peer, pattern, Server, World } from './world.js';

const MIB = 1024 * 1024;

test('a receiver that withholds credit stalls the sender in bounded memory, and then resumes', (t) => {
  const world = new World({ latencyMs: 1 });
  const server = new Server(world, world.b, any(80), {
    each: (p) => {
      p.autoCredit = false;
    },
  });
  const client = new Peer(world, world.a).connect(on(B4, 80));
  client.send(8 * MIB, 'shutdown');
  t.false(world.run(() => client.written === 8 * MIB, 5000));
  const stalledAt = server.peer.received;
  t.true(stalledAt > 32_768 && stalledAt < 65_536, `${stalledAt} bytes before the stall`);
  const level = world.a.counters()['heapBytes'] ?? 0;
  world.pass(120_000);
  t.is(server.peer.received, stalledAt);
  t.true(Math.abs((world.a.counters()['heapBytes'] ?? 0) - level) < 65536);
  t.is(client.error, undefined);
  server.peer.autoCredit = true;
  server.peer.credit();
  t.true(world.run(() => server.peer.hasFin));
  t.is(server.peer.inDigest(), client.outDigest());
  expectClean(t, world, client, server.peer, server);
});

test('two stalled receivers do not answer each other for ever', (t) => {
  const world = new World({ latencyMs: 1 });
  const stall = (p: Peer): void => {
    p.autoCredit = false;
    p.send(2 * MIB);
  };
  const server = new Server(world, world.b, any(80), { each: stall });
  const client = new Peer(world, world.a).connect(on(B4, 80));
  stall(client);
  world.pass(10_000);
  const before = world.frames;
  world.pass(60_000);
  t.true(world.frames - before < 100, `${world.frames - before} frames in a minute`);
  client.autoCredit = true;
  client.credit();
  server.peer.autoCredit = true;
  server.peer.credit();
  t.true(world.run(() => client.received + server.peer.received === 4 * MIB));
  expectClean(t, world, client, server.peer, server);
});

test('tcpSendRoom and tcpWrite agree, and what is taken is acknowledged by onSent', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80));
  t.true(world.run(() => client.isConnected));
  const room = world.a.tcpSendRoom(client.handle!);
  const n = world.a.tcpWrite(world.at, client.handle!, pattern(2 * MIB), false);
  t.is(n, room);
  t.is(world.a.tcpSendRoom(client.handle!), 0);
  t.true(world.run(() => client.sent === n));
  t.is(world.a.tcpSendRoom(client.handle!), room);
  t.is(server.peer.received, n);
  expectClean(t, world, client, server.peer, server);
});

/** Frames with data from `from`, to port `port` if given. */
const isData = (f: Frame, port?: number): boolean =>
  f.payload.length > 500 && (port === undefined || f.payload[22]! * 256 + f.payload[23]! === port);

test('when the heap is full writers wait, control traffic goes on, and everybody finishes', (t) => {
  const world = new World({ mtu: 10_000 });
  const server = new Server(world, world.b, any(80), { backlog: 4096 });
  const first = new Peer(world, world.a).connect(on(B4, 80)); // also finds the neighbour
  t.true(world.run(() => first.isConnected));
  world.filter = (f, from) => (from === world.a && isData(f) ? undefined : f);
  const [each, count] = [48_000, 5_000];
  const clients: Peer[] = [];
  while (clients.length < count) {
    for (let i = 0; i < 500; i++) clients.push(new Peer(world, world.a).connect(on(B4, 80)));
    for (const c of clients.slice(-500)) c.send(each);
    t.true(world.run(() => clients.every((c) => c.isConnected)));
  }
  const { heapBytes = 0, heapFail } = world.a.counters();
  t.true(heapBytes > 145 * MIB && heapBytes < 160 * MIB, `${heapBytes} bytes of heap`);
  t.is(heapFail, 0, 'nothing ran into the end of the heap');
  t.is(world.a.tcpSendRoom(first.handle!), 0);
  const another = new Peer(world, world.a).connect(on(B4, 80));
  t.true(world.run(() => another.isConnected, 1000));
  world.filter = (f) => f;
  first.send(10);
  const total = count * each + 10;
  const received = (): number => server.peers.reduce((sum, p) => sum + p.received, 0);
  t.true(
    world.run(() => received() === total, 120_000),
    `${received()} of ${total}`,
  );
  expectClean(t, world, first, another, ...clients, ...server.peers, server);
});

test('peers that do not read leave memory for everybody else', (t) => {
  const world = new World();
  const silent = new Server(world, world.b, any(81));
  const server = new Server(world, world.b, any(80));
  const first = new Peer(world, world.a).connect(on(B4, 80));
  t.true(world.run(() => first.isConnected));
  world.filter = (f, from) => (from === world.a && isData(f, 81) ? undefined : f);
  const connect = (port: number, count: number, bytes: number): Peer[] => {
    const peers = Array.from({ length: count }, () =>
      new Peer(world, world.a).connect(on(B4, port)),
    );
    for (const p of peers) p.send(bytes);
    t.true(world.run(() => peers.every((p) => p.isConnected)));
    return peers;
  };
  const lost = connect(81, 300, 2 * MIB);
  const most = Math.max(...lost.map((p) => p.written));
  t.true(most > MIB / 2, `while there is memory a connection gets a large share: ${most}`);
  const each = 100_000;
  const active = connect(80, 500, each);
  const got = (): number[] => server.peers.slice(1).map((p) => p.received);
  const sum = (): number => got().reduce((a, b) => a + b, 0);
  t.true(
    world.run(() => sum() >= (500 * each) / 2, 60_000),
    `${sum()} bytes arrived`,
  );
  const least = Math.min(...got());
  t.true(least >= each / 10, `one has ${least} bytes when ${each / 2} are the average`);
  t.true(
    world.run(() => sum() === 500 * each, 60_000),
    `${sum()} bytes arrived`,
  );
  const { heapBytes = 0 } = world.a.counters();
  t.true(heapBytes < 120 * MIB, `${heapBytes} bytes of heap are held by those that do not read`);
  for (const p of lost) world.a.tcpAbort(world.at, p.handle!);
  for (const p of silent.peers) world.b.tcpAbort(world.at, p.handle!);
  expectClean(t, world, first, ...active, ...server.peers, server, silent);
});

test('a host that stalls with thousands of connections loses none whose peer does not read', (t) => {
  const world = new World();
  const stall = (p: Peer): void => {
    p.autoCredit = false;
  };
  const silent = new Server(world, world.b, any(81), { each: stall });
  const server = new Server(world, world.b, any(80), { backlog: 4096 });
  const stuck = Array.from({ length: 5 }, () => new Peer(world, world.a).connect(on(B4, 81)));
  t.true(world.run(() => stuck.every((p) => p.isConnected)));
  const busy: Peer[] = [];
  while (busy.length < 5_000) {
    for (let i = 0; i < 500; i++) busy.push(new Peer(world, world.a).connect(on(B4, 80)));
    t.true(world.run(() => busy.every((c) => c.isConnected)));
  }
  // Some round trips, so that the time until a repetition is short.
  for (let i = 0; i < 10; i++) {
    for (const p of busy) p.send(600);
    world.pass(100);
  }
  for (const p of stuck) p.send(2 * MIB);
  world.pass(500);
  world.filter = (f, from) => (from === world.a && isData(f, 80) ? undefined : f);
  for (const p of busy) p.send(600);
  world.flush();
  for (let i = 0; i < 8; i++) {
    world.stall(2_000);
    world.pass(10);
  }
  t.deepEqual([...new Set(stuck.map((p) => p.error))], [undefined]);
  world.filter = (f) => f;
  for (const p of silent.peers) {
    p.autoCredit = true;
    p.credit();
  }
  const received = (): number => silent.peers.reduce((sum, p) => sum + p.received, 0);
  t.true(world.run(() => received() === 5 * 2 * MIB, 120_000));
  expectClean(t, world, ...stuck, ...busy, ...silent.peers, ...server.peers, silent, server);
});
