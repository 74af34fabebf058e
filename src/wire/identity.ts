/**
 * Type 0 node identities [1 section 4]: text and binary codec, local validation, generation.
 *
 * Pure: hashes come from the caller's `Primitives`, randomness from its `Entropy`. The codecs do not
 * check that address and key belong together; `validateIdentity` does. Private keys leave a node
 * only through `emitIdentityText(id, true)` and `emitIdentity(..., true)`, which are for files.
 */
import type { Entropy, Primitives } from '../crypto/api.js';
import { concatBytes, equalBytes } from '../lib/bytes.js';
import { toHex } from '../lib/hex.js';

// [1 section 4.3] protocol constants of the binary form.
export const ADDRESS_LEN = 5;
export const PUBLIC_KEY_LEN = 64;
export const PRIVATE_KEY_LEN = 64;
export const IDENTITY_PUBLIC_LEN = 71;
export const IDENTITY_SECRET_LEN = 135;
const TYPE_C25519 = 0;
const OFF_TYPE = 5;
const OFF_PUBLIC_KEY = 6;
const OFF_PRIVATE_LEN = 70;
const OFF_PRIVATE_KEY = 71;

// [1 section 4.2] longest text that is looked at.
const TEXT_MAX_LEN = 383;
// [1 section 4.4] the first digest byte must be below this.
const HASHCASH_LIMIT = 17;
const ADDRESS_SPACE = 2 ** 40;
const RESERVED_PREFIX = 0xff;

export interface Identity {
  /** 40-bit ZeroTier address. */
  readonly address: number;
  /** 64 bytes: X25519 u-coordinate, Ed25519 public key [1 section 3.1]. */
  readonly publicKey: Uint8Array;
  /** 64 bytes: X25519 scalar, Ed25519 seed; undefined for everyone but ourselves. */
  readonly privateKey: Uint8Array | undefined;
}

/** Whether no node may have `address` [1 section 4.1]. */
export function isReservedAddress(address: number): boolean {
  return address === 0 || Math.floor(address / 2 ** 32) === RESERVED_PREFIX;
}

/** Exactly 10 lower-case hex digits [1 section 4.1]. */
export function emitAddressText(address: number): string {
  return address.toString(16).padStart(ADDRESS_LEN * 2, '0');
}

/** Equality of identities: address and all 64 public key bytes [1 section 4.5]. */
export function equalIdentities(a: Identity, b: Identity): boolean {
  return a.address === b.address && equalBytes(a.publicKey, b.publicKey);
}

/**
 * The address field of the text form, read as C's strtoull base 16 does, modulo 2^40
 * [1 section 4.2]; 0 when there is no digit.
 */
function parseAddressField(field: string): number {
  const m = /^\s*([+-]?)(?:0[xX](?=[0-9a-fA-F]))?0*([0-9a-fA-F]*)/.exec(field);
  const digits = m?.[2] ?? '';
  if (digits.length > 16) return ADDRESS_SPACE - 1;
  const low = digits.length === 0 ? 0 : Number.parseInt(digits.slice(-ADDRESS_LEN * 2), 16);
  return m?.[1] === '-' ? (ADDRESS_SPACE - low) % ADDRESS_SPACE : low;
}

function hexDigit(text: string, at: number): number {
  const digit = Number.parseInt(text.charAt(at), 16);
  return Number.isNaN(digit) ? 0 : digit;
}

/** The first 128 characters as 64 bytes; what is not a hex digit counts as 0 [1 section 4.2]. */
function parseKeyField(field: string): Uint8Array | undefined {
  if (field.length < PUBLIC_KEY_LEN * 2) return undefined;
  const key = new Uint8Array(PUBLIC_KEY_LEN);
  for (let i = 0; i < key.length; i++) {
    key[i] = hexDigit(field, 2 * i) * 16 + hexDigit(field, 2 * i + 1);
  }
  return key;
}

/**
 * Reads the text form, public or secret [1 section 4.2], with the tolerance of the reference
 * (files and command lines written for it keep working).
 */
export function parseIdentityText(text: string): Identity | undefined {
  if (text.length > TEXT_MAX_LEN) return undefined;
  const fields = text.split(':').filter((field) => field !== '');
  const [addressField, type, publicField, privateField] = fields;
  if (addressField === undefined || publicField === undefined || fields.length > 4)
    return undefined;
  if (type !== '0') return undefined;
  const address = parseAddressField(addressField);
  if (isReservedAddress(address)) return undefined;
  const publicKey = parseKeyField(publicField);
  if (publicKey === undefined) return undefined;
  if (privateField === undefined) return { address, publicKey, privateKey: undefined };
  const privateKey = parseKeyField(privateField);
  return privateKey === undefined ? undefined : { address, publicKey, privateKey };
}

/** The text form without newline. @throws RangeError when `withPrivate` and there is no private key. */
export function emitIdentityText(id: Identity, withPrivate: boolean): string {
  const text = `${emitAddressText(id.address)}:${TYPE_C25519}:${toHex(id.publicKey)}`;
  return withPrivate ? `${text}:${toHex(needPrivateKey(id))}` : text;
}

function needPrivateKey(id: Identity): Uint8Array {
  if (id.privateKey === undefined) throw new RangeError('identity has no private key');
  return id.privateKey;
}

function readAddress(bytes: Uint8Array, offset: number): number {
  let address = 0;
  for (let i = 0; i < ADDRESS_LEN; i++) address = address * 256 + bytes[offset + i]!;
  return address;
}

function writeAddress(address: number, out: Uint8Array, offset: number): void {
  let rest = address;
  for (let i = ADDRESS_LEN - 1; i >= 0; i--) {
    out[offset + i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
}

/**
 * Reads the binary form at `offset` [1 section 4.3]. Keys are copies.
 * @returns the identity and the bytes it took (71 or 135), or undefined when malformed or cut.
 */
export function parseIdentity(
  bytes: Uint8Array,
  offset: number,
): { identity: Identity; length: number } | undefined {
  if (bytes.length - offset < IDENTITY_PUBLIC_LEN) return undefined;
  if (bytes[offset + OFF_TYPE] !== TYPE_C25519) return undefined;
  const address = readAddress(bytes, offset);
  const publicKey = concatBytes(bytes.subarray(offset + OFF_PUBLIC_KEY, offset + OFF_PRIVATE_LEN));
  const privateLen = bytes[offset + OFF_PRIVATE_LEN];
  if (privateLen === 0) {
    return { identity: { address, publicKey, privateKey: undefined }, length: IDENTITY_PUBLIC_LEN };
  }
  if (privateLen !== PRIVATE_KEY_LEN || bytes.length - offset < IDENTITY_SECRET_LEN) {
    return undefined;
  }
  const privateKey = concatBytes(
    bytes.subarray(offset + OFF_PRIVATE_KEY, offset + IDENTITY_SECRET_LEN),
  );
  return { identity: { address, publicKey, privateKey }, length: IDENTITY_SECRET_LEN };
}

/**
 * Writes the binary form at `offset`; without the private key unless asked [1 section 4.3].
 * @returns bytes written, 71 or 135.
 * @throws RangeError when `out` is too short or the private key wanted is not there.
 */
export function emitIdentity(
  id: Identity,
  out: Uint8Array,
  offset: number,
  withPrivate = false,
): number {
  const length = withPrivate ? IDENTITY_SECRET_LEN : IDENTITY_PUBLIC_LEN;
  if (out.length - offset < length) throw new RangeError('no room for an identity');
  writeAddress(id.address, out, offset);
  out[offset + OFF_TYPE] = TYPE_C25519;
  out.set(id.publicKey, offset + OFF_PUBLIC_KEY);
  out[offset + OFF_PRIVATE_LEN] = withPrivate ? PRIVATE_KEY_LEN : 0;
  if (withPrivate) out.set(needPrivateKey(id), offset + OFF_PRIVATE_KEY);
  return length;
}

/** SHA-384 of address and public key, as certificates of membership carry it [1 section 4.6]. */
export function publicKeyHash(p: Primitives, id: Identity): Uint8Array {
  const address = new Uint8Array(ADDRESS_LEN);
  writeAddress(id.address, address, 0);
  return p.sha384(concatBytes(address, id.publicKey));
}

/** The address that a memory-hard digest stands for, undefined when it misses the criterion. */
function addressOfDigest(digest: Uint8Array): number | undefined {
  if (digest[0]! >= HASHCASH_LIMIT) return undefined;
  return readAddress(digest, digest.length - ADDRESS_LEN);
}

/** Full local validation [1 section 4.5]; costs one memory-hard hash (tens of ms of CPU). */
export function validateIdentity(p: Primitives, id: Identity): boolean {
  if (isReservedAddress(id.address)) return false;
  return addressOfDigest(p.memoryHardHash(id.publicKey)) === id.address;
}

/** Adds 1 to the little-endian 64-bit word at bytes 8..15 of the X25519 scalar [1 section 4.5]. */
function nextScalar(privateKey: Uint8Array): void {
  for (let i = 8; i < 16; i++) {
    privateKey[i] = privateKey[i]! + 1;
    if (privateKey[i] !== 0) return;
  }
}

/**
 * Makes a new identity [1 section 4.5]: about 15 memory-hard hashes on average, with a long tail.
 * Runs to the end on the calling thread; hosts call it from a worker.
 */
export function generateIdentity(p: Primitives, entropy: Entropy): Identity {
  const privateKey = new Uint8Array(PRIVATE_KEY_LEN);
  for (;;) {
    entropy.fill(privateKey);
    let address: number | undefined;
    let publicKey: Uint8Array;
    do {
      nextScalar(privateKey);
      publicKey = p.publicFromPrivate(privateKey);
      address = addressOfDigest(p.memoryHardHash(publicKey));
    } while (address === undefined);
    if (!isReservedAddress(address)) return { address, publicKey, privateKey };
  }
}
