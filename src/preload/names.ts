/**
 * Names and interfaces of a view: RESOLVE, REVERSE and IFLIST [5 sections 5.6 and 11].
 *
 * Names come from the view's hosts file (hosts(5) syntax) and the machine's own name, which means
 * the view's own addresses. Interfaces are `lo` and one virtual Ethernet interface per network.
 */
import { equalBytes } from '../lib/bytes.js';
import type { InterfaceAddress, IpBytes, StackConfig } from '../stack/stack.js';
import { type HostsTable, plainName } from './hosts-table.js';
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

export interface Resolution {
  readonly canonical: string;
  readonly addresses: readonly IpBytes[];
}

export interface NameSources {
  readonly hosts: HostsTable;
  /** The machine's own name. */
  readonly hostName: string;
  config(): StackConfig;
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
  const entries = sources.hosts.named(name);
  if (entries.length > 0) {
    const addresses = entries.map((e) => e.ip).filter((ip) => ofFamily(ip, family));
    return { canonical: entries[0]!.names[0]!, addresses: addresses.slice(0, ANSWERS_MAX) };
  }
  if (plainName(sources.hostName) !== plainName(name)) return undefined;
  const own = sources.config().addresses.map((a) => a.ip);
  return { canonical: sources.hostName, addresses: own.filter((ip) => ofFamily(ip, family)) };
}

/** REVERSE: the name of an address, or undefined. */
export function reverseName(sources: NameSources, ip: IpBytes): string | undefined {
  const named = sources.hosts.nameOf(ip);
  if (named !== undefined) return named;
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
