/** Poly1305 as its definition reads, with big integers [1 section 2.4]. Not constant time. */
const P = 2n ** 130n - 5n;
const CLAMP = 0x0ffffffc0ffffffc0ffffffc0fffffffn;

function fromLittleEndian(bytes: Uint8Array): bigint {
  let v = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) v = (v << 8n) | BigInt(bytes[i]!);
  return v;
}

/** 16-byte tag of `message` under the 32-byte one-time key r || s. */
export function poly1305(key: Uint8Array, message: Uint8Array): Uint8Array {
  const r = fromLittleEndian(key.subarray(0, 16)) & CLAMP;
  const s = fromLittleEndian(key.subarray(16, 32));
  let sum = 0n;
  for (let at = 0; at < message.length; at += 16) {
    const block = message.subarray(at, at + 16);
    sum = ((sum + fromLittleEndian(block) + (1n << BigInt(8 * block.length))) * r) % P;
  }
  let tag = sum + s;
  const out = new Uint8Array(16);
  for (let i = 0; i < 16; i++, tag >>= 8n) out[i] = Number(tag & 0xffn);
  return out;
}
