/** Command lines of the test programs: help without a run, a wrong option is a line and status 2. */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import test from 'ava';

const SOURCES = path.resolve(import.meta.dirname, '../../../test');
const BUILT = path.resolve(import.meta.dirname, '..');
/** Programs that start others or measure for minutes: nobody wants a run who asks what it is. */
const PROGRAMS = fs
  .readdirSync(SOURCES, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts') && !file.startsWith('helpers') && !file.startsWith('arch'))
  .filter((file) =>
    /\bread(Options|Args)\('/.test(fs.readFileSync(path.join(SOURCES, file), 'utf8')),
  )
  .map((file) => file.replace(/\.ts$/, '.js'));

const start = (program: string, option: string) =>
  spawnSync(process.execPath, [path.join(BUILT, program), option], {
    encoding: 'utf8',
    timeout: 20_000,
  });

test('programs that enter a namespace read their options', (t) => {
  for (const name of [
    'preload/main',
    'preload/hooks',
    'preload/sanitize',
    'launcher/main',
    'policy/main',
    'stress/main',
    'apps/main',
  ]) {
    t.true(PROGRAMS.includes(`${name}.js`), name);
  }
});

for (const program of PROGRAMS) {
  test(`${program}: --help, and an option that is none`, (t) => {
    const help = start(program, '--help');
    t.is(help.status, 0);
    t.regex(help.stdout, /^usage: .+\n/);
    const wrong = start(program, '--no-such-option');
    t.is(wrong.status, 2);
    t.is(wrong.stdout, '');
    t.regex(wrong.stderr, /^[a-z]+: Unknown option '--no-such-option'.*\n$/);
  });
}
