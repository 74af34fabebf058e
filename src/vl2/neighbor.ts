/** IPv6 neighbour discovery without asking anybody [3 section 9.3]. */
import { memberMac, type NodeAddress, readAddress, sixPlaneAddress } from '../wire/address.js';
import { isBroadcastMac, isMulticastMac } from '../wire/multicast-group.js';
import { NETWORK_FLAG, type NetworkConfig } from '../wire/netconf.js';
import type { FrameInfo } from './network.js';

const ICMPV6 = 58;
const NEIGHBOR_SOLICITATION = 0x87;
const NEIGHBOR_ADVERTISEMENT = 0x88;
const ADVERTISEMENT_LEN = 72;

/** The advertisement to hand to the stack instead of sending the solicitation; undefined: send it. */
export function emulateNdp(
  config: NetworkConfig,
  self: NodeAddress,
  info: FrameInfo,
): FrameInfo | undefined {
  const b = info.frame;
  if ((config.flags & NETWORK_FLAG.NDP_EMULATION) === 0n || b.length < 64) return undefined;
  if (b[6] !== ICMPV6 || b[40] !== NEIGHBOR_SOLICITATION || isBroadcastMac(info.macDest))
    return undefined;
  if (!isMulticastMac(info.macDest)) return undefined;
  const target = b.subarray(48, 64);
  const found = matchAddress(config, target);
  if (found === undefined || found.owner === 0 || found.owner === self) return undefined;
  const mac = memberMac(found.owner, config.nwid);
  return {
    macSource: mac,
    macDest: info.macSource,
    etherType: info.etherType,
    frame: advertisement(target, found.own, mac),
  };
}

/** The first of our addresses whose pattern the target fits, and who owns the target. */
function matchAddress(
  config: NetworkConfig,
  target: Uint8Array,
): { own: Uint8Array; owner: NodeAddress } | undefined {
  const sixPlane = sixPlaneAddress(config.nwid, 0);
  const starts = (own: Uint8Array, len: number): boolean => {
    for (let i = 0; i < len; i++) if (target[i] !== own[i]) return false;
    return true;
  };
  for (const a of config.addresses) {
    if (a.family !== 6) continue;
    const own = a.ip;
    if (
      a.port === 88 &&
      own[0] === 0xfd &&
      own[9] === 0x99 &&
      own[10] === 0x93 &&
      starts(own, 11)
    ) {
      return { own, owner: readAddress(target, 11) };
    }
    const isSixPlane = a.port === 40 && own.subarray(0, 5).every((b, i) => b === sixPlane[i]);
    if (isSixPlane && starts(own, 5)) return { own, owner: readAddress(target, 5) };
  }
  return undefined;
}

function advertisement(target: Uint8Array, to: Uint8Array, mac: Uint8Array): Uint8Array {
  const p = new Uint8Array(ADVERTISEMENT_LEN);
  p.set([0x60, 0, 0, 0, 0, 0x20, ICMPV6, 0xff]);
  p.set(target, 8);
  p.set(to, 24);
  p.set([NEIGHBOR_ADVERTISEMENT, 0, 0, 0, 0x60, 0, 0, 0], 40);
  p.set(target, 48);
  p.set([2, 1], 64);
  p.set(mac, 66);
  const sum = icmpv6Checksum(p);
  p[42] = sum >> 8;
  p[43] = sum;
  return p;
}

function icmpv6Checksum(p: Uint8Array): number {
  let sum = 0x20 + ICMPV6;
  for (let i = 8; i < ADVERTISEMENT_LEN; i += 2) sum += (p[i]! << 8) | p[i + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
