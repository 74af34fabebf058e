/** IP addresses of a member [3 section 12.3, 4 section 8.5]. Pure. */
import { isRecord, type JsonRecord, type JsonValue, jsonBool } from '../lib/json.js';
import {
  type NetworkId,
  type NodeAddress,
  rfc4193Address,
  sixPlaneAddress,
} from '../wire/address.js';
import { type InetAddress, inetAddress, ipInPrefix, ipText } from '../wire/inetaddress.js';
import { MAX_ASSIGNED } from '../wire/netconf.js';
import { lenientAddress } from './lenient.js';

const MAX_TRIES = 1_000;
/** An IPv6 pool whose low half spans this much gets addresses made from the member's. */
const WIDE_POOL = 2n ** 40n - 1n;

export interface RouteRecord {
  readonly target: InetAddress;
  readonly via: InetAddress | undefined;
}

interface PoolV4 {
  readonly start: number;
  /** End less start; the end itself is not given out unless it is 0. */
  readonly span: number;
}

interface PoolV6 {
  readonly start: Uint8Array;
  readonly end: Uint8Array;
}

/** An IPv4 route target as numbers. */
interface TargetV4 {
  readonly network: number;
  readonly mask: number;
  readonly bits: number;
}

/** What of a network record decides addresses. */
export interface AssignPlan {
  readonly routes: readonly RouteRecord[];
  readonly poolsV4: readonly PoolV4[];
  readonly poolsV6: readonly PoolV6[];
  readonly targetsV4: readonly TargetV4[];
  readonly isRfc4193: boolean;
  readonly isSixPlane: boolean;
  readonly isAutoV6: boolean;
  readonly isAutoV4: boolean;
}

export interface Assignment {
  /** With prefix lengths, for the configuration. */
  readonly addresses: readonly InetAddress[];
  /** New entries for the member's `ipAssignments`. */
  readonly taken: readonly string[];
  /** RFC4193 or 6PLANE was assigned: NDP can be emulated. */
  readonly emulatesNdp: boolean;
}

const array = (v: JsonValue | undefined): JsonValue[] => (Array.isArray(v) ? v : []);

function routesOf(network: JsonRecord): RouteRecord[] {
  const out: RouteRecord[] = [];
  for (const r of array(network['routes'])) {
    if (!isRecord(r) || typeof r['target'] !== 'string') continue;
    const target = lenientAddress(r['target']);
    if (target === undefined) continue;
    const via = typeof r['via'] === 'string' ? lenientAddress(r['via']) : undefined;
    out.push({ target, via: via?.family === target.family ? via : undefined });
  }
  return out;
}

function poolsOf(network: JsonRecord, family: 4 | 6): PoolV6[] {
  const out: PoolV6[] = [];
  for (const p of array(network['ipAssignmentPools'])) {
    if (!isRecord(p)) continue;
    const [from, to] = [p['ipRangeStart'], p['ipRangeEnd']];
    if (typeof from !== 'string' || typeof to !== 'string') continue;
    const start = lenientAddress(from);
    const end = lenientAddress(to);
    if (start?.family === family && end?.family === family)
      out.push({ start: start.ip, end: end.ip });
  }
  return out;
}

function toNumber(ip: Uint8Array): bigint {
  return ip.reduce((n, b) => (n << 8n) | BigInt(b), 0n);
}

function fromNumber(n: bigint): Uint8Array {
  const out = new Uint8Array(16);
  for (let i = 15; i >= 0; i--, n >>= 8n) out[i] = Number(n & 0xffn);
  return out;
}

const v4Number = (ip: Uint8Array): number =>
  ((ip[0]! << 24) | (ip[1]! << 16) | (ip[2]! << 8) | ip[3]!) >>> 0;
const v4Bytes = (n: number): Uint8Array => Uint8Array.of(n >>> 24, n >>> 16, n >>> 8, n);

/** Targets with host bits set contain nothing: they equal no masked address [3 section 12.3]. */
function targetsV4(routes: readonly RouteRecord[]): TargetV4[] {
  return routes
    .filter((r) => r.target.family === 4)
    .map(({ target }) => ({
      network: v4Number(target.ip),
      mask: target.port === 0 ? 0 : (0xffff_ffff << Math.max(0, 32 - target.port)) >>> 0,
      bits: target.port,
    }));
}

export function assignPlan(network: JsonRecord): AssignPlan {
  const v6Mode = isRecord(network['v6AssignMode']) ? network['v6AssignMode'] : {};
  const v4Mode = isRecord(network['v4AssignMode']) ? network['v4AssignMode'] : {};
  const routes = routesOf(network);
  return {
    routes,
    poolsV4: poolsOf(network, 4)
      .map((p) => ({ start: v4Number(p.start), span: v4Number(p.end) - v4Number(p.start) }))
      .filter((p) => p.start !== 0 && p.span >= 0),
    poolsV6: poolsOf(network, 6),
    targetsV4: targetsV4(routes),
    isRfc4193: jsonBool(v6Mode['rfc4193'], false),
    isSixPlane: jsonBool(v6Mode['6plane'], false),
    isAutoV6: jsonBool(v6Mode['zt'], false),
    isAutoV4: jsonBool(v4Mode['zt'], false),
  };
}

class Assigner {
  readonly #plan: AssignPlan;
  readonly #self: NodeAddress;
  readonly #inUse: (ip: string) => boolean;
  readonly #random64: () => bigint;
  readonly addresses: InetAddress[] = [];
  readonly taken: string[] = [];

  constructor(
    plan: AssignPlan,
    self: NodeAddress,
    inUse: (ip: string) => boolean,
    random64: () => bigint,
  ) {
    this.#plan = plan;
    this.#self = self;
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
    for (const text of array(list)) {
      const a = typeof text === 'string' ? lenientAddress(text) : undefined;
      if (a === undefined) continue;
      let bits = -1;
      for (const r of this.#plan.routes) {
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
    for (const pool of this.#plan.poolsV4) if (this.#v4From(pool)) return;
  }

  #v4From({ start, span }: PoolV4): boolean {
    const seed = this.#self % 2 ** 32;
    for (let i = 0; i <= Math.min(span, MAX_TRIES - 1); i++) {
      const n = span > 0 ? start + ((seed + i) % span) : start;
      if ((n & 0xff) === 0xff) continue;
      const target = this.#plan.targetsV4.find((t) => (n & t.mask) >>> 0 === t.network);
      if (target === undefined || target.bits === 0) continue;
      const ip = v4Bytes(n);
      if (this.#isFree(ip)) return this.#take(ip, target.bits);
    }
    return false;
  }

  v6(): void {
    for (const pool of this.#plan.poolsV6) {
      for (let i = 0; i < MAX_TRIES; i++) {
        const ip = this.#v6Candidate(pool, i === 0);
        const bits = this.#v6Bits(ip);
        if (bits === undefined || !this.#isFree(ip)) continue;
        if (this.#take(ip, bits)) return;
      }
    }
  }

  /** Prefix length of the last route on the link that contains it. */
  #v6Bits(ip: Uint8Array): number | undefined {
    return this.#plan.routes.findLast(
      (r) =>
        r.via === undefined && r.target.family === 6 && ipInPrefix(ip, r.target.ip, r.target.port),
    )?.target.port;
  }

  #v6Candidate(pool: PoolV6, isFirst: boolean): Uint8Array {
    const [sHigh, sLow] = [toNumber(pool.start.subarray(0, 8)), toNumber(pool.start.subarray(8))];
    const [eHigh, eLow] = [toNumber(pool.end.subarray(0, 8)), toNumber(pool.end.subarray(8))];
    const spanLow = eLow - sLow;
    let high = sHigh;
    let low = BigInt.asUintN(64, sLow + BigInt(this.#self));
    if (!isFirst || spanLow < WIDE_POOL) {
      if (eHigh > sHigh) high = sHigh + (this.#random64() % (eHigh - sHigh));
      low = spanLow > 0n ? sLow + (this.#random64() % spanLow) : sLow;
    }
    return fromNumber((high << 64n) | low);
  }
}

/**
 * Assigns in the reference's order. `inUse` tells whether another member of the network has an
 * address.
 */
export function assignAddresses(
  plan: AssignPlan,
  member: JsonRecord,
  nwid: NetworkId,
  address: NodeAddress,
  inUse: (ip: string) => boolean,
  random64: () => bigint,
): Assignment {
  const a = new Assigner(plan, address, inUse, random64);
  const isAuto = !jsonBool(member['noAutoAssignIps'], false);
  let emulatesNdp = false;
  if (isAuto && plan.isRfc4193) emulatesNdp = a.add(rfc4193Address(nwid, address), 88);
  if (isAuto && plan.isSixPlane)
    emulatesNdp = a.add(sixPlaneAddress(nwid, address), 40) || emulatesNdp;
  const families = a.stored(member['ipAssignments']);
  if (isAuto && !families.has(6) && plan.isAutoV6) a.v6();
  if (isAuto && !families.has(4) && plan.isAutoV4) a.v4();
  return { addresses: a.addresses, taken: a.taken, emulatesNdp };
}
