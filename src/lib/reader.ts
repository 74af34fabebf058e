/**
 * Bounds-checked big-endian cursor over received bytes.
 *
 * Reading past the end never throws: it sets `failed`, returns zeros (or an empty view), and every
 * later read fails too. A parser reads all its fields and asks `failed` once before it believes
 * any of them.
 */
export class Reader {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #end: number;
  pos: number;
  failed = false;

  constructor(bytes: Uint8Array, pos = 0, end = bytes.length) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.pos = pos;
    this.#end = Math.min(end, bytes.length);
  }

  get remaining(): number {
    return this.#end - this.pos;
  }

  /** Claims `len` bytes. @returns their offset, or -1 when they are not all there. */
  #take(len: number): number {
    if (this.failed || len < 0 || len > this.#end - this.pos) {
      this.failed = true;
      return -1;
    }
    const at = this.pos;
    this.pos += len;
    return at;
  }

  u8(): number {
    const at = this.#take(1);
    return at < 0 ? 0 : this.#view.getUint8(at);
  }

  u16(): number {
    const at = this.#take(2);
    return at < 0 ? 0 : this.#view.getUint16(at);
  }

  u32(): number {
    const at = this.#take(4);
    return at < 0 ? 0 : this.#view.getUint32(at);
  }

  /** 40-bit address. */
  u40(): number {
    const at = this.#take(5);
    return at < 0 ? 0 : this.#view.getUint8(at) * 2 ** 32 + this.#view.getUint32(at + 1);
  }

  u64(): bigint {
    const at = this.#take(8);
    return at < 0 ? 0n : this.#view.getBigUint64(at);
  }

  /** 64-bit milliseconds as a number: exact below 2^53, rounded above (comparison only). */
  u64AsNumber(): number {
    const at = this.#take(8);
    return at < 0 ? 0 : this.#view.getUint32(at) * 2 ** 32 + this.#view.getUint32(at + 4);
  }

  /** A view (not a copy) of the next `len` bytes. */
  take(len: number): Uint8Array {
    const at = this.#take(len);
    return at < 0 ? new Uint8Array(0) : this.bytes.subarray(at, at + len);
  }

  /** A copy of the next `len` bytes. */
  copy(len: number): Uint8Array {
    return this.take(len).slice();
  }

  skip(len: number): void {
    this.#take(len);
  }

  rest(): Uint8Array {
    return this.take(this.remaining);
  }

  fail(): void {
    this.failed = true;
  }
}
