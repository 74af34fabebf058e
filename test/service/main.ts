/**
 * Replays the records of test/vectors/service against our programs:
 * `node build/test/service/main.js [--only GROUP]`.
 *
 * Enters a network namespace of its own when the machine lets it, so that ports and addresses are
 * those of the records. One line per group, one per failure and per record that is not compared
 * (with the reason); last `service: N passed, N failed`, exit code 1 on a failure.
 */
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
import type { Group } from './report.js';
import { cliScriptedService } from './scripted.js';
import { serviceMisc, serviceStartNetworks, tokenNewline } from './start-files.js';

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

const only = process.argv[process.argv.indexOf('--only') + 1];
let passed = 0;
let failed = 0;
let skipped = 0;
try {
  for (const [name, run] of GROUPS) {
    if (process.argv.includes('--only') && name !== only) continue;
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
console.log(`service: ${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
