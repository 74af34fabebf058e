/** Many connections that begin at once: how many frames leave before the other side is heard. */
import test from 'ava';
import { any, B4, expectClean, on, Peer, pattern, Server, World } from './world.js';

/** lwip-stack.ts FRAMES_MAX. */
const BURST = 128;
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
