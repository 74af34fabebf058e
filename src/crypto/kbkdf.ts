/** Key derivation of AES-GMAC-SIV: its message and its two uses [1 section 2.2]. */

// [1 section 2.2] labels of the two keys.
export const LABEL_K0 = 0x30;
export const LABEL_K1 = 0x31;
export const AES_KEY_LEN = 32;
const OUTPUT_BITS = 384;

/** The 13 bytes that are HMACed. */
export function kbkdfMessage(label: number, context: number, iteration: number): Uint8Array {
  const m = new Uint8Array(13);
  const view = new DataView(m.buffer);
  view.setUint32(0, iteration);
  m[4] = 0x5a;
  m[5] = 0x54;
  m[6] = label;
  m[8] = context;
  view.setUint32(9, OUTPUT_BITS);
  return m;
}

/** 48-byte HMAC-SHA-384 of a message. */
export type Hmac = (key: Uint8Array, message: Uint8Array) => Uint8Array;

/** One of the two AES-256 keys of a peer, from its 48-byte agreed key. */
export function deriveAesKey(hmac: Hmac, agreed: Uint8Array, label: number): Uint8Array {
  return hmac(agreed, kbkdfMessage(label, 0, 0)).slice(0, AES_KEY_LEN);
}
