import test from 'ava';
import { HostsTable, parseHosts } from '#src/preload/hosts-table.js';
import { parseIpv4, parseIpv6 } from '#src/preload/ip-text.js';
import { emitInterfaces, emitResolution, resolveName, reverseName } from '#src/preload/names.js';

const CONFIG = {
  mtu: 2800,
  addresses: [{ ip: Uint8Array.of(10, 147, 17, 1), prefixLen: 24 }],
  routes: [],
};
const HOSTS =
  '# comment\n10.147.17.9 web.test web # inline\n\nfd00::9 web.test\nbroken line\n300.1.1.1 bad\n';
const SOURCES = {
  hosts: new HostsTable(() => HOSTS),
  hostName: 'machine',
  config: () => CONFIG,
};
const text = (ip: Uint8Array) => [...ip].join('.');

test('IPv4 text is four numbers of at most 255', (t) => {
  t.deepEqual(parseIpv4('10.0.255.1'), Uint8Array.of(10, 0, 255, 1));
  for (const bad of ['', '1.2.3', '1.2.3.4.5', '256.1.1.1', '1.2.3.x', '1..2.3', '0x1.2.3.4']) {
    t.is(parseIpv4(bad), undefined, bad);
  }
});

test('IPv6 text with and without a gap, with an IPv4 tail', (t) => {
  t.is(text(parseIpv6('::1')!), '0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1');
  t.is(text(parseIpv6('fd00:1::ff')!), '253.0.0.1.0.0.0.0.0.0.0.0.0.0.0.255');
  t.is(text(parseIpv6('::ffff:10.1.2.3')!), '0.0.0.0.0.0.0.0.0.0.255.255.10.1.2.3');
  t.is(parseIpv6('1:2:3:4:5:6:7:8')?.length, 16);
  for (const bad of [
    '',
    ':',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '::1::2',
    'g::',
    '1:2:3:4:5:6:7::8',
  ]) {
    t.is(parseIpv6(bad), undefined, bad);
  }
});

test('hosts text: comments, blank and unreadable lines are passed over', (t) => {
  const entries = parseHosts(HOSTS);
  t.deepEqual(
    entries.map((e) => e.names),
    [['web.test', 'web'], ['web.test']],
  );
});

test('a hosts text is read again when it is another, by name and by address', (t) => {
  let text = '10.0.0.1 one Both.test\n10.0.0.2 both.TEST. both.test two\n10.0.0.1 later\n';
  const table = new HostsTable(() => text);
  const ips = (name: string) => table.named(name).map((e) => e.ip.join('.'));
  t.deepEqual(ips('BOTH.test'), ['10.0.0.1', '10.0.0.2'], 'each line once, in order');
  t.is(table.named('two')[0]!.names[0], 'both.TEST.');
  t.is(table.nameOf(Uint8Array.of(10, 0, 0, 1)), 'one');
  t.is(table.nameOf(Uint8Array.of(10, 0, 0, 3)), undefined);
  text = '10.0.0.3 one\n';
  t.deepEqual([ips('one'), ips('both.test')], [['10.0.0.3'], []]);
  t.is(table.nameOf(Uint8Array.of(10, 0, 0, 1)), undefined);
  t.is(table.nameOf(Uint8Array.of(10, 0, 0, 3)), 'one');
  text = '';
  t.deepEqual(ips('one'), []);
});

test('a name resolves to the addresses of the wanted family, without regard to case or a final dot', (t) => {
  t.is(resolveName(SOURCES, 'WEB.test.', 0)?.addresses.length, 2);
  t.deepEqual(resolveName(SOURCES, 'web', 4)?.addresses.map(text), ['10.147.17.9']);
  t.is(resolveName(SOURCES, 'web', 4)?.canonical, 'web.test');
  t.deepEqual(resolveName(SOURCES, 'web', 6)?.addresses, []);
  t.is(resolveName(SOURCES, 'unknown', 0), undefined);
});

test("the machine's own name means the network's own addresses, both ways", (t) => {
  t.deepEqual(resolveName(SOURCES, 'machine', 4)?.addresses.map(text), ['10.147.17.1']);
  t.is(reverseName(SOURCES, Uint8Array.of(10, 147, 17, 1)), 'machine');
  t.is(reverseName(SOURCES, Uint8Array.of(10, 147, 17, 9)), 'web.test');
  t.is(reverseName(SOURCES, Uint8Array.of(10, 147, 17, 2)), undefined);
});

test('RESOLVE reply: counts, canonical name, addresses', (t) => {
  const found = resolveName(SOURCES, 'web', 4)!;
  const bytes = Buffer.from(emitResolution(found, true));
  t.is(bytes.readUInt16LE(0), 1);
  t.is(bytes.readUInt16LE(2), 8);
  t.is(bytes.toString('latin1', 4, 12), 'web.test');
  t.is(bytes[12], 4);
  t.is(bytes.length, 12 + 24);
});

test('IFLIST reply: lo and one interface with prefix lengths', (t) => {
  const network = {
    index: 2,
    name: 'zt1',
    mac: new Uint8Array(6).fill(2),
    nwidText: '',
    config: () => CONFIG,
    dns: () => ({ domain: '', servers: [] }),
  };
  const bytes = Buffer.from(emitInterfaces([network], false));
  t.is(bytes.readUInt16LE(0), 2);
  t.is(bytes.readUInt32LE(2), 1);
  t.is(bytes.toString('latin1', 22, 24), 'lo');
  t.is(bytes[24 + 1], 8);
  const second = 2 + 20 + 2 + 24;
  t.is(bytes.readUInt32LE(second), 2);
  t.is(bytes.readUInt32LE(second + 8), 2800);
  t.is(bytes.toString('latin1', second + 20, second + 23), 'zt1');
  t.is(bytes[second + 23 + 1], 24);
  t.is(bytes.length, second + 23 + 24);
});
