/** Connections on the host's network, over real loopback. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import test from 'ava';
import { DoorHostNetwork } from '#src/host/host-network.js';
import { NOTHING_GRANTED } from '#src/preload/fallthrough.js';
import { Quota } from '#src/preload/quota.js';
import type { StackErrno, TcpHandle, TcpSink } from '#src/stack/stack.js';

const AT = { mono: 0, wall: 0 };
const LOOPBACK = Uint8Array.of(127, 0, 0, 1);

class Sink implements TcpSink {
  readonly log: string[] = [];
  received = 0;
  sent = 0;
  #wake: () => void = () => undefined;

  #note(what: string): void {
    this.log.push(what);
    this.#wake();
  }
  onConnected(): void {
    this.#note('connected');
  }
  onData(bytes: Uint8Array): void {
    this.received += bytes.length;
    this.#wake();
  }
  onSent(count: number): void {
    this.sent += count;
    this.#wake();
  }
  onFin(): void {
    this.#note('fin');
  }
  onError(errno: StackErrno): void {
    this.#note(errno);
  }
  async until(holds: () => boolean): Promise<void> {
    while (!holds())
      await new Promise<void>((r) => {
        this.#wake = r;
      });
  }
}

async function serve(onSocket: (s: Socket) => void): Promise<{ server: Server; port: number }> {
  const server = createServer({ allowHalfOpen: true }, onSocket);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port };
}

function network() {
  let touched = 0;
  const n = new DoorHostNetwork(
    (act) => act(),
    () => {
      touched++;
    },
    () => NOTHING_GRANTED,
    new Quota(1),
  );
  const connect = (port: number): { sink: Sink; handle: TcpHandle } => {
    const sink = new Sink();
    return { sink, handle: n.tcp.tcpConnect(AT, undefined, { ip: LOOPBACK, port }, sink) };
  };
  return { n, connect, touched: () => touched };
}

test('an echo, both halves closed in order, true names', async (t) => {
  const { server, port } = await serve((s) => s.pipe(s));
  const { n, connect, touched } = network();
  const { sink, handle } = connect(port);
  await sink.until(() => sink.log.includes('connected'));
  t.true(touched() > 0);
  const names = n.tcp.tcpNames(handle)!;
  t.deepEqual([names.local.ip, names.remote], [LOOPBACK, { ip: LOOPBACK, port }]);
  t.is(n.tcp.tcpWrite(AT, handle, Uint8Array.of(1, 2, 3)), 3);
  n.tcp.tcpShutdown(AT, handle);
  await sink.until(() => sink.log.includes('fin'));
  t.is(sink.received, 3);
  n.tcp.tcpClose(AT, handle);
  server.close();
  await once(server, 'close');
});

test('a refused connection is told once, by its errno', async (t) => {
  const { server, port } = await serve(() => undefined);
  server.close();
  await once(server, 'close');
  const { connect } = network();
  const { sink } = connect(port);
  await sink.until(() => sink.log.length > 0);
  t.deepEqual(sink.log, ['ECONNREFUSED']);
});

test('a reset by the peer is ECONNRESET, and nothing follows an abort', async (t) => {
  const peers: Socket[] = [];
  const { server, port } = await serve((s) => {
    s.on('error', () => undefined);
    peers.push(s);
    if (peers.length === 2) {
      peers[0]!.resetAndDestroy();
    }
  });
  const { n, connect } = network();
  const first = connect(port);
  await first.sink.until(() => first.sink.log.includes('connected'));
  const second = connect(port);
  await first.sink.until(() => first.sink.log.length > 1);
  t.deepEqual(first.sink.log, ['connected', 'ECONNRESET']);
  await second.sink.until(() => second.sink.log.includes('connected'));
  const gone = new Promise<void>((r) => peers[1]!.once('close', () => r()));
  n.tcp.tcpAbort(AT, second.handle);
  await gone;
  t.deepEqual(second.sink.log, ['connected']);
  server.close();
  await once(server, 'close');
});

test('a program that does not read stops the peer, and credit lets it go on', async (t) => {
  const total = 4 << 20;
  const { server, port } = await serve((s) => s.end(Buffer.alloc(total)));
  const { n, connect } = network();
  const { sink, handle } = connect(port);
  await sink.until(() => sink.received >= 256 * 1024);
  let credited = 0;
  while (sink.received < total) {
    const waiting = sink.received - credited;
    t.true(waiting < 512 * 1024, `${waiting} bytes without credit`);
    n.tcp.tcpCredit(AT, handle, waiting);
    credited += waiting;
    const before = sink.received;
    await sink.until(() => sink.received > before || sink.log.includes('fin'));
  }
  t.is(sink.received, total);
  n.tcp.tcpClose(AT, handle);
  server.close();
  await once(server, 'close');
});

test('a peer that does not read takes a bounded part, and the rest when it reads', async (t) => {
  let peer: Socket | undefined;
  const { server, port } = await serve((s) => {
    s.pause();
    peer = s;
  });
  const { n, connect } = network();
  const { sink, handle } = connect(port);
  await sink.until(() => sink.log.includes('connected'));
  const block = new Uint8Array(1 << 20);
  let taken = 0;
  for (let n0 = 1; n0 > 0; taken += n0) n0 = n.tcp.tcpWrite(AT, handle, block);
  t.true(taken < 8 << 20, `${taken} bytes taken`);
  let read = 0;
  await new Promise<void>((done) => {
    const ready = () => {
      if (peer === undefined) setImmediate(ready);
      else done();
    };
    ready();
  });
  peer!.on('data', (d: Buffer) => {
    read += d.length;
  });
  peer!.resume();
  await sink.until(() => sink.sent > 0);
  n.tcp.tcpShutdown(AT, handle);
  await once(peer!, 'end');
  t.is(read, taken);
  peer!.end();
  await sink.until(() => sink.log.includes('fin'));
  n.tcp.tcpClose(AT, handle);
  server.close();
  await once(server, 'close');
});

test('a peer that sends on after the program closed is reset', async (t) => {
  let peer: Socket | undefined;
  const { server, port } = await serve((s) => {
    peer = s;
    s.on('error', () => undefined);
  });
  const { n, connect } = network();
  const { sink, handle } = connect(port);
  await sink.until(() => sink.log.includes('connected'));
  while (peer === undefined) await new Promise(setImmediate);
  const ended = once(peer, 'end');
  n.tcp.tcpClose(AT, handle);
  peer.resume();
  await ended;
  const closed = new Promise<void>((r) => peer!.once('close', () => r()));
  const pump = () => {
    if (!peer!.destroyed) peer!.write(Buffer.alloc(1024), () => setImmediate(pump));
  };
  pump();
  await closed;
  t.is(sink.received, 0);
  t.is(n.tcp.tcpNames(handle), undefined);
  server.close();
  await once(server, 'close');
});
