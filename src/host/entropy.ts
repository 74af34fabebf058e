/** The two sources of randomness of a node: the operating system's for secrets, a plain one for spread. */
import { randomFillSync } from 'node:crypto';
import type { Entropy, Jitter } from '../crypto/api.js';

const POOL_LEN = 4096;

/** Serves small requests out of a pool: a packet id costs no system call of its own. */
export class PooledEntropy implements Entropy {
  readonly #pool = new Uint8Array(POOL_LEN);
  #used = POOL_LEN;

  fill(bytes: Uint8Array): void {
    if (bytes.length > POOL_LEN / 4) {
      randomFillSync(bytes);
      return;
    }
    if (this.#used + bytes.length > POOL_LEN) {
      randomFillSync(this.#pool);
      this.#used = 0;
    }
    const end = this.#used + bytes.length;
    bytes.set(this.#pool.subarray(this.#used, end));
    // What was handed out is not kept.
    this.#pool.fill(0, this.#used, end);
    this.#used = end;
  }
}

export const mathJitter: Jitter = { next: () => Math.random() };
