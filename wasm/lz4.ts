/**
 * LZ4 block format [1 section 6]: a greedy encoder and a decoder that trusts nothing.
 *
 * Input is a range of the inbox, output goes to OUTBOX. Every length is compared with what is left,
 * on both sides, before a byte moves; copies run in steps of 16 bytes, which may read up to 15 bytes
 * past the input and write up to 15 past the output's limit, both inside this module's own windows.
 */
import { ERR_BLOCK, ERR_RANGE, LZ4_TABLE, LZ4_TABLE_LEN, OUTBOX, PAYLOAD_MAX_LEN } from './layout';
import { clear, isInInbox } from './packet';

const MIN_MATCH: u32 = 4;
// End-of-block rules: the last bytes are literals, the last match starts well before the end.
const LAST_LITERALS: u32 = 5;
const MATCH_START_LIMIT: u32 = 12;
// A length nibble of 15 says that bytes follow, each adding its value, up to one below 255.
const NIBBLE_MAX: u32 = 15;
// Ours: after this many misses (as a power of two) the encoder's stride grows by one.
const SKIP_SHIFT: u32 = 6;
// 2^32 / golden ratio: spreads four bytes over the table's 12 index bits.
const HASH_FACTOR: u32 = 2654435761;
const HASH_SHIFT: u32 = 20;

// Read position of the decoder, write position of the encoder.
let at: u32 = 0;

function copy(to: u32, from: u32, len: u32): void {
  for (let i: u32 = 0; i < len; i += 16) v128.store(to + i, v128.load(from + i));
}

/** Copies a match that may overlap its own output. */
function copyMatch(to: u32, offset: u32, len: u32): void {
  const from = to - offset;
  if (offset >= 16) {
    copy(to, from, len);
    return;
  }
  for (let i: u32 = 0; i < len; i++) store<u8>(to + i, load<u8>(from + i));
}

/** Reads the bytes that extend a length nibble of 15; -1 when they run past `end`. */
function readExtension(end: u32): i32 {
  let sum: u32 = 0;
  let byte: u32;
  do {
    if (at >= end) return -1;
    byte = load<u8>(at++);
    sum += byte;
  } while (byte === 255);
  return sum;
}

/** The length that `nibble` stands for, -1 when malformed. */
function readLength(nibble: u32, end: u32): i32 {
  if (nibble < NIBBLE_MAX) return nibble;
  const more = readExtension(end);
  return more < 0 ? -1 : NIBBLE_MAX + more;
}

/**
 * Decodes the block of `len` bytes at p into OUTBOX, at most `limit` (and 9996) bytes.
 * @returns bytes written; 0 for an empty input alone; ERR_RANGE, or ERR_BLOCK for a malformed block
 * and one that yields nothing.
 */
export function lz4Decode(p: u32, len: u32, limit: u32): i32 {
  if (!isInInbox(p, len)) return ERR_RANGE;
  if (len === 0) return 0;
  const end = p + len;
  const outEnd = OUTBOX + min<u32>(limit, PAYLOAD_MAX_LEN);
  let out = OUTBOX;
  for (at = p; at < end; ) {
    const token: u32 = load<u8>(at++);
    const literals = readLength(token >> 4, end);
    if (literals < 0 || <u32>literals > end - at || <u32>literals > outEnd - out) return ERR_BLOCK;
    copy(out, at, literals);
    at += literals;
    out += literals;
    if (at === end) return out === OUTBOX ? ERR_BLOCK : out - OUTBOX;
    if (end - at < 2) return ERR_BLOCK;
    const offset: u32 = load<u16>(at);
    at += 2;
    if (offset === 0 || offset > out - OUTBOX) return ERR_BLOCK;
    const extra = readLength(token & NIBBLE_MAX, end);
    if (extra < 0 || <u32>extra + MIN_MATCH > outEnd - out) return ERR_BLOCK;
    copyMatch(out, offset, extra + MIN_MATCH);
    out += extra + MIN_MATCH;
  }
  return ERR_BLOCK;
}

function slot(p: u32): u32 {
  return LZ4_TABLE + (((load<u32>(p) * HASH_FACTOR) >> HASH_SHIFT) << 1);
}

function writeExtension(len: u32): void {
  for (; len >= 255; len -= 255) store<u8>(at++, 255);
  store<u8>(at++, len);
}

function extensionLen(len: u32): u32 {
  return len < NIBBLE_MAX ? 0 : (len - NIBBLE_MAX) / 255 + 1;
}

/** Exact length of what `writeSequence` writes. */
function sequenceLen(literals: u32, matchLen: u32): u32 {
  const head = 1 + extensionLen(literals) + literals;
  return matchLen === 0 ? head : head + 2 + extensionLen(matchLen - MIN_MATCH);
}

/** Writes token, literals and, when `matchLen` is not 0, the match. */
function writeSequence(from: u32, literals: u32, offset: u32, matchLen: u32): void {
  const extra: u32 = matchLen === 0 ? 0 : matchLen - MIN_MATCH;
  store<u8>(at++, (min<u32>(literals, NIBBLE_MAX) << 4) | min<u32>(extra, NIBBLE_MAX));
  if (literals >= NIBBLE_MAX) writeExtension(literals - NIBBLE_MAX);
  copy(at, from, literals);
  at += literals;
  if (matchLen === 0) return;
  store<u16>(at, offset);
  at += 2;
  if (extra >= NIBBLE_MAX) writeExtension(extra - NIBBLE_MAX);
}

/** Number of equal bytes at a and b, a < b, with b staying below `end`. */
function commonLen(a: u32, b: u32, end: u32): u32 {
  const start = b;
  for (; b + 8 <= end; a += 8, b += 8) {
    const diff = load<u64>(a) ^ load<u64>(b);
    if (diff !== 0) return b - start + <u32>(ctz<u64>(diff) >> 3);
  }
  while (b < end && load<u8>(a) === load<u8>(b)) {
    a++;
    b++;
  }
  return b - start;
}

/**
 * Encodes the `len` bytes at p, at most 9996, into OUTBOX.
 * @returns bytes written, 0 when that would not be fewer than `len`, or ERR_RANGE.
 */
export function lz4Encode(p: u32, len: u32): i32 {
  if (!isInInbox(p, len) || len > PAYLOAD_MAX_LEN) return ERR_RANGE;
  if (len <= MATCH_START_LIMIT) return 0;
  clear(LZ4_TABLE, LZ4_TABLE_LEN);
  const outEnd = OUTBOX + len - 1;
  const matchEnd = p + len - LAST_LITERALS;
  const lastStart = p + len - MATCH_START_LIMIT;
  let anchor = p;
  let misses: u32 = 1 << SKIP_SHIFT;
  at = OUTBOX;
  for (let cursor = p + 1; cursor <= lastStart; ) {
    const entry = slot(cursor);
    let candidate = p + load<u16>(entry);
    store<u16>(entry, cursor - p);
    if (load<u32>(candidate) !== load<u32>(cursor)) {
      cursor += misses++ >> SKIP_SHIFT;
      continue;
    }
    for (; cursor > anchor && candidate > p; cursor--, candidate--) {
      if (load<u8>(cursor - 1) !== load<u8>(candidate - 1)) break;
    }
    const matchLen = commonLen(candidate, cursor, matchEnd);
    const literals = cursor - anchor;
    if (sequenceLen(literals, matchLen) > outEnd - at) return 0;
    writeSequence(anchor, literals, cursor - candidate, matchLen);
    cursor += matchLen;
    anchor = cursor;
    misses = 1 << SKIP_SHIFT;
    store<u16>(slot(cursor - 2), cursor - 2 - p);
  }
  const rest = p + len - anchor;
  if (sequenceLen(rest, 0) > outEnd - at) return 0;
  writeSequence(anchor, rest, 0, 0);
  return at - OUTBOX;
}
