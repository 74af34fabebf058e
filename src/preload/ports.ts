/**
 * Local ports of one view: who holds which, what conflicts, and the choice of an ephemeral port.
 *
 * The rules are Linux's [5 section 7, row bind]: two holders of a port conflict when their
 * addresses overlap, unless both allow SO_REUSEPORT, or both allow SO_REUSEADDR and neither
 * listens. The TCP/IP stack itself is told about a port only when it listens or connects.
 */
import { equalBytes } from '../lib/bytes.js';
import type { IpBytes } from '../stack/stack.js';

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
  add(holder: PortHolder): void;
  remove(holder: PortHolder): void;
  /** Whether anybody holds that port. */
  isHeld(port: number): boolean;
  /** A free ephemeral port, or undefined when all are held. */
  ephemeral(): number | undefined;
  readonly size: number;
}

export class PortTable implements Ports {
  readonly #byPort = new Map<number, Set<PortHolder>>();
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
