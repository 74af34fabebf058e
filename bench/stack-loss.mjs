/**
 * One TCP stream over a simulated path, in virtual time: Mbit/s for rate, delay and loss.
 *
 *   node bench/stack-loss.mjs [seconds]
 *
 * The path has a bottleneck of the given rate with a drop-tail queue of one bandwidth-delay product,
 * half the round-trip time each way, and independent random loss of data and acknowledgements. The
 * result depends on nothing but the code and the seed.
 */

import { createStack } from '../dist/stack/lwip-stack.js';
import { positive } from './usage.mjs';

const seconds = positive('seconds', process.argv[2], 30);

function generator(seed) {
  let x = seed | 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 32;
  };
}

/** Runs one stream for `seconds` of virtual time. @returns Mbit/s that arrived in order. */
function stream({ mbit, rttMs, loss, mtu = 2800, seed = 1 }) {
  const random = generator(seed);
  let now = 1;
  let seq = 0;
  const at = () => ({ mono: now, wall: 0 });
  const queue = [];
  const make = (last) => {
    const mac = Uint8Array.of(2, 0, 0, 0, 0, last);
    const fill = (b) => b.set(Array.from(b, () => random() * 256));
    const stack = createStack({ mac, entropy: { fill }, at: at() });
    const ip = Uint8Array.of(10, 0, 0, last);
    stack.configure(at(), { mtu, addresses: [{ ip, prefixLen: 24 }], routes: [] });
    return { stack, ip, mac, busyUntil: 0 };
  };
  const a = make(1);
  const b = make(2);
  const bytesPerMs = (mbit * 1e6) / 8 / 1000;
  const queueMs = Math.max(rttMs, 5);
  const push = (time, to, frame) => {
    const entry = { time, seq: seq++, to, frame };
    let lo = 0;
    let hi = queue.length;
    while (lo < hi) {
      const mid = (lo + hi) >> 1;
      if (queue[mid].time <= time) lo = mid + 1;
      else hi = mid;
    }
    queue.splice(lo, 0, entry);
  };
  const drain = (from, to) =>
    from.stack.drain(at(), (dst, _src, etherType, payload) => {
      const start = Math.max(now, from.busyUntil);
      if (start - now > queueMs) return;
      from.busyUntil = start + payload.length / bytesPerMs;
      if (random() < loss) return;
      push(from.busyUntil + rttMs / 2, to, {
        dst: dst.slice(),
        etherType,
        payload: payload.slice(),
      });
    });
  let received = 0;
  const quiet = { onConnected() {}, onData() {}, onSent() {}, onFin() {}, onError() {} };
  b.stack.tcpListen(at(), { ip: new Uint8Array(0), port: 80 }, false, 8, {
    onAccept: (handle) => ({
      ...quiet,
      onData(bytes) {
        received += bytes.length;
        b.stack.tcpCredit(at(), handle, bytes.length);
      },
    }),
  });
  const chunk = new Uint8Array(65536);
  const pump = () => {
    while (a.stack.tcpWrite(at(), client, chunk, false) === chunk.length);
  };
  const client = a.stack.tcpConnect(
    at(),
    undefined,
    { ip: b.ip, port: 80 },
    {
      ...quiet,
      onConnected: pump,
      onSent: pump,
      onError(e) {
        throw new Error(e);
      },
    },
  );
  drain(a, b);
  const end = now + seconds * 1000;
  while (now < end) {
    const next = Math.min(queue[0]?.time ?? Infinity, a.stack.deadline(), b.stack.deadline());
    now = Math.max(now, next);
    if (queue[0]?.time <= now) {
      const { to, frame } = queue.shift();
      to.stack.frameIn(at(), frame.dst, (to === a ? b : a).mac, frame.etherType, frame.payload);
      drain(to, to === a ? b : a);
      continue;
    }
    for (const x of [a, b]) {
      x.stack.handleTimeout(at());
      drain(x, x === a ? b : a);
    }
  }
  return (received * 8) / (seconds * 1e6);
}

console.log(`Mbit/s of one stream over ${seconds} s, mean of 3 seeds`);
for (const [mbit, rttMs, loss] of [
  [100, 80, 0],
  [100, 80, 0.001],
  [100, 20, 0],
  [100, 20, 0.001],
  [100, 20, 0.01],
  [1000, 1, 0.001],
  [20, 200, 0.001],
]) {
  const runs = [1, 2, 3].map((seed) => stream({ mbit, rttMs, loss, seed }));
  const mean = runs.reduce((x, y) => x + y, 0) / runs.length;
  console.log(
    `${String(mbit).padStart(5)} Mbit/s ${String(rttMs).padStart(4)} ms ${(loss * 100).toFixed(1).padStart(4)} % loss: ` +
      `${mean.toFixed(1).padStart(6)}   (${runs.map((r) => r.toFixed(1)).join(' ')})`,
  );
}
