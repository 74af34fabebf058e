/** The module itself: what it imports and exports, its memory, and its exports on hostile arguments. */
import { readFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import * as map from '#src/packetcore/layout.js';
import { loadExports } from '#src/packetcore/load.js';

declare const WebAssembly: {
  Module: {
    new (bytes: Uint8Array): object;
    imports(module: object): { name: string }[];
    exports(module: object): { name: string; kind: string }[];
  };
};

const MODULE_URL = new URL(import.meta.resolve('#src/wasm/packetcore.wasm'));
const wasm = loadExports();
const memory = new Uint8Array(wasm.memory.buffer);

/** Fills a range with bytes that depend on their address. */
function scribble(from: number, len: number): void {
  for (let i = 0; i < len; i++) memory[from + i] = (i * 31 + (i >> 8)) & 0xff;
}

function isZero(from: number, to: number): boolean {
  return memory.subarray(from, to).every((b) => b === 0);
}

test('the module imports nothing', (t) => {
  const module = new WebAssembly.Module(readFileSync(MODULE_URL));
  t.deepEqual(WebAssembly.Module.imports(module), []);
});

test('the module exports its memory and the documented functions', (t) => {
  const module = new WebAssembly.Module(readFileSync(MODULE_URL));
  const names = WebAssembly.Module.exports(module).map((e) => `${e.kind} ${e.name}`);
  t.deepEqual(names.sort(), [
    'function identityFill',
    'function identityMix',
    'function lz4Decode',
    'function lz4Encode',
    'function maskHello',
    'function open',
    'function poly1305Tag',
    'function salsa20Xor',
    'function seal',
    'function sivExpand',
    'function sivOpen',
    'function sivOpenFinish',
    'function sivOpenStart',
    'function sivSeal',
    'function sivSealFinish',
    'function sivSealStart',
    'memory memory',
  ]);
});

test('the memory has its final size and cannot grow', (t) => {
  const grown = wasm.memory as unknown as { grow(pages: number): number };
  t.is(wasm.memory.buffer.byteLength, map.PAGES * map.PAGE_LEN);
  t.throws(() => grown.grow(1), { instanceOf: RangeError });
  t.true(map.TABLE + map.TABLE_LEN <= map.PAGES * map.PAGE_LEN);
});

test('windows do not overlap', (t) => {
  const windows = [
    [map.KEY, map.KEY_LEN],
    [map.IV, map.IV_LEN],
    [map.TAG, map.TAG_LEN],
    [map.DIGEST, map.DIGEST_LEN],
    [map.ZEROS, map.KEYSTREAM_LEN],
    [map.SECRETS, map.SECRETS_END - map.SECRETS],
    [map.STREAM, map.STREAM_LEN],
    [map.AES_TABLES, map.REVERSE_NIBBLES + 16 - map.AES_TABLES],
    [map.SIV_RAW, map.SIV_RAW_LEN],
    [map.SIV_KEYS, map.SIV_KEYS_LEN],
    [map.SIV_SCRATCH, map.SIV_SCRATCH_END - map.SIV_SCRATCH],
    [map.INBOX, map.INBOX_LEN],
    [map.OUTBOX, map.OUTBOX_LEN],
    [map.LZ4_TABLE, map.LZ4_TABLE_LEN],
    [map.TABLE, map.TABLE_LEN],
  ] as const;
  const sorted = [...windows].sort((a, b) => a[0] - b[0]);
  sorted.slice(1).forEach(([start], i) => {
    const [before, len] = sorted[i]!;
    t.true(before + len <= start, `${before.toString(16)} runs into ${start.toString(16)}`);
  });
  t.true(map.STREAM_LEN >= map.PACKET_MAX_LEN + map.KEYSTREAM_LEN - map.OFF_VERB - 192);
  t.true(map.OUTBOX_LEN >= map.PAYLOAD_MAX_LEN + 16);
});

/** Addresses and lengths around every limit, and anything else. */
const hostile = fc.oneof(
  fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  fc.constantFrom(0, 1, 27, 28, 10024, 10025, map.INBOX, map.INBOX + map.INBOX_LEN),
  fc.integer({ min: map.INBOX - 2, max: map.INBOX + map.INBOX_LEN + 2 }),
);

function isInInbox(p: number, len: number): boolean {
  return p >= map.INBOX && len >= 0 && p + len <= map.INBOX + map.INBOX_LEN;
}

test('no arguments trap, and ranges outside the inbox are refused', (t) => {
  scribble(map.INBOX, map.INBOX_LEN);
  wasm.sivExpand();
  fc.assert(
    fc.property(hostile, hostile, hostile, hostile, (p, len, a, b) => {
      const calls = [
        wasm.seal(p, len, a),
        wasm.open(p, len),
        wasm.maskHello(p, len, a),
        wasm.salsa20Xor(p, len, a, b),
        wasm.poly1305Tag(p, len),
        wasm.lz4Decode(p, len, a),
        wasm.lz4Encode(p, len),
        wasm.sivSealStart(p, len),
        wasm.sivSealFinish(p, len),
        wasm.sivOpenStart(p, len),
        wasm.sivOpenFinish(p, len),
        wasm.sivSeal(p, len),
        wasm.sivOpen(p, len),
      ];
      if (isInInbox(p, len)) return;
      t.true(
        calls.every((status) => status === map.ERR_RANGE),
        `${p} ${len}: ${calls}`,
      );
    }),
    { numRuns: 2000 },
  );
});

test('any bytes at all can be opened, decoded and unmasked without a trap', (t) => {
  const bytes = fc.uint8Array({ minLength: 0, maxLength: map.PACKET_MAX_LEN });
  fc.assert(
    fc.property(bytes, fc.integer({ min: 0, max: 63 }), (data, offset) => {
      const p = map.INBOX + offset;
      memory.set(data, p);
      const isPacket = data.length >= map.HEADER_LEN;
      t.true(wasm.open(p, data.length) < 0);
      t.true(wasm.sivOpen(p, data.length) < 0);
      t.deepEqual(memory.slice(p, p + data.length), data, 'unchanged');
      t.is(wasm.maskHello(p, data.length, map.HEADER_LEN), isPacket ? map.OK : map.ERR_RANGE);
      const decoded = wasm.lz4Decode(p, data.length, map.OUTBOX_LEN);
      t.true(decoded <= map.PAYLOAD_MAX_LEN);
    }),
    { numRuns: 500 },
  );
});

test('no key material is left in the scratch windows', (t) => {
  const lengths = [28, 27 + 192, 27 + 193, 300, 475, 476, 1400, 2800, 10024];
  wasm.sivExpand();
  for (const len of lengths) {
    scribble(map.INBOX, len);
    memory.fill(0x5a, map.KEY, map.KEY + map.KEY_LEN);
    for (const suite of [0, 1]) {
      t.is(wasm.seal(map.INBOX, len, suite), map.OK);
      t.is(wasm.open(map.INBOX, len), map.OK);
      t.is(wasm.open(map.INBOX, len), suite === 0 ? map.OK : map.ERR_MAC);
    }
    wasm.maskHello(map.INBOX, len, 28);
    wasm.poly1305Tag(map.INBOX, len);
    wasm.salsa20Xor(map.INBOX, len, 0, 20);
    t.is(wasm.sivSeal(map.INBOX, len), map.OK);
    t.is(wasm.sivOpen(map.INBOX, len), map.OK);
    t.is(wasm.sivOpen(map.INBOX, len), map.ERR_MAC);
    t.true(isZero(map.SECRETS, map.SECRETS_END), `secrets at ${len}`);
    t.true(isZero(map.STREAM, map.STREAM + map.STREAM_LEN), `stream at ${len}`);
    t.true(isZero(map.SIV_SCRATCH, map.SIV_SCRATCH_END), `siv at ${len}`);
    t.true(isZero(map.SIV_RAW, map.SIV_RAW + map.SIV_RAW_LEN), `raw keys at ${len}`);
    t.true(isZero(map.ZEROS, map.ZEROS + map.KEYSTREAM_LEN), 'the zeros stay zero');
  }
});

test('nothing outside the range given is written', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: map.HEADER_LEN, max: map.PACKET_MAX_LEN }),
      fc.integer({ min: 1, max: 200 }),
      fc.constantFrom('seal0', 'seal1', 'siv', 'mask', 'salsa') as fc.Arbitrary<string>,
      (len, offset, what) => {
        const p = map.INBOX + offset;
        memory.fill(0xa5, map.INBOX, map.INBOX + len + 512);
        scribble(p, len);
        if (what === 'seal0' || what === 'seal1') wasm.seal(p, len, what === 'seal1' ? 1 : 0);
        else if (what === 'siv') wasm.sivSeal(p, len);
        else if (what === 'mask') wasm.maskHello(p, len, map.HEADER_LEN);
        else wasm.salsa20Xor(p, len, 0, 12);
        const guard = (b: number) => b === 0xa5;
        t.true(memory.subarray(map.INBOX, p).every(guard), `${what} ${len}: before`);
        t.true(memory.subarray(p + len, map.INBOX + len + 512).every(guard), `${what}: after`);
      },
    ),
    { numRuns: 200 },
  );
});
