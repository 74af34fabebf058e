/**
 * One root that is also the controller, and a network of N - 1 members in a usual mix of places, from
 * a cold start of all at once to idleness: what grows with N, and how.
 *
 * The story: all start and join in one instant; each looks for its neighbour by ARP and exchanges a
 * frame a second with it for two minutes; then silence, first with paths kept warm, then (after the
 * 500 s for which a peer counts as active) without; then the root restarts without its peers.d.
 */
import { joinAll, Talks } from './members.js';
import { quantile } from './scenario.js';
import { createNetwork, type Home, Luck, type NatKind, type SimNode, World } from './world.js';

/** What a run of one size gave; all but `cost` is the same in every run. */
export interface GrowthRow {
  readonly nodes: number;
  readonly onlineMedianMs: number;
  readonly onlineLastMs: number;
  readonly addressLastMs: number;
  readonly firstEchoMedianMs: number;
  readonly firstEchoLastMs: number;
  readonly relayedPairsPercent: number;
  /** Datagrams per hour that a member sends: with one warm path, and without. */
  readonly warmPerHour: number;
  readonly idlePerHour: number;
  readonly idleBytesPerHour: number;
  /** Of the root, in the idle window. */
  readonly rootSentPerHour: number;
  readonly rootReceivedPerHour: number;
  readonly rootRestartMedianMs: number;
  readonly rootRestartLastMs: number;
  readonly hash: string;
  readonly cost: GrowthCost;
}

/** Depends on the machine; never compared. */
export interface GrowthCost {
  readonly wallSeconds: number;
  /** CPU seconds of an idle member for an hour of its life, its share of the root included. */
  readonly cpuPerIdleHour: number;
  readonly kibPerNode: number;
}

const START_LIMIT_MS = 300_000;
const TALK_MS = 120_000;
const SETTLE_MS = 10_000;
const WARM_MS = 240_000;
const COOL_MS = 300_000;
const IDLE_MS = 300_000;
const HOUR_MS = 3_600_000;
const RESTART_LIMIT_MS = 60_000;

/** Where nodes are, in tenths. */
const PLACES: readonly (NatKind | 'public')[] = [
  'public',
  'public',
  'fullCone',
  'fullCone',
  'fullCone',
  'addressRestricted',
  'portRestricted',
  'portRestricted',
  'portRestricted',
  'symmetric',
];

function homes(seed: number, nodes: number): Home[] {
  const out: Home[] = [];
  for (let i = 1; i < nodes; i++) {
    const kind = new Luck(seed, `place:${i}`).pick(PLACES);
    if (kind !== 'public') out.push({ kind, nodes: [i] });
  }
  return out;
}

/** Delay between two nodes: the sum of what each has to the middle of the network. */
function delays(seed: number): (a: number, b: number) => { latencyMs: number; loss: number } {
  const access = new Map<number, number>();
  const of = (i: number): number => {
    let ms = access.get(i);
    if (ms === undefined) {
      ms = 1 + new Luck(seed, `access:${i}`).below(30);
      access.set(i, ms);
    }
    return ms;
  };
  return (a, b) => ({ latencyMs: of(a) + of(b), loss: 0 });
}

interface Window {
  readonly sent: number;
  readonly bytes: number;
  readonly rootSent: number;
  readonly rootReceived: number;
}

function count(world: World): Window {
  const [root, ...members] = world.nodes as [SimNode, ...SimNode[]];
  return {
    sent: members.reduce((s, n) => s + n.counts.sent, 0),
    bytes: members.reduce((s, n) => s + n.counts.sentBytes, 0),
    rootSent: root.counts.sent,
    rootReceived: root.counts.received,
  };
}

/** What happened in `ms`, per hour. */
function measure(world: World, ms: number): Window {
  const before = count(world);
  world.run(ms);
  const after = count(world);
  const perHour = (k: keyof Window): number => ((after[k] - before[k]) * HOUR_MS) / ms;
  return {
    sent: perHour('sent'),
    bytes: perHour('bytes'),
    rootSent: perHour('rootSent'),
    rootReceived: perHour('rootReceived'),
  };
}

function heapBytes(): number {
  globalThis.gc?.();
  const m = process.memoryUsage();
  return m.heapUsed + m.external;
}

function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

/** Restarts the root without its peers. @returns how long each member is away. */
function restartRoot(world: World): number[] {
  const [root, ...members] = world.nodes as [SimNode, ...SimNode[]];
  const from = world.now;
  const back = new Map<SimNode, number>();
  root.restart({ peers: false });
  let next = 0;
  const isDone = (): boolean => {
    // Whoever returns next is looked for from where the last search ended: the check stays cheap.
    for (let i = 0; i < 4 && back.size < members.length; i++) {
      const m = members[next++ % members.length]!;
      if (!back.has(m) && root.heardAt(m) > from) back.set(m, root.heardAt(m) - from);
    }
    return back.size === members.length;
  };
  must(world.run(RESTART_LIMIT_MS, isDone), `${members.length - back.size} do not return`);
  return [...back.values()];
}

export interface Start {
  readonly world: World;
  readonly nwid: bigint;
  readonly onlineMedianMs: number;
  readonly onlineLastMs: number;
  readonly addressLastMs: number;
}

/** The first act: all start and join in one instant. */
export function growStart(nodes: number, seed: number): Start {
  const world = new World({ seed, nodes, homes: homes(seed, nodes), link: delays(seed) });
  const members = world.nodes.slice(1);
  const startAt = world.now;
  world.start();
  const nwid = createNetwork(world);
  joinAll(world, nwid, members, START_LIMIT_MS);
  const online = members.map((n) => n.firstOnlineAt! - startAt);
  return {
    world,
    nwid,
    onlineMedianMs: quantile(online, 0.5),
    onlineLastMs: Math.round(Math.max(...online)),
    addressLastMs: Math.round(world.now - startAt),
  };
}

/** Each member finds its neighbour and talks to it for a while. */
function talk(world: World, nwid: bigint): { first: number[]; relayedPercent: number } {
  const members = world.nodes.slice(1);
  const talks = new Talks(world, nwid);
  for (let i = 0; i + 1 < members.length; i += 2)
    talks.start(members[i]!, members[i + 1]!, 1_000, true);
  const from = world.now;
  world.run(TALK_MS);
  must(
    talks.all.every((t) => t.firstEchoAt !== undefined),
    'some found nobody',
  );
  const relayed = talks.all.filter((t) => !t.a.isDirectTo(t.b) || !t.b.isDirectTo(t.a)).length;
  for (const t of talks.all) t.stop();
  return {
    first: talks.all.map((t) => t.firstEchoAt! - from),
    relayedPercent: Math.round((1_000 * relayed) / talks.all.length) / 10,
  };
}

export function grow(nodes: number, seed: number): GrowthRow {
  const wallFrom = performance.now();
  const heapFrom = heapBytes();
  const { world, nwid, onlineMedianMs, onlineLastMs, addressLastMs } = growStart(nodes, seed);
  const { first, relayedPercent } = talk(world, nwid);
  world.run(SETTLE_MS);
  const warm = measure(world, WARM_MS);
  world.run(COOL_MS);
  const cpuFrom = process.cpuUsage();
  const idle = measure(world, IDLE_MS);
  const cpu = process.cpuUsage(cpuFrom);
  const kib = (heapBytes() - heapFrom) / nodes / 1024;
  const back = restartRoot(world);
  return {
    nodes,
    onlineMedianMs,
    onlineLastMs,
    addressLastMs,
    firstEchoMedianMs: quantile(first, 0.5),
    firstEchoLastMs: Math.round(Math.max(...first)),
    relayedPairsPercent: relayedPercent,
    warmPerHour: Math.round(warm.sent / (nodes - 1)),
    idlePerHour: Math.round(idle.sent / (nodes - 1)),
    idleBytesPerHour: Math.round(idle.bytes / (nodes - 1)),
    rootSentPerHour: Math.round(idle.rootSent),
    rootReceivedPerHour: Math.round(idle.rootReceived),
    rootRestartMedianMs: quantile(back, 0.5),
    rootRestartLastMs: Math.round(Math.max(...back)),
    hash: world.hash(),
    cost: {
      wallSeconds: Math.round(performance.now() - wallFrom) / 1_000,
      cpuPerIdleHour: ((cpu.user + cpu.system) / 1e6 / nodes) * (HOUR_MS / IDLE_MS),
      kibPerNode: Math.round(kib * 10) / 10,
    },
  };
}
