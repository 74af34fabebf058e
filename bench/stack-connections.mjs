/**
 * Many connections between two stacks in this process: how fast they open and close, what they cost
 * in memory, and what an idle one costs per second.
 *
 *   node bench/stack-connections.mjs [connections]
 */

import { randomFillSync } from 'node:crypto';
import { createStack } from '../dist/stack/lwip-stack.js';
import { positive } from './usage.mjs';

const count = positive('connections', process.argv[2], 10_000);
const MIB = 1024 * 1024;
let mono = 1;
const at = () => ({ mono, wall: 0 });
const rss = () => process.memoryUsage().rss / MIB;
const seconds = (since) => Number(process.hrtime.bigint() - since) / 1e9;

function make(last) {
  const mac = Uint8Array.of(2, 0, 0, 0, 0, last);
  const stack = createStack({ mac, entropy: { fill: (b) => randomFillSync(b) }, at: at() });
  const ip = Uint8Array.of(10, 0, 0, last);
  stack.configure(at(), { mtu: 2800, addresses: [{ ip, prefixLen: 24 }], routes: [] });
  return { stack, ip, mac, inbox: [] };
}

const before = rss();
const a = make(1);
const b = make(2);

function drain(from, to) {
  from.stack.drain(at(), (dst, _src, etherType, payload) => {
    to.inbox.push({ dst: dst.slice(), etherType, payload: payload.slice() });
  });
}

function settle() {
  drain(a, b);
  drain(b, a);
  while (a.inbox.length + b.inbox.length > 0) {
    for (const [x, y] of [
      [a, b],
      [b, a],
    ]) {
      for (const f of x.inbox.splice(0, 32)) {
        x.stack.frameIn(at(), f.dst, y.mac, f.etherType, f.payload);
      }
      drain(x, y);
    }
  }
}

let accepted = 0;
let echoed = 0;
let connected = 0;
let finished = 0;
const sinkOf = (handle) => ({
  onConnected() {},
  onData(bytes) {
    b.stack.tcpCredit(at(), handle, bytes.length);
    b.stack.tcpWrite(at(), handle, bytes, false);
  },
  onSent() {},
  onFin() {
    b.stack.tcpClose(at(), handle);
  },
  onError() {},
});
b.stack.tcpListen(at(), { ip: new Uint8Array(0), port: 80 }, false, 4096, {
  onAccept(handle) {
    accepted++;
    return sinkOf(handle);
  },
});

const handles = [];
const clientSink = {
  onConnected() {
    connected++;
  },
  onData(bytes) {
    echoed += bytes.length;
  },
  onSent() {},
  onFin() {
    finished++;
  },
  onError() {},
};

let start = process.hrtime.bigint();
for (let i = 0; i < count; i++) {
  const handle = a.stack.tcpConnect(at(), undefined, { ip: b.ip, port: 80 }, clientSink);
  if (typeof handle !== 'number') throw new Error(`connection ${i}: ${handle}`);
  handles.push(handle);
  if (i % 64 === 63) settle();
}
settle();
console.log(
  `${accepted} accepted, ${connected} connected: ${(count / seconds(start)).toFixed(0)} per second, ` +
    `${(rss() - before).toFixed(1)} MiB for both ends`,
);

start = process.hrtime.bigint();
for (let i = 0; i < 20; i++) {
  mono += 50;
  a.stack.handleTimeout(at());
  b.stack.handleTimeout(at());
  settle();
}
console.log(`one idle second of both stacks: ${(seconds(start) * 1000).toFixed(2)} ms of CPU`);

start = process.hrtime.bigint();
const message = new Uint8Array(1024);
for (const [i, handle] of handles.entries()) {
  a.stack.tcpWrite(at(), handle, message, false);
  if (i % 64 === 63) settle();
}
settle();
console.log(
  `1 KiB to each and back, in turn: ${((seconds(start) * 1e6) / count).toFixed(1)} us per round trip, ` +
    `${echoed / 1024} answers, ${(rss() - before).toFixed(1)} MiB`,
);

start = process.hrtime.bigint();
for (const [i, handle] of handles.entries()) {
  a.stack.tcpShutdown(at(), handle);
  if (i % 64 === 63) settle();
}
settle();
for (const handle of handles) a.stack.tcpClose(at(), handle);
settle();
console.log(`${finished} closed: ${(count / seconds(start)).toFixed(0)} per second`);

start = process.hrtime.bigint();
const short = 20000;
for (let i = 0; i < short; i++) {
  const handle = a.stack.tcpConnect(
    at(),
    undefined,
    { ip: b.ip, port: 80 },
    {
      ...clientSink,
      onConnected() {
        a.stack.tcpWrite(at(), handle, message, false);
        a.stack.tcpShutdown(at(), handle);
      },
      onFin() {
        a.stack.tcpClose(at(), handle);
      },
    },
  );
  if (typeof handle !== 'number') throw new Error(`short connection ${i}: ${handle}`);
  if (i % 16 === 15) settle();
  if (i % 100 === 99) {
    mono += 10;
    a.stack.handleTimeout(at());
    b.stack.handleTimeout(at());
  }
}
settle();
console.log(
  `short connections, client closes first: ${(short / seconds(start)).toFixed(0)} per second, ` +
    `${a.stack.counters().tcpTimeWait} in TIME_WAIT, ${(rss() - before).toFixed(1)} MiB`,
);
