/** Reassembly of chunked configurations [3 section 5.2]: three updates at a time, least recent out. */

import { toHex } from '../lib/hex.js';
import type { ConfigChunk } from '../wire/netconf.js';
import { CONFIG_CAPACITY, MAX_CHUNKS } from '../wire/netconf.js';

const MAX_UPDATES = 3;

interface Update {
  readonly totalLen: number;
  /** Undefined once complete: the update is kept to know its chunks when they come again. */
  data: Uint8Array | undefined;
  readonly seen: Set<string>;
  have: number;
}

export interface CompleteConfig {
  readonly updateId: bigint;
  readonly text: Uint8Array;
}

export class ConfigAssembly {
  readonly #updates = new Map<bigint, Update>();

  /**
   * One chunk whose signature was verified by the caller. @returns the whole text when this chunk
   * completes it.
   */
  add(chunk: ConfigChunk): CompleteConfig | undefined {
    const s = chunk.signed;
    if (s === undefined || !ConfigAssembly.isPlausible(chunk)) return undefined;
    const update = this.#update(s.updateId, s.totalLen);
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

  #update(id: bigint, totalLen: number): Update | undefined {
    const old = this.#updates.get(id);
    this.#updates.delete(id);
    if (old !== undefined) {
      this.#updates.set(id, old);
      return old.totalLen === totalLen ? old : undefined;
    }
    if (this.#updates.size >= MAX_UPDATES) {
      const oldest = this.#updates.keys().next().value;
      if (oldest !== undefined) this.#updates.delete(oldest);
    }
    const fresh = { totalLen, data: new Uint8Array(totalLen), seen: new Set<string>(), have: 0 };
    this.#updates.set(id, fresh);
    return fresh;
  }
}
