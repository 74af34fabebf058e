/**
 * A limit per user [5 section 13]: what one user holds does not count against another. Without
 * credentials all are one user.
 */
export class Quota {
  readonly #max: number;
  readonly #held = new Map<number | undefined, number>();
  #total = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** What all users hold together. */
  get total(): number {
    return this.#total;
  }

  hasRoom(user: number | undefined): boolean {
    return (this.#held.get(user) ?? 0) < this.#max;
  }

  /** Takes one; false, and nothing taken, when the user holds all it may. */
  take(user: number | undefined): boolean {
    if (!this.hasRoom(user)) return false;
    this.#held.set(user, (this.#held.get(user) ?? 0) + 1);
    this.#total++;
    return true;
  }

  give(user: number | undefined): void {
    const held = this.#held.get(user);
    if (held === undefined) throw new Error('given back more than was taken');
    if (held === 1) this.#held.delete(user);
    else this.#held.set(user, held - 1);
    this.#total--;
  }
}
