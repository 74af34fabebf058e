/** Runs our programs under the reference's names, and compares what they did with a record. */
import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { type Finished, packageFile, runProgram } from '../helpers/service.js';
import type { ServiceRecord } from './records.js';

const FILES: Readonly<Record<string, string>> = {
  'zerotier-cli': 'dist/cli.js',
  'zerotier-idtool': 'dist/cli.js',
  'zerotier-one': 'dist/service.js',
};
const TIME_LIMIT_MS = 30_000;

/** A folder with links of the reference's program names to ours. */
export class Programs {
  readonly #folder: string;

  constructor(dir: string) {
    this.#folder = join(dir, 'bin');
    mkdirSync(this.#folder, { recursive: true });
    for (const [name, file] of Object.entries(FILES))
      symlinkSync(packageFile(file), join(this.#folder, name));
  }

  path(name: string): string {
    if (!Object.hasOwn(FILES, name)) throw new Error(`no program is called ${name}`);
    return join(this.#folder, name);
  }

  /**
   * Runs a command line; `argv[0]` is the program's name.
   * @param clock what Date.now() says in the program, in ms; undefined = the real time.
   */
  run(
    argv: readonly string[],
    options: { cwd?: string; env?: NodeJS.ProcessEnv; clock?: number } = {},
  ): Promise<Finished> {
    const frozen =
      options.clock === undefined
        ? []
        : ['--import', `data:text/javascript,Date.now=()=>${options.clock}`];
    const env = { PATH: process.env['PATH'] ?? '', ...options.env };
    return runProgram(
      process.execPath,
      [...frozen, this.path(argv[0]!), ...argv.slice(1)],
      env,
      TIME_LIMIT_MS,
      options.cwd,
    );
  }
}

/** Usage texts are free; what must be there is one, on the recorded stream. */
const isUsage = (text: string): boolean => /^usage: /m.test(text) && text.endsWith('\n');

/** Compares one stream. @param same how texts compare that are no usage text. */
export function compareStream(
  what: string,
  actual: string,
  expected: string,
  same: (actual: string, expected: string) => boolean = (a, b) => a === b,
): void {
  const ok = expected === 'USAGE-TEXT\n' ? isUsage(actual) : same(actual, expected);
  assert.ok(ok, `${what}: ${JSON.stringify(actual)} instead of ${JSON.stringify(expected)}`);
}

/** Compares exit code and both streams with a record, placeholders filled in by `fill`. */
export function compareRun(
  actual: Finished,
  record: ServiceRecord,
  fill: (text: string) => string,
  same?: (actual: string, expected: string) => boolean,
): void {
  compareStream('stdout', actual.stdout, fill(record.stdout ?? ''), same);
  compareStream('stderr', actual.stderr, fill(record.stderr ?? ''), same);
  assert.equal(actual.code, record.exitCode, 'exit code');
}
