/**
 * Salsa20 with 12 or 20 rounds [1 section 2.3], four blocks at a time.
 *
 * The initial state of sixteen words lies in SALSA_STATE. A group is four consecutive blocks, one
 * per 32-bit lane, so a round needs no lane movement; the words are transposed once at the end.
 *
 * Contents: state, lane helpers, `xorGroup` (the cipher), `xorGroupAbsorbing` (cipher and MAC in one
 * pass), byte streams. The two group functions are unrolled double rounds of 100 lines and more:
 * sixteen vectors must live in registers, and there is no inlining across functions that return
 * several values.
 */
import { KEYSTREAM, POLY_SUM, SALSA_STATE, ZEROS } from './layout';
import { HIBIT, MASK26, POLY_R1, POLY_R2 } from './poly1305';

export const BLOCK_LEN: u32 = 64;
export const GROUP_LEN: u32 = 256;

// "expand 32-byte k" in four little-endian words.
const C0: u32 = 0x61707865;
const C1: u32 = 0x3320646e;
const C2: u32 = 0x79622d32;
const C3: u32 = 0x6b206574;

/** Fills the state from a 32-byte key and an 8-byte IV; the counter starts at `block`. */
export function setState(key: u32, iv: u32, block: u64): void {
  store<u32>(SALSA_STATE, C0);
  v128.store(SALSA_STATE, v128.load(key), 4);
  store<u32>(SALSA_STATE, C1, 20);
  store<u64>(SALSA_STATE, load<u64>(iv), 24);
  store<u64>(SALSA_STATE, block, 32);
  store<u32>(SALSA_STATE, C2, 40);
  v128.store(SALSA_STATE, v128.load(key, 16), 44);
  store<u32>(SALSA_STATE, C3, 60);
}

function rotl7(v: v128): v128 {
  return v128.or(i32x4.shl(v, 7), i32x4.shr_u(v, 25));
}

function rotl9(v: v128): v128 {
  return v128.or(i32x4.shl(v, 9), i32x4.shr_u(v, 23));
}

function rotl13(v: v128): v128 {
  return v128.or(i32x4.shl(v, 13), i32x4.shr_u(v, 19));
}

function rotl18(v: v128): v128 {
  return v128.or(i32x4.shl(v, 18), i32x4.shr_u(v, 14));
}

/** Interleaves the low (high) halves of two vectors of 32-bit or 64-bit lanes. */
function zipLo32(a: v128, b: v128): v128 {
  return v128.shuffle<u32>(a, b, 0, 4, 1, 5);
}

function zipHi32(a: v128, b: v128): v128 {
  return v128.shuffle<u32>(a, b, 2, 6, 3, 7);
}

function zipLo64(a: v128, b: v128): v128 {
  return v128.shuffle<u64>(a, b, 0, 2);
}

function zipHi64(a: v128, b: v128): v128 {
  return v128.shuffle<u64>(a, b, 1, 3);
}

function splat(word: u32): v128 {
  return v128.load_splat<u32>(SALSA_STATE + (word << 2));
}

/** Four consecutive 64-bit counters as their low (high) words. */
function countersLo(): v128 {
  return i32x4.add(splat(8), i32x4(0, 1, 2, 3));
}

function countersHi(): v128 {
  const lo = countersLo();
  // A lane whose low word wrapped is below the word it started from: its carry is -(-1).
  return i32x4.sub(splat(9), i32x4.lt_u(lo, splat(8)));
}

/** Turns words w..w+3 of four blocks into 16 bytes of each block, XORed from `src` to `dst`. */
function xorWords(dst: u32, src: u32, a: v128, b: v128, c: v128, d: v128): void {
  const ab = zipLo32(a, b);
  const cd = zipLo32(c, d);
  const abHi = zipHi32(a, b);
  const cdHi = zipHi32(c, d);
  v128.store(dst, v128.xor(v128.load(src), zipLo64(ab, cd)));
  v128.store(dst, v128.xor(v128.load(src, 64), zipHi64(ab, cd)), 64);
  v128.store(dst, v128.xor(v128.load(src, 128), zipLo64(abHi, cdHi)), 128);
  v128.store(dst, v128.xor(v128.load(src, 192), zipHi64(abHi, cdHi)), 192);
}

/**
 * 256 bytes: dst = src XOR the next four blocks, and the counter advances by four. `rounds` is 12
 * or 20.
 */
export function xorGroup(dst: u32, src: u32, rounds: u32): void {
  let x0 = splat(0);
  let x1 = splat(1);
  let x2 = splat(2);
  let x3 = splat(3);
  let x4 = splat(4);
  let x5 = splat(5);
  let x6 = splat(6);
  let x7 = splat(7);
  let x8 = countersLo();
  let x9 = countersHi();
  let x10 = splat(10);
  let x11 = splat(11);
  let x12 = splat(12);
  let x13 = splat(13);
  let x14 = splat(14);
  let x15 = splat(15);
  for (let r = rounds; r > 0; r -= 2) {
    x4 = v128.xor(x4, rotl7(i32x4.add(x0, x12)));
    x9 = v128.xor(x9, rotl7(i32x4.add(x5, x1)));
    x14 = v128.xor(x14, rotl7(i32x4.add(x10, x6)));
    x3 = v128.xor(x3, rotl7(i32x4.add(x15, x11)));
    x8 = v128.xor(x8, rotl9(i32x4.add(x4, x0)));
    x13 = v128.xor(x13, rotl9(i32x4.add(x9, x5)));
    x2 = v128.xor(x2, rotl9(i32x4.add(x14, x10)));
    x7 = v128.xor(x7, rotl9(i32x4.add(x3, x15)));
    x12 = v128.xor(x12, rotl13(i32x4.add(x8, x4)));
    x1 = v128.xor(x1, rotl13(i32x4.add(x13, x9)));
    x6 = v128.xor(x6, rotl13(i32x4.add(x2, x14)));
    x11 = v128.xor(x11, rotl13(i32x4.add(x7, x3)));
    x0 = v128.xor(x0, rotl18(i32x4.add(x12, x8)));
    x5 = v128.xor(x5, rotl18(i32x4.add(x1, x13)));
    x10 = v128.xor(x10, rotl18(i32x4.add(x6, x2)));
    x15 = v128.xor(x15, rotl18(i32x4.add(x11, x7)));

    x1 = v128.xor(x1, rotl7(i32x4.add(x0, x3)));
    x6 = v128.xor(x6, rotl7(i32x4.add(x5, x4)));
    x11 = v128.xor(x11, rotl7(i32x4.add(x10, x9)));
    x12 = v128.xor(x12, rotl7(i32x4.add(x15, x14)));
    x2 = v128.xor(x2, rotl9(i32x4.add(x1, x0)));
    x7 = v128.xor(x7, rotl9(i32x4.add(x6, x5)));
    x8 = v128.xor(x8, rotl9(i32x4.add(x11, x10)));
    x13 = v128.xor(x13, rotl9(i32x4.add(x12, x15)));
    x3 = v128.xor(x3, rotl13(i32x4.add(x2, x1)));
    x4 = v128.xor(x4, rotl13(i32x4.add(x7, x6)));
    x9 = v128.xor(x9, rotl13(i32x4.add(x8, x11)));
    x14 = v128.xor(x14, rotl13(i32x4.add(x13, x12)));
    x0 = v128.xor(x0, rotl18(i32x4.add(x3, x2)));
    x5 = v128.xor(x5, rotl18(i32x4.add(x4, x7)));
    x10 = v128.xor(x10, rotl18(i32x4.add(x9, x8)));
    x15 = v128.xor(x15, rotl18(i32x4.add(x14, x13)));
  }
  x0 = i32x4.add(x0, splat(0));
  x1 = i32x4.add(x1, splat(1));
  x2 = i32x4.add(x2, splat(2));
  x3 = i32x4.add(x3, splat(3));
  xorWords(dst, src, x0, x1, x2, x3);
  x4 = i32x4.add(x4, splat(4));
  x5 = i32x4.add(x5, splat(5));
  x6 = i32x4.add(x6, splat(6));
  x7 = i32x4.add(x7, splat(7));
  xorWords(dst + 16, src + 16, x4, x5, x6, x7);
  x8 = i32x4.add(x8, countersLo());
  x9 = i32x4.add(x9, countersHi());
  x10 = i32x4.add(x10, splat(10));
  x11 = i32x4.add(x11, splat(11));
  xorWords(dst + 32, src + 32, x8, x9, x10, x11);
  x12 = i32x4.add(x12, splat(12));
  x13 = i32x4.add(x13, splat(13));
  x14 = i32x4.add(x14, splat(14));
  x15 = i32x4.add(x15, splat(15));
  xorWords(dst + 48, src + 48, x12, x13, x14, x15);
  store<u64>(SALSA_STATE, load<u64>(SALSA_STATE, 32) + 4, 32);
}

/**
 * `xorGroup` with 12 rounds that meanwhile absorbs into Poly1305 the 192 bytes at `mac` and then the
 * whole pairs of blocks up to `macEnd`, which may be bytes that this call just wrote.
 *
 * A round's vectors wait for each other most of the time, and the MAC's scalar products fill the
 * gaps: measured 1,840 ns for 2,560 bytes against 2,330 ns one after the other. The pair of
 * blocks is `absorbPairs` of poly1305.ts, see there for its bounds; it appears once per double round
 * (6 x 32 bytes) and once behind them. One pair per double round, no further unrolling and the
 * multipliers in locals was the fastest of six arrangements.
 */
export function xorGroupAbsorbing(dst: u32, src: u32, mac: u32, macEnd: u32): void {
  let a0 = load<u64>(POLY_SUM);
  let a1 = load<u64>(POLY_SUM, 8);
  let a2 = load<u64>(POLY_SUM, 16);
  let a3 = load<u64>(POLY_SUM, 24);
  let a4 = load<u64>(POLY_SUM, 32);
  const r0 = load<u64>(POLY_R1);
  const r1 = load<u64>(POLY_R1, 8);
  const r2 = load<u64>(POLY_R1, 16);
  const r3 = load<u64>(POLY_R1, 24);
  const r4 = load<u64>(POLY_R1, 32);
  const s1 = load<u64>(POLY_R1, 40);
  const s2 = load<u64>(POLY_R1, 48);
  const s3 = load<u64>(POLY_R1, 56);
  const s4 = load<u64>(POLY_R1, 64);
  const q0 = load<u64>(POLY_R2);
  const q1 = load<u64>(POLY_R2, 8);
  const q2 = load<u64>(POLY_R2, 16);
  const q3 = load<u64>(POLY_R2, 24);
  const q4 = load<u64>(POLY_R2, 32);
  const t1 = load<u64>(POLY_R2, 40);
  const t2 = load<u64>(POLY_R2, 48);
  const t3 = load<u64>(POLY_R2, 56);
  const t4 = load<u64>(POLY_R2, 64);
  let x0 = splat(0);
  let x1 = splat(1);
  let x2 = splat(2);
  let x3 = splat(3);
  let x4 = splat(4);
  let x5 = splat(5);
  let x6 = splat(6);
  let x7 = splat(7);
  let x8 = countersLo();
  let x9 = countersHi();
  let x10 = splat(10);
  let x11 = splat(11);
  let x12 = splat(12);
  let x13 = splat(13);
  let x14 = splat(14);
  let x15 = splat(15);
  for (let r = 12; r > 0; r -= 2) {
    x4 = v128.xor(x4, rotl7(i32x4.add(x0, x12)));
    x9 = v128.xor(x9, rotl7(i32x4.add(x5, x1)));
    x14 = v128.xor(x14, rotl7(i32x4.add(x10, x6)));
    x3 = v128.xor(x3, rotl7(i32x4.add(x15, x11)));
    x8 = v128.xor(x8, rotl9(i32x4.add(x4, x0)));
    x13 = v128.xor(x13, rotl9(i32x4.add(x9, x5)));
    x2 = v128.xor(x2, rotl9(i32x4.add(x14, x10)));
    x7 = v128.xor(x7, rotl9(i32x4.add(x3, x15)));
    x12 = v128.xor(x12, rotl13(i32x4.add(x8, x4)));
    x1 = v128.xor(x1, rotl13(i32x4.add(x13, x9)));
    x6 = v128.xor(x6, rotl13(i32x4.add(x2, x14)));
    x11 = v128.xor(x11, rotl13(i32x4.add(x7, x3)));
    x0 = v128.xor(x0, rotl18(i32x4.add(x12, x8)));
    x5 = v128.xor(x5, rotl18(i32x4.add(x1, x13)));
    x10 = v128.xor(x10, rotl18(i32x4.add(x6, x2)));
    x15 = v128.xor(x15, rotl18(i32x4.add(x11, x7)));

    x1 = v128.xor(x1, rotl7(i32x4.add(x0, x3)));
    x6 = v128.xor(x6, rotl7(i32x4.add(x5, x4)));
    x11 = v128.xor(x11, rotl7(i32x4.add(x10, x9)));
    x12 = v128.xor(x12, rotl7(i32x4.add(x15, x14)));
    x2 = v128.xor(x2, rotl9(i32x4.add(x1, x0)));
    x7 = v128.xor(x7, rotl9(i32x4.add(x6, x5)));
    x8 = v128.xor(x8, rotl9(i32x4.add(x11, x10)));
    x13 = v128.xor(x13, rotl9(i32x4.add(x12, x15)));
    x3 = v128.xor(x3, rotl13(i32x4.add(x2, x1)));
    x4 = v128.xor(x4, rotl13(i32x4.add(x7, x6)));
    x9 = v128.xor(x9, rotl13(i32x4.add(x8, x11)));
    x14 = v128.xor(x14, rotl13(i32x4.add(x13, x12)));
    x0 = v128.xor(x0, rotl18(i32x4.add(x3, x2)));
    x5 = v128.xor(x5, rotl18(i32x4.add(x4, x7)));
    x10 = v128.xor(x10, rotl18(i32x4.add(x9, x8)));
    x15 = v128.xor(x15, rotl18(i32x4.add(x14, x13)));
    let lo = load<u64>(mac);
    let hi = load<u64>(mac, 8);
    a0 += lo & MASK26;
    a1 += (lo >> 26) & MASK26;
    a2 += ((lo >> 52) | (hi << 12)) & MASK26;
    a3 += (hi >> 14) & MASK26;
    a4 += (hi >> 40) | HIBIT;
    let d0 = a0 * q0 + a1 * t4 + a2 * t3 + a3 * t2 + a4 * t1;
    let d1 = a0 * q1 + a1 * q0 + a2 * t4 + a3 * t3 + a4 * t2;
    let d2 = a0 * q2 + a1 * q1 + a2 * q0 + a3 * t4 + a4 * t3;
    let d3 = a0 * q3 + a1 * q2 + a2 * q1 + a3 * q0 + a4 * t4;
    let d4 = a0 * q4 + a1 * q3 + a2 * q2 + a3 * q1 + a4 * q0;
    lo = load<u64>(mac, 16);
    hi = load<u64>(mac, 24);
    a0 = lo & MASK26;
    a1 = (lo >> 26) & MASK26;
    a2 = ((lo >> 52) | (hi << 12)) & MASK26;
    a3 = (hi >> 14) & MASK26;
    a4 = (hi >> 40) | HIBIT;
    d0 += a0 * r0 + a1 * s4 + a2 * s3 + a3 * s2 + a4 * s1;
    d1 += a0 * r1 + a1 * r0 + a2 * s4 + a3 * s3 + a4 * s2;
    d2 += a0 * r2 + a1 * r1 + a2 * r0 + a3 * s4 + a4 * s3;
    d3 += a0 * r3 + a1 * r2 + a2 * r1 + a3 * r0 + a4 * s4;
    d4 += a0 * r4 + a1 * r3 + a2 * r2 + a3 * r1 + a4 * r0;
    d1 += d0 >> 26;
    d4 += d3 >> 26;
    d2 += d1 >> 26;
    d0 = (d0 & MASK26) + (d4 >> 26) * 5;
    d3 = (d3 & MASK26) + (d2 >> 26);
    a0 = d0 & MASK26;
    a1 = (d1 & MASK26) + (d0 >> 26);
    a2 = d2 & MASK26;
    a3 = d3 & MASK26;
    a4 = (d4 & MASK26) + (d3 >> 26);
    mac += 32;
  }
  x0 = i32x4.add(x0, splat(0));
  x1 = i32x4.add(x1, splat(1));
  x2 = i32x4.add(x2, splat(2));
  x3 = i32x4.add(x3, splat(3));
  xorWords(dst, src, x0, x1, x2, x3);
  x4 = i32x4.add(x4, splat(4));
  x5 = i32x4.add(x5, splat(5));
  x6 = i32x4.add(x6, splat(6));
  x7 = i32x4.add(x7, splat(7));
  xorWords(dst + 16, src + 16, x4, x5, x6, x7);
  x8 = i32x4.add(x8, countersLo());
  x9 = i32x4.add(x9, countersHi());
  x10 = i32x4.add(x10, splat(10));
  x11 = i32x4.add(x11, splat(11));
  xorWords(dst + 32, src + 32, x8, x9, x10, x11);
  x12 = i32x4.add(x12, splat(12));
  x13 = i32x4.add(x13, splat(13));
  x14 = i32x4.add(x14, splat(14));
  x15 = i32x4.add(x15, splat(15));
  xorWords(dst + 48, src + 48, x12, x13, x14, x15);
  store<u64>(SALSA_STATE, load<u64>(SALSA_STATE, 32) + 4, 32);
  for (; mac < macEnd; mac += 32) {
    let lo = load<u64>(mac);
    let hi = load<u64>(mac, 8);
    a0 += lo & MASK26;
    a1 += (lo >> 26) & MASK26;
    a2 += ((lo >> 52) | (hi << 12)) & MASK26;
    a3 += (hi >> 14) & MASK26;
    a4 += (hi >> 40) | HIBIT;
    let d0 = a0 * q0 + a1 * t4 + a2 * t3 + a3 * t2 + a4 * t1;
    let d1 = a0 * q1 + a1 * q0 + a2 * t4 + a3 * t3 + a4 * t2;
    let d2 = a0 * q2 + a1 * q1 + a2 * q0 + a3 * t4 + a4 * t3;
    let d3 = a0 * q3 + a1 * q2 + a2 * q1 + a3 * q0 + a4 * t4;
    let d4 = a0 * q4 + a1 * q3 + a2 * q2 + a3 * q1 + a4 * q0;
    lo = load<u64>(mac, 16);
    hi = load<u64>(mac, 24);
    a0 = lo & MASK26;
    a1 = (lo >> 26) & MASK26;
    a2 = ((lo >> 52) | (hi << 12)) & MASK26;
    a3 = (hi >> 14) & MASK26;
    a4 = (hi >> 40) | HIBIT;
    d0 += a0 * r0 + a1 * s4 + a2 * s3 + a3 * s2 + a4 * s1;
    d1 += a0 * r1 + a1 * r0 + a2 * s4 + a3 * s3 + a4 * s2;
    d2 += a0 * r2 + a1 * r1 + a2 * r0 + a3 * s4 + a4 * s3;
    d3 += a0 * r3 + a1 * r2 + a2 * r1 + a3 * r0 + a4 * s4;
    d4 += a0 * r4 + a1 * r3 + a2 * r2 + a3 * r1 + a4 * r0;
    d1 += d0 >> 26;
    d4 += d3 >> 26;
    d2 += d1 >> 26;
    d0 = (d0 & MASK26) + (d4 >> 26) * 5;
    d3 = (d3 & MASK26) + (d2 >> 26);
    a0 = d0 & MASK26;
    a1 = (d1 & MASK26) + (d0 >> 26);
    a2 = d2 & MASK26;
    a3 = d3 & MASK26;
    a4 = (d4 & MASK26) + (d3 >> 26);
  }
  store<u64>(POLY_SUM, a0);
  store<u64>(POLY_SUM, a1, 8);
  store<u64>(POLY_SUM, a2, 16);
  store<u64>(POLY_SUM, a3, 24);
  store<u64>(POLY_SUM, a4, 32);
}

/** The next 256 bytes of keystream into KEYSTREAM. */
export function nextKeystream(rounds: u32): void {
  xorGroup(KEYSTREAM, ZEROS, rounds);
}

/** `len` bytes: p = p XOR the bytes at `stream`. */
export function xorBytes(p: u32, stream: u32, len: u32): void {
  let i: u32 = 0;
  for (; i + 16 <= len; i += 16) {
    v128.store(p + i, v128.xor(v128.load(p + i), v128.load(stream + i)));
  }
  for (; i < len; i++) store<u8>(p + i, load<u8>(p + i) ^ load<u8>(stream + i));
}

/** `len` bytes: p = p XOR the keystream from the state's current block on. */
export function xorStream(p: u32, len: u32, rounds: u32): void {
  let i: u32 = 0;
  for (; i + GROUP_LEN <= len; i += GROUP_LEN) xorGroup(p + i, p + i, rounds);
  if (i === len) return;
  nextKeystream(rounds);
  xorBytes(p + i, KEYSTREAM, len - i);
}
