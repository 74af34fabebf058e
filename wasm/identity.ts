/**
 * The memory-hard identity hash [1 section 4.4].
 *
 * DIGEST holds SHA-512 of the public key on entry and the final digest on return; TABLE is the
 * 2 MiB working area. All keystream blocks are independent of the table, so both phases make them
 * four at a time.
 */
import { DIGEST, KEYSTREAM, TABLE, TABLE_LEN } from './layout';
import { wipe } from './packet';
import { nextKeystream, setState } from './salsa20';

const ROUNDS: u32 = 20;
const KEYSTREAM_END: u32 = KEYSTREAM + 256;
// Byte mask of an 8-byte word's offset inside the table.
const WORD_OFFSET_MASK: u32 = TABLE_LEN - 8;

/** Phase 1: each block of the table is the one before it XOR the next keystream block. */
function fill(): void {
  let a = i64x2.splat(0);
  let b = a;
  let c = a;
  let d = a;
  for (let out = TABLE; out < TABLE + TABLE_LEN; ) {
    nextKeystream(ROUNDS);
    for (let ks = KEYSTREAM; ks < KEYSTREAM_END; ks += 64, out += 64) {
      a = v128.xor(a, v128.load(ks));
      b = v128.xor(b, v128.load(ks, 16));
      c = v128.xor(c, v128.load(ks, 32));
      d = v128.xor(d, v128.load(ks, 48));
      v128.store(out, a);
      v128.store(out, b, 16);
      v128.store(out, c, 32);
      v128.store(out, d, 48);
    }
  }
}

/** One exchange of phase 2, steered by the two big-endian words at p, then the keystream at ks. */
function mixStep(p: u32, ks: u32): void {
  // Big-endian words modulo powers of two: only their last bytes count.
  const a = DIGEST + ((<u32>load<u8>(p, 7) & 7) << 3);
  const b = TABLE + ((bswap<u32>(load<u32>(p, 12)) << 3) & WORD_OFFSET_MASK);
  const word = load<u64>(a);
  store<u64>(a, load<u64>(b));
  store<u64>(b, word);
  v128.store(DIGEST, v128.xor(v128.load(DIGEST), v128.load(ks)));
  v128.store(DIGEST, v128.xor(v128.load(DIGEST, 16), v128.load(ks, 16)), 16);
  v128.store(DIGEST, v128.xor(v128.load(DIGEST, 32), v128.load(ks, 32)), 32);
  v128.store(DIGEST, v128.xor(v128.load(DIGEST, 48), v128.load(ks, 48)), 48);
}

/** Phase 1 alone, for the tests that look at the filled table; keeps the cipher state. */
export function identityFill(): void {
  setState(DIGEST, DIGEST + 32, 0);
  fill();
}

/** Phase 2; must follow `identityFill`. */
export function identityMix(): void {
  for (let p = TABLE; p < TABLE + TABLE_LEN; ) {
    nextKeystream(ROUNDS);
    for (let ks = KEYSTREAM; ks < KEYSTREAM_END; ks += 64, p += 16) mixStep(p, ks);
  }
  wipe();
}
