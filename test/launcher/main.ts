/**
 * Tests of `netcon run --seccomp` and its launcher zt-run: `node build/test/launcher/main.js`, options
 * as in USAGE.
 *
 * Enters a network namespace of its own first, so that a program that escaped would talk to
 * nobody. Statically linked probes are compared with the kernel line by line; then busybox, Go, a
 * preloaded partner, the life of the three processes, what is refused, and a hostile program.
 * Last line: `launcher: N passed, N failed, N skipped`.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { createStack } from '#src/stack/lwip-stack.js';
import { readOptions } from '#test/helpers/args.js';
import { Tally } from '#test/helpers/tally.js';
import { type Harness, openHarness } from '#test/preload/harness.js';
import { which } from '#test/preload/run.js';
import { compareProbes, compareSignals, unprivileged } from './compare.js';
import { errors } from './errors.js';
import { hostile, refused } from './hostile.js';
import { lives } from './lives.js';
import { busybox, golang, preloaded } from './programs.js';
import { LAUNCHER, type World } from './world.js';

const USAGE = `usage: node build/test/launcher/main.js [options]

Programs under netcon run --seccomp, in a network namespace of its own: probes compared with the kernel,
real programs, what is refused, a hostile program.

  --only TEXT   tests whose name contains it
  --help        this

Last line: launcher: N passed, N failed, N skipped
`;

const { only } = readOptions('launcher', USAGE, { only: { type: 'string', default: '' } });

const INSIDE = 'NETCON_LAUNCHER_INSIDE';
const tally = new Tally('launcher');

/** Starts this program again inside a namespace; does not return. */
function enterNamespace(): never {
  const flags = process.getuid?.() === 0 ? ['-n'] : ['-rn'];
  const inner = [process.execPath, fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  const env = { ...process.env, [INSIDE]: '1' };
  const done = spawnSync('unshare', [...flags, '--', ...inner], { stdio: 'inherit', env });
  if (done.error !== undefined || done.status === null) {
    console.log(`FAIL a network namespace: ${done.error?.message ?? 'none could be made'}`);
    console.log('launcher: 0 passed, 1 failed, 0 skipped');
  }
  process.exit(done.status ?? 1);
}

function openDoor(): Promise<Harness> {
  return openHarness(
    createStack({
      mac: Uint8Array.of(0x02, 0x17, 0, 0, 0, 1),
      entropy: { fill: (bytes) => void randomFillSync(bytes) },
      at: { mono: performance.now(), wall: Date.now() },
    }),
  );
}

/** Whether this kernel and this place allow what the launcher needs; the reason if not. */
function obstacle(env: NodeJS.ProcessEnv): string | undefined {
  const done = spawnSync(LAUNCHER, ['true'], { env: { ...process.env, ...env } });
  return done.status === 0 ? undefined : done.stderr.toString().trim();
}

function kernelSockets(): string {
  const text = fs.readFileSync('/proc/net/sockstat', 'utf8');
  return [...text.matchAll(/^(?:TCP|UDP|RAW): inuse (\d+)/gm)].map((m) => m[1]).join(' ');
}

async function main(): Promise<void> {
  if (process.env[INSIDE] !== '1') enterNamespace();
  if (!fs.existsSync(LAUNCHER)) throw new Error(`${LAUNCHER} is not built`);
  if ((await which('gcc')) === undefined) {
    tally.skip('the launcher', 'gcc is not installed');
    return;
  }
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'netcon-launcher-'));
  fs.chmodSync(folder, 0o755);
  const harness = await openDoor();
  const world: World = { harness, folder, env: { ZT_NC_NETWORK: harness.network }, tally, only };
  const why = obstacle(world.env);
  if (why === undefined) {
    await compareProbes(world);
    await compareSignals(world);
    await unprivileged(world);
    await busybox(world);
    await golang(world);
    await preloaded(world);
    await lives(world);
    await refused(world);
    await hostile(world);
    await tally.check('no kernel socket was left open', () => {
      assert.match(kernelSockets(), /^[0 ]+$/);
    });
  } else {
    tally.skip('programs under the launcher', why);
  }
  await errors(world);
  await harness.close();
  fs.rmSync(folder, { recursive: true, force: true });
}

await main();
tally.finish();
process.exit();
