/**
 * Multicast memberships of one datagram socket: IP_ADD_MEMBERSHIP, IPV6_JOIN_GROUP and relatives,
 * and the sources that each wants. The network knows of groups alone: sources are sorted out here.
 *
 * A membership is held in the stack too, which counts them and names the groups to the network.
 * `leaveAll` gives everything back; nothing else may forget a membership.
 */
import type { Moment } from '../lib/time.js';
import type { IpBytes } from '../stack/stack.js';
import { failed } from './errno.js';
import { type NetworksHost, networkFor } from './networks.js';
import { isMulticast } from './policy.js';
import { SourceFilter } from './source-filter.js';

const SOL_IP = 0;
const SOL_IPV6 = 41;
const IP_ADD_MEMBERSHIP = 35;
const IP_DROP_MEMBERSHIP = 36;
const IP_UNBLOCK_SOURCE = 37;
const IP_BLOCK_SOURCE = 38;
const IP_ADD_SOURCE_MEMBERSHIP = 39;
const IP_DROP_SOURCE_MEMBERSHIP = 40;
const IPV6_JOIN_GROUP = 20;
const IPV6_LEAVE_GROUP = 21;
const MCAST_JOIN_GROUP = 42;
const MCAST_BLOCK_SOURCE = 43;
const MCAST_UNBLOCK_SOURCE = 44;
const MCAST_LEAVE_GROUP = 45;
const MCAST_JOIN_SOURCE_GROUP = 46;
const MCAST_LEAVE_SOURCE_GROUP = 47;

const AF_INET = 2;
const AF_INET6 = 10;
/** struct group_req: an index, padding, a sockaddr_storage. */
const GROUP_REQ_LEN = 136;
/** struct group_source_req: the same, and another sockaddr_storage. */
const SOURCE_REQ_LEN = 264;
/** struct ip_mreq_source: group, interface, source. */
const MREQ_SOURCE_LEN = 12;
/** Ours: memberships of one socket; Linux allows 20 of IPv4 (igmp_max_memberships). */
const MEMBERSHIPS_MAX = 64;

/** What memberships need of the view. */
export interface MembershipHost extends NetworksHost {
  now(): Moment;
  isLocal(ip: IpBytes): boolean;
  /** The set of groups of the stack changed. */
  regroup(): void;
}

/** A source is wanted, or blocked; or no more. */
interface SourceWish {
  readonly source: IpBytes;
  readonly isWanted: boolean;
  readonly add: boolean;
}

interface Wish {
  /** About the membership as a whole; false for any wish about a source. */
  readonly join: boolean;
  readonly source?: SourceWish;
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

/** Undefined wish = malformed, and `otherFamily` what Linux answers with an errno of its own. */
interface Parsed {
  readonly wish: Wish | undefined;
  readonly otherFamily?: boolean;
}

type SourceKind = Omit<SourceWish, 'source'>;

const WANT: SourceKind = { isWanted: true, add: true };
const WANT_NOT: SourceKind = { isWanted: true, add: false };
const BLOCK: SourceKind = { isWanted: false, add: true };
const UNBLOCK: SourceKind = { isWanted: false, add: false };

/** Options about sources: of IPv4 alone, and of both families. */
const SOURCE_OPTIONS4: ReadonlyMap<number, SourceKind> = new Map([
  [IP_ADD_SOURCE_MEMBERSHIP, WANT],
  [IP_DROP_SOURCE_MEMBERSHIP, WANT_NOT],
  [IP_BLOCK_SOURCE, BLOCK],
  [IP_UNBLOCK_SOURCE, UNBLOCK],
]);
const SOURCE_OPTIONS: ReadonlyMap<number, SourceKind> = new Map([
  [MCAST_JOIN_SOURCE_GROUP, WANT],
  [MCAST_LEAVE_SOURCE_GROUP, WANT_NOT],
  [MCAST_BLOCK_SOURCE, BLOCK],
  [MCAST_UNBLOCK_SOURCE, UNBLOCK],
]);

function parseSource4(kind: SourceKind, value: Uint8Array): Parsed {
  if (value.length < MREQ_SOURCE_LEN) return { wish: undefined };
  const source = { ...kind, source: value.slice(8, 12) };
  const address = value.slice(4, 8);
  return { wish: { join: false, source, group: value.slice(0, 4), index: 0, address } };
}

/** The address in a sockaddr_storage, if it is of the family of `level`. */
function storedAddress(level: number, value: Uint8Array, at: number): IpBytes | undefined {
  const family = value[at]! | (value[at + 1]! << 8);
  if (level === SOL_IP) return family === AF_INET ? value.slice(at + 4, at + 8) : undefined;
  return family === AF_INET6 ? value.slice(at + 8, at + 24) : undefined;
}

function parseSourceReq(level: number, kind: SourceKind, value: Uint8Array): Parsed {
  if (value.length < SOURCE_REQ_LEN) return { wish: undefined };
  const group = storedAddress(level, value, 8);
  const source = storedAddress(level, value, GROUP_REQ_LEN);
  if (group === undefined || source === undefined) return { wish: undefined, otherFamily: true };
  const index = u32(value, 0);
  return { wish: { join: false, source: { ...kind, source }, group, index, address: ANY4 } };
}

/** Whether an option is about sources of a group. */
function parseSources(level: number, name: number, value: Uint8Array): Parsed | undefined {
  if (level !== SOL_IP && level !== SOL_IPV6) return undefined;
  const kind4 = level === SOL_IP ? SOURCE_OPTIONS4.get(name) : undefined;
  if (kind4 !== undefined) return parseSource4(kind4, value);
  const kind = SOURCE_OPTIONS.get(name);
  return kind === undefined ? undefined : parseSourceReq(level, kind, value);
}

/** Whether an option is about memberships. */
function parse(level: number, name: number, value: Uint8Array): Parsed | undefined {
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
  return parseSources(level, name, value);
}

interface Membership {
  readonly group: IpBytes;
  readonly index: number;
  readonly sources: SourceFilter;
}

const keyOf = (group: IpBytes, index: number): string => `${index}/${group.join('.')}`;

export class Memberships {
  readonly #host: MembershipHost;
  /** By interface and group. */
  readonly #groups = new Map<string, Membership>();

  constructor(host: MembershipHost) {
    this.#host = host;
  }

  get size(): number {
    return this.#groups.size;
  }

  /** Whether a datagram from `source` is wanted; undefined without a membership in its group. */
  hears(group: IpBytes, source: IpBytes): boolean | undefined {
    if (this.#groups.size === 0) return undefined;
    const wanted = group.join('.');
    let isMember = false;
    for (const m of this.#groups.values()) {
      if (m.group.join('.') !== wanted) continue;
      if (m.sources.allows(source)) return true;
      isMember = true;
    }
    return isMember ? false : undefined;
  }

  /** Carries out a SETOPT; undefined when the option is not about memberships. */
  set(level: number, name: number, value: Uint8Array): number | undefined {
    const parsed = parse(level, name, value);
    if (parsed === undefined) return undefined;
    const { wish } = parsed;
    if (parsed.otherFamily === true) return failed('EADDRNOTAVAIL');
    if (wish === undefined || !isMulticast(wish.group)) return failed('EINVAL');
    const { group, join, source } = wish;
    const index = networkFor(this.#host, wish.index, wish.address)?.index;
    /* A network that was left took its memberships with it. */
    if (index === undefined) return failed('ENODEV');
    if (source !== undefined) return this.#setSource(group, index, source);
    return join ? this.#join(group, index, false) : this.#leave(group, index);
  }

  /** A source that is wanted makes the socket a member; all else asks for a membership. */
  #setSource(group: IpBytes, index: number, { source, isWanted, add }: SourceWish): number {
    const isFirst = isWanted && add && !this.#groups.has(keyOf(group, index));
    const joined = isFirst ? this.#join(group, index, true) : 0;
    if (joined !== 0) return joined;
    const member = this.#groups.get(keyOf(group, index));
    if (member === undefined) return failed('EINVAL');
    const result = add
      ? member.sources.add(source, isWanted)
      : member.sources.remove(source, isWanted);
    if (result === 'leave') return this.#leave(group, index);
    return result === undefined ? 0 : failed(result);
  }

  #join(group: IpBytes, index: number, wantsListed: boolean): number {
    const key = keyOf(group, index);
    if (this.#groups.has(key)) return failed('EADDRINUSE');
    if (this.#groups.size >= MEMBERSHIPS_MAX) return failed('ENOBUFS');
    const stack = this.#host.stackOn(index);
    if (stack.groupJoin?.(this.#host.now(), group) !== true) return failed('ENOBUFS');
    this.#groups.set(key, { group, index, sources: new SourceFilter(wantsListed) });
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
