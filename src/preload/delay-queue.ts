/**
 * Timers that all wait equally long: then insertion order is due order, and arming, cancelling
 * and firing cost a constant time. Cancelled entries are skipped when they reach the front.
 */
import { NEVER } from '../lib/time.js';

export interface DelayEntry<T> {
  readonly dueAt: number;
  /** undefined = cancelled or fired. */
  value: T | undefined;
}

export class DelayQueue<T> {
  readonly #delayMs: number;
  readonly #onWake: () => void;
  #entries: DelayEntry<T>[] = [];
  #head = 0;

  /** @param onWake called when a timer is armed while none was waiting. */
  constructor(delayMs: number, onWake: () => void) {
    this.#delayMs = delayMs;
    this.#onWake = onWake;
  }

  /** Arms a timer at monotonic `now`. Clear `value` of the result to cancel it. */
  arm(now: number, value: T): DelayEntry<T> {
    const entry: DelayEntry<T> = { dueAt: now + this.#delayMs, value };
    this.#skipCancelled();
    const wasIdle = this.#head === this.#entries.length;
    this.#entries.push(entry);
    if (wasIdle) this.#onWake();
    return entry;
  }

  /** Monotonic ms of the next timer, or NEVER. */
  deadline(): number {
    this.#skipCancelled();
    return this.#entries[this.#head]?.dueAt ?? NEVER;
  }

  /** Removes and returns the oldest timer that is due, or undefined. */
  takeDue(now: number): T | undefined {
    this.#skipCancelled();
    const entry = this.#entries[this.#head];
    if (entry === undefined || entry.dueAt > now) return undefined;
    const value = entry.value;
    entry.value = undefined;
    this.#head++;
    return value;
  }

  /** Live entries, oldest first; cost is linear in the queue. */
  get length(): number {
    let n = 0;
    for (let i = this.#head; i < this.#entries.length; i++) {
      if (this.#entries[i]!.value !== undefined) n++;
    }
    return n;
  }

  #skipCancelled(): void {
    while (this.#head < this.#entries.length && this.#entries[this.#head]!.value === undefined) {
      this.#head++;
    }
    if (this.#head > 1024 && this.#head * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
  }
}
