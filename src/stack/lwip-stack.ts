/**
 * LwipStack: the TCP/IP stack of one network, on one instance of lwIP.
 *
 * Joins the tables of tcp.ts, udp.ts, icmp.ts and the interface of netif.ts behind the contract of
 * stack.ts. It owns the clock handed to the instance (whole milliseconds, never backwards) and the
 * drain loop: events first, then frames, until neither is left.
 *
 * Callbacks run only in `drain`, which the host calls after every input. A callback may call
 * anything here, `drain` included (the inner call does nothing, the outer one goes on). If a callback
 * throws, the others of the batch still run, and the first error is thrown at the end of `drain`.
 * Exceptions of our own are only RangeError (bad configuration) and StackFault (trap, closed stack).
 */
import type { Entropy } from '../crypto/api.js';
import { type Moment, NEVER } from '../lib/time.js';
import { StackFault } from './errors.js';
import { EchoTable } from './icmp.js';
import {
  EV_DATAGRAM,
  EV_ECHO,
  EV_UNREACHABLE,
  EVENT_HANDLE,
  EVENT_LEN,
  NEVER_DELAY,
  OFF_EVENTS,
} from './layout.js';
import { Lwip } from './lwip.js';
import { Netif } from './netif.js';
import type {
  DatagramOptions,
  EchoSink,
  Endpoint,
  FrameSink,
  IpBytes,
  ListenHandle,
  ListenSink,
  Stack,
  StackConfig,
  StackErrno,
  StackExtras,
  TcpHandle,
  TcpInfo,
  TcpOptions,
  TcpSink,
  UdpHandle,
  UdpSink,
} from './stack.js';
import { TcpTable } from './tcp.js';
import { UdpTable } from './udp.js';

const ENTROPY_LEN = 32;
const MAC_LEN = 6;
/**
 * Ours: rounds of one `drain`. Two programs on one node that answer each other over loopback could
 * otherwise keep it from ever returning; what is left makes `deadline()` due at once.
 */
const ROUNDS_MAX = 64;
/**
 * Ours: frames after which one `drain` stops, half a megabyte with the headers at an MTU of 2,800; the
 * loop drains four times a turn. Thousands of connections that all begin at once would else leave in one
 * burst, of which a peer's socket buffer (4 MiB, half of it the kernel's own costs) keeps a part; what is
 * lost waits for its retransmission timer. Between bursts acknowledgements are read.
 */
const FRAMES_MAX = 128;

export interface StackOptions {
  /** Own Ethernet address, 6 bytes; copied. */
  readonly mac: Uint8Array;
  /** Drawn from once, for ports and initial sequence numbers. */
  readonly entropy: Entropy;
  readonly at: Moment;
}

/** Makes the stack of one network; the first call of the process compiles the module. */
export function createStack(options: StackOptions): LwipStack {
  return new LwipStack(options);
}

export class LwipStack implements Stack, StackExtras {
  readonly mac: Uint8Array;
  readonly #lwip: Lwip;
  readonly #netif: Netif;
  readonly #tcp: TcpTable;
  readonly #udp: UdpTable;
  readonly #echo: EchoTable;
  /** Milliseconds; lwIP's clock has whole ones, round trips are measured in microseconds. */
  #now: number;
  #isDraining = false;
  #isClosed = false;

  constructor({ mac, entropy, at }: StackOptions) {
    if (mac.length !== MAC_LEN) throw new RangeError('an Ethernet address has 6 bytes');
    this.mac = mac.slice();
    this.#now = at.mono;
    this.#lwip = new Lwip(this.#now);
    entropy.fill(this.#lwip.data.subarray(0, ENTROPY_LEN));
    this.#lwip.data.set(this.mac, ENTROPY_LEN);
    this.#lwip.exports.port_start(this.#now);
    this.#lwip.data.fill(0, 0, ENTROPY_LEN);
    this.#netif = new Netif(this.#lwip, this.mac);
    this.#tcp = new TcpTable(this.#lwip);
    this.#udp = new UdpTable(this.#lwip);
    this.#echo = new EchoTable(this.#lwip);
  }

  /** Advances the clock and refuses a dead instance. */
  #enter(at: Moment): number {
    this.#lwip.check();
    if (this.#isClosed) throw new StackFault('a call', 'the stack is closed');
    if (at.mono > this.#now) this.#now = at.mono;
    return this.#now;
  }

  #here(): number {
    return this.#enter({ mono: this.#now, wall: 0 });
  }

  configure(at: Moment, config: StackConfig): void {
    this.#netif.configure(this.#enter(at), config);
  }

  frameIn(
    at: Moment,
    dst: Uint8Array,
    _src: Uint8Array,
    etherType: number,
    payload: Uint8Array,
  ): void {
    this.#netif.frameIn(this.#enter(at), dst, etherType, payload);
  }

  handleTimeout(at: Moment): void {
    this.#lwip.exports.port_tick(this.#enter(at));
  }

  drain(at: Moment, send: FrameSink): void {
    const now = this.#enter(at);
    if (this.#isDraining) return;
    this.#isDraining = true;
    const errors: unknown[] = [];
    try {
      let room = FRAMES_MAX;
      for (let round = 0; round < ROUNDS_MAX && room > 0; round++) {
        const events = this.#events(now, errors);
        const frames = this.#frames(now, room, send);
        room -= frames;
        if (events + frames === 0) break;
      }
    } finally {
      this.#isDraining = false;
    }
    if (errors.length > 0) throw errors[0];
  }

  #events(now: number, errors: unknown[]): number {
    const count = this.#lwip.exports.port_events(now);
    for (let i = 0; i < count; i++) {
      try {
        this.#dispatch(now, this.#lwip.io + OFF_EVENTS + i * EVENT_LEN);
      } catch (e) {
        if (e instanceof StackFault) throw e;
        errors.push(e);
      }
    }
    return count;
  }

  #dispatch(now: number, p: number): void {
    const { u32 } = this.#lwip;
    const kind = u32[p >> 2] ?? 0;
    const handle = u32[(p + EVENT_HANDLE) >> 2] ?? 0;
    if (kind === EV_DATAGRAM || kind === EV_UNREACHABLE) this.#udp.dispatch(now, kind, handle, p);
    else if (kind === EV_ECHO) this.#echo.dispatch(p);
    else this.#tcp.dispatch(now, kind, handle, p);
  }

  /** Hands out up to `most` frames. @returns how many. */
  #frames(now: number, most: number, send: FrameSink): number {
    let total = 0;
    while (total < most) {
      const count = this.#netif.framesOut(now, most - total, send);
      if (count === 0) break;
      total += count;
    }
    return total;
  }

  deadline(): number {
    const delay = this.#lwip.exports.port_delay(this.#here()) >>> 0;
    return delay === NEVER_DELAY ? NEVER : Math.floor(this.#now) + delay;
  }

  multicastGroups(): readonly { readonly mac: Uint8Array; readonly adi: number }[] {
    return this.#netif.groups();
  }

  tcpConnect(
    at: Moment,
    local: Endpoint | undefined,
    remote: Endpoint,
    sink: TcpSink,
    options?: TcpOptions,
  ): TcpHandle | StackErrno {
    return this.#tcp.connect(this.#enter(at), local, remote, sink, options);
  }

  tcpListen(
    at: Moment,
    local: Endpoint,
    v6Only: boolean,
    backlog: number,
    sink: ListenSink,
  ): ListenHandle | StackErrno {
    return this.#tcp.listen(this.#enter(at), local, v6Only, backlog, sink);
  }

  tcpListenClose(at: Moment, handle: ListenHandle): void {
    this.#tcp.unlisten(this.#enter(at), handle);
  }

  tcpListenBacklog(at: Moment, handle: ListenHandle, backlog: number): void {
    this.#tcp.setBacklog(this.#enter(at), handle, backlog);
  }

  tcpListenName(handle: ListenHandle): Endpoint | undefined {
    return this.#tcp.listenName(this.#here(), handle);
  }

  tcpBacklogHold(at: Moment, handle: TcpHandle, held: boolean): void {
    this.#tcp.hold(this.#enter(at), handle, held);
  }

  tcpWrite(at: Moment, handle: TcpHandle, bytes: Uint8Array, more: boolean): number {
    return this.#tcp.write(this.#enter(at), handle, bytes, more);
  }

  tcpSendRoom(handle: TcpHandle): number {
    return this.#tcp.room(this.#here(), handle);
  }

  tcpCredit(at: Moment, handle: TcpHandle, count: number): void {
    this.#tcp.credit(this.#enter(at), handle, count);
  }

  tcpShutdown(at: Moment, handle: TcpHandle): void {
    this.#tcp.shutdown(this.#enter(at), handle);
  }

  tcpClose(at: Moment, handle: TcpHandle): void {
    this.#tcp.close(this.#enter(at), handle);
  }

  tcpAbort(at: Moment, handle: TcpHandle): void {
    this.#tcp.abort(this.#enter(at), handle);
  }

  tcpSetOptions(at: Moment, handle: TcpHandle, options: TcpOptions): void {
    this.#tcp.setOptions(this.#enter(at), handle, options);
  }

  tcpInfo(handle: TcpHandle): TcpInfo | undefined {
    return this.#tcp.info(this.#here(), handle);
  }

  tcpNames(handle: TcpHandle): { readonly local: Endpoint; readonly remote: Endpoint } | undefined {
    return this.#tcp.names(handle);
  }

  udpOpen(at: Moment, local: Endpoint, reuse: boolean, sink: UdpSink): UdpHandle | StackErrno {
    return this.#udp.open(this.#enter(at), local, reuse, sink);
  }

  udpSend(
    at: Moment,
    handle: UdpHandle,
    to: Endpoint,
    payload: Uint8Array,
    options?: DatagramOptions,
  ): StackErrno | undefined {
    return this.#udp.send(this.#enter(at), handle, to, payload, options);
  }

  udpClose(at: Moment, handle: UdpHandle): void {
    this.#udp.close(this.#enter(at), handle);
  }

  udpLocal(handle: UdpHandle): Endpoint | undefined {
    return this.#udp.name(this.#here(), handle);
  }

  echoOpen(at: Moment, family: 4 | 6, id: number, sink: EchoSink): StackErrno | undefined {
    return this.#echo.open(this.#enter(at), family, id, sink);
  }

  echoSend(
    at: Moment,
    to: IpBytes,
    message: Uint8Array,
    options?: DatagramOptions,
  ): StackErrno | undefined {
    return this.#echo.send(this.#enter(at), to, message, options);
  }

  echoClose(at: Moment, family: 4 | 6, id: number): void {
    this.#echo.close(this.#enter(at), family, id);
  }

  groupJoin(at: Moment, group: IpBytes): boolean {
    return this.#netif.joinGroup(this.#enter(at), group);
  }

  groupLeave(at: Moment, group: IpBytes): void {
    this.#netif.leaveGroup(this.#enter(at), group);
  }

  sourceFor(to: IpBytes): IpBytes | undefined {
    return this.#netif.sourceFor(this.#here(), to);
  }

  isLocal(ip: IpBytes): boolean {
    return this.#netif.isLocal(this.#here(), ip);
  }

  counters(): Readonly<Record<string, number>> {
    return this.#netif.counters(this.#here());
  }

  /** Forgets everything; peers notice by their own timeouts. Later calls throw StackFault. */
  close(): void {
    this.#isClosed = true;
    this.#tcp.clear();
    this.#udp.clear();
    this.#echo.clear();
  }
}
