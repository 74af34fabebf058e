/**
 * HELLO, OK(HELLO), WHOIS, RENDEZVOUS and PUSH_DIRECT_PATHS payloads [2 section 10]. Payloads begin
 * after the verb byte; offsets in comments of document 2 count from the packet's start (+28).
 */
import { Reader } from '../lib/reader.js';
import type { Writer } from '../lib/writer.js';
import type { NodeAddress } from './address.js';
import { emitIdentity, IDENTITY_PUBLIC_LEN, type Identity, parseIdentity } from './identity.js';
import {
  type InetAddress,
  inetAddress,
  NO_ADDRESS,
  readInetAddress,
  writeInetAddress,
} from './inetaddress.js';
import { PACKET_HEAD_LEN } from './packet.js';
import { readWorld, WORLD_MOON, type World } from './world.js';

export interface SoftwareVersion {
  readonly protocol: number;
  readonly major: number;
  readonly minor: number;
  readonly revision: number;
}

export interface MoonStamp {
  readonly type: number;
  readonly id: bigint;
  readonly timestamp: bigint;
}

export interface Hello {
  readonly version: SoftwareVersion;
  readonly timestamp: bigint;
  readonly identity: Identity;
  /** Our address as the sender sees it; family 0 when absent. */
  readonly sentTo: InetAddress;
  /** 0 when the sender named no planet. */
  readonly planetId: bigint;
  readonly planetTimestamp: bigint;
  /** Payload offset of the masked tail; payload.length when there is none. */
  readonly maskedFrom: number;
}

function readVersion(r: Reader): SoftwareVersion {
  return { protocol: r.u8(), major: r.u8(), minor: r.u8(), revision: r.u16() };
}

function writeVersion(w: Writer, v: SoftwareVersion): void {
  w.u8(v.protocol).u8(v.major).u8(v.minor).u16(v.revision);
}

/** Parses the part before the masked tail; everything after the identity is optional. */
export function parseHello(payload: Uint8Array): Hello | undefined {
  const r = new Reader(payload);
  const version = readVersion(r);
  const timestamp = r.u64();
  const id = r.failed ? undefined : parseIdentity(payload, r.pos);
  if (id === undefined) return undefined;
  r.skip(id.length);
  const sentTo = r.remaining > 0 ? readInetAddress(r) : NO_ADDRESS;
  if (r.failed) return undefined;
  const hasPlanet = r.remaining >= 16;
  const planetId = hasPlanet ? r.u64() : 0n;
  const planetTimestamp = hasPlanet ? r.u64() : 0n;
  const maskedFrom = hasPlanet ? r.pos : payload.length;
  const identity = { ...id.identity, privateKey: undefined };
  return { version, timestamp, identity, sentTo, planetId, planetTimestamp, maskedFrom };
}

/** Reads the unmasked tail: the moons that the sender has or wants. Undefined when cut short. */
export function parseHelloTail(payload: Uint8Array, maskedFrom: number): MoonStamp[] | undefined {
  if (maskedFrom >= payload.length) return [];
  const r = new Reader(payload, maskedFrom);
  const count = r.u16();
  const moons: MoonStamp[] = [];
  for (let i = 0; i < count && !r.failed; i++) {
    const moon = { type: r.u8(), id: r.u64(), timestamp: r.u64() };
    if (moon.type === WORLD_MOON) moons.push(moon);
  }
  return r.failed ? undefined : moons;
}

/** Writes the payload. @returns payload offset from which the tail must be masked. */
export function writeHello(
  w: Writer,
  h: Omit<Hello, 'maskedFrom'>,
  moons: readonly MoonStamp[],
): number {
  const start = w.pos;
  writeVersion(w, h.version);
  w.u64(h.timestamp);
  w.pos += emitIdentity({ ...h.identity, privateKey: undefined }, w.bytes, w.pos);
  writeInetAddress(w, h.sentTo);
  w.u64(h.planetId).u64(h.planetTimestamp);
  const maskedFrom = w.pos - start;
  w.u16(moons.length);
  for (const m of moons) w.u8(m.type).u64(m.id).u64(m.timestamp);
  return maskedFrom;
}

export interface OkHello {
  readonly timestamp: bigint;
  readonly version: SoftwareVersion;
  /** Our address as the responder sees it. */
  readonly surface: InetAddress;
  readonly worlds: readonly World[];
}

/** Reads what follows the in-re packet id. */
export function parseOkHello(body: Uint8Array): OkHello | undefined {
  const r = new Reader(body);
  const timestamp = r.u64();
  const version = readVersion(r);
  if (r.failed) return undefined;
  const surface = r.remaining > 0 ? readInetAddress(r) : NO_ADDRESS;
  const worlds: World[] = [];
  if (!r.failed && r.remaining >= 2) {
    const len = r.u16();
    const w = new Reader(body, r.pos, r.pos + len);
    r.skip(len);
    while (!w.failed && w.remaining > 0) worlds.push(readWorld(w));
    if (w.failed) return undefined;
  }
  return r.failed ? undefined : { timestamp, version, surface, worlds };
}

/** Writes what follows the in-re packet id; `worlds` are serialised worlds. */
export function writeOkHello(w: Writer, ok: Omit<OkHello, 'worlds'>, worlds: Uint8Array): void {
  w.u64(ok.timestamp);
  writeVersion(w, ok.version);
  writeInetAddress(w, ok.surface);
  w.u16(worlds.length).put(worlds);
}

/** Addresses of a WHOIS; a rest shorter than 5 bytes is ignored [2 section 10.4]. */
export function parseWhois(payload: Uint8Array): NodeAddress[] {
  const r = new Reader(payload);
  const out: NodeAddress[] = [];
  while (r.remaining >= 5) out.push(r.u40());
  return out;
}

/** Identities of OK(WHOIS), read until the first malformed one. */
export function parseIdentities(body: Uint8Array): Identity[] {
  const out: Identity[] = [];
  for (let at = 0; at + IDENTITY_PUBLIC_LEN <= body.length; ) {
    const id = parseIdentity(body, at);
    if (id === undefined) break;
    out.push({ ...id.identity, privateKey: undefined });
    at += id.length;
  }
  return out;
}

export interface Rendezvous {
  readonly flags: number;
  readonly peer: NodeAddress;
  readonly endpoint: InetAddress;
}

export function parseRendezvous(payload: Uint8Array): Rendezvous | undefined {
  const r = new Reader(payload);
  const flags = r.u8();
  const peer = r.u40();
  const port = r.u16();
  const len = r.u8();
  if (len !== 4 && len !== 16) return undefined;
  const endpoint = inetAddress(r.copy(len), port);
  return r.failed || port === 0 ? undefined : { flags, peer, endpoint };
}

export function writeRendezvous(w: Writer, v: Rendezvous): void {
  w.u8(v.flags).u40(v.peer).u16(v.endpoint.port).u8(v.endpoint.ip.length).put(v.endpoint.ip);
}

export const PUSH_FORGET = 0x01;
export const PUSH_REDIRECT = 0x02;
/** Packets stop growing here [2 section 12.7]. */
const PUSH_PACKET_LIMIT = 1200;
const PUSH_RECORD_MAX = 24;

export interface PushedPath {
  readonly flags: number;
  readonly endpoint: InetAddress;
}

/** Records of IPv4 and IPv6 endpoints; undefined when cut short. */
export function parsePushDirectPaths(payload: Uint8Array): PushedPath[] | undefined {
  const r = new Reader(payload);
  const count = r.u16();
  const out: PushedPath[] = [];
  for (let i = 0; i < count && !r.failed; i++) {
    const flags = r.u8();
    r.skip(r.u16());
    const type = r.u8();
    const body = new Reader(r.take(r.u8()));
    if (type !== 4 && type !== 6) continue;
    const endpoint = inetAddress(body.copy(type === 4 ? 4 : 16), body.u16());
    if (!body.failed) out.push({ flags, endpoint });
  }
  return r.failed ? undefined : out;
}

/** Writes as many of `endpoints` as one packet takes. @returns how many. */
export function writePushDirectPaths(w: Writer, endpoints: readonly InetAddress[]): number {
  const start = w.pos;
  w.u16(0);
  let n = 0;
  for (const e of endpoints) {
    if (PACKET_HEAD_LEN + (w.pos - start) + PUSH_RECORD_MAX >= PUSH_PACKET_LIMIT) break;
    w.u8(0)
      .u16(0)
      .u8(e.family)
      .u8(e.ip.length + 2)
      .put(e.ip)
      .u16(e.port);
    n++;
  }
  const end = w.pos;
  w.pos = start;
  w.u16(n);
  w.pos = end;
  return n;
}
