/**
 * Operation fuzzing of the service's side of the preload: random calls of programs, random replies
 * of the world, random bytes. The stack of the tests throws on every use of a dead handle and on
 * credit that was never given out, so a wrong order shows; at the end nothing may be left.
 */
import test from 'ava';
import fc from 'fast-check';
import { Op, RequestFlag } from '#src/preload/protocol.js';
import {
  address,
  type Control,
  int32,
  OWN,
  type ProgramSocket,
  SILENT,
  World,
} from '#test/helpers/preload-client.js';

const PORTS = [80, 81, 82];

type Step = (run: Run, pick: number) => void;

interface Run {
  readonly world: World;
  readonly controls: Control[];
  readonly sockets: ProgramSocket[];
}

const socketOf = (run: Run, pick: number) => run.sockets[pick % run.sockets.length];
const portOf = (pick: number) => PORTS[pick % PORTS.length]!;

function ask(run: Run, pick: number, op: number, payload?: Uint8Array): void {
  const control = run.controls[pick % run.controls.length];
  const socket = socketOf(run, pick);
  if (control !== undefined && socket !== undefined) control.post(op, socket.token, payload);
}

function onSocket(act: (s: ProgramSocket, pick: number) => void): Step {
  return (run, pick) => {
    const socket = socketOf(run, pick);
    if (socket !== undefined) act(socket, pick);
  };
}

/** Attaches every connection that was offered to `listener`. */
function acceptAll(run: Run, listener: ProgramSocket): void {
  const bytes = listener.port.bytes;
  for (let at = 0; at + 64 <= bytes.length; at += 64) {
    if (bytes.toString('latin1', at, at + 4) !== 'ZTNA') return;
    run.sockets.push(run.world.accepted(bytes.subarray(at, at + 64)));
  }
  listener.port.written = [];
}

const STEPS: readonly Step[] = [
  (run) => run.controls.push(run.world.control()),
  (run, pick) => run.sockets.push(run.world.socket(pick % 2 === 0 ? 4 : 6)),
  (run, pick) => ask(run, pick, Op.bind, address(OWN, portOf(pick))),
  (run, pick) => ask(run, pick, Op.listen, int32(pick % 5, 0)),
  (run, pick) => ask(run, pick, Op.connect, address(OWN, portOf(pick))),
  (run, pick) => ask(run, pick, Op.connect, address(SILENT, 9)),
  (run, pick) => ask(run, pick, Op.padded, int32(pick % 50)),
  (run, pick) => ask(run, pick, Op.waitConn, int32(pick % 3 === 0 ? -1 : pick % 50)),
  (run, pick) => ask(run, pick, Op.names),
  (run, pick) => ask(run, pick, Op.takeErr, int32(pick % 2)),
  (run, pick) => ask(run, pick, Op.eofInfo),
  (run, pick) => ask(run, pick, Op.shutdown, int32(pick % 4)),
  (run, pick) => ask(run, pick, Op.disconnect),
  (run, pick) => ask(run, pick, Op.setOpt, int32(6, 3, 4, pick % 2)),
  (run, pick) => ask(run, pick, Op.setOpt, int32(1, 15, 4, pick % 2)),
  (run, pick) => ask(run, pick, Op.setOpt, int32(1, 13, 8, pick % 2, 0)),
  (run, pick) => ask(run, pick, Op.setOpt, int32(6, 9, 4, pick % 3)),
  (run, pick) => {
    const other = socketOf(run, pick + 1);
    if (other !== undefined) ask(run, pick, Op.inherit, Buffer.from(other.token, 'latin1'));
  },
  onSocket((s, pick) => s.send(new Uint8Array((pick * 37) % 3000))),
  onSocket((s) => s.end(true)),
  onSocket((s) => s.end(false)),
  onSocket((s) => s.reset()),
  onSocket((s) => s.flush()),
  onSocket((s, pick) => s.connection.handleProbe(pick % 2 === 0)),
  onSocket((s) => {
    s.port.stuck = true;
  }),
  (run, pick) => {
    const socket = socketOf(run, pick);
    if (socket !== undefined) acceptAll(run, socket);
  },
  (run, pick) => {
    const control = run.controls[pick % run.controls.length];
    if (control !== undefined && pick % 4 === 0) control.connection.handleEnd();
  },
  (run, pick) => run.world.pass(pick % 3000),
];

/** A run that begins with a listener, two connections to it, and one of them picked up. */
function begin(): Run {
  const world = new World();
  const run: Run = { world, controls: [world.control()], sockets: [] };
  const [control] = run.controls;
  const listener = world.socket();
  run.sockets.push(listener);
  control!.post(Op.bind, listener.token, address(OWN, 80));
  control!.post(Op.listen, listener.token, int32(4, 0));
  for (let i = 0; i < 2; i++) {
    const client = world.socket();
    run.sockets.push(client);
    control!.post(Op.connect, client.token, address(OWN, 80));
    control!.post(Op.padded, client.token, int32(0), RequestFlag.noReply);
    if (i === 0) acceptAll(run, listener);
  }
  return run;
}

function finish(run: Run): void {
  for (const s of run.sockets) s.reset();
  for (const c of run.controls) c.connection.handleEnd();
  run.world.pass(200_000);
}

test('no sequence of calls breaks the view or leaves anything behind', (t) => {
  const step = fc.tuple(fc.nat(STEPS.length - 1), fc.nat(1_000_000));
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 150, size: 'max' }), (steps) => {
      const run = begin();
      const { world } = run;
      for (const [kind, pick] of steps) {
        STEPS[kind]!(run, pick);
        world.drain();
      }
      finish(run);
      const c = world.view.counters();
      const left = c.sockets + c.listeners + c.waiting + c.controls + c.parked + c.ports;
      const stack = world.stack.counters();
      return left === 0 && stack['pcbs'] === 0 && stack['listeners'] === 0;
    }),
    { numRuns: 1500 },
  );
  t.pass();
});

test('no bytes on any kind of connection throw', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 8 }),
      fc.constantFrom('hello', 'control', 'socket', 'listener'),
      (chunks, kind) => {
        const world = new World();
        const control = world.control();
        const socket = world.socket();
        if (kind === 'listener') {
          control.post(Op.bind, socket.token, address(OWN, 80));
          control.post(Op.listen, socket.token, int32(1, 0));
        }
        const target =
          kind === 'control'
            ? control.connection
            : kind === 'hello'
              ? world.view.open(socket.port, { needsKey: false, uid: undefined })
              : socket.connection;
        for (const chunk of chunks) target.handleBytes(chunk);
        world.drain();
        return true;
      },
    ),
    { numRuns: 500 },
  );
  t.pass();
});
