/**
 * What a gateway that was found by asking the whole local network may point us at: only itself or
 * another host of a network that this machine is on, not this machine. Otherwise whoever answers
 * first on the local network makes this host send requests anywhere, also to its own services.
 */
import { equalBytes } from '../lib/bytes.js';
import { ipInPrefix, ipScope, parseIp, SCOPE_LOOPBACK } from '../wire/inetaddress.js';

export interface LocalNetwork {
  readonly address: string;
  /** `address/length`, or null where the system does not say. */
  readonly cidr: string | null;
}

/** Whether `ip` is another host in the subnet of one of the networks; `lo` is none. */
export function isOnLink(ip: Uint8Array, networks: readonly LocalNetwork[]): boolean {
  if (ipScope(ip) === SCOPE_LOOPBACK) return false;
  if (networks.some(({ address }) => isSame(ip, parseIp(address)))) return false;
  return networks.some(({ address, cidr }) => {
    const own = parseIp(address);
    const bits = Number(cidr?.split('/')[1] ?? Number.NaN);
    return own !== undefined && bits > 0 && ipInPrefix(ip, own, bits);
  });
}

const isSame = (a: Uint8Array, b: Uint8Array | undefined): boolean =>
  b !== undefined && equalBytes(a, b);

/** @throws when a URL is not plain HTTP to an address in one of the networks. */
export function requireOnLink(url: string, networks: readonly LocalNetwork[]): void {
  const { protocol, hostname } = new URL(url);
  const ip = parseIp(hostname.replace(/^\[|\]$/g, ''));
  if (protocol !== 'http:' || ip === undefined || !isOnLink(ip, networks))
    throw new Error(`UPnP: a gateway names ${url.slice(0, 200)}, which is not on this network`);
}
