/** Users: limits of each, and whose connections may be picked up [5 sections 13 and 14]. */
import test from 'ava';
import { HelloKind, Op } from '#src/preload/protocol.js';
import { Quota } from '#src/preload/quota.js';
import { address, FakePort, hello, int32, OWN, World } from '#test/helpers/preload-client.js';
import { ProgramDatagram } from '#test/helpers/preload-datagram.js';

const ANY = new Uint8Array(4);

test('a quota counts per user and throws when more comes back than went out', (t) => {
  const quota = new Quota(2);
  t.true(quota.take(1) && quota.take(1));
  t.false(quota.take(1));
  t.true(quota.take(2) && quota.take(undefined));
  t.is(quota.total, 4);
  quota.give(1);
  t.true(quota.hasRoom(1));
  quota.give(2);
  t.throws(() => quota.give(2));
});

test('a user with all the sockets it may have leaves room for another', (t) => {
  const world = new World();
  const socketOf = (uid: number) =>
    new ProgramDatagram(world, { caller: { needsKey: false, uid } });
  for (let i = 0; i < 16384; i++) socketOf(1);
  const first = socketOf(2);
  t.true(socketOf(1).port.destroyed);
  t.false(first.port.destroyed);
  first.close();
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
  const port = new FakePort();
  const listening = world.newToken();
  const stream = world.view.open(port, { needsKey: false, uid: 1000 });
  stream.handleBytes(hello(HelloKind.socket, listening, 4, '\0'.repeat(8)));
  t.is(root.result(Op.bind, listening, address(ANY, 80)), 0);
  t.is(root.result(Op.listen, listening, int32(8, 0)), 0);
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
