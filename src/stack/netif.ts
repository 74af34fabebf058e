/**
 * The interface's side of the stack: configuration, frames in and out, multicast groups.
 *
 * Mirrors lwip-port/port_netif.c. Frames cost one copy in (into memory that lwIP then owns) and none
 * out (views of lwIP's own buffers).
 */
import {
  ADDR_FAMILY,
  ADDR_LEN,
  ADDR_PREFIX,
  ADDRS_MAX,
  COUNTERS,
  FRAME_LEN,
  FRAME_MAX,
  FRAME_PTR,
  FRAME_SIZE,
  MTU_MAX,
  MTU_MIN,
  OFF_ADDRS,
  OFF_COUNTERS,
  OFF_FRAME_FIRST,
  OFF_FRAMES,
  OFF_LOCAL,
  OFF_REMOTE,
  OFF_ROUTES,
  ROUTE_FAMILY,
  ROUTE_HAS_VIA,
  ROUTE_LEN,
  ROUTE_PREFIX,
  ROUTE_VIA,
  ROUTES_MAX,
} from './layout.js';
import { isMapped, type Lwip, unmapped } from './lwip.js';
import type { FrameSink, InterfaceAddress, IpBytes, Route, StackConfig } from './stack.js';

const MAC_LEN = 6;
const ETH_LEN = 14;
/** Every header before the payload of an Ethernet frame starts with the destination. */
const GROUP_BIT = 1;

export interface MulticastGroup {
  readonly mac: Uint8Array;
  readonly adi: number;
}

const isIp = (ip: IpBytes): boolean => ip.length === 4 || ip.length === 16;

/** fe80:: with the EUI-64 of `mac` (RFC 4291 appendix A). */
export function linkLocalOf(mac: Uint8Array): Uint8Array {
  const ip = new Uint8Array(16);
  ip.set([0xfe, 0x80]);
  ip.set(mac.subarray(0, 3), 8);
  ip[8] = (ip[8] ?? 0) ^ 2;
  ip.set([0xff, 0xfe], 11);
  ip.set(mac.subarray(3), 13);
  return ip;
}

/** Ethernet group of an IP multicast group (RFC 1112, RFC 2464). */
function ethernetGroup(ip: IpBytes): MulticastGroup {
  const mac = Uint8Array.of(0x33, 0x33, 0, 0, 0, 0);
  if (ip.length === 16) {
    mac.set(ip.subarray(12), 2);
    return { mac, adi: 0 };
  }
  mac.set([0x01, 0x00, 0x5e, (ip[1] ?? 0) & 0x7f, ip[2] ?? 0, ip[3] ?? 0]);
  return { mac, adi: 0 };
}

/**
 * The groups an interface with these addresses, whose sockets joined the groups `joined`, listens
 * to [3 section 10.1].
 */
export function groupsOf(
  mac: Uint8Array,
  addresses: readonly InterfaceAddress[],
  joined: readonly IpBytes[] = [],
): MulticastGroup[] {
  const groups: MulticastGroup[] = [
    { mac: Uint8Array.of(0x01, 0x00, 0x5e, 0, 0, 1), adi: 0 },
    { mac: Uint8Array.of(0x33, 0x33, 0, 0, 0, 1), adi: 0 },
  ];
  const seen = new Set(groups.map((g) => `${g.mac.join()}/${g.adi}`));
  const own = [linkLocalOf(mac), ...addresses.map((a) => a.ip)].map(groupOf);
  for (const group of [...own, ...joined.map(ethernetGroup)]) {
    const key = `${group.mac.join()}/${group.adi}`;
    if (!seen.has(key)) groups.push(group);
    seen.add(key);
  }
  return groups;
}

/** Solicited-node group of an IPv6 address; broadcast with the address as ADI for IPv4. */
function groupOf(ip: IpBytes): MulticastGroup {
  if (ip.length === 16) {
    const mac = Uint8Array.of(0x33, 0x33, 0xff, 0, 0, 0);
    mac.set(ip.subarray(13), 3);
    return { mac, adi: 0 };
  }
  const adi = new DataView(ip.buffer, ip.byteOffset, 4).getUint32(0);
  return { mac: new Uint8Array(MAC_LEN).fill(0xff), adi };
}

export class Netif {
  readonly #lwip: Lwip;
  readonly #mac: Uint8Array;
  /** Reused for every frame out: the contract lets sinks borrow it only for the callback. */
  readonly #dst = new Uint8Array(MAC_LEN);
  #groups: readonly MulticastGroup[];
  #addresses: readonly InterfaceAddress[] = [];
  /** Groups that sockets joined, with how often. */
  readonly #joined = new Map<string, { readonly ip: IpBytes; count: number }>();
  dropDst = 0;
  dropShort = 0;

  constructor(lwip: Lwip, mac: Uint8Array) {
    this.#lwip = lwip;
    this.#mac = mac;
    this.#groups = groupsOf(mac, []);
  }

  groups(): readonly MulticastGroup[] {
    return this.#groups;
  }

  /** @throws RangeError on an MTU, address or prefix out of range: the caller checks configurations. */
  configure(now: number, config: StackConfig): void {
    if (config.mtu < MTU_MIN || config.mtu > MTU_MAX) {
      throw new RangeError(`MTU ${config.mtu} is not in ${MTU_MIN}..${MTU_MAX}`);
    }
    const addresses = config.addresses.slice(0, ADDRS_MAX);
    const routes = config.routes.slice(0, ROUTES_MAX);
    for (const [i, a] of addresses.entries()) this.#putAddress(i, a);
    for (const [i, r] of routes.entries()) this.#putRoute(i, r);
    this.#lwip.exports.port_configure(now, config.mtu, addresses.length, routes.length);
    this.#addresses = addresses;
    this.#regroup();
  }

  #regroup(): void {
    const joined = [...this.#joined.values()].map((g) => g.ip);
    this.#groups = groupsOf(this.#mac, this.#addresses, joined);
  }

  joinGroup(now: number, group: IpBytes): boolean {
    const key = group.join('.');
    const known = this.#joined.get(key);
    if (known !== undefined) {
      known.count++;
      return true;
    }
    if (!isIp(group)) return false;
    this.#lwip.putEndpoint(OFF_REMOTE, group, 0);
    if (this.#lwip.exports.port_group_join(now) === 0) return false;
    this.#joined.set(key, { ip: group.slice(), count: 1 });
    this.#regroup();
    return true;
  }

  leaveGroup(now: number, group: IpBytes): void {
    const key = group.join('.');
    const known = this.#joined.get(key);
    if (known === undefined || --known.count > 0) return;
    this.#joined.delete(key);
    this.#lwip.putEndpoint(OFF_REMOTE, group, 0);
    this.#lwip.exports.port_group_leave(now);
    this.#regroup();
  }

  #putAddress(i: number, { ip, prefixLen }: InterfaceAddress): void {
    checkPrefix(ip, prefixLen);
    const { u8, io } = this.#lwip;
    const p = io + OFF_ADDRS + i * ADDR_LEN;
    u8.set(ip, p);
    u8[p + ADDR_FAMILY] = ip.length === 4 ? 4 : 6;
    u8[p + ADDR_PREFIX] = prefixLen;
  }

  #putRoute(i: number, { target, prefixLen, via }: Route): void {
    checkPrefix(target, prefixLen);
    if (via !== undefined && via.length !== target.length) {
      throw new RangeError('gateway of another address family');
    }
    const { u8, io } = this.#lwip;
    const p = io + OFF_ROUTES + i * ROUTE_LEN;
    u8.set(target, p);
    if (via !== undefined) u8.set(via, p + ROUTE_VIA);
    u8[p + ROUTE_FAMILY] = target.length === 4 ? 4 : 6;
    u8[p + ROUTE_PREFIX] = prefixLen;
    u8[p + ROUTE_HAS_VIA] = via === undefined ? 0 : 1;
  }

  #isForUs(dst: Uint8Array): boolean {
    if (((dst[0] ?? 0) & GROUP_BIT) !== 0) return true;
    for (let i = 0; i < MAC_LEN; i++) if (dst[i] !== this.#mac[i]) return false;
    return true;
  }

  frameIn(now: number, dst: Uint8Array, etherType: number, payload: Uint8Array): void {
    if (dst.length !== MAC_LEN || payload.length === 0 || payload.length > FRAME_MAX) {
      this.dropShort++;
      return;
    }
    if (!this.#isForUs(dst)) {
      this.dropDst++;
      return;
    }
    const { exports, u8 } = this.#lwip;
    const p = exports.port_frame_alloc(now, payload.length);
    if (p === 0) return;
    u8.set(payload, p);
    exports.port_frame_in(now, etherType, (dst[0] ?? 0) & GROUP_BIT);
  }

  /** Hands out a batch of up to `most` frames. @returns how many there were; 0 = none left. */
  framesOut(now: number, most: number, send: FrameSink): number {
    const { exports, u8, u32, io } = this.#lwip;
    const count = exports.port_frames(now, most);
    const first = u32[(io + OFF_FRAME_FIRST) >> 2] ?? 0;
    for (let i = 0; i < count; i++) {
      const entry = (io + OFF_FRAMES + (first + i) * FRAME_LEN) >> 2;
      const p = u32[entry + (FRAME_PTR >> 2)] ?? 0;
      const len = u32[entry + (FRAME_SIZE >> 2)] ?? 0;
      if (len === 0) continue;
      for (let j = 0; j < MAC_LEN; j++) this.#dst[j] = u8[p + j] ?? 0;
      const etherType = ((u8[p + 12] ?? 0) << 8) | (u8[p + 13] ?? 0);
      send(this.#dst, this.#mac, etherType, u8.subarray(p + ETH_LEN, p + len));
    }
    return count;
  }

  sourceFor(now: number, to: IpBytes): IpBytes | undefined {
    if (!isIp(to)) return undefined;
    const ip = unmapped(to);
    this.#lwip.putEndpoint(OFF_REMOTE, ip, 0);
    if (this.#lwip.exports.port_source_for(now) === 0) return undefined;
    return this.#lwip.endpoint(this.#lwip.io + OFF_LOCAL).ip;
  }

  isLocal(now: number, ip: IpBytes): boolean {
    if (!isIp(ip)) return false;
    this.#lwip.putEndpoint(OFF_REMOTE, unmapped(ip), 0);
    return this.#lwip.exports.port_is_local(now) !== 0;
  }

  counters(now: number): Record<string, number> {
    const { exports, u32, io } = this.#lwip;
    exports.port_count(now);
    const out: Record<string, number> = {};
    COUNTERS.forEach(([name], i) => {
      out[name] = u32[((io + OFF_COUNTERS) >> 2) + i] ?? 0;
    });
    out['dropFrameDst'] = (out['dropFrameDst'] ?? 0) + this.dropDst;
    out['dropFrameShort'] = (out['dropFrameShort'] ?? 0) + this.dropShort;
    return out;
  }
}

function checkPrefix(ip: IpBytes, prefixLen: number): void {
  if (!isIp(ip) || isMapped(ip)) throw new RangeError('address of 4 or 16 bytes expected');
  if (!(prefixLen >= 0 && prefixLen <= ip.length * 8)) {
    throw new RangeError(`prefix length ${prefixLen} is out of range`);
  }
}
