import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import test from 'ava';
import { TextFile } from '#src/host/text-file.js';

/** Longer than any file system takes to show a change. */
const LATER_MS = 10_000;

function scene(lengthMax?: number) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'netcon-text-'));
  const name = path.join(folder, 'file');
  const reasons: string[] = [];
  const clock = { ahead: LATER_MS };
  const file = new TextFile(name, {
    failed: (reason) => reasons.push(reason),
    now: () => Date.now() + clock.ahead,
    ...(lengthMax === undefined ? {} : { lengthMax }),
  });
  return { name, reasons, clock, file, end: () => fs.rmSync(folder, { recursive: true }) };
}

test('a file is read when it came, changed, was replaced, or went, and else not', (t) => {
  const s = scene();
  t.is(s.file.text(), '');
  fs.writeFileSync(s.name, 'one');
  for (let i = 0; i < 10; i++) t.is(s.file.text(), 'one');
  t.is(s.file.reads, 1);
  fs.writeFileSync(s.name, 'longer');
  for (let i = 0; i < 10; i++) t.is(s.file.text(), 'longer');
  const { atime, mtime } = fs.statSync(s.name);
  fs.writeFileSync(`${s.name}.new`, 'LONGER');
  fs.utimesSync(`${s.name}.new`, atime, mtime);
  fs.renameSync(`${s.name}.new`, s.name);
  for (let i = 0; i < 10; i++) t.is(s.file.text(), 'LONGER', 'as long, as old, but another');
  t.is(s.file.reads, 3);
  fs.rmSync(s.name);
  t.is(s.file.text(), '');
  t.deepEqual(s.reasons, []);
  s.end();
});

test('a file that has just changed is read again: its time need not tell of the next change', (t) => {
  const s = scene();
  s.clock.ahead = 0;
  fs.writeFileSync(s.name, 'one');
  t.is(s.file.text(), 'one');
  t.is(s.file.text(), 'one');
  t.is(s.file.reads, 2);
  s.clock.ahead = LATER_MS;
  for (let i = 0; i < 10; i++) t.is(s.file.text(), 'one');
  t.is(s.file.reads, 3);
  s.end();
});

test('what is no file is told once, and does not hold anybody up', (t) => {
  const s = scene();
  execFileSync('mkfifo', [s.name]);
  for (let i = 0; i < 3; i++) t.is(s.file.text(), '');
  t.deepEqual(s.reasons, ['not a regular file']);
  fs.rmSync(s.name);
  t.is(s.file.text(), '');
  fs.mkdirSync(s.name);
  t.is(s.file.text(), '');
  t.is(s.reasons.length, 2, 'once more after it was gone');
  t.is(new TextFile('/dev/null').text(), '');
  s.end();
});

test('a file that is too long is read as far as may be, in whole lines', (t) => {
  const s = scene(10);
  fs.writeFileSync(s.name, '1234\n6789\n');
  t.is(s.file.text(), '1234\n6789\n');
  t.deepEqual(s.reasons, []);
  fs.writeFileSync(s.name, '1234\n67890\n');
  t.is(s.file.text(), '1234\n');
  t.deepEqual(s.reasons, ['only the first 10 bytes are read']);
  fs.writeFileSync(s.name, 'no end of a line');
  t.is(s.file.text(), '');
  s.end();
});

test('a file of many pieces comes whole', (t) => {
  const s = scene();
  const text = '10.0.0.1 a\u00e4\n'.repeat(20_000);
  fs.writeFileSync(s.name, text);
  t.is(s.file.text(), text);
  s.end();
});
