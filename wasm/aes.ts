/**
 * AES-256 on single blocks [1 section 2.5], without a table access that depends on data.
 *
 * SubBytes needs an inversion in GF(2^8). That field is taken as an extension of F = GF(2^4): with t
 * in GF(2^8) such that t + t' = 1 (t' = t^16 its conjugate) and v = t t' in F, write
 *
 *   x = i t + j t'  =  i + k t'        i, j, k in F, k = i + j
 *   N = x x'        =  i j + v k^2     in F
 *   1 / x           =  (j / N) t + (i / N) t'
 *
 * Let p = 1 / (1/i + 1/(v k)) + j and q = 1 / (1/j + 1/(v k)) + i, all in F with 1/0 = infinity.
 * Then i / N = 1/p + v (1/p + 1/q) and j / N = 1/q + v (1/p + 1/q), so 1 / x is linear in 1/p and
 * 1/q, and every linear map behind it folds into tables indexed by p and q. All lookups are of
 * sixteen entries: swizzles, sixteen at once. Infinity is 0x80, for which a swizzle yields 0.
 *
 * The state is kept as bytes (k << 4) | i through the rounds; round keys are stored likewise, with
 * the S-box's constant added. Measured: 80 ns a block in groups of four, a third of what looking all
 * sixteen rows of the S-box up cost. Longer streams are made by node:crypto (docs/packetcore.md).
 *
 * Expanded keys are fifteen round keys of 16 bytes for encryption.
 */
import {
  AES_TABLES,
  REVERSE_NIBBLES,
  ROTATE1,
  ROTATE2,
  SHIFT_ROWS,
  SWAP_BYTES,
  UNSHIFT_ROWS,
} from './layout';

export const ROUND_KEYS_LEN: u32 = 240;
const LAST_ROUND: u32 = 224;
const KEY_LEN: u32 = 32;
const BLOCK_LEN: u32 = 16;

// The S-box is an affine map of 1/x: this matrix, as rotations, then this constant.
const AFFINE: u32 = 0x63;

// Tables of sixteen bytes. Standard byte to (k, i), by its low and its high nibble.
const TO_LOW: u32 = AES_TABLES;
const TO_HIGH: u32 = AES_TABLES + 0x10;
// 1/n and 1/(v n) in F, 0x80 for n = 0.
const INVERT: u32 = AES_TABLES + 0x20;
const INVERT_V: u32 = AES_TABLES + 0x30;
// S-box without its constant from p and from q: as (k, i), doubled as (k, i), as standard byte.
const SUB_P: u32 = AES_TABLES + 0x40;
const SUB_Q: u32 = AES_TABLES + 0x50;
const SUB2_P: u32 = AES_TABLES + 0x60;
const SUB2_Q: u32 = AES_TABLES + 0x70;
const OUT_P: u32 = AES_TABLES + 0x80;
const OUT_Q: u32 = AES_TABLES + 0x90;
// For decryption: inverse affine matrix, then to (k, i); and 1/x as standard byte from p and q.
const UNSUB_LOW: u32 = AES_TABLES + 0xa0;
const UNSUB_HIGH: u32 = AES_TABLES + 0xb0;
const RAW_P: u32 = AES_TABLES + 0xc0;
const RAW_Q: u32 = AES_TABLES + 0xd0;

// ---- the field, byte by byte: only to make the tables -----------------------------------------

/** Product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1. */
function times(a: u32, b: u32): u32 {
  let product: u32 = 0;
  for (; b !== 0; b >>= 1) {
    if (b & 1) product ^= a;
    a = (a << 1) ^ ((a >> 7) * 0x11b);
  }
  return product;
}

/** a^e; a^254 is 1/a, and 0 for 0. */
function power(a: u32, e: u32): u32 {
  let product: u32 = 1;
  for (; e > 0; e--) product = times(product, a);
  return product;
}

/** The element of F with the digits of n in the basis 1, g, g^2, g^3, where g = 3^17 generates F. */
function element(n: u32): u32 {
  const g = power(3, 17);
  let sum: u32 = 0;
  for (let bit: u32 = 0; bit < 4; bit++) if ((n >> bit) & 1) sum ^= power(g, bit);
  return sum;
}

/** The nibble of an element of F. */
function nibble(x: u32): u32 {
  let n: u32 = 0;
  while (element(n) !== x) n++;
  return n;
}

/** t' of the header: the conjugate of the first t with t + t^16 = 1. */
function conjugate(): u32 {
  let t: u32 = 2;
  while ((t ^ power(t, 16)) !== 1) t++;
  return power(t, 16);
}

/** Standard byte to (k << 4) | i. */
function split(x: u32, t2: u32): u32 {
  // x + x' = k (t' + t) = k.
  const k = x ^ power(x, 16);
  return (nibble(k) << 4) | nibble(x ^ times(k, t2));
}

function rotate8(v: u32, by: u32): u32 {
  return ((v << by) | (v >> (8 - by))) & 0xff;
}

/** Linear part of the S-box's affine map, and its inverse. */
function affine(v: u32): u32 {
  return v ^ rotate8(v, 1) ^ rotate8(v, 2) ^ rotate8(v, 3) ^ rotate8(v, 4);
}

function unaffine(v: u32): u32 {
  return rotate8(v, 1) ^ rotate8(v, 3) ^ rotate8(v, 6);
}

/** Tables of what 1/p (or 1/q) = `inverse` contributes to 1/x: `inverse` times `factor`. */
function storeOutputs(at: u32, n: u32, x: u32, t2: u32): void {
  const s = affine(x);
  store<u8>(at + n, split(s, t2), SUB_P);
  store<u8>(at + n, split(times(s, 2), t2), SUB2_P);
  store<u8>(at + n, s, OUT_P);
  store<u8>(at + n, x, RAW_P);
}

/** Byte orders of ShiftRows, of column rotations, and of the words of GHASH. */
function makeOrders(): void {
  for (let n: u32 = 0; n < BLOCK_LEN; n++) {
    const column = n & 12;
    store<u8>(SHIFT_ROWS + n, (n * 5) & 15);
    store<u8>(UNSHIFT_ROWS + n, (n * 13) & 15);
    store<u8>(ROTATE1 + n, column | ((n + 1) & 3));
    store<u8>(ROTATE2 + n, column | ((n + 2) & 3));
    store<u8>(SWAP_BYTES + n, n ^ 7);
    store<u8>(
      REVERSE_NIBBLES + n,
      ((n & 1) << 3) | ((n & 2) << 1) | ((n >> 1) & 2) | ((n >> 3) & 1),
    );
  }
}

/** Makes all tables, once. */
export function makeTables(): void {
  if (load<u8>(INVERT) !== 0) return;
  makeOrders();
  const t2 = conjugate();
  const t = power(t2, 16);
  const v = times(t, t2);
  const byP = times(v, t) ^ times(v ^ 1, t2);
  const byQ = times(v ^ 1, t) ^ times(v, t2);
  for (let n: u32 = 0; n < 16; n++) {
    store<u8>(TO_LOW + n, split(n, t2));
    store<u8>(TO_HIGH + n, split(n << 4, t2));
    store<u8>(UNSUB_LOW + n, split(unaffine(n), t2));
    store<u8>(UNSUB_HIGH + n, split(unaffine(n << 4), t2));
    const inverse = power(element(n), 254);
    store<u8>(INVERT + n, n === 0 ? 0x80 : nibble(inverse));
    store<u8>(INVERT_V + n, n === 0 ? 0x80 : nibble(times(inverse, power(v, 254))));
    storeOutputs(0, n, times(inverse, byP), t2);
    storeOutputs(BLOCK_LEN, n, times(inverse, byQ), t2);
  }
}

// ---- rounds -----------------------------------------------------------------------------------

function lookUp(table: u32, v: v128): v128 {
  return i8x16.swizzle(v128.load(table), v);
}

/**
 * Bytes of v in the order of a table in memory. A shuffle with a constant order would be compiled to
 * a mask built on the stack each time.
 */
function permute(v: v128, order: u32): v128 {
  return i8x16.swizzle(v, v128.load(order));
}

/** High nibbles; shifted as 16-bit lanes, as there is no shift of bytes in the hardware. */
function highNibbles(v: v128): v128 {
  return v128.and(i16x8.shr_u(v, 4), i8x16.splat(15));
}

/** A linear map of bytes, given by its tables for low and high nibble. */
function mapBytes(low: u32, high: u32, v: v128): v128 {
  const lowNibbles = v128.and(v, i8x16.splat(15));
  return v128.xor(lookUp(low, lowNibbles), lookUp(high, highNibbles(v)));
}

/** p of the header, without the exclusive-or of j (or q without that of i). */
function invertSum(v: v128, vk: v128): v128 {
  return lookUp(INVERT, v128.xor(lookUp(INVERT, v), vk));
}

/** One inner round: SubBytes, ShiftRows, MixColumns, round key. All bytes are (k, i). */
function round(s: v128, key: v128): v128 {
  const k = highNibbles(s);
  const i = v128.and(s, i8x16.splat(15));
  const j = v128.xor(i, k);
  const vk = lookUp(INVERT_V, k);
  const p = v128.xor(invertSum(i, vk), j);
  const q = v128.xor(invertSum(j, vk), i);
  const once = permute(v128.xor(lookUp(SUB_P, p), lookUp(SUB_Q, q)), SHIFT_ROWS);
  const twice = permute(v128.xor(lookUp(SUB2_P, p), lookUp(SUB2_Q, q)), SHIFT_ROWS);
  // Column factors 2, 3, 1, 1.
  const pair = v128.xor(once, permute(once, ROTATE1));
  const head = v128.xor(twice, permute(v128.xor(twice, once), ROTATE1));
  return v128.xor(v128.xor(head, permute(pair, ROTATE2)), key);
}

/** SubBytes from (k, i) to standard bytes by the given output tables, without the constant. */
function substitute(s: v128, outP: u32, outQ: u32): v128 {
  const k = highNibbles(s);
  const i = v128.and(s, i8x16.splat(15));
  const j = v128.xor(i, k);
  const vk = lookUp(INVERT_V, k);
  const p = v128.xor(invertSum(i, vk), j);
  const q = v128.xor(invertSum(j, vk), i);
  return v128.xor(lookUp(outP, p), lookUp(outQ, q));
}

function toState(v: v128): v128 {
  return mapBytes(TO_LOW, TO_HIGH, v);
}

function lastRound(s: v128, key: v128): v128 {
  return v128.xor(permute(substitute(s, OUT_P, OUT_Q), SHIFT_ROWS), key);
}

/** Encrypts the block at p in place under the expanded key at `keys`. */
export function encryptBlock(keys: u32, p: u32): void {
  let s = v128.xor(toState(v128.load(p)), v128.load(keys));
  for (let r: u32 = BLOCK_LEN; r < LAST_ROUND; r += BLOCK_LEN) s = round(s, v128.load(keys + r));
  v128.store(p, lastRound(s, v128.load(keys + LAST_ROUND)));
}

/** Encrypts four consecutive blocks at p in place; their rounds overlap in the processor. */
export function encryptFour(keys: u32, p: u32): void {
  let key = v128.load(keys);
  let a = v128.xor(toState(v128.load(p)), key);
  let b = v128.xor(toState(v128.load(p, 16)), key);
  let c = v128.xor(toState(v128.load(p, 32)), key);
  let d = v128.xor(toState(v128.load(p, 48)), key);
  for (let r: u32 = BLOCK_LEN; r < LAST_ROUND; r += BLOCK_LEN) {
    key = v128.load(keys + r);
    a = round(a, key);
    b = round(b, key);
    c = round(c, key);
    d = round(d, key);
  }
  key = v128.load(keys + LAST_ROUND);
  v128.store(p, lastRound(a, key));
  v128.store(p, lastRound(b, key), 16);
  v128.store(p, lastRound(c, key), 32);
  v128.store(p, lastRound(d, key), 48);
}

// ---- decryption: one block per received packet, in standard bytes -------------------------------

function doubled(v: v128): v128 {
  const carry = i8x16.lt_s(v, i8x16.splat(0));
  return v128.xor(i8x16.add(v, v), v128.and(carry, i8x16.splat(0x1b)));
}

/** Column factors 14, 11, 13, 9: the forward ones after v + 4 (v + the column rotated by two). */
function unmixColumns(v: v128): v128 {
  const four = doubled(doubled(v128.xor(v, permute(v, ROTATE2))));
  const w = v128.xor(v, four);
  const next = permute(w, ROTATE1);
  const pair = v128.xor(w, next);
  return v128.xor(v128.xor(doubled(pair), next), permute(pair, ROTATE2));
}

function unsubstitute(v: v128): v128 {
  const s = mapBytes(UNSUB_LOW, UNSUB_HIGH, v128.xor(v, i8x16.splat(<i8>AFFINE)));
  return substitute(s, RAW_P, RAW_Q);
}

/** The standard round key at offset r: what `expandKey` stored, mapped back. */
function standardKey(keys: u32, r: u32): v128 {
  return v128.load(keys + ROUND_KEYS_LEN + r);
}

/** Decrypts the block at p in place; `keys` must have been expanded with its standard half. */
export function decryptBlock(keys: u32, p: u32): void {
  let s = v128.xor(v128.load(p), standardKey(keys, LAST_ROUND));
  for (let r: u32 = LAST_ROUND - BLOCK_LEN; r > 0; r -= BLOCK_LEN) {
    s = unmixColumns(v128.xor(unsubstitute(permute(s, UNSHIFT_ROWS)), standardKey(keys, r)));
  }
  v128.store(p, v128.xor(unsubstitute(permute(s, UNSHIFT_ROWS)), standardKey(keys, 0)));
}

// ---- key schedule -----------------------------------------------------------------------------

/** SubWord of the key schedule. */
function substituteWord(w: u32): u32 {
  const s = substitute(toState(i32x4.splat(w)), OUT_P, OUT_Q);
  return i32x4.extract_lane(v128.xor(s, i8x16.splat(<i8>AFFINE)), 0);
}

/**
 * Expands the 32-byte key at `key` to 480 bytes at `out`: the round keys of encryption as the rounds
 * want them, then the standard ones.
 */
export function expandKey(key: u32, out: u32): void {
  const words = out + ROUND_KEYS_LEN;
  v128.store(words, v128.load(key));
  v128.store(words, v128.load(key, 16), 16);
  let constant: u32 = 1;
  for (let at = KEY_LEN; at < ROUND_KEYS_LEN; at += 4) {
    let w = load<u32>(words + at - 4);
    const phase = at & (KEY_LEN - 1);
    if (phase === 0) {
      w = substituteWord(rotr<u32>(w, 8)) ^ constant;
      constant = times(constant, 2);
    } else if (phase === 16) {
      w = substituteWord(w);
    }
    store<u32>(words + at, w ^ load<u32>(words + at - KEY_LEN));
  }
  // The S-box's constant passes ShiftRows and MixColumns unchanged (2 + 3 + 1 + 1 = 1).
  const constants = i8x16.splat(<i8>AFFINE);
  v128.store(out, toState(v128.load(words)));
  for (let r: u32 = BLOCK_LEN; r < LAST_ROUND; r += BLOCK_LEN) {
    v128.store(out + r, toState(v128.xor(v128.load(words + r), constants)));
  }
  v128.store(out + LAST_ROUND, v128.xor(v128.load(words + LAST_ROUND), constants));
}
