import test from 'ava';
import { Recent } from '#src/lib/recent.js';

test('a full table drops the key that was set longest ago, and says so', (t) => {
  const r = new Recent<number, string>(3);
  for (const k of [1, 2, 3]) t.false(r.set(k, `a${k}`));
  t.false(r.set(1, 'b1'), 'a known key takes no room, and is young again');
  t.true(r.set(4, 'a4'));
  t.deepEqual(
    [1, 2, 3, 4].map((k) => r.get(k)),
    ['b1', undefined, 'a3', 'a4'],
  );
  t.is(r.size, 3);
});

test('a sweep ends at the first key that is not over', (t) => {
  const r = new Recent<string, number>(9);
  for (const [k, at] of [
    ['a', 1],
    ['b', 2],
    ['c', 9],
    ['d', 3],
  ] as const)
    r.set(k, at);
  r.sweep((at) => at < 5);
  t.deepEqual(
    ['a', 'b', 'c', 'd'].map((k) => r.get(k)),
    [undefined, undefined, 9, 3],
  );
});
