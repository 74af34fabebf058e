/**
 * What the user says of physical networks: trusted paths, MTU, networks that must not be paths, and
 * addresses to try for a peer [2 section 20, 4 section 9]. Immutable: a change is a new object.
 */
import type { NodeAddress } from '../wire/address.js';
import { type InetAddress, ipInPrefix } from '../wire/inetaddress.js';
import { DEFAULT_PHYSICAL_MTU, MAX_PHYSICAL_MTU, MIN_PHYSICAL_MTU } from '../wire/packet.js';
import { MAX_DATAGRAM_V4, MAX_DATAGRAM_V6, MAX_HINTS, MAX_PHYSICAL_NETS } from './constants.js';

export interface IpPrefix {
  readonly ip: Uint8Array;
  readonly bits: number;
}

export interface PhysicalNet extends IpPrefix {
  /** UDP payload; 0 or less is the default. */
  readonly mtu: number;
  /** 0 = not trusted. */
  readonly trustedPathId: bigint;
}

export interface PeerSettings {
  /** Physical addresses to try. */
  readonly hints: readonly InetAddress[];
  readonly blacklist: readonly IpPrefix[];
}

export interface PhysicalSettings {
  readonly nets: readonly PhysicalNet[];
  readonly blacklist: readonly IpPrefix[];
  readonly peers: ReadonlyMap<NodeAddress, PeerSettings>;
  /** Fewer keepalives and HELLOs [2 section 19.2]. */
  readonly lowBandwidth: boolean;
}

/** Shorter prefixes first, then by address: the order in which the first match counts. */
function inOrder(a: IpPrefix, b: IpPrefix): number {
  if (a.bits !== b.bits) return a.bits - b.bits;
  if (a.ip.length !== b.ip.length) return a.ip.length - b.ip.length;
  for (let i = 0; i < a.ip.length; i++) if (a.ip[i] !== b.ip[i]) return a.ip[i]! - b.ip[i]!;
  return 0;
}

const contains = (p: IpPrefix, ip: Uint8Array): boolean => ipInPrefix(ip, p.ip, p.bits);

/** The configured MTU within its bounds, and within what fits an Ethernet frame [2 section 2]. */
function clampMtu(mtu: number, family: 0 | 4 | 6): number {
  if (mtu <= 0) return DEFAULT_PHYSICAL_MTU;
  const allowed = Math.min(Math.max(mtu, MIN_PHYSICAL_MTU), MAX_PHYSICAL_MTU);
  return Math.min(allowed, family === 6 ? MAX_DATAGRAM_V6 : MAX_DATAGRAM_V4);
}

export class Physical {
  static readonly NONE = new Physical({
    nets: [],
    blacklist: [],
    peers: new Map(),
    lowBandwidth: false,
  });

  readonly lowBandwidth: boolean;
  readonly #nets: readonly PhysicalNet[];
  readonly #blacklist: readonly IpPrefix[];
  readonly #peers: ReadonlyMap<NodeAddress, PeerSettings>;

  constructor(s: PhysicalSettings) {
    this.lowBandwidth = s.lowBandwidth;
    this.#nets = [...s.nets].sort(inOrder).slice(0, MAX_PHYSICAL_NETS);
    this.#blacklist = s.blacklist;
    this.#peers = s.peers;
  }

  #net(ip: Uint8Array): PhysicalNet | undefined {
    return this.#nets.find((n) => contains(n, ip));
  }

  /** UDP payload of datagrams to this address. */
  mtu(to: InetAddress): number {
    return clampMtu(this.#net(to.ip)?.mtu ?? 0, to.family);
  }

  trustedPathId(to: InetAddress): bigint {
    return this.#net(to.ip)?.trustedPathId ?? 0n;
  }

  /** Whether this address must not be a path, to anybody or to that peer. */
  isBlacklisted(peer: NodeAddress, at: InetAddress): boolean {
    if (this.#blacklist.some((p) => contains(p, at.ip))) return true;
    return this.#peers.get(peer)?.blacklist.some((p) => contains(p, at.ip)) ?? false;
  }

  hints(peer: NodeAddress): readonly InetAddress[] {
    return this.#peers.get(peer)?.hints.slice(0, MAX_HINTS) ?? [];
  }
}
