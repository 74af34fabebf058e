/** The timers of virtual sockets [5 section 13]: each kind waits equally long for every socket. */
import type { Moment } from '../lib/time.js';
import { type DelayEntry, DelayQueue } from './delay-queue.js';
import type { SocketTimers } from './socket-host.js';
import type { VirtualSocket } from './vsockets.js';

const PROBE_CONNECT_MS = 1000;
const CORK_MS = 200;
/** Ours: a half-closed program that vanished is noticed within this time. */
export const PROBE_HALF_CLOSED_MS = 5000;

export class Timers implements SocketTimers {
  readonly connecting: DelayQueue<VirtualSocket>;
  readonly halfClosed: DelayQueue<VirtualSocket>;
  readonly corked: DelayQueue<VirtualSocket>;
  readonly #now: () => Moment;

  constructor(now: () => Moment, wake: () => void) {
    this.#now = now;
    this.connecting = new DelayQueue(PROBE_CONNECT_MS, wake);
    this.halfClosed = new DelayQueue(PROBE_HALF_CLOSED_MS, wake);
    this.corked = new DelayQueue(CORK_MS, wake);
  }
  probeConnecting(socket: VirtualSocket): DelayEntry<VirtualSocket> {
    return this.connecting.arm(this.#now().mono, socket);
  }
  probeHalfClosed(socket: VirtualSocket): DelayEntry<VirtualSocket> {
    return this.halfClosed.arm(this.#now().mono, socket);
  }
  cork(socket: VirtualSocket): DelayEntry<VirtualSocket> {
    return this.corked.arm(this.#now().mono, socket);
  }
}
