/**
 * Many nodes in one process in virtual time [6-style 4.4]: a heap of events, links between hosts,
 * address translators, partitions and clocks, and for each node the code that the service runs.
 * Nodes share the packet core, which keeps no state of theirs, and nothing else.
 *
 * Deterministic: the same seed and scenario give the same trace, whose hash `World.hash` returns.
 * Every consumer of luck has its own stream by label (`node:17/entropy`, `link:3>9`), so that a node
 * or a datagram more does not shift the luck of others.
 */
import { type InetAddress, inetAddress, type RemoteAddress } from '#src/wire/inetaddress.js';
import { type World as Planet, signWorld, WORLD_MOON, WORLD_PLANET } from '#src/wire/world.js';
import { EventHeap } from './events.js';
import { poolIdentity, primitives } from './identities.js';
import { Invariants } from './invariants.js';
import { DOWN, Link, type LinkQuality } from './link.js';
import { Luck } from './luck.js';
import { Nat, type NatOptions } from './nat.js';
import { homeEndpoint, publicEndpoint, SimNode } from './simhost.js';
import { Trace } from './trace.js';

export { poolIdentity, primitives } from './identities.js';
export type { LinkQuality } from './link.js';
export { Luck } from './luck.js';
export { NAT_KINDS, Nat, type NatKind } from './nat.js';
export { SimNode } from './simhost.js';

/** Links between hosts: one quality for all, or one for each pair. */
export type Links = LinkQuality | ((a: number, b: number) => LinkQuality);

export interface WorldOptions {
  readonly seed: number;
  readonly nodes: number;
  /** The first nodes are the roots of the planet. Default: 1. */
  readonly roots?: number;
  readonly link?: Links;
  readonly protocol?: number;
  /** A home per entry, with the nodes inside it; all other nodes have public addresses. */
  readonly homes?: readonly Home[];
  /** Keeps all datagrams for `writePcap`. */
  readonly capture?: boolean;
}

export interface Home extends NatOptions {
  readonly nodes: readonly number[];
}

interface Cut {
  readonly from: ReadonlySet<number>;
  readonly to: ReadonlySet<number>;
}

const PORT = 9993;
const WALL_START = 1_700_000_000_000;
/** Inside a home. */
const LAN: LinkQuality = { latencyMs: 1, loss: 0 };
const DEFAULT_LINK: LinkQuality = { latencyMs: 5, loss: 0 };
/** A datagram with a smaller TTL opens its own NAT and goes no further [2 section 10.5]. */
const HOPS_TO_PEER = 8;
/** Steps at one instant after which a world is said to run in a circle. */
const MAX_STEPS_AT_ONCE = 2_000_000;

const PLANET_KEY = new Uint8Array(64).fill(3);

const pairKey = (a: number, b: number): string => (a < b ? `${a}-${b}` : `${b}-${a}`);
const ipKey = (ip: Uint8Array): string => String.fromCharCode(...ip);

export class World {
  readonly seed: number;
  readonly protocol: number;
  readonly planet: Planet;
  readonly nodes: SimNode[] = [];
  readonly nats: Nat<SimNode>[] = [];
  readonly invariants = new Invariants();
  readonly trace: Trace;
  now = 1_000_000;
  /** Datagrams that left nodes, and what became of those that did not arrive. */
  readonly counts = { sent: 0, lost: 0, unroutable: 0, refused: 0, cut: 0, expired: 0 };
  readonly #link: Links;
  readonly #overrides = new Map<string, LinkQuality>();
  readonly #links = new Map<number, Link>();
  readonly #public = new Map<string, SimNode>();
  readonly #natOf = new Map<string, Nat<SimNode>>();
  readonly #lanOf = new Map<Nat<SimNode>, Map<string, SimNode>>();
  readonly #events = new EventHeap();
  #cuts: Cut[] = [];

  constructor(o: WorldOptions) {
    this.seed = o.seed;
    this.protocol = o.protocol ?? 12;
    this.#link = o.link ?? DEFAULT_LINK;
    this.trace = new Trace(o.capture ?? false);
    this.planet = planetOf(o.roots ?? 1);
    const homeOf = new Map<number, readonly [Nat<SimNode>, number]>();
    for (const home of o.homes ?? []) this.#makeHome(home, homeOf);
    for (let i = 0; i < o.nodes; i++) this.#makeNode(i, homeOf.get(i));
  }

  #makeHome(home: Home, homeOf: Map<number, readonly [Nat<SimNode>, number]>): void {
    const k = this.nats.length;
    const ip = Uint8Array.of(20, 128 + (k >> 8), k & 255, 1);
    const nat = new Nat<SimNode>(ip, home, new Luck(this.seed, `nat:${k}`));
    this.nats.push(nat);
    this.#natOf.set(ipKey(ip), nat);
    this.#lanOf.set(nat, new Map());
    for (const [n, index] of home.nodes.entries()) homeOf.set(index, [nat, n]);
  }

  #makeNode(index: number, home: readonly [Nat<SimNode>, number] | undefined): void {
    const endpoint = home === undefined ? publicEndpoint(index) : homeEndpoint(home[1]);
    const node = new SimNode(this, index, endpoint, home?.[0]);
    this.nodes.push(node);
    if (home === undefined) this.#public.set(endpoint.key, node);
    else this.#lanOf.get(home[0])!.set(endpoint.key, node);
  }

  // ---- time ----

  wall(): number {
    return WALL_START + Math.floor(this.now);
  }

  after(ms: number, run: () => void): void {
    this.#events.push(this.now + Math.max(0, ms), run);
  }

  /** Runs until `ms` have passed, or `until` holds. @returns whether it held. */
  run(ms: number, until: () => boolean = () => false): boolean {
    const end = this.now + ms;
    let steps = 0;
    while (!until()) {
      const e = this.#events.peek();
      if (e === undefined || e.at > end) {
        this.now = end;
        return until();
      }
      this.#events.pop();
      steps = e.at > this.now ? 0 : steps + 1;
      this.now = Math.max(this.now, e.at);
      e.run();
      if (steps > MAX_STEPS_AT_ONCE) throw new Error('the world does not come to rest');
    }
    return true;
  }

  /** Starts all nodes now. */
  start(): this {
    for (const n of this.nodes) n.start();
    return this;
  }

  // ---- the network between ----

  /** Quality of the link between two nodes, both ways; undefined = the default again. */
  setLink(a: number, b: number, quality: LinkQuality | 'down' | undefined): void {
    const key = pairKey(a, b);
    if (quality === undefined) this.#overrides.delete(key);
    else this.#overrides.set(key, quality === 'down' ? DOWN : quality);
  }

  /** Cuts what goes from one set of nodes to another, and back unless `oneWay`. @returns how to heal it. */
  partition(from: Iterable<number>, to: Iterable<number>, oneWay = false): () => void {
    const [a, b] = [new Set(from), new Set(to)];
    const cuts: Cut[] = [{ from: a, to: b }];
    if (!oneWay) cuts.push({ from: b, to: a });
    this.#cuts.push(...cuts);
    return () => {
      this.#cuts = this.#cuts.filter((c) => !cuts.includes(c));
    };
  }

  #isCut(a: number, b: number): boolean {
    return this.#cuts.length > 0 && this.#cuts.some((c) => c.from.has(a) && c.to.has(b));
  }

  #quality(a: number, b: number): LinkQuality {
    const override = this.#overrides.size === 0 ? undefined : this.#overrides.get(pairKey(a, b));
    if (override !== undefined) return override;
    return typeof this.#link === 'function' ? this.#link(a, b) : this.#link;
  }

  #direction(a: number, b: number): Link {
    const key = a * 65_536 + b;
    let link = this.#links.get(key);
    if (link === undefined) {
      link = new Link(new Luck(this.seed, `link:${a}>${b}`));
      this.#links.set(key, link);
    }
    return link;
  }

  /** One datagram of a node's socket. */
  carry(from: SimNode, to: RemoteAddress, bytes: Uint8Array, ttl?: number): void {
    this.counts.sent++;
    this.trace.sent(this.now, from.index, from.endpoint, to, bytes);
    this.invariants.datagram(from.address, to, bytes);
    if (from.nat !== undefined) this.#fromHome(from, from.nat, to, bytes, ttl);
    else this.#outside(from, from.endpoint, to, bytes, ttl);
  }

  #fromHome(
    from: SimNode,
    nat: Nat<SimNode>,
    to: RemoteAddress,
    bytes: Uint8Array,
    ttl: number | undefined,
  ): void {
    if (to.ip[0] === 192 && to.ip[1] === 168) {
      const neighbour = this.#lanOf.get(nat)!.get(to.key);
      if (neighbour === undefined) this.counts.unroutable++;
      else this.#deliver(from, neighbour, LAN, bytes, () => [neighbour, from.endpoint]);
      return;
    }
    const source = nat.outbound(this.now, from, from.endpoint, to);
    if (this.#natOf.get(ipKey(to.ip)) === nat && !nat.hairpin) this.counts.refused++;
    else this.#outside(from, source, to, bytes, ttl);
  }

  #outside(
    from: SimNode,
    source: RemoteAddress,
    to: RemoteAddress,
    bytes: Uint8Array,
    ttl: number | undefined,
  ): void {
    if (ttl !== undefined && ttl < HOPS_TO_PEER) {
      this.counts.expired++;
      return;
    }
    const open = this.#public.get(to.key);
    const nat = open === undefined ? this.#natOf.get(ipKey(to.ip)) : undefined;
    // Which link it takes is decided by who is behind; whether it gets in, when it is there.
    const target = open ?? nat?.owner(this.now, to.port);
    if (target === undefined) {
      this.counts.unroutable++;
      return;
    }
    this.#deliver(from, target, this.#quality(from.index, target.index), bytes, () => {
      const host = nat === undefined ? target : nat.inbound(this.now, to.port, source);
      return host === undefined ? undefined : [host, source];
    });
  }

  #deliver(
    from: SimNode,
    target: SimNode,
    quality: LinkQuality,
    bytes: Uint8Array,
    arrive: () => readonly [SimNode, RemoteAddress] | undefined,
  ): void {
    if (this.#isCut(from.index, target.index)) {
      this.counts.cut++;
      return;
    }
    const link = this.#direction(from.index, target.index);
    const copies = link.pass(this.now, quality, bytes.length);
    if (copies.length === 0) this.counts.lost++;
    for (const delay of copies) {
      this.after(delay, () => {
        const arrived = arrive();
        if (arrived === undefined) this.counts.refused++;
        else arrived[0].receive(arrived[1], bytes);
      });
    }
  }

  // ---- results ----

  get datagrams(): number {
    return this.counts.sent;
  }

  hash(): string {
    return this.trace.hash();
  }
}

function rootEndpoint(index: number): InetAddress {
  return inetAddress(publicEndpoint(index).ip, PORT);
}

function signed(type: number, id: bigint, timestamp: bigint, roots: readonly number[]): Planet {
  return signWorld(
    primitives,
    {
      type,
      id,
      timestamp,
      updateKey: primitives.publicFromPrivate(PLANET_KEY),
      roots: roots.map((i) => ({
        identity: { ...poolIdentity(i), privateKey: undefined },
        endpoints: [rootEndpoint(i)],
      })),
    },
    PLANET_KEY,
  );
}

/** The planet of the first `count` nodes, or a later version of it. */
export function planetOf(count: number, timestamp = 1n): Planet {
  return signed(
    WORLD_PLANET,
    77n,
    timestamp,
    Array.from({ length: count }, (_, i) => i),
  );
}

/** A moon whose roots are the given nodes; its id is the first one's address. */
export function moonOf(nodes: readonly number[], timestamp = 1n): Planet {
  return signed(WORLD_MOON, BigInt(poolIdentity(nodes[0]!).address), timestamp, nodes);
}

/** A network of a node (default: node 0), with IPv4 from a pool. */
export function createNetwork(
  world: World,
  settings: Record<string, boolean> = { private: false },
  controller: SimNode = world.nodes[0]!,
): bigint {
  const nwid = (BigInt(controller.address) << 24n) | 0xa1n;
  controller.run((node, at) =>
    node.run(at, () =>
      controller.controller.postNetwork(at, nwid, {
        ...settings,
        v4AssignMode: { zt: true },
        routes: [{ target: '10.91.0.0/16', via: null }],
        ipAssignmentPools: [{ ipRangeStart: '10.91.0.10', ipRangeEnd: '10.91.250.250' }],
      }),
    ),
  );
  return nwid;
}
