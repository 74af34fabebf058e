/** The own DNS server over TCP: framing, bounds, and who comes before it. */
import test from 'ava';
import { concatBytes } from '#src/lib/bytes.js';
import {
  DnsRcode,
  DnsType,
  emitQuery,
  parseAnswers,
  parseQuestion,
} from '#src/preload/dns-message.js';
import { Op, RequestFlag } from '#src/preload/protocol.js';
import {
  address,
  type Control,
  int32,
  OWN,
  type ProgramSocket,
  World,
} from '#test/helpers/preload-client.js';
import { ProgramDatagram } from '#test/helpers/preload-datagram.js';

const LOOPBACK = Uint8Array.of(127, 0, 0, 1);
const STUB = Uint8Array.of(127, 0, 0, 53);
const IDLE_MS = 10_000;
const MANY = Array.from({ length: 60 }, (_, i) => `10.9.9.${i} db\n`).join('');

const framed = (m: Uint8Array): Uint8Array =>
  concatBytes(Uint8Array.of(m.length >> 8, m.length), m);
const ask = (id: number, name = 'db'): Uint8Array => framed(emitQuery(id, name, DnsType.a)!);

/** Connects, with the padding of a program that reads. */
function dial(world: World, control: Control, ip = STUB, family: 4 | 6 = 4): ProgramSocket {
  const socket = world.socket(family);
  control.post(Op.connect, socket.token, address(ip, 53));
  world.pass(0);
  control.post(Op.padded, socket.token, int32(10), RequestFlag.noReply);
  socket.send('0'.repeat(10));
  return socket;
}

/** Messages that a program was written since the last call; it has read them. */
function take(world: World, socket: ProgramSocket): Uint8Array[] {
  world.pass(0);
  const out: Uint8Array[] = [];
  let rest: Uint8Array = socket.port.bytes;
  socket.port.written = [];
  while (rest.length >= 2) {
    const end = 2 + ((rest[0]! << 8) | rest[1]!);
    out.push(rest.slice(2, end));
    rest = rest.subarray(end);
  }
  socket.flush();
  return out;
}

function withNames(hosts = MANY): { world: World; control: Control } {
  const world = new World();
  world.hosts = hosts;
  return { world, control: world.control() };
}

test('what is cut over UDP comes whole over TCP, on both addresses', (t) => {
  const { world, control } = withNames();
  const udp = new ProgramDatagram(world);
  udp.send({ ip: STUB, port: 53 }, emitQuery(5, 'db', DnsType.a)!);
  const cut = udp.take()[0]!.payload;
  t.true(parseQuestion(cut)!.isTruncated);
  t.true(cut.length <= 512);
  for (const ip of [LOOPBACK, STUB]) {
    const socket = dial(world, control, ip);
    socket.send(ask(6));
    const [whole] = take(world, socket);
    t.false(parseQuestion(whole!)!.isTruncated);
    t.is(parseAnswers(whole!)!.length, 60);
    t.is(parseQuestion(whole!)!.id, 6);
  }
});

test('questions in any pieces are answered in turn, each when the last was read', (t) => {
  const { world, control } = withNames();
  const socket = dial(world, control);
  const three = concatBytes(concatBytes(ask(1), ask(2, 'no.where')), ask(3));
  for (const byte of three) socket.send(Uint8Array.of(byte));
  world.pass(0);
  t.is(parseQuestion(socket.port.bytes.subarray(2))!.id, 1);
  const first = socket.port.bytes.length;
  t.is(first, 2 + ((socket.port.bytes[0]! << 8) | socket.port.bytes[1]!), 'one answer alone');
  t.is(take(world, socket).length, 1);
  const [second] = take(world, socket);
  t.like(parseQuestion(second!), { id: 2, rcode: DnsRcode.noName });
  t.is(parseQuestion(take(world, socket)[0]!)!.id, 3);
});

test('a program that shut down its sending gets its answer, then the end', (t) => {
  const { world, control } = withNames();
  const socket = dial(world, control);
  socket.send(ask(1));
  socket.end(true);
  t.is(take(world, socket).length, 1);
  world.pass(0);
  t.true(socket.port.ended || socket.port.destroyed);
});

test('what is no question, or too long for one, ends the connection', (t) => {
  const { world, control } = withNames();
  for (const bytes of [
    framed(new Uint8Array(12)),
    Uint8Array.of(0, 0),
    Uint8Array.of(0x10, 0x01),
  ]) {
    const socket = dial(world, control);
    socket.send(bytes);
    world.pass(0);
    t.true(socket.port.destroyed);
    t.is(control.ask(Op.takeErr, socket.token, int32(0)).payload.readInt32LE(0), 104);
  }
});

test('a connection on which nothing happens ends, one with a question under way does not', (t) => {
  const { world, control } = withNames();
  world.dns = { domain: '', servers: [1, 2, 3].map((i) => ({ ip: OWN, port: 5300 + i })) };
  const server = new ProgramDatagram(world);
  t.is(control.result(Op.bind, server.token, address(OWN, 5301)), 0);
  const idle = dial(world, control);
  const asking = dial(world, control);
  world.pass(IDLE_MS - 1);
  t.false(idle.port.ended);
  asking.send(ask(4, 'slow.example'));
  world.pass(1);
  t.true(idle.port.ended);
  t.false(asking.port.ended);
  idle.send(ask(1));
  world.pass(0);
  t.true(idle.port.destroyed, 'a reset answers what comes later');
});

test('who goes away withdraws its question', (t) => {
  const { world, control } = withNames();
  world.dns = { domain: '', servers: [{ ip: OWN, port: 5300 }] };
  const server = new ProgramDatagram(world);
  t.is(control.result(Op.bind, server.token, address(OWN, 5300)), 0);
  const socket = dial(world, control);
  socket.send(ask(4, 'slow.example'));
  world.pass(0);
  t.is(world.view.counters().questions, 1);
  socket.reset();
  t.is(world.view.counters().questions, 0);
});

test('a program of the network that listens there comes first, and no longer than that', (t) => {
  const { world, control } = withNames();
  const app = world.socket();
  t.is(control.result(Op.bind, app.token, address(new Uint8Array(4), 53)), 0);
  t.is(control.result(Op.listen, app.token, int32(5)), 0);
  const taken = world.socket();
  control.post(Op.connect, taken.token, address(LOOPBACK, 53));
  world.pass(0);
  t.is(app.port.bytes.length, 64, 'the record of an accept');
  app.end(false);
  const socket = dial(world, control, LOOPBACK);
  socket.send(ask(6));
  t.is(take(world, socket).length, 1);
  const other = world.socket();
  control.post(Op.connect, other.token, address(Uint8Array.of(127, 0, 0, 2), 53));
  control.post(Op.padded, other.token, int32(10), RequestFlag.noReply);
  t.is(control.result(Op.connect, other.token, address(Uint8Array.of(127, 0, 0, 2), 53)), -111);
});
