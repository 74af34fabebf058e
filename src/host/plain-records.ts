/**
 * Carrier `u`: a record stream whose records are datagrams without a header, so that a program
 * under the launcher may `read` and `write` them without anybody in between [5 section 15].
 *
 * To the program the header travels beside the datagram, as a file in memory that is passed with
 * it: a plain read never sees it, and the launcher asks for it. From the program a record is the
 * payload for the connected peer, unless it begins with a header that carries half of the socket's
 * token: only the launcher writes such, for a datagram with an address or with control data. Who
 * sends to the program from the network cannot know a token, so no payload that a program passes
 * on can pretend to be one.
 *
 * Owns no descriptor.
 */
import { emitSending, RECORD_HEADER_LEN } from '../preload/records.js';
import type { Native } from './native.js';

/** [5 section 5.2] length of a token's name, and where the token is in it. */
const NAME_LEN = 45;
const OFF_TOKEN = 13;
/** Where a header from the launcher carries the first bytes of the token. */
const OFF_STAMP = 8;
const STAMP_LEN = 8;

export class PlainCarrier {
  readonly #stamp: Uint8Array;
  /** The first record is the HELLO. */
  #isGreeted = false;

  constructor(stamp: Uint8Array) {
    this.#stamp = stamp;
  }

  /** The carrier of a connection, undefined unless its peer's name says `u`. */
  static of(native: Native, fd: number): PlainCarrier | undefined {
    const name = new Uint8Array(NAME_LEN + 1);
    if (native.peerName(fd, name) !== NAME_LEN) return undefined;
    const text = Buffer.from(name.subarray(1, NAME_LEN)).toString('latin1');
    if (!/^ztnc1\.[46][de]u[0-9a-f]{2}\.[0-9a-f]{32}$/.test(text)) return undefined;
    const from = OFF_TOKEN - 1;
    return new PlainCarrier(Buffer.from(text.slice(from, from + 2 * STAMP_LEN), 'hex'));
  }

  /** The record with header that `bytes` of the program stand for. */
  recordOf(bytes: Uint8Array): Uint8Array {
    if (this.#isGreeted && !this.#isStamped(bytes)) return emitSending(undefined, bytes);
    this.#isGreeted = true;
    return bytes;
  }

  #isStamped(bytes: Uint8Array): boolean {
    if (bytes.length < RECORD_HEADER_LEN) return false;
    return this.#stamp.every((b, i) => bytes[OFF_STAMP + i] === b);
  }

  /** Sends `record` to the program, its header as a note. @returns as `Native.send`. */
  send(native: Native, fd: number, record: Uint8Array): number {
    const note = native.note(record.subarray(0, RECORD_HEADER_LEN));
    if (note < 0) return note;
    const result = native.send(fd, record.subarray(RECORD_HEADER_LEN), note);
    native.close(note);
    return result;
  }
}
