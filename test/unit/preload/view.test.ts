import test from 'ava';
import { NEVER } from '#src/lib/time.js';
import { HelloKind, Op, RequestFlag, State } from '#src/preload/protocol.js';
import {
  address,
  Control,
  hello,
  int32,
  OWN,
  ProgramSocket,
  SILENT,
  World,
} from '#test/helpers/preload-client.js';
import {
  acceptLast,
  connected,
  idle,
  listening,
  pair,
  stateOf,
} from '#test/helpers/preload-pair.js';

const ANY = new Uint8Array(4);
const EADDRINUSE = -98;
const ENOTCONN = -107;

test('client and server meet: names, data both ways, padding invisible', (t) => {
  const world = new World();
  const { server, client, accepted } = pair(world);
  t.is(stateOf(client.control, client.socket), State.established);
  client.socket.send('to server');
  t.is(accepted.port.bytes.toString(), 'to server');
  accepted.send('to client');
  t.is(client.socket.port.bytes.toString(), 'to client');
  const names = client.control.ask(Op.names, client.socket.token).payload;
  t.deepEqual([...names.subarray(32 + 8, 32 + 12)], [...OWN]);
  t.is(names.readUInt16BE(32 + 2), 80);
  for (const s of [client.socket, accepted, server.socket]) s.end(false);
  world.pass(200);
  idle(world);
  t.pass();
});

test('while connecting the stream is not read; after success exactly the padding is skipped', (t) => {
  const world = new World();
  listening(world, 80);
  const control = world.control();
  const socket = world.socket();
  control.post(Op.connect, socket.token, address(OWN, 80));
  t.false(socket.port.reading);
  t.is(stateOf(control, socket), State.connecting, 'padding not announced');
  control.post(Op.padded, socket.token, int32(10), RequestFlag.noReply);
  t.true(socket.port.reading);
  t.is(stateOf(control, socket), State.established);
  socket.send(new Uint8Array(6));
  socket.send(Buffer.concat([Buffer.alloc(4), Buffer.from('data')]));
  const server = world.view.counters();
  t.is(server.waiting, 1);
});

test('a refused non-blocking connect closes the stream unread and keeps the error once', (t) => {
  const world = new World();
  const control = world.control();
  const socket = world.socket();
  t.is(control.result(Op.connect, socket.token, address(OWN, 81)), 0);
  t.false(socket.port.destroyed, 'the padding is not announced');
  control.post(Op.padded, socket.token, int32(10), RequestFlag.noReply);
  t.true(socket.port.destroyed);
  const first = control.ask(Op.takeErr, socket.token, int32(0)).payload;
  t.deepEqual([first.readInt32LE(0), first.readUInt32LE(4)], [111, State.failed]);
  t.is(control.ask(Op.takeErr, socket.token, int32(0)).payload.readInt32LE(0), 0);
  t.is(control.result(Op.connect, socket.token, address(OWN, 81)), -103, 'ECONNABORTED once');
  t.is(control.result(Op.connect, socket.token, address(OWN, 81)), 2, 'then REPLACE');
});

test('a refused blocking connect answers its waiter and keeps the stream', (t) => {
  const world = new World();
  const control = world.control();
  const wait = world.control();
  const socket = world.socket();
  control.post(Op.connect, socket.token, address(OWN, 81));
  t.is(wait.result(Op.waitConn, socket.token, int32(10)), -111);
  t.false(socket.port.destroyed);
  t.is(stateOf(control, socket), State.fresh);
  listening(world, 81);
  t.is(control.result(Op.connect, socket.token, address(OWN, 81)), 0, 'before the padding is read');
  const seq = wait.post(Op.waitConn, socket.token, int32(5));
  t.is(wait.reply(seq), undefined, 'not before the padding is read');
  socket.send(new Uint8Array(15));
  t.is(wait.reply(seq)?.result, 0);
  socket.send('x');
  t.is(stateOf(control, socket), State.established);
});

test('an unanswered connect says EALREADY, is watched, and ends with its program', (t) => {
  const world = new World();
  const control = world.control();
  const socket = world.socket();
  control.post(Op.connect, socket.token, address(SILENT, 9));
  control.post(Op.padded, socket.token, int32(1), RequestFlag.noReply);
  t.is(control.result(Op.connect, socket.token, address(SILENT, 9)), -114);
  t.is(socket.port.probes, 0);
  world.pass(1000);
  t.is(socket.port.probes, 1);
  socket.connection.handleProbe(true);
  world.pass(1000);
  t.is(socket.port.probes, 2);
  socket.connection.handleProbe(false);
  world.drain();
  idle(world);
});

test('a waiter that goes away is forgotten; the connect goes on', (t) => {
  const world = new World();
  const control = world.control();
  const wait = world.control();
  const socket = world.socket();
  control.post(Op.connect, socket.token, address(SILENT, 9));
  wait.post(Op.waitConn, socket.token, int32(1));
  wait.connection.handleEnd();
  t.is(stateOf(control, socket), State.connecting);
  t.is(world.view.counters().controls, 1);
});

test('connect reports success once, then EISCONN', (t) => {
  const world = new World();
  listening(world, 80);
  const { control, socket } = connected(world, 80);
  t.is(control.result(Op.connect, socket.token, address(OWN, 80)), 1);
  t.is(control.result(Op.connect, socket.token, address(OWN, 80)), -106);
});

test('without a route connect is ENETUNREACH and the socket stays fresh', (t) => {
  const world = new World();
  const control = world.control();
  const socket = world.socket();
  t.is(control.result(Op.connect, socket.token, address(Uint8Array.of(8, 8, 8, 8), 53)), -101);
  const six = new Uint8Array(16);
  six[0] = 0x20;
  const socket6 = world.socket(6);
  t.is(control.result(Op.connect, socket6.token, address(six, 53)), -101);
  t.is(stateOf(control, socket), State.fresh);
});

test('bind: conflict, foreign address, twice, port 0', (t) => {
  const world = new World();
  const { control } = listening(world, 80);
  const socket = world.socket();
  t.is(control.result(Op.bind, socket.token, address(OWN, 80)), EADDRINUSE);
  t.is(control.result(Op.bind, socket.token, address(Uint8Array.of(10, 9, 9, 9), 81)), -99);
  const reply = control.ask(Op.bind, socket.token, address(OWN, 0));
  t.is(reply.result, 0);
  t.true(reply.payload.readUInt16BE(2) >= 49152);
  t.is(control.result(Op.bind, socket.token, address(OWN, 0)), -22);
});

test('a request that overtook its HELLO waits for it, at most two seconds', (t) => {
  const world = new World();
  const control = world.control();
  const token = world.newToken();
  const seq = control.post(Op.bind, token, address(ANY, 80));
  t.is(control.reply(seq), undefined);
  t.is(world.view.counters().parked, 1);
  new ProgramSocket(world, token, 4, HelloKind.socket, '\0'.repeat(8));
  t.is(control.reply(seq)?.result, 0);
  t.is(world.view.counters().parked, 0);
  const late = control.post(Op.names, world.newToken());
  world.pass(1999);
  t.is(control.reply(late), undefined);
  world.pass(1);
  t.is(control.reply(late)?.result, ENOTCONN);
  t.is(control.result(Op.takeErr, world.newToken(), int32(0)), ENOTCONN, 'never parked');
  t.is(control.result(Op.eofInfo, world.newToken()), ENOTCONN, 'never parked');
  const none = new Uint8Array(0);
  const dead = control.post(Op.names, world.newToken(), none, RequestFlag.noPark);
  t.is(control.reply(dead)?.result, ENOTCONN, 'its stream has ended');
  t.is(world.view.counters().parked, 0);
});

test('bytes that follow HELLO in the same read belong to the socket', (t) => {
  const world = new World();
  const server = listening(world, 80);
  const client = connected(world, 80);
  const record = server.socket.port.bytes;
  const id = String.fromCharCode(...record.subarray(8, 16));
  const accepted = new ProgramSocket(world, world.newToken(), 4, HelloKind.accepted, id, false);
  const bytes = hello(HelloKind.accepted, accepted.token, 4, id);
  accepted.send(bytes.subarray(0, 30));
  accepted.send(Buffer.concat([bytes.subarray(30), Buffer.from('early')]));
  t.is(client.socket.port.bytes.toString(), 'early');
});

test('data that arrives before a connection is picked up is delivered with it', (t) => {
  const world = new World();
  const server = listening(world, 80);
  const client = connected(world, 80);
  client.socket.send('before');
  client.socket.end(true);
  const accepted = acceptLast(world, server.socket);
  t.is(accepted.port.bytes.toString(), 'before');
  t.true(accepted.port.ended);
});

test('a program that does not read closes the window; reading opens it', (t) => {
  const world = new World();
  const { client, accepted } = pair(world);
  accepted.port.stuck = true;
  let sent = 0;
  for (let i = 0; i < 100 && client.socket.port.reading; i++) {
    client.socket.send(new Uint8Array(16384).fill(i));
    sent += 16384;
  }
  t.false(client.socket.port.reading, 'the sender is stopped');
  t.true(sent <= 65536 * 2 + 16384, `${sent} bytes were taken`);
  accepted.flush();
  t.true(client.socket.port.reading);
  t.is(accepted.port.bytes.length, sent);
});

test('half-close passes on, the other direction stays open, both ends close the stream', (t) => {
  const world = new World();
  const { client, accepted } = pair(world);
  client.socket.end(true);
  t.true(accepted.port.ended);
  t.false(accepted.port.destroyed);
  accepted.send('late');
  t.is(client.socket.port.bytes.toString(), 'late');
  accepted.end(true);
  t.true(client.socket.port.ended);
  t.true(client.socket.port.destroyed);
  t.is(client.control.ask(Op.eofInfo, client.socket.token).payload.readInt32LE(0), 0);
  t.is(stateOf(client.control, client.socket), State.closed);
});

test('a half-closed program that vanishes is noticed', (t) => {
  const world = new World();
  const { client, accepted } = pair(world);
  client.socket.end(true);
  const probes = client.socket.port.probes;
  world.pass(5000);
  t.is(client.socket.port.probes, probes + 1);
  client.socket.connection.handleProbe(false);
  accepted.send('nobody reads this');
  t.true(accepted.port.destroyed, 'answered with a reset');
});

test('a closed program with undelivered data resets its peer', (t) => {
  const world = new World();
  const { client, accepted } = pair(world);
  client.socket.port.stuck = true;
  accepted.send('unread');
  client.socket.end(false);
  t.true(accepted.port.destroyed);
  t.is(client.control.ask(Op.eofInfo, accepted.token).payload.readInt32LE(0), 104);
  t.is(client.control.ask(Op.eofInfo, accepted.token).payload.readInt32LE(0), 0, 'once');
});

test('linger {1, 0} resets at close', (t) => {
  const world = new World();
  const { client, accepted } = pair(world);
  t.is(client.control.result(Op.setOpt, client.socket.token, int32(1, 13, 8, 1, 0)), 0);
  client.socket.end(false);
  t.is(client.control.ask(Op.takeErr, accepted.token, int32(0)).payload.readInt32LE(0), 104);
});

test('linger {1, 0} resets at close after the end of the peer too, not after a shutdown', (t) => {
  for (const saysShutdown of [false, true]) {
    const world = new World();
    const { client, accepted } = pair(world);
    t.is(client.control.result(Op.setOpt, accepted.token, int32(1, 13, 8, 1, 0)), 0);
    client.socket.end(true);
    t.true(accepted.port.ended);
    accepted.send('part');
    if (saysShutdown) t.is(client.control.result(Op.shutdown, accepted.token, int32(1)), 0);
    accepted.end(false);
    t.is(client.socket.port.bytes.toString(), 'part');
    const error = client.control.ask(Op.eofInfo, client.socket.token).payload.readInt32LE(0);
    t.is(error, saysShutdown ? 0 : 104);
  }
});

test('a reset after the end of the peer: reads say "end", SO_ERROR says EPIPE', (t) => {
  const world = new World();
  const { client, accepted } = pair(world);
  accepted.end(false);
  t.true(client.socket.port.ended);
  client.socket.send('to nobody');
  t.true(client.socket.port.destroyed);
  t.is(client.control.ask(Op.eofInfo, client.socket.token).payload.readInt32LE(0), 0);
  t.is(client.control.ask(Op.takeErr, client.socket.token, int32(0)).payload.readInt32LE(0), 32);
  t.is(stateOf(client.control, client.socket), State.closed);
});

test('SO_RCVBUF bounds what the kernel holds for the program, inherited by accepted sockets', (t) => {
  const world = new World();
  const server = listening(world, 80);
  t.is(server.control.result(Op.setOpt, server.socket.token, int32(1, 8, 4, 8192)), 0);
  const client = connected(world, 80);
  t.is(client.socket.port.limit, undefined);
  t.is(acceptLast(world, server.socket).port.limit, 8192);
  t.is(client.control.result(Op.setOpt, client.socket.token, int32(1, 8, 4, 4096)), 0);
  t.is(client.socket.port.limit, 4096);
});

test('after a reset the program still gets what waited for it', (t) => {
  const world = new World();
  const { client, accepted } = pair(world);
  client.socket.port.stuck = true;
  accepted.send('last words');
  accepted.reset();
  t.false(client.socket.port.destroyed);
  client.socket.flush();
  t.is(client.socket.port.bytes.toString(), 'last words');
  t.true(client.socket.port.destroyed);
});

test('SHUTDOWN(RD): input is discarded and acknowledged, output goes on', (t) => {
  const world = new World();
  const { client, accepted } = pair(world);
  t.is(client.control.result(Op.shutdown, client.socket.token, int32(0)), 0);
  for (let i = 0; i < 20; i++) accepted.send(new Uint8Array(16384));
  t.is(client.socket.port.bytes.length, 0);
  t.true(accepted.port.reading);
  client.socket.send('out');
  t.is(accepted.port.bytes.toString(), 'out');
});

test('a closed listener resets waiting connections, but not one that is just being picked up', (t) => {
  const world = new World();
  const server = listening(world, 80);
  const first = connected(world, 80);
  const second = connected(world, 80);
  server.socket.end(false);
  const records = server.socket.port.bytes;
  const accepted = world.accepted(records.subarray(0, 64));
  t.false(accepted.port.destroyed);
  world.pass(100);
  t.false(first.socket.port.destroyed);
  t.true(second.socket.port.destroyed);
  t.is(second.control.ask(Op.eofInfo, second.socket.token).payload.readInt32LE(0), 104);
  const third = world.socket();
  first.control.post(Op.connect, third.token, address(OWN, 80));
  t.is(first.control.result(Op.waitConn, third.token, int32(0)), -111);
});

test('a record whose reader died is an orphan: reset five seconds after a later one was attached', (t) => {
  const world = new World();
  const server = listening(world, 80);
  const lost = connected(world, 80);
  connected(world, 80);
  acceptLast(world, server.socket);
  world.pass(4999);
  t.false(lost.socket.port.destroyed);
  world.pass(1);
  t.true(lost.socket.port.destroyed);
});

test('a connection nobody has looked at yet is no orphan', (t) => {
  const world = new World();
  listening(world, 80);
  const waiting = connected(world, 80);
  world.pass(60_000);
  t.false(waiting.socket.port.destroyed);
});

test('REQUEUE offers a connection again, REJECT resets it', (t) => {
  const world = new World();
  const server = listening(world, 80);
  const client = connected(world, 80);
  const record = server.socket.port.bytes;
  const answer = Buffer.concat([Buffer.from('ZTNR'), int32(1), record.subarray(8, 16)]);
  server.socket.send(answer.subarray(0, 5));
  server.socket.send(answer.subarray(5));
  t.is(server.socket.port.bytes.length, 128);
  t.deepEqual(server.socket.port.bytes.subarray(64), record);
  answer.writeUInt32LE(2, 4);
  server.socket.send(answer);
  t.true(client.socket.port.destroyed);
  t.is(world.view.counters().waiting, 0);
});

test('SO_REUSEPORT: connections spread over the group and move on when a member closes', (t) => {
  const world = new World();
  const control = world.control();
  const members = [world.socket(), world.socket()];
  for (const m of members) {
    control.post(Op.setOpt, m.token, int32(1, 15, 4, 1));
    t.is(control.result(Op.bind, m.token, address(ANY, 80)), 0);
    t.is(control.result(Op.listen, m.token, int32(8, 0)), 0);
  }
  const clients = [0, 1, 2, 3].map(() => connected(world, 80));
  t.is(members[0]!.port.bytes.length, 128);
  t.is(members[1]!.port.bytes.length, 128);
  members[0]!.end(false);
  world.pass(100);
  t.is(members[1]!.port.bytes.length, 256);
  t.true(clients.every((c) => !c.socket.port.destroyed));
  const third = world.socket();
  t.is(control.result(Op.bind, third.token, address(ANY, 80)), EADDRINUSE);
});

test('TCP_DEFER_ACCEPT offers a connection at its first bytes or after its seconds', (t) => {
  const world = new World();
  const server = listening(world, 80);
  server.control.post(Op.setOpt, server.socket.token, int32(6, 9, 4, 3));
  const talking = connected(world, 80);
  connected(world, 80);
  t.is(server.socket.port.bytes.length, 0);
  talking.socket.send('x');
  t.is(server.socket.port.bytes.length, 64);
  world.pass(3000);
  t.is(server.socket.port.bytes.length, 128);
});

test('records wait for the stream and go out whole', (t) => {
  const world = new World();
  const server = listening(world, 80, 4096);
  server.socket.port.stuck = true;
  for (let i = 0; i < 5; i++) connected(world, 80);
  t.is(server.socket.port.bytes.length, 64, 'one is on its way');
  server.socket.flush();
  t.is(server.socket.port.bytes.length, 5 * 64);
});

test('cork holds less than a segment for 200 ms', (t) => {
  const world = new World();
  const { client, accepted } = pair(world);
  client.control.post(Op.setOpt, client.socket.token, int32(6, 3, 4, 1));
  client.socket.send('ab');
  client.socket.send('cd');
  t.is(accepted.port.bytes.length, 0);
  world.pass(200);
  t.is(accepted.port.bytes.toString(), 'abcd');
  client.socket.send('ef');
  client.control.post(Op.setOpt, client.socket.token, int32(6, 3, 4, 0));
  t.is(accepted.port.bytes.toString(), 'abcdef');
});

test('corked bytes are not lost at close', (t) => {
  const world = new World();
  const { client, accepted } = pair(world);
  client.control.post(Op.setOpt, client.socket.token, int32(6, 3, 4, 1));
  client.socket.send('tail');
  client.socket.end(false);
  t.is(accepted.port.bytes.toString(), 'tail');
  t.true(accepted.port.ended);
});

test('a failed socket hands its options and binding to the one that replaces it', (t) => {
  const world = new World();
  const control = world.control();
  const old = world.socket();
  control.post(Op.setOpt, old.token, int32(6, 1, 4, 1));
  control.post(Op.bind, old.token, address(OWN, 5000));
  control.post(Op.connect, old.token, address(OWN, 81));
  control.post(Op.padded, old.token, int32(0), RequestFlag.noReply);
  const fresh = world.socket();
  t.is(control.result(Op.inherit, fresh.token, Buffer.from(old.token, 'latin1')), 0);
  const names = control.ask(Op.names, fresh.token).payload;
  t.deepEqual([names.readUInt32LE(0), names.readUInt16BE(10)], [State.bound, 5000]);
  t.is(control.ask(Op.getOpt, fresh.token, int32(6, 1, 4)).payload.readInt32LE(4), 1);
});

test('DISCONNECT resets a connection and asks for a new stream; on a fresh socket it does nothing', (t) => {
  const world = new World();
  const { client, accepted } = pair(world);
  t.is(client.control.result(Op.disconnect, client.socket.token), 2);
  t.true(accepted.port.destroyed);
  t.is(client.control.result(Op.disconnect, world.socket().token), 0);
});

test('HELLO: five seconds, right magic and version, no second use of a token', (t) => {
  const world = new World();
  const silent = new ProgramSocket(world, world.newToken(), 4, HelloKind.socket, '', false);
  world.pass(4999);
  t.false(silent.port.destroyed);
  world.pass(1);
  t.true(silent.port.destroyed);
  const garbage = new ProgramSocket(world, world.newToken(), 4, HelloKind.socket, '', false);
  garbage.send(new Uint8Array(64));
  t.true(garbage.port.destroyed);
  const taken = world.socket();
  const again = new ProgramSocket(world, taken.token, 4, HelloKind.socket, '\0'.repeat(8));
  t.true(again.port.destroyed);
  t.false(taken.port.destroyed);
  const unknown = new ProgramSocket(world, world.newToken(), 4, HelloKind.accepted, '12345678');
  t.true(unknown.port.destroyed, 'unknown connection id');
  const old = new ProgramSocket(world, world.newToken(), 4, HelloKind.control, '', false);
  const bytes = hello(HelloKind.control, old.token, 0, '\0'.repeat(8));
  bytes[4] = 2;
  old.send(bytes);
  t.is(old.port.bytes.length, 64, 'WELCOME tells the version');
  t.true(old.port.destroyed);
});

test('the abstract door wants the key', (t) => {
  const world = new World();
  const without = new Control(world, true);
  t.true(without.port.destroyed);
  const wrong = new Control(world, true, new Uint8Array(16));
  t.true(wrong.port.destroyed);
  const right = new Control(world, true, world.view.key);
  t.is(right.result(Op.ping), 0);
});

test('a request in pieces, several at once, an unknown one, a bad length', (t) => {
  const world = new World();
  const control = world.control();
  const ping = Buffer.alloc(32);
  ping.writeUInt32LE(32, 0);
  ping.writeUInt16LE(Op.ping, 4);
  for (const byte of ping) control.connection.handleBytes(Uint8Array.of(byte));
  control.connection.handleBytes(Buffer.concat([ping, ping]));
  t.is(control.replies().length, 3);
  t.is(control.result(99), -95);
  t.is(control.result(Op.bind, world.socket().token, new Uint8Array(5)), -22);
  ping.writeUInt32LE(31, 0);
  control.connection.handleBytes(ping);
  t.true(control.port.destroyed);
});

test('a client that reads no replies is cut off', (t) => {
  const world = new World();
  const control = world.control();
  control.port.stuck = true;
  for (let i = 0; i < 256 * 64 && !control.port.destroyed; i++) control.post(Op.ping, undefined);
  t.false(control.port.destroyed);
  control.post(Op.ping, undefined);
  t.true(control.port.destroyed);
});

test('names: RESOLVE, REVERSE, SRCADDR and IFLIST answer', (t) => {
  const world = new World();
  world.hosts = '10.147.17.9 web\n';
  const control = world.control();
  const found = control.ask(
    Op.resolve,
    undefined,
    Buffer.from([0, 0, 3, 0, ...Buffer.from('web')]),
  );
  t.is(found.result, 0);
  t.is(found.payload.readUInt16LE(0), 1);
  t.is(control.result(Op.resolve, undefined, Buffer.from([0, 0, 3, 0, ...Buffer.from('xyz')])), -2);
  t.is(
    control
      .ask(Op.reverse, undefined, address(Uint8Array.of(10, 147, 17, 9), 0))
      .payload.toString('latin1', 2),
    'web',
  );
  t.deepEqual(
    [...control.ask(Op.srcAddr, undefined, address(SILENT, 0)).payload.subarray(8, 12)],
    [...OWN],
  );
  t.is(control.result(Op.srcAddr, undefined, address(Uint8Array.of(9, 9, 9, 9), 0)), -101);
  t.is(control.ask(Op.ifList).payload.readUInt16LE(0), 2);
});

test('close ends every connection and leaves nothing', (t) => {
  const world = new World();
  const { client, accepted, server } = pair(world);
  world.view.close();
  world.drain();
  for (const s of [client.socket, accepted, server.socket]) t.true(s.port.destroyed);
  t.true(client.control.port.destroyed);
  idle(world);
  world.pass(120_000);
  t.is(world.view.deadline(), NEVER);
});
