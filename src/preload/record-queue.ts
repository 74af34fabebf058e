/**
 * What waits for a program that does not read its datagram socket: behind the kernel's queue, 256
 * KiB or 512 records, of all sockets of a view the limits below. The newest is dropped and counted.
 */

/** [5 section 6.4] what waits for one program. */
const QUEUE_BYTES = 256 * 1024;
const QUEUE_COUNT = 512;
/** Ours: what waits for all programs of a view: sockets are many, and each could hold the above. */
export const QUEUE_BYTES_ALL = 64 * 1024 * 1024;
export const QUEUE_COUNT_ALL = 65_536;

export interface QueueCounters {
  /** Datagrams and errors that wait for programs; bytes also of those that programs have begun. */
  datagramsQueued: number;
  datagramBytesQueued: number;
  /** Received datagrams dropped because the program does not read. */
  dropDatagramQueue: number;
}

export class RecordQueue {
  readonly #port: { send(record: Uint8Array): boolean };
  readonly #counters: QueueCounters;
  #queue: Uint8Array[] = [];
  #length = 0;
  #closed = false;

  /** `port.send` gives a record to the kernel; false = its queue is full, `writable` will be told. */
  constructor(port: { send(record: Uint8Array): boolean }, counters: QueueCounters) {
    this.#port = port;
    this.#counters = counters;
  }

  /** To the program, or behind what already waits for it; dropped when full. */
  push(record: Uint8Array): void {
    if (this.#closed) return;
    if (this.#queue.length === 0 && this.#port.send(record)) return;
    const counters = this.#counters;
    const isFull =
      this.#queue.length >= QUEUE_COUNT ||
      this.#length + record.length > QUEUE_BYTES ||
      counters.datagramsQueued >= QUEUE_COUNT_ALL ||
      counters.datagramBytesQueued + record.length > QUEUE_BYTES_ALL;
    if (isFull) {
      counters.dropDatagramQueue++;
      return;
    }
    this.#queue.push(record);
    this.#length += record.length;
    counters.datagramsQueued++;
    counters.datagramBytesQueued += record.length;
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
    this.#counters.datagramsQueued -= gone.length;
    this.#counters.datagramBytesQueued -= length;
  }
}
