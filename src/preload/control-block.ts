/**
 * The TCP control block that a virtual socket owns, on the virtual stack or on the host's network.
 * Without one, before a connection and after its end, nothing happens.
 */
import type { Moment } from '../lib/time.js';
import type {
  Endpoint,
  StackErrno,
  TcpHandle,
  TcpInfo,
  TcpOptions,
  TcpSink,
} from '../stack/stack.js';
import type { TcpCarrier } from './fallthrough.js';
import type { PreloadStack } from './socket-host.js';

export class ControlBlock {
  readonly #now: () => Moment;
  #carrier: TcpCarrier;
  #handle: TcpHandle | undefined;

  constructor(now: () => Moment, carrier: TcpCarrier) {
    this.#now = now;
    this.#carrier = carrier;
  }

  get carrier(): TcpCarrier {
    return this.#carrier;
  }

  get isOpen(): boolean {
    return this.#handle !== undefined;
  }

  connect(
    carrier: TcpCarrier,
    local: Endpoint | undefined,
    remote: Endpoint,
    sink: TcpSink,
    options: TcpOptions,
  ): StackErrno | undefined {
    this.#carrier = carrier;
    const handle = carrier.tcpConnect(this.#now(), local, remote, sink, options);
    if (typeof handle === 'string') return handle;
    this.#handle = handle;
    return undefined;
  }

  accept(handle: TcpHandle): void {
    this.#handle = handle;
  }

  /** Whether an accepted connection still counts in the backlog of its listener. */
  holdBacklog(stack: PreloadStack, held: boolean): void {
    if (this.#handle !== undefined) stack.tcpBacklogHold?.(this.#now(), this.#handle, held);
  }

  /** Bytes that were taken; undefined without a connection. */
  write(bytes: Uint8Array): number | undefined {
    if (this.#handle === undefined) return undefined;
    return this.#carrier.tcpWrite(this.#now(), this.#handle, bytes, false);
  }

  credit(count: number): void {
    if (this.#handle !== undefined) this.#carrier.tcpCredit(this.#now(), this.#handle, count);
  }

  shutdown(): void {
    if (this.#handle !== undefined) this.#carrier.tcpShutdown(this.#now(), this.#handle);
  }

  /** It finishes by itself. */
  close(): void {
    if (this.#handle !== undefined) this.#carrier.tcpClose(this.#now(), this.#handle);
    this.#handle = undefined;
  }

  abort(): void {
    if (this.#handle !== undefined) this.#carrier.tcpAbort(this.#now(), this.#handle);
    this.#handle = undefined;
  }

  /** The carrier has ended it. */
  lost(): void {
    this.#handle = undefined;
  }

  setOptions(options: TcpOptions): void {
    if (this.#handle !== undefined) this.#carrier.tcpSetOptions(this.#now(), this.#handle, options);
  }

  get info(): TcpInfo | undefined {
    return this.#handle === undefined ? undefined : this.#carrier.tcpInfo(this.#handle);
  }

  get local(): Endpoint | undefined {
    return this.#handle === undefined ? undefined : this.#carrier.tcpNames(this.#handle)?.local;
  }
}
