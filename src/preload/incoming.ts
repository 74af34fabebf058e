/**
 * Bytes of a virtual TCP socket on their way from the stack to its program.
 *
 * They wait here while no stream is attached. Window credit is returned when the stream has taken
 * them: a program that does not read closes its own window, which is what bounds those that wait here.
 * However short the segments were, they wait in one buffer.
 */
import { GrowingBytes } from '../lib/growing-bytes.js';
import type { StreamPort } from './socket-host.js';

export class Incoming {
  readonly #giveCredit: (count: number) => void;
  #port: StreamPort | undefined;
  readonly #early = new GrowingBytes();
  #uncredited = 0;
  /** The peer sends no more. */
  isEnded = false;
  /** The program reads no more: what comes is taken and dropped. */
  isShut = false;

  /** @param giveCredit the stack may receive that much more. */
  constructor(giveCredit: (count: number) => void) {
    this.#giveCredit = giveCredit;
  }

  /** Bytes that arrived before a program picked the connection up. */
  get earlyLen(): number {
    return this.#early.length;
  }

  /** Bytes that the program has not been given are outstanding. */
  get isUnread(): boolean {
    return this.#uncredited > 0;
  }

  /** The program's stream is here; what waited for it goes out. */
  attach(port: StreamPort): void {
    this.#port = port;
    if (this.earlyLen > 0) port.write(this.#early.take());
  }

  dropEarly(): void {
    this.#early.take();
  }

  /** The stream is gone, and with it what it did not take. */
  detach(): void {
    this.#port = undefined;
    this.#uncredited = 0;
  }

  /** @returns false when the bytes wait for a stream; borrowed for the call. */
  push(bytes: Uint8Array): boolean {
    if (this.isShut) {
      this.#giveCredit(bytes.length);
      return true;
    }
    this.#uncredited += bytes.length;
    if (this.#port === undefined) {
      this.#early.add(bytes);
      return false;
    }
    this.#port.write(bytes);
    return true;
  }

  /** Returns the credit of what the stream has taken. */
  credit(): void {
    if (this.#uncredited === 0 || this.#port === undefined || this.#port.queuedLen > 0) return;
    const count = this.#uncredited;
    this.#uncredited = 0;
    this.#giveCredit(count);
  }
}
