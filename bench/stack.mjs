/**
 * One TCP stream between two stacks in this process: Gbit/s and ns per frame.
 *
 *   node bench/stack.mjs [MiB] [mtu] [frames per wake-up]
 *
 * Each wake-up moves up to that many frames from one side to the other and then drains once, as the
 * host does with a batch of datagrams. Both stacks run here, so a real node has about twice the
 * throughput to itself. Runs three times and prints every run: the first one warms up.
 */
import { randomFillSync } from 'node:crypto';
import { createStack } from '../dist/stack/lwip-stack.js';
import { positive } from './usage.mjs';

const MIB = 1024 * 1024;
const total = positive('MiB', process.argv[2], 1024) * MIB;
const mtu = positive('mtu', process.argv[3], 2800);
const batch = positive('frames', process.argv[4], 32);

let mono = 1;
const at = () => ({ mono, wall: 0 });
const entropy = { fill: (bytes) => randomFillSync(bytes) };

function make(last) {
  const mac = Uint8Array.of(2, 0, 0, 0, 0, last);
  const stack = createStack({ mac, entropy, at: at() });
  const ip = Uint8Array.of(10, 0, 0, last);
  stack.configure(at(), { mtu, addresses: [{ ip, prefixLen: 24 }], routes: [] });
  return { stack, ip, mac, inbox: [], free: [] };
}

const a = make(1);
const b = make(2);
let frames = 0;

/** Copies a frame into the other side's inbox, as a network between them would. */
function drain(from, to) {
  from.stack.drain(at(), (dst, _src, etherType, payload) => {
    frames++;
    const slot = to.free.pop() ?? { dst: new Uint8Array(6), bytes: new Uint8Array(10240) };
    slot.dst.set(dst);
    slot.bytes.set(payload);
    slot.etherType = etherType;
    slot.payload = slot.bytes.subarray(0, payload.length);
    to.inbox.push(slot);
  });
}

function deliver(to, from) {
  const n = Math.min(batch, to.inbox.length);
  for (let i = 0; i < n; i++) {
    const f = to.inbox[i];
    to.stack.frameIn(at(), f.dst, from.mac, f.etherType, f.payload);
    to.free.push(f);
  }
  to.inbox.splice(0, n);
  if (n > 0) drain(to, from);
  return n;
}

let received = 0;
let handleB;
b.stack.tcpListen(at(), { ip: new Uint8Array(0), port: 80 }, false, 8, {
  onAccept(handle) {
    handleB = handle;
    return {
      onConnected() {},
      onData(bytes) {
        received += bytes.length;
        b.stack.tcpCredit(at(), handleB, bytes.length);
      },
      onSent() {},
      onFin() {},
      onError(e) {
        throw new Error(`server: ${e}`);
      },
    };
  },
});

const chunk = new Uint8Array(65536).fill(7);
let left = 0;
function pump() {
  while (left > 0) {
    const want = left < chunk.length ? chunk.subarray(0, left) : chunk;
    const n = a.stack.tcpWrite(at(), client, want, false);
    left -= n;
    if (n < want.length) return;
  }
}
const client = a.stack.tcpConnect(
  at(),
  undefined,
  { ip: b.ip, port: 80 },
  {
    onConnected: pump,
    onData() {},
    onSent: pump,
    onFin() {},
    onError(e) {
      throw new Error(`client: ${e}`);
    },
  },
);
if (typeof client !== 'number') throw new Error(client);

/** Moves frames until `bytes` more arrived; the clock ticks when nothing is on the way. */
function run(bytes) {
  received = 0;
  frames = 0;
  left = bytes;
  pump();
  drain(a, b);
  const start = process.hrtime.bigint();
  while (received < bytes) {
    if (deliver(b, a) + deliver(a, b) > 0) continue;
    mono += 10;
    for (const [x, y] of [
      [a, b],
      [b, a],
    ]) {
      x.stack.handleTimeout(at());
      drain(x, y);
    }
  }
  return Number(process.hrtime.bigint() - start);
}

run(1);
for (let i = 0; i < 3; i++) {
  const ns = run(total);
  console.log(
    `${((total * 8) / ns).toFixed(2)} Gbit/s, ${(ns / frames).toFixed(0)} ns per frame (${frames} frames, ` +
      `${((frames * 100) / (total / (mtu - 52)) - 100).toFixed(0)} % beyond data, mtu ${mtu}, batch ${batch})`,
  );
}
const c = a.stack.counters();
console.log(
  `heap peak ${(c.heapPeakBytes / MIB).toFixed(1)} MiB, acknowledgements merged ${b.stack.counters().frameAckMerged}`,
);
