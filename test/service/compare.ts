/**
 * Comparison of answers: status, all headers (Content-Length by its meaning), bodies after parsing.
 * What is volatile by the vectors' README becomes a word for its kind on both sides first; what our
 * service says otherwise on purpose is listed in DEVIATIONS.
 */
import assert from 'node:assert/strict';
import { emitJson, isRecord, type JsonRecord, type JsonValue, parseJson } from '#src/lib/json.js';
import type { RawAnswer } from './raw-http.js';
import type { HttpResponse } from './records.js';

/** Milliseconds since 1970 are above this; nothing else is. */
const FIRST_TIME = 1_500_000_000_000;

/** Fields whose value says nothing about us, by key: a check of the kind, and the word for it. */
const VOLATILE: Readonly<Record<string, (v: JsonValue) => boolean>> = {
  clock: isTime,
  latency: (v) => typeof v === 'number',
  localSocket: (v) => typeof v === 'number' || typeof v === 'bigint',
  planetWorldId: (v) => typeof v === 'number',
  planetWorldTimestamp: isTime,
  netconfRevision: (v) => typeof v === 'number',
  primaryPort: isPort,
  secondaryPort: isPort,
  tertiaryPort: isPort,
  listeningOn: isAddressList,
  surfaceAddresses: isAddressList,
  homeDir: (v) => typeof v === 'string',
  description: (v) => typeof v === 'string' && v !== '',
  signature: (v) => typeof v === 'string' && /^[0-9a-f]{192}$/.test(v),
  stableEndpoints: (v) => isAddressList(v) && (v as JsonValue[]).length > 0,
  // What the operating system subscribed to when the configuration last changed.
  multicastSubscriptions: (v) => Array.isArray(v) && v.every((g) => isRecord(g) && 'adi' in g),
  // DEVIATIONS: the device is the door of the network.
  portDeviceName: (v) => typeof v === 'string' && v !== '',
};

/** Ours alone, left out of comparison. */
const EXTRA = new Set(['netcon']);

function isTime(v: JsonValue): boolean {
  return typeof v === 'number' && v >= FIRST_TIME;
}

function isPort(v: JsonValue): boolean {
  return typeof v === 'number' && v >= 0 && v <= 65_535;
}

function isAddressList(v: JsonValue): boolean {
  return (
    Array.isArray(v) && v.every((a) => typeof a === 'string' && /^[0-9a-f.:]+\/\d{1,5}$/.test(a))
  );
}

/** A value with everything volatile replaced. */
export function settle(v: JsonValue): JsonValue {
  if (Array.isArray(v)) return v.filter((x) => !isIntegerRange(x)).map(settle);
  if (!isRecord(v)) return isTime(v) ? 'TIME' : v;
  const out: JsonRecord = {};
  for (const [key, value] of Object.entries(v)) {
    if (value === undefined || EXTRA.has(key)) continue;
    const check = VOLATILE[key];
    if (check === undefined) out[key] = key === 'paths' ? settlePaths(value) : settle(value);
    else out[key] = check(value) ? `<${key}>` : value;
  }
  return out;
}

/** Rules that the reference's API drops and ours keeps, a defect [4 section 13, 9]. */
function isIntegerRange(v: JsonValue): boolean {
  return isRecord(v) && v['type'] === 'INTEGER_RANGE';
}

/** How many paths a peer has depends on the lab's interfaces: the form of one counts. */
function settlePaths(v: JsonValue): JsonValue {
  if (!Array.isArray(v)) return v;
  const [first] = v;
  if (!isRecord(first)) return [];
  return [Object.keys(first).sort()];
}

/** @throws when the parsed values differ. */
export function compareJson(actual: JsonValue, expected: JsonValue): void {
  const [a, b] = [emitJson(settle(actual)), emitJson(settle(expected))];
  if (a === b) return;
  assert.deepEqual(JSON.parse(a), JSON.parse(b));
}

/** Headers by lower-case name, sorted, the length by its meaning. */
function headersOf(pairs: readonly (readonly [string, string])[]): string[] {
  return pairs
    .map(([k, v]) => {
      const name = k.toLowerCase();
      if (name === 'content-length') return `${name}: ${v === '0' ? '0' : 'LENGTH'}`;
      if (name === 'content-range') return `${name}: ${v.replace(/\/\d+$/, '/LENGTH')}`;
      return `${name}: ${v}`;
    })
    .sort();
}

/** Compares all but the body. */
export function compareHead(actual: RawAnswer, expected: HttpResponse): void {
  assert.equal(actual.status, expected.status, 'status');
  assert.deepEqual(headersOf(actual.headers), headersOf(expected.headers), 'headers');
}

/** Splits `fn(json);` into its name and JSON. */
function unwrap(body: string): [name: string | undefined, json: string] {
  const m = /^([^({[]*)\((.*)\);$/s.exec(body);
  return m === null ? [undefined, body] : [m[1]!, m[2]!];
}

/** Compares bodies: JSON (also in JSONP) after parsing, everything else as text. */
export function compareBody(actual: RawAnswer, expected: HttpResponse): void {
  const [theirName, theirs] = unwrap(expected.body);
  const [ourName, ours] = unwrap(actual.body);
  assert.equal(ourName, theirName, 'name of the JSONP function');
  const theirValue = tryParse(theirs);
  if (theirValue === undefined) assert.equal(ours, theirs, 'body');
  else compareJson(parseJson(ours), theirValue);
}

export function tryParse(text: string): JsonValue | undefined {
  try {
    return parseJson(text);
  } catch {
    return undefined;
  }
}

/** Whether two values are equal, whatever the order of keys. */
export function sameJson(a: JsonValue | undefined, b: JsonValue | undefined): boolean {
  return JSON.stringify(keyed(a)) === JSON.stringify(keyed(b));
}

/** As a text that does not depend on the order of keys; 64-bit numbers included. */
function keyed(v: JsonValue | undefined): unknown {
  if (typeof v === 'bigint') return `${v}n`;
  if (Array.isArray(v)) return v.map(keyed);
  if (!isRecord(v)) return v;
  return Object.keys(v)
    .sort()
    .map((k) => [k, keyed(v[k])]);
}

/** Ids and members come in no order that two labs share; revisions are compared apart. */
export function withoutOrder(v: JsonValue): JsonValue {
  const settled = settle(v);
  if (Array.isArray(settled)) return settled.map(plain).sort(byText);
  if (isRecord(settled) && Array.isArray(settled['data']))
    return { ...settled, data: settled['data'].map(plain).sort(byText) };
  return plain(settled);
}

const byText = (a: JsonValue, b: JsonValue): number =>
  JSON.stringify(keyed(a)) < JSON.stringify(keyed(b)) ? -1 : 1;

/** Without the revision, which `Revisions` looks at. */
function plain(v: JsonValue): JsonValue {
  if (!isRecord(v)) return v;
  const isMemberList = Object.keys(v).every((k) => /^[0-9a-f]{10}$/.test(k));
  if (isMemberList) return Object.keys(v).sort();
  return v['revision'] === undefined ? v : { ...v, revision: '<revision>' };
}
