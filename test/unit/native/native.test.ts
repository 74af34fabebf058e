/** The addon against the kernel: records, credentials, passed descriptors, polling, UDP batches. */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import {
  BATCH_MAX,
  loadNative,
  type Native,
  READABLE,
  ROW_ADDRESS_LEN,
  ROW_WORDS,
  WRITABLE,
} from '#src/host/native.js';

const loaded = loadNative();
if (typeof loaded === 'string') throw new Error(`the addon is missing: ${loaded}`);
const io: Native = loaded;

const EAGAIN = -11;
const EADDRINUSE = -98;
const ENAMETOOLONG = -36;
const NONE = new Uint32Array(1);
const LOOPBACK = Uint8Array.of(127, 0, 0, 1, ...new Uint8Array(12));
const LOOPBACK6 = Uint8Array.of(...new Uint8Array(15), 1);

function pair(t: import('ava').ExecutionContext): [number, number] {
  const into = new Uint32Array(2);
  t.is(io.pair(into), 0);
  const [a, b] = [into[0]!, into[1]!];
  t.teardown(() => {
    io.close(a);
    io.close(b);
  });
  return [a, b];
}

function event(fd: number, events: number): Promise<number> {
  return new Promise((done) => {
    const poll = new io.Poll(fd, (e) => {
      poll.close();
      done(e);
    });
    poll.start(events);
  });
}

test('records keep their bounds; a record longer than the array tells its length', (t) => {
  const [a, b] = pair(t);
  const into = new Uint8Array(8);
  t.is(io.receive(b, into, NONE), EAGAIN);
  t.is(io.send(a, Uint8Array.of(1, 2, 3), -1), 3);
  t.is(io.send(a, new Uint8Array(100).fill(9), -1), 100);
  t.is(io.receive(b, into, NONE), 3);
  t.deepEqual([...into.subarray(0, 3)], [1, 2, 3]);
  t.is(io.receive(b, into, NONE), 100);
  t.is(io.receive(b, into, NONE), EAGAIN, 'the rest of a cut record is gone');
});

test('a passed descriptor arrives; one too many is closed', (t) => {
  const [a, b] = pair(t);
  const dir = mkdtempSync(join(tmpdir(), 'netcon-io-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  writeFileSync(join(dir, 'file'), 'passed');
  const fd = openSync(join(dir, 'file'), 'r');
  t.is(io.send(a, Uint8Array.of(1), fd), 1);
  t.is(io.send(a, Uint8Array.of(2), fd), 1);
  closeSync(fd);
  const got = new Uint32Array(2);
  t.is(io.receive(b, new Uint8Array(1), got), 1);
  t.is(got[0], 1);
  const text = Buffer.alloc(6);
  t.is(readSync(got[1]!, text, 0, 6, 0), 6);
  t.is(text.toString(), 'passed');
  t.is(io.close(got[1]!), 0);
  t.is(io.receive(b, new Uint8Array(1), NONE), 1);
  t.is(NONE[0], 0, 'no room: closed, not leaked');
});

test('a listener: names, credentials, a second one, its end', async (t) => {
  const name = new TextEncoder().encode(`\0netcon-test-${process.pid}`);
  const listener = io.listenRecords(name, 16);
  t.true(listener >= 0);
  t.teardown(() => io.close(listener));
  t.is(io.listenRecords(name, 16), EADDRINUSE);
  t.is(io.listenRecords(new Uint8Array(108).fill(65), 16), ENAMETOOLONG);
  t.is(io.accept(listener), EAGAIN);
  const script = `
import os, socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.bind("\\0netcon-client-${process.pid}")
s.connect("\\0netcon-test-${process.pid}")
s.send(b"hello")
print(os.getpid(), flush=True)
`;
  const pid = Number(execFileSync('python3', ['-c', script], { encoding: 'utf8' }));
  t.is(await event(listener, READABLE), READABLE);
  const fd = io.accept(listener);
  t.teardown(() => io.close(fd));
  const who = new Uint32Array(3);
  t.is(io.credentials(fd, who), 0);
  t.deepEqual([...who], [pid, process.getuid!(), process.getgid!()]);
  const peer = new Uint8Array(64);
  const length = io.peerName(fd, peer);
  t.is(Buffer.from(peer.subarray(0, length)).toString(), `\0netcon-client-${process.pid}`);
  const into = new Uint8Array(16);
  t.is(io.receive(fd, into, NONE), 5);
  t.is(io.receive(fd, into, NONE), 0, 'the peer is gone');
});

test('a peer bound to a path that fills the whole field has that path as its name', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'netcon-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const path = `${dir}/`.padEnd(108, 'x');
  const listener = io.listenRecords(Buffer.from(`\0netcon-long-${process.pid}`), 1);
  t.teardown(() => io.close(listener));
  const script = `
import ctypes, socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
name = (socket.AF_UNIX).to_bytes(2, "little") + b"${path}"
assert ctypes.CDLL(None).bind(s.fileno(), name, len(name)) == 0
s.connect("\\0netcon-long-${process.pid}")
`;
  execFileSync('python3', ['-c', script]);
  const fd = io.accept(listener);
  t.teardown(() => io.close(fd));
  const name = new Uint8Array(128);
  t.is(io.peerName(fd, name), 108);
  t.is(Buffer.from(name.subarray(0, 108)).toString(), path);
});

test('what the callback of a watch throws is an uncaught exception, and the watch goes on', (t) => {
  const addon = new URL('../../../../dist/native/netcon_io.node', import.meta.url).pathname;
  const script = `
    const io = require(${JSON.stringify(addon)});
    const said = [];
    process.on('uncaughtException', (e) => said.push(e.message));
    const fds = new Uint32Array(2);
    io.pair(fds);
    const poll = new io.Poll(fds[1], () => {
      said.push('called');
      if (said.length === 1) throw new Error('thrown');
      poll.close();
      console.log(said.join());
    });
    poll.start(1);
    io.send(fds[0], Uint8Array.of(1), -1);
  `;
  const out = execFileSync(process.execPath, ['-e', script], { encoding: 'utf8', timeout: 20_000 });
  t.is(out.trim(), 'called,thrown,called');
});

test('a watch tells readable and writable, and nothing after close', async (t) => {
  const [a, b] = pair(t);
  t.is(await event(a, READABLE | WRITABLE), WRITABLE);
  io.send(a, Uint8Array.of(1), -1);
  t.is(await event(b, READABLE), READABLE);
  let calls = 0;
  const poll = new io.Poll(b, () => calls++);
  poll.start(READABLE);
  poll.close();
  poll.close();
  await event(b, READABLE);
  t.is(calls, 0);
  t.throws(() => poll.start(READABLE), { instanceOf: TypeError });
  t.throws(() => new io.Poll(99_999, () => undefined));
});

test('wrong kinds of arguments throw and touch nothing', (t) => {
  const bad = io as unknown as Record<string, (...args: unknown[]) => unknown>;
  for (const [name, args] of [
    ['listenRecords', ['text', 1]],
    ['accept', []],
    ['close', [1.5]],
    ['send', [1, new Uint8Array(1)]],
    ['receive', [1, new Uint8Array(1), new Uint8Array(1)]],
    ['receive', [1, new Uint8Array(1), new Uint32Array(0)]],
    ['credentials', [1, new Uint32Array(2)]],
    ['pair', [new Uint32Array(1)]],
    ['udpOpen', [5, LOOPBACK, 0, 0, 0]],
    ['udpOpen', [4, LOOPBACK.subarray(1), 0, 0, 0]],
    ['udpOpen', [4, LOOPBACK, 65_536, 0, 0]],
    ['udpReceive', [1, new Uint8Array(1), 2, new Uint32Array(4), new Uint8Array(16)]],
    ['udpReceive', [1, new Uint8Array(1), 0, new Uint32Array(4), new Uint8Array(16)]],
    ['udpSend', [1, new Uint8Array(9), Uint32Array.of(8, 2, 1, 4), new Uint8Array(16), 0, 1, 0]],
    ['udpSend', [1, new Uint8Array(9), Uint32Array.of(0, 2, 1, 5), new Uint8Array(16), 0, 1, 0]],
    ['udpSend', [1, new Uint8Array(9), Uint32Array.of(0, 2, 1, 4), new Uint8Array(16), 0, 2, 0]],
    ['udpSend', [1, new Uint8Array(9), Uint32Array.of(0, 2, 1, 4), new Uint8Array(15), 0, 1, 0]],
    [
      'udpSend',
      [1, new Uint8Array(9), Uint32Array.of(0, 2, 65_536, 4), new Uint8Array(16), 0, 1, 0],
    ],
    ['udpSend', [1, new Uint8Array(9), Uint32Array.of(0, 2, 1, 4), new Uint8Array(16), -1, 1, 0]],
  ] as const)
    t.throws(() => bad[name]!(...args), { instanceOf: TypeError }, `${name} ${args.length}`);
});

interface Batch {
  readonly bytes: Uint8Array;
  readonly table: Uint32Array;
  readonly addresses: Uint8Array;
}

/** Datagrams that stand one after the other in one buffer. */
function batch(family: 4 | 6, port: number, datagrams: readonly Uint8Array[]): Batch {
  const bytes = new Uint8Array(datagrams.reduce((n, d) => n + d.length, 0));
  const table = new Uint32Array(datagrams.length * ROW_WORDS);
  const addresses = new Uint8Array(datagrams.length * ROW_ADDRESS_LEN);
  let at = 0;
  for (const [i, d] of datagrams.entries()) {
    bytes.set(d, at);
    table.set([at, d.length, port, family], i * ROW_WORDS);
    addresses.set(family === 4 ? LOOPBACK : LOOPBACK6, i * ROW_ADDRESS_LEN);
    at += d.length;
  }
  return { bytes, table, addresses };
}

const SLOT = 65_536;
const inbox = new Uint8Array(BATCH_MAX * SLOT);
const table = new Uint32Array(512 * ROW_WORDS);
const addresses = new Uint8Array(512 * ROW_ADDRESS_LEN);

interface Got {
  readonly bytes: Uint8Array;
  readonly port: number;
  readonly address: Uint8Array;
}

async function receiveAll(fd: number, count: number): Promise<Got[]> {
  const out: Got[] = [];
  while (out.length < count) {
    const n = io.udpReceive(fd, inbox, SLOT, table, addresses);
    if (n === EAGAIN) {
      await event(fd, READABLE);
      continue;
    }
    if (n < 0) throw new Error(`udpReceive: ${n}`);
    for (let i = 0; i < n; i++) {
      const [offset = 0, length = 0, port = 0] = table.subarray(i * ROW_WORDS);
      out.push({
        bytes: inbox.slice(offset, offset + length),
        port,
        address: addresses.slice(i * ROW_ADDRESS_LEN, (i + 1) * ROW_ADDRESS_LEN),
      });
    }
  }
  return out;
}

function open(t: import('ava').ExecutionContext, family: 4 | 6, gro: 0 | 1): [number, number] {
  const fd = io.udpOpen(family, family === 4 ? LOOPBACK : LOOPBACK6, 0, 4 << 20, gro);
  t.true(fd >= 0, `udpOpen: ${fd}`);
  t.teardown(() => io.close(fd));
  return [fd, io.udpPort(fd)];
}

for (const family of [4, 6] as const)
  for (const gso of [0, 1] as const)
    for (const gro of [0, 1] as const)
      test(`UDP over IPv${family}, GSO ${gso}, GRO ${gro}: every datagram once, in order`, async (t) => {
        const [to, port] = open(t, family, gro);
        const [from, source] = open(t, family, 0);
        const datagrams = Array.from({ length: 200 }, (_, i) =>
          new Uint8Array(i % 40 === 39 ? 33 : 1_432).fill(i),
        );
        datagrams.push(new Uint8Array(0), Uint8Array.of(1));
        const b = batch(family, port, datagrams);
        const got: Got[] = [];
        for (let first = 0; first < datagrams.length; ) {
          const left = datagrams.length - first;
          const n = io.udpSend(from, b.bytes, b.table, b.addresses, first, left, gso);
          t.true(n > 0, `udpSend: ${n}`);
          got.push(...(await receiveAll(to, n)));
          first += n;
        }
        t.deepEqual(
          got.map((g) => g.bytes),
          datagrams,
        );
        t.true(got.every((g) => g.port === source));
        t.deepEqual(got[0]!.address, family === 4 ? LOOPBACK : LOOPBACK6);
      });

test('a datagram longer than its slot is cut to it', async (t) => {
  const [to, port] = open(t, 4, 0);
  const [from] = open(t, 4, 0);
  const b = batch(4, port, [new Uint8Array(100).fill(7)]);
  t.is(io.udpSend(from, b.bytes, b.table, b.addresses, 0, 1, 0), 1);
  await event(to, READABLE);
  t.is(io.udpReceive(to, new Uint8Array(10), 10, table, addresses), 1);
  t.is(table[1], 10);
});

test('a port in use, a closed port, a hop limit', async (t) => {
  const [, port] = open(t, 4, 0);
  t.is(io.udpOpen(4, LOOPBACK, port, 0, 0), EADDRINUSE);
  const [from] = open(t, 4, 0);
  t.is(io.udpTtl(from, 4, 2), 0);
  const closed = io.udpOpen(4, LOOPBACK, 0, 0, 0);
  const b = batch(4, io.udpPort(closed), [Uint8Array.of(1)]);
  io.close(closed);
  t.is(io.udpSend(from, b.bytes, b.table, b.addresses, 0, 1, 0), 1);
  t.is(
    io.udpReceive(from, inbox, SLOT, table, addresses),
    EAGAIN,
    'unconnected: no error comes back',
  );
});
