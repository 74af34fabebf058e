/**
 * Codec of datagram records: a 64-byte header, then the payload, one SEQPACKET record each
 * [5 section 5.9].
 *
 * To a program a record is a datagram or an error; from a program it is a datagram. The parser
 * returns undefined for anything malformed; nothing here keeps state.
 */
import type { Endpoint, IpBytes } from '../stack/stack.js';
import { parseAddress, putEndpoint, type ZtAddress } from './protocol.js';

export const RECORD_HEADER_LEN = 64;
/** Longest record either side sends: the longest UDP payload over IPv6 without jumbograms. */
export const RECORD_MAX = RECORD_HEADER_LEN + 65527;

/** Kinds of record. */
export const RecordKind = { data: 1, error: 2 } as const;

/** Flags to a program: what it asked to be told with every datagram. */
export const DeliverFlag = { packetInfo: 1, ttl: 2, tos: 4, timestamp: 8 } as const;

/** Flags from a program: which fields are set. */
export const SendFlag = { source: 1, ttl: 2, tos: 4, more: 8, segment: 16 } as const;

const OFF_ERRNO = 2;
const OFF_LENGTH = 4;
const OFF_TIME = 8;
const OFF_ADDRESS = 16;
const OFF_LOCAL = 40;
const OFF_INTERFACE = 56;
const OFF_TTL = 60;
const OFF_TOS = 61;
const OFF_SEGMENT = 62;

export interface Delivery {
  /** Bits of `DeliverFlag`. */
  readonly flags: number;
  readonly from: Endpoint;
  /** Address the datagram was sent to. */
  readonly to: IpBytes;
  readonly interfaceIndex: number;
  readonly ttl: number;
  readonly tos: number;
  /** Wall clock, ms. */
  readonly wall: number;
}

/** The record of one datagram for a program. */
export function emitDelivery(delivery: Delivery, payload: Uint8Array): Uint8Array {
  const out = new Uint8Array(RECORD_HEADER_LEN + payload.length);
  const v = new DataView(out.buffer);
  v.setUint8(0, RecordKind.data);
  v.setUint8(1, delivery.flags);
  v.setUint32(OFF_LENGTH, payload.length, true);
  v.setBigUint64(OFF_TIME, BigInt(Math.round(delivery.wall * 1000)), true);
  putEndpoint(delivery.from, out, OFF_ADDRESS);
  out.set(delivery.to, OFF_LOCAL);
  v.setUint32(OFF_INTERFACE, delivery.interfaceIndex, true);
  v.setUint8(OFF_TTL, delivery.ttl);
  v.setUint8(OFF_TOS, delivery.tos);
  out.set(payload, RECORD_HEADER_LEN);
  return out;
}

/** The record that makes a program's next receive fail. */
export function emitError(errno: number, about: Endpoint): Uint8Array {
  const out = new Uint8Array(RECORD_HEADER_LEN);
  const v = new DataView(out.buffer);
  v.setUint8(0, RecordKind.error);
  v.setUint16(OFF_ERRNO, errno, true);
  putEndpoint(about, out, OFF_ADDRESS);
  return out;
}

/** A datagram that a program sends. */
export interface Sending {
  /** Family 0: to the connected peer. */
  readonly to: ZtAddress;
  /** 4 or 16 bytes as the destination's family; undefined = not asked for. */
  readonly source: IpBytes | undefined;
  readonly ttl: number | undefined;
  readonly tos: number | undefined;
  /** 0 = not asked for. */
  readonly interfaceIndex: number;
  /** More parts of the same datagram follow (MSG_MORE). */
  readonly more: boolean;
  /** Length of the datagrams that the payload is cut into (UDP_SEGMENT), 0 = it is one. */
  readonly segment: number | undefined;
  /** View of the record. */
  readonly payload: Uint8Array;
}

/**
 * Parses a record of a program.
 * @param family of the connected peer, for the source of a record without destination.
 */
export function parseSending(record: Uint8Array, family: 4 | 6): Sending | undefined {
  if (record.length < RECORD_HEADER_LEN || record.length > RECORD_MAX) return undefined;
  const v = new DataView(record.buffer, record.byteOffset, record.byteLength);
  const payload = record.subarray(RECORD_HEADER_LEN);
  const to = parseAddress(record, OFF_ADDRESS);
  if (v.getUint8(0) !== RecordKind.data || to === undefined) return undefined;
  if (v.getUint32(OFF_LENGTH, true) !== payload.length) return undefined;
  const flags = v.getUint8(1);
  const sourceLen = (to.family === 0 ? family : to.family) === 6 ? 16 : 4;
  return {
    to,
    source:
      (flags & SendFlag.source) === 0 ? undefined : record.slice(OFF_LOCAL, OFF_LOCAL + sourceLen),
    ttl: (flags & SendFlag.ttl) === 0 ? undefined : v.getUint8(OFF_TTL),
    tos: (flags & SendFlag.tos) === 0 ? undefined : v.getUint8(OFF_TOS),
    interfaceIndex: v.getUint32(OFF_INTERFACE, true),
    more: (flags & SendFlag.more) !== 0,
    segment: (flags & SendFlag.segment) === 0 ? undefined : v.getUint16(OFF_SEGMENT, true),
    payload,
  };
}

/** A record for the service; used by tests and by tools that speak to it. */
export function emitSending(
  to: Endpoint | undefined,
  payload: Uint8Array,
  fields: {
    source?: IpBytes;
    ttl?: number;
    tos?: number;
    interfaceIndex?: number;
    more?: boolean;
    segment?: number;
  } = {},
): Uint8Array {
  const out = new Uint8Array(RECORD_HEADER_LEN + payload.length);
  const v = new DataView(out.buffer);
  let flags = 0;
  v.setUint8(0, RecordKind.data);
  v.setUint32(OFF_LENGTH, payload.length, true);
  putEndpoint(to, out, OFF_ADDRESS);
  if (fields.source !== undefined) {
    flags |= SendFlag.source;
    out.set(fields.source, OFF_LOCAL);
  }
  if (fields.ttl !== undefined) {
    flags |= SendFlag.ttl;
    v.setUint8(OFF_TTL, fields.ttl);
  }
  if (fields.tos !== undefined) {
    flags |= SendFlag.tos;
    v.setUint8(OFF_TOS, fields.tos);
  }
  if (fields.segment !== undefined) {
    flags |= SendFlag.segment;
    v.setUint16(OFF_SEGMENT, fields.segment, true);
  }
  if (fields.more === true) flags |= SendFlag.more;
  v.setUint8(1, flags);
  v.setUint32(OFF_INTERFACE, fields.interfaceIndex ?? 0, true);
  out.set(payload, RECORD_HEADER_LEN);
  return out;
}

/** A record as a program reads it; used by tests and by tools that speak to the service. */
export interface Received {
  readonly kind: number;
  readonly flags: number;
  readonly errno: number;
  readonly micros: bigint;
  readonly from: ZtAddress;
  readonly to: Uint8Array;
  readonly interfaceIndex: number;
  readonly ttl: number;
  readonly tos: number;
  readonly payload: Uint8Array;
}

export function parseReceived(record: Uint8Array): Received | undefined {
  if (record.length < RECORD_HEADER_LEN) return undefined;
  const v = new DataView(record.buffer, record.byteOffset, record.byteLength);
  const from = parseAddress(record, OFF_ADDRESS);
  const len = v.getUint32(OFF_LENGTH, true);
  if (from === undefined || len !== record.length - RECORD_HEADER_LEN) return undefined;
  const ipLen = from.family === 6 ? 16 : 4;
  return {
    kind: v.getUint8(0),
    flags: v.getUint8(1),
    errno: v.getUint16(OFF_ERRNO, true),
    micros: v.getBigUint64(OFF_TIME, true),
    from,
    to: record.slice(OFF_LOCAL, OFF_LOCAL + ipLen),
    interfaceIndex: v.getUint32(OFF_INTERFACE, true),
    ttl: v.getUint8(OFF_TTL),
    tos: v.getUint8(OFF_TOS),
    payload: record.slice(RECORD_HEADER_LEN),
  };
}
