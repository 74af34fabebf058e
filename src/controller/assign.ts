/** IP addresses of a member [3 section 12.3, 4 section 8.5]. Pure. */
import { isRecord, type JsonRecord, type JsonValue, jsonBool } from '../lib/json.js';
import {
  type NetworkId,
  type NodeAddress,
  rfc4193Address,
  sixPlaneAddress,
} from '../wire/address.js';
import { type InetAddress, inetAddress, ipInPrefix, ipText, maskIp } from '../wire/inetaddress.js';
import { MAX_ASSIGNED } from '../wire/netconf.js';
import { lenientAddress } from './records.js';

const MAX_TRIES = 1_000;
/** An IPv6 pool whose low half spans this much gets addresses made from the member's. */
const WIDE_POOL = 2n ** 40n - 1n;

export interface RouteRecord {
  readonly target: InetAddress;
  readonly via: InetAddress | undefined;
}

export interface Assignment {
  /** With prefix lengths, for the configuration. */
  readonly addresses: readonly InetAddress[];
  /** New entries for the member's `ipAssignments`. */
  readonly taken: readonly string[];
  /** RFC4193 or 6PLANE was assigned: NDP can be emulated. */
  readonly emulatesNdp: boolean;
}

export function routesOf(network: JsonRecord): RouteRecord[] {
  const list = Array.isArray(network['routes']) ? network['routes'] : [];
  const out: RouteRecord[] = [];
  for (const r of list) {
    if (!isRecord(r) || typeof r['target'] !== 'string') continue;
    const target = lenientAddress(r['target']);
    if (target === undefined) continue;
    const via = typeof r['via'] === 'string' ? lenientAddress(r['via']) : undefined;
    out.push({ target, via: via?.family === target.family ? via : undefined });
  }
  return out;
}

function toNumber(ip: Uint8Array): bigint {
  return ip.reduce((n, b) => (n << 8n) | BigInt(b), 0n);
}

function fromNumber(n: bigint, len: number): Uint8Array {
  const out = new Uint8Array(len);
  for (let i = len - 1; i >= 0; i--, n >>= 8n) out[i] = Number(n & 0xffn);
  return out;
}

class Assigner {
  readonly #network: JsonRecord;
  readonly #self: NodeAddress;
  readonly #routes: RouteRecord[];
  readonly #inUse: (ip: string) => boolean;
  readonly #random64: () => bigint;
  readonly addresses: InetAddress[] = [];
  readonly taken: string[] = [];

  constructor(
    network: JsonRecord,
    self: NodeAddress,
    inUse: (ip: string) => boolean,
    random64: () => bigint,
  ) {
    this.#network = network;
    this.#self = self;
    this.#routes = routesOf(network);
    this.#inUse = inUse;
    this.#random64 = random64;
  }

  add(ip: Uint8Array, bits: number): boolean {
    if (this.addresses.length >= MAX_ASSIGNED) return false;
    this.addresses.push(inetAddress(ip, bits));
    return true;
  }

  /** Stored entries, each with the longest route that contains it. @returns families handed out. */
  stored(list: JsonValue | undefined): Set<number> {
    const families = new Set<number>();
    for (const text of Array.isArray(list) ? list : []) {
      const a = typeof text === 'string' ? lenientAddress(text) : undefined;
      if (a === undefined) continue;
      let bits = -1;
      for (const r of this.#routes) {
        if (
          r.target.family === a.family &&
          r.target.port > bits &&
          ipInPrefix(a.ip, r.target.ip, r.target.port)
        )
          bits = r.target.port;
      }
      if (bits >= 0 && this.add(a.ip, bits)) families.add(a.family);
    }
    return families;
  }

  pools(family: 4 | 6): { start: Uint8Array; end: Uint8Array }[] {
    const list = Array.isArray(this.#network['ipAssignmentPools'])
      ? this.#network['ipAssignmentPools']
      : [];
    const out: { start: Uint8Array; end: Uint8Array }[] = [];
    for (const p of list) {
      if (
        !isRecord(p) ||
        typeof p['ipRangeStart'] !== 'string' ||
        typeof p['ipRangeEnd'] !== 'string'
      )
        continue;
      const start = lenientAddress(p['ipRangeStart']);
      const end = lenientAddress(p['ipRangeEnd']);
      if (start?.family === family && end?.family === family)
        out.push({ start: start.ip, end: end.ip });
    }
    return out;
  }

  #isFree(ip: Uint8Array): boolean {
    const text = ipText(ip);
    return !this.#inUse(text) && !this.addresses.some((a) => ipText(a.ip) === text);
  }

  #take(ip: Uint8Array, bits: number): boolean {
    if (!this.add(ip, bits)) return false;
    this.taken.push(ipText(ip));
    return true;
  }

  v4(): void {
    for (const pool of this.pools(4)) {
      const start = Number(toNumber(pool.start));
      const span = Number(toNumber(pool.end)) - start;
      if (start === 0 || span < 0) continue;
      if (this.#v4From(start, span)) return;
    }
  }

  #v4From(start: number, span: number): boolean {
    const seed = this.#self % 2 ** 32;
    for (let i = 0; i <= Math.min(span, MAX_TRIES - 1); i++) {
      const n = span > 0 ? start + ((seed + i) % span) : start;
      if ((n & 0xff) === 0xff) continue;
      const ip = fromNumber(BigInt(n), 4);
      const route = this.#routes.find(
        (r) => r.target.family === 4 && equal(maskIp(ip, r.target.port), r.target.ip),
      );
      if (route === undefined || route.target.port === 0 || !this.#isFree(ip)) continue;
      return this.#take(ip, route.target.port);
    }
    return false;
  }

  v6(): void {
    for (const pool of this.pools(6)) {
      for (let i = 0; i < MAX_TRIES; i++) {
        const ip = this.#v6Candidate(pool, i === 0);
        const routes = this.#routes.filter(
          (r) =>
            r.via === undefined &&
            r.target.family === 6 &&
            ipInPrefix(ip, r.target.ip, r.target.port),
        );
        const last = routes[routes.length - 1];
        if (last === undefined || !this.#isFree(ip)) continue;
        if (this.#take(ip, last.target.port)) return;
      }
    }
  }

  #v6Candidate(pool: { start: Uint8Array; end: Uint8Array }, isFirst: boolean): Uint8Array {
    const [sHigh, sLow] = [toNumber(pool.start.subarray(0, 8)), toNumber(pool.start.subarray(8))];
    const [eHigh, eLow] = [toNumber(pool.end.subarray(0, 8)), toNumber(pool.end.subarray(8))];
    const spanLow = eLow - sLow;
    let high = sHigh;
    let low = BigInt.asUintN(64, sLow + BigInt(this.#self));
    if (!isFirst || spanLow < WIDE_POOL) {
      if (eHigh > sHigh) high = sHigh + (this.#random64() % (eHigh - sHigh));
      low = spanLow > 0n ? sLow + (this.#random64() % spanLow) : sLow;
    }
    return fromNumber((high << 64n) | low, 16);
  }
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((x, i) => x === b[i]);
}

/**
 * Assigns in the reference's order. `inUse` tells whether another member of the network has an
 * address.
 */
export function assignAddresses(
  network: JsonRecord,
  member: JsonRecord,
  nwid: NetworkId,
  address: NodeAddress,
  inUse: (ip: string) => boolean,
  random64: () => bigint,
): Assignment {
  const a = new Assigner(network, address, inUse, random64);
  const isAuto = !jsonBool(member['noAutoAssignIps'], false);
  const v6Mode = isRecord(network['v6AssignMode']) ? network['v6AssignMode'] : {};
  const v4Mode = isRecord(network['v4AssignMode']) ? network['v4AssignMode'] : {};
  let emulatesNdp = false;
  if (isAuto && jsonBool(v6Mode['rfc4193'], false))
    emulatesNdp = a.add(rfc4193Address(nwid, address), 88);
  if (isAuto && jsonBool(v6Mode['6plane'], false))
    emulatesNdp = a.add(sixPlaneAddress(nwid, address), 40) || emulatesNdp;
  const families = a.stored(member['ipAssignments']);
  if (isAuto && !families.has(6) && jsonBool(v6Mode['zt'], false)) a.v6();
  if (isAuto && !families.has(4) && jsonBool(v4Mode['zt'], false)) a.v4();
  return { addresses: a.addresses, taken: a.taken, emulatesNdp };
}
