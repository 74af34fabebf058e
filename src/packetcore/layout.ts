// Generated from wasm/layout.ts by wasm/build.inc.sh. Do not edit.
/**
 * Memory map of the packet core, and the offsets of a packet's header.
 *
 * This file is the source of `src/packetcore/layout.ts`: the build strips the types and nothing
 * else, so every line must be a comment or `export const NAME: u32|i32 = expression;`. All memory is
 * laid out here; there is no heap and the memory never grows.
 *
 * Windows written by the host: KEY, IV, INBOX. Windows read by the host: TAG, OUTBOX, DIGEST and
 * INBOX again. SECRETS is scratch of the core, zero between calls.
 */

// One WebAssembly page, and the number of them the module is linked with.
export const PAGE_LEN = 65536;
export const PAGES = 36;

// Keys given by the host for the call that follows [1 sections 2.3, 2.4].
export const KEY = 0x400;
export const KEY_LEN = 32;
export const IV = 0x420;
export const IV_LEN = 8;
// Poly1305 tag, 16 bytes.
export const TAG = 0x430;
export const TAG_LEN = 16;
// Memory-hard identity hash [1 section 4.4]: SHA-512 of the public key in, digest out.
export const DIGEST = 0x440;
export const DIGEST_LEN = 64;
// 256 bytes that stay zero: the input that turns "XOR with the keystream" into "keystream".
export const ZEROS = 0x500;

// Scratch that holds key material during a call and is zero between calls.
export const SECRETS = 0x600;
export const SALSA_STATE = 0x600;
export const KEYSTREAM = 0x640;
export const KEYSTREAM_LEN = 256;
export const POLY_POWERS = 0x740;
export const POLY_SUM = 0x7d0;
export const POLY_PAD = 0x800;
export const POLY_TAIL = 0x810;
export const SECRETS_END = 0x820;
// Keystream of a packet whose MAC is not verified yet; zero between calls as well.
export const STREAM = 0x1000;
export const STREAM_LEN = 0x2800;

// Packets to seal or open, input of the codec and of the bare primitives.
export const INBOX = 0x10000;
export const INBOX_LEN = 0x10000;
// Output of the codec.
export const OUTBOX = 0x20000;
export const OUTBOX_LEN = 0x4000;
// Positions of the LZ4 encoder, 4096 entries of 16 bits.
export const LZ4_TABLE = 0x24000;
export const LZ4_TABLE_LEN = 0x2000;
// Working area of the identity hash.
export const TABLE = 0x40000;
export const TABLE_LEN = 0x200000;

// Packet header [1 section 5.1].
export const OFF_ID = 0;
export const OFF_DEST = 8;
export const OFF_SOURCE = 13;
export const OFF_FLAGS = 18;
export const OFF_MAC = 19;
export const OFF_VERB = 27;
export const HEADER_LEN = 28;
export const PACKET_MAX_LEN = 10024;
export const FLAG_ENCRYPTED = 0x80;
export const FLAG_FRAGMENTED = 0x40;
export const MASK_SUITE = 0x38;
export const MASK_HOPS = 0x07;
export const SUITE_SHIFT = 3;

// Largest payload a packet can carry [1 section 6].
export const PAYLOAD_MAX_LEN = 9996;

// Statuses: 0 or a count is success, negative is one of these.
export const OK = 0;
export const ERR_RANGE = -1;
export const ERR_SUITE = -2;
export const ERR_MAC = -3;
export const ERR_BLOCK = -4;
