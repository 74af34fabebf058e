/**
 * The rules engine: judges one Ethernet frame by a network's rules and capabilities
 * [3 section 8]. Pure: everything it needs is in `FilterInput`; copies and redirects are returned,
 * not sent.
 */
import type { NodeAddress } from '../wire/address.js';
import { type Ownership, owns, type Tag, THING } from '../wire/credentials.js';
import { isBroadcastMac, isMulticastMac } from '../wire/multicast-group.js';
import { RULE, RULE_NOT, RULE_OR, RULE_TYPE_MASK, type Rule } from '../wire/rules.js';

export interface Copy {
  readonly target: NodeAddress;
  readonly len: number;
  readonly watch: boolean;
}

export type Verdict = 'noMatch' | 'drop' | 'accept' | 'superAccept' | 'redirect';

export interface Evaluation {
  readonly verdict: Verdict;
  readonly copy: Copy | undefined;
  readonly redirectTo: NodeAddress;
}

export interface FilterInput {
  readonly inbound: boolean;
  readonly self: NodeAddress;
  readonly source: NodeAddress;
  /** 0 = not yet known. */
  readonly destination: NodeAddress;
  readonly macSource: Uint8Array;
  readonly macDest: Uint8Array;
  readonly etherType: number;
  /** VLAN tags are not interpreted: 0 for every frame here. */
  readonly vlanId: number;
  /** Ethernet payload. */
  readonly frame: Uint8Array;
  readonly unknownMatches: boolean;
  /** Our own tags by id. */
  readonly localTags: ReadonlyMap<number, Tag>;
  readonly localOwnerships: readonly Ownership[];
  /** Counting tag of the other side. */
  remoteTag(id: number): Tag | undefined;
  readonly remoteOwnerships: readonly Ownership[];
  /** Whether an IPv6 source is covered by NDP emulation [3 section 8.4]. */
  isEmulated(ip: Uint8Array): boolean;
  /** Unsigned 32-bit random number. */
  random(): number;
}

const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_ARP = 0x0806;
const ETHERTYPE_IPV6 = 0x86dd;
const PORT_PROTOCOLS = new Set([6, 17, 132, 136]);

const CHARACTERISTIC = {
  INBOUND: 1n << 63n,
  MULTICAST: 1n << 62n,
  BROADCAST: 1n << 61n,
  SENDER_IP_AUTHENTICATED: 1n << 60n,
  SENDER_MAC_AUTHENTICATED: 1n << 59n,
} as const;

/** A raw bit that NOT inverts, or a verdict that it does not touch. */
type Match = boolean | 'hardNo' | 'hardYes';

/** Where the transport header begins, and its protocol. */
interface Transport {
  readonly at: number;
  readonly protocol: number;
}

function u16(b: Uint8Array, at: number): number {
  return (b[at]! << 8) | b[at + 1]!;
}

function u32(b: Uint8Array, at: number): number {
  return ((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0;
}

function u64(b: Uint8Array, at: number): bigint {
  return (BigInt(u32(b, at)) << 32n) | BigInt(u32(b, at + 4));
}

function address(b: Uint8Array, at: number): NodeAddress {
  return b[at]! * 2 ** 32 + u32(b, at + 1);
}

function equalAt(a: Uint8Array, at: number, b: Uint8Array, len: number): boolean {
  for (let i = 0; i < len; i++) if (a[at + i] !== b[i]) return false;
  return true;
}

/** One evaluation of one rule set; keeps what the text calls setMatches, skipDrop and super. */
class Evaluator {
  readonly #in: FilterInput;
  #skipDrop = false;
  #isSuper = false;
  #copy: Copy | undefined;
  #redirectTo: NodeAddress = 0;

  constructor(input: FilterInput) {
    this.#in = input;
  }

  run(rules: readonly Rule[]): Evaluation {
    let matches = true;
    for (const rule of rules) {
      const type = rule.t & RULE_TYPE_MASK;
      if (type <= 15) {
        if (matches) {
          const verdict = this.#action(type, rule);
          if (verdict !== undefined) return this.#result(verdict);
        } else if (
          this.#in.inbound &&
          isCopyAction(type) &&
          address(rule.body, 3) === this.#in.self
        ) {
          this.#isSuper = true;
        }
        matches = true;
        continue;
      }
      const isOr = (rule.t & RULE_OR) !== 0;
      if (!matches && !isOr) continue;
      const m = this.#match(type, rule);
      const hit =
        m === 'hardYes' ? true : m === 'hardNo' ? false : m !== ((rule.t & RULE_NOT) !== 0);
      matches = isOr ? matches || hit : matches && hit;
    }
    return this.#result('noMatch');
  }

  #result(verdict: Verdict): Evaluation {
    return { verdict, copy: this.#copy, redirectTo: this.#redirectTo };
  }

  /** @returns the verdict that ends the evaluation, or undefined to go on. */
  #action(type: number, rule: Rule): Verdict | undefined {
    switch (type) {
      case RULE.ACTION_DROP:
        if (!this.#skipDrop) return 'drop';
        this.#skipDrop = false;
        return undefined;
      case RULE.ACTION_PRIORITY:
        return 'accept';
      case RULE.ACTION_ACCEPT:
        return this.#isSuper ? 'superAccept' : 'accept';
      case RULE.ACTION_TEE:
      case RULE.ACTION_WATCH:
      case RULE.ACTION_REDIRECT:
        return this.#copyAction(type, rule);
      case RULE.ACTION_BREAK:
        return 'noMatch';
      default:
        return undefined;
    }
  }

  #copyAction(type: number, rule: Rule): Verdict | undefined {
    const target = address(rule.body, 3);
    if (target === this.#in.source) return undefined;
    if (target === this.#in.self) return this.#in.inbound ? 'superAccept' : undefined;
    if (target === this.#in.destination) return undefined;
    if (type === RULE.ACTION_REDIRECT) {
      this.#redirectTo = target;
      return 'redirect';
    }
    const want = u16(rule.body, 12);
    const len = want === 0 ? this.#in.frame.length : Math.min(want, this.#in.frame.length);
    this.#copy = { target, len, watch: type === RULE.ACTION_WATCH };
    return undefined;
  }

  #match(type: number, rule: Rule): Match {
    const b = rule.body;
    const i = this.#in;
    switch (type) {
      case RULE.MATCH_SOURCE_ZEROTIER_ADDRESS:
        return address(b, 0) === i.source;
      case RULE.MATCH_DEST_ZEROTIER_ADDRESS:
        return address(b, 0) === i.destination;
      case RULE.MATCH_VLAN_ID:
        return u16(b, 0) === i.vlanId;
      case RULE.MATCH_VLAN_PCP:
      case RULE.MATCH_VLAN_DEI:
        return b[0] === 0;
      case RULE.MATCH_MAC_SOURCE:
        return equalAt(i.macSource, 0, b, 6);
      case RULE.MATCH_MAC_DEST:
        return equalAt(i.macDest, 0, b, 6);
      case RULE.MATCH_IPV4_SOURCE:
        return this.#ipv4(b, 12);
      case RULE.MATCH_IPV4_DEST:
        return this.#ipv4(b, 16);
      case RULE.MATCH_IPV6_SOURCE:
        return this.#ipv6(b, 8);
      case RULE.MATCH_IPV6_DEST:
        return this.#ipv6(b, 24);
      case RULE.MATCH_IP_TOS:
        return this.#tos(b);
      case RULE.MATCH_IP_PROTOCOL:
        return this.#protocol(b[0]!);
      case RULE.MATCH_ETHERTYPE:
        return u16(b, 0) === i.etherType;
      case RULE.MATCH_ICMP:
        return this.#icmp(b);
      case RULE.MATCH_IP_SOURCE_PORT_RANGE:
        return this.#ports(b, 0);
      case RULE.MATCH_IP_DEST_PORT_RANGE:
        return this.#ports(b, 2);
      case RULE.MATCH_CHARACTERISTICS:
        return (this.#characteristics() & u64(b, 0)) !== 0n;
      case RULE.MATCH_FRAME_SIZE_RANGE:
        return u16(b, 0) <= i.frame.length && i.frame.length <= u16(b, 2);
      case RULE.MATCH_RANDOM:
        return i.random() <= u32(b, 0);
      case RULE.MATCH_TAGS_DIFFERENCE:
      case RULE.MATCH_TAGS_BITWISE_AND:
      case RULE.MATCH_TAGS_BITWISE_OR:
      case RULE.MATCH_TAGS_BITWISE_XOR:
      case RULE.MATCH_TAGS_EQUAL:
        return this.#bothTags(type, u32(b, 0), u32(b, 4));
      case RULE.MATCH_TAG_SENDER:
        return this.#oneTag(i.inbound, u32(b, 0), u32(b, 4), 'hardNo');
      case RULE.MATCH_TAG_RECEIVER:
        return this.#oneTag(!i.inbound, u32(b, 0), u32(b, 4), 'skip');
      case RULE.MATCH_INTEGER_RANGE:
        return this.#integerRange(b);
      default:
        return i.unknownMatches;
    }
  }

  get #isIpv4(): boolean {
    return this.#in.etherType === ETHERTYPE_IPV4 && this.#in.frame.length >= 20;
  }

  get #isIpv6(): boolean {
    return this.#in.etherType === ETHERTYPE_IPV6 && this.#in.frame.length >= 40;
  }

  #ipv4(rule: Uint8Array, at: number): Match {
    if (!this.#isIpv4) return 'hardNo';
    const bits = Math.min(rule[4]!, 32);
    if (bits === 0) return true;
    const mask = bits === 32 ? 0xffff_ffff : ~(0xffff_ffff >>> bits) >>> 0;
    return (u32(this.#in.frame, at) & mask) === (u32(rule, 0) & mask);
  }

  /** The rule's address is not masked: host bits in it never match [3 section 14, 7]. */
  #ipv6(rule: Uint8Array, at: number): Match {
    if (!this.#isIpv6) return 'hardNo';
    const bits = Math.min(rule[16]!, 128);
    for (let i = 0; i < 16; i++) {
      const keep = Math.max(0, Math.min(8, bits - 8 * i));
      const mask = (0xff << (8 - keep)) & 0xff;
      if ((this.#in.frame[at + i]! & mask) !== rule[i]) return false;
    }
    return true;
  }

  #tos(rule: Uint8Array): Match {
    const f = this.#in.frame;
    let tos: number;
    if (this.#isIpv4) tos = f[1]!;
    else if (this.#isIpv6) tos = ((f[0]! << 4) & 0xf0) | (f[1]! >> 4);
    else return 'hardNo';
    const v = tos & rule[0]!;
    return rule[1]! <= v && v <= rule[2]!;
  }

  /** IPv6 payload walk [3 section 8.4]; undefined when a header chain is cut. */
  #ipv6Transport(): Transport | undefined {
    if (!this.#isIpv6) return undefined;
    const f = this.#in.frame;
    let at = 40;
    let protocol = f[6]!;
    while (at <= f.length) {
      if (protocol !== 0 && protocol !== 43 && protocol !== 60 && protocol !== 135)
        return { at, protocol };
      if (at + 8 > f.length) return undefined;
      protocol = f[at]!;
      at += f[at + 1]! * 8 + 8;
    }
    return undefined;
  }

  #protocol(want: number): Match {
    if (this.#isIpv4) return this.#in.frame[9] === want;
    const t = this.#ipv6Transport();
    return t === undefined ? 'hardNo' : t.protocol === want;
  }

  #icmp(rule: Uint8Array): Match {
    const f = this.#in.frame;
    let at: number;
    if (this.#isIpv4 && f[9] === 1) at = (f[0]! & 15) * 4;
    else {
      const t = this.#ipv6Transport();
      if (t === undefined || t.protocol !== 58) return 'hardNo';
      at = t.at;
    }
    if (f.length < at + 2 || f[at] !== rule[0]) return 'hardNo';
    return (rule[2]! & 1) === 0 ? 'hardYes' : f[at + 1] === rule[1];
  }

  #ports(rule: Uint8Array, off: number): Match {
    const f = this.#in.frame;
    let port = -1;
    if (this.#isIpv4) {
      const h = (f[0]! & 15) * 4;
      if (PORT_PROTOCOLS.has(f[9]!) && f.length > h + 4) port = u16(f, h + off);
    } else {
      const t = this.#ipv6Transport();
      if (t === undefined) return 'hardNo';
      // On IPv6 port 0 counts as no port [3 section 14, 6].
      if (PORT_PROTOCOLS.has(t.protocol) && f.length > t.at + 4) port = u16(f, t.at + off) || -1;
    }
    return port >= 0 && u16(rule, 0) <= port && port <= u16(rule, 2);
  }

  #characteristics(): bigint {
    const i = this.#in;
    let bits = 0n;
    if (i.inbound) bits |= CHARACTERISTIC.INBOUND;
    if (isMulticastMac(i.macDest)) bits |= CHARACTERISTIC.MULTICAST;
    if (isBroadcastMac(i.macDest)) bits |= CHARACTERISTIC.BROADCAST;
    if (this.#senderIpAuthenticated()) bits |= CHARACTERISTIC.SENDER_IP_AUTHENTICATED;
    if (this.#owned(THING.MAC, i.macSource)) bits |= CHARACTERISTIC.SENDER_MAC_AUTHENTICATED;
    return bits | BigInt(this.#tcpBits());
  }

  #owned(type: number, bytes: Uint8Array): boolean {
    const list = this.#in.inbound ? this.#in.remoteOwnerships : this.#in.localOwnerships;
    return list.some((c) => owns(c, type, bytes));
  }

  #senderIpAuthenticated(): boolean {
    const f = this.#in.frame;
    if (this.#isIpv4) return this.#owned(THING.IPV4, f.subarray(12, 16));
    if (this.#in.etherType === ETHERTYPE_ARP && f.length >= 28)
      return this.#owned(THING.IPV4, f.subarray(14, 18));
    if (!this.#isIpv6) return false;
    let ip = f.subarray(8, 24);
    if (f.length >= 64 && f[6] === 58) {
      if (f[40] === 0x87) return true;
      if (f[40] === 0x88) ip = f.subarray(48, 64);
    }
    return this.#owned(THING.IPV6, ip) || (this.#in.inbound && this.#in.isEmulated(ip));
  }

  #tcpBits(): number {
    const f = this.#in.frame;
    if (this.#isIpv4) {
      const h = (f[0]! & 15) * 4;
      return f[9] === 6 && f.length > h + 13 ? ((f[h + 12]! & 15) << 8) | f[h + 13]! : 0;
    }
    const t = this.#ipv6Transport();
    if (t === undefined || t.protocol !== 6 || f.length <= t.at + 14) return 0;
    return ((f[t.at + 12]! & 15) << 8) | f[t.at + 13]!;
  }

  /** The other side's tags may not be known yet: the receiver will judge [3 section 8.4]. */
  #lenient(): Match {
    this.#skipDrop = true;
    return 'hardYes';
  }

  #bothTags(type: number, id: number, value: number): Match {
    const local = this.#in.localTags.get(id)?.value;
    if (local === undefined) return 'hardNo';
    const remote = this.#in.remoteTag(id)?.value;
    if (remote === undefined)
      return this.#in.inbound && !this.#isSuper ? 'hardNo' : this.#lenient();
    switch (type) {
      case RULE.MATCH_TAGS_DIFFERENCE:
        return Math.abs(local - remote) <= value;
      case RULE.MATCH_TAGS_BITWISE_AND:
        return (local & remote) >>> 0 === value;
      case RULE.MATCH_TAGS_BITWISE_OR:
        return (local | remote) >>> 0 === value;
      case RULE.MATCH_TAGS_BITWISE_XOR:
        return (local ^ remote) >>> 0 === value;
      default:
        return local === value && remote === value;
    }
  }

  #oneTag(isRemote: boolean, id: number, value: number, missing: 'hardNo' | 'skip'): Match {
    if (this.#isSuper) return this.#lenient();
    const tag = isRemote ? this.#in.remoteTag(id) : this.#in.localTags.get(id);
    if (tag !== undefined) return tag.value === value;
    return isRemote && missing === 'skip' ? this.#lenient() : 'hardNo';
  }

  #integerRange(b: Uint8Array): Match {
    const f = this.#in.frame;
    const start = u64(b, 0);
    const delta = (u64(b, 8) - start) & 0xffff_ffffn;
    const index = u16(b, 16);
    const format = b[18]!;
    const bits = (format & 63) + 1;
    const bytes = Math.ceil(bits / 8);
    const littleEndian = (format & 0x80) !== 0;
    const from = littleEndian ? index : index + 8 - bytes;
    let x = 0n;
    if (from >= 0 && from + bytes <= f.length) {
      for (let i = 0; i < bytes; i++)
        x = (x << 8n) | BigInt(f[littleEndian ? from + bytes - 1 - i : from + i]!);
      x = littleEndian ? x >> BigInt(8 * bytes - bits) : BigInt.asUintN(bits, x);
    }
    return start <= x && x <= start + delta;
  }
}

function isCopyAction(type: number): boolean {
  return type === RULE.ACTION_TEE || type === RULE.ACTION_WATCH || type === RULE.ACTION_REDIRECT;
}

/** Evaluates one rule set on one frame [3 section 8.3]. */
export function evaluate(rules: readonly Rule[], input: FilterInput): Evaluation {
  return new Evaluator(input).run(rules);
}
