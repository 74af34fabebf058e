/**
 * Physical paths: one record per (local socket, remote endpoint), shared by all peers behind it
 * [2 section 12.1]. Owns times and latency; which peer uses a path is the peer's business.
 */
import type { RemoteAddress } from '../wire/inetaddress.js';
import { ipScope } from '../wire/inetaddress.js';
import { DEFAULT_PHYSICAL_MTU } from '../wire/packet.js';
import { MAX_PATHS, PATH_ALIVE_MS, PATH_PROBE_MS } from './constants.js';
import { UNKNOWN_LATENCY } from './latency.js';
import { Physical } from './physical.js';

export class Path {
  readonly socket: number;
  readonly remote: RemoteAddress;
  readonly scope: number;
  /** UDP payload, and id of a trusted path (0 = none), as configured for the remote address. */
  mtu = DEFAULT_PHYSICAL_MTU;
  trustedPathId = 0n;
  lastInAt = Number.NEGATIVE_INFINITY;
  lastOutAt = Number.NEGATIVE_INFINITY;
  /** When we first sent without hearing anything since; NEGATIVE_INFINITY when all is answered. */
  unansweredSince = Number.NEGATIVE_INFINITY;
  /**
   * When we first routed a packet of our own here since the last OK; NEGATIVE_INFINITY when none.
   * What the peer sends shows that its packets arrive, only an answer that ours do.
   */
  unprovenSince = Number.NEGATIVE_INFINITY;
  lastTrustAt = Number.NEGATIVE_INFINITY;
  lastEchoAt = Number.NEGATIVE_INFINITY;
  /** Round trip in ms, averaged; `hasLatency` tells whether one was ever measured. */
  latency = UNKNOWN_LATENCY;

  constructor(socket: number, remote: RemoteAddress) {
    this.socket = socket;
    this.remote = remote;
    this.scope = ipScope(remote.ip);
  }

  get hasLatency(): boolean {
    return this.latency !== UNKNOWN_LATENCY;
  }

  configure(physical: Physical): void {
    this.mtu = physical.mtu(this.remote);
    this.trustedPathId = physical.trustedPathId(this.remote);
  }

  isAlive(now: number): boolean {
    return now - this.lastInAt < PATH_ALIVE_MS;
  }

  /** Silent for PATH_PROBE_MS while we send into it. */
  isSilent(now: number): boolean {
    const since = this.unansweredSince;
    return since !== Number.NEGATIVE_INFINITY && now - since >= PATH_PROBE_MS;
  }

  /** Alive, and not silent while we send into it [2 section 12.3, ours]. */
  isAnswering(now: number): boolean {
    return this.isAlive(now) && !this.isSilent(now);
  }

  heard(now: number): void {
    this.lastInAt = now;
    this.unansweredSince = Number.NEGATIVE_INFINITY;
  }

  sent(now: number): void {
    this.lastOutAt = now;
    if (this.unansweredSince === Number.NEGATIVE_INFINITY) this.unansweredSince = now;
  }

  /** A packet of our own took this path, and is more than an answer. */
  used(now: number): void {
    this.sent(now);
    if (this.unprovenSince === Number.NEGATIVE_INFINITY) this.unprovenSince = now;
  }

  /** The peer answered something that went this way. */
  proven(): void {
    this.unprovenSince = Number.NEGATIVE_INFINITY;
  }

  /** For how long packets of ours have taken this path without proof that they arrive; 0 = none. */
  unprovenMs(now: number): number {
    return this.unprovenSince === Number.NEGATIVE_INFINITY ? 0 : now - this.unprovenSince;
  }

  /** New round-trip sample [2 section 13.2]. */
  measured(rttMs: number): void {
    const sample = Math.min(Math.max(0, Math.round(rttMs)), UNKNOWN_LATENCY - 1);
    this.latency = this.hasLatency ? Math.floor((this.latency + sample) / 2) : sample;
  }

  /** The lower the better [2 section 13.1]. */
  quality(now: number): number {
    const age = now - this.lastInAt;
    const base =
      age < PATH_ALIVE_MS ? this.latency : this.latency + 65_535 + Math.min(age, 140_000);
    return base * (8 - this.scope);
  }
}

/** All registered paths, bounded. A datagram from an unknown endpoint gets an unregistered path. */
export class PathTable {
  readonly #paths = new Map<string, Path>();
  #physical = Physical.NONE;

  static key(socket: number, remote: RemoteAddress): string {
    return String.fromCharCode(socket) + remote.key;
  }

  find(socket: number, remote: RemoteAddress): Path | undefined {
    return this.#paths.get(PathTable.key(socket, remote));
  }

  findOrMake(socket: number, remote: RemoteAddress): Path {
    const known = this.find(socket, remote);
    if (known !== undefined) return known;
    const path = new Path(socket, remote);
    if (this.#physical !== Physical.NONE) path.configure(this.#physical);
    return path;
  }

  configure(physical: Physical): void {
    this.#physical = physical;
    for (const path of this.#paths.values()) path.configure(physical);
  }

  /** Keeps a path from now on. Full: the oldest registered one is forgotten. */
  register(path: Path): void {
    const key = PathTable.key(path.socket, path.remote);
    if (this.#paths.get(key) === path) return;
    if (this.#paths.size >= MAX_PATHS) {
      const oldest = this.#paths.keys().next().value;
      if (oldest !== undefined) this.#paths.delete(oldest);
    }
    this.#paths.set(key, path);
  }

  /** Forgets paths that nobody uses. */
  sweep(used: ReadonlySet<Path>): void {
    for (const [key, path] of this.#paths) if (!used.has(path)) this.#paths.delete(key);
  }

  /** Forgets paths of sockets that are gone. */
  keepSockets(ids: ReadonlySet<number>): void {
    for (const [key, path] of this.#paths) if (!ids.has(path.socket)) this.#paths.delete(key);
  }

  get size(): number {
    return this.#paths.size;
  }
}
