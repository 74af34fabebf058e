/** Every scenario, twice: its own bounds hold, and the same seed gives the same trace and summary. */
import { mkdirSync } from 'node:fs';
import test from 'ava';
import { captureFailure, type Outcome, runScenario, type Scenario } from '../../sim/scenario.js';
import { SCENARIOS } from '../../sim/scenarios/index.js';

const SEED = Number(process.env['SIM_SEED'] ?? 20_261_125);
const CAPTURES = new URL('../../../sim/', import.meta.url).pathname;

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
  });
}
