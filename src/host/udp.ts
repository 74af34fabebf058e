/**
 * UDP on node:dgram: one socket per address family and port. Datagrams in are handed on as they
 * come; datagrams out are copied, since the system may keep them while its buffer is full.
 */
import { createSocket, type Socket } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import type { UdpSocket } from '../vl1/state.js';
import {
  type InetAddress,
  inetAddress,
  ipScope,
  ipText,
  parseIp,
  type RemoteAddress,
  remoteAddress,
  SCOPE_GLOBAL,
  SCOPE_LOOPBACK,
  SCOPE_PRIVATE,
  SCOPE_PSEUDO_PRIVATE,
} from '../wire/inetaddress.js';
import { errorText, type Log } from './log.js';

/** Ours: bytes asked of the kernel per socket; it grants what its limits allow. */
const SOCKET_BUFFER_LEN = 4 * 1024 * 1024;
/** Ours: bytes that may wait in the process when the kernel's buffer is full. */
const MAX_QUEUED_LEN = 1024 * 1024;
/** Ours: remote endpoints whose parsed form is kept. */
const MAX_KNOWN = 65_536;
const DEFAULT_TTL = 64;
/** Interfaces that carry other virtual networks [2 section 12.7]. */
const VIRTUAL_INTERFACE = /^(?:lo|zt|tun|tap)/;

/**
 * Addresses here are always literal: nothing is looked up, and a datagram leaves within the call
 * instead of in a later turn of the event loop.
 */
function literal(
  host: string,
  _options: unknown,
  done: (e: null, address: string, family: number) => void,
): void {
  done(null, host, host.includes(':') ? 6 : 4);
}

export type DatagramHandler = (socket: number, from: RemoteAddress, bytes: Uint8Array) => void;

export interface UdpCounters {
  datagramsIn: number;
  bytesIn: number;
  datagramsOut: number;
  bytesOut: number;
  sendErrors: number;
  sendQueueFull: number;
}

interface Bound extends UdpSocket {
  readonly port: number;
  readonly socket: Socket;
}

export class Udp {
  readonly counters: UdpCounters = {
    datagramsIn: 0,
    bytesIn: 0,
    datagramsOut: 0,
    bytesOut: 0,
    sendErrors: 0,
    sendQueueFull: 0,
  };
  readonly #log: Log;
  readonly #handler: DatagramHandler;
  #bound: Bound[] = [];
  readonly #known = new Map<string, RemoteAddress>();
  readonly #texts = new Map<string, string>();

  constructor(log: Log, handler: DatagramHandler) {
    this.#log = log;
    this.#handler = handler;
  }

  get sockets(): readonly UdpSocket[] {
    return this.#bound;
  }

  /** Port of the first socket, 0 before `open`. */
  get port(): number {
    return this.#bound[0]?.port ?? 0;
  }

  /**
   * Binds both families to `port` (0 = any). IPv6 may be missing. @throws when IPv4 can not be bound.
   */
  async open(port: number): Promise<void> {
    const v4 = await this.#bind(1, 4, port);
    this.#bound = [v4];
    try {
      this.#bound.push(await this.#bind(2, 6, v4.port));
    } catch (e) {
      this.#log('info', `no UDP over IPv6: ${errorText(e)}`);
    }
  }

  #bind(id: number, family: 4 | 6, port: number): Promise<Bound> {
    const socket = createSocket({
      type: family === 4 ? 'udp4' : 'udp6',
      ipv6Only: family === 6,
      lookup: literal,
    });
    return new Promise((resolvePromise, reject) => {
      socket.once('error', reject);
      socket.bind({ port, address: family === 4 ? '0.0.0.0' : '::', exclusive: true }, () => {
        socket.off('error', reject);
        socket.on('error', () => {
          this.counters.sendErrors++;
        });
        this.#enlarge(socket);
        socket.on('message', (bytes, from) => this.#received(id, bytes, from.address, from.port));
        resolvePromise({ id, family, port: socket.address().port, socket });
      });
    });
  }

  #enlarge(socket: Socket): void {
    try {
      socket.setRecvBufferSize(SOCKET_BUFFER_LEN);
      socket.setSendBufferSize(SOCKET_BUFFER_LEN);
    } catch (e) {
      this.#log('info', `UDP buffers stay as they are: ${errorText(e)}`);
    }
  }

  #received(id: number, bytes: Uint8Array, address: string, port: number): void {
    this.counters.datagramsIn++;
    this.counters.bytesIn += bytes.length;
    const from = this.#intern(address, port);
    if (from !== undefined) this.#handler(id, from, bytes);
  }

  #intern(address: string, port: number): RemoteAddress | undefined {
    const key = `${address}/${port}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const ip = parseIp(address.split('%')[0]!);
    if (ip === undefined) return undefined;
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    const fresh = remoteAddress(inetAddress(ip, port));
    this.#known.set(key, fresh);
    return fresh;
  }

  #text(to: RemoteAddress): string {
    let text = this.#texts.get(to.key);
    if (text === undefined) {
      if (this.#texts.size >= MAX_KNOWN) this.#texts.clear();
      text = ipText(to.ip);
      this.#texts.set(to.key, text);
    }
    return text;
  }

  /** Sends one datagram; `bytes` may be reused at once. Lost datagrams are counted, never thrown. */
  send(socketId: number, to: RemoteAddress, bytes: Uint8Array, ttl?: number): void {
    const b = this.#bound.find((x) => x.id === socketId);
    if (b === undefined || b.family !== to.family) return;
    if (to.port === 0) {
      // node:dgram would throw.
      this.counters.sendErrors++;
      return;
    }
    if (b.socket.getSendQueueSize() > MAX_QUEUED_LEN) {
      this.counters.sendQueueFull++;
      return;
    }
    this.counters.datagramsOut++;
    this.counters.bytesOut += bytes.length;
    if (ttl !== undefined) b.socket.setTTL(ttl);
    b.socket.send(Buffer.from(bytes), to.port, this.#text(to), (e) => {
      if (e !== null) this.counters.sendErrors++;
    });
    if (ttl !== undefined) b.socket.setTTL(DEFAULT_TTL);
  }

  /** Interface addresses with our port that peers may be told [2 section 12.7]. */
  localAddresses(withLoopback: boolean): InetAddress[] {
    const out: InetAddress[] = [];
    for (const [name, list] of Object.entries(networkInterfaces())) {
      const isLoopback = name.startsWith('lo');
      if (VIRTUAL_INTERFACE.test(name) && !(isLoopback && withLoopback)) continue;
      for (const a of list ?? []) {
        const ip = parseIp(a.address);
        if (ip === undefined) continue;
        const scope = ipScope(ip);
        const isUsable =
          scope === SCOPE_GLOBAL || scope === SCOPE_PRIVATE || scope === SCOPE_PSEUDO_PRIVATE;
        if (!isUsable && !(scope === SCOPE_LOOPBACK && withLoopback)) continue;
        const b = this.#bound.find((x) => x.family === (ip.length === 4 ? 4 : 6));
        if (b !== undefined) out.push(inetAddress(ip, b.port));
      }
    }
    return out;
  }

  close(): void {
    for (const b of this.#bound) b.socket.close();
    this.#bound = [];
  }
}
