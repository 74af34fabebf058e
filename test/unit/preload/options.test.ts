import test from 'ava';
import { type DatagramOptionContext, DatagramOptions } from '#src/preload/datagram-options.js';
import { type OptionContext, SocketOptions } from '#src/preload/options.js';
import { int32 } from '#test/helpers/preload-client.js';

const FRESH: OptionContext = {
  isFresh: true,
  isConnected: false,
  interfaceNamed: (name: string) => ({ '': 0, lo: 1, zt1: 2 })[name],
  mtu: 2800,
  tcpState: 7,
  info: undefined,
  unsentLen: 0,
};

function value(options: SocketOptions, level: number, name: number, context = FRESH): number {
  const bytes = options.get(level, name, context);
  if (typeof bytes === 'string') throw new Error(bytes);
  return Buffer.from(bytes).readInt32LE(0);
}

test('int options are 0 or their default, then what was set', (t) => {
  const o = new SocketOptions();
  t.is(value(o, 6, 4), 7200);
  t.is(o.set(6, 4, int32(30), FRESH), 0);
  t.is(value(o, 6, 4), 30);
  t.is(o.set(6, 3, int32(7), FRESH), 0);
  t.is(value(o, 6, 3), 1, 'cork reads as 0 or 1');
  t.true(o.corked);
});

test('values out of range are EINVAL and change nothing', (t) => {
  const o = new SocketOptions();
  for (const [level, name, bad] of [
    [6, 4, 0],
    [6, 4, 32768],
    [6, 6, 128],
    [0, 2, 256],
    [0, 2, 0],
    [6, 2, 50],
  ] as const) {
    t.is(o.set(level, name, int32(bad), FRESH), -22, `${level}/${name}=${bad}`);
  }
  t.is(value(o, 0, 2), 64);
  t.is(o.set(6, 1, new Uint8Array(3), FRESH), -22, 'shorter than an int');
});

test('unknown options are ENOPROTOOPT both ways', (t) => {
  const o = new SocketOptions();
  t.is(o.set(6, 999, int32(1), FRESH), -92);
  t.is(o.get(6, 999, FRESH), 'ENOPROTOOPT');
});

test('linger {1, 0} resets on close, {1, 5} does not', (t) => {
  const o = new SocketOptions();
  t.false(o.resetsOnClose);
  t.is(o.set(1, 13, int32(1, 0), FRESH), 0);
  t.true(o.resetsOnClose);
  t.is(o.set(1, 13, int32(1, 5), FRESH), 0);
  t.false(o.resetsOnClose);
  t.deepEqual(o.get(1, 13, FRESH), int32(1, 5));
  t.is(o.set(1, 13, int32(1), FRESH), -22);
});

test('V6ONLY is fixed once the socket is bound', (t) => {
  const o = new SocketOptions();
  t.is(o.set(41, 26, int32(1), { ...FRESH, isFresh: false }), -22);
  t.is(o.set(41, 26, int32(1), FRESH), 0);
  t.true(o.v6Only);
});

test('only the congestion control reno exists', (t) => {
  const o = new SocketOptions();
  t.is(o.set(6, 13, Buffer.from('cubic'), FRESH), -2);
  t.is(o.set(6, 13, Buffer.from('reno\0'), FRESH), 0);
  t.is(Buffer.from(o.get(6, 13, FRESH) as Uint8Array).toString('latin1', 0, 5), 'reno\0');
});

test('a device is the virtual interface, lo, or cleared', (t) => {
  const o = new SocketOptions();
  t.is((o.get(1, 25, FRESH) as Uint8Array).length, 0);
  t.is(o.set(1, 25, Buffer.from('eth0\0'), FRESH), -19);
  t.is(o.set(1, 25, Buffer.from('zt1\0'), FRESH), 0);
  t.is(Buffer.from(o.get(1, 25, FRESH) as Uint8Array).toString(), 'zt1\0');
  t.is(o.set(1, 25, new Uint8Array(0), FRESH), 0);
  t.is((o.get(1, 25, FRESH) as Uint8Array).length, 0);
});

test('keep-alive options become stack options in milliseconds', (t) => {
  const o = new SocketOptions();
  const others = {
    ttl: 64,
    tos: 0,
    sendMax: 0,
    receiveMax: 0,
    userTimeoutMs: 0,
    synCount: 6,
  };
  t.deepEqual(o.tcp(), { noDelay: false, keepAlive: false, ...others });
  o.set(1, 9, int32(1), FRESH);
  o.set(6, 4, int32(10), FRESH);
  o.set(6, 1, int32(1), FRESH);
  t.deepEqual(o.tcp(), {
    noDelay: true,
    keepAlive: { idleMs: 10_000, intervalMs: 75_000, count: 9 },
    ...others,
  });
});

test('TCP_INFO has state, times in microseconds and segments at their offsets', (t) => {
  const o = new SocketOptions();
  const info = {
    state: 4,
    rtoMs: 200,
    rttUs: 3_000,
    rttVarUs: 700,
    sendMss: 1460,
    congestionWindow: 14600,
    slowStartThreshold: 0xffffffff,
    unacked: 1461,
    unsent: 99,
    receiveWindow: 65_535,
    retransmits: 2,
    timestamps: true,
    sack: true,
    sendScale: 7,
    receiveScale: 5,
    bytesAcked: 2 ** 33,
    bytesReceived: 5,
  };
  const bytes = Buffer.from(o.get(6, 11, { ...FRESH, tcpState: 1, info }) as Uint8Array);
  t.is(bytes[0], 1);
  t.is(bytes[2], 2);
  t.is(bytes[5], 7);
  t.is(bytes[6], 0x57);
  t.is(bytes.readUInt32LE(8), 200_000);
  t.is(bytes.readUInt32LE(16), 1460);
  t.is(bytes.readUInt32LE(24), 2);
  t.is(bytes.readUInt32LE(60), 2800);
  t.is(bytes.readUInt32LE(68), 3000);
  t.is(bytes.readUInt32LE(72), 700);
  t.is(bytes.readUInt32LE(76), 0x7fffffff);
  t.is(bytes.readUInt32LE(80), 10);
  t.is(bytes.readBigUInt64LE(120), 2n ** 33n);
  t.is(bytes.readBigUInt64LE(128), 5n);
  t.is(bytes.readUInt32LE(144), 99);
  const fresh = Buffer.from(o.get(6, 11, { ...FRESH, tcpState: 7 }) as Uint8Array);
  t.is(fresh[0], 7);
  t.is(fresh.readUInt32LE(80), 10);
  t.is(value(o, 6, 0x5411, { ...FRESH, info, unsentLen: 7 }), 7, 'SIOCOUTQ');
});

test('IP_MTU needs a connection; an accepted socket starts with a copy of the options', (t) => {
  const o = new SocketOptions();
  t.is(o.get(0, 14, FRESH), 'ENOTCONN');
  t.is(value(o, 0, 14, { ...FRESH, isConnected: true }), 2800);
  o.set(6, 1, int32(1), FRESH);
  const copy = o.clone();
  o.set(6, 1, int32(0), FRESH);
  t.is(value(copy, 6, 1), 1);
});

test('IPV6_MTU takes what Linux takes and is the network’s when connected', (t) => {
  const datagram: DatagramOptionContext = {
    family: 6,
    isFresh: true,
    isConnected: false,
    interfaceNamed: FRESH.interfaceNamed,
    hasInterface: (index) => index === 2,
    mtu: 2800,
    isLocal: () => false,
  };
  for (const [o, context] of [
    [new SocketOptions(), FRESH],
    [new DatagramOptions(), datagram],
  ] as const) {
    const set = (v: number) => o.set(41, 24, int32(v), context as never);
    for (const v of [0, 1280, 70_000]) t.is(set(v), 0, `${v}`);
    for (const v of [1, 1279, -1]) t.is(set(v), -22, `${v}`);
    t.is(o.get(41, 24, context as never), 'ENOTCONN');
    t.deepEqual(o.get(41, 24, { ...context, isConnected: true } as never), int32(2800));
  }
});
