/**
 * The padding that a pending connect() keeps in its stream [5 section 4, D4]: unknown until the
 * program announces it, then read and skipped before the program's own bytes.
 */

/** WAITCONN without padding of its own [5 section 5.6]. */
const UNCHANGED = 0xffffffff;

export class Padding {
  /** Bytes still unread on the stream; undefined = not announced yet. */
  #left: number | undefined = 0;
  /** Unread padding of an earlier, failed connect on the same stream. */
  #old = 0;

  get isAnnounced(): boolean {
    return this.#left !== undefined;
  }

  get isRead(): boolean {
    return this.#left === 0;
  }

  /** A connect began: its padding is to be announced. */
  begin(): void {
    this.#old = this.#left ?? 0;
    this.#left = undefined;
  }

  /** @returns whether this was the announcement that was due. */
  announce(count: number): boolean {
    if (this.#left !== undefined || count === UNCHANGED) return false;
    this.#left = this.#old + count;
    return true;
  }

  /** The bytes behind the padding. */
  skip(bytes: Uint8Array): Uint8Array {
    const left = this.#left ?? 0;
    const skipped = Math.min(left, bytes.length);
    if (skipped > 0) this.#left = left - skipped;
    return bytes.subarray(skipped);
  }
}
