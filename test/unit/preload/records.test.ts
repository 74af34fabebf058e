import test from 'ava';
import fc from 'fast-check';
import {
  emitDelivery,
  emitError,
  emitSending,
  parseReceived,
  parseSending,
  RECORD_MAX,
} from '#src/preload/records.js';

const bytes = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'));

test('a datagram for a program is laid out as [5 section 5.9] draws it', (t) => {
  const record = emitDelivery(
    {
      flags: 5,
      from: { ip: Uint8Array.of(10, 147, 1, 9), port: 53 },
      to: Uint8Array.of(10, 147, 1, 1),
      interfaceIndex: 2,
      ttl: 64,
      tos: 0x10,
      wall: 1_700_000_000_000.25,
    },
    Uint8Array.of(0xaa, 0xbb),
  );
  t.deepEqual(
    record,
    bytes(`
      01 05 00 00 02 00 00 00  fa 40 1e 18 24 0a 06 00
      04 00 00 35 00 00 00 00  0a 93 01 09 00 00 00 00
      00 00 00 00 00 00 00 00  0a 93 01 01 00 00 00 00
      00 00 00 00 00 00 00 00  02 00 00 00 40 10 00 00
      aa bb`),
  );
});

test('an error record names its errno and whom it is about', (t) => {
  const got = parseReceived(emitError(111, { ip: Uint8Array.of(10, 0, 0, 2), port: 9 }));
  t.deepEqual([got?.kind, got?.errno, got?.from.port, got?.payload.length], [2, 111, 9, 0]);
});

test('what a program sends is read back; fields without their flag are not', (t) => {
  const to = { ip: Uint8Array.of(10, 0, 0, 2), port: 9 };
  const source = Uint8Array.of(10, 0, 0, 1);
  const full = emitSending(to, Uint8Array.of(1), { source, ttl: 3, tos: 4, interfaceIndex: 2 });
  const parsed = parseSending(full, 4);
  t.deepEqual([parsed?.to.ip, parsed?.to.port], [to.ip, 9]);
  t.deepEqual([parsed?.source, parsed?.ttl, parsed?.tos], [source, 3, 4]);
  full[1] = 0;
  const bare = parseSending(full, 4);
  t.deepEqual([bare?.source, bare?.ttl, bare?.tos], [undefined, undefined, undefined]);
  const six = emitSending(undefined, Uint8Array.of(), { source: new Uint8Array(16).fill(7) });
  t.is(parseSending(six, 6)?.source?.length, 16, 'of the family of the connected peer');
  t.is(parseSending(six, 6)?.to.family, 0);
});

test('records that break the format are refused', (t) => {
  const good = emitSending({ ip: Uint8Array.of(1, 2, 3, 4), port: 5 }, Uint8Array.of(1, 2));
  const broken = (at: number, value: number) => {
    const copy = good.slice();
    copy[at] = value;
    return parseSending(copy, 4);
  };
  t.not(parseSending(good, 4), undefined);
  t.is(broken(0, 2), undefined, 'kind');
  t.is(broken(4, 3), undefined, 'length');
  t.is(broken(16, 5), undefined, 'family');
  t.is(parseSending(good.subarray(0, 63), 4), undefined);
  t.is(parseSending(new Uint8Array(RECORD_MAX + 1), 4), undefined);
});

test('no bytes break the parsers', (t) => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.constantFrom(4 as const, 6 as const),
      (b, f) => {
        const sending = parseSending(b, f);
        parseReceived(b);
        return sending === undefined || sending.payload.length === b.length - 64;
      },
    ),
  );
  t.pass();
});
