import test from 'ava';
import {
  emitJson,
  emitJsonPretty,
  isRecord,
  JsonFloat,
  jsonHex,
  jsonInt,
  jsonText,
  parseJson,
} from '#src/lib/json.js';

test('64-bit integers keep all their digits', (t) => {
  const text = '[18446744073709551615,-9223372036854775808,9007199254740993]';
  t.is(emitJson(parseJson(text)), text);
});

test('kept floats print as the reference prints them', (t) => {
  const cases: [string, string][] = [
    ['1.0', '1.0'],
    ['1e5', '100000.0'],
    ['1e15', '1e+15'],
    ['1e-4', '0.0001'],
    ['1e-5', '1e-05'],
    ['1.5e300', '1.5e+300'],
    ['-0.0', '-0.0'],
    ['-0', '0'],
    ['5e-324', '5e-324'],
    ['123456.789e3', '123456789.0'],
    ['18446744073709551616', '1.8446744073709552e+19'],
    ['-9223372036854775809', '-9.223372036854776e+18'],
  ];
  for (const [text, printed] of cases) t.is(emitJson(parseJson(text, 'keep')), printed);
});

test('without being asked for, floats are plain numbers', (t) => {
  t.is(parseJson('1.0'), 1);
  t.is(parseJson('2.5'), 2.5);
});

test('a float is no record and reads as a number', (t) => {
  const v = parseJson('2.5', 'keep');
  t.true(v instanceof JsonFloat);
  t.false(isRecord(v));
  t.is(jsonText(v, ''), '2');
});

test('numbers beyond a double are refused', (t) => {
  t.throws(() => parseJson('1e999'), { code: 'ERR_JSON_SYNTAX' });
});

test('half of a surrogate pair is refused, a byte order mark passed over', (t) => {
  for (const text of ['"\\ud83d"', '"\\ude00\\ud83d"', '"\ud83d"', '{"\\udc00":1}', '\udfff'])
    t.throws(() => parseJson(text), { code: 'ERR_JSON_SYNTAX' }, JSON.stringify(text));
  t.is(parseJson('"\\ud83d\\ude00"'), '\u{1f600}');
  t.deepEqual(parseJson('\ufeff{"a":1}'), { a: 1 });
  t.throws(() => parseJson(' \ufeff1'), { code: 'ERR_JSON_SYNTAX' });
});

test('text is an integer as strtoull reads it', (t) => {
  const top = 2n ** 64n;
  const cases: [string, bigint, bigint][] = [
    ['12', 12n, 0x12n],
    ['-1', top - 1n, top - 1n],
    [' +5x', 5n, 5n],
    ['-0x10', 0n, top - 16n],
    ['99999999999999999999', top - 1n, top - 1n],
    ['-99999999999999999999', top - 1n, top - 1n],
    ['- 1', 0n, 0n],
    ['0xg', 0n, 0n],
    ['', 0n, 0n],
  ];
  for (const [text, int, hex] of cases) {
    t.is(jsonInt(text, 7n), int, text);
    t.is(jsonHex(text, 7n), hex, text);
  }
});

test('keys come in the order of their bytes', (t) => {
  t.is(
    emitJsonPretty(parseJson('{"\\ud83d\\ude00":1,"\\uf000":2,"a":[],"b":{}}'), ' '),
    '{\n "a": [],\n "b": {},\n "\uf000": 2,\n "\u{1f600}": 1\n}',
  );
});
