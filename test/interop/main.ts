/**
 * Interoperation with a real ZeroTier One 1.14.1, by traffic between namespaces.
 * usage: ZEROTIER_ONE=/path/to/zerotier-one node build/test/interop/main.js [OPTIONS]
 *   --quick       smaller transfers, fewer starts
 *   --only='A;B'  scenarios whose `group/scenario` contains one of these texts
 *   --out FILE    writes the rows over those of earlier runs in this JSON file
 *   --list        prints the scenarios
 * Prints one line per check and last `interop: N passed, N failed`; skips loudly without the binary.
 */
import { Lab, missing, realNode, SUPPORTED_VERSION } from '../lab/lab.js';
import { eventScenarios } from './events.js';
import { CONDITIONS, matrixScenario, WORLDS } from './matrix.js';
import { programScenario } from './programs.js';
import { rows, writeReport } from './rows.js';

interface Scenario {
  readonly name: string;
  run(): Promise<void>;
}

function scenarios(): Scenario[] {
  const out: Scenario[] = [];
  for (const cipher of ['aes', 'salsa'] as const)
    for (const [name, root] of [
      ['their root and controller', 'real'],
      ['our root and controller', 'ours'],
    ] as const)
      out.push({
        name: `programs/${name}, ${cipher}`,
        run: () => programScenario(name, cipher, root),
      });
  for (const world of WORLDS)
    for (const condition of CONDITIONS)
      out.push({
        name: `matrix/${world.name}, ${condition.name}`,
        run: () => matrixScenario(world, condition),
      });
  for (const [name, run] of eventScenarios) out.push({ name: `events/${name}`, run });
  return out;
}

async function main(): Promise<void> {
  const only = process.argv
    .find((a) => a.startsWith('--only='))
    ?.slice(7)
    .split(';');
  const all = scenarios().filter(
    (s) => only === undefined || only.some((text) => s.name.includes(text)),
  );
  if (process.argv.includes('--list')) {
    for (const s of all) console.log(s.name);
    return;
  }
  const reason = realNode() === undefined ? 'ZEROTIER_ONE names no binary' : missing(true);
  if (reason !== undefined)
    console.log(`SKIPPED: interoperation with ZeroTier One ${SUPPORTED_VERSION}: ${reason}`);
  else {
    Lab.downOnSignal();
    for (const s of all) await s.run();
  }
  const out = process.argv.indexOf('--out');
  if (out > 0 && reason === undefined) writeReport(process.argv[out + 1]!);
  const failed = rows.filter((r) => !r.ok).length;
  console.log(`interop: ${rows.length - failed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}

await main();
