/** Counting per group: failures and skips one line each, one line at the end of every group. */

export class Group {
  readonly name: string;
  passed = 0;
  failed = 0;
  skipped = 0;

  constructor(name: string) {
    this.name = name;
  }

  /** Runs one comparison; a throw is its failure. */
  async check(id: string, run: () => unknown): Promise<void> {
    try {
      await run();
      this.passed++;
    } catch (e) {
      this.failed++;
      console.log(`FAIL ${this.name}/${id}: ${e instanceof Error ? e.message : String(e)}`);
    }
  }

  skip(id: string, reason: string): void {
    this.skipped++;
    console.log(`SKIPPED: ${this.name}/${id}: ${reason}`);
  }

  finish(): void {
    console.log(
      `${this.name}: ${this.passed} passed, ${this.failed} failed, ${this.skipped} skipped`,
    );
  }
}

/** Runs `work` for all items, a few at a time, in order of their start. */
export async function inParallel<T>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items[Symbol.iterator]();
  const worker = async (): Promise<void> => {
    for (let next = queue.next(); next.done !== true; next = queue.next()) await work(next.value);
  };
  await Promise.all(Array.from({ length: width }, worker));
}
