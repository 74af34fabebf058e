/**
 * One AF_UNIX connection of a preloaded program: its HELLO, and then either requests (control),
 * or the stream of a virtual socket [5 sections 5.4 to 5.6].
 *
 * The host calls `handle*`; answers leave through the `StreamPort`. A connection that breaks a
 * rule of the protocol is closed: a client can only hurt its own sockets.
 */
import { concatBytes, equalBytes } from '../lib/bytes.js';
import { effectivePolicy, type HostNetwork, NOTHING_GRANTED } from './fallthrough.js';
import type { SilentConnection } from './hellos.js';
import {
  emitWelcome,
  HELLO_LEN,
  type Hello,
  HelloKind,
  PROTO_MAJOR,
  parseHello,
  parseRequestHeader,
  REQUEST_LEN,
  type Welcome,
} from './protocol.js';
import type { Caller } from './record-client.js';
import type { Request } from './requests.js';
import type { StreamPort } from './socket-host.js';
import type { VirtualSocket } from './vsockets.js';

/** What a connection needs of the view. */
export interface ClientHost {
  readonly welcome: Welcome;
  readonly hostNetwork: HostNetwork | undefined;
  /** The key a HELLO must carry on the abstract door. */
  readonly key: Uint8Array;
  /** The HELLO is due [5 section 13]. @returns to be called when it has come, or will not. */
  awaitHello(client: SilentConnection): () => void;
  /** Whether one more control connection is allowed. */
  mayControl(uid: number | undefined): boolean;
  /** The socket of a HELLO of kind 2 or 3; undefined refuses the connection. */
  attach(hello: Hello, port: StreamPort, client: PreloadConnection): VirtualSocket | undefined;
  /** `socket` is registered and has got the bytes that followed its HELLO. */
  attached(socket: VirtualSocket): void;
  request(request: Request): void;
  /** The connection is over, or has become the stream of a socket. */
  forget(client: PreloadConnection): void;
  /** A control connection that `mayControl` admitted is over. */
  controlClosed(uid: number | undefined): void;
}

/** [5 section 13] replies that a client leaves unread. */
const REPLIES_MAX = 256 * 1024;

const EMPTY = new Uint8Array(0);

export class PreloadConnection {
  readonly #host: ClientHost;
  readonly #port: StreamPort;
  readonly #caller: Caller;
  #knowsKey = false;
  /** Policy that the program asked for [5 section 5.4]. */
  policy = 0;
  /** A WAITCONN of it is not answered yet. */
  isWaiting = false;
  #kind: 'hello' | 'control' | 'socket' | 'closed' = 'hello';
  #partial: Uint8Array = EMPTY;
  #socket: VirtualSocket | undefined;
  #stopAwaiting: (() => void) | undefined;
  /** Called when the connection ends: withdraws what waits on its behalf. */
  readonly onClose = new Set<() => void>();

  constructor(host: ClientHost, port: StreamPort, caller: Caller) {
    this.#host = host;
    this.#port = port;
    this.#caller = caller;
    this.#stopAwaiting = host.awaitHello(this);
  }

  /** User of the peer, undefined without the addon. */
  get uid(): number | undefined {
    return this.#caller.uid;
  }

  /** Whether requests of this connection may be about a socket of user `owner` [5 section 14]. */
  mayUse(owner: number | undefined): boolean {
    const { uid } = this.#caller;
    if (uid === undefined || owner === undefined) return true;
    return uid === owner || uid === 0 || this.#knowsKey;
  }

  get isControl(): boolean {
    return this.#kind === 'control';
  }

  /** Bytes of the program; borrowed for the call. */
  handleBytes(bytes: Uint8Array): void {
    if (this.#kind === 'socket') this.#socket!.streamBytes(bytes);
    else if (this.#kind === 'control') this.#requests(bytes);
    else if (this.#kind === 'hello') this.#hello(bytes);
  }

  /** End of the program's sending direction. */
  handleEnd(): void {
    if (this.#kind === 'socket') this.#socket!.streamEnd();
    else this.close();
  }

  /** The stream broke: a read or write failed. */
  handleReset(): void {
    if (this.#kind === 'socket') this.#socket!.streamReset();
    else this.close();
  }

  /** Everything written has reached the kernel. */
  handleFlushed(): void {
    if (this.#kind === 'socket') this.#socket!.streamFlushed();
  }

  handleProbe(open: boolean): void {
    if (this.#kind === 'socket') this.#socket!.streamProbed(open);
  }

  /** No HELLO within its time, or before its place was needed. */
  helloExpired(): void {
    if (this.#kind === 'hello') this.close();
  }

  /** Answers a request, unless the connection is gone. */
  reply(bytes: Uint8Array): void {
    if (this.#kind !== 'control') return;
    this.#port.write(bytes);
    if (this.#port.queuedLen > REPLIES_MAX) this.close();
  }

  /** Closes a connection that is not a socket's stream. */
  close(): void {
    if (this.#kind === 'closed') return;
    if (this.#kind === 'control') this.#host.controlClosed(this.#caller.uid);
    this.#kind = 'closed';
    this.#helloIsOver();
    this.#host.forget(this);
    for (const withdraw of this.onClose) withdraw();
    this.onClose.clear();
    this.#port.destroy();
  }

  #helloIsOver(): void {
    this.#stopAwaiting?.();
    this.#stopAwaiting = undefined;
  }

  #hello(bytes: Uint8Array): void {
    const all = this.#partial.length === 0 ? bytes : concatBytes(this.#partial, bytes);
    if (all.length < HELLO_LEN) {
      this.#partial = all.slice();
      return;
    }
    this.#partial = EMPTY;
    this.#helloIsOver();
    const hello = parseHello(all);
    const rest = all.subarray(HELLO_LEN);
    if (hello === undefined || !this.#hasKey(hello)) this.close();
    else if (hello.kind === HelloKind.control) this.#beginControl(hello, rest);
    else if (hello.major !== PROTO_MAJOR) this.close();
    else this.#beginSocket(hello, rest);
  }

  #hasKey(hello: Hello): boolean {
    this.#knowsKey = hello.key !== undefined && equalBytes(hello.key, this.#host.key);
    return this.#knowsKey || !this.#caller.needsKey;
  }

  #beginControl(hello: Hello, rest: Uint8Array): void {
    this.policy = hello.policy;
    this.#port.write(emitWelcome({ ...this.#host.welcome, policy: this.#policyFor(hello) }));
    if (hello.major !== PROTO_MAJOR || !this.#host.mayControl(this.#caller.uid)) {
      this.close();
      return;
    }
    this.#kind = 'control';
    this.#requests(rest);
  }

  #policyFor(hello: Hello): number {
    return effectivePolicy(hello.policy, this.#host.hostNetwork?.grant() ?? NOTHING_GRANTED);
  }

  #beginSocket(hello: Hello, rest: Uint8Array): void {
    const socket = this.#host.attach(hello, this.#port, this);
    if (socket === undefined) {
      this.close();
      return;
    }
    this.#host.forget(this);
    this.#kind = 'socket';
    this.#socket = socket;
    if (rest.length > 0) socket.streamBytes(rest);
    this.#host.attached(socket);
  }

  #requests(bytes: Uint8Array): void {
    let all = this.#partial.length === 0 ? bytes : concatBytes(this.#partial, bytes);
    while (all.length >= REQUEST_LEN) {
      const header = parseRequestHeader(all);
      if (header === undefined) {
        this.close();
        return;
      }
      if (all.length < header.len) break;
      const payload = all.slice(REQUEST_LEN, header.len);
      all = all.subarray(header.len);
      this.#host.request({ header, payload, client: this });
      if (this.#kind !== 'control') return;
    }
    this.#partial = all.length === 0 ? EMPTY : all.slice();
  }
}
