/** Records of peers, our addresses as others see them, worlds in answers. */
import test from 'ava';
import type { NodeOutput } from '#src/node/outputs.js';
import { STORE_UNCHANGED_MS, SURFACE_EXPIRY_MS } from '#src/vl1/constants.js';
import { parseOkHello, writeHello, writeOkHello } from '#src/wire/hello.js';
import type { Identity } from '#src/wire/identity.js';
import {
  inetAddress,
  inetAddressText,
  type RemoteAddress,
  remoteAddress,
} from '#src/wire/inetaddress.js';
import { DEFAULT_PHYSICAL_MTU, SOFTWARE_VERSION, VERB } from '#src/wire/packet.js';
import { parsePeerRecord } from '#src/wire/peer-record.js';
import { WORLD_MOON, type World } from '#src/wire/world.js';
import { endpoint, payload, Target, transmits } from '../../sim/attack.js';
import { poolIdentity } from '../../sim/world.js';

const root = poolIdentity(0);
const peer = poolIdentity(2);
const version = { protocol: 12, ...SOFTWARE_VERSION };
const NONE = new Uint8Array(0);

const stored = (out: readonly NodeOutput[]) => out.filter((o) => o.kind === 'storePeer');
const mine = (n: number): RemoteAddress =>
  remoteAddress(inetAddress(Uint8Array.of(10, 66, 0, n), 9993));

/** A HELLO of `from`, and what came of it. */
function hello(
  target: Target,
  from: Identity,
  at: RemoteAddress,
  moons: readonly World[] = [],
  sentTo = endpoint(1),
): NodeOutput[] {
  let maskFrom = 0;
  const body = payload((w) => {
    maskFrom = writeHello(
      w,
      {
        version,
        timestamp: 5n,
        identity: { ...from, privateKey: undefined },
        sentTo,
        planetId: 77n,
        planetTimestamp: 1n,
      },
      moons.map((m) => ({ type: WORLD_MOON, id: m.id, timestamp: 0n })),
    );
  });
  return target.send(from, VERB.HELLO, body, { suite: 0, from: at, maskFrom });
}

test('a peer is written when its first path is learned, and again when it changed', (t) => {
  const target = new Target(1);
  target.know(peer);
  const request = target
    .opened(peer, target.send(peer, VERB.NOP, NONE, { from: endpoint(5) }))
    .find((p) => p.verb === VERB.HELLO)!;
  const ok = payload((w) => {
    w.u8(VERB.HELLO).u64(request.id);
    writeOkHello(w, { timestamp: 1n, version, surface: endpoint(1) }, NONE);
  });
  const [first] = stored(target.send(peer, VERB.OK, ok, { from: endpoint(5) }));
  t.is(first?.address, peer.address);
  const record = parsePeerRecord(first!.record)!;
  t.deepEqual(record.endpoints.map(inetAddressText), [inetAddressText(endpoint(5))]);
  t.is(record.version.protocol, 12);
  /** Keeps the peer talking; returns when records were written. */
  const watch = (ms: number): number[] => {
    const times: number[] = [];
    for (let passed = 0; passed < ms; passed += 30_000) {
      const out = target.wait(30_000);
      if (stored(out).some((o) => o.address === peer.address)) times.push(passed + 30_000);
      target.send(peer, VERB.ECHO, NONE, { from: endpoint(5) });
    }
    return times;
  };
  t.deepEqual(watch(900_000), [], 'nothing changed');
  hello(target, peer, endpoint(5));
  target.node.vl1.peer(peer.address)!.setVersion(11, 1, 14, 1);
  t.is(watch(330_000).length, 1, 'once in 5 minutes');
  t.is(watch(STORE_UNCHANGED_MS).length, 1, 'once a day, for the date of its file');
});

test('a root that sees us elsewhere makes all paths of that kind prove themselves', (t) => {
  const target = new Target(1);
  target.meet(root, endpoint(0));
  target.meet(peer, endpoint(5));
  const slot = target.node.vl1.peer(peer.address)!.slots[0]!;
  hello(target, root, endpoint(0));
  t.true(slot.lastAuthAt > 0);
  target.now += 1_000;
  t.deepEqual(target.opened(peer, hello(target, root, endpoint(0))), [], 'the same address');
  const out = hello(target, root, endpoint(0), [], mine(2));
  t.is(target.opened(peer, out).filter((p) => p.verb === VERB.ECHO).length, 1);
  t.is(slot.lastAuthAt, Number.NEGATIVE_INFINITY);
  target.send(peer, VERB.ECHO, NONE, { from: endpoint(5) });
  t.is(slot.lastAuthAt, target.now, 'and it does');
});

test('what others than a root say of our address resets nothing, and old reports neither', (t) => {
  const target = new Target(1);
  target.meet(root, endpoint(0));
  target.meet(peer, endpoint(5));
  hello(target, peer, endpoint(5), [], mine(1));
  t.deepEqual(target.opened(root, hello(target, peer, endpoint(5), [], mine(2))), []);
  hello(target, root, endpoint(0), [], mine(1));
  target.now += SURFACE_EXPIRY_MS;
  t.deepEqual(target.opened(peer, hello(target, root, endpoint(0), [], mine(2))), []);
});

test('worlds are attached as long as the answer stays one datagram', (t) => {
  const target = new Target(1, true);
  target.know(peer);
  const moons = Array.from({ length: 8 }, (_, i) => ({
    type: WORLD_MOON,
    id: BigInt(100 + i),
    timestamp: 9n,
    updateKey: new Uint8Array(64),
    signature: new Uint8Array(96),
    roots: [{ identity: { ...peer, privateKey: undefined }, endpoints: [endpoint(5)] }],
  }));
  for (const m of moons) target.node.vl1.state.topology.addStoredMoon(m);
  const wanted = [...moons];
  let rounds = 0;
  while (wanted.length > 0 && rounds++ < 8) {
    const out = hello(target, peer, endpoint(5), wanted);
    t.true(transmits(out).every((o) => o.bytes.length <= DEFAULT_PHYSICAL_MTU));
    const ok = target.opened(peer, out).find((p) => p.verb === VERB.OK)!;
    const worlds = parseOkHello(ok.payload.subarray(9))!.worlds;
    t.true(worlds.length > 0);
    for (const w of worlds)
      wanted.splice(
        wanted.findIndex((m) => m.id === w.id),
        1,
      );
  }
  t.true(rounds > 1 && wanted.length === 0, `${rounds} HELLOs`);
});

test('after a sleep upstreams are greeted at once', (t) => {
  const target = new Target(1);
  target.meet(root, endpoint(0));
  target.wait(600);
  const greeted = (out: readonly NodeOutput[]): number =>
    target.opened(root, out).filter((p) => p.verb === VERB.HELLO).length;
  t.is(greeted(target.wait(600)), 0);
  t.is(greeted(target.input((at) => target.node.handleWake(at))), 1);
});

test('sockets that go take their paths with them; upstreams are greeted from new ones', (t) => {
  const target = new Target(1);
  target.meet(root, endpoint(0));
  target.meet(peer, endpoint(5));
  const slots = (id: Identity): number => target.node.vl1.peer(id.address)!.slots.length;
  t.deepEqual([slots(root), slots(peer)], [1, 1]);
  const added = target.input((at) =>
    target.node.handleSockets(
      at,
      [
        { id: 1, family: 4 },
        { id: 2, family: 6 },
        { id: 3, family: 4 },
      ],
      [endpoint(1), mine(3)],
    ),
  );
  const from = transmits(added).filter((o) => target.open(root, o.bytes)?.verb === VERB.HELLO);
  t.deepEqual(
    from.map((o) => o.socket),
    [1, 3],
    'one HELLO, from both sockets of its family',
  );
  target.input((at) => target.node.handleSockets(at, [{ id: 3, family: 4 }], [mine(3)]));
  t.deepEqual([slots(root), slots(peer)], [0, 0]);
  const next = transmits(target.wait(600));
  t.true(next.some((o) => o.socket === 3 && target.open(root, o.bytes)?.verb === VERB.HELLO));
  t.false(next.some((o) => o.socket !== 3));
});
