import test from 'ava';
import { NEVER } from '#src/lib/time.js';
import { DelayQueue } from '#src/preload/delay-queue.js';

test('timers fire in order, each once, and cancelled ones never', (t) => {
  let wakes = 0;
  const q = new DelayQueue<string>(100, () => {
    wakes++;
  });
  t.is(q.deadline(), NEVER);
  q.arm(0, 'a');
  const b = q.arm(10, 'b');
  q.arm(20, 'c');
  t.is(wakes, 1, 'only the first timer of an idle queue wakes');
  t.is(q.length, 3);
  b.value = undefined;
  t.is(q.takeDue(99), undefined);
  t.is(q.takeDue(100), 'a');
  t.is(q.deadline(), 120);
  t.is(q.takeDue(500), 'c');
  t.is(q.takeDue(500), undefined);
  t.is(q.deadline(), NEVER);
  q.arm(600, 'd');
  t.is(wakes, 2);
});

test('a long run of timers does not grow the queue', (t) => {
  const q = new DelayQueue<number>(5, () => undefined);
  for (let i = 0; i < 10_000; i++) {
    q.arm(i, i);
    if (i >= 5) t.is(q.takeDue(i), i - 5);
  }
  t.is(q.length, 5);
});
