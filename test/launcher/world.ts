/** What the parts of the launcher's suite share. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Skip, type Tally } from '#test/helpers/tally.js';
import type { Harness } from '#test/preload/harness.js';
import { type Finished, run } from '#test/preload/run.js';

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
/** Another one to be tested, such as one built with sanitizers (test/preload/sanitize.ts). */
export const LAUNCHER = process.env['NETCON_LAUNCHER'] ?? path.join(ROOT, 'dist/native/zt-run');
/** An address of the network that never answers. */
export const SILENT = '10.147.17.99';

export interface World {
  readonly harness: Harness;
  readonly folder: string;
  /** ZT_NC_NETWORK of the harness. */
  readonly env: NodeJS.ProcessEnv;
  readonly tally: Tally;
  /** Tests whose title contains it. */
  readonly only: string;
}

/** Whether a test of this title was asked for. */
export function isChosen(world: World, title: string): boolean {
  return title.includes(world.only);
}

/** @throws Skip where the service has no door for datagrams, as without the addon. */
export function needDatagrams(world: World): void {
  if (!fs.existsSync(`${world.harness.network}.dg`))
    throw new Skip('the service has no door for datagrams (is the addon built?)');
}

/** One check, unless `--only` names others. */
export async function check(world: World, title: string, body: () => unknown): Promise<void> {
  if (isChosen(world, title)) await world.tally.check(title, body);
}

/** Compiles a probe statically, named after its first source; @returns its path. */
export async function buildProbe(world: World, ...sources: string[]): Promise<string> {
  const out = path.join(world.folder, path.basename(sources[0]!, '.c'));
  const flags = ['-std=gnu11', '-O1', '-Wall', '-Wextra', '-static', '-pthread'];
  const done = await run('gcc', [...flags, '-o', out, ...sources.map((s) => path.join(ROOT, s))]);
  assert.equal(done.code, 0, done.stderr);
  return out;
}

/** Runs a command under the launcher on the harness's network. */
export function launch(world: World, ...command: string[]): Promise<Finished> {
  return run(LAUNCHER, command, world.env);
}
