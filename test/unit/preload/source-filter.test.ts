import test from 'ava';
import { SourceFilter } from '#src/preload/source-filter.js';

const A = Uint8Array.of(10, 0, 0, 1);
const B = Uint8Array.of(10, 0, 0, 2);
const six = (last: number) => Uint8Array.of(0xfd, ...new Array<number>(14).fill(0), last);

test('a membership hears all until a source is blocked, and again when it is unblocked', (t) => {
  const f = new SourceFilter(false);
  t.true(f.allows(A));
  t.is(f.add(A, false), undefined);
  t.deepEqual([f.allows(A), f.allows(B)], [false, true]);
  t.is(f.add(A, false), 'EADDRNOTAVAIL', 'named twice');
  t.is(f.remove(B, false), 'EADDRNOTAVAIL', 'never named');
  t.is(f.remove(A, false), undefined);
  t.true(f.allows(A));
});

test('a membership for some sources hears none but them, and ends with the last', (t) => {
  const f = new SourceFilter(true);
  t.false(f.allows(A));
  t.is(f.add(A, true), undefined);
  t.is(f.add(B, true), undefined);
  t.deepEqual([f.allows(A), f.allows(six(1))], [true, false]);
  t.is(f.remove(A, true), undefined);
  t.false(f.allows(A));
  t.is(f.remove(B, true), 'leave');
});

test('the kind changes until a source was named, then never', (t) => {
  const f = new SourceFilter(false);
  t.is(f.add(A, true), undefined, 'a member of all wants one');
  t.deepEqual([f.allows(A), f.allows(B)], [true, false]);
  t.is(f.add(B, false), 'EINVAL');
  t.is(f.remove(A, false), 'EINVAL');
  const g = new SourceFilter(false);
  g.add(A, false);
  g.remove(A, false);
  t.is(g.add(A, true), 'EINVAL', 'also when none is left');
});

test('sources are limited: 10 of IPv4, 64 of IPv6', (t) => {
  const four = new SourceFilter(true);
  for (let i = 0; i < 10; i++) t.is(four.add(Uint8Array.of(10, 0, 1, i), true), undefined);
  t.is(four.add(A, true), 'ENOBUFS');
  const many = new SourceFilter(true);
  for (let i = 0; i < 64; i++) t.is(many.add(six(i), true), undefined);
  t.is(many.add(six(64), true), 'ENOBUFS');
});
