/** Texts of addresses: the strict grammar, as the platform and inet_pton have it. */
import test from 'ava';
import { parseIpv4, parseIpv6 } from '#src/preload/ip-text.js';
import { parseIp } from '#src/wire/inetaddress.js';

const REFUSED = [
  '2.5.5.2::5',
  '1.2.3.4::ffff:1.2.3.4',
  'ff:1.2.3.4::f:1fff:1.2.3.4',
  '1.2.3.4:5:6:7:8:9:a',
  '1::2::3',
  '1:2:3:4:5:6:7:8::',
  '010.1.1.1',
  '256.1.1.1',
];

test('a dotted quad stands only at the end of an IPv6 address', (t) => {
  for (const text of REFUSED) {
    t.is(parseIp(text), undefined, text);
    t.is(parseIpv4(text) ?? parseIpv6(text), undefined, `${text} as a name's address`);
  }
  for (const text of ['::1.2.3.4', '1:2:3:4:5:6:1.2.3.4', '64:ff9b::10.0.0.1'])
    t.deepEqual(parseIpv6(text), parseIp(text)!, text);
});
