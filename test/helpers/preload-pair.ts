/** Connections between two programs of tests of `PreloadView`. */
import { Op, RequestFlag } from '#src/preload/protocol.js';
import {
  address,
  type Control,
  int32,
  OWN,
  type ProgramSocket,
  type World,
} from './preload-client.js';

const ANY = new Uint8Array(4);

/** A listener on `port` with its control connection. */
export function listening(world: World, port: number, backlog = 8) {
  const control = world.control();
  const socket = world.socket();
  if (control.result(Op.bind, socket.token, address(ANY, port)) !== 0) throw new Error('bind');
  if (control.result(Op.listen, socket.token, int32(backlog, 0)) !== 0) throw new Error('listen');
  return { control, socket };
}

/** A non-blocking connect that has succeeded, and its padding read by the service. */
export function connected(world: World, port: number, uid?: number) {
  const control = world.control(false, undefined, uid);
  const socket = world.socket(4, uid);
  if (control.result(Op.connect, socket.token, address(OWN, port)) !== 0)
    throw new Error('connect');
  control.post(Op.padded, socket.token, int32(100), RequestFlag.noReply);
  socket.send(new Uint8Array(100));
  return { control, socket };
}

/** The last accept record of a listener, attached. */
export function acceptLast(world: World, listener: ProgramSocket): ProgramSocket {
  const records = listener.port.bytes;
  return world.accepted(records.subarray(records.length - 64));
}

export function stateOf(control: Control, socket: ProgramSocket): number {
  return control.ask(Op.names, socket.token).payload.readUInt32LE(0);
}

/** Both ends of one connection; the client is of user `uid`. */
export function pair(world: World, port = 80, uid?: number) {
  const server = listening(world, port);
  const client = connected(world, port, uid);
  const accepted = acceptLast(world, server.socket);
  return { server, client, accepted };
}

export function idle(world: World): void {
  const c = world.view.counters();
  if (c.ports !== 0 || c.listeners !== 0 || c.waiting !== 0) throw new Error(JSON.stringify(c));
  if (world.stack.counters()['pcbs'] !== 0) throw new Error('control blocks are left');
}
