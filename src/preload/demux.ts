/**
 * Which datagram socket of a port gets a datagram [5 section 6.4]: pure functions over members.
 *
 * A connected socket whose peer is the sender comes before one bound to the address, that before a
 * wildcard; of equals an AF_INET socket comes before a dual-stack one, a SO_REUSEPORT group is
 * divided by a hash of the addresses, and otherwise the socket bound last wins, all as Linux does.
 * Multicasts and broadcasts go to every socket that matches.
 */
import { equalBytes } from '../lib/bytes.js';
import type { Endpoint, IpBytes } from '../stack/stack.js';
import { isUnspecified } from './policy.js';

export interface Candidate {
  /** Family of the descriptor. */
  readonly family: 4 | 6;
  readonly v6Only: boolean;
  readonly reusePort: boolean;
  /** Bound address, all zero = wildcard; of the family of the address, not of the descriptor. */
  readonly localIp: IpBytes;
  readonly remote: Endpoint | undefined;
  /** Interface it is tied to; 0 or nothing = any. */
  readonly device?: number;
}

function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return a.port === b.port && equalBytes(a.ip, b.ip);
}

/** Whether a socket's address takes in `to`; a wildcard AF_INET6 socket may take in IPv4. */
export function takesAddress(c: Candidate, to: IpBytes): boolean {
  if (!isUnspecified(c.localIp)) return equalBytes(c.localIp, to);
  if (c.localIp.length === to.length) return true;
  return c.family === 6 && to.length === 4 && c.localIp.length === 16 && !c.v6Only;
}

/**
 * Whether a socket may get a datagram at all.
 * @param via the interface it came by, where there are several.
 */
export function matches(c: Candidate, from: Endpoint, to: IpBytes, via?: number): boolean {
  if (!takesAddress(c, to)) return false;
  if (c.device && via !== undefined && c.device !== via) return false;
  return c.remote === undefined || sameEndpoint(c.remote, from);
}

function score(c: Candidate, to: IpBytes): number {
  const connected = c.remote === undefined ? 0 : 4;
  const specific = isUnspecified(c.localIp) ? 0 : 2;
  return connected + specific + (c.localIp.length === to.length ? 1 : 0);
}

/** FNV-1a over both ends: stable, so that a flow stays with its socket. */
function flowHash(from: Endpoint, to: IpBytes): number {
  let h = 0x811c9dc5;
  const mix = (b: number) => {
    h = Math.imul(h ^ b, 0x01000193);
  };
  for (const b of from.ip) mix(b);
  mix(from.port & 0xff);
  mix(from.port >> 8);
  for (const b of to) mix(b);
  h ^= h >>> 15;
  return h >>> 0;
}

/** The socket for a datagram to one host; `members` in the order they were bound. */
export function choose<T extends Candidate>(
  members: readonly T[],
  from: Endpoint,
  to: IpBytes,
  via?: number,
): T | undefined {
  let best = -1;
  let found: T[] = [];
  for (const m of members) {
    if (!matches(m, from, to, via)) continue;
    const s = score(m, to);
    if (s < best) continue;
    if (s > best) found = [];
    best = s;
    found.push(m);
  }
  const last = found[found.length - 1];
  if (last === undefined || !last.reusePort || last.remote !== undefined) return last;
  const group = found.filter((m) => m.reusePort);
  return group[flowHash(from, to) % group.length];
}
