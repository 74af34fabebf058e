/**
 * Frames from a hostile network: whatever arrives, the stack drops it or answers it, never traps, and
 * gives all memory back. Seeds are fixed; STACK_FUZZ_SEED and STACK_FUZZ_ROUNDS widen the search.
 */
import test from 'ava';
import {
  any,
  B4,
  B6,
  expectClean,
  type Frame,
  generator,
  leftovers,
  MAC_A,
  MAC_B,
  on,
  Peer,
  pattern,
  Server,
  World,
} from './world.js';

const SEED = Number(process.env['STACK_FUZZ_SEED'] ?? 20240601);
const ROUNDS = Number(process.env['STACK_FUZZ_ROUNDS'] ?? 20_000);

/** Frames of every kind the stack can meet, recorded from real exchanges. */
function corpus(): Frame[] {
  const world = new World({ mtu: 1280 });
  world.keepFrames = true;
  const server = new Server(world, world.b, any(80), { each: (p) => p.send(20_000, 'shutdown') });
  const clients = [B4, B6].map((ip) => new Peer(world, world.a).connect(on(ip, 80)));
  for (const c of clients) c.send(20_000, 'shutdown');
  const udp = world.a.udpOpen(world.at, any(0), false, { onDatagram() {} });
  if (typeof udp === 'number') {
    for (const ip of [B4, B6]) world.a.udpSend(world.at, udp, on(ip, 9), pattern(3000));
  }
  const echo = Uint8Array.of(8, 0, 0, 0, 0, 1, 0, 1, ...pattern(32));
  world.a.echoSend(world.at, B4, echo);
  echo[0] = 128;
  world.a.echoSend(world.at, B6, echo);
  world.run(() => clients.every((c) => c.hasFin));
  for (const p of [...clients, ...server.peers]) p.close();
  world.pass(1000);
  return world.sniffed;
}

/** Changes some bytes, the length, or the addresses of a frame; sometimes repairs checksums. */
function mutate(frame: Frame, random: () => number): Frame {
  let payload = frame.payload.slice();
  const flips = 1 + Math.floor(random() * 4);
  for (let i = 0; i < flips; i++) {
    const at = Math.floor(
      random() * Math.min(payload.length, random() < 0.8 ? 64 : payload.length),
    );
    const how = random();
    payload[at] = how < 0.4 ? (payload[at] ?? 0) ^ (1 << Math.floor(random() * 8)) : random() * 256;
  }
  if (random() < 0.2) payload = payload.slice(0, Math.floor(random() * payload.length));
  if (random() < 0.8) repair(frame.etherType, payload);
  const toA = frame.dst[5] === MAC_A[5] || random() < 0.5;
  const dst = random() < 0.1 ? new Uint8Array(6).fill(0xff) : toA ? MAC_A : MAC_B;
  return { ...frame, dst, payload };
}

function sum16(bytes: Uint8Array, from: number, to: number, start = 0): number {
  let sum = start;
  for (let i = from; i < to; i += 2)
    sum += ((bytes[i] ?? 0) << 8) | (i + 1 < to ? (bytes[i + 1] ?? 0) : 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

function put(bytes: Uint8Array, at: number, value: number): void {
  if (at + 1 >= bytes.length) return;
  bytes[at] = value >> 8;
  bytes[at + 1] = value & 0xff;
}

/** Makes the checksums right again, so that the mutation gets past them. */
function repair(etherType: number, p: Uint8Array): void {
  const v6 = etherType === 0x86dd;
  if (etherType !== 0x0800 && !v6) return;
  const header = v6 ? 40 : ((p[0] ?? 0) & 15) * 4;
  if (p.length < header + 8 || header < 20) return;
  if (!v6) {
    put(p, 10, 0);
    put(p, 10, ~sum16(p, 0, header) & 0xffff);
  }
  const proto = p[v6 ? 6 : 9] ?? 0;
  const offset = { 1: 2, 6: 16, 17: 6, 58: 2 }[proto];
  if (offset === undefined) return;
  put(p, header + offset, 0);
  const pseudo = proto === 1 ? 0 : sum16(p, v6 ? 8 : 12, header, proto + p.length - header);
  put(p, header + offset, ~sum16(p, header, p.length, pseudo) & 0xffff);
}

test('mutations of valid frames never trap, and leave nothing behind', (t) => {
  const frames = corpus();
  t.true(frames.length > 100);
  const random = generator(SEED);
  const world = new World({ mtu: 1280 });
  const servers = [world.a, world.b].map((s) => new Server(world, s, any(80)));
  world.filter = () => undefined;
  for (let i = 0; i < ROUNDS; i++) {
    const base = frames[Math.floor(random() * frames.length)];
    if (base === undefined) return t.fail();
    const frame = mutate(base, random);
    const to = frame.dst[5] === MAC_B[5] ? world.b : world.a;
    t.notThrows(() => world.inject(to, frame), `seed ${SEED}, round ${i}`);
    if (i % 500 === 0) world.pass(1000);
  }
  for (const s of servers) for (const p of s.peers) p.close();
  expectClean(t, world, ...servers);
});

test('mutated segments of a live connection reset or leave it, and never trap', (t) => {
  const random = generator(SEED + 1);
  for (let run = 0; run < 20; run++) {
    const world = new World({ latencyMs: 1 });
    world.filter = (f) => (random() < 0.05 ? mutate(f, random) : f);
    const server = new Server(world, world.b, any(80), {
      each: (p) => p.send(100_000, 'shutdown'),
    });
    const client = new Peer(world, world.a).connect(on(run % 2 === 0 ? B4 : B6, 80));
    client.send(100_000, 'shutdown');
    t.notThrows(() => world.run(() => client.hasFin || client.error !== undefined, 30_000));
    expectClean(t, world, client, ...server.peers, server);
  }
});

test('pure noise is dropped', (t) => {
  const random = generator(SEED + 2);
  const world = new World();
  world.filter = () => undefined;
  for (let i = 0; i < 5000; i++) {
    const payload = Uint8Array.from({ length: 1 + random() * 200 }, () => random() * 256);
    const etherType = [0x0800, 0x0806, 0x86dd][Math.floor(random() * 3)] ?? 0;
    if (random() < 0.7) payload[0] = etherType === 0x0800 ? 0x45 : 0x60;
    if (random() < 0.7) repair(etherType, payload);
    t.notThrows(() => world.inject(world.a, { dst: MAC_A, src: MAC_B, etherType, payload }));
  }
  expectClean(t, world);
});

test('a SYN flood is bounded by the backlog and times out', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80), { backlog: 64 });
  world.keepFrames = true;
  const client = new Peer(world, world.a).connect(on(B4, 80));
  t.true(world.run(() => client.isConnected && server.peers.length === 1));
  const syn = world.sniffed.find((f) => f.etherType === 0x0800 && f.payload[33] === 2);
  if (syn === undefined) return t.fail();
  world.filter = () => undefined;
  for (let i = 0; i < 5000; i++) {
    const payload = syn.payload.slice();
    put(payload, 20, 1024 + i);
    repair(0x0800, payload);
    world.inject(world.b, { ...syn, payload });
  }
  t.is(world.b.counters()['tcpActiveUsed'], 64 + 1);
  t.is(world.b.counters()['dropSynBacklog'], 5000 - 64);
  world.pass(60_000);
  t.is(world.b.counters()['tcpActiveUsed'], 1);
  expectClean(t, world, client, server.peer, server);
});

test('a flood of one-byte segments out of order stays within bounds', (t) => {
  const world = new World();
  world.keepFrames = true;
  const server = new Server(world, world.b, any(80));
  const client = new Peer(world, world.a).connect(on(B4, 80));
  t.true(world.run(() => client.isConnected && server.peers.length === 1));
  client.send(1);
  t.true(world.run(() => server.peer.received === 1));
  const data = world.sniffed.find(
    (f) => f.etherType === 0x0800 && f.payload.length === 20 + 32 + 1,
  );
  if (data === undefined) return t.fail();
  const before = world.b.counters()['heapBytes'] ?? 0;
  const seq = new DataView(data.payload.buffer, data.payload.byteOffset).getUint32(24);
  world.filter = () => undefined;
  for (let i = 0; i < 20_000; i++) {
    const payload = data.payload.slice();
    new DataView(payload.buffer).setUint32(24, (seq + 3 + 2 * i) >>> 0);
    repair(0x0800, payload);
    world.inject(world.b, { ...data, payload });
  }
  const grown = (world.b.counters()['heapBytes'] ?? 0) - before;
  t.true(grown < 1024 * 1024, `${grown} bytes`);
  t.is(server.peer.received, 1);
  expectClean(t, world, client, server.peer, server);
});

test('spoofed fragments do not exhaust reassembly, and expire', (t) => {
  const random = generator(SEED + 3);
  const world = new World();
  world.filter = () => undefined;
  for (let i = 0; i < 3000; i++) {
    const payload = new Uint8Array(20 + 600);
    payload.set([0x45, 0, 2, 0x6c, i >> 8, i & 0xff, 0x20, random() * 50, 64, 17]);
    payload.set(B4, 12);
    payload.set([10, 0, 0, 1], 16);
    put(payload, 10, ~sum16(payload, 0, 20) & 0xffff);
    world.inject(world.a, { dst: MAC_A, src: MAC_B, etherType: 0x0800, payload });
  }
  t.true((world.a.counters()['heapBytes'] ?? 0) < 2 * 1024 * 1024);
  world.pass(30_000);
  t.deepEqual(leftovers(world.a), {});
  expectClean(t, world);
});
