/** A preloaded program's datagram sockets for tests of `PreloadView`, without descriptors. */
import type { RecordPort } from '#src/preload/datagram-host.js';
import { HelloKind, type Token } from '#src/preload/protocol.js';
import type { Caller, RecordConnection } from '#src/preload/record-client.js';
import { emitSending, parseReceived, type Received } from '#src/preload/records.js';
import type { Endpoint } from '#src/stack/stack.js';
import { hello, type World } from './preload-client.js';

/** The service's end of one record stream; `room` records fit the kernel's queue. */
export class FakeRecordPort implements RecordPort {
  readonly sent: Uint8Array[] = [];
  room = Number.POSITIVE_INFINITY;
  reading = true;
  held = true;
  destroyed = false;
  /** Sends that found no room. */
  refused = 0;
  /** Last size that was asked of the kernel's buffer. */
  buffer: number | undefined;
  /** Records that the program has read. */
  read = 0;

  send(record: Uint8Array): boolean {
    if (this.destroyed) throw new Error('the port is destroyed');
    if (this.room === 0) {
      this.refused++;
      return false;
    }
    this.room--;
    this.sent.push(record.slice());
    return true;
  }
  setReading(on: boolean): void {
    this.reading = on;
  }
  /** What the program sent that the service has not read yet; given to its connection in order. */
  readonly unread: Uint8Array[] = [];
  connection: RecordConnection | undefined;
  drain(): void {
    if (!this.reading) return;
    for (const record of this.unread.splice(0)) this.connection?.handleRecord(record);
  }
  raiseBuffer(len: number): void {
    this.buffer = len;
  }
  heldLen(): number {
    return this.sent.slice(this.read).reduce((n, r) => n + r.length, 0);
  }
  isHeld(): boolean {
    return this.held;
  }
  destroy(): void {
    this.destroyed = true;
  }
}

export interface ProgramDatagramOptions {
  readonly family?: 4 | 6;
  readonly protocol?: number;
  readonly caller?: Caller;
  readonly key?: Uint8Array;
  readonly token?: Token;
  /** Policy that the program asks for. */
  readonly policy?: number;
}

export class ProgramDatagram {
  readonly port = new FakeRecordPort();
  readonly connection: RecordConnection;
  readonly token: Token;
  readonly #world: World;

  constructor(world: World, options: ProgramDatagramOptions = {}) {
    const { family = 4, protocol = 17, key } = options;
    const caller = options.caller ?? { needsKey: false, uid: undefined };
    this.#world = world;
    this.token = options.token ?? world.newToken();
    this.connection = world.view.openRecords(this.port, caller);
    this.port.connection = this.connection;
    const bytes = hello(HelloKind.datagram, this.token, family, '\0'.repeat(8), protocol);
    bytes[39] = options.policy ?? 0;
    if (key !== undefined) {
      bytes[7] = 1;
      bytes.set(key, 40);
    }
    this.connection.handleRecord(bytes);
    world.drain();
  }

  send(
    to: Endpoint | undefined,
    payload: Uint8Array | string,
    fields?: Parameters<typeof emitSending>[2],
  ): void {
    const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload;
    this.raw(emitSending(to, bytes, fields));
  }

  /** Leaves a datagram in the kernel's queue: the service has not woken up for it. */
  queue(to: Endpoint | undefined, payload: string): void {
    this.port.unread.push(emitSending(to, Buffer.from(payload)));
  }

  raw(record: Uint8Array): void {
    this.connection.handleRecord(record);
    this.#world.drain();
  }

  /** Everything received since the last call. */
  take(): Received[] {
    return this.port.sent.splice(0).map((r) => {
      const parsed = parseReceived(r);
      if (parsed === undefined) throw new Error('a malformed record');
      return parsed;
    });
  }

  texts(): string[] {
    return this.take().map((r) =>
      r.kind === 2 ? `errno ${r.errno}` : Buffer.from(r.payload).toString(),
    );
  }

  end(): void {
    this.connection.handleEnd();
    this.#world.drain();
  }

  close(): void {
    this.connection.handleReset();
    this.#world.drain();
  }
}
