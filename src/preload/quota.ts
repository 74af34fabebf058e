/**
 * A limit per user [5 section 13]: what one user holds does not count against another. Without
 * credentials all are one user.
 */
export class Quota {
  readonly #max: number;
  readonly #held = new Map<number | undefined, number>();
  #total = 0;
  #refused = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** What all users hold together. */
  get total(): number {
    return this.#total;
  }

  /** How often `take` refused. */
  get refused(): number {
    return this.#refused;
  }

  hasRoom(user: number | undefined, count = 1): boolean {
    return (this.#held.get(user) ?? 0) + count <= this.#max;
  }

  /** Takes `count`; false, and nothing taken, when the user would hold more than it may. */
  take(user: number | undefined, count = 1): boolean {
    if (!this.hasRoom(user, count)) {
      this.#refused++;
      return false;
    }
    this.#set(user, (this.#held.get(user) ?? 0) + count);
    this.#total += count;
    return true;
  }

  give(user: number | undefined, count = 1): void {
    const held = this.#held.get(user) ?? 0;
    if (count > held) throw new Error('given back more than was taken');
    this.#set(user, held - count);
    this.#total -= count;
  }

  /** Users that hold nothing are not remembered. */
  #set(user: number | undefined, held: number): void {
    if (held === 0) this.#held.delete(user);
    else this.#held.set(user, held);
  }
}
