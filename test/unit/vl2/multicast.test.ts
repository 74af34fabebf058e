/** Multicast through replicators, gathers by all that may know, and the caps of the group table. */
import test from 'ava';
import type { NodeOutput } from '#src/node/outputs.js';
import {
  MAX_GROUPS,
  MAX_GROUPS_OF_ONE,
  MAX_LISTED,
  MAX_LISTENERS,
  MAX_LISTENERS_IN_ALL,
  MAX_WAITING,
  MAX_WAITING_IN_ALL,
  MulticastTable,
} from '#src/vl2/multicast.js';
import { memberMac } from '#src/wire/address.js';
import type { Identity } from '#src/wire/identity.js';
import type { MulticastGroup } from '#src/wire/multicast-group.js';
import { SPECIALIST } from '#src/wire/netconf.js';
import { VERB } from '#src/wire/packet.js';
import {
  parseGather,
  parseGatherResult,
  parseMulticastFrame,
  parseOkHead,
  writeGather,
  writeLike,
  writeMulticastFrame,
} from '#src/wire/vl2-messages.js';
import { endpoint, networkOf, payload, Target } from '../../sim/attack.js';
import { poolIdentity } from '../../sim/world.js';

const controller = poolIdentity(2);
const member = poolIdentity(3);
const other = poolIdentity(4);
const nwid = networkOf(controller);
const GROUP: MulticastGroup = { mac: Uint8Array.of(0x01, 0, 0x5e, 1, 2, 3), adi: 0 };
const frame = new Uint8Array(40).fill(9);
const role = (who: Identity, bits: bigint): bigint => BigInt(who.address) | bits;

/** A public network, so that no credentials are needed. */
function joined(specialists: readonly bigint[]): Target {
  const target = new Target(1);
  for (const i of [member, other, controller]) target.meet(i);
  target.configure(controller, nwid, { type: 1, specialists });
  return target;
}

function like(target: Target, from: Identity): void {
  target.send(
    from,
    VERB.MULTICAST_LIKE,
    payload((w) => writeLike(w, nwid, GROUP)),
  );
}

function fromStack(target: Target): NodeOutput[] {
  const src = memberMac(target.self.address, nwid);
  return target.input((at) => target.node.handleFrame(at, nwid, src, GROUP.mac, 0x0800, frame));
}

const framesTo = (target: Target, to: Identity, out: readonly NodeOutput[]) =>
  target
    .opened(to, out)
    .filter((p) => p.verb === VERB.MULTICAST_FRAME)
    .map((p) => parseMulticastFrame(p.payload)!);

test('a multicast goes to the replicator alone, with our MAC and the wish to replicate', (t) => {
  const target = joined([role(other, SPECIALIST.REPLICATOR)]);
  like(target, member);
  const out = fromStack(target);
  t.deepEqual(framesTo(target, member, out), []);
  const [f, ...more] = framesTo(target, other, out);
  t.is(more.length, 0);
  t.true(f!.replicate);
  t.is(f!.gatherLimit, 0);
  t.deepEqual(f!.macSource, memberMac(target.self.address, nwid));
  t.deepEqual(f!.frame, frame);
});

test('without a replicator that is heard on a path of its own, the sender replicates', (t) => {
  const far = poolIdentity(5);
  const target = joined([role(far, SPECIALIST.REPLICATOR)]);
  like(target, member);
  const [f] = framesTo(target, member, fromStack(target));
  t.false(f!.replicate);
  t.is(f!.macSource, undefined);
});

test('a replicator passes frames on to the others, with the source of the first sender', (t) => {
  const self = poolIdentity(1);
  const target = joined([role(self, SPECIALIST.REPLICATOR)]);
  like(target, member);
  like(target, other);
  const send = (macSource: Uint8Array | undefined): NodeOutput[] =>
    target.send(
      member,
      VERB.MULTICAST_FRAME,
      payload((w) =>
        writeMulticastFrame(w, {
          nwid,
          replicate: true,
          com: undefined,
          gatherLimit: 0,
          macSource,
          group: GROUP,
          etherType: 0x0800,
          frame,
        }),
      ),
    );
  const own = memberMac(member.address, nwid);
  const out = send(own);
  t.deepEqual(framesTo(target, member, out), [], 'not back to its origin');
  const [f, ...more] = framesTo(target, other, out);
  t.is(more.length, 0);
  t.deepEqual([f!.replicate, f!.macSource], [false, own]);
  t.is(out.filter((o) => o.kind === 'frame').length, 1, 'and to its own stack');
  t.is(target.node.vl2.context.counters.get('replicated'), 1);
});

test('a member that is no replicator does not replicate', (t) => {
  const target = joined([]);
  like(target, other);
  const out = target.send(
    member,
    VERB.MULTICAST_FRAME,
    payload((w) =>
      writeMulticastFrame(w, {
        nwid,
        replicate: true,
        com: undefined,
        gatherLimit: 0,
        macSource: undefined,
        group: GROUP,
        etherType: 0x0800,
        frame,
      }),
    ),
  );
  t.deepEqual(framesTo(target, other, out), []);
  t.is(out.filter((o) => o.kind === 'frame').length, 1);
});

test('controller and anchors are asked for members of a group, once each', (t) => {
  const target = joined([role(other, SPECIALIST.ANCHOR)]);
  const out = fromStack(target);
  const asked = [controller, other, member].map((who) =>
    target
      .opened(who, out)
      .filter((p) => p.verb === VERB.MULTICAST_GATHER)
      .map((p) => parseGather(p.payload)!.limit),
  );
  t.deepEqual(asked, [[33], [33], []]);
  t.deepEqual(
    target.opened(other, fromStack(target)).filter((p) => p.verb === VERB.MULTICAST_GATHER),
    [],
    'an empty group is asked for once a second',
  );
});

/** Addresses whose identity was asked for: each stands for a packet that waits for it. */
const wanted = (target: Target, out: readonly NodeOutput[]): number =>
  target.opened(poolIdentity(0), out).filter((p) => p.verb === VERB.WHOIS).length;

/** Members of a role, whose identities nobody knows. */
const unknown = (count: number, bits: bigint): bigint[] =>
  Array.from({ length: count }, (_, i) => BigInt(0x70_0000_0000 + i) | bits);

test('members of a group are asked for at sixteen nodes', (t) => {
  const target = joined(unknown(20, SPECIALIST.ANCHOR));
  target.meet(poolIdentity(0), endpoint(0));
  const out = fromStack(target);
  const known = [poolIdentity(0), controller].filter((who) =>
    target.opened(who, out).some((p) => p.verb === VERB.MULTICAST_GATHER),
  ).length;
  t.is(known, 2);
  t.is(known + wanted(target, out), 16);
});

test('a frame for an unknown MAC goes to 32 bridges', (t) => {
  for (const [bridges, sent] of [
    [32, 32],
    [33, 32],
  ] as const) {
    const target = joined(unknown(bridges, SPECIALIST.ACTIVE_BRIDGE));
    target.meet(poolIdentity(0), endpoint(0));
    const own = memberMac(target.self.address, nwid);
    const to = Uint8Array.of(0x02, 1, 2, 3, 4, 5);
    const out = target.input((at) => target.node.handleFrame(at, nwid, own, to, 0x0800, frame));
    t.is(wanted(target, out), sent);
  }
});

test('a gather is answered in one datagram, with as many members as it takes', (t) => {
  for (const [known, listed] of [
    [273, 273],
    [274, 274],
    [275, 274],
  ] as const) {
    const target = joined([]);
    const { multicast } = target.node.vl2.context;
    for (let i = 0; i < known; i++) multicast.add(target.now, nwid, GROUP, 1_000 + i);
    const ask = payload((w) =>
      writeGather(w, { nwid, group: GROUP, limit: 70_000, com: undefined }),
    );
    const out = target.send(member, VERB.MULTICAST_GATHER, ask);
    const ok = target.opened(member, out).find((p) => p.verb === VERB.OK)!;
    const result = parseGatherResult(parseOkHead(ok.payload)!.body, false)!;
    t.deepEqual([result.totalKnown, result.members.length], [known, listed]);
    t.is(new Set(result.members).size, listed);
  }
});

const group = (i: number): MulticastGroup => ({
  mac: Uint8Array.of(1, 0, i >> 24, i >> 16, i >> 8, i),
  adi: 0,
});

function counted(): { table: MulticastTable; refused: () => number } {
  let refused = 0;
  return { table: new MulticastTable(() => refused++), refused: () => refused };
}

test('each cap of the group table refuses the one beyond it, and counts it', (t) => {
  const one = counted();
  for (let i = 0; i < MAX_GROUPS_OF_ONE; i++) one.table.add(0, 1n, group(i), 5);
  t.is(one.refused(), 0);
  one.table.add(0, 1n, group(MAX_GROUPS_OF_ONE), 5);
  t.deepEqual([one.refused(), one.table.groupCount], [1, MAX_GROUPS_OF_ONE]);

  const listeners = counted();
  for (let i = 0; i < MAX_LISTENERS; i++) listeners.table.add(0, 1n, GROUP, i + 1);
  t.is(listeners.refused(), 0);
  listeners.table.add(0, 1n, GROUP, MAX_LISTENERS + 1);
  t.deepEqual([listeners.refused(), listeners.table.listenerCount], [1, MAX_LISTENERS]);

  const listed = counted();
  for (let i = 0; i < MAX_LISTED; i++) listed.table.addListed(0, 1n, GROUP, i + 1);
  t.is(listed.refused(), 0);
  listed.table.addListed(0, 1n, GROUP, MAX_LISTED + 1);
  t.deepEqual([listed.refused(), listed.table.listenerCount], [1, MAX_LISTED]);

  const all = counted();
  for (let i = 0; i < MAX_LISTENERS_IN_ALL; i++)
    all.table.add(0, 1n, group(i % 1024), 1 + (i >> 10));
  t.is(all.refused(), 0);
  all.table.add(0, 1n, group(2_000), 999_999);
  t.deepEqual([all.refused(), all.table.listenerCount], [1, MAX_LISTENERS_IN_ALL]);
});

test('one group more than the table holds drives out the oldest', (t) => {
  const { table } = counted();
  for (let i = 0; i < MAX_GROUPS; i++) table.add(0, 1n, group(i), 1 + (i % 1_000));
  t.is(table.groupCount, MAX_GROUPS);
  t.is(table.listeners(1n, group(0)).length, 1);
  table.add(0, 1n, group(MAX_GROUPS), 1);
  t.is(table.groupCount, MAX_GROUPS);
  t.deepEqual(table.listeners(1n, group(0)), []);
});

test('frames wait for members up to the caps of a group and of all', (t) => {
  const { table } = counted();
  const seen: number[] = [];
  const wait = (g: number, n: number): void =>
    table.wait(1n, group(g), {
      at: 0,
      served: new Set(),
      left: 1,
      sendTo: () => void seen.push(n),
    });
  for (let n = 0; n <= MAX_WAITING; n++) wait(1, n);
  t.is(table.waitingCount, MAX_WAITING);
  table.add(1, 1n, group(1), 7);
  t.deepEqual(
    seen,
    Array.from({ length: MAX_WAITING }, (_, i) => i + 1),
    'the oldest is dropped',
  );
  for (let g = 2; table.waitingCount < MAX_WAITING_IN_ALL; g++) wait(g, g);
  wait(1, 0);
  t.is(table.waitingCount, MAX_WAITING_IN_ALL);
});
