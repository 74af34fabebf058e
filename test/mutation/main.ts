/**
 * Do the checks notice? Copies the case files and the recorded conversations, alters one compared
 * output in each of 100 cases, and runs the two runners on the copies: every altered case must fail
 * by its name, and no other case of the case files may.
 * VECTORS_DIR and TRANSCRIPTS_DIR name other originals than this project's own.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { positive, readOptions } from '../helpers/args.js';
import { Luck } from '../sim/world.js';
import { alter, type Fields, isFields, type Leaf, pick } from './alter.js';
import { OUTPUTS, outputsOf, packetOutputs } from './outputs.js';

const USAGE = `usage: node build/test/mutation/main.js [--seed N]

Alters one compared output in each of 100 cases; the checks must notice each.

  --seed N   decides what is altered (default 1)
`;

const ALTERATIONS = 100;
/** Cases altered in one file at most: the runners print the names of the first failures only. */
const MAX_PER_FILE = 4;
const VECTORS =
  process.env['VECTORS_DIR'] ?? new URL('../../../test/vectors', import.meta.url).pathname;
const TRANSCRIPTS =
  process.env['TRANSCRIPTS_DIR'] ??
  new URL('../../../test/vectors/transcripts', import.meta.url).pathname;

/** A set of cases of which one is altered at a time. */
interface Pool {
  readonly file: string;
  /** Altered cases of a file of conversations are not alone: packets refer to each other. */
  readonly isTranscript: boolean;
  readonly cases: readonly { readonly name: string; readonly outputs: () => Leaf[][] }[];
}

interface Altered {
  readonly file: string;
  /** How the runner calls the case. */
  readonly name: string;
  readonly change: string;
}

function readJson(dir: string, file: string): Fields {
  return JSON.parse(readFileSync(join(dir, `${file}.json`), 'utf8')) as Fields;
}

function jsonFiles(dir: string): string[] {
  const names = readdirSync(dir).filter((n) => n.endsWith('.json'));
  return names.map((n) => n.slice(0, -5)).sort();
}

/** One pool for each array of cases of a file. */
function vectorPools(file: string, doc: Fields): Pool[] {
  const outputs = OUTPUTS[file];
  if (outputs === undefined) throw new Error(`${file}: its outputs are not listed`);
  return Object.entries(outputs).map(([key, spots]) => {
    const holder = doc[key];
    const items: [string, Fields][] = Array.isArray(holder)
      ? holder.map((c, i) => [`${file}.${key}[${i}]`, c as Fields])
      : Object.entries(holder as Fields).map(([n, c]) => [`${file}.${key}.${n}`, c as Fields]);
    const cases = items.map(([name, c]) => ({ name, outputs: () => outputsOf(c, spots, name) }));
    return { file, isTranscript: false, cases };
  });
}

function transcriptPool(file: string, doc: Fields): Pool {
  const packets = (doc['packets'] as Fields[]).filter(
    (p) => isFields(p['decoded']) && isFields(p['decoded']['fields']),
  );
  const cases = packets.map((p) => {
    const name = `${file} #${p['n']}`;
    return { name, outputs: () => packetOutputs(p, name) };
  });
  return { file, isTranscript: true, cases };
}

/** Alters a case of the pool that was not altered yet; undefined when none is left. */
function alterOne(luck: Luck, pool: Pool, taken: ReadonlySet<string>): Altered | undefined {
  const left = pool.cases.filter((c) => !taken.has(c.name));
  while (left.length > 0) {
    const c = pick(luck, left);
    left.splice(left.indexOf(c), 1);
    const groups = c.outputs();
    if (groups.length === 0) continue;
    return { file: pool.file, name: c.name, change: alter(luck, pick(luck, pick(luck, groups))) };
  }
  return undefined;
}

/** Every pool once, then more of them by luck until there are enough. */
function alterAll(luck: Luck, pools: readonly Pool[]): Altered[] {
  const out: Altered[] = [];
  const taken = new Set<string>();
  const inFile = new Map<string, number>();
  const take = (pool: Pool): void => {
    const used = inFile.get(pool.file) ?? 0;
    if (used >= (pool.isTranscript ? 1 : MAX_PER_FILE)) return;
    const a = alterOne(luck, pool, taken);
    if (a === undefined) return;
    out.push(a);
    taken.add(a.name);
    inFile.set(pool.file, used + 1);
  };
  for (const pool of pools) take(pool);
  const free = pools.filter((p) => !p.isTranscript);
  for (let tries = 0; out.length < ALTERATIONS; tries++) {
    if (tries > 10_000) throw new Error(`only ${out.length} cases can be altered`);
    take(pick(luck, free));
  }
  return out;
}

interface Run {
  readonly code: number;
  readonly text: string;
}

function run(script: string, env: Record<string, string>): Promise<Run> {
  return new Promise((resolve, reject) => {
    const path = new URL(`../${script}`, import.meta.url).pathname;
    const child = spawn(process.execPath, [path], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (chunk: string) => {
        text += chunk;
      });
    }
    child.on('error', reject);
    child.on('close', (code) => resolve({ code: code ?? -1, text }));
  });
}

/** Names of the failed cases in a runner's report. */
function failedCases(text: string): Set<string> {
  const names = [...text.matchAll(/^ {2}([\w-]+(?:\.[\w-]+(?:\[\d+\])?)+): /gm)].map((m) => m[1]!);
  const packets = [...text.matchAll(/^ {2}([\w-]+ #\d+) /gm)].map((m) => m[1]!);
  return new Set([...names, ...packets]);
}

function report(altered: readonly Altered[], runs: readonly Run[]): number {
  const failed = failedCases(runs.map((r) => r.text).join('\n'));
  const problems = altered
    .filter((a) => !failed.has(a.name))
    .map((a) => `${a.name}: not noticed: ${a.change}`);
  const names = new Set(altered.map((a) => a.name));
  const others = [...failed].filter((n) => !n.includes('#') && !names.has(n));
  for (const p of problems) console.error(`  ${p}`);
  for (const n of others) console.error(`  ${n}: fails although it was not altered`);
  const bad = problems.length + others.length + runs.filter((r) => r.code === 0).length;
  console.log(`mutation: ${altered.length - problems.length} passed, ${bad} failed`);
  return bad === 0 ? 0 : 1;
}

async function main(): Promise<number> {
  const args = readOptions('mutation', USAGE, { seed: { type: 'string', default: '1' } });
  const seed = Math.floor(positive('mutation', 'seed', args.seed));
  console.log(`seed ${seed}`);
  const vectors = new Map(jsonFiles(VECTORS).map((n) => [n, readJson(VECTORS, n)]));
  const transcripts = new Map(jsonFiles(TRANSCRIPTS).map((n) => [n, readJson(TRANSCRIPTS, n)]));
  const pools = [
    ...[...vectors].flatMap(([n, doc]) => vectorPools(n, doc)),
    ...[...transcripts].map(([n, doc]) => transcriptPool(n, doc)),
  ];
  const altered = alterAll(new Luck(seed, 'mutation'), pools);
  const dir = mkdtempSync(join(tmpdir(), 'netcon-mutation-'));
  try {
    const transcriptsDir = join(dir, 'transcripts');
    mkdirSync(transcriptsDir);
    for (const [n, doc] of vectors) writeFileSync(join(dir, `${n}.json`), JSON.stringify(doc));
    for (const [n, doc] of transcripts)
      writeFileSync(join(transcriptsDir, `${n}.json`), JSON.stringify(doc));
    const runs = await Promise.all([
      run('vectors/main.js', { VECTORS_DIR: dir }),
      run('transcripts/main.js', { TRANSCRIPTS_DIR: transcriptsDir }),
    ]);
    return report(altered, runs);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

process.exitCode = await main();
