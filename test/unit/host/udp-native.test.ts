/** The addon's sockets over a kernel of the test's own: errors, refusals, full buffers. */
import test from 'ava';
import { BATCH_MAX, type Native, READABLE, WRITABLE } from '#src/host/native.js';
import { openNative } from '#src/host/udp-native.js';
import type { DatagramSocket, UdpCounters } from '#src/host/udp-socket.js';
import { inetAddress, type RemoteAddress, remoteAddress } from '#src/wire/inetaddress.js';

const EAGAIN = -11;
const EINVAL = -22;
const ENOBUFS = -105;
const ECONNABORTED = -103;
const UV_EBADF = -9;

const at = (host: number, port = 9993): RemoteAddress =>
  remoteAddress(inetAddress(Uint8Array.of(10, 0, 0, host), port));
const local = inetAddress(Uint8Array.of(10, 0, 0, 1), 9993);

/** A system whose calls are answered by what the test puts in; by default everything succeeds. */
class FakeKernel {
  /** Last octet of destinations that nothing can be sent to. */
  unreachable = 0;
  canSegment = true;
  isFull = false;
  /** The next datagrams that the device's queue has no room for. */
  noBuffers = 0;
  receives: number[] = [];
  watching = 0;
  closed = 0;
  ttl = 64;
  /** Last octet of the destination, hop limit, and whether segmentation was asked for. */
  readonly sent: { host: number; ttl: number; segments: boolean }[] = [];
  wake: (events: number) => void = () => undefined;

  io(): Native {
    const kernel = this;
    class Poll {
      constructor(_fd: number, callback: (events: number) => void) {
        kernel.wake = (events) => {
          // As libuv: an error ends the watch.
          if (events < 0) kernel.watching = 0;
          callback(events);
        };
      }
      start(events: number): number {
        kernel.watching = events;
        return 0;
      }
      close(): void {
        kernel.watching = 0;
      }
    }
    const io = {
      Poll,
      udpOpen: () => 7,
      udpPort: () => 9993,
      udpTtl: (_fd: number, _family: number, hops: number) => {
        kernel.ttl = hops;
        return 0;
      },
      udpReceive: () => kernel.receives.shift() ?? EAGAIN,
      udpSend: (...args: Parameters<Native['udpSend']>) => kernel.#send(...args),
      close: () => ++kernel.closed,
    };
    return io as unknown as Native;
  }

  #send(
    _fd: number,
    _from: Uint8Array,
    _table: Uint32Array,
    addresses: Uint8Array,
    first: number,
    count: number,
    gso: number,
  ): number {
    if (this.isFull) return EAGAIN;
    if (this.noBuffers > 0) {
      this.noBuffers--;
      return ENOBUFS;
    }
    const host = addresses[first * 16 + 3]!;
    if (host === this.unreachable) return EINVAL;
    if (gso !== 0 && !this.canSegment && count > 1) return EINVAL;
    const n = Math.min(count, BATCH_MAX);
    for (let i = 0; i < n; i++) {
      const to = addresses[(first + i) * 16 + 3]!;
      if (to === this.unreachable) return i;
      this.sent.push({ host: to, ttl: this.ttl, segments: gso !== 0 });
    }
    return n;
  }
}

async function open(): Promise<{ k: FakeKernel; socket: DatagramSocket; counters: UdpCounters }> {
  const k = new FakeKernel();
  const counters = { sendErrors: 0, sendQueueFull: 0, datagramsOut: 0, bytesOut: 0 } as UdpCounters;
  const socket = await openNative(k.io())(local, () => undefined, counters);
  return { k, socket, counters };
}

test('an error of the socket ends nothing: it is read, counted, and the watch goes on', async (t) => {
  const { k, counters } = await open();
  t.is(k.watching, READABLE);
  k.receives = [ECONNABORTED];
  k.wake(UV_EBADF);
  t.is(counters.sendErrors, 1);
  t.is(k.watching, READABLE);
});

test('an error while the buffer is full: the watch still waits for room', async (t) => {
  const { k, socket } = await open();
  k.isFull = true;
  socket.send(at(2), Uint8Array.of(1), undefined);
  socket.flush();
  k.wake(UV_EBADF);
  t.is(k.watching, READABLE | WRITABLE);
});

test('an address that nothing can be sent to does not end segmentation for all', async (t) => {
  const { k, socket, counters } = await open();
  k.unreachable = 9;
  for (const host of [9, 2, 2, 9, 3]) socket.send(at(host), Uint8Array.of(host), undefined);
  socket.flush();
  t.deepEqual(
    k.sent.map((s) => s.host),
    [2, 2, 3],
  );
  t.is(counters.sendErrors, 2);
  t.true(k.sent.every((s) => s.segments));
});

test('what finds the queue of the device full is lost and counted, and nothing waits', async (t) => {
  const { k, socket, counters } = await open();
  k.noBuffers = 2;
  for (const host of [2, 3, 4]) socket.send(at(host), Uint8Array.of(host), undefined);
  socket.flush();
  t.deepEqual(
    k.sent.map((s) => s.host),
    [4],
  );
  t.is(counters.sendQueueFull, 2);
  t.is(k.watching, READABLE);
});

test('a system that can not segment is sent single datagrams, and none is lost', async (t) => {
  const { k, socket, counters } = await open();
  k.canSegment = false;
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 5; i++) socket.send(at(2), Uint8Array.of(i), undefined);
    socket.flush();
  }
  t.is(k.sent.length, 10);
  t.false(k.sent.some((s) => s.segments));
  t.is(counters.sendErrors, 0);
});

test('a datagram with a hop limit of its own never leaves with another one', async (t) => {
  const { k, socket, counters } = await open();
  k.isFull = true;
  socket.send(at(2), Uint8Array.of(1), 2);
  t.is(counters.sendQueueFull, 1);
  k.isFull = false;
  k.wake(WRITABLE);
  t.deepEqual(k.sent, []);
  socket.send(at(2), Uint8Array.of(1), 2);
  socket.send(at(3), Uint8Array.of(1), undefined);
  socket.flush();
  t.deepEqual(
    k.sent.map((s) => [s.host, s.ttl]),
    [
      [2, 2],
      [3, 64],
    ],
  );
});

test('closing twice closes the descriptor once', async (t) => {
  const { k, socket } = await open();
  socket.close();
  socket.close();
  t.is(k.closed, 1);
  t.is(k.watching, 0);
});
