/**
 * One fuzzing process: worker.js TARGET[,TARGET...] SECONDS SEED [plant]. Installs the counting loader,
 * loads the families of its targets and runs the targets in turn, a slice each, until their time is
 * up. Prints one JSON line per finding, one per target at the end, and one after each slice as a sign
 * of life. Exit code 1 after a finding.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { register } from 'node:module';
import { type Counters, type Crash, Engine, type FileCoverage } from './engine.js';
import type { Family, Target } from './target.js';

declare global {
  var __fuzz: { map: Uint8Array; files: (readonly [string, number, readonly number[]])[] };
}

export interface Result {
  readonly target: string;
  readonly seed: number;
  /** Of the clock, and of the processor. */
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly executions: number;
  readonly corpus: number;
  readonly slowestMs: number;
  readonly findings: number;
  readonly coverage: readonly FileCoverage[];
}

const CRASHES = new URL('../../fuzz/crashes/', import.meta.url).pathname;
const FAMILIES = ['wire', 'text', 'core', 'preload', 'node'];
const MAX_COUNTERS = 32_768;
/** A target runs so long before the next one of the process has its turn. */
const SLICE_MS = 2_000;
/** Executions between looks at the clock. */
const BATCH = 16;
const MAX_FINDINGS = 20;

interface Running {
  readonly target: Target;
  readonly engine: Engine;
  usedMs: number;
  cpuUs: number;
  findings: number;
}

const [names = '', seconds = '10', seed = '1', plant] = process.argv.slice(2);

function report(run: Running, crash: Crash): void {
  run.findings++;
  const small = run.engine.shrink(crash);
  const hash = createHash('sha256').update(small.input).digest('hex').slice(0, 12);
  const path = `${CRASHES}${run.target.name}-${hash}.bin`;
  mkdirSync(CRASHES, { recursive: true });
  writeFileSync(path, small.input);
  const finding = { target: run.target.name, execution: crash.execution, path, error: small.error };
  console.log(JSON.stringify({ finding }));
}

/** Runs a target for `ms`. @returns whether to go on with it. */
function slice(run: Running, ms: number): boolean {
  const until = performance.now() + ms;
  const started = performance.now();
  const before = process.cpuUsage();
  let crash: Crash | undefined;
  while (crash === undefined && performance.now() < until) {
    for (let i = 0; i < BATCH && crash === undefined; i++) crash = run.engine.step();
  }
  run.usedMs += performance.now() - started;
  const cpu = process.cpuUsage(before);
  run.cpuUs += cpu.user + cpu.system;
  console.log('{"alive":true}');
  if (crash === undefined) return true;
  report(run, crash);
  return plant === undefined && run.findings < MAX_FINDINGS;
}

function finish(run: Running): void {
  const result: Result = {
    target: run.target.name,
    seed: Number(seed),
    seconds: Math.round(run.usedMs / 100) / 10,
    cpuSeconds: Math.round(run.cpuUs / 100_000) / 10,
    executions: run.engine.executions,
    corpus: run.engine.corpusLen,
    slowestMs: Math.round(run.engine.slowestMs),
    findings: run.findings,
    coverage: run.engine.coverage(),
  };
  console.log(JSON.stringify({ result }));
}

async function targets(): Promise<Target[]> {
  const wanted = names.split(',');
  const out: Target[] = [];
  for (const f of FAMILIES) {
    // Only what is needed is loaded: a planted bug must not reach the seeds of others.
    if (!wanted.some((w) => w.startsWith(`${f}:`))) continue;
    const { FAMILY } = (await import(`./targets/${f}.js`)) as { FAMILY: Family };
    out.push(...FAMILY.targets.filter((t) => wanted.includes(`${f}:${t.name}`)));
  }
  return out;
}

async function main(): Promise<void> {
  globalThis.__fuzz = { map: new Uint8Array(MAX_COUNTERS), files: [] };
  const data = plant === undefined ? {} : { plant: JSON.parse(plant) as unknown };
  register('./loader.js', { parentURL: import.meta.url, data });
  const all = await targets();
  const counters: Counters = globalThis.__fuzz;
  const running: Running[] = all.map((target) => ({
    target,
    engine: new Engine(target, counters, Number(seed)),
    usedMs: 0,
    cpuUs: 0,
    findings: 0,
  }));
  let open = running.filter((run) => {
    const crash = run.engine.begin();
    if (crash === undefined) return true;
    report(run, crash);
    return plant === undefined;
  });
  const budget = Number(seconds) * 1_000;
  while (open.length > 0) {
    open = open.filter((r) => slice(r, Math.min(SLICE_MS, budget)) && r.usedMs < budget);
    // The parent takes silence for an endless loop.
    console.log(JSON.stringify({ alive: Math.round(performance.now()) }));
  }
  for (const run of running) finish(run);
  process.exitCode = running.some((r) => r.findings > 0) ? 1 : 0;
}

await main();
