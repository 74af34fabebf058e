/**
 * Whether the program of a socket is still there, asked from time to time while nothing else would
 * tell: it waits for a connection, or has ended its own direction. One question waits at a time.
 */
import type { DelayEntry } from './delay-queue.js';
import type { SocketTimers } from './socket-host.js';
import type { VirtualSocket } from './vsockets.js';

export class ProgramWatch {
  readonly #timers: SocketTimers;
  readonly #socket: VirtualSocket;
  #next: DelayEntry<VirtualSocket> | undefined;

  constructor(timers: SocketTimers, socket: VirtualSocket) {
    this.#timers = timers;
    this.#socket = socket;
  }

  connecting(): void {
    this.stop();
    this.#next = this.#timers.probeConnecting(this.#socket);
  }

  halfClosed(): void {
    this.stop();
    this.#next = this.#timers.probeHalfClosed(this.#socket);
  }

  stop(): void {
    if (this.#next !== undefined) this.#next.value = undefined;
    this.#next = undefined;
  }
}
