/** HELLOs of nodes that are not in memory: checks, their queue, peers of earlier runs, collisions. */
import test from 'ava';
import type { PeerKey } from '#src/crypto/api.js';
import type { NodeOutput } from '#src/node/outputs.js';
import {
  IDENTITY_GATE_MS,
  MAX_HELLO_COPIES,
  MAX_VALIDATIONS,
  STRANGERS_PER_SEC,
  VALIDATIONS_AT_ONCE,
} from '#src/vl1/constants.js';
import type { Path } from '#src/vl1/path.js';
import { Validations } from '#src/vl1/validations.js';
import { type Hello, writeHello } from '#src/wire/hello.js';
import type { Identity } from '#src/wire/identity.js';
import { inetAddress, type RemoteAddress, remoteAddress } from '#src/wire/inetaddress.js';
import { ERROR_CODE, SOFTWARE_VERSION, suiteOf, VERB } from '#src/wire/packet.js';
import { emitPeerRecord } from '#src/wire/peer-record.js';
import { endpoint, payload, Target, transmits } from '../../sim/attack.js';
import { Luck, poolIdentity, primitives } from '../../sim/world.js';

/** Strangers let through per prefix in IDENTITY_GATE_MS. */
const PER_PREFIX = 32;
const peer = poolIdentity(2);

/** An identity that was never worked for: keys that fit each other, any address. */
function forged(n: number, address = 0x50_0000_0000 + n): Identity {
  const privateKey = new Uint8Array(64);
  new Luck(n, 'forged').fill(privateKey);
  return { ...peer, address, privateKey, publicKey: primitives.publicFromPrivate(privateKey) };
}

const at = (prefix: number, host = 1): RemoteAddress =>
  remoteAddress(inetAddress(Uint8Array.of(10, 100 + (prefix >> 8), prefix & 255, host), 9993));

function hello(target: Target, from: Identity, where: RemoteAddress, hops = 0): NodeOutput[] {
  let maskFrom = 0;
  const body = payload((w) => {
    maskFrom = writeHello(
      w,
      {
        version: { protocol: 12, ...SOFTWARE_VERSION },
        timestamp: 5n,
        identity: { ...from, privateKey: undefined },
        sentTo: endpoint(0),
        planetId: 77n,
        planetTimestamp: 1n,
      },
      [],
    );
  });
  return target.send(from, VERB.HELLO, body, { suite: 0, from: where, maskFrom, hops });
}

const validations = (out: readonly NodeOutput[]) => out.filter((o) => o.kind === 'validate');
const oks = (target: Target, to: Identity, out: readonly NodeOutput[]) =>
  target.opened(to, out).filter((p) => p.verb === VERB.OK && p.payload[0] === VERB.HELLO);

const aPath = {} as Path;
const aKey = {} as PeerKey;
const arrival = { path: aPath, hops: 0, packet: new Uint8Array(0) };
const someHello = (n: number): Hello => ({ identity: forged(n) }) as Hello;

test('a newcomer of a quiet prefix finds a place in a table that others filled', (t) => {
  const v = new Validations();
  for (let i = 0; i < MAX_VALIDATIONS; i++)
    t.is(v.add(i % 4, someHello(i), aKey, arrival), 'added');
  t.is(v.size, MAX_VALIDATIONS);
  t.is(v.add(9, someHello(1_000), aKey, arrival), 'displaced');
  t.is(v.size, MAX_VALIDATIONS);
  t.not(v.find(forged(1_000)), undefined);
  t.is(v.add(0, someHello(1_001), aKey, arrival), 'refused', 'a prefix that has as many as any');
});

test('a table of one check per prefix takes no more', (t) => {
  const v = new Validations();
  for (let i = 0; i < MAX_VALIDATIONS; i++) v.add(i, someHello(i), aKey, arrival);
  t.is(v.add(MAX_VALIDATIONS, someHello(1_000), aKey, arrival), 'refused');
});

test('a host with more workers has more checks at once', (t) => {
  const v = new Validations(5);
  for (let i = 0; i < 50; i++) v.add(1, someHello(i), aKey, arrival);
  const started = Array.from({ length: 50 }, () => v.start()).filter((x) => x !== undefined);
  t.is(started.length, 5);
});

test('prefixes take turns, and the host has few checks at once', (t) => {
  const v = new Validations();
  for (let i = 0; i < 50; i++) v.add(1, someHello(i), aKey, arrival);
  v.add(2, someHello(100), aKey, arrival);
  const started = Array.from({ length: VALIDATIONS_AT_ONCE }, () => v.start()!);
  t.is(v.start(), undefined);
  const addresses = started.map((x) => x.hello.identity.address);
  t.true(addresses.includes(forged(100).address), 'the newcomer is among the first');
  t.is(v.finish(started[0]!.id), started[0]);
  t.is(v.finish(started[0]!.id), undefined);
  t.not(v.start(), undefined);
});

test('a flood from many prefixes does not keep a real newcomer out', (t) => {
  const root = new Target(1, true);
  let running = [] as number[];
  for (let i = 0; i < 600; i++) {
    const out = hello(root, forged(i), at(i % 16, i & 255));
    running.push(...validations(out).map((o) => o.id));
  }
  t.is(running.length, VALIDATIONS_AT_ONCE);
  const newcomer = hello(root, peer, at(999));
  t.deepEqual(oks(root, peer, newcomer), [], 'not before the check');
  let checks = 0;
  for (;;) {
    const id = running.shift()!;
    checks++;
    const isPeer = root.node.vl1.peer(peer.address) === undefined;
    const out = root.input((now) => root.node.handleValidation(now, id, checks > 2 && isPeer));
    running = [...running, ...validations(out).map((o) => o.id)];
    if (oks(root, peer, out).length > 0 || checks > MAX_VALIDATIONS) break;
  }
  t.true(checks <= 20, `${checks} checks`);
});

test('strangers of one prefix: 32 in 2 s, then those of the next 2 s', (t) => {
  const root = new Target(1, true);
  const gated = (): number => root.node.vl1.state.counters.get('helloGated');
  for (let i = 0; i < PER_PREFIX; i++) hello(root, forged(i), at(1, i));
  t.is(gated(), 0);
  hello(root, forged(100), at(1, 100));
  t.is(gated(), 1);
  hello(root, forged(101), at(2));
  t.is(gated(), 1, 'another prefix');
  root.now += IDENTITY_GATE_MS - 1;
  hello(root, forged(102), at(1));
  t.is(gated(), 2);
  root.now += 1;
  hello(root, forged(103), at(1));
  t.is(gated(), 2);
});

test('strangers of all prefixes: 1,000 in a second', (t) => {
  const root = new Target(1, true);
  const gated = (): number => root.node.vl1.state.counters.get('helloGated');
  const one = forged(1);
  const come = (i: number): unknown => hello(root, { ...one, address: one.address + i }, at(i));
  for (let i = 0; i < STRANGERS_PER_SEC; i++) come(i);
  t.is(gated(), 0);
  come(STRANGERS_PER_SEC);
  t.is(gated(), 1);
  root.now += 1_000;
  come(STRANGERS_PER_SEC + 1);
  t.is(gated(), 1);
});

test('every copy of a stranger’s HELLO is answered, up to eight', (t) => {
  const root = new Target(1, true);
  const ids: number[] = [];
  for (let i = 0; i <= MAX_HELLO_COPIES; i++)
    ids.push(...validations(hello(root, peer, endpoint(5, 1_000 + i))).map((o) => o.id));
  t.is(ids.length, 1, 'one check');
  t.is(root.node.vl1.state.counters.get('helloCopies'), 1);
  const out = root.input((now) => root.node.handleValidation(now, ids[0]!, true));
  const answers = transmits(out).filter((o) => {
    const p = root.open(peer, o.bytes);
    return p?.verb === VERB.OK;
  });
  t.is(answers.length, MAX_HELLO_COPIES);
  t.is(new Set(answers.map((o) => o.to.port)).size, MAX_HELLO_COPIES);
  t.is(oks(root, peer, hello(root, peer, endpoint(5, 2_000))).length, 1, 'a known peer’s too');
});

test('a peer of an earlier run is answered at once, without a check', (t) => {
  const root = new Target(1, true);
  const version = { protocol: 12, ...SOFTWARE_VERSION };
  root.node.handleStoredPeer(emitPeerRecord({ identity: peer, version, endpoints: [endpoint(7)] }));
  const out = hello(root, peer, endpoint(5));
  t.is(validations(out).length, 0);
  t.is(oks(root, peer, out).length, 1);
  t.is(root.node.vl1.peer(peer.address)?.protocol, 12);
});

test('a peer of an earlier run that sends anything else is heard at once, and contacted', (t) => {
  const root = new Target(1, true);
  const version = { protocol: 12, ...SOFTWARE_VERSION };
  root.node.handleStoredPeer(emitPeerRecord({ identity: peer, version, endpoints: [endpoint(7)] }));
  const out = root.send(peer, VERB.ECHO, new Uint8Array(2), { from: endpoint(7) });
  const verbs = root.opened(peer, out).map((p) => p.verb);
  t.true(verbs.includes(VERB.OK) && verbs.includes(VERB.HELLO), verbs.join());
});

test('a stranger that names a peer of an earlier run makes nobody forget its addresses', (t) => {
  const target = new Target(1);
  const version = { protocol: 12, ...SOFTWARE_VERSION };
  const record = emitPeerRecord({ identity: peer, version, endpoints: [endpoint(7)] });
  target.node.handleStoredPeer(record);
  const contacts = (): number => {
    const [sealed] = target.seal(peer, VERB.NOP, new Uint8Array(2));
    sealed![20]! ^= 1;
    const out = target.datagram(at(5), sealed!);
    return target.opened(peer, out).filter((p) => p.verb === VERB.HELLO).length;
  };
  t.is(contacts(), 1);
  t.is(contacts(), 0, 'it is in memory');
  for (let i = 0; i < 60; i++) target.wait(10_000);
  t.is(target.node.vl1.peer(peer.address), undefined);
  t.is(contacts(), 1);
});

test('a root contacts a peer of an earlier run when something is to be relayed to it', (t) => {
  const root = new Target(1, true);
  const version = { protocol: 12, ...SOFTWARE_VERSION };
  const record = emitPeerRecord({ identity: peer, version, endpoints: [endpoint(7)] });
  root.node.handleStoredPeer(record);
  const other = poolIdentity(3);
  root.meet(other, endpoint(8));
  const [sealed] = root.seal(other, VERB.NOP, new Uint8Array(2));
  const relayed = sealed!.slice();
  new DataView(relayed.buffer).setUint8(8, Math.floor(peer.address / 2 ** 32));
  new DataView(relayed.buffer).setUint32(9, peer.address % 2 ** 32);
  const out = root.datagram(endpoint(8), relayed);
  t.is(root.opened(peer, out).filter((p) => p.verb === VERB.HELLO).length, 1);
});

test('an address that another identity holds: the claimant is told, with its own key', (t) => {
  const root = new Target(1, true);
  const version = { protocol: 12, ...SOFTWARE_VERSION };
  const holder = forged(1, peer.address);
  root.node.handleStoredPeer(emitPeerRecord({ identity: holder, version, endpoints: [] }));
  const out = hello(root, peer, endpoint(5));
  const [sent] = transmits(out);
  t.is(transmits(out).length, 1);
  t.is(suiteOf(sent!.bytes), 1, 'Salsa20/12, which the claimant can read');
  const p = root.open(peer, sent!.bytes)!;
  t.is(p.verb, VERB.ERROR);
  t.is(p.payload[0], VERB.HELLO);
  t.is(p.payload[9], ERROR_CODE.IDENTITY_COLLISION);
  t.is(root.node.vl1.state.counters.get('helloCollision'), 1);
  t.deepEqual(root.node.vl1.peer(peer.address)?.identity.publicKey, holder.publicKey);
});

test('only an upstream can say that our address is another’s', (t) => {
  const target = new Target(1);
  const error = payload((w) => void w.u8(VERB.HELLO).u64(1n).u8(ERROR_CODE.IDENTITY_COLLISION));
  const told = (from: Identity): boolean =>
    target.send(from, VERB.ERROR, error).some((o) => o.kind === 'identityCollision');
  target.know(peer);
  t.false(told(peer));
  target.know(poolIdentity(0));
  t.true(told(poolIdentity(0)));
  t.is(target.node.vl1.state.counters.get('identityCollisionReported'), 1);
});

test('copies of a HELLO whose check is due cost no further key agreement, genuine or not', (t) => {
  const root = new Target(1, true);
  const { options } = root.node.vl1.state;
  let agreements = 0;
  Object.defineProperty(options, 'primitives', {
    value: {
      ...options.primitives,
      agree: (...keys: Parameters<typeof primitives.agree>) => {
        agreements++;
        return primitives.agree(...keys);
      },
    },
  });
  hello(root, peer, at(1));
  t.is(agreements, 1);
  const seal = root.seal.bind(root);
  root.seal = (...args) => {
    const [packet] = seal(...args);
    packet![packet!.length - 1]! ^= 1;
    return [packet!];
  };
  for (let i = 0; i < 1_000; i++) hello(root, peer, at(i));
  t.is(root.node.vl1.state.counters.get('badMac'), 1_000);
  t.is(agreements, 1);
});
