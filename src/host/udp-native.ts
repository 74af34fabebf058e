/**
 * UDP sockets on the addon: all waiting datagrams come in with one system call, and what is sent is
 * collected until `flush`, so that it leaves with few [0 decision 6]. Datagrams of one length to one
 * place leave as one segmented message.
 */
import { getSystemErrorName } from 'node:util';
import {
  type InetAddress,
  inetAddress,
  type RemoteAddress,
  remoteAddress,
} from '../wire/inetaddress.js';
import {
  BATCH_MAX,
  type Native,
  type NativePoll,
  READABLE,
  ROW_ADDRESS_LEN,
  ROW_WORDS,
  WRITABLE,
} from './native.js';
import {
  type DatagramSocket,
  type OpenSocket,
  type Received,
  SOCKET_BUFFER_LEN,
  type UdpCounters,
} from './udp-socket.js';

/** A message of joined datagrams is at most this long. */
const SLOT_LEN = 65_536;
/** Ours: messages taken with one call; a turn of the event loop may take MAX_CALLS of them. */
const SLOTS = 16;
const MAX_CALLS = 4;
/** Rows of a receive table: a message holds up to 64 datagrams, in practice some 44 of 1,432 bytes. */
const IN_ROWS = SLOTS * BATCH_MAX;
/** Ours: what may wait for `flush` or for room in the kernel's buffer. */
const OUT_ROWS = 1024;
const OUT_LEN = 2 * 1024 * 1024;
/** Ours: remote endpoints whose parsed form is kept. */
const MAX_KNOWN = 65_536;
const DEFAULT_TTL = 64;
/** Ours: segmentation that was refused is tried again after this: the route may have changed. */
const SEGMENT_AGAIN_MS = 60_000;
const EAGAIN = -11;
const EINVAL = -22;
const EIO = -5;
const ENOBUFS = -105;

/** One inbox for all sockets: its content is handed on before the next call. */
const inbox = new Uint8Array(SLOTS * SLOT_LEN);
const inTable = new Uint32Array(IN_ROWS * ROW_WORDS);
const inAddresses = new Uint8Array(IN_ROWS * ROW_ADDRESS_LEN);

/** Remote endpoints by their bytes, so that one endpoint is one object. */
class Endpoints {
  readonly #v4 = new Map<number, RemoteAddress>();
  readonly #v6 = new Map<string, RemoteAddress>();

  at(row: number): RemoteAddress {
    const at = row * ROW_ADDRESS_LEN;
    const port = inTable[row * ROW_WORDS + 2]!;
    const isV4 = inTable[row * ROW_WORDS + 3] === 4;
    if (!isV4) return this.#intern(this.#v6, `${inAddresses.subarray(at, at + 16)}/${port}`, row);
    const [a = 0, b = 0, c = 0, d = 0] = inAddresses.subarray(at, at + 4);
    return this.#intern(
      this.#v4,
      (a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d) * 2 ** 16 + port,
      row,
    );
  }

  #intern<K>(map: Map<K, RemoteAddress>, key: K, row: number): RemoteAddress {
    const known = map.get(key);
    if (known !== undefined) return known;
    if (map.size >= MAX_KNOWN) map.clear();
    const at = row * ROW_ADDRESS_LEN;
    const len = inTable[row * ROW_WORDS + 3] === 4 ? 4 : 16;
    const port = inTable[row * ROW_WORDS + 2]!;
    const fresh = remoteAddress(inetAddress(inAddresses.slice(at, at + len), port));
    map.set(key, fresh);
    return fresh;
  }
}

class NativeSocket implements DatagramSocket {
  readonly port: number;
  readonly #io: Native;
  readonly #fd: number;
  readonly #family: 4 | 6;
  readonly #poll: NativePoll;
  readonly #received: Received;
  readonly #counters: UdpCounters;
  readonly #endpoints = new Endpoints();
  readonly #out = new Uint8Array(OUT_LEN);
  readonly #table = new Uint32Array(OUT_ROWS * ROW_WORDS);
  readonly #addresses = new Uint8Array(OUT_ROWS * ROW_ADDRESS_LEN);
  #rows = 0;
  #bytes = 0;
  #isBlocked = false;
  /** Monotonic ms from which segmentation is tried. */
  #segmentFrom = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  constructor(io: Native, fd: number, family: 4 | 6, received: Received, counters: UdpCounters) {
    this.#io = io;
    this.#fd = fd;
    this.#family = family;
    this.#received = received;
    this.#counters = counters;
    this.port = io.udpPort(fd);
    this.#poll = new io.Poll(fd, (events) => this.#wake(events));
    this.#watch();
  }

  #watch(): void {
    this.#poll.start(this.#isBlocked ? READABLE | WRITABLE : READABLE);
  }

  #wake(events: number): void {
    if (events < 0) {
      // An error of the socket ended the watch: receiving tells and clears it.
      this.#receive();
      if (!this.#isClosed) this.#watch();
      return;
    }
    if ((events & WRITABLE) !== 0 && this.#isBlocked) {
      this.#isBlocked = false;
      this.flush();
      this.#watch();
    }
    if ((events & READABLE) !== 0) this.#receive();
  }

  #receive(): void {
    for (let call = 0; call < MAX_CALLS && !this.#isClosed; call++) {
      const rows = this.#io.udpReceive(this.#fd, inbox, SLOT_LEN, inTable, inAddresses);
      if (rows < 0) {
        // What an earlier datagram of ours met (a port closed, a host gone) is told here.
        if (rows !== EAGAIN) this.#counters.sendErrors++;
        return;
      }
      for (let i = 0; i < rows && !this.#isClosed; i++) {
        const offset = inTable[i * ROW_WORDS]!;
        const length = inTable[i * ROW_WORDS + 1]!;
        this.#received(this.#endpoints.at(i), inbox.subarray(offset, offset + length));
      }
      if (rows < SLOTS) return;
    }
  }

  send(to: RemoteAddress, bytes: Uint8Array, ttl: number | undefined): void {
    if (this.#isClosed) return;
    if (ttl !== undefined) {
      this.#sendWithTtl(to, bytes, ttl);
      return;
    }
    if (this.#rows === OUT_ROWS || this.#bytes + bytes.length > OUT_LEN) this.flush();
    if (this.#rows === OUT_ROWS || this.#bytes + bytes.length > OUT_LEN) {
      this.#counters.sendQueueFull++;
      return;
    }
    this.#append(to, bytes);
  }

  #append(to: RemoteAddress, bytes: Uint8Array): void {
    this.#counters.datagramsOut++;
    this.#counters.bytesOut += bytes.length;
    const at = this.#rows * ROW_WORDS;
    this.#table[at] = this.#bytes;
    this.#table[at + 1] = bytes.length;
    this.#table[at + 2] = to.port;
    this.#table[at + 3] = this.#family;
    this.#addresses.set(to.ip, this.#rows * ROW_ADDRESS_LEN);
    this.#out.set(bytes, this.#bytes);
    this.#bytes += bytes.length;
    this.#rows++;
  }

  /** A hop limit is the socket's: what waits leaves before it is changed. */
  #sendWithTtl(to: RemoteAddress, bytes: Uint8Array, ttl: number): void {
    this.flush();
    if (this.#rows > 0) {
      this.#counters.sendQueueFull++;
      return;
    }
    this.#io.udpTtl(this.#fd, this.#family, ttl);
    this.#append(to, bytes);
    this.flush();
    this.#io.udpTtl(this.#fd, this.#family, DEFAULT_TTL);
    if (this.#rows === 0) return;
    // It does not wait: later it would leave with another hop limit.
    this.#rows = 0;
    this.#bytes = 0;
    this.#counters.sendQueueFull++;
  }

  flush(): void {
    if (this.#isBlocked || this.#isClosed) return;
    let first = 0;
    while (first < this.#rows) {
      const rc = this.#sendFrom(first);
      if (rc > 0) first += rc;
      else if (rc === ENOBUFS) {
        // A device's queue is full, of which no event tells the end: the datagram is lost, as on the wire.
        this.#counters.sendQueueFull++;
        first++;
      } else if (rc === EAGAIN) {
        this.#keep(first);
        this.#isBlocked = true;
        this.#watch();
        return;
      } else {
        this.#counters.sendErrors++;
        first++;
      }
    }
    this.#rows = 0;
    this.#bytes = 0;
  }

  /**
   * A device or an old kernel that can not segment refuses with EINVAL or EIO, but so does an address
   * that nothing can be sent to: segmentation rests only when the datagram goes without.
   */
  #sendFrom(first: number): number {
    const segments = performance.now() >= this.#segmentFrom;
    const rc = this.#try(first, this.#rows - first, segments);
    if (!segments || (rc !== EINVAL && rc !== EIO)) return rc;
    const alone = this.#try(first, 1, false);
    if (alone > 0) this.#segmentFrom = performance.now() + SEGMENT_AGAIN_MS;
    return alone;
  }

  #try(first: number, count: number, segments: boolean): number {
    return this.#io.udpSend(
      this.#fd,
      this.#out,
      this.#table,
      this.#addresses,
      first,
      count,
      segments ? 1 : 0,
    );
  }

  /** Moves the rows from `first` on to the front. */
  #keep(first: number): void {
    const begin = this.#table[first * ROW_WORDS]!;
    this.#out.copyWithin(0, begin, this.#bytes);
    this.#bytes -= begin;
    this.#table.copyWithin(0, first * ROW_WORDS, this.#rows * ROW_WORDS);
    this.#addresses.copyWithin(0, first * ROW_ADDRESS_LEN, this.#rows * ROW_ADDRESS_LEN);
    this.#rows -= first;
    for (let i = 0; i < this.#rows; i++) this.#table[i * ROW_WORDS]! -= begin;
  }

  close(): void {
    // The descriptor's number may be another file's by now.
    if (this.#isClosed) return;
    this.flush();
    this.#isClosed = true;
    this.#poll.close();
    this.#io.close(this.#fd);
  }
}

/** Sockets of the addon. */
export function openNative(io: Native): OpenSocket {
  return (local: InetAddress, received, counters) => {
    const family = local.family === 4 ? 4 : 6;
    const ip = new Uint8Array(ROW_ADDRESS_LEN);
    ip.set(local.ip);
    const fd = io.udpOpen(family, ip, local.port, SOCKET_BUFFER_LEN, 1);
    if (fd < 0) return Promise.reject(new Error(`bind ${getSystemErrorName(fd)}`));
    return Promise.resolve(new NativeSocket(io, fd, family, received, counters));
  };
}
