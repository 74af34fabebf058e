/** Interoperation with a real ZeroTier One 1.14.1, by traffic between namespaces; see USAGE. */
import { positive, readOptions } from '../helpers/args.js';
import { Lab, missing, realNode, SUPPORTED_VERSION } from '../lab/lab.js';
import { eventScenarios } from './events.js';
import { CONDITIONS, matrixScenario, WORLDS } from './matrix.js';
import { programScenario } from './programs.js';
import { rows, writeReport } from './rows.js';

/** More would disturb each other's clocks beyond what the reference's timers forgive. */
const MAX_JOBS = 8;

const USAGE = `usage: ZEROTIER_ONE=/path/to/zerotier-one node build/test/interop/main.js [options]

Interoperation with a real ZeroTier One ${SUPPORTED_VERSION}, by traffic between network namespaces. Needs root.

  --quick         smaller transfers, fewer starts
  --only 'A;B'    scenarios whose "group/scenario" contains one of these texts
  --out FILE      writes the rows over those of earlier runs in this JSON file
  --jobs N        scenarios at a time, each in a laboratory of its own (default 1, at most ${MAX_JOBS})
  --list          prints the scenarios
  --help          this

One line per check, and last: interop: N passed, N failed. Skips loudly without the binary.
`;

const args = readOptions('interop', USAGE, {
  quick: { type: 'boolean' },
  only: { type: 'string' },
  out: { type: 'string' },
  jobs: { type: 'string', default: '1' },
  list: { type: 'boolean' },
});

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
  const jobs = Math.floor(positive('interop', 'jobs', args.jobs, MAX_JOBS));
  const only = args.only?.split(';');
  const all = scenarios().filter(
    (s) => only === undefined || only.some((text) => s.name.includes(text)),
  );
  if (args.list === true) {
    for (const s of all) console.log(s.name);
    return;
  }
  const reason = realNode() === undefined ? 'ZEROTIER_ONE names no binary' : missing(true);
  if (reason !== undefined)
    console.log(`SKIPPED: interoperation with ZeroTier One ${SUPPORTED_VERSION}: ${reason}`);
  else {
    Lab.downOnSignal();
    const queue = [...all];
    const lane = async (): Promise<void> => {
      for (let s = queue.shift(); s !== undefined; s = queue.shift()) await s.run();
    };
    await Promise.all(Array.from({ length: jobs }, lane));
  }
  if (args.out !== undefined && reason === undefined) writeReport(args.out);
  const failed = rows.filter((r) => !r.ok).length;
  console.log(`interop: ${rows.length - failed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}

await main();
