import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#src/host/native.js';
import { Udp } from '#src/host/udp.js';
import { openDgram } from '#src/host/udp-dgram.js';
import { openNative } from '#src/host/udp-native.js';
import type { OpenSocket } from '#src/host/udp-socket.js';
import {
  inetAddress,
  inetAddressText,
  type RemoteAddress,
  remoteAddress,
} from '#src/wire/inetaddress.js';

const loopback = (port: number) => inetAddress(Uint8Array.of(127, 0, 0, 1), port);

interface Heard {
  readonly socket: number;
  readonly from: RemoteAddress;
  readonly bytes: string;
}

const native = loadNative();
if (typeof native === 'string') throw new Error(`the addon is missing: ${native}`);
const BACKENDS: readonly (readonly [string, OpenSocket])[] = [
  ['the addon', openNative(native)],
  ['node:dgram', openDgram],
];

function open(
  t: ExecutionContext,
  openSocket: OpenSocket,
): { udp: Udp; said: string[]; next: () => Promise<Heard> } {
  const said: string[] = [];
  const heard: Heard[] = [];
  let wake = (): void => undefined;
  const udp = new Udp(
    (_, text) => said.push(text),
    openSocket,
    (socket, from, bytes) => {
      heard.push({ socket, from, bytes: bytes.join() });
      wake();
    },
  );
  t.teardown(() => udp.close());
  const next = async (): Promise<Heard> => {
    while (heard.length === 0) await new Promise<void>((r) => (wake = r));
    return heard.shift()!;
  };
  return { udp, said, next };
}

for (const [name, openSocket] of BACKENDS) {
  test(`${name}: sending to port 0 is counted, not thrown`, async (t) => {
    const { udp } = open(t, openSocket);
    await udp.bind([loopback(0)]);
    t.notThrows(() => udp.send(udp.sockets[0]!.id, remoteAddress(loopback(0)), Uint8Array.of(1)));
    t.is(udp.counters.sendErrors, 1);
  });

  test(`${name}: a datagram leaves by the socket that is named, and an answer comes back to it`, async (t) => {
    const { udp, next } = open(t, openSocket);
    await udp.bind([loopback(0), loopback(0)]);
    const [a, b] = udp.sockets;
    const [to1, to2] = udp.addresses.map(remoteAddress);
    udp.send(b!.id, to1!, Uint8Array.of(7));
    udp.flush();
    const first = await next();
    t.is(first.socket, a!.id);
    t.is(first.from.port, to2!.port);
    udp.send(first.socket, first.from, Uint8Array.of(8));
    udp.flush();
    const second = await next();
    t.deepEqual([second.socket, second.from.port, second.bytes], [b!.id, to1!.port, '8']);
  });

  test(`${name}: what is no longer wanted is closed, what stays keeps its id, what comes gets a new one`, async (t) => {
    const { udp } = open(t, openSocket);
    await udp.bind([loopback(0), loopback(0)]);
    const [first, second] = udp.addresses;
    const [a, b] = udp.sockets.map((s) => s.id);
    t.false(await udp.bind([first!, second!]), 'nothing changes');
    t.true(await udp.bind([second!]));
    t.deepEqual(
      udp.sockets.map((s) => s.id),
      [b!],
    );
    udp.send(a!, remoteAddress(second!), Uint8Array.of(1));
    t.is(udp.counters.datagramsOut, 0, 'a closed socket sends nothing');
    t.true(await udp.bind([second!, first!]));
    t.false(
      udp.sockets.some((s) => s.id === a),
      'the id is not used again',
    );
  });

  test(`${name}: an address that is not ours is counted and said once, and does not keep the others`, async (t) => {
    const { udp, said } = open(t, openSocket);
    const foreign = inetAddress(Uint8Array.of(192, 0, 2, 1), 9);
    t.true(await udp.bind([foreign, loopback(0)]));
    await udp.bind([foreign, ...udp.addresses]);
    t.is(udp.counters.bindErrors, 2);
    t.is(said.filter((s) => s.includes(inetAddressText(foreign))).length, 1);
    t.is(udp.addresses.length, 1);
  });

  test(`${name}: many batches arrive whole and in order`, async (t) => {
    const { udp, next } = open(t, openSocket);
    await udp.bind([loopback(0), loopback(0)]);
    const [a, b] = udp.sockets;
    const to = remoteAddress(udp.addresses[0]!);
    // A batch fits any receive buffer: none of it may be lost.
    const [BATCHES, COUNT] = [40, 50];
    for (let batch = 0; batch < BATCHES; batch++) {
      for (let i = 0; i < COUNT; i++)
        udp.send(b!.id, to, new Uint8Array(1 + ((batch * 37 + i) % 1_432)).fill(batch + i));
      udp.flush();
      for (let i = 0; i < COUNT; i++) {
        const got = await next();
        const want = new Uint8Array(1 + ((batch * 37 + i) % 1_432)).fill(batch + i);
        if (got.socket !== a!.id || got.bytes !== want.join())
          t.fail(`datagram ${i} of batch ${batch} is another one`);
      }
    }
    t.is(udp.counters.datagramsOut, BATCHES * COUNT);
    t.is(udp.counters.datagramsIn, BATCHES * COUNT);
    t.is(udp.counters.sendErrors + udp.counters.sendQueueFull, 0);
  });

  test(`${name}: a hop limit is of one datagram; after the end nothing is sent`, async (t) => {
    const { udp, next } = open(t, openSocket);
    await udp.bind([loopback(0), loopback(0)]);
    const [, b] = udp.sockets;
    const to = remoteAddress(udp.addresses[0]!);
    for (const [ttl, mark] of [
      [undefined, 1],
      [2, 2],
      [undefined, 3],
    ] as const)
      udp.send(b!.id, to, Uint8Array.of(mark), ttl);
    udp.flush();
    for (const mark of ['1', '2', '3']) t.is((await next()).bytes, mark);
    udp.close();
    udp.send(b!.id, to, Uint8Array.of(4));
    udp.flush();
    t.is(udp.counters.datagramsOut, 3);
  });
}
