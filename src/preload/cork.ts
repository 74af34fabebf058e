/**
 * One datagram that a program makes with several calls (MSG_MORE, UDP_CORK), and several that it
 * makes with one (UDP_SEGMENT). As in Linux the first part says where to and how, and what the
 * others say about that counts for nothing.
 *
 * Holds at most one datagram of the longest payload; what the sockets of a user hold counts as
 * waiting, and is bounded with what waits for its programs.
 */
import { GrowingBytes } from '../lib/growing-bytes.js';
import type { Endpoint, StackErrno } from '../stack/stack.js';
import type { Pending } from './pending.js';
import { parseAddress, ZTADDR_LEN, type ZtAddress } from './protocol.js';
import type { Sending } from './records.js';

/** Longest payload of UDP over IPv4 and IPv6, without jumbograms. */
const PAYLOAD_MAX4 = 65_507;
const PAYLOAD_MAX6 = 65_527;
/** Linux: datagrams that one send may be cut into (UDP_MAX_SEGMENTS). */
const SEGMENTS_MAX = 128;

/** A datagram and where it goes. */
export interface Outgoing {
  readonly sending: Sending;
  readonly to: Endpoint;
}

export class Cork {
  readonly #pending: Pending;
  #first: Outgoing | undefined;
  /** What the parts said. */
  readonly #bytes = new GrowingBytes();

  constructor(pending: Pending) {
    this.#pending = pending;
  }

  /** Bytes of the begun datagram. */
  get length(): number {
    return this.#bytes.length;
  }
  /** Where the begun datagram goes, undefined = none is begun. */
  get to(): Endpoint | undefined {
    return this.#first?.to;
  }

  /**
   * Takes a datagram or a part of one; copies what it holds.
   * @returns the whole datagram, or undefined while `holds`. A part too many loses all of them.
   */
  add(part: Outgoing, holds: boolean): Outgoing | StackErrno | undefined {
    if (this.#first === undefined && !holds) return part;
    const first = this.#first ?? part;
    const { payload } = part.sending;
    const most = first.to.ip.length === 4 ? PAYLOAD_MAX4 : PAYLOAD_MAX6;
    const isTooLong = this.length + payload.length > most;
    if (isTooLong || !this.#pending.take(0, payload.length)) {
      this.take();
      return isTooLong ? 'EMSGSIZE' : 'ENOBUFS';
    }
    this.#first = first;
    this.#bytes.add(payload);
    return holds ? undefined : this.take();
  }

  /** What was begun; nothing is afterwards. */
  take(): Outgoing | undefined {
    const first = this.#first;
    const payload = this.#bytes.take();
    this.#pending.give(0, payload.length);
    this.#first = undefined;
    return first && { sending: { ...first.sending, payload }, to: first.to };
  }
}

/** IPv4 or IPv6 header, and that of UDP. */
const HEADERS4 = 20 + 8;
const HEADERS6 = 40 + 8;

/**
 * What Linux says of cutting `length` bytes to `to` into datagrams of `size`.
 * @param mtu of the way there.
 */
export function cutMistake(
  to: Endpoint,
  length: number,
  size: number,
  mtu: number,
): 'EMSGSIZE' | 'EINVAL' | undefined {
  const headers = to.ip.length === 4 ? HEADERS4 : HEADERS6;
  if (Math.min(length, size) + headers > mtu) return 'EMSGSIZE';
  return length > size * SEGMENTS_MAX ? 'EINVAL' : undefined;
}

/** The datagrams of `size` bytes (0 = one) that a payload is cut into. */
export function segments(payload: Uint8Array, size: number): readonly Uint8Array[] {
  if (size === 0 || payload.length <= size) return [payload];
  const parts: Uint8Array[] = [];
  for (let at = 0; at < payload.length; at += size) parts.push(payload.subarray(at, at + size));
  return parts;
}

/** A question of the library: would a datagram of that length leave, cut as UDP_SEGMENT says? */
export interface CutQuestion {
  /** Family 0: to the connected peer. */
  readonly to: ZtAddress;
  readonly length: number;
  /** Of this datagram; undefined = as the socket is set. */
  readonly size: number | undefined;
}

const QUESTION_LEN = ZTADDR_LEN + 8;

export function parseCutQuestion(value: Uint8Array): CutQuestion | undefined {
  const to = parseAddress(value, 0);
  if (to === undefined || value.length < QUESTION_LEN) return undefined;
  const v = new DataView(value.buffer, value.byteOffset, value.byteLength);
  const isSet = v.getUint8(ZTADDR_LEN + 6) !== 0;
  return {
    to,
    length: v.getUint32(ZTADDR_LEN, true),
    size: isSet ? v.getUint16(ZTADDR_LEN + 4, true) : undefined,
  };
}
