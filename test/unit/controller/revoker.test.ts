import test from 'ava';
import { MAX_IN_PACKET, MAX_LOG, Revoker, SPACING_MS } from '#src/controller/revoker.js';
import type { Revocation } from '#src/wire/credentials.js';

function revocation(id: number): Revocation {
  return {
    id,
    nwid: 1n,
    credentialId: 0,
    threshold: 0n,
    flags: 1n,
    target: id,
    signer: 9,
    type: 1,
    signature: new Uint8Array(96),
  };
}

function collecting() {
  const sent: { to: number; ids: number[] }[] = [];
  const state = { dropped: 0 };
  const revoker = new Revoker({
    send: (to, list) => void sent.push({ to, ids: list.map((r) => r.id) }),
    dropped: (n) => {
      state.dropped += n;
    },
  });
  return { revoker, sent, state };
}

test('65 revocations fit one packet', (t) => {
  t.is(MAX_IN_PACKET, 65);
});

test('nothing is due without recipients', (t) => {
  const { revoker, sent } = collecting();
  revoker.add('a', revocation(1), []);
  t.is(revoker.deadline, Number.POSITIVE_INFINITY);
  revoker.run(0, 10);
  t.deepEqual(sent, []);
});

test('recipients of two networks are spaced as one', (t) => {
  const { revoker, sent } = collecting();
  revoker.add('a', revocation(1), [5]);
  revoker.add('b', revocation(2), [5]);
  revoker.run(1_000, 10);
  t.deepEqual(sent.splice(0), [{ to: 5, ids: [1] }]);
  t.is(revoker.deadline, 1_000 + SPACING_MS);
  revoker.run(1_000 + SPACING_MS - 1, 10);
  t.deepEqual(sent, []);
  revoker.run(1_000 + SPACING_MS, 10);
  t.deepEqual(sent, [{ to: 5, ids: [2] }]);
  t.is(revoker.deadline, Number.POSITIVE_INFINITY);
});

test('an exhausted budget makes the rest due at once', (t) => {
  const { revoker, sent } = collecting();
  revoker.add('a', revocation(1), [1, 2, 3]);
  revoker.run(0, 2);
  t.deepEqual(
    sent.map((s) => s.to),
    [1, 2],
  );
  t.true(revoker.deadline < 0);
  revoker.run(0, 2);
  t.deepEqual(
    sent.map((s) => s.to),
    [1, 2, 3],
  );
});

test('the log of a network drops its oldest entry beyond its cap, and counts for whom', (t) => {
  const { revoker, sent, state } = collecting();
  for (let i = 0; i < MAX_LOG; i++) revoker.add('a', revocation(i), [5]);
  t.is(state.dropped, 0);
  revoker.add('a', revocation(MAX_LOG), [5, 6]);
  t.is(state.dropped, 1, 'recipient 5 lost the first');
  for (let now = 0; revoker.deadline !== Number.POSITIVE_INFINITY; now += SPACING_MS)
    revoker.run(now, 100);
  t.deepEqual(
    sent.filter((s) => s.to === 5).flatMap((s) => s.ids),
    Array.from({ length: MAX_LOG }, (_, i) => i + 1),
  );
  t.deepEqual(
    sent.filter((s) => s.to === 6).flatMap((s) => s.ids),
    [MAX_LOG],
  );
});

test('each revocation of a deleted network is signed once', (t) => {
  const { revoker, sent } = collecting();
  const targets = Array.from({ length: 200 }, (_, i) => i);
  let signatures = 0;
  revoker.addAll(targets, [...targets, 500], (target) => {
    signatures++;
    return revocation(target);
  });
  revoker.run(0, 1_000);
  t.is(sent.length, 201);
  t.is(signatures, 200);
  t.deepEqual(sent.find((s) => s.to === 199)!.ids.slice(0, 3), [199, 0, 1]);
  t.is(sent.find((s) => s.to === 500)!.ids[0], 0);
});
