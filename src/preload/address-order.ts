/**
 * In which order a program should try the addresses of a name: RFC 6724 section 6 with the labels
 * and precedences that gai.conf(5) documents as libc's own, so that a name has the order that it
 * has on the kernel's network. Rules about deprecated, home and tunnel addresses do not arise.
 *
 * Among IPv4 addresses no prefix is longer than another's: the order of the source is kept.
 *
 * An address that nothing of the view leads to comes last; of several such the order is kept, for
 * the host may lead to them.
 */
import type { IpBytes } from '../stack/stack.js';
import { isInPrefix, isLoopback, isMulticast } from './policy.js';

/** gai.conf(5): prefix, its length and value; the longest prefix that matches counts. */
type PolicyRow = readonly [readonly number[], number, number];

const MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
const LABELS: readonly PolicyRow[] = [
  [[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 128, 0],
  [MAPPED, 96, 4],
  [[], 96, 3],
  [[0x20, 0x01, 0, 0], 32, 7],
  [[0x20, 0x02], 16, 2],
  [[0xfe, 0xc0], 10, 5],
  [[0xfc], 7, 6],
  [[], 0, 1],
];
const PRECEDENCES: readonly PolicyRow[] = [
  [[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 128, 50],
  [MAPPED, 96, 10],
  [[], 96, 20],
  [[0x20, 0x02], 16, 30],
  [[], 0, 40],
];

/** RFC 4291 section 2.7: scopes of the addresses that are compared. */
const Scope = { linkLocal: 2, siteLocal: 5, global: 14 } as const;

/** IPv4 in IPv6 form, in which the tables know it. */
function wide(ip: IpBytes): IpBytes {
  return ip.length === 16 ? ip : Uint8Array.of(...MAPPED, ...ip);
}

function policyOf(table: readonly PolicyRow[], ip: IpBytes): number {
  const address = wide(ip);
  const row = table.find(([prefix, bits]) => {
    const padded = new Uint8Array(16);
    padded.set(prefix);
    return isInPrefix(address, padded, bits);
  });
  return row![2];
}

function scopeOf(ip: IpBytes): number {
  if (isLoopback(ip)) return Scope.linkLocal;
  if (ip.length === 4) return ip[0] === 169 && ip[1] === 254 ? Scope.linkLocal : Scope.global;
  if (isMulticast(ip)) return ip[1]! & 15;
  if (ip[0] !== 0xfe) return Scope.global;
  if ((ip[1]! & 0xc0) === 0x80) return Scope.linkLocal;
  return (ip[1]! & 0xc0) === 0xc0 ? Scope.siteLocal : Scope.global;
}

/** How many leading bits two addresses of one family share. */
function commonBits(a: IpBytes, b: IpBytes): number {
  let bits = 0;
  while (bits < a.length * 8 && isInPrefix(a, b, bits + 1)) bits++;
  return bits;
}

interface Candidate {
  readonly ip: IpBytes;
  readonly source: IpBytes | undefined;
}

/** Negative when `a` is to be tried before `b`. */
function compare(a: Candidate, b: Candidate): number {
  const [from, other] = [a.source, b.source];
  if (from === undefined || other === undefined) {
    return Number(from === undefined) - Number(other === undefined);
  }
  const agrees = (c: Candidate, by: (ip: IpBytes) => number) => Number(by(c.ip) === by(c.source!));
  const label = (ip: IpBytes) => policyOf(LABELS, ip);
  return (
    agrees(b, scopeOf) - agrees(a, scopeOf) ||
    agrees(b, label) - agrees(a, label) ||
    policyOf(PRECEDENCES, b.ip) - policyOf(PRECEDENCES, a.ip) ||
    scopeOf(a.ip) - scopeOf(b.ip) ||
    (a.ip.length === 16 && b.ip.length === 16
      ? commonBits(b.ip, other) - commonBits(a.ip, from)
      : 0)
  );
}

/** `addresses` in the order to try; `sourceFor` names the address that each would be reached from. */
export function orderAddresses(
  addresses: readonly IpBytes[],
  sourceFor: (to: IpBytes) => IpBytes | undefined,
): IpBytes[] {
  const candidates = addresses.map((ip): Candidate => ({ ip, source: sourceFor(ip) }));
  return candidates.sort(compare).map((c) => c.ip);
}
