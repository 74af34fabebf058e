/**
 * What the probes cover, measured: `node build/test/preload/hooks.js`, options as in USAGE.
 *
 * Runs every probe once with probes/trace.c between it and the library, which notes each wrapped
 * call with the class of its arguments. Then, for each symbol of intercept/hooks.list, links the
 * library without that symbol and runs the cases that call it until one differs from the kernel:
 * a probe that still agrees shows nothing about its hook. Prints both tables or writes
 * them. Status 1 when a hook's absence goes unnoticed, or a cell is empty, without a
 * reason below.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { readOptions } from '#test/helpers/args.js';
import {
  buildProbe,
  byCase,
  compareCase,
  hookNames,
  type KnownDifferences,
  onKernel,
  PROBES,
  type Probe,
  probeFingerprint,
} from './conformance.js';
import type { Harness } from './harness.js';
import { gcc, linkLibrary, openBench } from './library.js';
import { enterNamespace } from './namespace.js';
import { run } from './run.js';

const USAGE = `usage: node build/test/preload/hooks.js [options]

Which hooks of the preload library the probes call with which kinds of argument, and whether a probe
fails without each hook. Takes some minutes.

  --write   into test/preload/hooks.md, not to standard output
  --help    this

Last line: hooks: N passed, N failed
`;

const args = readOptions('hooks', USAGE, { write: { type: 'boolean', default: false } });

const FILE = fileURLToPath(import.meta.url);
const ROOT = path.resolve(path.dirname(FILE), '../../..');
const LIBRARY = path.join(ROOT, 'dist/native/libztintercept.so');
const OBJECTS = path.join(ROOT, 'build/intercept/build/Release/obj.target/ztintercept');
const TABLE = path.join(ROOT, 'test/preload/hooks.md');

const CLASSES = [
  'valid',
  'wrong-fd',
  'not-ours',
  'null',
  'wrong-length',
  'non-blocking',
  'after-shutdown',
  'reset',
  'dup',
  'forked',
  'exec',
  'threads',
] as const;

/** Hooks whose absence no probe can see, and why. */
const UNSEEN: ReadonlyMap<string, string> = new Map([
  ['dlopen', 'modules.ts: a module loaded with RTLD_DEEPBIND'],
  ['dlmopen', 'modules.ts: a module loaded with RTLD_DEEPBIND'],
  ['gai_cancel', 'cancel.c: only a look-up that waits differs, and the kernel run has none'],
]);

/** Why a cell is empty; a letter in it. */
const REASONS = {
  '=': 'another name of a call that has its own row: the same code',
  '-': 'the call has no such argument',
  n: "the call takes names, not descriptors; lengths and empty arguments of these are compared in probes/names.c, lookups.c and details.c, and libc's own do not check their pointers",
  b: 'chooses a port and calls bind()',
  m: 'loads modules: modules.ts',
  c: 'gives a copy of a descriptor that another process may have: dup() has the row',
  d: 'its arguments are those of the call that is made by number, which has its own row',
} as const;

const SECOND_NAME = /^__|^fcntl64$/;
const NO_DESCRIPTOR =
  /^(?:socket|prctl|rresvport|rcmd|rexec|gai_|res_|get(?:addrinfo|nameinfo|hostby|ifaddrs)|if_)/;
const NO_POINTER = /^(?:listen|shutdown|dup[23]?|fcntl)$/;

function reasonFor(hook: string, argument: string): keyof typeof REASONS | undefined {
  if (SECOND_NAME.test(hook)) return '=';
  if (hook === 'socket' || hook === 'prctl') return '-';
  if (NO_DESCRIPTOR.test(hook)) return 'n';
  if (hook === 'bindresvport') return 'b';
  if (hook === 'pidfd_getfd') return 'c';
  if (hook === 'dlopen' || hook === 'dlmopen') return 'm';
  if (argument !== 'null' && argument !== 'wrong-length') return undefined;
  if (NO_POINTER.test(hook) || (hook === 'ioctl' && argument === 'wrong-length')) return '-';
  return hook === 'syscall' ? 'd' : undefined;
}

interface Built {
  readonly probe: Probe;
  readonly file: string;
  readonly kernel: ReadonlyMap<string, string[]>;
}

/** What one hook was called with: kinds of socket by class, and the cases that called it. */
interface Coverage {
  readonly kinds: Map<string, Set<string>>;
  readonly cases: Map<Built, Set<string>>;
}

async function buildTracer(folder: string): Promise<string> {
  const tracer = path.join(folder, 'trace.so');
  const source = path.join(ROOT, 'test/preload/probes/trace.c');
  const include = path.join(ROOT, 'intercept');
  const flags = ['-std=gnu11', '-O1', '-shared', '-fPIC', '-I', include];
  await gcc([...flags, '-o', tracer, source, '-ldl']);
  return tracer;
}

function coverageOf(all: Map<string, Coverage>, hook: string): Coverage {
  let one = all.get(hook);
  if (one === undefined) {
    one = { kinds: new Map(), cases: new Map() };
    all.set(hook, one);
  }
  return one;
}

/** Reads `case hook kind class` lines. */
function collect(all: Map<string, Coverage>, built: Built, text: string): void {
  for (const line of text.split('\n')) {
    const [name = '', hook = '', kind = '', argument = ''] = line.split(' ');
    if (argument === '' || !built.kernel.has(name)) continue;
    const { kinds, cases } = coverageOf(all, hook);
    if (!kinds.has(argument)) kinds.set(argument, new Set());
    kinds.get(argument)!.add(kind);
    if (!cases.has(built)) cases.set(built, new Set());
    cases.get(built)!.add(name);
  }
}

async function trace(folder: string, network: string): Promise<[Built[], Map<string, Coverage>]> {
  const tracer = await buildTracer(folder);
  const all = new Map<string, Coverage>();
  const built: Built[] = [];
  for (const probe of PROBES) {
    const file = await buildProbe(ROOT, probe, folder, ['-rdynamic']);
    const one = { probe, file, kernel: byCase(await onKernel(file, {})) };
    const notes = path.join(folder, `${probe.name}.trace`);
    const env = { LD_PRELOAD: `${tracer}:${LIBRARY}`, ZT_NC_NETWORK: network, PROBE_TRACE: notes };
    await run(file, [], env);
    collect(all, one, fs.readFileSync(notes, 'utf8'));
    built.push(one);
    console.error(`traced ${probe.name}`);
  }
  return [built, all];
}

/** Links the library again without exporting `hook`: calls of programs go to libc. */
async function linkWithout(hook: string, folder: string): Promise<string> {
  const map = path.join(folder, 'mutant.map');
  const mutant = path.join(folder, 'mutant.so');
  const rest = hookNames(ROOT).filter((name) => name !== hook);
  fs.writeFileSync(map, `{ global: ${rest.join('; ')}; local: *; };\n`);
  const objects = fs
    .readdirSync(OBJECTS)
    .filter((name) => name.endsWith('.o'))
    .map((name) => path.join(OBJECTS, name));
  await linkLibrary(objects, mutant, map, ['-Wl,-z,defs']);
  return mutant;
}

/** The case that fails without `hook`, or undefined. */
async function noticedBy(
  harness: Harness,
  coverage: Coverage,
  mutant: string,
  known: KnownDifferences,
): Promise<string | undefined> {
  const env = { LD_PRELOAD: mutant, ZT_NC_NETWORK: harness.network, PROBE_LIMIT: '4' };
  /* Datagrams first: their probes are quick, and a missing hook shows its record header. */
  const probes = [...coverage.cases].sort(
    ([a], [b]) => Number(b.probe.datagrams) - Number(a.probe.datagrams),
  );
  for (const [built, names] of probes) {
    for (const name of names) {
      const output = byCase((await run(built.file, [name], env)).stdout);
      const wanted = built.kernel.get(name) ?? [];
      if (compareCase(wanted, output.get(name) ?? [], known).length > 0) {
        return `${built.probe.name} ${name}`;
      }
    }
  }
  return undefined;
}

/** What was measured, or in brackets why not. */
function cellOf(hook: string, argument: string, kinds: ReadonlySet<string> = new Set()): string {
  const seen = [...kinds].sort().join('');
  if (seen === '-') return 'x';
  return seen === '' ? `(${reasonFor(hook, argument) ?? MISSING})` : seen.replace('-', '');
}

function coverageRows(hooks: readonly string[], all: ReadonlyMap<string, Coverage>): string {
  const rows = hooks.map((hook) => {
    const kinds = all.get(hook)?.kinds;
    return `| \`${hook}\` | ${CLASSES.map((c) => cellOf(hook, c, kinds?.get(c))).join(' | ')} |`;
  });
  return [
    `| hook | ${CLASSES.join(' | ')} |`,
    `|---|${CLASSES.map(() => '---|').join('')}`,
    ...rows,
  ].join('\n');
}

/** Must not occur. */
const MISSING = '**?**';

const HEAD = `# What the probes cover

Written by \`node build/test/preload/hooks.js --write\`; not by hand.

## Hooks and kinds of argument

Measured by probes/trace.c while all probes ran under the preload. Letters: s TCP, d UDP, e ICMP echo socket,
x a descriptor that is none of ours or a call without one. In brackets why no probe does that:

${Object.entries(REASONS)
  .map(([letter, text]) => `- (${letter}) ${text}`)
  .join('\n')}
`;

const MUTANTS = `
## Without the hook

The library is linked again without the symbol, and the cases that call it run until one differs from the kernel.
`;

async function main(): Promise<void> {
  enterNamespace(FILE, 'hooks: failed');
  const bench = await openBench(ROOT, 'netcon-hooks-');
  const { folder, harness, known } = bench;
  const hooks = hookNames(ROOT);
  const [, all] = await trace(folder, harness.network);
  const rows: string[] = [];
  let unnoticed = 0;
  for (const hook of hooks) {
    const coverage = coverageOf(all, hook);
    const by = await noticedBy(harness, coverage, await linkWithout(hook, folder), known);
    if (by === undefined && !UNSEEN.has(hook)) unnoticed++;
    const reason = UNSEEN.get(hook) ?? '**nothing**';
    rows.push(`| \`${hook}\` | ${by ?? reason} |`);
    console.error(rows.at(-1));
  }
  const mutants = ['| hook | its absence fails |', '|---|---|', ...rows].join('\n');
  const coverage = coverageRows(hooks, all);
  const empty = coverage.split(MISSING).length - 1;
  const mark = `Measured with cases and hooks ${probeFingerprint(ROOT)}.`;
  const text = `${HEAD}\n${coverage}\n${MUTANTS}\n${mutants}\n\n${mark}\n`;
  if (args.write) fs.writeFileSync(TABLE, text);
  else console.log(text);
  await bench.close();
  if (empty > 0) console.log(`${empty} cells are empty without a reason`);
  console.log(`hooks: ${hooks.length - unnoticed} passed, ${unnoticed} failed`);
  process.exit(unnoticed + empty === 0 ? 0 : 1);
}

await main();
