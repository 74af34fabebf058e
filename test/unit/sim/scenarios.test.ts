import test from 'ava';
import { createNetwork, type SimNode, World } from '../../sim/world.js';

const SEED = 20_261_125;
const frame = (n: number): Uint8Array => Uint8Array.from({ length: 100 }, (_, i) => i + n);

function started(world: World): World {
  for (const n of world.nodes) n.start();
  return world;
}

/** A world in which nodes 1 and 2 are members with addresses and subscriptions. */
function meeting(world: World): bigint {
  started(world);
  const nwid = createNetwork(world);
  const [, a, b] = world.nodes as [SimNode, SimNode, SimNode];
  a.join(nwid);
  b.join(nwid);
  if (!world.run(30_000, () => a.ipv4(nwid) !== undefined && b.ipv4(nwid) !== undefined))
    throw new Error('no addresses');
  a.subscribe(nwid);
  b.subscribe(nwid);
  world.run(500);
  return nwid;
}

const paths = (from: SimNode, to: SimNode): number =>
  from.node.vl1.peer(to.address)?.slots.length ?? 0;

test('a leaf is online within two round trips and an identity check of the root', (t) => {
  const world = started(new World({ seed: SEED, nodes: 2 }));
  const from = world.now;
  t.true(world.run(1_000, () => world.nodes[1]!.onlineAt !== undefined));
  t.true(world.nodes[1]!.onlineAt! - from < 100);
});

test('lost first packets cost a second each, not five', (t) => {
  const world = new World({ seed: SEED, nodes: 2 });
  world.setLink(0, 1, 'down');
  started(world);
  world.run(2_500);
  world.setLink(0, 1, undefined);
  t.true(world.run(1_500, () => world.nodes[1]!.onlineAt !== undefined));
});

test('two leaves that start together are both online at once', (t) => {
  const world = started(new World({ seed: SEED, nodes: 3 }));
  t.true(world.run(1_000, () => world.nodes.every((n) => n.onlineAt !== undefined)));
});

test('two members meet: frames pass at once, then on a direct path', (t) => {
  const world = new World({ seed: SEED, nodes: 3 });
  const nwid = meeting(world);
  const [, a, b] = world.nodes as [SimNode, SimNode, SimNode];
  a.sendFrame(nwid, b, frame(1));
  t.true(world.run(1_000, () => b.frames.length === 1));
  t.deepEqual(b.frames[0]!.bytes, frame(1));
  t.true(
    world.run(2_000, () => paths(a, b) > 0 && paths(b, a) > 0),
    'introduced by the root',
  );
});

test('an ARP request reaches the owner of the address and nobody else', (t) => {
  const world = new World({ seed: SEED, nodes: 4 });
  const nwid = meeting(world);
  const [, a, b, c] = world.nodes as [SimNode, SimNode, SimNode, SimNode];
  c.join(nwid);
  world.run(5_000, () => c.ipv4(nwid) !== undefined);
  c.subscribe(nwid);
  a.sendArp(nwid, b.ipv4(nwid)!);
  t.true(world.run(3_000, () => b.frames.some((f) => f.etherType === 0x0806)));
  world.run(1_000);
  t.false(c.frames.some((f) => f.etherType === 0x0806));
});

test('frames larger than a datagram are fragmented and arrive whole, also under loss of others', (t) => {
  const world = new World({ seed: SEED, nodes: 3 });
  const nwid = meeting(world);
  const [, a, b] = world.nodes as [SimNode, SimNode, SimNode];
  const big = Uint8Array.from({ length: 2_800 }, (_, i) => i * 7);
  a.sendFrame(nwid, b, big);
  t.true(world.run(1_000, () => b.frames.length === 1));
  t.deepEqual(b.frames[0]!.bytes, big);
});

test('members meet although every third datagram is lost', (t) => {
  const world = new World({ seed: SEED, nodes: 3, link: { latencyMs: 20, loss: 0.33 } });
  const nwid = meeting(world);
  const [, a, b] = world.nodes as [SimNode, SimNode, SimNode];
  for (let i = 0; i < 60; i++) {
    a.sendFrame(nwid, b, frame(i));
    world.run(250);
  }
  t.true(b.frames.length > 20, `${b.frames.length} of 60 arrived`);
});

test('a dead direct path is left for the relay within 10 s, and used again when it lives', (t) => {
  const world = new World({ seed: SEED, nodes: 3 });
  const nwid = meeting(world);
  const [, a, b] = world.nodes as [SimNode, SimNode, SimNode];
  a.sendFrame(nwid, b, frame(0));
  world.run(3_000, () => paths(a, b) > 0 && paths(b, a) > 0);
  world.setLink(1, 2, 'down');
  const cutAt = world.now;
  const before = b.frames.length;
  let resumedAt = 0;
  for (let i = 0; i < 100 && resumedAt === 0; i++) {
    a.sendFrame(nwid, b, frame(i));
    world.run(200);
    if (b.frames.length > before) resumedAt = world.now;
  }
  t.true(resumedAt > 0 && resumedAt - cutAt < 10_000, `resumed after ${resumedAt - cutAt} ms`);
  world.setLink(1, 2, undefined);
  const relayed = world.nodes[0]!.node.vl1.state.counters.get('relayed');
  for (let i = 0; i < 30; i++) {
    a.sendFrame(nwid, b, frame(i));
    world.run(200);
  }
  const later = world.nodes[0]!.node.vl1.state.counters.get('relayed');
  for (let i = 0; i < 10; i++) {
    a.sendFrame(nwid, b, frame(i));
    world.run(200);
  }
  t.true(later >= relayed);
  t.is(world.nodes[0]!.node.vl1.state.counters.get('relayed'), later, 'direct again');
});

test('leaves return within 10 s of a restart of the root, with and without its peers', (t) => {
  for (const withPeers of [true, false]) {
    const world = new World({ seed: SEED, nodes: 3 });
    const nwid = meeting(world);
    const [root, a, b] = world.nodes as [SimNode, SimNode, SimNode];
    world.run(60_000);
    root.restart({ peers: withPeers, controller: false });
    const from = world.now;
    const heard = (n: SimNode): boolean => root.heardAt(n) > from;
    const returned = world.run(20_000, () => heard(a) && heard(b));
    t.true(returned, `with peers: ${withPeers}`);
    t.true(world.now - from < 10_000, `${world.now - from} ms`);
    a.sendFrame(nwid, b, frame(3));
    t.true(world.run(5_000, () => b.frames.length > 0));
  }
});

test('a private member is denied, then authorised without a restart, then revoked', (t) => {
  const world = started(new World({ seed: SEED, nodes: 3 }));
  const nwid = createNetwork(world, { private: true });
  const [root, a, b] = world.nodes as [SimNode, SimNode, SimNode];
  const status = (n: SimNode): string | undefined => n.node.vl2.network(nwid)?.status;
  a.join(nwid);
  b.join(nwid);
  t.true(world.run(10_000, () => status(a) === 'ACCESS_DENIED' && status(b) === 'ACCESS_DENIED'));
  const authorise = (n: SimNode, authorized: boolean): void => {
    const address = n.address.toString(16).padStart(10, '0');
    root.run((node, at) =>
      node.run(at, () =>
        root.controller!.postMember(
          at,
          nwid,
          n.address,
          { nwid: nwid.toString(16).padStart(16, '0'), address },
          { authorized },
        ),
      ),
    );
  };
  authorise(a, true);
  authorise(b, true);
  t.true(world.run(6_000, () => status(a) === 'OK' && status(b) === 'OK'));
  a.sendFrame(nwid, b, frame(1));
  t.true(
    world.run(6_000, () => b.frames.length === 1),
    'credentials are pushed with the first frame',
  );
  authorise(a, false);
  t.true(
    world.run(2_000, () => status(a) === 'ACCESS_DENIED'),
    'the revocation makes the member ask at once',
  );
  a.sendFrame(nwid, b, frame(2));
  world.run(6_000);
  t.is(b.frames.length, 1, 'a revoked member is refused');
});

test('a member that is not one gets no frame through', (t) => {
  const world = started(new World({ seed: SEED, nodes: 3 }));
  const nwid = createNetwork(world, { private: true });
  const [, a, b] = world.nodes as [SimNode, SimNode, SimNode];
  a.join(nwid);
  b.join(nwid);
  world.run(5_000);
  a.sendFrame(nwid, b, frame(1));
  world.run(6_000);
  t.is(b.frames.length, 0);
});

test('both announced protocol versions carry frames', (t) => {
  for (const protocol of [11, 12]) {
    const world = new World({ seed: SEED, nodes: 3, protocol });
    const nwid = meeting(world);
    const [, a, b] = world.nodes as [SimNode, SimNode, SimNode];
    a.sendFrame(nwid, b, frame(1));
    t.true(
      world.run(1_000, () => b.frames.length === 1),
      `protocol ${protocol}`,
    );
  }
});

test('the same seed gives the same trace, another seed another one', (t) => {
  const trace = (seed: number): string => {
    const world = new World({ seed, nodes: 3, link: { latencyMs: 7, loss: 0.1 } });
    meeting(world);
    world.run(10_000);
    return world.hash();
  };
  t.is(trace(1), trace(1));
  t.not(trace(1), trace(2));
});

test('forty nodes come online and into a network, and the root stays small', (t) => {
  const world = started(new World({ seed: SEED, nodes: 40 }));
  const nwid = createNetwork(world);
  for (const n of world.nodes.slice(1)) n.join(nwid);
  t.true(world.run(30_000, () => world.nodes.slice(1).every((n) => n.ipv4(nwid) !== undefined)));
  const ips = new Set(world.nodes.slice(1).map((n) => n.ipv4(nwid)!.join('.')));
  t.is(ips.size, 39, 'every member has an address of its own');
});
