/** The caps of one joined network and of one member's record. */
import test from 'ava';
import { ConfigAssembly, MAX_PASSED } from '#src/vl2/config-assembly.js';
import type { Vl2Counter } from '#src/vl2/context.js';
import { MAX_PER_KIND, MAX_THRESHOLDS, Membership } from '#src/vl2/membership.js';
import { MAX_BRIDGE_ROUTES, MAX_GROUPS, MAX_MEMBERS, Network } from '#src/vl2/network.js';
import type { Vl1Port } from '#src/vl2/port.js';
import {
  CREDENTIAL,
  type Revocation,
  revocationSignedBytes,
  type Tag,
  tagSignedBytes,
} from '#src/wire/credentials.js';
import type { MulticastGroup } from '#src/wire/multicast-group.js';
import { type ConfigChunk, emitNetworkConfig, SPECIALIST } from '#src/wire/netconf.js';
import { networkOf, Target } from '../../sim/attack.js';
import { poolIdentity, primitives } from '../../sim/world.js';

const controller = poolIdentity(2);
const nwid = networkOf(controller);

function lone(): { net: Network; counts: Map<Vl2Counter, number> } {
  const counts = new Map<Vl2Counter, number>();
  const port = { self: poolIdentity(1), primitives } as Partial<Vl1Port> as Vl1Port;
  const net = new Network(port, nwid, (name) => counts.set(name, (counts.get(name) ?? 0) + 1));
  return { net, counts };
}

const group = (i: number): MulticastGroup => ({
  mac: Uint8Array.of(1, 0, i >> 24, i >> 16, i >> 8, i),
  adi: 0,
});
const mac = (i: number): Uint8Array => Uint8Array.of(2, 0, i >> 24, i >> 16, i >> 8, i);

test('one member more than a network remembers drives out the one known longest', (t) => {
  const { net, counts } = lone();
  for (let i = 1; i <= MAX_MEMBERS; i++) net.member(i);
  t.not(net.knownMember(1), undefined);
  t.is(counts.get('memberDropped'), undefined);
  net.member(MAX_MEMBERS + 1);
  t.is(net.knownMember(1), undefined);
  t.not(net.knownMember(2), undefined);
  t.is(counts.get('memberDropped'), 1);
});

test('one bridge route more than a network remembers drives out the oldest', (t) => {
  const { net } = lone();
  const target = new Target(1);
  const specialists = [BigInt(controller.address) | SPECIALIST.ACTIVE_BRIDGE];
  net.setConfig(target.moment(), { ...target.config(controller, nwid), specialists }, true);
  for (let i = 0; i < MAX_BRIDGE_ROUTES; i++) net.learnBridgeRoute(mac(i), controller.address);
  t.is(net.bridgeRoute(mac(0)), controller.address);
  net.learnBridgeRoute(mac(MAX_BRIDGE_ROUTES), controller.address);
  t.is(net.bridgeRoute(mac(0)), undefined);
  t.is(net.bridgeRoute(mac(1)), controller.address);
});

test('subscriptions and groups behind us beyond their caps are refused and counted', (t) => {
  const { net, counts } = lone();
  const groups = Array.from({ length: MAX_GROUPS + 1 }, (_, i) => group(i));
  t.is(net.setSubscriptions(groups.slice(0, MAX_GROUPS)).length, MAX_GROUPS);
  t.is(counts.get('groupRefused'), undefined);
  t.deepEqual(net.setSubscriptions(groups), []);
  t.is(counts.get('groupRefused'), 1);
  net.setSubscriptions([]);
  for (const g of groups.slice(0, MAX_GROUPS)) t.true(net.learnGroup(g));
  t.false(net.learnGroup(groups[MAX_GROUPS]!));
  t.is(counts.get('groupRefused'), 2);
  t.is(net.allGroups().length, MAX_GROUPS);
});

const verifier = {
  primitives,
  controller: controller.address,
  identityOf: () => controller,
};

function tag(id: number, timestamp = 10n): Tag {
  const unsigned = {
    nwid,
    timestamp,
    id,
    value: 1,
    issuedTo: 7,
    signer: controller.address,
    signature: new Uint8Array(96),
  };
  return {
    ...unsigned,
    signature: primitives.sign(controller.privateKey!, tagSignedBytes(unsigned)),
  };
}

function revocation(credentialId: number, threshold: bigint): Revocation {
  const unsigned = {
    id: 1,
    nwid,
    credentialId,
    threshold,
    flags: 0n,
    target: 7,
    signer: controller.address,
    type: CREDENTIAL.TAG,
    signature: new Uint8Array(96),
  };
  return {
    ...unsigned,
    signature: primitives.sign(controller.privateKey!, revocationSignedBytes(unsigned)),
  };
}

test('a member holds so many credentials of a kind; a newer one drives out the oldest', (t) => {
  const m = new Membership();
  const holds = (id: number) => m.tag(id, 10n, 5n) !== undefined;
  for (let id = 0; id < MAX_PER_KIND; id++) t.is(m.storeTag(verifier, tag(id)), 'new');
  t.is(m.storeTag(verifier, tag(MAX_PER_KIND)), 'rejected', 'as old as those');
  t.is(m.storeTag(verifier, tag(0, 11n)), 'new', 'a newer one of a known id');
  t.true(holds(1));
  t.is(m.storeTag(verifier, tag(MAX_PER_KIND, 11n)), 'new');
  t.false(holds(1), 'the oldest of them');
  t.true(holds(0) && holds(2) && holds(MAX_PER_KIND));
});

test('a revocation counts however many there were before it', (t) => {
  const m = new Membership();
  for (let id = 0; id < MAX_THRESHOLDS; id++)
    t.is(m.storeRevocation(verifier, revocation(id, 5n + BigInt(id % 2))), 'new');
  t.is(m.storeRevocation(verifier, revocation(0, 6n)), 'new', 'a higher one of a known id');
  t.is(m.storeRevocation(verifier, revocation(MAX_THRESHOLDS, 5n)), 'rejected', 'sent again');
  t.is(m.storeRevocation(verifier, revocation(MAX_THRESHOLDS, 20n)), 'new');
  t.is(m.storeTag(verifier, tag(MAX_THRESHOLDS)), 'rejected', 'the newest threshold holds');
  t.is(m.storeTag(verifier, tag(2, 5n)), 'new', 'the oldest made room');
  for (const id of [1, 4]) t.is(m.storeTag(verifier, tag(id, 5n)), 'rejected');
});

/** Half of an update of two bytes. */
function chunk(updateId: number, offset: number): ConfigChunk {
  const signature = new Uint8Array(96).fill(updateId);
  signature[0] = offset;
  return {
    nwid,
    data: Uint8Array.of(updateId),
    signed: {
      flags: 0,
      updateId: BigInt(updateId),
      totalLen: 2,
      offset,
      signature,
      signedBytes: new Uint8Array(0),
    },
  };
}

test('what others pass on drives out no update of the controller', (t) => {
  const a = new ConfigAssembly();
  for (const id of [1, 2, 3]) t.is(a.add(chunk(id, 0), true), undefined);
  for (const id of [4, 5, 6]) {
    a.add(chunk(id, 0), false);
    t.is(a.add(chunk(id, 1), false), undefined, 'no room for it');
  }
  for (const id of [1, 2, 3]) t.is(a.add(chunk(id, 1), true)?.updateId, BigInt(id));
  a.add(chunk(4, 0), false);
  t.is(a.add(chunk(4, 1), false)?.updateId, 4n, 'a complete one gives way');
  for (const id of [7, 8, 9]) a.add(chunk(id, 0), true);
  a.add(chunk(10, 0), true);
  t.is(a.add(chunk(10, 1), true)?.updateId, 10n, 'of the controller the oldest gives way');
  t.is(a.add(chunk(7, 1), true), undefined);
});

test('so many updates are passed on in a minute, and no more', (t) => {
  const a = new ConfigAssembly();
  for (let id = 0; id < MAX_PASSED; id++) t.true(a.mayPass(1_000 + id, BigInt(id)));
  t.false(a.mayPass(2_000, 99n));
  t.true(a.mayPass(2_000, 0n), 'further chunks of one of them');
  t.false(a.mayPass(60_999, 99n));
  t.true(a.mayPass(61_000, 99n));
});

test('an old configuration that somebody sends again does not replace a newer one', (t) => {
  const target = new Target(1);
  const text = (timestamp: bigint, name: string): Uint8Array =>
    emitNetworkConfig({ ...target.config(controller, nwid), timestamp, name });
  target.configure(controller, nwid);
  const net = target.node.vl2.network(nwid)!;
  const apply = (timestamp: bigint, name: string, isDirect: boolean): string | undefined => {
    target.input(() => target.node.vl2.applyConfig(net, text(timestamp, name), isDirect));
    return net.config?.name;
  };
  const now = net.config!.timestamp;
  t.is(apply(now + 1n, 'newer', false), 'newer');
  t.is(apply(now, 'older', false), 'newer');
  t.is(target.node.vl2.context.counters.get('configStale'), 1);
  t.is(apply(now, 'older', true), 'older', 'the controller itself may set its clock back');
});
