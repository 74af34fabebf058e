/** Users: limits of each, and whose connections may be picked up [5 sections 13 and 14]. */
import test from 'ava';
import type { PreloadConnection } from '#src/preload/client.js';
import { HelloKind, Op, type Token } from '#src/preload/protocol.js';
import { Quota } from '#src/preload/quota.js';
import {
  address,
  type Control,
  FakePort,
  hello,
  int32,
  OWN,
  SILENT,
  World,
} from '#test/helpers/preload-client.js';
import { ProgramDatagram } from '#test/helpers/preload-datagram.js';

const ANY = new Uint8Array(4);
const ENOBUFS = -105;
const EACCES = -13;

/** A stream socket of a user. */
class UserStream {
  readonly port = new FakePort();
  readonly token: Token;
  readonly connection: PreloadConnection;

  constructor(world: World, uid: number) {
    this.token = world.newToken();
    this.connection = world.view.open(this.port, { needsKey: false, uid });
    this.connection.handleBytes(hello(HelloKind.socket, this.token, 4, '\0'.repeat(8)));
  }

  /** Binds and listens; a negative errno number when that fails. */
  listen(root: Control, number: number): number {
    return (
      root.result(Op.bind, this.token, address(ANY, number)) ||
      root.result(Op.listen, this.token, int32(4096, 0))
    );
  }
}

test('a quota counts per user and throws when more comes back than went out', (t) => {
  const quota = new Quota(2);
  t.true(quota.take(1) && quota.take(1));
  t.false(quota.take(1));
  t.is(quota.refused, 1);
  t.true(quota.take(2) && quota.take(undefined));
  t.is(quota.total, 4);
  quota.give(1);
  t.true(quota.hasRoom(1));
  quota.give(2);
  t.throws(() => quota.give(2));
});

test('a quota of amounts: what fits exactly, nothing of what does not', (t) => {
  const quota = new Quota(10);
  t.true(quota.take(1, 9) && quota.take(1, 0));
  t.false(quota.take(1, 2));
  t.true(quota.take(1, 1) && quota.take(1, 0));
  t.false(quota.hasRoom(1));
  t.throws(() => quota.give(1, 11));
  quota.give(1, 10);
  t.true(quota.hasRoom(1, 10));
  t.false(quota.hasRoom(1, 11));
  t.is(quota.total, 0);
});

test('a user with all the sockets it may have leaves room for another', (t) => {
  const world = new World();
  const datagramOf = (uid: number) =>
    new ProgramDatagram(world, { caller: { needsKey: false, uid } });
  const first = datagramOf(1);
  for (let i = 1; i < 16384; i++) datagramOf(1);
  t.false(datagramOf(2).port.destroyed);
  t.true(datagramOf(1).port.destroyed);
  t.true(new UserStream(world, 1).port.destroyed);
  t.is(world.view.counters().dropSockets, 2);
  first.close();
  t.false(new UserStream(world, 1).port.destroyed);
  t.true(datagramOf(1).port.destroyed);
  t.is(world.view.counters().datagramSockets, 16384);
  world.view.close();
  t.is(world.view.counters().sockets, 0);
});

test('a user has at most 2,048 UDP ports, and another finds some', (t) => {
  const world = new World();
  const root = world.control(false, undefined, 0);
  const socketOf = (uid: number) =>
    new ProgramDatagram(world, { caller: { needsKey: false, uid } });
  const bind = (p: ProgramDatagram) => root.result(Op.bind, p.token, address(ANY, 0));
  const held = Array.from({ length: 2048 }, () => socketOf(1));
  t.true(held.every((p) => bind(p) === 0));
  t.is(bind(socketOf(1)), -105);
  t.is(world.view.counters().dropUdpPorts, 1);
  t.is(bind(socketOf(2)), 0);
  held[0]!.close();
  t.is(bind(socketOf(1)), 0);
  t.is(world.view.counters().udpPorts, 2049);
  world.view.close();
  t.is(world.view.counters().udpPorts, 0);
});

test('a user has at most 1,024 listeners, and another can listen too', (t) => {
  const world = new World();
  const root = world.control(false, undefined, 0);
  const held = Array.from({ length: 1024 }, () => new UserStream(world, 1));
  t.true(held.every((s, i) => s.listen(root, 1000 + i) === 0));
  const next = new UserStream(world, 1);
  t.is(next.listen(root, 10_000), ENOBUFS);
  t.is(new UserStream(world, 2).listen(root, 10_001), 0);
  t.is(held[1]!.listen(root, 0), -22, 'a socket that listens');
  held[0]!.connection.handleReset();
  t.is(root.result(Op.listen, next.token, int32(8, 0)), 0);
  const { listeners, dropListeners } = world.view.counters();
  t.deepEqual([listeners, dropListeners], [1025, 1]);
  world.view.close();
  t.is(world.view.counters().listeners, 0);
});

test('a user has at most 4,096 connections not yet accepted, and another has its own', (t) => {
  const world = new World();
  const root = world.control(false, undefined, 0);
  const servers = [1, 1, 2].map((uid) => new UserStream(world, uid));
  servers.forEach((s, i) => {
    t.is(s.listen(root, 80 + i), 0);
  });
  const connect = (port: number) => {
    const client = world.socket();
    root.post(Op.connect, client.token, address(OWN, port));
    return client;
  };
  for (let i = 0; i < 4095; i++) connect(80);
  connect(81);
  t.is(world.view.counters().waiting, 4096);
  connect(81);
  t.deepEqual([world.view.counters().waiting, world.view.counters().dropWaiting], [4096, 1]);
  connect(82);
  t.is(world.view.counters().waiting, 4097);
  servers[1]!.connection.handleReset();
  world.pass(10_000);
  t.is(world.view.counters().waiting, 4096, 'its listener is gone');
  connect(80);
  t.deepEqual([world.view.counters().waiting, world.view.counters().dropWaiting], [4097, 1]);
  for (const s of servers) s.connection.handleReset();
  world.pass(10_000);
  t.is(world.view.counters().waiting, 0);
});

test('a user has at most 1,024 control connections, and another has its own', (t) => {
  const world = new World();
  const held = Array.from({ length: 1024 }, () => world.control(false, undefined, 1));
  t.true(held.every((c) => !c.port.destroyed));
  t.true(world.control(false, undefined, 1).port.destroyed);
  t.false(world.control(false, undefined, 2).port.destroyed);
  held[0]!.connection.handleReset();
  t.false(world.control(false, undefined, 1).port.destroyed);
  t.true(world.control(false, undefined, 1).port.destroyed);
  const { controls, dropControls } = world.view.counters();
  t.deepEqual([controls, dropControls], [1025, 2]);
  world.view.close();
  t.is(world.view.counters().controls, 0);
});

test('a user has at most 4,096 early requests, and another can wait too', (t) => {
  const world = new World();
  const [one, two] = [1, 2].map((uid) => world.control(false, undefined, uid));
  for (let i = 0; i < 4096; i++) one!.post(Op.names, world.newToken());
  t.is(world.view.counters().parked, 4096);
  t.is(one!.result(Op.names, world.newToken()), -105);
  t.is(world.view.counters().dropParked, 1);
  const late = world.newToken();
  two!.post(Op.names, late);
  t.is(world.view.counters().parked, 4097);
  world.pass(2_001);
  t.is(world.view.counters().parked, 0);
  one!.post(Op.names, late);
  t.is(world.view.counters().parked, 1);
});

test('a connection is picked up by the user of its listener, root, or who knows the key', (t) => {
  const world = new World();
  const root = world.control(false, undefined, 0);
  const server = new UserStream(world, 1000);
  const { port } = server;
  t.is(server.listen(root, 80), 0);
  for (let i = 0; i < 3; i++) {
    const client = world.socket();
    t.is(root.result(Op.connect, client.token, address(OWN, 80)), 0);
  }
  const take = (index: number, uid: number, key?: Uint8Array) => {
    const id = port.bytes.toString('latin1', index * 64 + 8, index * 64 + 16);
    const bytes = hello(HelloKind.accepted, world.newToken(), 4, id);
    if (key !== undefined) {
      bytes[7] = 1;
      bytes.set(key, 40);
    }
    const picked = new FakePort();
    world.view.open(picked, { needsKey: false, uid }).handleBytes(bytes);
    return !picked.destroyed;
  };
  t.false(take(0, 1001), 'a stranger');
  t.is(world.view.counters().waiting, 3, 'it still waits');
  t.true(take(0, 1000));
  t.true(take(1, 0));
  t.true(take(2, 1001, world.view.key));
  t.is(world.view.counters().waiting, 0);
});

test('the binding of a finished socket is inherited by its user, root, or who knows the key', (t) => {
  const world = new World();
  const root = world.control(false, undefined, 0);
  const inherits = (port: number, uid: number, key?: Uint8Array) => {
    const old = new UserStream(world, 1000);
    root.post(Op.bind, old.token, address(OWN, port));
    root.post(Op.connect, old.token, address(SILENT, 80));
    root.post(Op.disconnect, old.token);
    const next = new UserStream(world, uid);
    const control = world.control(false, key, uid);
    const result = control.result(Op.inherit, next.token, Buffer.from(old.token, 'latin1'));
    return [result, root.ask(Op.names, next.token).payload.readUInt16BE(10)];
  };
  t.deepEqual(inherits(81, 1001), [EACCES, 0]);
  t.deepEqual(inherits(82, 1000), [0, 82]);
  t.deepEqual(inherits(83, 0), [0, 83]);
  t.deepEqual(inherits(84, 1001, world.view.key), [0, 84]);
});
