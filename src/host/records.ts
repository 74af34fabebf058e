/**
 * The record doors of a preload view: SEQPACKET listeners of the addon and their connections
 * [5 sections 5.1 and 6.4].
 *
 * Owns these descriptors and their watches. Reading is level-triggered and takes at most a batch per
 * turn of the loop, so that one program that sends without end starves nobody. Output is written at
 * once; a full kernel queue is watched for room. A listener that finds no descriptor free rests
 * instead of spinning.
 */

import type { RecordPort } from '../preload/datagram-host.js';
import type { Caller, RecordConnection } from '../preload/record-client.js';
import { RECORD_MAX } from '../preload/records.js';
import { type Native, type NativePoll, READABLE, WRITABLE } from './native.js';
import { PlainCarrier } from './plain-records.js';

/** [5 section 5.1] listen backlog. */
const BACKLOG = 4096;
/** Ours: records read from one program per turn of the loop. */
const BATCH = 64;
/**
 * Ours: records taken before a request about their socket: more than fit into the send buffer that
 * Linux gives a program, each accounted for with its overhead.
 */
const DRAIN_MAX = 1_024;
/**
 * Ours: records taken so in one turn of the loop, of all programs together: some 20 ms of work. Beyond
 * it requests may overtake datagrams, and nobody is kept waiting by one program's requests.
 */
const DRAIN_TURN = 4_096;
/** Linux's own send buffer; SO_SNDBUF doubles what is asked for. */
const SEND_BUFFER = 212_992 / 2;
/** Ours: connections taken per turn of the loop. */
const ACCEPT_BATCH = 64;
/** Ours: how long a listener rests when descriptors are short. */
const REST_MS = 100;

const EAGAIN = -11;
const EINTR = -4;
const EMFILE = -24;
const ENFILE = -23;
const ENOBUFS = -105;
const ENOMEM = -12;

/** Passed descriptors are not wanted: no room means that the addon closes them. */
const NO_DESCRIPTORS = new Uint32Array(1);

export interface RecordDoorOptions {
  readonly native: Native;
  readonly open: (port: RecordPort, caller: Caller) => RecordConnection;
  /** Runs what may call into the stack. */
  readonly guard: (act: () => void) => void;
  /** The stack may have been used. */
  readonly touched: () => void;
  readonly log: (line: string) => void;
}

/** One connection as the view's port. */
class RecordStream implements RecordPort {
  readonly #door: RecordDoor;
  readonly #native: Native;
  readonly #fd: number;
  readonly #poll: NativePoll;
  #reading = true;
  #blocked = false;
  #destroyed = false;
  /** Of a socket under the launcher: its headers travel beside the records. */
  readonly #plain: PlainCarrier | undefined;
  connection: RecordConnection | undefined;

  constructor(door: RecordDoor, native: Native, fd: number) {
    this.#door = door;
    this.#native = native;
    this.#fd = fd;
    this.#poll = new native.Poll(fd, (events) => this.#ready(events));
    this.#plain = PlainCarrier.of(native, fd);
  }

  watch(): void {
    if (this.#destroyed) return;
    const events = (this.#reading ? READABLE : 0) | (this.#blocked ? WRITABLE : 0);
    if (events === 0) this.#poll.stop();
    else this.#poll.start(events);
  }

  #ready(events: number): void {
    const connection = this.connection;
    if (connection === undefined) return;
    this.#door.guard(() => {
      if (events < 0) {
        connection.handleReset();
        return;
      }
      if ((events & WRITABLE) !== 0 && this.#blocked) this.#unblock(connection);
      if ((events & READABLE) !== 0) this.#read(connection, BATCH);
    });
    this.#door.touched();
  }

  #unblock(connection: RecordConnection): void {
    this.#blocked = false;
    connection.handleWritable();
    this.watch();
  }

  /** Takes the HELLO if it is there: who has said it does not count as silent. */
  greet(): void {
    if (this.connection !== undefined) this.#read(this.connection, 1);
  }

  drain(): void {
    if (this.connection === undefined) return;
    this.#door.drained += this.#read(this.connection, Math.min(DRAIN_MAX, this.#door.drainRoom()));
  }

  /** Takes up to `count` records. @returns how many it looked for. */
  #read(connection: RecordConnection, count: number): number {
    let i = 0;
    for (; i < count && this.#reading && !this.#destroyed; i++) {
      const len = this.#native.receive(this.#fd, this.#door.buffer, NO_DESCRIPTORS);
      if (len === EAGAIN || len === EINTR) break;
      if (len < 0) {
        connection.handleReset();
        break;
      }
      if (len === 0 && (this.#plain === undefined || this.#native.hasEnded(this.#fd) !== 0)) {
        connection.handleEnd();
        break;
      }
      /* A longer record was cut: the view is given one that is too long to be one. */
      const record = this.#door.buffer.subarray(0, len);
      connection.handleRecord(this.#plain?.recordOf(record) ?? record);
    }
    return i;
  }

  send(record: Uint8Array): boolean {
    if (this.#destroyed) return true;
    if (this.#blocked) return false;
    const result =
      this.#plain?.send(this.#native, this.#fd, record) ?? this.#native.send(this.#fd, record, -1);
    if (result !== EAGAIN && result !== ENOBUFS) return true;
    this.#blocked = true;
    this.watch();
    return false;
  }

  setReading(on: boolean): void {
    this.#reading = on;
    this.watch();
  }

  raiseBuffer(len: number): void {
    if (!this.#destroyed && len > SEND_BUFFER) this.#native.setSendBuffer(this.#fd, len);
  }

  heldLen(): number {
    return this.#destroyed ? 0 : Math.max(0, this.#native.heldLen(this.#fd));
  }

  isHeld(): boolean {
    return !this.#destroyed && this.#native.isHungUp(this.#fd) === 0;
  }

  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.#poll.close();
    this.#native.close(this.#fd);
    this.#door.forget(this);
  }
}

interface Listener {
  readonly fd: number;
  readonly poll: NativePoll;
  readonly needsKey: boolean;
  rest: NodeJS.Timeout | undefined;
}

export class RecordDoor {
  readonly #options: RecordDoorOptions;
  readonly #listeners: Listener[] = [];
  readonly #streams = new Set<RecordStream>();
  /** One byte more than the longest record, so that one that is too long shows. */
  readonly buffer = new Uint8Array(RECORD_MAX + 1);
  /** Records taken before requests in this turn of the loop. */
  drained = 0;
  #turnEnds = false;

  constructor(options: RecordDoorOptions) {
    this.#options = options;
  }

  /** Listens on a path, or on an abstract name that begins with NUL. @returns 0 or -errno. */
  listen(name: string, needsKey: boolean): number {
    const { native } = this.#options;
    const fd = native.listenRecords(new TextEncoder().encode(name), BACKLOG);
    if (fd < 0) return fd;
    const listener: Listener = {
      fd,
      needsKey,
      rest: undefined,
      poll: new native.Poll(fd, (events) => this.#accept(listener, events)),
    };
    this.#listeners.push(listener);
    listener.poll.start(READABLE);
    return 0;
  }

  #accept(listener: Listener, events: number): void {
    const { native, log } = this.#options;
    if (events < 0) log(`preload: the watch of a record socket failed: errno ${-events}`);
    for (let i = 0; i < ACCEPT_BATCH; i++) {
      const fd = native.accept(listener.fd);
      if (fd >= 0) {
        this.#open(fd, listener.needsKey);
        continue;
      }
      if (fd === EMFILE || fd === ENFILE || fd === ENOBUFS || fd === ENOMEM) this.#rest(listener);
      return;
    }
  }

  /** No descriptor is free: whoever waits keeps waiting, and the loop does not spin. */
  #rest(listener: Listener): void {
    listener.poll.stop();
    listener.rest = setTimeout(() => {
      listener.rest = undefined;
      listener.poll.start(READABLE);
    }, REST_MS);
    listener.rest.unref();
  }

  #open(fd: number, needsKey: boolean): void {
    const { native, open } = this.#options;
    const stream = new RecordStream(this, native, fd);
    this.#streams.add(stream);
    const uid = userOf(native, fd);
    this.guard(() => {
      stream.connection = open(stream, { needsKey, uid });
      stream.greet();
    });
    this.touched();
    if (stream.connection === undefined) stream.destroy();
    else stream.watch();
  }

  /** How many more records may be taken before requests in this turn. */
  drainRoom(): number {
    if (!this.#turnEnds) {
      this.#turnEnds = true;
      setImmediate(() => {
        this.#turnEnds = false;
        this.drained = 0;
      });
    }
    return Math.max(0, DRAIN_TURN - this.drained);
  }

  guard(act: () => void): void {
    this.#options.guard(act);
  }

  touched(): void {
    this.#options.touched();
  }

  forget(stream: RecordStream): void {
    this.#streams.delete(stream);
  }

  /** Descriptors of connections, for tests. */
  get size(): number {
    return this.#streams.size;
  }

  close(): void {
    for (const listener of this.#listeners) {
      clearTimeout(listener.rest);
      listener.poll.close();
      this.#options.native.close(listener.fd);
    }
    this.#listeners.length = 0;
    for (const stream of [...this.#streams]) stream.destroy();
  }
}

/** User of the peer of a Unix socket, undefined when the kernel does not say. */
export function userOf(native: Native, fd: number): number | undefined {
  const words = new Uint32Array(3);
  return native.credentials(fd, words) < 0 ? undefined : words[1];
}
