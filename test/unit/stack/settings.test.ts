/** What a program's options do to a connection, and what TCP_INFO is made of. */
import test from 'ava';
import { any, B4, expectClean, on, Peer, pattern, Server, World } from './world.js';

const MIB = 1024 * 1024;
/** lwip-port/port_window.c: a window of less would be sent in small pieces. */
const LEAST = 2 * (2800 - 40);

const silent = (p: Peer): void => {
  p.autoCredit = false;
};

test('a receive limit set before the handshake bounds what a peer can leave', (t) => {
  const world = new World({ latencyMs: 1 });
  const server = new Server(world, world.b, any(80), { each: (p) => p.send(MIB) });
  const client = new Peer(world, world.a);
  silent(client);
  client.connect(on(B4, 80), undefined, { receiveMax: 16_384 });
  world.pass(2_000);
  t.true(client.received > 8_192 && client.received <= 16_384, `${client.received} bytes`);
  client.autoCredit = true;
  client.credit();
  t.true(world.run(() => client.received === MIB, 60_000));
  t.is(world.a.counters()['rxWindowUsed'], 0, 'it never grew');
  client.close();
  server.peer.close();
  expectClean(t, world, client, server.peer, server);
});

test('a limit below two segments is two segments; one set later is reached by reading', (t) => {
  const world = new World({ latencyMs: 1 });
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80));
  client.send(4 * MIB);
  t.true(world.run(() => server.peers[0]?.received === 4 * MIB, 60_000));
  const grown = world.b.counters()['rxWindowUsed']!;
  t.true(grown > 0);
  world.b.tcpSetOptions(world.at, server.peer.handle!, { receiveMax: 1 });
  client.send(4 * MIB);
  t.true(world.run(() => server.peer.received === 8 * MIB, 60_000));
  t.is(world.b.counters()['rxWindowUsed'], 0, 'given back');
  silent(server.peer);
  const before = server.peer.received;
  client.send(MIB);
  world.pass(2_000);
  const held = server.peer.received - before;
  t.true(held > 0 && held <= LEAST, `${held} bytes`);
  client.close();
  server.peer.close();
  expectClean(t, world, client, server.peer, server);
});

test('a send limit bounds what the stack takes', (t) => {
  const world = new World({ latencyMs: 1 });
  const server = new Server(world, world.b, any(80), { each: silent });
  const client = new Peer(world, world.a).connect(on(B4, 80), undefined, { sendMax: 16_384 });
  t.true(world.run(() => client.isConnected && server.peers.length === 1));
  world.filter = () => undefined;
  let taken = 0;
  for (let n = 1; n > 0; taken += n)
    n = world.a.tcpWrite(world.at, client.handle!, pattern(10_000), false);
  t.true(taken > 8_192 && taken <= 16_384, `${taken} bytes`);
  world.filter = (f) => f;
  expectClean(t, world, client, server.peer, server);
});

test('TCP_USER_TIMEOUT ends a connection whose bytes nobody acknowledges, and no other', (t) => {
  const world = new World({ latencyMs: 1 });
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80), undefined, { userTimeoutMs: 5_000 });
  t.true(world.run(() => client.isConnected));
  client.send(1_000);
  world.pass(60_000);
  t.is(client.error, undefined, 'acknowledged, then quiet');
  world.filter = () => undefined;
  const start = world.at.mono;
  client.send(1_000);
  t.true(world.run(() => client.error !== undefined));
  t.is(client.error, 'ETIMEDOUT');
  const took = world.at.mono - start;
  t.true(took >= 5_000 && took < 6_000, `${took} ms`);
  expectClean(t, world, server.peer, server);
});

test('a window that stays closed counts for TCP_USER_TIMEOUT too', (t) => {
  const world = new World({ latencyMs: 1 });
  const server = new Server(world, world.b, any(80), { each: silent });
  const client = new Peer(world, world.a).connect(on(B4, 80), undefined, { userTimeoutMs: 3_000 });
  client.send(MIB);
  t.true(world.run(() => client.error !== undefined, 60_000));
  t.is(client.error, 'ETIMEDOUT');
  expectClean(t, world, server.peer, server);
});

for (const [name, options, limitMs] of [
  ['TCP_SYNCNT', { synCount: 2 }, 7_000],
  ['TCP_USER_TIMEOUT', { userTimeoutMs: 2_000 }, 2_000],
] as const)
  test(`${name} bounds the handshake`, (t) => {
    const world = new World({ latencyMs: 1 });
    const server = new Server(world, world.b, any(80));
    const before = new Peer(world, world.a).connect(on(B4, 80));
    t.true(world.run(() => before.isConnected && server.peers.length === 1));
    world.filter = (f) => (f.etherType === 0x0806 ? f : undefined);
    const start = world.at.mono;
    const client = new Peer(world, world.a).connect(on(B4, 80), undefined, options);
    t.true(world.run(() => client.error !== undefined, 200_000));
    t.is(client.error, 'ETIMEDOUT');
    const took = world.at.mono - start;
    t.true(took >= limitMs && took < limitMs + 1_000, `${took} ms`);
    world.filter = (f) => f;
    expectClean(t, world, before, server.peer, server);
  });

test('packets carry the TTL and TOS that were set, the SYN too; 64 and 0 otherwise', (t) => {
  const world = new World({ latencyMs: 1 });
  const seen: string[] = [];
  world.filter = (f, from) => {
    if (f.etherType === 0x0800 && from === world.a) seen.push(`${f.payload[8]} ${f.payload[1]}`);
    return f;
  };
  const server = new Server(world, world.b, any(80));
  const plain = new Peer(world, world.a).connect(on(B4, 80));
  t.true(world.run(() => plain.isConnected));
  t.deepEqual(new Set(seen), new Set(['64 0']));
  seen.length = 0;
  const client = new Peer(world, world.a).connect(on(B4, 80), undefined, { ttl: 9, tos: 0x10 });
  client.send(10);
  t.true(world.run(() => server.peers[1]?.received === 10));
  t.deepEqual(new Set(seen), new Set(['9 16']));
  expectClean(t, world, plain, client, ...server.peers, server);
});

test('round trips are measured in microseconds, bytes counted, options told', (t) => {
  const world = new World({ latencyMs: 20 });
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80));
  t.true(world.run(() => client.isConnected && server.peers.length === 1));
  t.is(world.a.tcpInfo(client.handle!)?.rttUs, 0, 'nothing was sent yet');
  for (let sent = 1; sent <= 10; sent++) {
    client.send(1_000);
    t.true(world.run(() => server.peer.received === sent * 1_000));
    world.pass(200);
  }
  const info = world.a.tcpInfo(client.handle!)!;
  // Both ways, and up to 50 ms of delayed acknowledgement [lwip-port/lwipopts.h].
  t.true(info.rttUs >= 40_000 && info.rttUs < 92_000, `${info.rttUs} us`);
  t.true(info.rttVarUs < info.rttUs, `${info.rttVarUs} us`);
  t.is(info.bytesAcked, 10_000);
  t.is(world.b.tcpInfo(server.peer.handle!)!.bytesReceived, 10_000);
  t.true(info.timestamps && info.sack);
  t.is(info.receiveScale, 5);
  t.is(info.unacked + info.unsent, 0);
  expectClean(t, world, client, server.peer, server);
});

test('a round trip below a millisecond is not rounded to none', (t) => {
  const world = new World({ latencyMs: 0.25 });
  // The answers carry the acknowledgements, which would else be delayed.
  const answer = (p: Peer): void => {
    p.onBytes = () => p.send(10);
  };
  const server = new Server(world, world.b, any(80), { each: answer });
  const client = new Peer(world, world.a).connect(on(B4, 80));
  for (let asked = 1; asked <= 10; asked++) {
    client.send(10);
    t.true(world.run(() => client.received === asked * 10));
  }
  const { rttUs } = world.a.tcpInfo(client.handle!)!;
  t.true(rttUs >= 500 && rttUs < 1_000, `${rttUs} us`);
  client.close();
  server.peer.close();
  expectClean(t, world, client, server.peer, server);
});

test('no round trip is taken from what was repeated', (t) => {
  const world = new World({ latencyMs: 20 });
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80));
  t.true(world.run(() => client.isConnected && server.peers.length === 1));
  world.filter = () => undefined;
  client.send(1_000);
  world.pass(5_000);
  t.true((world.a.tcpInfo(client.handle!)?.retransmits ?? 0) > 0);
  world.filter = (f) => f;
  t.true(world.run(() => server.peer.received === 1_000, 60_000));
  world.pass(200);
  t.is(world.a.tcpInfo(client.handle!)?.rttUs, 0);
  expectClean(t, world, client, server.peer, server);
});
