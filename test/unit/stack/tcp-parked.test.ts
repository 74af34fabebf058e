/** TCP of two stacks: connections outside of lwIP's lists, parked and in TIME_WAIT. */
import test from 'ava';
import { A4, any, B4, B6, expectClean, type Frame, on, Peer, Server, World } from './world.js';

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
