/** Applications on a virtual network, each with its real client; see USAGE. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { readOptions } from '../helpers/args.js';
import { Tally } from '../helpers/tally.js';
import { DATA } from './data.js';
import { DATAGRAMS } from './datagrams.js';
import { NAMES } from './names.js';
import { type Result, writeReport } from './report.js';
import { type App, require, Skip, versionText } from './row.js';
import { TOOLS } from './tools.js';
import { WEB } from './web.js';
import { World } from './world.js';

const INSIDE = 'NETCON_APPS_INSIDE';

const USAGE = `usage: node build/test/apps/main.js [options]

Applications on a virtual network, each with its real client, in a network namespace of its own, in
which only loopback exists. A program that is not installed is skipped by name.

  --core        the subset that npm test runs
  --only TEXT   rows whose name contains it
  --out FILE    writes the rows over those of earlier runs in this JSON file, and the page beside it
  --help        this

Last line: apps: N passed, N failed, N skipped
`;

const args = readOptions('apps', USAGE, {
  core: { type: 'boolean', default: false },
  only: { type: 'string', default: '' },
  out: { type: 'string' },
});
const APPS: readonly App[] = [...WEB, ...DATA, ...TOOLS, ...DATAGRAMS, ...NAMES];

/** Starts this program again inside a namespace; does not return. */
function enterNamespace(): never {
  const flags = process.getuid?.() === 0 ? ['-n'] : ['-rn'];
  const inner = [process.execPath, fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  const script = 'ip link set lo up && exec "$@"';
  const done = spawnSync('unshare', [...flags, '--', '/bin/sh', '-c', script, 'sh', ...inner], {
    stdio: 'inherit',
    env: { ...process.env, [INSIDE]: flags[0] },
  });
  if (done.error !== undefined) {
    console.error(`apps: cannot enter a network namespace: ${done.error.message}`);
    console.log('apps: 0 passed, 1 failed, 0 skipped');
  }
  process.exit(done.status ?? 1);
}

async function runRow(app: App, world: World, tally: Tally, results: Result[]): Promise<void> {
  await tally.check(app.name, async () => {
    await require(app.needs);
    if (app.datagrams === true && !world.a.hasDatagrams)
      throw new Skip('the service has no door for datagrams (is the addon built?)');
    const versions = await versionText(app);
    const from = performance.now();
    const add = (ok: boolean, detail: string): void => {
      const seconds = (performance.now() - from) / 1000;
      results.push({ name: app.name, ok, versions, detail, seconds });
    };
    try {
      const detail = await app.run(world);
      console.log(`     ${versions}: ${detail}`);
      add(true, detail);
    } catch (e) {
      if (!(e instanceof Skip)) add(false, (e as Error).message);
      throw e;
    }
  });
}

async function main(): Promise<void> {
  if (process.env[INSIDE] === undefined) enterNamespace();
  const tally = new Tally('apps');
  const results: Result[] = [];
  const world = new World();
  try {
    await world.up();
    for (const app of APPS) {
      if (!app.name.includes(args.only) || (args.core && app.core !== true)) continue;
      await runRow(app, world, tally, results);
    }
  } finally {
    await world.down();
  }
  if (args.out !== undefined) writeReport(args.out, results);
  tally.finish();
}

await main();
