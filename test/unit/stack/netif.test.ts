import test from 'ava';
import { groupsOf, linkLocalOf } from '#src/stack/netif.js';
import {
  A4,
  A6,
  any,
  B4,
  B6,
  expectClean,
  type Frame,
  ip4,
  ip6,
  MAC_A,
  MAC_B,
  on,
  Peer,
  pattern,
  Server,
  World,
} from './world.js';

const BROADCAST = new Uint8Array(6).fill(0xff);
const ARP = 0x0806;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;

function arpRequest(senderMac: Uint8Array, sender: Uint8Array, target: Uint8Array): Frame {
  const payload = Uint8Array.of(
    ...[0, 1, 8, 0, 6, 4, 0, 1],
    ...senderMac,
    ...sender,
    ...new Uint8Array(6),
    ...target,
  );
  return { dst: BROADCAST, src: senderMac, etherType: ARP, payload };
}

/** RFC 1071, the obvious way. */
function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value & 0xff;
}

function ipv4(src: Uint8Array, dst: Uint8Array, proto: number, body: Uint8Array): Uint8Array {
  const header = Uint8Array.of(0x45, 0, 0, 0, 0, 1, 0, 0, 64, proto, 0, 0, ...src, ...dst);
  put16(header, 2, 20 + body.length);
  put16(header, 10, checksum(header));
  return Uint8Array.of(...header, ...body);
}

function echoRequest(id: number, seq: number, data: Uint8Array): Uint8Array {
  const icmp = Uint8Array.of(8, 0, 0, 0, id >> 8, id & 0xff, seq >> 8, seq & 0xff, ...data);
  put16(icmp, 2, checksum(icmp));
  return icmp;
}

/** What `a` sends in answer to a hand-made frame; the wire carries nothing to `b`. */
function answers(world: World, frame: Frame): Frame[] {
  const out: Frame[] = [];
  world.filter = (f, from) => {
    if (from === world.a) out.push(f);
    return undefined;
  };
  world.inject(world.a, frame);
  return out;
}

test('ARP requests for own addresses are answered, others are not', (t) => {
  const world = new World();
  const [reply, ...rest] = answers(world, arpRequest(MAC_B, B4, A4));
  t.is(rest.length, 0);
  t.is(reply?.etherType, ARP);
  t.deepEqual(reply?.dst, MAC_B);
  t.deepEqual(reply?.src, MAC_A);
  t.deepEqual(
    reply?.payload.slice(0, 28),
    Uint8Array.of(...[0, 1, 8, 0, 6, 4, 0, 2], ...MAC_A, ...A4, ...MAC_B, ...B4),
  );
  t.deepEqual(answers(world, arpRequest(MAC_B, B4, ip4('10.0.0.9'))), []);
});

test('a hand-made ping is answered with the same data', (t) => {
  const world = new World();
  answers(world, arpRequest(MAC_B, B4, A4));
  const icmp = echoRequest(77, 3, pattern(1000));
  const ping = { dst: MAC_A, src: MAC_B, etherType: IPV4, payload: ipv4(B4, A4, 1, icmp) };
  const [pong] = answers(world, ping);
  t.deepEqual(pong?.dst, MAC_B);
  const body = pong?.payload.slice(20) ?? new Uint8Array(0);
  t.is(body[0], 0);
  t.is(checksum(body), 0);
  t.is(checksum(pong?.payload.slice(0, 20) ?? new Uint8Array(1)), 0);
  t.deepEqual(body.slice(4), icmp.slice(4));
});

test('broadcast pings are not answered', (t) => {
  const world = new World();
  const icmp = echoRequest(1, 1, pattern(8));
  const payload = ipv4(B4, ip4('10.0.0.255'), 1, icmp);
  t.deepEqual(answers(world, { dst: BROADCAST, src: MAC_B, etherType: IPV4, payload }), []);
});

test('an echo socket gets the replies to its identifier', (t) => {
  const world = new World();
  const got: [Uint8Array, Uint8Array][] = [];
  const sink = { onReply: (m: Uint8Array, from: Uint8Array) => got.push([m.slice(), from]) };
  t.is(world.a.echoOpen(world.at, 4, 9, sink), undefined);
  t.is(world.a.echoOpen(world.at, 4, 9, sink), 'EADDRINUSE');
  t.is(world.a.echoOpen(world.at, 6, 9, sink), undefined);
  const request = echoRequest(9, 1, pattern(56));
  t.is(world.a.echoSend(world.at, B4, request), undefined);
  const request6 = Uint8Array.of(128, ...request.slice(1));
  t.is(world.a.echoSend(world.at, B6, request6), undefined);
  t.is(world.a.echoSend(world.at, B6, request), 'EINVAL');
  t.is(world.a.echoSend(world.at, ip4('172.16.0.1'), request), 'ENETUNREACH');
  t.true(world.run(() => got.length === 2));
  t.is(got[0]?.[0][0], 0);
  t.is(got[1]?.[0][0], 129);
  t.deepEqual(got[0]?.[1], B4);
  t.deepEqual(got[0]?.[0].slice(4), request.slice(4));
  world.a.echoClose(world.at, 4, 9);
  world.a.echoSend(world.at, B4, request);
  world.pass(100);
  t.is(got.length, 2);
  expectClean(t, world);
});

test('frames for other stations, other types and spoofed sources are dropped and counted', (t) => {
  const world = new World();
  const payload = ipv4(B4, A4, 1, echoRequest(1, 1, pattern(8)));
  answers(world, { dst: MAC_B, src: MAC_B, etherType: IPV4, payload });
  answers(world, { dst: MAC_A, src: MAC_B, etherType: 0x1234, payload });
  answers(world, { dst: MAC_A, src: MAC_B, etherType: IPV6, payload });
  answers(world, { dst: MAC_A, src: MAC_B, etherType: ARP, payload: payload.slice(0, 20) });
  answers(world, { dst: MAC_A, src: MAC_B, etherType: IPV4, payload: new Uint8Array(0) });
  answers(world, { dst: MAC_A, src: MAC_B, etherType: IPV4, payload: new Uint8Array(10241) });
  for (const src of [A4, ip4('127.0.0.1')]) {
    const spoofed = ipv4(src, A4, 1, echoRequest(1, 1, pattern(8)));
    t.deepEqual(answers(world, { dst: MAC_A, src: MAC_B, etherType: IPV4, payload: spoofed }), []);
  }
  const loop = ipv4(B4, ip4('127.0.0.1'), 1, echoRequest(1, 1, pattern(8)));
  t.deepEqual(answers(world, { dst: MAC_A, src: MAC_B, etherType: IPV4, payload: loop }), []);
  const c = world.a.counters();
  t.is(c['dropFrameDst'], 1);
  t.is(c['dropFrameType'], 2);
  t.is(c['dropFrameShort'], 3);
  t.is(c['dropFrameSource'], 2);
});

test('damaged checksums are dropped and counted by layer', (t) => {
  const world = new World();
  const flip = (bytes: Uint8Array, at: number): Uint8Array => {
    const out = bytes.slice();
    out[at] = (out[at] ?? 0) ^ 1;
    return out;
  };
  const good = ipv4(B4, A4, 1, echoRequest(1, 1, pattern(8)));
  answers(world, { dst: MAC_A, src: MAC_B, etherType: IPV4, payload: flip(good, 8) });
  t.is(world.a.counters()['ipChecksum'], 1);
  answers(world, { dst: MAC_A, src: MAC_B, etherType: IPV4, payload: flip(good, 30) });
  t.is(world.a.counters()['icmpChecksum'], 1);
  world.filter = (f, from) =>
    from === world.a && f.etherType !== ARP && f.payload.length > 60
      ? { ...f, payload: flip(f.payload, f.payload.length - 1) }
      : f;
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80));
  client.send(1000);
  world.pass(500);
  t.is(server.peers[0]?.received ?? 0, 0);
  t.true((world.b.counters()['tcpChecksum'] ?? 0) > 0);
  world.filter = (f) => f;
  t.true(world.run(() => server.peers[0]?.received === 1000));
  expectClean(t, world, client, server.peer, server);
});

test('routes through a gateway are followed, the longest prefix wins', (t) => {
  const world = new World();
  const far = ip4('172.16.5.5');
  const route = (target: string, prefixLen: number, via: Uint8Array | undefined) => ({
    target: ip4(target),
    prefixLen,
    via,
  });
  world.a.configure(world.at, {
    mtu: 2800,
    addresses: [{ ip: A4, prefixLen: 24 }],
    routes: [
      route('172.16.0.0', 12, ip4('10.0.0.200')),
      route('172.16.5.0', 24, B4),
      route('192.168.0.0', 16, undefined),
    ],
  });
  world.b.configure(world.at, {
    mtu: 2800,
    addresses: [
      { ip: B4, prefixLen: 24 },
      { ip: far, prefixLen: 32 },
      { ip: ip4('192.168.7.7'), prefixLen: 16 },
    ],
    routes: [],
  });
  t.deepEqual(world.a.sourceFor(far), A4);
  t.is(world.a.sourceFor(ip4('8.8.8.8')), undefined);
  world.keepFrames = true;
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(far, 80));
  const onLink = new Peer(world, world.a).connect(on(ip4('192.168.7.7'), 80));
  t.true(world.run(() => client.isConnected && onLink.isConnected));
  const asked = world.sniffed
    .filter((f) => f.etherType === ARP && f.payload[7] === 1 && f.src[5] === 0xa)
    .map((f) => f.payload.slice(24, 28).join('.'));
  t.true(asked.includes('10.0.0.2') && asked.includes('192.168.7.7'), asked.join(' '));
  t.false(asked.includes('172.16.5.5') || asked.includes('10.0.0.200'));
  expectClean(t, world, client, onLink, ...server.peers, server);
});

test('several IPv4 addresses are all reachable and usable as sources', (t) => {
  const world = new World();
  const second = ip4('10.0.1.1');
  const third = ip4('10.0.0.3');
  world.a.configure(world.at, {
    mtu: 2800,
    addresses: [
      { ip: A4, prefixLen: 24 },
      { ip: second, prefixLen: 24 },
      { ip: third, prefixLen: 24 },
    ],
    routes: [],
  });
  world.b.configure(world.at, {
    mtu: 2800,
    addresses: [
      { ip: B4, prefixLen: 24 },
      { ip: ip4('10.0.1.2'), prefixLen: 24 },
    ],
    routes: [],
  });
  const server = new Server(world, world.a, any(80));
  const back = new Server(world, world.b, any(80));
  const clients = [A4, second, third].map((ip) => new Peer(world, world.b).connect(on(ip, 80)));
  const fromThird = new Peer(world, world.a).connect(on(B4, 80), on(third, 0));
  const all = [...clients, fromThird];
  t.true(world.run(() => all.every((c) => c.isConnected) && back.peers.length === 1));
  t.deepEqual(world.b.tcpNames(back.peer.handle!)?.remote.ip, third);
  t.deepEqual(world.a.sourceFor(ip4('10.0.1.2')), second);
  t.true([A4, second, third].every((ip) => world.a.isLocal(ip)));
  expectClean(t, world, ...clients, fromThird, ...server.peers, ...back.peers, server, back);
});

test('removing an address resets its connections and leaves the others', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80));
  const four = new Peer(world, world.a).connect(on(B4, 80));
  const six = new Peer(world, world.a).connect(on(B6, 80));
  t.true(world.run(() => four.isConnected && six.isConnected));
  const v6Only = { mtu: 2800, addresses: [{ ip: A6, prefixLen: 64 }], routes: [] };
  world.a.configure(world.at, v6Only);
  world.flush();
  t.is(four.error, 'ECONNRESET');
  t.is(six.error, undefined);
  t.false(world.a.isLocal(A4));
  t.is(world.a.tcpConnect(world.at, undefined, on(B4, 80), four), 'ENETUNREACH');
  six.send(1000);
  t.true(world.run(() => server.peers.some((p) => p.received === 1000)));
  expectClean(t, world, six, ...server.peers, server);
});

test('a changed MTU is followed by new connections', (t) => {
  const world = new World();
  const config = { mtu: 1400, addresses: [{ ip: A4, prefixLen: 24 }], routes: [] };
  world.a.configure(world.at, config);
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80));
  t.true(world.run(() => client.isConnected));
  t.is(world.a.tcpInfo(client.handle!)?.sendMss, 1400 - 40 - 12);
  expectClean(t, world, client, ...server.peers, server);
});

test('configurations out of range are refused with RangeError', (t) => {
  const { a, at } = new World();
  const base = { mtu: 2800, addresses: [], routes: [] };
  t.throws(() => a.configure(at, { ...base, mtu: 500 }), { instanceOf: RangeError });
  t.throws(() => a.configure(at, { ...base, mtu: 20000 }), { instanceOf: RangeError });
  const bad = [{ ip: A4, prefixLen: 33 }];
  t.throws(() => a.configure(at, { ...base, addresses: bad }), { instanceOf: RangeError });
  const route = [{ target: A4, prefixLen: 24, via: A6 }];
  t.throws(() => a.configure(at, { ...base, routes: route }), { instanceOf: RangeError });
});

test('the groups are those a kernel interface would join', (t) => {
  const mac = Uint8Array.of(0x02, 0x11, 0x22, 0x33, 0x44, 0x55);
  t.deepEqual(linkLocalOf(mac), ip6('fe80::11:22ff:fe33:4455'));
  const groups = groupsOf(mac, [
    { ip: ip4('10.147.1.9'), prefixLen: 24 },
    { ip: ip6('fd00::1:2:3'), prefixLen: 64 },
    { ip: ip6('fd01::1:2:3'), prefixLen: 64 },
  ]);
  const text = groups.map((g) => `${Buffer.from(g.mac).toString('hex')}/${g.adi}`);
  t.deepEqual(text, [
    '01005e000001/0',
    '333300000001/0',
    '3333ff334455/0',
    `ffffffffffff/${(10 * 2 ** 24 + (147 << 16) + (1 << 8) + 9).toString()}`,
    '3333ff020003/0',
  ]);
});

test('isLocal knows own, loopback and foreign addresses', (t) => {
  const { a } = new World();
  const local = [A4, A6, ip4('127.0.0.1'), ip4('127.9.9.9'), ip6('::1'), linkLocalOf(MAC_A)];
  t.true(local.every((ip) => a.isLocal(ip)));
  const foreign = [B4, B6, ip4('0.0.0.0'), new Uint8Array(3)];
  t.false(foreign.some((ip) => a.isLocal(ip)));
});

test('an idle stack wakes at most once a second; deadlines are never in the past', (t) => {
  const world = new World();
  let wakes = 0;
  const end = world.at.mono + 60_000;
  while (world.at.mono < end) {
    t.true(world.a.deadline() >= world.at.mono);
    world.step();
    wakes++;
  }
  t.true(wakes <= 2 * 61, `${wakes} wake-ups of two stacks`);
});
