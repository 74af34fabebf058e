import test from 'ava';
import { byteRange, failure, json, NOT_FOUND, wrapJsonp } from '#src/http/answer.js';
import { metricNumber } from '#src/http/metrics.js';

test('JSONP wraps JSON; refusals of a handler read as null, answers without a body stay', (t) => {
  t.is(wrapJsonp(json({ a: 1 }), 'cb').body, 'cb({"a":1});');
  t.is(wrapJsonp(json({}, 401), 'cb').body, 'cb({});');
  t.is(wrapJsonp(json({}, 404), 'cb').body, 'cb(null);');
  t.is(wrapJsonp(json([]), '').body, '([]);');
  t.is(wrapJsonp(json([]), 'cb').type, 'application/javascript');
  t.deepEqual(wrapJsonp(NOT_FOUND, 'cb'), NOT_FOUND);
  t.is(wrapJsonp({ status: 200, body: 'x', type: 'text/plain' }, 'cb').body, 'x');
});

test('a failure is JSON whatever its text contains', (t) => {
  const { status, body } = failure(new Error('a "quoted"\nline'));
  t.is(status, 500);
  t.deepEqual(JSON.parse(body as string), { error: 500, description: 'a "quoted"\nline' });
});

test('byte ranges are cut to the body', (t) => {
  t.deepEqual(byteRange('bytes=0-9', 100), { from: 0, to: 9 });
  t.deepEqual(byteRange('bytes=90-', 100), { from: 90, to: 99 });
  t.deepEqual(byteRange('bytes=90-200', 100), { from: 90, to: 99 });
  t.deepEqual(byteRange('bytes=-3', 100), { from: 97, to: 99 });
  t.deepEqual(byteRange('bytes=-300', 100), { from: 0, to: 99 });
  for (const header of ['bytes=9-0', 'bytes=100-', 'bytes=x', 'bytes=-', 'items=0-1', ''])
    t.is(byteRange(header, 100), 'unsatisfiable', header);
  t.is(byteRange('bytes=0-0', 0), 'unsatisfiable');
  t.is(byteRange('bytes=0-1,3-4', 100), 'whole');
  t.is(byteRange(undefined, 100), 'whole');
});

test('metrics are written in their shortest form', (t) => {
  t.is(metricNumber(0), '0');
  t.is(metricNumber(99_999), '99999');
  t.is(metricNumber(100_000), '1e+05');
  t.is(metricNumber(120_000), '120000');
  t.is(metricNumber(1_500_000), '1500000');
  t.is(metricNumber(15_000_000), '1.5e+07');
  t.is(metricNumber(0.5), '0.5');
});
