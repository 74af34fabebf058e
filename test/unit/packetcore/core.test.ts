/** `WasmPacketCore` against the reference, through the interface that the protocol rooms use. */
import test from 'ava';
import fc from 'fast-check';
import type { Suite } from '#src/crypto/api.js';
import { ReferencePacketCore } from '#src/crypto/reference/core.js';
import * as map from '#src/packetcore/layout.js';
import { loadPacketCore } from '#src/packetcore/load.js';

const core = loadPacketCore();
const reference = new ReferencePacketCore();
const key48 = fc.uint8Array({ minLength: 48, maxLength: 48 });
const suite = fc.constantFrom<Suite>(0, 1, 3);

function packetOf(len: fc.Arbitrary<number>): fc.Arbitrary<Uint8Array> {
  return len.chain((n) => fc.uint8Array({ minLength: n, maxLength: n, size: 'max' }));
}

const anyPacket = packetOf(
  fc.oneof(
    { arbitrary: fc.integer({ min: 28, max: 700 }), weight: 8 },
    { arbitrary: fc.integer({ min: 28, max: map.PACKET_MAX_LEN }), weight: 1 },
  ),
);

test('seal equals the reference for any key, packet and suite, and opens on both sides', (t) => {
  fc.assert(
    fc.property(key48, anyPacket, suite, (agreed, plain, s) => {
      const key = core.makeKey(agreed);
      const referenceKey = reference.makeKey(agreed);
      const ours = plain.slice();
      const theirs = plain.slice();
      core.seal(key, ours, s);
      reference.seal(referenceKey, theirs, s);
      t.deepEqual(ours, theirs);
      t.true(reference.open(referenceKey, theirs));
      t.true(core.open(key, ours));
      t.deepEqual(ours, theirs);
      t.deepEqual(ours.subarray(map.OFF_VERB), plain.subarray(map.OFF_VERB));
    }),
    { numRuns: 120 },
  );
});

test('every length around the limits of groups and blocks seals as the reference does', (t) => {
  const agreed = Uint8Array.from({ length: 48 }, (_, i) => i);
  const key = core.makeKey(agreed);
  const referenceKey = reference.makeKey(agreed);
  for (let len = 28; len <= 28 + 560; len++) {
    const plain = Uint8Array.from({ length: len }, (_, i) => (i * 11 + len) & 0xff);
    for (const s of [0, 1] as const) {
      const ours = plain.slice();
      const theirs = plain.slice();
      core.seal(key, ours, s);
      reference.seal(referenceKey, theirs, s);
      t.deepEqual(ours, theirs, `suite ${s}, ${len} bytes`);
      t.true(core.open(key, ours), `suite ${s}, ${len} bytes`);
    }
  }
});

test('any flipped bit outside the hops is refused and changes nothing', (t) => {
  fc.assert(
    fc.property(key48, anyPacket, suite, fc.nat(), (agreed, packet, s, where) => {
      const key = core.makeKey(agreed);
      core.seal(key, packet, s);
      const bit = where % (packet.length * 8);
      const isHop = bit >> 3 === map.OFF_FLAGS && (bit & 7) < 3;
      packet[bit >> 3]! ^= 1 << (bit & 7);
      const before = packet.slice();
      t.is(core.open(key, packet), isHop);
      if (!isHop) t.deepEqual(packet, before);
    }),
    { numRuns: 500 },
  );
});

test('a cut packet and another key are refused', (t) => {
  fc.assert(
    fc.property(key48, key48, anyPacket, suite, fc.nat(), (agreed, other, packet, s, cut) => {
      core.seal(core.makeKey(agreed), packet, s);
      const short = packet.slice(0, cut % packet.length);
      t.false(core.open(core.makeKey(agreed), short));
      fc.pre(!agreed.every((b, i) => b === other[i]));
      // Suites 0 and 1 use the first 32 bytes of the key only.
      const isSame = s !== 3 && agreed.subarray(0, 32).every((b, i) => b === other[i]);
      t.is(core.open(core.makeKey(other), packet), isSame);
    }),
    { numRuns: 200 },
  );
});

test('a packet inside the inbox is sealed and opened there, at any alignment', (t) => {
  fc.assert(
    fc.property(key48, anyPacket, suite, fc.nat(300), (agreed, plain, s, at) => {
      const key = core.makeKey(agreed);
      const copied = plain.slice();
      const inPlace = core.inbox.subarray(at, at + plain.length);
      inPlace.set(plain);
      core.seal(key, inPlace, s);
      core.seal(key, copied, s);
      t.deepEqual(inPlace.slice(), copied);
      t.true(core.open(key, inPlace));
      t.true(core.open(key, copied));
      t.deepEqual(inPlace.slice(), copied);
    }),
    { numRuns: 150 },
  );
});

test('the HELLO mask equals the reference and undoes itself', (t) => {
  fc.assert(
    fc.property(key48, anyPacket, fc.nat(), (agreed, packet, n) => {
      const start = map.HEADER_LEN + (n % (packet.length - map.HEADER_LEN + 1));
      const ours = packet.slice();
      const theirs = packet.slice();
      core.maskHello(core.makeKey(agreed), ours, start);
      reference.maskHello(reference.makeKey(agreed), theirs, start);
      t.deepEqual(ours, theirs);
      core.maskHello(core.makeKey(agreed), ours, start);
      t.deepEqual(ours, packet);
    }),
    { numRuns: 200 },
  );
});

test('mistakes of the caller throw, bytes from the network never do', (t) => {
  const key = core.makeKey(new Uint8Array(48));
  t.throws(() => core.makeKey(new Uint8Array(32)), { instanceOf: RangeError });
  for (const s of [0, 1, 3] as const) {
    t.throws(() => core.seal(key, new Uint8Array(27), s), { instanceOf: RangeError });
    t.throws(() => core.seal(key, new Uint8Array(10025), s), { instanceOf: RangeError });
  }
  const foreign = reference.makeKey(new Uint8Array(48));
  t.throws(() => core.seal(foreign, new Uint8Array(28), 0), { instanceOf: TypeError });
  t.throws(() => core.maskHello(key, new Uint8Array(40), 27), { instanceOf: RangeError });
  t.throws(() => core.maskHello(key, new Uint8Array(40), 41), { instanceOf: RangeError });
  for (const len of [0, 1, 27, 10025, 70000]) t.false(core.open(key, new Uint8Array(len)));
  for (let flags = 0; flags < 256; flags++) {
    const packet = new Uint8Array(100);
    packet[map.OFF_FLAGS] = flags;
    t.false(core.open(key, packet), `flags ${flags}`);
  }
});

test('a key made from a Buffer does not follow later changes of it', (t) => {
  const agreed = Buffer.alloc(48, 7);
  for (const it of [core, reference]) {
    const key = it.makeKey(agreed);
    const packet = new Uint8Array(64);
    it.seal(key, packet, 1);
    agreed.fill(9);
    t.true(it.open(key, packet));
    agreed.fill(7);
  }
});

const payload = fc.oneof(
  fc.uint8Array({ minLength: 0, maxLength: 3000, size: 'max' }),
  fc
    .tuple(
      fc.array(fc.constantFrom(97, 98, 0), { maxLength: 300 }),
      fc.integer({ min: 1, max: 33 }),
    )
    .map(([unit, times]) => Uint8Array.from(Array.from({ length: times }, () => unit).flat())),
);

test('what is compressed is shorter, and both decoders give it back', (t) => {
  fc.assert(
    fc.property(payload, (plain) => {
      const block = new Uint8Array(plain.length);
      const len = core.compress(plain, block);
      if (len === 0) return;
      t.true(len < plain.length);
      for (const it of [core, reference]) {
        const out = new Uint8Array(map.PAYLOAD_MAX_LEN);
        t.is(it.decompress(block.subarray(0, len), out), plain.length);
        t.deepEqual(out.subarray(0, plain.length), plain);
      }
    }),
    { numRuns: 500 },
  );
});

test('the end of every block obeys the end-of-block rules', (t) => {
  // [1 section 6] at least five literals end a block: cut them off and a match would be last.
  for (let len = 13; len < 400; len++) {
    const plain = new Uint8Array(len).fill(0x61);
    const block = new Uint8Array(len);
    const used = core.compress(plain, block);
    if (used === 0) continue;
    t.is(block[used - 6]! >> 4, 5, `${len}: last token announces five literals`);
    t.deepEqual(block.slice(used - 5, used), plain.slice(0, 5));
  }
});

test('decompression never yields more than the output holds or than a packet carries', (t) => {
  const plain = new Uint8Array(9996);
  const block = new Uint8Array(9996);
  const used = core.compress(plain, block);
  t.true(used > 0 && used < 100);
  const packed = block.slice(0, used);
  for (const it of [core, reference]) {
    t.is(it.decompress(packed, new Uint8Array(9996)), 9996);
    t.is(it.decompress(packed, new Uint8Array(20000)), 9996);
    t.true(it.decompress(packed, new Uint8Array(9995)) < 0);
    t.true(it.decompress(packed, new Uint8Array(0)) < 0);
    t.is(it.decompress(new Uint8Array(0), new Uint8Array(0)), 0, 'an empty payload is empty');
    t.true(it.decompress(Uint8Array.of(0), new Uint8Array(9)) < 0, 'nothing decoded');
  }
});

test('both decoders agree on arbitrary and on damaged blocks', (t) => {
  const soup = fc.oneof(
    fc.uint8Array({ minLength: 0, maxLength: 200, size: 'max' }),
    // Few distinct values: many short offsets and lengths, so that decoding gets far.
    fc
      .array(fc.constantFrom(0, 1, 4, 0x10, 0x1f, 0x40, 0xf0, 0xff), { maxLength: 120 })
      .map((a) => Uint8Array.from(a)),
  );
  fc.assert(
    fc.property(soup, fc.nat(12000), (block, room) => {
      const a = new Uint8Array(room);
      const b = new Uint8Array(room);
      const lenA = core.decompress(block, a);
      const lenB = reference.decompress(block, b);
      t.is(lenA < 0, lenB < 0);
      if (lenA >= 0) t.is(lenA, lenB);
      t.deepEqual(a, b);
    }),
    { numRuns: 3000 },
  );
});
