import test from 'ava';
import {
  isLoopback,
  mayEnter,
  offeredToken,
  parseSourceNetworks,
  sourceIp,
} from '#src/http/access.js';
import { parseTarget, percentDecode } from '#src/http/target.js';
import { parseIp } from '#src/wire/inetaddress.js';

const caller = (target: string, rawHeaders: string[] = [], remoteAddress = '127.0.0.1') => ({
  remoteAddress,
  target: parseTarget(target),
  rawHeaders,
});

test('header, query and bearer are looked at in this order, the first present decides', (t) => {
  const bearer = ['Authorization', 'Bearer b'];
  t.is(offeredToken(caller('/x?auth=q', ['X-ZT1-Auth', 'h', ...bearer])), 'h');
  t.is(offeredToken(caller('/x?auth=q', bearer)), 'q');
  t.is(offeredToken(caller('/x', bearer)), 'b');
  t.is(offeredToken(caller('/x')), undefined);
});

test('an empty header is absent, an empty parameter is present', (t) => {
  t.is(offeredToken(caller('/x?auth=q', ['X-ZT1-Auth', '  '])), 'q');
  t.is(offeredToken(caller('/x?auth=', ['Authorization', 'Bearer b'])), '');
  t.is(offeredToken(caller('/x?auth', ['Authorization', 'Bearer b'])), '');
});

test('of repeated headers and parameters the first counts', (t) => {
  t.is(offeredToken(caller('/x', ['x-zt1-auth', 'one', 'X-ZT1-AUTH', 'two'])), 'one');
  t.is(offeredToken(caller('/x?auth=one&auth=two')), 'one');
});

test('tokens lose surrounding blanks and are percent-decoded; + is a blank in the query alone', (t) => {
  t.is(offeredToken(caller('/x', ['X-ZT1-Auth', '  a+b%41 '])), 'a+bA');
  t.is(offeredToken(caller('/x?auth=a+b%2541')), 'a b%41');
});

test('bearer credentials are exactly two words', (t) => {
  for (const value of ['Bearer a b', 'Bearer', 'a', 'Basic a'])
    t.is(offeredToken(caller('/x', ['Authorization', value])), undefined);
  t.is(offeredToken(caller('/x', ['authorization', 'bEaReR  a'])), 'a');
});

test('percent-decoding leaves what is no escape and reads UTF-8', (t) => {
  t.is(percentDecode('%zz%4', false), '%zz%4');
  t.is(percentDecode('%c3%bc', false), 'ü');
  t.is(percentDecode('Ã¼', false), 'ü');
  t.is(parseTarget('/st%61tus?a?b#c').path, '/status');
  t.is(parseTarget('/a#b?c').path, '/a');
});

test('loopback is 127/8, ::1, fe80::1 and their mapped forms', (t) => {
  const is = (text: string) => {
    const ip = sourceIp(text);
    return ip !== undefined && isLoopback(ip);
  };
  for (const a of ['127.0.0.1', '127.255.0.9', '::1', '::ffff:127.0.0.1', 'fe80::1%lo'])
    t.true(is(a), a);
  for (const a of ['128.0.0.1', '10.0.0.1', '::2', '::', 'fe80::2', '::ffff:10.0.0.1', ''])
    t.false(is(a), a);
});

const ACCESS = {
  authToken: 'auth',
  metricsToken: 'metrics',
  allowed: () => parseSourceNetworks(['10.1.0.0/16', '10.9.9.9', 'fd00::5']),
};
const AUTH = ['X-ZT1-Auth', 'auth'];

test('a token is needed everywhere but at /health, /sso and /app', (t) => {
  t.false(mayEnter(ACCESS, caller('/status')));
  t.false(mayEnter(ACCESS, caller('/status', ['X-ZT1-Auth', 'metrics'])));
  t.false(mayEnter(ACCESS, caller('/healthy')));
  t.true(mayEnter(ACCESS, caller('/status', AUTH)));
  for (const path of ['/health', '/sso', '/app', '/appXYZ', '/app/x'])
    t.true(mayEnter(ACCESS, caller(path)), path);
});

test('metrics take either token from any address', (t) => {
  for (const token of ['auth', 'metrics'])
    t.true(mayEnter(ACCESS, caller('/metrics', ['X-ZT1-Auth', token], '8.8.8.8')));
  t.false(mayEnter(ACCESS, caller('/metrics')));
});

test('other addresses enter only from the networks allowed', (t) => {
  for (const from of ['10.1.2.3', '::ffff:10.1.2.3', '10.9.9.9', 'fd00::5'])
    t.true(mayEnter(ACCESS, caller('/status', AUTH, from)), from);
  for (const from of ['10.2.0.1', '10.9.9.8', 'fd00::6', 'nonsense']) {
    t.false(mayEnter(ACCESS, caller('/status', AUTH, from)), from);
    t.false(mayEnter(ACCESS, caller('/health', AUTH, from)), from);
  }
});

test('an empty token never opens', (t) => {
  const open = { ...ACCESS, authToken: '', metricsToken: '' };
  t.false(mayEnter(open, caller('/status?auth=')));
  t.false(mayEnter(open, caller('/metrics?auth=')));
});

test('a network without a prefix length is one address, rubbish is left out', (t) => {
  const list = parseSourceNetworks(['10.0.0.1', 'fd00::/8', '10.0.0.0/99', 'x', '']);
  t.deepEqual(
    list.map((n) => [n.ip.length, n.port]),
    [
      [4, 32],
      [16, 8],
      [4, 32],
    ],
  );
  t.deepEqual(list[0]!.ip, parseIp('10.0.0.1'));
});
