/** What users notice of VL1 at the start: nodes of one address do not wait for each other. */
import test from 'ava';
import { World } from '../../sim/world.js';

const SEED = 20_261_125;

test('leaves behind one public address that start together are online at once', (t) => {
  const nodes = [1, 2, 3, 4, 5, 6, 7, 8];
  const world = new World({ seed: SEED, nodes: 9, homes: [{ kind: 'portRestricted', nodes }] });
  world.start();
  const from = world.now;
  t.true(
    world.run(2_000, () => nodes.every((i) => world.nodes[i]!.onlineAt !== undefined)),
    'the reference lets one in and keeps each other waiting for 5 s',
  );
  t.log(`all eight after ${Math.round(world.now - from)} ms`);
});

test('leaves of one address return at once to a root that knows them from before', (t) => {
  const nodes = [1, 2, 3, 4, 5, 6, 7, 8];
  const world = new World({ seed: SEED, nodes: 9, homes: [{ kind: 'portRestricted', nodes }] });
  world.start();
  world.run(10_000);
  const root = world.nodes[0]!;
  const checks = root.counts.validated;
  root.restart({ peers: true });
  const from = world.now;
  t.true(world.run(10_000, () => nodes.every((i) => root.heardAt(world.nodes[i]!) > from)));
  t.is(root.counts.validated, checks, 'no identity is checked again');
});
