/**
 * Local ports of one view: who holds which, what conflicts, and the choice of an ephemeral port.
 *
 * The rules are Linux's [5 section 7, row bind]: two holders of a port conflict when their
 * addresses overlap, unless both allow SO_REUSEPORT, or both allow SO_REUSEADDR and neither
 * listens. The TCP/IP stack itself is told about a port only when it listens or connects.
 */
import { equalBytes } from '../lib/bytes.js';
import type { IpBytes } from '../stack/stack.js';

/**
 * How long the port of a connection that this side ended first is kept from a bind() that does not
 * share it: as long as the stack keeps the connection (TIME_WAIT_MS in lwip-port; Linux has 60 s).
 */
export const TIME_WAIT_MS = 10_000;
/** Ours, as in the stack: ended connections that are remembered; the oldest is forgotten first. */
const ENDED_MAX = 4096;

/** [5 section 6.4] ephemeral range. */
export const EPHEMERAL_FIRST = 49152;
export const EPHEMERAL_LAST = 65535;

export interface PortHolder {
  readonly port: number;
  /** 4 or 16 bytes; all zero = wildcard. */
  readonly ip: IpBytes;
  /** A wildcard IPv6 holder with this flag leaves IPv4 alone. */
  readonly v6Only: boolean;
  reuseAddr: boolean;
  reusePort: boolean;
  /** User that SO_REUSEPORT is shared within; undefined = unknown, which counts as the same. */
  readonly owner?: number | undefined;
  listening: boolean;
  /** Interface it is tied to; 0 or nothing = any. */
  device?: number;
}

function isZero(ip: IpBytes): boolean {
  for (const b of ip) if (b !== 0) return false;
  return true;
}

function overlaps(a: PortHolder, b: PortHolder): boolean {
  if (a.device && b.device && a.device !== b.device) return false;
  if (a.ip.length === b.ip.length) return isZero(a.ip) || isZero(b.ip) || equalBytes(a.ip, b.ip);
  const six = a.ip.length === 16 ? a : b;
  return isZero(six.ip) && !six.v6Only;
}

function mayShare(a: PortHolder, b: PortHolder): boolean {
  if (a.reusePort && b.reusePort && a.owner === b.owner) return true;
  return a.reuseAddr && b.reuseAddr && !a.listening && !b.listening;
}

/** The ports of a view, of one table or of several. */
export interface Ports {
  /** Whether `wanted` (not among them, or among them) conflicts with another holder. */
  conflicts(wanted: PortHolder): boolean;
  /** Whether another holder listens where `wanted` is about to, and does not share the port. */
  conflictsWithListener(wanted: PortHolder): boolean;
  /** Whether somebody listens where a connection to `ip` and `port` would arrive. */
  hasListener(ip: IpBytes, port: number): boolean;
  /** Whether `wanted` conflicts with a connection in TIME_WAIT; only who names a port asks. */
  conflictsWithEnded(wanted: PortHolder, now: number): boolean;
  add(holder: PortHolder): void;
  remove(holder: PortHolder): void;
  /** Keeps what `holder`, which is removed, says of a connection that its side ended first. */
  ended(holder: PortHolder, now: number): void;
  /** Whether anybody holds that port. */
  isHeld(port: number): boolean;
  /** A free ephemeral port, or undefined when all are held. */
  ephemeral(): number | undefined;
  readonly size: number;
}

export class PortTable implements Ports {
  readonly #byPort = new Map<number, Set<PortHolder>>();
  /** Connections in TIME_WAIT, oldest first, and when each is over. */
  readonly #ended = new Map<PortHolder, number>();
  readonly #random: () => number;

  /** @param random a 32-bit number per call. */
  constructor(random: () => number) {
    this.#random = random;
  }

  conflicts(wanted: PortHolder): boolean {
    const holders = this.#byPort.get(wanted.port);
    if (holders === undefined) return false;
    for (const h of holders) {
      if (h !== wanted && overlaps(h, wanted) && !mayShare(h, wanted)) return true;
    }
    return false;
  }

  conflictsWithListener(wanted: PortHolder): boolean {
    const holders = this.#byPort.get(wanted.port);
    if (holders === undefined) return false;
    for (const h of holders) {
      if (h === wanted || !h.listening || !overlaps(h, wanted)) continue;
      if (!(h.reusePort && wanted.reusePort)) return true;
    }
    return false;
  }

  hasListener(ip: IpBytes, port: number): boolean {
    const wanted = {
      ip,
      port,
      v6Only: false,
      reuseAddr: false,
      reusePort: false,
      listening: false,
    };
    for (const h of this.#byPort.get(port) ?? [])
      if (h.listening && overlaps(h, wanted)) return true;
    return false;
  }

  add(holder: PortHolder): void {
    const holders = this.#byPort.get(holder.port);
    if (holders === undefined) this.#byPort.set(holder.port, new Set([holder]));
    else holders.add(holder);
  }

  remove(holder: PortHolder): void {
    const holders = this.#byPort.get(holder.port);
    if (holders === undefined) return;
    holders.delete(holder);
    if (holders.size === 0) this.#byPort.delete(holder.port);
  }

  ended(holder: PortHolder, now: number): void {
    this.#forgetEnded(now);
    const [oldest] = this.#ended.keys();
    if (oldest !== undefined && this.#ended.size === ENDED_MAX) this.#ended.delete(oldest);
    this.#ended.set({ ...holder, listening: false }, now + TIME_WAIT_MS);
  }

  #forgetEnded(now: number): void {
    for (const [holder, until] of this.#ended) {
      if (until > now) return;
      this.#ended.delete(holder);
    }
  }

  conflictsWithEnded(wanted: PortHolder, now: number): boolean {
    this.#forgetEnded(now);
    for (const h of this.#ended.keys())
      if (h.port === wanted.port && overlaps(h, wanted) && !mayShare(h, wanted)) return true;
    return false;
  }

  isHeld(port: number): boolean {
    return this.#byPort.has(port);
  }

  holders(): PortHolder[] {
    return [...this.#byPort.values()].flatMap((set) => [...set]);
  }

  /** Random start, then upwards. */
  ephemeral(isTaken = (_port: number) => false): number | undefined {
    const count = EPHEMERAL_LAST - EPHEMERAL_FIRST + 1;
    const start = this.#random() % count;
    for (let i = 0; i < count; i++) {
      const port = EPHEMERAL_FIRST + ((start + i) % count);
      if (!this.#byPort.has(port) && !isTaken(port)) return port;
    }
    return undefined;
  }

  get size(): number {
    return this.#byPort.size;
  }
}
