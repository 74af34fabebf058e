/**
 * What happens to a datagram between two hosts: delay, jitter, loss (single and in bursts),
 * duplication, late ones that are overtaken, and a bottleneck with a queue. One `Link` is one
 * direction between two nodes and has its own luck.
 */
import type { Luck } from './luck.js';

export interface LinkQuality {
  readonly latencyMs: number;
  /** 0..1, each datagram for itself. */
  readonly loss: number;
  /** Uniform extra delay, so that datagrams overtake each other. */
  readonly jitterMs?: number;
  /** Loss in bursts: chances to enter and to leave the state in which all is lost. */
  readonly burst?: { readonly enter: number; readonly leave: number };
  /** Chance of a second copy. */
  readonly duplicate?: number;
  /** Chance of being held back by `reorderMs`. */
  readonly reorder?: number;
  readonly reorderMs?: number;
  /** Bottleneck in bytes per ms; datagrams wait for it, at most `queueBytes` of them. */
  readonly bytesPerMs?: number;
  readonly queueBytes?: number;
}

export const DOWN: LinkQuality = { latencyMs: 0, loss: 1 };
const DEFAULT_REORDER_MS = 30;
const DEFAULT_QUEUE_BYTES = 64 * 1024;
/** IPv4 and UDP headers, for the bottleneck. */
const HEADERS_LEN = 28;

export class Link {
  readonly #luck: Luck;
  #inBurst = false;
  #freeAt = 0;

  constructor(luck: Luck) {
    this.#luck = luck;
  }

  /** Delays of the copies that arrive: none when lost, two when duplicated. */
  pass(now: number, q: LinkQuality, len: number): readonly number[] {
    if (this.#isLost(q)) return [];
    const queued = this.#queue(now, q, len);
    if (queued === undefined) return [];
    const delay = queued + q.latencyMs;
    const first = delay + this.#extra(q);
    if (!this.#chance(q.duplicate)) return [first];
    return [first, delay + this.#extra(q)];
  }

  #chance(p: number | undefined): boolean {
    return p !== undefined && p > 0 && this.#luck.next() < p;
  }

  #isLost(q: LinkQuality): boolean {
    if (q.burst !== undefined)
      this.#inBurst = this.#inBurst ? !this.#chance(q.burst.leave) : this.#chance(q.burst.enter);
    return this.#inBurst || q.loss >= 1 || this.#chance(q.loss);
  }

  #extra(q: LinkQuality): number {
    const jitter = q.jitterMs === undefined ? 0 : q.jitterMs * this.#luck.next();
    return jitter + (this.#chance(q.reorder) ? (q.reorderMs ?? DEFAULT_REORDER_MS) : 0);
  }

  /** Time until the datagram has left the bottleneck; undefined when its queue is full. */
  #queue(now: number, q: LinkQuality, len: number): number | undefined {
    if (q.bytesPerMs === undefined) return 0;
    const start = Math.max(now, this.#freeAt);
    if ((start - now) * q.bytesPerMs > (q.queueBytes ?? DEFAULT_QUEUE_BYTES)) return undefined;
    this.#freeAt = start + (len + HEADERS_LEN) / q.bytesPerMs;
    return this.#freeAt - now;
  }
}
