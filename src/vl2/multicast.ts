/**
 * Who listens to which group, and sender-side replication of multicast frames [3 section 10].
 *
 * The member table serves all networks of the node: its own, those it roots and those it controls.
 * Bounded in groups, listeners (in all, of one group, and groups of one listener) and waiting frames,
 * since one hostile member can announce and list whatever it likes.
 */
import type { NetworkId, NodeAddress } from '../wire/address.js';
import { groupKey, type MulticastGroup } from '../wire/multicast-group.js';

// [3 section 0]
const LIKE_EXPIRY_MS = 600_000;
const WAITING_MS = 5_000;
export const MAX_WAITING = 32;
// Ours: groups, listeners of one group and in all.
export const MAX_GROUPS = 65_536;
export const MAX_LISTENERS = 16_384;
export const MAX_LISTENERS_IN_ALL = 262_144;
/** Groups of one listener: twice what one member of one network announces at most. */
export const MAX_GROUPS_OF_ONE = 8_192;
/** Listeners of a group that others only told us of; a hundred times the usual multicast limit. */
export const MAX_LISTED = 4_096;
/** Frames that wait for members, in all. */
export const MAX_WAITING_IN_ALL = 2_048;
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
  /** Listener -> number of its groups. */
  readonly #groupsOf = new Map<NodeAddress, number>();
  readonly #refused: () => void;
  #listeners = 0;
  #waiting = 0;

  /** `refused` is called for each listener for which there was no room. */
  constructor(refused: () => void = () => undefined) {
    this.#refused = refused;
  }

  #group(key: string): Group {
    const known = this.#groups.get(key);
    if (known !== undefined) return known;
    if (this.#groups.size >= MAX_GROUPS) {
      const oldest = this.#groups.entries().next().value;
      if (oldest !== undefined) this.#dropGroup(...oldest);
    }
    const fresh = {
      listeners: new Map<NodeAddress, number>(),
      waiting: [],
      gatheredAt: Number.NEGATIVE_INFINITY,
    };
    this.#groups.set(key, fresh);
    return fresh;
  }

  #dropGroup(key: string, group: Group): void {
    this.#waiting -= group.waiting.length;
    for (const who of group.listeners.keys()) this.#dropListener(group, who);
    this.#groups.delete(key);
  }

  #dropListener(group: Group, who: NodeAddress): void {
    if (!group.listeners.delete(who)) return;
    this.#listeners--;
    const left = (this.#groupsOf.get(who) ?? 1) - 1;
    if (left > 0) this.#groupsOf.set(who, left);
    else this.#groupsOf.delete(who);
  }

  #setWaiting(group: Group, waiting: Waiting[]): void {
    this.#waiting += waiting.length - group.waiting.length;
    group.waiting = waiting;
  }

  /** Whether there is room for another listener, before a group is made for it. */
  #hasRoom(key: string, who: NodeAddress): boolean {
    return (
      this.#listeners < MAX_LISTENERS_IN_ALL &&
      (this.#groupsOf.get(who) ?? 0) < MAX_GROUPS_OF_ONE &&
      (this.#groups.get(key)?.listeners.size ?? 0) < MAX_LISTENERS
    );
  }

  /** Records a listener and offers it the frames that wait for one. */
  add(now: number, nwid: NetworkId, g: MulticastGroup, who: NodeAddress): void {
    const key = keyOf(nwid, g);
    const known = this.#groups.get(key);
    if (known?.listeners.has(who) === true) {
      known.listeners.set(who, now);
      return;
    }
    if (!this.#hasRoom(key, who)) {
      this.#refused();
      return;
    }
    const group = this.#group(key);
    group.listeners.set(who, now);
    this.#listeners++;
    this.#groupsOf.set(who, (this.#groupsOf.get(who) ?? 0) + 1);
    this.#offerWaiting(now, group, who);
  }

  /** Records a listener that somebody else told us of. */
  addListed(now: number, nwid: NetworkId, g: MulticastGroup, who: NodeAddress): void {
    const size = this.#groups.get(keyOf(nwid, g))?.listeners.size ?? 0;
    if (size < MAX_LISTED) this.add(now, nwid, g, who);
    else this.#refused();
  }

  #offerWaiting(now: number, group: Group, who: NodeAddress): void {
    if (group.waiting.length === 0) return;
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
    this.#setWaiting(group, still);
  }

  remove(nwid: NetworkId, g: MulticastGroup, who: NodeAddress): void {
    const group = this.#groups.get(keyOf(nwid, g));
    if (group !== undefined) this.#dropListener(group, who);
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
    const kept = group.waiting.slice(Math.max(0, group.waiting.length - MAX_WAITING + 1));
    const hasRoom = this.#waiting - group.waiting.length + kept.length < MAX_WAITING_IN_ALL;
    this.#setWaiting(group, hasRoom ? [...kept, w] : kept);
  }

  sweep(now: number): void {
    for (const [key, group] of this.#groups) {
      for (const [who, at] of group.listeners)
        if (now - at >= LIKE_EXPIRY_MS) this.#dropListener(group, who);
      this.#setWaiting(
        group,
        group.waiting.filter((w) => now - w.at < WAITING_MS),
      );
      if (group.listeners.size === 0 && group.waiting.length === 0) this.#groups.delete(key);
    }
  }

  get listenerCount(): number {
    return this.#listeners;
  }

  get waitingCount(): number {
    return this.#waiting;
  }

  get groupCount(): number {
    return this.#groups.size;
  }
}
