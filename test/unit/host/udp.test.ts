import test, { type ExecutionContext } from 'ava';
import { Udp } from '#src/host/udp.js';
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

function open(t: ExecutionContext): { udp: Udp; said: string[]; next: () => Promise<Heard> } {
  const said: string[] = [];
  const heard: Heard[] = [];
  let wake = (): void => undefined;
  const udp = new Udp(
    (_, text) => said.push(text),
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

test('sending to port 0 is counted, not thrown', async (t) => {
  const { udp } = open(t);
  await udp.bind([loopback(0)]);
  t.notThrows(() => udp.send(udp.sockets[0]!.id, remoteAddress(loopback(0)), Uint8Array.of(1)));
  t.is(udp.counters.sendErrors, 1);
});

test('a datagram leaves by the socket that is named, and an answer comes back to it', async (t) => {
  const { udp, next } = open(t);
  await udp.bind([loopback(0), loopback(0)]);
  const [a, b] = udp.sockets;
  const [to1, to2] = udp.addresses.map(remoteAddress);
  udp.send(b!.id, to1!, Uint8Array.of(7));
  const first = await next();
  t.is(first.socket, a!.id);
  t.is(first.from.port, to2!.port);
  udp.send(first.socket, first.from, Uint8Array.of(8));
  const second = await next();
  t.deepEqual([second.socket, second.from.port, second.bytes], [b!.id, to1!.port, '8']);
});

test('what is no longer wanted is closed, what stays keeps its id, what comes gets a new one', async (t) => {
  const { udp } = open(t);
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

test('an address that is not ours is counted and said once, and does not keep the others', async (t) => {
  const { udp, said } = open(t);
  const foreign = inetAddress(Uint8Array.of(192, 0, 2, 1), 9);
  t.true(await udp.bind([foreign, loopback(0)]));
  await udp.bind([foreign, ...udp.addresses]);
  t.is(udp.counters.bindErrors, 2);
  t.is(said.filter((s) => s.includes(inetAddressText(foreign))).length, 1);
  t.is(udp.addresses.length, 1);
});
