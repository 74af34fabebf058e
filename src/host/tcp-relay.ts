/**
 * The TCP relay of last resort [2 section 18, 4 section 11]: where UDP does not come back, datagrams
 * to global IPv4 addresses travel over one TCP connection to a server that sends them on.
 *
 *   greeting   17 03 03  00 04   major minor revision(2)
 *   datagram   17 03 03  length  04 ip(4) port(2) bytes        length counts from the type byte
 *   inbound    the same; also 06 ip(16) port(2), and 00 for no address
 *
 * To the node the connection is one more IPv4 socket, whose paths it learns like those of others.
 */
import { connect, type Socket } from 'node:net';
import {
  type InetAddress,
  inetAddress,
  inetAddressText,
  ipScope,
  ipText,
  type RemoteAddress,
  remoteAddress,
  SCOPE_GLOBAL,
} from '../wire/inetaddress.js';
import { SOFTWARE_VERSION } from '../wire/packet.js';
import { errorText, type Log } from './log.js';

/** The id by which the node names it; other sockets count from 1. */
export const RELAY_SOCKET = 0;

const FRAME_HEAD_LEN = 5;
const GREETING_LEN = 4;
const MARK = [0x17, 0x03, 0x03] as const;
/** Type, IPv4 address, port. */
const IPV4_HEAD_LEN = 7;
/** Ours: bytes that may wait for a slow server; beyond them datagrams are lost, as datagrams are. */
const MAX_WAITING_LEN = 1024 * 1024;
/** Ours: pause after a connection that failed or ended. */
const RETRY_MS = 10_000;
/** A server that does not take the connection within this is given up. */
const CONNECT_MS = 10_000;

export class RelayFrameError extends Error {
  readonly code = 'ERR_RELAY_FRAME';
}

function frame(payload: Uint8Array): Buffer {
  const b = Buffer.alloc(FRAME_HEAD_LEN + payload.length);
  b.set(MARK);
  b.writeUInt16BE(payload.length, 3);
  b.set(payload, FRAME_HEAD_LEN);
  return b;
}

export function greetingFrame(): Buffer {
  const { major, minor, revision } = SOFTWARE_VERSION;
  return frame(Uint8Array.of(major, minor, revision >> 8, revision & 255));
}

export function datagramFrame(to: InetAddress, bytes: Uint8Array): Buffer {
  const b = new Uint8Array(IPV4_HEAD_LEN + bytes.length);
  b[0] = 4;
  b.set(to.ip, 1);
  b[5] = to.port >> 8;
  b[6] = to.port & 255;
  b.set(bytes, IPV4_HEAD_LEN);
  return frame(b);
}

export interface RelayedDatagram {
  readonly from: RemoteAddress;
  readonly bytes: Uint8Array;
}

/** Cuts the server's stream into datagrams; holds at most one unfinished frame of 64 KiB. */
export class FrameReader {
  #held: Buffer = Buffer.alloc(0);

  /** @throws RelayFrameError for a stream that is none of ours. */
  push(chunk: Uint8Array): RelayedDatagram[] {
    const b = this.#held.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#held, chunk]);
    const out: RelayedDatagram[] = [];
    let at = 0;
    while (b.length - at >= FRAME_HEAD_LEN) {
      if (MARK.some((m, i) => b[at + i] !== m)) throw new RelayFrameError('not a frame of a relay');
      const end = at + FRAME_HEAD_LEN + b.readUInt16BE(at + 3);
      if (end > b.length) break;
      const d = parseFrame(b.subarray(at + FRAME_HEAD_LEN, end));
      if (d !== undefined) out.push(d);
      at = end;
    }
    this.#held = Buffer.from(b.subarray(at));
    return out;
  }
}

/**
 * Greetings, frames without an address and those of IPv6, which cannot be answered, are nothing. Nor
 * is what claims to come from elsewhere than the Internet: a server does not speak for our own networks,
 * some of which may be trusted by their addresses.
 */
function parseFrame(payload: Buffer): RelayedDatagram | undefined {
  if (payload.length === GREETING_LEN || payload.length < IPV4_HEAD_LEN || payload[0] !== 4)
    return undefined;
  const from = remoteAddress(
    inetAddress(new Uint8Array(payload.subarray(1, 5)), payload.readUInt16BE(5)),
  );
  if (!isRelayable(from)) return undefined;
  return { from, bytes: new Uint8Array(payload.subarray(IPV4_HEAD_LEN)) };
}

/** Whether the relay could carry a datagram to this address. */
export function isRelayable(to: InetAddress): boolean {
  return to.family === 4 && ipScope(to.ip) === SCOPE_GLOBAL;
}

// ---- when ----

/** UDP counts as blocked after so long without a datagram from a global address [2 section 18]. */
const SILENT_MS = 60_000;
/** Not before the service ran, or the machine was awake, for so long. */
const SETTLE_MS = 60_000;
/** It is over when one came within this. */
const RETURNED_MS = 30_000;

/** Decides from counts of datagrams to and from global addresses; time is an argument. */
export class RelayPolicy {
  #since: number;
  #heardAt: number;
  #sentAt = Number.NEGATIVE_INFINITY;
  #heard = 0;
  #sent = 0;
  #isOpen = false;

  constructor(now: number) {
    this.#since = now;
    this.#heardAt = now;
  }

  /** The machine slept: what was heard before means nothing. */
  woke(now: number): void {
    this.#since = now;
    this.#heardAt = now;
  }

  /** Whether the relay should be open. */
  decide(now: number, heard: number, sent: number): boolean {
    if (heard !== this.#heard) this.#heardAt = now;
    if (sent !== this.#sent) this.#sentAt = now;
    this.#heard = heard;
    this.#sent = sent;
    const silent = now - this.#heardAt;
    if (this.#isOpen) this.#isOpen = silent >= RETURNED_MS;
    else
      this.#isOpen =
        silent >= SILENT_MS && now - this.#since >= SETTLE_MS && now - this.#sentAt < SILENT_MS;
    return this.#isOpen;
  }
}

// ---- the connection ----

export class TcpRelay {
  readonly counters = { bytesIn: 0, bytesOut: 0, dropped: 0, failed: 0 };
  readonly #log: Log;
  readonly #heard: (d: RelayedDatagram) => void;
  readonly #changed: () => void;
  #socket: Socket | undefined;
  #server = '';
  #isOpen = false;
  #triedAt = Number.NEGATIVE_INFINITY;

  constructor(log: Log, heard: (d: RelayedDatagram) => void, changed: () => void) {
    this.#log = log;
    this.#heard = heard;
    this.#changed = changed;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Connects, or goes on; called again and again while the relay is wanted. */
  open(now: number, server: InetAddress): void {
    const text = inetAddressText(server);
    if (text !== this.#server) this.close();
    this.#server = text;
    if (this.#socket !== undefined || now - this.#triedAt < RETRY_MS) return;
    this.#triedAt = now;
    const socket = connect({ host: ipText(server.ip), port: server.port, noDelay: true });
    this.#socket = socket;
    const reader = new FrameReader();
    socket.setTimeout(CONNECT_MS, () => socket.destroy(new Error('no answer')));
    socket.on('connect', () => {
      socket.setTimeout(0);
      socket.write(greetingFrame());
      this.#isOpen = true;
      this.#log('info', `UDP does not come back: datagrams go over TCP through ${text}`);
      this.#changed();
    });
    socket.on('data', (chunk) => this.#received(socket, reader, chunk));
    socket.on('error', (e) => {
      this.counters.failed++;
      this.#log('info', `TCP relay ${text}: ${errorText(e)}`);
    });
    socket.on('close', () => this.#ended(socket));
  }

  #received(socket: Socket, reader: FrameReader, chunk: Uint8Array): void {
    this.counters.bytesIn += chunk.length;
    try {
      for (const d of reader.push(chunk)) this.#heard(d);
    } catch (e) {
      socket.destroy(e as Error);
    }
  }

  #ended(socket: Socket): void {
    if (this.#socket !== socket) return;
    this.#socket = undefined;
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#changed();
  }

  /** Sends one datagram; what cannot be sent is counted. */
  send(to: RemoteAddress, bytes: Uint8Array): void {
    const socket = this.#socket;
    if (!this.#isOpen || socket === undefined || !isRelayable(to)) {
      this.counters.dropped++;
    } else if (socket.writableLength > MAX_WAITING_LEN) {
      this.counters.dropped++;
    } else {
      const b = datagramFrame(to, bytes);
      this.counters.bytesOut += b.length;
      socket.write(b);
    }
  }

  close(): void {
    const socket = this.#socket;
    this.#triedAt = Number.NEGATIVE_INFINITY;
    if (socket === undefined) return;
    socket.destroy();
    this.#ended(socket);
  }
}
