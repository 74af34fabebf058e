/**
 * Identities on demand: WHOIS requests, packets that wait for an identity or for credentials, and
 * the cache of peers from earlier runs [2 section 9].
 */
import type { NodeAddress } from '../wire/address.js';
import { remoteAddress } from '../wire/inetaddress.js';
import { VERB } from '../wire/packet.js';
import type { PeerRecord } from '../wire/peer-record.js';
import {
  MAX_DEFERRED,
  MAX_PEERS,
  QUEUE_LIFE_MS,
  RECALLS_FOR_OTHERS_PER_SEC,
  WHOIS_FOR_OTHERS_PER_SEC,
  WHOIS_PER_SEC,
  WHOIS_RETRY_MS,
} from './constants.js';
import type { Contact } from './contact.js';
import type { Path } from './path.js';
import type { Peer } from './peer.js';
import type { Sender } from './sender.js';
import type { Vl1State } from './state.js';

/** Ours: addresses of a record that are tried; it may hold 64. */
const MAX_RECALLED_ENDPOINTS = 8;

export interface Deferred {
  readonly at: number;
  readonly path: Path;
  /** A whole packet of our own copy, sealed or (once `opened`) in clear. */
  readonly packet: Uint8Array;
  readonly source: NodeAddress;
  /** Set when the packet was authenticated and decompressed; then only the dispatch is repeated. */
  readonly opened: boolean;
  readonly packetId: bigint;
}

export class Whois {
  readonly #s: Vl1State;
  readonly #send: Sender;
  readonly #contact: Contact;
  readonly #askedAt = new Map<NodeAddress, number>();
  readonly #cache = new Map<NodeAddress, PeerRecord>();
  #deferred: Deferred[] = [];
  #secondStart = Number.NEGATIVE_INFINITY;
  #inSecond = 0;
  #recallsInSecond = 0;

  constructor(state: Vl1State, sender: Sender, contact: Contact) {
    this.#s = state;
    this.#send = sender;
    this.#contact = contact;
    sender.whois = (address) => this.request(address);
  }

  /** A record from an earlier run; believed for identity and version, its addresses are only tried. */
  addCached(record: PeerRecord): void {
    const { address } = record.identity;
    this.#cache.delete(address);
    if (this.#cache.size >= MAX_PEERS) {
      const oldest = this.#cache.keys().next().value;
      if (oldest !== undefined) this.#cache.delete(oldest);
    }
    this.#cache.set(address, record);
  }

  /**
   * Asks the best upstream, at most once per 500 ms and address. `forOthers` = not a packet of our
   * own waits for it: sources can be invented, so these get no more than their share.
   */
  request(address: NodeAddress, forOthers = false): void {
    if (address === this.#s.self.address) return;
    if (this.#cache.has(address) && this.#s.peer(address) === undefined) {
      const peer = forOthers ? this.recallForOthers(address) : this.recallAndContact(address);
      // Refused for now: its record makes a question needless, the packet that waits asks again.
      if (peer !== undefined || forOthers) return;
    }
    const asked = this.#askedAt.get(address);
    if (asked !== undefined && this.#s.now - asked < WHOIS_RETRY_MS) return;
    if (this.#askedAt.size >= MAX_PEERS || !this.#maySend(forOthers)) return;
    this.#askedAt.set(address, this.#s.now);
    const up = this.#s.bestUpstream(address);
    if (up === undefined) return;
    this.#send.begin(up.address, VERB.WHOIS).u40(address);
    this.#send.general(up.address);
  }

  #newSecond(): void {
    if (this.#s.now - this.#secondStart < 1_000) return;
    this.#secondStart = this.#s.now;
    this.#inSecond = 0;
    this.#recallsInSecond = 0;
  }

  #maySend(forOthers: boolean): boolean {
    this.#newSecond();
    const limit = forOthers ? WHOIS_FOR_OTHERS_PER_SEC : WHOIS_PER_SEC;
    if (this.#inSecond >= limit) {
      this.#s.counters.add('whoisThrottled');
      return false;
    }
    this.#inSecond++;
    return true;
  }

  isCached(address: NodeAddress): boolean {
    return this.#cache.has(address);
  }

  /**
   * Takes a peer of an earlier run into memory. Its identity and version are believed. The record stays:
   * a stranger can have it recalled in vain, and its addresses must not be forgotten for that.
   */
  recall(address: NodeAddress): Peer | undefined {
    const record = this.#cache.get(address);
    if (record === undefined || this.#s.peer(address) !== undefined) return undefined;
    const peer = this.#s.addPeer(record.identity);
    const v = record.version;
    peer?.setVersion(v.protocol, v.major, v.minor, v.revision);
    return peer;
  }

  /** Like `recall`, and tries the addresses at which the peer was [2 section 9.2]. */
  recallAndContact(address: NodeAddress): Peer | undefined {
    const endpoints = this.#cache.get(address)?.endpoints ?? [];
    const peer = this.recall(address);
    if (peer === undefined) return undefined;
    for (const e of endpoints.slice(0, MAX_RECALLED_ENDPOINTS)) {
      if (this.#s.isPathAllowed(address, e)) this.#contact.hello(peer, remoteAddress(e));
    }
    return peer;
  }

  /** The same for a datagram that nobody authenticated yet: its addresses can be invented. */
  recallForOthers(address: NodeAddress): Peer | undefined {
    if (!this.#cache.has(address)) return undefined;
    this.#newSecond();
    if (this.#recallsInSecond >= RECALLS_FOR_OTHERS_PER_SEC) {
      this.#s.counters.add('recallGated');
      return undefined;
    }
    this.#recallsInSecond++;
    return this.recallAndContact(address);
  }

  learned(address: NodeAddress): void {
    this.#askedAt.delete(address);
  }

  /** Full: the oldest packet that nobody vouched for makes room, else the oldest. */
  defer(d: Deferred): void {
    if (this.#deferred.length >= MAX_DEFERRED) {
      const unproved = this.#deferred.findIndex((x) => !x.opened);
      this.#deferred.splice(Math.max(0, unproved), 1);
      this.#s.counters.add('deferredFull');
    }
    this.#deferred.push(d);
  }

  /**
   * Runs `again` over the waiting packets (all, or those from one source). It returns whether a
   * packet is to wait on; those older than 5 s are given up.
   */
  retry(again: (d: Deferred) => boolean, source?: NodeAddress): void {
    if (this.#deferred.length === 0) return;
    const waiting = this.#deferred;
    this.#deferred = [];
    for (const d of waiting) {
      if (source !== undefined && d.source !== source) this.#deferred.push(d);
      else if (!again(d)) continue;
      else if (this.#s.now - d.at >= QUEUE_LIFE_MS) this.#s.counters.add('deferredExpired');
      else this.#deferred.push(d);
    }
  }

  sweep(): void {
    for (const [a, at] of this.#askedAt) if (this.#s.now - at > 1_000) this.#askedAt.delete(a);
  }

  get isWaiting(): boolean {
    return this.#deferred.length > 0;
  }
}
