/**
 * Building, sealing, fragmenting and sending packets [2 sections 4.1, 8].
 *
 * Two ways out: `direct` puts one packet on a given path as one datagram; `general` chooses the
 * path to a destination (direct, else relayed by an upstream), fragments, and queues the packet
 * while the destination's identity or a path is missing. Usage: `begin`, write the payload with
 * the returned writer, then one of the two. The buffer belongs to this object: one packet at a time.
 */
import type { PeerKey, Suite } from '../crypto/api.js';
import { Writer } from '../lib/writer.js';
import { type NodeAddress, writeAddress } from '../wire/address.js';
import type { RemoteAddress } from '../wire/inetaddress.js';
import {
  FLAG_COMPRESSED,
  FLAG_FRAGMENTED,
  FRAGMENT_HEAD_LEN,
  fragmentPlan,
  MAX_FRAGMENTS,
  MAX_PACKET_LEN,
  OFF_DEST,
  OFF_FLAGS,
  OFF_SOURCE,
  OFF_VERB,
  PACKET_HEAD_LEN,
  packetId,
  VERB,
  VERB_MASK,
  writeFragmentHead,
  writeTrustedPathId,
} from '../wire/packet.js';
import { MAX_TX_QUEUE, QUEUE_LIFE_MS } from './constants.js';
import type { Path } from './path.js';
import type { Peer } from './peer.js';
import type { Vl1State } from './state.js';

/** Where an ERROR has its code: after the verb and packet id it is about [2 section 10.3]. */
const OFF_ERROR_CODE = PACKET_HEAD_LEN + 9;
/** Payloads up to this length are never compressed [1 section 6]. */
const COMPRESS_MIN_LEN = 65;
/** Verbs whose OK is awaited when they take the general path. */
const AWAITS_REPLY: ReadonlySet<number> = new Set([
  VERB.WHOIS,
  VERB.NETWORK_CONFIG_REQUEST,
  VERB.NETWORK_CONFIG,
  VERB.MULTICAST_GATHER,
  VERB.MULTICAST_FRAME,
]);

interface Queued {
  readonly dest: NodeAddress;
  readonly at: number;
  readonly packet: Uint8Array;
}

export class Sender {
  readonly #s: Vl1State;
  readonly #buffer = new Uint8Array(MAX_PACKET_LEN);
  readonly #writer = new Writer(this.#buffer);
  readonly #scratch = new Uint8Array(MAX_PACKET_LEN);
  readonly #packed = new Uint8Array(MAX_PACKET_LEN);
  #queue: Queued[] = [];
  /** Called when a packet waits for an unknown identity. */
  whois: (address: NodeAddress) => void = () => undefined;
  /** Called when a packet went to a known peer by other means than a path of its own, or waits. */
  noDirectPath: (peer: Peer) => void = () => undefined;

  constructor(state: Vl1State) {
    this.#s = state;
  }

  /** Starts a packet; the payload is written with the returned writer, which stands at 28. */
  begin(dest: NodeAddress, verb: number): Writer {
    const b = this.#buffer;
    this.#s.options.entropy.fill(b.subarray(0, 8));
    writeAddress(b, OFF_DEST, dest);
    writeAddress(b, OFF_SOURCE, this.#s.self.address);
    b.fill(0, OFF_FLAGS, OFF_VERB);
    b[OFF_VERB] = verb;
    this.#writer.pos = PACKET_HEAD_LEN;
    return this.#writer;
  }

  /** Tries to shrink the payload of the packet being built. */
  compress(): void {
    const len = this.#writer.pos - PACKET_HEAD_LEN;
    if (len < COMPRESS_MIN_LEN) return;
    const n = this.#s.options.core.compress(
      this.#buffer.subarray(PACKET_HEAD_LEN, this.#writer.pos),
      this.#packed,
    );
    if (n <= 0 || n >= len) return;
    this.#buffer.set(this.#packed.subarray(0, n), PACKET_HEAD_LEN);
    this.#buffer[OFF_VERB] = this.#buffer[OFF_VERB]! | FLAG_COMPRESSED;
    this.#writer.pos = PACKET_HEAD_LEN + n;
  }

  /**
   * Seals the packet being built and sends it as one datagram on `path`.
   * @returns the packet id on the wire.
   */
  direct(peer: Peer, path: Path, suite: Suite = peer.suite): bigint {
    const packet = this.#buffer.subarray(0, this.#writer.pos);
    this.#count(peer, packet);
    this.#s.options.core.seal(peer.key, packet, suite);
    path.sent(this.#s.now);
    this.#transmit(path.socket, path.remote, packet);
    return packetId(packet);
  }

  /** Like `direct`, to an endpoint through every socket of its family, or one given socket. */
  toEndpoint(
    key: PeerKey,
    suite: Suite,
    socket: number | undefined,
    to: RemoteAddress,
    maskFrom?: number,
  ): bigint {
    const packet = this.#buffer.subarray(0, this.#writer.pos);
    this.#count(undefined, packet);
    if (maskFrom !== undefined) this.#s.options.core.maskHello(key, packet, maskFrom);
    this.#s.options.core.seal(key, packet, suite);
    for (const s of this.#s.sockets) {
      if (socket === undefined ? s.family === to.family : s.id === socket)
        this.#transmit(s.id, to, packet);
    }
    return packetId(packet);
  }

  /** Sends the packet being built to its destination by the best way there is, or queues it. */
  general(dest: NodeAddress): void {
    const packet = this.#buffer.subarray(0, this.#writer.pos);
    if (dest === this.#s.self.address) return;
    if (this.#trySend(dest, packet)) {
      this.#hint(dest);
      return;
    }
    if (this.#queue.length >= MAX_TX_QUEUE) {
      this.#queue.shift();
      this.#s.counters.add('txQueueFull');
    }
    this.#queue.push({ dest, at: this.#s.now, packet: packet.slice() });
    if (this.#s.peer(dest) === undefined) this.whois(dest);
    else this.#hint(dest);
  }

  /** A packet of ours, still in clear, is about to leave. */
  #count(peer: Peer | undefined, packet: Uint8Array): void {
    this.#s.sent(peer, packet[OFF_VERB]! & VERB_MASK, packet[OFF_ERROR_CODE] ?? 0);
  }

  #hint(dest: NodeAddress): void {
    const peer = this.#s.peer(dest);
    if (peer !== undefined && peer.directPath(this.#s.now) === undefined) this.noDirectPath(peer);
  }

  /** The path for a peer's traffic: its own, else an upstream's, else whatever is left. */
  route(peer: Peer): Path | undefined {
    const now = this.#s.now;
    const direct = peer.directPath(now);
    if (direct !== undefined) return direct;
    const up = this.#s.bestUpstream(peer.address);
    return up?.unexpiredPath(now) ?? peer.anyPath(now);
  }

  #trySend(dest: NodeAddress, plain: Uint8Array): boolean {
    const peer = this.#s.peer(dest);
    if (peer === undefined) return false;
    const path = this.route(peer);
    if (path === undefined) return false;
    const packet = this.#scratch.subarray(0, plain.length);
    packet.set(plain);
    const plan = fragmentPlan(packet.length, path.mtu);
    if (plan.pieces >= MAX_FRAGMENTS) {
      // No receiver takes it [2 section 4.1]; it will not get better by waiting.
      this.#s.counters.add('txTooManyPieces');
      return true;
    }
    if (plan.pieces > 0) packet[OFF_FLAGS] = packet[OFF_FLAGS]! | FLAG_FRAGMENTED;
    const verb = packet[OFF_VERB]! & VERB_MASK;
    this.#count(peer, packet);
    if (path.trustedPathId !== 0n) writeTrustedPathId(packet, path.trustedPathId);
    else this.#s.options.core.seal(peer.key, packet, peer.suite);
    if (AWAITS_REPLY.has(verb)) this.#s.expected.add(this.#s.now, packetId(packet), dest, verb);
    path.used(this.#s.now);
    this.#transmit(path.socket, path.remote, packet.subarray(0, plan.first));
    if (plan.pieces > 0) this.#transmitPieces(path, packet, plan.first, plan.pieces);
    return true;
  }

  #transmitPieces(path: Path, packet: Uint8Array, first: number, pieces: number): void {
    const room = path.mtu - FRAGMENT_HEAD_LEN;
    for (let i = 1, at = first; i <= pieces; i++, at += room) {
      const body = packet.subarray(at, Math.min(packet.length, at + room));
      const datagram = this.#s.arena.alloc(FRAGMENT_HEAD_LEN + body.length);
      writeFragmentHead(datagram, packet, i, pieces + 1);
      datagram.set(body, FRAGMENT_HEAD_LEN);
      this.raw(path.socket, path.remote, datagram);
    }
  }

  #transmit(socket: number, to: RemoteAddress, packet: Uint8Array): void {
    this.raw(socket, to, this.#s.arena.copy(packet));
  }

  /** Sends bytes as they are; they must live until the next input. */
  raw(socket: number, to: RemoteAddress, bytes: Uint8Array, ttl?: number): void {
    // Worlds and records of peers may list it; systems refuse to send there.
    if (to.port === 0) {
      this.#s.counters.add('portZero');
      return;
    }
    this.#s.counters.add('txDatagrams');
    this.#s.out.transmit(socket, to, bytes, ttl);
  }

  /** Retries queued packets, all or those to one destination. */
  retry(dest?: NodeAddress): void {
    if (this.#queue.length === 0) return;
    const waiting = this.#queue;
    this.#queue = [];
    for (const q of waiting) {
      if (dest !== undefined && q.dest !== dest) this.#queue.push(q);
      else if (this.#trySend(q.dest, q.packet)) continue;
      else if (this.#s.now - q.at >= QUEUE_LIFE_MS) this.#s.counters.add('txQueueExpired');
      else {
        this.#queue.push(q);
        if (this.#s.peer(q.dest) === undefined) this.whois(q.dest);
      }
    }
  }

  get queued(): number {
    return this.#queue.length;
  }
}
