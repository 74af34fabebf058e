/** docs/scale.md is what docs/scale.json says, and the small sizes still give what it says. */
import { readFileSync } from 'node:fs';
import test from 'ava';
import { fitLine, fitPower } from '../../sim/fit.js';
import { type GrowthRow, grow, growStart } from '../../sim/growth.js';
import { MD_FILE, readScale, renderScale } from '../../sim/report.js';

const scale = readScale();
const HINT = 'a change of behaviour: look at it, then `npm run sim -- --sizes 10,30,200 --accept`';

/** What a run must repeat: its figures, not its cost nor every byte of its trace. */
const repeated = ({
  cost: _cost,
  hash: _hash,
  ...row
}: GrowthRow): Omit<GrowthRow, 'cost' | 'hash'> => row;

const committed = (nodes: number): GrowthRow => {
  const row = scale.growth.find((r) => r.nodes === nodes);
  if (row === undefined) throw new Error(`docs/scale.json has no row of ${nodes}`);
  return row;
};

test('docs/scale.md is made of docs/scale.json', (t) => {
  t.is(readFileSync(MD_FILE, 'utf8'), renderScale(scale));
});

for (const nodes of [10, 30]) {
  test(`a network of ${nodes} behaves as in docs/scale.json`, (t) => {
    t.deepEqual(repeated(grow(nodes, scale.seed)), repeated(committed(nodes)), HINT);
  });
}

test('200 nodes start together as in docs/scale.json', (t) => {
  const { onlineMedianMs, onlineLastMs, addressLastMs } = growStart(200, scale.seed);
  const row = committed(200);
  t.deepEqual(
    { onlineMedianMs, onlineLastMs, addressLastMs },
    {
      onlineMedianMs: row.onlineMedianMs,
      onlineLastMs: row.onlineLastMs,
      addressLastMs: row.addressLastMs,
    },
    HINT,
  );
});

test('growth laws of exact data are found exactly', (t) => {
  const line = fitLine([1, 2, 5, 9].map((x) => ({ x, y: 4 + 3 * x })));
  t.true(Math.abs(line.a - 4) < 1e-9 && Math.abs(line.b - 3) < 1e-9 && line.worst < 1e-9);
  const power = fitPower([1, 2, 5, 9].map((x) => ({ x, y: 7 * x ** 0.5 })));
  t.true(Math.abs(power.c - 7) < 1e-9 && Math.abs(power.k - 0.5) < 1e-9 && power.worst < 1e-9);
});
