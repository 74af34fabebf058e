/**
 * What a scenario is: a title that says what happens, a story over one or more worlds, bounds that
 * it checks itself, and a summary of a few figures, which is committed and compared.
 */
import { createHash } from 'node:crypto';
import { World, type WorldOptions } from './world.js';

export type Summary = Readonly<Record<string, number | string | boolean>>;

export interface Scenario {
  readonly id: string;
  readonly title: string;
  run(stage: Stage): Summary;
}

export interface Outcome {
  readonly summary: Summary;
  /** Over the traces of all its worlds. */
  readonly hash: string;
}

/** Makes the worlds of one run. */
export class Stage {
  readonly seed: number;
  readonly worlds: World[] = [];
  readonly #capture: boolean;

  constructor(seed: number, capture = false) {
    this.seed = seed;
    this.#capture = capture;
  }

  world(options: Omit<WorldOptions, 'seed'>): World {
    const world = new World({ ...options, seed: this.seed, capture: this.#capture });
    this.worlds.push(world);
    return world;
  }

  /** A bound of the scenario. */
  check(holds: boolean, what: string): void {
    if (!holds) throw new Error(`${what} (seed ${this.seed})`);
  }
}

export function runScenario(s: Scenario, seed: number): Outcome {
  const stage = new Stage(seed);
  const summary = s.run(stage);
  const hash = createHash('sha256');
  for (const w of stage.worlds) hash.update(w.hash());
  return { summary, hash: hash.digest('hex') };
}

/** Runs a failed scenario once more with all datagrams kept, and writes those of its last world. */
export function captureFailure(s: Scenario, seed: number, path: string): void {
  const stage = new Stage(seed, true);
  try {
    s.run(stage);
  } catch {
    // It failed before: the capture is what we are here for.
    stage.worlds.at(-1)?.trace.writePcap(path);
  }
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** The value below which a share of `q` lies; rounded to whole units. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return Math.round(
    sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN,
  );
}
