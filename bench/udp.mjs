#!/usr/bin/env node
import { loadNative } from '../dist/host/native.js';
import { Udp } from '../dist/host/udp.js';
import { openDgram } from '../dist/host/udp-dgram.js';
import { openNative } from '../dist/host/udp-native.js';
import { inetAddress, remoteAddress } from '../dist/wire/inetaddress.js';
// CPU time of a datagram, sent and received in one process over loopback: the addon against
// node:dgram, in alternating rounds. Microseconds of user and system time together; the ratio is
// the addon's over node:dgram's.
//   node bench/udp.mjs [--rounds N] [--batches N]
import { numberOption } from './usage.mjs';

const ROUNDS = numberOption('rounds', 5);
const BATCHES = numberOption('batches', 4_000);

const native = loadNative();
if (typeof native === 'string') {
  console.error(`no addon: ${native}`);
  process.exit(2);
}
const median = (v) => [...v].sort((a, b) => a - b)[v.length >> 1];

/** What a full frame makes (2,800 bytes: two datagrams), and small ones. */
const KINDS = {
  'frames of 2,800 bytes': [1_432, 1_428],
  '64-byte datagrams': [64, 64],
};

async function microseconds(openSocket, lengths, batch) {
  let got = 0;
  let wake = () => undefined;
  const udp = new Udp(
    () => undefined,
    openSocket,
    () => {
      got++;
      wake();
    },
  );
  const any = inetAddress(Uint8Array.of(127, 0, 0, 1), 0);
  await udp.bind([any, any]);
  const to = remoteAddress(udp.addresses[0]);
  const from = udp.sockets[1].id;
  const datagrams = lengths.map((n) => new Uint8Array(n).fill(7));
  const before = process.cpuUsage();
  for (let i = 1; i <= BATCHES; i++) {
    for (let k = 0; k < batch; k++) udp.send(from, to, datagrams[k % datagrams.length]);
    udp.flush();
    while (got < i * batch) await new Promise((r) => (wake = r));
  }
  const used = process.cpuUsage(before);
  udp.close();
  return (used.user + used.system) / (BATCHES * batch);
}

for (const [name, lengths] of Object.entries(KINDS)) {
  for (const batch of [1, 2, 16]) {
    const [addon, dgram] = [[], []];
    for (let i = 0; i < ROUNDS; i++) {
      addon.push(await microseconds(openNative(native), lengths, batch));
      dgram.push(await microseconds(openDgram, lengths, batch));
    }
    const [a, d] = [median(addon), median(dgram)];
    console.log(
      `${name.padEnd(22)} ${String(batch).padStart(2)} per wake-up: addon ${a.toFixed(1)} us, node:dgram ${d.toFixed(1)} us, ratio ${(a / d).toFixed(2)}`,
    );
  }
}
