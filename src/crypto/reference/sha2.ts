/**
 * SHA-512, SHA-384, HMAC-SHA-384 and the KBKDF over it, with big integers [1 sections 2.1, 2.2].
 * The round constants are computed from the primes that define them.
 */
import { concatBytes } from '../../lib/bytes.js';

const MASK64 = 2n ** 64n - 1n;
const BLOCK_LEN = 128;
const ROUNDS = 80;

function firstPrimes(count: number): bigint[] {
  const primes: bigint[] = [];
  for (let n = 2n; primes.length < count; n++) {
    if (primes.every((p) => n % p !== 0n)) primes.push(n);
  }
  return primes;
}

/** Largest x with x^k <= n. */
function integerRoot(n: bigint, k: bigint): bigint {
  let low = 0n;
  let high = 1n << (BigInt(n.toString(2).length) / k + 1n);
  while (high - low > 1n) {
    const middle = (low + high) >> 1n;
    if (middle ** k <= n) low = middle;
    else high = middle;
  }
  return low;
}

/** First 64 bits of the fractional part of the k-th root of n. */
function rootFraction(n: bigint, k: bigint): bigint {
  return integerRoot(n << (64n * k), k) & MASK64;
}

const PRIMES = firstPrimes(ROUNDS);
const K = PRIMES.map((p) => rootFraction(p, 3n));
const INIT_512 = PRIMES.slice(0, 8).map((p) => rootFraction(p, 2n));
const INIT_384 = PRIMES.slice(8, 16).map((p) => rootFraction(p, 2n));

function rotr(x: bigint, n: bigint): bigint {
  return ((x >> n) | (x << (64n - n))) & MASK64;
}

function schedule(block: Uint8Array): bigint[] {
  const view = new DataView(block.buffer, block.byteOffset, block.length);
  const w: bigint[] = [];
  for (let t = 0; t < 16; t++) w.push(view.getBigUint64(8 * t));
  for (let t = 16; t < ROUNDS; t++) {
    const a = w[t - 15]!;
    const b = w[t - 2]!;
    const s0 = rotr(a, 1n) ^ rotr(a, 8n) ^ (a >> 7n);
    const s1 = rotr(b, 19n) ^ rotr(b, 61n) ^ (b >> 6n);
    w.push((w[t - 16]! + s0 + w[t - 7]! + s1) & MASK64);
  }
  return w;
}

function compress(state: bigint[], block: Uint8Array): bigint[] {
  let [a, b, c, d, e, f, g, h] = state as [
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
  ];
  schedule(block).forEach((w, t) => {
    const s1 = rotr(e, 14n) ^ rotr(e, 18n) ^ rotr(e, 41n);
    const t1 = h + s1 + ((e & f) ^ (~e & MASK64 & g)) + K[t]! + w;
    const s0 = rotr(a, 28n) ^ rotr(a, 34n) ^ rotr(a, 39n);
    const t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) & MASK64, c, b, a, (t1 + t2) & MASK64];
  });
  return [a, b, c, d, e, f, g, h].map((v, i) => (v + state[i]!) & MASK64);
}

function pad(message: Uint8Array): Uint8Array {
  const zeros = (2 * BLOCK_LEN - 17 - (message.length % BLOCK_LEN)) % BLOCK_LEN;
  const out = new Uint8Array(message.length + 1 + zeros + 16);
  out.set(message);
  out[message.length] = 0x80;
  new DataView(out.buffer).setBigUint64(out.length - 8, BigInt(message.length) * 8n);
  return out;
}

function hash(init: bigint[], message: Uint8Array): Uint8Array {
  const padded = pad(message);
  let state = init;
  for (let at = 0; at < padded.length; at += BLOCK_LEN) {
    state = compress(state, padded.subarray(at, at + BLOCK_LEN));
  }
  const out = new Uint8Array(64);
  const view = new DataView(out.buffer);
  state.forEach((v, i) => {
    view.setBigUint64(8 * i, v);
  });
  return out;
}

export function sha512(...parts: Uint8Array[]): Uint8Array {
  return hash(INIT_512, concatBytes(...parts));
}

export function sha384(...parts: Uint8Array[]): Uint8Array {
  return hash(INIT_384, concatBytes(...parts)).slice(0, 48);
}

/** HMAC-SHA-384 with a key of at most one block. */
export function hmacSha384(key: Uint8Array, message: Uint8Array): Uint8Array {
  if (key.length > BLOCK_LEN) throw new RangeError('HMAC key longer than a block');
  const padded = new Uint8Array(BLOCK_LEN);
  padded.set(key);
  const inner = sha384(
    padded.map((b) => b ^ 0x36),
    message,
  );
  return sha384(
    padded.map((b) => b ^ 0x5c),
    inner,
  );
}
