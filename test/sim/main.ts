/**
 * `npm run sim`: all scenarios and the growth of a network, each twice. Each size runs in two
 * processes of its own, so that memory is what one run takes.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { readArgs } from '../helpers/args.js';
import { type GrowthRow, grow } from './growth.js';
import {
  MD_FILE,
  readScale,
  renderScale,
  SCALE_JSON,
  type Scale,
  type ScenarioResult,
  scaleText,
} from './report.js';
import { captureFailure, runScenario } from './scenario.js';
import { SCENARIOS } from './scenarios/index.js';

const DEFAULT_SEED = 20_261_125;
const SIZES = '10,30,100,200,300,1000,2000';
const CAPTURES = new URL('../../sim/', import.meta.url).pathname;

const USAGE = `usage: npm run sim -- [options]

Runs all scenarios and the growth of a network to 2,000 nodes, each twice, and compares.

  --seed N       another seed (nothing is compared with docs/scale.json then)
  --sizes N,N    sizes of the growing network (default ${SIZES})
  --only ID      one scenario, or "growth"
  --accept       write docs/scale.json and docs/scale.md; sizes and scenarios not run are kept
  --help         this
`;

const { values: args } = readArgs('sim', {
  options: {
    seed: { type: 'string', default: `${DEFAULT_SEED}` },
    sizes: { type: 'string', default: SIZES },
    only: { type: 'string' },
    accept: { type: 'boolean', default: false },
    row: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (args.help) {
  process.stdout.write(USAGE);
  process.exit(0);
}
const seed = Number(args.seed);
let passed = 0;
let failed = 0;

function verdict(ok: boolean, what: string): void {
  if (ok) passed++;
  else failed++;
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${what}`);
}

const isWanted = (id: string): boolean => args.only === undefined || args.only === id;

function runAll(): ScenarioResult[] {
  const results: ScenarioResult[] = [];
  for (const s of SCENARIOS.filter((x) => isWanted(x.id))) {
    try {
      const [a, b] = [runScenario(s, seed), runScenario(s, seed)];
      verdict(a.hash === b.hash, `${s.title} [${a.hash.slice(0, 12)}]`);
      for (const [k, v] of Object.entries(a.summary)) console.log(`       ${k}: ${v}`);
      results.push({ id: s.id, title: s.title, summary: a.summary });
    } catch (e) {
      mkdirSync(CAPTURES, { recursive: true });
      const path = `${CAPTURES}${s.id}.pcap`;
      captureFailure(s, seed, path);
      verdict(false, `${s.title}: ${(e as Error).message}; capture in ${path}`);
    }
  }
  return results;
}

/** One size in a process of its own. */
async function rowOf(nodes: number): Promise<GrowthRow> {
  const me = new URL(import.meta.url).pathname;
  const child = spawn(
    process.execPath,
    ['--expose-gc', '--max-old-space-size=8192', me, '--row', `${nodes}`, '--seed', `${seed}`],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let text = '';
  child.stdout.on('data', (b: Buffer) => {
    text += b.toString();
  });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${nodes} nodes: exit ${code}`);
  return JSON.parse(text) as GrowthRow;
}

async function runGrowth(): Promise<GrowthRow[]> {
  const rows: GrowthRow[] = [];
  if (!isWanted('growth')) return rows;
  for (const nodes of args.sizes.split(',').map(Number)) {
    try {
      const [a, b] = await Promise.all([rowOf(nodes), rowOf(nodes)]);
      verdict(a.hash === b.hash, `a network of ${nodes} [${a.hash.slice(0, 12)}]`);
      console.log(`       ${JSON.stringify(a)}`);
      rows.push(a);
    } catch (e) {
      verdict(false, (e as Error).message);
    }
  }
  return rows;
}

/** What was run now, and what stands from before for the rest. */
function merged(scenarios: readonly ScenarioResult[], growth: readonly GrowthRow[]): Scale {
  const before = existing();
  const fresh = new Map(scenarios.map((s) => [s.id, s]));
  const old = new Map(before.scenarios.map((s) => [s.id, s]));
  const rows = new Map([...before.growth, ...growth].map((r) => [r.nodes, r]));
  return {
    seed,
    scenarios: SCENARIOS.map((s) => fresh.get(s.id) ?? old.get(s.id)).filter(
      (s) => s !== undefined,
    ),
    growth: [...rows.values()].sort((a, b) => a.nodes - b.nodes),
  };
}

function existing(): Scale {
  try {
    return readScale();
  } catch {
    // The first run writes it.
    return { seed, scenarios: [], growth: [] };
  }
}

if (args.row !== undefined) {
  process.stdout.write(JSON.stringify(grow(Number(args.row), seed)));
} else {
  console.log(`seed ${seed}`);
  const scale = merged(runAll(), await runGrowth());
  if (args.accept && failed === 0) {
    writeFileSync(SCALE_JSON, scaleText(scale));
    writeFileSync(MD_FILE, renderScale(scale));
    console.log('docs/scale.json and docs/scale.md are written');
  }
  console.log(`simulation: ${passed} passed, ${failed} failed (seed ${seed})`);
  process.exitCode = failed > 0 ? 1 : 0;
}
