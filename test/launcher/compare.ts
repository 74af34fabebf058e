/** Statically linked probes: on the kernel and under the launcher, line by line. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Skip } from '#test/helpers/tally.js';
import {
  byCase,
  compareCase,
  DATAGRAM_CASES,
  type KnownDifferences,
  onKernel,
  PROBES,
  type Probe,
  readKnownDifferences,
  skippedBecause,
} from '#test/preload/conformance.js';
import { OWN_ADDRESS } from '#test/preload/harness.js';
import { run, until } from '#test/preload/run.js';
import {
  buildProbe,
  check,
  isChosen,
  LAUNCHER,
  launch,
  needDatagrams,
  ROOT,
  SILENT,
  type World,
} from './world.js';

/** Names and interfaces are asked by the program's own code here, without a call that stops. */
const NAMES: readonly string[] = ['names', 'lookups'];

/**
 * These lines look 20 ms after a datagram was refused, whether the refusal has arrived or not; the
 * cases U8 and V-basic wait for it.
 */
const RACY = /^M-reset(?:-6|-mapped)? udp/;

/** Cases that need what the launcher refuses, and what they then say. */
const REFUSED: ReadonlyMap<string, string> = new Map([['W-uring', 'io_uring says ENOSYS']]);

/** Cases of calls that are not stopped, of which nothing can be expected. */
const NOT_STOPPED: ReadonlyMap<string, string> = new Map([
  ['K-idle', 'read() and write() on a socket without a connection are not stopped'],
  ['K-idle-6', 'read() and write() on a socket without a connection are not stopped'],
]);

/** The probe that has them. */
const NOT_STOPPED_IN = 'details';

async function stoppedCases(kernel: Promise<Map<string, string[]>>): Promise<string[]> {
  return [...(await kernel).keys()].filter((name) => !NOT_STOPPED.has(name));
}

/** Differences that the preload has too, and those of the launcher alone. */
function knownDifferences(): KnownDifferences {
  return new Map([
    ...readKnownDifferences(path.join(ROOT, 'test/preload/known-differences.md')),
    ...readKnownDifferences(path.join(ROOT, 'test/launcher/known-differences.md')),
  ]);
}

function settledLines(output: string): string {
  return output
    .split('\n')
    .filter((line) => !RACY.test(line))
    .join('\n');
}

function buildStatic(world: World, probe: Probe): Promise<string> {
  const sources = [`${probe.name}.c`, ...probe.with].map((name) => `test/preload/probes/${name}`);
  return buildProbe(world, ...sources);
}

/** Whether every socket of the program that just ended is gone. */
function isEmpty(world: World): boolean {
  const c = world.harness.door.view.counters();
  return c.listeners === 0 && c.waiting === 0 && c.sockets === c.remembered;
}

/** The conformance probes of the preload library, which here have no preload. */
export async function compareProbes(world: World): Promise<void> {
  const known = knownDifferences();
  for (const probe of PROBES.filter((p) => !NAMES.includes(p.name))) {
    if (!isChosen(world, `conformance ${probe.name}`)) continue;
    let kernel = new Map<string, string[]>();
    let here = new Map<string, string[]>();
    await world.tally.check(
      `conformance: the static probe ${probe.name} runs on both`,
      async () => {
        const file = await buildStatic(world, probe);
        const kernels = onKernel(file, {}).then((text) => byCase(settledLines(text)));
        const cases = probe.name === NOT_STOPPED_IN ? await stoppedCases(kernels) : [];
        const ours = launch(world, file, ...cases);
        [kernel, here] = await Promise.all([
          kernels,
          ours.then(({ stdout }) => byCase(settledLines(stdout))),
        ]);
        assert.ok(kernel.size >= probe.cases, `only ${kernel.size} cases ran`);
        await until('every socket to be closed', () => isEmpty(world));
      },
    );
    for (const [name, lines] of kernel) {
      await world.tally.check(`conformance: ${name}`, () => {
        if (probe.datagrams || DATAGRAM_CASES.has(name)) needDatagrams(world);
        const reason = skippedBecause(lines) ?? NOT_STOPPED.get(name);
        if (reason !== undefined) throw new Skip(reason);
        const own = here.get(name) ?? [];
        if (REFUSED.has(name)) assert.equal(skippedBecause(own), REFUSED.get(name));
        else assert.deepEqual(compareCase(lines, own, known), []);
      });
    }
  }
}

export async function compareSignals(world: World): Promise<void> {
  await check(
    world,
    'signals end, restart, stop and kill calls that block, as in Linux',
    async () => {
      const probe = await buildProbe(world, 'test/launcher/probes/signals.c');
      const kernel = await onKernel(probe, {}, [OWN_ADDRESS, SILENT]);
      const here = await launch(world, probe, OWN_ADDRESS, SILENT);
      assert.equal(here.stdout, kernel, here.stderr);
      assert.match(kernel, /threads after the stop 5\n$/);
    },
  );
}

/** Root only: as another user, without any capability. */
export async function unprivileged(world: World): Promise<void> {
  const title = 'it works for a user without privileges';
  if (process.getuid?.() !== 0) {
    world.tally.skip(title, 'the whole suite runs so');
    return;
  }
  await check(world, title, async () => {
    const probe = await buildStatic(world, PROBES.find((p) => p.name === 'tcp')!);
    fs.chmodSync(world.harness.home, 0o711);
    fs.chownSync(world.harness.network, 65534, 65534);
    const user = ['--reuid=65534', '--regid=65534', '--clear-groups', '--bounding-set=-all'];
    const done = await run(
      'setpriv',
      [...user, '--inh-caps=-all', LAUNCHER, probe, 'T1', 'T3', 'T18'],
      world.env,
    );
    fs.chownSync(world.harness.network, 0, 0);
    const kernel = await onKernel(probe, {}, ['T1', 'T3', 'T18']);
    assert.equal(done.stdout, kernel, done.stderr);
  });
}
