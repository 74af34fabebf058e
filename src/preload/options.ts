/**
 * Socket options that the service keeps for a virtual socket [5 section 8].
 *
 * A value is the bytes the program gave. Options with an effect are read through the typed
 * getters; all others are stored so that getsockopt() answers what was set. Connection-dependent
 * answers (TCP_INFO, MSS) come from the socket, not from here.
 */
import type { TcpInfo, TcpOptions } from '../stack/stack.js';
import { type Errno, failed } from './errno.js';
import { emitTcpInfo } from './tcp-info.js';

const SOL_SOCKET = 1;
const IPPROTO_IP = 0;
const IPPROTO_TCP = 6;
const IPPROTO_IPV6 = 41;

const SO_REUSEADDR = 2;
const SO_BROADCAST = 6;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_KEEPALIVE = 9;
const SO_OOBINLINE = 10;
const SO_LINGER = 13;
const SO_REUSEPORT = 15;
const SO_BINDTODEVICE = 25;

const TCP_NODELAY = 1;
const TCP_MAXSEG = 2;
const TCP_CORK = 3;
const TCP_KEEPIDLE = 4;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;
const TCP_SYNCNT = 7;
const TCP_LINGER2 = 8;
const TCP_DEFER_ACCEPT = 9;
const TCP_WINDOW_CLAMP = 10;
const TCP_INFO = 11;
const TCP_QUICKACK = 12;
const TCP_CONGESTION = 13;
const TCP_USER_TIMEOUT = 18;
const TCP_FASTOPEN = 23;
const TCP_NOTSENT_LOWAT = 25;
const SIOCOUTQ = 0x5411;
/** struct tcp_info: the state of a listener. */
const TCP_LISTEN = 10;
/** Linux: first and longest time between two SYN-ACKs, s, and how many there are at most. */
const SYN_ACK_FIRST_S = 1;
const SYN_ACK_LONGEST_S = 120;
const SYN_ACKS_MAX = 255;

const IP_TOS = 1;
const IP_TTL = 2;
const IP_PKTINFO = 8;
const IP_MTU_DISCOVER = 10;
const IP_RECVERR = 11;
const IP_RECVTTL = 12;
const IP_RECVTOS = 13;
const IP_MTU = 14;
const IPV6_MTU = 24;
/** A smaller MTU than the network's is accepted, and ignored. */
const IPV6_MTU_MIN = 1280;
const IP_FREEBIND = 15;
const IP_MULTICAST_IF = 32;
const IP_MULTICAST_TTL = 33;
const IP_MULTICAST_LOOP = 34;

const IP_BIND_ADDRESS_NO_PORT = 24;
const IP_MULTICAST_ALL = 49;

const IPV6_UNICAST_HOPS = 16;
const IPV6_MULTICAST_IF = 17;
const IPV6_MULTICAST_HOPS = 18;
const IPV6_V6ONLY = 26;
const IPV6_MULTICAST_ALL = 29;
const IPV6_DONTFRAG = 62;
const IPV6_TCLASS = 67;
const IPV6_AUTOFLOWLABEL = 70;
const IPV6_FREEBIND = 78;

/** The two lowest bits of a traffic class are ECN's, which Linux keeps to itself on a stream. */
const DSCP_MASK = 0xfc;

/** Linux: largest value of TCP_KEEPIDLE and TCP_KEEPINTVL in seconds, and of TCP_KEEPCNT. */
const KEEP_SECONDS_MAX = 32767;
const KEEP_COUNT_MAX = 127;
/** Linux's MSS before a connection knows better. */
const MSS_DEFAULT = 536;

/** What an option's answer may depend on. */
export interface OptionContext {
  /** Before bind: V6ONLY may still change. */
  readonly isFresh: boolean;
  readonly isConnected: boolean;
  /** Index of an interface, 0 for the empty name. */
  interfaceNamed(name: string): number | undefined;
  readonly mtu: number;
  /** State number as in struct tcp_info. */
  readonly tcpState: number;
  readonly info: TcpInfo | undefined;
  /** Bytes the program wrote and the peer has not acknowledged. */
  readonly unsentLen: number;
}

function key(level: number, name: number): number {
  return level * 65536 + name;
}

/** IP_FREEBIND and IPV6_FREEBIND are one setting. */
function sharedKey(level: number, name: number): number {
  const isFreeBind6 = level === IPPROTO_IPV6 && name === IPV6_FREEBIND;
  return isFreeBind6 ? key(IPPROTO_IP, IP_FREEBIND) : key(level, name);
}

/** Linux keeps TCP_DEFER_ACCEPT as a count of SYN-ACKs: the seconds until the last of them. */
function wholeDelay(seconds: number): number {
  if (seconds <= 0) return 0;
  let period = SYN_ACK_FIRST_S;
  let wait = SYN_ACK_FIRST_S;
  for (let count = 1; seconds > period && count < SYN_ACKS_MAX; count++) {
    wait = Math.min(2 * wait, SYN_ACK_LONGEST_S);
    period += wait;
  }
  return period;
}

/** Traffic classes. */
const CLASSES: ReadonlySet<number> = new Set([
  key(IPPROTO_IP, IP_TOS),
  key(IPPROTO_IPV6, IPV6_TCLASS),
]);

/** Options whose value is an int, with the value a new socket has. */
const INT_DEFAULTS: ReadonlyMap<number, number> = new Map([
  [key(SOL_SOCKET, SO_REUSEADDR), 0],
  [key(SOL_SOCKET, SO_BROADCAST), 0],
  [key(SOL_SOCKET, SO_SNDBUF), 0],
  [key(SOL_SOCKET, SO_RCVBUF), 0],
  [key(SOL_SOCKET, SO_KEEPALIVE), 0],
  [key(SOL_SOCKET, SO_OOBINLINE), 0],
  [key(SOL_SOCKET, SO_REUSEPORT), 0],
  [key(IPPROTO_TCP, TCP_NODELAY), 0],
  [key(IPPROTO_TCP, TCP_CORK), 0],
  [key(IPPROTO_TCP, TCP_KEEPIDLE), 7200],
  [key(IPPROTO_TCP, TCP_KEEPINTVL), 75],
  [key(IPPROTO_TCP, TCP_KEEPCNT), 9],
  [key(IPPROTO_TCP, TCP_SYNCNT), 6],
  [key(IPPROTO_TCP, TCP_LINGER2), 60],
  [key(IPPROTO_TCP, TCP_DEFER_ACCEPT), 0],
  [key(IPPROTO_TCP, TCP_WINDOW_CLAMP), 0],
  [key(IPPROTO_TCP, TCP_QUICKACK), 1],
  [key(IPPROTO_TCP, TCP_USER_TIMEOUT), 0],
  [key(IPPROTO_TCP, TCP_FASTOPEN), 0],
  [key(IPPROTO_TCP, TCP_NOTSENT_LOWAT), 0],
  [key(IPPROTO_IP, IP_TOS), 0],
  [key(IPPROTO_IP, IP_TTL), 64],
  [key(IPPROTO_IP, IP_PKTINFO), 0],
  [key(IPPROTO_IP, IP_MTU_DISCOVER), 1],
  [key(IPPROTO_IP, IP_RECVERR), 0],
  [key(IPPROTO_IP, IP_RECVTTL), 0],
  [key(IPPROTO_IP, IP_RECVTOS), 0],
  [key(IPPROTO_IP, IP_FREEBIND), 0],
  [key(IPPROTO_IP, IP_MULTICAST_IF), 0],
  [key(IPPROTO_IP, IP_MULTICAST_TTL), 1],
  [key(IPPROTO_IP, IP_MULTICAST_LOOP), 1],
  [key(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT), 0],
  [key(IPPROTO_IP, IP_MULTICAST_ALL), 1],
  [key(IPPROTO_IPV6, IPV6_MULTICAST_ALL), 1],
  [key(IPPROTO_IPV6, IPV6_DONTFRAG), 0],
  [key(IPPROTO_IPV6, IPV6_AUTOFLOWLABEL), 1],
  [key(IPPROTO_IPV6, IPV6_V6ONLY), 0],
  [key(IPPROTO_IPV6, IPV6_UNICAST_HOPS), 64],
  [key(IPPROTO_IPV6, 17), 0], // MULTICAST_IF
  [key(IPPROTO_IPV6, 18), 1], // MULTICAST_HOPS
  [key(IPPROTO_IPV6, 19), 1], // MULTICAST_LOOP
  [key(IPPROTO_IPV6, 23), 1], // MTU_DISCOVER
  [key(IPPROTO_IPV6, 25), 0], // RECVERR
  [key(IPPROTO_IPV6, 49), 0], // RECVPKTINFO
  [key(IPPROTO_IPV6, 51), 0], // RECVHOPLIMIT
  [key(IPPROTO_IPV6, 66), 0], // RECVTCLASS
  [key(IPPROTO_IPV6, IPV6_TCLASS), 0],
]);

/** Options that Linux reports as 0 or 1 whatever was set. */
const BOOLEANS: ReadonlySet<number> = new Set([
  key(SOL_SOCKET, SO_OOBINLINE),
  key(SOL_SOCKET, SO_REUSEPORT),
  key(IPPROTO_TCP, TCP_NODELAY),
  key(IPPROTO_TCP, TCP_CORK),
  key(IPPROTO_IPV6, IPV6_V6ONLY),
  key(IPPROTO_IP, IP_FREEBIND),
  key(IPPROTO_IP, IP_MULTICAST_LOOP),
  key(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT),
  key(IPPROTO_IPV6, IPV6_DONTFRAG),
  key(IPPROTO_IPV6, IPV6_AUTOFLOWLABEL),
]);

/** Options that a stream has, but Linux lets nobody set. */
const FIXED: ReadonlyMap<number, Errno> = new Map([
  [key(IPPROTO_IP, IP_MULTICAST_IF), 'EINVAL'],
  [key(IPPROTO_IP, IP_MULTICAST_TTL), 'EINVAL'],
  [key(IPPROTO_IPV6, IPV6_MULTICAST_IF), 'ENOPROTOOPT'],
  [key(IPPROTO_IPV6, IPV6_MULTICAST_HOPS), 'ENOPROTOOPT'],
]);

const RANGES: ReadonlyMap<number, readonly [number, number]> = new Map([
  [key(IPPROTO_TCP, TCP_KEEPIDLE), [1, KEEP_SECONDS_MAX]],
  [key(IPPROTO_TCP, TCP_KEEPINTVL), [1, KEEP_SECONDS_MAX]],
  [key(IPPROTO_TCP, TCP_KEEPCNT), [1, KEEP_COUNT_MAX]],
  [key(IPPROTO_TCP, TCP_SYNCNT), [1, 127]],
  [key(IPPROTO_IP, IP_MTU_DISCOVER), [0, 5]],
  [key(IPPROTO_IP, IP_MULTICAST_ALL), [0, 1]],
  [key(IPPROTO_IPV6, IPV6_MULTICAST_ALL), [0, 1]],
  [key(IPPROTO_IPV6, 23), [0, 5]],
  [key(IPPROTO_IPV6, IPV6_UNICAST_HOPS), [-1, 255]],
  [key(IPPROTO_IPV6, IPV6_TCLASS), [-1, 255]],
]);

function intBytes(value: number): Uint8Array {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setInt32(0, value, true);
  return out;
}

function intOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getInt32(0, true);
}

function text(bytes: Uint8Array): string {
  let s = '';
  for (const b of bytes) {
    if (b === 0) break;
    s += String.fromCharCode(b);
  }
  return s;
}

function textBytes(s: string): Uint8Array {
  const out = new Uint8Array(s.length + 1);
  for (let i = 0; i < s.length; i++) out[i] = s.charCodeAt(i);
  return out;
}

/** Result of a getsockopt: the value, or an errno name. */
export type OptionAnswer = Uint8Array | Errno;

export class SocketOptions {
  readonly #ints = new Map<number, number>();
  #linger: { on: boolean; seconds: number } = { on: false, seconds: 0 };
  #device = '';
  /** Interface that the socket is tied to, 0 = any. */
  device = 0;
  #maxSegment = 0;

  /** A copy, as an accepted socket takes over its listener's options. */
  clone(): SocketOptions {
    const copy = new SocketOptions();
    for (const [k, v] of this.#ints) copy.#ints.set(k, v);
    copy.#linger = this.#linger;
    copy.#device = this.#device;
    copy.device = this.device;
    copy.#maxSegment = this.#maxSegment;
    return copy;
  }

  get reuseAddr(): boolean {
    return this.#int(SOL_SOCKET, SO_REUSEADDR) !== 0;
  }
  get reusePort(): boolean {
    return this.#int(SOL_SOCKET, SO_REUSEPORT) !== 0;
  }
  get v6Only(): boolean {
    return this.#int(IPPROTO_IPV6, IPV6_V6ONLY) !== 0;
  }
  get freeBind(): boolean {
    return this.#int(IPPROTO_IP, IP_FREEBIND) !== 0;
  }
  get corked(): boolean {
    return this.#int(IPPROTO_TCP, TCP_CORK) !== 0;
  }

  /** Whether held bytes go now that an option was set. As on Linux, TCP_NODELAY pushes them once. */
  isPushed(level: number, name: number): boolean {
    const isNoDelay = level === IPPROTO_TCP && name === TCP_NODELAY;
    return !this.corked || (isNoDelay && this.#int(IPPROTO_TCP, TCP_NODELAY) !== 0);
  }
  get deferAcceptMs(): number {
    return this.#int(IPPROTO_TCP, TCP_DEFER_ACCEPT) * 1000;
  }
  /** close() resets the connection. */
  get resetsOnClose(): boolean {
    return this.#linger.on && this.#linger.seconds === 0;
  }

  /** What the TCP/IP stack is told. */
  tcp(): TcpOptions {
    const keepAlive = this.#int(SOL_SOCKET, SO_KEEPALIVE) !== 0;
    return {
      noDelay: this.#int(IPPROTO_TCP, TCP_NODELAY) !== 0,
      keepAlive: keepAlive
        ? {
            idleMs: this.#int(IPPROTO_TCP, TCP_KEEPIDLE) * 1000,
            intervalMs: this.#int(IPPROTO_TCP, TCP_KEEPINTVL) * 1000,
            count: this.#int(IPPROTO_TCP, TCP_KEEPCNT),
          }
        : false,
      ttl: this.#ints.get(key(IPPROTO_IPV6, IPV6_UNICAST_HOPS)) ?? this.#int(IPPROTO_IP, IP_TTL),
      tos: (this.#ints.get(key(IPPROTO_IPV6, IPV6_TCLASS)) ?? this.#int(IPPROTO_IP, IP_TOS)) & 0xff,
      sendMax: this.#int(SOL_SOCKET, SO_SNDBUF),
      receiveMax: this.#int(SOL_SOCKET, SO_RCVBUF),
      userTimeoutMs: this.#int(IPPROTO_TCP, TCP_USER_TIMEOUT),
      synCount: this.#int(IPPROTO_TCP, TCP_SYNCNT),
    };
  }

  /** @returns 0 or a negative errno number. */
  set(level: number, name: number, value: Uint8Array, context: OptionContext): number {
    if (level === SOL_SOCKET && name === SO_LINGER) return this.#setLinger(value);
    if (level === SOL_SOCKET && name === SO_BINDTODEVICE) return this.#setDevice(value, context);
    if (level === IPPROTO_TCP && name === TCP_CONGESTION) {
      return text(value) === 'reno' ? 0 : failed('ENOENT');
    }
    if (value.length < 4) return failed('EINVAL');
    if (level === IPPROTO_TCP && name === TCP_MAXSEG) return this.#setMaxSegment(intOf(value));
    const given = intOf(value);
    if (level === IPPROTO_IPV6 && name === IPV6_MTU)
      return given === 0 || given >= IPV6_MTU_MIN ? 0 : failed('EINVAL');
    return this.#setInt(level, name, given, context);
  }

  get(level: number, name: number, context: OptionContext): OptionAnswer {
    if (level === SOL_SOCKET && name === SO_LINGER) {
      const out = new Uint8Array(8);
      out.set(intBytes(this.#linger.on ? 1 : 0));
      out.set(intBytes(this.#linger.seconds), 4);
      return out;
    }
    if (level === SOL_SOCKET && name === SO_BINDTODEVICE) {
      return this.#device === '' ? new Uint8Array(0) : textBytes(this.#device);
    }
    if (level === IPPROTO_TCP) {
      const answer = this.#getTcp(name, context);
      if (answer !== undefined) return answer;
    }
    const isMtu6 = level === IPPROTO_IPV6 && name === IPV6_MTU;
    if (isMtu6 || (level === IPPROTO_IP && name === IP_MTU)) {
      return context.isConnected ? intBytes(context.mtu) : 'ENOTCONN';
    }
    const k = sharedKey(level, name);
    if (!INT_DEFAULTS.has(k)) return 'ENOPROTOOPT';
    const value = this.#int(level, name);
    return intBytes(k === key(IPPROTO_TCP, TCP_DEFER_ACCEPT) ? wholeDelay(value) : value);
  }

  #getTcp(name: number, context: OptionContext): OptionAnswer | undefined {
    if (name === TCP_CONGESTION) {
      const out = new Uint8Array(16);
      out.set(textBytes('reno'));
      return out;
    }
    if (name === TCP_INFO) return emitTcpInfo(context);
    if (name === SIOCOUTQ && context.tcpState === TCP_LISTEN) return 'EINVAL';
    if (name === SIOCOUTQ) return intBytes(context.unsentLen);
    if (name === TCP_MAXSEG) {
      const unconnected = this.#maxSegment === 0 ? MSS_DEFAULT : this.#maxSegment;
      return intBytes(context.info?.sendMss ?? unconnected);
    }
    return undefined;
  }

  #int(level: number, name: number): number {
    const k = sharedKey(level, name);
    return this.#ints.get(k) ?? INT_DEFAULTS.get(k) ?? 0;
  }

  #setInt(level: number, name: number, value: number, context: OptionContext): number {
    const k = sharedKey(level, name);
    if (!INT_DEFAULTS.has(k)) return failed('ENOPROTOOPT');
    const fixed = FIXED.get(k);
    if (fixed !== undefined) return failed(fixed);
    const range = RANGES.get(k);
    if (range !== undefined && (value < range[0] || value > range[1])) return failed('EINVAL');
    if (level === IPPROTO_IP && name === IP_TTL && value !== -1 && (value < 1 || value > 255)) {
      return failed('EINVAL');
    }
    if (level === IPPROTO_IPV6 && name === IPV6_V6ONLY && !context.isFresh) {
      return failed('EINVAL');
    }
    if (value === -1 && (name === IP_TTL || name === IPV6_UNICAST_HOPS || name === IPV6_TCLASS))
      this.#ints.delete(k);
    else this.#ints.set(k, this.#kept(k, value));
    return 0;
  }

  /** What is read back of a value. */
  #kept(k: number, value: number): number {
    if (BOOLEANS.has(k)) return Number(value !== 0);
    return CLASSES.has(k) ? value & DSCP_MASK : value;
  }

  #setLinger(value: Uint8Array): number {
    if (value.length < 8) return failed('EINVAL');
    this.#linger = { on: intOf(value) !== 0, seconds: intOf(value.subarray(4)) };
    return 0;
  }

  #setDevice(value: Uint8Array, context: OptionContext): number {
    const name = text(value);
    const index = context.interfaceNamed(name);
    if (index === undefined) return failed('ENODEV');
    this.#device = name;
    this.device = index;
    return 0;
  }

  /** Linux: 0 clears, else 88 to 32767. */
  #setMaxSegment(value: number): number {
    if (value !== 0 && (value < 88 || value > 32767)) return failed('EINVAL');
    this.#maxSegment = value;
    return 0;
  }
}
