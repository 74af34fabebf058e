/** Packet ids whose OK we await, by full 64-bit id [2 section 3.1, ADVICE]. Bounded, oldest out first. */
import { EXPECT_LIFE_MS, MAX_EXPECTED } from './constants.js';

export class ExpectedReplies {
  readonly #ids = new Map<bigint, number>();

  add(now: number, id: bigint): void {
    if (this.#ids.size >= MAX_EXPECTED) {
      const oldest = this.#ids.keys().next().value;
      if (oldest !== undefined) this.#ids.delete(oldest);
    }
    this.#ids.delete(id);
    this.#ids.set(id, now);
  }

  /** One request may be answered several times (HELLO copies, chunks), so a match is not used up. */
  has(now: number, id: bigint): boolean {
    const at = this.#ids.get(id);
    return at !== undefined && now - at < EXPECT_LIFE_MS;
  }

  sweep(now: number): void {
    for (const [id, at] of this.#ids) {
      if (now - at < EXPECT_LIFE_MS) return;
      this.#ids.delete(id);
    }
  }
}
