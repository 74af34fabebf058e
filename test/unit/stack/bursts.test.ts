/** Much to send at once: how many frames leave before the other side is heard, and what waits. */
import test from 'ava';
import { any, B4, expectClean, on, Peer, pattern, Server, World } from './world.js';

/** lwip-stack.ts FRAMES_MAX. */
const BURST = 128;
/** lwip-port/port_api.h PORT_FRAMES_MAX. */
const RING = 4096;
const CONNECTIONS = 300;

test('a drain hands out a bounded burst, and the rest is due at once', (t) => {
  const world = new World({ latencyMs: 10 });
  const server = new Server(world, world.b, any(80));
  const clients = Array.from({ length: CONNECTIONS }, () =>
    new Peer(world, world.a).connect(on(B4, 80)),
  );
  t.true(world.run(() => clients.every((c) => c.isConnected)));
  world.pass(1_000);
  for (const c of clients)
    t.is(world.a.tcpWrite(world.at, c.handle!, pattern(10_000), false), 10_000);

  const before = world.frames;
  world.drain(world.a);
  t.is(world.frames - before, BURST);
  t.true(world.a.deadline() <= world.at.mono, 'due at once');
  let drains = 1;
  for (; world.a.deadline() <= world.at.mono; drains++) {
    const sent = world.frames;
    world.a.handleTimeout(world.at);
    world.drain(world.a);
    const burst = world.frames - sent;
    t.true(burst > 0 && burst <= BURST, `${burst} frames`);
  }
  // An initial window is three segments of 2,760 bytes or more [RFC 5681 section 3.1].
  t.true(world.frames - before >= 3 * CONNECTIONS);
  t.true(drains >= (3 * CONNECTIONS) / BURST);

  t.true(world.run(() => server.peers.every((p) => p.received === 10_000)));
  for (const c of clients) c.close();
  for (const p of server.peers) p.close();
  expectClean(t, world, ...clients, ...server.peers, server);
});

test('when the ring of frames is full, datagrams are refused and counted, and TCP waits', (t) => {
  const world = new World({ latencyMs: 1 });
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80));
  t.true(world.run(() => client.isConnected && server.peers.length === 1));
  const handle = world.a.udpOpen(world.at, any(0), false, {
    onDatagram: () => {},
    onUnreachable: () => {},
  });
  if (typeof handle === 'string') throw new Error(handle);
  let taken = 0;
  while (world.a.udpSend(world.at, handle, on(B4, 9), pattern(100)) === undefined) taken++;
  t.is(taken, RING);
  t.is(world.a.udpSend(world.at, handle, on(B4, 9), pattern(100)), 'ENOBUFS');
  t.is(world.a.counters()['dropTxFull'], 2);
  client.send(100_000);
  t.true(world.run(() => server.peer.received === 100_000));
  world.a.udpClose(world.at, handle);
  client.close();
  server.peer.close();
  expectClean(t, world, client, server.peer, server);
});
