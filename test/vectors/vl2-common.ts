/** What the checkers of the `vl2-*` files share: identities, signatures, rules as the vectors write them. */
import assert from 'node:assert/strict';
import { ruleToJson } from '#src/controller/rules-json.js';
import { toHex } from '#src/lib/hex.js';
import { equalJson, type JsonValue } from '#src/lib/json.js';
import { Reader } from '#src/lib/reader.js';
import { type Identity, parseIdentityText } from '#src/wire/identity.js';
import type { Rule } from '#src/wire/rules.js';
import type { JsonObject } from './case.js';
import { primitives, secretIdentities } from './vl2-lab.js';

export const hex64 = (v: bigint): string => v.toString(16).padStart(16, '0');
export const wholeNumber = (v: bigint): number => Number(v);

export function same(actual: Uint8Array, expected: Uint8Array, what: string): void {
  assert.equal(toHex(actual), toHex(expected), what);
}

/** Named identities of a file. */
export function identities(file: JsonObject): Map<string, Identity> {
  const out = new Map<string, Identity>();
  for (const [name, v] of Object.entries(file['identities'] as Record<string, JsonObject>)) {
    out.set(name, parseIdentityText(String(v['secret'] ?? v['public']))!);
  }
  return out;
}

export const controllerOfFile = (file: JsonObject): Identity => identities(file).get('controller')!;

export function identityOf(file: JsonObject, address: number): Identity | undefined {
  return [...identities(file).values()].find((i) => i.address === address);
}

/** Signatures are deterministic: a good one is what ours makes with the signer's secret. */
export function signedAgain(signer: number, bytes: Uint8Array, signature: Uint8Array): void {
  const identity = [...secretIdentities().values()].find((i) => i.address === signer);
  assert.ok(identity !== undefined, 'the signer is of this set');
  same(primitives.sign(identity.privateKey!, bytes), signature, 'signed again');
}

/** Parsers never trap and never accept a cut certificate as it was. */
export function cutAnywhere<T>(bytes: Uint8Array, read: (r: Reader) => T): void {
  for (let len = 0; len < bytes.length; len += 5) {
    const r = new Reader(bytes.subarray(0, len));
    read(r);
    assert.ok(r.failed || r.pos <= len, `cut to ${len}`);
  }
}

/** A rule in the controller's JSON names plus `t`, as ours render it. */
function vectorRule(rule: Rule): JsonValue {
  const json = ruleToJson(rule);
  return json === undefined ? { t: rule.t } : { ...json, t: rule.t };
}

/** Compares rules, leaving out what has no form of its own in ours (unknown types, priorities). */
export function sameRules(actual: readonly Rule[], expected: JsonValue[]): void {
  assert.equal(actual.length, expected.length, 'number of rules');
  for (const [i, rule] of actual.entries()) {
    const e = expected[i] as Record<string, JsonValue>;
    assert.equal(rule.t, e['t'], `type byte of rule ${i}`);
    const json = ruleToJson(rule);
    if (json === undefined) continue;
    assert.ok(
      equalJson(vectorRule(rule), e),
      `rule ${i}: ${JSON.stringify(vectorRule(rule))} is not ${JSON.stringify(e)}`,
    );
  }
}

export const headers = ['networkId', 'identities'];

export function must<T>(v: T | undefined, what = 'parses'): T {
  assert.notEqual(v, undefined, what);
  return v as T;
}
