/**
 * Operation fuzzing of datagram sockets in the preload's service: random requests, records, ends and
 * ICMP errors, over the in-process stack, which throws on every use of a dead handle. Nothing may be
 * left at the end, queues stay within their limit, and a datagram arrives only where it may.
 */
import test from 'ava';
import fc from 'fast-check';
import { Op } from '#src/preload/protocol.js';
import { address, type Control, int32, OWN, SILENT, World } from '#test/helpers/preload-client.js';
import { ProgramDatagram } from '#test/helpers/preload-datagram.js';

const PORTS = [53, 54];
const LOOPBACK = Uint8Array.of(127, 0, 0, 1);
const BROADCAST = Uint8Array.of(10, 147, 17, 255);
const GROUP = Uint8Array.of(239, 1, 2, 3);
const TARGETS = [OWN, LOOPBACK, BROADCAST, GROUP, SILENT, Uint8Array.of(8, 8, 8, 8)];

interface Run {
  readonly world: World;
  readonly control: Control;
  readonly sockets: ProgramDatagram[];
}

type Step = (run: Run, pick: number) => void;

const port = (pick: number) => PORTS[pick % PORTS.length]!;
const target = (pick: number) => TARGETS[(pick >> 3) % TARGETS.length]!;

function ask(op: number, payload: (pick: number) => Uint8Array | undefined): Step {
  return (run, pick) => {
    const socket = run.sockets[pick % run.sockets.length];
    if (socket !== undefined) run.control.post(op, socket.token, payload(pick));
  };
}

function onSocket(act: (s: ProgramDatagram, pick: number) => void): Step {
  return (run, pick) => {
    const socket = run.sockets[pick % run.sockets.length];
    if (socket !== undefined && !socket.port.destroyed) act(socket, pick);
  };
}

const option = (level: number, name: number, values: number) =>
  ask(Op.setOpt, (pick) => int32(level, name, 4, (pick >> 2) % values));

const membership = (name: number) =>
  ask(Op.setOpt, () => Buffer.concat([int32(0, name, 8), GROUP, OWN]));

const STEPS: readonly Step[] = [
  (run, pick) =>
    run.sockets.push(
      new ProgramDatagram(run.world, {
        family: pick % 3 === 0 ? 6 : 4,
        protocol: pick % 7 === 0 ? 1 : 17,
        caller: { needsKey: false, uid: pick % 2 },
      }),
    ),
  ask(Op.bind, (pick) => address(pick % 2 === 0 ? OWN : new Uint8Array(4), port(pick), pick % 4)),
  ask(Op.bind, (pick) => address(new Uint8Array(16), pick % 4 === 0 ? 0 : port(pick), pick % 4)),
  ask(Op.connect, (pick) => address(target(pick), port(pick))),
  ask(Op.disconnect, () => undefined),
  ask(Op.names, () => undefined),
  ask(Op.shutdown, (pick) => int32(pick % 4)),
  ask(Op.listen, () => int32(1, 0)),
  ask(Op.inherit, () => new Uint8Array(16)),
  ask(Op.waitConn, () => int32(0)),
  option(1, 2, 2),
  option(1, 6, 2),
  option(1, 15, 2),
  option(0, 49, 2),
  option(0, 11, 2),
  option(41, 26, 2),
  membership(35),
  membership(36),
  onSocket((s, pick) =>
    s.send({ ip: target(pick), port: port(pick) }, new Uint8Array(pick % 3000)),
  ),
  onSocket((s, pick) => s.send(undefined, new Uint8Array(pick % 99))),
  onSocket((s, pick) => s.raw(new Uint8Array(pick % 200).fill(pick))),
  onSocket((s, pick) => {
    s.port.room = pick % 3;
  }),
  onSocket((s, pick) => {
    s.port.room = pick % 5;
    s.connection.handleWritable();
  }),
  onSocket((s) => s.end()),
  onSocket((s) => s.close()),
  onSocket((s, pick) => {
    s.port.held = pick % 2 === 0;
  }),
  (run, pick) =>
    run.world.stack.udp.refuse(port(pick), { ip: target(pick), port: port(pick) }, 'ECONNREFUSED'),
  (run, pick) =>
    run.world.stack.udp.arrive(
      { ip: SILENT, port: port(pick) },
      { ip: target(pick), port: port(pick) },
      new Uint8Array(pick % 500),
    ),
  (run, pick) => run.world.pass(pick % 6000),
];

/** What has to hold after every step. */
function isSound({ world, sockets }: Run): boolean {
  const c = world.view.counters();
  const alive = sockets.filter((s) => !s.port.destroyed).length;
  return (
    c.datagramSockets <= alive &&
    c.datagramsQueued <= 512 * alive &&
    c.datagramBytesQueued <= 256 * 1024 * alive &&
    c.udpPorts + c.echoIds <= alive
  );
}

test('no sequence of calls breaks the view or leaves anything behind', (t) => {
  const step = fc.tuple(fc.nat(STEPS.length - 1), fc.nat(1_000_000));
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 150, size: 'max' }), (steps) => {
      const world = new World();
      const run: Run = { world, control: world.control(false, world.view.key), sockets: [] };
      for (let i = 0; i < 3; i++) STEPS[0]!(run, i);
      for (const [kind, pick] of steps) {
        STEPS[kind]!(run, pick);
        world.drain();
        if (!isSound(run)) return false;
      }
      for (const s of run.sockets) s.close();
      run.control.connection.handleEnd();
      world.pass(10_000);
      const c = world.view.counters();
      const held = c.sockets + c.datagramSockets + c.udpPorts + c.echoIds + c.memberships;
      const queued = c.datagramsQueued + c.datagramBytesQueued + c.controls + c.parked;
      return held + queued === 0 && world.stack.counters()['datagrams'] === 0;
    }),
    { numRuns: 1500 },
  );
  t.pass();
});
