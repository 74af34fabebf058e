/**
 * Reaching a peer at a physical address, and what every accepted packet does for its path
 * [2 sections 12.3, 12.4, 12.7].
 */
import type { NodeAddress } from '../wire/address.js';
import { writeHello, writePushDirectPaths } from '../wire/hello.js';
import {
  type InetAddress,
  type RemoteAddress,
  remoteAddress,
  sameIp,
} from '../wire/inetaddress.js';
import { PACKET_HEAD_LEN, SOFTWARE_VERSION, VERB } from '../wire/packet.js';
import { WORLD_MOON } from '../wire/world.js';
import {
  CONFIRM_MS,
  HINT_MS,
  LOW_BANDWIDTH_PUSH_FACTOR,
  MAX_CONFIRMATIONS,
  MAX_HELLO_MOONS,
  MAX_PUSHED_ADDRESSES,
  PUSH_DIRECT_MS,
  PUSH_RELAYED_MS,
} from './constants.js';
import type { Path } from './path.js';
import type { Peer } from './peer.js';
import type { Sender } from './sender.js';
import type { Vl1State } from './state.js';

/** Verbs that show a peer is more than a bystander [2 section 12.3]. */
const NONTRIVIAL: ReadonlySet<number> = new Set([
  VERB.FRAME,
  VERB.EXT_FRAME,
  VERB.NETWORK_CONFIG_REQUEST,
  VERB.NETWORK_CONFIG,
  VERB.MULTICAST_FRAME,
]);

export class Contact {
  readonly #s: Vl1State;
  readonly #send: Sender;
  /** Called once for each peer whose first path was learned. */
  pathLearned: (peer: Peer) => void = () => undefined;

  constructor(state: Vl1State, sender: Sender) {
    this.#s = state;
    this.#send = sender;
    sender.noDirectPath = (peer) => this.#tryHint(peer);
  }

  /** Contacts one of the addresses that the user named for the peer, at random [2 section 12.6]. */
  #tryHint(peer: Peer): void {
    if (this.#s.now - peer.lastHintAt < HINT_MS) return;
    const hints = this.#s.physical
      .hints(peer.address)
      .filter((h) => this.#s.isPathAllowed(peer.address, h));
    const pick = hints[Math.floor(this.#s.options.jitter.next() * hints.length)];
    if (pick === undefined) return;
    peer.lastHintAt = this.#s.now;
    this.hello(peer, remoteAddress(pick));
  }

  /** Full HELLO to an endpoint, from every socket of its family or from one. */
  hello(peer: Peer, to: RemoteAddress, socket?: number): void {
    const topology = this.#s.topology;
    const w = this.#send.begin(peer.address, VERB.HELLO);
    const moons = [
      ...topology.moons.map((m) => ({ type: WORLD_MOON, id: m.id, timestamp: m.timestamp })),
      ...[...topology.wanted.keys()].map((id) => ({ type: WORLD_MOON, id, timestamp: 0n })),
    ].slice(0, MAX_HELLO_MOONS);
    const masked = writeHello(
      w,
      {
        version: { protocol: this.#s.options.protocol, ...SOFTWARE_VERSION },
        timestamp: BigInt(this.#s.at.wall),
        identity: this.#s.self,
        sentTo: to,
        planetId: topology.planet.id,
        planetTimestamp: topology.planet.timestamp,
      },
      moons,
    );
    const through = socket ?? this.#onlySocket(to);
    const id = this.#send.toEndpoint(peer.key, 0, through, to, PACKET_HEAD_LEN + masked);
    this.#s.expected.add(this.#s.now, id, peer.address, VERB.HELLO);
  }

  /** In low-bandwidth mode a HELLO leaves through one socket instead of all. */
  #onlySocket(to: RemoteAddress): number | undefined {
    if (!this.#s.physical.lowBandwidth) return undefined;
    return this.#s.sockets.find((s) => s.family === to.family)?.id;
  }

  /** Tests an address: ECHO where the peer takes it, else HELLO [2 section 12.4]. */
  contact(peer: Peer, to: RemoteAddress, socket: number | undefined, full: boolean): void {
    if (full || !peer.takesEcho) {
      this.hello(peer, to, socket);
      return;
    }
    this.#send.begin(peer.address, VERB.ECHO);
    const id = this.#send.toEndpoint(peer.key, peer.suite, socket, to);
    this.#s.expected.add(this.#s.now, id, peer.address, VERB.ECHO);
  }

  contactPath(peer: Peer, path: Path, full: boolean): void {
    this.contact(peer, path.remote, path.socket, full);
    path.sent(this.#s.now);
  }

  /**
   * Every accepted packet ends here. Learns or confirms the path it came on; `trusted` says that
   * VL2 verified the sender as a member.
   */
  received(peer: Peer, path: Path, hops: number, verb: number, trusted: boolean): void {
    const now = this.#s.now;
    peer.lastReceiveAt = now;
    if (NONTRIVIAL.has(verb)) peer.lastNontrivialAt = now;
    if (trusted) {
      peer.lastTrustAt = now;
      path.lastTrustAt = now;
    }
    if (hops === 0) this.#receivedDirect(peer, path, verb);
    if (peer.isTrusted(now)) this.#maybePushPaths(peer, path, hops);
  }

  #receivedDirect(peer: Peer, path: Path, verb: number): void {
    const now = this.#s.now;
    path.heard(now);
    if (verb === VERB.OK) path.proven();
    const slot = peer.slotOf(path);
    if (slot !== undefined) {
      slot.lastAuthAt = now;
      return;
    }
    const twin = peer.slots.some(
      (s) =>
        s.path.socket === path.socket &&
        sameIp(s.path.remote, path.remote) &&
        s.path.isAnswering(now),
    );
    if (twin || !this.#s.isPathAllowed(peer.address, path.remote)) return;
    if (verb === VERB.OK) {
      const first = peer.slots.length === 0;
      peer.learn(now, path);
      this.#s.paths.register(path);
      if (first) this.pathLearned(peer);
      return;
    }
    const confirmed = peer.confirmedAt.get(path);
    if (confirmed !== undefined && now - confirmed < CONFIRM_MS) return;
    if (confirmed === undefined && peer.confirmedAt.size >= MAX_CONFIRMATIONS) {
      this.#s.counters.add('confirmGated');
      return;
    }
    this.#s.paths.register(path);
    peer.confirmedAt.set(path, now);
    this.hello(peer, path.remote);
    path.sent(now);
  }

  #maybePushPaths(peer: Peer, path: Path, hops: number): void {
    const direct = this.#s.physical.lowBandwidth
      ? PUSH_DIRECT_MS * LOW_BANDWIDTH_PUSH_FACTOR
      : PUSH_DIRECT_MS;
    const every = hops > 0 ? PUSH_RELAYED_MS : direct;
    if (this.#s.now - peer.lastPathPushAt < every) return;
    peer.lastPathPushAt = this.#s.now;
    this.pushPaths(peer, path);
  }

  /** Sends our addresses on the arrival path [2 section 12.7], without duplicates. */
  pushPaths(peer: Peer, path: Path): void {
    const all = new Map<string, InetAddress>();
    for (const a of [...this.#s.localAddresses, ...this.#s.surface.addresses()]) {
      const r = remoteAddress(a);
      if (!all.has(r.key)) all.set(r.key, a);
    }
    let rest = [...all.values()].slice(0, MAX_PUSHED_ADDRESSES);
    while (rest.length > 0) {
      const w = this.#send.begin(peer.address, VERB.PUSH_DIRECT_PATHS);
      const n = writePushDirectPaths(w, rest);
      this.#send.compress();
      this.#send.direct(peer, path);
      rest = rest.slice(n);
    }
  }

  /** A trusted reporter sees us elsewhere: test all paths of that scope and family [2 section 17]. */
  surfaceMoved(scope: number, family: 4 | 6): void {
    for (const peer of this.#s.peers.values()) {
      for (const slot of peer.slots) {
        if (slot.path.scope !== scope || slot.path.remote.family !== family) continue;
        this.contactPath(peer, slot.path, false);
        slot.lastAuthAt = Number.NEGATIVE_INFINITY;
      }
    }
  }

  /** Our address as `reporter` saw it. */
  reportSurface(reporter: NodeAddress, path: Path, mine: InetAddress): void {
    const trusted = this.#s.topology.isUpstream(reporter);
    const moved = this.#s.surface.report(
      this.#s.now,
      reporter,
      path.socket,
      path.remote,
      mine,
      trusted,
    );
    if (moved !== undefined) this.surfaceMoved(moved.scope, moved.family);
  }
}
