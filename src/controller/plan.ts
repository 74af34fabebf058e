/**
 * A network record in the form that configurations are made of: rules parsed, routes and pools read,
 * once for each change of the record. A plan is immutable.
 */
import {
  isRecord,
  type JsonRecord,
  type JsonValue,
  jsonBool,
  jsonInt,
  jsonText,
} from '../lib/json.js';
import { type NodeAddress, parseAddress } from '../wire/address.js';
import { MAX_CAPABILITY_RULES } from '../wire/credentials.js';
import { NO_ADDRESS } from '../wire/inetaddress.js';
import {
  clampMtu,
  MAX_DNS_SERVERS,
  MAX_ROUTES,
  NETWORK_FLAG,
  NETWORK_PRIVATE,
  NETWORK_PUBLIC,
  type NetworkConfig,
} from '../wire/netconf.js';
import { MAX_RULES, type Rule } from '../wire/rules.js';
import { type AssignPlan, assignPlan } from './assign.js';
import { lenientAddress } from './lenient.js';
import { rulesFromJson } from './rules-json.js';

// [3 section 12.1] ms
const DELTA_DEFAULT = 1_800_000n;
const DELTA_MIN = 300_000n;
const DELTA_MAX = 7_200_000n;

export interface TraceSetting {
  readonly target: NodeAddress;
  readonly level: bigint;
}

/** What a configuration says of the network, the same to every member. */
type Common = Pick<
  NetworkConfig,
  | 'credentialTimeMaxDelta'
  | 'revision'
  | 'multicastLimit'
  | 'type'
  | 'name'
  | 'mtu'
  | 'routes'
  | 'rules'
  | 'dns'
>;

export interface NetworkPlan {
  readonly common: Common;
  readonly flags: bigint;
  readonly trace: TraceSetting;
  readonly assign: AssignPlan;
  /** Rules of the capabilities that exist, by id. */
  readonly capabilities: ReadonlyMap<bigint, readonly Rule[]>;
  readonly defaultCapabilities: readonly bigint[];
  /** Tags with a default value, in the record's order. */
  readonly defaultTags: readonly (readonly [id: number, value: number])[];
  readonly isSso: boolean;
}

const array = (v: JsonValue | undefined): JsonValue[] => (Array.isArray(v) ? v : []);

/** A member's or network's trace fields; undefined when it names no target. */
export function traceOf(record: JsonRecord): TraceSetting | undefined {
  const target = record['remoteTraceTarget'];
  if (typeof target !== 'string') return undefined;
  return { target: parseAddress(target) ?? 0, level: jsonInt(record['remoteTraceLevel'], 0n) };
}

/** Low 32 bits of a JSON integer. */
export function u32(v: JsonValue | undefined): number {
  return Number(BigInt.asUintN(32, jsonInt(v, 0n)));
}

function dnsOf(record: JsonRecord): NetworkConfig['dns'] {
  const dns = record['dns'];
  if (!isRecord(dns)) return { domain: '', servers: [] };
  const servers = array(dns['servers'])
    .map((s) => (typeof s === 'string' ? lenientAddress(s) : undefined))
    .filter((a) => a !== undefined)
    .slice(0, MAX_DNS_SERVERS);
  return { domain: typeof dns['domain'] === 'string' ? dns['domain'] : '', servers };
}

/** The first of equal ids counts. */
function capabilitiesOf(list: readonly JsonRecord[]): Map<bigint, readonly Rule[]> {
  const out = new Map<bigint, readonly Rule[]>();
  for (const c of list) {
    const id = jsonInt(c['id'], 0n);
    if (!out.has(id)) out.set(id, rulesFromJson(c['rules'], MAX_CAPABILITY_RULES));
  }
  return out;
}

function deltaOf(record: JsonRecord): bigint {
  const window = jsonInt(record['certificateTimeoutWindowSize'], DELTA_DEFAULT);
  return window < DELTA_MIN ? DELTA_MIN : window > DELTA_MAX ? DELTA_MAX : window;
}

function commonOf(record: JsonRecord, assign: AssignPlan): Common {
  return {
    credentialTimeMaxDelta: deltaOf(record),
    revision: jsonInt(record['revision'], 0n),
    multicastLimit: Number(BigInt.asUintN(32, jsonInt(record['multicastLimit'], 32n))),
    type: jsonBool(record['private'], true) ? NETWORK_PRIVATE : NETWORK_PUBLIC,
    name: jsonText(record['name'], ''),
    mtu: clampMtu(Number(jsonInt(record['mtu'], 2800n))),
    routes: assign.routes
      .slice(0, MAX_ROUTES)
      .map((r) => ({ target: r.target, via: r.via ?? NO_ADDRESS, flags: 0, metric: 0 })),
    rules: rulesFromJson(record['rules'], MAX_RULES),
    dns: dnsOf(record),
  };
}

/** @throws RuleTypeError for rules that make no configuration. */
export function planOf(record: JsonRecord): NetworkPlan {
  const capabilities = array(record['capabilities']).filter(isRecord);
  const assign = assignPlan(record);
  return {
    common: commonOf(record, assign),
    flags: jsonBool(record['enableBroadcast'], true) ? NETWORK_FLAG.BROADCAST : 0n,
    trace: traceOf(record) ?? { target: 0, level: 0n },
    assign,
    capabilities: capabilitiesOf(capabilities),
    defaultCapabilities: capabilities
      .filter((c) => jsonBool(c['default'], false))
      .map((c) => jsonInt(c['id'], 0n)),
    defaultTags: array(record['tags'])
      .filter(isRecord)
      .filter((t) => typeof t['default'] === 'number')
      .map((t) => [u32(t['id']), u32(t['default'])]),
    isSso: jsonBool(record['ssoEnabled'], false),
  };
}
