/**
 * What waits in the service for programs and for the rest of a datagram, counted to the user whose
 * it is. The memory is the service's: a user has one limit for all views, each view its own counts.
 */
import { Quota } from './quota.js';

/** Ours: bytes and records of one user: its sockets are many, and each could hold 256 KiB. */
export const PENDING_BYTES_MAX = 64 * 1024 * 1024;
export const PENDING_RECORDS_MAX = 65_536;

/** What every user may have waiting, in all views that share this object. */
export class PendingLimits {
  readonly bytes = new Quota(PENDING_BYTES_MAX);
  readonly records = new Quota(PENDING_RECORDS_MAX);
}

/** Counts of one view. */
export interface PendingCounters {
  /** Datagrams and errors that wait for programs; bytes also of those that programs have begun. */
  datagramsQueued: number;
  datagramBytesQueued: number;
  /** Datagrams dropped because as much waits for or of their user as may. */
  dropDatagramUser: number;
}

/** The account of one socket. */
export class Pending {
  readonly #limits: PendingLimits;
  readonly #counters: PendingCounters;
  readonly #user: number | undefined;

  constructor(limits: PendingLimits, counters: PendingCounters, user: number | undefined) {
    this.#limits = limits;
    this.#counters = counters;
    this.#user = user;
  }

  /** False, counted, and nothing taken: the user has as much waiting as it may. */
  take(records: number, bytes: number): boolean {
    const limits = this.#limits;
    const user = this.#user;
    if (!limits.records.hasRoom(user, records) || !limits.bytes.take(user, bytes)) {
      this.#counters.dropDatagramUser++;
      return false;
    }
    limits.records.take(user, records);
    this.#counters.datagramsQueued += records;
    this.#counters.datagramBytesQueued += bytes;
    return true;
  }

  give(records: number, bytes: number): void {
    this.#limits.records.give(this.#user, records);
    this.#limits.bytes.give(this.#user, bytes);
    this.#counters.datagramsQueued -= records;
    this.#counters.datagramBytesQueued -= bytes;
  }
}
