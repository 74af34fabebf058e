/**
 * Who listens to which group, and sender-side replication of multicast frames [3 section 10].
 *
 * The member table serves all networks of the node: its own, those it roots and those it controls.
 * Bounded by MAX_GROUPS groups and MAX_LISTENERS listeners in each.
 */
import type { NetworkId, NodeAddress } from '../wire/address.js';
import { groupKey, type MulticastGroup } from '../wire/multicast-group.js';

// [3 section 0]
const LIKE_EXPIRY_MS = 600_000;
const WAITING_MS = 5_000;
const MAX_WAITING = 32;
// Ours.
const MAX_GROUPS = 65_536;
const MAX_LISTENERS = 16_384;
/** The reference asks for every frame while a group is empty [3 section 10.4, ADVICE]. */
const EMPTY_GATHER_MS = 1_000;
const GATHER_MS = 60_000;

/** An outbound multicast that may still be sent to members that turn up. */
export interface Waiting {
  readonly at: number;
  readonly served: Set<NodeAddress>;
  left: number;
  sendTo(address: NodeAddress): void;
}

interface Group {
  /** Listener -> monotonic ms of its last announcement. */
  readonly listeners: Map<NodeAddress, number>;
  waiting: Waiting[];
  gatheredAt: number;
}

function keyOf(nwid: NetworkId, g: MulticastGroup): string {
  return nwid.toString(36) + groupKey(g);
}

export class MulticastTable {
  readonly #groups = new Map<string, Group>();

  #group(key: string): Group {
    const known = this.#groups.get(key);
    if (known !== undefined) return known;
    if (this.#groups.size >= MAX_GROUPS) {
      const oldest = this.#groups.keys().next().value;
      if (oldest !== undefined) this.#groups.delete(oldest);
    }
    const fresh = {
      listeners: new Map<NodeAddress, number>(),
      waiting: [],
      gatheredAt: Number.NEGATIVE_INFINITY,
    };
    this.#groups.set(key, fresh);
    return fresh;
  }

  /** Records a listener and offers it the frames that wait for one. */
  add(now: number, nwid: NetworkId, g: MulticastGroup, who: NodeAddress): void {
    const group = this.#group(keyOf(nwid, g));
    const isNew = !group.listeners.has(who);
    if (isNew && group.listeners.size >= MAX_LISTENERS) return;
    group.listeners.set(who, now);
    if (!isNew || group.waiting.length === 0) return;
    const still: Waiting[] = [];
    for (const w of group.waiting) {
      if (now - w.at >= WAITING_MS || w.left <= 0) continue;
      if (!w.served.has(who)) {
        w.served.add(who);
        w.left--;
        w.sendTo(who);
      }
      if (w.left > 0) still.push(w);
    }
    group.waiting = still;
  }

  remove(nwid: NetworkId, g: MulticastGroup, who: NodeAddress): void {
    this.#groups.get(keyOf(nwid, g))?.listeners.delete(who);
  }

  listeners(nwid: NetworkId, g: MulticastGroup): NodeAddress[] {
    return [...(this.#groups.get(keyOf(nwid, g))?.listeners.keys() ?? [])];
  }

  /** Whether to ask others for members of the group now; remembers that it was asked. */
  mayGather(now: number, nwid: NetworkId, g: MulticastGroup): boolean {
    const group = this.#group(keyOf(nwid, g));
    const every = group.listeners.size === 0 ? EMPTY_GATHER_MS : GATHER_MS;
    if (now - group.gatheredAt < every) return false;
    group.gatheredAt = now;
    return true;
  }

  wait(nwid: NetworkId, g: MulticastGroup, w: Waiting): void {
    const group = this.#group(keyOf(nwid, g));
    if (group.waiting.length >= MAX_WAITING) group.waiting.shift();
    group.waiting.push(w);
  }

  sweep(now: number): void {
    for (const [key, group] of this.#groups) {
      for (const [who, at] of group.listeners)
        if (now - at >= LIKE_EXPIRY_MS) group.listeners.delete(who);
      group.waiting = group.waiting.filter((w) => now - w.at < WAITING_MS);
      if (group.listeners.size === 0 && group.waiting.length === 0) this.#groups.delete(key);
    }
  }

  get groupCount(): number {
    return this.#groups.size;
  }
}
