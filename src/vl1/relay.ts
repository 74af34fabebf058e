/** Forwarding for others, and introducing the two ends to each other [2 sections 7, 16.2]. */
import { Recent } from '../lib/recent.js';
import { type NodeAddress, readAddress } from '../wire/address.js';
import { writeRendezvous } from '../wire/hello.js';
import {
  FRAGMENT_INDICATOR,
  MAX_HOPS,
  OFF_DEST,
  OFF_FLAGS,
  OFF_FRAGMENT_HOPS,
  VERB,
} from '../wire/packet.js';
import {
  FORGET_INTRODUCTION_MS,
  INTRODUCE_MS,
  MAX_INTRODUCTIONS,
  MAX_RELAYED_LEN,
  TRUST_MS,
} from './constants.js';
import type { Path } from './path.js';
import type { PathSlot, Peer } from './peer.js';
import type { Sender } from './sender.js';
import type { Vl1State } from './state.js';

export class Relay {
  readonly #s: Vl1State;
  readonly #send: Sender;
  readonly #introducedAt = new Recent<string, number>(MAX_INTRODUCTIONS);
  /** Takes a destination of an earlier run into memory; usable once it answered. */
  recall: (address: NodeAddress) => void = () => undefined;

  constructor(state: Vl1State, sender: Sender) {
    this.#s = state;
    this.#send = sender;
  }

  /** A head or fragment for somebody else. `bytes` is borrowed; nothing in it is authenticated. */
  handle(path: Path, bytes: Uint8Array): void {
    if (!this.#s.topology.amUpstream && this.#s.now - path.lastTrustAt >= TRUST_MS) {
      this.#s.counters.add('relayRefused');
      return;
    }
    if (bytes.length > MAX_RELAYED_LEN) {
      this.#s.counters.add('oversize');
      return;
    }
    const isFragment = bytes[13] === FRAGMENT_INDICATOR;
    const hopsAt = isFragment ? OFF_FRAGMENT_HOPS : OFF_FLAGS;
    const hops = isFragment ? bytes[hopsAt]! : bytes[hopsAt]! & 7;
    if (hops >= MAX_HOPS) {
      this.#s.counters.add('relayHopLimit');
      return;
    }
    const dest = readAddress(bytes, OFF_DEST);
    const source = isFragment ? undefined : readAddress(bytes, 13);
    const hop = this.#nextHop(dest, source);
    if (hop === undefined) {
      this.#s.counters.add('relayNoRoute');
      return;
    }
    const copy = this.#s.arena.copy(bytes);
    copy[hopsAt] = isFragment ? (hops + 1) & 7 : (bytes[hopsAt]! & 0xf8) | (hops + 1);
    hop.path.sent(this.#s.now);
    this.#send.raw(hop.path.socket, hop.path.remote, copy);
    this.#s.counters.add('relayed');
    if (source !== undefined) this.#introduce(source, hop.peer.address);
  }

  #nextHop(
    dest: NodeAddress,
    source: NodeAddress | undefined,
  ): { peer: Peer; path: Path } | undefined {
    const now = this.#s.now;
    const peer = this.#s.peer(dest);
    const direct = peer?.unexpiredPath(now);
    if (peer !== undefined && direct !== undefined) return { peer, path: direct };
    if (peer === undefined) this.recall(dest);
    const up = this.#s.bestUpstream();
    if (up === undefined || up.address === source) return undefined;
    const path = up.anyPath(now);
    return path === undefined ? undefined : { peer: up, path };
  }

  /** Tells each of the two where the other is, at most every 30 s per pair. */
  #introduce(a: NodeAddress, b: NodeAddress): void {
    const now = this.#s.now;
    const key = a < b ? `${a}-${b}` : `${b}-${a}`;
    const last = this.#introducedAt.get(key);
    if (a === b || (last !== undefined && now - last < INTRODUCE_MS)) return;
    const [pa, pb] = [this.#s.peer(a), this.#s.peer(b)];
    if (pa === undefined || pb === undefined) return;
    if (this.#introducedAt.set(key, now)) this.#s.counters.add('introductionsFull');
    const common = this.#commonScope(pa, pb);
    if (common === undefined) return;
    const both: [Peer, Path, Peer, Path][] = [
      [pa, common[0], pb, common[1]],
      [pb, common[1], pa, common[0]],
    ];
    if (this.#s.options.jitter.next() < 0.5) both.reverse();
    for (const [to, toPath, other, otherPath] of both) {
      const w = this.#send.begin(to.address, VERB.RENDEZVOUS);
      writeRendezvous(w, { flags: 0, peer: other.address, endpoint: otherPath.remote });
      this.#send.direct(to, toPath);
    }
  }

  /** Paths of both in the most private scope that they share, IPv6 first. */
  #commonScope(a: Peer, b: Peer): [Path, Path] | undefined {
    for (let scope = 7; scope >= 0; scope--) {
      for (const family of [6, 4] as const) {
        const at = (s: PathSlot): boolean =>
          s.path.scope === scope && s.path.remote.family === family;
        const pa = a.bestSlot(this.#s.now, at);
        const pb = b.bestSlot(this.#s.now, at);
        if (pa !== undefined && pb !== undefined) return [pa.path, pb.path];
      }
    }
    return undefined;
  }

  sweep(): void {
    this.#introducedAt.sweep((at) => this.#s.now - at >= FORGET_INTRODUCTION_MS);
  }
}
