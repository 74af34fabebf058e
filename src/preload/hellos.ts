/**
 * Connections of programs whose HELLO has not come [5 sections 5.4 and 13].
 *
 * Anybody may knock at an abstract door, and each connection takes a descriptor of the service. So of
 * one user, and of all together, only so many may be silent; then the one that was silent longest gives
 * way. It is never one of a program of ours: those speak right after they have connected.
 */
import { type Link, LinkedList } from '../lib/linked-list.js';
import { DelayQueue } from './delay-queue.js';

/** [5 section 13] ms. */
const HELLO_MS = 5000;
/**
 * Ours: of one user. The library says HELLO before it does anything else, but of connections that come at
 * once a door accepts 64 in a turn of the loop, and again 64 before it reads what the first have said.
 */
export const HELLOS_MAX = 256;
/** Ours: of all users: half of the 1,024 descriptors that a service has at least. */
export const HELLOS_TOTAL_MAX = 512;

/** A connection, of either kind. */
export interface SilentConnection {
  /** User of the peer, undefined without the addon. */
  readonly uid: number | undefined;
  /** Its time is over, or its place is needed: closes unless the HELLO has come. */
  helloExpired(): void;
}

class Silent {
  readonly place: Link<Silent>;
  readonly placeOfAll: Link<Silent>;
  constructor(
    readonly giveWay: () => void,
    readonly ofUser: LinkedList<Silent>,
    all: LinkedList<Silent>,
  ) {
    this.place = ofUser.append(this);
    this.placeOfAll = all.append(this);
  }
}

/** What all views of a service share: the descriptors are the service's. */
export class HelloLimits {
  readonly #all = new LinkedList<Silent>();
  readonly #byUser = new Map<number | undefined, LinkedList<Silent>>();

  get total(): number {
    return this.#all.length;
  }

  /**
   * Takes a place, if need be that of the oldest.
   * @param giveWay the place is needed: calls what this returned.
   * @returns gives the place back, once.
   */
  take(user: number | undefined, giveWay: () => void): () => void {
    this.#makeRoom(user);
    const ofUser = this.#byUser.get(user) ?? new LinkedList<Silent>();
    this.#byUser.set(user, ofUser);
    const silent = new Silent(giveWay, ofUser, this.#all);
    return () => {
      ofUser.remove(silent.place);
      this.#all.remove(silent.placeOfAll);
      if (ofUser.length === 0) this.#byUser.delete(user);
    };
  }

  #makeRoom(user: number | undefined): void {
    const own = this.#byUser.get(user);
    if (own !== undefined && own.length >= HELLOS_MAX) own.first!.giveWay();
    else if (this.#all.length >= HELLOS_TOTAL_MAX) this.#all.first!.giveWay();
  }
}

/** Those of one view. */
export class AwaitedHellos {
  readonly #limits: HelloLimits;
  readonly #due: DelayQueue<SilentConnection>;
  /** Connections that were closed because their place was needed. */
  dropped = 0;

  /** @param wake `deadline()` is earlier than it was. */
  constructor(limits: HelloLimits, wake: () => void) {
    this.#limits = limits;
    this.#due = new DelayQueue(HELLO_MS, wake);
  }

  /** @returns to be called once: the HELLO has come, or the connection is over. */
  await(client: SilentConnection, now: number): () => void {
    const giveBack = this.#limits.take(client.uid, () => {
      this.dropped++;
      client.helloExpired();
    });
    const timer = this.#due.arm(now, client);
    return () => {
      timer.value = undefined;
      giveBack();
    };
  }

  deadline(): number {
    return this.#due.deadline();
  }

  handleTimeout(now: number): void {
    for (let c = this.#due.takeDue(now); c !== undefined; c = this.#due.takeDue(now)) {
      c.helloExpired();
    }
  }
}
