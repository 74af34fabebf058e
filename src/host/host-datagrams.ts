/**
 * Datagram sockets that the service opens on the host's network for programs of a view [5 section 12].
 *
 * One node:dgram socket each, on a port that the host chooses. What waits to be sent is bounded, and
 * so are the sockets of one user. Callbacks come from the event loop, never from inside a call.
 */
import * as dgram from 'node:dgram';
import type { HostDatagramSink, HostDatagrams } from '../preload/fallthrough.js';
import type { Quota } from '../preload/quota.js';
import type { Endpoint, StackErrno } from '../stack/stack.js';
import { ipText, parseIp } from '../wire/inetaddress.js';

/** [5 section 6.4] bytes of one socket that wait to be sent. */
const QUEUE_BYTES = 256 * 1024;
/** Ours: datagrams of one socket that wait to be sent; empty ones take memory too. */
const QUEUE_COUNT = 1024;
/**
 * Linux connects to port 0, so that a program learns its own address, and node:dgram does not. The
 * peer has this port then (discard), and nothing is ever sent to it.
 */
const SOME_PORT = 9;

/** Runs a callback of the host inside the view, and lets the view's stack work after it. */
type Enter = (act: () => void) => void;

export type ErrnoOf = (e: NodeJS.ErrnoException) => StackErrno;

export class HostUdp {
  readonly #open = new Set<HostUdpSocket>();
  readonly #quota: Quota;
  /** Sockets that were refused: their user has as many as it may. */
  dropped = 0;
  readonly #enter: Enter;
  readonly #errnoOf: ErrnoOf;

  /** @param quota sockets of each user; may be shared with other doors. */
  constructor(enter: Enter, errnoOf: ErrnoOf, quota: Quota) {
    this.#enter = enter;
    this.#errnoOf = errnoOf;
    this.#quota = quota;
  }

  get size(): number {
    return this.#open.size;
  }

  open(
    family: 4 | 6,
    peer: Endpoint | undefined,
    user: number | undefined,
    sink: HostDatagramSink,
  ): HostDatagrams | StackErrno {
    if (!this.#quota.take(user)) {
      this.dropped++;
      return 'ENOBUFS';
    }
    const socket = new HostUdpSocket(family, peer, sink, this.#enter, this.#errnoOf, () => {
      this.#open.delete(socket);
      this.#quota.give(user);
    });
    this.#open.add(socket);
    return socket;
  }

  close(): void {
    for (const socket of [...this.#open]) socket.close();
  }
}

class HostUdpSocket implements HostDatagrams {
  readonly #socket: dgram.Socket;
  readonly #family: 4 | 6;
  readonly #peer: Endpoint | undefined;
  readonly #errnoOf: ErrnoOf;
  readonly #gone: () => void;
  readonly #enter: Enter;
  #sink: HostDatagramSink | undefined;
  /** Connected, or there is no peer. */
  #isReady: boolean;
  #waiting: Uint8Array[] = [];
  #queued = 0;
  #count = 0;
  /** Bound, and connected where there is a peer. */
  #works = false;
  #hasFailed = false;

  constructor(
    family: 4 | 6,
    peer: Endpoint | undefined,
    sink: HostDatagramSink,
    enter: Enter,
    errnoOf: ErrnoOf,
    gone: () => void,
  ) {
    this.#family = family;
    this.#peer = peer;
    this.#sink = sink;
    this.#enter = enter;
    this.#errnoOf = errnoOf;
    this.#gone = gone;
    this.#isReady = peer === undefined;
    this.#socket = dgram.createSocket(
      family === 4 ? { type: 'udp4' } : { type: 'udp6', ipv6Only: true },
    );
    this.#socket.on('message', (bytes, from) => this.#arrived(bytes, from));
    this.#socket.on('error', (e) => this.#failed(e));
    this.#socket.on('connect', () => this.#connected());
    if (peer !== undefined) this.#socket.connect(peer.port || SOME_PORT, ipText(peer.ip));
    else this.#socket.on('listening', () => this.#bound());
  }

  #arrived(bytes: Buffer, from: dgram.RemoteInfo): void {
    const sink = this.#sink;
    const ip = parseIp(from.address.replace(/%.*/, ''));
    if (sink === undefined || ip === undefined) return;
    const payload = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#enter(() => sink.onDatagram(payload, { ip, port: from.port }));
  }

  #failed(e: Error): void {
    if (!this.#works) {
      /* Of what waited node:dgram may tell nothing more. */
      this.#hasFailed = true;
      this.#waiting = [];
    }
    const sink = this.#sink;
    if (sink !== undefined) this.#enter(() => sink.onError(this.#errnoOf(e)));
  }

  #bound(): void {
    this.#works = true;
  }

  hasFailed(): boolean {
    return this.#hasFailed;
  }

  #connected(): void {
    this.#isReady = true;
    this.#works = true;
    for (const bytes of this.#waiting.splice(0)) this.#give(bytes, undefined);
  }

  send(to: Endpoint, payload: Uint8Array): StackErrno | undefined {
    if (to.port === 0) return 'EINVAL';
    if (this.#hasFailed) return 'ENETUNREACH';
    if (this.#queued + payload.length > QUEUE_BYTES || this.#count >= QUEUE_COUNT) return 'ENOBUFS';
    this.#queued += payload.length;
    this.#count++;
    const bytes = payload.slice();
    if (this.#isReady) this.#give(bytes, to);
    else this.#waiting.push(bytes);
    return undefined;
  }

  #give(bytes: Uint8Array, to: Endpoint | undefined): void {
    const sent = (e: Error | null): void => {
      this.#queued -= bytes.length;
      this.#count--;
      if (e !== null && this.#peer !== undefined) this.#failed(e);
    };
    if (this.#peer !== undefined || to === undefined) this.#socket.send(bytes, sent);
    else this.#socket.send(bytes, to.port, ipText(to.ip), sent);
  }

  local(): Endpoint {
    const wildcard = { ip: new Uint8Array(this.#family === 4 ? 4 : 16), port: 0 };
    if (this.#sink === undefined || !this.#isReady) return wildcard;
    try {
      const { address, port } = this.#socket.address();
      return { ip: parseIp(address) ?? wildcard.ip, port };
    } catch {
      // Not bound yet: that happens with the first datagram.
      return wildcard;
    }
  }

  close(): void {
    if (this.#sink === undefined) return;
    this.#sink = undefined;
    this.#waiting = [];
    this.#socket.close();
    this.#gone();
  }
}
