import test from 'ava';
import { isOnLink, requireOnLink } from '#src/host/on-link.js';
import { parseIp } from '#src/wire/inetaddress.js';

const networks = [
  { address: '192.168.4.2', cidr: '192.168.4.2/24' },
  { address: 'fd09::2', cidr: 'fd09::2/64' },
  { address: '10.0.0.1', cidr: null },
  { address: '127.0.0.1', cidr: '127.0.0.1/8' },
  { address: '::1', cidr: '::1/128' },
];

test('a host of a local network is on the link, others are not', (t) => {
  for (const ip of ['192.168.4.1', '192.168.4.255', 'fd09::ffff'])
    t.true(isOnLink(parseIp(ip)!, networks), ip);
  for (const ip of ['192.168.5.1', '10.0.0.2', 'fd09:0:0:1::1', '8.8.8.8'])
    t.false(isOnLink(parseIp(ip)!, networks), ip);
});

test('this machine is no host of its networks', (t) => {
  for (const ip of ['127.0.0.1', '127.9.9.9', '::1', '192.168.4.2', 'fd09::2', '10.0.0.1'])
    t.false(isOnLink(parseIp(ip)!, networks), ip);
});

test('a gateway may name plain HTTP on this network only', (t) => {
  for (const url of ['http://192.168.4.1:5000/rootDesc.xml', 'http://[fd09::1]/d.xml'])
    t.notThrows(() => requireOnLink(url, networks), url);
  for (const url of [
    'http://169.254.169.254/latest/meta-data',
    'http://example.org/d.xml',
    'http://localhost/d.xml',
    'http://127.0.0.1:9993/d.xml',
    'http://2130706433/d.xml',
    'http://[::1]/d.xml',
    'http://[::ffff:127.0.0.1]/d.xml',
    'http://192.168.4.2/d.xml',
    'https://192.168.4.1/d.xml',
    'file:///etc/passwd',
  ])
    t.throws(() => requireOnLink(url, networks), { message: /not on this network/ }, url);
});
