/**
 * Bytes of a program on their way into the TCP/IP stack.
 *
 * What the stack does not take waits here, and the program's stream is not read meanwhile, so at
 * most one read is held. Corked bytes below a segment wait for more, at most until the cork timer.
 */
import { concatBytes } from '../lib/bytes.js';
import type { DelayEntry } from './delay-queue.js';
import type { VirtualSocket } from './vsockets.js';

/** Ours: corked bytes below this wait for more (an MSS of a 1500-byte link). */
const CORK_LEN = 1448;

export interface OutgoingHost {
  isCorked(): boolean;
  /** Bytes that the stack took; undefined without a connection. */
  write(bytes: Uint8Array): number | undefined;
  setReading(on: boolean): void;
  armCork(): DelayEntry<VirtualSocket>;
  /** Nothing waits any more. */
  drained(): void;
}

export class Outgoing {
  readonly #host: OutgoingHost;
  #waiting: Uint8Array | undefined;
  #corkTimer: DelayEntry<VirtualSocket> | undefined;

  constructor(host: OutgoingHost) {
    this.#host = host;
  }

  get isEmpty(): boolean {
    return this.#waiting === undefined;
  }

  /** Bytes that wait for the stack. */
  get queuedLen(): number {
    return this.#waiting?.length ?? 0;
  }

  /** Takes bytes, which are borrowed for the call. */
  send(bytes: Uint8Array): void {
    if (this.#waiting !== undefined || this.#host.isCorked()) {
      this.#waiting = concatBytes(this.#waiting ?? new Uint8Array(0), bytes);
      this.pump();
      return;
    }
    const taken = this.#host.write(bytes) ?? 0;
    if (taken === bytes.length) return;
    this.#waiting = bytes.slice(taken);
    this.#host.setReading(false);
  }

  /** Moves waiting bytes to the stack; reading goes on when none is left. */
  pump(force = false): void {
    const waiting = this.#waiting;
    if (waiting === undefined || (!force && this.#mayWait(waiting.length))) return;
    const taken = this.#host.write(waiting);
    if (taken === undefined) return;
    this.#stopTimer();
    this.#waiting = taken === waiting.length ? undefined : waiting.subarray(taken);
    this.#host.setReading(this.#waiting === undefined);
    if (this.#waiting === undefined) this.#host.drained();
  }

  #mayWait(len: number): boolean {
    if (!this.#host.isCorked() || len >= CORK_LEN) return false;
    this.#corkTimer ??= this.#host.armCork();
    return true;
  }

  #stopTimer(): void {
    if (this.#corkTimer !== undefined) this.#corkTimer.value = undefined;
    this.#corkTimer = undefined;
  }

  /** The stream is over; `keep` = what waits may still go out. */
  close(keep: boolean): void {
    this.#stopTimer();
    if (!keep) this.#waiting = undefined;
  }
}
