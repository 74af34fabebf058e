/**
 * Checkers of the `crypto-*`, `identity-*` and `encoding-lz4` vector files.
 *
 * Every case runs through each implementation there is: the WebAssembly module, node:crypto, the
 * plain reference. Positive packets and blocks are also damaged mechanically (a bit of every byte,
 * truncations): the result must be a refusal or a value both implementations agree on, never a throw.
 */
import assert from 'node:assert/strict';
import type { PacketCore, PeerKey, Suite } from '#src/crypto/api.js';
import { deriveAesKey, kbkdfMessage, LABEL_K0, LABEL_K1 } from '#src/crypto/kbkdf.js';
import * as native from '#src/crypto/native.js';
import * as refAes from '#src/crypto/reference/aes.js';
import { ReferencePacketCore, referenceSiv } from '#src/crypto/reference/core.js';
import * as refHash from '#src/crypto/reference/identity-hash.js';
import { poly1305 } from '#src/crypto/reference/poly1305.js';
import { Salsa20 } from '#src/crypto/reference/salsa20.js';
import * as refSha2 from '#src/crypto/reference/sha2.js';
import { type SivPrimitives, sivOpen, sivSeal } from '#src/crypto/reference/siv.js';
import { concatBytes } from '#src/lib/bytes.js';
import { fromHex, toHex } from '#src/lib/hex.js';
import * as map from '#src/packetcore/layout.js';
import { loadExports, loadPacketCore } from '#src/packetcore/load.js';
import {
  emitAddressText,
  emitIdentity,
  emitIdentityText,
  IDENTITY_SECRET_LEN,
  type Identity,
  isReservedAddress,
  parseIdentity,
  parseIdentityText,
  publicKeyHash,
  validateIdentity,
} from '#src/wire/identity.js';
import type { Case, CheckCase, Family } from './case.js';

const wasm = loadExports();
const memory = new Uint8Array(wasm.memory.buffer);
const core = loadPacketCore();
const primitives = core.primitives();
const reference = new ReferencePacketCore();
const nativeSiv: SivPrimitives = {
  encryptBlock: native.aesEncryptBlock,
  decryptBlock: native.aesDecryptBlock,
  ctr: native.aesCtr,
  gmac: native.gmac,
};
const bothSivs = [nativeSiv, referenceSiv];

function same(actual: Uint8Array, expected: Uint8Array, what: string): void {
  assert.equal(toHex(actual), toHex(expected), what);
}

// ---- bare primitives ------------------------------------------------------------------------

/** Runs `work` on `input` inside the module's inbox, at an odd address; returns what is there then. */
function inInbox(input: Uint8Array, work: (p: number) => number): Uint8Array {
  const p = map.INBOX + 3;
  memory.set(input, p);
  assert.equal(work(p), map.OK);
  return memory.slice(p, p + input.length);
}

function checkSalsa(rounds: 12 | 20): CheckCase {
  return (c) => {
    c.note('name');
    const key = c.hex('key');
    const iv = c.hex('iv');
    const input = c.hex('input');
    const output = c.hex('output');
    const cipher = new Salsa20(key, iv, rounds);
    let at = 0;
    let block = 0;
    for (const chunk of c.objects('chunks')) {
      const part = input.subarray(at, at + chunk.number('length'));
      const expected = output.subarray(at, at + part.length);
      const startBlock = chunk.number('startBlock');
      assert.equal(startBlock, block, 'startBlock');
      memory.set(key, map.KEY);
      memory.set(iv, map.IV);
      const got = inInbox(part, (p) => wasm.salsa20Xor(p, part.length, startBlock, rounds));
      same(got, expected, 'wasm');
      same(cipher.xor(part), expected, 'reference');
      same(new Salsa20(key, iv, rounds, startBlock).xor(part), expected, 'reference from block');
      at += chunk.number('length');
      block += Math.ceil(part.length / 64);
    }
    assert.equal(at, input.length, 'chunks cover the input');
    assert.equal(output.length, input.length, 'output length');
  };
}

const checkPoly1305: CheckCase = (c) => {
  c.note('name');
  const key = c.hex('key');
  const message = c.hex('message');
  const tag = c.hex('tag');
  memory.set(key, map.KEY);
  inInbox(message, (p) => wasm.poly1305Tag(p, message.length));
  same(memory.slice(map.TAG, map.TAG + map.TAG_LEN), tag, 'wasm');
  same(poly1305(key, message), tag, 'reference');
};

const checkSha: CheckCase = (c) => {
  c.note('name');
  const message = c.hex('message');
  const parts = [message.subarray(0, message.length >> 1), message.subarray(message.length >> 1)];
  for (const sha of [native, refSha2]) {
    same(sha.sha512(...parts), c.hex('sha512'), 'sha512');
    same(sha.sha384(...parts), c.hex('sha384'), 'sha384');
    same(sha.hmacSha384(c.hex('hmacKey'), message), c.hex('hmacSha384'), 'hmacSha384');
  }
};

const checkKbkdf: CheckCase = (c) => {
  c.note('name');
  const message = kbkdfMessage(c.number('label'), c.number('context'), c.number('iteration'));
  same(message, c.hex('message'), 'message');
  for (const { hmacSha384 } of [native, refSha2]) {
    const out = hmacSha384(c.hex('key'), message);
    same(out, c.hex('out'), 'out');
    same(out.slice(0, 32), c.hex('aes256Key'), 'aes256Key');
    if (c.number('context') === 0 && c.number('iteration') === 0) {
      const derived = deriveAesKey(hmacSha384, c.hex('key'), c.number('label'));
      same(derived, c.hex('aes256Key'), 'derived key');
    }
  }
};

const checkAesGmac: CheckCase = (c) => {
  c.note('name');
  const kind = c.text('kind');
  for (const aes of [native, refAes]) {
    if (kind === 'block') {
      same(aes.aesEncryptBlock(c.hex('key'), c.hex('plaintext')), c.hex('ciphertext'), 'encrypt');
      same(aes.aesDecryptBlock(c.hex('key'), c.hex('ciphertext')), c.hex('plaintext'), 'decrypt');
    } else {
      assert.equal(kind, 'gmac');
      same(aes.gmac(c.hex('key'), c.hex('iv'), c.hex('message')), c.hex('tag'), 'tag');
    }
  }
};

const checkSiv: CheckCase = (c) => {
  c.note('name');
  const k0 = c.hex('k0');
  const k1 = c.hex('k1');
  const aad = c.hex('aad');
  const tag = c.hex('tag');
  const ciphertext = c.hex('ciphertext');
  if (!c.bool('valid')) {
    for (const p of bothSivs) assert.equal(sivOpen(p, k0, k1, tag, aad, ciphertext), undefined);
    return;
  }
  const plaintext = c.hex('plaintext');
  for (const p of bothSivs) {
    const sealed = sivSeal(p, k0, k1, c.hex('iv'), aad, plaintext);
    for (const key of ['gmac', 'sivBlock', 'tag', 'ctrIv', 'ciphertext'] as const) {
      same(sealed[key], c.hex(key), key);
    }
    const opened = sivOpen(p, k0, k1, tag, aad, ciphertext);
    assert(opened !== undefined, 'opens');
    same(opened, plaintext, 'plaintext');
  }
};

// ---- keys and signatures --------------------------------------------------------------------

function checkAgreementOf(c: Case, mine: Uint8Array, theirs: Uint8Array): void {
  const key48 = c.hex('key48');
  const agreed = primitives.agree(mine, theirs);
  const raw = native.x25519(mine.subarray(0, 32), theirs.subarray(0, 32));
  if (c.has('lowOrder') && c.bool('lowOrder')) {
    assert.equal(raw, undefined, 'low order refused');
    assert.equal(agreed, undefined, 'low order refused');
    return;
  }
  assert(raw !== undefined && agreed !== undefined, 'agrees');
  same(raw, c.hex('x25519'), 'x25519');
  same(agreed, key48, 'key48');
}

const checkAgreement: CheckCase = (c) => {
  c.note('name');
  const privateA = c.hex('privateA');
  const publicB = c.hex('publicB');
  checkAgreementOf(c, privateA, publicB);
  if (c.has('privateB')) {
    const privateB = c.hex('privateB');
    const publicA = c.hex('publicA');
    same(primitives.publicFromPrivate(privateA), publicA, 'publicA');
    same(primitives.publicFromPrivate(privateB), publicB, 'publicB');
    checkAgreementOf(c, privateB, publicA);
  }
  if (c.has('lowOrder')) same(c.hex('x25519'), new Uint8Array(32), 'x25519');
  for (const { sha512, hmacSha384 } of [native, refSha2]) {
    const first = sha512(c.hex('x25519'));
    same(first, c.hex('sha512'), 'sha512');
    same(first.slice(0, 48), c.hex('key48'), 'key48');
    same(concatBytes(first, sha512(first)).slice(0, 96), c.hex('key96'), 'key96');
    same(deriveAesKey(hmacSha384, c.hex('key48'), LABEL_K0), c.hex('aesK0'), 'aesK0');
    same(deriveAesKey(hmacSha384, c.hex('key48'), LABEL_K1), c.hex('aesK1'), 'aesK1');
  }
};

/** No damaged signature verifies, of any length, and none throws. */
function damageSignature(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): void {
  for (let i = 0; i < signature.length; i += 5) {
    const bad = signature.slice();
    bad[i]! ^= 1 << (i % 8);
    assert(!primitives.verify(publicKey, message, bad), `bit of byte ${i}`);
    assert(!primitives.verify(publicKey, message, signature.subarray(0, i)), `cut to ${i}`);
  }
  assert(!primitives.verify(publicKey, message, concatBytes(signature, Uint8Array.of(0))));
  assert(!primitives.verify(publicKey.subarray(1), message, signature), 'short public key');
}

const checkSignature: CheckCase = (c) => {
  c.note('name', 'why');
  const publicKey = c.hex('public');
  const message = c.hex('message');
  const signature = c.hex('signature');
  const isValid = c.bool('valid');
  if (c.has('private')) {
    same(primitives.publicFromPrivate(c.hex('private')), publicKey, 'public');
    same(primitives.sign(c.hex('private'), message), signature, 'signature');
    damageSignature(publicKey, message, signature);
  }
  const verdict = primitives.verify(publicKey, message, signature);
  // Either verdict is right where strict verifiers differ from the reference (S + L).
  if (c.has('mayDiffer') && c.bool('mayDiffer')) return;
  assert.equal(verdict, isValid);
};

// ---- packets --------------------------------------------------------------------------------

interface Keyed {
  readonly name: string;
  readonly core: PacketCore;
  readonly key: PeerKey;
}

function cores(key48: Uint8Array): Keyed[] {
  return [
    { name: 'wasm', core, key: core.makeKey(key48) },
    { name: 'reference', core: reference, key: reference.makeKey(key48) },
  ];
}

function checkAesKeys(c: Case, key48: Uint8Array): void {
  for (const { hmacSha384 } of [native, refSha2]) {
    if (c.has('aesK0')) same(deriveAesKey(hmacSha384, key48, LABEL_K0), c.hex('aesK0'), 'aesK0');
    if (c.has('aesK1')) same(deriveAesKey(hmacSha384, key48, LABEL_K1), c.hex('aesK1'), 'aesK1');
  }
}

/** Refuses a damaged packet and leaves it as it was. */
function mustRefuse({ name, core: it, key }: Keyed, damaged: Uint8Array, what: string): void {
  const before = toHex(damaged);
  assert.equal(it.open(key, damaged), false, `${name}: ${what}`);
  assert.equal(toHex(damaged), before, `${name}: ${what}: changed`);
}

// How many bytes of a packet are damaged, one at a time: all, or a sample of that size.
const DAMAGE_SAMPLE = { wasm: 200, reference: 8 };

/** Flips a bit in many bytes (hop bits excepted, they are not protected) and cuts the packet. */
function damagePacket(keyed: Keyed, wire: Uint8Array): void {
  const sample = keyed.name === 'wasm' ? DAMAGE_SAMPLE.wasm : DAMAGE_SAMPLE.reference;
  const step = Math.max(1, Math.floor(wire.length / sample));
  for (let i = 0; i < wire.length; i += step) {
    const bad = wire.slice();
    bad[i]! ^= i === map.OFF_FLAGS ? 0x08 << (i % 5) : 1 << (i % 8);
    mustRefuse(keyed, bad, `bit of byte ${i}`);
    mustRefuse(keyed, wire.slice(0, i), `cut to ${i}`);
  }
  for (let bit = 3; bit < 8; bit++) {
    const bad = wire.slice();
    bad[map.OFF_FLAGS]! ^= 1 << bit;
    mustRefuse(keyed, bad, `flag bit ${bit}`);
  }
  mustRefuse(keyed, concatBytes(wire, Uint8Array.of(0)), 'one byte longer');
}

const OFF_SUITE2_PATH = map.OFF_MAC;

function buildPacket(c: Case, flags: number, body: Uint8Array): Uint8Array {
  return concatBytes(
    c.hex('iv'),
    c.hex('dest'),
    c.hex('source'),
    Uint8Array.of(flags),
    new Uint8Array(8),
    body,
  );
}

function withHops(armored: Uint8Array, hops: number): Uint8Array {
  const out = armored.slice();
  out[map.OFF_FLAGS] = (out[map.OFF_FLAGS]! & ~map.MASK_HOPS) | hops;
  return out;
}

/** Suite 2 has no cryptography: the header is as documented, and the plain receiver refuses it. */
function checkTrustedPath(c: Case, flags: number, body: Uint8Array): void {
  const packet = buildPacket(c, flags | (2 << map.SUITE_SHIFT), body);
  packet.set(c.hex('trustedPathId'), OFF_SUITE2_PATH);
  same(packet, c.hex('armored'), 'armored');
  for (const keyed of cores(new Uint8Array(48))) mustRefuse(keyed, c.hex('wire'), 'suite 2');
}

function checkArmored(c: Case, keyed: Keyed, suite: Suite, plain: Uint8Array): void {
  const packet = plain.slice();
  // Hops of a packet being sealed are cleared, whatever they were.
  packet[map.OFF_FLAGS]! |= c.number('hops');
  keyed.core.seal(keyed.key, packet, suite);
  same(packet, c.hex('armored'), `${keyed.name}: armored`);
  const wire = c.hex('wire');
  const opened = wire.slice();
  assert.equal(keyed.core.open(keyed.key, opened), true, `${keyed.name}: opens`);
  const expected = concatBytes(wire.subarray(0, map.OFF_VERB), c.hex('body'));
  same(opened, expected, `${keyed.name}: opened`);
  if (keyed.name === 'wasm' || wire.length <= 200) damagePacket(keyed, wire);
}

const checkArmor: CheckCase = (c) => {
  c.note('name');
  const suite = c.number('suite');
  const body = c.hex('body');
  const flags = c.bool('fragmented') ? map.FLAG_FRAGMENTED : 0;
  same(withHops(c.hex('armored'), c.number('hops')), c.hex('wire'), 'wire');
  if (suite === 2) {
    checkTrustedPath(c, flags, body);
    return;
  }
  assert(suite === 0 || suite === 1 || suite === 3, 'suite');
  const key48 = c.hex('key48');
  checkAesKeys(c, key48);
  for (const keyed of cores(key48)) checkArmored(c, keyed, suite, buildPacket(c, flags, body));
};

const checkTampered: CheckCase = (c) => {
  c.note('name');
  const key48 = c.hex('key48');
  checkAesKeys(c, key48);
  const wire = c.hex('wire');
  const accept = c.bool('accept');
  const suite = (wire[map.OFF_FLAGS]! >> map.SUITE_SHIFT) & 7;
  if (c.has('haveAes') && !c.bool('haveAes') && suite === 3) {
    // A receiver without AES keys does not exist here: they are derived for every peer.
    assert.equal(accept, false, 'refused without AES keys');
    return;
  }
  for (const { name, core: it, key } of cores(key48)) {
    assert.equal(it.open(key, wire.slice()), accept, name);
  }
};

function moonList(c: Case): Uint8Array {
  const moons = c.objects('moons');
  const count = Uint8Array.of(moons.length >> 8, moons.length);
  // [1 section 8] type 127 = moon, then id and timestamp of what is held.
  return concatBytes(
    count,
    ...moons.map((m) => concatBytes(Uint8Array.of(127), m.hex('id'), m.hex('timestamp'))),
  );
}

const checkHello: CheckCase = (c) => {
  c.note('name');
  const plain = c.hex('plainPacket');
  const start = c.number('cryptedStart');
  same(plain.subarray(0, 8), c.hex('iv'), 'iv');
  same(plain.subarray(map.OFF_DEST, map.OFF_SOURCE), c.hex('dest'), 'dest');
  same(plain.subarray(map.OFF_SOURCE, map.OFF_FLAGS), c.hex('source'), 'source');
  same(plain.subarray(start), moonList(c), 'moons');
  for (const keyed of cores(c.hex('key48'))) {
    const packet = plain.slice();
    keyed.core.maskHello(keyed.key, packet, start);
    same(packet, c.hex('maskedPacket'), `${keyed.name}: masked`);
    keyed.core.seal(keyed.key, packet, 0);
    same(packet, c.hex('armored'), `${keyed.name}: armored`);
    assert.equal(keyed.core.open(keyed.key, packet), true, `${keyed.name}: opens`);
    keyed.core.maskHello(keyed.key, packet, start);
    same(packet.subarray(map.OFF_VERB), plain.subarray(map.OFF_VERB), `${keyed.name}: unmasked`);
    damagePacket(keyed, c.hex('armored'));
  }
};

// ---- compression ----------------------------------------------------------------------------

// [1 section 6] payloads below this are never compressed.
const COMPRESS_MIN_LEN = 65;

function decode(it: PacketCore, block: Uint8Array): Uint8Array | undefined {
  const out = new Uint8Array(map.PAYLOAD_MAX_LEN);
  const len = it.decompress(block, out);
  return len < 0 ? undefined : out.subarray(0, len);
}

function decodesTo(block: Uint8Array, plain: Uint8Array): void {
  for (const it of [core, reference]) {
    const got = decode(it, block);
    assert(got !== undefined, 'decodes');
    same(got, plain, 'plain');
  }
}

/** Both decoders agree on every damaged block, and neither throws. */
function damageBlock(block: Uint8Array): void {
  const agree = (bad: Uint8Array, what: string): void => {
    const a = decode(core, bad);
    const b = decode(reference, bad);
    assert.equal(a && toHex(a), b && toHex(b), what);
  };
  const step = Math.max(1, Math.floor(block.length / 100));
  for (let i = 0; i < block.length; i += step) {
    const bad = block.slice();
    bad[i]! ^= 1 << (i % 8);
    agree(bad, `bit of byte ${i}`);
    agree(block.slice(0, i), `cut to ${i}`);
  }
}

function checkCompress(c: Case): void {
  const plain = c.hex('plain');
  const expected = c.raw('reference');
  for (const it of [core, reference]) {
    const out = new Uint8Array(plain.length);
    const len = it.compress(plain, out);
    assert(len === 0 || len < plain.length, 'shorter');
    if (len > 0) decodesTo(out.subarray(0, len), plain);
    if (plain.length >= COMPRESS_MIN_LEN) assert.equal(len === 0, expected === null, 'compresses');
  }
  if (typeof expected !== 'string') {
    assert.equal(expected, null);
    return;
  }
  assert(plain.length >= COMPRESS_MIN_LEN, 'too short for the reference');
  assert(expected.length / 2 < plain.length, 'the reference keeps shorter blocks only');
  decodesTo(fromHex(expected), plain);
  damageBlock(fromHex(expected));
}

function checkDecompress(c: Case): void {
  const blob = c.hex('blob');
  if (c.has('mayDiffer') && c.bool('mayDiffer')) {
    // Either verdict is right; ours refuses offset 0 and does not enforce the end-of-block rules,
    // in both implementations.
    c.note('valid', 'plain');
    const [a, b] = [decode(core, blob), decode(reference, blob)];
    assert.equal(a && toHex(a), b && toHex(b), 'both decide alike');
    return;
  }
  if (c.bool('valid')) {
    decodesTo(blob, c.hex('plain'));
    damageBlock(blob);
  } else {
    for (const it of [core, reference]) assert.equal(decode(it, blob), undefined, 'refused');
  }
}

const checkLz4: CheckCase = (c) => {
  c.note('name', 'why');
  const kind = c.text('kind');
  if (kind === 'compress') checkCompress(c);
  else {
    assert.equal(kind, 'decompress');
    checkDecompress(c);
  }
};

// ---- identities -----------------------------------------------------------------------------

const checkMemoryHardHash: CheckCase = (c) => {
  c.note('name');
  const publicKey = c.hex('public');
  const start = refSha2.sha512(publicKey);
  same(start, c.hex('sha512'), 'sha512');
  const table = memory.subarray(map.TABLE, map.TABLE + map.TABLE_LEN);
  const state = refHash.fillTable(publicKey);
  memory.set(start, map.DIGEST);
  wasm.identityFill();
  for (const t of [table, state.table]) {
    same(t.subarray(0, 128), c.hex('genmemHead'), 'genmemHead');
    same(t.subarray(-64), c.hex('genmemTail'), 'genmemTail');
    same(native.sha512(t), c.hex('genmemSha512'), 'genmemSha512');
  }
  wasm.identityMix();
  refHash.mixTable(state);
  for (const t of [table, state.table]) {
    same(native.sha512(t), c.hex('finalTableSha512'), 'finalTableSha512');
  }
  const digest = c.hex('digest');
  same(memory.slice(map.DIGEST, map.DIGEST + map.DIGEST_LEN), digest, 'wasm digest');
  same(state.digest, digest, 'reference digest');
  same(primitives.memoryHardHash(publicKey), digest, 'digest');
  const address = Number.parseInt(c.text('address'), 16);
  assert.equal(toHex(digest.subarray(59)), c.text('address'), 'address');
  assert.equal(digest[0]! < 17, c.bool('hashcashOk'), 'hashcashOk');
  assert.equal(isReservedAddress(address), c.bool('reserved'), 'reserved');
  const isValid = c.bool('hashcashOk') && !c.bool('reserved');
  const id: Identity = { address, publicKey, privateKey: undefined };
  assert.equal(validateIdentity(primitives, id), isValid, 'validation');
};

function checkForms(c: Case, id: Identity, withPrivate: boolean, text: string, hex: string): void {
  assert.equal(emitIdentityText(id, withPrivate), c.text(text), text);
  const fromText = parseIdentityText(c.text(text));
  const binary = c.hex(hex);
  const parsed = parseIdentity(concatBytes(Uint8Array.of(9), binary), 1);
  assert.deepEqual(fromText, id, `${text} parsed`);
  assert.deepEqual(parsed, { identity: id, length: binary.length }, `${hex} parsed`);
  const out = new Uint8Array(IDENTITY_SECRET_LEN + 2).fill(0xa5);
  assert.equal(emitIdentity(id, out, 1, withPrivate), binary.length);
  same(out.subarray(1, 1 + binary.length), binary, hex);
  assert(out.subarray(1 + binary.length).every((b) => b === 0xa5) && out[0] === 0xa5, 'bounds');
  for (let cut = 0; cut < binary.length; cut++) {
    assert.equal(parseIdentity(binary.subarray(0, cut), 0), undefined, `cut to ${cut}`);
  }
}

const checkValidIdentity: CheckCase = (c) => {
  c.note('name');
  const privateHex = c.raw('privateKey');
  const publicId: Identity = {
    address: Number.parseInt(c.text('address'), 16),
    publicKey: c.hex('publicKey'),
    privateKey: undefined,
  };
  assert.equal(emitAddressText(publicId.address), c.text('address'));
  checkForms(c, publicId, false, 'publicString', 'binaryPublic');
  same(publicKeyHash(primitives, publicId), c.hex('publicKeyHash'), 'publicKeyHash');
  assert.equal(validateIdentity(primitives, publicId), c.bool('valid'), 'valid');
  if (typeof privateHex !== 'string') {
    for (const key of ['secretString', 'binarySecret', 'privateKeySha512']) {
      assert.equal(c.raw(key) ?? null, null, key);
    }
    return;
  }
  const privateKey = fromHex(privateHex);
  checkForms(c, { ...publicId, privateKey }, true, 'secretString', 'binarySecret');
  same(primitives.sha512(privateKey), c.hex('privateKeySha512'), 'privateKeySha512');
  same(primitives.publicFromPrivate(privateKey), publicId.publicKey, 'publicKey');
};

const checkInvalidIdentity: CheckCase = (c) => {
  c.note('name', 'why');
  const kind = c.text('kind');
  let id: Identity | undefined;
  if (kind === 'string') {
    c.bool('strict');
    id = parseIdentityText(c.text('input'));
  } else {
    assert.equal(kind, 'binary');
    const parsed = parseIdentity(c.hex('input'), 0);
    id = parsed?.identity;
    if (c.has('consumed')) assert.equal(parsed?.length, c.number('consumed'), 'consumed');
  }
  // `strict: false` cases too: the parser is as tolerant as the reference.
  assert.equal(id !== undefined, c.bool('parses'), 'parses');
  if (id === undefined) return;
  assert.equal(emitAddressText(id.address), c.text('address'), 'address');
  same(id.publicKey, c.hex('publicKey'), 'publicKey');
  assert.equal(id.privateKey !== undefined, c.bool('hasPrivate'), 'hasPrivate');
  assert.equal(validateIdentity(primitives, id), c.bool('locallyValid'), 'locallyValid');
};

function family(file: string, check: CheckCase): Family {
  return { file, arrays: { cases: check } };
}

export const cryptoFamilies: readonly Family[] = [
  family('crypto-salsa2012', checkSalsa(12)),
  family('crypto-salsa2020', checkSalsa(20)),
  family('crypto-poly1305', checkPoly1305),
  family('crypto-sha', checkSha),
  family('crypto-kbkdf', checkKbkdf),
  family('crypto-aes256-gmac', checkAesGmac),
  family('crypto-aes-gmac-siv', checkSiv),
  family('crypto-agreement', checkAgreement),
  family('crypto-signature', checkSignature),
  family('crypto-packet-armor', checkArmor),
  family('crypto-packet-tampered', checkTampered),
  family('crypto-hello-field', checkHello),
  family('encoding-lz4', checkLz4),
  family('identity-memory-hard-hash', checkMemoryHardHash),
  family('identity-valid', checkValidIdentity),
  family('identity-invalid', checkInvalidIdentity),
];
