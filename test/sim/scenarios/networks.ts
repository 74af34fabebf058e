/** Starting together, worlds that change, members that come and go. */
import { addressText, networkIdText } from '#src/wire/address.js';
import { joinAll, Talks } from '../members.js';
import { median, type Scenario, type Stage } from '../scenario.js';
import { createNetwork, moonOf, planetOf, type SimNode, type World } from '../world.js';

const LINK = { latencyMs: 20, loss: 0 };

function untilOnline(stage: Stage, world: World, leaves: readonly SimNode[], ms: number): number[] {
  const from = world.now;
  stage.check(
    world.run(ms, () => leaves.every((n) => n.onlineAt !== undefined)),
    'all online',
  );
  return leaves.map((n) => n.onlineAt! - from);
}

const coldStart: Scenario = {
  id: 'cold-start',
  title: 'nodes that start in the same instant are online within seconds, wherever they are',
  run(stage) {
    const apart = stage.world({ nodes: 61, link: LINK }).start();
    const a = untilOnline(stage, apart, apart.nodes.slice(1), 10_000);
    const indexes = Array.from({ length: 60 }, (_, i) => i + 1);
    const homes = [{ kind: 'portRestricted' as const, nodes: indexes }];
    const together = stage.world({ nodes: 61, link: LINK, homes }).start();
    const b = untilOnline(stage, together, together.nodes.slice(1), 10_000);
    return {
      '60 apart: median (ms)': median(a),
      '60 apart: last (ms)': Math.round(Math.max(...a)),
      '60 in one home: median (ms)': median(b),
      '60 in one home: last (ms)': Math.round(Math.max(...b)),
    };
  },
};

const moon: Scenario = {
  id: 'moon',
  title: 'a moon is asked for in band, and its next version spreads in band',
  run(stage) {
    const world = stage.world({ nodes: 12, link: LINK }).start();
    const leaves = world.nodes.slice(3);
    untilOnline(stage, world, leaves, 5_000);
    const [seed, second] = world.nodes.slice(1, 3) as [SimNode, SimNode];
    const first = moonOf([1]);
    seed.run((node, at) => node.run(at, () => node.vl1.state.topology.addStoredMoon(first)));
    for (const n of leaves)
      n.run((node, at) => node.run(at, () => node.vl1.state.topology.want(first.id, seed.address)));
    const has = (n: SimNode, root: SimNode): boolean =>
      n.node.vl1.state.topology.role(root.address) === 'MOON';
    let from = world.now;
    stage.check(
      world.run(60_000, () => leaves.every((n) => has(n, seed))),
      'all orbit',
    );
    const orbit = Math.round(world.now - from);
    const next = moonOf([1, 2], 2n);
    for (const n of [seed, second])
      n.run((node, at) => node.run(at, () => node.vl1.state.topology.addStoredMoon(next)));
    from = world.now;
    stage.check(
      world.run(200_000, () => leaves.every((n) => has(n, second))),
      'all have the next version',
    );
    return {
      'all orbit after (ms)': orbit,
      'all have its next version after (ms)': Math.round(world.now - from),
    };
  },
};

const planet: Scenario = {
  id: 'planet-update',
  title: 'a newer planet spreads in band and its new root is used',
  run(stage) {
    const world = stage.world({ nodes: 12, link: LINK }).start();
    const leaves = world.nodes.slice(2);
    untilOnline(stage, world, leaves, 5_000);
    const [root, added] = world.nodes as [SimNode, SimNode];
    const next = planetOf(2, 2n);
    for (const n of [root, added])
      n.run((node, at) => node.run(at, () => node.vl1.state.topology.offer(next)));
    const from = world.now;
    const uses = (n: SimNode): boolean => n.heardAt(added) > from;
    stage.check(
      world.run(200_000, () => leaves.every(uses)),
      'all use the new root',
    );
    return { 'all use the new root after (ms)': Math.round(world.now - from) };
  },
};

function authorise(world: World, nwid: bigint, n: SimNode, authorized: boolean): void {
  const root = world.nodes[0]!;
  const ids = { nwid: networkIdText(nwid), address: addressText(n.address) };
  root.run((node, at) =>
    node.run(at, () => root.controller.postMember(at, nwid, n.address, ids, { authorized })),
  );
}

const deauthorised: Scenario = {
  id: 'deauthorised',
  title: 'a member that is deauthorised is refused by the others, and may come back',
  run(stage) {
    const world = stage.world({ nodes: 6, link: LINK }).start();
    const nwid = createNetwork(world, { private: true });
    const members = world.nodes.slice(1);
    for (const n of members) n.join(nwid);
    world.run(3_000);
    for (const n of members) authorise(world, nwid, n, true);
    joinAll(world, nwid, members);
    const talks = new Talks(world, nwid);
    for (const n of members.slice(1)) talks.start(members[0]!, n);
    world.run(10_000);
    stage.check(
      talks.all.every((t) => t.echoed > 0),
      'all talk',
    );
    const from = world.now;
    authorise(world, nwid, members[0]!, false);
    world.run(30_000);
    const last = Math.max(...talks.all.map((t) => t.lastEchoAt));
    stage.check(last - from < 10_000, `still heard after ${last - from} ms`);
    authorise(world, nwid, members[0]!, true);
    const again = world.now;
    stage.check(
      world.run(60_000, () => talks.all.every((t) => t.lastEchoAt > again)),
      'all talk again',
    );
    return {
      'last frame after (ms)': Math.max(0, Math.round(last - from)),
      'back after (ms)': Math.round(world.now - again),
    };
  },
};

const arp: Scenario = {
  id: 'network',
  title: 'members of a network find each other by ARP and talk, all at once',
  run(stage) {
    const world = stage.world({ nodes: 41, link: LINK }).start();
    const nwid = createNetwork(world);
    const members = world.nodes.slice(1);
    const from = world.now;
    joinAll(world, nwid, members);
    const joined = Math.round(world.now - from);
    const talks = new Talks(world, nwid);
    for (const [i, n] of members.entries())
      talks.start(n, members[(i + 7) % members.length]!, 1_000, true);
    const begun = world.now;
    stage.check(
      world.run(30_000, () => talks.all.every((t) => t.firstEchoAt !== undefined)),
      'all find each other',
    );
    const first = talks.all.map((t) => t.firstEchoAt! - begun);
    world.run(10_000);
    const root = world.nodes[0]!.node.vl1.state.counters;
    const before = root.get('relayed');
    world.run(10_000);
    return {
      'all have addresses after (ms)': joined,
      'first echo: median (ms)': median(first),
      'first echo: last (ms)': Math.round(Math.max(...first)),
      'relayed later (datagrams)': root.get('relayed') - before,
    };
  },
};

export const NETWORK_SCENARIOS: readonly Scenario[] = [coldStart, moon, planet, deauthorised, arp];
