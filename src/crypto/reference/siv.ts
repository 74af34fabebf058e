/** AES-GMAC-SIV over any AES and GMAC, step by step [1 section 2.6]. */
import { concatBytes, equalBytes } from '../../lib/bytes.js';

/** The primitives that the composition stands on. */
export interface SivPrimitives {
  encryptBlock(key: Uint8Array, block: Uint8Array): Uint8Array;
  decryptBlock(key: Uint8Array, block: Uint8Array): Uint8Array;
  ctr(key: Uint8Array, counter: Uint8Array, input: Uint8Array): Uint8Array;
  gmac(key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array;
}

/** Everything on the way from the inputs to the output, for known-answer tests. */
export interface SivTrace {
  readonly gmac: Uint8Array;
  readonly sivBlock: Uint8Array;
  readonly tag: Uint8Array;
  readonly ctrIv: Uint8Array;
  readonly ciphertext: Uint8Array;
}

function padded(aad: Uint8Array): Uint8Array {
  const out = new Uint8Array(Math.ceil(aad.length / 16) * 16);
  out.set(aad);
  return out;
}

function macOf(
  p: SivPrimitives,
  k0: Uint8Array,
  iv: Uint8Array,
  aad: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array {
  return p.gmac(k0, concatBytes(iv, new Uint8Array(4)), concatBytes(padded(aad), plaintext));
}

/** The two halves of the MAC folded into 8 bytes. */
function fold(mac: Uint8Array): Uint8Array {
  return mac.subarray(0, 8).map((b, i) => b ^ mac[8 + i]!);
}

function ctrIvOf(tag: Uint8Array): Uint8Array {
  const out = concatBytes(tag);
  out[12]! &= 0x7f;
  return out;
}

export function sivSeal(
  p: SivPrimitives,
  k0: Uint8Array,
  k1: Uint8Array,
  iv: Uint8Array,
  aad: Uint8Array,
  plaintext: Uint8Array,
): SivTrace {
  const gmac = macOf(p, k0, iv, aad, plaintext);
  const sivBlock = concatBytes(iv, fold(gmac));
  const tag = p.encryptBlock(k1, sivBlock);
  const ctrIv = ctrIvOf(tag);
  return { gmac, sivBlock, tag, ctrIv, ciphertext: p.ctr(k1, ctrIv, plaintext) };
}

/** The plaintext, or undefined when the tag is wrong. */
export function sivOpen(
  p: SivPrimitives,
  k0: Uint8Array,
  k1: Uint8Array,
  tag: Uint8Array,
  aad: Uint8Array,
  ciphertext: Uint8Array,
): Uint8Array | undefined {
  const plaintext = p.ctr(k1, ctrIvOf(tag), ciphertext);
  const sivBlock = p.decryptBlock(k1, tag);
  const mac = macOf(p, k0, sivBlock.subarray(0, 8), aad, plaintext);
  return equalBytes(fold(mac), sivBlock.subarray(8)) ? plaintext : undefined;
}
