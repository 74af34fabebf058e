/** The layout rules of the project: who may import whom, what a pure room may not use, goldens. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import test from 'ava';
import { NETCON_VERSION } from '#src/host/version.js';

const ROOT = new URL('../../../', import.meta.url).pathname;

function files(folder: string, ending: string): string[] {
  const out: string[] = [];
  for (const name of readdirSync(join(ROOT, folder))) {
    const path = join(folder, name);
    if (statSync(join(ROOT, path)).isDirectory()) out.push(...files(path, ending));
    else if (name.endsWith(ending)) out.push(path);
  }
  return out;
}

/** Source without comments, so that prose does not count. */
function source(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8')
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/^\s*\/\/.*$/gm, '');
}

/** Import specifiers of a file, as project paths or as they are. */
function imports(path: string): { target: string; typeOnly: boolean }[] {
  const out: { target: string; typeOnly: boolean }[] = [];
  for (const m of source(path).matchAll(/(?:import|export)\s+(type\s+)?[^;]*?from\s+'([^']+)'/g)) {
    const to = m[2]!;
    const target = to.startsWith('.') ? relative(ROOT, join(ROOT, path, '..', to)) : to;
    out.push({ target, typeOnly: m[1] !== undefined });
  }
  return out;
}

/** Room -> rooms and modules it may import. Types of an interface file may be imported more widely. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  wire: ['lib', 'crypto/api'],
  'crypto/api': [],
  'crypto/reference': ['lib', 'crypto'],
  'crypto/native': ['lib', 'crypto', 'node:crypto'],
  'crypto/kbkdf': ['lib', 'crypto'],
  packetcore: ['lib', 'crypto', 'node:crypto', 'node:fs'],
  vl1: ['lib', 'wire', 'crypto/api'],
  vl2: ['lib', 'wire', 'crypto/api'],
  controller: ['lib', 'wire', 'crypto/api', 'vl2/context', 'vl2/port'],
  node: ['lib', 'wire', 'crypto/api', 'vl1', 'vl2', 'controller/controller'],
  stack: ['lib', 'crypto/api', 'node:fs'],
  preload: ['lib', 'stack/stack'],
};

function roomOf(path: string): string | undefined {
  const inner = path.replace(/^src\//, '').replace(/\.(?:ts|js)$/, '');
  const names = Object.keys(MAY_IMPORT).sort((a, b) => b.length - a.length);
  return names.find((r) => inner === r || inner.startsWith(`${r}/`));
}

test('a pure room imports only what the table of rooms allows', (t) => {
  const bad: string[] = [];
  for (const path of files('src', '.ts')) {
    const room = roomOf(path);
    if (room === undefined) continue;
    for (const { target } of imports(path)) {
      const inner = target.replace(/^src\//, '').replace(/\.js$/, '');
      const isAllowed = MAY_IMPORT[room]!.some((a) => inner === a || inner.startsWith(`${a}/`));
      if (!isAllowed && roomOf(`src/${inner}`) !== room) bad.push(`${path} imports ${target}`);
    }
  }
  t.deepEqual(bad, []);
});

test('a pure room has no clock, randomness, timer, environment or promise', (t) => {
  const pure = [
    'lib',
    'wire',
    'crypto/reference',
    'vl1',
    'vl2',
    'controller',
    'node',
    'stack',
    'preload',
  ];
  const forbidden =
    /\b(?:Date\.now|new Date|performance\.|Math\.random|setTimeout|setInterval|setImmediate|queueMicrotask|process\.|WeakRef|FinalizationRegistry|async |await |Promise[.<])/;
  const bad: string[] = [];
  for (const room of pure) {
    for (const path of files(`src/${room}`, '.ts')) {
      const m = forbidden.exec(source(path));
      if (m !== null) bad.push(`${path} uses ${m[0]}`);
    }
  }
  t.deepEqual(bad, []);
});

test('vl1 and vl2 do not know each other', (t) => {
  for (const path of files('src/vl1', '.ts'))
    t.false(
      imports(path).some((i) => i.target.startsWith('src/vl2')),
      path,
    );
  for (const path of files('src/vl2', '.ts'))
    t.false(
      imports(path).some((i) => i.target.startsWith('src/vl1')),
      path,
    );
});

test('no test starts the service but through the helper that writes a planet first', (t) => {
  const bad = files('test', '.ts')
    .filter((p) => p !== 'test/helpers/service.ts' && p !== 'test/lab/lab.ts')
    .filter((p) => /spawn(?:Sync)?\([^)]*service\.js/.test(source(p)));
  t.deepEqual(bad, []);
});

test('no sleeping test, no skipped or exclusive test without a reason', (t) => {
  const bad = files('test', '.test.ts').filter(
    (p) => p !== 'test/arch/layout.test.ts' && /test\.(?:only|todo|failing|skip)\b/.test(source(p)),
  );
  t.deepEqual(bad, []);
});

test('the packet core imports nothing and its memory is fixed', async (t) => {
  const { loadExports } = await import('#src/packetcore/load.js');
  const { memory } = loadExports();
  t.is(memory.buffer.byteLength, 36 * 65_536);
});

test('the version in the code is that of the package', (t) => {
  const pkg = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  t.is(NETCON_VERSION, pkg.version);
});

test('every room that a reader looks for has its page in docs', (t) => {
  const pages = readdirSync(join(ROOT, 'docs'));
  for (const page of ['decisions.md', 'interop.md', 'packetcore.md'])
    t.true(pages.includes(page), page);
});

test('the project names no path of a machine', (t) => {
  const bad: string[] = [];
  for (const folder of [
    'src',
    'wasm',
    'lwip-port',
    'intercept',
    'test',
    'docs',
    'bench',
    'examples',
  ]) {
    for (const ending of ['.ts', '.c', '.h', '.sh', '.md', '.mjs', '.js']) {
      for (const path of files(folder, ending)) {
        if (
          path !== 'test/arch/layout.test.ts' &&
          /(?:^|[^A-Za-z0-9_.])\/(?:work|root|farm)\/[a-z.]/m.test(
            readFileSync(join(ROOT, path), 'utf8'),
          )
        )
          bad.push(path);
      }
    }
  }
  t.deepEqual(bad, []);
});
