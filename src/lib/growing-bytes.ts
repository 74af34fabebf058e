/**
 * Bytes that come in parts and are wanted in one piece. They are held in one buffer that doubles:
 * parts may be many, short and empty, and cost nothing of their own.
 *
 * Invariant: what is held is at most twice the bytes that came. Who adds bounds them.
 */
const EMPTY = new Uint8Array(0);

export class GrowingBytes {
  #bytes = EMPTY;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Bytes of memory that are held, for tests. */
  get heldLen(): number {
    return this.#bytes.length;
  }

  /** Adds a copy of `part`. */
  add(part: Uint8Array): void {
    const length = this.#length + part.length;
    if (length > this.#bytes.length) {
      const bytes = new Uint8Array(Math.max(length, 2 * this.#bytes.length));
      bytes.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = bytes;
    }
    this.#bytes.set(part, this.#length);
    this.#length = length;
  }

  /** What came; nothing is held afterwards. */
  take(): Uint8Array {
    const all = this.#bytes.subarray(0, this.#length);
    this.#bytes = EMPTY;
    this.#length = 0;
    return all;
  }
}
