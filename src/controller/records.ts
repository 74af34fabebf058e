/**
 * Network and member records: defaults, and what the API accepts into them [4 sections 8.2, 8.5].
 * Pure: a record and a request in, a new record out; nothing is changed in place.
 */
import {
  equalJson,
  isRecord,
  type JsonRecord,
  type JsonValue,
  jsonBool,
  jsonInt,
  jsonText,
  shrink,
} from '../lib/json.js';
import { inetAddressText, ipText } from '../wire/inetaddress.js';
import { clampMtu } from '../wire/netconf.js';
import { lenientAddress } from './lenient.js';
import { normalizeRules } from './rules-json.js';

/** Entries beyond this are cut off every array. */
const MAX_ENTRIES = 16_384;

/** A request whose shape the reference answers with 500. */
export class RecordTypeError extends Error {
  readonly code = 'ERR_RECORD_TYPE';
}

export function defaultNetwork(nwid: string, now: number): JsonRecord {
  return {
    authTokens: [null],
    authorizationEndpoint: '',
    capabilities: [],
    clientId: '',
    creationTime: now,
    dns: [],
    enableBroadcast: true,
    id: nwid,
    ipAssignmentPools: [],
    mtu: 2800,
    multicastLimit: 32,
    name: '',
    nwid,
    objtype: 'network',
    private: true,
    remoteTraceLevel: 0,
    remoteTraceTarget: null,
    routes: [],
    rules: [{ not: false, or: false, type: 'ACTION_ACCEPT' }],
    rulesSource: '',
    ssoEnabled: false,
    tags: [],
    v4AssignMode: { zt: false },
    v6AssignMode: { '6plane': false, rfc4193: false, zt: false },
  };
}

export function defaultMember(address: string, nwid: string, now: number): JsonRecord {
  return {
    activeBridge: false,
    address,
    authenticationExpiryTime: 0,
    authorized: false,
    capabilities: [],
    creationTime: now,
    id: address,
    ipAssignments: [],
    lastAuthorizedCredential: null,
    lastAuthorizedCredentialType: null,
    lastAuthorizedTime: 0,
    lastDeauthorizedTime: 0,
    noAutoAssignIps: false,
    nwid,
    objtype: 'member',
    remoteTraceLevel: 0,
    remoteTraceTarget: null,
    revision: 0,
    ssoExempt: false,
    tags: [],
    vMajor: -1,
    vMinor: -1,
    vProto: -1,
    vRev: -1,
  };
}

/** Fields that say whose record it is: a request's path decides, not what is stored. */
const IDENTIFYING = ['id', 'address', 'nwid', 'objtype'];

/** Fields that are missing get their defaults; what is there stays, but for whose record it is. */
export function withDefaults(record: JsonRecord, defaults: JsonRecord): JsonRecord {
  const own = IDENTIFYING.filter((k) => defaults[k] !== undefined);
  return { ...defaults, ...record, ...Object.fromEntries(own.map((k) => [k, defaults[k]])) };
}

type FieldRule = (v: JsonValue | undefined, old: JsonRecord) => JsonValue | undefined;

const array = (v: JsonValue | undefined): JsonValue[] | undefined =>
  Array.isArray(v) ? v.slice(0, MAX_ENTRIES) : undefined;

function traceTarget(v: JsonValue | undefined): JsonValue {
  const text = jsonText(v, '');
  return text.length === 10 ? text : null;
}

function v4AssignMode(v: JsonValue | undefined): JsonValue {
  if (typeof v === 'string') return { zt: v === 'zt' };
  return { zt: isRecord(v) ? jsonBool(v['zt'], false) : false };
}

function v6AssignMode(v: JsonValue | undefined): JsonValue {
  const keys = ['zt', 'rfc4193', '6plane'];
  if (typeof v === 'string') {
    const words = v.split(',');
    return Object.fromEntries(keys.map((k) => [k, words.includes(k)]));
  }
  if (!isRecord(v)) return Object.fromEntries(keys.map((k) => [k, false]));
  return Object.fromEntries(
    keys.filter((k) => v[k] !== undefined).map((k) => [k, jsonBool(v[k], false)]),
  );
}

function routes(v: JsonValue | undefined, old: JsonRecord): JsonValue | undefined {
  const list = array(v);
  if (list === undefined) return old['routes'];
  const out: JsonValue[] = [];
  for (const r of list) {
    if (!isRecord(r) || typeof r['target'] !== 'string') continue;
    const target = lenientAddress(r['target']);
    if (target === undefined || target.port > target.ip.length * 8) continue;
    const via = typeof r['via'] === 'string' ? lenientAddress(r['via']) : undefined;
    const hasVia = via !== undefined && via.family === target.family;
    out.push({ target: inetAddressText(target), via: hasVia ? ipText(via.ip) : null });
  }
  return out;
}

function pools(v: JsonValue | undefined, old: JsonRecord): JsonValue | undefined {
  const list = array(v);
  if (list === undefined) return old['ipAssignmentPools'];
  const out: JsonValue[] = [];
  for (const p of list) {
    if (!isRecord(p)) continue;
    const start = lenientAddress(jsonText(p['ipRangeStart'], ''));
    const end = lenientAddress(jsonText(p['ipRangeEnd'], ''));
    if (start === undefined || end === undefined || start.family !== end.family) continue;
    out.push({ ipRangeStart: ipText(start.ip), ipRangeEnd: ipText(end.ip) });
  }
  return out;
}

/** Objects with an `id`, ascending; the last of equal ids wins. */
function byId(
  list: JsonValue[],
  form: (x: JsonRecord, id: number | bigint) => JsonRecord,
): JsonValue[] {
  const out = new Map<bigint, JsonRecord>();
  for (const x of list) {
    if (!isRecord(x)) continue;
    const id = jsonInt(x['id'], 0n);
    out.set(id, form(x, shrink(id)));
  }
  return [...out.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, x]) => x);
}

function capabilities(v: JsonValue | undefined, old: JsonRecord): JsonValue | undefined {
  const list = array(v);
  if (list === undefined) return old['capabilities'];
  return byId(list, (x, id) => ({
    id,
    default: jsonBool(x['default'], false),
    rules: normalizeRules(array(x['rules']) ?? []),
  }));
}

function networkTags(v: JsonValue | undefined, old: JsonRecord): JsonValue | undefined {
  const list = array(v);
  if (list === undefined) return old['tags'];
  return byId(list, (x, id) => {
    const d = x['default'];
    return { id, default: d === undefined || d === null ? null : shrink(jsonInt(d, 0n)) };
  });
}

function authTokens(v: JsonValue | undefined): JsonValue {
  if (!isRecord(v)) return [null];
  const kept = Object.entries(v).filter(
    ([, x]) => (typeof x === 'number' || typeof x === 'bigint') && x >= 0 && x < 2 ** 63,
  );
  return kept.length === 0 ? null : Object.fromEntries(kept);
}

function dns(v: JsonValue | undefined, old: JsonRecord): JsonValue | undefined {
  if (!isRecord(v)) return old['dns'];
  const out: JsonRecord = { domain: v['domain'] ?? null };
  if (Array.isArray(v['servers'])) out['servers'] = v['servers'];
  return out;
}

const rulesField: FieldRule = (v, old) => {
  const list = array(v);
  return list === undefined ? old['rules'] : normalizeRules(list);
};

const NETWORK_FIELDS: Readonly<Record<string, FieldRule>> = {
  name: (v) => jsonText(v, ''),
  private: (v) => jsonBool(v, true),
  enableBroadcast: (v) => jsonBool(v, false),
  multicastLimit: (v) => shrink(jsonInt(v, 32n)),
  mtu: (v) => clampMtu(Number(BigInt.asUintN(32, jsonInt(v, 2800n)))),
  remoteTraceTarget: traceTarget,
  v4AssignMode,
  v6AssignMode,
  routes,
  ipAssignmentPools: pools,
  rules: rulesField,
  authTokens,
  capabilities,
  tags: networkTags,
  dns,
};

function apply(
  record: JsonRecord,
  request: JsonRecord,
  fields: Readonly<Record<string, FieldRule>>,
): JsonRecord {
  const out = { ...record };
  for (const [key, rule] of Object.entries(fields)) {
    if (request[key] !== undefined) out[key] = rule(request[key], record);
  }
  // A misspelt check of the reference resets this at every update that does not name it.
  out['remoteTraceLevel'] = shrink(jsonInt(request['remoteTraceLevel'], 0n));
  return out;
}

/** A POST to a network. @throws RecordTypeError, RuleTypeError: nothing is to be changed. */
export function updateNetwork(record: JsonRecord, request: JsonRecord): JsonRecord {
  return apply(record, request, NETWORK_FIELDS);
}

function ipAssignments(v: JsonValue | undefined, old: JsonRecord): JsonValue | undefined {
  const list = array(v);
  if (list === undefined) return old['ipAssignments'];
  const out: JsonValue[] = [];
  for (const x of list) {
    if (typeof x !== 'string') throw new RecordTypeError('ipAssignments must be an array of texts');
    const a = lenientAddress(x);
    if (a !== undefined) out.push(ipText(a.ip));
  }
  return out;
}

function memberTags(v: JsonValue | undefined, old: JsonRecord): JsonValue | undefined {
  const list = array(v);
  if (list === undefined) return old['tags'];
  const out = new Map<number, number>();
  for (const t of list) {
    if (!Array.isArray(t) || t.length !== 2) continue;
    out.set(
      Number(BigInt.asUintN(32, jsonInt(t[0], 0n))),
      Number(BigInt.asUintN(32, jsonInt(t[1], 0n))),
    );
  }
  return [...out].sort(([a], [b]) => a - b);
}

function memberCapabilities(v: JsonValue | undefined, old: JsonRecord): JsonValue | undefined {
  const list = array(v);
  if (list === undefined) return old['capabilities'];
  const ids = new Set(list.map((x) => jsonInt(x, 0n)));
  return [...ids].sort((a, b) => (a < b ? -1 : 1)).map(shrink);
}

const MEMBER_FIELDS: Readonly<Record<string, FieldRule>> = {
  activeBridge: (v) => jsonBool(v, false),
  noAutoAssignIps: (v) => jsonBool(v, false),
  ssoExempt: (_v, old) => old['ssoExempt'],
  authenticationExpiryTime: (v) => shrink(jsonInt(v, 0n)),
  name: (v) => jsonText(v, ''),
  remoteTraceTarget: traceTarget,
  ipAssignments,
  tags: memberTags,
  capabilities: memberCapabilities,
};

/** A POST to a member. `now` = wall ms. @throws RecordTypeError: nothing is to be changed. */
export function updateMember(record: JsonRecord, request: JsonRecord, now: number): JsonRecord {
  const out = apply(record, request, MEMBER_FIELDS);
  if (request['authorized'] === undefined) return out;
  const authorized = jsonBool(request['authorized'], false);
  if (authorized === jsonBool(record['authorized'], false)) return out;
  out['authorized'] = authorized;
  if (authorized) {
    out['lastAuthorizedTime'] = now;
    out['lastAuthorizedCredentialType'] = 'api';
    out['lastAuthorizedCredential'] = null;
  } else out['lastDeauthorizedTime'] = now;
  return out;
}

/** One more than what is stored, whatever that is, in 64 bits. */
export function nextRevision(old: JsonRecord | undefined): JsonValue {
  return shrink(BigInt.asUintN(64, jsonInt(old?.['revision'], 0n) + 1n));
}

/** Such a save writes nothing [4 section 8.3]. */
export function sameButRevision(a: JsonRecord, b: JsonRecord): boolean {
  return equalJson({ ...a, revision: 0 }, { ...b, revision: 0 });
}
