/**
 * Socket options of datagram sockets [5 section 8]: what may be set, in which range, and what a
 * getsockopt answers. Multicast memberships are in memberships.ts.
 *
 * Options with an effect are read through the typed getters; the others are stored. An option that
 * is not in the table is ENOPROTOOPT, as is every IPv6 option of an AF_INET socket.
 */
import type { IpBytes } from '../stack/stack.js';
import { failed } from './errno.js';
import type { OptionAnswer } from './options.js';

const SOL_SOCKET = 1;
const SOL_IP = 0;
const SOL_IPV6 = 41;
const SOL_UDP = 17;
/** The raw socket option of ICMP filters; stored only. */
const SOL_RAW = 255;

const SO_RCVBUF = 8;
const SO_BINDTODEVICE = 25;
export const UDP_CORK = 1;
const UDP_SEGMENT = 103;
const UDP_GRO = 104;
const IP_MTU = 14;
const IP_MULTICAST_IF = 32;
const IPV6_MULTICAST_IF = 17;
const IPV6_MTU = 24;
/** A fragment size below the network's is accepted, and ignored. */
const IPV6_MTU_MIN = 1280;
const IPV6_V6ONLY = 26;

/** What an option may depend on. */
export interface DatagramOptionContext {
  readonly family: 4 | 6;
  /** Before bind: V6ONLY may still change. */
  readonly isFresh: boolean;
  readonly isConnected: boolean;
  /** Index of an interface, 0 for the empty name. */
  interfaceNamed(name: string): number | undefined;
  /** Whether there is a virtual interface of that index. */
  hasInterface(index: number): boolean;
  readonly mtu: number;
  isLocal(ip: IpBytes): boolean;
}

interface IntOption {
  readonly preset: number;
  /** Smallest and largest value; without, any. */
  readonly min?: number;
  readonly max?: number;
  /** Reported as 0 or 1 whatever was set. */
  readonly isFlag?: boolean;
  /** Bits that are kept. */
  readonly mask?: number;
  /** Value that -1 stands for. */
  readonly minusOne?: number;
}

const FLAG: IntOption = { preset: 0, isFlag: true };
const FLAG_ON: IntOption = { preset: 1, isFlag: true };

const key = (level: number, name: number): number => level * 65536 + name;

/** IP_FREEBIND and IPV6_FREEBIND are one setting. */
function sharedKey(level: number, name: number): number {
  return level === SOL_IPV6 && name === 78 ? key(SOL_IP, 15) : key(level, name);
}

const INTS: ReadonlyMap<number, IntOption> = new Map([
  [key(SOL_SOCKET, 2), FLAG], // REUSEADDR
  [key(SOL_SOCKET, 6), FLAG], // BROADCAST
  [key(SOL_SOCKET, 7), { preset: 0 }], // SNDBUF: what is sent leaves at once
  [key(SOL_SOCKET, SO_RCVBUF), { preset: 0 }],
  [key(SOL_SOCKET, 9), FLAG], // KEEPALIVE
  [key(SOL_SOCKET, 10), FLAG], // OOBINLINE
  [key(SOL_SOCKET, 11), FLAG], // NO_CHECK: checksums are sent anyway
  [key(SOL_SOCKET, 15), FLAG], // REUSEPORT
  [key(SOL_SOCKET, 29), FLAG], // TIMESTAMP
  [key(SOL_SOCKET, 40), FLAG], // RXQ_OVFL
  [key(SOL_IP, 1), { preset: 0, mask: 0xff }], // TOS
  [key(SOL_IP, 2), { preset: 64, min: 1, max: 255, minusOne: 64 }], // TTL
  [key(SOL_IP, 8), FLAG], // PKTINFO
  [key(SOL_IP, 10), { preset: 1, min: 0, max: 5 }], // MTU_DISCOVER
  [key(SOL_IP, 11), FLAG], // RECVERR
  [key(SOL_IP, 12), FLAG], // RECVTTL
  [key(SOL_IP, 13), FLAG], // RECVTOS
  [key(SOL_IP, 15), FLAG], // FREEBIND
  [key(SOL_IP, 24), FLAG], // BIND_ADDRESS_NO_PORT
  [key(SOL_IP, 33), { preset: 1, min: 0, max: 255, minusOne: 1 }], // MULTICAST_TTL
  [key(SOL_IP, 34), FLAG_ON], // MULTICAST_LOOP
  [key(SOL_IP, 49), { preset: 1, min: 0, max: 1 }], // MULTICAST_ALL
  [key(SOL_IPV6, 16), { preset: 64, min: 0, max: 255, minusOne: 64 }], // UNICAST_HOPS
  [key(SOL_IPV6, 18), { preset: 1, min: 0, max: 255, minusOne: 1 }], // MULTICAST_HOPS
  [key(SOL_IPV6, 19), { preset: 1, min: 0, max: 1 }], // MULTICAST_LOOP
  [key(SOL_IPV6, 23), { preset: 1, min: 0, max: 5 }], // MTU_DISCOVER
  [key(SOL_IPV6, 25), FLAG], // RECVERR
  [key(SOL_IPV6, IPV6_V6ONLY), FLAG],
  [key(SOL_IPV6, 29), { preset: 1, min: 0, max: 1 }], // MULTICAST_ALL
  [key(SOL_IPV6, 49), FLAG], // RECVPKTINFO
  [key(SOL_IPV6, 51), FLAG], // RECVHOPLIMIT
  [key(SOL_IPV6, 62), FLAG], // DONTFRAG
  [key(SOL_IPV6, 70), FLAG_ON], // AUTOFLOWLABEL: no label is ever told
  [key(SOL_IPV6, 66), FLAG], // RECVTCLASS
  [key(SOL_IPV6, 67), { preset: 0, min: 0, max: 255, minusOne: 0 }], // TCLASS
  [key(SOL_UDP, UDP_CORK), FLAG],
  [key(SOL_UDP, UDP_SEGMENT), { preset: 0, min: 0, max: 65_535 }],
  /* Datagrams may be joined, none ever is: so no message that tells their length is due. */
  [key(SOL_UDP, UDP_GRO), FLAG],
  [key(SOL_RAW, 1), { preset: 0 }], // ICMP_FILTER
]);

function intBytes(value: number): Uint8Array {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setInt32(0, value, true);
  return out;
}

/** Linux takes a single byte where an int of the IP level is short. */
function intOf(level: number, bytes: Uint8Array): number | undefined {
  if (bytes.length >= 4) {
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getInt32(0, true);
  }
  return level === SOL_IP && bytes.length > 0 ? bytes[0] : undefined;
}

/** A name as programs give it: with or without a final NUL. */
function text(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return String.fromCharCode(...(end < 0 ? bytes : bytes.subarray(0, end)));
}

function textBytes(s: string): Uint8Array {
  return Uint8Array.from([...s, '\0'], (c) => c.charCodeAt(0));
}

const isZero = (ip: IpBytes): boolean => ip.every((b) => b === 0);

export class DatagramOptions {
  readonly #ints = new Map<number, number>();
  #device = '';
  /** Interface that the socket is tied to, 0 = any. */
  device = 0;
  #multicastAddress: IpBytes = new Uint8Array(4);
  #multicastIndex4 = 0;
  #multicastIndex6 = 0;

  get reuseAddr(): boolean {
    return this.#int(SOL_SOCKET, 2) !== 0;
  }
  get reusePort(): boolean {
    return this.#int(SOL_SOCKET, 15) !== 0;
  }
  get mayBroadcast(): boolean {
    return this.#int(SOL_SOCKET, 6) !== 0;
  }
  get wantsTimestamp(): boolean {
    return this.#int(SOL_SOCKET, 29) !== 0;
  }
  get v6Only(): boolean {
    return this.#int(SOL_IPV6, IPV6_V6ONLY) !== 0;
  }
  /** What is sent is held until this is cleared (UDP_CORK). */
  get isCorked(): boolean {
    return this.#int(SOL_UDP, UDP_CORK) !== 0;
  }
  /** Length of the datagrams that a send is cut into, 0 = one datagram. */
  get segment(): number {
    return this.#int(SOL_UDP, UDP_SEGMENT);
  }
  get freeBind(): boolean {
    return this.#int(SOL_IP, 15) !== 0;
  }
  /** Source address of multicast datagrams, if one was chosen. */
  get multicastSource(): IpBytes | undefined {
    return isZero(this.#multicastAddress) ? undefined : this.#multicastAddress;
  }

  /** Interface that multicast datagrams leave by, 0 = not chosen. */
  multicastInterface(isV6: boolean): number {
    return isV6 ? this.#multicastIndex6 : this.#multicastIndex4;
  }

  /** Whether soft ICMP errors are wanted too (IP_RECVERR). */
  wantsAllErrors(isV6: boolean): boolean {
    return this.#int(isV6 ? SOL_IPV6 : SOL_IP, isV6 ? 25 : 11) !== 0;
  }
  /** Whether datagrams of groups that others joined are wanted. */
  hearsAllGroups(isV6: boolean): boolean {
    return this.#int(isV6 ? SOL_IPV6 : SOL_IP, isV6 ? 29 : 49) !== 0;
  }
  ttl(isV6: boolean, isMulticast: boolean): number {
    if (isV6) return this.#int(SOL_IPV6, isMulticast ? 18 : 16);
    return this.#int(SOL_IP, isMulticast ? 33 : 2);
  }
  tos(isV6: boolean): number {
    return isV6 ? this.#int(SOL_IPV6, 67) : this.#int(SOL_IP, 1);
  }
  loopsMulticast(isV6: boolean): boolean {
    return (isV6 ? this.#int(SOL_IPV6, 19) : this.#int(SOL_IP, 34)) !== 0;
  }
  /** Whether to tell destination and interface; an AF_INET6 socket may ask at either level. */
  wantsPacketInfo(isV6: boolean): boolean {
    return this.#either(isV6, 49, 8);
  }
  wantsTtl(isV6: boolean): boolean {
    return this.#either(isV6, 51, 12);
  }
  wantsTos(isV6: boolean): boolean {
    return this.#either(isV6, 66, 13);
  }

  /** An option of the IPv6 level, or for an IPv4 datagram also one of the IP level. */
  #either(isV6: boolean, name6: number, name4: number): boolean {
    return this.#int(SOL_IPV6, name6) !== 0 || (!isV6 && this.#int(SOL_IP, name4) !== 0);
  }

  /** Bytes of received datagrams that may wait; 0 = as many as for anybody. */
  get receiveMax(): number {
    return Math.max(0, this.#int(SOL_SOCKET, SO_RCVBUF));
  }

  #int(level: number, name: number): number {
    const k = sharedKey(level, name);
    return this.#ints.get(k) ?? INTS.get(k)!.preset;
  }

  /** @returns 0 or a negative errno number. */
  set(level: number, name: number, value: Uint8Array, context: DatagramOptionContext): number {
    if (level === SOL_SOCKET && name === SO_BINDTODEVICE) return this.#setDevice(value, context);
    if (level === SOL_IPV6 && context.family === 4) return failed('ENOPROTOOPT');
    if (level === SOL_IP && name === IP_MULTICAST_IF) return this.#setInterface4(value, context);
    const option = INTS.get(sharedKey(level, name));
    const isInterface6 = level === SOL_IPV6 && name === IPV6_MULTICAST_IF;
    const isMtu6 = level === SOL_IPV6 && name === IPV6_MTU;
    if (option === undefined && !isInterface6 && !isMtu6) return failed('ENOPROTOOPT');
    const given = intOf(level, value);
    if (given === undefined) return failed('EINVAL');
    if (isMtu6) return given === 0 || given >= IPV6_MTU_MIN ? 0 : failed('EINVAL');
    if (option === undefined) return this.#setInterface6(given, context);
    if (level === SOL_IPV6 && name === IPV6_V6ONLY && !context.isFresh) return failed('EINVAL');
    return this.#setInt(sharedKey(level, name), option, given);
  }

  #setInt(k: number, option: IntOption, given: number): number {
    const value = given === -1 && option.minusOne !== undefined ? option.minusOne : given;
    if (option.min !== undefined && value < option.min) return failed('EINVAL');
    if (option.max !== undefined && value > option.max) return failed('EINVAL');
    const kept = option.mask === undefined ? value : value & option.mask;
    this.#ints.set(k, option.isFlag === true ? Number(value !== 0) : kept);
    return 0;
  }

  #setDevice(value: Uint8Array, context: DatagramOptionContext): number {
    const name = text(value);
    const index = context.interfaceNamed(name);
    if (index === undefined) return failed('ENODEV');
    this.#device = name;
    this.device = index;
    return 0;
  }

  /** IP_MULTICAST_IF: in_addr, ip_mreq or ip_mreqn. */
  #setInterface4(value: Uint8Array, context: DatagramOptionContext): number {
    if (value.length < 4) return failed('EINVAL');
    const at = value.length >= 8 ? 4 : 0;
    const ip = value.slice(at, at + 4);
    const index = value.length >= 12 ? intOf(SOL_IP, value.subarray(8))! : 0;
    if (index !== 0 && !context.hasInterface(index)) return failed('EADDRNOTAVAIL');
    if (index === 0 && !isZero(ip) && !context.isLocal(ip)) return failed('EADDRNOTAVAIL');
    this.#multicastAddress = ip;
    this.#multicastIndex4 = index;
    return 0;
  }

  #setInterface6(index: number, context: DatagramOptionContext): number {
    if (index !== 0 && !context.hasInterface(index)) return failed('ENODEV');
    this.#multicastIndex6 = index;
    return 0;
  }

  get(level: number, name: number, context: DatagramOptionContext): OptionAnswer {
    if (level === SOL_SOCKET && name === SO_BINDTODEVICE) {
      return this.#device === '' ? new Uint8Array(0) : textBytes(this.#device);
    }
    if (level === SOL_IPV6 && context.family === 4) return 'ENOPROTOOPT';
    if ((level === SOL_IP && name === IP_MTU) || (level === SOL_IPV6 && name === IPV6_MTU)) {
      return context.isConnected ? intBytes(context.mtu) : 'ENOTCONN';
    }
    if (level === SOL_IP && name === IP_MULTICAST_IF) return this.#multicastAddress.slice();
    if (level === SOL_IPV6 && name === IPV6_MULTICAST_IF) return intBytes(this.#multicastIndex6);
    if (!INTS.has(sharedKey(level, name))) return 'ENOPROTOOPT';
    return intBytes(this.#int(level, name));
  }
}
