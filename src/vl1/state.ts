/**
 * State shared by the files of this room, and the interfaces to the rooms above and around.
 * One `Vl1State` belongs to one node.
 */
import type { Entropy, Jitter, PacketCore, Primitives } from '../crypto/api.js';
import { Arena } from '../lib/arena.js';
import { Counters } from '../lib/counters.js';
import type { Moment } from '../lib/time.js';
import type { NodeAddress } from '../wire/address.js';
import type { Identity } from '../wire/identity.js';
import {
  type InetAddress,
  ipScope,
  type RemoteAddress,
  SCOPE_GLOBAL,
  SCOPE_LOOPBACK,
  SCOPE_PRIVATE,
  SCOPE_PSEUDO_PRIVATE,
} from '../wire/inetaddress.js';
import { PROTOCOL_VERSION_AES, VERB } from '../wire/packet.js';
import type { World } from '../wire/world.js';
import { EVICTION_SAMPLE, MAX_PEERS } from './constants.js';
import { ExpectedReplies } from './expect.js';
import { Reassembly } from './fragments.js';
import { type Path, PathTable } from './path.js';
import { Peer } from './peer.js';
import { Physical } from './physical.js';
import { Surface } from './surface.js';
import { Topology } from './topology.js';
import { Traffic } from './traffic.js';

export type Vl1Counter =
  | 'rxDatagrams'
  | 'txDatagrams'
  | 'short'
  | 'portZero'
  | 'fromSelf'
  | 'fragmentMalformed'
  | 'fragmentTooLong'
  | 'oversize'
  | 'badMac'
  | 'badLz4'
  | 'badSuite'
  | 'trustedPathRefused'
  | 'unknownPeer'
  | 'deferredFull'
  | 'deferredExpired'
  | 'txTooManyPieces'
  | 'txQueueFull'
  | 'txQueueExpired'
  | 'malformed'
  | 'helloMalformed'
  | 'helloGated'
  | 'helloChecksFull'
  | 'helloCopies'
  | 'helloOldProtocol'
  | 'helloBadAddress'
  | 'helloBadIdentity'
  | 'helloCollision'
  | 'lowOrderKey'
  | 'okUnexpected'
  | 'bondingIgnored'
  | 'beacon'
  | 'echoGated'
  | 'whoisGated'
  | 'whoisThrottled'
  | 'recallGated'
  | 'pushGated'
  | 'confirmGated'
  | 'introductionsFull'
  | 'peersFull'
  | 'relayed'
  | 'relayHopLimit'
  | 'relayNoRoute'
  | 'relayRefused'
  | 'notUpstream'
  | 'identityCollisionReported';

export interface Vl1Options {
  readonly identity: Identity;
  readonly core: PacketCore;
  readonly primitives: Primitives;
  readonly entropy: Entropy;
  readonly jitter: Jitter;
  /** Protocol version announced: 12 takes AES-GMAC-SIV, 11 Salsa20/12 only [2 section 11]. */
  readonly protocol: number;
  readonly planet: World;
  /** Identity checks that the host works on at a time; default VALIDATIONS_AT_ONCE. */
  readonly validationsAtOnce?: number;
  /** Overwrites expired output bytes, for tests. */
  readonly poison?: boolean;
}

/** What the room asks of the host; all bytes are valid until the next input. */
export interface Vl1Out {
  transmit(socket: number, to: RemoteAddress, bytes: Uint8Array, ttl?: number): void;
  /** Full validation of an identity (71 bytes, binary), answered by `handleWork`. */
  validate(id: number, identity: Uint8Array): void;
  storeWorld(world: World): void;
  storePeer(address: NodeAddress, record: Uint8Array): void;
  /** A root says that another node owns our address. */
  identityCollision(): void;
}

export type Disposition = 'done' | 'trusted' | 'defer' | 'ignored';

/** One authenticated message for the layer above; `payload` is borrowed until the next input. */
export interface Message {
  readonly peer: Peer;
  readonly path: Path;
  readonly hops: number;
  readonly verb: number;
  readonly packetId: bigint;
  readonly payload: Uint8Array;
}

/** The layer above (VL2), as VL1 sees it. */
export interface Vl1Upper {
  /** A message of a verb that is not VL1's own, or an OK/ERROR about one. */
  handleMessage(at: Moment, message: Message): Disposition;
  /** Whether an IP lies inside a subnet of a joined network, so that it can't be a path [2 section 12.2]. */
  isVirtualIp(ip: Uint8Array): boolean;
  /** A peer's identity became known: retry what waited for it. */
  identityLearned(at: Moment, peer: Peer): void;
}

export interface UdpSocket {
  readonly id: number;
  readonly family: 4 | 6;
}

export class Vl1State {
  readonly self: Identity;
  readonly options: Vl1Options;
  readonly out: Vl1Out;
  readonly topology: Topology;
  readonly peers = new Map<NodeAddress, Peer>();
  #turn: Iterator<Peer, undefined> = this.peers.values();
  /** A peer had to go because the table is full. */
  evicted: (peer: Peer) => void = () => undefined;
  readonly paths = new PathTable();
  readonly expected = new ExpectedReplies();
  readonly reassembly = new Reassembly();
  readonly surface = new Surface();
  readonly counters = new Counters<Vl1Counter>();
  readonly traffic = new Traffic();
  readonly arena: Arena;
  physical = Physical.NONE;
  sockets: readonly UdpSocket[] = [];
  /** Interface addresses with port, to be pushed to peers. */
  localAddresses: readonly InetAddress[] = [];
  upper: Vl1Upper | undefined;
  at: Moment = { mono: 0, wall: 0 };

  constructor(options: Vl1Options, out: Vl1Out) {
    this.options = options;
    this.out = out;
    this.self = options.identity;
    this.topology = new Topology(options.primitives, options.identity, options.planet);
    this.arena = new Arena(options.poison ?? false);
  }

  /** Counts an authenticated packet. */
  received(peer: Peer, verb: number): void {
    this.traffic.rx[verb]!++;
    peer.packetsIn++;
  }

  /** Counts a packet as it is sealed; `code` is that of an ERROR. */
  sent(peer: Peer | undefined, verb: number, code: number): void {
    this.traffic.tx[verb]!++;
    if (verb === VERB.ERROR) this.traffic.txErrors[code]!++;
    if (peer !== undefined) peer.packetsOut++;
  }

  get now(): number {
    return this.at.mono;
  }

  /** We announce a version that takes AES, and so use it. */
  get sendsAes(): boolean {
    return this.options.protocol >= PROTOCOL_VERSION_AES;
  }

  /** The known peer with this address; never ourselves. */
  peer(address: NodeAddress): Peer | undefined {
    return this.peers.get(address);
  }

  /**
   * The peer of a trusted identity, made if unknown; the first identity of an address stays.
   * Undefined for ourselves and for keys of low order.
   */
  addPeer(identity: Identity): Peer | undefined {
    const known = this.peers.get(identity.address);
    if (known !== undefined || identity.address === this.self.address) return known;
    const agreed = this.options.primitives.agree(this.self.privateKey!, identity.publicKey);
    if (agreed === undefined) {
      this.counters.add('lowOrderKey');
      return undefined;
    }
    const peer = new Peer(
      { ...identity, privateKey: undefined },
      this.options.core.makeKey(agreed),
      this.now,
      this.sendsAes,
    );
    this.peers.set(peer.address, peer);
    if (this.peers.size > MAX_PEERS) this.#evict(peer);
    return peer;
  }

  /**
   * Full table: of the next EVICTION_SAMPLE peers in turn, drops the leaf that was silent longest, but not
   * the one it makes room for. A look at all of them for each newcomer would be a stranger's to cause.
   */
  #evict(newest: Peer): void {
    let victim: Peer | undefined;
    const { size } = this.peers;
    for (let i = 0; i < size && (i < EVICTION_SAMPLE || victim === undefined); i++) {
      const p = this.#nextInTurn();
      if (p === newest || this.topology.isUpstream(p.address)) continue;
      if (victim === undefined || p.activeAt < victim.activeAt) victim = p;
    }
    if (victim === undefined) return;
    this.peers.delete(victim.address);
    this.counters.add('peersFull');
    this.evicted(victim);
  }

  /** Peers come and go while this goes round: an iterator of a map stays valid. */
  #nextInTurn(): Peer {
    let next = this.#turn.next();
    if (next.done === true) {
      this.#turn = this.peers.values();
      next = this.#turn.next();
    }
    return next.value!;
  }

  /** May this physical address be a path to that peer? [2 section 12.2] */
  isPathAllowed(address: NodeAddress, remote: InetAddress): boolean {
    if (remote.port === 0) return false;
    switch (ipScope(remote.ip)) {
      case SCOPE_PSEUDO_PRIVATE:
      case SCOPE_GLOBAL:
      case SCOPE_PRIVATE:
        break;
      case SCOPE_LOOPBACK:
        if (this.topology.allowsLoopback) break;
        return false;
      default:
        return false;
    }
    // 2001:470::/32 belongs to a tunnel provider whose tunnels the reference refuses as paths.
    if (
      remote.family === 6 &&
      remote.ip[0] === 0x20 &&
      remote.ip[1] === 1 &&
      remote.ip[2] === 4 &&
      remote.ip[3] === 0x70
    ) {
      return false;
    }
    if (!this.topology.mayBeAt(address, remote)) return false;
    if (this.physical.isBlacklisted(address, remote)) return false;
    // A world names this address: no controller's assignment can cut us off from our roots.
    if (this.topology.isPinned(address)) return true;
    return !(this.upper?.isVirtualIp(remote.ip) ?? false);
  }

  /** Best upstream [2 section 14.3]: an answering one first, then least latency and age. */
  bestUpstream(exclude?: NodeAddress): Peer | undefined {
    let best: Peer | undefined;
    let bestRank = Number.POSITIVE_INFINITY;
    for (const address of this.topology.upstreams.keys()) {
      if (address === exclude) continue;
      const peer = this.peers.get(address);
      if (peer === undefined) continue;
      const rank = this.#relayRank(peer);
      if (rank <= bestRank) {
        best = peer;
        bestRank = rank;
      }
    }
    return best;
  }

  #relayRank(peer: Peer): number {
    const age = this.now - peer.lastReceiveAt;
    if (age >= 500_000) return 2 ** 40;
    const path = peer.directPath(this.now);
    // One that owes us an answer for PATH_PROBE_MS comes after all that answer.
    if (path === undefined || !path.isAnswering(this.now))
      return 2 ** 24 * (Math.floor(age / 61_000) + 1);
    const latency = path.hasLatency ? path.latency + 1 : 65_535;
    return latency * (Math.floor(age / 61_000) + 1);
  }
}
