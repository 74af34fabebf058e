/** Identities: both forms, what is refused, validation and generation. */
import test from 'ava';
import fc from 'fast-check';
import type { Primitives } from '#src/crypto/api.js';
import { loadPacketCore } from '#src/packetcore/load.js';
import {
  emitIdentity,
  emitIdentityText,
  equalIdentities,
  generateIdentity,
  IDENTITY_PUBLIC_LEN,
  IDENTITY_SECRET_LEN,
  type Identity,
  isReservedAddress,
  parseIdentity,
  parseIdentityText,
  validateIdentity,
} from '#src/wire/identity.js';

const primitives = loadPacketCore().primitives();
const key64 = fc.uint8Array({ minLength: 64, maxLength: 64 });
const address = fc.integer({ min: 1, max: 0xfeffffffff });
const identity: fc.Arbitrary<Identity> = fc.record({
  address,
  publicKey: key64,
  privateKey: fc.option(key64, { nil: undefined }),
});

test('text and binary forms give back what was written', (t) => {
  fc.assert(
    fc.property(identity, fc.nat(9), (id, offset) => {
      const withPrivate = id.privateKey !== undefined;
      const text = emitIdentityText(id, withPrivate);
      t.is(text.length, withPrivate ? 270 : 141);
      t.deepEqual(parseIdentityText(`${text}\n`), id);
      const out = new Uint8Array(offset + IDENTITY_SECRET_LEN);
      const length = emitIdentity(id, out, offset, withPrivate);
      t.deepEqual(parseIdentity(out, offset), { identity: id, length });
    }),
  );
});

test('the private key is written only when asked', (t) => {
  const id = {
    address: 5,
    publicKey: new Uint8Array(64),
    privateKey: new Uint8Array(64).fill(0xee),
  };
  const out = new Uint8Array(IDENTITY_SECRET_LEN);
  t.is(emitIdentity(id, out, 0), IDENTITY_PUBLIC_LEN);
  t.false(out.includes(0xee));
  t.false(emitIdentityText(id, false).includes('ee'));
  const publicOnly = { ...id, privateKey: undefined };
  t.throws(() => emitIdentity(publicOnly, out, 0, true), { instanceOf: RangeError });
  t.throws(() => emitIdentityText(publicOnly, true), { instanceOf: RangeError });
  t.throws(() => emitIdentity(id, out, 65), { instanceOf: RangeError });
});

test('no text and no bytes make a parser throw or read past the end', (t) => {
  fc.assert(
    fc.property(fc.string({ maxLength: 500 }), (text) => {
      t.notThrows(() => parseIdentityText(text));
    }),
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 150 }), fc.nat(200), (bytes, offset) => {
      const parsed = parseIdentity(bytes, offset);
      t.true(parsed === undefined || offset + parsed.length <= bytes.length);
    }),
  );
});

test('a parsed identity does not share memory with the bytes it came from', (t) => {
  const bytes = Buffer.alloc(IDENTITY_SECRET_LEN, 1);
  bytes[5] = 0;
  bytes[70] = 64;
  const parsed = parseIdentity(bytes, 0);
  bytes.fill(2);
  t.true(parsed?.identity.publicKey.every((b) => b === 1));
  t.true(parsed?.identity.privateKey?.every((b) => b === 1));
});

test('the address field is read as the reference reads it', (t) => {
  const rest = `:0:${'ab'.repeat(64)}`;
  const read = (field: string) => parseIdentityText(field + rest)?.address;
  t.is(read('0123456789'), 0x0123456789);
  t.is(read(' +0x123456789A'), 0x123456789a);
  t.is(read('99123456789a'), 0x123456789a, 'modulo 2^40');
  t.is(read('12zz'), 0x12, 'stops at the first other character');
  t.is(read('-1'), undefined, 'minus one is ffffffffff, reserved');
  t.is(read('-feffffffff'), 0x0100000001, 'negative numbers wrap');
  t.is(read('1'.repeat(17)), undefined, 'saturates at a reserved address');
  t.is(read('xyz'), undefined, 'zero is reserved');
  t.is(read('0x'), undefined);
});

test('reserved addresses are zero and those that start with ff', (t) => {
  t.true(isReservedAddress(0));
  t.true(isReservedAddress(0xff00000000));
  t.true(isReservedAddress(0xffffffffff));
  t.false(isReservedAddress(1));
  t.false(isReservedAddress(0xfeffffffff));
});

test('identities are equal by address and public key', (t) => {
  const a = { address: 7, publicKey: new Uint8Array(64), privateKey: undefined };
  t.true(equalIdentities(a, { ...a, privateKey: new Uint8Array(64) }));
  t.false(equalIdentities(a, { ...a, address: 8 }));
  t.false(equalIdentities(a, { ...a, publicKey: new Uint8Array(64).fill(1) }));
});

test('a generated identity passes validation and an altered one does not', (t) => {
  let seed = 1;
  const entropy = {
    fill(bytes: Uint8Array) {
      for (let i = 0; i < bytes.length; i++) bytes[i] = seed = (seed * 75 + 74) % 65537;
    },
  };
  const id = generateIdentity(primitives, entropy);
  t.true(validateIdentity(primitives, id));
  t.deepEqual(primitives.publicFromPrivate(id.privateKey!), id.publicKey);
  t.false(validateIdentity(primitives, { ...id, address: id.address ^ 1 }));
  t.false(validateIdentity(primitives, { ...id, address: 0xff00000001 }));
  const publicKey = id.publicKey.slice();
  publicKey[0]! ^= 1;
  t.false(validateIdentity(primitives, { ...id, publicKey }));
});

test('generation starts again when the address is reserved and goes on until the criterion holds', (t) => {
  const digests = [
    { first: 17, address: [1, 2, 3, 4, 5] },
    { first: 16, address: [0xff, 2, 3, 4, 5] },
    { first: 255, address: [1, 2, 3, 4, 5] },
    { first: 0, address: [0x12, 0x34, 0x56, 0x78, 0x9a] },
  ];
  const seen: number[] = [];
  let fills = 0;
  const scripted: Primitives = {
    ...primitives,
    publicFromPrivate(privateKey) {
      seen.push(privateKey[8]!);
      return new Uint8Array(64);
    },
    memoryHardHash() {
      const next = digests[seen.length - 1]!;
      const digest = new Uint8Array(64);
      digest[0] = next.first;
      digest.set(next.address, 59);
      return digest;
    },
  };
  const id = generateIdentity(scripted, { fill: (bytes) => bytes.fill(10 * ++fills) });
  t.is(id.address, 0x123456789a);
  t.is(fills, 2, 'new private bytes after a reserved address');
  t.deepEqual(seen, [11, 12, 21, 22], 'the scalar is varied by one');
});
