/**
 * Module hooks of a fuzzing process: every module of dist/ is loaded with block counters, and one of
 * them, when a planted bug is asked for, with a passage replaced.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { instrument } from './instrument.js';
import type { Plant } from './target.js';

interface Loaded {
  readonly format: string;
  readonly source: string;
  readonly shortCircuit: boolean;
}

const DIST = new URL('../../../dist/', import.meta.url).href;
/** Room of the counters; main.ts makes the map. */
const MAX_COUNTERS = 32_768;

let next = 0;
let plant: Plant | undefined;

export function initialize(data: { readonly plant?: Plant }): void {
  plant = data.plant;
}

function planted(name: string, source: string): string {
  if (plant === undefined || plant.file !== name) return source;
  const parts = source.split(plant.find);
  // A passage that moved or changed must not make the check pass for nothing.
  if (parts.length !== 2)
    throw new Error(`${name}: ${parts.length - 1} passages are "${plant.find}"`);
  return parts.join(plant.replace);
}

export async function load(
  url: string,
  context: unknown,
  nextLoad: (url: string, context: unknown) => Promise<Loaded>,
): Promise<Loaded> {
  if (!url.startsWith(DIST) || !url.endsWith('.js')) return nextLoad(url, context);
  const name = url.slice(DIST.length);
  const text = planted(name, readFileSync(fileURLToPath(url), 'utf8'));
  const { source, owners } = instrument(text, next);
  const count = owners.length;
  if (next + count > MAX_COUNTERS) throw new Error('more blocks than counters');
  const head = `const __c=globalThis.__fuzz.map;globalThis.__fuzz.files.push(['${name}',${next},[${owners}]]);`;
  next += count;
  return { format: 'module', source: head + source, shortCircuit: true };
}
