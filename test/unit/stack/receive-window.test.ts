/** Receive windows: what peers may leave in the memory of a service whose programs do not read. */
import test from 'ava';
import { any, B4, expectClean, on, Peer, Server, World } from './world.js';

const MIB = 1024 * 1024;
/** lwip-port/port_tcp.c */
const FIRST = 65_535;
const GROWN_MAX = 256 * MIB;

const silent = (p: Peer): void => {
  p.autoCredit = false;
};

const windows = (world: World): number => world.b.counters()['rxWindowUsed'] ?? -1;

test('a program that reads nothing is sent one first window, on either side', (t) => {
  const world = new World({ latencyMs: 1 });
  const server = new Server(world, world.b, any(80), {
    each: (p) => {
      silent(p);
      p.send(MIB);
    },
  });
  const client = new Peer(world, world.a).connect(on(B4, 80));
  silent(client);
  client.send(MIB);
  world.pass(2_000);
  for (const p of [client, server.peer])
    t.true(p.received > FIRST / 2 && p.received <= FIRST, `${p.received} bytes`);
  t.is(windows(world), 0);
  // What it reads late is not lost.
  for (const p of [client, server.peer]) {
    p.autoCredit = true;
    p.credit();
  }
  t.true(world.run(() => client.received === MIB && server.peer.received === MIB, 60_000));
  client.close();
  server.peer.close();
  expectClean(t, world, client, server.peer, server);
});

test('the window of a program that reads grows to 1 MiB, and is given back', (t) => {
  const world = new World({ latencyMs: 20 });
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80));
  client.send(8 * MIB);
  t.true(world.run(() => server.peers[0]?.received === 8 * MIB, 60_000));
  t.is(windows(world), MIB - FIRST);
  const before = server.peer.received;
  silent(server.peer);
  client.send(4 * MIB);
  world.pass(5_000);
  const held = server.peer.received - before;
  t.true(held > MIB / 2 && held <= MIB, `${held} bytes`);
  client.close();
  server.peer.close();
  expectClean(t, world, client, server.peer, server);
  t.is(windows(world), 0);
});

test('all windows together grow by 256 MiB, and no connection waits for them', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80), { backlog: 4096 });
  const count = Math.ceil(GROWN_MAX / (MIB - FIRST)) + 10;
  const clients = Array.from({ length: count }, () => new Peer(world, world.a).connect(on(B4, 80)));
  t.true(world.run(() => clients.every((c) => c.isConnected)));
  for (const c of clients) c.send(2 * MIB);
  t.true(world.run(() => server.peers.every((p) => p.received === 2 * MIB), 600_000));
  t.is(windows(world), GROWN_MAX);
  const late = new Peer(world, world.a).connect(on(B4, 80));
  late.send(2 * MIB);
  t.true(world.run(() => server.peers[count]?.received === 2 * MIB, 600_000));
  t.is(windows(world), GROWN_MAX);
  for (const p of [late, ...clients, ...server.peers]) p.close();
  expectClean(t, world, late, ...clients, ...server.peers, server);
  t.is(windows(world), 0);
});
