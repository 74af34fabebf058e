/**
 * Keeps upstreams and active peers reachable, and the tables small [2 sections 12.5, 15, 19].
 *
 * Deviates from the reference where its users suffer [0 decision 10, 2 section 25]: upstreams get a
 * full HELLO every 60 s and an ECHO after 5 s of silence, HELLOs every second or so while they do not
 * answer; a direct path that stops answering is probed after 2 s and left for the relay after 8 s.
 */
import type { NodeAddress } from '../wire/address.js';
import { type InetAddress, remoteAddress } from '../wire/inetaddress.js';
import { emitPeerRecord, type PeerRecord } from '../wire/peer-record.js';
import {
  FULL_HELLO_MS,
  HOUSEKEEPING_MS,
  LOW_BANDWIDTH_PING_FACTOR,
  ONLINE_MS,
  PATH_HEARTBEAT_MS,
  PATH_PROBE_MS,
  PATH_PROVE_MS,
  PEER_ACTIVITY_MS,
  PING_CHECK_MS,
  STORE_UNCHANGED_MS,
  UPSTREAM_HEARTBEAT_MS,
  UPSTREAM_RETRY_MS,
} from './constants.js';
import type { Contact } from './contact.js';
import { UNKNOWN_LATENCY } from './latency.js';
import type { Path } from './path.js';
import { Peer } from './peer.js';
import type { Relay } from './relay.js';
import type { Vl1State } from './state.js';
import type { Whois } from './whois.js';

/** Unanswered contacts of an upstream before the pace drops to the reference's 5 s. */
const FAST_RETRIES = 10;
/** A changed record of a peer is rewritten at most this often. */
const STORE_EVERY_MS = 300_000;

export class Keeper {
  readonly #s: Vl1State;
  readonly #contact: Contact;
  readonly #whois: Whois;
  readonly #relay: Relay;
  #pingCheckAt = Number.NEGATIVE_INFINITY;
  #housekeepingAt = Number.NEGATIVE_INFINITY;
  /** Further peers that networks want kept in touch (anchors, replicators). */
  alwaysContact: () => Iterable<NodeAddress> = () => [];

  constructor(state: Vl1State, contact: Contact, whois: Whois, relay: Relay) {
    this.#s = state;
    this.#contact = contact;
    this.#whois = whois;
    this.#relay = relay;
  }

  /** Everything due now; harmless when early or repeated. */
  run(): void {
    const now = this.#s.now;
    this.#contactUpstreams();
    if (now - this.#pingCheckAt >= this.#pingCheckMs()) {
      this.#pingCheckAt = now;
      this.#pingPeers();
    }
    this.#probeSilentPaths();
    if (now - this.#housekeepingAt >= HOUSEKEEPING_MS) {
      this.#housekeepingAt = now;
      this.#housekeeping();
    }
  }

  #pingCheckMs(): number {
    return this.#s.physical.lowBandwidth
      ? PING_CHECK_MS * LOW_BANDWIDTH_PING_FACTOR
      : PING_CHECK_MS;
  }

  /** We have new addresses: trusted peers are told with their next packet. */
  pushAnew(): void {
    for (const peer of this.#s.peers.values()) peer.lastPathPushAt = Number.NEGATIVE_INFINITY;
  }

  /**
   * Sockets came or went: upstreams get a HELLO from all there are, so that they learn the new ones;
   * those that lost their path with the next tick.
   */
  socketsChanged(): void {
    for (const [address, up] of this.#s.topology.upstreams) {
      const peer = this.#s.peer(address);
      if (peer === undefined) continue;
      peer.unansweredContacts = 0;
      peer.lastContactAt = Number.NEGATIVE_INFINITY;
      if (peer.slots.length > 0) this.#helloEndpoints(peer, up.endpoints);
    }
  }

  isOnline(): boolean {
    if (this.#s.topology.amUpstream) return true;
    for (const address of this.#s.topology.upstreams.keys()) {
      const peer = this.#s.peer(address);
      if (peer !== undefined && this.#s.now - peer.lastReceiveAt < ONLINE_MS) return true;
    }
    return false;
  }

  #contactUpstreams(): void {
    for (const [address, up] of this.#s.topology.upstreams) {
      const peer = this.#s.peer(address) ?? this.#s.addPeer(up.identity);
      if (peer !== undefined) this.#keepUpstream(peer, up.endpoints);
    }
    for (const seed of this.#s.topology.wanted.values()) this.#askSeed(seed);
    for (const address of this.alwaysContact()) this.#keepRelayed(address);
  }

  #keepUpstream(peer: Peer, endpoints: readonly InetAddress[]): void {
    const now = this.#s.now;
    const path = peer.directPath(now);
    if (path !== undefined) {
      if (now - peer.lastFullHelloAt >= FULL_HELLO_MS) {
        peer.lastFullHelloAt = now;
        peer.latencies.observe(path.latency);
        for (const slot of peer.slots)
          if (!Peer.isExpired(slot, now)) this.#contact.contactPath(peer, slot.path, true);
      } else if (now - Math.max(path.lastInAt, path.lastOutAt) >= UPSTREAM_HEARTBEAT_MS) {
        this.#contact.contactPath(peer, path, false);
      }
      return;
    }
    const pace = peer.unansweredContacts < FAST_RETRIES ? UPSTREAM_RETRY_MS : PING_CHECK_MS;
    if (now - peer.lastContactAt < pace) return;
    peer.lastContactAt = now;
    peer.unansweredContacts++;
    if (!this.#helloEndpoints(peer, endpoints)) this.#helloByRelay(peer);
  }

  /** HELLO to one endpoint of each family, another one each time. @returns whether one was sent. */
  #helloEndpoints(peer: Peer, endpoints: readonly InetAddress[]): boolean {
    let sent = false;
    for (const family of [4, 6] as const) {
      if (!this.#s.sockets.some((s) => s.family === family)) continue;
      const usable = endpoints.filter((e) => e.family === family);
      const pick = usable[Math.floor(this.#s.options.jitter.next() * usable.length)];
      if (pick === undefined) continue;
      this.#contact.hello(peer, remoteAddress(pick));
      sent = true;
    }
    if (sent) peer.lastFullHelloAt = this.#s.now;
    return sent;
  }

  #helloByRelay(peer: Peer): void {
    const path = this.#s.bestUpstream(peer.address)?.directPath(this.#s.now);
    if (path !== undefined) this.#contact.hello(peer, path.remote, path.socket);
  }

  /** A moon is wanted from this node: only a full HELLO asks for it, whether we hear the node or not. */
  #askSeed(address: NodeAddress): void {
    const now = this.#s.now;
    const peer = this.#s.peer(address);
    if (peer === undefined) this.#whois.request(address, true);
    else if (now - peer.lastContactAt >= PING_CHECK_MS) {
      peer.lastContactAt = now;
      const path = peer.directPath(now);
      if (path === undefined) this.#helloByRelay(peer);
      else this.#contact.contactPath(peer, path, true);
    }
  }

  /** A peer without known endpoints: WHOIS, then HELLO through the relay, every 5 s until heard. */
  #keepRelayed(address: NodeAddress): void {
    const now = this.#s.now;
    const peer = this.#s.peer(address);
    if (peer === undefined) {
      this.#whois.request(address, true);
      return;
    }
    if (now - peer.lastReceiveAt < FULL_HELLO_MS || now - peer.lastContactAt < PING_CHECK_MS)
      return;
    peer.lastContactAt = now;
    this.#helloByRelay(peer);
  }

  #pingPeers(): void {
    const now = this.#s.now;
    for (const peer of this.#s.peers.values()) {
      peer.dropExpired(now);
      if (this.#s.topology.isUpstream(peer.address)) continue;
      if (now - peer.lastNontrivialAt < PEER_ACTIVITY_MS) this.#keepAlive(peer);
    }
  }

  #keepAlive(peer: Peer): void {
    const now = this.#s.now;
    peer.latencies.observe(peer.directPath(now)?.latency ?? UNKNOWN_LATENCY);
    const full = now - peer.lastFullHelloAt >= FULL_HELLO_MS;
    if (full) peer.lastFullHelloAt = now;
    for (const slot of peer.slots) {
      if (full || now - slot.path.lastOutAt >= PATH_HEARTBEAT_MS)
        this.#contact.contactPath(peer, slot.path, full);
    }
  }

  /** A path that we send into and that says or answers nothing gets an ECHO every 2 s until it does. */
  #probeSilentPaths(): void {
    const now = this.#s.now;
    for (const peer of this.#s.peers.values()) {
      for (const slot of peer.slots) {
        const path = slot.path;
        const silentFor = this.#silentFor(path);
        if (silentFor === undefined) continue;
        if (Peer.isExpired(slot, now) || now - peer.lastContactAt < PATH_PROBE_MS) continue;
        // A path that died is only probed for a minute: after that the 60 s HELLO finds it again.
        if (silentFor > FULL_HELLO_MS) continue;
        peer.lastContactAt = now;
        // A root that was restarted may not know us: only a HELLO is answered then.
        const full = this.#s.topology.isUpstream(peer.address) && path.isSilent(now);
        this.#contact.contact(peer, path.remote, path.socket, full);
      }
    }
  }

  /** How long a path owes us something; undefined while that is not worth a test. */
  #silentFor(path: Path): number | undefined {
    const now = this.#s.now;
    if (path.isSilent(now)) return now - path.unansweredSince;
    const unproven = path.unprovenMs(now);
    return unproven >= PATH_PROVE_MS ? unproven : undefined;
  }

  #housekeeping(): void {
    const now = this.#s.now;
    const used = new Set<Path>();
    for (const peer of this.#s.peers.values()) {
      if (!this.#s.topology.isUpstream(peer.address) && now - peer.activeAt >= PEER_ACTIVITY_MS) {
        if (peer.lastReceiveAt > Number.NEGATIVE_INFINITY) this.storePeer(peer);
        this.#s.peers.delete(peer.address);
        this.remember(peer);
        continue;
      }
      if (this.#isStoreDue(peer)) this.storePeer(peer);
      for (const slot of peer.slots) used.add(slot.path);
      for (const path of peer.confirmedAt.keys()) used.add(path);
    }
    this.#s.paths.sweep(used);
    this.#s.surface.sweep(now);
    this.#s.reassembly.sweep(now);
    this.#s.expected.sweep(now);
    this.#relay.sweep();
    this.#whois.sweep();
  }

  /** A peer that left the table is known when it comes back. One that never spoke adds nothing to its record. */
  remember(peer: Peer): void {
    const wasHeard = peer.lastReceiveAt > Number.NEGATIVE_INFINITY;
    if (wasHeard || !this.#whois.isCached(peer.address)) this.#whois.addCached(recordOf(peer));
  }

  /** Peers that were heard are kept as they change: a killed process leaves fresh records. */
  #isStoreDue(peer: Peer): boolean {
    if (peer.lastReceiveAt === Number.NEGATIVE_INFINITY) return false;
    const age = this.#s.now - peer.lastStoredAt;
    return age >= (peer.isChanged ? STORE_EVERY_MS : STORE_UNCHANGED_MS);
  }

  /** Hands the peer's cache record to the host. */
  storePeer(peer: Peer): void {
    peer.isChanged = false;
    peer.lastStoredAt = this.#s.now;
    this.#s.out.storePeer(peer.address, emitPeerRecord(recordOf(peer)));
  }
}

/** What is kept of a peer that is dropped from memory [2 section 21]. */
function recordOf(peer: Peer): PeerRecord {
  const { protocol, major, minor, revision } = peer;
  return {
    identity: peer.identity,
    version: { protocol, major, minor, revision },
    endpoints: peer.slots.map((s) => s.path.remote),
  };
}
