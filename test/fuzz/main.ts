/** `npm run fuzz`: every target for some time, in processes of their own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { readArgs } from '../helpers/args.js';
import { accept } from './report.js';
import type { Family, Target } from './target.js';
import type { Result } from './worker.js';

const FAMILIES = ['wire', 'text', 'core', 'preload', 'node'];
const PLANTED_SECONDS = 30;
/** Start, seeds and a turn fit well inside, on a busy machine too; more silence is an endless loop. */
const SILENCE_MS = 300_000;
const DEFAULT_JOBS = '2';

const USAGE = `usage: npm run fuzz -- [options]

Fuzzes every target for 30 s, each in a process of its own.

  --target T[,T]   only these; a name, or a family (${FAMILIES.join(', ')})
  --seconds S      for each target (default 30)
  --share S        these seconds for all together instead
  --together       the targets share a process and take turns
  --jobs N         processes at a time (default ${DEFAULT_JOBS}); seconds are those of the clock
  --seed N         another search (default 1)
  --planted        the check of the targets: each must find the bug planted into its parser
  --accept         adds executions, seconds and coverage to docs/fuzz.json, and writes docs/fuzz.md
  --help           this
`;

const { values: args } = readArgs('fuzz', {
  options: {
    target: { type: 'string' },
    seconds: { type: 'string', default: '30' },
    share: { type: 'string' },
    seed: { type: 'string', default: '1' },
    jobs: { type: 'string', default: DEFAULT_JOBS },
    planted: { type: 'boolean', default: false },
    accept: { type: 'boolean', default: false },
    together: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (args.help) {
  process.stdout.write(USAGE);
  process.exit(0);
}

/** The number of an option, which must be above 0. */
function positive(name: 'seconds' | 'share' | 'jobs'): number {
  const v = Number(args[name]);
  if (v > 0 && Number.isFinite(v)) return v;
  process.stderr.write(`fuzz: --${name} ${args[name]}: a number above 0 is needed\n`);
  process.exit(2);
}

const JOBS = Math.ceil(positive('jobs'));

interface Named {
  readonly family: string;
  readonly target: Target;
}

interface Finding {
  readonly target: string;
  readonly execution: number;
  readonly path: string;
  readonly error: string;
}

interface Outcome {
  readonly results: Result[];
  readonly findings: Finding[];
  readonly code: number | null;
  readonly hung: boolean;
  readonly errors: string;
}

async function allTargets(): Promise<Named[]> {
  const wanted = args.target?.split(',');
  const out: Named[] = [];
  for (const family of FAMILIES) {
    const { FAMILY } = (await import(`./targets/${family}.js`)) as { FAMILY: Family };
    for (const target of FAMILY.targets) {
      if (wanted === undefined || wanted.includes(target.name) || wanted.includes(family))
        out.push({ family, target });
    }
  }
  return out;
}

/** Kills a process that says nothing for too long. */
class Watch {
  hung = false;
  #timer: NodeJS.Timeout | undefined;
  readonly #child: ChildProcess;

  constructor(child: ChildProcess) {
    this.#child = child;
    this.alive();
  }

  alive(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.hung = true;
      this.#child.kill('SIGKILL');
    }, SILENCE_MS);
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

async function work(some: readonly Named[], seconds: number, plant?: string): Promise<Outcome> {
  const worker = new URL('./worker.js', import.meta.url).pathname;
  const names = some.map((n) => `${n.family}:${n.target.name}`).join(',');
  const child = spawn(
    process.execPath,
    [worker, names, `${seconds}`, args.seed, ...(plant === undefined ? [] : [plant])],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const watch = new Watch(child);
  const results: Result[] = [];
  const findings: Finding[] = [];
  let errors = '';
  child.stderr.on('data', (b: Buffer) => {
    errors += b.toString();
  });
  createInterface({ input: child.stdout }).on('line', (line) => {
    watch.alive();
    const o = JSON.parse(line) as { result?: Result; finding?: Finding };
    if (o.result !== undefined) results.push(o.result);
    if (o.finding !== undefined) findings.push(o.finding);
  });
  const [code] = (await once(child, 'close')) as [number | null];
  watch.end();
  return { results, findings, code, hung: watch.hung, errors };
}

/** Runs jobs, some at a time. */
async function inParallel<T>(jobs: readonly (() => Promise<T>)[]): Promise<void> {
  const queue = [...jobs];
  const lane = async (): Promise<void> => {
    for (let job = queue.shift(); job !== undefined; job = queue.shift()) await job();
  };
  await Promise.all(Array.from({ length: JOBS }, lane));
}

let passed = 0;
let failed = 0;

function verdict(ok: boolean, what: string): void {
  if (ok) passed++;
  else failed++;
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${what}`);
}

function share(r: Result): string {
  const blocks = r.coverage.reduce((s, c) => s + c.blocks, 0);
  const hit = r.coverage.reduce((s, c) => s + c.hit, 0);
  return `${hit} of ${blocks} blocks`;
}

function describe(o: Outcome): void {
  for (const f of o.findings)
    console.log(`${f.target}: execution ${f.execution}, input in ${f.path}\n${f.error}`);
  if (o.hung) console.log(`no sign of life for ${SILENCE_MS / 1_000} s: an endless loop`);
  if (o.errors !== '') console.log(o.errors);
}

async function search(some: readonly Named[], seconds: number, all: Result[]): Promise<void> {
  const o = await work(some, seconds);
  describe(o);
  for (const { target } of some) {
    const r = o.results.find((x) => x.target === target.name);
    const clean = r !== undefined && r.findings === 0 && !o.hung;
    const what = r === undefined ? 'no result' : `${r.executions} executions, ${share(r)}`;
    verdict(clean, `${target.name}: ${what}, corpus ${r?.corpus}, seed ${args.seed}`);
    if (r !== undefined) all.push(r);
  }
}

/** The planted bug must be found by its target. */
async function checkPlant(n: Named): Promise<void> {
  const o = await work([n], PLANTED_SECONDS, JSON.stringify(n.target.plant));
  const f = o.findings[0];
  verdict(
    f !== undefined && !o.hung,
    `${n.target.name}: the bug planted in ${n.target.plant.file}`,
  );
  if (f === undefined) describe(o);
  else console.log(`     execution ${f.execution}: ${f.error.split('\n', 1)[0]}`);
}

const targets = await allTargets();
if (targets.length === 0) throw new Error(`no target is called ${args.target}`);
const results: Result[] = [];
if (args.planted) {
  await inParallel(targets.map((n) => () => checkPlant(n)));
} else {
  // Some at a time: shared seconds are seconds of the clock.
  const seconds =
    args.share === undefined ? positive('seconds') : (positive('share') * JOBS) / targets.length;
  if (args.together) await search(targets, seconds, results);
  else await inParallel(targets.map((n) => () => search([n], seconds, results)));
}
if (args.accept) accept(results);
console.log(`fuzz: ${passed} passed, ${failed} failed (seed ${args.seed})`);
process.exitCode = failed > 0 ? 1 : 0;
