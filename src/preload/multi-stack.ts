/**
 * Several stacks as one [5 section 12]: what `HOME/nc_all` sees.
 *
 * A connection or datagram goes to the part with the longest prefix, of equals to that of the lowest
 * network; what is bound to no address is open on every part, on all of them or not at all, and on
 * parts that come later. Loopback is a part of its own, number 1: no part's own loopback is used. Ports
 * are opened without sharing them: the view of a network and this one do not get the same port of
 * one stack. Who drains the parts is told by `touch`; callbacks come from there.
 */
import type { Moment } from '../lib/time.js';
import type {
  DatagramOptions,
  EchoSink,
  Endpoint,
  IpBytes,
  ListenHandle,
  ListenSink,
  StackErrno,
  TcpHandle,
  TcpInfo,
  TcpOptions,
  TcpSink,
  UdpHandle,
  UdpSink,
} from '../stack/stack.js';
import { ANY_INTERFACE, LOOPBACK_INDEX } from './networks.js';
import {
  echoSinkOn,
  innerHandle,
  Line,
  listenSinkOn,
  Part,
  type PartOptions,
  partIndexOf,
  type Spread,
  SpreadHandles,
  type SpreadListener,
  type SpreadUdp,
  udpSinkOn,
} from './part.js';
import { isLoopback, isUnspecified } from './policy.js';
import type { PreloadStack } from './socket-host.js';

/** Members of an echo table have no handle: being there is all. */
const PRESENT = 1;

export interface MultiCounters {
  readonly parts: number;
  readonly lines: number;
  readonly spreads: number;
  /** Ports that could not be opened on a network that came later. */
  readonly dropLatePort: number;
}

export class MultiStack {
  readonly #parts = new Map<number, Part>();
  /** Lowest network first, loopback before all. */
  #sorted: readonly Part[] = [];
  readonly listeners = new Map<ListenHandle, SpreadListener>();
  readonly udp = new Map<UdpHandle, SpreadUdp>();
  readonly echo = new Map<string, SpreadHandles<number>>();
  readonly #selections = new Map<number, Selection>();
  #next = 0;
  #dropLatePort = 0;
  /** The whole. */
  readonly stack: PreloadStack = new Selection(this, ANY_INTERFACE);

  /** A network was joined, or has a new stack. */
  add(at: Moment, options: PartOptions): void {
    const part = new Part(options);
    this.#parts.set(part.index, part);
    this.#sort();
    this.#place(at, part);
  }

  /** Addresses of a part changed: what is bound to one of them is opened there. */
  changed(at: Moment, index: number): void {
    const part = this.#parts.get(index);
    if (part !== undefined) this.#place(at, part);
  }

  #place(at: Moment, part: Part): void {
    this.at = at;
    for (const spread of this.#spreads())
      if (spread.placeOn(part) !== undefined) this.#dropLatePort++;
  }

  /**
   * A network was left, or its stack failed: its connections are over, its ports closed.
   * @param isBroken the stack can not be called any more.
   */
  remove(at: Moment, index: number, isBroken: boolean): void {
    const part = this.#parts.get(index);
    if (part === undefined) return;
    this.at = at;
    this.#parts.delete(index);
    this.#selections.delete(index);
    this.#sort();
    for (const spread of this.#spreads()) spread.leave(part, isBroken);
    for (const [inner, line] of [...part.lines]) {
      if (!isBroken) part.stack.tcpAbort(at, inner);
      line.onError('ECONNRESET');
    }
  }

  #sort(): void {
    const rank = (p: Part) => (p.index === LOOPBACK_INDEX ? -1n : p.nwid);
    this.#sorted = [...this.#parts.values()].sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
  }

  *#spreads(): Iterable<Spread> {
    yield* this.listeners.values();
    yield* this.udp.values();
    yield* this.echo.values();
  }

  /** The moment of the call that is under way; spreads open and close in it. */
  at: Moment = { mono: 0, wall: 0 };

  get parts(): readonly Part[] {
    return this.#sorted;
  }

  part(index: number): Part | undefined {
    return this.#parts.get(index);
  }

  nextHandle(): number {
    return ++this.#next;
  }

  /** The whole, or one interface of it. */
  on(index: number): PreloadStack {
    if (index === ANY_INTERFACE) return this.stack;
    const known = this.#selections.get(index);
    if (known !== undefined) return known;
    const selection = new Selection(this, index);
    if (this.#parts.has(index)) this.#selections.set(index, selection);
    return selection;
  }

  counters(): MultiCounters {
    let lines = 0;
    for (const p of this.#sorted) lines += p.lines.size;
    const spreads = this.listeners.size + this.udp.size + this.echo.size;
    return { parts: this.#sorted.length, lines, spreads, dropLatePort: this.#dropLatePort };
  }
}

/** The parts that a socket may use: all, or that of one interface. */
class Selection implements PreloadStack {
  readonly #all: MultiStack;
  readonly #index: number;

  constructor(all: MultiStack, index: number) {
    this.#all = all;
    this.#index = index;
  }

  #takes(part: Part): boolean {
    return this.#index === ANY_INTERFACE || part.index === this.#index;
  }

  /** Whether something bound to `ip` (empty or zero = any) is open on `part`. */
  #concerns(part: Part, ip: IpBytes): boolean {
    if (!this.#takes(part)) return false;
    if (isUnspecified(ip)) return true;
    if (isLoopback(ip)) return part.index === LOOPBACK_INDEX;
    return part.index !== LOOPBACK_INDEX && part.stack.isLocal(ip);
  }

  /** The part that leads to `to`, from `source` where one is given. */
  #towards(to: IpBytes, source?: IpBytes): Part | undefined {
    if (isLoopback(to)) return this.#loopback();
    const isFree = source === undefined || isUnspecified(source);
    let best: Part | undefined;
    let bestLen = Number.NEGATIVE_INFINITY;
    for (const part of this.#all.parts) {
      if (part.index === LOOPBACK_INDEX || !this.#takes(part)) continue;
      const len = part.reach(to);
      if (len === undefined || len <= bestLen) continue;
      if (!isFree && !part.stack.isLocal(source)) continue;
      best = part;
      bestLen = len;
    }
    return best;
  }

  #loopback(): Part | undefined {
    const part = this.#all.part(LOOPBACK_INDEX);
    return part !== undefined && this.#takes(part) ? part : undefined;
  }

  /** Opens on every part it concerns, or on none. */
  #spread<H extends number>(at: Moment, spread: SpreadHandles<H>): StackErrno | undefined {
    this.#all.at = at;
    for (const part of this.#all.parts) {
      const errno = spread.placeOn(part);
      if (errno === undefined) continue;
      spread.leaveAll();
      return errno;
    }
    return undefined;
  }

  // ------------------------------------------------------------------ TCP

  tcpConnect(
    at: Moment,
    local: Endpoint | undefined,
    remote: Endpoint,
    sink: TcpSink,
    options?: TcpOptions,
  ): TcpHandle | StackErrno {
    const part = this.#towards(remote.ip, local?.ip);
    if (part === undefined) return 'ENETUNREACH';
    const line = new Line(part, sink);
    const inner = part.stack.tcpConnect(at, local, remote, line, options);
    part.touch();
    if (typeof inner === 'string') return inner;
    line.opened(inner);
    return part.handleOf(inner);
  }

  tcpListen(
    at: Moment,
    local: Endpoint,
    v6Only: boolean,
    backlog: number,
    sink: ListenSink,
  ): ListenHandle | StackErrno {
    const all = this.#all;
    const listener: SpreadListener = new SpreadHandles(
      (part) => this.#concerns(part, local.ip),
      (part) => part.stack.tcpListen(all.at, local, v6Only, backlog, listenSinkOn(part, sink)),
      (part, handle) => part.stack.tcpListenClose(all.at, handle),
    );
    const errno = this.#spread(at, listener);
    if (errno !== undefined) return errno;
    const handle = all.nextHandle() as ListenHandle;
    all.listeners.set(handle, listener);
    return handle;
  }

  tcpListenClose(at: Moment, handle: ListenHandle): void {
    this.#all.at = at;
    this.#all.listeners.get(handle)?.leaveAll();
    this.#all.listeners.delete(handle);
  }

  tcpListenBacklog(at: Moment, handle: ListenHandle, backlog: number): void {
    for (const [part, inner] of this.#all.listeners.get(handle)?.handles ?? [])
      part.stack.tcpListenBacklog?.(at, inner, backlog);
  }

  /** The part of a connection, which now has to be drained. */
  #used(handle: TcpHandle): Part | undefined {
    const part = this.#all.part(partIndexOf(handle));
    part?.touch();
    return part;
  }

  tcpBacklogHold(at: Moment, handle: TcpHandle, held: boolean): void {
    this.#used(handle)?.stack.tcpBacklogHold?.(at, innerHandle(handle), held);
  }

  tcpWrite(at: Moment, handle: TcpHandle, bytes: Uint8Array, more: boolean): number {
    return this.#used(handle)?.stack.tcpWrite(at, innerHandle(handle), bytes, more) ?? 0;
  }

  tcpSendRoom(handle: TcpHandle): number {
    return this.#all.part(partIndexOf(handle))?.stack.tcpSendRoom(innerHandle(handle)) ?? 0;
  }

  tcpCredit(at: Moment, handle: TcpHandle, count: number): void {
    this.#used(handle)?.stack.tcpCredit(at, innerHandle(handle), count);
  }

  tcpShutdown(at: Moment, handle: TcpHandle): void {
    this.#used(handle)?.stack.tcpShutdown(at, innerHandle(handle));
  }

  tcpClose(at: Moment, handle: TcpHandle): void {
    const part = this.#used(handle);
    part?.lines.delete(innerHandle(handle));
    part?.stack.tcpClose(at, innerHandle(handle));
  }

  tcpAbort(at: Moment, handle: TcpHandle): void {
    const part = this.#used(handle);
    part?.lines.delete(innerHandle(handle));
    part?.stack.tcpAbort(at, innerHandle(handle));
  }

  tcpSetOptions(at: Moment, handle: TcpHandle, options: TcpOptions): void {
    this.#used(handle)?.stack.tcpSetOptions(at, innerHandle(handle), options);
  }

  tcpInfo(handle: TcpHandle): TcpInfo | undefined {
    return this.#all.part(partIndexOf(handle))?.stack.tcpInfo(innerHandle(handle));
  }

  tcpNames(handle: TcpHandle): { readonly local: Endpoint; readonly remote: Endpoint } | undefined {
    return this.#all.part(partIndexOf(handle))?.stack.tcpNames(innerHandle(handle));
  }

  // ------------------------------------------------------- UDP, echo, groups

  udpOpen(at: Moment, local: Endpoint, _reuse: boolean, sink: UdpSink): UdpHandle | StackErrno {
    const all = this.#all;
    const port: SpreadUdp = new SpreadHandles(
      (part) => this.#concerns(part, local.ip),
      (part) => part.stack.udpOpen(all.at, local, false, udpSinkOn(part, sink)),
      (part, handle) => part.stack.udpClose(all.at, handle),
    );
    const errno = this.#spread(at, port);
    if (errno !== undefined) return errno;
    const handle = all.nextHandle() as UdpHandle;
    all.udp.set(handle, port);
    return handle;
  }

  udpSend(
    at: Moment,
    handle: UdpHandle,
    to: Endpoint,
    payload: Uint8Array,
    options?: DatagramOptions,
  ): StackErrno | undefined {
    const part = this.#towards(to.ip, options?.source);
    if (part === undefined) return 'ENETUNREACH';
    const inner = this.#all.udp.get(handle)?.handles.get(part);
    if (inner === undefined) return 'EADDRNOTAVAIL';
    part.touch();
    return part.stack.udpSend(at, inner, to, payload, options);
  }

  udpClose(at: Moment, handle: UdpHandle): void {
    this.#all.at = at;
    this.#all.udp.get(handle)?.leaveAll();
    this.#all.udp.delete(handle);
  }

  udpLocal(handle: UdpHandle): Endpoint | undefined {
    for (const [part, inner] of this.#all.udp.get(handle)?.handles ?? [])
      return part.stack.udpLocal(inner);
    return undefined;
  }

  echoOpen(at: Moment, family: 4 | 6, id: number, sink: EchoSink): StackErrno | undefined {
    const all = this.#all;
    const key = `${family}/${id}`;
    if (all.echo.has(key)) return 'EADDRINUSE';
    const echo = new SpreadHandles<number>(
      (part) => this.#takes(part),
      (part) => {
        const { stack } = part;
        if (stack.echoOpen === undefined) return 'EACCES';
        return stack.echoOpen(all.at, family, id, echoSinkOn(part, sink)) ?? PRESENT;
      },
      (part) => part.stack.echoClose?.(all.at, family, id),
    );
    const errno = this.#spread(at, echo);
    if (errno === undefined) all.echo.set(key, echo);
    return errno;
  }

  echoSend(
    at: Moment,
    to: IpBytes,
    message: Uint8Array,
    options?: DatagramOptions,
  ): StackErrno | undefined {
    const part = this.#towards(to, options?.source);
    if (part === undefined) return 'ENETUNREACH';
    part.touch();
    return part.stack.echoSend?.(at, to, message, options);
  }

  echoClose(at: Moment, family: 4 | 6, id: number): void {
    const key = `${family}/${id}`;
    this.#all.at = at;
    this.#all.echo.get(key)?.leaveAll();
    this.#all.echo.delete(key);
  }

  /** A group is joined on one interface; on the whole, on that of the first network. */
  groupJoin(at: Moment, group: IpBytes): boolean {
    const part = this.#first();
    part?.touch();
    return part?.stack.groupJoin?.(at, group) ?? false;
  }

  #first(): Part | undefined {
    return this.#all.parts.find((p) => p.index !== LOOPBACK_INDEX && this.#takes(p));
  }

  groupLeave(at: Moment, group: IpBytes): void {
    const part = this.#first();
    part?.touch();
    part?.stack.groupLeave?.(at, group);
  }

  // --------------------------------------------------------------- addresses

  sourceFor(to: IpBytes): IpBytes | undefined {
    return this.#towards(to)?.stack.sourceFor(to);
  }

  isLocal(ip: IpBytes): boolean {
    if (isLoopback(ip)) return this.#loopback()?.stack.isLocal(ip) === true;
    return this.#all.parts.some((p) => this.#takes(p) && p.stack.isLocal(ip));
  }
}
