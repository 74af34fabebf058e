/**
 * Identities of strangers that wait for their memory-hard check. The host is given few at a time,
 * and takes turns between source prefixes; when the table is full, the prefix with the most waiting
 * gives way to one with fewer. So whoever fills it from some prefixes cannot keep others out.
 */
import type { PeerKey } from '../crypto/api.js';
import type { Hello } from '../wire/hello.js';
import { equalIdentities, type Identity } from '../wire/identity.js';
import { MAX_VALIDATIONS, VALIDATIONS_AT_ONCE } from './constants.js';
import type { Path } from './path.js';

/** One copy of a HELLO, and where it came from. */
export interface Arrival {
  readonly path: Path;
  readonly hops: number;
  readonly packet: Uint8Array;
}

export interface Validation {
  readonly id: number;
  readonly hello: Hello;
  /** Agreed with the first copy: further ones, true or not, cost one MAC. */
  readonly key: PeerKey;
  readonly arrivals: Arrival[];
}

export class Validations {
  /** By prefix, oldest first; the prefix at the front of the map has the next turn. */
  readonly #waiting = new Map<number, Validation[]>();
  readonly #running = new Map<number, Validation>();
  readonly #atOnce: number;
  #size = 0;
  #nextId = 1;

  /** @param atOnce checks that the host works on. */
  constructor(atOnce = VALIDATIONS_AT_ONCE) {
    this.#atOnce = atOnce;
  }

  /** Waiting and running. */
  get size(): number {
    return this.#size + this.#running.size;
  }

  find(identity: Identity): Validation | undefined {
    for (const v of this.#all()) if (equalIdentities(v.hello.identity, identity)) return v;
    return undefined;
  }

  *#all(): Iterable<Validation> {
    yield* this.#running.values();
    for (const list of this.#waiting.values()) yield* list;
  }

  /** @returns whether it was taken, and whether another one had to go for it. */
  add(
    prefix: number,
    hello: Hello,
    key: PeerKey,
    arrival: Arrival,
  ): 'added' | 'displaced' | 'refused' {
    let result: 'added' | 'displaced' = 'added';
    if (this.size >= MAX_VALIDATIONS) {
      if (!this.#displace(this.#waiting.get(prefix)?.length ?? 0)) return 'refused';
      result = 'displaced';
    }
    const list = this.#waiting.get(prefix);
    const v = { id: this.#nextId++, hello, key, arrivals: [arrival] };
    if (list === undefined) this.#waiting.set(prefix, [v]);
    else list.push(v);
    this.#size++;
    return result;
  }

  /** Drops the newest of the longest list, if that is longer than a newcomer's would be. */
  #displace(newcomer: number): boolean {
    let longest: [number, Validation[]] | undefined;
    for (const e of this.#waiting)
      if (longest === undefined || e[1].length > longest[1].length) longest = e;
    if (longest === undefined || longest[1].length <= newcomer + 1) return false;
    longest[1].pop();
    this.#size--;
    return true;
  }

  /** The next one for the host, or undefined while it has enough or none waits. */
  start(): Validation | undefined {
    if (this.#running.size >= this.#atOnce) return undefined;
    const first = this.#waiting.entries().next().value;
    if (first === undefined) return undefined;
    const [prefix, list] = first;
    const v = list.shift()!;
    this.#waiting.delete(prefix);
    if (list.length > 0) this.#waiting.set(prefix, list);
    this.#size--;
    this.#running.set(v.id, v);
    return v;
  }

  /** The one whose verdict came. */
  finish(id: number): Validation | undefined {
    const v = this.#running.get(id);
    this.#running.delete(id);
    return v;
  }
}
