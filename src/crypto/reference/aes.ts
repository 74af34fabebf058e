/**
 * AES-256 on single blocks, CTR and GMAC, built from their definitions [1 section 2.5]. Slow and not
 * constant time: for tests.
 */
import { concatBytes } from '../../lib/bytes.js';

const ROUNDS = 14;
const KEY_WORDS = 8;

/** Multiplication in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1. */
function times(a: number, b: number): number {
  let product = 0;
  for (let x = a, y = b; y !== 0; y >>= 1) {
    if (y & 1) product ^= x;
    x = (x << 1) ^ (x & 0x80 ? 0x11b : 0);
  }
  return product;
}

function substitute(v: number): number {
  let inverse = 0;
  for (let c = 1; c < 256 && v !== 0; c++) if (times(v, c) === 1) inverse = c;
  let out = 0x63;
  for (let i = 0; i < 5; i++) out ^= (inverse << i) | (inverse >> (8 - i));
  return out & 0xff;
}

const SBOX = Uint8Array.from({ length: 256 }, (_, v) => substitute(v));
const INVERSE_SBOX = new Uint8Array(256);
SBOX.forEach((v, i) => {
  INVERSE_SBOX[v] = i;
});

/** Fifteen round keys of 16 bytes, one after the other. */
function expandKey(key: Uint8Array): Uint8Array {
  if (key.length !== 32) throw new RangeError('AES-256 key length');
  const out = new Uint8Array(16 * (ROUNDS + 1));
  out.set(key);
  let rcon = 1;
  for (let w = KEY_WORDS; w < out.length / 4; w++) {
    let temp = out.slice(4 * w - 4, 4 * w);
    if (w % KEY_WORDS === 0) {
      temp = Uint8Array.of(temp[1]!, temp[2]!, temp[3]!, temp[0]!).map((b) => SBOX[b]!);
      temp[0]! ^= rcon;
      rcon = times(rcon, 2);
    } else if (w % KEY_WORDS === 4) {
      temp = temp.map((b) => SBOX[b]!);
    }
    for (let i = 0; i < 4; i++) out[4 * w + i] = out[4 * (w - KEY_WORDS) + i]! ^ temp[i]!;
  }
  return out;
}

/** Byte (row r, column c) is at 4c + r; row r moves left by r columns, or right when inverted. */
function shiftRows(s: Uint8Array, direction: 1 | -1): Uint8Array {
  return s.map((_, i) => s[(i + 4 * direction * (i % 4) + 16) % 16]!);
}

function mixColumns(s: Uint8Array, factors: readonly number[]): Uint8Array {
  return s.map((_, i) => {
    const column = i - (i % 4);
    let sum = 0;
    for (let k = 0; k < 4; k++) sum ^= times(s[column + ((i + k) % 4)]!, factors[k]!);
    return sum;
  });
}

function addKey(s: Uint8Array, keys: Uint8Array, round: number): Uint8Array {
  return s.map((b, i) => b ^ keys[16 * round + i]!);
}

export function aesEncryptBlock(key: Uint8Array, block: Uint8Array): Uint8Array {
  const keys = expandKey(key);
  let s = addKey(block, keys, 0);
  for (let round = 1; round <= ROUNDS; round++) {
    s = shiftRows(
      s.map((b) => SBOX[b]!),
      1,
    );
    if (round < ROUNDS) s = mixColumns(s, [2, 3, 1, 1]);
    s = addKey(s, keys, round);
  }
  return s;
}

export function aesDecryptBlock(key: Uint8Array, block: Uint8Array): Uint8Array {
  const keys = expandKey(key);
  let s = addKey(block, keys, ROUNDS);
  for (let round = ROUNDS - 1; round >= 0; round--) {
    s = shiftRows(s, -1).map((b) => INVERSE_SBOX[b]!);
    s = addKey(s, keys, round);
    if (round > 0) s = mixColumns(s, [14, 11, 13, 9]);
  }
  return s;
}

/** CTR mode; `counter` (16 bytes) counts as one big-endian integer. */
export function aesCtr(key: Uint8Array, counter: Uint8Array, input: Uint8Array): Uint8Array {
  const out = concatBytes(input);
  const block = concatBytes(counter);
  for (let at = 0; at < out.length; at += 16) {
    const stream = aesEncryptBlock(key, block);
    for (let i = 0; i < 16 && at + i < out.length; i++) out[at + i]! ^= stream[i]!;
    for (let i = 15; i >= 0 && ++block[i]! === 256; i--) block[i] = 0;
  }
  return out;
}

function toBig(bytes: Uint8Array): bigint {
  return bytes.reduce((v, b) => (v << 8n) | BigInt(b), 0n);
}

/** Product in GCM's field, where the first bit of a block is the coefficient of x^0. */
function fieldTimes(a: bigint, b: bigint): bigint {
  let product = 0n;
  let v = b;
  for (let bit = 127n; bit >= 0n; bit--) {
    if ((a >> bit) & 1n) product ^= v;
    v = (v >> 1n) ^ (v & 1n ? 0xe1n << 120n : 0n);
  }
  return product;
}

/** GMAC: the GCM tag of `data` as additional data and no plaintext, 12-byte IV. */
export function gmac(key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array {
  const h = toBig(aesEncryptBlock(key, new Uint8Array(16)));
  let sum = 0n;
  for (let at = 0; at < data.length; at += 16) {
    const block = new Uint8Array(16);
    block.set(data.subarray(at, at + 16));
    sum = fieldTimes(sum ^ toBig(block), h);
  }
  sum = fieldTimes(sum ^ (BigInt(data.length * 8) << 64n), h);
  const first = new Uint8Array(16);
  first.set(iv);
  first[15] = 1;
  let tag = sum ^ toBig(aesEncryptBlock(key, first));
  const out = new Uint8Array(16);
  for (let i = 15; i >= 0; i--, tag >>= 8n) out[i] = Number(tag & 0xffn);
  return out;
}
