/**
 * Names and interfaces of a view: RESOLVE, REVERSE and IFLIST [5 sections 5.6 and 11].
 *
 * Names come from the view's hosts file (hosts(5) syntax) and the machine's own name, which means
 * the view's own addresses. Interfaces are `lo` and one virtual Ethernet interface per network.
 */
import { equalBytes } from '../lib/bytes.js';
import type { InterfaceAddress, IpBytes, StackConfig } from '../stack/stack.js';
import { LOOPBACK_INDEX, type ViewNetwork } from './networks.js';
import { putAddress, ZTADDR_LEN } from './protocol.js';

const IFF_UP = 0x1;
const IFF_BROADCAST = 0x2;
const IFF_LOOPBACK = 0x8;
const IFF_RUNNING = 0x40;
const IFF_MULTICAST = 0x1000;
const IFF_LOWER_UP = 0x10000;

const LOOPBACK_MTU = 65536;
/** Ours: addresses of one name that are answered. */
export const ANSWERS_MAX = 64;

/** Parses dotted IPv4; undefined for anything else. */
export function parseIpv4(text: string): IpBytes | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  const out = new Uint8Array(4);
  for (let i = 0; i < 4; i++) {
    const part = parts[i]!;
    if (!/^(?:0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined;
    out[i] = Number(part);
  }
  return out;
}

/** Parses IPv6 text without a zone; undefined for anything else. */
export function parseIpv6(text: string): IpBytes | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = groupsOf(halves[0]!, halves.length === 1);
  const tail = halves.length === 2 ? groupsOf(halves[1]!, true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  const out = new Uint8Array(16);
  groups.forEach((g, i) => {
    out[2 * i] = g >> 8;
    out[2 * i + 1] = g & 0xff;
  });
  return out;
}

/** Groups of one side of `::`; only the last group of the last side may be dotted. */
function groupsOf(text: string, isLast: boolean): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [i, part] of parts.entries()) {
    const mayBeDotted = isLast && i === parts.length - 1;
    const v4 = mayBeDotted && part.includes('.') ? parseIpv4(part) : undefined;
    if (v4 !== undefined) groups.push((v4[0]! << 8) | v4[1]!, (v4[2]! << 8) | v4[3]!);
    else if (/^[0-9a-fA-F]{1,4}$/.test(part)) groups.push(Number.parseInt(part, 16));
    else return undefined;
  }
  return groups;
}

interface HostsEntry {
  readonly ip: IpBytes;
  /** First name: the canonical one. */
  readonly names: readonly string[];
}

/** The lines of a hosts(5) text that can be read; others are passed over, as libc does. */
export function parseHosts(text: string): HostsEntry[] {
  const entries: HostsEntry[] = [];
  for (const line of text.split('\n')) {
    const words = line.replace(/#.*/, '').trim().split(/\s+/);
    const ip = parseIpv4(words[0]!) ?? parseIpv6(words[0]!);
    if (ip !== undefined && words.length > 1) entries.push({ ip, names: words.slice(1) });
  }
  return entries;
}

export interface Resolution {
  readonly canonical: string;
  readonly addresses: readonly IpBytes[];
}

export interface NameSources {
  /** Contents of the view's hosts file; empty when there is none. */
  hosts(): string;
  /** The machine's own name. */
  readonly hostName: string;
  config(): StackConfig;
}

function sameName(a: string, b: string): boolean {
  const plain = (s: string) => (s.endsWith('.') ? s.slice(0, -1) : s).toLowerCase();
  return plain(a) === plain(b);
}

function ofFamily(ip: IpBytes, family: number): boolean {
  return family === 0 || ip.length === (family === 4 ? 4 : 16);
}

/** RESOLVE: undefined when the name is unknown; an empty list when it has no such family. */
export function resolveName(
  sources: NameSources,
  name: string,
  family: number,
): Resolution | undefined {
  const entries = parseHosts(sources.hosts()).filter((e) => e.names.some((n) => sameName(n, name)));
  if (entries.length > 0) {
    const addresses = entries.map((e) => e.ip).filter((ip) => ofFamily(ip, family));
    return { canonical: entries[0]!.names[0]!, addresses: addresses.slice(0, ANSWERS_MAX) };
  }
  if (!sameName(sources.hostName, name)) return undefined;
  const own = sources.config().addresses.map((a) => a.ip);
  return { canonical: sources.hostName, addresses: own.filter((ip) => ofFamily(ip, family)) };
}

/** REVERSE: the name of an address, or undefined. */
export function reverseName(sources: NameSources, ip: IpBytes): string | undefined {
  for (const e of parseHosts(sources.hosts())) if (equalBytes(e.ip, ip)) return e.names[0];
  const isOwn = sources.config().addresses.some((a) => equalBytes(a.ip, ip));
  return isOwn ? sources.hostName : undefined;
}

/** Reply payload of RESOLVE. */
export function emitResolution(resolution: Resolution, withCanonical: boolean): Uint8Array {
  const canonical = withCanonical ? new TextEncoder().encode(resolution.canonical) : [];
  const out = new Uint8Array(4 + canonical.length + resolution.addresses.length * ZTADDR_LEN);
  const v = new DataView(out.buffer);
  v.setUint16(0, resolution.addresses.length, true);
  v.setUint16(2, canonical.length, true);
  out.set(canonical, 4);
  resolution.addresses.forEach((ip, i) => {
    putAddress(ip, 0, 0, out, 4 + canonical.length + i * ZTADDR_LEN);
  });
  return out;
}

/** Reply payload of REVERSE. */
export function emitName(name: string): Uint8Array {
  const bytes = new TextEncoder().encode(name);
  const out = new Uint8Array(2 + bytes.length);
  new DataView(out.buffer).setUint16(0, bytes.length, true);
  out.set(bytes, 2);
  return out;
}

interface Interface {
  readonly index: number;
  readonly flags: number;
  readonly mtu: number;
  readonly mac: Uint8Array;
  readonly name: string;
  readonly addresses: readonly InterfaceAddress[];
}

function loopbackInterface(hasIpv6: boolean): Interface {
  const six = new Uint8Array(16);
  six[15] = 1;
  const four: InterfaceAddress = { ip: Uint8Array.of(127, 0, 0, 1), prefixLen: 8 };
  return {
    index: LOOPBACK_INDEX,
    flags: IFF_UP | IFF_LOOPBACK | IFF_RUNNING | IFF_LOWER_UP,
    mtu: LOOPBACK_MTU,
    mac: new Uint8Array(6),
    name: 'lo',
    addresses: hasIpv6 ? [four, { ip: six, prefixLen: 128 }] : [four],
  };
}

function emitInterface(i: Interface): Uint8Array {
  const name = new TextEncoder().encode(i.name);
  const out = new Uint8Array(20 + name.length + i.addresses.length * ZTADDR_LEN);
  const v = new DataView(out.buffer);
  v.setUint32(0, i.index, true);
  v.setUint32(4, i.flags, true);
  v.setUint32(8, i.mtu, true);
  out.set(i.mac, 12);
  v.setUint8(18, name.length);
  v.setUint8(19, i.addresses.length);
  out.set(name, 20);
  i.addresses.forEach((a, n) => {
    putAddress(a.ip, 0, a.prefixLen, out, 20 + name.length + n * ZTADDR_LEN);
  });
  return out;
}

function virtualInterface({ index, name, mac, config }: ViewNetwork): Interface {
  const { mtu, addresses } = config();
  const flags = IFF_UP | IFF_BROADCAST | IFF_RUNNING | IFF_MULTICAST | IFF_LOWER_UP;
  return { index, flags, mtu, mac, name, addresses: addresses.slice(0, 255) };
}

/** Reply payload of IFLIST. */
export function emitInterfaces(networks: readonly ViewNetwork[], hasIpv6: boolean): Uint8Array {
  const interfaces = [loopbackInterface(hasIpv6), ...networks.map(virtualInterface)];
  const parts = interfaces.map(emitInterface);
  const out = new Uint8Array(2 + parts.reduce((n, p) => n + p.length, 0));
  new DataView(out.buffer).setUint16(0, parts.length, true);
  let at = 2;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
