/** docs/fuzz.json: what all accepted runs did together, and docs/fuzz.md made of it. */
import { readFileSync, writeFileSync } from 'node:fs';
import type { Result } from './worker.js';

const JSON_FILE = new URL('../../../docs/fuzz.json', import.meta.url);
export const FUZZ_MD = new URL('../../../docs/fuzz.md', import.meta.url);

export interface Total {
  readonly target: string;
  /** Of the clock, and of the processor. */
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly executions: number;
  readonly corpus: number;
  readonly slowestMs: number;
  readonly findings: number;
  /** Blocks of each file, and the most that one run reached of them. */
  readonly coverage: readonly {
    readonly file: string;
    readonly blocks: number;
    /** Blocks of the functions that were called. */
    readonly entered: number;
    readonly hit: number;
  }[];
}

export interface Fixed {
  readonly target: string;
  readonly what: string;
}

export interface FuzzReport {
  readonly totals: readonly Total[];
  /** By hand: what the targets found, and what was done. */
  readonly fixed: readonly Fixed[];
}

export function readFuzz(): FuzzReport {
  return JSON.parse(readFileSync(JSON_FILE, 'utf8')) as FuzzReport;
}

function add(before: Total | undefined, r: Result): Total {
  return {
    target: r.target,
    seconds: Math.round((before?.seconds ?? 0) + r.seconds),
    cpuSeconds: Math.round((before?.cpuSeconds ?? 0) + r.cpuSeconds),
    executions: (before?.executions ?? 0) + r.executions,
    corpus: Math.max(before?.corpus ?? 0, r.corpus),
    slowestMs: Math.max(before?.slowestMs ?? 0, r.slowestMs),
    findings: (before?.findings ?? 0) + r.findings,
    coverage: r.coverage.map((c) => {
      const old = before?.coverage.find((x) => x.file === c.file && x.blocks === c.blocks);
      return old !== undefined && old.hit > c.hit ? old : c;
    }),
  };
}

/** Adds results to docs/fuzz.json and renders the page. */
export function accept(results: readonly Result[]): void {
  const before = readFuzz();
  const totals = new Map(before.totals.map((t) => [t.target, t]));
  for (const r of results) totals.set(r.target, add(totals.get(r.target), r));
  const next: FuzzReport = { totals: [...totals.values()], fixed: before.fixed };
  writeFileSync(JSON_FILE, `${JSON.stringify(next, undefined, 1)}\n`);
  writeFileSync(FUZZ_MD, renderFuzz(next));
}

const count = (n: number): string => n.toLocaleString('en-US');

const percent = (part: number, whole: number): string =>
  whole === 0 ? '-' : `${((100 * part) / whole).toFixed(1)} %`;

function totalRow(t: Total): string {
  const entered = t.coverage.reduce((s, c) => s + c.entered, 0);
  const hit = t.coverage.reduce((s, c) => s + c.hit, 0);
  const cells = [
    t.target,
    count(t.executions),
    count(Math.round(t.seconds / 60)),
    count(t.cpuSeconds),
    percent(hit, entered),
    count(t.corpus),
    count(t.slowestMs),
    count(t.findings),
  ];
  return `| ${cells.join(' | ')} |`;
}

function fileRows(totals: readonly Total[]): string {
  const best = new Map<string, { blocks: number; entered: number; hit: number; by: string }>();
  for (const t of totals) {
    for (const c of t.coverage) {
      const old = best.get(c.file);
      if (old === undefined || c.hit > old.hit)
        best.set(c.file, { blocks: c.blocks, entered: c.entered, hit: c.hit, by: t.target });
    }
  }
  return [...best]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([f, c]) =>
        `| ${f} | ${c.hit} of ${c.entered} | ${percent(c.hit, c.entered)} | ${c.blocks} | ${c.by} |`,
    )
    .join('\n');
}

export function renderFuzz(r: FuzzReport): string {
  const fixed = r.fixed.map((f) => `- \`${f.target}\`: ${f.what}`).join('\n');
  return `# Fuzzing

Written by \`npm run fuzz -- --accept\` from docs/fuzz.json; do not edit.

\`npm run fuzz\` searches, for each parser and for a whole node behind the MAC, for inputs that make it
throw, trap, read beyond its bytes, exceed a bound, or give something else than an oracle (its own
writer, the platform, another run). The search is guided by coverage: a module hook
(test/fuzz/loader.ts) puts a counter into every block of the compiled code, and an input that runs a
block, or runs it a new number of times, becomes a parent of further ones. Seeds of the search are the
recorded vectors and transcripts. It is deterministic by seed (\`--seed\`), but for how far it gets in its time.

That the targets can find something is tested: for each of them a bug is planted into the parser it
guards (a length check taken out and the like), and \`npm run fuzz -- --planted\` (part of \`npm test\`)
fails unless the target finds it within 30 s.

| target | executions | minutes | CPU s | blocks reached | corpus | slowest, ms | findings |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
${r.totals.map(totalRow).join('\n')}

Minutes are those of the clock, all runs together. Targets may run many at a time at the lowest priority
(\`--jobs\`), so the processor's seconds, which are given beside them, are fewer.

## Coverage by file

The best of all targets. Blocks are functions, branches, loop bodies, cases and right sides of logical
operators. They are counted in the functions that the target called; the functions of a file that it does
not call (the writing side, mostly, which a parser's target does not need) are in the last number only.

| file | blocks | share | of the whole file | by |
| --- | ---: | ---: | ---: | --- |
${fileRows(r.totals)}

## What it found

${fixed === '' ? 'Nothing so far.' : fixed}
`;
}
