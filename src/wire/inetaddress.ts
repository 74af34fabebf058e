/**
 * Socket addresses ("InetAddress"): wire form, text form, scopes and the prefix hash of rate limits
 * [1 sections 7.4-7.7]. The port field carries prefix lengths and metrics where a context says so.
 */
import type { Reader } from '../lib/reader.js';
import type { Writer } from '../lib/writer.js';

/** `family` 0 is "no address": empty `ip`, port 0. */
export interface InetAddress {
  readonly family: 0 | 4 | 6;
  /** 0, 4 or 16 bytes. */
  readonly ip: Uint8Array;
  readonly port: number;
}

export const NO_ADDRESS: InetAddress = { family: 0, ip: new Uint8Array(0), port: 0 };

export function inetAddress(ip: Uint8Array, port: number): InetAddress {
  return { family: ip.length === 4 ? 4 : ip.length === 16 ? 6 : 0, ip, port };
}

/** Reads one address; types 1-3 are skipped and read as "no address"; others fail the reader. */
export function readInetAddress(r: Reader): InetAddress {
  const type = r.u8();
  switch (type) {
    case 0:
      return NO_ADDRESS;
    case 1:
    case 2:
      r.skip(6);
      return NO_ADDRESS;
    case 3:
      r.skip(r.u16());
      return NO_ADDRESS;
    case 4:
      return { family: 4, ip: r.copy(4), port: r.u16() };
    case 6:
      return { family: 6, ip: r.copy(16), port: r.u16() };
    default:
      r.fail();
      return NO_ADDRESS;
  }
}

export function writeInetAddress(w: Writer, a: InetAddress): void {
  if (a.family === 0) {
    w.u8(0);
    return;
  }
  w.u8(a.family).put(a.ip).u16(a.port);
}

/** Text of an IPv4 address, or of an IPv6 address as RFC 5952 and inet_ntop write it. */
export function ipText(ip: Uint8Array): string {
  if (ip.length === 4) return ip.join('.');
  if (ip.length !== 16) return '';
  const words = Array.from({ length: 8 }, (_, i) => (ip[2 * i]! << 8) | ip[2 * i + 1]!);
  const run = longestZeroRun(words);
  const mapped =
    run.start === 0 &&
    (run.len === 6 || (run.len === 7 && words[7] !== 1) || (run.len === 5 && words[5] === 0xffff));
  if (mapped && !(run.len === 7) && words.slice(6).some((w) => w !== 0)) {
    const head = run.len === 6 ? '::' : '::ffff:';
    return head + ip.subarray(12).join('.');
  }
  if (run.len < 2) return words.map((w) => w.toString(16)).join(':');
  const left = words.slice(0, run.start).map((w) => w.toString(16));
  const right = words.slice(run.start + run.len).map((w) => w.toString(16));
  return `${left.join(':')}::${right.join(':')}`;
}

function longestZeroRun(words: number[]): { start: number; len: number } {
  let best = { start: 0, len: 0 };
  for (let i = 0; i < words.length; i++) {
    let n = 0;
    while (i + n < words.length && words[i + n] === 0) n++;
    if (n > best.len) best = { start: i, len: n };
    i += n;
  }
  return best;
}

/** Strict parser of one IP address; undefined for anything that is not exactly one. */
export function parseIp(text: string): Uint8Array | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

function parseIpv4(text: string): Uint8Array | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  const out = new Uint8Array(4);
  for (const [i, p] of parts.entries()) {
    if (!/^(0|[1-9][0-9]{0,2})$/.test(p) || Number(p) > 255) return undefined;
    out[i] = Number(p);
  }
  return out;
}

function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const groups = halves.map((h, i) => expandGroups(h, i === halves.length - 1));
  const [left, right] = groups;
  if (left === undefined || (halves.length === 2 && right === undefined)) return undefined;
  const have = left.length + (right?.length ?? 0);
  if (halves.length === 2 ? have > 7 : have !== 8) return undefined;
  const words = [...left, ...new Array<number>(8 - have).fill(0), ...(right ?? [])];
  const out = new Uint8Array(16);
  for (const [i, w] of words.entries()) {
    out[2 * i] = w >> 8;
    out[2 * i + 1] = w;
  }
  return out;
}

/** Words of one side of `::`; a dotted tail of the last side counts as two. Undefined when malformed. */
function expandGroups(text: string, isLast: boolean): number[] | undefined {
  if (text === '') return [];
  const words: number[] = [];
  const parts = text.split(':');
  for (const [i, p] of parts.entries()) {
    if (p.includes('.')) {
      const v4 = isLast && i === parts.length - 1 ? parseIpv4(p) : undefined;
      if (v4 === undefined) return undefined;
      words.push((v4[0]! << 8) | v4[1]!, (v4[2]! << 8) | v4[3]!);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(p)) words.push(Number.parseInt(p, 16));
    else return undefined;
  }
  return words;
}

/** `<ip>/<port>`; empty for no address [1 section 7.5]. */
export function inetAddressText(a: InetAddress): string {
  return a.family === 0 ? '' : `${ipText(a.ip)}/${a.port}`;
}

/**
 * Parses `<ip>[/<number>]` [1 section 7.5]. Empty text is "no address"; the number is decimal,
 * taken modulo 65536, trailing rubbish ignored. An unparsable IP is refused (the reference keeps
 * the zero address).
 */
export function parseInetAddress(text: string): InetAddress | undefined {
  if (text === '') return NO_ADDRESS;
  if (text.length >= 64) return undefined;
  const slash = text.indexOf('/');
  const host = slash < 0 ? text : text.slice(0, slash);
  const ip = parseIp(host);
  if (ip === undefined) return undefined;
  const number = /^\s*([+-]?)([0-9]+)/.exec(slash < 0 ? '' : text.slice(slash + 1));
  const value = BigInt(number?.[2] ?? '0');
  const port = Number(BigInt.asUintN(16, number?.[1] === '-' ? -value : value));
  return inetAddress(ip, port);
}

export const SCOPE_NONE = 0;
export const SCOPE_MULTICAST = 1;
export const SCOPE_LOOPBACK = 2;
export const SCOPE_PSEUDO_PRIVATE = 3;
export const SCOPE_GLOBAL = 4;
export const SCOPE_LINK_LOCAL = 5;
export const SCOPE_SHARED = 6;
export const SCOPE_PRIVATE = 7;

const PSEUDO_PRIVATE_NETS = new Set([6, 11, 21, 22, 25, 26, 28, 29, 30, 51, 55, 56]);

/** Scope class of an IP, 0..7, ascending preference [1 section 7.6]. */
export function ipScope(ip: Uint8Array): number {
  if (ip.length === 4) return ipv4Scope(ip);
  return ip.length === 16 ? ipv6Scope(ip) : SCOPE_NONE;
}

function ipv4Scope(ip: Uint8Array): number {
  const [a, b, c] = [ip[0]!, ip[1]!, ip[2]!];
  if (a === 0 || a === 255) return SCOPE_NONE;
  // Documentation and shared ranges count as private, the special /24s inside pseudo-private /8s do not exist.
  if (PSEUDO_PRIVATE_NETS.has(a)) return SCOPE_PSEUDO_PRIVATE;
  if (a === 10 || (a === 100 && (b & 0xc0) === 64) || (a === 172 && (b & 0xf0) === 16))
    return SCOPE_PRIVATE;
  if (a === 192 && (b === 168 || (b === 0 && c === 2))) return SCOPE_PRIVATE;
  if (a === 198 && ((b & 0xfe) === 18 || (b === 51 && c === 100))) return SCOPE_PRIVATE;
  if (a === 203 && b === 0 && c === 113) return SCOPE_PRIVATE;
  if (a === 127) return SCOPE_LOOPBACK;
  if (a === 169 && b === 254) return SCOPE_LINK_LOCAL;
  if (a >= 224 && a < 240) return SCOPE_MULTICAST;
  return a >= 240 ? SCOPE_PSEUDO_PRIVATE : SCOPE_GLOBAL;
}

function isZero(ip: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (ip[i] !== 0) return false;
  return true;
}

function ipv6Scope(ip: Uint8Array): number {
  const a = ip[0]!;
  if (a === 0xff) return SCOPE_MULTICAST;
  if (a === 0xfe && (ip[1]! & 0xc0) === 0x80) {
    return isZero(ip, 2, 15) && ip[15] === 1 ? SCOPE_LOOPBACK : SCOPE_LINK_LOCAL;
  }
  if ((a & 0xfe) === 0xfc) return SCOPE_PRIVATE;
  if (isZero(ip, 0, 9) && ip[10] === 0xff && ip[11] === 0xff && ip[12] === 0x7f)
    return SCOPE_LOOPBACK;
  if (isZero(ip, 0, 15)) {
    if (ip[15] === 1) return SCOPE_LOOPBACK;
    if (ip[15] === 0) return SCOPE_NONE;
  }
  return SCOPE_GLOBAL;
}

/** 14-bit slot of the sender's /24 or /48 for rate limits [1 section 7.7]. */
export function prefixHash(ip: Uint8Array): number {
  if (ip.length === 4) {
    const h = (ip[0]! << 16) | (ip[1]! << 8) | ip[2]!;
    return (h ^ (h >>> 14)) & 0x3fff;
  }
  let h = 0;
  for (let i = 0; i < Math.min(6, ip.length); i++) h = i === 0 ? ip[0]! : 2 * h + ip[i]!;
  return h & 0x3fff;
}

/** Whether `ip` lies in `net`/`bits` (same family); more bits than there are count as all. */
export function ipInPrefix(ip: Uint8Array, net: Uint8Array, bits: number): boolean {
  if (ip.length !== net.length) return false;
  const whole = Math.min(bits >> 3, ip.length);
  if (whole === ip.length) bits = 8 * whole;
  for (let i = 0; i < whole; i++) if (ip[i] !== net[i]) return false;
  const rest = bits & 7;
  if (rest === 0) return true;
  const mask = (0xff << (8 - rest)) & 0xff;
  return (ip[whole]! & mask) === (net[whole]! & mask);
}

/** `ip` with all but the first `bits` bits cleared. */
export function maskIp(ip: Uint8Array, bits: number): Uint8Array {
  return ip.map((b, i) => {
    const keep = Math.max(0, Math.min(8, bits - 8 * i));
    return b & ((0xff << (8 - keep)) & 0xff);
  });
}

/** A physical address with a text key for maps; made once per remote endpoint and then shared. */
export interface RemoteAddress extends InetAddress {
  readonly key: string;
}

export function remoteAddress(a: InetAddress): RemoteAddress {
  let key = '';
  for (const b of a.ip) key += String.fromCharCode(b);
  return { family: a.family, ip: a.ip, port: a.port, key: key + String.fromCharCode(a.port) };
}

/** Whether the IPs are equal, whatever the ports. */
export function sameIp(a: InetAddress, b: InetAddress): boolean {
  if (a.ip.length !== b.ip.length) return false;
  for (let i = 0; i < a.ip.length; i++) if (a.ip[i] !== b.ip[i]) return false;
  return true;
}
