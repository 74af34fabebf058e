/**
 * Big-endian cursor for building messages into a buffer of the caller's.
 *
 * Writing past the end is our own bug, never a peer's: it throws RangeError.
 */
export class Writer {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  pos: number;

  constructor(bytes: Uint8Array, pos = 0) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.pos = pos;
  }

  /** A writer over a new buffer of `capacity` bytes. */
  static of(capacity: number): Writer {
    return new Writer(new Uint8Array(capacity));
  }

  #claim(len: number): number {
    const at = this.pos;
    if (at + len > this.bytes.length) {
      throw new RangeError(`message needs ${at + len} bytes, buffer has ${this.bytes.length}`);
    }
    this.pos = at + len;
    return at;
  }

  get room(): number {
    return this.bytes.length - this.pos;
  }

  u8(v: number): this {
    this.#view.setUint8(this.#claim(1), v);
    return this;
  }

  u16(v: number): this {
    this.#view.setUint16(this.#claim(2), v);
    return this;
  }

  u32(v: number): this {
    this.#view.setUint32(this.#claim(4), v);
    return this;
  }

  /** 40-bit address. */
  u40(v: number): this {
    const at = this.#claim(5);
    this.#view.setUint8(at, Math.floor(v / 2 ** 32));
    this.#view.setUint32(at + 1, v % 2 ** 32);
    return this;
  }

  u64(v: bigint): this {
    this.#view.setBigUint64(this.#claim(8), v);
    return this;
  }

  /** Non-negative integer below 2^53 as 64 bits. */
  u64FromNumber(v: number): this {
    const at = this.#claim(8);
    this.#view.setUint32(at, Math.floor(v / 2 ** 32));
    this.#view.setUint32(at + 4, v % 2 ** 32);
    return this;
  }

  put(bytes: Uint8Array): this {
    this.bytes.set(bytes, this.#claim(bytes.length));
    return this;
  }

  zeros(len: number): this {
    const at = this.#claim(len);
    this.bytes.fill(0, at, at + len);
    return this;
  }

  /** View of what was written from `from` on. */
  done(from = 0): Uint8Array {
    return this.bytes.subarray(from, this.pos);
  }
}
