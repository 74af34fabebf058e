/**
 * Names of members of a network: `<10 hex digits>[.<network id>].zt`, where the network assigns
 * addresses that follow from the member's own (RFC4193, 6PLANE) [5 section 11].
 */
import type { InterfaceAddress, IpBytes } from '../stack/stack.js';

const NAME = /^([0-9a-f]{10})(?:\.([0-9a-f]{16}))?\.zt\.?$/i;

function hexBytes(text: string): number[] {
  return (text.match(/../g) ?? []).map((d) => Number.parseInt(d, 16));
}

/** fd, the network id, 99 93, the member. */
function rfc4193(nwid: string, member: string): IpBytes {
  return Uint8Array.from([0xfd, ...hexBytes(nwid), 0x99, 0x93, ...hexBytes(member)]);
}

/** fc, both halves of the network id over each other, the member, and 1. */
function sixPlane(nwid: string, member: string): IpBytes {
  const id = hexBytes(nwid);
  const folded = [0, 1, 2, 3].map((i) => id[i]! ^ id[i + 4]!);
  return Uint8Array.from([0xfc, ...folded, ...hexBytes(member), 0, 0, 0, 0, 0, 1]);
}

function startsAlike(a: IpBytes, b: IpBytes, len: number): boolean {
  for (let i = 0; i < len; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Addresses of the member that `name` names; undefined when it names none of this network. */
export function memberAddresses(
  name: string,
  nwid: string,
  own: readonly InterfaceAddress[],
): readonly IpBytes[] | undefined {
  const [, member, network] = NAME.exec(name) ?? [];
  if (member === undefined) return undefined;
  if (network !== undefined && network.toLowerCase() !== nwid) return undefined;
  const assigned = (ip: IpBytes, prefixBytes: number) =>
    own.some((a) => a.ip.length === 16 && startsAlike(a.ip, ip, prefixBytes));
  const found: IpBytes[] = [];
  const private6 = rfc4193(nwid, member);
  const plane = sixPlane(nwid, member);
  if (assigned(private6, 11)) found.push(private6);
  if (assigned(plane, 5)) found.push(plane);
  return found.length === 0 ? undefined : found;
}
