/** Connections that say nothing: how many of one user and of all the service keeps. */
import test from 'ava';
import { HELLOS_MAX, HELLOS_TOTAL_MAX, HelloLimits } from '#src/preload/hellos.js';
import { HelloKind } from '#src/preload/protocol.js';
import { FakePort, hello, World } from '#test/helpers/preload-client.js';
import { FakeRecordPort, ProgramDatagram } from '#test/helpers/preload-datagram.js';

/** A connection that says nothing, at the door for streams or that for records. */
function silent(world: World, uid: number | undefined, door: 'stream' | 'records' = 'stream') {
  const caller = { needsKey: true, uid };
  if (door === 'records') {
    const port = new FakeRecordPort();
    world.view.openRecords(port, caller);
    return port;
  }
  const port = new FakePort();
  const connection = world.view.open(port, caller);
  connection.handleBytes(hello(HelloKind.control, world.newToken(), 0, '\0'.repeat(8)).slice(1));
  return port;
}

const closed = (ports: { destroyed: boolean }[]) => ports.filter((p) => p.destroyed).length;

test('of one user the connection gives way that was silent longest, at whatever door', (t) => {
  const world = new World();
  const others = [silent(world, 2), silent(world, undefined)];
  const ports = Array.from({ length: HELLOS_MAX }, (_, i) =>
    silent(world, 1, i % 2 === 0 ? 'records' : 'stream'),
  );
  t.is(closed(ports), 0);
  silent(world, 1);
  t.deepEqual([ports[0]!.destroyed, closed(ports)], [true, 1]);
  silent(world, 1, 'records');
  t.deepEqual([ports[1]!.destroyed, closed(ports), closed(others)], [true, 2, 0]);
  t.is(world.view.counters().dropHellos, 2);
});

test('who says HELLO, is refused, or goes counts no longer', (t) => {
  const limits = new HelloLimits();
  const world = new World({ helloLimits: limits });
  for (let i = 0; i < 2 * HELLOS_MAX; i++) {
    world.control(false, undefined, 1);
    world.socket(4, 1);
    new ProgramDatagram(world, { caller: { needsKey: false, uid: 1 } });
    t.true(world.control(true, new Uint8Array(16), 1).port.destroyed);
    world.view.open(new FakePort(), { needsKey: true, uid: 1 }).handleReset();
    world.view.openRecords(new FakeRecordPort(), { needsKey: true, uid: 1 }).handleEnd();
  }
  t.deepEqual([limits.total, world.view.counters().dropHellos], [0, 0]);
});

test('of all users too, in all views together', (t) => {
  const limits = new HelloLimits();
  const worlds = [new World({ helloLimits: limits }), new World({ helloLimits: limits })];
  const ports = Array.from({ length: HELLOS_TOTAL_MAX }, (_, i) => silent(worlds[i % 2]!, i));
  t.deepEqual([closed(ports), limits.total], [0, HELLOS_TOTAL_MAX]);
  silent(worlds[1]!, 9999);
  t.deepEqual([ports[0]!.destroyed, closed(ports), limits.total], [true, 1, HELLOS_TOTAL_MAX]);
  t.deepEqual(
    worlds.map((w) => w.view.counters().dropHellos),
    [1, 0],
    'where the one was that gave way',
  );
  t.false(worlds[0]!.control(false, undefined, 5000).port.destroyed);
});

test('after its time a silent connection is closed, and its place is free', (t) => {
  const limits = new HelloLimits();
  const world = new World({ helloLimits: limits });
  const ports = [silent(world, 1), silent(world, 1, 'records')];
  world.pass(4_999);
  t.deepEqual([closed(ports), limits.total], [0, 2]);
  world.pass(1);
  t.deepEqual([closed(ports), limits.total], [2, 0]);
  silent(world, 1);
  world.view.close();
  t.deepEqual([limits.total, world.view.counters().dropHellos], [0, 0]);
});
