/** What leads to the host's network, and what a granted policy means [5 section 12]. */
import test from 'ava';
import { grantOf } from '#src/host/grant.js';
import type { JsonRecord } from '#src/lib/json.js';
import { effectivePolicy, mayReachHost, NOTHING_GRANTED } from '#src/preload/fallthrough.js';
import { Policy } from '#src/preload/policy.js';
import { ipText, parseIp } from '#src/wire/inetaddress.js';

const conf = (netcon: JsonRecord): JsonRecord => ({ settings: { netcon } });
const reaches = (netcon: JsonRecord, wanted: number, ip: string): boolean =>
  mayReachHost(parseIp(ip)!, wanted, grantOf(conf(netcon)).grant);

test('a program gets what it wants, within what is granted', (t) => {
  for (const max of [Policy.none, Policy.loopback, Policy.full])
    for (const wanted of [0, 1, 2, 200])
      t.is(effectivePolicy(wanted, { ...NOTHING_GRANTED, max }), Math.min(wanted, max) as 0);
});

test('by default nothing of the host can be reached', (t) => {
  t.deepEqual(grantOf({}), { grant: NOTHING_GRANTED, complaints: [] });
  for (const ip of ['127.0.0.1', '::1', '8.8.8.8']) t.false(reaches({}, Policy.full, ip));
});

test('loopback grants loopback alone, full everything', (t) => {
  for (const ip of ['127.0.0.1', '127.8.8.8', '::1']) {
    t.true(reaches({ fallthrough: 'loopback' }, Policy.loopback, ip), ip);
    t.false(reaches({ fallthrough: 'full' }, Policy.none, ip), 'who does not ask gets nothing');
  }
  for (const ip of ['10.0.0.1', '2001:db8::1']) {
    t.false(reaches({ fallthrough: 'loopback' }, Policy.full, ip), ip);
    t.true(reaches({ fallthrough: 'full' }, Policy.full, ip), ip);
  }
});

test('denied networks are never reached, and where some are allowed no others', (t) => {
  const lists = {
    fallthrough: 'full',
    fallthroughAllow: ['10.0.0.0/8', 'fd00::/8', '127.0.0.1'],
    fallthroughDeny: ['10.1.0.0/16'],
  };
  for (const ip of ['10.2.0.1', 'fd12::1', '127.0.0.1']) t.true(reaches(lists, 2, ip), ip);
  for (const ip of ['10.1.2.3', '11.0.0.1', '127.0.0.2', '::1']) t.false(reaches(lists, 2, ip), ip);
});

test('IPv4 in IPv6 form gets round no list', (t) => {
  const mapped = (...v4: number[]) => Uint8Array.from([...Array(10).fill(0), 0xff, 0xff, ...v4]);
  const { grant } = grantOf(conf({ fallthrough: 'full', fallthroughDeny: ['10.1.0.0/16'] }));
  for (const ip of [mapped(10, 1, 2, 3), mapped(127, 0, 0, 1)])
    t.false(mayReachHost(ip, Policy.full, grant));
  const near = mapped(10, 1, 2, 3);
  near[9] = 1;
  t.true(mayReachHost(near, Policy.full, grant), 'another IPv6 address');
});

test('IPv4 inside IPv6, by NAT64, 6to4 or as a compatible address, gets round no list', (t) => {
  const inside = [
    (a: string, b: string) => `64:ff9b::${a}:${b}`,
    (a: string, b: string) => `2002:${a}:${b}::1`,
    (a: string, b: string) => `2002:${a}:${b}:ffff:ffff:ffff:ffff:ffff`,
    (a: string, b: string) => `::${a}:${b}`,
  ];
  const denied = { fallthrough: 'full', fallthroughDeny: ['10.1.0.0/16'] };
  const allowed = { fallthrough: 'full', fallthroughAllow: ['10.1.0.0/16'] };
  const both = {
    fallthrough: 'full',
    fallthroughAllow: ['::/0'],
    fallthroughDeny: ['10.1.0.0/16'],
  };
  for (const of of inside) {
    const [hit, miss] = [of('a01', '203'), of('a02', '203')];
    for (const conf of [denied, both]) {
      t.false(reaches(conf, 2, hit), hit);
      t.true(reaches(conf, 2, miss), miss);
    }
    t.true(reaches(allowed, 2, hit), hit);
    t.false(reaches(allowed, 2, miss), miss);
    t.false(reaches({ fallthrough: 'loopback' }, 2, of('7f00', '1')), 'not loopback');
  }
});

test('other IPv6 addresses have no IPv4 address in them', (t) => {
  const lists = { fallthrough: 'full', fallthroughDeny: ['0.0.0.0/0'] };
  const others = [
    '::1',
    '64:ff9b::1:a01:203',
    '64:ff9b:1::a01:203',
    '2003:a01:203::1',
    'fd00::a01:203',
  ];
  for (const ip of [...others, '::1:0:a01:203']) t.true(reaches(lists, 2, ip), ip);
  for (const ip of ['::a01:203', '::2', '64:ff9b::', '2002::', '10.1.2.3'])
    t.false(reaches(lists, 2, ip), ip);
  t.true(reaches({ ...lists, fallthroughDeny: ['64:ff9b::/96'] }, 2, '10.1.2.3'));
  t.false(reaches({ ...lists, fallthroughDeny: ['64:ff9b::/96'] }, 2, '64:ff9b::a01:203'));
});

test('a network of IPv4 in IPv6 form is that network of IPv4', (t) => {
  const lists = { fallthrough: 'full', fallthroughDeny: ['::ffff:10.1.0.0/112'] };
  t.false(reaches(lists, 2, '10.1.2.3'));
  t.false(reaches(lists, 2, '64:ff9b::a01:203'));
  t.true(reaches(lists, 2, '10.2.2.3'));
  t.false(reaches({ ...lists, fallthroughDeny: ['::ffff:0.0.0.0/96'] }, 2, '10.2.2.3'));
  t.true(reaches({ ...lists, fallthroughDeny: ['::ffff:0.0.0.0/95'] }, 2, '10.2.2.3'));
});

test('a mistake grants nothing and is named', (t) => {
  const cases: [JsonRecord, RegExp][] = [
    [{ fallthrough: 'all' }, /"all"; it must be none, loopback or full/],
    [{ fallthrough: 'toString' }, /must be none, loopback or full/],
    [{ fallthrough: true }, /true; it must be/],
    [
      { fallthrough: 'full', fallthroughDeny: ['10.0.0.0.1/8'] },
      /fallthroughDeny: "10.0.0.0.1\/8"/,
    ],
    [{ fallthrough: 'full', fallthroughAllow: '10.0.0.0/8' }, /fallthroughAllow must be a list/],
    [{ fallthrough: 'full', fallthroughAllow: [7] }, /fallthroughAllow: 7 is not a network/],
    [{ fallthrough: null }, /null; it must be/],
    [
      { fallthrough: 'full', fallthroughdeny: ['10.1.0.0/16'] },
      /netcon\.fallthroughdeny is no setting; there are .*fallthroughDeny/,
    ],
    [{ fallthrough: 'full', '': 1 }, /netcon\. is no setting/],
  ];
  for (const [netcon, complaint] of cases) {
    const { grant, complaints } = grantOf(conf(netcon));
    t.deepEqual(grant, NOTHING_GRANTED);
    t.is(complaints.length, 1);
    t.regex(complaints[0]!, complaint);
  }
});

test('a network is an address, or an address and as many bits as it may have', (t) => {
  const mistakes = [
    '10.77.0.0/255.255.255.0',
    '192.168.5.0/',
    '10.0.0.0/33',
    '10.0.0.0/240',
    '10.0.0.0/-1',
    '10.0.0.0/+8',
    '10.0.0.0/24x',
    '10.0.0.0/2 4',
    '10.0.0.0/ 24',
    '10.0.0.0/024',
    '10.0.0.0/8/8',
    ' 10.0.0.0/8',
    '10.0.0.0/8\n',
    '10.0.0/8',
    'fd00::/200',
    'fd00::/129',
    '/8',
    '',
  ];
  for (const name of ['fallthroughAllow', 'fallthroughDeny'])
    for (const network of mistakes) {
      const { grant, complaints } = grantOf(conf({ fallthrough: 'full', [name]: [network] }));
      t.deepEqual(grant, NOTHING_GRANTED, network);
      t.deepEqual(complaints, [
        `settings.netcon.${name}: ${JSON.stringify(network)} is not a network`,
      ]);
    }
  const whole = ['0.0.0.0/0', '10.9.8.7/32', '10.9.8.7/8', '10.9.8.7', '::/0', 'fd00::1/128'];
  const { grant, complaints } = grantOf(conf({ fallthrough: 'full', fallthroughAllow: whole }));
  t.deepEqual(complaints, []);
  t.deepEqual(
    grant.allow.map(({ ip, bits }) => `${ipText(ip)}/${bits}`),
    ['0.0.0.0/0', '10.9.8.7/32', '10.0.0.0/8', '10.9.8.7/32', '::/0', 'fd00::1/128'],
  );
});

test('a section that is none, or stands elsewhere, grants nothing and is named', (t) => {
  const cases: [JsonRecord, RegExp][] = [
    [{ settings: { netcon: 'full' } }, /settings\.netcon must be an object/],
    [{ settings: { netcon: null } }, /settings\.netcon must be an object/],
    [{ netcon: { fallthrough: 'full' } }, /netcon stands in settings/],
    [
      { netcon: 'full', settings: { netcon: { fallthrough: 'full' } } },
      /netcon stands in settings/,
    ],
  ];
  for (const [whole, complaint] of cases) {
    const { grant, complaints } = grantOf(whole);
    t.deepEqual(grant, NOTHING_GRANTED);
    t.is(complaints.length, 1);
    t.regex(complaints[0]!, complaint);
  }
  const others = { cipher: 'auto', apiBind: '127.0.0.1', fallthrough: 'full' };
  t.deepEqual(grantOf(conf(others)).complaints, []);
});
