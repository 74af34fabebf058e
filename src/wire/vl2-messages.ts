/**
 * Payloads of the network verbs [3 section 2]: FRAME, EXT_FRAME, MULTICAST_LIKE, MULTICAST_GATHER,
 * MULTICAST_FRAME, gather results, NETWORK_CREDENTIALS, NETWORK_CONFIG_REQUEST. Payloads begin after
 * the verb byte. Parsed byte strings are views of the payload; undefined = malformed.
 */
import { Reader } from '../lib/reader.js';
import type { Writer } from '../lib/writer.js';
import type { NetworkId, NodeAddress } from './address.js';
import { type Com, readCom, writeCom } from './com.js';
import {
  type Capability,
  type Ownership,
  type Revocation,
  readCapability,
  readOwnership,
  readRevocation,
  readTag,
  type Tag,
  writeCapability,
  writeOwnership,
  writeRevocation,
  writeTag,
} from './credentials.js';
import type { MulticastGroup } from './multicast-group.js';

// ---- FRAME [3 section 2.1] ----

export interface Frame {
  readonly nwid: NetworkId;
  readonly etherType: number;
  readonly frame: Uint8Array;
}

export function parseFrame(payload: Uint8Array): Frame | undefined {
  const r = new Reader(payload);
  const nwid = r.u64();
  const etherType = r.u16();
  return r.failed ? undefined : { nwid, etherType, frame: r.rest() };
}

export function writeFrame(w: Writer, f: Frame): void {
  w.u64(f.nwid).u16(f.etherType).put(f.frame);
}

// ---- EXT_FRAME [3 section 2.2] ----

export const EXT_FRAME_FLAG = {
  COM: 0x01,
  TEE_OUT: 0x02,
  REDIRECT_OUT: 0x04,
  WATCH_OUT: 0x16,
  TEE_IN: 0x08,
  REDIRECT_IN: 0x0a,
  WATCH_IN: 0x1c,
  ACK: 0x10,
} as const;

export interface ExtFrame {
  readonly nwid: NetworkId;
  readonly flags: number;
  readonly com: Com | undefined;
  /** Undefined when the payload ends before the MACs: then only an acknowledgement is due. */
  readonly body:
    | {
        readonly macDest: Uint8Array;
        readonly macSource: Uint8Array;
        readonly etherType: number;
        readonly frame: Uint8Array;
      }
    | undefined;
}

export function parseExtFrame(payload: Uint8Array): ExtFrame | undefined {
  const r = new Reader(payload);
  const nwid = r.u64();
  const flags = r.u8();
  const com = (flags & EXT_FRAME_FLAG.COM) !== 0 ? readCom(r) : undefined;
  if (r.failed) return undefined;
  const body = { macDest: r.take(6), macSource: r.take(6), etherType: r.u16(), frame: r.rest() };
  return { nwid, flags, com, body: r.failed ? undefined : body };
}

export function writeExtFrame(
  w: Writer,
  nwid: NetworkId,
  flags: number,
  body: NonNullable<ExtFrame['body']>,
): void {
  w.u64(nwid).u8(flags).put(body.macDest).put(body.macSource).u16(body.etherType).put(body.frame);
}

// ---- MULTICAST_LIKE [3 section 2.3] ----

export const LIKE_LEN = 18;

export interface Like {
  readonly nwid: NetworkId;
  readonly group: MulticastGroup;
}

/** Complete tuples; a cut last one is ignored. */
export function parseLikes(payload: Uint8Array): Like[] {
  const r = new Reader(payload);
  const out: Like[] = [];
  while (r.remaining >= LIKE_LEN) out.push({ nwid: r.u64(), group: readGroup(r) });
  return out;
}

export function writeLike(w: Writer, nwid: NetworkId, g: MulticastGroup): void {
  w.u64(nwid);
  writeGroup(w, g);
}

function readGroup(r: Reader): MulticastGroup {
  return { mac: r.copy(6), adi: r.u32() };
}

function writeGroup(w: Writer, g: MulticastGroup): void {
  w.put(g.mac).u32(g.adi);
}

// ---- MULTICAST_GATHER [3 section 2.7] ----

export interface Gather {
  readonly nwid: NetworkId;
  readonly group: MulticastGroup;
  readonly limit: number;
  /** A malformed certificate reads as none. */
  readonly com: Com | undefined;
}

const GATHER_COM = 0x01;

export function parseGather(payload: Uint8Array): Gather | undefined {
  const r = new Reader(payload);
  const nwid = r.u64();
  const flags = r.u8();
  const group = readGroup(r);
  const limit = r.u32();
  if (r.failed) return undefined;
  if ((flags & GATHER_COM) === 0) return { nwid, group, limit, com: undefined };
  const com = readCom(r);
  return { nwid, group, limit, com: r.failed ? undefined : com };
}

export function writeGather(w: Writer, g: Gather): void {
  w.u64(g.nwid).u8(g.com === undefined ? 0 : GATHER_COM);
  writeGroup(w, g.group);
  w.u32(g.limit);
  if (g.com !== undefined) writeCom(w, g.com);
}

// ---- OK(MULTICAST_GATHER) and OK(MULTICAST_FRAME) [3 sections 2.7, 2.8] ----

export interface GatherResult {
  readonly nwid: NetworkId;
  readonly group: MulticastGroup;
  readonly com: Com | undefined;
  readonly totalKnown: number;
  readonly members: readonly NodeAddress[];
}

const RESULT_COM = 0x01;
const RESULT_MEMBERS = 0x02;

/** What follows the in-re packet id; `withFlags` for OK(MULTICAST_FRAME). */
export function parseGatherResult(body: Uint8Array, withFlags: boolean): GatherResult | undefined {
  const r = new Reader(body);
  const nwid = r.u64();
  const group = readGroup(r);
  const flags = withFlags ? r.u8() : RESULT_MEMBERS;
  const com = (flags & RESULT_COM) !== 0 ? readCom(r) : undefined;
  if (r.failed) return undefined;
  if ((flags & RESULT_MEMBERS) === 0) return { nwid, group, com, totalKnown: 0, members: [] };
  const totalKnown = r.u32();
  const count = r.u16();
  if (r.failed || count * 5 > r.remaining) return undefined;
  const members = Array.from({ length: count }, () => r.u40());
  return { nwid, group, com, totalKnown, members };
}

export function writeGatherResult(
  w: Writer,
  v: Omit<GatherResult, 'com'>,
  withFlags: boolean,
): void {
  w.u64(v.nwid);
  writeGroup(w, v.group);
  if (withFlags) w.u8(RESULT_MEMBERS);
  w.u32(v.totalKnown).u16(v.members.length);
  for (const a of v.members) w.u40(a);
}

// ---- MULTICAST_FRAME [3 section 2.8] ----

export const MULTICAST_FLAG = {
  COM: 0x01,
  GATHER: 0x02,
  SOURCE_MAC: 0x04,
  REPLICATE: 0x08,
} as const;

export interface MulticastFrame {
  readonly nwid: NetworkId;
  readonly replicate: boolean;
  readonly com: Com | undefined;
  /** 0 = no gather result wanted. */
  readonly gatherLimit: number;
  /** Undefined = the sender's own MAC. */
  readonly macSource: Uint8Array | undefined;
  readonly group: MulticastGroup;
  readonly etherType: number;
  readonly frame: Uint8Array;
}

export function parseMulticastFrame(payload: Uint8Array): MulticastFrame | undefined {
  const r = new Reader(payload);
  const nwid = r.u64();
  const flags = r.u8();
  const has = (flag: number): boolean => (flags & flag) !== 0;
  const com = has(MULTICAST_FLAG.COM) ? readCom(r) : undefined;
  const gatherLimit = has(MULTICAST_FLAG.GATHER) ? r.u32() : 0;
  const macSource = has(MULTICAST_FLAG.SOURCE_MAC) ? r.take(6) : undefined;
  const group = readGroup(r);
  const etherType = r.u16();
  const frame = r.rest();
  if (r.failed) return undefined;
  const replicate = has(MULTICAST_FLAG.REPLICATE);
  return { nwid, replicate, com, gatherLimit, macSource, group, etherType, frame };
}

export function writeMulticastFrame(w: Writer, f: MulticastFrame): void {
  const flags =
    (f.com === undefined ? 0 : MULTICAST_FLAG.COM) |
    (f.gatherLimit > 0 ? MULTICAST_FLAG.GATHER : 0) |
    (f.macSource === undefined ? 0 : MULTICAST_FLAG.SOURCE_MAC) |
    (f.replicate ? MULTICAST_FLAG.REPLICATE : 0);
  w.u64(f.nwid).u8(flags);
  if (f.com !== undefined) writeCom(w, f.com);
  if (f.gatherLimit > 0) w.u32(f.gatherLimit);
  if (f.macSource !== undefined) w.put(f.macSource);
  writeGroup(w, f.group);
  w.u16(f.etherType).put(f.frame);
}

// ---- NETWORK_CREDENTIALS [3 section 2.4] ----

export interface Credentials {
  readonly coms: readonly Com[];
  readonly capabilities: readonly Capability[];
  readonly tags: readonly Tag[];
  readonly revocations: readonly Revocation[];
  readonly ownerships: readonly Ownership[];
}

/** Missing lists count as empty. */
export function parseCredentials(payload: Uint8Array): Credentials | undefined {
  const r = new Reader(payload);
  const coms: Com[] = [];
  while (r.remaining > 0 && payload[r.pos] !== 0 && !r.failed) coms.push(readCom(r));
  if (r.remaining > 0) r.skip(1);
  const list = <T>(read: (r: Reader) => T): T[] => {
    const out: T[] = [];
    if (r.remaining === 0) return out;
    const count = r.u16();
    for (let i = 0; i < count && !r.failed; i++) out.push(read(r));
    return out;
  };
  const capabilities = list(readCapability);
  const tags = list(readTag);
  const revocations = list(readRevocation);
  const ownerships = list(readOwnership);
  return r.failed ? undefined : { coms, capabilities, tags, revocations, ownerships };
}

export function writeCredentials(w: Writer, c: Credentials): void {
  for (const com of c.coms) writeCom(w, com);
  w.u8(0).u16(c.capabilities.length);
  for (const x of c.capabilities) writeCapability(w, x);
  w.u16(c.tags.length);
  for (const x of c.tags) writeTag(w, x);
  w.u16(c.revocations.length);
  for (const x of c.revocations) writeRevocation(w, x);
  w.u16(c.ownerships.length);
  for (const x of c.ownerships) writeOwnership(w, x);
}

// ---- NETWORK_CONFIG_REQUEST [3 section 2.5] ----

export interface ConfigRequest {
  readonly nwid: NetworkId;
  readonly metadata: Uint8Array;
  /** What the requester holds; 0 when absent. */
  readonly revision: bigint;
  readonly timestamp: bigint;
}

/** Undefined unless the metadata is whole; revision and timestamp may be missing. */
export function parseConfigRequest(payload: Uint8Array): ConfigRequest | undefined {
  const r = new Reader(payload);
  const nwid = r.u64();
  const metadata = r.take(r.u16());
  if (r.failed) return undefined;
  const hasState = r.remaining >= 16;
  return { nwid, metadata, revision: hasState ? r.u64() : 0n, timestamp: hasState ? r.u64() : 0n };
}

export function writeConfigRequest(w: Writer, q: ConfigRequest): void {
  w.u64(q.nwid).u16(q.metadata.length).put(q.metadata).u64(q.revision).u64(q.timestamp);
}

// ---- OK and ERROR heads [2 section 10.3] ----

export interface OkHead {
  readonly inReVerb: number;
  readonly inRePacketId: bigint;
  readonly body: Uint8Array;
}

export function parseOkHead(payload: Uint8Array): OkHead | undefined {
  const r = new Reader(payload);
  const inReVerb = r.u8();
  const inRePacketId = r.u64();
  return r.failed ? undefined : { inReVerb, inRePacketId, body: r.rest() };
}

export interface ErrorHead extends OkHead {
  readonly code: number;
}

export function parseErrorHead(payload: Uint8Array): ErrorHead | undefined {
  const head = parseOkHead(payload);
  if (head === undefined || head.body.length < 1) return undefined;
  return { ...head, code: head.body[0]!, body: head.body.subarray(1) };
}
