/** Requests that a program sends without end: what the service keeps of them. */
import * as v8 from 'node:v8';
import test from 'ava';
import { PARKED_BYTES_MAX } from '#src/preload/parked.js';
import { HelloKind, Op } from '#src/preload/protocol.js';
import { address, int32, ProgramSocket, SILENT, World } from '#test/helpers/preload-client.js';

const ENOBUFS = -105;
const ENOTCONN = -107;
/** WAITCONN without padding of its own. */
const UNCHANGED = -1;

/** A connect that goes on for as long as the test. */
function pending(world: World): ProgramSocket {
  const socket = world.socket();
  world.control().post(Op.connect, socket.token, address(SILENT, 80));
  return socket;
}

test('a control connection waits for one connect at a time', (t) => {
  const world = new World();
  const { token } = pending(world);
  const control = world.control();
  const first = control.post(Op.waitConn, token, int32(UNCHANGED));
  for (let i = 0; i < 1000; i++) control.post(Op.waitConn, token, int32(UNCHANGED));
  const replies = control.replies();
  t.deepEqual([replies.length, control.reply(first)], [1000, undefined]);
  t.true(replies.every((r) => r.result === ENOBUFS));
  t.deepEqual([world.view.counters().dropConnectWaits, control.connection.onClose.size], [1000, 1]);
  const other = world.control();
  t.is(other.reply(other.post(Op.waitConn, token, int32(UNCHANGED))), undefined);
  t.is(world.control().result(Op.shutdown, token, int32(2)), 0);
  t.is(control.reply(first)?.result, -104);
  const next = pending(world);
  t.is(control.reply(control.post(Op.waitConn, next.token, int32(UNCHANGED))), undefined);
  t.is(world.view.counters().dropConnectWaits, 1000);
});

test('nothing is kept of waits that are answered at once', (t) => {
  const world = new World();
  const control = world.control();
  const { token } = world.socket();
  for (let i = 0; i < 1000; i++) control.post(Op.waitConn, token, int32(0));
  t.true(control.replies().every((r) => r.result === ENOTCONN));
  t.deepEqual([control.replies().length, control.connection.onClose.size], [1000, 0]);
});

test('a request that waits keeps nothing of its payload', (t) => {
  const objects = () => Number(v8.queryObjects(Uint8Array, { format: 'count' }));
  const world = new World();
  const { token } = pending(world);
  const controls = Array.from({ length: 1000 }, () => world.control());
  const payload = Buffer.concat([int32(UNCHANGED), new Uint8Array(60_000)]);
  const before = objects();
  for (const control of controls) control.post(Op.waitConn, token, payload);
  t.true(objects() - before < 100);
  t.true(controls.every((c) => c.connection.onClose.size === 1));
});

test('a wait that was parked is withdrawn when its client has gone', (t) => {
  const world = new World();
  const control = world.control();
  const token = world.newToken();
  control.post(Op.connect, token, address(SILENT, 80));
  control.post(Op.waitConn, token, int32(UNCHANGED));
  control.connection.handleReset();
  const socket = new ProgramSocket(world, token, 4, HelloKind.socket, '\0'.repeat(8));
  t.is(world.control().result(Op.connect, socket.token, address(SILENT, 80)), -114);
  t.is(control.connection.onClose.size, 0);
});

test('early requests of a user carry no more bytes than it may have waiting', (t) => {
  const world = new World();
  const [one, two] = [1, 2].map((uid) => world.control(false, undefined, uid));
  const payload = new Uint8Array(65_000);
  const fit = Math.floor(PARKED_BYTES_MAX / payload.length);
  for (let i = 0; i < fit; i++) one!.post(Op.setOpt, world.newToken(), payload);
  t.deepEqual([world.view.counters().parked, one!.replies().length], [fit, 0]);
  t.is(one!.result(Op.setOpt, world.newToken(), payload), ENOBUFS);
  const rest = PARKED_BYTES_MAX - fit * payload.length;
  one!.post(Op.setOpt, world.newToken(), payload.subarray(0, rest));
  t.is(one!.result(Op.setOpt, world.newToken(), payload.subarray(0, 1)), ENOBUFS);
  one!.post(Op.names, world.newToken());
  two!.post(Op.setOpt, world.newToken(), payload);
  const { parked, dropParked } = world.view.counters();
  t.deepEqual([parked, dropParked], [fit + 3, 2]);
  world.pass(2_001);
  t.is(world.view.counters().parked, 0);
  one!.post(Op.setOpt, world.newToken(), payload);
  t.is(world.view.counters().parked, 1);
});
