/**
 * Building the preload library in other ways than build.sh does, and a network to try it on: what
 * sanitize.ts and hooks.ts share.
 */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { HOSTS, type KnownDifferences, readKnownDifferences } from './conformance.js';
import { type Harness, openHarness } from './harness.js';
import { lwipStack } from './namespace.js';
import { expect, run } from './run.js';

/** @throws Error with what the compiler said. */
export async function gcc(args: readonly string[]): Promise<void> {
  const done = await run('gcc', args);
  expect(done.code === 0, done.stderr);
}

/** Links objects to a library that exports the symbols of the version script `map`. */
export async function linkLibrary(
  objects: readonly string[],
  library: string,
  map: string,
  more: readonly string[],
): Promise<void> {
  const flags = ['-shared', `-Wl,--version-script=${map}`, '-Wl,-z,now'];
  const last = ['-Wl,-Bsymbolic-functions', '-o', library, ...objects, '-ldl', '-lpthread'];
  await gcc([...more, ...flags, ...last]);
}

export interface Bench {
  /** A folder that every user may look into. */
  readonly folder: string;
  readonly harness: Harness;
  readonly known: KnownDifferences;
  close(): Promise<void>;
}

/** A network over lwIP with the names of the probes, and what may differ on it. */
export async function openBench(root: string, prefix: string): Promise<Bench> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), prefix));
  fs.chmodSync(folder, 0o755);
  const harness = await openHarness(lwipStack());
  fs.writeFileSync(`${harness.network}.hosts`, HOSTS);
  return {
    folder,
    harness,
    known: readKnownDifferences(path.join(root, 'test/preload/known-differences.md')),
    async close() {
      await harness.close();
      fs.rmSync(folder, { recursive: true, force: true });
    },
  };
}
