/** The record doors over real AF_UNIX sockets: the addon, a view, and both stacks. */
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import test from 'ava';
import { loadNative, type Native, READABLE } from '#src/host/native.js';
import { RecordDoor } from '#src/host/records.js';
import { PreloadDoor } from '#src/host/unix.js';
import type { RecordPort } from '#src/preload/datagram-host.js';
import { emitReply, parseQuestion } from '#src/preload/dns-message.js';
import { Capability, emitRequest, HelloKind, Op, type Token } from '#src/preload/protocol.js';
import type { RecordConnection } from '#src/preload/record-client.js';
import { emitSending, parseReceived, type Received } from '#src/preload/records.js';
import { createStack } from '#src/stack/lwip-stack.js';
import type { Stack } from '#src/stack/stack.js';
import { FakeStack } from '#test/helpers/fake-stack.js';
import { address, hello, int32, NWID, OWN } from '#test/helpers/preload-client.js';

const loaded = loadNative();
if (typeof loaded === 'string') throw new Error(`the addon is missing: ${loaded}`);
const native: Native = loaded;
const OWN6 = Uint8Array.of(0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
const CONFIG = {
  mtu: 2800,
  addresses: [
    { ip: OWN, prefixLen: 24 },
    { ip: OWN6, prefixLen: 64 },
  ],
  routes: [],
};
const now = () => ({ mono: performance.now(), wall: Date.now() });
const NO_ID = '\0'.repeat(8);

/** A door whose stack runs by itself. */
class Service {
  readonly file = path.join(
    fs.mkdtempSync(path.join(os.tmpdir(), 'netcon-dg-')),
    'nc_8056c2e21c000001',
  );
  readonly door: PreloadDoor;
  readonly stack: Stack;
  #pending = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(stack: Stack, withAddon: boolean) {
    this.stack = stack;
    stack.configure(now(), CONFIG);
    this.door = new PreloadDoor({
      path: this.file,
      nwid: NWID,
      stack,
      config: () => CONFIG,
      kick: () => this.#kick(),
      now,
      log: () => undefined,
      native: withAddon ? native : undefined,
      dns: () => ({ domain: 'corp.example', servers: [{ ip: OWN, port: 5300 }] }),
    });
  }

  #kick(): void {
    if (this.#pending) return;
    this.#pending = true;
    setImmediate(() => {
      this.#pending = false;
      this.stack.drain(now(), () => undefined);
      clearTimeout(this.#timer);
      const at = this.stack.deadline();
      if (at === Number.POSITIVE_INFINITY) return;
      this.#timer = setTimeout(() => this.#tick(), Math.max(0, at - now().mono));
      this.#timer.unref();
    });
  }

  #tick(): void {
    this.stack.handleTimeout(now());
    this.#kick();
  }

  async close(): Promise<void> {
    await this.door.close();
    clearTimeout(this.#timer);
  }
}

/** A program's datagram socket: the addon's end of a record stream. */
class Program {
  readonly fd: number;
  readonly #buffer = new Uint8Array(66_000);

  constructor(
    name: string,
    readonly token: Token,
    {
      family = 4,
      protocol = 17,
      key,
    }: { family?: 4 | 6; protocol?: number; key?: Uint8Array } = {},
  ) {
    this.fd = native.connectRecords(Buffer.from(name));
    if (this.fd < 0) throw new Error(`connect ${name}: ${this.fd}`);
    const bytes = hello(HelloKind.datagram, token, family, NO_ID, protocol);
    if (key !== undefined) {
      bytes[7] = 1;
      bytes.set(key, 40);
    }
    native.send(this.fd, bytes, -1);
  }

  send(to: { ip: Uint8Array; port: number } | undefined, payload: Uint8Array | string): number {
    const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload;
    return native.send(this.fd, emitSending(to, bytes), -1);
  }

  /** The next record, undefined when the service closed. */
  async take(): Promise<Received | undefined> {
    await this.#readable();
    const len = native.receive(this.fd, this.#buffer, new Uint32Array(1));
    return len <= 0 ? undefined : parseReceived(this.#buffer.subarray(0, len));
  }

  /** What is in the kernel's queue now. */
  takeAll(): number {
    let n = 0;
    while (native.receive(this.fd, this.#buffer, new Uint32Array(1)) > 0) n++;
    return n;
  }

  #readable(): Promise<void> {
    return new Promise((done) => {
      const poll = new native.Poll(this.fd, () => {
        poll.close();
        done();
      });
      poll.start(READABLE);
    });
  }

  close(): void {
    native.close(this.fd);
  }
}

/** A control connection over the stream door. */
class Control {
  readonly #socket: net.Socket;
  readonly #reader: AsyncIterator<Buffer>;
  #bytes = Buffer.alloc(0);
  capabilities = 0;

  private constructor(file: string) {
    this.#socket = net.connect({ path: file });
    this.#reader = this.#socket[Symbol.asyncIterator]();
  }

  static async open(file: string): Promise<Control> {
    const control = new Control(file);
    control.#socket.write(hello(HelloKind.control, token('control'), 0, NO_ID));
    control.capabilities = (await control.#take(64)).readUInt16LE(6);
    return control;
  }

  async #take(len: number): Promise<Buffer> {
    while (this.#bytes.length < len) {
      const { value, done } = await this.#reader.next();
      if (done === true) throw new Error('the control connection ended');
      this.#bytes = Buffer.concat([this.#bytes, value]);
    }
    const part = this.#bytes.subarray(0, len);
    this.#bytes = this.#bytes.subarray(len);
    return part;
  }

  async ask(op: number, about: Token, payload: Uint8Array = new Uint8Array(0)) {
    this.#socket.write(emitRequest(op, 1, about, payload));
    const header = await this.#take(16);
    const rest = await this.#take(header.readUInt32LE(0) - 16);
    return { result: header.readInt32LE(12), payload: rest };
  }

  close(): void {
    this.#socket.destroy();
  }
}

const token = (text: string) => text.padStart(16, '.') as Token;

/** Until `done`, looking once per turn of the loop; the test's own time limit ends it otherwise. */
async function eventually(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setImmediate(resolve));
}

function realStack(): Stack {
  const entropy = { fill: (bytes: Uint8Array) => bytes.fill(7) };
  return createStack({ mac: Uint8Array.of(2, 0, 0, 0, 0, 1), entropy, at: now() });
}

test('without the addon there is no record door, no capability, no name', async (t) => {
  const service = new Service(new FakeStack(), false);
  await service.door.listen();
  t.false(fs.existsSync(`${service.file}.dg`));
  t.is(fs.readFileSync(`${service.file}.key`, 'utf8').split('\n')[2], '');
  const control = await Control.open(service.file);
  t.is(control.capabilities, Capability.resolver);
  control.close();
  await service.close();
});

test('the record door has mode 0600 and a name in the key file; close removes it', async (t) => {
  const service = new Service(new FakeStack(), true);
  await service.door.listen();
  t.is(fs.statSync(`${service.file}.dg`).mode & 0o777, 0o600);
  const name = fs.readFileSync(`${service.file}.key`, 'utf8').split('\n')[2];
  t.regex(name ?? '', /^ztnc-svc\/8056c2e21c000001\/[0-9a-f]{16}$/);
  const control = await Control.open(service.file);
  const { seqpacket, icmpEcho, resolver, peerCredentials } = Capability;
  t.is(control.capabilities, seqpacket | icmpEcho | resolver | peerCredentials);
  control.close();
  await service.close();
  t.deepEqual(fs.readdirSync(path.dirname(service.file)), []);
});

for (const [family, ip, loopback] of [
  [4, OWN, Uint8Array.of(127, 0, 0, 1)],
  [6, OWN6, Uint8Array.of(...new Uint8Array(15), 1)],
] as const) {
  test(`IPv${family}: unconnected and connected sockets talk through lwIP`, async (t) => {
    const service = new Service(realStack(), true);
    await service.door.listen();
    const control = await Control.open(service.file);
    const server = new Program(`${service.file}.dg`, token('server'), { family });
    const client = new Program(`${service.file}.dg`, token('client'), { family });
    const bound = await control.ask(Op.bind, server.token, address(new Uint8Array(ip.length), 53));
    t.is(bound.result, 0);
    client.send({ ip, port: 53 }, 'to the address');
    const first = await server.take();
    t.is(Buffer.from(first!.payload).toString(), 'to the address');
    t.deepEqual(Buffer.from(first!.from.ip), Buffer.from(ip));
    server.send({ ip: first!.from.ip, port: first!.from.port }, 'back');
    t.is(Buffer.from((await client.take())!.payload).toString(), 'back');
    t.is((await control.ask(Op.connect, client.token, address(loopback, 53))).result, 0);
    client.send(undefined, 'connected');
    const second = await server.take();
    t.is(Buffer.from(second!.payload).toString(), 'connected');
    t.deepEqual(Buffer.from(second!.from.ip), Buffer.from(loopback));
    t.is((await control.ask(Op.connect, client.token, address(ip, 54))).result, 0);
    client.send(undefined, 'to nobody');
    const refused = await client.take();
    t.deepEqual([refused!.kind, refused!.errno], [2, 111]);
    for (const p of [server, client]) p.close();
    await eventually(() => service.door.view.counters().datagramSockets === 0);
    const { udpPorts, datagramsQueued } = service.door.view.counters();
    t.deepEqual([udpPorts, datagramsQueued], [0, 0]);
    t.is(service.stack.counters()['udpUsed'], 0);
    control.close();
    await service.close();
  });

  test(`IPv${family}: an ICMP echo socket is answered`, async (t) => {
    const service = new Service(realStack(), true);
    await service.door.listen();
    const options = { family, protocol: family === 4 ? 1 : 58 };
    const ping = new Program(`${service.file}.dg`, token('ping'), options);
    const request = Buffer.from([family === 4 ? 8 : 128, 0, 0, 0, 0, 0, 0, 7, 0x61, 0x62]);
    ping.send({ ip, port: 0 }, request);
    const reply = await ping.take();
    t.is(reply!.payload[0], family === 4 ? 0 : 129);
    t.deepEqual([...reply!.payload.subarray(6)], [0, 7, 0x61, 0x62]);
    ping.close();
    await eventually(() => service.door.view.counters().echoIds === 0);
    await service.close();
    t.pass();
  });
}

test('the abstract record door wants the key', async (t) => {
  const service = new Service(new FakeStack(), true);
  await service.door.listen();
  const name = `\0${fs.readFileSync(`${service.file}.key`, 'utf8').split('\n')[2]}`;
  const stranger = new Program(name, token('stranger'));
  t.is(await stranger.take(), undefined, 'closed');
  const friend = new Program(name, token('friend'), { key: service.door.view.key });
  await eventually(() => service.door.view.counters().datagramSockets === 1);
  for (const p of [stranger, friend]) p.close();
  await service.close();
});

test('strangers that say nothing keep 256 descriptors, and programs that come at once all enter', async (t) => {
  const service = new Service(new FakeStack(), true);
  await service.door.listen();
  const name = `\0${fs.readFileSync(`${service.file}.key`, 'utf8').split('\n')[2]}`;
  const { view } = service.door;
  const strangers = Array.from({ length: 400 }, () => native.connectRecords(Buffer.from(name)));
  t.true(strangers.every((fd) => fd >= 0));
  await eventually(() => view.counters().dropHellos === 400 - 256);
  const door = `${service.file}.dg`;
  const programs = Array.from({ length: 300 }, (_, i) => new Program(door, token(`p${i}`)));
  await eventually(() => view.counters().datagramSockets === 300);
  t.is(view.counters().dropHellos, 400 - 255, 'a place for the moment until HELLO is read');
  for (const p of programs) p.close();
  for (const fd of strangers) native.close(fd);
  await service.close();
});

test('a program that does not read costs at most 256 KiB, and gets what was kept', async (t) => {
  const service = new Service(new FakeStack(), true);
  await service.door.listen();
  const control = await Control.open(service.file);
  const sleeper = new Program(`${service.file}.dg`, token('sleeper'));
  const sender = new Program(`${service.file}.dg`, token('sender'));
  t.is((await control.ask(Op.bind, sleeper.token, address(OWN, 53))).result, 0);
  const counters = () => service.door.view.counters();
  const payload = new Uint8Array(1000);
  while (counters().dropDatagramQueue === 0) {
    sender.send({ ip: OWN, port: 53 }, payload);
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.true(counters().datagramBytesQueued <= 256 * 1024);
  t.true(counters().datagramBytesQueued > 250 * 1024);
  const waiting = counters().datagramsQueued;
  let got = 0;
  await eventually(() => {
    got += sleeper.takeAll();
    return counters().datagramsQueued === 0 && got > waiting;
  });
  sleeper.close();
  sender.close();
  await eventually(() => service.door.view.counters().datagramSockets === 0);
  control.close();
  await service.close();
});

test('a program that dies leaves no port, no group and no queue', async (t) => {
  const stack = new FakeStack();
  const service = new Service(stack, true);
  await service.door.listen();
  const control = await Control.open(service.file);
  const program = new Program(`${service.file}.dg`, token('program'));
  t.is((await control.ask(Op.bind, program.token, address(OWN, 53))).result, 0);
  const join = Buffer.concat([int32(0, 35, 8), Buffer.from([239, 1, 2, 3, 0, 0, 0, 0])]);
  t.is((await control.ask(Op.setOpt, program.token, join)).result, 0);
  t.is(stack.udp.groups.size, 1);
  program.close();
  await eventually(() => service.door.view.counters().datagramSockets === 0);
  t.is(stack.counters()['datagrams'], 0);
  t.is(service.door.view.counters().memberships, 0);
  control.close();
  await service.close();
});

test('RESOLVE asks a DNS server of the network through lwIP', async (t) => {
  const service = new Service(realStack(), true);
  await service.door.listen();
  const control = await Control.open(service.file);
  const server = new Program(`${service.file}.dg`, token('server'));
  t.is((await control.ask(Op.bind, server.token, address(OWN, 5300))).result, 0);
  const name = Buffer.from('db.corp.example');
  const payload = Buffer.concat([Buffer.from([4, 0, name.length, 0]), name]);
  const asked = control.ask(Op.resolve, server.token, payload);
  const question = await server.take();
  const data = [Uint8Array.of(10, 1, 1, 1)];
  const reply = emitReply(question!.payload, parseQuestion(question!.payload)!, 0, data);
  server.send({ ip: question!.from.ip, port: question!.from.port }, reply);
  const { result, payload: found } = await asked;
  t.deepEqual([result, found.readUInt16LE(0), ...found.subarray(12, 16)], [0, 1, 10, 1, 1, 1]);
  server.close();
  await eventually(() => service.door.view.counters().datagramSockets === 0);
  t.is(service.stack.counters()['udpUsed'], 0, 'the own DNS server is gone too');
  control.close();
  await service.close();
});

test('requests take 4,096 records before them in a turn, of all programs together', async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'netcon-drain-'));
  const file = path.join(folder, 'door');
  const ports: RecordPort[] = [];
  let taken = 0;
  const connection = { handleRecord: () => taken++ } as unknown as RecordConnection;
  const door = new RecordDoor({
    native,
    open: (port) => {
      ports.push(port);
      return connection;
    },
    guard: (act) => act(),
    touched: () => undefined,
    log: (line) => t.fail(line),
  });
  t.is(door.listen(file, false), 0);
  const programs = Array.from({ length: 60 }, () =>
    native.connectRecords(new TextEncoder().encode(file)),
  );
  t.true(programs.every((fd) => fd >= 0));
  while (ports.length < programs.length) await new Promise((resolve) => setImmediate(resolve));
  for (const port of ports) port.setReading(false);
  let sent = 0;
  for (const fd of programs) while (native.send(fd, new Uint8Array(1), -1) >= 0) sent++;
  t.true(sent > 8_192, `${sent} records wait`);
  for (const port of ports) {
    port.setReading(true);
    port.drain();
    port.setReading(false);
  }
  t.is(taken, 4_096);
  await new Promise((resolve) => setImmediate(resolve));
  for (const port of ports) {
    port.setReading(true);
    port.drain();
    port.setReading(false);
  }
  t.is(taken, 8_192);
  for (const fd of programs) native.close(fd);
  door.close();
  fs.rmSync(folder, { recursive: true });
});
