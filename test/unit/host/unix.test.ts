import * as fs from 'node:fs';
import * as net from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import test from 'ava';
import { loadNative, type Native } from '#src/host/native.js';
import { PreloadDoor, PreloadDoorError } from '#src/host/unix.js';
import { emitRequest, HelloKind, Op, type Token } from '#src/preload/protocol.js';
import { FakeStack } from '#test/helpers/fake-stack.js';
import { address, hello, NWID, OWN } from '#test/helpers/preload-client.js';

const CONFIG = { mtu: 2800, addresses: [{ ip: OWN, prefixLen: 24 }], routes: [] };
const NAME = 'nc_8056c2e21c000001';

function folder(): string {
  return fs.mkdtempSync(path.join(os.tmpdir(), 'netcon-unix-'));
}

function makeDoor(
  file: string,
  stack = new FakeStack(),
  failed?: (error: unknown) => void,
  native?: Native,
): PreloadDoor {
  const now = () => ({ mono: performance.now(), wall: Date.now() });
  stack.configure(now(), CONFIG);
  let pending = false;
  return new PreloadDoor({
    path: file,
    nwid: NWID,
    stack,
    config: () => CONFIG,
    kick: () => {
      if (pending) return;
      pending = true;
      process.nextTick(() => {
        pending = false;
        stack.drain(now(), () => undefined);
      });
    },
    now,
    log: () => undefined,
    native,
    ...(failed === undefined ? {} : { failed }),
  });
}

/** A raw client that collects what it reads. */
class Client {
  readonly socket: net.Socket;
  #bytes = Buffer.alloc(0);
  #wake: (() => void) | undefined;
  ended = false;

  constructor(file: string) {
    this.socket = net.connect({ path: file, allowHalfOpen: true });
    this.socket.on('data', (b) => {
      this.#bytes = Buffer.concat([this.#bytes, b]);
      this.#wake?.();
    });
    for (const event of ['end', 'close', 'error']) {
      this.socket.on(event, () => {
        this.ended = true;
        this.#wake?.();
      });
    }
  }

  /** The next `len` bytes, or fewer when the stream ends. */
  async take(len: number): Promise<Buffer> {
    while (this.#bytes.length < len && !this.ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const part = this.#bytes.subarray(0, len);
    this.#bytes = this.#bytes.subarray(part.length);
    return part;
  }

  async atEnd(): Promise<boolean> {
    return (await this.take(1)).length === 0;
  }
}

const token = (text: string) => text.padStart(16, '.') as Token;
const NO_ID = '\0'.repeat(8);

async function ask(client: Client, op: number, about: Token, payload: Uint8Array): Promise<number> {
  client.socket.write(emitRequest(op, 1, about, payload));
  const header = await client.take(16);
  await client.take(header.readUInt32LE(0) - 16);
  return header.readInt32LE(12);
}

test('the path has mode 0600 and a key file beside it; close removes both', async (t) => {
  const home = folder();
  const file = path.join(home, NAME);
  const door = makeDoor(file);
  await door.listen();
  t.true(fs.statSync(file).isSocket());
  t.is(fs.statSync(file).mode & 0o777, 0o600);
  t.is(fs.statSync(`${file}.key`).mode & 0o777, 0o600);
  const [key, name, datagram] = fs.readFileSync(`${file}.key`, 'utf8').split('\n');
  t.is(key, Buffer.from(door.view.key).toString('hex'));
  t.regex(name ?? '', /^ztnc-svc\/8056c2e21c000001\/[0-9a-f]{16}$/);
  t.is(datagram, '', 'no name without the addon');
  await door.close();
  t.deepEqual(fs.readdirSync(home), []);
});

test('a path longer than sun_path is refused with a clear error', (t) => {
  const long = `/tmp/${'x'.repeat(90)}/${NAME}`;
  const error = t.throws(() => makeDoor(long), { instanceOf: PreloadDoorError });
  t.is(error?.code, 'ERR_PATH_TOO_LONG');
});

test('the socket of a service that died is replaced, a live one and a file are not', async (t) => {
  const file = path.join(folder(), NAME);
  const first = makeDoor(file);
  await first.listen();
  const error = await t.throwsAsync(makeDoor(file).listen(), { instanceOf: PreloadDoorError });
  t.is(error?.code, 'ERR_PATH_IN_USE');
  await first.close();
  const dead = net.createServer().listen(file);
  await new Promise((resolve) => dead.once('listening', resolve));
  fs.linkSync(file, `${file}.kept`);
  await new Promise((resolve) => dead.close(resolve));
  fs.renameSync(`${file}.kept`, file);
  const second = makeDoor(file);
  await t.notThrowsAsync(second.listen());
  await second.close();
  fs.writeFileSync(file, 'precious');
  const refused = await t.throwsAsync(makeDoor(file).listen(), { instanceOf: PreloadDoorError });
  t.is(refused?.code, 'ERR_PATH_NOT_SOCKET');
  t.is(fs.readFileSync(file, 'utf8'), 'precious');
});

test('requests, a connection and its bytes pass over real streams; padding is never over-read', async (t) => {
  const file = path.join(folder(), NAME);
  const door = makeDoor(file);
  await door.listen();
  const control = new Client(file);
  control.socket.write(hello(HelloKind.control, token('control'), 0, NO_ID));
  t.is((await control.take(64)).toString('latin1', 0, 4), 'ZTNS');
  const listener = new Client(file);
  listener.socket.write(hello(HelloKind.socket, token('listener'), 4, NO_ID));
  t.is(await ask(control, Op.bind, token('listener'), address(OWN, 80)), 0);
  t.is(await ask(control, Op.listen, token('listener'), Buffer.alloc(8)), 0);
  const client = new Client(file);
  client.socket.write(hello(HelloKind.socket, token('client'), 4, NO_ID));
  t.is(await ask(control, Op.connect, token('client'), address(OWN, 80)), 0);
  client.socket.write(Buffer.concat([Buffer.alloc(50_000), Buffer.from('hello')]));
  const padding = Buffer.alloc(4);
  padding.writeUInt32LE(50_000);
  t.is(await ask(control, Op.waitConn, token('client'), padding), 0);
  const record = await listener.take(64);
  const server = new Client(file);
  const id = record.toString('latin1', 8, 16);
  server.socket.write(hello(HelloKind.accepted, token('server'), 4, id));
  t.is((await server.take(5)).toString(), 'hello');
  const big = Buffer.alloc(3_000_000, 'ab');
  server.socket.write(big);
  t.true((await client.take(big.length)).equals(big));
  client.socket.end();
  t.true(await server.atEnd());
  server.socket.end('last');
  t.is((await client.take(10)).toString(), 'last');
  control.socket.destroy();
  listener.socket.destroy();
  await door.close();
});

test('a program that closes is told from one that shuts down its sending side', async (t) => {
  const file = path.join(folder(), NAME);
  const door = makeDoor(file);
  await door.listen();
  const control = new Client(file);
  control.socket.write(hello(HelloKind.control, token('c'), 0, NO_ID));
  await control.take(64);
  const client = new Client(file);
  client.socket.write(hello(HelloKind.socket, token('s'), 4, NO_ID));
  t.is(await ask(control, Op.connect, token('s'), address(Uint8Array.of(10, 147, 17, 9), 80)), 0);
  await ask(control, Op.padded, token('s'), Buffer.alloc(4));
  client.socket.destroy();
  const started = performance.now();
  const held = () => door.view.counters().sockets - door.view.counters().remembered;
  while (held() > 0 && performance.now() - started < 10_000) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  t.is(held(), 0, 'the probe noticed within its second');
  await door.close();
});

test('a stack that throws is reported and the door still closes', async (t) => {
  class Trapped extends FakeStack {
    override tcpListen(): never {
      throw new Error('trap');
    }
  }
  const file = path.join(folder(), NAME);
  let report: (error: unknown) => void = () => undefined;
  const reported = new Promise<unknown>((resolve) => {
    report = resolve;
  });
  const door = makeDoor(file, new Trapped(), (e) => report(e));
  await door.listen();
  const control = new Client(file);
  control.socket.write(hello(HelloKind.control, token('c'), 0, NO_ID));
  await control.take(64);
  const socket = new Client(file);
  socket.socket.write(hello(HelloKind.socket, token('s'), 4, NO_ID));
  t.is(await ask(control, Op.bind, token('s'), address(OWN, 80)), 0);
  control.socket.write(emitRequest(Op.listen, 1, token('s'), Buffer.alloc(8)));
  t.is(((await reported) as Error).message, 'trap');
  await door.close();
  t.true(await socket.atEnd());
});

test('hosts text beside the path is read again when it changes', async (t) => {
  const file = path.join(folder(), NAME);
  const door = makeDoor(file);
  await door.listen();
  const addresses = (name: string) => door.view.names.hosts.named(name).map((e) => e.ip.join('.'));
  t.deepEqual(addresses('a'), []);
  fs.writeFileSync(`${file}.hosts`, '10.1.1.1 a\n');
  t.deepEqual(addresses('a'), ['10.1.1.1']);
  fs.writeFileSync(`${file}.hosts`, '10.1.1.2 b\n');
  t.deepEqual([addresses('a'), addresses('b')], [[], ['10.1.1.2']]);
  await door.close();
});

test('with the addon up to 64 connections are accepted in a turn, and all are served', async (t) => {
  const native = loadNative();
  if (typeof native === 'string') throw new Error(`the addon is missing: ${native}`);
  const file = path.join(folder(), NAME);
  const door = makeDoor(file, undefined, undefined, native);
  await door.listen();
  let turn = 0;
  const perTurn = new Map<number, number>();
  const open = door.view.open.bind(door.view);
  door.view.open = (port, caller) => {
    if (!perTurn.has(turn)) setImmediate(() => turn++);
    perTurn.set(turn, (perTurn.get(turn) ?? 0) + 1);
    t.is(caller.uid, process.getuid!());
    return open(port, caller);
  };
  // connect() has happened when this tick ends: all wait before the loop looks at the door.
  const clients = Array.from({ length: 100 }, () => new Client(file));
  for (const [i, client] of clients.entries()) {
    client.socket.write(hello(HelloKind.control, token(`${i}`), 0, NO_ID));
  }
  for (const client of clients) t.is((await client.take(64)).length, 64);
  t.deepEqual([...perTurn.values()], [64, 36]);
  t.is(door.view.counters().controls, 100);
  for (const client of clients) client.socket.destroy();
  await door.close();
});
