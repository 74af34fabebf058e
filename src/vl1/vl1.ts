/**
 * The peer-to-peer layer: datagrams in, authenticated messages out, and back [2].
 *
 * Owns peers, paths, worlds and all packets in flight. Knows nothing of networks: their verbs go
 * to `Vl1Upper`. Sans-IO: time comes with each input, datagrams leave through `Vl1Out`. Worst case
 * of `handleDatagram`: one key agreement, one MAC over 10 KB, and a retry of at most MAX_DEFERRED
 * waiting packets when an identity arrives.
 */
import { type Moment, NEVER } from '../lib/time.js';
import type { Writer } from '../lib/writer.js';
import { type NodeAddress, readAddress } from '../wire/address.js';
import { type InetAddress, type RemoteAddress, remoteAddress } from '../wire/inetaddress.js';
import {
  FLAG_COMPRESSED,
  FLAG_FRAGMENTED,
  FRAGMENT_HEAD_LEN,
  FRAGMENT_INDICATOR,
  HOPS_MASK,
  LAST_SUITE,
  MAX_PACKET_LEN,
  OFF_DEST,
  OFF_FLAGS,
  OFF_SOURCE,
  OFF_VERB,
  PACKET_HEAD_LEN,
  packetId,
  SUITE_TRUSTED_PATH,
  suiteOf,
  trustedPathIdOf,
  VERB,
  VERB_MASK,
} from '../wire/packet.js';
import type { PeerRecord } from '../wire/peer-record.js';
import { BEACON_MS } from './constants.js';
import { Contact } from './contact.js';
import type { Assembled } from './fragments.js';
import { HelloReceiver } from './hello.js';
import { Keeper } from './keeper.js';
import type { Path } from './path.js';
import type { Peer } from './peer.js';
import { Physical, type PhysicalSettings } from './physical.js';
import { Relay } from './relay.js';
import { Sender } from './sender.js';
import { type UdpSocket, type Vl1Options, type Vl1Out, Vl1State, type Vl1Upper } from './state.js';
import { VerbHandlers } from './verbs.js';
import { type Deferred, Whois } from './whois.js';

/** How often queues and upstreams are looked at [2 section 19.2]. */
const TICK_MS = 500;
/** A legacy beacon: 8 bytes that do not matter, then an address [2 section 2]. */
const BEACON_LEN = 13;

export class Vl1 {
  readonly state: Vl1State;
  readonly #send: Sender;
  readonly #contact: Contact;
  readonly #whois: Whois;
  readonly #hello: HelloReceiver;
  readonly #relay: Relay;
  readonly #verbs: VerbHandlers;
  readonly #keeper: Keeper;
  readonly #rx = new Uint8Array(MAX_PACKET_LEN);
  readonly #inflated = new Uint8Array(MAX_PACKET_LEN);
  #tickAt = Number.NEGATIVE_INFINITY;
  #beaconAt = Number.NEGATIVE_INFINITY;

  constructor(options: Vl1Options, out: Vl1Out) {
    if (options.identity.privateKey === undefined)
      throw new TypeError('a node needs a secret identity');
    this.state = new Vl1State(options, out);
    this.#send = new Sender(this.state);
    this.#contact = new Contact(this.state, this.#send);
    this.#whois = new Whois(this.state, this.#send, this.#contact);
    this.#hello = new HelloReceiver(this.state, this.#send, this.#contact, this.#whois);
    this.#relay = new Relay(this.state, this.#send);
    this.#verbs = new VerbHandlers(this.state, this.#send, this.#contact, this.#whois);
    this.#keeper = new Keeper(this.state, this.#contact, this.#whois, this.#relay);
    this.#relay.recall = (address) => this.#whois.recallForOthers(address);
    this.#verbs.identityLearned = (peer) => this.#retryFor(peer);
    this.#hello.peerAdded = (peer) => this.#retryFor(peer);
    this.#contact.pathLearned = (peer) => this.#pathLearned(peer);
    this.state.evicted = (peer) => this.#keeper.remember(peer);
  }

  setUpper(upper: Vl1Upper, alwaysContact: () => Iterable<NodeAddress>): void {
    this.state.upper = upper;
    this.#keeper.alwaysContact = alwaysContact;
  }

  // ---- inputs ----

  handleSockets(sockets: readonly UdpSocket[], localAddresses: readonly InetAddress[]): void {
    const s = this.state;
    const ids = new Set(sockets.map((x) => x.id));
    const known = new Set(s.sockets.map((x) => x.id));
    const isNew = ids.size !== known.size || sockets.some((x) => !known.has(x.id));
    const told = new Set(s.localAddresses.map((a) => remoteAddress(a).key));
    s.sockets = sockets;
    if (localAddresses.some((a) => !told.has(remoteAddress(a).key))) this.#keeper.pushAnew();
    s.localAddresses = localAddresses;
    if (!isNew) return;
    s.paths.keepSockets(ids);
    s.surface.keepSockets(ids);
    for (const peer of s.peers.values()) peer.keepSlots((slot) => ids.has(slot.path.socket));
    this.#keeper.socketsChanged();
    this.#tickAt = Number.NEGATIVE_INFINITY;
  }

  /** The machine slept: what NATs knew of us is gone, so upstreams are greeted at once. */
  handleWake(): void {
    this.#keeper.socketsChanged();
    this.#tickAt = Number.NEGATIVE_INFINITY;
  }

  /** What the user says of physical networks; paths that became forbidden are dropped. */
  handlePhysical(settings: PhysicalSettings): void {
    const s = this.state;
    s.physical = new Physical(settings);
    s.paths.configure(s.physical);
    for (const peer of s.peers.values())
      peer.keepSlots((slot) => s.isPathAllowed(peer.address, slot.path.remote));
  }

  addCachedPeer(record: PeerRecord): void {
    this.#whois.addCached(record);
  }

  /** `bytes` is borrowed for the call. */
  handleDatagram(at: Moment, socket: number, from: RemoteAddress, bytes: Uint8Array): void {
    const s = this.state;
    s.at = at;
    s.counters.add('rxDatagrams');
    if (from.port === 0) {
      // Nothing can be sent back to it.
      s.counters.add('portZero');
      return;
    }
    const path = s.paths.findOrMake(socket, from);
    if (path.lastInAt > Number.NEGATIVE_INFINITY) path.heard(at.mono);
    if (bytes.length === BEACON_LEN) this.#beacon(path, bytes);
    else if (bytes.length <= FRAGMENT_HEAD_LEN) s.counters.add('short');
    else if (bytes[OFF_SOURCE] === FRAGMENT_INDICATOR) this.#fragment(path, bytes);
    else if (bytes.length < PACKET_HEAD_LEN) s.counters.add('short');
    else if (bytes.length > MAX_PACKET_LEN) s.counters.add('oversize');
    else this.#head(path, bytes);
  }

  handleTimeout(at: Moment): void {
    this.state.at = at;
    if (at.mono - this.#tickAt < TICK_MS) return;
    this.#tickAt = at.mono;
    this.#send.retry();
    this.#whois.retry((d) => this.#again(d));
    this.#keeper.run();
    this.state.reassembly.sweep(at.mono);
  }

  /** The verdict on an identity that `Vl1Out.validate` asked for. */
  handleValidation(at: Moment, id: number, ok: boolean): void {
    this.state.at = at;
    this.#hello.validated(id, ok);
  }

  /** Monotonic ms at which `handleTimeout` wants to run. */
  deadline(): number {
    return this.#tickAt === Number.NEGATIVE_INFINITY ? this.state.now : this.#tickAt + TICK_MS;
  }

  // ---- for the layer above ----

  /** Starts a message to `dest`; finish it with `send`, `reply` or `error` below. */
  begin(dest: NodeAddress, verb: number): Writer {
    return this.#send.begin(dest, verb);
  }

  /** Sends the message being built by the general path (queued while the way is unknown). */
  send(dest: NodeAddress, compress: boolean): void {
    if (compress) this.#send.compress();
    this.#send.general(dest);
  }

  /** Sends the message being built back on the path a message came from, as one datagram. */
  reply(peer: Peer, path: Path): void {
    this.#send.direct(peer, path);
  }

  peer(address: NodeAddress): Peer | undefined {
    return this.state.peer(address);
  }

  requestIdentity(address: NodeAddress): void {
    this.#whois.request(address);
  }

  /** Peers currently used as roots, ascending. */
  upstreams(): NodeAddress[] {
    return [...this.state.topology.upstreams.keys()];
  }

  bestUpstream(): NodeAddress | undefined {
    return this.state.bestUpstream()?.address;
  }

  isOnline(): boolean {
    return this.#keeper.isOnline();
  }

  storeAllPeers(): void {
    for (const peer of this.state.peers.values()) {
      if (peer.lastReceiveAt > Number.NEGATIVE_INFINITY) this.#keeper.storePeer(peer);
    }
  }

  // ---- a datagram's way in ----

  /** A beacon of an old version on our local network: a known peer gets a sign of life. */
  #beacon(path: Path, bytes: Uint8Array): void {
    const s = this.state;
    s.counters.add('beacon');
    const peer = s.peer(readAddress(bytes, OFF_DEST));
    if (peer === undefined || s.now - this.#beaconAt < BEACON_MS) return;
    if (!s.isPathAllowed(peer.address, path.remote)) return;
    this.#beaconAt = s.now;
    this.#send.begin(peer.address, VERB.NOP);
    this.#send.direct(peer, path);
  }

  #fragment(path: Path, bytes: Uint8Array): void {
    if (readAddress(bytes, OFF_DEST) !== this.state.self.address) {
      this.#relay.handle(path, bytes);
      return;
    }
    this.#assembled(this.state.reassembly.handleFragment(this.state.now, path, bytes));
  }

  #head(path: Path, bytes: Uint8Array): void {
    const s = this.state;
    if (readAddress(bytes, OFF_SOURCE) === s.self.address) {
      s.counters.add('fromSelf');
    } else if (readAddress(bytes, OFF_DEST) !== s.self.address) {
      this.#relay.handle(path, bytes);
    } else if ((bytes[OFF_FLAGS]! & FLAG_FRAGMENTED) !== 0) {
      this.#assembled(s.reassembly.handleHead(s.now, path, bytes));
    } else {
      const packet = this.#rx.subarray(0, bytes.length);
      packet.set(bytes);
      this.#decode(path, packet);
    }
  }

  #assembled(result: Assembled | 'fragmentMalformed' | 'fragmentTooLong' | undefined): void {
    if (result === undefined) return;
    if (typeof result === 'string') this.state.counters.add(result);
    else this.#decode(result.path, result.packet);
  }

  /** One whole packet for us, still sealed, in a buffer of our own. */
  #decode(path: Path, packet: Uint8Array): void {
    const s = this.state;
    const suite = suiteOf(packet);
    const hops = packet[OFF_FLAGS]! & HOPS_MASK;
    if (suite === SUITE_TRUSTED_PATH && !isOfTrustedPath(path, packet)) {
      s.counters.add('trustedPathRefused');
      return;
    }
    if (suite > LAST_SUITE) {
      s.counters.add('badSuite');
      return;
    }
    if (suite === 0 && (packet[OFF_VERB]! & VERB_MASK) === VERB.HELLO) {
      this.#hello.handleClear(path, hops, packet);
      return;
    }
    const source = readAddress(packet, OFF_SOURCE);
    const peer = s.peer(source) ?? this.#whois.recallForOthers(source);
    if (peer === undefined) {
      s.counters.add('unknownPeer');
      this.#whois.defer({
        at: s.now,
        path,
        packet: packet.slice(),
        source,
        opened: false,
        packetId: 0n,
      });
      this.#whois.request(source, true);
      return;
    }
    this.#open(peer, path, packet, s.now);
  }

  #open(peer: Peer, path: Path, packet: Uint8Array, arrivedAt: number): void {
    const s = this.state;
    if (!this.#authenticates(peer, path, packet)) {
      s.counters.add('badMac');
      return;
    }
    const clear = this.#inflate(packet);
    if (clear === undefined) {
      s.counters.add('badLz4');
      return;
    }
    const id = packetId(packet);
    if (this.#dispatch(peer, path, clear, id) === 'defer') {
      this.#whois.defer({
        at: arrivedAt,
        path,
        packet: clear.slice(),
        source: peer.address,
        opened: true,
        packetId: id,
      });
    }
  }

  /** Packets of a trusted path carry no MAC: where they come from vouches for them. */
  #authenticates(peer: Peer, path: Path, packet: Uint8Array): boolean {
    if (suiteOf(packet) === SUITE_TRUSTED_PATH) return isOfTrustedPath(path, packet);
    return this.state.options.core.open(peer.key, packet);
  }

  /** Undoes the compression of the payload; undefined when it is not a valid block. */
  #inflate(packet: Uint8Array): Uint8Array | undefined {
    if ((packet[OFF_VERB]! & FLAG_COMPRESSED) === 0 || packet.length === PACKET_HEAD_LEN)
      return packet;
    const room = this.#inflated.subarray(PACKET_HEAD_LEN);
    const n = this.state.options.core.decompress(packet.subarray(PACKET_HEAD_LEN), room);
    if (n <= 0) return undefined;
    this.#inflated.set(packet.subarray(0, PACKET_HEAD_LEN));
    return this.#inflated.subarray(0, PACKET_HEAD_LEN + n);
  }

  #dispatch(peer: Peer, path: Path, packet: Uint8Array, id: bigint): 'defer' | 'done' {
    const verb = packet[OFF_VERB]! & VERB_MASK;
    const hops = packet[OFF_FLAGS]! & HOPS_MASK;
    this.state.received(peer, verb);
    if (verb === VERB.HELLO) {
      this.#hello.handleAuthenticated(peer, path, hops, packet);
      return 'done';
    }
    const payload = packet.subarray(PACKET_HEAD_LEN);
    const result = this.#verbs.handle({ peer, path, hops, verb, packetId: id, payload });
    if (result === 'defer') return 'defer';
    if (result !== 'ignored') this.#contact.received(peer, path, hops, verb, result === 'trusted');
    return 'done';
  }

  // ---- retries ----

  /** @returns whether the packet has to wait on. */
  #again(d: Deferred): boolean {
    const peer = this.state.peer(d.source);
    if (peer === undefined) {
      this.#whois.request(d.source, true);
      return true;
    }
    if (d.opened) return this.#dispatch(peer, d.path, d.packet, d.packetId) === 'defer';
    this.#open(peer, d.path, d.packet, d.at);
    return false;
  }

  #retryFor(peer: Peer): void {
    this.#send.retry(peer.address);
    this.#whois.retry((d) => this.#again(d), peer.address);
    this.state.upper?.identityLearned(this.state.at, peer);
  }

  #pathLearned(peer: Peer): void {
    if (this.state.topology.isUpstream(peer.address)) this.#send.retry();
    else this.#send.retry(peer.address);
    if (peer.lastStoredAt === Number.NEGATIVE_INFINITY) this.#keeper.storePeer(peer);
  }
}

/** Whether the id in the MAC's place is the one configured for the sender's network. */
function isOfTrustedPath(path: Path, packet: Uint8Array): boolean {
  return path.trustedPathId !== 0n && trustedPathIdOf(packet) === path.trustedPathId;
}

export { NEVER };
