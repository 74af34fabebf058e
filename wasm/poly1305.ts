/**
 * Poly1305 [1 section 2.4] in radix 2^26, two blocks per carry.
 *
 * With h the accumulator and m, n two blocks, the loop computes (h + m) r^2 + n r: the ten products
 * of a limb are summed before one shared carry. Bounds: limbs of h and of r^2 are below 2^26 + 2^11
 * after a carry, so those of h + m are below 2^27.1 and a multiplier is below 5 * 2^26.1 < 2^28.5;
 * ten products stay below 2^59. All products are 64-bit multiplications, whose time does not depend
 * on the operands.
 *
 * A MAC is `startMac`, any number of `absorb` of whole pairs, one `absorb` of any length, `finishMac`.
 * The accumulator is in POLY_SUM (five 64-bit limbs), s in POLY_PAD, the powers in POLY_POWERS.
 */
import { POLY_PAD, POLY_POWERS, POLY_SUM, POLY_TAIL, TAG } from './layout';

export const MASK26: u64 = 0x3ffffff;
// Bit 128 of a full block, in the top limb.
export const HIBIT: u64 = 1 << 24;
// r and r^2, nine 64-bit words each: limbs 0..4, then 5 times limbs 1..4.
export const POLY_R1: u32 = POLY_POWERS;
export const POLY_R2: u32 = POLY_POWERS + 72;
// Bits of r that the key's clamping keeps.
const CLAMP_LO: u64 = ((<u64>0x0ffffffc) << 32) | 0x0fffffff;
const CLAMP_HI: u64 = ((<u64>0x0ffffffc) << 32) | 0x0ffffffc;
const PAIR_LEN: u32 = 32;
const BLOCK_LEN: u32 = 16;

function storePower(p: u32, a0: u64, a1: u64, a2: u64, a3: u64, a4: u64): void {
  store<u64>(p, a0);
  store<u64>(p, a1, 8);
  store<u64>(p, a2, 16);
  store<u64>(p, a3, 24);
  store<u64>(p, a4, 32);
  store<u64>(p, a1 * 5, 40);
  store<u64>(p, a2 * 5, 48);
  store<u64>(p, a3 * 5, 56);
  store<u64>(p, a4 * 5, 64);
}

/** Starts a MAC under the 32-byte one-time key at `key`: r is clamped, r^2 made, the sum cleared. */
export function startMac(key: u32): void {
  const lo = load<u64>(key) & CLAMP_LO;
  const hi = load<u64>(key, 8) & CLAMP_HI;
  const r0 = lo & MASK26;
  const r1 = (lo >> 26) & MASK26;
  const r2 = ((lo >> 52) | (hi << 12)) & MASK26;
  const r3 = (hi >> 14) & MASK26;
  const r4 = hi >> 40;
  storePower(POLY_R1, r0, r1, r2, r3, r4);
  multiply(r0, r1, r2, r3, r4);
  storePower(
    POLY_R2,
    load<u64>(POLY_SUM),
    load<u64>(POLY_SUM, 8),
    load<u64>(POLY_SUM, 16),
    load<u64>(POLY_SUM, 24),
    load<u64>(POLY_SUM, 32),
  );
  storeSum(0, 0, 0, 0, 0);
  v128.store(POLY_PAD, v128.load(key, 16));
}

function storeSum(a0: u64, a1: u64, a2: u64, a3: u64, a4: u64): void {
  store<u64>(POLY_SUM, a0);
  store<u64>(POLY_SUM, a1, 8);
  store<u64>(POLY_SUM, a2, 16);
  store<u64>(POLY_SUM, a3, 24);
  store<u64>(POLY_SUM, a4, 32);
}

/** Carries five sums of products into the accumulator. */
function carry(d0: u64, d1: u64, d2: u64, d3: u64, d4: u64): void {
  d1 += d0 >> 26;
  d4 += d3 >> 26;
  d2 += d1 >> 26;
  d0 = (d0 & MASK26) + (d4 >> 26) * 5;
  d3 = (d3 & MASK26) + (d2 >> 26);
  storeSum(
    d0 & MASK26,
    (d1 & MASK26) + (d0 >> 26),
    d2 & MASK26,
    d3 & MASK26,
    (d4 & MASK26) + (d3 >> 26),
  );
}

/** Accumulator = the given limbs times r. */
function multiply(a0: u64, a1: u64, a2: u64, a3: u64, a4: u64): void {
  const r0 = load<u64>(POLY_R1);
  const r1 = load<u64>(POLY_R1, 8);
  const r2 = load<u64>(POLY_R1, 16);
  const r3 = load<u64>(POLY_R1, 24);
  const r4 = load<u64>(POLY_R1, 32);
  const s1 = load<u64>(POLY_R1, 40);
  const s2 = load<u64>(POLY_R1, 48);
  const s3 = load<u64>(POLY_R1, 56);
  const s4 = load<u64>(POLY_R1, 64);
  carry(
    a0 * r0 + a1 * s4 + a2 * s3 + a3 * s2 + a4 * s1,
    a0 * r1 + a1 * r0 + a2 * s4 + a3 * s3 + a4 * s2,
    a0 * r2 + a1 * r1 + a2 * r0 + a3 * s4 + a4 * s3,
    a0 * r3 + a1 * r2 + a2 * r1 + a3 * r0 + a4 * s4,
    a0 * r4 + a1 * r3 + a2 * r2 + a3 * r1 + a4 * r0,
  );
}

/** Accumulator = (accumulator + the 16 bytes at p with `hibit` in the top limb) times r. */
function absorbBlock(p: u32, hibit: u64): void {
  const lo = load<u64>(p);
  const hi = load<u64>(p, 8);
  multiply(
    load<u64>(POLY_SUM) + (lo & MASK26),
    load<u64>(POLY_SUM, 8) + ((lo >> 26) & MASK26),
    load<u64>(POLY_SUM, 16) + (((lo >> 52) | (hi << 12)) & MASK26),
    load<u64>(POLY_SUM, 24) + ((hi >> 14) & MASK26),
    load<u64>(POLY_SUM, 32) + ((hi >> 40) | hibit),
  );
}

/**
 * Absorbs whole pairs of blocks from p up to `end`. Unrolled over both blocks: the accumulator and
 * the sums must live in registers.
 */
function absorbPairs(p: u32, end: u32): void {
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
  for (; p < end; p += PAIR_LEN) {
    let lo = load<u64>(p);
    let hi = load<u64>(p, 8);
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
    lo = load<u64>(p, 16);
    hi = load<u64>(p, 24);
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
  storeSum(a0, a1, a2, a3, a4);
}

/** The last, short block: its bytes, a 1, zeros; no bit 128. */
function absorbTail(p: u32, len: u32): void {
  v128.store(POLY_TAIL, i64x2.splat(0));
  for (let i: u32 = 0; i < len; i++) store<u8>(POLY_TAIL + i, load<u8>(p + i));
  store<u8>(POLY_TAIL + len, 1);
  absorbBlock(POLY_TAIL, 0);
}

/** Absorbs `len` bytes at p; after a length that is not a multiple of 16 only `finishMac` may follow. */
export function absorb(p: u32, len: u32): void {
  const pairs = len & ~(PAIR_LEN - 1);
  absorbPairs(p, p + pairs);
  p += pairs;
  len -= pairs;
  if (len >= BLOCK_LEN) {
    absorbBlock(p, HIBIT);
    p += BLOCK_LEN;
    len -= BLOCK_LEN;
  }
  if (len > 0) absorbTail(p, len);
}

/** Writes (accumulator mod 2^130 - 5) + s, the low 128 bits, to TAG. */
export function finishMac(): void {
  // The value is below 2^130 + 2^113: one plain carry, then at most one subtraction of 2^130 - 5.
  const a0 = load<u64>(POLY_SUM);
  const c1 = load<u64>(POLY_SUM, 8) + (a0 >> 26);
  const c2 = load<u64>(POLY_SUM, 16) + (c1 >> 26);
  const c3 = load<u64>(POLY_SUM, 24) + (c2 >> 26);
  const a4 = load<u64>(POLY_SUM, 32) + (c3 >> 26);
  const a1 = c1 & MASK26;
  const a2 = c2 & MASK26;
  const a3 = c3 & MASK26;
  // g = a + 5 - 2^130: taken instead of a when it does not borrow.
  const g0 = (a0 & MASK26) + 5;
  const g1 = a1 + (g0 >> 26);
  const g2 = a2 + (g1 >> 26);
  const g3 = a3 + (g2 >> 26);
  const g4 = a4 + (g3 >> 26) - ((<u64>1) << 26);
  const keep = <u64>0 - (g4 >> 63);
  const low26 = MASK26 & ~keep;
  const b2 = (g2 & low26) | (a2 & keep);
  const lo =
    (g0 & low26) | (a0 & MASK26 & keep) | (((g1 & low26) | (a1 & keep)) << 26) | (b2 << 52);
  const hi =
    (b2 >> 12) | (((g3 & low26) | (a3 & keep)) << 14) | (((g4 & ~keep) | (a4 & keep)) << 40);
  const padLo = load<u64>(POLY_PAD);
  const sumLo = lo + padLo;
  // The carry out of the low half without a branch: majority of both inputs and the absent sum bit.
  const carryOut = ((lo & padLo) | ((lo | padLo) & ~sumLo)) >> 63;
  store<u64>(TAG, sumLo);
  store<u64>(TAG, hi + load<u64>(POLY_PAD, 8) + carryOut, 8);
}
