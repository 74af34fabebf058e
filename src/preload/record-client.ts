/**
 * One SEQPACKET connection of a preloaded program: its HELLO, then the records of a datagram socket
 * [5 sections 5.4 and 5.9].
 *
 * The host calls `handle*`. A connection that breaks a rule of the protocol is closed.
 */
import { equalBytes } from '../lib/bytes.js';
import type { RecordPort } from './datagram-host.js';
import type { DatagramSocket } from './datagrams.js';
import type { SilentConnection } from './hellos.js';
import { HELLO_LEN, type Hello, HelloKind, PROTO_MAJOR, parseHello } from './protocol.js';

/** How a connection came, and whose it is. */
export interface Caller {
  /** It came through the abstract door: its HELLO must carry the key. */
  readonly needsKey: boolean;
  /** User of the peer, undefined without the addon. */
  readonly uid: number | undefined;
}

/** What a record connection needs of the view. */
export interface RecordClientHost {
  readonly key: Uint8Array;
  /** The HELLO is due. @returns to be called when it has come, or will not. */
  awaitHello(client: SilentConnection): () => void;
  /** The socket of a HELLO of kind 4; undefined refuses the connection. */
  attachDatagram(hello: Hello, port: RecordPort, caller: Caller): DatagramSocket | undefined;
  /** `socket` is registered: requests that overtook its HELLO may run. */
  attachedDatagram(socket: DatagramSocket): void;
  forgetRecords(client: RecordConnection): void;
}

export class RecordConnection {
  readonly #host: RecordClientHost;
  readonly #port: RecordPort;
  readonly #caller: Caller;
  #stopAwaiting: (() => void) | undefined;
  #socket: DatagramSocket | undefined;
  #isClosed = false;

  constructor(host: RecordClientHost, port: RecordPort, caller: Caller) {
    this.#host = host;
    this.#port = port;
    this.#caller = caller;
    this.#stopAwaiting = host.awaitHello(this);
  }

  get uid(): number | undefined {
    return this.#caller.uid;
  }

  /** One record; borrowed for the call. */
  handleRecord(bytes: Uint8Array): void {
    if (this.#socket !== undefined) this.#socket.record(bytes);
    else if (!this.#isClosed) this.#hello(bytes);
  }

  /** The kernel takes records again. */
  handleWritable(): void {
    this.#socket?.writable();
  }

  /** End of the program's sending direction. */
  handleEnd(): void {
    if (this.#socket !== undefined) this.#socket.ended();
    else this.close();
  }

  /** The program closed its descriptor. */
  handleReset(): void {
    if (this.#socket !== undefined) this.#socket.streamReset();
    else this.close();
  }

  /** No HELLO within its time, or before its place was needed. */
  helloExpired(): void {
    if (this.#socket === undefined) this.close();
  }

  /** Closes a connection that has not become a socket. */
  close(): void {
    if (this.#isClosed || this.#socket !== undefined) return;
    this.#isClosed = true;
    this.#helloIsOver();
    this.#host.forgetRecords(this);
    this.#port.destroy();
  }

  #helloIsOver(): void {
    this.#stopAwaiting?.();
    this.#stopAwaiting = undefined;
  }

  #hello(bytes: Uint8Array): void {
    const hello = bytes.length === HELLO_LEN ? parseHello(bytes) : undefined;
    const isOurs = hello?.kind === HelloKind.datagram && hello.major === PROTO_MAJOR;
    const socket =
      hello !== undefined && isOurs && this.#mayEnter(hello)
        ? this.#host.attachDatagram(hello, this.#port, this.#caller)
        : undefined;
    if (socket === undefined) {
      this.close();
      return;
    }
    this.#helloIsOver();
    this.#socket = socket;
    this.#host.forgetRecords(this);
    this.#host.attachedDatagram(socket);
  }

  #mayEnter(hello: Hello): boolean {
    if (!this.#caller.needsKey) return true;
    return hello.key !== undefined && equalBytes(hello.key, this.#host.key);
  }
}
