import test from 'ava';
import { bondList, bondText } from '#src/cli/zt/bonds.js';
import { networksText, propertyText } from '#src/cli/zt/networks.js';
import { peerList, peerTable } from '#src/cli/zt/peers.js';

const NOW = 1_800_000_000_000;
const PEER = {
  address: 'ce81a7dba3',
  versionMajor: 1,
  versionMinor: 14,
  versionRev: 1,
  latency: 12,
  role: 'LEAF',
  tunneled: false,
  isBonded: false,
  paths: [
    { address: '10.0.0.9/1', preferred: false, lastSend: NOW, lastReceive: NOW },
    { address: '10.94.0.3/9993', preferred: true, lastSend: NOW - 5008, lastReceive: 0 },
  ],
};

test('peers stand in columns, with the ages of the preferred path', (t) => {
  t.is(
    peerTable([PEER], NOW).split('\n')[2],
    'ce81a7dba3 1.14.1 LEAF      12 DIRECT   5008     -1       10.94.0.3/9993',
  );
  t.is(
    peerTable([{ ...PEER, paths: [], tunneled: true }], NOW),
    '200 peers\n<ztaddr>   <ver>  <role> <lat> <link>   <lastTX> <lastRX> <path>\nce81a7dba3 1.14.1 LEAF      12 RELAY\nNOTE: Currently tunneling through a TCP relay. Ensure that UDP is not blocked.\n',
  );
});

test('a peer that says nothing about itself is listed with what is known', (t) => {
  t.is(
    peerList([{ address: 'ce81a7dba3' }], NOW).split('\n')[1],
    '200 listpeers ce81a7dba3 - 0 - -',
  );
  t.is(
    peerList([PEER, 7, null], NOW).split('\n').slice(1).join('\n'),
    '200 listpeers ce81a7dba3 10.94.0.3/9993;5008;-1 12 1.14.1 LEAF\n',
  );
});

const NETWORK = {
  nwid: '8056c2e21c000001',
  name: '',
  mac: '02:00:00:00:00:01',
  status: 'OK',
  type: 'PUBLIC',
  portDeviceName: '/var/lib/zt home/nc_8056c2e21c000001',
  assignedAddresses: ['fc00::1/40', '10.0.0.1/24', 'fd00::1/88'],
};

test('an empty name stays empty, a missing field is a dash', (t) => {
  t.is(
    networksText([NETWORK], NOW).split('\n')[1],
    '200 listnetworks 8056c2e21c000001  02:00:00:00:00:01 OK PUBLIC /var/lib/zt home/nc_8056c2e21c000001 fc00::1/40,10.0.0.1/24,fd00::1/88',
  );
  t.is(networksText([{}], NOW).split('\n')[1], '200 listnetworks - - - - - - -');
});

test('single sign-on adds a line', (t) => {
  const line = (more: object) =>
    networksText([{ ...NETWORK, ssoEnabled: true, ...more }], NOW).split('\n')[2];
  t.is(
    line({ authenticationExpiryTime: NOW + 3_599_999 }),
    '    AUTH OK, expires in: 3599 seconds',
  );
  t.is(line({ authenticationExpiryTime: NOW - 1 }), '');
  t.is(
    line({ status: 'AUTHENTICATION_REQUIRED', authenticationURL: 'https://x' }),
    '    AUTH EXPIRED, URL: https://x',
  );
});

test('a newline follows each address that is printed before the last candidate', (t) => {
  t.is(propertyText(NETWORK, 'ip'), 'fc00::1\n10.0.0.1\nfd00::1\n');
  t.is(propertyText(NETWORK, 'ip4'), '10.0.0.1\n');
  t.is(propertyText(NETWORK, 'ip6'), 'fc00::1\nfd00::1\n');
  t.is(propertyText(NETWORK, 'ip6plane'), 'fc00::1\n\n');
  t.is(propertyText({}, 'ip'), '\n');
});

test('properties print as text; what has none says so', (t) => {
  t.is(propertyText(NETWORK, 'name'), '\n');
  t.is(propertyText({ a: -1, b: true, c: 2.5 }, 'a'), '18446744073709551615\n');
  t.is(propertyText({ a: -1, b: true, c: 2.5 }, 'b'), '1\n');
  t.is(propertyText({ a: -1, b: true, c: 2.5 }, 'c'), '2\n');
  for (const name of ['nosuch', 'assignedAddresses', 'toString'])
    t.is(propertyText(NETWORK, name), 'error, unknown property name\n');
});

test('bonds show 64-bit sockets and fixed decimals', (t) => {
  const text = bondText({
    address: 'ce81a7dba3',
    bondingPolicyStr: 'active-backup',
    paths: [
      {
        ifname: 'eth0',
        address: '10.94.0.3/9993',
        localSocket: 18_446_744_073_709_551_615n,
        latencyMean: 1.5,
        relativeQuality: 0.25,
      },
    ],
  });
  t.true(
    text.startsWith(
      'Peer                   : ce81a7dba3\nBond                   : active-backup\n',
    ),
  );
  t.regex(text, /^ 0: {23}eth0 {38}10\.94\.0\.3\/9993 ffffffffffffffff {12}0$/m);
  t.regex(text, /^ 0: {5}1\.50 {5}0\.00 {10}0 {2}0\.2500 {11}0 {11}0 {9}0 {7}0 {7}0$/m);
  t.is(bondText({ address: 'x' }).split('\n').length, 9);
});

test('a list without bonds says so', (t) => {
  t.is(bondList([PEER]).split('\n')[1], '      NONE\t\t\t\tNONE\t    NONE       NONE');
});
