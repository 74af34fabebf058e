/** Every scenario, twice: its own bounds hold, and the same seed gives the same trace and the summary of docs/scale.json. */
import { mkdirSync } from 'node:fs';
import test from 'ava';
import { readScale } from '../../sim/report.js';
import { captureFailure, type Outcome, runScenario, type Scenario } from '../../sim/scenario.js';
import { SCENARIOS } from '../../sim/scenarios/index.js';

const SEED = Number(process.env['SIM_SEED'] ?? 20_261_125);
const CAPTURES = new URL('../../../sim/', import.meta.url).pathname;

const scale = readScale();
const HINT = 'a change of behaviour: look at it, then `npm run sim -- --sizes 10,30,200 --accept`';

/** A failure leaves a capture of the virtual wire in build/sim. */
function run(s: Scenario): Outcome {
  try {
    return runScenario(s, SEED);
  } catch (e) {
    mkdirSync(CAPTURES, { recursive: true });
    captureFailure(s, SEED, `${CAPTURES}${s.id}.pcap`);
    throw e;
  }
}

for (const s of SCENARIOS) {
  test(s.title, (t) => {
    t.log(`SIM_SEED=${SEED}`);
    const first = run(s);
    t.log(first.summary);
    t.deepEqual(run(s), first);
    if (SEED !== scale.seed) return;
    const committed = scale.scenarios.find((x) => x.id === s.id);
    t.deepEqual(first.summary, committed?.summary, HINT);
  });
}
