/**
 * What we know of one other node: identity, key, announced version, paths and timers
 * [2 sections 9.1, 12]. Pure state; sending is vl1's business.
 */
import type { PeerKey } from '../crypto/api.js';
import type { NodeAddress } from '../wire/address.js';
import type { Identity } from '../wire/identity.js';
import { sameIp } from '../wire/inetaddress.js';
import { PROTOCOL_VERSION_AES } from '../wire/packet.js';
import { MAX_PATHS_PER_PEER, PATH_EXPIRY_MS, PATH_SILENT_MS, TRUST_MS } from './constants.js';
import { LatencyHistogram } from './latency.js';
import type { Path } from './path.js';

const LONG_AGO = Number.NEGATIVE_INFINITY;

export interface PathSlot {
  readonly path: Path;
  /** Last authenticated direct packet of this peer over it. */
  lastAuthAt: number;
}

export class Peer {
  readonly address: NodeAddress;
  readonly identity: Identity;
  readonly key: PeerKey;
  protocol = 0;
  major = 0;
  minor = 0;
  revision = 0;
  readonly slots: PathSlot[] = [];

  lastReceiveAt = LONG_AGO;
  lastNontrivialAt = LONG_AGO;
  lastTrustAt = LONG_AGO;
  lastFullHelloAt = LONG_AGO;
  lastPathPushAt = LONG_AGO;
  lastWhoisAt = LONG_AGO;
  lastHintAt = LONG_AGO;
  lastStoredAt = LONG_AGO;
  pushReceivedAt = LONG_AGO;
  pushCount = 0;
  /** Authenticated packets from it, packets sealed for it, ERRORs from it. */
  packetsIn = 0;
  packetsOut = 0;
  errorsIn = 0;
  readonly latencies = new LatencyHistogram();
  /** The cache record differs from the one last stored. */
  isChanged = true;
  /** Contacts of an upstream that got no answer in a row. */
  unansweredContacts = 0;
  lastContactAt = LONG_AGO;
  /** When a full HELLO was last sent to confirm an unknown path, by path. */
  readonly confirmedAt = new Map<Path, number>();

  /** When the record was made: counts as activity for as long as the peer says nothing. */
  readonly addedAt: number;

  /** Whether we send AES-GMAC-SIV to peers that take it; otherwise Salsa20/12, which all take. */
  readonly #sendsAes: boolean;

  constructor(identity: Identity, key: PeerKey, now: number, sendsAes: boolean) {
    this.addedAt = now;
    this.#sendsAes = sendsAes;
    this.address = identity.address;
    this.identity = identity;
    this.key = key;
  }

  /**
   * Suite for packets to this peer [1 section 5.7]. A node that asks for Salsa20/12 also sends it:
   * every peer takes it, and the node was told that it is the faster one here.
   */
  get suite(): 1 | 3 {
    return this.#sendsAes && this.protocol >= PROTOCOL_VERSION_AES ? 3 : 1;
  }

  /** When it was last heard; while it said nothing yet, when it became known. */
  get activeAt(): number {
    return Math.max(this.lastReceiveAt, this.addedAt);
  }

  /** Whether path tests may be ECHOs [2 section 12.4]. */
  get takesEcho(): boolean {
    return this.protocol >= 5 && !(this.major === 1 && this.minor === 1 && this.revision === 0);
  }

  isTrusted(now: number): boolean {
    return now - this.lastTrustAt < TRUST_MS;
  }

  slotOf(path: Path): PathSlot | undefined {
    return this.slots.find((s) => s.path === path);
  }

  static isExpired(slot: PathSlot, now: number): boolean {
    return now - slot.lastAuthAt >= PATH_EXPIRY_MS;
  }

  /**
   * A path that answers: not expired, and not for PATH_SILENT_MS silent, or without an answer,
   * while we were sending into it [2 section 13.1, ADVICE]; the reference goes on for 243 s.
   */
  static isUsable(slot: PathSlot, now: number): boolean {
    if (Peer.isExpired(slot, now) || slot.path.unprovenMs(now) >= PATH_SILENT_MS) return false;
    const since = slot.path.unansweredSince;
    return since === LONG_AGO || now - since < PATH_SILENT_MS;
  }

  /** Best slot by quality; later slots win ties [2 section 13.1]. */
  bestSlot(now: number, eligible: (s: PathSlot) => boolean): PathSlot | undefined {
    let best: PathSlot | undefined;
    let bestQuality = Number.POSITIVE_INFINITY;
    for (const slot of this.slots) {
      if (!eligible(slot)) continue;
      const q = slot.path.quality(now);
      if (q <= bestQuality) {
        best = slot;
        bestQuality = q;
      }
    }
    return best;
  }

  /** The direct path to send on, or undefined: relay. */
  directPath(now: number): Path | undefined {
    return this.bestSlot(now, (s) => Peer.isUsable(s, now))?.path;
  }

  /** Best path that is not expired, however silent. */
  unexpiredPath(now: number): Path | undefined {
    return this.bestSlot(now, (s) => !Peer.isExpired(s, now))?.path;
  }

  /** Best path of all, expired or not. */
  anyPath(now: number): Path | undefined {
    return this.bestSlot(now, () => true)?.path;
  }

  /** Learns a path that answered us [2 section 12.3, LEARN]. */
  learn(now: number, path: Path): void {
    const slot: PathSlot = { path, lastAuthAt: now };
    this.isChanged = true;
    const stale = this.slots.findIndex(
      (s) =>
        s.path.socket === path.socket &&
        sameIp(s.path.remote, path.remote) &&
        !s.path.isAnswering(now),
    );
    if (stale >= 0) {
      this.slots[stale] = slot;
      return;
    }
    if (this.slots.length < MAX_PATHS_PER_PEER) {
      this.slots.push(slot);
      return;
    }
    let oldest = 0;
    for (let i = 1; i < this.slots.length; i++) {
      if (this.slots[i]!.path.lastInAt < this.slots[oldest]!.path.lastInAt) oldest = i;
    }
    this.slots[oldest] = slot;
  }

  /** Drops the paths that `keep` refuses. */
  keepSlots(keep: (slot: PathSlot) => boolean): void {
    for (let i = this.slots.length - 1; i >= 0; i--)
      if (!keep(this.slots[i]!)) this.slots.splice(i, 1);
  }

  dropExpired(now: number): void {
    this.keepSlots((slot) => !Peer.isExpired(slot, now));
    for (const [path, at] of this.confirmedAt) if (now - at > 5_000) this.confirmedAt.delete(path);
  }

  setVersion(protocol: number, major: number, minor: number, revision: number): void {
    const isSame =
      protocol === this.protocol &&
      major === this.major &&
      minor === this.minor &&
      revision === this.revision;
    if (!isSame) this.isChanged = true;
    this.protocol = protocol;
    this.major = major;
    this.minor = minor;
    this.revision = revision;
  }
}
