import test from 'ava';
import type { HostNetwork } from '#src/preload/fallthrough.js';
import { Policy } from '#src/preload/policy.js';
import { BindFlag, Op, State } from '#src/preload/protocol.js';
import { emitSending } from '#src/preload/records.js';
import { address, type Control, int32, OWN, SILENT, World } from '#test/helpers/preload-client.js';
import { ProgramDatagram } from '#test/helpers/preload-datagram.js';

const ANY = new Uint8Array(4);
const ANY6 = new Uint8Array(16);
const FAR = Uint8Array.of(8, 8, 8, 8);
const GROUP = Uint8Array.of(239, 1, 2, 3);
const EINVAL = -22;
const ENOTCONN = -107;
const EADDRINUSE = -98;

/** A bound socket and its control connection. */
function bound(world: World, port: number, options: { family?: 4 | 6; flags?: number } = {}) {
  const control = world.control();
  const socket = new ProgramDatagram(world, { family: options.family ?? 4 });
  const ip = options.family === 6 ? ANY6 : ANY;
  const result = control.result(Op.bind, socket.token, address(ip, port, options.flags));
  if (result !== 0) throw new Error(`bind: ${result}`);
  return { control, socket };
}

function namesOf(control: Control, socket: ProgramDatagram) {
  const p = control.ask(Op.names, socket.token).payload;
  const end = (at: number) => ({
    family: p[at]!,
    port: p.readUInt16BE(at + 2),
    ip: p.subarray(at + 8, at + 12).join('.'),
  });
  return { state: p.readUInt32LE(0), local: end(8), peer: end(32) };
}

function setInt(control: Control, socket: ProgramDatagram, level: number, name: number, v: number) {
  return control.result(Op.setOpt, socket.token, int32(level, name, 4, v));
}

/** Nothing of datagram sockets may be left. */
function idle(world: World): Record<string, number> {
  const { datagramSockets, udpPorts, echoIds, ...rest } = world.view.counters();
  const { datagramsQueued, datagramBytesQueued, memberships } = rest;
  const stack = world.stack.counters()['datagrams'] ?? -1;
  const held = { datagramSockets, udpPorts, echoIds, memberships, stack };
  const all = { ...held, datagramsQueued, datagramBytesQueued };
  return Object.fromEntries(Object.entries(all).filter(([, n]) => n !== 0));
}

test('what was sent before a request is taken before it', (t) => {
  const world = new World();
  const server = bound(world, 53);
  const client = new ProgramDatagram(world);
  client.queue({ ip: OWN, port: 53 }, 'first');
  t.true(namesOf(server.control, client).local.port >= 49152, 'its port is known');
  client.queue({ ip: OWN, port: 53 }, 'second');
  t.is(setInt(server.control, client, 0, 2, 17), 0);
  client.send({ ip: OWN, port: 53 }, 'third');
  t.deepEqual(
    server.socket.take().map((r) => [Buffer.from(r.payload).toString(), r.ttl === 17]),
    [
      ['first', false],
      ['second', false],
      ['third', true],
    ],
  );
});

test('a request about a socket that ends with what was sent before it', (t) => {
  const world = new World();
  const control = world.control();
  const socket = new ProgramDatagram(world);
  socket.port.drain = () => socket.connection.handleReset();
  t.is(control.result(Op.bind, socket.token, address(ANY, 70)), ENOTCONN);
  t.deepEqual(idle(world), {});
});

test('an unconnected socket gets a port at its first send; the answer finds it', (t) => {
  const world = new World();
  const server = bound(world, 53);
  const client = new ProgramDatagram(world);
  t.is(namesOf(server.control, client).state, State.fresh);
  client.send({ ip: OWN, port: 53 }, 'question');
  const [got] = server.socket.take();
  t.is(Buffer.from(got!.payload).toString(), 'question');
  t.is(got!.from.ip.join('.'), OWN.join('.'));
  t.true(got!.from.port >= 49152);
  t.is(namesOf(server.control, client).local.port, got!.from.port);
  server.socket.send({ ip: got!.from.ip, port: got!.from.port }, 'answer');
  t.deepEqual(client.texts(), ['answer']);
  client.close();
  server.socket.close();
  t.deepEqual(idle(world), {});
});

test('bind: twice, conflict, foreign, shared; the port comes back with the program', (t) => {
  const world = new World();
  const { control, socket } = bound(world, 53);
  t.is(control.result(Op.bind, socket.token, address(ANY, 54)), EINVAL);
  const other = new ProgramDatagram(world);
  t.is(control.result(Op.bind, other.token, address(ANY, 53)), EADDRINUSE);
  t.is(control.result(Op.bind, other.token, address(FAR, 54)), -99);
  t.is(setInt(control, other, 1, 2, 1), 0);
  t.is(control.result(Op.bind, other.token, address(ANY, 53)), EADDRINUSE, 'both must reuse');
  socket.close();
  t.is(control.result(Op.bind, other.token, address(ANY, 53)), 0);
  other.close();
  t.deepEqual(idle(world), {});
});

test('bind to port 0 tells the port; TCP and UDP ports are apart', (t) => {
  const world = new World();
  const { control } = bound(world, 53);
  const socket = new ProgramDatagram(world);
  const reply = control.ask(Op.bind, socket.token, address(OWN, 0));
  t.is(reply.result, 0);
  t.true(reply.payload.readUInt16BE(2) >= 49152);
  const stream = world.socket();
  t.is(control.result(Op.bind, stream.token, address(ANY, 53)), 0);
});

test('connect fixes peer and own address; only the peer is heard; disconnect undoes it', (t) => {
  const world = new World();
  const server = bound(world, 53);
  const other = bound(world, 54);
  const { control, socket } = bound(world, 99);
  t.is(control.result(Op.connect, socket.token, address(OWN, 53)), 0);
  const names = namesOf(control, socket);
  t.deepEqual(
    [names.state, names.local.ip, names.peer.port],
    [State.established, OWN.join('.'), 53],
  );
  socket.send(undefined, 'hello');
  t.deepEqual(server.socket.texts(), ['hello']);
  other.socket.send({ ip: OWN, port: 99 }, 'from another');
  t.deepEqual(socket.texts(), []);
  t.deepEqual(other.socket.texts(), [], 'an unconnected sender hears of no refusal');
  socket.send({ ip: OWN, port: 54 }, 'elsewhere');
  t.deepEqual(other.socket.texts(), ['elsewhere']);
  t.is(control.result(Op.connect, socket.token, address(OWN, 54)), 0, 'connected anew');
  t.is(control.result(Op.disconnect, socket.token), 0);
  const after = namesOf(control, socket);
  t.deepEqual(
    [after.state, after.local.port, after.local.ip, after.peer.family],
    [State.bound, 99, '0.0.0.0', 0],
  );
  other.socket.send({ ip: OWN, port: 99 }, 'now');
  t.deepEqual(socket.texts(), ['now']);
});

test('disconnect gives up a port that nobody named', (t) => {
  const world = new World();
  const control = world.control();
  const socket = new ProgramDatagram(world);
  t.is(control.result(Op.connect, socket.token, address(OWN, 53)), 0);
  t.is(world.view.counters().udpPorts, 1);
  t.is(control.result(Op.disconnect, socket.token), 0);
  t.is(world.view.counters().udpPorts, 0);
  t.is(namesOf(control, socket).state, State.fresh);
  t.is(control.result(Op.bind, socket.token, address(ANY, 77)), 0);
});

test('a server with a connected socket and a second one on the same port, as iperf3 does', (t) => {
  const world = new World();
  const first = bound(world, 5201, { flags: 1 });
  const client = bound(world, 9);
  t.is(first.control.result(Op.connect, first.socket.token, address(OWN, 9)), 0);
  const second = bound(world, 5201, { flags: 1 });
  client.socket.send({ ip: OWN, port: 5201 }, 'known');
  const stranger = bound(world, 10);
  stranger.socket.send({ ip: OWN, port: 5201 }, 'new');
  t.deepEqual(first.socket.texts(), ['known']);
  t.deepEqual(second.socket.texts(), ['new']);
});

test('a refused datagram: the connected sender is told once, an unconnected one is not', (t) => {
  const world = new World();
  const control = world.control();
  const connected = new ProgramDatagram(world);
  const plain = new ProgramDatagram(world);
  t.is(control.result(Op.connect, connected.token, address(OWN, 7)), 0);
  connected.send(undefined, 'x');
  plain.send({ ip: OWN, port: 7 }, 'x');
  t.deepEqual(connected.texts(), ['errno 111']);
  t.deepEqual(plain.texts(), []);
  const datagrams = world.view.counters();
  t.is(datagrams.dropDatagramSend, 0, 'both were sent');
});

test('soft errors are told only with IP_RECVERR', (t) => {
  const world = new World();
  const control = world.control();
  const socket = new ProgramDatagram(world);
  const peer = { ip: SILENT, port: 7 };
  t.is(control.result(Op.connect, socket.token, address(SILENT, 7)), 0);
  const { port } = namesOf(control, socket).local;
  world.stack.udp.refuse(port, peer, 'EHOSTUNREACH');
  t.deepEqual(socket.texts(), []);
  t.is(setInt(control, socket, 0, 11, 1), 0);
  world.stack.udp.refuse(port, peer, 'EHOSTUNREACH');
  t.deepEqual(socket.texts(), ['errno 113']);
  world.stack.udp.refuse(port, { ip: SILENT, port: 8 }, 'ECONNREFUSED');
  t.deepEqual(socket.texts(), [], 'about another peer');
});

test('no route: connect says so; an unconnected send is counted', (t) => {
  const world = new World();
  const control = world.control();
  const socket = new ProgramDatagram(world);
  t.is(control.result(Op.connect, socket.token, address(FAR, 53)), -101);
  socket.send({ ip: FAR, port: 53 }, 'x');
  socket.send(undefined, 'x');
  t.deepEqual(socket.texts(), []);
  t.is(world.view.counters().dropDatagramSend, 2);
  const six = new Uint8Array(16).fill(0xfd);
  t.is(control.result(Op.connect, socket.token, address(six, 53)), -97);
});

test('dual-stack: an AF_INET6 socket gets IPv4 datagrams, with V6ONLY it does not', (t) => {
  const world = new World();
  const dual = bound(world, 53, { family: 6 });
  const sender = bound(world, 9);
  sender.socket.send({ ip: OWN, port: 53 }, 'four');
  const [got] = dual.socket.take();
  t.is(got!.from.family, 4, 'the library maps it');
  dual.socket.send({ ip: OWN, port: 9 }, 'back');
  t.deepEqual(sender.socket.texts(), ['back']);
  dual.socket.close();
  const only = new ProgramDatagram(world, { family: 6 });
  t.is(setInt(sender.control, only, 41, 26, 1), 0);
  t.is(sender.control.result(Op.bind, only.token, address(ANY6, 53)), 0);
  sender.socket.send({ ip: OWN, port: 53 }, 'four');
  t.deepEqual(only.texts(), []);
  const four = new ProgramDatagram(world);
  t.is(sender.control.result(Op.bind, four.token, address(ANY, 53)), 0, 'no conflict');
});

test('what is delivered says what the options ask for', (t) => {
  const world = new World();
  const { control, socket } = bound(world, 53);
  const client = bound(world, 9);
  const flagsOf = () => {
    client.socket.send({ ip: OWN, port: 53 }, 'x', { ttl: 5, tos: 8 });
    const [got] = socket.take();
    return got!;
  };
  t.is(flagsOf().flags, 0);
  for (const [level, name] of [
    [0, 8],
    [0, 12],
    [0, 13],
    [1, 29],
  ] as const) {
    t.is(setInt(control, socket, level, name, 1), 0);
  }
  const got = flagsOf();
  t.is(got.flags, 15);
  t.deepEqual([got.ttl, got.tos, got.interfaceIndex], [5, 8, 2]);
  t.is(Buffer.from(got.to).join('.'), OWN.join('.'));
  t.is(got.micros, BigInt(world.now().wall) * 1000n);
  client.socket.send({ ip: Uint8Array.of(127, 0, 0, 1), port: 53 }, 'x');
  t.is(socket.take()[0]?.interfaceIndex, 1, 'loopback');
});

test('TTL, TOS and source of what is sent: of the record, else of the socket', (t) => {
  const world = new World();
  const { control, socket } = bound(world, 9);
  t.is(setInt(control, socket, 0, 2, 33), 0);
  t.is(setInt(control, socket, 0, 1, 16), 0);
  socket.send({ ip: SILENT, port: 1 }, 'x');
  socket.send({ ip: SILENT, port: 1 }, 'x', { ttl: 7, tos: 4, source: OWN });
  const [plain, told] = world.stack.udp.sent;
  t.deepEqual([plain!.options.ttl, plain!.options.tos, plain!.options.source], [33, 16, OWN]);
  t.deepEqual([told!.options.ttl, told!.options.tos], [7, 4]);
  socket.send({ ip: SILENT, port: 1 }, 'x', { source: FAR });
  t.is(world.view.counters().dropDatagramSend, 1, 'not our address');
  const local = new ProgramDatagram(world);
  t.is(control.result(Op.bind, local.token, address(Uint8Array.of(127, 0, 0, 1), 0)), 0);
  local.send({ ip: SILENT, port: 1 }, 'x');
  t.is(world.view.counters().dropDatagramSend, 2, 'loopback does not leave the host');
});

test('a broadcast wants SO_BROADCAST and comes back to the own sockets', (t) => {
  const world = new World();
  const server = bound(world, 53);
  const { control, socket } = bound(world, 9);
  for (const ip of [Uint8Array.of(255, 255, 255, 255), Uint8Array.of(10, 147, 17, 255)]) {
    t.is(control.result(Op.connect, socket.token, address(ip, 53)), -13);
    socket.send({ ip, port: 53 }, 'no');
  }
  t.is(setInt(control, socket, 1, 6, 1), 0);
  socket.send({ ip: Uint8Array.of(10, 147, 17, 255), port: 53 }, 'yes');
  t.deepEqual(server.socket.texts(), ['yes']);
  t.is(world.stack.udp.sent.length, 1);
});

test('multicast: join, hear, options of sending, leave; the network is told', (t) => {
  const world = new World();
  const first = bound(world, 5353, { flags: 1 });
  const second = bound(world, 5353, { flags: 1 });
  const sender = bound(world, 9);
  const mreq = (name: number, ...address4: number[]) =>
    Buffer.concat([int32(0, name, 8), Buffer.from([...GROUP, ...address4])]);
  const say = (text: string) => sender.socket.send({ ip: GROUP, port: 5353 }, text);
  say('too early');
  t.deepEqual(first.socket.texts(), []);
  const { control } = first;
  t.is(control.result(Op.setOpt, first.socket.token, mreq(35, ...OWN)), 0);
  t.is(control.result(Op.setOpt, first.socket.token, mreq(35, ...OWN)), EADDRINUSE);
  t.is(control.result(Op.setOpt, second.socket.token, mreq(35, ...FAR)), -19);
  t.is(world.regroups, 1);
  say('joined by one');
  t.deepEqual(first.socket.texts(), ['joined by one']);
  t.deepEqual(second.socket.texts(), ['joined by one'], 'IP_MULTICAST_ALL is on');
  t.is(setInt(control, second.socket, 0, 49, 0), 0);
  say('for members');
  t.deepEqual(second.socket.texts(), []);
  const sent = world.stack.udp.sent[world.stack.udp.sent.length - 1]!;
  t.deepEqual([sent.options.ttl, sent.options.loop], [1, true]);
  t.is(control.result(Op.setOpt, sender.socket.token, int32(0, 33, 1).fill(9, 12)), EINVAL);
  const ttl = Buffer.concat([int32(0, 33, 1), Buffer.from([9])]);
  t.is(control.result(Op.setOpt, sender.socket.token, ttl), 0, 'one byte is enough');
  t.is(setInt(control, sender.socket, 0, 34, 0), 0);
  first.socket.take();
  say('not to myself');
  t.deepEqual(first.socket.texts(), []);
  const last = world.stack.udp.sent[world.stack.udp.sent.length - 1]!;
  t.deepEqual([last.options.ttl, last.options.loop], [9, false]);
  t.is(control.result(Op.setOpt, first.socket.token, mreq(36, 0, 0, 0, 0)), 0);
  t.is(control.result(Op.setOpt, first.socket.token, mreq(36, 0, 0, 0, 0)), -99);
  t.is(world.regroups, 2);
  for (const s of [first, second, sender]) s.socket.close();
  t.deepEqual(idle(world), {});
});

test('a slow reader: the kernel queue, then 512 records or 256 KiB, the newest dropped', (t) => {
  const world = new World();
  const server = bound(world, 53);
  const { socket } = bound(world, 9);
  server.socket.port.room = 2;
  for (let i = 0; i < 600; i++) socket.send({ ip: OWN, port: 53 }, `${i}`);
  const datagrams = world.view.counters();
  t.is(datagrams.datagramsQueued, 512);
  t.is(datagrams.dropDatagramQueue, 600 - 2 - 512);
  t.is(server.socket.port.refused, 1, 'nothing spins');
  server.socket.port.room = 1000;
  server.socket.connection.handleWritable();
  const texts = server.socket.texts();
  t.is(texts.length, 514);
  t.is(texts[513], '513');
  server.socket.port.room = 0;
  for (let i = 0; i < 30; i++) socket.send({ ip: OWN, port: 53 }, new Uint8Array(20_000));
  t.true(world.view.counters().datagramBytesQueued <= 256 * 1024);
  t.is(world.view.counters().datagramsQueued, 13);
  server.socket.close();
  socket.close();
  t.deepEqual(idle(world), {});
});

test('SO_RCVBUF bounds what waits, one datagram always fits; a large one is asked of the kernel', (t) => {
  const world = new World();
  const { control, socket } = bound(world, 53);
  const other = bound(world, 9).socket;
  const send = (len: number): void => other.send({ ip: OWN, port: 53 }, new Uint8Array(len));
  t.is(setInt(control, socket, 1, 8, 1_000), 0);
  t.is(socket.port.buffer, 1_000);
  for (const len of [3_000, 10, 10]) send(len);
  t.is(socket.port.sent.length, 1, 'above the doubled value alone, and nothing beside it');
  t.is(world.view.counters().dropDatagramQueue, 2);
  socket.port.read = 1;
  for (let i = 0; i < 20; i++) send(300);
  const records = socket.port.sent.slice(1);
  t.is(records.length, Math.floor(2_000 / records[0]!.length));
  t.is(world.view.counters().dropDatagramQueue, 2 + 20 - records.length);
});

test('shutdown: reading and writing stop; the descriptor is watched until it is closed', (t) => {
  const world = new World();
  const server = bound(world, 53);
  const { control, socket } = bound(world, 9);
  t.is(control.result(Op.shutdown, socket.token, int32(1)), -107, 'not connected');
  const other = bound(world, 10);
  t.is(control.result(Op.connect, other.socket.token, address(OWN, 53)), 0);
  t.is(control.result(Op.shutdown, other.socket.token, int32(1)), 0);
  other.socket.end();
  t.false(other.socket.port.reading);
  t.false(other.socket.port.destroyed);
  server.socket.send({ ip: OWN, port: 10 }, 'still heard');
  t.deepEqual(other.socket.texts(), ['still heard']);
  world.pass(5000);
  t.false(other.socket.port.destroyed);
  other.socket.port.held = false;
  world.pass(5000);
  t.true(other.socket.port.destroyed);
  t.is(control.result(Op.shutdown, server.socket.token, int32(0)), -107);
  t.is(control.result(Op.connect, server.socket.token, address(OWN, 9)), 0);
  socket.send({ ip: OWN, port: 53 }, 'lost');
  t.deepEqual(server.socket.texts(), []);
  socket.close();
  server.socket.close();
  t.deepEqual(idle(world), {});
});

test('ICMP echo: an identifier has one owner, which gets its replies', (t) => {
  const world = new World();
  const control = world.control();
  const ping = new ProgramDatagram(world, { protocol: 1 });
  const other = new ProgramDatagram(world, { protocol: 1 });
  t.is(control.result(Op.bind, ping.token, address(ANY, 77)), 0);
  t.is(control.result(Op.bind, other.token, address(ANY, 77)), EADDRINUSE);
  const request = Uint8Array.of(8, 0, 0, 0, 0xff, 0xff, 0, 1, 42);
  ping.send({ ip: OWN, port: 0 }, request);
  other.send({ ip: OWN, port: 0 }, request);
  const [reply] = ping.take();
  t.deepEqual([...reply!.payload], [0, 0, 0, 0, 0, 77, 0, 1, 42]);
  const [second] = other.take();
  t.not(Buffer.from(second!.payload).readUInt16BE(4), 0xffff, 'the own identifier is filled in');
  ping.send({ ip: OWN, port: 0 }, Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0));
  t.is(world.view.counters().dropDatagramSend, 1, 'only requests');
  ping.close();
  other.close();
  t.deepEqual(idle(world), {});
});

test('a HELLO that is not one, late, without key, or for another protocol is refused', (t) => {
  const world = new World();
  const refused = (s: ProgramDatagram) => s.port.destroyed;
  t.true(refused(new ProgramDatagram(world, { protocol: 6 })));
  t.true(refused(new ProgramDatagram(world, { family: 6, protocol: 1 })));
  const needsKey = { needsKey: true, uid: undefined };
  t.true(refused(new ProgramDatagram(world, { caller: needsKey })));
  t.true(refused(new ProgramDatagram(world, { caller: needsKey, key: new Uint8Array(16) })));
  const friend = new ProgramDatagram(world, { caller: needsKey, key: world.view.key });
  t.false(refused(friend));
  t.true(refused(new ProgramDatagram(world, { token: friend.token })), 'a token twice');
  const silent = world.view.openRecords(friend.port, needsKey);
  const port = new ProgramDatagram(world).port;
  world.view.openRecords(port, needsKey);
  world.pass(5000);
  t.true(port.destroyed, 'no HELLO within 5 s');
  silent.close();
});

test('records that break the format are counted and change nothing', (t) => {
  const world = new World();
  const { socket } = bound(world, 53);
  socket.raw(new Uint8Array(10));
  socket.raw(new Uint8Array(64).fill(0xff));
  const cut = emitSending({ ip: OWN, port: 53 }, new Uint8Array(4)).subarray(0, 66);
  socket.raw(cut);
  t.is(world.view.counters().dropDatagramRecord, 3);
  t.false(socket.port.destroyed);
});

test('only the owner, root, and who knows the key may ask about a socket', (t) => {
  const world = new World();
  const socket = new ProgramDatagram(world, { caller: { needsKey: false, uid: 1000 } });
  const bind = address(ANY, 53);
  t.is(world.control(false, undefined, 1001).result(Op.bind, socket.token, bind), -13);
  t.is(world.control(false, world.view.key, 1001).result(Op.names, socket.token), 0);
  t.is(world.control(false, undefined, 0).result(Op.names, socket.token), 0);
  t.is(world.control(false, undefined, 1000).result(Op.bind, socket.token, bind), 0);
});

test('SO_REUSEPORT is shared within one user only', (t) => {
  const world = new World();
  const root = world.control(false, undefined, 0);
  const make = (uid: number) => new ProgramDatagram(world, { caller: { needsKey: false, uid } });
  const [a, b, c] = [make(1), make(1), make(2)];
  for (const s of [a, b, c]) t.is(setInt(root, s, 1, 15, 1), 0);
  t.is(root.result(Op.bind, a.token, address(ANY, 53)), 0);
  t.is(root.result(Op.bind, b.token, address(ANY, 53)), 0);
  t.is(root.result(Op.bind, c.token, address(ANY, 53)), EADDRINUSE);
});

test('requests for streams are refused, a request that came early is carried out', (t) => {
  const world = new World();
  const control = world.control();
  const token = world.newToken();
  const early = control.post(Op.bind, token, address(ANY, 53));
  t.is(control.reply(early), undefined);
  new ProgramDatagram(world, { token });
  t.is(control.reply(early)?.result, 0);
  t.is(control.result(Op.listen, token, int32(5, 0)), -95);
  t.is(control.result(Op.waitConn, token, int32(0)), -95);
  t.is(control.ask(Op.takeErr, token, int32(0)).payload.readInt32LE(0), 0);
});

test('IP_FREEBIND binds to a foreign IPv4 address, and nothing leaves from there', (t) => {
  const world = new World();
  const { control, socket: server } = bound(world, 53);
  const foreign = new ProgramDatagram(world);
  t.is(setInt(control, foreign, 0, 15, 1), 0);
  t.is(control.result(Op.bind, foreign.token, address(FAR, 77)), 0);
  foreign.send({ ip: OWN, port: 53 }, 'forged');
  t.deepEqual(server.texts(), []);
  t.is(world.view.counters().dropDatagramSend, 1);
  t.is(control.result(Op.connect, foreign.token, address(OWN, 53)), -101);
  const once = new ProgramDatagram(world);
  t.is(setInt(control, once, 0, 15, 1), 0);
  const bytes = emitSending({ ip: OWN, port: 53 }, Buffer.from('forged'), { source: FAR });
  once.connection.handleRecord(bytes);
  world.drain();
  t.deepEqual(server.texts(), []);
  const stream = world.socket();
  t.is(control.result(Op.bind, stream.token, address(FAR, 78, BindFlag.freeBind)), 0);
  t.is(control.result(Op.connect, stream.token, address(OWN, 53)), -101);
});

const ENETUNREACH = -101;

test("an echo request is never the host's to carry, whatever the policy", (t) => {
  let opened = 0;
  const hostNetwork: Pick<HostNetwork, 'grant' | 'openDatagrams'> = {
    grant: () => ({ max: Policy.full, allow: [], deny: [] }),
    openDatagrams: () => {
      opened++;
      return 'ENOBUFS';
    },
  };
  const world = new World({ hostNetwork: hostNetwork as unknown as HostNetwork });
  const control = world.control();
  const policy = Policy.full;
  const far = Uint8Array.of(8, 8, 8, 8);
  const ping = new ProgramDatagram(world, { protocol: 1, policy });
  ping.send({ ip: far, port: 0 }, Uint8Array.of(8, 0, 0, 0, 0, 0, 0, 1));
  t.is(control.result(Op.connect, ping.token, address(far, 0)), ENETUNREACH);
  t.is(opened, 0);
  const udp = new ProgramDatagram(world, { policy });
  udp.send({ ip: far, port: 9 }, 'x');
  t.is(opened, 1, 'a datagram is');
});
