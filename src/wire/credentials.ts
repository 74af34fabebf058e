/**
 * Capabilities, tags, certificates of ownership and revocations [3 section 6.2-6.5].
 *
 * Each codec writes the same fields twice: for the wire (with signature block) and for signing
 * (between two guards of 7f). `verify*` checks against the controller's identity.
 */
import type { Primitives } from '../crypto/api.js';
import type { Reader } from '../lib/reader.js';
import { Writer } from '../lib/writer.js';
import type { NetworkId, NodeAddress } from './address.js';
import type { Identity } from './identity.js';
import { type Rule, readRules, rulesLen, writeRules } from './rules.js';

export const CREDENTIAL = { COM: 1, CAPABILITY: 2, TAG: 3, COO: 4, REVOCATION: 6 } as const;
export const MAX_CAPABILITY_RULES = 64;
export const MAX_CUSTODY = 7;
export const MAX_OWNED_THINGS = 16;
export const REVOCATION_FAST_PROPAGATE = 1n;
const GUARD = new Uint8Array(8).fill(0x7f);
const SIGNATURE_TYPE = 1;

/** An empty signature verifies nowhere; it is written as a block of an unknown type. */
const UNSIGNED = new Uint8Array(0);

function readSignature(r: Reader): Uint8Array {
  const type = r.u8();
  const len = r.u16();
  if (type !== SIGNATURE_TYPE) {
    r.skip(len);
    return UNSIGNED;
  }
  if (len !== 96) r.fail();
  return r.copy(96);
}

function writeSignature(w: Writer, signature: Uint8Array): void {
  w.u8(signature.length === 0 ? 0 : SIGNATURE_TYPE)
    .u16(signature.length)
    .put(signature);
}

function skipExtra(r: Reader): void {
  r.skip(r.u16());
}

function signedForm(len: number, fields: (w: Writer) => void): Uint8Array {
  const w = Writer.of(len + 18);
  w.put(GUARD);
  fields(w);
  return w.u16(0).put(GUARD).done();
}

// ---- tag ----

export interface Tag {
  readonly nwid: NetworkId;
  readonly timestamp: bigint;
  readonly id: number;
  readonly value: number;
  readonly issuedTo: NodeAddress;
  readonly signer: NodeAddress;
  readonly signature: Uint8Array;
}

/** Serialised, with a signature of 96 bytes. */
export const TAG_LEN = 135;

export function readTag(r: Reader): Tag {
  const head = {
    nwid: r.u64(),
    timestamp: r.u64(),
    id: r.u32(),
    value: r.u32(),
    issuedTo: r.u40(),
    signer: r.u40(),
  };
  const signature = readSignature(r);
  skipExtra(r);
  return { ...head, signature };
}

function tagFields(w: Writer, t: Tag): void {
  w.u64(t.nwid).u64(t.timestamp).u32(t.id).u32(t.value).u40(t.issuedTo).u40(t.signer);
}

export function tagSignedBytes(t: Tag): Uint8Array {
  return signedForm(34, (w) => tagFields(w, t));
}

export function writeTag(w: Writer, t: Tag): void {
  tagFields(w, t);
  writeSignature(w, t.signature);
  w.u16(0);
}

// ---- capability ----

export interface Custody {
  readonly to: NodeAddress;
  readonly from: NodeAddress;
  readonly signature: Uint8Array;
}

/** One custody entry: two addresses and a signature block. */
export const CUSTODY_LEN = 109;

export interface Capability {
  readonly nwid: NetworkId;
  readonly timestamp: bigint;
  readonly id: number;
  readonly rules: readonly Rule[];
  readonly maxCustody: number;
  readonly custody: readonly Custody[];
}

export function readCapability(r: Reader): Capability {
  const head = { nwid: r.u64(), timestamp: r.u64(), id: r.u32() };
  const count = r.u16();
  if (count > MAX_CAPABILITY_RULES) r.fail();
  const rules = readRules(r, Math.min(count, MAX_CAPABILITY_RULES));
  if (rules.length < count) r.fail();
  const maxCustody = r.u8();
  if (maxCustody < 1 || maxCustody > MAX_CUSTODY) r.fail();
  const custody: Custody[] = [];
  for (;;) {
    const to = r.u40();
    if (r.failed || to === 0) break;
    if (custody.length >= maxCustody) r.fail();
    custody.push({ to, from: r.u40(), signature: readSignature(r) });
  }
  skipExtra(r);
  return { ...head, rules, maxCustody, custody };
}

function capabilityFields(w: Writer, c: Capability): void {
  w.u64(c.nwid).u64(c.timestamp).u32(c.id).u16(c.rules.length);
  writeRules(w, c.rules);
  w.u8(c.maxCustody);
}

export function capabilitySignedBytes(c: Capability): Uint8Array {
  return signedForm(23 + rulesLen(c.rules), (w) => capabilityFields(w, c));
}

/** Serialised length; exact when all custody entries are signed. */
export function capabilityLen(c: Capability): number {
  return 23 + rulesLen(c.rules) + c.custody.length * CUSTODY_LEN + 7;
}

export function writeCapability(w: Writer, c: Capability): void {
  capabilityFields(w, c);
  for (const e of c.custody) {
    w.u40(e.to).u40(e.from);
    writeSignature(w, e.signature);
  }
  w.u40(0).u16(0);
}

export function capabilityIssuedTo(c: Capability): NodeAddress {
  return c.custody[c.custody.length - 1]?.to ?? 0;
}

// ---- certificate of ownership ----

export const THING = { MAC: 1, IPV4: 2, IPV6: 3 } as const;
const THING_VALUE_LEN = 16;

export interface OwnedThing {
  readonly type: number;
  /** 16 bytes, zero padded. */
  readonly value: Uint8Array;
}

export interface Ownership {
  readonly nwid: NetworkId;
  readonly timestamp: bigint;
  readonly flags: bigint;
  readonly id: number;
  readonly things: readonly OwnedThing[];
  readonly issuedTo: NodeAddress;
  readonly signer: NodeAddress;
  readonly signature: Uint8Array;
}

export function ownedThing(type: number, bytes: Uint8Array): OwnedThing {
  const value = new Uint8Array(THING_VALUE_LEN);
  value.set(bytes);
  return { type, value };
}

export function readOwnership(r: Reader): Ownership {
  const head = { nwid: r.u64(), timestamp: r.u64(), flags: r.u64(), id: r.u32() };
  const count = r.u16();
  if (count > MAX_OWNED_THINGS) r.fail();
  const things: OwnedThing[] = [];
  for (let i = 0; i < count && !r.failed; i++)
    things.push({ type: r.u8(), value: r.copy(THING_VALUE_LEN) });
  const tail = { issuedTo: r.u40(), signer: r.u40(), signature: readSignature(r) };
  skipExtra(r);
  return { ...head, things, ...tail };
}

function ownershipFields(w: Writer, c: Ownership): void {
  w.u64(c.nwid).u64(c.timestamp).u64(c.flags).u32(c.id).u16(c.things.length);
  for (const t of c.things) w.u8(t.type).put(t.value);
  w.u40(c.issuedTo).u40(c.signer);
}

export function ownershipSignedBytes(c: Ownership): Uint8Array {
  return signedForm(40 + 17 * c.things.length, (w) => ownershipFields(w, c));
}

/** Serialised length; exact when it is signed. */
export function ownershipLen(c: Ownership): number {
  return 141 + 17 * c.things.length;
}

export function writeOwnership(w: Writer, c: Ownership): void {
  ownershipFields(w, c);
  writeSignature(w, c.signature);
  w.u16(0);
}

/** Whether the certificate names this MAC (6 bytes) or IP (4 or 16 bytes). */
export function owns(c: Ownership, type: number, bytes: Uint8Array): boolean {
  return c.things.some((t) => t.type === type && bytes.every((b, i) => t.value[i] === b));
}

// ---- revocation ----

export interface Revocation {
  readonly id: number;
  readonly nwid: NetworkId;
  readonly credentialId: number;
  /** Credentials with this timestamp or an earlier one are void. */
  readonly threshold: bigint;
  readonly flags: bigint;
  readonly target: NodeAddress;
  readonly signer: NodeAddress;
  readonly type: number;
  readonly signature: Uint8Array;
}

export const REVOCATION_LEN = 152;

export function readRevocation(r: Reader): Revocation {
  r.skip(4);
  const id = r.u32();
  const nwid = r.u64();
  r.skip(4);
  const head = {
    credentialId: r.u32(),
    threshold: r.u64(),
    flags: r.u64(),
    target: r.u40(),
    signer: r.u40(),
    type: r.u8(),
  };
  const signature = readSignature(r);
  skipExtra(r);
  return { id, nwid, ...head, signature };
}

function revocationFields(w: Writer, v: Revocation): void {
  w.u32(0).u32(v.id).u64(v.nwid).u32(0).u32(v.credentialId).u64(v.threshold).u64(v.flags);
  w.u40(v.target).u40(v.signer).u8(v.type);
}

export function revocationSignedBytes(v: Revocation): Uint8Array {
  return signedForm(51, (w) => revocationFields(w, v));
}

export function writeRevocation(w: Writer, v: Revocation): void {
  revocationFields(w, v);
  writeSignature(w, v.signature);
  w.u16(0);
}

// ---- verification ----

/** A credential with one signature by the controller. */
export function verifySigned(
  p: Primitives,
  controller: Identity,
  signer: NodeAddress,
  signedBytes: Uint8Array,
  signature: Uint8Array,
): boolean {
  return signer === controller.address && p.verify(controller.publicKey, signedBytes, signature);
}

/**
 * Walks the chain of custody. @returns true, false, or the address whose identity is missing.
 */
export function verifyCapability(
  p: Primitives,
  controller: NodeAddress,
  c: Capability,
  identityOf: (address: NodeAddress) => Identity | undefined,
): boolean | NodeAddress {
  const signed = capabilitySignedBytes(c);
  let holder = controller;
  if (c.custody.length === 0) return false;
  for (const e of c.custody) {
    if (e.from !== holder) return false;
    const from = identityOf(e.from);
    if (from === undefined) return e.from;
    if (!p.verify(from.publicKey, signed, e.signature)) return false;
    holder = e.to;
  }
  return true;
}
