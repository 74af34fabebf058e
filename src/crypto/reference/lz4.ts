/** LZ4 block format in plain arrays [1 section 6]; slow, for tests. */

// [1 section 6] largest payload, and the end-of-block rules.
const PAYLOAD_MAX_LEN = 9996;
const MIN_MATCH = 4;
const LAST_LITERALS = 5;
const MATCH_START_LIMIT = 12;
/** Status of a block that cannot be decoded. */
const MALFORMED = -1;

class Input {
  #at = 0;
  constructor(readonly bytes: Uint8Array) {}

  get isAtEnd(): boolean {
    return this.#at === this.bytes.length;
  }

  /** The next byte, undefined at the end. */
  byte(): number | undefined {
    return this.bytes[this.#at++];
  }

  /** The length behind a nibble, undefined when it is cut. */
  length(nibble: number): number | undefined {
    let sum = nibble;
    if (nibble < 15) return sum;
    for (let b: number | undefined = 255; b === 255; ) {
      b = this.byte();
      if (b === undefined) return undefined;
      sum += b;
    }
    return sum;
  }
}

/** Appends one sequence; false when it is malformed or the output would pass `limit`. */
function decodeSequence(input: Input, out: number[], limit: number): boolean {
  const token = input.byte();
  if (token === undefined) return false;
  const literals = input.length(token >> 4);
  if (literals === undefined || out.length + literals > limit) return false;
  for (let i = 0; i < literals; i++) {
    const b = input.byte();
    if (b === undefined) return false;
    out.push(b);
  }
  if (input.isAtEnd) return true;
  const low = input.byte();
  const high = input.byte();
  if (low === undefined || high === undefined) return false;
  const offset = low + 256 * high;
  const extra = input.length(token & 15);
  if (offset === 0 || offset > out.length || extra === undefined) return false;
  if (out.length + extra + MIN_MATCH > limit) return false;
  for (let i = 0; i < extra + MIN_MATCH; i++) out.push(out[out.length - offset]!);
  // A match is never the end: a token must follow.
  return !input.isAtEnd;
}

/** As `PacketCore.decompress`. */
export function lz4Decode(block: Uint8Array, out: Uint8Array): number {
  if (block.length === 0) return 0;
  const input = new Input(block);
  const bytes: number[] = [];
  const limit = Math.min(out.length, PAYLOAD_MAX_LEN);
  while (!input.isAtEnd) if (!decodeSequence(input, bytes, limit)) return MALFORMED;
  if (bytes.length === 0) return MALFORMED;
  out.set(bytes);
  return bytes.length;
}

function pushLength(out: number[], len: number): void {
  let rest = len - 15;
  if (rest < 0) return;
  for (; rest >= 255; rest -= 255) out.push(255);
  out.push(rest);
}

function pushSequence(out: number[], literals: Uint8Array, offset: number, matchLen: number): void {
  const extra = matchLen === 0 ? 0 : matchLen - MIN_MATCH;
  out.push((Math.min(literals.length, 15) << 4) | Math.min(extra, 15));
  pushLength(out, literals.length);
  out.push(...literals);
  if (matchLen === 0) return;
  out.push(offset & 0xff, offset >> 8);
  pushLength(out, extra);
}

function matchLenAt(input: Uint8Array, from: number, to: number): number {
  let len = 0;
  while (to + len < input.length - LAST_LITERALS && input[from + len] === input[to + len]) len++;
  return len;
}

/** As `PacketCore.compress`: greedy, with the latest earlier occurrence of every four bytes. */
export function lz4Encode(input: Uint8Array, out: Uint8Array): number {
  const bytes: number[] = [];
  const seen = new Map<string, number>();
  let anchor = 0;
  for (let at = 0; at <= input.length - MATCH_START_LIMIT; at++) {
    const key = input.subarray(at, at + MIN_MATCH).join();
    const from = seen.get(key);
    seen.set(key, at);
    if (from === undefined || at < anchor) continue;
    const len = matchLenAt(input, from, at);
    pushSequence(bytes, input.subarray(anchor, at), at - from, len);
    anchor = at + len;
  }
  pushSequence(bytes, input.subarray(anchor), 0, 0);
  if (bytes.length >= input.length || bytes.length > out.length) return 0;
  out.set(bytes);
  return bytes.length;
}
