/** TCP of two stacks: closing, timers and options. */
import test from 'ava';
import { any, B4, expectClean, on, Peer, pattern, Server, World } from './world.js';

const MIB = 1024 * 1024;

test('closing right after writing loses nothing, even over a bad wire', (t) => {
  const world = new World({ seed: 11, latencyMs: 20, loss: 0.03 });
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80));
  client.send(3 * MIB, 'close');
  t.true(world.run(() => server.peers[0]?.hasFin === true, 3_600_000));
  t.is(client.handle, undefined);
  t.is(server.peer.received, 3 * MIB);
  t.is(server.peer.inDigest(), client.outDigest());
  t.is(server.peer.error, undefined);
  expectClean(t, world, server.peer, server);
});

test('closing after the peer closed loses nothing to a slow reader', (t) => {
  const world = new World({ latencyMs: 1 });
  const server = new Server(world, world.b, any(80), {
    each: (p) => {
      p.onFinished = () => p.send(4 * MIB, 'close');
    },
  });
  const client = new Peer(world, world.a).connect(on(B4, 80));
  client.autoCredit = false;
  client.send(10, 'shutdown');
  while (!client.hasFin) {
    world.pass(20_000); // far longer than any of lwIP's own closing timers when repeated
    client.credit();
    if (client.error !== undefined) break;
  }
  t.is(client.error, undefined);
  t.is(client.received, 4 * MIB);
  t.is(client.inDigest(), server.peer.outDigest());
  expectClean(t, world, client, server);
});

test('a FIN waits as long as it takes for a window to open', (t) => {
  const world = new World({ latencyMs: 1 });
  const server = new Server(world, world.b, any(80), {
    each: (p) => {
      p.autoCredit = false;
    },
  });
  const client = new Peer(world, world.a).connect(on(B4, 80));
  t.true(world.run(() => client.isConnected && server.peers.length === 1));
  const room = 1024 * 1024 - 64;
  client.send(room, 'shutdown');
  world.pass(10_000);
  world.pass(3_600_000);
  t.is(client.error, undefined);
  server.peer.autoCredit = true;
  server.peer.credit();
  t.true(world.run(() => server.peer.hasFin));
  t.is(server.peer.received, room);
  expectClean(t, world, client, server.peer, server);
});

test('data that arrives after close is answered with a reset', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80));
  t.true(world.run(() => server.peers.length === 1 && client.isConnected));
  client.close();
  t.true(world.run(() => server.peer.hasFin));
  t.is(server.peer.error, undefined);
  server.peer.send(100);
  t.true(world.run(() => server.peer.error !== undefined));
  t.is(server.peer.error, 'ECONNRESET');
  expectClean(t, world, server);
});

test('closing with unread data resets, as on Linux', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80));
  t.true(world.run(() => server.peers.length === 1));
  let callbacks = 0;
  server.peer.onBytes = () => {
    if (callbacks++ === 0) server.peer.close();
  };
  client.send(MIB);
  t.true(world.run(() => client.error !== undefined));
  t.is(client.error, 'ECONNRESET');
  t.is(callbacks, 1, 'no callback after close');
  expectClean(t, world, client, server);
});

test('an orphan whose peer never closes ends after the FIN_WAIT_2 time', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80));
  t.true(world.run(() => server.peers.length === 1));
  client.close();
  world.pass(55_000);
  t.is(world.a.counters()['tcpActiveUsed'], 1);
  world.pass(10_000);
  t.is(world.a.counters()['tcpActiveUsed'], 0);
  expectClean(t, world, server.peer, server);
});

test('a connection that lost its peer ends with ETIMEDOUT', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80));
  t.true(world.run(() => client.isConnected && server.peers.length === 1));
  world.filter = () => undefined;
  client.send(1000);
  t.true(world.run(() => client.error !== undefined, 3_600_000));
  t.is(client.error, 'ETIMEDOUT');
  expectClean(t, world, server.peer, server);
});

test('keep-alive finds a dead peer in idle + count * interval', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80));
  t.true(world.run(() => client.isConnected));
  world.a.tcpSetOptions(world.at, client.handle!, {
    keepAlive: { idleMs: 10_000, intervalMs: 1000, count: 3 },
  });
  world.pass(60_000);
  t.is(client.error, undefined, 'an answering peer is left alone');
  world.filter = () => undefined;
  const start = world.at.mono;
  t.true(world.run(() => client.error !== undefined));
  t.is(client.error, 'ETIMEDOUT');
  const took = world.at.mono - start;
  t.true(took > 3000 && took < 14_000, `${took} ms`);
  expectClean(t, world, server.peer, server);
});

test('without noDelay small writes wait for the acknowledgement, with it they leave at once', (t) => {
  const world = new World({ latencyMs: 10 });
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80));
  t.true(world.run(() => client.isConnected && server.peers.length === 1));
  const count = (): number => {
    const before = world.frames;
    for (let i = 0; i < 5; i++) {
      world.a.tcpWrite(world.at, client.handle!, pattern(10), false);
      world.drain(world.a);
    }
    return world.frames - before;
  };
  t.is(count(), 1);
  t.true(world.run(() => server.peer.received === 50));
  world.a.tcpSetOptions(world.at, client.handle!, { noDelay: true });
  t.is(count(), 5);
  t.true(world.run(() => server.peer.received === 100));
  expectClean(t, world, client, server.peer, server);
});

test('a shutdown during the handshake sends FIN after it', (t) => {
  const world = new World({ latencyMs: 5 });
  const server = new Server(world, world.b, any(80), { each: (p) => p.send(10) });
  const client = new Peer(world, world.a).connect(on(B4, 80));
  t.is(world.a.tcpWrite(world.at, client.handle!, pattern(10), false), 0);
  world.a.tcpShutdown(world.at, client.handle!);
  t.true(world.run(() => server.peers[0]?.hasFin === true && client.received === 10));
  t.is(server.peer.received, 0);
  expectClean(t, world, client, server.peer, server);
});

test('closing during the handshake leaves nothing', (t) => {
  const world = new World({ latencyMs: 5 });
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80));
  client.close();
  world.pass(1000);
  t.is(world.a.counters()['tcpHandlesUsed'], 0);
  expectClean(t, world, ...server.peers, server);
});

test('tcpInfo tells state, segment size and what is in flight', (t) => {
  const world = new World({ latencyMs: 50 });
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80));
  t.is(world.a.tcpInfo(client.handle!)?.state, 2);
  t.true(world.run(() => client.isConnected));
  client.send(1000);
  world.flush();
  const info = world.a.tcpInfo(client.handle!);
  t.is(info?.state, 4);
  t.is(info?.sendMss, 2800 - 40 - 12);
  t.is(info?.unacked, 1000);
  expectClean(t, world, client, server);
});
