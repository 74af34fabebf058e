/**
 * Revocations on their way to members [3 section 12.4].
 *
 * A receiver takes one packet of credentials per second and sender and drops the others, so what is
 * revoked within a second for one recipient travels in one packet, and packets to one recipient are
 * spaced. A turn sends a bounded number. State is one log of revocations per network with a cursor per
 * recipient, so that a revocation costs the same whether ten or ten thousand members are online.
 */
import { NEVER } from '../lib/time.js';
import type { Writer } from '../lib/writer.js';
import type { NodeAddress } from '../wire/address.js';
import { REVOCATION_LEN, type Revocation, writeRevocation } from '../wire/credentials.js';
import { MAX_PACKET_LEN, PACKET_HEAD_LEN } from '../wire/packet.js';

/** [3 section 2.4] a receiver's gate is 1,000 ms; ours leaves room for jitter on the way. */
export const SPACING_MS = 1_100;
/** Revocations that fit one packet behind its head and the five counts: 65. */
export const MAX_IN_PACKET = Math.floor((MAX_PACKET_LEN - PACKET_HEAD_LEN - 9) / REVOCATION_LEN);
/** Ours: the log of one network; older ones are dropped for recipients that lag behind, and counted. */
export const MAX_LOG = 16_384;

export interface RevocationSink {
  /** One NETWORK_CREDENTIALS packet. */
  send(to: NodeAddress, revocations: readonly Revocation[]): void;
  dropped(count: number): void;
}

/** The payload of NETWORK_CREDENTIALS with revocations alone. */
export function writeRevocations(w: Writer, list: readonly Revocation[]): void {
  w.u8(0).u16(0).u16(0).u16(list.length);
  for (const r of list) writeRevocation(w, r);
  w.u16(0);
}

interface Log {
  readonly entries: Revocation[];
  /** Number of the first entry; numbers are never used twice. */
  base: number;
  /** Recipient -> number of the next entry for it; those who have all are left out. */
  readonly cursors: Map<NodeAddress, number>;
}

/** All members of a deleted network, revoked at once. */
interface Farewell {
  readonly targets: readonly NodeAddress[];
  /** Place of a target in `targets`. */
  readonly places: ReadonlyMap<NodeAddress, number>;
  /** Made when first needed: one signature each. */
  readonly signed: Map<number, Revocation>;
  readonly waiting: Set<NodeAddress>;
  sign(target: NodeAddress): Revocation;
}

export class Revoker {
  readonly #sink: RevocationSink;
  readonly #logs = new Map<string, Log>();
  readonly #farewells = new Set<Farewell>();
  /** Recipient -> monotonic ms of its last packet, for those younger than the spacing. */
  readonly #sentAt = new Map<NodeAddress, number>();
  #dueAt = NEVER;

  constructor(sink: RevocationSink) {
    this.#sink = sink;
  }

  /** Monotonic ms at which `run` has something to send; in the past = at once. */
  get deadline(): number {
    return this.#dueAt;
  }

  /** Queues a revocation of the network `key` for each recipient, the first of them soonest. */
  add(key: string, r: Revocation, recipients: Iterable<NodeAddress>): void {
    const log: Log = this.#logs.get(key) ?? { entries: [], base: 0, cursors: new Map() };
    const number = log.base + log.entries.length;
    for (const to of recipients) if (!log.cursors.has(to)) log.cursors.set(to, number);
    if (log.cursors.size === 0) return;
    this.#logs.set(key, log);
    log.entries.push(r);
    if (log.entries.length > MAX_LOG) this.#cut(log);
    this.#dueAt = Number.NEGATIVE_INFINITY;
  }

  #cut(log: Log): void {
    log.entries.shift();
    log.base++;
    let lost = 0;
    for (const [to, next] of log.cursors) {
      if (next >= log.base) continue;
      log.cursors.set(to, log.base);
      lost++;
    }
    if (lost > 0) this.#sink.dropped(lost);
  }

  /**
   * Revokes all `targets` of a deleted network with one packet per recipient: its own revocation first,
   * which it passes on to all it knows, then those of the targets that follow it. A network of up to
   * `MAX_IN_PACKET` members is told completely; a larger one by the flags' propagation. A packet for each
   * pair would be 15 GB for 10,000 members.
   */
  addAll(
    targets: readonly NodeAddress[],
    recipients: Iterable<NodeAddress>,
    sign: (target: NodeAddress) => Revocation,
  ): void {
    const waiting = new Set(recipients);
    if (targets.length === 0 || waiting.size === 0) return;
    const places = new Map(targets.map((t, i) => [t, i]));
    this.#farewells.add({ targets, places, signed: new Map(), waiting, sign });
    this.#dueAt = Number.NEGATIVE_INFINITY;
  }

  /** Sends what is due, at most `budget` packets. */
  run(now: number, budget: number): void {
    if (now < this.#dueAt) return;
    for (const [to, at] of this.#sentAt) if (now - at >= SPACING_MS) this.#sentAt.delete(to);
    const left = this.#runLogs(now, this.#runFarewells(now, budget));
    this.#dueAt = left <= 0 ? Number.NEGATIVE_INFINITY : this.#nextAt();
  }

  #runFarewells(now: number, budget: number): number {
    for (const f of this.#farewells) {
      for (const to of f.waiting) {
        if (budget <= 0) return 0;
        if (this.#sentAt.has(to)) continue;
        f.waiting.delete(to);
        this.#send(now, to, farewellFor(f, to));
        budget--;
      }
      if (f.waiting.size === 0) this.#farewells.delete(f);
    }
    return budget;
  }

  #runLogs(now: number, budget: number): number {
    for (const [key, log] of this.#logs) {
      for (const [to, next] of log.cursors) {
        if (budget <= 0) return 0;
        if (this.#sentAt.has(to)) continue;
        this.#advance(now, log, to, next);
        budget--;
      }
      if (log.cursors.size === 0) this.#logs.delete(key);
    }
    return budget;
  }

  #advance(now: number, log: Log, to: NodeAddress, next: number): void {
    const from = next - log.base;
    const batch = log.entries.slice(from, from + MAX_IN_PACKET);
    // Taken out and, if not done, put back at the end: the others come first.
    log.cursors.delete(to);
    if (from + batch.length < log.entries.length) log.cursors.set(to, next + batch.length);
    this.#send(now, to, batch);
  }

  #send(now: number, to: NodeAddress, batch: readonly Revocation[]): void {
    this.#sentAt.set(to, now);
    this.#sink.send(to, batch);
  }

  /** When the first of those who wait for their spacing may be sent to. */
  #nextAt(): number {
    let due = NEVER;
    const look = (to: NodeAddress): void => {
      due = Math.min(due, (this.#sentAt.get(to) ?? Number.NEGATIVE_INFINITY) + SPACING_MS);
    };
    for (const log of this.#logs.values()) for (const to of log.cursors.keys()) look(to);
    for (const f of this.#farewells) f.waiting.forEach(look);
    return due;
  }
}

function farewellFor(f: Farewell, to: NodeAddress): Revocation[] {
  const n = f.targets.length;
  const first = f.places.get(to) ?? 0;
  return Array.from({ length: Math.min(n, MAX_IN_PACKET) }, (_, k) => {
    const i = (first + k) % n;
    let r = f.signed.get(i);
    if (r === undefined) {
      r = f.sign(f.targets[i]!);
      f.signed.set(i, r);
    }
    return r;
  });
}
