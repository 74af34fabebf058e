/**
 * What node:crypto (OpenSSL) does for us: SHA-2, HMAC, X25519, Ed25519, AES [1 sections 2, 3].
 *
 * Keys are raw bytes at this boundary. `createPrimitives` needs the memory-hard hash from elsewhere,
 * as OpenSSL has none.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  type KeyObject,
  randomFillSync,
  sign as signRaw,
  timingSafeEqual,
  verify as verifyRaw,
} from 'node:crypto';
import { concatBytes } from '../lib/bytes.js';
import { fromHex } from '../lib/hex.js';
import type { Entropy, Primitives } from './api.js';

// [1 section 3.1] halves of a key pair.
const HALF_LEN = 32;
const KEY_LEN = 64;
// [1 section 3.2]
const AGREED_LEN = 48;
// [1 section 3.3]
const RAW_SIGNATURE_LEN = 64;
const SIGNATURE_LEN = 96;

// [1 section 3.3] DER wrappers of raw 32-byte private keys.
const X25519_PRIVATE = fromHex('302e020100300506032b656e04220420');
const ED25519_PRIVATE = fromHex('302e020100300506032b657004220420');

function privateKeyObject(prefix: Uint8Array, raw: Uint8Array): KeyObject {
  const key = Buffer.from(concatBytes(prefix, raw));
  return createPrivateKey({ key, format: 'der', type: 'pkcs8' });
}

/**
 * OpenSSL's objects of private keys, made once each: reading the DER form costs 400 us, a signature 34.
 * By the identity of the 64-byte array, which must not change once a key was used.
 */
interface KeyPair {
  readonly agreement: KeyObject;
  readonly signing: KeyObject;
}
const pairs = new WeakMap<Uint8Array, KeyPair>();

function keyPair(privateKey: Uint8Array): KeyPair {
  needLength(privateKey, KEY_LEN, 'private key');
  let pair = pairs.get(privateKey);
  if (pair === undefined) {
    pair = {
      agreement: privateKeyObject(X25519_PRIVATE, privateKey.subarray(0, HALF_LEN)),
      signing: privateKeyObject(ED25519_PRIVATE, privateKey.subarray(HALF_LEN)),
    };
    pairs.set(privateKey, pair);
  }
  return pair;
}

/** As a JSON web key, which costs a sixth of the DER form (14 us against 87). */
function publicKeyObject(crv: 'X25519' | 'Ed25519', raw: Uint8Array): KeyObject {
  const x = Buffer.from(raw.buffer, raw.byteOffset, raw.length).toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv, x }, format: 'jwk' });
}

/** The raw 32 bytes at the end of the public half's DER form. */
function rawPublic(privateKey: KeyObject): Uint8Array {
  const der = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return Uint8Array.from(der.subarray(der.length - HALF_LEN));
}

function needLength(bytes: Uint8Array, length: number, what: string): void {
  if (bytes.length !== length)
    throw new RangeError(`${what}: ${bytes.length} bytes, not ${length}`);
}

function digest(algorithm: string, parts: Uint8Array[]): Uint8Array {
  const hash = createHash(algorithm);
  for (const part of parts) hash.update(part);
  return Uint8Array.from(hash.digest());
}

export function sha512(...parts: Uint8Array[]): Uint8Array {
  return digest('sha512', parts);
}

export function sha384(...parts: Uint8Array[]): Uint8Array {
  return digest('sha384', parts);
}

export function hmacSha384(key: Uint8Array, message: Uint8Array): Uint8Array {
  return Uint8Array.from(createHmac('sha384', key).update(message).digest());
}

/**
 * Raw X25519 of 32-byte halves [1 section 3.1].
 * @returns undefined for a public key of low order, which OpenSSL refuses.
 */
export function x25519(privateHalf: Uint8Array, publicHalf: Uint8Array): Uint8Array | undefined {
  return exchange(privateKeyObject(X25519_PRIVATE, privateHalf), publicHalf);
}

function exchange(privateKey: KeyObject, publicHalf: Uint8Array): Uint8Array | undefined {
  const publicKey = publicKeyObject('X25519', publicHalf);
  try {
    return Uint8Array.from(diffieHellman({ privateKey, publicKey }));
  } catch {
    // Both keys are well formed here, so the all-zero result is the only failure left.
    return undefined;
  }
}

/** Peer key: the first 48 bytes of SHA-512 of the agreement [1 section 3.2]. */
export function agree(privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array | undefined {
  const { agreement } = keyPair(privateKey);
  needLength(publicKey, KEY_LEN, 'public key');
  const raw = exchange(agreement, publicKey.subarray(0, HALF_LEN));
  return raw === undefined ? undefined : sha512(raw).slice(0, AGREED_LEN);
}

/** The 32-byte string that is signed [1 section 3.3]. */
function signedDigest(message: Uint8Array): Uint8Array {
  return sha512(message).subarray(0, HALF_LEN);
}

export function sign(privateKey: Uint8Array, message: Uint8Array): Uint8Array {
  const { signing } = keyPair(privateKey);
  const d = signedDigest(message);
  return concatBytes(signRaw(null, d, signing), d);
}

export function verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== KEY_LEN || signature.length !== SIGNATURE_LEN) return false;
  const d = signedDigest(message);
  if (!timingSafeEqual(d, signature.subarray(RAW_SIGNATURE_LEN))) return false;
  const key = publicKeyObject('Ed25519', publicKey.subarray(HALF_LEN));
  return verifyRaw(null, d, key, signature.subarray(0, RAW_SIGNATURE_LEN));
}

export function publicFromPrivate(privateKey: Uint8Array): Uint8Array {
  needLength(privateKey, KEY_LEN, 'private key');
  return concatBytes(
    rawPublic(privateKeyObject(X25519_PRIVATE, privateKey.subarray(0, HALF_LEN))),
    rawPublic(privateKeyObject(ED25519_PRIVATE, privateKey.subarray(HALF_LEN))),
  );
}

/** One AES-256 block. */
export function aesEncryptBlock(key: Uint8Array, block: Uint8Array): Uint8Array {
  return Uint8Array.from(createCipheriv('aes-256-ecb', key, null).update(block));
}

export function aesDecryptBlock(key: Uint8Array, block: Uint8Array): Uint8Array {
  const cipher = createDecipheriv('aes-256-ecb', key, null).setAutoPadding(false);
  return Uint8Array.from(cipher.update(block));
}

/** AES-256-CTR from a 16-byte counter block [1 section 2.5]. */
export function aesCtr(key: Uint8Array, counter: Uint8Array, input: Uint8Array): Uint8Array {
  return Uint8Array.from(createCipheriv('aes-256-ctr', key, counter).update(input));
}

/** GMAC with a 12-byte IV, 16 bytes [1 section 2.5]. */
export function gmac(key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array {
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(data);
  cipher.final();
  return Uint8Array.from(cipher.getAuthTag());
}

/** All primitives, with the memory-hard hash given by the caller [1 section 4.4]. */
export function createPrimitives(
  memoryHardHash: (publicKey: Uint8Array) => Uint8Array,
): Primitives {
  return { sha512, sha384, agree, sign, verify, publicFromPrivate, memoryHardHash };
}

/** The operating system's generator. */
export const nativeEntropy: Entropy = {
  fill(bytes) {
    randomFillSync(bytes);
  },
};
