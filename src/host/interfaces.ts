/**
 * Addresses of this machine that peers may be sent to [2 section 12.7, 4 section 11]. Node.js tells
 * neither of changes nor of IPv6 flags: the list is polled, and the flags come from /proc. Our own
 * virtual addresses are on no interface; what a controller assigns has no say in what is bound.
 */
import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import type { IpPrefix } from '../vl1/physical.js';
import {
  ipInPrefix,
  ipScope,
  ipText,
  parseIp,
  SCOPE_GLOBAL,
  SCOPE_LOOPBACK,
  SCOPE_PRIVATE,
  SCOPE_PSEUDO_PRIVATE,
} from '../wire/inetaddress.js';

/** Interfaces that carry other virtual networks, and loopback. */
const VIRTUAL_INTERFACE = /^(?:lo|zt|tun|tap)/;
const IF_INET6 = '/proc/net/if_inet6';
/** Linux: temporary, failed duplicate detection, deprecated, tentative (cannot be bound yet). */
const UNUSABLE_FLAGS = 0x01 | 0x08 | 0x20 | 0x40;
/** Ours: addresses of one machine that are bound; each costs a socket per port. */
export const MAX_LOCAL_ADDRESSES = 32;

export interface InterfaceAddress {
  readonly name: string;
  readonly address: string;
}

export interface InterfaceRules {
  readonly namePrefixes: readonly string[];
  readonly blacklist: readonly IpPrefix[];
  /** Loopback as well, or nothing else: worlds with roots on loopback [0 decision 7]. */
  readonly loopback: 'no' | 'also' | 'only';
}

/** IPv6 addresses, as text, that must not be bound, of the text of /proc/net/if_inet6. */
export function unusableIpv6(text: string): Set<string> {
  const out = new Set<string>();
  for (const line of text.split('\n')) {
    const [hex = '', , , , flags = ''] = line.trim().split(/\s+/);
    if (!/^[0-9a-f]{32}$/.test(hex) || (Number.parseInt(flags, 16) & UNUSABLE_FLAGS) === 0)
      continue;
    out.add(ipText(Uint8Array.from(hex.match(/../g)!, (b) => Number.parseInt(b, 16))));
  }
  return out;
}

/** The usable ones among `all`, without duplicates, in their order; at most MAX_LOCAL_ADDRESSES. */
export function usableAddresses(
  all: readonly InterfaceAddress[],
  unusable: ReadonlySet<string>,
  rules: InterfaceRules,
): Uint8Array[] {
  const out = new Map<string, Uint8Array>();
  for (const { name, address } of all) {
    const ip = parseIp(address.split('%')[0]!);
    if (ip === undefined || out.size >= MAX_LOCAL_ADDRESSES) continue;
    const text = ipText(ip);
    if (isUsable(name, ip, rules) && !unusable.has(text)) out.set(text, ip);
  }
  return [...out.values()];
}

function isUsable(name: string, ip: Uint8Array, rules: InterfaceRules): boolean {
  const scope = ipScope(ip);
  if (scope === SCOPE_LOOPBACK) return rules.loopback !== 'no' && isPlainLoopback(ip);
  if (rules.loopback === 'only' || VIRTUAL_INTERFACE.test(name)) return false;
  if (scope !== SCOPE_GLOBAL && scope !== SCOPE_PRIVATE && scope !== SCOPE_PSEUDO_PRIVATE)
    return false;
  if (rules.namePrefixes.some((p) => name.startsWith(p))) return false;
  return !rules.blacklist.some((p) => ipInPrefix(ip, p.ip, p.bits));
}

/** fe80::1 counts as loopback in paths, but needs a zone to be bound. */
function isPlainLoopback(ip: Uint8Array): boolean {
  return ip.length === 4 || ip[0] === 0;
}

/** What the machine has now. */
export function localAddresses(rules: InterfaceRules): Uint8Array[] {
  const all = Object.entries(networkInterfaces()).flatMap(([name, list]) =>
    (list ?? []).map(({ address }) => ({ name, address })),
  );
  return usableAddresses(all, unusableIpv6(readIfInet6()), rules);
}

/** Empty where IPv6 is off or /proc is not there: then no address is known to be unusable. */
function readIfInet6(): string {
  try {
    return readFileSync(IF_INET6, 'utf8');
  } catch {
    return '';
  }
}
