/**
 * The node's UDP sockets, one per local address and port, on the addon or on node:dgram.
 *
 * What is bound follows `bind`, which opens what is missing and closes what is no longer wanted;
 * a socket's id is never used again while another one could still be meant by it.
 */
import type { UdpSocket } from '../vl1/state.js';
import {
  type InetAddress,
  inetAddress,
  inetAddressText,
  type RemoteAddress,
} from '../wire/inetaddress.js';
import { errorText, type Log } from './log.js';
import { isRelayable, RELAY_SOCKET, type TcpRelay } from './tcp-relay.js';
import type { DatagramSocket, OpenSocket, UdpCounters } from './udp-socket.js';

/** Ids fit 16 bits, since paths are found by them. */
const MAX_SOCKET_ID = 0xffff;
const MIN_PACKET_LEN = 16;

export type DatagramHandler = (socket: number, from: RemoteAddress, bytes: Uint8Array) => void;

interface Bound extends UdpSocket {
  readonly local: InetAddress;
  readonly socket: DatagramSocket;
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
  readonly #openSocket: OpenSocket;
  readonly #bound = new Map<number, Bound>();
  /** Addresses that could not be bound, so that it is said once. */
  readonly #refused = new Set<string>();
  #relay: TcpRelay | undefined;
  #lastId = 0;
  #closed = false;

  constructor(log: Log, openSocket: OpenSocket, handler: DatagramHandler) {
    this.#log = log;
    this.#openSocket = openSocket;
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

  async #bind(id: number, local: InetAddress): Promise<Bound> {
    const socket = await this.#openSocket(
      local,
      (from, bytes) => {
        this.counters.datagramsIn++;
        this.counters.bytesIn += bytes.length;
        // The 4 bytes that open a NAT come from anybody and prove nothing.
        if (bytes.length >= MIN_PACKET_LEN && isRelayable(from)) this.counters.globalIn++;
        this.#handler(id, from, bytes);
      },
      this.counters,
    );
    const family = local.family === 4 ? 4 : 6;
    return { id, family, local: inetAddress(local.ip, socket.port), socket };
  }

  /** Sends one datagram; `bytes` may be reused at once. Lost datagrams are counted, never thrown. */
  send(socketId: number, to: RemoteAddress, bytes: Uint8Array, ttl?: number): void {
    if (socketId === RELAY_SOCKET) {
      this.#relay?.send(to, bytes);
      return;
    }
    const b = this.#bound.get(socketId);
    if (b === undefined || b.family !== to.family) return;
    // No datagram can be sent to port 0; node:dgram would throw.
    if (to.port === 0) {
      this.counters.sendErrors++;
      return;
    }
    if (isRelayable(to)) this.counters.globalOut++;
    b.socket.send(to, bytes, ttl);
  }

  /** The end of a wake-up: what was collected leaves. */
  flush(): void {
    for (const b of this.#bound.values()) b.socket.flush();
  }

  close(): void {
    this.#closed = true;
    for (const b of this.#bound.values()) b.socket.close();
    this.#bound.clear();
  }
}
