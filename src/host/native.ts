/**
 * The addon netcon_io.node: what Node.js can not do [0 section 6]. Calls return a result of 0 or
 * more, or -errno; a wrong kind of argument throws. Everything that can work without it does, so
 * `loadNative` may answer with a reason instead.
 */
import { createRequire } from 'node:module';

export const READABLE = 1;
export const WRITABLE = 2;

/** Words of a datagram in a batch's table: offset, length, port, family (4 or 6). */
export const ROW_WORDS = 4;
/** Bytes of a datagram's address in a batch. */
export const ROW_ADDRESS_LEN = 16;
/** Messages of one `udpReceive` or `udpSend` at most. */
export const BATCH_MAX = 64;

/**
 * Watches a descriptor, which stays the caller's, until `close`. An error of the descriptor (the
 * callback gets a number below 0) ends the watch until the next `start`.
 */
export interface NativePoll {
  /** @param events READABLE, WRITABLE or both. */
  start(events: number): number;
  stop(): number;
  close(): void;
}

export interface Native {
  readonly Poll: new (fd: number, callback: (events: number) => void) => NativePoll;

  /** Listens with SOCK_SEQPACKET; a name that begins with NUL is abstract. @returns descriptor. */
  listenRecords(name: Uint8Array, backlog: number): number;
  /** Connects to what `listenRecords` listens on. @returns descriptor. */
  connectRecords(name: Uint8Array): number;
  accept(fd: number): number;
  close(fd: number): number;
  /** @returns length of the peer's name, NUL of an abstract one included. */
  peerName(fd: number, into: Uint8Array): number;
  /** Writes pid, uid and gid that the peer had when it connected. */
  credentials(fd: number, into: Uint32Array): number;
  pair(into: Uint32Array): number;
  /** Sends one record, with a descriptor unless `passed` is -1. */
  send(fd: number, record: Uint8Array, passed: number): number;
  /** @returns the record's length even where it was cut; 0: the peer is gone or the record empty. */
  receive(fd: number, into: Uint8Array, passed: Uint32Array): number;

  /** 1 when the peer has closed, also while records of it still wait; else 0. */
  isHungUp(fd: number): number;
  /** Bytes, with the kernel's own costs, that the other end has not read; or -errno. */
  heldLen(fd: number): number;
  /** Bounds what the kernel holds for the other end of a socket. @returns 0 or -errno. */
  setSendBuffer(fd: number, len: number): number;
  /** 1 when the peer sends no more, also while records of it still wait; else 0. */
  hasEnded(fd: number): number;
  /** A descriptor of a file in memory that holds `bytes`, to be passed with `send`. */
  note(bytes: Uint8Array): number;

  /** @returns length of an extended attribute of a file [xattr(7)]; -ENODATA: it has none of that name. */
  attributeLen(path: Uint8Array, name: Uint8Array): number;

  udpOpen(family: 4 | 6, ip: Uint8Array, port: number, bufferLen: number, gro: number): number;
  udpPort(fd: number): number;
  udpTtl(fd: number, family: 4 | 6, hops: number): number;
  /** @returns rows of the table that were written. */
  udpReceive(
    fd: number,
    into: Uint8Array,
    slotLen: number,
    table: Uint32Array,
    addresses: Uint8Array,
  ): number;
  /** @returns rows that were sent, from row `first` on. */
  udpSend(
    fd: number,
    from: Uint8Array,
    table: Uint32Array,
    addresses: Uint8Array,
    first: number,
    count: number,
    gso: number,
  ): number;
}

/** The addon, or why there is none. */
export function loadNative(): Native | string {
  const path = new URL('../native/netcon_io.node', import.meta.url).pathname;
  try {
    return createRequire(import.meta.url)(path) as Native;
  } catch (e) {
    return e instanceof Error ? e.message.split('\n')[0]! : String(e);
  }
}
