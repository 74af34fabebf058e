/**
 * One AF_UNIX stream of a program [5 section 13]: net.Socket with `onread`, the only form that stops
 * exactly. Output of one turn of the loop is collected and leaves in one write on the next tick.
 */
import * as net from 'node:net';
import type { PreloadConnection } from '../preload/client.js';
import type { StreamPort } from '../preload/socket-host.js';
import type { Native } from './native.js';

/** Unit of collected output. */
export const CHUNK_LEN = 65536;

/** What a stream needs of its door. */
export interface StreamDoor {
  readonly native: Native | undefined;
  guard(act: () => void): void;
  touched(): void;
  forget(stream: UnixStream): void;
  takeChunk(): Buffer;
  giveChunk(chunk: Buffer): void;
  flushLater(stream: UnixStream): void;
}

/** Fields of net.Socket that moving a connection to an `onread` socket needs. */
interface SocketInternals {
  _handle: { readonly fd?: number } | null;
  _server: unknown;
}

/** One AF_UNIX connection as the view's port. */
export class UnixStream implements StreamPort {
  readonly #door: StreamDoor;
  readonly #socket: net.Socket;
  connection: PreloadConnection | undefined;
  #out: Buffer | undefined;
  #outLen = 0;
  #dirty = false;
  #ending = false;
  #probing = false;
  #destroyed = false;
  readonly #onWritten = () => this.#written();

  /** @param from a connection that Node accepted, which it takes over, or a descriptor. */
  constructor(door: StreamDoor, from: net.Socket | number, buffer: Uint8Array) {
    this.#door = door;
    const inner = typeof from === 'number' ? undefined : (from as unknown as SocketInternals);
    const options = {
      ...(inner === undefined ? { fd: from } : { handle: inner._handle }),
      allowHalfOpen: true,
      onread: {
        buffer: () => buffer,
        callback: (len: number) => this.#received(buffer.subarray(0, len)),
      },
    };
    this.#socket = new net.Socket(options as net.SocketConstructorOpts);
    if (inner !== undefined) {
      (this.#socket as unknown as SocketInternals)._server = inner._server;
      inner._handle = null;
      inner._server = null;
    }
    this.#socket.on('end', () => this.#input((c) => c.handleEnd()));
    this.#socket.on('error', () => this.#failed());
    this.#socket.on('close', () => door.forget(this));
  }

  #input(act: (connection: PreloadConnection) => void): void {
    if (this.#destroyed || this.connection === undefined) return;
    const connection = this.connection;
    this.#door.guard(() => act(connection));
    this.#door.touched();
  }

  #received(bytes: Uint8Array): boolean {
    this.#input((c) => c.handleBytes(bytes));
    return true;
  }

  /** A failed probe reports through its own callback; everything else is a broken stream. */
  #failed(): void {
    if (!this.#probing) this.#input((c) => c.handleReset());
  }

  get queuedLen(): number {
    return this.#outLen + this.#socket.writableLength;
  }

  write(bytes: Uint8Array): void {
    if (this.#destroyed || this.#ending) return;
    for (let at = 0; at < bytes.length; ) {
      this.#out ??= this.#door.takeChunk();
      const part = bytes.subarray(at, at + this.#out.length - this.#outLen);
      this.#out.set(part, this.#outLen);
      this.#outLen += part.length;
      at += part.length;
      if (this.#outLen === this.#out.length) this.#push();
    }
    this.#markDirty();
  }

  #markDirty(): void {
    if (this.#dirty) return;
    this.#dirty = true;
    this.#door.flushLater(this);
  }

  /** Hands the collected bytes to Node; the chunk is free again if the kernel took all. */
  #push(): void {
    const chunk = this.#out;
    if (chunk === undefined || this.#outLen === 0) return;
    const len = this.#outLen;
    this.#out = undefined;
    this.#outLen = 0;
    this.#socket.write(chunk.subarray(0, len), this.#onWritten);
    if (this.#socket.writableLength === 0) this.#door.giveChunk(chunk);
  }

  /**
   * End of the turn: what was collected goes out, unless Node still holds earlier bytes. Those
   * that wait for a slow reader stay together in one chunk instead of pinning one per write.
   */
  flush(): void {
    this.#dirty = false;
    if (this.#destroyed || this.#socket.writableLength > 0) return;
    this.#push();
    this.#endIfDone();
    if (this.#socket.writableLength === 0) this.#flushed();
  }

  #endIfDone(): void {
    if (this.#ending && this.#outLen === 0) this.#socket.end();
  }

  #flushed(): void {
    const connection = this.connection;
    if (!this.#destroyed && connection !== undefined) {
      this.#door.guard(() => connection.handleFlushed());
    }
  }

  #written(): void {
    if (this.#destroyed || this.#socket.writableLength > 0) return;
    if (this.#outLen > 0) this.#markDirty();
    else this.#endIfDone();
    if (this.queuedLen === 0) this.#input((c) => c.handleFlushed());
  }

  setReading(on: boolean): void {
    if (this.#destroyed) return;
    if (on) this.#socket.resume();
    else this.#socket.pause();
  }

  /** Without the addon the kernel's own limit stays. */
  limitBuffer(len: number): void {
    const { fd } = (this.#socket as unknown as SocketInternals)._handle ?? {};
    if (this.#destroyed || fd === undefined || fd < 0) return;
    this.#door.native?.setSendBuffer(fd, len);
  }

  end(): void {
    if (this.#destroyed || this.#ending) return;
    this.#ending = true;
    this.#markDirty();
  }

  destroy(): void {
    if (this.#destroyed) return;
    this.#push();
    this.#destroyed = true;
    this.#socket.destroy();
  }

  /** [5 section 3, M11] an empty write fails with EPIPE only when the peer has closed. */
  probe(): void {
    if (this.#destroyed) return;
    if (this.#ending) {
      process.nextTick(() => this.#input((c) => c.handleProbe(true)));
      return;
    }
    this.#push();
    this.#probing = true;
    this.#socket.write('', (error) => {
      this.#input((c) => c.handleProbe(error === null || error === undefined));
      if (!error) this.#probing = false;
    });
  }
}
