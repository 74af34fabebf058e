/** One bound UDP socket, and what is counted about all of them. */
import type { InetAddress, RemoteAddress } from '../wire/inetaddress.js';

/** Ours: bytes asked of the kernel per socket and direction; it grants what its limits allow. */
export const SOCKET_BUFFER_LEN = 4 * 1024 * 1024;

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

export interface DatagramSocket {
  readonly port: number;
  /** Takes one datagram to a port other than 0; `bytes` may be reused at once. Losses are counted. */
  send(to: RemoteAddress, bytes: Uint8Array, ttl: number | undefined): void;
  /** Lets go of what `send` collected. */
  flush(): void;
  close(): void;
}

/** `bytes` is borrowed until the call returns. */
export type Received = (from: RemoteAddress, bytes: Uint8Array) => void;

/** Binds an address. @throws (rejects) with the system's reason. */
export type OpenSocket = (
  local: InetAddress,
  received: Received,
  counters: UdpCounters,
) => Promise<DatagramSocket>;
