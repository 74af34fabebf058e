import test from 'ava';
import { parseDefaultGateway } from '#src/host/gateway.js';
import {
  type InterfaceAddress,
  type InterfaceRules,
  MAX_LOCAL_ADDRESSES,
  unusableIpv6,
  usableAddresses,
} from '#src/host/interfaces.js';
import { ipText, parseIp } from '#src/wire/inetaddress.js';

const at = (name: string, address: string): InterfaceAddress => ({ name, address });

const MACHINE = [
  at('lo', '127.0.0.1'),
  at('lo', '::1'),
  at('eth0', '10.1.2.3'),
  at('eth0', '2001:db8::1'),
  at('eth0', '2001:db8::7e'),
  at('eth0', 'fe80::1234%eth0'),
  at('eth1', '192.168.3.4'),
  at('eth1', '192.168.3.4'),
  at('zt5u4y', '172.16.9.9'),
  at('tun0', '172.16.9.10'),
  at('tap3', '172.16.9.11'),
  at('usb0', '169.254.3.3'),
  at('wlan0', '99.1.1.1'),
];

function usable(rules: Partial<InterfaceRules>, all = MACHINE, flags = ''): string[] {
  const none = { namePrefixes: [], blacklist: [], loopback: 'no' } as const;
  return usableAddresses(all, unusableIpv6(flags), { ...none, ...rules }).map(ipText);
}

test('virtual, loopback and link-local addresses are left out, the others counted once', (t) => {
  t.deepEqual(usable({}), ['10.1.2.3', '2001:db8::1', '2001:db8::7e', '192.168.3.4', '99.1.1.1']);
});

test('loopback is bound where a world has roots there, alone where it has no others', (t) => {
  t.deepEqual(usable({ loopback: 'also' }).slice(0, 3), ['127.0.0.1', '::1', '10.1.2.3']);
  t.deepEqual(usable({ loopback: 'only' }), ['127.0.0.1', '::1']);
});

test('interfaces by prefix and networks are left out', (t) => {
  t.deepEqual(usable({ namePrefixes: ['eth', 'x'] }), ['99.1.1.1']);
  const blacklist = [{ ip: parseIp('10.0.0.0')!, bits: 8 }];
  t.false(usable({ blacklist }).includes('10.1.2.3'));
});

test('temporary, tentative, deprecated and duplicate IPv6 addresses are not used', (t) => {
  const line = (hex: string, flags: string): string => `${hex} 02 40 00 ${flags}     eth0\n`;
  const first = '20010db8000000000000000000000001';
  for (const flags of ['01', '08', '20', '40', '41'])
    t.false(usable({}, MACHINE, line(first, flags)).includes('2001:db8::1'), flags);
  for (const flags of ['80', '00'])
    t.true(usable({}, MACHINE, line(first, flags)).includes('2001:db8::1'), flags);
  t.is(unusableIpv6('rubbish\n\n').size, 0);
});

test('a machine with very many addresses has the first of them bound', (t) => {
  const many = Array.from({ length: MAX_LOCAL_ADDRESSES + 1 }, (_, i) => at('eth0', `10.1.0.${i}`));
  t.is(usable({}, many.slice(1)).length, MAX_LOCAL_ADDRESSES);
  t.is(usable({}, many).length, MAX_LOCAL_ADDRESSES);
});

test('the default gateway is that of the default route of least metric', (t) => {
  const head = 'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n';
  const route = (dest: string, gateway: string, flags: string, metric: number, mask: string) =>
    `eth0\t${dest}\t${gateway}\t${flags}\t0\t0\t${metric}\t${mask}\t0\t0\t0\n`;
  const gateway = (...lines: string[]): string | undefined =>
    parseDefaultGateway(head + lines.join(''))?.join('.');
  t.is(gateway(), undefined);
  t.is(gateway(route('0007A8C0', '0107A8C0', '0003', 0, '00FFFFFF')), undefined);
  t.is(gateway(route('00000000', '00000000', '0001', 0, '00000000')), undefined, 'no gateway');
  t.is(
    gateway(
      route('00000000', '0107A8C0', '0003', 600, '00000000'),
      route('00000000', '0207A8C0', '0003', 100, '00000000'),
      route('00000000', '0307A8C0', '0003', 100, '00000000'),
    ),
    '192.168.7.2',
  );
});
