/**
 * What waits for a program that does not read its datagram socket: behind the kernel's queue, 256
 * KiB or 512 records, of all sockets of a user what pending.ts says. The newest is dropped and
 * counted.
 */
import type { Pending } from './pending.js';

/** [5 section 6.4] what waits for one program. */
const QUEUE_BYTES = 256 * 1024;
const QUEUE_COUNT = 512;

export interface QueueCounters {
  /** Received datagrams dropped because the program does not read. */
  dropDatagramQueue: number;
}

/** The part of a record stream that a queue uses. */
interface RecordSink {
  /** False = the kernel's queue is full, `writable` will be told. */
  send(record: Uint8Array): boolean;
  /** Raises what the kernel may hold, in bytes as SO_SNDBUF takes them. */
  raiseBuffer(len: number): void;
  /** Bytes that the kernel holds, its own costs included. */
  heldLen(): number;
}

export class RecordQueue {
  readonly #port: RecordSink;
  readonly #counters: QueueCounters;
  readonly #pending: Pending;
  #queue: Uint8Array[] = [];
  #length = 0;
  /** Bytes that may wait in the kernel and here; undefined = as much as there is room. */
  #limit: number | undefined;
  #closed = false;

  constructor(port: RecordSink, counters: QueueCounters, pending: Pending) {
    this.#port = port;
    this.#counters = counters;
    this.#pending = pending;
  }

  /** SO_RCVBUF: Linux counts its own costs, doubles the value for them, and always takes one datagram. */
  limit(bytes: number): void {
    this.#limit = 2 * bytes;
    this.#port.raiseBuffer(bytes);
  }

  #isAboveLimit(len: number): boolean {
    if (this.#limit === undefined) return false;
    const held = this.#port.heldLen() + this.#length;
    return held > 0 && held + len > this.#limit;
  }

  /** To the program, or behind what already waits for it; dropped when full. */
  push(record: Uint8Array): void {
    if (this.#closed) return;
    if (this.#isAboveLimit(record.length)) {
      this.#counters.dropDatagramQueue++;
      return;
    }
    if (this.#queue.length === 0 && this.#port.send(record)) return;
    if (this.#queue.length >= QUEUE_COUNT || this.#length + record.length > QUEUE_BYTES) {
      this.#counters.dropDatagramQueue++;
      return;
    }
    if (!this.#pending.take(1, record.length)) return;
    this.#queue.push(record);
    this.#length += record.length;
  }

  /** The kernel takes records again. */
  writable(): void {
    let sent = 0;
    while (!this.#closed && sent < this.#queue.length && this.#port.send(this.#queue[sent]!)) {
      sent++;
    }
    this.#remove(sent);
  }

  /** The program is gone: what waited is dropped, and so is what comes. */
  close(): void {
    this.#closed = true;
    this.#remove(this.#queue.length);
  }

  #remove(count: number): void {
    const gone = this.#queue.splice(0, count);
    const length = gone.reduce((n, r) => n + r.length, 0);
    this.#length -= length;
    this.#pending.give(gone.length, length);
  }
}
