/**
 * One node of a simulated world: what host/loop.ts is for the service. It gives a `Node` time,
 * datagrams and frames, carries out what the node asks for, and keeps its stored state, so that it
 * can be stopped and started with or without it. A little of a stack: it answers ARP requests for
 * its addresses, and keeps the frames that it gets.
 */
import { Controller } from '#src/controller/controller.js';
import type { Moment } from '#src/lib/time.js';
import { Node } from '#src/node/node.js';
import type { NodeOutput } from '#src/node/outputs.js';
import { addressText, memberMac, type NetworkId, networkIdText } from '#src/wire/address.js';
import { type Identity, parseIdentity } from '#src/wire/identity.js';
import { inetAddress, type RemoteAddress, remoteAddress } from '#src/wire/inetaddress.js';
import { BROADCAST_MAC, type MulticastGroup, resolutionGroup } from '#src/wire/multicast-group.js';
import { type World as Planet, WORLD_PLANET } from '#src/wire/world.js';
import { core, poolIdentity, primitives, validate } from './identities.js';
import { Luck } from './luck.js';
import type { Nat } from './nat.js';
import type { World } from './world.js';

export interface SeenFrame {
  readonly at: number;
  readonly nwid: NetworkId;
  readonly src: Uint8Array;
  readonly etherType: number;
  readonly bytes: Uint8Array;
}

/** What a node still has when it starts again; what is not named is kept. */
export interface Kept {
  readonly peers?: boolean;
  readonly networks?: boolean;
  readonly controller?: boolean;
  readonly worlds?: boolean;
}

export const PORT = 9993;
export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
/** One check of an identity by the service's single worker thread [bench: 11.6 ms]. */
const VALIDATION_MS = 12;
/** Frames kept of each node; scenarios with traffic take them by `onFrame`. */
const MAX_FRAMES = 10_000;
const ARP_REQUEST = 1;
const ARP_REPLY = 2;

function arpPacket(
  op: number,
  senderMac: Uint8Array,
  senderIp: Uint8Array,
  targetMac: Uint8Array,
  targetIp: Uint8Array,
): Uint8Array {
  return Uint8Array.of(
    ...[0, 1, 8, 0, 6, 4, 0, op],
    ...senderMac,
    ...senderIp,
    ...targetMac,
    ...targetIp,
  );
}

export class SimNode {
  readonly world: World;
  readonly index: number;
  readonly identity: Identity;
  /** Where its socket is bound: public, or inside a NAT. */
  readonly endpoint: RemoteAddress;
  readonly nat: Nat<SimNode> | undefined;
  node: Node;
  controller: Controller;
  readonly frames: SeenFrame[] = [];
  /** Takes frames instead of `frames`. */
  onFrame: ((f: SeenFrame) => void) | undefined;
  /** Called after a network of this node changed. */
  onNetworkChanged: ((nwid: NetworkId) => void) | undefined;
  readonly stored = new Map<string, Uint8Array | string>();
  readonly joined = new Set<NetworkId>();
  readonly #groups = new Map<NetworkId, readonly MulticastGroup[]>();
  readonly counts = { sent: 0, sentBytes: 0, received: 0, validated: 0 };
  onlineAt: number | undefined;
  firstOnlineAt: number | undefined;
  startedAt = 0;
  isRunning = false;
  /** Wall clock of this node against the world's, ms. */
  wallOffset = 0;
  #monoOffset: number;
  #starts = 0;
  #timerAt = Number.POSITIVE_INFINITY;
  /** Set anew at each start, so that timers and answers of an earlier life find nobody. */
  #life = 0;
  #workerFreeAt = 0;

  constructor(world: World, index: number, endpoint: RemoteAddress, nat: Nat<SimNode> | undefined) {
    this.world = world;
    this.index = index;
    this.identity = poolIdentity(index);
    this.endpoint = endpoint;
    this.nat = nat;
    this.#monoOffset = this.#newClock();
    this.controller = new Controller();
    this.node = this.#make(world.planet);
  }

  get address(): number {
    return this.identity.address;
  }

  /** The monotonic clock of a process begins anywhere. */
  #newClock(): number {
    return Math.floor(
      new Luck(this.world.seed, `node:${this.index}/clock ${this.#starts}`).next() * 1e6,
    );
  }

  #make(planet: Planet): Node {
    const label = `node:${this.index}`;
    const node = new Node({
      identity: this.identity,
      core,
      primitives,
      entropy: new Luck(this.world.seed, `${label}/entropy ${this.#starts}`),
      jitter: new Luck(this.world.seed, `${label}/jitter ${this.#starts}`),
      protocol: this.world.protocol,
      planet,
      platform: 'linux/x86_64',
      strict: true,
      poison: true,
    });
    this.controller = new Controller();
    node.setController(this.controller);
    return node;
  }

  // ---- life ----

  start(): void {
    this.isRunning = true;
    this.startedAt = this.world.now;
    this.run((node, at) => node.handleSockets(at, [{ id: 1, family: 4 }], [this.endpoint]));
  }

  /** Ends the node without a word. */
  stop(): void {
    this.isRunning = false;
    this.onlineAt = undefined;
    this.#life++;
    this.#timerAt = Number.POSITIVE_INFINITY;
  }

  /** Ends the node without a word and starts it again with what it had stored. */
  restart(kept: Kept = {}): void {
    this.stop();
    this.#starts++;
    this.#monoOffset = this.#newClock() - this.world.now;
    const planet = kept.worlds === false ? undefined : this.#storedPlanet;
    this.node = this.#make(planet ?? this.world.planet);
    if (kept.worlds !== false) for (const m of this.#storedMoons) this.#topology.addStoredMoon(m);
    if (kept.peers !== false) this.#loadPeers();
    if (kept.controller !== false) this.#loadController();
    this.start();
    for (const nwid of this.joined) this.#rejoin(nwid, kept.networks !== false);
  }

  #storedPlanet: Planet | undefined;
  #storedMoons: Planet[] = [];

  get #topology() {
    return this.node.vl1.state.topology;
  }

  #loadPeers(): void {
    for (const [key, record] of this.stored)
      if (key.startsWith('peer/')) this.node.handleStoredPeer(record as Uint8Array);
  }

  #loadController(): void {
    for (const [key, json] of this.stored) {
      if (!key.startsWith('controller/')) continue;
      const kind = key.includes('/member/') ? 'member' : 'network';
      if (!this.controller.load(kind, json as string)) throw new Error(`${key} does not load`);
    }
  }

  #rejoin(nwid: NetworkId, withConfig: boolean): void {
    const text = withConfig ? this.stored.get(`config/${networkIdText(nwid)}`) : undefined;
    this.run((node, at) => node.join(at, nwid, text as Uint8Array | undefined));
    const groups = this.#groups.get(nwid);
    if (groups !== undefined) this.run((node, at) => node.setSubscriptions(at, nwid, groups));
  }

  // ---- clocks ----

  moment(): Moment {
    return {
      mono: this.world.now + this.#monoOffset,
      wall: this.world.wall() + this.wallOffset,
    };
  }

  /** Somebody sets this node's wall clock. */
  jumpClock(ms: number): void {
    this.wallOffset += ms;
  }

  // ---- inputs ----

  run<T>(command: (node: Node, at: Moment) => T): T {
    const result = command(this.node, this.moment());
    this.#settle();
    return result;
  }

  receive(from: RemoteAddress, bytes: Uint8Array): void {
    if (!this.isRunning) return;
    this.counts.received++;
    this.node.handleDatagram(this.moment(), 1, from, bytes);
    this.#settle();
  }

  join(nwid: NetworkId): void {
    this.joined.add(nwid);
    this.run((node, at) => node.join(at, nwid));
  }

  /** IPv4 of a network, once there. */
  ipv4(nwid: NetworkId): Uint8Array | undefined {
    return this.node.vl2.network(nwid)?.config?.addresses.find((a) => a.family === 4)?.ip;
  }

  status(nwid: NetworkId): string | undefined {
    return this.node.vl2.network(nwid)?.status;
  }

  /** World time at which this node last heard another; -Infinity when it does not know it. */
  heardAt(other: SimNode): number {
    const at = this.node.vl1.peer(other.address)?.lastReceiveAt ?? Number.NEGATIVE_INFINITY;
    return at - this.#monoOffset;
  }

  /** Whether frames to `other` leave on a direct path now. */
  isDirectTo(other: SimNode): boolean {
    const peer = this.node.vl1.peer(other.address);
    return peer?.directPath(this.moment().mono) !== undefined;
  }

  /** Subscribes the ARP group of our IPv4, as a stack would. */
  subscribe(nwid: NetworkId): void {
    const ip = this.ipv4(nwid);
    if (ip === undefined) return;
    const groups = [resolutionGroup(ip)];
    this.#groups.set(nwid, groups);
    this.run((node, at) => node.setSubscriptions(at, nwid, groups));
  }

  /** Sends an Ethernet frame to another member. */
  sendFrame(nwid: NetworkId, to: SimNode, payload: Uint8Array): void {
    this.#frame(nwid, memberMac(to.address, nwid), ETHERTYPE_IPV4, payload);
  }

  /** Sends an ARP request for an address. */
  sendArp(nwid: NetworkId, target: Uint8Array): void {
    const own = this.ipv4(nwid) ?? new Uint8Array(4);
    const mac = memberMac(this.address, nwid);
    const arp = arpPacket(ARP_REQUEST, mac, own, new Uint8Array(6), target);
    this.#frame(nwid, BROADCAST_MAC, ETHERTYPE_ARP, arp);
  }

  #frame(nwid: NetworkId, dst: Uint8Array, etherType: number, payload: Uint8Array): void {
    const src = memberMac(this.address, nwid);
    this.run((node, at) => node.handleFrame(at, nwid, src, dst, etherType, payload));
  }

  // ---- outputs ----

  #settle(): void {
    // Answers to frames come after the drain: a node takes no input while outputs wait.
    const later: (() => void)[] = [];
    for (let o = this.node.poll(); o !== undefined; o = this.node.poll()) this.#carryOut(o, later);
    if (this.onlineAt === undefined && this.node.isOnline) {
      this.onlineAt = this.world.now;
      this.firstOnlineAt ??= this.onlineAt;
    }
    this.#arm();
    for (const act of later) act();
  }

  #carryOut(o: NodeOutput, later: (() => void)[]): void {
    switch (o.kind) {
      case 'transmit':
        this.counts.sent++;
        this.counts.sentBytes += o.bytes.length;
        this.world.carry(this, o.to, o.bytes.slice(), o.ttl);
        break;
      case 'frame':
        this.#take(o, later);
        break;
      case 'validate':
        this.#validate(o.id, o.identity.slice());
        break;
      case 'networkChanged':
        later.push(() => this.onNetworkChanged?.(o.nwid));
        break;
      case 'storePeer':
        this.stored.set(`peer/${addressText(o.address)}`, o.record.slice());
        break;
      case 'storeConfig':
        this.stored.set(`config/${networkIdText(o.nwid)}`, o.text.slice());
        break;
      case 'storeController':
        if (o.json === undefined) this.stored.delete(`controller/${o.path}`);
        else this.stored.set(`controller/${o.path}`, o.json);
        break;
      case 'storeWorld':
        if (o.world.type === WORLD_PLANET) this.#storedPlanet = o.world;
        else this.#storedMoons = [...this.#storedMoons.filter((m) => m.id !== o.world.id), o.world];
        break;
      default:
        break;
    }
  }

  /** The worker thread: one check after the other. */
  #validate(id: number, bytes: Uint8Array): void {
    const ok = validate(parseIdentity(bytes, 0)!.identity);
    this.counts.validated++;
    this.#workerFreeAt = Math.max(this.#workerFreeAt, this.world.now) + VALIDATION_MS;
    const life = this.#life;
    this.world.after(this.#workerFreeAt - this.world.now, () => {
      if (life === this.#life) this.run((node, at) => node.handleValidation(at, id, ok));
    });
  }

  #take(o: Extract<NodeOutput, { kind: 'frame' }>, later: (() => void)[]): void {
    this.world.invariants.frame(this.node.vl2.network(o.nwid)?.config !== undefined);
    const frame: SeenFrame = {
      at: this.world.now,
      nwid: o.nwid,
      src: o.src.slice(),
      etherType: o.etherType,
      bytes: o.bytes.slice(),
    };
    if (this.onFrame !== undefined) later.push(() => this.onFrame?.(frame));
    else if (this.frames.length < MAX_FRAMES) this.frames.push(frame);
    if (frame.etherType === ETHERTYPE_ARP) later.push(() => this.#answerArp(frame));
  }

  #answerArp(f: SeenFrame): void {
    const own = this.ipv4(f.nwid);
    const asked = f.bytes.subarray(24, 28);
    if (f.bytes[7] !== ARP_REQUEST || own === undefined || !own.every((b, i) => b === asked[i]))
      return;
    const asker = f.bytes.slice(8, 14);
    const mac = memberMac(this.address, f.nwid);
    this.#frame(
      f.nwid,
      asker,
      ETHERTYPE_ARP,
      arpPacket(ARP_REPLY, mac, own, asker, f.bytes.slice(14, 18)),
    );
  }

  #arm(): void {
    const now = this.world.now;
    const due = this.node.deadline() - this.#monoOffset;
    this.world.invariants.deadline(due, now);
    if (due >= this.#timerAt || !this.isRunning) return;
    this.#timerAt = due;
    const life = this.#life;
    this.world.after(due - now, () => {
      if (life !== this.#life || this.#timerAt > this.world.now) return;
      this.#timerAt = Number.POSITIVE_INFINITY;
      this.node.handleTimeout(this.moment());
      this.#settle();
    });
  }
}

/** The public endpoint of node `index`: a /24 of its own, in global scope (nothing leaves the process). */
export function publicEndpoint(index: number): RemoteAddress {
  return remoteAddress(inetAddress(Uint8Array.of(20, index >> 8, index & 255, 1), PORT));
}

/** The `n`th host inside a home; all homes use the same subnet, as they do. */
export function homeEndpoint(n: number): RemoteAddress {
  return remoteAddress(inetAddress(Uint8Array.of(192, 168, 1, 10 + n), PORT));
}
