/**
 * The bare ciphers as exports, over inbox ranges: for known-answer tests and for callers that need
 * one primitive alone. Key and IV come from the KEY and IV windows.
 */
import { ERR_RANGE, IV, KEY, OK } from './layout';
import { isInInbox, wipe } from './packet';
import { absorb, finishMac, startMac } from './poly1305';
import { setState, xorStream } from './salsa20';

/** XORs `len` bytes at p with the Salsa20 keystream from `block` on; `rounds` is 12 or 20. */
export function salsa20Xor(p: u32, len: u32, block: u32, rounds: u32): i32 {
  if (!isInInbox(p, len) || (rounds !== 12 && rounds !== 20)) return ERR_RANGE;
  setState(KEY, IV, block);
  xorStream(p, len, rounds);
  wipe();
  return OK;
}

/** Poly1305 of `len` bytes at p under the one-time key in KEY, to TAG. */
export function poly1305Tag(p: u32, len: u32): i32 {
  if (!isInInbox(p, len)) return ERR_RANGE;
  startMac(KEY);
  absorb(p, len);
  finishMac();
  wipe();
  return OK;
}
