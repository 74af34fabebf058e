/** Salsa20, Poly1305 and the identity hash of the module against the plain reference. */
import test from 'ava';
import fc from 'fast-check';
import { memoryHardHash } from '#src/crypto/reference/identity-hash.js';
import { poly1305 } from '#src/crypto/reference/poly1305.js';
import { Salsa20 } from '#src/crypto/reference/salsa20.js';
import * as map from '#src/packetcore/layout.js';
import { loadExports, loadPacketCore } from '#src/packetcore/load.js';

const wasm = loadExports();
const memory = new Uint8Array(wasm.memory.buffer);
const bytes = (maxLength: number) => fc.uint8Array({ minLength: 0, maxLength, size: 'max' });
const key32 = fc.uint8Array({ minLength: 32, maxLength: 32 });
const iv8 = fc.uint8Array({ minLength: 8, maxLength: 8 });
const offset = fc.integer({ min: 0, max: 70 });

test('Salsa20 equals the reference for any length, start block, rounds and alignment', (t) => {
  const block = fc.oneof(fc.nat(1000), fc.integer({ min: 0xfffffff0, max: 0xffffffff }));
  fc.assert(
    fc.property(
      key32,
      iv8,
      bytes(3000),
      block,
      fc.constantFrom(12 as const, 20 as const),
      offset,
      (key, iv, data, start, rounds, at) => {
        const p = map.INBOX + at;
        memory.set(key, map.KEY);
        memory.set(iv, map.IV);
        memory.set(data, p);
        t.is(wasm.salsa20Xor(p, data.length, start, rounds), map.OK);
        const expected = new Salsa20(key, iv, rounds, start).xor(data);
        t.deepEqual(memory.slice(p, p + data.length), expected);
      },
    ),
    { numRuns: 150 },
  );
});

// Keys and messages of all ones and zeros reach the carries that random ones never do.
const extreme = (len: number) =>
  fc.oneof(
    fc.uint8Array({ minLength: len, maxLength: len }),
    fc
      .array(fc.constantFrom(0, 0xff, 0xfb, 1), { minLength: len, maxLength: len })
      .map((a) => Uint8Array.from(a)),
  );

test('Poly1305 equals the reference for any key, length and alignment', (t) => {
  const message = fc.oneof(
    bytes(700),
    fc.nat(200).chain((len) => extreme(len)),
  );
  fc.assert(
    fc.property(extreme(32), message, offset, (key, data, at) => {
      memory.set(key, map.KEY);
      memory.set(data, map.INBOX + at);
      t.is(wasm.poly1305Tag(map.INBOX + at, data.length), map.OK);
      t.deepEqual(memory.slice(map.TAG, map.TAG + map.TAG_LEN), poly1305(key, data));
    }),
    { numRuns: 1500 },
  );
});

test('Poly1305 reduces sums at and around 2^130 - 5', (t) => {
  // With r = 1 the sum is the plain sum of the blocks: aim it at the modulus.
  const key = new Uint8Array(32);
  key[0] = 1;
  for (let low = 0; low < 16; low++) {
    const data = new Uint8Array(48).fill(0xff);
    data[32] = 0xf0 + low;
    memory.set(key, map.KEY);
    memory.set(data, map.INBOX);
    wasm.poly1305Tag(map.INBOX, data.length);
    t.deepEqual(memory.slice(map.TAG, map.TAG + 16), poly1305(key, data), `low byte ${low}`);
  }
});

test('the identity hash equals the reference and does not depend on the call before', (t) => {
  const core = loadPacketCore();
  const publicKey = Uint8Array.from({ length: 64 }, (_, i) => (i * 7 + 3) & 0xff);
  const first = core.memoryHardHash(publicKey);
  core.memoryHardHash(first);
  t.deepEqual(core.memoryHardHash(publicKey), first);
  t.deepEqual(first, memoryHardHash(publicKey));
});
