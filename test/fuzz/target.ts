/** What a fuzz target is. */
import type { Luck } from '../sim/luck.js';

/** A bug planted into a module of dist/: the target must find it. */
export interface Plant {
  /** Path below dist/. */
  readonly file: string;
  /** A passage that stands there exactly once. */
  readonly find: string;
  readonly replace: string;
}

export interface Target {
  readonly name: string;
  /** Modules below dist/ whose coverage guides the search and is reported. */
  readonly files: readonly string[];
  readonly plant: Plant;
  readonly maxLen: number;
  /** Inputs to begin with. */
  seeds(): readonly Uint8Array[];
  /** Byte strings that are put into inputs. */
  readonly tokens?: readonly Uint8Array[];
  /** One execution; throws when something is wrong. */
  run(input: Uint8Array): void;
  /** A change that knows the structure of the input; undefined = none this time. */
  mutate?(luck: Luck, input: Uint8Array): Uint8Array | undefined;
}

/** One file per family, so that a process loads only what it needs. */
export interface Family {
  readonly targets: readonly Target[];
}

/** A broken promise of the code under test. */
export class Finding extends Error {}

export function must(holds: boolean, what: string): void {
  if (!holds) throw new Finding(what);
}
