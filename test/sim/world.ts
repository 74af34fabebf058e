/**
 * Many nodes in one process in virtual time: a heap of events, links with latency and loss, and
 * for each node the same code that the service runs. Deterministic: the same seed gives the same
 * trace, whose hash `World.hash` returns. Ethernet frames that reach a member are kept in `frames`.
 */
import { createHash, type Hash } from 'node:crypto';
import { Controller } from '#src/controller/controller.js';
import type { Entropy, Jitter } from '#src/crypto/api.js';
import { createPrimitives } from '#src/crypto/native.js';
import type { Moment } from '#src/lib/time.js';
import { Node } from '#src/node/node.js';
import { loadPacketCore } from '#src/packetcore/load.js';
import { addressText, memberMac } from '#src/wire/address.js';
import {
  generateIdentity,
  type Identity,
  parseIdentity,
  validateIdentity,
} from '#src/wire/identity.js';
import { inetAddress, type RemoteAddress, remoteAddress } from '#src/wire/inetaddress.js';
import { BROADCAST_MAC, resolutionGroup } from '#src/wire/multicast-group.js';
import { type World as Planet, signWorld, WORLD_PLANET } from '#src/wire/world.js';

const core = loadPacketCore();
export const primitives = createPrimitives((k) => core.memoryHardHash(k));

/** Mulberry32: fast, seedable, good enough for luck; every consumer has its own by label. */
export class Luck implements Entropy, Jitter {
  #state: number;

  constructor(seed: number, label: string) {
    this.#state = createHash('sha256').update(`${seed}/${label}`).digest().readInt32LE(0);
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let x = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  }

  fill(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) bytes[i] = Math.floor(this.next() * 256);
  }
}

const identities: Identity[] = [];

/** Identities are memory-hard to make: a pool of fixed ones serves every world. */
export function poolIdentity(index: number): Identity {
  while (identities.length <= index) {
    identities.push(generateIdentity(primitives, new Luck(77, `identity ${identities.length}`)));
  }
  return identities[index]!;
}

export interface LinkQuality {
  readonly latencyMs: number;
  /** 0..1 */
  readonly loss: number;
}

interface Event {
  readonly at: number;
  readonly seq: number;
  run(): void;
}

export interface SeenFrame {
  readonly at: number;
  readonly etherType: number;
  readonly bytes: Uint8Array;
}

const PORT = 9993;
const DOWN: LinkQuality = { latencyMs: 0, loss: 1 };

export class SimNode {
  readonly world: World;
  readonly index: number;
  readonly identity: Identity;
  readonly endpoint: RemoteAddress;
  node: Node;
  controller: Controller | undefined;
  readonly frames: SeenFrame[] = [];
  readonly stored = new Map<string, Uint8Array>();
  onlineAt: number | undefined;
  #timerAt = Number.POSITIVE_INFINITY;

  constructor(world: World, index: number) {
    this.world = world;
    this.index = index;
    this.identity = poolIdentity(index);
    this.endpoint = remoteAddress(
      inetAddress(Uint8Array.of(10, 9, index >> 8, (index & 255) + 1), PORT),
    );
    this.node = this.#make();
  }

  get address(): number {
    return this.identity.address;
  }

  #make(): Node {
    const node = new Node({
      identity: this.identity,
      core,
      primitives,
      entropy: new Luck(this.world.seed, `node ${this.index}/entropy ${this.world.now}`),
      jitter: new Luck(this.world.seed, `node ${this.index}/jitter`),
      protocol: this.world.protocol,
      planet: this.world.planet,
      platform: 'linux/x86_64',
      strict: true,
      poison: true,
    });
    this.controller = new Controller();
    node.setController(this.controller);
    return node;
  }

  start(): void {
    const at = this.world.moment();
    this.node.handleSockets(at, [{ id: 1, family: 4 }], [this.endpoint]);
    this.#settle();
  }

  /** Ends the node without a word and starts it again with what it had stored. */
  restart(withPeers: boolean): void {
    this.node = this.#make();
    if (withPeers) {
      for (const [key, record] of this.stored)
        if (key.startsWith('peer/')) this.node.handleStoredPeer(record);
    }
    this.onlineAt = undefined;
    this.start();
  }

  run<T>(command: (node: Node, at: Moment) => T): T {
    const result = command(this.node, this.world.moment());
    this.#settle();
    return result;
  }

  join(nwid: bigint): void {
    this.run((node, at) => node.join(at, nwid));
  }

  /** IPv4 of a network, once there. */
  ipv4(nwid: bigint): Uint8Array | undefined {
    return this.node.vl2.network(nwid)?.config?.addresses.find((a) => a.family === 4)?.ip;
  }

  receive(from: RemoteAddress, bytes: Uint8Array): void {
    this.node.handleDatagram(this.world.moment(), 1, from, bytes);
    this.#settle();
  }

  /** Subscribes the ARP group of our IPv4, as a stack would. */
  subscribe(nwid: bigint): void {
    const ip = this.ipv4(nwid);
    if (ip !== undefined)
      this.run((node, at) => node.setSubscriptions(at, nwid, [resolutionGroup(ip)]));
  }

  /** Sends an Ethernet frame to another member. */
  sendFrame(nwid: bigint, to: SimNode, payload: Uint8Array): void {
    const [src, dst] = [memberMac(this.address, nwid), memberMac(to.address, nwid)];
    this.run((node, at) => node.handleFrame(at, nwid, src, dst, 0x0800, payload));
  }

  /** Sends an ARP request for an address. */
  sendArp(nwid: bigint, target: Uint8Array): void {
    const src = memberMac(this.address, nwid);
    const own = this.ipv4(nwid) ?? new Uint8Array(4);
    const arp = Uint8Array.of(0, 1, 8, 0, 6, 4, 0, 1, ...src, ...own, 0, 0, 0, 0, 0, 0, ...target);
    this.run((node, at) => node.handleFrame(at, nwid, src, BROADCAST_MAC, 0x0806, arp));
  }

  #settle(): void {
    const later: (() => void)[] = [];
    for (let o = this.node.poll(); o !== undefined; o = this.node.poll()) {
      switch (o.kind) {
        case 'transmit':
          this.world.carry(this, o.to, o.bytes.slice());
          break;
        case 'frame':
          this.frames.push({ at: this.world.now, etherType: o.etherType, bytes: o.bytes.slice() });
          break;
        case 'validate': {
          const ok = validateIdentity(primitives, parseIdentity(o.identity, 0)!.identity);
          const { id } = o;
          later.push(() => this.run((node, at) => node.handleValidation(at, id, ok)));
          break;
        }
        case 'storePeer':
          this.stored.set(`peer/${addressText(o.address)}`, o.record.slice());
          break;
        default:
          break;
      }
    }
    if (this.onlineAt === undefined && this.node.isOnline) this.onlineAt = this.world.now;
    this.#arm();
    // The worker's answer takes some time, as in the service.
    for (const l of later) this.world.after(35, l);
  }

  #arm(): void {
    const due = Math.max(this.node.deadline(), this.world.now);
    if (due >= this.#timerAt && this.#timerAt > this.world.now) return;
    this.#timerAt = due;
    this.world.after(due - this.world.now, () => {
      if (this.#timerAt > this.world.now) return;
      this.#timerAt = Number.POSITIVE_INFINITY;
      this.node.handleTimeout(this.world.moment());
      this.#settle();
    });
  }
}

export interface WorldOptions {
  readonly seed: number;
  readonly nodes: number;
  readonly link?: LinkQuality;
  readonly protocol?: number;
}

export class World {
  readonly seed: number;
  readonly protocol: number;
  readonly planet: Planet;
  readonly nodes: SimNode[] = [];
  now = 1_000_000;
  datagrams = 0;
  readonly #link: LinkQuality;
  readonly #overrides = new Map<string, LinkQuality>();
  readonly #luck: Luck;
  readonly #trace: Hash = createHash('sha256');
  #events: Event[] = [];
  #seq = 0;

  /** Node 0 is the only root. */
  constructor(o: WorldOptions) {
    this.seed = o.seed;
    this.protocol = o.protocol ?? 12;
    this.#link = o.link ?? { latencyMs: 5, loss: 0 };
    this.#luck = new Luck(o.seed, 'links');
    const privateKey = new Uint8Array(64).fill(3);
    this.planet = signWorld(
      primitives,
      {
        type: WORLD_PLANET,
        id: 77n,
        timestamp: 1n,
        updateKey: primitives.publicFromPrivate(privateKey),
        roots: [
          {
            identity: { ...poolIdentity(0), privateKey: undefined },
            endpoints: [inetAddress(Uint8Array.of(10, 9, 0, 1), PORT)],
          },
        ],
      },
      privateKey,
    );
    for (let i = 0; i < o.nodes; i++) this.nodes.push(new SimNode(this, i));
  }

  moment(): Moment {
    return { mono: this.now, wall: 1_700_000_000_000 + Math.floor(this.now) };
  }

  /** Quality of the link between two nodes, both ways; undefined = the default again. */
  setLink(a: number, b: number, quality: LinkQuality | 'down' | undefined): void {
    const key = a < b ? `${a}-${b}` : `${b}-${a}`;
    if (quality === undefined) this.#overrides.delete(key);
    else this.#overrides.set(key, quality === 'down' ? DOWN : quality);
  }

  carry(from: SimNode, to: RemoteAddress, bytes: Uint8Array): void {
    this.datagrams++;
    this.#trace
      .update(`${this.now.toFixed(3)} ${from.index} ${to.key.length} ${bytes.length}`)
      .update(bytes);
    if (bytes.length > 1_472) throw new Error(`a datagram of ${bytes.length} bytes`);
    const target = this.nodes.find((n) => n.endpoint.key === to.key);
    if (target === undefined) return;
    const [a, b] = [from.index, target.index];
    const link = this.#overrides.get(a < b ? `${a}-${b}` : `${b}-${a}`) ?? this.#link;
    if (this.#luck.next() < link.loss) return;
    this.after(link.latencyMs, () => target.receive(from.endpoint, bytes));
  }

  after(ms: number, run: () => void): void {
    const e = { at: this.now + Math.max(0, ms), seq: this.#seq++, run };
    // Binary insertion: the queues of these worlds are short.
    let [lo, hi] = [0, this.#events.length];
    while (lo < hi) {
      const mid = (lo + hi) >> 1;
      const x = this.#events[mid]!;
      if (x.at > e.at || (x.at === e.at && x.seq > e.seq)) lo = mid + 1;
      else hi = mid;
    }
    this.#events.splice(lo, 0, e);
  }

  /** Runs until `ms` have passed, or `until` holds. @returns whether it held. */
  run(ms: number, until: () => boolean = () => false): boolean {
    const end = this.now + ms;
    let steps = 0;
    while (!until()) {
      const e = this.#events[this.#events.length - 1];
      if (e === undefined || e.at > end) {
        this.now = end;
        return until();
      }
      this.#events.pop();
      this.now = Math.max(this.now, e.at);
      e.run();
      if (++steps > 5_000_000) throw new Error('the world does not come to rest');
    }
    return true;
  }

  hash(): string {
    return this.#trace.copy().digest('hex');
  }
}

/** A network of node 0, with IPv4 from a pool. */
export function createNetwork(
  world: World,
  settings: Record<string, boolean> = { private: false },
): bigint {
  const root = world.nodes[0]!;
  const nwid = (BigInt(root.address) << 24n) | 0xa1n;
  root.run((node, at) =>
    node.run(at, () =>
      root.controller!.postNetwork(at, nwid, nwid.toString(16).padStart(16, '0'), {
        ...settings,
        v4AssignMode: { zt: true },
        routes: [{ target: '10.91.0.0/16', via: null }],
        ipAssignmentPools: [{ ipRangeStart: '10.91.0.10', ipRangeEnd: '10.91.250.250' }],
      }),
    ),
  );
  return nwid;
}
