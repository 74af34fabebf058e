/** What was last set for each of a bounded number of keys: the key that was set longest ago gives way. */
export class Recent<K, V> {
  readonly #max: number;
  readonly #map = new Map<K, V>();

  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#map.size;
  }

  get(key: K): V | undefined {
    return this.#map.get(key);
  }

  /** @returns whether another key had to go. */
  set(key: K, value: V): boolean {
    this.#map.delete(key);
    let isFull = false;
    if (this.#map.size >= this.#max) {
      const oldest = this.#map.keys().next();
      isFull = oldest.done !== true && this.#map.delete(oldest.value);
    }
    this.#map.set(key, value);
    return isFull;
  }

  /** Drops keys, the one set longest ago first, as long as `isOver` says so. */
  sweep(isOver: (value: V) => boolean): void {
    for (const [key, value] of this.#map) {
      if (!isOver(value)) return;
      this.#map.delete(key);
    }
  }
}
