/**
 * Requests that overtook the HELLO of their socket, which came by another connection: they wait for it
 * some seconds [5 section 5.6].
 *
 * Owns these requests, their timer and the limits on them, per user: how many, and how many bytes they
 * carry, since a request may have 64 KiB and hardly any of the library has 300.
 */
import { type DelayEntry, DelayQueue } from './delay-queue.js';
import type { Token } from './protocol.js';
import { Quota } from './quota.js';
import type { Request } from './requests.js';

/** [5 section 13] ms. */
const PARK_MS = 2000;
/** Ours: requests of one user. */
export const PARKED_MAX = 4096;
/** Ours: what they carry, in bytes: 256 for each. */
export const PARKED_BYTES_MAX = PARKED_MAX * 256;

export class ParkedRequests {
  readonly #due: DelayQueue<Request>;
  /** With the timer of each; oldest first. */
  readonly #byToken = new Map<Token, Map<Request, DelayEntry<Request>>>();
  readonly #count = new Quota(PARKED_MAX);
  readonly #bytes = new Quota(PARKED_BYTES_MAX);

  /** @param wake `deadline()` is earlier than it was. */
  constructor(wake: () => void) {
    this.#due = new DelayQueue(PARK_MS, wake);
  }

  get size(): number {
    return this.#count.total;
  }

  /** Requests that were refused. */
  get dropped(): number {
    return this.#count.refused + this.#bytes.refused;
  }

  /** Lets `request` wait. @returns false, and counted, when its user has as much waiting as it may. */
  park(request: Request, now: number): boolean {
    if (!this.#take(request)) return false;
    const { token } = request.header;
    const timer = this.#due.arm(now, request);
    const others = this.#byToken.get(token);
    if (others === undefined) this.#byToken.set(token, new Map([[request, timer]]));
    else others.set(request, timer);
    return true;
  }

  #take({ client: { uid }, payload: { length } }: Request): boolean {
    if (!this.#count.take(uid)) return false;
    if (this.#bytes.take(uid, length)) return true;
    this.#count.give(uid);
    return false;
  }

  #give({ client: { uid }, payload: { length } }: Request): void {
    this.#count.give(uid);
    this.#bytes.give(uid, length);
  }

  /** The socket of `token` is there. @returns what waited for it, which does not wait any more. */
  take(token: Token): Iterable<Request> {
    const waiting = this.#byToken.get(token);
    if (waiting === undefined) return [];
    this.#byToken.delete(token);
    for (const [request, timer] of waiting) {
      timer.value = undefined;
      this.#give(request);
    }
    return waiting.keys();
  }

  /** Monotonic ms of the next request that has waited long enough, or NEVER. */
  deadline(): number {
    return this.#due.deadline();
  }

  /** @returns a request that has waited long enough, which does not wait any more. */
  takeDue(now: number): Request | undefined {
    const request = this.#due.takeDue(now);
    if (request === undefined) return undefined;
    const { token } = request.header;
    const others = this.#byToken.get(token)!;
    others.delete(request);
    if (others.size === 0) this.#byToken.delete(token);
    this.#give(request);
    return request;
  }
}
