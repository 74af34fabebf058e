/**
 * Memory for the bytes of outputs: valid until the next `reset`, which the owner calls when the
 * next input arrives. Grows by whole blocks under load and keeps at most two of them.
 */
const BLOCK_LEN = 256 * 1024;

export class Arena {
  #block = new Uint8Array(BLOCK_LEN);
  #used = 0;
  readonly #poison: boolean;

  /** With `poison`, expired bytes are overwritten with 0xDB, so that a late reader is loud. */
  constructor(poison = false) {
    this.#poison = poison;
  }

  reset(): void {
    if (this.#poison) this.#block.fill(0xdb, 0, this.#used);
    this.#used = 0;
  }

  /** `len` writable bytes with undefined content. */
  alloc(len: number): Uint8Array {
    if (this.#used + len > this.#block.length) {
      // The old block stays alive through the views handed out of it.
      this.#block = new Uint8Array(Math.max(BLOCK_LEN, len));
      this.#used = 0;
    }
    const out = this.#block.subarray(this.#used, this.#used + len);
    this.#used += len;
    return out;
  }

  copy(bytes: Uint8Array): Uint8Array {
    const out = this.alloc(bytes.length);
    out.set(bytes);
    return out;
  }
}
