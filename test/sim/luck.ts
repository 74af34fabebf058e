/** Seeded luck: every consumer has its own stream by label, so that nobody shifts another's. */
import { createHash } from 'node:crypto';
import type { Entropy, Jitter } from '#src/crypto/api.js';

/** Mulberry32: fast, seedable, good enough for luck; no secret outside a test depends on it. */
export class Luck implements Entropy, Jitter {
  #state: number;

  constructor(seed: number, label: string) {
    this.#state = createHash('sha256').update(`${seed}/${label}`).digest().readInt32LE(0);
  }

  /** 0 <= x < 1 */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let x = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  }

  fill(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) bytes[i] = Math.floor(this.next() * 256);
  }

  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  chance(p: number): boolean {
    return this.next() < p;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  bytes(len: number): Uint8Array {
    const out = new Uint8Array(len);
    this.fill(out);
    return out;
  }
}
