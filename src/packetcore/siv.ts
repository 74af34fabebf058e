/**
 * AES-GMAC-SIV of packets (suite 3) with node:crypto [1 sections 2.6, 5.4].
 *
 * One `SivKey` per peer holds the AES keys and the two long-lived block contexts of K1; the GMAC and
 * the counter mode need a context per packet.
 */
import {
  type Cipher,
  createCipheriv,
  createDecipheriv,
  type Decipher,
  timingSafeEqual,
} from 'node:crypto';
import { deriveAesKey, LABEL_K0, LABEL_K1 } from '../crypto/kbkdf.js';
import { hmacSha384 } from '../crypto/native.js';
import { MASK_HOPS, OFF_DEST, OFF_MAC, OFF_VERB } from './layout.js';

const BLOCK_LEN = 16;
const HALF_LEN = 8;
const AAD_LEN = OFF_MAC - OFF_DEST;
const GMAC_IV_LEN = 12;
// The byte of the counter block whose top bit is cleared [1 section 2.6].
const OFF_CTR_CARRY = 12;

export class SivKey {
  readonly #k0: Uint8Array;
  readonly #k1: Uint8Array;
  readonly #encrypt: Cipher;
  readonly #decrypt: Decipher;
  // Scratch of one call.
  readonly #iv = new Uint8Array(GMAC_IV_LEN);
  readonly #aad = new Uint8Array(BLOCK_LEN);
  readonly #block = new Uint8Array(BLOCK_LEN);

  /** From the 48-byte agreed key. */
  constructor(agreed: Uint8Array) {
    this.#k0 = deriveAesKey(hmacSha384, agreed, LABEL_K0);
    this.#k1 = deriveAesKey(hmacSha384, agreed, LABEL_K1);
    this.#encrypt = createCipheriv('aes-256-ecb', this.#k1, null).setAutoPadding(false);
    this.#decrypt = createDecipheriv('aes-256-ecb', this.#k1, null).setAutoPadding(false);
  }

  /** GMAC over padded header and body, its halves folded into bytes 8..15 of the scratch block. */
  #fold(header: Uint8Array, body: Uint8Array): void {
    this.#iv.set(this.#block.subarray(0, HALF_LEN));
    this.#aad.set(header.subarray(OFF_DEST, OFF_MAC));
    this.#aad[AAD_LEN - 1]! &= ~MASK_HOPS;
    const gcm = createCipheriv('aes-256-gcm', this.#k0, this.#iv);
    gcm.setAAD(this.#aad).setAAD(body);
    gcm.final();
    const tag = gcm.getAuthTag();
    for (let i = 0; i < HALF_LEN; i++) this.#block[HALF_LEN + i] = tag[i]! ^ tag[HALF_LEN + i]!;
  }

  /** The body XORed with the counter stream that starts at `tag`, which is changed. */
  #ctr(tag: Uint8Array, body: Uint8Array): Uint8Array {
    tag[OFF_CTR_CARRY]! &= 0x7f;
    return createCipheriv('aes-256-ctr', this.#k1, tag).update(body);
  }

  /** Seals in place; suite bits and flags are final already. The packet id is replaced. */
  seal(packet: Uint8Array): void {
    const body = packet.subarray(OFF_VERB);
    this.#block.set(packet.subarray(0, HALF_LEN));
    this.#fold(packet, body);
    const tag = this.#encrypt.update(this.#block);
    packet.set(tag.subarray(0, HALF_LEN));
    packet.set(tag.subarray(HALF_LEN), OFF_MAC);
    body.set(this.#ctr(tag, body));
  }

  /** Opens in place; false and the packet unchanged when the tag is wrong. */
  open(packet: Uint8Array): boolean {
    const body = packet.subarray(OFF_VERB);
    const tag = this.#block;
    tag.set(packet.subarray(0, HALF_LEN));
    tag.set(packet.subarray(OFF_MAC, OFF_VERB), HALF_LEN);
    const sivBlock = this.#decrypt.update(tag);
    const plaintext = this.#ctr(tag, body);
    this.#block.set(sivBlock.subarray(0, HALF_LEN));
    this.#fold(packet, plaintext);
    const isGenuine = timingSafeEqual(this.#block.subarray(HALF_LEN), sivBlock.subarray(HALF_LEN));
    if (isGenuine) body.set(plaintext);
    else plaintext.fill(0);
    return isGenuine;
  }
}
