import test from 'ava';
import fc from 'fast-check';
import {
  addressOfReverse,
  DnsRcode,
  DnsType,
  emitName,
  emitQuery,
  emitReply,
  parseAnswers,
  parseQuestion,
  reverseNameOf,
} from '#src/preload/dns-message.js';

const bytes = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'));

test('a question as RFC 1035 draws it', (t) => {
  t.deepEqual(
    emitQuery(0x1234, 'db.example', DnsType.a),
    bytes('1234 0100 0001 0000 0000 0000  02 6462 07 6578616d706c65 00 0001 0001'),
  );
  t.is(parseQuestion(emitQuery(7, 'DB.Example.', DnsType.aaaa)!)?.name, 'db.example');
});

test('names that can not be asked for', (t) => {
  t.is(emitName('a..b'), undefined);
  t.is(emitName('x'.repeat(64)), undefined);
  t.is(emitName(`${'abcdefgh.'.repeat(28)}abc`), undefined, '255 with the dot');
  t.is(emitName('b\u00fccher'), undefined);
  t.deepEqual(emitName(''), Uint8Array.of(0));
});

test('answers with compression, an alias and a pointer', (t) => {
  const message = bytes(`
    0001 8180 0001 0003 0000 0000  03 777777 07 6578616d706c65 00 0001 0001
    c00c 0005 0001 00000010 0006  03 646232 c010
    c029 0001 0001 00000010 0004  0a000001
    c00c 000c 0001 00000010 0002  c010`);
  const records = parseAnswers(message);
  t.deepEqual(
    records?.map((r) => [r.name, r.type, r.target]),
    [
      ['www.example', 5, 'db2.example'],
      ['db2.example', 1, undefined],
      ['www.example', 12, 'example'],
    ],
  );
  t.deepEqual([...records![1]!.data], [10, 0, 0, 1]);
});

test('a pointer to itself, cut messages and wrong counts are refused', (t) => {
  const loop = bytes('0001 8180 0001 0000 0000 0000 c00c 0001 0001');
  t.is(parseQuestion(loop), undefined);
  const query = emitQuery(1, 'a.b', 1)!;
  for (let len = 0; len < query.length; len++)
    t.is(parseQuestion(query.subarray(0, len)), undefined);
  const two = query.slice();
  two[5] = 2;
  t.is(parseQuestion(two), undefined);
  const missing = query.slice();
  missing[7] = 1;
  t.is(parseAnswers(missing), undefined);
});

test('our own answers are read back', (t) => {
  const query = emitQuery(99, 'a.b', DnsType.a)!;
  const question = parseQuestion(query)!;
  const reply = emitReply(query, question, DnsRcode.ok, [Uint8Array.of(1, 2, 3, 4)]);
  t.like(parseQuestion(reply), { id: 99, isResponse: true, rcode: 0, isTruncated: false });
  t.deepEqual([...parseAnswers(reply)![0]!.data], [1, 2, 3, 4]);
  t.is(parseQuestion(emitReply(query, question, DnsRcode.noName))?.rcode, 3);
});

test('reverse names go both ways', (t) => {
  for (const ip of [Uint8Array.of(10, 147, 17, 1), new Uint8Array(16).map((_, i) => i * 17)]) {
    t.deepEqual(addressOfReverse(reverseNameOf(ip)), ip);
  }
  for (const name of ['1.2.3.in-addr.arpa', '1.2.3.256.in-addr.arpa', 'x.ip6.arpa', 'a.b', '']) {
    t.is(addressOfReverse(name), undefined);
  }
});

test('no bytes break the parsers', (t) => {
  const header = fc.constant([0, 1, 0x81, 0x80, 0, 1, 0, 3, 0, 0, 0, 0]);
  const tail = fc.array(fc.oneof(fc.constantFrom(0, 1, 0xc0, 12, 4), fc.nat(255)), {
    maxLength: 80,
  });
  fc.assert(
    fc.property(header, tail, (h, rest) => {
      parseAnswers(Uint8Array.from([...h, ...rest]));
      return true;
    }),
    { numRuns: 5000 },
  );
  t.pass();
});
