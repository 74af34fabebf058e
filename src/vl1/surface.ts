/** Our addresses as others see them [2 section 17]. Bounded; entries age out. */

import type { NodeAddress } from '../wire/address.js';
import {
  type InetAddress,
  ipScope,
  type RemoteAddress,
  remoteAddress,
  SCOPE_LOOPBACK,
  SCOPE_MULTICAST,
  SCOPE_NONE,
  sameIp,
} from '../wire/inetaddress.js';
import { MAX_SURFACES, SURFACE_EXPIRY_MS } from './constants.js';

interface Entry {
  readonly from: string;
  readonly socket: number;
  readonly scope: number;
  mine: RemoteAddress;
  at: number;
  /** An upstream said so. */
  readonly trusted: boolean;
}

export interface SurfaceChange {
  readonly scope: number;
  readonly family: 4 | 6;
}

export class Surface {
  readonly #entries = new Map<string, Entry>();

  /**
   * One report. @returns what changed when a trusted reporter sees us at another IP than before:
   * the caller must re-test all paths of that scope and family.
   */
  report(
    now: number,
    reporter: NodeAddress,
    socket: number,
    from: RemoteAddress,
    mine: InetAddress,
    trusted: boolean,
  ): SurfaceChange | undefined {
    const scope = ipScope(mine.ip);
    if (mine.family === 0 || scope !== ipScope(from.ip)) return undefined;
    if (scope === SCOPE_NONE || scope === SCOPE_LOOPBACK || scope === SCOPE_MULTICAST)
      return undefined;
    const key = `${reporter}|${socket}|${from.key}|${scope}`;
    const old = this.#entries.get(key);
    const moved =
      old !== undefined && trusted && now - old.at < SURFACE_EXPIRY_MS && !sameIp(old.mine, mine);
    this.#entries.delete(key);
    if (moved) this.#forget(scope, from.key);
    this.#store(key, {
      from: from.key,
      socket,
      scope,
      mine: remoteAddress(mine),
      at: now,
      trusted,
    });
    return moved ? { scope, family: mine.family as 4 | 6 } : undefined;
  }

  #forget(scope: number, exceptFrom: string): void {
    for (const [k, e] of this.#entries)
      if (e.scope === scope && e.from !== exceptFrom) this.#entries.delete(k);
  }

  #store(key: string, entry: Entry): void {
    if (this.#entries.size >= MAX_SURFACES) this.#evict();
    this.#entries.set(key, entry);
  }

  /** The oldest report goes; those of upstreams only when there are no others. */
  #evict(): void {
    const keys = [...this.#entries];
    const victim = keys.find(([, e]) => !e.trusted) ?? keys[0];
    if (victim !== undefined) this.#entries.delete(victim[0]);
  }

  /** Distinct addresses, with port; what upstreams said comes first. */
  addresses(): RemoteAddress[] {
    const entries = [...this.#entries.values()];
    const seen = new Map<string, RemoteAddress>();
    for (const isFirst of [true, false])
      for (const e of entries) if (e.trusted === isFirst) seen.set(e.mine.key, e.mine);
    return [...seen.values()];
  }

  /** Forgets what was said of sockets that are gone. */
  keepSockets(ids: ReadonlySet<number>): void {
    for (const [k, e] of this.#entries) if (!ids.has(e.socket)) this.#entries.delete(k);
  }

  sweep(now: number): void {
    for (const [k, e] of this.#entries)
      if (now - e.at >= SURFACE_EXPIRY_MS) this.#entries.delete(k);
  }
}
