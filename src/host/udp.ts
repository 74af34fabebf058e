/**
 * UDP on node:dgram: one socket per local address and port. Datagrams in are handed on as they come;
 * datagrams out are copied, since the system may keep them while its buffer is full.
 *
 * What is bound follows `bind`, which opens what is missing and closes what is no longer wanted;
 * a socket's id is never used again while another one could still be meant by it.
 */
import { createSocket, type Socket } from 'node:dgram';
import type { UdpSocket } from '../vl1/state.js';
import {
  type InetAddress,
  inetAddress,
  inetAddressText,
  ipText,
  parseIp,
  type RemoteAddress,
  remoteAddress,
} from '../wire/inetaddress.js';
import { errorText, type Log } from './log.js';
import { isRelayable, RELAY_SOCKET, type TcpRelay } from './tcp-relay.js';

/** Ours: bytes asked of the kernel per socket; it grants what its limits allow. */
const SOCKET_BUFFER_LEN = 4 * 1024 * 1024;
/** Ours: bytes that may wait in the process when the kernel's buffer is full. */
const MAX_QUEUED_LEN = 1024 * 1024;
/** Ours: remote endpoints whose parsed form is kept. */
const MAX_KNOWN = 65_536;
/** Ids fit 16 bits, since paths are found by them. */
const MAX_SOCKET_ID = 0xffff;
const DEFAULT_TTL = 64;
const MIN_PACKET_LEN = 16;

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
  bindErrors: number;
  /** To and from global IPv4 addresses: whether UDP comes back at all. */
  globalIn: number;
  globalOut: number;
}

interface Bound extends UdpSocket {
  readonly local: InetAddress;
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
    bindErrors: 0,
    globalIn: 0,
    globalOut: 0,
  };
  readonly #log: Log;
  readonly #handler: DatagramHandler;
  readonly #bound = new Map<number, Bound>();
  /** Addresses that could not be bound, so that it is said once. */
  readonly #refused = new Set<string>();
  #relay: TcpRelay | undefined;
  #lastId = 0;
  #closed = false;
  readonly #known = new Map<string, RemoteAddress>();
  readonly #texts = new Map<string, string>();

  constructor(log: Log, handler: DatagramHandler) {
    this.#log = log;
    this.#handler = handler;
  }

  /** What the node can send through. */
  get sockets(): readonly UdpSocket[] {
    const all: UdpSocket[] = [...this.#bound.values()].map(({ id, family }) => ({ id, family }));
    return this.#relay?.isOpen === true ? [...all, { id: RELAY_SOCKET, family: 4 }] : all;
  }

  /** Where datagrams of the socket RELAY_SOCKET go. */
  setRelay(relay: TcpRelay): void {
    this.#relay = relay;
  }

  /** What is bound, in the order in which it was wanted first. */
  get addresses(): readonly InetAddress[] {
    return [...this.#bound.values()].map((b) => b.local);
  }

  /**
   * Makes what is bound equal to `wanted`, as far as the system lets it; what it refuses is counted
   * and said once. @returns whether anything changed.
   */
  async bind(wanted: readonly InetAddress[]): Promise<boolean> {
    const texts = new Set(wanted.map(inetAddressText));
    let hasChanged = false;
    for (const b of [...this.#bound.values()]) {
      if (texts.has(inetAddressText(b.local))) continue;
      b.socket.close();
      this.#bound.delete(b.id);
      hasChanged = true;
    }
    for (const text of this.#refused) if (!texts.has(text)) this.#refused.delete(text);
    const have = new Set(this.addresses.map(inetAddressText));
    for (const local of wanted) {
      if (have.has(inetAddressText(local))) continue;
      if (await this.#open(local)) hasChanged = true;
    }
    return hasChanged;
  }

  async #open(local: InetAddress): Promise<boolean> {
    const text = inetAddressText(local);
    try {
      const bound = await this.#bind(this.#freeId(), local);
      if (this.#closed) {
        bound.socket.close();
        return false;
      }
      this.#bound.set(bound.id, bound);
      this.#refused.delete(text);
      return true;
    } catch (e) {
      this.counters.bindErrors++;
      if (!this.#refused.has(text)) this.#log('warning', `UDP ${text}: ${errorText(e)}`);
      this.#refused.add(text);
      return false;
    }
  }

  #freeId(): number {
    do this.#lastId = (this.#lastId % MAX_SOCKET_ID) + 1;
    while (this.#bound.has(this.#lastId));
    return this.#lastId;
  }

  #bind(id: number, local: InetAddress): Promise<Bound> {
    const family = local.family === 4 ? 4 : 6;
    const socket = createSocket({
      type: family === 4 ? 'udp4' : 'udp6',
      ipv6Only: family === 6,
      lookup: literal,
    });
    return new Promise((resolvePromise, reject) => {
      socket.once('error', (e) => {
        socket.close();
        reject(e);
      });
      socket.bind({ port: local.port, address: ipText(local.ip), exclusive: true }, () => {
        socket.removeAllListeners('error');
        socket.on('error', () => {
          this.counters.sendErrors++;
        });
        this.#enlarge(socket);
        socket.on('message', (bytes, from) => this.#received(id, bytes, from.address, from.port));
        const { port } = socket.address();
        resolvePromise({ id, family, local: inetAddress(local.ip, port), socket });
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
    if (from === undefined) return;
    // The 4 bytes that open a NAT come from anybody and prove nothing.
    if (bytes.length >= MIN_PACKET_LEN && isRelayable(from)) this.counters.globalIn++;
    this.#handler(id, from, bytes);
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
    if (socketId === RELAY_SOCKET) {
      this.#relay?.send(to, bytes);
      return;
    }
    const b = this.#bound.get(socketId);
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
    if (isRelayable(to)) this.counters.globalOut++;
    if (ttl !== undefined) b.socket.setTTL(ttl);
    b.socket.send(Buffer.from(bytes), to.port, this.#text(to), (e) => {
      if (e !== null) this.counters.sendErrors++;
    });
    if (ttl !== undefined) b.socket.setTTL(DEFAULT_TTL);
  }

  close(): void {
    this.#closed = true;
    for (const b of this.#bound.values()) b.socket.close();
    this.#bound.clear();
  }
}
