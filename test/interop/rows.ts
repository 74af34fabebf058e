/** Results of interoperation checks: one row each, kept over runs in a JSON file. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { performance } from 'node:perf_hooks';
import type { Traffic } from '../lab/capture.js';
import { type Lab, SUPPORTED_VERSION } from '../lab/lab.js';

export interface Row {
  readonly group: string;
  readonly scenario: string;
  readonly check: string;
  readonly ok: boolean;
  readonly detail: string;
  readonly seconds: number;
  /** Commit of the code that ran, `+` when the tree had changes; and the day. */
  readonly commit: string;
  readonly date: string;
  /** Between our node and the peer during the check, from the capture. */
  readonly traffic?: Traffic;
}

export interface Report {
  readonly peer: string;
  readonly node: string;
  readonly rows: readonly Row[];
}

export const isQuick = process.argv.includes('--quick');
export const rows: Row[] = [];

/** What decides a result: a row is stale when any of it changed since its commit. */
export const CODE = ['src', 'wasm', 'lwip-port', 'intercept', 'native', 'test/interop', 'test/lab'];

const today = new Date().toISOString().slice(0, 10);
const commit = currentCommit();

/** Short hash of HEAD; `+` when a file that decides the result was changed since. */
function currentCommit(): string {
  try {
    const git = (...args: string[]): string => execFileSync('git', args, { encoding: 'utf8' });
    const isClean = git('status', '--porcelain', '--', ...CODE).trim() === '';
    return git('rev-parse', '--short', 'HEAD').trim() + (isClean ? '' : '+');
  } catch {
    return 'unknown';
  }
}

export function expect(condition: boolean, text: string): void {
  if (!condition) throw new Error(text);
}

export const message = (e: unknown): string => (e instanceof Error ? e.message : String(e));

function add(row: Omit<Row, 'commit' | 'date'>): void {
  rows.push({ ...row, commit, date: today });
  const at = `${row.scenario}: ${row.check}`;
  console.log(`${row.ok ? 'ok  ' : 'FAIL'} ${at} (${row.seconds.toFixed(1)} s) ${row.detail}`);
}

/** What a check found: a text, or a text and the traffic that proves it. */
export type Finding = string | { readonly detail: string; readonly traffic: Traffic };

export async function check(
  group: string,
  scenario: string,
  name: string,
  run: () => Promise<Finding>,
): Promise<void> {
  const from = performance.now();
  const took = (): number => (performance.now() - from) / 1000;
  try {
    const found = await run();
    const rest = typeof found === 'string' ? { detail: found } : found;
    add({ group, scenario, check: name, ok: true, seconds: took(), ...rest });
  } catch (e) {
    add({ group, scenario, check: name, ok: false, detail: message(e), seconds: took() });
  }
}

/** A scenario that could not be set up is a failed row, with the last words of its nodes. */
export function scenarioFailed(group: string, scenario: string, lab: Lab, e: unknown): void {
  add({ group, scenario, check: 'set-up', ok: false, detail: message(e), seconds: 0 });
  for (const n of lab.nodes) if (n.log !== '') console.log(`---- ${n.name}\n${n.log.slice(-1500)}`);
}

export function suitesText(suites: Traffic['suites']): string {
  const text = (m: Record<number, number>): string =>
    Object.entries(m)
      .map(([k, v]) => `suite ${k}: ${v}`)
      .join(', ');
  return `from us ${text(suites[0])}; from the peer ${text(suites[1])}`;
}

/** Writes the rows of this run over those of earlier runs with the same names. */
export function writeReport(file: string): void {
  const earlier = existsSync(file)
    ? (JSON.parse(readFileSync(file, 'utf8')) as Report).rows
    : ([] as Row[]);
  const ran = new Set(rows.map((r) => `${r.group}/${r.scenario}`));
  const kept = earlier.filter((r) => !ran.has(`${r.group}/${r.scenario}`));
  const report: Report = {
    peer: `ZeroTier One ${SUPPORTED_VERSION}`,
    node: process.version,
    rows: [...kept, ...rows].sort((a, b) => order(a).localeCompare(order(b))),
  };
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(report, null, 1)}\n`);
}

/** Groups in the page's order; within one, scenarios by name and checks as they ran (a stable sort). */
function order(r: Row): string {
  return `${['programs', 'matrix', 'events'].indexOf(r.group)} ${r.scenario}`;
}
