import * as v8 from 'node:v8';
import test from 'ava';
import { GrowingBytes } from '#src/lib/growing-bytes.js';
import { Incoming } from '#src/preload/incoming.js';
import { FakePort } from '#test/helpers/preload-client.js';

/** Receive window of a connection that no program has accepted. */
const WINDOW = 65_535;

test('what comes in parts is held at twice its length at most', (t) => {
  const bytes = new GrowingBytes();
  for (let i = 0; i < WINDOW; i++) {
    bytes.add(Uint8Array.of(i));
    if (bytes.heldLen > 2 * bytes.length) t.fail(`${bytes.heldLen} for ${bytes.length}`);
  }
  bytes.add(new Uint8Array(0));
  t.deepEqual(
    bytes.take(),
    Uint8Array.from({ length: WINDOW }, (_, i) => i),
  );
  t.deepEqual([bytes.length, bytes.heldLen, bytes.take().length], [0, 0, 0]);
});

test('segments before the program take no memory of their own, however many and short', (t) => {
  const objects = () => Number(v8.queryObjects(Uint8Array, { format: 'count' }));
  let credit = 0;
  const incoming = new Incoming((count) => {
    credit += count;
  });
  const segment = Uint8Array.of(7);
  const before = objects();
  let taken = 0;
  for (let i = 0; i < WINDOW; i++) if (incoming.push(segment)) taken++;
  t.true(objects() - before < 1_000);
  t.deepEqual([incoming.earlyLen, taken], [WINDOW, 0]);
  const port = new FakePort();
  incoming.attach(port);
  t.deepEqual([port.written.length, incoming.earlyLen, credit], [1, 0, 0]);
  t.true(port.bytes.equals(Buffer.alloc(WINDOW, 7)));
  incoming.credit();
  t.is(credit, WINDOW);
});

test('what nobody will read is dropped', (t) => {
  const incoming = new Incoming(() => undefined);
  incoming.push(Uint8Array.of(1, 2));
  incoming.dropEarly();
  const port = new FakePort();
  incoming.attach(port);
  t.deepEqual([incoming.earlyLen, port.written], [0, []]);
});
