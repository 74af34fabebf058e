/** Which sockets a program's datagram socket has on the host, and for how long. */
import test from 'ava';
import type { HostDatagramSink, HostDatagrams, HostNetwork } from '#src/preload/fallthrough.js';
import { Policy } from '#src/preload/policy.js';
import { Op } from '#src/preload/protocol.js';
import type { Endpoint } from '#src/stack/stack.js';
import { address, OWN, World } from '#test/helpers/preload-client.js';
import { ProgramDatagram } from '#test/helpers/preload-datagram.js';

const ECONNREFUSED = 111;
const ENOBUFS = -105;
const end = (last: number): Endpoint => ({ ip: Uint8Array.of(192, 0, 2, last), port: 7 });
const [A, B, C] = [end(1), end(2), end(3)];
const SIX: Endpoint = { ip: Uint8Array.of(0x20, 1, 0xd, 0xb8, ...Array(11).fill(0), 1), port: 7 };
const INSIDE: Endpoint = { ip: OWN, port: 53 };

/** One socket on the host, and what was sent through it. */
class HostSocket implements HostDatagrams {
  readonly sent: string[] = [];
  isClosed = false;
  isBroken = false;

  constructor(
    readonly family: 4 | 6,
    readonly peer: Endpoint | undefined,
    readonly port: number,
    readonly sink: HostDatagramSink,
  ) {}

  send(to: Endpoint, payload: Uint8Array): undefined {
    if (this.isClosed || this.isBroken) throw new Error('closed');
    this.sent.push(`${to.ip.at(-1)} ${Buffer.from(payload)}`);
  }
  local(): Endpoint {
    return { ip: end(99).ip, port: this.port };
  }
  hasFailed(): boolean {
    return this.isBroken;
  }
  close(): void {
    this.isClosed = true;
  }
}

function scene(family: 4 | 6 = 4) {
  const opened: HostSocket[] = [];
  const state = { isFull: false };
  const hostNetwork: Pick<HostNetwork, 'grant' | 'openDatagrams'> = {
    grant: () => ({ max: Policy.full, allow: [], deny: [] }),
    openDatagrams: (f, peer, _user, sink) => {
      if (state.isFull) return 'ENOBUFS';
      const socket = new HostSocket(f, peer, 4000 + opened.length, sink);
      opened.push(socket);
      return socket;
    },
  };
  const world = new World({ hostNetwork: hostNetwork as unknown as HostNetwork });
  const control = world.control();
  const inside = new ProgramDatagram(world);
  control.result(Op.bind, inside.token, address(INSIDE.ip, INSIDE.port));
  const program = new ProgramDatagram(world, { family, policy: Policy.full });
  const connect = (to: Endpoint) =>
    control.result(Op.connect, program.token, address(to.ip, to.port));
  const disconnect = () => control.result(Op.disconnect, program.token);
  const localPort = () => control.ask(Op.names, program.token).payload.readUInt16BE(10);
  const alive = () => opened.filter((s) => !s.isClosed).length;
  return { opened, state, inside, program, connect, disconnect, localPort, alive };
}

test('a socket without a peer that alternates keeps its one socket per family', (t) => {
  const s = scene(6);
  for (let i = 0; i < 10; i++) for (const to of [A, INSIDE, B, SIX]) s.program.send(to, `${i}`);
  t.deepEqual(
    s.opened.map((o) => [o.family, o.peer, o.sent.length]),
    [
      [4, undefined, 20],
      [6, undefined, 10],
    ],
  );
  t.is(s.inside.take().length, 10);
  s.program.close();
  t.is(s.alive(), 0);
});

test('a connected socket that alternates keeps two, until its peer is another', (t) => {
  const s = scene();
  s.program.send(B, 'before');
  t.is(s.connect(A), 0);
  for (let i = 0; i < 10; i++)
    for (const to of [A, B, INSIDE, undefined, C]) s.program.send(to, 'x');
  t.deepEqual(
    s.opened.map((o) => [o.peer?.ip.at(-1), o.sent.length]),
    [
      [undefined, 21],
      [1, 20],
    ],
  );
  t.is(s.inside.take().length, 10);
  t.is(s.localPort(), 4001);
  t.is(s.connect(A), 0);
  t.is(s.opened.length, 2, 'the same peer once more');
  t.is(s.connect(C), 0);
  s.program.send(B, 'y');
  s.program.send(undefined, 'y');
  t.deepEqual([s.opened.length, s.alive(), s.localPort()], [3, 2, 4002]);
  t.true(s.opened[1]!.isClosed);
  s.program.close();
  t.is(s.alive(), 0);
});

test('the connected one ends with the connection; the other stays', (t) => {
  const s = scene();
  t.is(s.connect(A), 0);
  s.program.send(B, 'x');
  t.is(s.alive(), 2);
  t.is(s.disconnect(), 0);
  t.deepEqual(
    s.opened.map((o) => o.isClosed),
    [true, false],
  );
  s.program.send(A, 'x');
  t.is(s.opened.length, 2);
  t.is(s.connect(A), 0);
  t.is(s.connect(INSIDE), 0);
  t.deepEqual(
    s.opened.map((o) => o.isClosed),
    [true, false, true],
  );
  s.program.send(A, 'x');
  t.deepEqual(s.opened[1]!.sent, ['2 x', '1 x', '1 x']);
});

test('a connected program hears its peer alone, on whichever socket', (t) => {
  const s = scene();
  s.program.send(A, 'x');
  t.is(s.connect(A), 0);
  s.program.send(A, 'x');
  const [free, connected] = s.opened;
  free!.sink.onDatagram(Buffer.from('late answer'), A);
  free!.sink.onDatagram(Buffer.from('of another'), B);
  free!.sink.onError('ECONNREFUSED');
  connected!.sink.onDatagram(Buffer.from('answer'), A);
  connected!.sink.onError('ECONNREFUSED');
  t.deepEqual(s.program.texts(), ['late answer', 'answer', `errno ${ECONNREFUSED}`]);
});

test('a socket that failed is replaced, one that is refused is asked for again', (t) => {
  const s = scene();
  s.program.send(B, 'x');
  s.opened[0]!.isBroken = true;
  s.program.send(B, 'x');
  t.deepEqual([s.opened.length, s.alive()], [2, 1]);
  t.is(s.connect(A), 0);
  s.opened[2]!.isBroken = true;
  s.program.send(A, 'x');
  t.deepEqual([s.opened.length, s.alive()], [4, 2]);
  s.state.isFull = true;
  t.is(s.connect(C), ENOBUFS);
  s.state.isFull = false;
  s.program.send(undefined, 'x');
  t.deepEqual(s.opened[4]!.sent, ['1 x'], 'its peer is still the one before');
});
