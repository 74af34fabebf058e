/**
 * The TCP/IP stack of one virtual network, as seen by its users (host, preload, api).
 *
 * Sans-IO: frames, calls and time go in; frames and callbacks come out. One object = one lwIP
 * instance = one network. Every input takes `at`; after each input (or any call below) the host
 * calls `drain()`, which hands out the frames to send, and sleeps until `deadline()`.
 *
 * Callbacks of sinks run only inside `drain()`, `frameIn()`, and `handleTimeout()`, never inside
 * the call that caused them, so a sink may call back into the stack freely.
 */
import type { Moment } from '../lib/time.js';

/** An IP address: 4 or 16 bytes in network order. */
export type IpBytes = Uint8Array;

export interface Endpoint {
  readonly ip: IpBytes;
  readonly port: number;
}

/** Error names as of errno(3); document 5 section 10 maps lwIP's err_t to them. */
export type StackErrno =
  | 'EACCES'
  | 'EADDRINUSE'
  | 'EADDRNOTAVAIL'
  | 'EALREADY'
  | 'ECONNABORTED'
  | 'ECONNREFUSED'
  | 'ECONNRESET'
  | 'EDESTADDRREQ'
  | 'EHOSTUNREACH'
  | 'EINVAL'
  | 'EIO'
  | 'EISCONN'
  | 'EMSGSIZE'
  | 'ENETDOWN'
  | 'ENETUNREACH'
  | 'ENOBUFS'
  | 'ENOMEM'
  | 'ENOTCONN'
  | 'ETIMEDOUT';

/** Positive handle of a live control block; dead after `onError`, `tcpClose` or `tcpAbort`. */
export type TcpHandle = number & { readonly tcp: 'TcpHandle' };
export type ListenHandle = number & { readonly listen: 'ListenHandle' };
export type UdpHandle = number & { readonly udp: 'UdpHandle' };

export interface TcpSink {
  /** The handshake of `tcpConnect` is complete. */
  onConnected(): void;
  /**
   * Received bytes; borrowed until the callback returns. The receive window stays closed by
   * `bytes.length` until `tcpCredit` returns the credit.
   */
  onData(bytes: Uint8Array): void;
  /** `count` bytes more were acknowledged: `tcpWrite` may take more now. */
  onSent(count: number): void;
  /** The peer sent FIN, after all data was handed out. */
  onFin(): void;
  /** The connection is dead and its handle invalid. */
  onError(errno: StackErrno): void;
}

export interface ListenSink {
  /**
   * A connection completed its handshake. Its data is delivered to the returned sink.
   * @returns undefined to refuse: the connection is reset.
   */
  onAccept(handle: TcpHandle, local: Endpoint, remote: Endpoint): TcpSink | undefined;
}

/** How one datagram is sent; what is left out, the stack decides. */
export interface DatagramOptions {
  /** Source address, one of ours, of the destination's family. */
  readonly source?: IpBytes | undefined;
  /** TTL or hop limit, 0 to 255; default 255. */
  readonly ttl?: number | undefined;
  /** Type of service or traffic class; default 0. */
  readonly tos?: number | undefined;
  /** A multicast or broadcast comes back to our own sockets too. */
  readonly loop?: boolean | undefined;
}

export interface UdpSink {
  /**
   * Asked before `onDatagram`; false = there is nobody for it: the sender is told that the port is
   * unreachable. Without this method every datagram is wanted.
   */
  isWanted?(from: Endpoint, to: IpBytes, via?: number): boolean;
  /**
   * One datagram; `payload` is borrowed until the callback returns. `via` = the interface, told only
   * where one object stands for several.
   */
  onDatagram(
    payload: Uint8Array,
    from: Endpoint,
    to: IpBytes,
    ttl: number,
    tos: number,
    via?: number,
  ): void;
  /** An ICMP "destination unreachable" about a datagram this socket sent to `to`. */
  onUnreachable?(to: Endpoint, errno: StackErrno): void;
}

export interface EchoSink {
  /** An echo reply with the registered identifier: the whole ICMP message, borrowed. */
  onReply(
    message: Uint8Array,
    from: IpBytes,
    to: IpBytes,
    ttl: number,
    tos: number,
    via?: number,
  ): void;
}

export interface InterfaceAddress {
  readonly ip: IpBytes;
  readonly prefixLen: number;
}

export interface Route {
  readonly target: IpBytes;
  readonly prefixLen: number;
  /** Gateway, or undefined when the target is on the link. */
  readonly via: IpBytes | undefined;
}

export interface StackConfig {
  readonly mtu: number;
  readonly addresses: readonly InterfaceAddress[];
  readonly routes: readonly Route[];
}

export interface TcpOptions {
  readonly noDelay?: boolean;
  readonly keepAlive?:
    | { readonly idleMs: number; readonly intervalMs: number; readonly count: number }
    | false;
  /** Of its packets; the SYN of an accepted connection was answered before it was known. */
  readonly ttl?: number;
  readonly tos?: number;
  /** Most bytes to hold for sending, 0 = no limit but the stack's. At least two segments. */
  readonly sendMax?: number;
  /** Most bytes of receive window, as above; what was offered is never taken back. */
  readonly receiveMax?: number;
  /** Bytes wait and no acknowledgement came for that long: ETIMEDOUT. 0 = the stack's own limit. */
  readonly userTimeoutMs?: number;
  /** How often a SYN is repeated. */
  readonly synCount?: number;
}

/** Bytes unless said otherwise. */
export interface TcpInfo {
  /** lwIP's number. */
  readonly state: number;
  readonly rtoMs: number;
  /** Smoothed round trip and its mean deviation; 0 = not measured yet. */
  readonly rttUs: number;
  readonly rttVarUs: number;
  readonly sendMss: number;
  readonly congestionWindow: number;
  readonly slowStartThreshold: number;
  readonly unacked: number;
  readonly unsent: number;
  readonly receiveWindow: number;
  /** Repetitions in a row of the oldest segment. */
  readonly retransmits: number;
  readonly timestamps: boolean;
  readonly sack: boolean;
  /** Shifts of the windows, undefined when not negotiated. */
  readonly sendScale: number | undefined;
  readonly receiveScale: number | undefined;
  readonly bytesAcked: number;
  readonly bytesReceived: number;
}

/** Destination MAC, source MAC as 6 bytes each; all views borrowed until the callback returns. */
export type FrameSink = (
  dst: Uint8Array,
  src: Uint8Array,
  etherType: number,
  payload: Uint8Array,
) => void;

export interface Stack {
  /** Own Ethernet address, 6 bytes. */
  readonly mac: Uint8Array;
  /** Applies addresses, routes and MTU. Connections from addresses that vanished are reset. */
  configure(at: Moment, config: StackConfig): void;
  /** One Ethernet frame from the network; `payload` is borrowed for the call. */
  frameIn(
    at: Moment,
    dst: Uint8Array,
    src: Uint8Array,
    etherType: number,
    payload: Uint8Array,
  ): void;
  handleTimeout(at: Moment): void;
  /**
   * Runs pending callbacks and hands out the frames that wait to be sent, up to a limit that depends on
   * nothing but the implementation; when some are left, `deadline()` is due at once.
   */
  drain(at: Moment, send: FrameSink): void;
  /** Monotonic ms of the next timer, or NEVER. */
  deadline(): number;
  /** Multicast groups the interface listens to: MAC (6 bytes) and ADI [3 section 10.1]. */
  multicastGroups(): readonly { readonly mac: Uint8Array; readonly adi: number }[];

  tcpConnect(
    at: Moment,
    local: Endpoint | undefined,
    remote: Endpoint,
    sink: TcpSink,
    options?: TcpOptions,
  ): TcpHandle | StackErrno;
  /**
   * Listens on `local.port` (0 = ephemeral). An empty `local.ip` (length 0) listens on every address of both
   * families, 0.0.0.0 on IPv4 alone, :: with `v6Only` on IPv6 alone.
   */
  tcpListen(
    at: Moment,
    local: Endpoint,
    v6Only: boolean,
    backlog: number,
    sink: ListenSink,
  ): ListenHandle | StackErrno;
  tcpListenClose(at: Moment, handle: ListenHandle): void;
  /**
   * Copies as much as the send buffer takes; nothing before `onConnected`.
   * @returns bytes taken, 0..bytes.length.
   */
  tcpWrite(at: Moment, handle: TcpHandle, bytes: Uint8Array, more: boolean): number;
  /** Bytes `tcpWrite` would take now. */
  tcpSendRoom(handle: TcpHandle): number;
  /** Returns receive window for `count` bytes given out by `onData`. */
  tcpCredit(at: Moment, handle: TcpHandle, count: number): void;
  /** Sends FIN after all written data; before `onConnected`, as soon as the handshake is complete. */
  tcpShutdown(at: Moment, handle: TcpHandle): void;
  /** Orderly close in the background; the handle is dead afterwards and no callback follows. */
  tcpClose(at: Moment, handle: TcpHandle): void;
  /** RST; the handle is dead afterwards and no callback follows. */
  tcpAbort(at: Moment, handle: TcpHandle): void;
  tcpSetOptions(at: Moment, handle: TcpHandle, options: TcpOptions): void;
  tcpInfo(handle: TcpHandle): TcpInfo | undefined;
  tcpNames(handle: TcpHandle): { readonly local: Endpoint; readonly remote: Endpoint } | undefined;

  udpOpen(at: Moment, local: Endpoint, reuse: boolean, sink: UdpSink): UdpHandle | StackErrno;
  udpSend(
    at: Moment,
    handle: UdpHandle,
    to: Endpoint,
    payload: Uint8Array,
    options?: DatagramOptions,
  ): StackErrno | undefined;
  udpClose(at: Moment, handle: UdpHandle): void;
  udpLocal(handle: UdpHandle): Endpoint | undefined;

  /** Source address the stack would use towards `to`, or undefined without a route. */
  sourceFor(to: IpBytes): IpBytes | undefined;
  /** Whether `ip` is one of the interface's or loopback addresses. */
  isLocal(ip: IpBytes): boolean;
  /** lwIP's pool and drop counters by name; pools must return to 0 in use after a test. */
  counters(): Readonly<Record<string, number>>;
  close(): void;
}

/** What the stack offers beyond `Stack`. */
export interface StackExtras {
  /** Where a listener listens; the way to learn an ephemeral port. */
  tcpListenName(handle: ListenHandle): Endpoint | undefined;
  tcpListenBacklog(at: Moment, handle: ListenHandle, backlog: number): void;
  /**
   * Counts an accepted connection against its listener's backlog until released (or closed), so
   * that connections which no program has attached to yet hold back further ones [5 section 6.2].
   */
  tcpBacklogHold(at: Moment, handle: TcpHandle, held: boolean): void;
  /** Claims an echo identifier. @returns EADDRINUSE when it is taken. */
  echoOpen(at: Moment, family: 4 | 6, id: number, sink: EchoSink): StackErrno | undefined;
  /** Sends an echo request (type 8 or 128, code 0); the checksum is filled in. */
  echoSend(
    at: Moment,
    to: IpBytes,
    message: Uint8Array,
    options?: DatagramOptions,
  ): StackErrno | undefined;
  echoClose(at: Moment, family: 4 | 6, id: number): void;
  /**
   * Takes in packets to a multicast group, which `multicastGroups` names from then on. Joins are
   * counted: as many leaves end it. @returns whether there was room for it.
   */
  groupJoin(at: Moment, group: IpBytes): boolean;
  groupLeave(at: Moment, group: IpBytes): void;
}
