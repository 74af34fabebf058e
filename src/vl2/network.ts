/**
 * One joined network: configuration, status, members' credentials, own multicast groups
 * [3 sections 7, 10, 11]. State and decisions only; messages are sent by the files around it.
 */
import type { Moment } from '../lib/time.js';
import {
  controllerOf,
  memberMac,
  type NetworkId,
  type NodeAddress,
  rfc4193Address,
  sixPlaneAddress,
} from '../wire/address.js';
import type { Ownership, Tag } from '../wire/credentials.js';
import {
  BROADCAST_GROUP,
  compareGroups,
  groupKey,
  type MulticastGroup,
} from '../wire/multicast-group.js';
import { NETWORK_FLAG, NETWORK_PUBLIC, type NetworkConfig, SPECIALIST } from '../wire/netconf.js';
import { type ConfigSso, ssoUrl } from '../wire/sso.js';
import { ConfigAssembly } from './config-assembly.js';
import type { Vl2Counter } from './context.js';
import { type Copy, evaluate, type FilterInput } from './filter.js';
import { Membership, type Stored, type Verifier } from './membership.js';
import type { Vl1Port, Vl2Peer } from './port.js';

export type NetworkStatus =
  | 'REQUESTING_CONFIGURATION'
  | 'OK'
  | 'ACCESS_DENIED'
  | 'NOT_FOUND'
  | 'AUTHENTICATION_REQUIRED';

export type NetworkFailure = 'ACCESS_DENIED' | 'NOT_FOUND' | 'AUTHENTICATION_REQUIRED';

/** Ours: members whose credentials we hold per network; the one known longest goes first. */
export const MAX_MEMBERS = 65_536;
/** Ours: MACs learned behind bridges [3 section 9.6 advises a small bound]. */
export const MAX_BRIDGE_ROUTES = 65_536;
/** Ours: groups learned behind us when we are a bridge, and subscriptions. */
export const MAX_GROUPS = 4_096;

export interface OutboundVerdict {
  readonly pass: boolean;
  readonly copies: readonly Copy[];
  readonly redirectTo: NodeAddress;
}

export interface InboundVerdict extends OutboundVerdict {
  /** 2 = accept whatever the MACs are. */
  readonly level: 0 | 1 | 2;
}

const REFUSED: InboundVerdict = { pass: false, level: 0, copies: [], redirectTo: 0 };

export interface FrameInfo {
  readonly macSource: Uint8Array;
  readonly macDest: Uint8Array;
  readonly etherType: number;
  readonly frame: Uint8Array;
}

export class Network {
  readonly nwid: NetworkId;
  readonly controller: NodeAddress;
  readonly mac: Uint8Array;
  readonly assembly = new ConfigAssembly();
  readonly #port: Vl1Port;
  readonly #count: (name: Vl2Counter) => void;
  readonly #members = new Map<NodeAddress, Membership>();
  readonly #bridgeRoutes = new Map<string, NodeAddress>();
  #subscriptions = new Map<string, MulticastGroup>();
  readonly #behindUs = new Map<string, MulticastGroup>();
  #config: NetworkConfig | undefined;
  #failure: NetworkFailure | undefined;
  #localTags: ReadonlyMap<number, Tag> = new Map();
  #bridges: readonly NodeAddress[] = [];
  #anchors: readonly NodeAddress[] = [];
  #replicators: readonly NodeAddress[] = [];
  readonly #emulated: { readonly prefix: Uint8Array; readonly bits: number }[] = [];
  /** What the controller's last demand to sign on said; it gives way to the next configuration. */
  ssoRequired: ConfigSso | undefined;
  /** Monotonic ms of the last configuration that changed something. */
  updatedAt = Number.NEGATIVE_INFINITY;
  requestedAt = Number.NEGATIVE_INFINITY;
  /** A credential of ours was revoked and the controller has not answered a request since. */
  isDoubtful = false;
  announcedAt = Number.NEGATIVE_INFINITY;
  /** Whether the broadcast group was announced to upstreams and controller. */
  hasAnnouncedBroadcast = false;

  constructor(port: Vl1Port, nwid: NetworkId, count: (name: Vl2Counter) => void = () => undefined) {
    this.#port = port;
    this.#count = count;
    this.nwid = nwid;
    this.controller = controllerOf(nwid);
    this.mac = memberMac(port.self.address, nwid);
  }

  get config(): NetworkConfig | undefined {
    return this.#config;
  }

  get status(): NetworkStatus {
    return this.#failure ?? (this.#config === undefined ? 'REQUESTING_CONFIGURATION' : 'OK');
  }

  /** Where the user signs on, from the controller's demand or the configuration in force. */
  get authenticationUrl(): string {
    const sso = this.ssoRequired ?? this.#config?.sso;
    return sso === undefined ? '' : ssoUrl(sso);
  }

  get isPublic(): boolean {
    return this.#config?.type === NETWORK_PUBLIC;
  }

  hasFlag(flag: bigint): boolean {
    return ((this.#config?.flags ?? 0n) & flag) !== 0n;
  }

  get bridges(): readonly NodeAddress[] {
    return this.#bridges;
  }

  get anchors(): readonly NodeAddress[] {
    return this.#anchors;
  }

  get replicators(): readonly NodeAddress[] {
    return this.#replicators;
  }

  isReplicator(address: NodeAddress): boolean {
    return this.#replicators.includes(address);
  }

  isBridge(address: NodeAddress): boolean {
    return this.#bridges.includes(address);
  }

  /** Takes a configuration that was checked to be for us. `fresh` = it came from the controller. */
  setConfig(at: Moment, config: NetworkConfig, fresh: boolean): void {
    this.#config = config;
    this.#failure = undefined;
    if (fresh) this.isDoubtful = false;
    this.ssoRequired = undefined;
    if (fresh) this.updatedAt = at.mono;
    this.#localTags = new Map(config.tags.map((t) => [t.id, t]));
    const withRole = (role: bigint): NodeAddress[] =>
      config.specialists.filter((s) => (s & role) !== 0n).map((s) => Number(s & 0xff_ffff_ffffn));
    this.#bridges = withRole(SPECIALIST.ACTIVE_BRIDGE);
    this.#anchors = withRole(SPECIALIST.ANCHOR);
    this.#replicators = withRole(SPECIALIST.REPLICATOR);
    this.#rebuildEmulated(config);
  }

  #rebuildEmulated(config: NetworkConfig): void {
    this.#emulated.length = 0;
    const self = this.#port.self.address;
    const known = [
      { prefix: sixPlaneAddress(this.nwid, self), bits: 40 },
      { prefix: rfc4193Address(this.nwid, self), bits: 88 },
    ];
    for (const k of known) {
      if (config.addresses.some((a) => a.family === 6 && a.ip.every((b, i) => b === k.prefix[i])))
        this.#emulated.push(k);
    }
  }

  fail(failure: NetworkFailure): void {
    this.#failure = failure;
    this.isDoubtful = false;
  }

  // ---- members ----

  member(address: NodeAddress): Membership {
    const known = this.#members.get(address);
    if (known !== undefined) return known;
    const fresh = new Membership();
    this.#keep(address, fresh);
    return fresh;
  }

  #keep(address: NodeAddress, fresh: Membership): void {
    if (this.#members.size >= MAX_MEMBERS) {
      const oldest = this.#members.keys().next().value;
      if (oldest !== undefined) this.#members.delete(oldest);
      this.#count('memberDropped');
    }
    this.#members.set(address, fresh);
  }

  /** Stores a credential; a record is made for an address only when the credential was genuine. */
  offer(address: NodeAddress, store: (m: Membership) => Stored): Stored {
    const known = this.#members.get(address);
    if (known !== undefined) return store(known);
    const fresh = new Membership();
    const result = store(fresh);
    if (result === 'new') this.#keep(address, fresh);
    return result;
  }

  knownMember(address: NodeAddress): Membership | undefined {
    return this.#members.get(address);
  }

  members(): Iterable<[NodeAddress, Membership]> {
    return this.#members;
  }

  verifier(): Verifier {
    return {
      primitives: this.#port.primitives,
      controller: this.controller,
      identityOf: (a) => this.#port.identityOf(a),
    };
  }

  /** MAC of a member, kept with its record so that a frame does not compute it anew. */
  macOf(address: NodeAddress): Uint8Array {
    const m = this.member(address);
    m.mac ??= memberMac(address, this.nwid);
    return m.mac;
  }

  /** The membership gate [3 section 7.3], without its announcement. */
  allows(peer: Vl2Peer): boolean {
    if (this.#config === undefined) return false;
    if (this.isPublic) return true;
    const m = this.#members.get(peer.address);
    return m?.isAllowed(this.#port.primitives, this.#config.com, peer.identity) ?? false;
  }

  // ---- groups ----

  /** Replaces the stack's subscriptions. @returns the groups that are new. */
  setSubscriptions(groups: readonly MulticastGroup[]): MulticastGroup[] {
    if (groups.length > MAX_GROUPS) this.#count('groupRefused');
    const next = new Map(groups.slice(0, MAX_GROUPS).map((g) => [groupKey(g), g]));
    const fresh = [...next].filter(([k]) => !this.#subscriptions.has(k)).map(([, g]) => g);
    this.#subscriptions = next;
    return fresh;
  }

  /** A group seen behind us as a bridge. @returns whether it is new. */
  learnGroup(g: MulticastGroup): boolean {
    const key = groupKey(g);
    if (this.#behindUs.has(key)) return false;
    if (this.#behindUs.size >= MAX_GROUPS) {
      this.#count('groupRefused');
      return false;
    }
    this.#behindUs.set(key, g);
    return true;
  }

  /** Subscribed ourselves, or a group behind us; enabled broadcast alone does not count. */
  subscribes(key: string): boolean {
    return this.#subscriptions.has(key) || this.#behindUs.has(key);
  }

  /** All groups [3 section 10.1], sorted. */
  allGroups(): MulticastGroup[] {
    const all = new Map([...this.#subscriptions, ...this.#behindUs]);
    if (this.hasFlag(NETWORK_FLAG.BROADCAST)) all.set(groupKey(BROADCAST_GROUP), BROADCAST_GROUP);
    return [...all.values()].sort(compareGroups);
  }

  // ---- bridging ----

  learnBridgeRoute(mac: Uint8Array, bridge: NodeAddress): void {
    const key = String.fromCharCode(...mac);
    this.#bridgeRoutes.delete(key);
    if (this.#bridgeRoutes.size >= MAX_BRIDGE_ROUTES) {
      const oldest = this.#bridgeRoutes.keys().next().value;
      if (oldest !== undefined) this.#bridgeRoutes.delete(oldest);
    }
    this.#bridgeRoutes.set(key, bridge);
  }

  bridgeRoute(mac: Uint8Array): NodeAddress | undefined {
    const bridge = this.#bridgeRoutes.get(String.fromCharCode(...mac));
    return bridge !== undefined && this.isBridge(bridge) ? bridge : undefined;
  }

  // ---- rules ----

  #input(
    inbound: boolean,
    source: NodeAddress,
    destination: NodeAddress,
    f: FrameInfo,
  ): FilterInput {
    const c = this.#config!;
    const other = this.#members.get(inbound ? source : destination);
    const remoteOwnerships: readonly Ownership[] =
      other?.ownerships(c.timestamp, c.credentialTimeMaxDelta) ?? [];
    return {
      inbound,
      self: this.#port.self.address,
      source,
      destination,
      ...f,
      vlanId: 0,
      unknownMatches: this.hasFlag(NETWORK_FLAG.UNKNOWN_MATCHES),
      localTags: this.#localTags,
      localOwnerships: c.ownerships,
      remoteOwnerships,
      remoteTag: (id) => other?.tag(id, c.timestamp, c.credentialTimeMaxDelta),
      isEmulated: (ip) => this.#isEmulated(ip),
      random: () => Math.floor(this.#port.jitter.next() * 2 ** 32),
    };
  }

  #isEmulated(ip: Uint8Array): boolean {
    if (!this.hasFlag(NETWORK_FLAG.NDP_EMULATION)) return false;
    return this.#emulated.some((e) =>
      e.prefix.subarray(0, e.bits / 8).every((b, i) => ip[i] === b),
    );
  }

  /** Whether the rules are the single "accept": most networks, judged without an evaluation. */
  get #acceptsAll(): boolean {
    const rules = this.#config!.rules;
    return rules.length === 1 && (rules[0]!.t & 0x3f) === 1;
  }

  /** [3 section 8.5]; `destination` 0 = not yet known. */
  filterOutbound(destination: NodeAddress, f: FrameInfo, noTee: boolean): OutboundVerdict {
    const c = this.#config;
    if (c === undefined) return REFUSED;
    if (this.#acceptsAll) return { pass: true, copies: [], redirectTo: 0 };
    const input = this.#input(false, this.#port.self.address, destination, f);
    const base = evaluate(c.rules, input);
    const copies: Copy[] = [];
    let decided = base;
    if (base.verdict === 'noMatch') {
      const cap = c.capabilities
        .map((x) => evaluate(x.rules, input))
        .find((e) => e.verdict !== 'noMatch' && e.verdict !== 'drop');
      if (cap === undefined) return REFUSED;
      if (!noTee && cap.copy !== undefined) copies.push(cap.copy);
      decided = cap;
    } else if (base.verdict === 'drop') return REFUSED;
    if (!noTee && base.copy !== undefined) copies.push(base.copy);
    const redirected = decided.verdict === 'redirect';
    return { pass: !redirected, copies, redirectTo: redirected ? decided.redirectTo : 0 };
  }

  /** [3 section 8.6] */
  filterInbound(source: NodeAddress, f: FrameInfo): InboundVerdict {
    const c = this.#config;
    if (c === undefined) return REFUSED;
    if (this.#acceptsAll) return { pass: true, level: 1, copies: [], redirectTo: 0 };
    const member = this.member(source);
    const input = this.#input(true, source, this.#port.self.address, f);
    const base = evaluate(c.rules, input);
    const copies: Copy[] = [];
    let decided = base;
    if (base.verdict === 'noMatch') {
      const caps = member.capabilities(c.timestamp, c.credentialTimeMaxDelta);
      const cap = caps
        .map((x) => evaluate(x.rules, input))
        .find((e) => e.verdict !== 'noMatch' && e.verdict !== 'drop');
      if (cap === undefined) return REFUSED;
      if (cap.copy !== undefined) copies.push(cap.copy);
      decided = cap;
    } else if (base.verdict === 'drop') return REFUSED;
    if (base.copy !== undefined) copies.push(base.copy);
    if (decided.verdict === 'redirect')
      return { pass: false, level: 0, copies, redirectTo: decided.redirectTo };
    return { pass: true, level: decided.verdict === 'superAccept' ? 2 : 1, copies, redirectTo: 0 };
  }
}
