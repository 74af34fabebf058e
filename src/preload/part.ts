/**
 * One network's stack as a part of a view over several, and what such a view has open on it.
 *
 * A connection belongs to one part. A handle of the whole is the part's number and the part's own
 * handle in one integer, so no table maps them; `lines` is only there to tell the sockets when the
 * part goes away. Parts are numbered once and never again: a handle of a part that is gone finds
 * nothing.
 */
import type {
  EchoSink,
  Endpoint,
  IpBytes,
  ListenHandle,
  ListenSink,
  StackConfig,
  StackErrno,
  TcpHandle,
  TcpSink,
  UdpHandle,
  UdpSink,
} from '../stack/stack.js';
import { isInPrefix } from './policy.js';
import type { PreloadStack } from './socket-host.js';

/** Handles of a stack are 31-bit numbers. */
const SPAN = 2 ** 32;

export interface PartOptions {
  /** Number of the interface, and of the part. */
  readonly index: number;
  /** Of routes that are equally good, that of the lowest network is taken. */
  readonly nwid: bigint;
  readonly stack: PreloadStack;
  config(): StackConfig;
  /** The stack was used: its owner has to drain it. */
  touch(): void;
}

export function partIndexOf(handle: number): number {
  return Math.floor(handle / SPAN);
}

export function innerHandle<T extends number>(handle: T): T {
  return (handle % SPAN) as T;
}

export class Part {
  readonly index: number;
  readonly nwid: bigint;
  readonly stack: PreloadStack;
  readonly config: () => StackConfig;
  readonly touch: () => void;
  readonly lines = new Map<TcpHandle, TcpSink>();

  constructor(options: PartOptions) {
    this.index = options.index;
    this.nwid = options.nwid;
    this.stack = options.stack;
    this.config = () => options.config();
    this.touch = () => options.touch();
  }

  handleOf(inner: TcpHandle): TcpHandle {
    return (this.index * SPAN + inner) as TcpHandle;
  }

  /**
   * Length of the best prefix that leads to `ip`: longer than any for an own address, -1 for what the
   * stack reaches without a route of its configuration; undefined when it does not reach it.
   */
  reach(ip: IpBytes): number | undefined {
    if (this.stack.sourceFor(ip) === undefined) return undefined;
    if (this.stack.isLocal(ip)) return ip.length * 8 + 1;
    const { addresses, routes } = this.config();
    let best = -1;
    const offer = (prefix: IpBytes, bits: number) => {
      if (bits > best && isInPrefix(ip, prefix, bits)) best = bits;
    };
    for (const a of addresses) offer(a.ip, a.prefixLen);
    for (const r of routes) offer(r.target, r.prefixLen);
    return best;
  }
}

/** Passes the callbacks of one connection on, and forgets it with its error. */
export class Line implements TcpSink {
  readonly #part: Part;
  readonly #sink: TcpSink;
  #inner: TcpHandle | undefined;

  constructor(part: Part, sink: TcpSink) {
    this.#part = part;
    this.#sink = sink;
  }

  opened(inner: TcpHandle): void {
    this.#inner = inner;
    this.#part.lines.set(inner, this);
  }

  onConnected(): void {
    this.#sink.onConnected();
  }
  onData(bytes: Uint8Array): void {
    this.#sink.onData(bytes);
  }
  onSent(count: number): void {
    this.#sink.onSent(count);
  }
  onFin(): void {
    this.#sink.onFin();
  }
  onError(errno: StackErrno): void {
    if (this.#inner !== undefined) this.#part.lines.delete(this.#inner);
    this.#sink.onError(errno);
  }
}

/** What is open on every part that it concerns, also on those that come later. */
export interface Spread {
  /** Opens on `part` unless it is open there. @returns why not. */
  placeOn(part: Part): StackErrno | undefined;
  /** Closes on `part`. @param isBroken its stack can not be called any more. */
  leave(part: Part, isBroken: boolean): void;
}

export type Opener<H> = (part: Part) => H | StackErrno;
export type Closer<H> = (part: Part, handle: H) => void;

/** Handles of one thing on the parts where it is open. */
export class SpreadHandles<H extends number> implements Spread {
  readonly handles = new Map<Part, H>();
  readonly #concerns: (part: Part) => boolean;
  readonly #open: Opener<H>;
  readonly #close: Closer<H>;

  constructor(concerns: (part: Part) => boolean, open: Opener<H>, close: Closer<H>) {
    this.#concerns = concerns;
    this.#open = open;
    this.#close = close;
  }

  placeOn(part: Part): StackErrno | undefined {
    if (this.handles.has(part) || !this.#concerns(part)) return undefined;
    const handle = this.#open(part);
    if (typeof handle === 'string') return handle;
    this.handles.set(part, handle);
    part.touch();
    return undefined;
  }

  leave(part: Part, isBroken: boolean): void {
    const handle = this.handles.get(part);
    if (handle === undefined) return;
    this.handles.delete(part);
    if (isBroken) return;
    this.#close(part, handle);
    part.touch();
  }

  leaveAll(): void {
    for (const part of [...this.handles.keys()]) this.leave(part, false);
  }
}

export type SpreadListener = SpreadHandles<ListenHandle>;
export type SpreadUdp = SpreadHandles<UdpHandle>;

/** A listener's sink on one part: connections get handles of the whole. */
export function listenSinkOn(part: Part, sink: ListenSink): ListenSink {
  return {
    onAccept(inner: TcpHandle, local: Endpoint, remote: Endpoint): TcpSink | undefined {
      // Known before the socket hears of it, which may use it at once.
      let accepted: TcpSink | undefined;
      const line = new Line(part, {
        onConnected: () => accepted?.onConnected(),
        onData: (bytes) => accepted?.onData(bytes),
        onSent: (count) => accepted?.onSent(count),
        onFin: () => accepted?.onFin(),
        onError: (errno) => accepted?.onError(errno),
      });
      line.opened(inner);
      accepted = sink.onAccept(part.handleOf(inner), local, remote);
      if (accepted !== undefined) return line;
      part.lines.delete(inner);
      return undefined;
    },
  };
}

/** A port's sink on one part: tells on which interface a datagram came. */
export function udpSinkOn(part: Part, sink: UdpSink): UdpSink {
  return {
    isWanted: (from, to) => sink.isWanted?.(from, to, part.index) ?? true,
    onDatagram: (payload, from, to, ttl, tos) =>
      sink.onDatagram(payload, from, to, ttl, tos, part.index),
    onUnreachable: (to, errno) => sink.onUnreachable?.(to, errno),
  };
}

export function echoSinkOn(part: Part, sink: EchoSink): EchoSink {
  return {
    onReply: (message, from, to, ttl, tos) => sink.onReply(message, from, to, ttl, tos, part.index),
  };
}
