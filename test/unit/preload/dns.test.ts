/** RESOLVE, REVERSE, DNSRAW and the own DNS server, with servers that are programs of the view. */
import test from 'ava';
import {
  type DnsQuestion,
  DnsRcode,
  DnsType,
  emitName,
  emitQuery,
  emitReply,
  parseAnswers,
  parseQuestion,
  reverseNameOf,
} from '#src/preload/dns-message.js';
import type { HostDatagramSink, HostDatagrams, HostNetwork } from '#src/preload/fallthrough.js';
import { Policy } from '#src/preload/policy.js';
import { Op } from '#src/preload/protocol.js';
import type { Endpoint, StackErrno } from '#src/stack/stack.js';
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

test('at most 256 questions of a user are under way, and another user has its own', (t) => {
  const { world } = withServer();
  const [one, two] = [1, 2].map((uid) => world.control(false, undefined, uid));
  for (let i = 0; i < 256; i++) one!.post(Op.resolve, undefined, resolvePayload(`n${i}.example`));
  t.is(world.view.counters().questions, 256);
  t.is(one!.result(Op.resolve, undefined, resolvePayload('one.more')), -11);
  t.is(one!.result(Op.dnsRaw, undefined, rawPayload(emitQuery(1, 'a.b', DnsType.a)!)), -11);
  t.is(one!.result(Op.reverse, undefined, address(SILENT, 0)), -11);
  t.is(world.view.counters().dropQuestions, 3);
  two!.post(Op.resolve, undefined, resolvePayload('another.user'));
  t.is(world.view.counters().questions, 257);
  world.pass(6_001);
  t.is(world.view.counters().questions, 0);
  one!.post(Op.resolve, undefined, resolvePayload('one.more'));
  t.is(world.view.counters().questions, 1);
});

test('a question takes a port of the user who asks, or is not asked', (t) => {
  const { world } = withServer();
  const root = world.control(false, undefined, 0);
  const [one, two] = [1, 2].map((uid) => world.control(false, undefined, uid));
  const socketOf = (uid: number) => {
    const socket = new ProgramDatagram(world, { caller: { needsKey: false, uid } });
    t.is(root.result(Op.bind, socket.token, address(new Uint8Array(4), 0)), 0);
    return socket;
  };
  const held = Array.from({ length: 2047 }, () => socketOf(1));
  const { udpPorts } = world.view.counters();
  const ask = (control: Control, name: string) =>
    control.post(Op.resolve, undefined, resolvePayload(name));
  t.is(one!.reply(ask(one!, 'the.last')), undefined, 'it is under way');
  t.is(world.view.counters().udpPorts, udpPorts + 1);
  t.is(one!.reply(ask(one!, 'one.more'))?.result, -11);
  t.is(one!.result(Op.dnsRaw, undefined, rawPayload(emitQuery(1, 'a.b', DnsType.a)!)), -11);
  const refused = world.view.counters();
  t.deepEqual([refused.dropUdpPorts, refused.questions, refused.dropQuestions], [2, 1, 0]);
  t.is(two!.reply(ask(two!, 'another.user')), undefined);
  t.is(world.view.counters().questions, 2);
  held[0]!.close();
  t.is(one!.reply(ask(one!, 'one.more')), undefined);
  const { dropUdpPorts, questions } = world.view.counters();
  t.deepEqual([dropUdpPorts, questions], [2, 3]);
  world.pass(6_001);
  t.is(world.view.counters().udpPorts, udpPorts - 1);
});

test('at most 128 questions of a user are under way at the own server', (t) => {
  const { world } = withServer();
  const of = (uid: number) => new ProgramDatagram(world, { caller: { needsKey: false, uid } });
  const [one, two] = [of(1), of(2)];
  const ask = (p: ProgramDatagram, i: number) =>
    p.send({ ip: STUB, port: 53 }, emitQuery(i, `n${i}.example`, DnsType.a)!);
  for (let i = 0; i < 129; i++) ask(one, i);
  t.is(world.view.counters().questions, 128);
  t.is(world.view.counters().dropQuestions, 1);
  ask(two, 0);
  t.is(world.view.counters().questions, 129);
  world.pass(6_001);
  t.is(world.view.counters().questions, 0);
  t.is(one.take().length, 128);
  ask(one, 500);
  t.is(world.view.counters().questions, 1, 'ended questions count no more');
});

const HOST_SERVER = { ip: Uint8Array.of(192, 0, 2, 53), port: 53 };

/** A host whose server knows `host.test` and 192.0.2.7, and never answers about `slow.test`. */
class FakeHost implements Pick<HostNetwork, 'grant' | 'openDatagrams' | 'hosts' | 'nameServers'> {
  max: (typeof Policy)[keyof typeof Policy] = Policy.full;
  readonly asked: string[] = [];
  readonly users: (number | undefined)[] = [];
  open = 0;
  /** Sockets are refused. */
  isFull = false;
  readonly grant = () => ({ max: this.max, allow: [], deny: [] });
  readonly hosts = () => '192.0.2.1 filed.test\n';
  server = HOST_SERVER;
  readonly nameServers = () => [this.server];
  /** Who was asked last. */
  peer: Endpoint | undefined;

  openDatagrams(
    _family: 4 | 6,
    peer: Endpoint | undefined,
    user: number | undefined,
    sink: HostDatagramSink,
  ): HostDatagrams | StackErrno {
    this.users.push(user);
    this.peer = peer;
    if (this.isFull) return 'ENOBUFS';
    this.open++;
    return {
      send: (_to, payload) => {
        const question = parseQuestion(payload)!;
        this.asked.push(question.name);
        this.#pending.push(() => {
          const reply = this.#answer(payload, question);
          if (reply !== undefined) sink.onDatagram(reply, peer!);
        });
        return undefined;
      },
      local: () => HOST_SERVER,
      hasFailed: () => false,
      close: () => {
        this.open--;
      },
    };
  }

  readonly #pending: (() => void)[] = [];

  #answer(payload: Uint8Array, question: DnsQuestion): Uint8Array | undefined {
    if (question.name === 'slow.test') return undefined;
    const records = new Map([
      ['host.test', question.type === DnsType.a ? [SILENT] : []],
      ['7.2.0.192.in-addr.arpa', [emitName('seven.test')!]],
    ]).get(question.name);
    const rcode = records === undefined ? DnsRcode.noName : DnsRcode.ok;
    return emitReply(payload, question, rcode, records ?? []);
  }

  run(): void {
    for (const act of this.#pending.splice(0)) act();
  }
}

function onHost() {
  const host = new FakeHost();
  const world = new World({ hostNetwork: host as unknown as HostNetwork });
  world.hosts = `${OWN.join('.')} own.test\n`;
  const ask = (policy: number, op: number, payload: Uint8Array) => {
    const control = new Control(world, false, undefined, undefined, policy);
    const seq = control.post(op, undefined, payload);
    host.run();
    const reply = control.reply(seq);
    control.connection.handleReset();
    return reply;
  };
  const resolve = (policy: number, name: string) => {
    const reply = ask(policy, Op.resolve, resolvePayload(name));
    return reply === undefined || reply.result !== 0 ? reply?.result : addressesOf(reply.payload);
  };
  return { host, world, ask, resolve };
}

test('what the network does not know the host is asked, for who has all of it', (t) => {
  const { host, world, resolve } = onHost();
  t.deepEqual(resolve(Policy.full, 'own.test'), [OWN.join('.')]);
  t.deepEqual(resolve(Policy.full, 'filed.test'), ['192.0.2.1']);
  t.deepEqual(host.asked, []);
  t.deepEqual(resolve(Policy.full, 'host.test'), [SILENT.join('.')]);
  t.is(resolve(Policy.full, 'nowhere.test'), -2);
  t.is(resolve(Policy.full, 'slow.test'), undefined);
  t.deepEqual([...new Set(host.asked.splice(0))], ['host.test', 'nowhere.test', 'slow.test']);
  t.is(host.open, 0, 'every question is over or withdrawn');
  t.is(world.view.counters().questions, 0);
  for (const wanted of [Policy.none, Policy.loopback]) {
    t.is(resolve(wanted, 'host.test'), -2);
    t.is(resolve(wanted, 'filed.test'), -2);
  }
  host.max = Policy.loopback;
  t.is(resolve(Policy.full, 'host.test'), -2, 'not granted');
  t.deepEqual(host.asked, []);
});

test('a question goes to the server that the host has when it is asked', (t) => {
  const { host, resolve } = onHost();
  t.deepEqual(resolve(Policy.full, 'host.test'), [SILENT.join('.')]);
  t.deepEqual(host.peer?.ip, HOST_SERVER.ip);
  host.server = { ip: Uint8Array.of(192, 0, 2, 54), port: 53 };
  t.deepEqual(resolve(Policy.full, 'host.test'), [SILENT.join('.')]);
  t.deepEqual(host.peer?.ip, host.server.ip);
});

test('a question to the host takes a socket there of the user who asks, or is not asked', (t) => {
  const { host, world } = onHost();
  const ask = (uid: number) => {
    const control = new Control(world, false, undefined, uid, Policy.full);
    return control.reply(control.post(Op.resolve, undefined, resolvePayload('slow.test')))?.result;
  };
  t.is(ask(1), undefined);
  t.is(ask(2), undefined);
  t.deepEqual(host.users, [1, 2]);
  host.isFull = true;
  t.is(ask(1), -11);
  t.is(host.users.length, 3, 'no other try');
  t.is(world.view.counters().questions, 2);
  host.isFull = false;
  t.is(ask(1), undefined);
});

test('a server of the host that does not answer is asked twice, then there is no answer', (t) => {
  const { host, world } = onHost();
  const control = new Control(world, false, undefined, undefined, Policy.full);
  const seq = control.post(Op.resolve, undefined, resolvePayload('slow.test'));
  world.pass(6_001);
  t.is(control.reply(seq)?.result, -11);
  t.is(host.asked.length, 2);
  t.is(host.open, 0);
});

test('names of addresses: of the host, but not those of the network', (t) => {
  const { host, ask } = onHost();
  const reverse = (policy: number, ip: Uint8Array) => {
    const reply = ask(policy, Op.reverse, address(ip, 0));
    return reply?.result === 0 ? reply.payload.toString('latin1', 2) : reply?.result;
  };
  t.is(reverse(Policy.full, Uint8Array.of(192, 0, 2, 1)), 'filed.test');
  t.deepEqual(host.asked, []);
  t.is(reverse(Policy.full, Uint8Array.of(192, 0, 2, 7)), 'seven.test');
  t.is(reverse(Policy.full, Uint8Array.of(192, 0, 2, 8)), -2);
  t.is(host.asked.splice(0).length, 2);
  t.is(reverse(Policy.full, SILENT), -2, 'a member');
  t.is(reverse(Policy.loopback, Uint8Array.of(192, 0, 2, 7)), -2);
  t.deepEqual(host.asked, []);
});

test('whole answers and the own DNS server: of the host too, by the policy of who asks', (t) => {
  const { host, world, ask } = onHost();
  const raw = (policy: number, name: string, type: number = DnsType.a) => {
    const reply = ask(policy, Op.dnsRaw, rawPayload(emitQuery(9, name, type)!));
    return parseQuestion(reply!.payload.subarray(2))!;
  };
  t.like(raw(Policy.full, 'host.test'), { id: 9, rcode: DnsRcode.ok });
  t.is(raw(Policy.full, 'nowhere.test').rcode, DnsRcode.noName);
  t.is(raw(Policy.full, '7.2.0.192.in-addr.arpa', DnsType.ptr).rcode, DnsRcode.ok);
  t.is(host.asked.splice(0).length, 3);
  const inside = reverseNameOf(SILENT);
  t.is(raw(Policy.full, inside, DnsType.ptr).rcode, DnsRcode.noName);
  t.is(raw(Policy.none, 'host.test').rcode, DnsRcode.noName);
  t.deepEqual(host.asked, []);
  for (const policy of [Policy.full, Policy.loopback]) {
    const program = new ProgramDatagram(world, { policy });
    program.send({ ip: STUB, port: 53 }, emitQuery(6, 'host.test', DnsType.a)!);
    host.run();
    world.drain();
    const answer = parseQuestion(program.take()[0]!.payload)!;
    t.is(answer.rcode, policy === Policy.full ? DnsRcode.ok : DnsRcode.noName);
    program.close();
  }
});
