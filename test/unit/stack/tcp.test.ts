/**
 * TCP of two stacks joined by a simulated wire: transfers and bad wires; half-closes and resets;
 * handshakes and addresses; many connections; IPv6; a stack that talks to itself.
 */
import test from 'ava';
import {
  A4,
  A6,
  any,
  B4,
  B6,
  expectClean,
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
