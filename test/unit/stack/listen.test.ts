import test from 'ava';
import type { ListenSink } from '#src/stack/stack.js';
import { A4, any, B4, B6, expectClean, ip4, on, Peer, Server, World } from './world.js';

const REFUSE: ListenSink = { onAccept: () => undefined };
const ANY6 = new Uint8Array(16);

test('a connection that the sink refuses is reset', (t) => {
  const world = new World();
  const handle = world.b.tcpListen(world.at, any(80), false, 8, REFUSE);
  if (typeof handle !== 'number') return t.fail();
  const client = new Peer(world, world.a).connect(on(B4, 80));
  t.true(world.run(() => client.error !== undefined));
  t.is(client.error, 'ECONNRESET');
  world.b.tcpListenClose(world.at, handle);
  expectClean(t, world);
});

test('data that came with the handshake follows onAccept', (t) => {
  const world = new World();
  const order: string[] = [];
  const handle = world.b.tcpListen(world.at, any(80), false, 8, {
    onAccept: (h) => {
      order.push('accept');
      return {
        onConnected: () => order.push('connected'),
        onData: (bytes) => {
          order.push(`data ${bytes.length}`);
          world.b.tcpCredit(world.at, h, bytes.length);
        },
        onSent: () => order.push('sent'),
        onFin: () => {
          order.push('fin');
          world.b.tcpClose(world.at, h);
        },
        onError: (e) => order.push(e),
      };
    },
  });
  if (typeof handle !== 'number') return t.fail();
  const client = new Peer(world, world.a).connect(on(B4, 80));
  client.send(10, 'close');
  t.true(world.run(() => order.includes('fin')));
  t.deepEqual(order, ['accept', 'data 10', 'fin']);
  expectClean(t, world, { close: () => world.b.tcpListenClose(world.at, handle) });
});

test('above the backlog SYNs are dropped, not reset, and served when there is room', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80), {
    backlog: 3,
    each: (p) => world.b.tcpBacklogHold(world.at, p.handle!, true),
  });
  const clients = Array.from({ length: 5 }, () => new Peer(world, world.a).connect(on(B4, 80)));
  world.run(() => false, 700);
  t.is(server.peers.length, 3);
  t.is(clients.filter((c) => c.isConnected).length, 3);
  t.true(clients.every((c) => c.error === undefined));
  t.true((world.b.counters()['dropSynBacklog'] ?? 0) >= 2);
  for (const p of server.peers.slice(0, 2)) world.b.tcpBacklogHold(world.at, p.handle!, false);
  t.true(world.run(() => clients.every((c) => c.isConnected), 10_000));
  expectClean(t, world, ...clients, ...server.peers, server);
});

test('half-open connections count against the backlog and time out', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80), { backlog: 2 });
  // SYN-ACKs get lost: the connections stay half open
  world.filter = (f, from) => (from === world.b && f.etherType === 0x0800 ? undefined : f);
  const clients = Array.from({ length: 4 }, () => new Peer(world, world.a).connect(on(B4, 80)));
  world.pass(500);
  t.is(world.b.counters()['tcpActiveUsed'], 2);
  for (const c of clients) c.close();
  world.pass(60_000);
  t.is(world.b.counters()['tcpActiveUsed'], 0);
  world.filter = (f) => f;
  const late = new Peer(world, world.a).connect(on(B4, 80));
  t.true(world.run(() => late.isConnected, 1000));
  expectClean(t, world, late, ...server.peers, server);
});

test('a backlog of 4096 is not cut to 8 bits', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80), {
    backlog: 4096,
    each: (p) => world.b.tcpBacklogHold(world.at, p.handle!, true),
  });
  const first = new Peer(world, world.a).connect(on(B4, 80)); // also finds the neighbour
  t.true(world.run(() => first.isConnected));
  const clients = Array.from({ length: 600 }, () => new Peer(world, world.a).connect(on(B4, 80)));
  t.true(world.run(() => server.peers.length === 601, 900));
  t.is(world.b.counters()['dropSynBacklog'], 0);
  expectClean(t, world, first, ...clients, ...server.peers, server);
});

test('closing a listener refuses new connections and keeps accepted ones', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80));
  t.true(world.run(() => server.peers.length === 1));
  server.close();
  const late = new Peer(world, world.a).connect(on(B4, 80));
  t.true(world.run(() => late.error !== undefined));
  t.is(late.error, 'ECONNREFUSED');
  client.send(1000, 'shutdown');
  t.true(world.run(() => server.peer.hasFin));
  t.is(server.peer.received, 1000);
  const again = new Server(world, world.b, any(80));
  expectClean(t, world, client, server.peer, again);
});

test('closing a listener resets connections that were not handed out', (t) => {
  const world = new World({ latencyMs: 10 });
  const server = new Server(world, world.b, any(80));
  world.filter = (f, from) => (from === world.b && f.etherType === 0x0800 ? undefined : f);
  const client = new Peer(world, world.a).connect(on(B4, 80));
  world.pass(100);
  t.is(world.b.counters()['tcpActiveUsed'], 1);
  world.filter = (f) => f;
  server.close();
  t.true(world.run(() => client.error !== undefined, 5000));
  t.is(client.error, 'ECONNREFUSED');
  expectClean(t, world);
});

test('address conflicts are EADDRINUSE, foreign addresses EADDRNOTAVAIL', (t) => {
  const world = new World();
  const { b, at } = world;
  const server = new Server(world, b, on(B4, 80));
  t.is(b.tcpListen(at, on(B4, 80), false, 8, REFUSE), 'EADDRINUSE');
  t.is(b.tcpListen(at, any(80), false, 8, REFUSE), 'EADDRINUSE');
  t.is(b.tcpListen(at, on(ip4('0.0.0.0'), 80), false, 8, REFUSE), 'EADDRINUSE');
  t.is(b.tcpListen(at, on(ANY6, 80), false, 8, REFUSE), 'EADDRINUSE');
  t.is(b.tcpListen(at, on(A4, 80), false, 8, REFUSE), 'EADDRNOTAVAIL');
  t.is(b.tcpListen(at, on(new Uint8Array(7), 80), false, 8, REFUSE), 'EINVAL');
  const six = new Server(world, b, on(ANY6, 80), { v6Only: true });
  const loopback = new Server(world, b, on(ip4('127.0.0.1'), 80));
  expectClean(t, world, server, six, loopback);
});

test('listeners of each family hear only theirs; the wildcard hears both', (t) => {
  const world = new World();
  const four = new Server(world, world.b, on(ip4('0.0.0.0'), 80));
  const six = new Server(world, world.b, on(ANY6, 80), { v6Only: true });
  const both = new Server(world, world.b, on(ANY6, 81));
  const clients = [
    new Peer(world, world.a).connect(on(B4, 80)),
    new Peer(world, world.a).connect(on(B6, 80)),
    new Peer(world, world.a).connect(on(B4, 81)),
    new Peer(world, world.a).connect(on(B6, 81)),
  ];
  const counts = (): number[] => [four, six, both].map((s) => s.peers.length);
  t.true(world.run(() => counts().every((n) => n > 0) && clients.every((c) => c.isConnected)));
  world.pass(10);
  t.deepEqual(counts(), [1, 1, 2]);
  const peers = [four, six, both].flatMap((s) => s.peers);
  expectClean(t, world, ...clients, ...peers, four, six, both);
});

test('port 0 listens on an ephemeral port that tcpListenName tells', (t) => {
  const world = new World();
  const server = new Server(world, world.b, on(B4, 0));
  const name = world.b.tcpListenName(server.handle);
  t.true((name?.port ?? 0) >= 49152);
  t.deepEqual(name?.ip, B4);
  const client = new Peer(world, world.a).connect(on(B4, name?.port ?? 0));
  t.true(world.run(() => client.isConnected));
  expectClean(t, world, client, ...server.peers, server);
});
