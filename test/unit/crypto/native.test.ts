/** node:crypto behind our interfaces, against the reference and against misuse. */
import test from 'ava';
import fc from 'fast-check';
import * as native from '#src/crypto/native.js';
import * as refAes from '#src/crypto/reference/aes.js';
import * as refSha2 from '#src/crypto/reference/sha2.js';
import { concatBytes } from '#src/lib/bytes.js';
import { fromHex } from '#src/lib/hex.js';

const sized = (n: number) => fc.uint8Array({ minLength: n, maxLength: n });
const upTo = (n: number) => fc.uint8Array({ minLength: 0, maxLength: n, size: 'max' });

test('SHA-512, SHA-384 and HMAC equal the reference, however the message is cut', (t) => {
  fc.assert(
    fc.property(upTo(300), fc.nat(300), sized(48), (message, cut, key) => {
      const parts = [message.subarray(0, cut), message.subarray(cut)];
      t.deepEqual(native.sha512(...parts), refSha2.sha512(message));
      t.deepEqual(native.sha384(...parts), refSha2.sha384(message));
      t.deepEqual(native.hmacSha384(key, message), refSha2.hmacSha384(key, message));
    }),
    { numRuns: 60 },
  );
});

test('AES blocks, CTR and GMAC equal the reference', (t) => {
  fc.assert(
    fc.property(sized(32), sized(16), sized(12), upTo(150), (key, block, iv, data) => {
      const encrypted = native.aesEncryptBlock(key, block);
      t.deepEqual(encrypted, refAes.aesEncryptBlock(key, block));
      t.deepEqual(native.aesDecryptBlock(key, encrypted), block);
      t.deepEqual(refAes.aesDecryptBlock(key, encrypted), block);
      t.deepEqual(native.aesCtr(key, block, data), refAes.aesCtr(key, block, data));
      t.deepEqual(native.gmac(key, iv, data), refAes.gmac(key, iv, data));
    }),
    { numRuns: 40 },
  );
});

test('CTR counts through its whole block', (t) => {
  const counter = new Uint8Array(16).fill(0xff);
  const key = new Uint8Array(32);
  const zeros = new Uint8Array(40);
  t.deepEqual(refAes.aesCtr(key, counter, zeros), native.aesCtr(key, counter, zeros));
});

test('both sides agree on one key, in both directions', (t) => {
  fc.assert(
    fc.property(sized(64), sized(64), (a, b) => {
      const agreed = native.agree(a, native.publicFromPrivate(b));
      t.is(agreed?.length, 48);
      t.deepEqual(native.agree(b, native.publicFromPrivate(a)), agreed);
    }),
    { numRuns: 20 },
  );
});

// The u-coordinates of low order on Curve25519 and its twist (RFC 7748 section 6.1, "all-zero").
const LOW_ORDER = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
];

test('public keys of low order are refused, with and without the ignored top bit', (t) => {
  const mine = new Uint8Array(64).fill(0x42);
  for (const hex of LOW_ORDER) {
    const low = fromHex(hex);
    t.is(native.agree(mine, concatBytes(low, new Uint8Array(32))), undefined, hex);
    low[31]! |= 0x80;
    t.is(native.agree(mine, concatBytes(low, new Uint8Array(32))), undefined, `${hex} top bit`);
  }
});

test('a signature verifies for its message and key alone', (t) => {
  fc.assert(
    fc.property(sized(64), sized(64), upTo(200), (a, b, message) => {
      const publicKey = native.publicFromPrivate(a);
      const signature = native.sign(a, message);
      t.is(signature.length, 96);
      t.true(native.verify(publicKey, message, signature));
      t.false(native.verify(publicKey, concatBytes(message, Uint8Array.of(0)), signature));
      t.is(native.verify(native.publicFromPrivate(b), message, signature), false);
    }),
    { numRuns: 20 },
  );
});

test('verify says no to rubbish of any shape and never throws', (t) => {
  fc.assert(
    fc.property(upTo(80), upTo(50), upTo(120), (publicKey, message, signature) => {
      t.false(native.verify(publicKey, message, signature));
    }),
  );
  const d = native.sha512(new Uint8Array(0)).subarray(0, 32);
  // The right digest behind a rubbish signature, under keys that are no curve points.
  for (const fill of [0, 1, 2, 0x7f, 0xff]) {
    const signature = concatBytes(new Uint8Array(64).fill(fill), d);
    t.false(native.verify(new Uint8Array(64).fill(0xff), new Uint8Array(0), signature));
  }
});

test('a signature whose S is not reduced is refused', (t) => {
  // [1 section 3.3] the reference accepts S + L, RFC 8032 does not.
  const order = 2n ** 252n + 27742317777372353535851937790883648493n;
  const privateKey = new Uint8Array(64).fill(3);
  const message = Uint8Array.of(1, 2, 3);
  const signature = native.sign(privateKey, message);
  let s = 0n;
  for (let i = 63; i >= 32; i--) s = s * 256n + BigInt(signature[i]!);
  s += order;
  for (let i = 32; i < 64; i++, s >>= 8n) signature[i] = Number(s & 255n);
  t.is(s, 0n, 'S + L fits');
  t.false(native.verify(native.publicFromPrivate(privateKey), message, signature));
});

test('wrong key lengths are mistakes of the caller', (t) => {
  const short = new Uint8Array(63);
  const right = new Uint8Array(64);
  t.throws(() => native.agree(short, right), { instanceOf: RangeError });
  t.throws(() => native.agree(right, short), { instanceOf: RangeError });
  t.throws(() => native.sign(short, right), { instanceOf: RangeError });
  t.throws(() => native.publicFromPrivate(short), { instanceOf: RangeError });
});

test('the entropy source fills what it is given', (t) => {
  const bytes = new Uint8Array(64);
  native.nativeEntropy.fill(bytes.subarray(16, 48));
  t.true(bytes.subarray(16, 48).some((b) => b !== 0));
  t.true(bytes.subarray(0, 16).every((b) => b === 0) && bytes.subarray(48).every((b) => b === 0));
});
