/**
 * What a virtual TCP socket needs around it: the stream of its program, timers, the stack, the view.
 */
import type { Moment } from '../lib/time.js';
import type { Stack, StackExtras } from '../stack/stack.js';
import type { DelayEntry } from './delay-queue.js';
import type { DnsStreams } from './dns-stream.js';
import type { HostNetwork } from './fallthrough.js';
import type { NetworksHost } from './networks.js';
import type { Ports } from './ports.js';
import type { VirtualSocket } from './vsockets.js';

/** What a socket may do with the AF_UNIX stream of its program; implemented by the host. */
export interface StreamPort {
  /** Queues a copy of `bytes`, after everything queued before. */
  write(bytes: Uint8Array): void;
  /** Bytes queued but not yet taken by the kernel. */
  readonly queuedLen: number;
  /** Starts or stops reading, exactly: after `false` not one byte is consumed. */
  setReading(on: boolean): void;
  /** Bounds what the kernel holds of written bytes; bytes, as SO_SNDBUF takes them. */
  limitBuffer(len: number): void;
  /** shutdown(WR) after everything queued. */
  end(): void;
  /** close() now: what the kernel has not taken yet is lost. No callback follows. */
  destroy(): void;
  /** Asks whether the program's end is still open; answered through `streamProbed`. */
  probe(): void;
}

/** Timers of a socket, all of a fixed length; the host of the view runs them. */
export interface SocketTimers {
  /** 1 s: is a connecting program still there? [5 section 6.1] */
  probeConnecting(socket: VirtualSocket): DelayEntry<VirtualSocket>;
  /** 5 s: has a half-closed program gone? */
  probeHalfClosed(socket: VirtualSocket): DelayEntry<VirtualSocket>;
  /** 200 ms: corked bytes must go [5 section 13, options in effect]. */
  cork(socket: VirtualSocket): DelayEntry<VirtualSocket>;
}

/** What only the owner of a stack does with it. */
type Driving =
  | 'mac'
  | 'configure'
  | 'frameIn'
  | 'handleTimeout'
  | 'drain'
  | 'deadline'
  | 'multicastGroups'
  | 'counters'
  | 'close';

/** The stack as sockets use it, with what it offers beyond the contract. */
export type PreloadStack = Omit<Stack, Driving> & Partial<StackExtras>;

/** What a socket needs of its view. */
export interface SocketHost extends NetworksHost {
  readonly stack: PreloadStack;
  readonly ports: Ports;
  readonly timers: SocketTimers;
  now(): Moment;
  mtu(): number;
  /** Undefined: nothing of the host can be reached. */
  readonly hostNetwork: HostNetwork | undefined;
  /** The view's own DNS server over TCP. */
  readonly nameServer: Pick<DnsStreams, 'wayTo'>;
  /** Makes `socket` listen; 0 or a negative errno number. */
  listen(socket: VirtualSocket, port: StreamPort, backlog: number): number;
  /** The stream is gone and nothing more will happen: keep names and error for a while. */
  retire(socket: VirtualSocket): void;
}
