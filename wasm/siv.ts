/**
 * Packets of cipher suite 3, AES-GMAC-SIV [1 sections 2.6, 5.4], in place in the inbox window.
 *
 * The host puts the peer's expanded keys (made by `sivExpand`) into SIV_KEYS. Short packets take one
 * call, `sivSeal` or `sivOpen`. For long ones node:crypto makes the keystream: `...Start` leaves the
 * counter blocks in STREAM, the host encrypts them there under K1, `...Finish` uses them.
 *
 * An opened packet is decrypted in place, verified, and encrypted again when the tag is wrong.
 */
import { decryptBlock, encryptBlock, encryptFour, expandKey, makeTables } from './aes';
import { ghashBlocks, makePowers } from './ghash';
import {
  ERR_MAC,
  ERR_RANGE,
  FLAG_FRAGMENTED,
  GHASH_SUM,
  MASK_HOPS,
  OFF_DEST,
  OFF_FLAGS,
  OFF_ID,
  OFF_MAC,
  OFF_VERB,
  OK,
  SIV_BLOCKS,
  SIV_K0,
  SIV_K1,
  SIV_RAW,
  SIV_SCRATCH,
  SIV_SCRATCH_END,
  STREAM,
  SUITE_SHIFT,
} from './layout';
import { clear, isPacket } from './packet';
import { xorBytes } from './salsa20';

const SUITE: u32 = 3;
const BLOCK_LEN: u32 = 16;
const FOUR_LEN: u32 = 64;
// Destination, source and flags, 11 bytes, padded to a block [1 section 2.6].
const AAD_LEN: u32 = OFF_MAC - OFF_DEST;
// The byte of the first counter block whose top bit is cleared.
const OFF_CARRY: u32 = 12;

function wipeScratch(): void {
  clear(SIV_SCRATCH, SIV_SCRATCH_END - SIV_SCRATCH);
}

/** Expands K0 || K1 in SIV_RAW into SIV_KEYS and clears SIV_RAW. */
export function sivExpand(): void {
  makeTables();
  expandKey(SIV_RAW, SIV_K0);
  expandKey(SIV_RAW + 32, SIV_K1);
  v128.store(SIV_BLOCKS, i64x2.splat(0));
  encryptBlock(SIV_K0, SIV_BLOCKS);
  makePowers(SIV_BLOCKS);
  clear(SIV_RAW, 64);
  wipeScratch();
}

function streamLen(len: u32): u32 {
  return (len - OFF_VERB + BLOCK_LEN - 1) & ~(BLOCK_LEN - 1);
}

/** Absorbs padded header fields, body and lengths of the packet at p. */
function hashPacket(p: u32, len: u32): void {
  const body = p + OFF_VERB;
  const bodyLen = len - OFF_VERB;
  const zero = i64x2.splat(0);
  v128.store(GHASH_SUM, zero);
  // The aad runs from the destination through the flags, whose hops do not count.
  v128.store(SIV_BLOCKS, zero);
  store<u64>(SIV_BLOCKS, load<u64>(p, OFF_DEST));
  store<u16>(SIV_BLOCKS, load<u16>(p, OFF_DEST + 8), 8);
  store<u8>(SIV_BLOCKS, load<u8>(p, OFF_FLAGS) & ~MASK_HOPS, AAD_LEN - 1);
  ghashBlocks(SIV_BLOCKS, 1);
  ghashBlocks(body, bodyLen / BLOCK_LEN);
  const rest = bodyLen & (BLOCK_LEN - 1);
  const tail = body + bodyLen - rest;
  v128.store(SIV_BLOCKS, zero);
  for (let i: u32 = 0; i < rest; i++) store<u8>(SIV_BLOCKS + i, load<u8>(tail + i));
  v128.store(SIV_BLOCKS, zero, BLOCK_LEN);
  store<u64>(SIV_BLOCKS, bswap<u64>((<u64>(BLOCK_LEN + bodyLen)) << 3), BLOCK_LEN);
  if (rest > 0) ghashBlocks(SIV_BLOCKS, 2);
  else ghashBlocks(SIV_BLOCKS + BLOCK_LEN, 1);
}

/** The 8 bytes that follow the iv in the SIV block: both halves of the GMAC, folded. */
function foldedMac(p: u32, len: u32, iv: u64): u64 {
  hashPacket(p, len);
  store<u64>(SIV_BLOCKS, iv);
  // The first GCM counter block: the 12-byte IV (iv and four zeros), then 1, big-endian.
  store<u64>(SIV_BLOCKS, (<u64>1) << 56, 8);
  encryptBlock(SIV_K0, SIV_BLOCKS);
  const mac = v128.xor(v128.load(GHASH_SUM), v128.load(SIV_BLOCKS));
  return i64x2.extract_lane(mac, 0) ^ i64x2.extract_lane(mac, 1);
}

/** Counter blocks for `len` bytes of keystream in STREAM, from the tag [1 section 2.6]. */
function writeCounters(tagLow: u64, tagHigh: u64, len: u32): void {
  store<u64>(STREAM, tagLow);
  store<u64>(STREAM, tagHigh, 8);
  store<u8>(STREAM, load<u8>(STREAM, OFF_CARRY) & 0x7f, OFF_CARRY);
  const first = v128.load(STREAM);
  let counter = bswap<u32>(load<u32>(STREAM, OFF_CARRY));
  for (let at: u32 = BLOCK_LEN; at < len; at += BLOCK_LEN) {
    counter++;
    v128.store(STREAM + at, first);
    store<u32>(STREAM + at, bswap<u32>(counter), OFF_CARRY);
  }
}

/** Makes the keystream of the counter blocks in STREAM. */
function encryptStream(len: u32): void {
  let at: u32 = 0;
  for (; at + FOUR_LEN <= len; at += FOUR_LEN) encryptFour(SIV_K1, STREAM + at);
  for (; at < len; at += BLOCK_LEN) encryptBlock(SIV_K1, STREAM + at);
}

/**
 * First half of sealing the packet of `len` bytes at p: flags, tag, counter blocks.
 * OK or ERR_RANGE.
 */
export function sivSealStart(p: u32, len: u32): i32 {
  if (!isPacket(p, len)) return ERR_RANGE;
  const flags = (<u32>load<u8>(p, OFF_FLAGS) & FLAG_FRAGMENTED) | (SUITE << SUITE_SHIFT);
  store<u8>(p, flags, OFF_FLAGS);
  const iv = load<u64>(p, OFF_ID);
  const folded = foldedMac(p, len, iv);
  store<u64>(SIV_BLOCKS, iv);
  store<u64>(SIV_BLOCKS, folded, 8);
  encryptBlock(SIV_K1, SIV_BLOCKS);
  store<u64>(p, load<u64>(SIV_BLOCKS), OFF_ID);
  store<u64>(p, load<u64>(SIV_BLOCKS, 8), OFF_MAC);
  writeCounters(load<u64>(SIV_BLOCKS), load<u64>(SIV_BLOCKS, 8), streamLen(len));
  wipeScratch();
  return OK;
}

/** Second half: encrypts the body with the keystream in STREAM. OK or ERR_RANGE. */
export function sivSealFinish(p: u32, len: u32): i32 {
  if (!isPacket(p, len)) return ERR_RANGE;
  xorBytes(p + OFF_VERB, STREAM, len - OFF_VERB);
  clear(STREAM, streamLen(len));
  return OK;
}

/** Seals the packet of `len` bytes at p in one call. OK or ERR_RANGE. */
export function sivSeal(p: u32, len: u32): i32 {
  const status = sivSealStart(p, len);
  if (status !== OK) return status;
  encryptStream(streamLen(len));
  return sivSealFinish(p, len);
}

/** First half of opening: the counter blocks. OK or ERR_RANGE. */
export function sivOpenStart(p: u32, len: u32): i32 {
  if (!isPacket(p, len)) return ERR_RANGE;
  writeCounters(load<u64>(p, OFF_ID), load<u64>(p, OFF_MAC), streamLen(len));
  return OK;
}

/**
 * Second half: decrypts the body with the keystream in STREAM and verifies it.
 * OK, or ERR_RANGE, ERR_MAC with the packet unchanged.
 */
export function sivOpenFinish(p: u32, len: u32): i32 {
  if (!isPacket(p, len)) return ERR_RANGE;
  const bodyLen = len - OFF_VERB;
  xorBytes(p + OFF_VERB, STREAM, bodyLen);
  store<u64>(SIV_BLOCKS, load<u64>(p, OFF_ID));
  store<u64>(SIV_BLOCKS, load<u64>(p, OFF_MAC), 8);
  decryptBlock(SIV_K1, SIV_BLOCKS);
  const iv = load<u64>(SIV_BLOCKS);
  const folded = load<u64>(SIV_BLOCKS, 8);
  // One comparison of all eight bytes: no early exit to time.
  const isGenuine = (foldedMac(p, len, iv) ^ folded) === 0;
  if (!isGenuine) xorBytes(p + OFF_VERB, STREAM, bodyLen);
  clear(STREAM, streamLen(len));
  wipeScratch();
  return isGenuine ? OK : ERR_MAC;
}

/** Opens the packet of `len` bytes at p in one call; as `sivOpenFinish`. */
export function sivOpen(p: u32, len: u32): i32 {
  const status = sivOpenStart(p, len);
  if (status !== OK) return status;
  encryptStream(streamLen(len));
  return sivOpenFinish(p, len);
}
