import test from 'ava';
import { orderAddresses } from '#src/preload/address-order.js';
import { parseIpv4, parseIpv6 } from '#src/preload/ip-text.js';
import type { IpBytes } from '#src/stack/stack.js';

const ip = (text: string): IpBytes => (parseIpv4(text) ?? parseIpv6(text))!;

/** Destinations in the order to try; `sources` says what each is reached from, if at all. */
function order(...pairs: readonly (readonly [string, string | undefined])[]): string[] {
  const sources = new Map(pairs.map(([to, from]) => [Buffer.from(ip(to)).toString('hex'), from]));
  const sorted = orderAddresses(
    pairs.map(([to]) => ip(to)),
    (to) => {
      const from = sources.get(Buffer.from(to).toString('hex'));
      return from === undefined ? undefined : ip(from);
    },
  );
  return sorted.map((s) => pairs.find(([to]) => Buffer.from(ip(to)).equals(s))![0]);
}

test('IPv6 comes first where there is a source for it, else last', (t) => {
  const four = ['10.0.0.2', '10.0.0.1'] as const;
  t.deepEqual(order(four, ['fd00::2', 'fd00::1']), ['fd00::2', '10.0.0.2']);
  t.deepEqual(order(four, ['fd00::2', undefined]), ['10.0.0.2', 'fd00::2']);
  t.deepEqual(order(['127.0.0.1', '127.0.0.1'], ['::1', '::1']), ['::1', '127.0.0.1']);
});

test('addresses that nothing leads to keep their order, behind the others', (t) => {
  const foreign = [
    ['192.0.2.1', undefined],
    ['2001:db8::1', undefined],
    ['10.0.0.2', '10.0.0.1'],
  ] as const;
  t.deepEqual(order(...foreign), ['10.0.0.2', '192.0.2.1', '2001:db8::1']);
});

test('RFC 6724 rules 2, 5, 6 and 9', (t) => {
  /* 2: the scope of the source. */
  t.deepEqual(order(['fe80::2', '2a00::1'], ['2a00::2', '2a00::1']), ['2a00::2', 'fe80::2']);
  /* 5: the label of the source. */
  t.deepEqual(order(['2a00::2', 'fd00::1'], ['fd00::2', 'fd00::1']), ['fd00::2', '2a00::2']);
  /* 6: 6to4 has less precedence. */
  t.deepEqual(order(['2002::2', '2002::1'], ['2a00::2', '2a00::1']), ['2a00::2', '2002::2']);
  /* 9: the longer common prefix, of IPv6 alone. */
  t.deepEqual(order(['fd01::2', 'fd00::1'], ['fd00::2', 'fd00::1']), ['fd00::2', 'fd01::2']);
  t.deepEqual(order(['10.9.0.2', '10.0.0.1'], ['10.0.0.2', '10.0.0.1']), ['10.9.0.2', '10.0.0.2']);
});
