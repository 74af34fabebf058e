/**
 * Network configurations: the dictionary a controller signs and a member applies [3 section 4], the
 * chunks it travels in [3 section 2.6], and the request's metadata [3 section 3].
 */
import { Reader } from '../lib/reader.js';
import { Writer } from '../lib/writer.js';
import { addressText, type NetworkId, type NodeAddress } from './address.js';
import { type Com, emitCom, readCom } from './com.js';
import {
  type Capability,
  capabilityLen,
  type Ownership,
  ownershipLen,
  readCapability,
  readOwnership,
  readTag,
  TAG_LEN,
  type Tag,
  writeCapability,
  writeOwnership,
  writeTag,
} from './credentials.js';
import { Dictionary, DictionaryBuilder, textUpTo } from './dictionary.js';
import { type InetAddress, NO_ADDRESS, readInetAddress, writeInetAddress } from './inetaddress.js';
import { SOFTWARE_VERSION } from './packet.js';
import { emitRules, MAX_RULES, type Rule, readRules } from './rules.js';
import { type ConfigSso, readConfigSso, writeConfigSso } from './sso.js';

export type { ConfigSso };

export const CONFIG_VERSION = 7;
/** Older formats are refused [3 section 4, "Version rule"]. */
const CONFIG_VERSION_MIN = 6;
export const CONFIG_CAPACITY = 484_520;
export const METADATA_CAPACITY = 1024;
export const CHUNK_DATA_LEN = 9740;
export const MAX_CHUNKS = 474;
export const DEFAULT_MTU = 2800;
export const MIN_MTU = 1280;
export const MAX_MTU = 10_000;
export const MAX_CAPABILITIES = 128;
export const MAX_TAGS = 128;
export const MAX_OWNERSHIPS = 4;
export const MAX_ROUTES = 128;
export const MAX_ASSIGNED = 32;
export const MAX_SPECIALISTS = 256;
export const MAX_DNS_SERVERS = 4;
const MAX_NAME_LEN = 127;
const DNS_DOMAIN_LEN = 128;
/** A socket address and a route (two of them, flags and metric) in bytes at most. */
const ADDRESS_LEN = 19;
const ROUTE_LEN = 2 * ADDRESS_LEN + 4;

export const NETWORK_FLAG = {
  BROADCAST: 0x02n,
  NDP_EMULATION: 0x04n,
  UNKNOWN_MATCHES: 0x08n,
  NO_COMPRESSION: 0x10n,
} as const;

export const SPECIALIST = {
  ACTIVE_BRIDGE: 0x0000_0200_0000_0000n,
  ANCHOR: 0x0000_0400_0000_0000n,
  REPLICATOR: 0x0000_0800_0000_0000n,
} as const;

export const NETWORK_PRIVATE = 0;
export const NETWORK_PUBLIC = 1;

export interface ConfigRoute {
  readonly target: InetAddress;
  readonly via: InetAddress;
  readonly flags: number;
  readonly metric: number;
}

export interface ConfigDns {
  readonly domain: string;
  readonly servers: readonly InetAddress[];
}

export interface NetworkConfig {
  readonly nwid: NetworkId;
  readonly timestamp: bigint;
  readonly credentialTimeMaxDelta: bigint;
  readonly revision: bigint;
  readonly issuedTo: NodeAddress;
  readonly traceTarget: NodeAddress;
  readonly traceLevel: bigint;
  readonly flags: bigint;
  readonly multicastLimit: number;
  readonly type: number;
  readonly name: string;
  readonly mtu: number;
  readonly com: Com | undefined;
  readonly capabilities: readonly Capability[];
  readonly tags: readonly Tag[];
  readonly ownerships: readonly Ownership[];
  /** Low 40 bits address, role bits above. */
  readonly specialists: readonly bigint[];
  readonly routes: readonly ConfigRoute[];
  /** The port is the prefix length. */
  readonly addresses: readonly InetAddress[];
  readonly rules: readonly Rule[];
  readonly dns: ConfigDns;
  readonly sso: ConfigSso;
}

/** Reads a list of items until the blob ends or `max`; a defect invalidates the whole. */
function readList<T>(
  blob: Uint8Array | undefined,
  max: number,
  read: (r: Reader) => T,
): T[] | undefined {
  if (blob === undefined) return [];
  const r = new Reader(blob);
  const out: T[] = [];
  while (r.remaining > 0 && out.length < max) {
    out.push(read(r));
    if (r.failed) return undefined;
  }
  return out;
}

/** Like `readList`, but a defect keeps what was decoded before it. */
function readTolerant<T>(blob: Uint8Array | undefined, max: number, read: (r: Reader) => T): T[] {
  if (blob === undefined) return [];
  const r = new Reader(blob);
  const out: T[] = [];
  while (r.remaining > 0 && out.length < max) {
    const item = read(r);
    if (r.failed) break;
    out.push(item);
  }
  return out;
}

function readSpecialists(blob: Uint8Array | undefined): bigint[] {
  if (blob === undefined) return [];
  const r = new Reader(blob);
  const out: bigint[] = [];
  while (r.remaining >= 8 && out.length < MAX_SPECIALISTS) out.push(r.u64());
  return out;
}

function readRoute(r: Reader): ConfigRoute {
  return { target: readInetAddress(r), via: readInetAddress(r), flags: r.u16(), metric: r.u16() };
}

function readDns(blob: Uint8Array | undefined): ConfigDns | undefined {
  if (blob === undefined || blob.length === 0) return { domain: '', servers: [] };
  const r = new Reader(blob);
  const domain = r.take(DNS_DOMAIN_LEN);
  const nul = domain.indexOf(0);
  const servers: InetAddress[] = [];
  for (let i = 0; i < MAX_DNS_SERVERS; i++) servers.push(readInetAddress(r));
  if (r.failed) return undefined;
  return {
    domain: textUpTo(nul < 0 ? domain : domain.subarray(0, nul), DNS_DOMAIN_LEN - 1),
    servers: servers.filter((s) => s.family !== 0),
  };
}

const byId = (a: { id: number }, b: { id: number }): number => a.id - b.id;

/** Reads the address entries `id`, `tt`. */
function readAddressEntry(d: Dictionary, key: string): NodeAddress {
  return Number(d.u64(key) & 0xff_ffff_ffffn);
}

/** Undefined when the reference would refuse the configuration [3 section 4]. */
export function parseNetworkConfig(text: Uint8Array): NetworkConfig | undefined {
  const d = new Dictionary(text);
  const nwid = d.u64('nwid');
  const issuedTo = readAddressEntry(d, 'id');
  if (d.u64('v') < CONFIG_VERSION_MIN || nwid === 0n || issuedTo === 0) return undefined;
  const coms = readList(nonEmpty(d.bytes('C')), 1, readCom);
  const ownerships = readList(d.bytes('COO'), Number.POSITIVE_INFINITY, readOwnership);
  const routes = readList(d.bytes('RT'), MAX_ROUTES, readRoute);
  const addresses = readList(d.bytes('I'), MAX_ASSIGNED, readInetAddress);
  const rulesBlob = d.bytes('R');
  const rulesReader = new Reader(rulesBlob ?? new Uint8Array(0));
  const rules = readRules(rulesReader, MAX_RULES);
  const dns = readDns(d.bytes('DNS'));
  if (
    coms === undefined ||
    ownerships === undefined ||
    routes === undefined ||
    addresses === undefined
  )
    return undefined;
  if (rulesReader.failed || dns === undefined) return undefined;
  return {
    nwid,
    timestamp: d.u64('ts'),
    credentialTimeMaxDelta: d.u64('ctmd'),
    revision: d.u64('r'),
    issuedTo,
    traceTarget: readAddressEntry(d, 'tt'),
    traceLevel: d.u64('tl'),
    flags: d.u64('f'),
    multicastLimit: Number(d.u64('ml') & 0xffff_ffffn),
    type: Number(d.u64('t') & 0xffn),
    name: d.textUpTo('n', MAX_NAME_LEN),
    mtu: clampMtu(Number(d.u64('mtu', BigInt(DEFAULT_MTU)) & 0xffff_ffffn)),
    com: coms[0],
    capabilities: readTolerant(d.bytes('CAP'), MAX_CAPABILITIES, readCapability).sort(byId),
    tags: readTolerant(d.bytes('TAG'), MAX_TAGS, readTag).sort(byId),
    ownerships: ownerships.slice(0, MAX_OWNERSHIPS),
    specialists: readSpecialists(d.bytes('S')),
    routes,
    addresses,
    rules,
    dns,
    sso: readConfigSso(d),
  };
}

function nonEmpty(b: Uint8Array | undefined): Uint8Array | undefined {
  return b === undefined || b.length === 0 ? undefined : b;
}

export function clampMtu(mtu: number): number {
  return Math.min(MAX_MTU, Math.max(MIN_MTU, mtu));
}

/** Items back to back; `itemLen` = the longest of one item. */
function list<T>(
  items: readonly T[],
  itemLen: (x: T) => number,
  write: (w: Writer, x: T) => void,
): Uint8Array {
  const w = Writer.of(items.reduce((n, x) => n + itemLen(x), 0));
  for (const x of items) write(w, x);
  return w.done();
}

function emitDns(dns: ConfigDns): Uint8Array {
  const w = Writer.of(DNS_DOMAIN_LEN + MAX_DNS_SERVERS * ADDRESS_LEN);
  const domain = new TextEncoder().encode(dns.domain).subarray(0, DNS_DOMAIN_LEN - 1);
  w.put(domain).zeros(DNS_DOMAIN_LEN - domain.length);
  for (let i = 0; i < MAX_DNS_SERVERS; i++) writeInetAddress(w, dns.servers[i] ?? NO_ADDRESS);
  return w.done();
}

/** The dictionary in the reference's order of keys [3 section 4]. */
export function emitNetworkConfig(c: NetworkConfig): Uint8Array {
  const d = new DictionaryBuilder(CONFIG_CAPACITY);
  d.u64('v', CONFIG_VERSION);
  d.u64('nwid', c.nwid);
  d.u64('ts', c.timestamp);
  d.u64('ctmd', c.credentialTimeMaxDelta);
  d.u64('r', c.revision);
  d.text('id', addressText(c.issuedTo));
  d.text('tt', addressText(c.traceTarget));
  d.u64('tl', c.traceLevel);
  d.u64('f', c.flags);
  d.u64('ml', c.multicastLimit);
  d.u64('t', c.type);
  d.text('n', c.name);
  d.u64('mtu', c.mtu);
  if (c.com !== undefined) d.bytes('C', emitCom(c.com));
  const put = (key: string, value: Uint8Array): void => {
    if (value.length > 0) d.bytes(key, value);
  };
  put('CAP', list(c.capabilities, capabilityLen, writeCapability));
  put(
    'TAG',
    list(c.tags, () => TAG_LEN, writeTag),
  );
  put('COO', list(c.ownerships, ownershipLen, writeOwnership));
  put(
    'S',
    list(
      c.specialists,
      () => 8,
      (w, x) => void w.u64(x),
    ),
  );
  put(
    'RT',
    list(c.routes, () => ROUTE_LEN, writeRoute),
  );
  put(
    'I',
    list(c.addresses, () => ADDRESS_LEN, writeInetAddress),
  );
  if (c.rules.length > 0) d.bytes('R', emitRules(c.rules));
  d.bytes('DNS', emitDns(c.dns));
  writeConfigSso(d, c.sso);
  return d.build();
}

function writeRoute(w: Writer, r: ConfigRoute): void {
  writeInetAddress(w, r.target);
  writeInetAddress(w, r.via);
  w.u16(r.flags).u16(r.metric);
}

// ---- chunks ----

export interface ConfigChunk {
  readonly nwid: NetworkId;
  readonly data: Uint8Array;
  /** Undefined for the unsigned old form, which ends after the data. */
  readonly signed:
    | {
        readonly flags: number;
        readonly updateId: bigint;
        readonly totalLen: number;
        readonly offset: number;
        readonly signature: Uint8Array;
        /** What the signature covers. */
        readonly signedBytes: Uint8Array;
      }
    | undefined;
}

/** Parses a chunk body; undefined when cut short or not of signature type 1, length 96. */
export function parseConfigChunk(body: Uint8Array): ConfigChunk | undefined {
  const r = new Reader(body);
  const nwid = r.u64();
  const data = r.take(r.u16());
  if (r.failed) return undefined;
  if (r.remaining === 0) return { nwid, data, signed: undefined };
  const head = { flags: r.u8(), updateId: r.u64(), totalLen: r.u32(), offset: r.u32() };
  const signedBytes = body.subarray(0, r.pos);
  if (r.u8() !== 1 || r.u16() !== 96) return undefined;
  const signature = r.copy(96);
  return r.failed ? undefined : { nwid, data, signed: { ...head, signature, signedBytes } };
}

/** Splits a dictionary into signed chunk bodies [3 section 5.1]. */
export function emitConfigChunks(
  nwid: NetworkId,
  text: Uint8Array,
  updateId: bigint,
  sign: (bytes: Uint8Array) => Uint8Array,
): Uint8Array[] {
  const out: Uint8Array[] = [];
  for (let at = 0; at === 0 || at < text.length; at += CHUNK_DATA_LEN) {
    const data = text.subarray(at, at + CHUNK_DATA_LEN);
    const w = Writer.of(data.length + 128);
    w.u64(nwid).u16(data.length).put(data).u8(0).u64(updateId).u32(text.length).u32(at);
    const signature = sign(w.done());
    w.u8(1).u16(96).put(signature);
    out.push(w.done());
  }
  return out;
}

// ---- request ----

export interface Metadata {
  readonly configVersion: number;
  readonly protocol: number;
  readonly major: number;
  readonly minor: number;
  readonly revision: number;
  readonly rulesRevision: number;
  /** The `token:` text, empty when absent. */
  readonly auth: string;
}

/** The metadata of our own requests [3 section 3]. `platform` is e.g. `linux/x86_64`. */
export function emitMetadata(protocol: number, platform: string): Uint8Array {
  const d = new DictionaryBuilder(METADATA_CAPACITY);
  d.u64('v', CONFIG_VERSION);
  d.u64('vend', 1);
  d.u64('pv', protocol);
  d.u64('majv', SOFTWARE_VERSION.major);
  d.u64('minv', SOFTWARE_VERSION.minor);
  d.u64('revv', SOFTWARE_VERSION.revision);
  d.u64('mr', MAX_RULES);
  d.u64('mc', MAX_CAPABILITIES);
  d.u64('mcr', 64);
  d.u64('mt', MAX_TAGS);
  d.u64('f', 0);
  d.u64('revr', 1);
  d.text('o', platform);
  return d.build();
}

export function parseMetadata(text: Uint8Array): Metadata {
  const d = new Dictionary(text.subarray(0, METADATA_CAPACITY - 1));
  return {
    configVersion: d.number('v'),
    protocol: d.number('pv'),
    major: d.number('majv'),
    minor: d.number('minv'),
    revision: d.number('revv'),
    rulesRevision: d.number('revr'),
    auth: d.text('a') ?? '',
  };
}
