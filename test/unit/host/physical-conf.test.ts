import test from 'ava';
import { parsePrefix, physicalConf, underlaySettings } from '#src/host/physical-conf.js';
import { type JsonRecord, parseJson } from '#src/lib/json.js';
import { inetAddressText, ipText } from '#src/wire/inetaddress.js';

const conf = (text: string): JsonRecord => parseJson(text, 'keep') as JsonRecord;

test('networks have a prefix length, or are one address', (t) => {
  const text = (s: string): string | undefined => {
    const p = parsePrefix(s);
    return p === undefined ? undefined : `${ipText(p.ip)}/${p.bits}`;
  };
  t.is(text('10.9.8.7/16'), '10.9.0.0/16');
  t.is(text('10.9.8.7'), '10.9.8.7/32');
  t.is(text('10.9.8.7/33'), '10.9.8.7/32');
  t.is(text('fd00::1/129'), 'fd00::1/128');
  t.is(text('fd00::1'), 'fd00::1/128');
  t.is(text('10.9.8.7/0'), '0.0.0.0/0');
  for (const bad of ['', 'x', '10.9.8/24', 'eth0/24']) t.is(text(bad), undefined, bad);
});

test('physical networks: trusted paths, MTU, blacklist', (t) => {
  const p = physicalConf(
    conf(`{"physical": {
      "10.1.0.0/16": {"trustedPathId": 101, "mtu": 1400},
      "10.2.0.0/16": {"blacklist": true},
      "0.0.0.0/0": {"blacklist": true},
      "10.3.0.0/16": {"mtu": -1, "trustedPathId": 18446744073709551615},
      "nonsense": {"mtu": 9},
      "10.4.0.0/16": 7
    }}`),
  );
  t.deepEqual(
    p.nets.map((n) => [ipText(n.ip), n.bits, n.mtu, n.trustedPathId]),
    [
      ['10.1.0.0', 16, 1400, 101n],
      ['10.2.0.0', 16, 0, 0n],
      ['0.0.0.0', 0, 0, 0n],
      ['10.3.0.0', 16, 0, 0xffff_ffff_ffff_ffffn],
    ],
  );
  t.deepEqual(
    p.blacklist.map((n) => ipText(n.ip)),
    ['10.2.0.0'],
    'a prefix of no bits blacklists nothing',
  );
  t.is(p.complaints.length, 2);
});

test('settings of single peers', (t) => {
  const p = physicalConf(
    conf(`{"virtual": {
      "a5909e56ef": {"try": ["10.0.0.1/9993", "10.0.0.2", "x", 3, "fd00::1/7"], "blacklist": ["10.0.0.0/8", "10.0.0.0/0"]},
      "nonsense": {"try": []}
    }}`),
  );
  const peer = p.peers.get(0xa5909e56ef)!;
  t.deepEqual(peer.hints.map(inetAddressText), ['10.0.0.1/9993', 'fd00::1/7']);
  t.is(peer.blacklist.length, 1);
  t.is(p.peers.size, 1);
  t.is(p.complaints.length, 3);
});

test('nothing, or things of another kind, are no settings', (t) => {
  for (const text of ['{}', '{"physical": 3, "virtual": []}', '{"settings": {"bind": "x"}}']) {
    const p = physicalConf(conf(text));
    t.deepEqual(
      [p.nets.length, p.blacklist.length, p.peers.size, p.lowBandwidth],
      [0, 0, 0, false],
    );
    t.deepEqual(underlaySettings(conf(text)).bind, []);
  }
});

test('where to bind: the defaults of document 4', (t) => {
  const s = underlaySettings({});
  t.is(s.secondaryPort, undefined);
  t.is(s.tertiaryPort, undefined);
  t.true(s.allowSecondaryPort);
  t.true(s.portMapping);
});

test('where to bind: as told', (t) => {
  const s = underlaySettings(
    conf(`{"settings": {"secondaryPort": 65537, "tertiaryPort": 0, "allowSecondaryPort": false,
      "portMappingEnabled": false, "bind": ["10.0.0.1", "x", "::"],
      "interfacePrefixBlacklist": ["docker", "", 3], "lowBandwidthMode": true},
      "physical": {"10.0.0.0/8": {"blacklist": true}}}`),
  );
  t.is(s.secondaryPort, 1, 'low 16 bits');
  t.is(s.tertiaryPort, undefined);
  t.false(s.allowSecondaryPort);
  t.false(s.portMapping);
  t.deepEqual(s.bind.map(ipText), ['10.0.0.1', '::']);
  t.deepEqual(s.interfacePrefixBlacklist, ['docker']);
  t.is(s.blacklist.length, 1);
});
