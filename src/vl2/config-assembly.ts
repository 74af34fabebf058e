/**
 * Reassembly of chunked configurations [3 section 5.2]: three updates at a time, least recent out. Chunks
 * are signed but never expire, and any member may pass any on, those of others' configurations too: what
 * comes from the controller itself is never driven out by what others pass on.
 */

import { toHex } from '../lib/hex.js';
import type { ConfigChunk } from '../wire/netconf.js';
import { CONFIG_CAPACITY, MAX_CHUNKS } from '../wire/netconf.js';

const MAX_UPDATES = 3;
/** Ours: updates that are passed on to other members in a minute; a controller makes one a minute. */
export const MAX_PASSED = 4;
const PASSED_MS = 60_000;

interface Update {
  readonly totalLen: number;
  /** Undefined once complete: the update is kept to know its chunks when they come again. */
  data: Uint8Array | undefined;
  readonly seen: Set<string>;
  /** A chunk of it came from the controller itself. */
  isDirect: boolean;
  have: number;
}

export interface CompleteConfig {
  readonly updateId: bigint;
  readonly text: Uint8Array;
}

export class ConfigAssembly {
  readonly #updates = new Map<bigint, Update>();
  /** Update that was passed on -> monotonic ms. */
  readonly #passed = new Map<bigint, number>();

  /**
   * One chunk whose signature was verified by the caller; `isDirect` = the controller sent it.
   * @returns the whole text when this chunk completes it.
   */
  add(chunk: ConfigChunk, isDirect: boolean): CompleteConfig | undefined {
    const s = chunk.signed;
    if (s === undefined || !ConfigAssembly.isPlausible(chunk)) return undefined;
    const update = this.#update(s.updateId, s.totalLen, isDirect);
    const data = update?.data;
    if (update === undefined || data === undefined || update.seen.size >= MAX_CHUNKS)
      return undefined;
    const id = toHex(s.signature.subarray(0, 16));
    if (update.seen.has(id)) return undefined;
    update.seen.add(id);
    data.set(chunk.data, s.offset);
    update.have += chunk.data.length;
    if (update.have !== update.totalLen) return undefined;
    update.data = undefined;
    return { updateId: s.updateId, text: data };
  }

  /** Bounds of a signed chunk, checked before its signature. */
  static isPlausible(chunk: ConfigChunk): boolean {
    const s = chunk.signed;
    return (
      s !== undefined && s.totalLen < CONFIG_CAPACITY && s.offset + chunk.data.length <= s.totalLen
    );
  }

  /** Whether this very chunk was taken already: its signature need not be verified again. */
  has(chunk: ConfigChunk): boolean {
    const s = chunk.signed;
    return (
      s !== undefined &&
      (this.#updates.get(s.updateId)?.seen.has(toHex(s.signature.subarray(0, 16))) ?? false)
    );
  }

  /** Whether chunks of the update may be passed on to others: an old one, sent again, floods nobody. */
  mayPass(now: number, updateId: bigint): boolean {
    for (const [id, at] of this.#passed) if (now - at >= PASSED_MS) this.#passed.delete(id);
    if (this.#passed.has(updateId)) return true;
    if (this.#passed.size >= MAX_PASSED) return false;
    this.#passed.set(updateId, now);
    return true;
  }

  #update(id: bigint, totalLen: number, isDirect: boolean): Update | undefined {
    const old = this.#updates.get(id);
    if (old !== undefined) {
      this.#updates.delete(id);
      this.#updates.set(id, old);
      old.isDirect ||= isDirect;
      return old.totalLen === totalLen ? old : undefined;
    }
    if (this.#updates.size >= MAX_UPDATES && !this.#evict(isDirect)) return undefined;
    const fresh = {
      totalLen,
      data: new Uint8Array(totalLen),
      seen: new Set<string>(),
      have: 0,
      isDirect,
    };
    this.#updates.set(id, fresh);
    return fresh;
  }

  /** Drops the update that is missed least: passed on by others, or complete, or the oldest. */
  #evict(forDirect: boolean): boolean {
    const all = [...this.#updates];
    const victim =
      all.find(([, u]) => !u.isDirect) ??
      all.find(([, u]) => u.data === undefined) ??
      (forDirect ? all[0] : undefined);
    return victim !== undefined && this.#updates.delete(victim[0]);
  }
}
