/**
 * Whole packets of cipher suites 0 and 1, in place in the inbox window [1 sections 5.2, 5.3, 5.6].
 *
 * The host puts the first 32 bytes of the peer key into KEY. A packet is any range of the inbox;
 * its limits are checked once, here. The MAC is verified before a byte is changed. Every secret
 * that a call derives is wiped before it returns; KEY is the host's.
 */
import {
  ERR_MAC,
  ERR_RANGE,
  ERR_SUITE,
  FLAG_ENCRYPTED,
  FLAG_FRAGMENTED,
  HEADER_LEN,
  INBOX,
  INBOX_LEN,
  KEY,
  KEYSTREAM,
  KEYSTREAM_LEN,
  MASK_HOPS,
  OFF_FLAGS,
  OFF_ID,
  OFF_MAC,
  OFF_VERB,
  OK,
  PACKET_MAX_LEN,
  SALSA_STATE,
  SECRETS,
  SECRETS_END,
  STREAM,
  SUITE_SHIFT,
  TAG,
  ZEROS,
} from './layout';
import { absorb, finishMac, startMac } from './poly1305';
import {
  BLOCK_LEN,
  GROUP_LEN,
  nextKeystream,
  setState,
  xorBytes,
  xorGroupAbsorbing,
  xorStream,
} from './salsa20';

const ROUNDS: u32 = 12;
// What the first group of keystream leaves for the body after the MAC key's block.
const FIRST_LEN: u32 = KEYSTREAM_LEN - BLOCK_LEN;

/** Whether [p, p + len) lies in the inbox. */
export function isInInbox(p: u32, len: u32): bool {
  return p >= INBOX && len <= INBOX_LEN && p - INBOX <= INBOX_LEN - len;
}

export function isPacket(p: u32, len: u32): bool {
  return len >= HEADER_LEN && len <= PACKET_MAX_LEN && isInInbox(p, len);
}

/** Overwrites all scratch that held key material. */
export function wipe(): void {
  clear(SECRETS, SECRETS_END - SECRETS);
}

/** Loads the packet key [1 section 5.2] into the cipher state, counter 0. */
function setPacketState(p: u32, len: u32): void {
  setState(KEY, p + OFF_ID, 0);
  // Words 1-4 of the state are key bytes 0..15, words 11-14 are key bytes 16..31.
  const head = SALSA_STATE + 4;
  v128.store(head, v128.xor(v128.load(head), v128.load(p)));
  const tail = SALSA_STATE + 44;
  const mangle =
    <u32>load<u16>(p, 16) |
    ((<u32>load<u8>(p, OFF_FLAGS) & ~MASK_HOPS) << 16) |
    ((len & 0xff) << 24);
  store<u32>(tail, load<u32>(tail) ^ mangle);
  store<u8>(tail, load<u8>(tail, 4) ^ (len >> 8), 4);
}

/** Clears the `len` bytes at p, a multiple of 16. */
export function clear(p: u32, len: u32): void {
  const zero = i64x2.splat(0);
  for (const end = p + len; p < end; p += 16) v128.store(p, zero);
}

/** Encrypts the body with blocks 1.. (1 to 3 are in KEYSTREAM already) and absorbs the result. */
function encryptAndAbsorb(body: u32, len: u32): void {
  if (len <= FIRST_LEN) {
    xorBytes(body, KEYSTREAM + BLOCK_LEN, len);
    absorb(body, len);
    return;
  }
  xorBytes(body, KEYSTREAM + BLOCK_LEN, FIRST_LEN);
  // From here on, 192 bytes before `at` are encrypted and not yet absorbed.
  let at = body + FIRST_LEN;
  const end = body + len;
  for (; end - at >= GROUP_LEN; at += GROUP_LEN) {
    xorGroupAbsorbing(at, at, at - FIRST_LEN, at + BLOCK_LEN);
  }
  if (at === end) {
    absorb(at - FIRST_LEN, FIRST_LEN);
    return;
  }
  xorGroupAbsorbing(KEYSTREAM, ZEROS, at - FIRST_LEN, at);
  xorBytes(at, KEYSTREAM, end - at);
  absorb(at, end - at);
}

/**
 * Absorbs the body and meanwhile makes its keystream from block 4 on, into STREAM.
 * @returns the length of that keystream, a multiple of 256.
 */
function absorbAndStream(body: u32, len: u32): u32 {
  let done: u32 = 0;
  for (; done + FIRST_LEN < len; done += GROUP_LEN) {
    const pairsEnd = min<u32>(done + GROUP_LEN, len & ~31);
    xorGroupAbsorbing(STREAM + done, ZEROS, body + done, body + pairsEnd);
  }
  const absorbed = min<u32>(done, len & ~31);
  absorb(body + absorbed, len - absorbed);
  return done;
}

/** XORs the body with blocks 1 to 3, already in KEYSTREAM, and with STREAM. */
function decrypt(body: u32, len: u32): void {
  xorBytes(body, KEYSTREAM + BLOCK_LEN, min<u32>(len, FIRST_LEN));
  if (len > FIRST_LEN) xorBytes(body + FIRST_LEN, STREAM, len - FIRST_LEN);
}

/**
 * Protects the packet of `len` bytes at p with suite 0 or 1: sets suite bits and the "encrypted"
 * flag, clears the hops, keeps the fragmented flag; OK or ERR_RANGE, ERR_SUITE.
 */
export function seal(p: u32, len: u32, suite: u32): i32 {
  if (!isPacket(p, len)) return ERR_RANGE;
  if (suite > 1) return ERR_SUITE;
  const flags = (load<u8>(p, OFF_FLAGS) & FLAG_FRAGMENTED) | (suite << SUITE_SHIFT);
  store<u8>(p, flags | (suite === 1 ? FLAG_ENCRYPTED : 0), OFF_FLAGS);
  setPacketState(p, len);
  nextKeystream(ROUNDS);
  startMac(KEYSTREAM);
  if (suite === 1) encryptAndAbsorb(p + OFF_VERB, len - OFF_VERB);
  else absorb(p + OFF_VERB, len - OFF_VERB);
  finishMac();
  store<u64>(p, load<u64>(TAG), OFF_MAC);
  wipe();
  return OK;
}

/**
 * Verifies the packet of `len` bytes at p by the suite in its header, then decrypts it; the header
 * stays as received. OK, or ERR_RANGE, ERR_SUITE, ERR_MAC with the packet unchanged.
 */
export function open(p: u32, len: u32): i32 {
  if (!isPacket(p, len)) return ERR_RANGE;
  const suite = (<u32>load<u8>(p, OFF_FLAGS) >> SUITE_SHIFT) & 7;
  if (suite > 1) return ERR_SUITE;
  setPacketState(p, len);
  nextKeystream(ROUNDS);
  startMac(KEYSTREAM);
  let streamLen: u32 = 0;
  if (suite === 1) streamLen = absorbAndStream(p + OFF_VERB, len - OFF_VERB);
  else absorb(p + OFF_VERB, len - OFF_VERB);
  finishMac();
  // One comparison of the whole field: no early exit to time.
  const isGenuine = (load<u64>(TAG) ^ load<u64>(p, OFF_MAC)) === 0;
  if (isGenuine && suite === 1) decrypt(p + OFF_VERB, len - OFF_VERB);
  clear(STREAM, streamLen);
  wipe();
  return isGenuine ? OK : ERR_MAC;
}

/** XORs bytes `start`.. of the packet at p with the HELLO mask; OK or ERR_RANGE. */
export function maskHello(p: u32, len: u32, start: u32): i32 {
  if (!isPacket(p, len) || start < HEADER_LEN || start > len) return ERR_RANGE;
  setState(KEY, p + OFF_ID, 0);
  // State bytes 24..31 are the IV; the mask clears the low 3 bits of its last byte.
  store<u8>(SALSA_STATE, load<u8>(SALSA_STATE, 31) & 0xf8, 31);
  xorStream(p + start, len - start, ROUNDS);
  wipe();
  return OK;
}
