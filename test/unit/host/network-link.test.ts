/** What a controller may write into a configuration must not take the service down. */
import test from 'ava';
import { isManagedAllowed, type LocalSettings, stackConfigOf } from '#src/host/network-link.js';
import { createStack } from '#src/stack/lwip-stack.js';
import { inetAddress, parseInetAddress } from '#src/wire/inetaddress.js';
import type { NetworkConfig } from '#src/wire/netconf.js';

const v4 = (...ip: number[]): Uint8Array => Uint8Array.from(ip);
const v6 = (...head: number[]): Uint8Array =>
  Uint8Array.of(...head, ...new Uint8Array(16 - head.length));
const mapped = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1);

const hostile: Pick<NetworkConfig, 'mtu' | 'addresses' | 'routes'> = {
  mtu: 10_000,
  addresses: [
    inetAddress(v4(10, 0, 0, 1), 99),
    inetAddress(v6(0xfd, 1), 65_535),
    inetAddress(mapped, 96),
    inetAddress(v4(10, 0, 0, 2), 24),
  ],
  routes: [
    { target: inetAddress(v4(10, 1, 0, 0), 33), via: inetAddress(v4(10, 0, 0, 9), 0) },
    { target: inetAddress(v4(10, 2, 0, 0), 16), via: inetAddress(v6(0xfd, 2), 0) },
    { target: inetAddress(v6(0xfd, 3), 129), via: inetAddress(new Uint8Array(0), 0) },
    { target: inetAddress(v4(10, 3, 0, 0), 16), via: inetAddress(v4(10, 0, 0, 9), 0) },
  ].map((r) => ({ ...r, flags: 0, metric: 0 })),
};

test('addresses and routes that no stack can take are left out', (t) => {
  const config = stackConfigOf(hostile, () => true);
  t.deepEqual(
    config.addresses.map((a) => [a.ip.join('.'), a.prefixLen]),
    [['10.0.0.2', 24]],
  );
  t.deepEqual(
    config.routes.map((r) => r.target.join('.')),
    ['10.3.0.0'],
  );
  const at = { mono: 0, wall: 0 };
  const stack = createStack({
    mac: Uint8Array.of(2, 0, 0, 0, 0, 1),
    entropy: { fill: (b) => void b.fill(7) },
    at,
  });
  t.notThrows(() => stack.configure(at, config));
});

/** What the defaults, changed as given, let through. */
function allowed(change: Partial<LocalSettings>, only: readonly string[] = []): string[] {
  const settings = {
    allowManaged: true,
    allowGlobal: false,
    allowDefault: false,
    allowDNS: false,
    ...change,
  };
  const all = [
    '10.0.0.1/24',
    '100.64.0.1/10',
    '8.8.8.8/24',
    'fd00::1/64',
    '2001:db9::1/64',
    '0.0.0.0/0',
    '::/0',
    '169.254.1.1/16',
    'fe80::1/64',
    '127.0.0.1/8',
    '224.0.0.1/4',
  ];
  const list = only.map((o) => parseInetAddress(o)!);
  return all.filter((a) => isManagedAllowed(settings, list, parseInetAddress(a)!));
}

test('local settings decide which addresses and routes of a network are used', (t) => {
  const usual = ['10.0.0.1/24', '100.64.0.1/10', 'fd00::1/64'];
  t.deepEqual(allowed({}), usual);
  t.deepEqual(allowed({ allowGlobal: true }), [
    '10.0.0.1/24',
    '100.64.0.1/10',
    '8.8.8.8/24',
    'fd00::1/64',
    '2001:db9::1/64',
  ]);
  t.deepEqual(allowed({ allowDefault: true }), [...usual, '0.0.0.0/0', '::/0']);
  t.deepEqual(allowed({ allowManaged: false, allowGlobal: true, allowDefault: true }), []);
  t.deepEqual(allowed({}, ['10.0.0.0/8']), ['10.0.0.1/24']);
  t.deepEqual(allowed({}, ['10.0.0.0/25']), [], 'an item wider than the list entry');
});
