/**
 * What we hold of one other member: its credentials, revocation thresholds, and when we told it
 * ours [3 section 7].
 */
import type { Primitives } from '../crypto/api.js';
import { equalBytes } from '../lib/bytes.js';
import type { NodeAddress } from '../wire/address.js';
import { type Com, comAgrees, comSignedBytes, comTimestamp, equalComs } from '../wire/com.js';
import {
  type Capability,
  CREDENTIAL,
  capabilitySignedBytes,
  type Ownership,
  ownershipSignedBytes,
  type Revocation,
  revocationSignedBytes,
  type Tag,
  tagSignedBytes,
  verifyCapability,
  verifySigned,
} from '../wire/credentials.js';
import type { Identity } from '../wire/identity.js';

const LONG_AGO = Number.NEGATIVE_INFINITY;
/**
 * Ours: credentials of one kind and thresholds kept per member; a controller issues at most so many of a
 * kind at a time. One more drives out the oldest: what is older than the window of time counts no more.
 */
export const MAX_PER_KIND = 128;
export const MAX_THRESHOLDS = 512;

export type Stored = 'new' | 'known' | 'rejected' | 'unknownSigner';

/** Looks up identities; undefined = not known yet. */
export interface Verifier {
  readonly primitives: Primitives;
  readonly controller: NodeAddress;
  identityOf(address: NodeAddress): Identity | undefined;
}

interface Dated {
  readonly timestamp: bigint;
  readonly id: number;
}

/** The entry with the lowest time, of a map that is not empty. */
function oldestOf<K, V>(map: ReadonlyMap<K, V>, time: (v: V) => bigint): [K, V] {
  return [...map].reduce((oldest, e) => (time(e[1]) < time(oldest[1]) ? e : oldest));
}

export class Membership {
  com: Com | undefined;
  comThreshold = 0n;
  readonly #tags = new Map<number, Tag>();
  readonly #capabilities = new Map<number, Capability>();
  readonly #ownerships = new Map<number, Ownership>();
  readonly #thresholds = new Map<string, bigint>();
  /** The member's MAC on this network, once it was needed. */
  mac: Uint8Array | undefined;
  /** Monotonic ms. */
  pushedAt = LONG_AGO;
  announcedAt = LONG_AGO;
  errorSentAt = LONG_AGO;

  storeCom(v: Verifier, com: Com): Stored {
    const ts = comTimestamp(com);
    if (ts <= this.comThreshold) return 'rejected';
    if (this.com !== undefined) {
      if (ts < comTimestamp(this.com)) return 'rejected';
      if (equalComs(this.com, com)) return 'known';
    }
    if (com.signer !== v.controller) return 'rejected';
    const controller = v.identityOf(v.controller);
    if (controller === undefined) return 'unknownSigner';
    if (!v.primitives.verify(controller.publicKey, comSignedBytes(com), com.signature))
      return 'rejected';
    this.com = com;
    return 'new';
  }

  storeTag(v: Verifier, tag: Tag): Stored {
    return this.#store(this.#tags, CREDENTIAL.TAG, tag, tagSignedBytes, () =>
      this.#bySigner(v, tag.signer, tagSignedBytes(tag), tag.signature),
    );
  }

  storeOwnership(v: Verifier, c: Ownership): Stored {
    return this.#store(this.#ownerships, CREDENTIAL.COO, c, ownershipSignedBytes, () =>
      this.#bySigner(v, c.signer, ownershipSignedBytes(c), c.signature),
    );
  }

  storeCapability(v: Verifier, c: Capability): Stored {
    return this.#store(this.#capabilities, CREDENTIAL.CAPABILITY, c, capabilitySignedBytes, () => {
      const ok = verifyCapability(v.primitives, v.controller, c, (a) => v.identityOf(a));
      return typeof ok === 'number' ? 'unknownSigner' : ok ? 'new' : 'rejected';
    });
  }

  #bySigner(v: Verifier, signer: NodeAddress, bytes: Uint8Array, signature: Uint8Array): Stored {
    const controller = v.identityOf(v.controller);
    if (signer !== v.controller) return 'rejected';
    if (controller === undefined) return 'unknownSigner';
    return verifySigned(v.primitives, controller, signer, bytes, signature) ? 'new' : 'rejected';
  }

  #store<T extends Dated>(
    held: Map<number, T>,
    type: number,
    item: T,
    signedBytes: (x: T) => Uint8Array,
    verify: () => Stored,
  ): Stored {
    const old = held.get(item.id);
    if (old !== undefined) {
      if (old.timestamp > item.timestamp) return 'rejected';
      if (old.timestamp === item.timestamp && equalBytes(signedBytes(old), signedBytes(item)))
        return 'known';
    }
    const oldest =
      old === undefined && held.size >= MAX_PER_KIND
        ? oldestOf(held, (x) => x.timestamp)
        : undefined;
    if (oldest !== undefined && oldest[1].timestamp >= item.timestamp) return 'rejected';
    if (this.#isRevoked(type, item)) return 'rejected';
    const result = verify();
    if (result !== 'new') return result;
    if (oldest !== undefined) held.delete(oldest[0]);
    held.set(item.id, item);
    return 'new';
  }

  #isRevoked(type: number, item: Dated): boolean {
    const threshold = this.#thresholds.get(`${type}:${item.id}`);
    return threshold !== undefined && threshold >= item.timestamp;
  }

  storeRevocation(v: Verifier, r: Revocation): Stored {
    const verdict = this.#bySigner(v, r.signer, revocationSignedBytes(r), r.signature);
    if (verdict !== 'new') return verdict;
    if (r.type === CREDENTIAL.COM) return this.#raiseComThreshold(r.threshold);
    if (r.type !== CREDENTIAL.CAPABILITY && r.type !== CREDENTIAL.TAG && r.type !== CREDENTIAL.COO)
      return 'rejected';
    const key = `${r.type}:${r.credentialId}`;
    const old = this.#thresholds.get(key);
    if (old !== undefined && old >= r.threshold) return 'known';
    if (old === undefined && this.#thresholds.size >= MAX_THRESHOLDS) {
      const [oldest, threshold] = oldestOf(this.#thresholds, (x) => x);
      if (threshold >= r.threshold) return 'rejected';
      this.#thresholds.delete(oldest);
    }
    this.#thresholds.set(key, r.threshold);
    // As the reference does, revoking one of these also voids older memberships [3 section 7.2]. It
    // never gives back one that was revoked: an old revocation can be sent again by anybody.
    this.#raiseComThreshold(r.threshold);
    return 'new';
  }

  #raiseComThreshold(threshold: bigint): Stored {
    if (threshold <= this.comThreshold) return 'known';
    this.comThreshold = threshold;
    return 'new';
  }

  /** Whether this member may talk to us [3 section 7.3], the network being private. */
  isAllowed(p: Primitives, mine: Com | undefined, identity: Identity): boolean {
    if (mine === undefined || this.com === undefined) return false;
    if (comTimestamp(this.com) <= this.comThreshold) return false;
    return comAgrees(p, mine, this.com, identity);
  }

  #counts(type: number, item: Dated, timestamp: bigint, maxDelta: bigint): boolean {
    const delta =
      item.timestamp > timestamp ? item.timestamp - timestamp : timestamp - item.timestamp;
    return delta <= maxDelta && !this.#isRevoked(type, item);
  }

  /** Credentials that count at the configuration's time [3 section 7.2]. */
  tag(id: number, timestamp: bigint, maxDelta: bigint): Tag | undefined {
    const t = this.#tags.get(id);
    return t !== undefined && this.#counts(CREDENTIAL.TAG, t, timestamp, maxDelta) ? t : undefined;
  }

  capabilities(timestamp: bigint, maxDelta: bigint): Capability[] {
    return [...this.#capabilities.values()]
      .filter((c) => this.#counts(CREDENTIAL.CAPABILITY, c, timestamp, maxDelta))
      .sort((a, b) => a.id - b.id);
  }

  ownerships(timestamp: bigint, maxDelta: bigint): Ownership[] {
    return [...this.#ownerships.values()].filter((c) =>
      this.#counts(CREDENTIAL.COO, c, timestamp, maxDelta),
    );
  }
}
