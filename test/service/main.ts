/**
 * Replays the records of test/vectors/service against our programs.
 *
 * Enters a network namespace of its own when the machine lets it, so that ports and addresses are
 * those of the records. One line per group, one per failure and per record that is not compared
 * (with the reason); last `service: N passed, N failed`, exit code 1 on a failure.
 */
import { readOptions } from '../helpers/args.js';
import { HomeFolder } from '../helpers/service.js';
import { cliNetwork } from './cli-live.js';
import { serviceCommandLine } from './command-line.js';
import { httpBasic } from './http-basic.js';
import { httpConfigMetrics } from './http-config.js';
import { httpConnections } from './http-connections.js';
import { httpController } from './http-controller.js';
import { idtool } from './idtool.js';
import { httpNetwork, uiFlow } from './live.js';
import { enterNamespace } from './namespace.js';
import { cliOffline } from './offline.js';
import { peerMoon } from './peer-moon.js';
import { Programs } from './programs.js';
import { realCli } from './real-cli.js';
import { loadRecords, recordGroups } from './records.js';
import type { Group } from './report.js';
import { cliScriptedService } from './scripted.js';
import { serviceMisc, serviceStartNetworks, tokenNewline } from './start-files.js';

const USAGE = `usage: node build/test/service/main.js [--only GROUP]

Replays the records of test/vectors/service against our programs.
`;

const args = readOptions('service', USAGE, { only: { type: 'string' } });
enterNamespace();
const folder = new HomeFolder();
const programs = new Programs(folder.dir);

const GROUPS = new Map<string, () => Promise<Group | Group[]>>([
  ['cli-offline', () => cliOffline(folder.dir, programs)],
  ['cli-scripted-service', () => cliScriptedService(folder.dir, programs)],
  ['http-basic', httpBasic],
  ['http-config-metrics', httpConfigMetrics],
  ['http-connections', httpConnections],
  ['http-controller', httpController],
  ['http-controller-ui-flow', uiFlow],
  ['http-network', httpNetwork],
  ['cli-network', () => cliNetwork(programs)],
  ['peer-moon', () => peerMoon(programs)],
  ['service-command-line', () => serviceCommandLine(programs)],
  ['service-misc', serviceMisc],
  ['service-start-networks', serviceStartNetworks],
  ['service-token-newline', () => tokenNewline(programs)],
  ['idtool', () => idtool(folder.dir, programs)],
  ['real-cli', () => realCli(folder.dir, programs)],
]);

/** Record groups that are replayed together under another name. */
const PARTS_OF_GROUPS = ['http-peer-moon', 'cli-peer-moon'];

/** Groups that no part of the suite replays. */
const NOT_REPLAYED: Readonly<Record<string, string>> = {
  'cli-bond': 'multipath is not built; the texts are in cli-scripted-service',
  'http-bond': 'multipath is not built',
  'cli-tcp-relay': 'needs a relay between namespaces; the texts are in cli-scripted-service',
  'http-tcp-relay':
    'needs a relay between namespaces: test/underlay; its frames: test/unit/host/tcp-relay',
  'cli-port-error': 'ours has no network device that could fail',
  'cli-network-2': 'waits for refreshes of a minute; denial is tested in the interop suite',
  'http-network-2': 'waits for refreshes of a minute; denial is tested in the interop suite',
};

/** Groups in the folder that are neither replayed nor listed above: each counts as a failure. */
function unknownGroups(): number {
  const known = new Set([...GROUPS.keys(), ...Object.keys(NOT_REPLAYED), ...PARTS_OF_GROUPS]);
  const unknown = recordGroups().filter((g) => !known.has(g));
  for (const g of unknown) console.log(`FAIL ${g}: nobody replays these records`);
  return unknown.length;
}

let passed = 0;
let failed = 0;
let skipped = 0;
try {
  for (const [name, run] of GROUPS) {
    if (args.only !== undefined && name !== args.only) continue;
    try {
      for (const group of [await run()].flat()) {
        group.finish();
        passed += group.passed;
        failed += group.failed;
        skipped += group.skipped;
      }
    } catch (e) {
      console.log(`FAIL ${name}: ${e instanceof Error ? e.message : String(e)}`);
      failed++;
    }
  }
} finally {
  folder.remove();
}
if (passed + failed + skipped === 0) failed++;
if (args.only === undefined) {
  for (const [group, reason] of Object.entries(NOT_REPLAYED))
    console.log(`SKIPPED: ${group} (${loadRecords(group).length} records): ${reason}`);
  failed += unknownGroups();
}
console.log(`service: ${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
