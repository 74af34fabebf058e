/** The queue of a simulated world: a binary heap ordered by time, then by order of scheduling. */
export interface SimEvent {
  readonly at: number;
  readonly seq: number;
  run(): void;
}

const isBefore = (a: SimEvent, b: SimEvent): boolean =>
  a.at < b.at || (a.at === b.at && a.seq < b.seq);

export class EventHeap {
  readonly #heap: SimEvent[] = [];
  #seq = 0;

  get size(): number {
    return this.#heap.length;
  }

  peek(): SimEvent | undefined {
    return this.#heap[0];
  }

  push(at: number, run: () => void): void {
    const h = this.#heap;
    const e: SimEvent = { at, seq: this.#seq++, run };
    let i = h.length;
    h.push(e);
    while (i > 0) {
      const up = (i - 1) >> 1;
      if (!isBefore(e, h[up]!)) break;
      h[i] = h[up]!;
      i = up;
    }
    h[i] = e;
  }

  pop(): SimEvent | undefined {
    const h = this.#heap;
    const top = h[0];
    const last = h.pop();
    if (top === undefined || last === undefined || h.length === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= h.length) break;
      if (child + 1 < h.length && isBefore(h[child + 1]!, h[child]!)) child++;
      if (!isBefore(h[child]!, last)) break;
      h[i] = h[child]!;
      i = child;
    }
    h[i] = last;
    return top;
  }
}
