import test from 'ava';
import { fromHex, toHex } from '#src/lib/hex.js';
import {
  emitAccept,
  emitHello,
  emitReply,
  emitRequest,
  emitWelcome,
  HELLO_LEN,
  Op,
  parseAddress,
  parseHello,
  parseRequestHeader,
  parseUpstream,
  putEndpoint,
  RequestFlag,
  tokenAt,
} from '#src/preload/protocol.js';

const plain = (text: string) => text.replaceAll(' ', '');
const TOKEN_HEX = '00112233445566778899aabbccddeeff';
const TOKEN = tokenAt(fromHex(TOKEN_HEX), 0);

// The examples of the protocol's description, byte for byte.
const HELLO_HEX = plain(
  '5a544e43 01000200 00112233445566778899aabbccddeeff 0000000000000000 9210000004010600' +
    '00000000000000000000000000000000 0000000000000000',
);
const CONNECT_HEX = plain(
  '3c000000 0400 0000 07000000 00000000 00112233445566778899aabbccddeeff' +
    '04000050000000000a930109000000000000000000000000 00000000',
);

test('HELLO parses as documented and is emitted as the same bytes', (t) => {
  const hello = parseHello(fromHex(HELLO_HEX));
  t.truthy(hello);
  t.is(hello?.kind, 2);
  t.is(hello?.pid, 4242);
  t.is(hello?.family, 4);
  t.is(hello?.protocol, 6);
  t.is(hello?.token, TOKEN);
  t.is(hello?.key, undefined);
  const out = new Uint8Array(HELLO_LEN);
  emitHello(hello!, out);
  t.is(toHex(out), HELLO_HEX);
});

test('HELLO of every shorter length and with every magic byte changed is refused', (t) => {
  const good = fromHex(HELLO_HEX);
  for (let len = 0; len < HELLO_LEN; len++) t.is(parseHello(good.subarray(0, len)), undefined);
  for (let i = 0; i < 4; i++) {
    const bad = good.slice();
    bad[i]! ^= 1;
    t.is(parseHello(bad), undefined);
  }
});

test('CONNECT and PADDED requests parse as documented', (t) => {
  const bytes = fromHex(CONNECT_HEX);
  t.deepEqual(parseRequestHeader(bytes), {
    len: 60,
    op: Op.connect,
    noReply: false,
    noPark: false,
    seq: 7,
    token: TOKEN,
  });
  const a = parseAddress(bytes, 32);
  t.deepEqual([a?.family, a?.port, [...(a?.ip ?? [])]], [4, 80, [10, 147, 1, 9]]);
  t.is(toHex(emitRequest(Op.connect, 7, TOKEN, bytes.subarray(32))), CONNECT_HEX);
  const padded = fromHex(plain(`24000000 0500 0100 08000000 00000000 ${TOKEN_HEX} 00d00000`));
  t.deepEqual(parseRequestHeader(padded), {
    len: 36,
    op: Op.padded,
    noReply: true,
    noPark: false,
    seq: 8,
    token: TOKEN,
  });
  const { noReply, noPark } = RequestFlag;
  const both = parseRequestHeader(
    emitRequest(Op.setOpt, 9, TOKEN, new Uint8Array(0), noReply | noPark),
  );
  t.deepEqual([both?.noReply, both?.noPark], [true, true]);
});

test('replies STARTED and ECONNREFUSED are emitted as documented', (t) => {
  t.is(toHex(emitReply(Op.connect, 7, 0)), plain('10000000 0480 0000 07000000 00000000'));
  t.is(toHex(emitReply(Op.connect, 7, -111)), plain('10000000 0480 0000 07000000 91ffffff'));
});

test('a request whose length is out of range is refused', (t) => {
  for (const len of [0, 31, 65569, 0xffffffff]) {
    const bytes = fromHex(CONNECT_HEX);
    new DataView(bytes.buffer).setUint32(0, len, true);
    t.is(parseRequestHeader(bytes), undefined, String(len));
  }
  t.is(parseRequestHeader(fromHex(CONNECT_HEX).subarray(0, 31)), undefined);
});

test('WELCOME holds its fields at their offsets', (t) => {
  const bytes = emitWelcome({
    capabilities: 8,
    instanceId: 0x1122334455667788n,
    nwid: 0x8056c2e21c000001n,
    policy: 0,
    datagramMax: 2772,
    pid: 99,
  });
  const want = '5a544e53 0100 0800 8877665544332211 0100001ce2c25680 00000000 d40a0000 63000000';
  t.is(toHex(bytes.subarray(0, 36)), plain(want));
  t.is(bytes.length, 64);
  t.true(bytes.subarray(36).every((b) => b === 0));
});

test('ztaddr keeps IPv4 in the first four bytes and rejects unknown families and short input', (t) => {
  const out = new Uint8Array(24).fill(0xaa);
  putEndpoint({ ip: Uint8Array.of(10, 147, 1, 9), port: 80 }, out, 0);
  t.is(toHex(out), plain('04000050000000000a930109000000000000000000000000'));
  putEndpoint(undefined, out, 0);
  t.true(out.every((b) => b === 0));
  t.is(parseAddress(out, 0)?.family, 0);
  out[0] = 5;
  t.is(parseAddress(out, 0), undefined);
  t.is(parseAddress(out.subarray(0, 23), 0), undefined);
});

test('the accept record and the listener answers follow their layout', (t) => {
  const peer = { ip: Uint8Array.of(10, 1, 2, 3), port: 40000 };
  const local = { ip: Uint8Array.of(10, 147, 17, 1), port: 80 };
  const record = emitAccept('12345678', peer, local);
  t.is(record.length, 64);
  t.is(toHex(record.subarray(0, 16)), plain('5a544e41 00000000 3132333435363738'));
  t.is(parseAddress(record, 16)?.port, 40000);
  t.is(parseAddress(record, 40)?.port, 80);
  const answer = fromHex(plain('5a544e52 01000000 3132333435363738'));
  t.deepEqual(parseUpstream(answer, 0), { op: 'requeue', connectionId: '12345678' });
  answer[4] = 2;
  t.is(parseUpstream(answer, 0)?.op, 'reject');
  answer[4] = 3;
  t.is(parseUpstream(answer, 0), undefined);
  t.is(parseUpstream(answer.subarray(0, 15), 0), undefined);
});
