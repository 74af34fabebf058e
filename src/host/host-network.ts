/**
 * Connections that the service makes on the host's network for programs of a view [5 sections 4, D7,
 * and 12]. Behaves towards a virtual socket as its stack does: callbacks come from the event loop,
 * never from inside a call; at most WINDOW_LEN bytes wait in either direction.
 */
import * as net from 'node:net';
import type { Moment } from '../lib/time.js';
import type {
  Grant,
  HostDatagramSink,
  HostDatagrams,
  HostNetwork,
  TcpCarrier,
} from '../preload/fallthrough.js';
import type { Quota } from '../preload/quota.js';
import type { Endpoint, StackErrno, TcpHandle, TcpOptions, TcpSink } from '../stack/stack.js';
import { ipText, parseIp } from '../wire/inetaddress.js';
import { HostUdp } from './host-datagrams.js';
import { HostNames } from './host-names.js';

/** [5 section 13] bytes that wait for the program, or for the host's socket. */
const WINDOW_LEN = 256 * 1024;
/** A connection whose program is gone and whose peer does not close ends after this, as on lwIP [5 section 6.1]. */
const LINGER_MS = 20_000;

const KNOWN: ReadonlySet<string> = new Set<StackErrno>([
  'EACCES',
  'EADDRINUSE',
  'EADDRNOTAVAIL',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'EINVAL',
  'ENETDOWN',
  'ENETUNREACH',
  'ENOBUFS',
  'ENOMEM',
  'ETIMEDOUT',
]);

function errnoOf(e: NodeJS.ErrnoException): StackErrno {
  if (e.code === 'EPIPE') return 'ECONNRESET';
  return e.code !== undefined && KNOWN.has(e.code) ? (e.code as StackErrno) : 'EIO';
}

function endpoint(ip: string | undefined, port: number | undefined): Endpoint | undefined {
  const bytes = ip === undefined ? undefined : parseIp(ip);
  return bytes === undefined || port === undefined ? undefined : { ip: bytes, port };
}

/** Runs a callback of the host inside the view, and lets the view's stack work after it. */
type Enter = (act: () => void) => void;

/** One connection; silent after `close` and `abort`. */
class HostConnection {
  readonly socket: net.Socket;
  readonly remote: Endpoint;
  readonly #enter: Enter;
  readonly #ended: () => void;
  #sink: TcpSink | undefined;
  /** Given to the sink, credit not returned yet. */
  #uncredited = 0;
  /** Bytes the sink has not been told as sent. */
  #unsent = 0;

  constructor(remote: Endpoint, sink: TcpSink, enter: Enter, ended: () => void) {
    this.remote = remote;
    this.#sink = sink;
    this.#enter = enter;
    this.#ended = ended;
    this.socket = new net.Socket({ allowHalfOpen: true });
    this.socket.on('connect', () => this.#tell((s) => s.onConnected()));
    this.socket.on('data', (d: Buffer) => this.#received(d));
    this.socket.on('end', () => this.#tell((s) => s.onFin()));
    this.socket.on('drain', () => this.#drained());
    this.socket.on('error', (e) => this.#failed(errnoOf(e)));
    this.socket.on('close', () => this.#ended());
    this.socket.connect({ host: ipText(remote.ip), port: remote.port });
  }

  #tell(act: (sink: TcpSink) => void): void {
    const sink = this.#sink;
    if (sink !== undefined) this.#enter(() => act(sink));
  }

  #received(data: Buffer): void {
    if (this.#sink === undefined) {
      // Nobody is there to read: Linux answers with a reset, or a peer that goes on would be read for ever.
      this.socket.resetAndDestroy();
      return;
    }
    this.#uncredited += data.length;
    if (this.#uncredited >= WINDOW_LEN) this.socket.pause();
    // A view of plain bytes: Buffer's `slice` would not copy.
    this.#tell((s) => s.onData(new Uint8Array(data.buffer, data.byteOffset, data.length)));
  }

  #drained(): void {
    const count = this.#unsent;
    this.#unsent = 0;
    this.#tell((s) => s.onSent(count));
  }

  #failed(errno: StackErrno): void {
    const sink = this.#sink;
    this.#sink = undefined;
    if (sink !== undefined) this.#enter(() => sink.onError(errno));
  }

  write(bytes: Uint8Array): number {
    const room = WINDOW_LEN - this.socket.writableLength;
    const count = Math.max(0, Math.min(room, bytes.length));
    if (count > 0) this.socket.write(bytes.slice(0, count));
    this.#unsent += count;
    return count;
  }

  credit(count: number): void {
    this.#uncredited -= count;
    if (this.#uncredited < WINDOW_LEN) this.socket.resume();
  }

  close(): void {
    this.#sink = undefined;
    this.socket.end();
    this.socket.resume();
    this.socket.setTimeout(LINGER_MS, () => this.socket.destroy());
  }

  abort(): void {
    this.#sink = undefined;
    if (this.socket.connecting) this.socket.destroy();
    else this.socket.resetAndDestroy();
  }
}

class HostTcp implements TcpCarrier {
  readonly #connections = new Map<TcpHandle, HostConnection>();
  readonly #enter: Enter;
  #next = 1;

  constructor(enter: Enter) {
    this.#enter = enter;
  }

  tcpConnect(
    at: Moment,
    _local: Endpoint | undefined,
    remote: Endpoint,
    sink: TcpSink,
    options: TcpOptions = {},
  ): TcpHandle {
    const handle = this.#next++ as TcpHandle;
    const ended = () => this.#connections.delete(handle);
    this.#connections.set(handle, new HostConnection(remote, sink, this.#enter, ended));
    this.tcpSetOptions(at, handle, options);
    return handle;
  }

  tcpWrite(_at: Moment, handle: TcpHandle, bytes: Uint8Array): number {
    return this.#connections.get(handle)?.write(bytes) ?? 0;
  }

  tcpCredit(_at: Moment, handle: TcpHandle, count: number): void {
    this.#connections.get(handle)?.credit(count);
  }

  tcpShutdown(_at: Moment, handle: TcpHandle): void {
    this.#connections.get(handle)?.socket.end();
  }

  tcpClose(_at: Moment, handle: TcpHandle): void {
    this.#connections.get(handle)?.close();
  }

  tcpAbort(_at: Moment, handle: TcpHandle): void {
    this.#connections.get(handle)?.abort();
  }

  tcpSetOptions(_at: Moment, handle: TcpHandle, options: TcpOptions): void {
    const socket = this.#connections.get(handle)?.socket;
    if (socket === undefined) return;
    if (options.noDelay !== undefined) socket.setNoDelay(options.noDelay);
    if (options.keepAlive === undefined) return;
    if (options.keepAlive === false) socket.setKeepAlive(false);
    else socket.setKeepAlive(true, options.keepAlive.idleMs);
  }

  tcpInfo(): undefined {
    return undefined;
  }

  tcpNames(handle: TcpHandle): { local: Endpoint; remote: Endpoint } | undefined {
    const c = this.#connections.get(handle);
    const local = endpoint(c?.socket.localAddress, c?.socket.localPort);
    return c === undefined || local === undefined ? undefined : { local, remote: c.remote };
  }

  close(): void {
    for (const c of this.#connections.values()) c.abort();
  }
}

export class DoorHostNetwork implements HostNetwork {
  readonly tcp: HostTcp;
  readonly grant: () => Grant;
  readonly #udp: HostUdp;
  readonly #names: HostNames;
  readonly #enter: Enter;

  /** @param sockets datagram sockets of each user; may be shared with other doors. */
  constructor(
    guard: Enter,
    touched: () => void,
    grant: () => Grant,
    sockets: Quota,
    names = new HostNames(),
  ) {
    this.#names = names;
    this.#enter = (act) => {
      guard(act);
      touched();
    };
    this.tcp = new HostTcp(this.#enter);
    this.#udp = new HostUdp(this.#enter, errnoOf, sockets);
    this.grant = grant;
  }

  /** Datagram sockets that are open on the host, and how many were refused. */
  counters(): { readonly hostDatagrams: number; readonly dropHostDatagrams: number } {
    return { hostDatagrams: this.#udp.size, dropHostDatagrams: this.#udp.dropped };
  }

  openDatagrams(
    family: 4 | 6,
    peer: Endpoint | undefined,
    user: number | undefined,
    sink: HostDatagramSink,
  ): HostDatagrams | StackErrno {
    return this.#udp.open(family, peer, user, sink);
  }

  hosts(): string {
    return this.#names.hosts();
  }

  nameServers(): readonly Endpoint[] {
    return this.#names.servers();
  }

  close(): void {
    this.tcp.close();
    this.#udp.close();
  }
}
