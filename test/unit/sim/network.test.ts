/** The simulator's own parts: the order of events, links, address translators, partitions, clocks. */
import test from 'ava';
import { inetAddress, type RemoteAddress, remoteAddress } from '#src/wire/inetaddress.js';
import { EventHeap } from '../../sim/events.js';
import { Link } from '../../sim/link.js';
import { Luck } from '../../sim/luck.js';
import { Nat, type NatKind } from '../../sim/nat.js';
import { World } from '../../sim/world.js';

const at = (a: number, port: number): RemoteAddress =>
  remoteAddress(inetAddress(Uint8Array.of(20, 0, 0, a), port));
const INNER = at(200, 9993);
const A = at(1, 1_000);
const A2 = at(1, 2_000);
const B = at(2, 1_000);

const nat = (kind: NatKind, mappingMs?: number): Nat<string> =>
  new Nat(
    Uint8Array.of(20, 128, 0, 1),
    mappingMs === undefined ? { kind } : { kind, mappingMs },
    new Luck(1, kind),
  );

test('events run by time, then in the order in which they were scheduled', (t) => {
  const luck = new Luck(5, 'events');
  const heap = new EventHeap();
  const want: [number, number][] = [];
  for (let i = 0; i < 2_000; i++) {
    const when = luck.below(50);
    want.push([when, i]);
    heap.push(when, () => undefined);
  }
  want.sort(([a, i], [b, j]) => a - b || i - j);
  const got: [number, number][] = [];
  for (let e = heap.pop(); e !== undefined; e = heap.pop()) got.push([e.at, e.seq]);
  t.deepEqual(got, want);
});

for (const [kind, letsIn] of [
  ['fullCone', { A: true, A2: true, B: true }],
  ['addressRestricted', { A: true, A2: true, B: false }],
  ['portRestricted', { A: true, A2: false, B: false }],
  ['symmetric', { A: true, A2: false, B: false }],
] as const) {
  test(`a ${kind} NAT lets in what its kind says, once the inside has sent to one endpoint`, (t) => {
    const n = nat(kind);
    const outside = n.outbound(0, 'host', INNER, A);
    const enters = (from: RemoteAddress): boolean => n.inbound(1, outside.port, from) === 'host';
    t.deepEqual({ A: enters(A), A2: enters(A2), B: enters(B) }, letsIn);
    t.is(n.inbound(1, outside.port + 1, A), undefined);
    t.is(n.outbound(2, 'host', INNER, B).port === outside.port, kind !== 'symmetric');
  });

  test(`a mapping of a ${kind} NAT lives as long as the inside sends`, (t) => {
    const n = nat(kind, 1_000);
    const first = n.outbound(0, 'host', INNER, A);
    n.outbound(900, 'host', INNER, A);
    t.is(n.inbound(1_800, first.port, A), 'host');
    t.is(n.inbound(1_900, first.port, A), undefined);
    t.is(n.owner(1_900, first.port), undefined);
    t.not(n.outbound(1_900, 'host', INNER, A).port, first.port);
    t.is(n.mappings, 1);
  });
}

test('a NAT that is restarted knows nobody', (t) => {
  const n = nat('fullCone');
  const { port } = n.outbound(0, 'host', INNER, A);
  n.rebind();
  t.is(n.inbound(1, port, A), undefined);
  t.is(n.refused, 1);
});

test('a link loses, doubles, delays and reorders as often as it is told', (t) => {
  const link = new Link(new Luck(9, 'link'));
  const q = { latencyMs: 10, loss: 0.2, duplicate: 0.1, jitterMs: 5, reorder: 0.05, reorderMs: 50 };
  let [lost, doubled, late] = [0, 0, 0];
  for (let i = 0; i < 20_000; i++) {
    const copies = link.pass(i, q, 100);
    if (copies.length === 0) lost++;
    if (copies.length === 2) doubled++;
    for (const c of copies) {
      t.true(c >= 10 && c < 65);
      if (c >= 60) late++;
    }
  }
  const near = (n: number, want: number): boolean => Math.abs(n - want) < want * 0.1;
  t.true(near(lost, 4_000), `${lost}`);
  t.true(near(doubled, 1_600), `${doubled}`);
  t.true(near(late, 880), `${late}`);
});

test('losses in bursts come in runs of the expected length', (t) => {
  const link = new Link(new Luck(9, 'burst'));
  const q = { latencyMs: 1, loss: 0, burst: { enter: 0.01, leave: 0.25 } };
  let [lost, runs, wasLost] = [0, 0, false];
  for (let i = 0; i < 50_000; i++) {
    const isLost = link.pass(i, q, 100).length === 0;
    if (isLost) lost++;
    if (isLost && !wasLost) runs++;
    wasLost = isLost;
  }
  t.true(Math.abs(lost / runs - 4) < 0.5, `${lost / runs}`);
});

test('a bottleneck delays what waits in it and drops what exceeds its queue', (t) => {
  const link = new Link(new Luck(9, 'queue'));
  const q = { latencyMs: 3, loss: 0, bytesPerMs: 100, queueBytes: 1_000 };
  const delays = Array.from({ length: 20 }, () => link.pass(0, q, 72)[0]);
  t.deepEqual(delays.slice(0, 3), [4, 5, 6]);
  t.is(delays.filter((d) => d !== undefined).length, 11);
  t.deepEqual(link.pass(100, q, 72), [4]);
});

test('a partition cuts both ways, or one, until it is healed', (t) => {
  const world = new World({ seed: 1, nodes: 3 });
  const [root, a, b] = world.nodes;
  world.start();
  world.run(2_000);
  const heal = world.partition([0], [1], true);
  const cut = world.now;
  world.run(6_000);
  t.true(root!.heardAt(a!) > cut, 'the other way is open');
  t.true(a!.heardAt(root!) <= cut + 10);
  t.true(b!.heardAt(root!) > cut);
  t.true(world.counts.cut > 0);
  heal();
  const healed = world.now;
  t.true(world.run(6_000, () => a!.heardAt(root!) > healed));
});

test('hosts of one home speak inside it, and reach the outside through it', (t) => {
  const world = new World({
    seed: 1,
    nodes: 3,
    homes: [{ kind: 'portRestricted', nodes: [1, 2] }],
  }).start();
  t.true(world.run(2_000, () => world.nodes.every((n) => n.onlineAt !== undefined)));
  const seen = world.nodes[0]!.node.vl1.peer(world.nodes[1]!.address)!.slots[0]!.path.remote;
  t.deepEqual([...seen.ip], [20, 128, 0, 1]);
  t.not(seen.port, 9993);
});

test('wall clocks differ and jump without moving the world', (t) => {
  const world = new World({ seed: 1, nodes: 2 }).start();
  const [a, b] = world.nodes as [World['nodes'][0], World['nodes'][0]];
  a.jumpClock(-3_600_000);
  t.is(b.moment().wall - a.moment().wall, 3_600_000);
  t.true(world.run(1_000, () => b.onlineAt !== undefined));
});
