/** Texts of requests that make little sense, as the reference's controller stored them when asked. */
import test from 'ava';
import {
  defaultMember,
  defaultNetwork,
  updateMember,
  updateNetwork,
  withDefaults,
} from '#src/controller/records.js';
import { normalizeRules } from '#src/controller/rules-json.js';
import { type JsonRecord, type JsonValue, parseJson } from '#src/lib/json.js';
import { networkIdText } from '#src/wire/address.js';
import { LoneController } from '../../helpers/controller-port.js';

const one = (rule: JsonRecord, key: string): unknown => {
  const [normal] = normalizeRules([rule]);
  return (normal as JsonRecord)[key];
};

test('a rule about an address of the other family, or a malformed one, keeps its bits', (t) => {
  const cases: [string, string, string][] = [
    ['10.1.2.3/24', '10.1.2.3/24', '::/24'],
    ['10.1.2.3/33', '10.1.2.3/32', '::/33'],
    ['10.1.2.3/-1', '10.1.2.3/32', '::/128'],
    ['10.0.0.0/99999999999', '10.0.0.0/32', '::/128'],
    ['256.1.1.1/8', '0.0.0.0/8', '::/8'],
    ['fd00::1/129', '0.0.0.0/32', 'fd00::1/128'],
    ['g::1/64', '0.0.0.0/32', '::/64'],
    ['fe80::1%eth0/64', '0.0.0.0/32', '::/64'],
    ['abc/8', '0.0.0.0/0', '::/0'],
  ];
  for (const [ip, v4, v6] of cases) {
    t.is(one({ type: 'MATCH_IPV4_SOURCE', ip }, 'ip'), v4, ip);
    t.is(one({ type: 'MATCH_IPV6_DEST', ip }, 'ip'), v6, ip);
  }
});

test('a MAC is read in pairs of digits from the left', (t) => {
  const cases: [string | number, string][] = [
    ['001122334455', '00:11:22:33:44:55'],
    ['00:11:22:33:44', '00:11:22:33:44:00'],
    ['0-1-2-3-4-5', '01:23:45:00:00:00'],
    ['11223344556', '11:22:33:44:55:00'],
    ['112233445566778899', '11:22:33:44:55:66'],
    ['0x1f', '00:1f:00:00:00:00'],
    [' 5', '05:00:00:00:00:00'],
    ['zz', '00:00:00:00:00:00'],
    [2147483648, '21:47:48:36:48:00'],
    ['', '00:00:00:00:00:00'],
  ];
  for (const [mac, stored] of cases) t.is(one({ type: 'MATCH_MAC_SOURCE', mac }, 'mac'), stored);
});

test('an address that comes as a number is meant by its digits', (t) => {
  t.is(one({ type: 'ACTION_TEE', address: 2147483648 }, 'address'), '2147483648');
  t.is(one({ type: 'ACTION_REDIRECT', address: '-1' }, 'address'), 'ffffffffff');
  t.is(one({ type: 'MATCH_DEST_ZEROTIER_ADDRESS', zt: 65535 }, 'zt'), '0000065535');
  t.is(updateNetwork({}, { remoteTraceTarget: 2147483648 })['remoteTraceTarget'], '2147483648');
  t.is(updateMember({}, { remoteTraceTarget: 5 }, 0)['remoteTraceTarget'], null);
});

test('a token whose end fits no signed 64 bits is left out', (t) => {
  const tokens = parseJson('{"authTokens":{"a":9223372036854775808,"b":5}}') as JsonRecord;
  t.deepEqual(updateNetwork({}, tokens)['authTokens'], { b: 5 });
});

test('whose record it is, its path decides', (t) => {
  const stored = { id: 'X', nwid: 'Y', objtype: 'z', name: 'kept', own: 1 };
  const network = withDefaults(stored, defaultNetwork('80c8b40da4000001', 5));
  t.like(network, {
    ...stored,
    id: '80c8b40da4000001',
    nwid: '80c8b40da4000001',
    objtype: 'network',
  });
  const member = withDefaults({ ...stored, address: 'A' }, defaultMember('AABBCCDDEE', 'N', 5));
  t.like(member, { id: 'AABBCCDDEE', address: 'AABBCCDDEE', nwid: 'N', objtype: 'member', own: 1 });
});

test('a revision counts on from whatever is stored', (t) => {
  const c = new LoneController();
  const id = networkIdText(c.nwid);
  const cases: [string, JsonValue][] = [
    ['3', 4],
    ['"7"', 8],
    ['9007199254740991', 9007199254740992n],
    ['-4', 2n ** 64n - 3n],
    ['18446744073709551615', 0],
  ];
  for (const [stored, next] of cases) {
    t.true(c.controller.load('network', `{"id":"${id}","revision":${stored}}`));
    t.is(c.controller.postNetwork(c.at(), c.nwid, { name: 'n' })['revision'], next, stored);
  }
});

test('an array of a record has at most 16,384 entries', (t) => {
  const routes = Array.from({ length: 16_385 }, (_, i) => ({
    target: `10.${i >> 8}.${i & 255}.0/24`,
  }));
  const kept = (list: JsonValue[]): number =>
    (updateNetwork({}, { routes: list })['routes'] as JsonValue[]).length;
  t.is(kept(routes.slice(1)), 16_384);
  t.is(kept(routes), 16_384);
});
