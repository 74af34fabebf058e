/**
 * Coverage-guided search for inputs that break a target. Deterministic by seed: the same seed and
 * number of executions try the same inputs (but for what depends on time, which nothing here does).
 */
import { Luck } from '../sim/luck.js';
import type { Target } from './target.js';

export interface Counters {
  readonly map: Uint8Array;
  /** Module, its first counter, and of each of its counters the one of the function around it, from 0. */
  readonly files: readonly (readonly [string, number, readonly number[]])[];
}

export interface FileCoverage {
  readonly file: string;
  readonly blocks: number;
  /** Blocks of the functions that were called. */
  readonly entered: number;
  readonly hit: number;
}

export interface Crash {
  readonly input: Uint8Array;
  readonly error: string;
  readonly execution: number;
}

/** A single execution must not take longer: inputs are at most some 10 KB. */
export const SLOW_MS = 2_000;
const MAX_CORPUS = 20_000;
const EDGES_8 = [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff];
const EDGES_16 = [0, 1, 0xff, 0x100, 0x7fff, 0x8000, 0xffff];
/** Executions spent on making a crashing input smaller. */
const SHRINK_TRIES = 2_000;

/** Bucket of a hit count, one bit each, so that "often" is new once. */
function bucket(n: number): number {
  if (n < 4) return 1 << (n - 1);
  if (n < 8) return 8;
  if (n < 16) return 16;
  return n < 128 ? 32 : 64;
}

export class Engine {
  readonly #target: Target;
  readonly #counters: Counters;
  readonly #luck: Luck;
  readonly #corpus: Uint8Array[] = [];
  readonly #seen: Uint8Array;
  readonly #ranges: readonly (readonly [number, number])[];
  executions = 0;
  slowestMs = 0;

  constructor(target: Target, counters: Counters, seed: number) {
    this.#target = target;
    this.#counters = counters;
    this.#luck = new Luck(seed, `fuzz ${target.name}`);
    this.#seen = new Uint8Array(counters.map.length);
    this.#ranges = this.#files().map(
      ([, first, owners]) => [first, first + owners.length] as const,
    );
  }

  #files(): Counters['files'] {
    const wanted = this.#counters.files.filter(([f]) => this.#target.files.includes(f));
    if (wanted.length !== this.#target.files.length)
      throw new Error(`${this.#target.name}: not all of ${this.#target.files} are loaded`);
    return wanted;
  }

  get corpusLen(): number {
    return this.#corpus.length;
  }

  coverage(): FileCoverage[] {
    return this.#files().map(([file, first, owners]) => {
      const seen = this.#seen.subarray(first, first + owners.length);
      return {
        file,
        blocks: owners.length,
        entered: owners.filter((own) => seen[own] !== 0).length,
        hit: seen.filter((x) => x !== 0).length,
      };
    });
  }

  /** Whether the last execution did something new; remembers it. */
  #isNew(): boolean {
    const { map } = this.#counters;
    let isNew = false;
    for (const [from, to] of this.#ranges) {
      for (let i = from; i < to; i++) {
        const n = map[i]!;
        if (n === 0) continue;
        const b = bucket(n);
        if ((this.#seen[i]! & b) !== 0) continue;
        this.#seen[i] = this.#seen[i]! | b;
        isNew = true;
      }
    }
    return isNew;
  }

  /** @returns the error text of one execution, if any. */
  #execute(input: Uint8Array): string | undefined {
    for (const [from, to] of this.#ranges) this.#counters.map.fill(0, from, to);
    const started = performance.now();
    this.executions++;
    try {
      this.#target.run(input);
    } catch (e) {
      return e instanceof Error ? (e.stack ?? e.message) : String(e);
    }
    let took = performance.now() - started;
    // A busy machine makes anything slow: what counts then is the CPU time of the same input.
    if (took > SLOW_MS) took = this.#cpuMs(input);
    this.slowestMs = Math.max(this.slowestMs, took);
    return took > SLOW_MS ? `one execution took ${Math.round(took)} ms of CPU` : undefined;
  }

  #cpuMs(input: Uint8Array): number {
    const before = process.cpuUsage();
    this.#target.run(input);
    const used = process.cpuUsage(before);
    return (used.user + used.system) / 1_000;
  }

  #try(input: Uint8Array): Crash | undefined {
    const error = this.#execute(input);
    if (error !== undefined) return { input, error, execution: this.executions };
    if (this.#isNew() && this.#corpus.length < MAX_CORPUS) this.#corpus.push(input);
    return undefined;
  }

  /** Runs the seeds. */
  begin(): Crash | undefined {
    for (const s of this.#target.seeds()) {
      const crash = this.#try(s.slice(0, this.#target.maxLen));
      if (crash !== undefined) return crash;
    }
    if (this.#corpus.length === 0) this.#corpus.push(new Uint8Array(0));
    return undefined;
  }

  step(): Crash | undefined {
    return this.#try(this.#child());
  }

  // ---- mutation ----

  #parent(): Uint8Array {
    const n = this.#corpus.length;
    // What was found last is followed first.
    const from = this.#luck.chance(0.4) ? Math.max(0, n - 1 - (n >> 3)) : 0;
    return this.#corpus[from + this.#luck.below(n - from)]!;
  }

  #child(): Uint8Array {
    const luck = this.#luck;
    let b = this.#parent();
    for (let n = 1 + luck.below(4); n > 0; n--) {
      const own = luck.chance(0.5) ? this.#target.mutate?.(luck, b) : undefined;
      b = own ?? this.#change(b);
    }
    return b.length > this.#target.maxLen ? b.slice(0, this.#target.maxLen) : b;
  }

  #change(b: Uint8Array): Uint8Array {
    const luck = this.#luck;
    const at = luck.below(b.length + 1);
    switch (luck.below(11)) {
      case 0:
        return b.slice(0, at);
      case 1:
        return patched(b, at, (out) => {
          out[at] = out[at]! ^ (1 << luck.below(8));
        });
      case 2:
        return patched(b, at, (out) => {
          out[at] = luck.pick(EDGES_8);
        });
      case 3:
        return patched(b, at + 1, (out) => put16(out, at, luck.pick(EDGES_16)));
      case 4:
        return patched(b, at + 1, (out) =>
          put16(out, at, Math.max(0, b.length - at - 2 + luck.below(3) - 1)),
        );
      case 5:
        return patched(b, at, (out) => {
          out[at] = b.length - at - 1 + luck.below(3) - 1;
        });
      case 6:
        return inserted(b, at, luck.bytes(1 + luck.below(24)));
      case 7:
        return inserted(b, at, b.subarray(luck.below(b.length + 1)).subarray(0, 200));
      case 8:
        return cut(b, at, 1 + luck.below(16));
      case 9:
        return spliced(b, at, this.#parent(), luck);
      default: {
        const { tokens } = this.#target;
        if (tokens === undefined || tokens.length === 0) return inserted(b, at, luck.bytes(2));
        const token = luck.pick(tokens);
        return luck.chance(0.5) ? inserted(b, at, token) : overwritten(b, at, token);
      }
    }
  }

  // ---- crashes ----

  /** A smaller input that fails with the same first line. */
  shrink(crash: Crash): Crash {
    const kind = firstLine(crash.error);
    let best = crash;
    for (let tries = 0; tries < SHRINK_TRIES; tries++) {
      const b = best.input;
      const len = Math.max(1, b.length >> (1 + this.#luck.below(6)));
      const candidate = cut(b, this.#luck.below(b.length + 1), len);
      if (candidate.length >= b.length) continue;
      const error = this.#execute(candidate);
      if (error !== undefined && firstLine(error) === kind)
        best = { ...best, input: candidate, error };
    }
    return best;
  }
}

const firstLine = (text: string): string => text.split('\n', 1)[0]!.replace(/[0-9]+/g, '#');

function put16(out: Uint8Array, at: number, v: number): void {
  out[at] = v >> 8;
  out[at + 1] = v;
}

/** A changed copy, when `last` is inside. */
function patched(b: Uint8Array, last: number, change: (out: Uint8Array) => void): Uint8Array {
  if (last >= b.length) return b;
  const out = b.slice();
  change(out);
  return out;
}

function inserted(b: Uint8Array, at: number, piece: Uint8Array): Uint8Array {
  const out = new Uint8Array(b.length + piece.length);
  out.set(b.subarray(0, at));
  out.set(piece, at);
  out.set(b.subarray(at), at + piece.length);
  return out;
}

function overwritten(b: Uint8Array, at: number, piece: Uint8Array): Uint8Array {
  const out = b.slice();
  out.set(piece.subarray(0, Math.max(0, b.length - at)), at);
  return out;
}

function cut(b: Uint8Array, at: number, len: number): Uint8Array {
  const out = new Uint8Array(b.length - Math.min(len, b.length - at));
  out.set(b.subarray(0, at));
  out.set(b.subarray(at + len), at);
  return out;
}

/** The beginning of one and the end of another. */
function spliced(a: Uint8Array, at: number, b: Uint8Array, luck: Luck): Uint8Array {
  return inserted(a.slice(0, at), at, b.subarray(luck.below(b.length + 1)));
}
