/** RESOLVE, REVERSE, DNSRAW and the own DNS server, with servers that are programs of the view. */
import test from 'ava';
import {
  DnsRcode,
  DnsType,
  emitName,
  emitQuery,
  emitReply,
  parseAnswers,
  parseQuestion,
} from '#src/preload/dns-message.js';
import type { HostNetwork } from '#src/preload/fallthrough.js';
import { Policy } from '#src/preload/policy.js';
import { Op } from '#src/preload/protocol.js';
import { address, Control, int32, OWN, SILENT, World } from '#test/helpers/preload-client.js';
import { ProgramDatagram } from '#test/helpers/preload-datagram.js';

const PORT = 5300;
const LOOPBACK = Uint8Array.of(127, 0, 0, 1);
const STUB = Uint8Array.of(127, 0, 0, 53);

function resolvePayload(name: string, family = 4, flags = 0): Uint8Array {
  const text = Buffer.from(name);
  return Buffer.concat([Buffer.from([family, flags, text.length & 0xff, text.length >> 8]), text]);
}

function rawPayload(message: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from([message.length & 0xff, message.length >> 8]), message]);
}

/** A world whose network pushed `OWN:5300`, where a program listens. */
function withServer(domain = '') {
  const world = new World();
  world.dns = { domain, servers: [{ ip: OWN, port: PORT }] };
  const control = world.control();
  const server = new ProgramDatagram(world);
  if (control.result(Op.bind, server.token, address(OWN, PORT)) !== 0) throw new Error('bind');
  /** Answers every question that waits; how many there were. */
  const answer = (
    data: (type: number, name: string) => Uint8Array[] | number,
    change = (m: Uint8Array) => m,
  ) => {
    const asked = server.take();
    for (const { payload, from } of asked) {
      const question = parseQuestion(payload)!;
      const result = data(question.type, question.name);
      const [rcode, records] = typeof result === 'number' ? [result, []] : [0, result];
      const reply = change(emitReply(payload, question, rcode, records));
      server.send({ ip: from.ip, port: from.port }, reply);
    }
    return asked.length;
  };
  return { world, control, server, answer };
}

/** Addresses of a RESOLVE reply, as text. */
function addressesOf(payload: Buffer): string[] {
  const start = 4 + payload.readUInt16LE(2);
  return Array.from({ length: payload.readUInt16LE(0) }, (_, i) => {
    const at = start + i * 24;
    return payload[at] === 4
      ? payload.subarray(at + 8, at + 12).join('.')
      : payload.toString('hex', at + 8, at + 24);
  });
}

test('RESOLVE asks the pushed server; both families; nothing is left', (t) => {
  const { world, control, server, answer } = withServer();
  const one = control.post(Op.resolve, undefined, resolvePayload('db.example'));
  t.is(control.reply(one), undefined);
  t.is(
    answer((type) => (type === DnsType.a ? [Uint8Array.of(10, 1, 1, 1)] : [])),
    1,
  );
  t.deepEqual(addressesOf(control.reply(one)!.payload), ['10.1.1.1']);
  const both = control.post(Op.resolve, undefined, resolvePayload('db.example', 0));
  const six = new Uint8Array(16).fill(0xfd);
  t.is(
    answer((type) => [type === DnsType.a ? Uint8Array.of(10, 1, 1, 2) : six]),
    2,
  );
  t.deepEqual(addressesOf(control.reply(both)!.payload), ['10.1.1.2', 'fd'.repeat(16)]);
  server.close();
  const { questions, udpPorts } = world.view.counters();
  t.deepEqual([questions, udpPorts, world.stack.counters()['datagrams']], [0, 0, 0]);
});

test('results: no such name, refused, silent servers after two tries of three seconds each', (t) => {
  const { world, control, server, answer } = withServer();
  const ask = () => control.post(Op.resolve, undefined, resolvePayload('x.example'));
  const missing = ask();
  answer(() => DnsRcode.noName);
  t.is(control.reply(missing)?.result, -2);
  const empty = ask();
  answer(() => []);
  t.is(control.reply(empty)?.result, 0);
  const failing = ask();
  answer(() => DnsRcode.failure);
  answer(() => DnsRcode.failure);
  t.is(control.reply(failing)?.result, -11);
  const refusing = ask();
  answer(() => 5);
  answer(() => 5);
  t.is(control.reply(refusing)?.result, -5);
  const silent = ask();
  world.pass(5999);
  t.is(control.reply(silent), undefined);
  world.pass(1);
  t.is(control.reply(silent)?.result, -11);
  t.is(server.take().length, 2);
  t.is(world.view.counters().questions, 0);
});

test('a dead server is passed over: the second one answers within three seconds', (t) => {
  const { world, control, answer } = withServer();
  world.dns = {
    domain: '',
    servers: [
      { ip: SILENT, port: 53 },
      { ip: OWN, port: PORT },
    ],
  };
  const seq = control.post(Op.resolve, undefined, resolvePayload('db.example'));
  world.pass(3000);
  t.is(
    answer(() => [Uint8Array.of(10, 1, 1, 1)]),
    1,
  );
  t.is(control.reply(seq)?.result, 0);
});

test('a refused port is as good as an answer of no: the next try comes at once', (t) => {
  const world = new World();
  world.dns = { domain: '', servers: [{ ip: OWN, port: 9 }] };
  const control = world.control();
  const seq = control.post(Op.resolve, undefined, resolvePayload('db.example'));
  t.is(control.reply(seq)?.result, -11);
});

test('answers that are not: another name, another identifier, another sender', (t) => {
  const { world, control, answer } = withServer();
  const seq = control.post(Op.resolve, undefined, resolvePayload('db.example'));
  const spoiled = (m: Uint8Array) => {
    m[0] = m[0]! ^ 1;
    return m;
  };
  answer(() => [Uint8Array.of(6, 6, 6, 6)], spoiled);
  t.is(control.reply(seq), undefined);
  world.pass(3000);
  answer(() => [Uint8Array.of(10, 1, 1, 1)]);
  t.deepEqual(addressesOf(control.reply(seq)!.payload), ['10.1.1.1']);
});

test('a truncated answer is asked for again over TCP', (t) => {
  const { world, control, answer } = withServer();
  const listener = world.socket();
  t.is(control.result(Op.bind, listener.token, address(OWN, PORT)), 0);
  t.is(control.result(Op.listen, listener.token, int32(4, 0)), 0);
  const seq = control.post(Op.resolve, undefined, resolvePayload('big.example'));
  answer(
    () => [],
    (m) => {
      m[2] = m[2]! | 2;
      return m;
    },
  );
  const accepted = world.accepted(listener.port.bytes.subarray(0, 64));
  const query = accepted.port.bytes.subarray(2);
  t.is(accepted.port.bytes.readUInt16BE(0), query.length);
  const question = parseQuestion(query)!;
  const data = Array.from({ length: 60 }, (_, i) => Uint8Array.of(10, 2, 0, i));
  const reply = emitReply(query, question, 0, data);
  const framed = Buffer.concat([Buffer.from([reply.length >> 8, reply.length & 0xff]), reply]);
  accepted.send(framed.subarray(0, 1));
  accepted.send(framed.subarray(1, 100));
  t.is(control.reply(seq), undefined);
  accepted.send(framed.subarray(100));
  t.is(addressesOf(control.reply(seq)!.payload).length, 60);
});

test('a server that streams something else over TCP is left at its first message', (t) => {
  const { world, control, server, answer } = withServer();
  const listener = world.socket();
  t.is(control.result(Op.bind, listener.token, address(OWN, PORT)), 0);
  t.is(control.result(Op.listen, listener.token, int32(4, 0)), 0);
  const seq = control.post(Op.resolve, undefined, resolvePayload('big.example'));
  const cut = (m: Uint8Array) => {
    m[2] = m[2]! | 2;
    return m;
  };
  answer(() => [], cut);
  const accepted = world.accepted(listener.port.bytes.subarray(0, 64));
  accepted.send(Buffer.from([0, 3, 1, 2, 3]));
  accepted.send(Buffer.alloc(1400));
  t.is(
    answer(() => [Uint8Array.of(10, 1, 1, 1)]),
    1,
    'the next try comes at once',
  );
  t.deepEqual(addressesOf(control.reply(seq)!.payload), ['10.1.1.1']);
  server.close();
  t.is(world.view.counters().questions, 0);
});

test('names from a server that are no host names are not passed on', (t) => {
  const { control, server, answer } = withServer();
  for (const bad of ['a;reboot.example', '-rf.example', 'a"b', '']) {
    const seq = control.post(Op.reverse, undefined, address(SILENT, 0));
    answer(() => [emitName(bad)!]);
    t.is(control.reply(seq)?.result, -2, bad);
  }
  const seq = control.post(Op.resolve, undefined, resolvePayload('www.example', 4, 1));
  const [asked] = server.take();
  const head = emitReply(asked!.payload, parseQuestion(asked!.payload)!, 0).slice();
  head[7] = 2;
  const target = emitName('$(x).example')!;
  const alias = [0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, target.length, ...target];
  const at = head.length + 12;
  const a = [0xc0 | (at >> 8), at & 0xff, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 1, 1, 7];
  const to = { ip: asked!.from.ip, port: asked!.from.port };
  server.send(to, Uint8Array.from([...head, ...alias, ...a]));
  const reply = control.reply(seq)!;
  t.is(reply.payload.toString('latin1', 4, 4 + reply.payload.readUInt16LE(2)), 'www.example');
  t.deepEqual(addressesOf(reply.payload), ['10.1.1.7']);
});

test('with a domain only its names are asked for; hosts and members come first', (t) => {
  const { world, control, answer } = withServer('corp.example');
  t.is(control.result(Op.resolve, undefined, resolvePayload('www.elsewhere.org')), -2);
  t.is(control.result(Op.resolve, undefined, resolvePayload('notcorp.example')), -2);
  const inside = control.post(Op.resolve, undefined, resolvePayload('DB.Corp.Example.'));
  t.is(
    answer(() => [Uint8Array.of(10, 1, 1, 1)]),
    1,
  );
  t.is(control.reply(inside)?.result, 0);
  world.hosts = '10.9.9.9 db.corp.example\n';
  const local = control.ask(Op.resolve, undefined, resolvePayload('db.corp.example'));
  t.deepEqual(addressesOf(local.payload), ['10.9.9.9']);
});

test('aliases are followed, and their last name is the canonical one', (t) => {
  const { control, server } = withServer();
  const seq = control.post(Op.resolve, undefined, resolvePayload('www.example', 4, 1));
  const [asked] = server.take();
  const head = emitReply(asked!.payload, parseQuestion(asked!.payload)!, 0).slice();
  head[7] = 2;
  const target = emitName('db.example')!;
  const alias = [0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, target.length, ...target];
  const at = head.length + 12;
  const a = [0xc0 | (at >> 8), at & 0xff, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 1, 1, 7];
  server.send(
    { ip: asked!.from.ip, port: asked!.from.port },
    Uint8Array.from([...head, ...alias, ...a]),
  );
  const reply = control.reply(seq)!;
  t.is(reply.payload.toString('latin1', 4, 4 + reply.payload.readUInt16LE(2)), 'db.example');
  t.deepEqual(addressesOf(reply.payload), ['10.1.1.7']);
});

test('REVERSE asks for the pointer; in a network with a domain, of its own addresses', (t) => {
  const { control, answer } = withServer('corp.example');
  const seq = control.post(Op.reverse, undefined, address(SILENT, 0));
  t.is(
    answer((type) => (type === DnsType.ptr ? [emitName('silent.corp.example')!] : 1)),
    1,
  );
  t.is(control.reply(seq)?.payload.toString('latin1', 2), 'silent.corp.example');
  t.is(control.result(Op.reverse, undefined, address(Uint8Array.of(8, 8, 8, 8), 0)), -2);
});

test('DNSRAW passes the message on with an identifier of its own, and back', (t) => {
  const { control, server } = withServer();
  const query = emitQuery(0x4242, 'txt.example', 16)!;
  const seq = control.post(Op.dnsRaw, undefined, rawPayload(query));
  const [asked] = server.take();
  t.is(parseQuestion(asked!.payload)?.type, 16);
  const reply = emitReply(asked!.payload, parseQuestion(asked!.payload)!, 0, [
    Uint8Array.of(2, 0x68, 0x69),
  ]);
  server.send({ ip: asked!.from.ip, port: asked!.from.port }, reply);
  const got = control.reply(seq)!;
  t.is(got.result, 0);
  const message = got.payload.subarray(2);
  t.is(got.payload.readUInt16LE(0), message.length);
  t.is(parseQuestion(message)?.id, 0x4242);
  t.is(control.result(Op.dnsRaw, undefined, Uint8Array.of(9, 0, 1)), -22);
  t.is(control.result(Op.dnsRaw, undefined, rawPayload(new Uint8Array(12))), -11);
});

test('the own server answers on 127.0.0.1 and 127.0.0.53, from there, with the same logic', (t) => {
  const { world, control, answer } = withServer('corp.example');
  world.hosts = '10.9.9.9 db\n';
  const client = new ProgramDatagram(world);
  for (const ip of [LOOPBACK, STUB]) {
    client.send({ ip, port: 53 }, emitQuery(5, 'db', DnsType.a)!);
    const [own] = client.take();
    t.deepEqual([...own!.from.ip], [...ip]);
    t.deepEqual([...parseAnswers(own!.payload)![0]!.data], [10, 9, 9, 9]);
  }
  client.send({ ip: STUB, port: 53 }, emitQuery(6, 'no.where', DnsType.a)!);
  t.is(parseQuestion(client.take()[0]!.payload)?.rcode, DnsRcode.noName);
  client.send({ ip: STUB, port: 53 }, emitQuery(7, 'a.corp.example', DnsType.a)!);
  t.is(
    answer(() => [Uint8Array.of(10, 1, 1, 1)]),
    1,
  );
  t.like(parseQuestion(client.take()[0]!.payload), { id: 7, rcode: 0 });
  client.send({ ip: STUB, port: 53 }, emitQuery(8, 'b.corp.example', DnsType.a)!);
  world.pass(6000);
  t.is(parseQuestion(client.take()[0]!.payload)?.rcode, DnsRcode.failure);
  t.is(control.result(Op.connect, client.token, address(OWN, 53)), 0);
  client.send(undefined, emitQuery(9, 'db', DnsType.a)!);
  t.deepEqual(client.texts(), ['errno 111'], 'not on other addresses');
});

test('an application on port 53 comes before the own server', (t) => {
  const { world, control } = withServer();
  world.hosts = '10.9.9.9 db\n';
  const app = new ProgramDatagram(world);
  t.is(control.result(Op.bind, app.token, address(new Uint8Array(4), 53)), 0);
  const client = new ProgramDatagram(world);
  client.send({ ip: LOOPBACK, port: 53 }, emitQuery(5, 'db', DnsType.a)!);
  t.is(app.take().length, 1);
  t.is(client.take().length, 0);
  app.close();
  client.send({ ip: LOOPBACK, port: 53 }, emitQuery(5, 'db', DnsType.a)!);
  t.is(client.take().length, 1);
});

test('a client that goes away withdraws its questions', (t) => {
  const { world, control } = withServer();
  control.post(Op.resolve, undefined, resolvePayload('db.example', 0));
  t.is(world.view.counters().questions, 2);
  control.connection.handleEnd();
  t.is(world.view.counters().questions, 0);
});

test('at most 256 questions are under way', (t) => {
  const { world, control } = withServer();
  for (let i = 0; i < 256; i++)
    control.post(Op.resolve, undefined, resolvePayload(`n${i}.example`));
  t.is(world.view.counters().questions, 256);
  t.is(control.result(Op.resolve, undefined, resolvePayload('one.more')), -11);
});

test('what the network does not know the host is asked, for who has all of it', (t) => {
  const asked: string[] = [];
  let max: (typeof Policy)[keyof typeof Policy] = Policy.full;
  const host: Pick<HostNetwork, 'grant' | 'resolve'> = {
    grant: () => ({ max, allow: [], deny: [] }),
    resolve: (name, _family, done) => {
      asked.push(name);
      if (name !== 'slow.test') done(name === 'host.test' ? [SILENT] : 'notFound');
      return () => asked.push('withdrawn');
    },
  };
  const world = new World({ hostNetwork: host as HostNetwork });
  world.hosts = `${OWN.join('.')} own.test\n`;
  const resolve = (policy: number, name: string) => {
    const control = new Control(world, false, undefined, undefined, policy);
    const seq = control.post(Op.resolve, undefined, resolvePayload(name));
    const reply = control.reply(seq);
    control.connection.handleReset();
    return reply === undefined || reply.result !== 0 ? reply?.result : addressesOf(reply.payload);
  };
  t.deepEqual(resolve(Policy.full, 'own.test'), [OWN.join('.')]);
  t.deepEqual(asked, []);
  t.deepEqual(resolve(Policy.full, 'host.test'), [SILENT.join('.')]);
  t.is(resolve(Policy.full, 'nowhere.test'), -2);
  t.is(resolve(Policy.full, 'slow.test'), undefined);
  t.deepEqual(asked.splice(0), ['host.test', 'nowhere.test', 'slow.test', 'withdrawn']);
  for (const wanted of [Policy.none, Policy.loopback]) t.is(resolve(wanted, 'host.test'), -2);
  max = Policy.loopback;
  t.is(resolve(Policy.full, 'host.test'), -2, 'not granted');
  t.deepEqual(asked, []);
});
