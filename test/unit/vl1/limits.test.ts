/** The limits of document 2 section 23, each at its edge: what still passes, and one more. */
import test from 'ava';
import type { NodeOutput } from '#src/node/outputs.js';
import {
  CONFIRM_MS,
  ECHO_GATE_MS,
  EXPECT_LIFE_MS,
  INTRODUCE_MS,
  MAX_DEFERRED,
  MAX_EXPECTED,
  MAX_PATHS,
  MAX_PATHS_PER_PEER,
  MAX_TX_QUEUE,
  PATH_ALIVE_MS,
  PATH_EXPIRY_MS,
  PUSH_PER_SCOPE,
  PUSH_WINDOW_COUNT,
  PUSH_WINDOW_MS,
  QUEUE_LIFE_MS,
  REASSEMBLY_LIFE_MS,
  REASSEMBLY_SLOTS,
  WHOIS_GATE_MS,
  WHOIS_RETRY_MS,
} from '#src/vl1/constants.js';
import { ExpectedReplies } from '#src/vl1/expect.js';
import { Reassembly } from '#src/vl1/fragments.js';
import { Path, PathTable } from '#src/vl1/path.js';
import { Peer } from '#src/vl1/peer.js';
import { writeAddress } from '#src/wire/address.js';
import { writePushDirectPaths, writeRendezvous } from '#src/wire/hello.js';
import { emitIdentity, type Identity } from '#src/wire/identity.js';
import { inetAddress, type RemoteAddress, remoteAddress } from '#src/wire/inetaddress.js';
import { MAX_PACKET_LEN, OFF_DEST, OFF_SOURCE, VERB } from '#src/wire/packet.js';
import {
  emitWorld,
  MAX_ROOT_ENDPOINTS,
  MAX_ROOTS,
  parseWorld,
  WORLD_MOON,
} from '#src/wire/world.js';
import { endpoint, payload, Target, transmits } from '../../sim/attack.js';
import { poolIdentity } from '../../sim/world.js';

const root = poolIdentity(0);
const peer = poolIdentity(2);
const other = poolIdentity(3);
const NONE = new Uint8Array(0);

const remote = (n: number, port = 9993): RemoteAddress =>
  remoteAddress(inetAddress(Uint8Array.of(10, 80 + (n >> 16), (n >> 8) & 255, n & 255), port));

const verbs = (target: Target, to: Identity, out: readonly NodeOutput[]): number[] =>
  target.opened(to, out).map((p) => p.verb);

const oksAbout = (target: Target, to: Identity, out: readonly NodeOutput[], verb: number): number =>
  target.opened(to, out).filter((p) => p.verb === VERB.OK && p.payload[0] === verb).length;

// ---- packets and fragments ----

/** Pieces of a packet of `len` bytes: a head of 1432, then up to 1472 each. */
function pieces(len: number, id = 1): { head: Uint8Array; rest: Uint8Array[] } {
  const packet = new Uint8Array(len).fill(9);
  new DataView(packet.buffer).setBigUint64(0, BigInt(id));
  const total = 1 + Math.ceil((len - 1432) / 1456);
  const rest = Array.from({ length: total - 1 }, (_, i) => {
    const body = packet.subarray(1432 + i * 1456, 1432 + (i + 1) * 1456);
    const piece = new Uint8Array(16 + body.length);
    piece.set(packet.subarray(0, 13));
    piece[13] = 0xff;
    piece[14] = (total << 4) | (i + 1);
    piece.set(body, 16);
    return piece;
  });
  return { head: packet.slice(0, 1432), rest };
}

test('a packet of 10,024 bytes is put together, one byte more is given up', (t) => {
  const path = new Path(1, remote(1));
  for (const [len, isTaken] of [
    [MAX_PACKET_LEN, true],
    [MAX_PACKET_LEN + 1, false],
  ] as const) {
    const r = new Reassembly();
    const { head, rest } = pieces(len);
    let last = r.handleHead(0, path, head);
    for (const p of rest) last = r.handleFragment(0, path, p);
    if (isTaken) t.is(typeof last === 'object' ? last.packet.length : 0, len);
    else t.is(last, 'fragmentTooLong');
    t.is(r.size, 0);
  }
});

test('seven pieces and the sixth of them are the last that count', (t) => {
  const path = new Path(1, remote(1));
  const piece = (total: number, number: number) => {
    const p = new Uint8Array(20);
    p[13] = 0xff;
    p[14] = (total << 4) | number;
    return new Reassembly().handleFragment(0, path, p);
  };
  for (const [total, number] of [
    [2, 1],
    [7, 6],
    [2, 6],
  ] as const)
    t.is(piece(total, number), undefined, `${number} of ${total}`);
  for (const [total, number] of [
    [1, 1],
    [8, 1],
    [7, 7],
    [7, 0],
    [15, 15],
  ] as const)
    t.is(piece(total, number), 'fragmentMalformed', `${number} of ${total}`);
});

test('incomplete packets: 256 are held for 5 s, the oldest goes first', (t) => {
  const path = new Path(1, remote(1));
  const finish = (r: Reassembly, now: number, id: number): boolean =>
    typeof r.handleFragment(now, path, pieces(2_000, id).rest[0]!) === 'object';
  const full = new Reassembly();
  for (let id = 1; id <= REASSEMBLY_SLOTS; id++) full.handleHead(id, path, pieces(2_000, id).head);
  t.is(full.size, REASSEMBLY_SLOTS);
  full.handleHead(999, path, pieces(2_000, 9_999).head);
  t.is(full.size, REASSEMBLY_SLOTS);
  t.true(finish(full, 999, 2));
  t.true(finish(full, 999, 9_999));
  t.false(finish(full, 999, 1), 'the oldest');
  for (const [age, isThere] of [
    [REASSEMBLY_LIFE_MS - 1, true],
    [REASSEMBLY_LIFE_MS, false],
  ] as const) {
    const r = new Reassembly();
    r.handleHead(0, path, pieces(2_000).head);
    t.is(finish(r, age, 1), isThere);
  }
});

// ---- queues ----

test('packets out that wait: 128, for 5 s; the oldest goes first', (t) => {
  const target = new Target(1);
  const { counters } = target.node.vl1.state;
  const say = (): void => {
    target.input((at) =>
      target.node.run(at, () => {
        target.node.vl1.begin(other.address, VERB.USER_MESSAGE);
        target.node.vl1.send(other.address, false);
      }),
    );
  };
  for (let i = 0; i < MAX_TX_QUEUE; i++) say();
  t.is(counters.get('txQueueFull'), 0);
  say();
  t.is(counters.get('txQueueFull'), 1);
  target.wait(QUEUE_LIFE_MS - 1);
  t.is(counters.get('txQueueExpired'), 0);
  target.wait(501);
  t.is(counters.get('txQueueExpired'), MAX_TX_QUEUE);
});

test('packets in that wait for an identity: 128, for 5 s', (t) => {
  const target = new Target(1);
  const { counters } = target.node.vl1.state;
  const hear = (n: number): void => {
    const [bytes] = target.seal(peer, VERB.NOP, NONE);
    writeAddress(bytes!, OFF_SOURCE, 0x10_0000_0000 + n);
    target.datagram(endpoint(5), bytes!);
  };
  for (let i = 0; i < MAX_DEFERRED; i++) hear(i);
  t.is(counters.get('deferredFull'), 0);
  hear(MAX_DEFERRED);
  t.is(counters.get('deferredFull'), 1);
  target.wait(QUEUE_LIFE_MS - 1);
  t.is(counters.get('deferredExpired'), 0);
  target.wait(501);
  t.is(counters.get('deferredExpired'), MAX_DEFERRED);
});

test('replies are expected for 30 s, 16,384 of them', (t) => {
  const e = new ExpectedReplies();
  const add = (now: number, id: bigint): void => e.add(now, id, 5, VERB.HELLO);
  const has = (now: number, id: bigint): boolean => e.has(now, id, 5, VERB.HELLO);
  add(0, 1n);
  t.true(has(EXPECT_LIFE_MS - 1, 1n));
  t.false(has(EXPECT_LIFE_MS, 1n));
  t.false(has(0, 2n));
  t.false(e.has(0, 1n, 6, VERB.HELLO), 'somebody else was asked');
  t.false(e.has(0, 1n, 5, VERB.ECHO), 'something else was asked');
  for (let i = 0; i < MAX_EXPECTED; i++) add(1, BigInt(10 + i));
  t.false(has(1, 1n), 'the oldest made room');
  t.true(has(1, 10n));
  add(1, 9n);
  t.false(has(1, 10n));
  t.true(has(1, 11n));
});

// ---- gates ----

test('ECHO: one per 166 ms and path', (t) => {
  const target = new Target(1);
  target.meet(peer, endpoint(5));
  const echo = (from = endpoint(5)): number =>
    oksAbout(target, peer, target.send(peer, VERB.ECHO, NONE, { from }), VERB.ECHO);
  t.is(echo(), 1);
  target.now += ECHO_GATE_MS - 1;
  t.is(echo(), 0);
  target.now += 1;
  t.is(echo(), 1);
  t.is(target.node.vl1.state.counters.get('echoGated'), 1);
});

test('WHOIS: one per 100 ms and peer at a leaf, any number at a root', (t) => {
  const ask = payload((w) => void w.u40(poolIdentity(0).address));
  for (const isRoot of [false, true]) {
    const target = new Target(1, isRoot);
    target.meet(peer, endpoint(5));
    const answers = (): number =>
      oksAbout(target, peer, target.send(peer, VERB.WHOIS, ask, { from: endpoint(5) }), VERB.WHOIS);
    if (!isRoot) target.know(root);
    t.is(answers(), 1);
    target.now += WHOIS_GATE_MS - 1;
    t.is(answers(), isRoot ? 1 : 0);
    target.now += 1;
    t.is(answers(), 1);
    t.is(target.node.vl1.state.counters.get('whoisGated'), isRoot ? 0 : 1);
  }
});

test('WHOIS of ours: one per 500 ms and address', (t) => {
  const target = new Target(1);
  target.meet(root, endpoint(0));
  const asked = (): boolean =>
    verbs(
      target,
      root,
      target.input((at) =>
        target.node.run(at, () => target.node.vl1.requestIdentity(other.address)),
      ),
    ).includes(VERB.WHOIS);
  t.true(asked());
  target.now += WHOIS_RETRY_MS - 1;
  t.false(asked());
  target.now += 1;
  t.true(asked());
});

const pushOf = (...to: RemoteAddress[]): Uint8Array =>
  payload((w) => void writePushDirectPaths(w, to));

test('pushed paths: eight pushes, then none until a pause of more than 30 s', (t) => {
  const target = new Target(1);
  target.meet(peer, endpoint(5));
  let n = 0;
  const isActedOn = (): boolean =>
    transmits(target.send(peer, VERB.PUSH_DIRECT_PATHS, pushOf(remote(++n)), { from: endpoint(5) }))
      .length > 0;
  for (let i = 0; i < PUSH_WINDOW_COUNT; i++) t.true(isActedOn(), `push ${i + 1}`);
  t.false(isActedOn());
  target.now += PUSH_WINDOW_MS;
  t.false(isActedOn(), 'no pause yet');
  target.now += PUSH_WINDOW_MS + 1;
  t.true(isActedOn());
  t.is(target.node.vl1.state.counters.get('pushGated'), 2);
});

test('pushed paths: eight addresses per scope and family', (t) => {
  const target = new Target(1);
  target.meet(peer, endpoint(5));
  const some = Array.from({ length: PUSH_PER_SCOPE + 1 }, (_, i) => remote(i));
  const global = remoteAddress(inetAddress(Uint8Array.of(99, 1, 1, 1), 9993));
  const v6 = remoteAddress(
    inetAddress(
      Uint8Array.from({ length: 16 }, (_, i) => (i === 0 ? 0xfd : i)),
      9993,
    ),
  );
  const push = pushOf(...some, global, v6);
  const tried = transmits(target.send(peer, VERB.PUSH_DIRECT_PATHS, push, { from: endpoint(5) }));
  t.is(tried.length, PUSH_PER_SCOPE + 2);
  t.false(tried.some((o) => o.to.key === some[PUSH_PER_SCOPE]!.key));
});

test('an unknown path is confirmed once a second', (t) => {
  const target = new Target(1);
  target.know(peer);
  const hellos = (): number =>
    verbs(target, peer, target.send(peer, VERB.NOP, NONE, { from: remote(7) })).filter(
      (v) => v === VERB.HELLO,
    ).length;
  t.is(hellos(), 1);
  target.now += CONFIRM_MS - 1;
  t.is(hellos(), 0);
  target.now += 1;
  t.is(hellos(), 1);
});

test('RENDEZVOUS counts from an upstream alone, and opens our NAT first', (t) => {
  const target = new Target(1);
  target.meet(root, endpoint(0));
  target.meet(peer, endpoint(5));
  target.know(other);
  const body = payload((w) =>
    writeRendezvous(w, { flags: 0, peer: other.address, endpoint: remote(9) }),
  );
  t.deepEqual(transmits(target.send(peer, VERB.RENDEZVOUS, body, { from: endpoint(5) })), []);
  t.is(target.node.vl1.state.counters.get('notUpstream'), 1);
  const [opener, hello] = transmits(
    target.send(root, VERB.RENDEZVOUS, body, { from: endpoint(0) }),
  );
  t.deepEqual([opener!.bytes.length, opener!.ttl, opener!.to.key], [4, 2, remote(9).key]);
  t.is(target.open(other, hello!.bytes)?.verb, VERB.HELLO);
  t.is(hello!.ttl, undefined);
});

test('OK(WHOIS) counts from an upstream alone', (t) => {
  const target = new Target(1);
  target.meet(root, endpoint(0));
  target.meet(peer, endpoint(5));
  const request = (): bigint =>
    target.opened(
      root,
      target.input((at) =>
        target.node.run(at, () => target.node.vl1.requestIdentity(other.address)),
      ),
    )[0]!.id;
  const answer = (id: bigint): Uint8Array =>
    payload((w) => {
      w.u8(VERB.WHOIS).u64(id);
      w.pos += emitIdentity({ ...other, privateKey: undefined }, w.bytes, w.pos);
    });
  const id = request();
  target.send(peer, VERB.OK, answer(id), { from: endpoint(5) });
  t.is(target.node.vl1.peer(other.address), undefined);
  target.send(root, VERB.OK, answer(id + 1n), { from: endpoint(0) });
  t.is(target.node.vl1.peer(other.address), undefined, 'not asked for');
  target.send(root, VERB.OK, answer(id), { from: endpoint(0) });
  t.not(target.node.vl1.peer(other.address), undefined);
});

// ---- relaying ----

function packetTo(dest: number, source: number, hops: number): Uint8Array {
  const bytes = new Uint8Array(60);
  writeAddress(bytes, OFF_DEST, dest);
  writeAddress(bytes, OFF_SOURCE, source);
  bytes[18] = 0x18 | hops;
  return bytes;
}

test('a root relays what made two hops, not what made three', (t) => {
  const target = new Target(1, true);
  target.meet(peer, endpoint(5));
  for (const [hops, n] of [
    [0, 1],
    [2, 1],
    [3, 0],
    [7, 0],
  ] as const) {
    const out = transmits(target.datagram(endpoint(9), packetTo(peer.address, 1, hops)));
    t.is(out.length, n, `${hops} hops`);
    if (n === 1) t.is(out[0]!.bytes[18], 0x18 | (hops + 1));
  }
  t.is(target.node.vl1.state.counters.get('relayHopLimit'), 2);
});

test('two peers are introduced once in 30 s, whoever sends', (t) => {
  const target = new Target(1, true);
  target.meet(peer, endpoint(5));
  target.meet(other, endpoint(6));
  const introductions = (from: Identity, to: Identity): number => {
    const out = target.datagram(endpoint(5), packetTo(to.address, from.address, 0));
    return [peer, other].flatMap((p) => verbs(target, p, out)).filter((v) => v === VERB.RENDEZVOUS)
      .length;
  };
  t.is(introductions(peer, other), 2);
  target.now += INTRODUCE_MS - 1;
  t.is(introductions(other, peer), 0);
  target.now += 1;
  t.is(introductions(other, peer), 2);
});

test('what goes to another root is introduced once in 30 s as well', (t) => {
  const target = new Target(1, true);
  target.meet(peer, endpoint(5));
  target.meet(other, endpoint(6));
  // A moon makes the other one an upstream of this root.
  target.node.vl1.state.topology.addStoredMoon({
    type: WORLD_MOON,
    id: BigInt(other.address),
    timestamp: 1n,
    updateKey: new Uint8Array(64),
    signature: new Uint8Array(96),
    roots: [{ identity: { ...other, privateKey: undefined }, endpoints: [endpoint(6)] }],
  });
  const nobody = 0x12_3456_7890;
  let introductions = 0;
  for (let i = 0; i < 21; i++) {
    const out = target.datagram(endpoint(5), packetTo(nobody, peer.address, 0));
    t.is(
      transmits(out).filter((o) => o.bytes.length === 60 && o.to.key === endpoint(6).key).length,
      1,
    );
    introductions += [peer, other]
      .flatMap((p) => verbs(target, p, out))
      .filter((v) => v === VERB.RENDEZVOUS).length;
  }
  t.is(introductions, 2, 'the reference sends a pair with every packet');
  const back = transmits(target.datagram(endpoint(6), packetTo(nobody, other.address, 0)));
  t.is(back.length, 0, 'not back to the root that it came from');
});

test('a leaf relays only for a path over which a member spoke in the last 600 s', (t) => {
  const target = new Target(1);
  target.meet(peer, endpoint(5));
  target.meet(other, endpoint(6));
  const relayed = (): number =>
    transmits(target.datagram(endpoint(5), packetTo(other.address, peer.address, 0))).filter(
      (o) => o.bytes.length === 60,
    ).length;
  t.is(relayed(), 0);
  const { path } = target.node.vl1.peer(peer.address)!.slots[0]!;
  path.lastTrustAt = target.now;
  t.is(relayed(), 1);
  // Only the clock of the path moves: the other peer stays as it is.
  path.lastTrustAt = target.now - 599_999;
  t.is(relayed(), 1);
  path.lastTrustAt = target.now - 600_000;
  t.is(relayed(), 0);
  t.is(target.node.vl1.state.counters.get('relayRefused'), 2);
});

// ---- tables ----

test('a peer has 64 paths; the one heard longest ago gives way', (t) => {
  const target = new Target(1);
  const p = new Peer(peer, target.key(peer), 0, true);
  for (let i = 0; i < MAX_PATHS_PER_PEER; i++) {
    const path = new Path(1, remote(i));
    path.heard(i === 5 ? 0 : 1 + i);
    p.learn(1, path);
  }
  t.is(p.slots.length, MAX_PATHS_PER_PEER);
  const fresh = new Path(1, remote(500));
  fresh.heard(100);
  p.learn(100, fresh);
  t.is(p.slots.length, MAX_PATHS_PER_PEER);
  t.is(p.slots[5]!.path, fresh);
});

test('path times: alive for 19 s, expired after 243 s', (t) => {
  const path = new Path(1, remote(1));
  path.heard(0);
  t.true(path.isAlive(PATH_ALIVE_MS - 1));
  t.false(path.isAlive(PATH_ALIVE_MS));
  const slot = { path, lastAuthAt: 0 };
  t.false(Peer.isExpired(slot, PATH_EXPIRY_MS - 1));
  t.true(Peer.isExpired(slot, PATH_EXPIRY_MS));
});

test('paths in all: 131,072', (t) => {
  const table = new PathTable();
  for (let i = 0; i <= MAX_PATHS; i++)
    table.register(new Path(1, remote(i & 0xffff, 1 + (i >> 16))));
  t.is(table.size, MAX_PATHS);
  t.is(table.find(1, remote(0, 1)), undefined, 'the oldest is forgotten');
  t.not(table.find(1, remote(0, 3)), undefined);
});

test('a world has at most four roots of 32 endpoints', (t) => {
  const world = (roots: number, endpoints: number): Uint8Array =>
    emitWorld({
      type: WORLD_MOON,
      id: 1n,
      timestamp: 1n,
      updateKey: new Uint8Array(64),
      signature: new Uint8Array(96),
      roots: Array.from({ length: roots }, () => ({
        identity: { ...peer, privateKey: undefined },
        endpoints: Array.from({ length: endpoints }, (_, i) => remote(i)),
      })),
    });
  const isTaken = (bytes: Uint8Array): boolean => parseWorld(bytes) !== undefined;
  t.true(isTaken(world(MAX_ROOTS, 1)));
  t.true(isTaken(world(1, MAX_ROOT_ENDPOINTS)));
  // The writer refuses what is too much; a reader meets it from others.
  const many = world(MAX_ROOTS, 1);
  const countAt = 1 + 8 + 8 + 64 + 96;
  t.is(many[countAt], MAX_ROOTS);
  many[countAt] = MAX_ROOTS + 1;
  t.false(isTaken(many));
  const long = world(1, MAX_ROOT_ENDPOINTS);
  const endpointsAt = countAt + 1 + 71;
  t.is(long[endpointsAt], MAX_ROOT_ENDPOINTS);
  long[endpointsAt] = MAX_ROOT_ENDPOINTS + 1;
  t.false(isTaken(long));
});

// ---- what is taken and answered by nothing ----

test('bonding verbs are counted and refresh nothing', (t) => {
  const target = new Target(1);
  target.meet(peer, endpoint(5));
  const before = target.node.vl1.peer(peer.address)!.lastReceiveAt;
  target.now += 100;
  for (const verb of [VERB.ACK, VERB.QOS_MEASUREMENT, VERB.PATH_NEGOTIATION_REQUEST])
    t.deepEqual(transmits(target.send(peer, verb, new Uint8Array(10), { suite: 0 })), []);
  t.is(target.node.vl1.state.counters.get('bondingIgnored'), 3);
  t.is(target.node.vl1.peer(peer.address)!.lastReceiveAt, before);
  t.is(target.node.vl1.state.traffic.rx[VERB.QOS_MEASUREMENT], 1);
});

test('user messages, traces and unassigned verbs count as received and are answered by nothing', (t) => {
  const target = new Target(1);
  target.meet(peer, endpoint(5));
  for (const verb of [VERB.USER_MESSAGE, VERB.REMOTE_TRACE, VERB.NOP, 0x0f, 0x11, 0x17, 0x1f]) {
    target.now += 10;
    const before = target.node.vl1.state.traffic.rx[verb]!;
    const out = target.send(peer, verb, new Uint8Array(20), { from: endpoint(5) });
    t.deepEqual(transmits(out), [], String(verb));
    t.is(target.node.vl1.peer(peer.address)!.lastReceiveAt, target.now, String(verb));
    t.is(target.node.vl1.state.traffic.rx[verb], before + 1, String(verb));
  }
});

test('a beacon of a known peer is answered by a NOP, once in 2.5 s', (t) => {
  const target = new Target(1);
  target.meet(peer, endpoint(5));
  const beacon = (address: number, from = remote(3)): number[] => {
    const bytes = new Uint8Array(13);
    writeAddress(bytes, 8, address);
    return verbs(target, peer, target.datagram(from, bytes));
  };
  t.deepEqual(beacon(peer.address), [VERB.NOP]);
  target.now += 2_499;
  t.deepEqual(beacon(peer.address), []);
  target.now += 1;
  t.deepEqual(beacon(other.address), [], 'not known');
  t.deepEqual(beacon(target.self.address), [], 'our own');
  const loopback = remoteAddress(inetAddress(Uint8Array.of(127, 0, 0, 1), 9993));
  t.deepEqual(beacon(peer.address, loopback), [], 'no path');
  t.deepEqual(beacon(peer.address), [VERB.NOP]);
});
