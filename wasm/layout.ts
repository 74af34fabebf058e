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
export const PAGE_LEN: u32 = 65536;
export const PAGES: u32 = 36;

// Keys given by the host for the call that follows [1 sections 2.3, 2.4].
export const KEY: u32 = 0x400;
export const KEY_LEN: u32 = 32;
export const IV: u32 = 0x420;
export const IV_LEN: u32 = 8;
// Poly1305 tag, 16 bytes.
export const TAG: u32 = 0x430;
export const TAG_LEN: u32 = 16;
// Memory-hard identity hash [1 section 4.4]: SHA-512 of the public key in, digest out.
export const DIGEST: u32 = 0x440;
export const DIGEST_LEN: u32 = 64;
// 256 bytes that stay zero: the input that turns "XOR with the keystream" into "keystream".
export const ZEROS: u32 = 0x500;

// Scratch that holds key material during a call and is zero between calls.
export const SECRETS: u32 = 0x600;
export const SALSA_STATE: u32 = 0x600;
export const KEYSTREAM: u32 = 0x640;
export const KEYSTREAM_LEN: u32 = 256;
export const POLY_POWERS: u32 = 0x740;
export const POLY_SUM: u32 = 0x7d0;
export const POLY_PAD: u32 = 0x800;
export const POLY_TAIL: u32 = 0x810;
export const SECRETS_END: u32 = 0x820;
// Keystream of a packet whose MAC is not verified yet; zero between calls as well.
export const STREAM: u32 = 0x1000;
export const STREAM_LEN: u32 = 0x2800;

// Nibble tables and byte orders of AES and GHASH, made at the first key expansion; public constants.
export const AES_TABLES: u32 = 0x3800;
export const AES_TABLES_LEN: u32 = 0xe0;
export const SHIFT_ROWS: u32 = 0x38e0;
export const UNSHIFT_ROWS: u32 = 0x38f0;
export const ROTATE1: u32 = 0x3900;
export const ROTATE2: u32 = 0x3910;
export const SWAP_BYTES: u32 = 0x3920;
export const REVERSE_NIBBLES: u32 = 0x3930;

// AES-GMAC-SIV keys of one peer: K0 || K1 in, expanded in place of what the host keeps per peer.
export const SIV_RAW: u32 = 0x3a00;
export const SIV_RAW_LEN: u32 = 64;
export const SIV_KEYS: u32 = 0x3a40;
export const SIV_K0: u32 = 0x3a40;
export const SIV_K1: u32 = 0x3c20;
export const SIV_POWERS: u32 = 0x3e00;
export const SIV_KEYS_LEN: u32 = 0x480;
// Scratch of GHASH and SIV, zero between calls.
export const SIV_SCRATCH: u32 = 0x3f00;
export const GHASH_FACTORS: u32 = 0x3f00;
export const GHASH_PRODUCTS: u32 = 0x3f30;
export const GHASH_SUM: u32 = 0x3f60;
export const SIV_BLOCKS: u32 = 0x3f70;
export const SIV_SCRATCH_END: u32 = 0x3f90;

// Packets to seal or open, input of the codec and of the bare primitives. The first part is for
// packets that the host receives straight into it; COPY is where all others are copied to.
export const INBOX: u32 = 0x10000;
export const INBOX_LEN: u32 = 0x12800;
export const DIRECT_LEN: u32 = 0x10000;
export const COPY: u32 = 0x20000;
// Output of the codec.
export const OUTBOX: u32 = 0x24000;
export const OUTBOX_LEN: u32 = 0x4000;
// Positions of the LZ4 encoder, 4096 entries of 16 bits.
export const LZ4_TABLE: u32 = 0x28000;
export const LZ4_TABLE_LEN: u32 = 0x2000;
// Working area of the identity hash.
export const TABLE: u32 = 0x40000;
export const TABLE_LEN: u32 = 0x200000;

// Packet header [1 section 5.1].
export const OFF_ID: u32 = 0;
export const OFF_DEST: u32 = 8;
export const OFF_SOURCE: u32 = 13;
export const OFF_FLAGS: u32 = 18;
export const OFF_MAC: u32 = 19;
export const OFF_VERB: u32 = 27;
export const HEADER_LEN: u32 = 28;
export const PACKET_MAX_LEN: u32 = 10024;
export const FLAG_ENCRYPTED: u32 = 0x80;
export const FLAG_FRAGMENTED: u32 = 0x40;
export const MASK_SUITE: u32 = 0x38;
export const MASK_HOPS: u32 = 0x07;
export const SUITE_SHIFT: u32 = 3;

// Largest payload a packet can carry [1 section 6].
export const PAYLOAD_MAX_LEN: u32 = 9996;

// Statuses: 0 or a count is success, negative is one of these.
export const OK: i32 = 0;
export const ERR_RANGE: i32 = -1;
export const ERR_SUITE: i32 = -2;
export const ERR_MAC: i32 = -3;
export const ERR_BLOCK: i32 = -4;
