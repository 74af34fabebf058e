/**
 * UDP sockets on node:dgram, for where the addon is missing. Datagrams in are handed on as they
 * come; datagrams out are copied, since the system may keep them while its buffer is full.
 */
import { createSocket, type Socket } from 'node:dgram';
import {
  type InetAddress,
  inetAddress,
  ipText,
  parseIp,
  type RemoteAddress,
  remoteAddress,
} from '../wire/inetaddress.js';
import {
  type DatagramSocket,
  type OpenSocket,
  type Received,
  SOCKET_BUFFER_LEN,
  type UdpCounters,
} from './udp-socket.js';

/** Ours: bytes that may wait in the process when the kernel's buffer is full. */
const MAX_QUEUED_LEN = 1024 * 1024;
/** Ours: remote endpoints whose parsed form is kept. */
const MAX_KNOWN = 65_536;
const DEFAULT_TTL = 64;

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

class DgramSocket implements DatagramSocket {
  readonly port: number;
  readonly #socket: Socket;
  readonly #counters: UdpCounters;
  readonly #known = new Map<string, RemoteAddress>();
  readonly #texts = new Map<string, string>();

  constructor(socket: Socket, received: Received, counters: UdpCounters) {
    this.#socket = socket;
    this.#counters = counters;
    this.port = socket.address().port;
    socket.on('error', () => {
      counters.sendErrors++;
    });
    socket.on('message', (bytes, from) => {
      const address = this.#intern(from.address, from.port);
      if (address !== undefined) received(address, bytes);
    });
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

  send(to: RemoteAddress, bytes: Uint8Array, ttl: number | undefined): void {
    if (this.#socket.getSendQueueSize() > MAX_QUEUED_LEN) {
      this.#counters.sendQueueFull++;
      return;
    }
    this.#counters.datagramsOut++;
    this.#counters.bytesOut += bytes.length;
    if (ttl !== undefined) this.#socket.setTTL(ttl);
    this.#socket.send(Buffer.from(bytes), to.port, this.#text(to), (e) => {
      if (e !== null) this.#counters.sendErrors++;
    });
    if (ttl !== undefined) this.#socket.setTTL(DEFAULT_TTL);
  }

  flush(): void {
    // Each datagram left with its send.
  }

  close(): void {
    this.#socket.close();
  }
}

function enlarge(socket: Socket): void {
  try {
    socket.setRecvBufferSize(SOCKET_BUFFER_LEN);
    socket.setSendBufferSize(SOCKET_BUFFER_LEN);
  } catch {
    // The kernel's own sizes serve as well, only with more loss in bursts.
  }
}

export const openDgram: OpenSocket = (local: InetAddress, received, counters) => {
  const family = local.family === 4 ? 4 : 6;
  const socket = createSocket({
    type: family === 4 ? 'udp4' : 'udp6',
    ipv6Only: family === 6,
    lookup: literal,
  });
  return new Promise((done, reject) => {
    socket.once('error', (e) => {
      socket.close();
      reject(e);
    });
    socket.bind({ port: local.port, address: ipText(local.ip), exclusive: true }, () => {
      socket.removeAllListeners('error');
      enlarge(socket);
      done(new DgramSocket(socket, received, counters));
    });
  });
};
