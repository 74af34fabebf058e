/** PCP and NAT-PMP messages, by the figures of RFC 6887 and RFC 6886. */
import test from 'ava';
import {
  GatewayError,
  type Mapping,
  parsePcpAnswer,
  parsePmpAnswer,
  pcpMapRequest,
  pmpMapRequest,
} from '#src/host/nat-pmp.js';
import { toHex } from '#src/lib/hex.js';
import { inetAddressText } from '#src/wire/inetaddress.js';

const client = Uint8Array.of(192, 168, 7, 2);
const nonce = Uint8Array.from({ length: 12 }, (_, i) => 0xa0 + i);
const request = pcpMapRequest(client, nonce, 40_001, 40_002, 900);

test('a PCP MAP request', (t) => {
  t.is(
    toHex(request),
    '0201000000000384' +
      '00000000000000000000ffffc0a80702' +
      'a0a1a2a3a4a5a6a7a8a9aaab' +
      '11000000' +
      '9c419c42' +
      '00000000000000000000ffff00000000',
  );
});

/** A granted answer: lifetime 600, external 99.7.0.1 port 40005. */
function granted(): Uint8Array {
  const a = request.slice();
  a[1] = 0x81;
  a.set([0, 0, 2, 0x58, 0, 0, 0, 9], 4);
  a.fill(0, 12, 24);
  a.set([0x9c, 0x45], 42);
  a.set([99, 7, 0, 1], 56);
  return a;
}

test('a granted PCP mapping', (t) => {
  const m = parsePcpAnswer(granted(), request) as Mapping;
  t.is(inetAddressText(m.external), '99.7.0.1/40005');
  t.is(m.lifetimeSec, 600);
});

test('PCP answers to something else are no answers', (t) => {
  const changed = (at: number): Uint8Array => {
    const a = granted();
    a[at] = a[at]! ^ 1;
    return a;
  };
  for (const at of [0, 1, 24, 35, 36, 40, 41])
    t.is(parsePcpAnswer(changed(at), request), undefined);
  t.is(parsePcpAnswer(granted().subarray(0, 59), request), undefined);
  t.is(parsePcpAnswer(new Uint8Array(0), request), undefined);
});

test('PCP refusals, and a gateway of the older protocol', (t) => {
  const refused = granted();
  refused[3] = 2;
  t.true(parsePcpAnswer(refused, request) instanceof GatewayError);
  const v6 = granted();
  v6[44] = 0x20;
  t.true(parsePcpAnswer(v6, request) instanceof GatewayError);
  t.is(parsePcpAnswer(Uint8Array.of(0, 128, 0, 1, 0, 0, 0, 0), request), 'old');
});

test('NAT-PMP requests and answers', (t) => {
  t.is(toHex(pmpMapRequest(40_001, 0, 900)), '000100009c41000000000384');
  const address = Uint8Array.of(0, 128, 0, 0, 0, 0, 0, 1, 99, 7, 0, 1);
  t.deepEqual([...(parsePmpAnswer(address, 0) as Uint8Array)], [99, 7, 0, 1]);
  t.is(parsePmpAnswer(address.subarray(0, 11), 0), undefined);
  t.is(parsePmpAnswer(address, 1), undefined, 'another operation');
  const map = Uint8Array.of(0, 129, 0, 0, 0, 0, 0, 1, 0x9c, 0x41, 0x9c, 0x45, 0, 0, 2, 0x58);
  t.is(toHex(parsePmpAnswer(map, 1) as Uint8Array), '9c419c4500000258');
  t.is(parsePmpAnswer(map.subarray(0, 15), 1), undefined);
  map[3] = 3;
  t.true(parsePmpAnswer(map, 1) instanceof GatewayError);
});
