/** Random JSON in the words of the control API. */
import type { JsonRecord, JsonValue } from '#src/lib/json.js';
import type { Dice } from './dice.js';

const KEYS = [
  'name',
  'private',
  'enableBroadcast',
  'multicastLimit',
  'mtu',
  'remoteTraceTarget',
  'remoteTraceLevel',
  'v4AssignMode',
  'v6AssignMode',
  'routes',
  'ipAssignmentPools',
  'rules',
  'authTokens',
  'capabilities',
  'tags',
  'dns',
  'activeBridge',
  'authorized',
  'ipAssignments',
  'noAutoAssignIps',
  'authenticationExpiryTime',
  'id',
  'type',
  'default',
  'target',
  'via',
  'zt',
  'ipRangeStart',
  'ipRangeEnd',
  'mask',
  'mac',
  'ip',
  'start',
  'end',
  'not',
  'value',
  'domain',
  'servers',
  '__proto__',
  'constructor',
  'toString',
];
const TEXTS = [
  '',
  '10.0.0.0/8',
  'fd00::1/64',
  '10.1.1.1/99',
  '::',
  '1e999',
  'zt',
  'rfc4193,6plane',
  '-5',
  '99999999999999999999999',
  '0xffffffffffffffffff',
  'MATCH_CHARACTERISTICS',
  'MATCH_MAC_SOURCE',
  'MATCH_IPV6_DEST',
  'ACTION_TEE',
  'INTEGER_RANGE',
  'x'.repeat(70),
  '\u{1f600}',
];

export function randomJson(d: Dice, depth: number): JsonValue {
  switch (d.below(depth > 0 ? 8 : 5)) {
    case 0:
      return d.pick([null, true, false]);
    case 1:
      return d.pick([0, -1, 1, 0.5, 1e300, -1e300, 2 ** 53, 65_536, 255]);
    case 2:
      return d.pick([2n ** 63n, 2n ** 64n - 1n, -(2n ** 63n), 2n ** 200n]);
    case 3:
    case 4:
      return d.pick(TEXTS);
    case 5:
      return Array.from({ length: d.below(5) }, () => randomJson(d, depth - 1));
    default:
      return randomRecord(d, depth - 1);
  }
}

export function randomRecord(d: Dice, depth: number): JsonRecord {
  const out = Object.create(null) as JsonRecord;
  for (let n = d.below(7); n > 0; n--) out[d.pick(KEYS)] = randomJson(d, depth);
  if (d.chance(0.3)) out['type'] = d.pick(TEXTS);
  return out;
}
