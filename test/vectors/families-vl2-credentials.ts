/** Checkers of the `vl2-*` files about certificates, capabilities, tags, ownership and revocations. */
import assert from 'node:assert/strict';
import { fromHex, toHex } from '#src/lib/hex.js';
import type { JsonValue } from '#src/lib/json.js';
import { Reader } from '#src/lib/reader.js';
import { Writer } from '#src/lib/writer.js';
import { addressText, macText, networkIdText, parseMac } from '#src/wire/address.js';
import {
  type Com,
  comAgrees,
  comIssuedTo,
  comNetwork,
  comSignedBytes,
  comTimestamp,
  emitCom,
  readCom,
} from '#src/wire/com.js';
import {
  type Capability,
  capabilityIssuedTo,
  capabilitySignedBytes,
  type Ownership,
  ownershipSignedBytes,
  owns,
  type Revocation,
  readCapability,
  readOwnership,
  readRevocation,
  readTag,
  revocationSignedBytes,
  type Tag,
  THING,
  tagSignedBytes,
  verifyCapability,
  verifySigned,
  writeCapability,
  writeOwnership,
  writeRevocation,
  writeTag,
} from '#src/wire/credentials.js';
import { inetAddress, inetAddressText, parseIp } from '#src/wire/inetaddress.js';
import type { Case, Family, JsonObject } from './case.js';
import {
  controllerOfFile,
  cutAnywhere,
  headers,
  hex64,
  identities,
  identityOf,
  same,
  sameRules,
  signedAgain,
  wholeNumber,
} from './vl2-common.js';
import { primitives } from './vl2-lab.js';

// ---- certificates of membership ----

export function comFields(com: Com): unknown {
  return {
    qualifiers: com.qualifiers.map((q) => ({
      id: wholeNumber(q.id),
      value: hex64(q.value),
      maxDelta: hex64(q.maxDelta),
    })),
    networkId: networkIdText(comNetwork(com)),
    timestamp: wholeNumber(comTimestamp(com)),
    issuedTo: addressText(comIssuedTo(com)),
    signedBy: addressText(com.signer),
    signature: toHex(com.signature),
  };
}

/** A certificate as the vectors describe it; `signature` null or absent = unsigned. */
export function expectedCom(v: JsonObject): unknown {
  return { ...v, signedBy: v['signedBy'] ?? '0000000000', signature: v['signature'] ?? '' };
}

function certificate(c: Case, file: JsonObject): void {
  c.note('name', 'note');
  const bytes = c.hex('serialized');
  const r = new Reader(bytes);
  const com = readCom(r);
  assert.ok(!r.failed && r.remaining === 0, 'parses whole');
  assert.deepEqual(comFields(com), expectedCom(c.raw('fields') as JsonObject));
  same(emitCom(com), bytes, 'written again');
  same(comSignedBytes(com), c.hex('signedBytes'), 'signed bytes');
  const controller = controllerOfFile(file);
  const ok =
    com.signer === controller.address &&
    primitives.verify(controller.publicKey, comSignedBytes(com), com.signature);
  assert.equal(ok, c.bool('verify'));
  if (ok) signedAgain(com.signer, comSignedBytes(com), com.signature);
  cutAnywhere(bytes, readCom);
}

function comParse(c: Case): void {
  c.note('name', 'note');
  const r = new Reader(c.hex('bytes'));
  readCom(r);
  const isOk = c.text('result') === 'ok';
  assert.equal(!r.failed, isOk);
  if (c.has('consumed')) assert.equal(r.pos, c.number('consumed'));
}

function agreement(c: Case, file: JsonObject): void {
  c.note('note');
  const find = (name: string): Com => {
    const entry = (file['certificates'] as JsonObject[]).find((x) => x['name'] === name)!;
    return readCom(new Reader(fromHex(String(entry['serialized']))));
  };
  const [mine, theirs] = [find(c.text('mine')), find(c.text('theirs'))];
  const who = identities(file).get(c.text('theirIdentity'))!;
  assert.equal(comAgrees(primitives, mine, theirs, who), c.bool('agrees'));
}

// ---- capabilities, tags, ownership, revocations ----

export function capabilityFields(x: Capability): Record<string, unknown> {
  return {
    networkId: networkIdText(x.nwid),
    timestamp: wholeNumber(x.timestamp),
    id: x.id,
    ruleCount: x.rules.length,
    maxCustodyChainLength: x.maxCustody,
    custody: x.custody.map((e) => ({
      to: addressText(e.to),
      from: addressText(e.from),
      signature: toHex(e.signature),
    })),
    issuedTo: addressText(capabilityIssuedTo(x)),
  };
}

function written(write: (w: Writer) => void): Uint8Array {
  const w = Writer.of(20_000);
  write(w);
  return w.done();
}

function capability(c: Case, file: JsonObject): void {
  c.note('name', 'note');
  const bytes = c.hex('serialized');
  const r = new Reader(bytes);
  const x = readCapability(r);
  assert.ok(!r.failed && r.remaining === 0, 'parses whole');
  const { rules, ...rest } = c.raw('fields') as JsonObject;
  assert.deepEqual(capabilityFields(x), rest);
  sameRules(x.rules, rules as JsonValue[] as never);
  same(
    written((w) => writeCapability(w, x)),
    bytes,
    'written again',
  );
  same(capabilitySignedBytes(x), c.hex('signedBytes'), 'signed bytes');
  const ok = verifyCapability(primitives, controllerOfFile(file).address, x, (a) =>
    identityOf(file, a),
  );
  assert.equal(ok, c.bool('verify'));
  if (ok === true)
    for (const e of x.custody) signedAgain(e.from, capabilitySignedBytes(x), e.signature);
  cutAnywhere(bytes, readCapability);
}

function parseCase<T>(read: (r: Reader) => T): (c: Case) => void {
  return (c) => {
    c.note('name', 'note');
    const r = new Reader(c.hex('bytes'));
    read(r);
    assert.equal(!r.failed, c.text('result') === 'ok', 'verdict');
    if (c.has('consumed')) assert.equal(r.pos, c.number('consumed'));
  };
}

export function tagFields(x: Tag): unknown {
  return {
    networkId: networkIdText(x.nwid),
    timestamp: wholeNumber(x.timestamp),
    id: x.id,
    value: x.value,
    issuedTo: addressText(x.issuedTo),
    signedBy: addressText(x.signer),
    signature: toHex(x.signature),
  };
}

function signedCase<T extends { signer: number; signature: Uint8Array }>(
  read: (r: Reader) => T,
  write: (w: Writer, x: T) => void,
  signedBytes: (x: T) => Uint8Array,
  fields: (x: T) => unknown,
): (c: Case, file: JsonObject) => void {
  return (c, file) => {
    c.note('name', 'note');
    const bytes = c.hex('serialized');
    const r = new Reader(bytes);
    const x = read(r);
    assert.ok(!r.failed && r.remaining === 0, 'parses whole');
    assert.deepEqual(fields(x), c.raw('fields'));
    same(
      written((w) => write(w, x)),
      bytes,
      'written again',
    );
    same(signedBytes(x), c.hex('signedBytes'), 'signed bytes');
    const controller = controllerOfFile(file);
    const ok = verifySigned(primitives, controller, x.signer, signedBytes(x), x.signature);
    assert.equal(ok, c.bool('verify'));
    if (ok) signedAgain(x.signer, signedBytes(x), x.signature);
    cutAnywhere(bytes, read);
  };
}

export function ownershipFields(x: Ownership): unknown {
  return {
    networkId: networkIdText(x.nwid),
    timestamp: wholeNumber(x.timestamp),
    flags: hex64(x.flags),
    id: x.id,
    things: x.things.map((t) => ({
      type: t.type,
      value: toHex(t.value),
      text: thingText(t.type, t.value),
    })),
    issuedTo: addressText(x.issuedTo),
    signedBy: addressText(x.signer),
    signature: toHex(x.signature),
  };
}

function thingText(type: number, value: Uint8Array): string {
  if (type === THING.MAC) return macText(value.subarray(0, 6));
  return inetAddressText(inetAddress(value.subarray(0, type === THING.IPV4 ? 4 : 16), 0)).replace(
    /\/0$/,
    '',
  );
}

export function parseThing(text: string): { type: number; bytes: Uint8Array } {
  const mac = parseMac(text.replace(/^mac /, ''));
  if (mac !== undefined && /^(?:mac )?(?:..:){5}..$/.test(text))
    return { type: THING.MAC, bytes: mac };
  const bytes = parseIp(text)!;
  return { type: bytes.length === 4 ? THING.IPV4 : THING.IPV6, bytes };
}

function ownershipTest(c: Case, file: JsonObject): void {
  const entry = (file['certificates'] as JsonObject[]).find(
    (x) => x['name'] === c.text('certificate'),
  )!;
  const x = readOwnership(new Reader(fromHex(String(entry['serialized']))));
  const { type, bytes } = parseThing(c.text('thing'));
  assert.equal(owns(x, type, bytes), c.bool('owns'));
}

export function revocationFields(x: Revocation): unknown {
  return {
    id: x.id,
    networkId: networkIdText(x.nwid),
    credentialId: x.credentialId,
    threshold: wholeNumber(x.threshold),
    flags: hex64(x.flags),
    target: addressText(x.target),
    signedBy: addressText(x.signer),
    type: x.type,
    signature: toHex(x.signature),
  };
}

export const vl2CredentialFamilies: readonly Family[] = [
  {
    file: 'vl2-com',
    arrays: { certificates: certificate, parse: comParse, agreement },
    headers: [...headers, 'identityHashes'],
  },
  {
    file: 'vl2-capability',
    arrays: { capabilities: capability, parse: parseCase(readCapability) },
    headers,
  },
  {
    file: 'vl2-tag',
    arrays: {
      tags: signedCase(readTag, writeTag, tagSignedBytes, tagFields),
      parse: parseCase(readTag),
    },
    headers,
  },
  {
    file: 'vl2-coo',
    arrays: {
      certificates: signedCase(
        readOwnership,
        writeOwnership,
        ownershipSignedBytes,
        ownershipFields,
      ),
      ownership: ownershipTest,
      parse: parseCase(readOwnership),
    },
    headers,
  },
  {
    file: 'vl2-revocation',
    arrays: {
      revocations: signedCase(
        readRevocation,
        writeRevocation,
        revocationSignedBytes,
        revocationFields,
      ),
    },
    headers,
  },
];
