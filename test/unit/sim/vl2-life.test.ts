/** Networks over time: states, credentials lost and revoked, rules with tags and owners, bridges. */
import test from 'ava';
import { type NetworkId, networkIdText } from '#src/wire/address.js';
import { createNetwork, type SimNode, World } from '../../sim/world.js';

const SEED = 20_261_125;
type Settings = Parameters<SimNode['controller']['postNetwork']>[2];

const addressTextOf = (n: SimNode): string => n.address.toString(16).padStart(10, '0');
/** An IPv4 packet of one member, with its own source unless told otherwise. */
function packet(source: Uint8Array, n: number): Uint8Array {
  const p = new Uint8Array(60).fill(n);
  p.set([0x45, 0, 0, 60, 0, 0, 0, 0, 64, 17, 0, 0, ...source, 10, 91, 0, 99]);
  return p;
}

function change(world: World, nwid: NetworkId, settings: Settings): void {
  const root = world.nodes[0]!;
  root.run((node, at) => node.run(at, () => root.controller.postNetwork(at, nwid, settings)));
}

function member(world: World, nwid: NetworkId, who: SimNode, settings: Settings): void {
  const root = world.nodes[0]!;
  const texts = { nwid: networkIdText(nwid), address: addressTextOf(who) };
  root.run((node, at) =>
    node.run(at, () => root.controller.postMember(at, nwid, who.address, texts, settings)),
  );
}

/** A private network of node 0 whose other nodes are authorised members with addresses. */
function meeting(
  nodes = 3,
  settings: Settings = {},
): { world: World; nwid: NetworkId; m: SimNode[] } {
  const world = new World({ seed: SEED, nodes }).start();
  const nwid = createNetwork(world, { private: true });
  change(world, nwid, settings);
  const m = world.nodes.slice(1);
  for (const n of m) {
    member(world, nwid, n, { authorized: true });
    n.join(nwid);
  }
  if (!world.run(30_000, () => m.every((n) => n.ipv4(nwid) !== undefined)))
    throw new Error('no addresses');
  world.run(2_000);
  return { world, nwid, m };
}

const ipv4Frames = (n: SimNode): number => n.frames.filter((f) => f.etherType === 0x0800).length;

/** Sends packets of `from` for `ms`, one each 250 ms. @returns how many arrived. */
function stream(
  world: World,
  nwid: NetworkId,
  from: SimNode,
  to: SimNode,
  ms: number,
  source?: Uint8Array,
): number {
  const before = ipv4Frames(to);
  for (let left = ms; left > 0; left -= 250) {
    from.sendFrame(nwid, to, packet(source ?? from.ipv4(nwid)!, 7));
    world.run(250);
  }
  return ipv4Frames(to) - before;
}

test('a deauthorised member of forty is refused by all others within 2 s', (t) => {
  const { world, nwid, m } = meeting(41);
  const [gone, ...others] = m as [SimNode, ...SimNode[]];
  for (const o of others.slice(0, 10)) gone.sendFrame(nwid, o, packet(gone.ipv4(nwid)!, 1));
  world.run(3_000);
  t.true(others.slice(0, 10).every((o) => ipv4Frames(o) === 1));
  member(world, nwid, gone, { authorized: false });
  const from = world.now;
  const identity = { ...gone.identity, privateKey: undefined };
  const refused = (o: SimNode): boolean =>
    o.node.vl2.network(nwid)?.allows({ address: gone.address, identity }) !== true;
  t.true(world.run(2_000, () => others.every(refused) && gone.status(nwid) === 'ACCESS_DENIED'));
  t.log(`refused and told after ${world.now - from} ms`);
  const before = others.map(ipv4Frames);
  for (const o of others) gone.sendFrame(nwid, o, packet(gone.ipv4(nwid)!, 2));
  world.run(6_000);
  t.deepEqual(others.map(ipv4Frames), before);
});

test('credentials that were lost are pushed again, and no frame is lost after them', (t) => {
  const { world, nwid, m } = meeting();
  const [a, b] = m as [SimNode, SimNode];
  t.true(stream(world, nwid, b, a, 2_000) > 0, 'they know each other');
  for (const other of [0, 2]) world.setLink(1, other, 'down');
  a.sendFrame(nwid, b, packet(a.ipv4(nwid)!, 1));
  world.run(100);
  for (const other of [0, 2]) world.setLink(1, other, undefined);
  t.is(ipv4Frames(b), 0, 'the push and the frame are lost');
  a.sendFrame(nwid, b, packet(a.ipv4(nwid)!, 2));
  t.true(world.run(3_000, () => ipv4Frames(b) === 1));
});

test('every state of a member: asking, denied, in, unknown network, away controller', (t) => {
  const world = new World({ seed: SEED, nodes: 3 });
  const [root, a] = world.nodes as [SimNode, SimNode];
  root.start();
  const nwid = createNetwork(world, { private: true });
  root.stop();
  a.start();
  a.join(nwid);
  world.run(3_000);
  t.is(a.status(nwid), 'REQUESTING_CONFIGURATION');
  root.restart();
  t.true(world.run(10_000, () => a.status(nwid) === 'ACCESS_DENIED'));
  member(world, nwid, a, { authorized: true });
  t.true(world.run(6_000, () => a.status(nwid) === 'OK'));
  world.run(1_000);
  root.stop();
  a.restart();
  t.is(a.status(nwid), 'OK', 'the stored configuration is in force without the controller');
  t.not(a.ipv4(nwid), undefined);
  world.run(70_000);
  t.is(a.status(nwid), 'OK');
  root.restart();
  world.run(20_000);
  root.run((node, at) => node.run(at, () => root.controller.deleteNetwork(at, nwid)));
  t.true(world.run(70_000, () => a.status(nwid) === 'NOT_FOUND'));
  t.not(a.ipv4(nwid), undefined, 'a failure leaves the configuration in force');
});

test('a changed rule is in force within a second, while traffic flows, and so is its return', (t) => {
  const { world, nwid, m } = meeting();
  const [a, b] = m as [SimNode, SimNode];
  t.true(stream(world, nwid, a, b, 5_000) >= 18);
  change(world, nwid, { rules: [{ type: 'ACTION_DROP' }] });
  world.run(1_000);
  t.is(stream(world, nwid, a, b, 3_000), 0);
  change(world, nwid, { rules: [{ type: 'ACTION_ACCEPT' }] });
  world.run(1_000);
  t.true(stream(world, nwid, a, b, 3_000) >= 11);
});

test('an address that a member does not own is refused where the rules ask for it', (t) => {
  const { world, nwid, m } = meeting(3, {
    rules: [
      { type: 'MATCH_ETHERTYPE', etherType: 0x0800 },
      { type: 'MATCH_CHARACTERISTICS', mask: '1000000000000000', not: true },
      { type: 'ACTION_DROP' },
      { type: 'ACTION_ACCEPT' },
    ],
  });
  const [a, b] = m as [SimNode, SimNode];
  t.true(stream(world, nwid, a, b, 3_000) >= 10, 'its own');
  t.is(stream(world, nwid, a, b, 3_000, b.ipv4(nwid)!), 0, "another's");
  t.true(a.node.vl2.context.counters.get('ruleDropOut') > 0, 'its own node refuses already');
});

test('tags of both sides decide, and a capability opens what the rules keep shut', (t) => {
  const { world, nwid, m } = meeting(4, {
    tags: [{ id: 1, default: 10 }],
    capabilities: [{ id: 5, default: false, rules: [{ type: 'ACTION_ACCEPT' }] }],
    rules: [
      { type: 'MATCH_ETHERTYPE', etherType: 0x0800, not: true },
      { type: 'ACTION_ACCEPT' },
      { type: 'MATCH_TAGS_DIFFERENCE', id: 1, value: 0 },
      { type: 'ACTION_ACCEPT' },
    ],
  });
  const [a, b, c] = m as [SimNode, SimNode, SimNode];
  member(world, nwid, c, { tags: [[1, 20]] });
  world.run(1_000);
  t.true(stream(world, nwid, a, b, 4_000) >= 12, 'equal tags');
  t.is(stream(world, nwid, a, c, 4_000), 0, 'different tags');
  member(world, nwid, a, { capabilities: [5] });
  world.run(1_000);
  t.true(stream(world, nwid, a, c, 6_000) >= 16, 'by its capability');
  t.is(stream(world, nwid, c, a, 3_000), 0, "which is not the other one's");
  member(world, nwid, c, { tags: [[1, 10]] });
  world.run(1_000);
  t.true(stream(world, nwid, c, a, 6_000) >= 16);
});

test('frames from behind a bridge arrive, answers go back to the bridge, others may not bridge', (t) => {
  const { world, nwid, m } = meeting(4);
  const [bridge, b, stranger] = m as [SimNode, SimNode, SimNode];
  member(world, nwid, bridge, { activeBridge: true });
  // The others learn of a new bridge with their next configuration.
  change(world, nwid, { name: 'bridged' });
  world.run(1_000);
  const foreign = Uint8Array.of(0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee);
  const bMac = b.node.vl2.network(nwid)!.mac;
  const from = (n: SimNode, src: Uint8Array, dst: Uint8Array): void =>
    n.run((node, at) =>
      node.handleFrame(at, nwid, src, dst, 0x0800, packet(Uint8Array.of(10, 91, 0, 200), 3)),
    );
  from(bridge, foreign, bMac);
  t.true(world.run(5_000, () => ipv4Frames(b) === 1));
  t.deepEqual(b.frames.find((f) => f.etherType === 0x0800)!.src, foreign);
  from(b, bMac, foreign);
  t.true(
    world.run(5_000, () => ipv4Frames(bridge) === 1),
    'by the learned route',
  );
  from(stranger, foreign, bMac);
  world.run(5_000);
  t.is(ipv4Frames(b), 1, 'who is no bridge brings nobody');
});
