/** Named counters: one per drop reason or event, readable at once as one object. */
export class Counters<Name extends string> {
  readonly #values = new Map<Name, number>();

  add(name: Name, by = 1): void {
    this.#values.set(name, (this.#values.get(name) ?? 0) + by);
  }

  get(name: Name): number {
    return this.#values.get(name) ?? 0;
  }

  snapshot(): Record<string, number> {
    return Object.fromEntries(this.#values);
  }
}
