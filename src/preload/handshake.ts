/**
 * A connect() as its program sees it [5 section 6.1]: the padding that keeps the descriptor
 * unwritable, who waits for the outcome, and what connect(2) says when it is called again.
 */
import type { StackErrno } from '../stack/stack.js';
import { failed } from './errno.js';
import { Padding } from './padding.js';
import { ConnectResult } from './protocol.js';
import type { ConnectWaiter } from './target.js';

export type Outcome = 'connected' | StackErrno;

export class Handshake {
  readonly #padding = new Padding();
  /** Decided, and waiting for the padding to be announced. */
  #outcome: Outcome | undefined;
  readonly #waiters = new Set<ConnectWaiter>();
  #wasConnected = false;
  /** connect() has reported the failure. */
  #isFailureReported = false;
  /** A connect() has reported success. */
  #isReported = false;

  get hasWaiters(): boolean {
    return this.#waiters.size > 0;
  }

  /** All padding that was announced has been read. */
  get isRead(): boolean {
    return this.#padding.isRead;
  }

  begin(): void {
    this.#padding.begin();
    this.#outcome = undefined;
  }

  /** The socket was accepted: there is nothing to wait for. */
  skipAll(): void {
    this.#isReported = true;
    this.#wasConnected = true;
  }

  /** @returns whether this was the announcement that was due. */
  announce(count: number): boolean {
    return this.#padding.announce(count);
  }

  decide(outcome: Outcome): void {
    this.#outcome = outcome;
  }

  /** The outcome, once, when it is decided and the padding announced. */
  takeOutcome(): Outcome | undefined {
    if (!this.#padding.isAnnounced) return undefined;
    const outcome = this.#outcome;
    this.#outcome = undefined;
    return outcome;
  }

  /** The bytes behind the padding. */
  skip(bytes: Uint8Array): Uint8Array {
    return this.#padding.skip(bytes);
  }

  connected(): void {
    this.#wasConnected = true;
    if (this.hasWaiters) this.#isReported = true;
  }

  /** A blocking connect() returns when its descriptor is writable again. */
  answerIfRead(): void {
    if (this.#padding.isRead) this.answer(0);
  }

  /** @returns withdraws the waiter. */
  wait(waiter: ConnectWaiter): () => void {
    this.#waiters.add(waiter);
    return () => this.#waiters.delete(waiter);
  }

  answer(result: number): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const w of waiters) w(result);
  }

  /** connect() on a connected socket: the first time it reports success. */
  again(): number {
    if (this.#isReported) return failed('EISCONN');
    this.#isReported = true;
    return ConnectResult.done;
  }

  /** WAITCONN on a connected socket reports success too. */
  reported(): void {
    this.#isReported = true;
  }

  /**
   * connect() on a socket that is over. Linux, measured: one that was connected stays so; one whose
   * handshake failed reports the error, or ECONNABORTED when that was read already, and is free
   * after that.
   * @param takeError the pending error, cleared: 0 or a negative errno number.
   */
  afterEnd(hasFailed: boolean, takeError: () => number): number {
    if (this.#wasConnected) return failed('EISCONN');
    const error = takeError();
    if (this.#isFailureReported || !hasFailed) return error || ConnectResult.replace;
    this.#isFailureReported = true;
    return error || failed('ECONNABORTED');
  }
}
