/**
 * Requests whose OK we await, by full 64-bit packet id [2 section 3.1, ADVICE]. An OK counts only from
 * the node that was asked and about the verb that was sent: whoever was asked anything knows one id, and
 * whoever relays for us reads them all. Bounded, oldest out first.
 */
import type { NodeAddress } from '../wire/address.js';
import { VERB } from '../wire/packet.js';
import { EXPECT_LIFE_MS, MAX_EXPECTED } from './constants.js';

interface Asked {
  readonly at: number;
  readonly of: NodeAddress;
  /** The verb that an OK about the request names. */
  readonly verb: number;
}

export class ExpectedReplies {
  readonly #asked = new Map<bigint, Asked>();

  /** `verb` is that of the request. */
  add(now: number, id: bigint, of: NodeAddress, verb: number): void {
    if (this.#asked.size >= MAX_EXPECTED) {
      const oldest = this.#asked.keys().next().value;
      if (oldest !== undefined) this.#asked.delete(oldest);
    }
    this.#asked.delete(id);
    // The acknowledgement of a pushed configuration is labelled as that of an ECHO [3 section 2.6].
    this.#asked.set(id, { at: now, of, verb: verb === VERB.NETWORK_CONFIG ? VERB.ECHO : verb });
  }

  /** One request may be answered several times (HELLO copies, chunks), so a match is not used up. */
  has(now: number, id: bigint, from: NodeAddress, inReVerb: number): boolean {
    const asked = this.#asked.get(id);
    return (
      asked !== undefined &&
      now - asked.at < EXPECT_LIFE_MS &&
      asked.of === from &&
      asked.verb === inReVerb
    );
  }

  sweep(now: number): void {
    for (const [id, { at }] of this.#asked) {
      if (now - at < EXPECT_LIFE_MS) return;
      this.#asked.delete(id);
    }
  }
}
