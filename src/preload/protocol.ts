/**
 * Codec of the protocol between the preload library and the service, version 1.0.
 *
 * Every record of [5 section 5] is drawn here once: HELLO, WELCOME, request and reply headers,
 * ztaddr, accept and listener records. Integers are little-endian; addresses and ports inside a
 * ztaddr are in network byte order. Parsers return undefined for anything malformed and never
 * read past their input. No state.
 */
import type { Endpoint, IpBytes } from '../stack/stack.js';

export const PROTO_MAJOR = 1;
export const PROTO_MINOR = 0;

export const HELLO_LEN = 64;
export const WELCOME_LEN = 64;
export const REQUEST_LEN = 32;
export const REPLY_LEN = 16;
/** Longest request, header included. */
export const REQUEST_MAX = 65568;
export const ZTADDR_LEN = 24;
export const ACCEPT_LEN = 64;
export const UPSTREAM_LEN = 16;

/** Kinds of connection a HELLO announces. */
export const HelloKind = { control: 1, socket: 2, accepted: 3, datagram: 4 } as const;

/** Capability bits of WELCOME. */
export const Capability = {
  seqpacket: 1,
  notification: 2,
  icmpEcho: 4,
  resolver: 8,
  peerCredentials: 16,
  scmAccept: 32,
} as const;

export const Op = {
  ping: 1,
  bind: 2,
  listen: 3,
  connect: 4,
  padded: 5,
  waitConn: 6,
  names: 7,
  takeErr: 8,
  eofInfo: 9,
  setOpt: 10,
  getOpt: 11,
  shutdown: 12,
  disconnect: 13,
  inherit: 14,
  resolve: 15,
  reverse: 16,
  ifList: 17,
  srcAddr: 18,
  dnsRaw: 20,
} as const;

/** Results of CONNECT; DISCONNECT uses `replace` too. */
export const ConnectResult = { started: 0, done: 1, replace: 2 } as const;

export const BindFlag = { reuseAddr: 1, reusePort: 2, v6Only: 4, freeBind: 8 } as const;

/** Flags of NAMES. */
export const NamesFlag = { loopback: 1, onHost: 2 } as const;

/** Flags of RESOLVE; `ordered`: as getaddrinfo(3) does, else in the order of the source. */
export const ResolveFlag = { canonical: 1, ordered: 2 } as const;

/** State numbers of NAMES and TAKEERR. */
export const State = {
  fresh: 0,
  bound: 1,
  listening: 2,
  connecting: 3,
  established: 4,
  failed: 5,
  closed: 6,
  reset: 7,
} as const;
export type StateNumber = (typeof State)[keyof typeof State];

/** Flags of a request; `noPark` is ours: the token's stream has ended, no HELLO will follow. */
export const RequestFlag = { noReply: 1, noPark: 2 } as const;

const REPLY_BIT = 0x8000;
const HELLO_KEY_FLAG = 1;
const TOKEN_LEN = 16;

/** 16 bytes as a string of 16 code units: a cheap map key. */
export type Token = string & { readonly token: 'Token' };

export interface Hello {
  readonly major: number;
  readonly minor: number;
  readonly kind: number;
  readonly token: Token;
  /** 8 bytes as a string; meaningful for accepted connections. */
  readonly connectionId: string;
  readonly pid: number;
  /** 4 or 6; 0 on control connections. */
  readonly family: number;
  readonly protocol: number;
  readonly policy: number;
  /** The key K, or undefined when the client sent none. */
  readonly key: Uint8Array | undefined;
}

/** ztaddr: family 0 = none. */
export interface ZtAddress {
  readonly family: 0 | 4 | 6;
  readonly prefixLen: number;
  readonly port: number;
  readonly scope: number;
  readonly ip: IpBytes;
}

export interface RequestHeader {
  /** Whole request, header included. */
  readonly len: number;
  readonly op: number;
  readonly noReply: boolean;
  readonly noPark: boolean;
  readonly seq: number;
  readonly token: Token;
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** `len` bytes at `at` as a string of code units 0..255. */
export function byteKey(bytes: Uint8Array, at: number, len: number): string {
  let s = '';
  for (let i = at; i < at + len; i++) s += String.fromCharCode(bytes[i]!);
  return s;
}

/** Inverse of `byteKey`: writes `key` at `at`. */
export function putKey(key: string, out: Uint8Array, at: number): void {
  for (let i = 0; i < key.length; i++) out[at + i] = key.charCodeAt(i);
}

export function tokenAt(bytes: Uint8Array, at: number): Token {
  return byteKey(bytes, at, TOKEN_LEN) as Token;
}

function hasMagic(bytes: Uint8Array, magic: string): boolean {
  for (let i = 0; i < magic.length; i++) if (bytes[i] !== magic.charCodeAt(i)) return false;
  return true;
}

/** Parses the first 64 bytes of a connection [5 section 5.4]. */
export function parseHello(bytes: Uint8Array): Hello | undefined {
  if (bytes.length < HELLO_LEN || !hasMagic(bytes, 'ZTNC')) return undefined;
  const v = view(bytes);
  return {
    major: v.getUint8(4),
    minor: v.getUint8(5),
    kind: v.getUint8(6),
    token: tokenAt(bytes, 8),
    connectionId: byteKey(bytes, 24, 8),
    pid: v.getUint32(32, true),
    family: v.getUint8(36),
    protocol: v.getUint8(38),
    policy: v.getUint8(39),
    key: (v.getUint8(7) & HELLO_KEY_FLAG) !== 0 ? bytes.slice(40, 56) : undefined,
  };
}

/** Emits a HELLO; used by tests and by tools that speak to the service. */
export function emitHello(hello: Omit<Hello, 'major' | 'minor'>, out: Uint8Array): void {
  out.fill(0, 0, HELLO_LEN);
  const v = view(out);
  putKey('ZTNC', out, 0);
  v.setUint8(4, PROTO_MAJOR);
  v.setUint8(5, PROTO_MINOR);
  v.setUint8(6, hello.kind);
  v.setUint8(7, hello.key === undefined ? 0 : HELLO_KEY_FLAG);
  putKey(hello.token, out, 8);
  putKey(hello.connectionId, out, 24);
  v.setUint32(32, hello.pid, true);
  v.setUint8(36, hello.family);
  v.setUint8(37, hello.family === 0 ? 0 : hello.kind === HelloKind.datagram ? 2 : 1);
  v.setUint8(38, hello.protocol);
  v.setUint8(39, hello.policy);
  if (hello.key !== undefined) out.set(hello.key, 40);
}

export interface Welcome {
  readonly capabilities: number;
  readonly instanceId: bigint;
  readonly nwid: bigint;
  readonly policy: number;
  readonly datagramMax: number;
  readonly pid: number;
}

export function emitWelcome(welcome: Welcome): Uint8Array {
  const out = new Uint8Array(WELCOME_LEN);
  const v = view(out);
  putKey('ZTNS', out, 0);
  v.setUint8(4, PROTO_MAJOR);
  v.setUint8(5, PROTO_MINOR);
  v.setUint16(6, welcome.capabilities, true);
  v.setBigUint64(8, welcome.instanceId, true);
  v.setBigUint64(16, welcome.nwid, true);
  v.setUint32(24, welcome.policy, true);
  v.setUint32(28, welcome.datagramMax, true);
  v.setUint32(32, welcome.pid, true);
  return out;
}

/** Parses a request header; undefined when its length is out of range [5 section 5.6]. */
export function parseRequestHeader(bytes: Uint8Array): RequestHeader | undefined {
  if (bytes.length < REQUEST_LEN) return undefined;
  const v = view(bytes);
  const len = v.getUint32(0, true);
  if (len < REQUEST_LEN || len > REQUEST_MAX) return undefined;
  const flags = v.getUint16(6, true);
  return {
    len,
    op: v.getUint16(4, true),
    noReply: (flags & RequestFlag.noReply) !== 0,
    noPark: (flags & RequestFlag.noPark) !== 0,
    seq: v.getUint32(8, true),
    token: tokenAt(bytes, 16),
  };
}

export function emitRequest(
  op: number,
  seq: number,
  token: Token | undefined,
  payload: Uint8Array,
  flags = 0,
): Uint8Array {
  const out = new Uint8Array(REQUEST_LEN + payload.length);
  const v = view(out);
  v.setUint32(0, out.length, true);
  v.setUint16(4, op, true);
  v.setUint16(6, flags, true);
  v.setUint32(8, seq, true);
  if (token !== undefined) putKey(token, out, 16);
  out.set(payload, REQUEST_LEN);
  return out;
}

/** A reply; `result` is >= 0 or a negative Linux errno. */
export function emitReply(
  op: number,
  seq: number,
  result: number,
  payload?: Uint8Array,
): Uint8Array {
  const out = new Uint8Array(REPLY_LEN + (payload?.length ?? 0));
  const v = view(out);
  v.setUint32(0, out.length, true);
  v.setUint16(4, op | REPLY_BIT, true);
  v.setUint32(8, seq, true);
  v.setInt32(12, result, true);
  if (payload !== undefined) out.set(payload, REPLY_LEN);
  return out;
}

/** ztaddr at `at`; undefined when it does not fit or its family is unknown. */
export function parseAddress(bytes: Uint8Array, at: number): ZtAddress | undefined {
  if (bytes.length < at + ZTADDR_LEN) return undefined;
  const v = view(bytes);
  const family = v.getUint8(at);
  if (family !== 0 && family !== 4 && family !== 6) return undefined;
  return {
    family,
    prefixLen: v.getUint8(at + 1),
    port: v.getUint16(at + 2, false),
    scope: v.getUint32(at + 4, true),
    ip: bytes.slice(at + 8, at + 8 + (family === 6 ? 16 : 4)),
  };
}

/** Writes an endpoint (undefined = family 0) as ztaddr at `at`. */
export function putEndpoint(endpoint: Endpoint | undefined, out: Uint8Array, at: number): void {
  putAddress(endpoint?.ip, endpoint?.port ?? 0, 0, out, at);
}

export function putAddress(
  ip: IpBytes | undefined,
  port: number,
  prefixLen: number,
  out: Uint8Array,
  at: number,
): void {
  out.fill(0, at, at + ZTADDR_LEN);
  if (ip === undefined || ip.length === 0) return;
  out[at] = ip.length === 4 ? 4 : 6;
  out[at + 1] = prefixLen;
  out[at + 2] = port >> 8;
  out[at + 3] = port & 0xff;
  out.set(ip, at + 8);
}

/** The 64-byte record that offers one connection to a listener's stream [5 section 5.7]. */
export function emitAccept(connectionId: string, peer: Endpoint, local: Endpoint): Uint8Array {
  const out = new Uint8Array(ACCEPT_LEN);
  putKey('ZTNA', out, 0);
  putKey(connectionId, out, 8);
  putEndpoint(peer, out, 16);
  putEndpoint(local, out, 40);
  return out;
}

export interface UpstreamRecord {
  readonly op: 'requeue' | 'reject';
  readonly connectionId: string;
}

/** A record that a listener's holder sent back [5 section 5.8]; undefined for anything else. */
export function parseUpstream(bytes: Uint8Array, at: number): UpstreamRecord | undefined {
  const part = bytes.subarray(at, at + UPSTREAM_LEN);
  if (part.length < UPSTREAM_LEN || !hasMagic(part, 'ZTNR')) return undefined;
  const op = view(part).getUint32(4, true);
  if (op !== 1 && op !== 2) return undefined;
  return { op: op === 1 ? 'requeue' : 'reject', connectionId: byteKey(part, 8, 8) };
}
