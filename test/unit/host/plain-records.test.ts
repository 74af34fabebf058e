/** Carrier u: datagrams without headers, as the launcher's programs read and write them. */
import * as fs from 'node:fs';
import test from 'ava';
import { loadNative, type Native } from '#src/host/native.js';
import { PlainCarrier } from '#src/host/plain-records.js';
import { emitDelivery, emitSending, parseReceived, parseSending } from '#src/preload/records.js';

const loaded = loadNative();
if (typeof loaded === 'string') throw new Error(`the addon is missing: ${loaded}`);
const native: Native = loaded;
const TOKEN = '00112233445566778899aabbccddeeff';
const HELLO = new Uint8Array(64).fill(1);

/** The carrier of a connection whose peer is bound to `name`. */
function carrierOf(name: string): PlainCarrier | undefined {
  const peerName = (_fd: number, into: Uint8Array): number => {
    const bytes = Buffer.from(name, 'latin1');
    into.set(bytes.subarray(0, into.length));
    return Math.min(bytes.length, into.length);
  };
  return PlainCarrier.of({ ...native, peerName } as Native, 0);
}

test('the name of the peer says whether records have headers', (t) => {
  for (const name of [`\0ztnc1.4du11.${TOKEN}`, `\0ztnc1.6eu3a.${TOKEN}`]) {
    t.truthy(carrierOf(name), name);
  }
  for (const name of [
    '',
    `\0ztnc1.4dq11.${TOKEN}`,
    `\0ztnc1.4sk06.${TOKEN}`,
    `\0ztnc1.4du11.${TOKEN}0`,
    `\0ztnc1.4du11.${TOKEN.toUpperCase()}`,
    `xztnc1.4du11.${TOKEN}`.slice(1),
  ]) {
    t.is(carrierOf(name), undefined, name);
  }
});

test('after the HELLO a record is the payload for the connected peer', (t) => {
  const carrier = carrierOf(`\0ztnc1.4du11.${TOKEN}`)!;
  t.deepEqual(carrier.recordOf(HELLO), HELLO);
  for (const payload of [new Uint8Array(0), Uint8Array.of(1, 2, 3), HELLO]) {
    const sending = parseSending(carrier.recordOf(payload), 4)!;
    t.is(sending.to.family, 0);
    t.deepEqual(Uint8Array.from(sending.payload), payload);
  }
});

test('a header counts only with the stamp of the token', (t) => {
  const carrier = carrierOf(`\0ztnc1.4du11.${TOKEN}`)!;
  carrier.recordOf(HELLO);
  const record = emitSending({ ip: Uint8Array.of(10, 1, 2, 3), port: 99 }, Uint8Array.of(7));
  t.is(parseSending(carrier.recordOf(record), 4)!.payload.length, record.length);
  record.set(Buffer.from(TOKEN.slice(0, 16), 'hex'), 8);
  for (let i = 8; i < 16; i++) {
    const forged = Uint8Array.from(record);
    forged[i]! ^= 1;
    t.is(parseSending(carrier.recordOf(forged), 4)!.to.family, 0, `byte ${i}`);
  }
  const sending = parseSending(carrier.recordOf(record), 4)!;
  t.is(sending.to.port, 99);
  t.deepEqual(Uint8Array.from(sending.payload), Uint8Array.of(7));
});

test('to the program the header goes as a file in memory beside the datagram', (t) => {
  const carrier = carrierOf(`\0ztnc1.4du11.${TOKEN}`)!;
  const fds = new Uint32Array(2);
  t.is(native.pair(fds), 0);
  const delivery = {
    flags: 0,
    from: { ip: Uint8Array.of(10, 1, 2, 3), port: 53 },
    to: Uint8Array.of(10, 1, 2, 4),
    interfaceIndex: 2,
    ttl: 64,
    tos: 0,
    wall: 5,
  };
  for (const text of ['datagram', '']) {
    const record = emitDelivery(delivery, Buffer.from(text));
    t.is(carrier.send(native, fds[0]!, record), text.length);
    const passed = new Uint32Array(2);
    const payload = new Uint8Array(100);
    const len = native.receive(fds[1]!, payload, passed);
    t.is(Buffer.from(payload.subarray(0, len)).toString(), text);
    t.is(passed[0], 1);
    const header = new Uint8Array(64);
    t.is(fs.readSync(passed[1]!, header, 0, 64, 0), 64);
    native.close(passed[1]!);
    const whole = parseReceived(Uint8Array.from([...header, ...payload.subarray(0, len)]))!;
    t.is(whole.from.port, 53);
  }
  t.is(native.hasEnded(fds[1]!), 0);
  native.close(fds[0]!);
  t.is(native.hasEnded(fds[1]!), 1);
  native.close(fds[1]!);
});
