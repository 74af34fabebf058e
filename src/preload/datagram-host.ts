/**
 * What a datagram socket needs of its view and of the record stream of its program, and what it is
 * known by: the interfaces between datagrams.ts and its surroundings.
 */
import type { Moment } from '../lib/time.js';
import type { InterfaceAddress } from '../stack/stack.js';
import type { DatagramSocket } from './datagrams.js';
import type { HostNetwork } from './fallthrough.js';
import type { MembershipHost } from './memberships.js';
import type { PendingCounters, PendingLimits } from './pending.js';
import type { Token } from './protocol.js';
import type { QueueCounters } from './record-queue.js';
import type { PreloadStack } from './socket-host.js';

/** What a socket may do with the record stream of its program; implemented by the host. */
export interface RecordPort {
  /** Gives one record to the kernel; false = its queue is full, and `writable` will be told. */
  send(record: Uint8Array): boolean;
  /** Raises what the kernel may hold of records given to it; bytes, as SO_SNDBUF takes them. */
  raiseBuffer(len: number): void;
  /** Bytes of records that the program has not read, with the kernel's own costs. */
  heldLen(): number;
  setReading(on: boolean): void;
  /** Hands over the records that the program has sent so far, if it is read from at all. */
  drain(): void;
  /** Whether the program still holds its descriptor, after it shut down its sending side. */
  isHeld(): boolean;
  destroy(): void;
}

/** Counts of all datagram sockets of a view. */
export interface DatagramCounters extends QueueCounters, PendingCounters {
  memberships: number;
  /** Records of programs that break the format. */
  dropDatagramRecord: number;
  /** Datagrams of programs that could not be sent. */
  dropDatagramSend: number;
}

/** What a datagram socket needs of its view. */
export interface DatagramHost extends MembershipHost {
  readonly stack: PreloadStack;
  readonly datagramCounters: DatagramCounters;
  readonly pendingLimits: PendingLimits;
  now(): Moment;
  mtu(): number;
  /** Undefined: nothing of the host can be reached. */
  readonly hostNetwork: HostNetwork | undefined;
  addresses(): readonly InterfaceAddress[];
  /** The program is gone. */
  datagramGone(socket: DatagramSocket): void;
  /** Half of the stream is shut down: ask again in a while whether the program holds the rest. */
  watchHeld(socket: DatagramSocket): void;
}

export interface DatagramIdentity {
  readonly token: Token;
  readonly family: 4 | 6;
  readonly owner: number | undefined;
  /** Policy that the program asked for [5 section 5.4]. */
  readonly policy: number;
}
