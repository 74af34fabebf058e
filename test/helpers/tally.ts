/** Counting checks of a stand-alone suite: one line each, a closing line, an exit code. */
import { performance } from 'node:perf_hooks';

/** Thrown by a check that can not run here: it counts as skipped, not as passed. */
export class Skip extends Error {}

export class Tally {
  readonly #name: string;
  #passed = 0;
  #failed = 0;
  #skipped = 0;

  constructor(name: string) {
    this.#name = name;
  }

  /** Runs one check; a throw is its failure, or with `Skip` the reason why it did not run. */
  async check(title: string, run: () => unknown): Promise<void> {
    const from = performance.now();
    try {
      await run();
      this.#passed++;
      console.log(`ok   ${title} (${(performance.now() - from).toFixed(0)} ms)`);
    } catch (e) {
      if (e instanceof Skip) {
        this.skip(title, e.message);
        return;
      }
      this.#failed++;
      console.log(`FAIL ${title}: ${e instanceof Error ? e.message : String(e)}`);
    }
  }

  skip(title: string, reason: string): void {
    this.#skipped++;
    console.log(`SKIPPED: ${title}: ${reason}`);
  }

  /** Prints the closing line and sets the exit code. */
  finish(): void {
    console.log(
      `${this.#name}: ${this.#passed} passed, ${this.#failed} failed, ${this.#skipped} skipped`,
    );
    process.exitCode = this.#failed === 0 && this.#passed + this.#skipped > 0 ? 0 : 1;
  }
}
