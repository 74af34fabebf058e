/**
 * The probes under AddressSanitizer and UndefinedBehaviorSanitizer:
 * `node build/test/preload/sanitize.js`, options as in USAGE.
 *
 * Builds the preload library and the launcher with both sanitizers, runs the probes with them, and
 * compares with the kernel as main.ts does; any report fails. A fault planted in each of the two
 * kinds shows first that reports are made and seen. Then the launcher's own suite.
 */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { readOptions } from '#test/helpers/args.js';
import { Tally } from '#test/helpers/tally.js';
import {
  buildProbe,
  byCase,
  compareCase,
  type KnownDifferences,
  onKernel,
  PROBES,
  type Probe,
} from './conformance.js';
import { gcc, linkLibrary, openBench } from './library.js';
import { enterNamespace } from './namespace.js';
import { repliesProbe } from './replies.js';
import { expect, run, which } from './run.js';

const USAGE = `usage: node build/test/preload/sanitize.js [options]

The preload library and the launcher under AddressSanitizer and UndefinedBehaviorSanitizer.

  --quick   the library alone, with the quick cases of each probe
  --help    this

Last line: sanitizers: N passed, N failed, N skipped
`;

const args = readOptions('sanitizers', USAGE, { quick: { type: 'boolean', default: false } });

const FILE = fileURLToPath(import.meta.url);
const ROOT = path.resolve(path.dirname(FILE), '../../..');
const SOURCES = path.join(ROOT, 'intercept');

const FLAGS = [
  '-std=gnu11',
  '-O1',
  '-g',
  '-fPIC',
  '-fno-omit-frame-pointer',
  '-fvisibility=hidden',
  '-U_FORTIFY_SOURCE',
  '-D_GNU_SOURCE',
  '-fsanitize=address,undefined',
  '-fno-sanitize-recover=all',
];

/** Status of a program that a sanitizer ended; no probe ends with it. */
const ENDED_BY_SANITIZER = 99;

/** A mistake put into a copy of a source file; FAULTY_CASE runs into it. */
interface Fault {
  readonly what: string;
  readonly file: string;
  readonly right: string;
  readonly wrong: string;
  readonly report: RegExp;
}

const FAULTS: readonly Fault[] = [
  {
    what: 'a buffer that is one byte short',
    file: 'hook_dgram.c',
    right:
      'ssize_t dgram_send(int fd, const struct zt_token *t, const struct msghdr *msg, int flags)\n{\n\tuint8_t head[DGRAM_LEN];',
    wrong:
      'ssize_t dgram_send(int fd, const struct zt_token *t, const struct msghdr *msg, int flags)\n{\n\tuint8_t head[DGRAM_LEN - 1];',
    report: /AddressSanitizer: stack-buffer-overflow/,
  },
  {
    what: 'a shift out of the range of int',
    file: 'hook_dgram.c',
    right: 'return n - DGRAM_LEN;\n}\n\n/** describe()',
    wrong: 'return (1 << (n + 31)) + n - DGRAM_LEN;\n}\n\n/** describe()',
    report: /runtime error: shift exponent/,
  },
];

/** It sends and receives a datagram. */
const FAULTY_PROBE = 'udp';
const FAULTY_CASE = 'U3';

/** Of replies.ts, some 60 calls each. */
const NONSENSE_CYCLES = 50;

/** Compiles `sources` into `folder`, as many at a time as there are processors. */
async function compile(
  sources: readonly string[],
  folder: string,
  more: readonly string[] = [],
): Promise<string[]> {
  fs.mkdirSync(folder, { recursive: true });
  const left = [...sources];
  const objects: string[] = [];
  const worker = async (): Promise<void> => {
    for (let source = left.pop(); source !== undefined; source = left.pop()) {
      const object = path.join(folder, `${path.basename(source, '.c')}.o`);
      await gcc([...FLAGS, ...more, `-I${SOURCES}`, '-c', '-o', object, source]);
      objects.push(object);
    }
  };
  await Promise.all(os.cpus().map(worker));
  return objects;
}

const cFiles = (folder: string): string[] =>
  fs
    .readdirSync(folder)
    .filter((name) => name.endsWith('.c'))
    .map((name) => path.join(folder, name));

async function link(objects: readonly string[], library: string): Promise<void> {
  const map = `${library}.map`;
  const done = await run('sh', [
    path.join(SOURCES, 'hooks-map.sh'),
    path.join(SOURCES, 'hooks.list'),
    map,
  ]);
  expect(done.code === 0, done.stderr);
  await linkLibrary(objects, library, map, FLAGS);
}

/** Where sanitizers write, and what makes them. */
class Reports {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    fs.mkdirSync(folder);
    fs.chmodSync(folder, 0o777);
  }

  /** Leaks are looked for where a process may look at itself: the supervisor may not. */
  env(leaks: boolean): NodeJS.ProcessEnv {
    const where = `log_path=${this.#folder}/report:exitcode=${ENDED_BY_SANITIZER}`;
    const stack = 'detect_stack_use_after_return=1';
    return {
      ASAN_OPTIONS: `${where}:${stack}:detect_leaks=${Number(leaks)}`,
      UBSAN_OPTIONS: `${where}:print_stacktrace=1`,
    };
  }

  /**
   * Text of all reports since the last call; `said` is what the programs wrote to stderr, for beside
   * the other one UndefinedBehaviorSanitizer does not heed its log_path.
   */
  take(said: string): string {
    let text = said.includes('runtime error:') ? said : '';
    for (const name of fs.readdirSync(this.#folder)) {
      const file = path.join(this.#folder, name);
      text += fs.readFileSync(file, 'utf8');
      fs.rmSync(file);
    }
    return text;
  }
}

interface Place {
  readonly folder: string;
  readonly network: string;
  readonly runtime: string;
  readonly reports: Reports;
  readonly tally: Tally;
  readonly programs: Map<string, string>;
}

/** Runs cases of a probe with a library; the runtime of AddressSanitizer has to come first. */
function underLibrary(place: Place, probe: Probe, library: string, cases: readonly string[]) {
  const env = { LD_PRELOAD: `${place.runtime}:${library}`, ZT_NC_NETWORK: place.network };
  const program = place.programs.get(probe.name)!;
  return run(program, cases, { ...env, ...place.reports.env(true) });
}

async function findsFault(place: Place, objects: readonly string[], fault: Fault): Promise<void> {
  const folder = fs.mkdtempSync(path.join(place.folder, 'fault-'));
  const source = path.join(folder, fault.file);
  const text = fs.readFileSync(path.join(SOURCES, fault.file), 'utf8');
  expect(text.includes(fault.right), `${fault.file} has changed: plant the fault elsewhere`);
  fs.writeFileSync(source, text.replace(fault.right, fault.wrong));
  const [object] = await compile([source], folder, ['-w']);
  const others = objects.filter((name) => path.basename(name) !== path.basename(object!));
  const library = path.join(folder, 'fault.so');
  await link([...others, object!], library);
  const probe = PROBES.find((p) => p.name === FAULTY_PROBE)!;
  const done = await underLibrary(place, probe, library, [FAULTY_CASE]);
  const report = place.reports.take(done.stderr);
  expect(fault.report.test(report), `no such report, but: ${report}`);
}

async function compare(
  place: Place,
  probe: Probe,
  library: string,
  cases: readonly string[],
  known: KnownDifferences,
): Promise<void> {
  const program = place.programs.get(probe.name)!;
  const [kernel, here] = await Promise.all([
    onKernel(program, {}, cases),
    underLibrary(place, probe, library, cases),
  ]);
  const report = place.reports.take(here.stderr);
  expect(report === '', report);
  const wanted = byCase(kernel);
  const got = byCase(here.stdout);
  expect(wanted.size >= (cases.length > 0 ? cases.length : probe.cases), 'cases are missing');
  const wrong: string[] = [];
  for (const [name, lines] of wanted) {
    wrong.push(...compareCase(lines, got.get(name) ?? [], known));
  }
  expect(wrong.length === 0, wrong.join('; '));
}

async function buildLauncher(place: Place): Promise<string> {
  const folder = path.join(place.folder, 'launcher');
  const objects = await compile(cFiles(SOURCES), folder, ['-DZT_STATIC']);
  const archive = path.join(folder, 'intercept.a');
  const done = await run('ar', ['rcs', archive, ...objects]);
  expect(done.code === 0, done.stderr);
  const launcher = path.join(folder, 'zt-run');
  const sources = cFiles(path.join(ROOT, 'launcher'));
  const flags = ['-DZT_STATIC', `-I${SOURCES}`, '-o', launcher];
  await gcc([...FLAGS, ...flags, ...sources, archive, '-lpthread', '-ldl']);
  return launcher;
}

async function launcherSuite(place: Place): Promise<void> {
  const launcher = await buildLauncher(place);
  const suite = path.join(ROOT, 'build/test/launcher/main.js');
  const env = { NETCON_LAUNCHER: launcher, ...place.reports.env(false) };
  const done = await run(process.execPath, [suite], env, undefined, 600_000);
  const report = place.reports.take(done.stdout + done.stderr);
  expect(report === '', report);
  const failures = done.stdout.split('\n').filter((line) => line.startsWith('FAIL'));
  expect(done.code === 0, failures.join('\n') || done.stderr);
}

/** Of these probes the cases whose pointers libasan's own wrappers do not follow first. */
const PARTS: ReadonlyMap<string, readonly string[]> = new Map([
  [
    'pointers',
    ['addresses', 'options', 'messages', 'datagrams', 'values', 'requests', 'received', 'read']
      .concat('timed', 'limits')
      .map((name) => `B-${name}`),
  ],
]);

function casesOf(probe: Probe, quick: boolean): readonly string[] {
  return quick ? probe.inert : (PARTS.get(probe.name) ?? []);
}

async function main(): Promise<void> {
  enterNamespace(FILE, 'sanitizers: 0 passed, 1 failed, 0 skipped');
  const tally = new Tally('sanitizers');
  const found = await which('gcc');
  const runtime =
    found === undefined ? '' : (await run(found, ['-print-file-name=libasan.so'])).stdout.trim();
  if (!path.isAbsolute(runtime)) {
    tally.skip('the sanitizers', 'gcc with libasan is not installed');
    tally.finish();
    return;
  }
  const { quick } = args;
  const bench = await openBench(ROOT, 'netcon-sanitize-');
  const { folder, harness, known } = bench;
  const place: Place = {
    folder,
    network: harness.network,
    runtime: fs.realpathSync(runtime),
    reports: new Reports(path.join(folder, 'reports')),
    tally,
    programs: new Map(),
  };
  const library = path.join(folder, 'libztintercept.so');
  let objects: string[] = [];
  await tally.check('the library is built with both sanitizers', async () => {
    objects = await compile(cFiles(SOURCES), path.join(folder, 'library'));
    await link(objects, library);
    for (const probe of PROBES)
      place.programs.set(probe.name, await buildProbe(ROOT, probe, folder));
  });
  for (const fault of FAULTS) {
    await tally.check(`${fault.what} is found`, () => findsFault(place, objects, fault));
  }
  for (const probe of PROBES.filter((p) => !quick || p.inert.length > 0)) {
    await tally.check(`${probe.name}: no report, and as the kernel`, () =>
      compare(place, probe, library, casesOf(probe, quick), known),
    );
  }
  await tally.check('replies that are nonsense: no report', async () => {
    const env = { LD_PRELOAD: `${place.runtime}:${library}`, ...place.reports.env(true) };
    const said = await repliesProbe(ROOT, folder, env, NONSENSE_CYCLES);
    const report = place.reports.take(said);
    expect(report === '', report);
  });
  if (!quick) {
    await tally.check('the launcher: no report, and its suite passes', () => launcherSuite(place));
  }
  await bench.close();
  tally.finish();
  process.exit();
}

await main();
