/** What breaks, and how soon it works again. */
import { joinAll, type Talk, Talks } from '../members.js';
import { median, type Scenario, type Stage } from '../scenario.js';
import { createNetwork, type NatKind, type SimNode, type World } from '../world.js';

/** Recoveries take less than this [0 decision 10]. */
const RECOVERY_MS = 10_000;
const HOUR_MS = 3_600_000;
const LINK = { latencyMs: 20, loss: 0 };

interface Network {
  readonly world: World;
  readonly nwid: bigint;
  readonly members: readonly SimNode[];
  readonly talks: Talks;
}

interface NetworkOptions {
  readonly members: number;
  readonly roots?: number;
  /** Every member in a home of its own of this kind. */
  readonly behind?: NatKind;
  readonly isPrivate?: boolean;
  /** Default: the first root. */
  readonly controller?: number;
}

/** Roots, then members of one network. */
function network(stage: Stage, o: NetworkOptions): Network {
  const roots = o.roots ?? 1;
  const indexes = Array.from({ length: o.members }, (_, i) => roots + i);
  const homes = o.behind === undefined ? [] : indexes.map((i) => ({ kind: o.behind!, nodes: [i] }));
  const world = stage.world({ nodes: roots + o.members, roots, link: LINK, homes }).start();
  world.run(2_000);
  const nwid = createNetwork(world, { private: false }, world.nodes[o.controller ?? 0]!);
  const members = world.nodes.slice(roots);
  joinAll(world, nwid, members);
  return { world, nwid, members, talks: new Talks(world, nwid) };
}

/** A conversation between each two neighbours, running for some seconds. */
function talkInPairs(n: Network): readonly Talk[] {
  for (let i = 0; i + 1 < n.members.length; i += 2) n.talks.start(n.members[i]!, n.members[i + 1]!);
  n.world.run(5_000);
  return n.talks.all;
}

/** Runs `ms` from a fresh mark. @returns the longest silence of any of the talks. */
function silence(world: World, talks: readonly Talk[], ms: number): number {
  for (const t of talks) t.mark();
  world.run(ms);
  return Math.max(...talks.map((t) => t.silenceMs));
}

const deadPath: Scenario = {
  id: 'dead-path',
  title: 'a direct path that dies is left for the relay, and taken again when it lives',
  run(stage) {
    const n = network(stage, { members: 2 });
    const talks = talkInPairs(n);
    const [a, b] = n.members as [SimNode, SimNode];
    stage.check(a.isDirectTo(b), 'direct before');
    n.world.setLink(a.index, b.index, 'down');
    const silent = silence(n.world, talks, 60_000);
    stage.check(silent < RECOVERY_MS, `silent for ${silent} ms`);
    n.world.setLink(a.index, b.index, undefined);
    const from = n.world.now;
    stage.check(
      n.world.run(120_000, () => a.isDirectTo(b) && b.isDirectTo(a)),
      'direct again',
    );
    return {
      'silence when it died (ms)': silent,
      'direct again after (ms)': Math.round(n.world.now - from),
    };
  },
};

const oneWay: Scenario = {
  id: 'dead-path-one-way',
  title: 'a direct path that dies in one direction only is left for the relay',
  run(stage) {
    const n = network(stage, { members: 2 });
    const talks = talkInPairs(n);
    n.world.partition([n.members[0]!.index], [n.members[1]!.index], true);
    const silent = silence(n.world, talks, 60_000);
    stage.check(silent < RECOVERY_MS, `silent for ${silent} ms`);
    return { 'silence (ms)': silent };
  },
};

const rootRestart: Scenario = {
  id: 'root-restart',
  title: 'leaves return to a root that was restarted, with and without its peers.d',
  run(stage) {
    const out: Record<string, number> = {};
    for (const peers of [true, false]) {
      // Behind symmetric NATs all frames go through the root.
      const n = network(stage, { members: 10, behind: 'symmetric' });
      const talks = talkInPairs(n);
      n.world.run(60_000);
      for (const t of talks) t.mark();
      const root = n.world.nodes[0]!;
      const from = n.world.now;
      root.restart({ peers });
      const back = (): boolean => n.members.every((m) => root.heardAt(m) > from);
      stage.check(n.world.run(RECOVERY_MS, back), `all leaves return, peers.d ${peers}`);
      const label = peers ? 'with peers.d' : 'without peers.d';
      out[`all leaves back, ${label} (ms)`] = Math.round(n.world.now - from);
      n.world.run(30_000);
      out[`silence of relayed traffic, ${label} (ms)`] = Math.max(...talks.map((t) => t.silenceMs));
    }
    return out;
  },
};

const rootGone: Scenario = {
  id: 'root-gone',
  title: 'members with direct paths do not notice that their only root and controller is away',
  run(stage) {
    const n = network(stage, { members: 4 });
    const talks = talkInPairs(n);
    n.world.nodes[0]!.stop();
    const silent = silence(n.world, talks, HOUR_MS / 4);
    stage.check(silent === 0, `silent for ${silent} ms`);
    n.world.nodes[0]!.restart({ peers: false });
    const from = n.world.now;
    stage.check(
      n.world.run(RECOVERY_MS, () => n.members.every((m) => m.node.isOnline)),
      'online again',
    );
    return {
      'silence while it is away (ms)': silent,
      'online again after (ms)': Math.round(n.world.now - from),
    };
  },
};

const partition: Scenario = {
  id: 'partition',
  title: 'a partition of half the members, root included, heals',
  run(stage) {
    const n = network(stage, { members: 10 });
    // Each talks to one on the other side.
    for (let i = 0; i < 5; i++) n.talks.start(n.members[i]!, n.members[i + 5]!);
    n.world.run(5_000);
    const there = n.members.slice(5).map((m) => m.index);
    const heal = n.world.partition([0, ...n.members.slice(0, 5).map((m) => m.index)], there);
    n.world.run(600_000);
    stage.check(
      n.members.slice(5).every((m) => !m.node.isOnline),
      'cut off',
    );
    heal();
    const from = n.world.now;
    const online = (): boolean => n.members.every((m) => m.node.isOnline);
    stage.check(n.world.run(RECOVERY_MS, online), 'all online again');
    const onlineMs = Math.round(n.world.now - from);
    const talking = (): boolean => n.talks.all.every((t) => t.lastEchoAt > from);
    stage.check(n.world.run(60_000, talking), 'all talk again');
    return {
      'all online again after (ms)': onlineMs,
      'all talk again after (ms)': Math.round(n.world.now - from),
    };
  },
};

const twoRoots: Scenario = {
  id: 'two-roots',
  title: 'of two roots one goes away: relayed traffic moves to the other',
  run(stage) {
    const n = network(stage, { members: 4, roots: 2, behind: 'symmetric', controller: 1 });
    const talks = talkInPairs(n);
    const before = silence(n.world, talks, 30_000);
    const [first, second] = n.world.nodes as [SimNode, SimNode];
    const relayed = (): [number, number] => [
      first.node.vl1.state.counters.get('relayed'),
      second.node.vl1.state.counters.get('relayed'),
    ];
    const busy = relayed();
    const gone = busy[0] >= busy[1] ? first : second;
    gone.stop();
    const silent = silence(n.world, talks, 60_000);
    stage.check(silent < RECOVERY_MS, `silent for ${silent} ms`);
    stage.check(
      n.members.every((m) => m.node.isOnline),
      'online by the other root',
    );
    return { 'silence before (ms)': before, 'silence when it went (ms)': silent };
  },
};

/** Two members talk; the clock of one of three jumps; how long does traffic stop? */
function jump(stage: Stage, who: 'member' | 'controller' | 'root', ms: number): number {
  const n = network(stage, { members: 4, roots: 2, controller: who === 'controller' ? 1 : 0 });
  const talks = talkInPairs(n);
  n.world.run(70_000);
  const node = who === 'member' ? n.members[0]! : n.world.nodes[who === 'controller' ? 1 : 0]!;
  node.jumpClock(ms);
  const silent = silence(n.world, talks, 300_000);
  stage.check(
    n.members.every((m) => m.node.isOnline && m.status(n.nwid) === 'OK'),
    `${who} ${ms}: all online and members`,
  );
  return silent;
}

const clocks: Scenario = {
  id: 'clock-jump',
  title: 'a wall clock that jumps an hour forward or back does not interrupt traffic',
  run(stage) {
    const out: Record<string, number> = {};
    for (const who of ['member', 'controller', 'root'] as const) {
      for (const [name, ms] of [
        ['forward', HOUR_MS],
        ['back', -HOUR_MS],
      ] as const) {
        const silent = jump(stage, who, ms);
        out[`${who}, ${name}: silence (ms)`] = silent;
        stage.check(silent < 60_000, `${who} ${name}: silent for ${silent} ms`);
      }
    }
    return out;
  },
};

const memberRestart: Scenario = {
  id: 'member-restart',
  title: 'a member that was restarted talks again, with and without what it had stored',
  run(stage) {
    const out: Record<string, number> = {};
    for (const [label, kept] of [
      ['with its state', {}],
      ['without any', { peers: false, networks: false, worlds: false }],
    ] as const) {
      const n = network(stage, { members: 2 });
      const talks = talkInPairs(n);
      n.world.run(30_000);
      for (const t of talks) t.mark();
      n.members[1]!.restart(kept);
      n.world.run(30_000);
      const silent = talks[0]!.silenceMs;
      stage.check(silent < RECOVERY_MS, `${label}: silent for ${silent} ms`);
      out[`silence, ${label} (ms)`] = silent;
    }
    return out;
  },
};

const badLinks: Scenario = {
  id: 'bad-links',
  title: 'members meet and talk over links that lose in bursts, double and reorder',
  run(stage) {
    const link = {
      latencyMs: 40,
      loss: 0.05,
      jitterMs: 30,
      burst: { enter: 0.01, leave: 0.2 },
      duplicate: 0.05,
      reorder: 0.05,
      reorderMs: 200,
    };
    const world = stage.world({ nodes: 7, link }).start();
    const nwid = createNetwork(world);
    joinAll(world, nwid, world.nodes.slice(1), 60_000);
    const talks = new Talks(world, nwid);
    for (const i of [1, 3, 5]) talks.start(world.nodes[i]!, world.nodes[i + 1]!);
    world.run(120_000);
    const [sent, echoed] = [0, 0].map((_, i) =>
      talks.all.reduce((s, t) => s + (i === 0 ? t.sent : t.echoed), 0),
    ) as [number, number];
    const share = Math.round((1000 * echoed) / sent) / 10;
    // Two datagrams of an echo, each with some 10 % loss, and a copy of every twentieth.
    stage.check(share > 75, `${share} % answered`);
    return {
      'echoes answered (%)': share,
      'median silence (ms)': median(talks.all.map((t) => t.silenceMs)),
    };
  },
};

export const RECOVERY_SCENARIOS: readonly Scenario[] = [
  deadPath,
  oneWay,
  rootRestart,
  rootGone,
  partition,
  twoRoots,
  clocks,
  memberRestart,
  badLinks,
];
