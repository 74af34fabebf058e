/**
 * TCP of two stacks joined by a simulated wire.
 *
 * Contents: transfers and bad wires; half-closes and resets; handshakes and addresses; windows and
 * memory; closing; timers and options; many connections; IPv6; parked connections; TIME_WAIT.
 */
import test from 'ava';
import {
  A4,
  A6,
  any,
  B4,
  B6,
  expectClean,
  type Frame,
  ip4,
  ip6,
  on,
  Peer,
  pattern,
  Server,
  type WireOptions,
  World,
} from './world.js';

const MIB = 1024 * 1024;

function transfer(t: import('ava').ExecutionContext, options: WireOptions, bytes: number): World {
  const world = new World(options);
  const server = new Server(world, world.b, any(80), { each: (p) => p.send(bytes, 'shutdown') });
  const client = new Peer(world, world.a).connect(on(B4, 80));
  client.send(bytes, 'shutdown');
  t.true(
    world.run(() => client.hasFin && server.peers[0]?.hasFin === true, 3_600_000),
    `${client.received} and ${server.peers[0]?.received} bytes arrived`,
  );
  t.is(server.peer.received, bytes);
  t.is(client.received, bytes);
  t.is(server.peer.inDigest(), client.outDigest());
  t.is(client.inDigest(), server.peer.outDigest());
  expectClean(t, world, client, server.peer, server);
  return world;
}

test('a client connects, and 10 MB go each way unharmed', (t) => {
  transfer(t, { latencyMs: 1 }, 10 * MIB);
});

test('data survives loss, duplication and reordering', (t) => {
  const wire = { seed: 7, latencyMs: 5, loss: 0.02, duplicate: 0.02, reorder: 0.1 };
  const world = transfer(t, wire, MIB);
  t.true(world.frames > 0);
});

test('data survives heavy loss', (t) => {
  transfer(t, { seed: 3, latencyMs: 2, loss: 0.1 }, 200_000);
});

for (const mtu of [1280, 1500, 2800, 10000]) {
  test(`segments follow an MTU of ${mtu}`, (t) => {
    const world = new World({ mtu });
    world.keepFrames = true;
    const server = new Server(world, world.b, any(80));
    const client = new Peer(world, world.a).connect(on(B4, 80));
    client.send(300_000);
    t.true(world.run(() => server.peers[0]?.received === 300_000));
    const longest = Math.max(...world.sniffed.map((f) => f.payload.length));
    t.true(longest <= mtu && longest > Math.min(mtu, 9980) - 16, `longest packet ${longest}`);
    expectClean(t, world, client, server.peer, server);
  });
}

test('the client half-closes, and the server still answers', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80));
  client.send(1000, 'shutdown');
  t.true(world.run(() => server.peers[0]?.hasFin === true));
  t.is(server.peer.received, 1000);
  t.false(client.hasFin);
  server.peer.send(300_000, 'shutdown');
  t.true(world.run(() => client.hasFin));
  t.is(client.received, 300_000);
  t.is(client.error, undefined);
  t.is(server.peer.error, undefined);
  expectClean(t, world, client, server.peer, server);
});

test('the server half-closes, and the client still sends', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80), { each: (p) => p.send(10, 'shutdown') });
  const client = new Peer(world, world.a).connect(on(B4, 80));
  t.true(world.run(() => client.hasFin));
  client.send(300_000, 'shutdown');
  t.true(world.run(() => server.peer.hasFin));
  t.is(server.peer.received, 300_000);
  expectClean(t, world, client, server.peer, server);
});

test('a half-closed connection without traffic lives on', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80));
  client.send(1, 'shutdown');
  t.true(world.run(() => server.peers[0]?.hasFin === true));
  world.pass(600_000);
  server.peer.send(5, 'shutdown');
  t.true(world.run(() => client.hasFin));
  t.is(client.received, 5);
  expectClean(t, world, client, server.peer, server);
});

test('a connection to a port without listener is refused', (t) => {
  const world = new World();
  const client = new Peer(world, world.a).connect(on(B4, 81));
  t.true(world.run(() => client.error !== undefined, 1000));
  t.is(client.error, 'ECONNREFUSED');
  expectClean(t, world);
});

test('an abort reaches the peer as a reset, after the data before it', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80));
  client.send(100);
  t.true(world.run(() => server.peers[0]?.received === 100));
  const handle = client.handle;
  if (handle === undefined) return t.fail();
  world.a.tcpAbort(world.at, handle);
  t.true(world.run(() => server.peer.error !== undefined));
  t.is(server.peer.error, 'ECONNRESET');
  t.is(world.a.tcpNames(handle), undefined);
  t.is(world.a.tcpWrite(world.at, handle, pattern(1), false), 0);
  expectClean(t, world, server);
});

test('a silent peer ends the handshake with ETIMEDOUT after about 127 s, backing off', (t) => {
  const world = new World();
  let syns = 0;
  world.filter = (f) => {
    if (f.etherType === 0x0806) return f;
    syns++;
    return undefined;
  };
  const start = world.at.mono;
  const client = new Peer(world, world.a).connect(on(B4, 80));
  t.true(world.run(() => client.error !== undefined, 200_000));
  t.is(client.error, 'ETIMEDOUT');
  const took = world.at.mono - start;
  t.true(took > 100_000 && took < 140_000, `${took} ms`);
  t.true(syns >= 6 && syns <= 9, `${syns} SYNs`);
  expectClean(t, world);
});

test('a neighbour that does not answer ends the handshake with EHOSTUNREACH after 3 s', (t) => {
  const world = new World();
  const start = world.at.mono;
  const client = new Peer(world, world.a).connect(on(ip4('10.0.0.77'), 80));
  t.true(world.run(() => client.error !== undefined));
  t.is(client.error, 'EHOSTUNREACH');
  const took = world.at.mono - start;
  t.true(took >= 3000 && took < 4000, `${took} ms`);
  const other = new Peer(world, world.a).connect(on(Uint8Array.of(...A6.slice(0, 15), 99), 80));
  t.true(world.run(() => other.error !== undefined, 4000));
  t.is(other.error, 'EHOSTUNREACH');
  expectClean(t, world);
});

test('destinations without a route fail at once with ENETUNREACH', (t) => {
  const { a, at } = new World();
  const sink = new Peer(new World(), a);
  t.is(a.tcpConnect(at, undefined, on(ip4('192.168.1.1'), 80), sink), 'ENETUNREACH');
  t.is(a.tcpConnect(at, undefined, on(ip4('224.0.0.1'), 80), sink), 'ENETUNREACH');
  t.is(a.tcpConnect(at, undefined, on(ip4('255.255.255.255'), 80), sink), 'ENETUNREACH');
  const far = Uint8Array.of(0x20, 1, ...new Uint8Array(14));
  t.is(a.tcpConnect(at, undefined, on(far, 80), sink), 'ENETUNREACH');
  t.is(a.counters()['tcpHandlesUsed'], 0);
});

test('bad arguments are EINVAL, foreign source addresses EADDRNOTAVAIL', (t) => {
  const { a, at } = new World();
  const sink = new Peer(new World(), a);
  t.is(a.tcpConnect(at, undefined, on(new Uint8Array(5), 80), sink), 'EINVAL');
  t.is(a.tcpConnect(at, undefined, on(B4, 70000), sink), 'EINVAL');
  t.is(a.tcpConnect(at, on(A6, 0), on(B4, 80), sink), 'EINVAL');
  t.is(a.tcpConnect(at, on(B4, 0), on(B4, 80), sink), 'EADDRNOTAVAIL');
  t.is(a.counters()['tcpHandlesUsed'], 0);
});

test('an explicit source port is used, and its four-tuple is unique', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80), on(A4, 4000));
  t.true(world.run(() => client.isConnected && server.peers.length === 1));
  t.deepEqual(world.a.tcpNames(client.handle!), { local: on(A4, 4000), remote: on(B4, 80) });
  t.deepEqual(world.b.tcpNames(server.peer.handle!), { local: on(B4, 80), remote: on(A4, 4000) });
  const again = world.a.tcpConnect(world.at, on(A4, 4000), on(B4, 80), client);
  t.is(again, 'EADDRINUSE');
  const elsewhere = new Peer(world, world.a).connect(on(B4, 81), on(A4, 4000));
  t.true(world.run(() => elsewhere.error !== undefined));
  t.is(elsewhere.error, 'ECONNREFUSED');
  expectClean(t, world, client, server.peer, server);
});

test('chosen ports are ephemeral and different', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80));
  const clients = Array.from({ length: 50 }, () => new Peer(world, world.a).connect(on(B4, 80)));
  t.true(world.run(() => server.peers.length === 50));
  const ports = clients.map((c) => world.a.tcpNames(c.handle!)?.local.port ?? 0);
  t.is(new Set(ports).size, 50);
  t.true(ports.every((p) => p >= 49152 && p <= 65535));
  expectClean(t, world, ...clients, ...server.peers, server);
});

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

test('500 connections at once echo their data', (t) => {
  const world = new World({ latencyMs: 1 });
  const server = new Server(world, world.b, any(80), {
    backlog: 500,
    each: (p) => {
      p.onBytes = (bytes) => world.b.tcpWrite(world.at, p.handle!, bytes, false);
      p.onFinished = () => p.close();
    },
  });
  const clients = Array.from({ length: 500 }, () => new Peer(world, world.a).connect(on(B4, 80)));
  for (const c of clients) c.send(10_000, 'shutdown');
  t.true(world.run(() => clients.every((c) => c.hasFin)));
  t.true(clients.every((c) => c.received === 10_000 && c.inDigest() === c.outDigest()));
  expectClean(t, world, ...clients, server);
});

test('IPv6: 1 MB each way', (t) => {
  const world = new World({ latencyMs: 1 });
  const server = new Server(world, world.b, any(80), { each: (p) => p.send(MIB, 'shutdown') });
  const client = new Peer(world, world.a).connect(on(B6, 80));
  client.send(MIB, 'shutdown');
  t.true(world.run(() => client.hasFin && server.peers[0]?.hasFin === true));
  t.is(server.peer.inDigest(), client.outDigest());
  t.is(client.inDigest(), server.peer.outDigest());
  t.deepEqual(world.b.tcpNames(server.peer.handle!)?.local, on(B6, 80));
  expectClean(t, world, client, server.peer, server);
});

for (const [prefixLen, a, b] of [
  [40, 'fcf3:c554:67b5:8ad7:74a5::1', 'fcf3:c554:67bd:9c28:aa24::1'],
  [88, 'fd05:c554:c6f6:0:a199:93b5:8ad7:74a5', 'fd05:c554:c6f6:0:a199:93bd:9c28:aa24'],
] as const) {
  test(`IPv6: a peer on the link by a prefix of ${prefixLen} bits`, (t) => {
    const world = new World();
    for (const [stack, text] of [
      [world.a, a],
      [world.b, b],
    ] as const) {
      stack.configure(world.at, {
        mtu: 2800,
        addresses: [{ ip: ip6(text), prefixLen }],
        routes: [],
      });
      world.drain(stack);
    }
    const server = new Server(world, world.b, any(80), { each: (p) => p.send(100, 'shutdown') });
    const client = new Peer(world, world.a).connect(on(ip6(b), 80));
    client.send(100, 'shutdown');
    t.true(world.run(() => client.hasFin && server.peers[0]?.hasFin === true));
    expectClean(t, world, client, server.peer, server);
  });
}

test('an IPv4-mapped destination is an IPv4 connection', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80));
  const mapped = Uint8Array.of(...new Uint8Array(10), 0xff, 0xff, ...B4);
  const client = new Peer(world, world.a).connect(on(mapped, 80));
  t.true(world.run(() => client.isConnected && server.peers.length === 1));
  t.deepEqual(world.a.tcpNames(client.handle!)?.remote, on(B4, 80));
  expectClean(t, world, client, server.peer, server);
});

for (const [name, target] of [
  ['its own address', A4],
  ['127.0.0.1', ip4('127.0.0.1')],
  ['127.0.0.53', ip4('127.0.0.53')],
  ['127.255.255.254', ip4('127.255.255.254')],
  ['0.0.0.0', ip4('0.0.0.0')],
  ['its own IPv6 address', A6],
  ['::1', Uint8Array.of(...new Uint8Array(15), 1)],
] as const) {
  test(`a stack talks to itself over ${name} without the wire`, (t) => {
    const world = new World();
    const before = world.frames;
    const server = new Server(world, world.a, any(80), { each: (p) => p.send(MIB, 'shutdown') });
    const client = new Peer(world, world.a).connect(on(target, 80));
    client.send(MIB, 'shutdown');
    t.true(world.run(() => client.hasFin && server.peers[0]?.hasFin === true));
    t.is(client.inDigest(), server.peer.outDigest());
    t.is(server.peer.inDigest(), client.outDigest());
    t.is(world.frames, before);
    expectClean(t, world, client, server.peer, server);
  });
}

for (const [name, target] of [
  ['IPv4', B4],
  ['IPv6', B6],
] as const) {
  test(`${name}: an idle connection is parked, needs no fast timer, and wakes from either side`, (t) => {
    const world = new World({ latencyMs: 1 });
    const server = new Server(world, world.b, any(80));
    const client = new Peer(world, world.a).connect(on(target, 80));
    t.true(world.run(() => client.isConnected && server.peers.length === 1));
    for (let round = 1; round <= 3; round++) {
      world.pass(5000);
      t.is(world.a.counters()['tcpParked'], 1);
      t.is(world.b.counters()['tcpParked'], 1);
      t.is(world.a.counters()['tcpActiveUsed'], 1);
      t.true(world.a.deadline() - world.at.mono >= 100, 'no timer of TCP runs');
      const frames = world.frames;
      client.send(1000);
      t.true(world.run(() => client.sent === 1000 * round, 100));
      t.true(world.frames - frames <= 3, 'nothing was sent twice');
      world.pass(5000);
      server.peer.send(1000);
      t.true(world.run(() => client.received === 1000 * round, 100));
    }
    expectClean(t, world, client, server.peer, server);
  });
}

test('a parked connection is closed, reset and lost like any other', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80));
  const clients = Array.from({ length: 4 }, () => new Peer(world, world.a).connect(on(B4, 80)));
  t.true(world.run(() => server.peers.length === 4));
  world.pass(5000);
  t.is(world.a.counters()['tcpParked'], 4);
  const [closing, aborting, losing, moved] = clients;
  closing?.close();
  if (aborting?.handle !== undefined) world.a.tcpAbort(world.at, aborting.handle);
  world.pass(100);
  t.true(server.peers[0]?.hasFin);
  t.is(server.peers[1]?.error, 'ECONNRESET');
  world.filter = () => undefined;
  losing?.send(10);
  t.true(world.run(() => losing?.error !== undefined, 3_600_000));
  t.is(losing?.error, 'ETIMEDOUT');
  t.is(moved?.error, undefined);
  world.a.configure(world.at, { mtu: 2800, addresses: [], routes: [] });
  world.flush();
  t.is(moved?.error, 'ECONNRESET');
  expectClean(t, world, ...server.peers, server);
});

test('segments in fragments reach a parked connection', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80));
  t.true(world.run(() => client.isConnected && server.peers.length === 1));
  world.pass(5000);
  t.is(world.b.counters()['tcpParked'], 1);
  world.filter = (f, from) => {
    if (from !== world.a || f.payload.length < 500) return f;
    const later = fragments(f);
    for (const part of later.slice(0, -1)) {
      world.b.frameIn(world.at, part.dst, part.src, part.etherType, part.payload);
      world.pass(3000); // longer than a connection must be idle to be parked
    }
    return later.at(-1);
  };
  client.send(1000);
  t.true(world.run(() => server.peer.received === 1000));
  t.is(server.peer.error, undefined);
  world.filter = (f) => f;
  expectClean(t, world, client, server.peer, server);
});

/** An IPv4 packet in pieces of 400 bytes. */
function fragments(frame: Frame): Frame[] {
  const { payload } = frame;
  const out: Frame[] = [];
  for (let at = 20; at < payload.length; at += 400) {
    const body = payload.slice(at, at + 400);
    const piece = Uint8Array.of(...payload.slice(0, 20), ...body);
    const more = at + 400 < payload.length ? 0x2000 : 0;
    const view = new DataView(piece.buffer);
    view.setUint16(2, piece.length);
    view.setUint16(6, more | ((at - 20) >> 3));
    view.setUint16(10, 0);
    let sum = 0;
    for (let i = 0; i < 20; i += 2) sum += view.getUint16(i);
    sum = (sum & 0xffff) + (sum >>> 16);
    view.setUint16(10, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff);
    out.push({ ...frame, payload: piece });
  }
  return out;
}

test('TIME_WAIT is bounded: the oldest ends first', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80), {
    each: (p) => {
      p.onFinished = () => p.close();
    },
  });
  for (let i = 0; i < 4300; i += 100) {
    const clients = Array.from({ length: 100 }, () => new Peer(world, world.a).connect(on(B4, 80)));
    t.true(world.run(() => clients.every((c) => c.isConnected), 2000));
    for (const c of clients) c.close();
    world.pass(10);
  }
  t.is(world.a.counters()['tcpTimeWait'], 4096);
  t.is(world.a.counters()['timeWaitEvicted'], 204);
  expectClean(t, world, server);
});

test('a reused four-tuple in TIME_WAIT connects at once', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80), {
    each: (p) => {
      p.onFinished = () => p.close();
      p.close();
    },
  });
  for (let i = 0; i < 3; i++) {
    const client = new Peer(world, world.a).connect(on(B4, 80), on(A4, 5000));
    t.true(
      world.run(() => client.hasFin, 500),
      `connection ${i}`,
    );
    client.close();
    world.pass(100);
  }
  t.is(world.b.counters()['timeWaitReused'], 2);
  expectClean(t, world, server);
});
