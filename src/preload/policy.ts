/**
 * Where a destination leads [5 section 12]: what the virtual stack has a route for is virtual; what
 * else there is may lead to the host (fallthrough.ts) or nowhere.
 */
import type { InterfaceAddress, IpBytes, Stack } from '../stack/stack.js';

export const Policy = { none: 0, loopback: 1, full: 2 } as const;
export type PolicyNumber = (typeof Policy)[keyof typeof Policy];

export interface VirtualDestination {
  readonly kind: 'virtual';
  readonly ip: IpBytes;
  /** Address that the stack would send from. */
  readonly source: IpBytes;
}

/** The way of one datagram through the network. */
export interface Way {
  readonly ip: IpBytes;
  readonly source: IpBytes;
  readonly via: number;
  readonly toMany: boolean;
}

export type Destination = VirtualDestination | { readonly kind: 'unreachable' };

const UNREACHABLE: Destination = { kind: 'unreachable' };

export function isUnspecified(ip: IpBytes): boolean {
  for (const b of ip) if (b !== 0) return false;
  return true;
}

export function isLoopback(ip: IpBytes): boolean {
  if (ip.length === 4) return ip[0] === 127;
  for (let i = 0; i < 15; i++) if (ip[i] !== 0) return false;
  return ip[15] === 1;
}

export function isMulticast(ip: IpBytes): boolean {
  return ip.length === 4 ? (ip[0]! & 0xf0) === 0xe0 : ip[0] === 0xff;
}

/** An IPv4 address in IPv6 form, ::ffff:a.b.c.d, which the kernel connects to over IPv4. */
export function isMapped(ip: IpBytes): boolean {
  return ip.length === 16 && ip.every((b, i) => i >= 12 || b === (i < 10 ? 0 : 0xff));
}

/** IPv6 prefixes with an IPv4 address in them, and where: RFC 4291 2.5.5 (both forms), 6052, 3056. */
const EMBEDDING: readonly {
  readonly prefix: IpBytes;
  readonly bits: number;
  readonly at: number;
}[] = [
  { prefix: new Uint8Array(16), bits: 96, at: 12 },
  { prefix: prefixOf(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff), bits: 96, at: 12 },
  { prefix: prefixOf(0, 0x64, 0xff, 0x9b), bits: 96, at: 12 },
  { prefix: prefixOf(0x20, 0x02), bits: 16, at: 2 },
];

function prefixOf(...bytes: readonly number[]): IpBytes {
  const ip = new Uint8Array(16);
  ip.set(bytes);
  return ip;
}

/**
 * The IPv4 address that an IPv6 address stands for or leads to: mapped, compatible, behind the
 * well-known NAT64 prefix, 6to4; undefined = none. :: and ::1 are addresses of their own.
 */
export function embeddedIpv4(ip: IpBytes): IpBytes | undefined {
  if (ip.length !== 16 || isUnspecified(ip) || isLoopback(ip)) return undefined;
  const found = EMBEDDING.find((e) => isInPrefix(ip, e.prefix, e.bits));
  return found && ip.subarray(found.at, found.at + 4);
}

/** Whether the first `bits` bits of two addresses of one family agree. */
export function isInPrefix(ip: IpBytes, prefix: IpBytes, bits: number): boolean {
  if (ip.length !== prefix.length) return false;
  for (let i = 0; i < bits; i++) {
    const mask = 0x80 >> (i & 7);
    if (((ip[i >> 3]! ^ prefix[i >> 3]!) & mask) !== 0) return false;
  }
  return true;
}

/** 255.255.255.255, or the last address of a subnet of ours. */
export function isBroadcast(addresses: readonly InterfaceAddress[], ip: IpBytes): boolean {
  if (ip.length !== 4) return false;
  const word = asWord(ip);
  if (word === 0xffffffff) return true;
  return addresses.some((a) => {
    if (a.ip.length !== 4 || a.prefixLen >= 31) return false;
    const hostBits = a.prefixLen === 0 ? 0xffffffff : 2 ** (32 - a.prefixLen) - 1;
    return word === (asWord(a.ip) | hostBits) >>> 0;
  });
}

function asWord(ip: IpBytes): number {
  return ((ip[0]! << 24) | (ip[1]! << 16) | (ip[2]! << 8) | ip[3]!) >>> 0;
}

/** Linux connects to the loopback address of the family when asked for the unspecified one. */
export function resolveUnspecified(ip: IpBytes): IpBytes {
  if (!isUnspecified(ip)) return ip;
  if (ip.length === 4) return Uint8Array.of(127, 0, 0, 1);
  const loopback = new Uint8Array(16);
  loopback[15] = 1;
  return loopback;
}

/** Decides about one destination; the answer names the source address the stack would use. */
export function classifyDestination(stack: Pick<Stack, 'sourceFor'>, ip: IpBytes): Destination {
  const target = resolveUnspecified(ip);
  const source = stack.sourceFor(target);
  return source === undefined ? UNREACHABLE : { kind: 'virtual', ip: target, source };
}

/** Whether a socket may bind to `ip` without IP_FREEBIND. */
export function mayBind(stack: Pick<Stack, 'isLocal'>, ip: IpBytes): boolean {
  if (isUnspecified(ip)) return true;
  if (ip.length === 4 && ip[0] === 127) return true;
  return stack.isLocal(ip);
}

/**
 * Why Linux does not bind a stream to `ip`, though nothing ever arrives at what it takes of IPv4:
 * groups and broadcast addresses.
 */
export function streamBindError(
  stack: Pick<Stack, 'isLocal'>,
  addresses: readonly InterfaceAddress[],
  ip: IpBytes,
): 'EINVAL' | 'EADDRNOTAVAIL' | undefined {
  if (isMulticast(ip)) return ip.length === 4 ? undefined : 'EINVAL';
  return isBroadcast(addresses, ip) || mayBind(stack, ip) ? undefined : 'EADDRNOTAVAIL';
}

/**
 * Whether Linux lets a datagram or connection leave from a bound address: IP_FREEBIND binds to any, but
 * IPv4 has no route from one that is not the machine's. IPv6 asks no further.
 */
export function hasWayFrom(stack: Pick<Stack, 'isLocal'>, ip: IpBytes): boolean {
  return ip.length === 16 || isLoopback(ip) || stack.isLocal(ip);
}
