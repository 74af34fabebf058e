/** Programs that a preloaded library would not be in are told from those that it would. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { findProgram, preloadObstacle } from '#src/cli/executable.js';

const dir = mkdtempSync(join(tmpdir(), 'ncelf-'));
test.after.always(() => rmSync(dir, { recursive: true, force: true }));

const MACHINE = { x64: 62, arm64: 183, riscv64: 243 }[process.arch as 'x64'] ?? 0;

/** A file with an ELF head and, unless undefined, a request for a dynamic loader. */
function elf(name: string, loader: string | undefined, change?: (b: Buffer) => void): string {
  const b = Buffer.alloc(256);
  b.write('\x7fELF', 0, 'latin1');
  b[4] = 2;
  b[5] = 1;
  b.writeUInt16LE(MACHINE, 18);
  b.writeBigUInt64LE(64n, 32);
  b.writeUInt16LE(56, 54);
  b.writeUInt16LE(2, 56);
  b.writeUInt32LE(1, 64);
  if (loader !== undefined) {
    b.writeUInt32LE(3, 120);
    b.writeBigUInt64LE(180n, 128);
    b.writeBigUInt64LE(BigInt(loader.length + 1), 152);
    b.write(loader, 180, 'latin1');
  }
  change?.(b);
  return program(name, b);
}

function program(name: string, content: Buffer | string): string {
  const file = join(dir, name);
  writeFileSync(file, content);
  chmodSync(file, 0o755);
  return file;
}

const GLIBC = '/lib64/ld-linux-x86-64.so.2';

test('what is linked with glibc dynamically is reached, node itself too', (t) => {
  t.is(preloadObstacle(elf('dynamic', GLIBC)), undefined);
  t.is(preloadObstacle(process.execPath), undefined);
});

test('static, musl, 32-bit and foreign programs are named with their reason', (t) => {
  const of = (file: string): string => preloadObstacle(file)!.replace(`${dir}/`, '');
  t.is(of(elf('static', undefined)), 'static is statically linked');
  t.regex(of(elf('musl', '/lib/ld-musl-x86_64.so.1')), /^musl uses musl/);
  t.regex(of(elf('small', GLIBC, (b) => b.writeUInt8(1, 4))), /^small is a 32-bit program/);
  t.regex(of(elf('other', GLIBC, (b) => b.writeUInt16LE(8, 18))), /^other is a program of another/);
});

test('a script is as its interpreter, also behind env and behind another script', (t) => {
  const fixed = elf('interpreter', undefined);
  t.regex(preloadObstacle(program('script', `#!${fixed} -x\n`))!, /interpreter is statically/);
  t.regex(preloadObstacle(program('twice', `#! ${join(dir, 'script')}\n`))!, /statically/);
  t.is(preloadObstacle(program('node-script', '#!/usr/bin/env node\n')), undefined);
  const loop = join(dir, 'loop');
  t.is(preloadObstacle(program('loop', `#!${loop}\n`)), undefined);
});

test('hostile heads are read within bounds', (t) => {
  const all = [
    elf('far', GLIBC, (b) => b.writeBigUInt64LE(2n ** 52n, 32)),
    elf('narrow', GLIBC, (b) => b.writeUInt16LE(1, 54)),
    elf('many', GLIBC, (b) => b.writeUInt16LE(65535, 56)),
    elf('long', GLIBC, (b) => b.writeBigUInt64LE(2n ** 40n, 152)),
    program('short', '\x7fELF'),
    program('empty', ''),
    program('line', '#!'),
  ];
  for (const file of all) t.notThrows(() => preloadObstacle(file), file);
  t.is(preloadObstacle(join(dir, 'missing')), undefined);
});

test('a program is found as execvp does', (t) => {
  const file = elf('found', GLIBC);
  t.is(findProgram('found', `/nonexistent:${dir}`), file);
  t.is(findProgram(file), file);
  chmodSync(file, 0o644);
  t.is(findProgram('found', dir), undefined);
});
