/**
 * The differential test: one probe on kernel TCP and under the preload, compared line by line.
 */
import * as fs from 'node:fs';

/** Lines of a probe's output by case, in order. */
export function byCase(output: string): Map<string, string[]> {
  const cases = new Map<string, string[]>();
  for (const line of output.split('\n')) {
    if (line === '') continue;
    const name = line.slice(0, line.indexOf(' '));
    const lines = cases.get(name);
    if (lines === undefined) cases.set(name, [line]);
    else lines.push(line);
  }
  return cases;
}

export type KnownDifferences = ReadonlyMap<string, string>;

/** Reads the table of known-differences.md: kernel line -> preload line. */
export function readKnownDifferences(file: string): KnownDifferences {
  const known = new Map<string, string>();
  for (const line of fs.readFileSync(file, 'utf8').split('\n')) {
    const cells = /^\| `([^`]+)` *\| `([^`]+)` *\|/.exec(line);
    if (cells !== null) known.set(cells[1]!, cells[2]!);
  }
  return known;
}

/** Differences of one case that are not known; empty when there are none. */
export function compareCase(
  kernel: readonly string[],
  preload: readonly string[],
  known: KnownDifferences,
): string[] {
  const wrong: string[] = [];
  for (let i = 0; i < Math.max(kernel.length, preload.length); i++) {
    const k = kernel[i] ?? '(nothing)';
    const p = preload[i] ?? '(nothing)';
    if (k !== p && known.get(k) !== p) wrong.push(`kernel "${k}", preload "${p}"`);
  }
  return wrong;
}
