/**
 * Multicast memberships of one datagram socket: IP_ADD_MEMBERSHIP, IPV6_JOIN_GROUP and relatives.
 *
 * A membership is held in the stack too, which counts them and names the groups to the network.
 * `leaveAll` gives everything back; nothing else may forget a membership.
 */
import type { Moment } from '../lib/time.js';
import type { IpBytes } from '../stack/stack.js';
import { failed } from './errno.js';
import { type NetworksHost, networkFor } from './networks.js';
import { isMulticast } from './policy.js';

const SOL_IP = 0;
const SOL_IPV6 = 41;
const IP_ADD_MEMBERSHIP = 35;
const IP_DROP_MEMBERSHIP = 36;
const IPV6_JOIN_GROUP = 20;
const IPV6_LEAVE_GROUP = 21;
const MCAST_JOIN_GROUP = 42;
const MCAST_LEAVE_GROUP = 45;

const AF_INET = 2;
const AF_INET6 = 10;
/** struct group_req: an index, padding, a sockaddr_storage. */
const GROUP_REQ_LEN = 136;
/** Ours: memberships of one socket; Linux allows 20 of IPv4 (igmp_max_memberships). */
const MEMBERSHIPS_MAX = 64;

/** What memberships need of the view. */
export interface MembershipHost extends NetworksHost {
  now(): Moment;
  isLocal(ip: IpBytes): boolean;
  /** The set of groups of the stack changed. */
  regroup(): void;
}

interface Wish {
  readonly join: boolean;
  readonly group: IpBytes;
  /** 0 = any. */
  readonly index: number;
  /** All zero = any. */
  readonly address: IpBytes;
}

const ANY4 = new Uint8Array(4);

function u32(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(at, true);
}

function parse4(join: boolean, value: Uint8Array): Wish | undefined {
  if (value.length < 8) return undefined;
  const index = value.length >= 12 ? u32(value, 8) : 0;
  return { join, group: value.slice(0, 4), index, address: value.slice(4, 8) };
}

function parse6(join: boolean, value: Uint8Array): Wish | undefined {
  if (value.length < 20) return undefined;
  return { join, group: value.slice(0, 16), index: u32(value, 16), address: ANY4 };
}

function parseGroupReq(join: boolean, value: Uint8Array): Wish | undefined {
  if (value.length < GROUP_REQ_LEN) return undefined;
  const family = value[8]! | (value[9]! << 8);
  const index = u32(value, 0);
  if (family === AF_INET) return { join, group: value.slice(12, 16), index, address: ANY4 };
  if (family === AF_INET6) return { join, group: value.slice(16, 32), index, address: ANY4 };
  return undefined;
}

/**
 * Whether an option is about memberships; undefined wish = malformed, and `otherFamily` the kind of
 * mistake that Linux answers with an errno of its own.
 */
function parse(
  level: number,
  name: number,
  value: Uint8Array,
): { readonly wish: Wish | undefined; readonly otherFamily?: boolean } | undefined {
  if (level === SOL_IP && (name === IP_ADD_MEMBERSHIP || name === IP_DROP_MEMBERSHIP)) {
    return { wish: parse4(name === IP_ADD_MEMBERSHIP, value) };
  }
  if (level === SOL_IPV6 && (name === IPV6_JOIN_GROUP || name === IPV6_LEAVE_GROUP)) {
    return { wish: parse6(name === IPV6_JOIN_GROUP, value) };
  }
  const isGeneric = level === SOL_IP || level === SOL_IPV6;
  if (isGeneric && (name === MCAST_JOIN_GROUP || name === MCAST_LEAVE_GROUP)) {
    const wish = parseGroupReq(name === MCAST_JOIN_GROUP, value);
    if (wish === undefined) return { wish };
    if (wish.group.length === (level === SOL_IP ? 4 : 16)) return { wish };
    return { wish: undefined, otherFamily: level === SOL_IPV6 };
  }
  return undefined;
}

const keyOf = (group: IpBytes, index: number): string => `${index}/${group.join('.')}`;

export class Memberships {
  readonly #host: MembershipHost;
  /** By interface and group. */
  readonly #groups = new Map<string, { readonly group: IpBytes; readonly index: number }>();

  constructor(host: MembershipHost) {
    this.#host = host;
  }

  get size(): number {
    return this.#groups.size;
  }

  has(group: IpBytes): boolean {
    if (this.#groups.size === 0) return false;
    const wanted = group.join('.');
    for (const m of this.#groups.values()) if (m.group.join('.') === wanted) return true;
    return false;
  }

  /** Carries out a SETOPT; undefined when the option is not about memberships. */
  set(level: number, name: number, value: Uint8Array): number | undefined {
    const parsed = parse(level, name, value);
    if (parsed === undefined) return undefined;
    const { wish } = parsed;
    if (parsed.otherFamily === true) return failed('EADDRNOTAVAIL');
    if (wish === undefined || !isMulticast(wish.group)) return failed('EINVAL');
    const { group, join } = wish;
    const index = networkFor(this.#host, wish.index, wish.address)?.index;
    if (index !== undefined) return join ? this.#join(group, index) : this.#leave(group, index);
    /* A network that was left took its memberships with it. */
    return failed('ENODEV');
  }

  #join(group: IpBytes, index: number): number {
    const key = keyOf(group, index);
    if (this.#groups.has(key)) return failed('EADDRINUSE');
    if (this.#groups.size >= MEMBERSHIPS_MAX) return failed('ENOBUFS');
    const stack = this.#host.stackOn(index);
    if (stack.groupJoin?.(this.#host.now(), group) !== true) return failed('ENOBUFS');
    this.#groups.set(key, { group, index });
    this.#host.regroup();
    return 0;
  }

  #leave(group: IpBytes, index: number): number {
    if (!this.#groups.delete(keyOf(group, index))) return failed('EADDRNOTAVAIL');
    this.#host.stackOn(index).groupLeave?.(this.#host.now(), group);
    this.#host.regroup();
    return 0;
  }

  leaveAll(): void {
    for (const { group, index } of [...this.#groups.values()]) this.#leave(group, index);
  }
}
