/**
 * `PacketCore` in plain TypeScript: the oracle of the tests [1 sections 5, 6]. Nothing here is fast
 * or constant time.
 */
import { concatBytes, equalBytes } from '../../lib/bytes.js';
import type { PacketCore, PeerKey, Suite } from '../api.js';
import { deriveAesKey, LABEL_K0, LABEL_K1 } from '../kbkdf.js';
import { aesCtr, aesDecryptBlock, aesEncryptBlock, gmac } from './aes.js';
import { lz4Decode, lz4Encode } from './lz4.js';
import { poly1305 } from './poly1305.js';
import { Salsa20 } from './salsa20.js';
import { hmacSha384 } from './sha2.js';
import { type SivPrimitives, sivOpen, sivSeal } from './siv.js';

const HEADER_LEN = 28;
const OFF_DEST = 8;
const OFF_FLAGS = 18;
const OFF_MAC = 19;
const OFF_VERB = 27;

export const referenceSiv: SivPrimitives = {
  encryptBlock: aesEncryptBlock,
  decryptBlock: aesDecryptBlock,
  ctr: aesCtr,
  gmac,
};

/** The 32-byte packet key of suites 0 and 1 [1 section 5.2]. */
export function packetKey(agreed: Uint8Array, packet: Uint8Array): Uint8Array {
  const key = concatBytes(agreed.subarray(0, 32));
  for (let i = 0; i < OFF_FLAGS; i++) key[i]! ^= packet[i]!;
  key[18]! ^= packet[OFF_FLAGS]! & 0xf8;
  key[19]! ^= packet.length & 0xff;
  key[20]! ^= (packet.length >> 8) & 0xff;
  return key;
}

function withSuite(flags: number, suite: Suite): number {
  return (flags & 0x40) | (suite << 3) | (suite === 1 ? 0x80 : 0);
}

export class ReferencePacketCore implements PacketCore {
  makeKey(agreed: Uint8Array): PeerKey {
    return { agreed: concatBytes(agreed) };
  }

  seal(key: PeerKey, packet: Uint8Array, suite: Suite): void {
    if (packet.length < HEADER_LEN) throw new RangeError('packet shorter than its header');
    packet[OFF_FLAGS] = withSuite(packet[OFF_FLAGS]!, suite);
    if (suite === 3) {
      this.#sealSiv(key, packet);
      return;
    }
    const cipher = new Salsa20(packetKey(key.agreed, packet), packet.subarray(0, 8), 12);
    const macKey = cipher.block().subarray(0, 32);
    if (suite === 1) packet.set(cipher.xor(packet.subarray(OFF_VERB)), OFF_VERB);
    packet.set(poly1305(macKey, packet.subarray(OFF_VERB)).subarray(0, 8), OFF_MAC);
  }

  open(key: PeerKey, packet: Uint8Array): boolean {
    if (packet.length < HEADER_LEN) return false;
    const suite = (packet[OFF_FLAGS]! >> 3) & 7;
    if (suite === 3) return this.#openSiv(key, packet);
    if (suite > 1) return false;
    const cipher = new Salsa20(packetKey(key.agreed, packet), packet.subarray(0, 8), 12);
    const macKey = cipher.block().subarray(0, 32);
    const mac = poly1305(macKey, packet.subarray(OFF_VERB)).subarray(0, 8);
    if (!equalBytes(mac, packet.subarray(OFF_MAC, OFF_VERB))) return false;
    if (suite === 1) packet.set(cipher.xor(packet.subarray(OFF_VERB)), OFF_VERB);
    return true;
  }

  /** [1 section 5.4] */
  #sealSiv(key: PeerKey, packet: Uint8Array): void {
    const iv = concatBytes(packet.subarray(0, OFF_DEST));
    const aad = concatBytes(packet.subarray(OFF_DEST, OFF_MAC));
    const { k0, k1 } = sivKeys(key.agreed);
    const sealed = sivSeal(referenceSiv, k0, k1, iv, aad, packet.subarray(OFF_VERB));
    packet.set(sealed.tag.subarray(0, 8));
    packet.set(sealed.tag.subarray(8), OFF_MAC);
    packet.set(sealed.ciphertext, OFF_VERB);
  }

  #openSiv(key: PeerKey, packet: Uint8Array): boolean {
    const tag = concatBytes(packet.subarray(0, OFF_DEST), packet.subarray(OFF_MAC, OFF_VERB));
    const aad = concatBytes(packet.subarray(OFF_DEST, OFF_MAC));
    aad[aad.length - 1]! &= 0xf8;
    const { k0, k1 } = sivKeys(key.agreed);
    const plaintext = sivOpen(referenceSiv, k0, k1, tag, aad, packet.subarray(OFF_VERB));
    if (plaintext === undefined) return false;
    packet.set(plaintext, OFF_VERB);
    return true;
  }

  maskHello(key: PeerKey, packet: Uint8Array, start: number): void {
    const iv = concatBytes(packet.subarray(0, 8));
    iv[7]! &= 0xf8;
    const cipher = new Salsa20(key.agreed.subarray(0, 32), iv, 12);
    packet.set(cipher.xor(packet.subarray(start)), start);
  }

  compress(input: Uint8Array, out: Uint8Array): number {
    return lz4Encode(input, out);
  }

  decompress(input: Uint8Array, out: Uint8Array): number {
    return lz4Decode(input, out);
  }
}

/** K0 and K1 of AES-GMAC-SIV [1 section 2.2]. */
export function sivKeys(agreed: Uint8Array): { k0: Uint8Array; k1: Uint8Array } {
  return {
    k0: deriveAesKey(hmacSha384, agreed, LABEL_K0),
    k1: deriveAesKey(hmacSha384, agreed, LABEL_K1),
  };
}
