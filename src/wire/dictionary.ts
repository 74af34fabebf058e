/**
 * The `key=value` text used inside network configurations and requests [1 section 7.9].
 *
 * `DictionaryBuilder` writes it under a capacity; `Dictionary` reads it leniently, as the reference
 * does: first matching line wins, numbers are whatever leading hex digits there are.
 */
const U64_MAX = 0xffff_ffff_ffff_ffffn;
const S64_MAX = 0x7fff_ffff_ffff_ffffn;
const ESCAPES = new Map([
  [0x00, 0x30],
  [0x0d, 0x72],
  [0x0a, 0x6e],
  [0x5c, 0x5c],
  [0x3d, 0x65],
]);
const UNESCAPES = new Map([
  [0x30, 0x00],
  [0x72, 0x0d],
  [0x6e, 0x0a],
  [0x65, 0x3d],
]);

/** First size of a dictionary under construction: an ordinary configuration fits. */
const FIRST_LEN = 4096;

/** Escapes by byte; 0 = written as it is. */
const ESCAPE_OF = Uint8Array.from({ length: 256 }, (_, b) => ESCAPES.get(b) ?? 0);

export class DictionaryBuilder {
  readonly #maxLen: number;
  #out: Uint8Array;
  #len = 0;

  /** `capacity` includes a terminator that is not part of the text. */
  constructor(capacity: number) {
    this.#maxLen = Math.max(0, capacity - 1);
    this.#out = new Uint8Array(Math.min(this.#maxLen, FIRST_LEN));
  }

  /** Makes room for `more` bytes. @returns false when they would exceed the capacity. */
  #reserve(more: number): boolean {
    const need = this.#len + more;
    if (need > this.#maxLen) return false;
    if (need <= this.#out.length) return true;
    const grown = new Uint8Array(Math.min(this.#maxLen, Math.max(need, 2 * this.#out.length)));
    grown.set(this.#out.subarray(0, this.#len));
    this.#out = grown;
    return true;
  }

  /** Adds an entry. @returns false, with nothing added, when it does not fit. */
  bytes(key: string, value: Uint8Array): boolean {
    let escaped = 0;
    for (const b of value) if (ESCAPE_OF[b] !== 0) escaped++;
    const isFirst = this.#len === 0;
    if (!this.#reserve((isFirst ? 0 : 1) + key.length + 1 + value.length + escaped)) return false;
    const out = this.#out;
    let n = this.#len;
    if (!isFirst) out[n++] = 0x0a;
    for (let i = 0; i < key.length; i++) out[n++] = key.charCodeAt(i);
    out[n++] = 0x3d;
    for (const b of value) {
      const code = ESCAPE_OF[b]!;
      if (code !== 0) out[n++] = 0x5c;
      out[n++] = code !== 0 ? code : b;
    }
    this.#len = n;
    return true;
  }

  text(key: string, value: string): boolean {
    return this.bytes(key, new TextEncoder().encode(value));
  }

  /** 16 hex digits. A negative value loses its sign, as in the reference. */
  u64(key: string, value: bigint | number): boolean {
    const v = BigInt(value);
    return this.text(key, ((v < 0n ? -v : v) & U64_MAX).toString(16).padStart(16, '0'));
  }

  bool(key: string, value: boolean): boolean {
    return this.text(key, value ? '1' : '0');
  }

  build(): Uint8Array {
    return this.#out.slice(0, this.#len);
  }
}

export class Dictionary {
  readonly #lines = new Map<string, Uint8Array>();

  constructor(text: Uint8Array) {
    const nul = text.indexOf(0);
    const end = nul < 0 ? text.length : nul;
    let start = 0;
    for (let i = 0; i <= end; i++) {
      if (i < end && text[i] !== 0x0a && text[i] !== 0x0d) continue;
      this.#addLine(text.subarray(start, i));
      start = i + 1;
    }
  }

  #addLine(line: Uint8Array): void {
    const eq = line.indexOf(0x3d);
    if (eq < 0) return;
    let key = '';
    for (let i = 0; i < eq; i++) key += String.fromCharCode(line[i]!);
    if (!this.#lines.has(key)) this.#lines.set(key, line.subarray(eq + 1));
  }

  /** Unescaped value, or undefined when the key is absent. */
  bytes(key: string): Uint8Array | undefined {
    const raw = this.#lines.get(key);
    if (raw === undefined) return undefined;
    const out = new Uint8Array(raw.length);
    let n = 0;
    for (let i = 0; i < raw.length; i++) {
      let b = raw[i]!;
      if (b === 0x5c) {
        i++;
        if (i >= raw.length) break;
        b = UNESCAPES.get(raw[i]!) ?? raw[i]!;
      }
      out[n++] = b;
    }
    return out.subarray(0, n);
  }

  text(key: string): string | undefined {
    const b = this.bytes(key);
    return b === undefined ? undefined : new TextDecoder().decode(b);
  }

  /** A text field of the reference's fixed size: up to a zero byte, cut to `max` bytes; empty if absent. */
  textUpTo(key: string, max: number): string {
    const b = this.bytes(key) ?? new Uint8Array(0);
    const nul = b.indexOf(0);
    return textUpTo(nul < 0 ? b : b.subarray(0, nul), max);
  }

  #latin(key: string): string {
    const b = this.bytes(key);
    return b === undefined ? '' : String.fromCharCode(...b.subarray(0, 64));
  }

  /** Unsigned reading; `fallback` when absent or empty; saturates at 2^64-1, "-" wraps. */
  u64(key: string, fallback = 0n): bigint {
    const s = this.#latin(key);
    if (s === '') return fallback;
    const { negative, digits } = leadingHex(s);
    const v = digits > U64_MAX ? U64_MAX : digits;
    return negative && digits <= U64_MAX ? BigInt.asUintN(64, -v) : v;
  }

  /** Signed reading with the 64-bit limits. */
  s64(key: string, fallback = 0n): bigint {
    const s = this.#latin(key);
    if (s === '') return fallback;
    const { negative, digits } = leadingHex(s);
    if (negative) return digits > S64_MAX ? -S64_MAX - 1n : -digits;
    return digits > S64_MAX ? S64_MAX : digits;
  }

  /** Unsigned reading as a number; values above 2^53 lose precision. */
  number(key: string, fallback = 0): number {
    return Number(this.u64(key, BigInt(fallback)));
  }

  bool(key: string, fallback = false): boolean {
    const b = this.bytes(key);
    if (b === undefined) return fallback;
    return b[0] === 0x31 || b[0] === 0x74 || b[0] === 0x54;
  }
}

/** White space, sign, optional 0x, then as many hex digits as there are. */
function leadingHex(text: string): { negative: boolean; digits: bigint } {
  const m = /^[ \t\n\v\f\r]*([+-]?)(?:0[xX](?=[0-9a-fA-F]))?([0-9a-fA-F]*)/.exec(text);
  const digits = m?.[2] ?? '';
  return { negative: m?.[1] === '-', digits: digits === '' ? 0n : BigInt(`0x${digits}`) };
}

/** Bytes as text whose own bytes are at most `max`: what is not UTF-8 grows when it is decoded. */
export function textUpTo(bytes: Uint8Array, max: number): string {
  const chars = [...new TextDecoder().decode(bytes.subarray(0, max))];
  const encoder = new TextEncoder();
  let len = 0;
  const end = chars.findIndex((c) => {
    len += encoder.encode(c).length;
    return len > max;
  });
  return (end < 0 ? chars : chars.slice(0, end)).join('');
}
