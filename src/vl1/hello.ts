/**
 * HELLO as a receiver: identity checks, OK(HELLO) [2 section 10.1].
 *
 * A stranger's identity costs a key agreement here and a memory-hard hash in a worker. Both are
 * bounded: per source prefix, per second and by the number of checks that wait. Unlike the
 * reference, whose gate drops the second newcomer of a /24 for 2 s (and so delays it by 5 s), a
 * small number per prefix is let through [2 section 16.2, ADVICE].
 */
import type { PeerKey } from '../crypto/api.js';
import { Writer } from '../lib/writer.js';
import { readAddress } from '../wire/address.js';
import { type Hello, parseHello, parseHelloTail, writeOkHello } from '../wire/hello.js';
import {
  emitIdentity,
  equalIdentities,
  IDENTITY_PUBLIC_LEN,
  type Identity,
} from '../wire/identity.js';
import { prefixHash, remoteAddress } from '../wire/inetaddress.js';
import {
  DEFAULT_PHYSICAL_MTU,
  ERROR_CODE,
  PACKET_HEAD_LEN,
  PROTOCOL_VERSION_MIN,
  packetId,
  SOFTWARE_VERSION,
  VERB,
} from '../wire/packet.js';
import { emitWorld, MAX_WORLD_LEN, type World } from '../wire/world.js';
import { IDENTITY_GATE_MS, MAX_HELLO_COPIES, STRANGERS_PER_SEC } from './constants.js';
import type { Contact } from './contact.js';
import type { Path } from './path.js';
import { Peer } from './peer.js';
import type { Sender } from './sender.js';
import type { Vl1State } from './state.js';
import { Validations } from './validations.js';
import type { Whois } from './whois.js';

/** Ours: strangers let through per /24 or /48 in IDENTITY_GATE_MS. */
const STRANGERS_PER_PREFIX = 32;
const PREFIX_SLOTS = 16_384;
const NO_WORLDS = new Uint8Array(0);

export class HelloReceiver {
  readonly #s: Vl1State;
  readonly #send: Sender;
  readonly #contact: Contact;
  readonly #whois: Whois;
  /** Made at the first stranger: most leaves never meet one. */
  #prefixes: { readonly since: Float64Array; readonly count: Uint8Array } | undefined;
  #secondStart = Number.NEGATIVE_INFINITY;
  #inSecond = 0;
  readonly #validations: Validations;
  /** Called when a peer was added, after it was answered. */
  peerAdded: (peer: Peer) => void = () => undefined;

  constructor(state: Vl1State, sender: Sender, contact: Contact, whois: Whois) {
    this.#s = state;
    this.#validations = new Validations(state.options.validationsAtOnce);
    this.#send = sender;
    this.#contact = contact;
    this.#whois = whois;
  }

  /** May another identity be looked at for this source? Uses the gate up. */
  #gate(path: Path): boolean {
    const now = this.#s.now;
    if (now - this.#secondStart >= 1_000) {
      this.#secondStart = now;
      this.#inSecond = 0;
    }
    this.#prefixes ??= {
      since: new Float64Array(PREFIX_SLOTS).fill(Number.NEGATIVE_INFINITY),
      count: new Uint8Array(PREFIX_SLOTS),
    };
    const { since, count } = this.#prefixes;
    const slot = prefixHash(path.remote.ip);
    if (now - since[slot]! >= IDENTITY_GATE_MS) {
      since[slot] = now;
      count[slot] = 0;
    }
    if (this.#inSecond >= STRANGERS_PER_SEC || count[slot]! >= STRANGERS_PER_PREFIX) {
      this.#s.counters.add('helloGated');
      return false;
    }
    this.#inSecond++;
    count[slot]!++;
    return true;
  }

  /** A HELLO in clear, not yet authenticated. `packet` is ours to change and may be kept by a copy. */
  handleClear(path: Path, hops: number, packet: Uint8Array): void {
    const hello = this.#parse(packet);
    if (hello === undefined) return;
    const peer = this.#known(hello, path);
    if (peer === undefined) {
      this.#stranger(path, hops, packet, hello);
    } else if (!equalIdentities(peer.identity, hello.identity)) {
      this.#collision(path, packet, hello);
    } else if (this.#s.options.core.open(peer.key, packet)) {
      this.#accept(peer, path, hops, packet, hello);
    } else this.#s.counters.add('badMac');
  }

  /** The peer of that address: in memory, or from an earlier run, whose check is not repeated. */
  #known(hello: Hello, path: Path): Peer | undefined {
    const { address } = hello.identity;
    const peer = this.#s.peer(address);
    if (peer !== undefined || !this.#whois.isCached(address) || !this.#gate(path)) return peer;
    return this.#whois.recall(address);
  }

  /** A HELLO that came encrypted from a known peer; the identity was proved by the key. */
  handleAuthenticated(peer: Peer, path: Path, hops: number, packet: Uint8Array): void {
    const hello = this.#parse(packet);
    if (hello !== undefined) this.#accept(peer, path, hops, packet, hello);
  }

  #parse(packet: Uint8Array): Hello | undefined {
    const hello = parseHello(packet.subarray(PACKET_HEAD_LEN));
    if (hello === undefined) this.#s.counters.add('helloMalformed');
    else if (hello.version.protocol < PROTOCOL_VERSION_MIN)
      this.#s.counters.add('helloOldProtocol');
    else if (hello.identity.address !== readAddress(packet, 13))
      this.#s.counters.add('helloBadAddress');
    else return hello;
    return undefined;
  }

  #stranger(path: Path, hops: number, packet: Uint8Array, hello: Hello): void {
    const waiting = this.#validations.find(hello.identity);
    if (waiting === undefined && !this.#gate(path)) return;
    if (waiting !== undefined && waiting.arrivals.length >= MAX_HELLO_COPIES) {
      this.#s.counters.add('helloCopies');
      return;
    }
    const key = waiting?.key ?? this.#agree(hello.identity);
    if (key === undefined) return;
    if (!this.#s.options.core.open(key, packet)) {
      this.#s.counters.add('badMac');
      return;
    }
    const arrival = { path, hops, packet: packet.slice() };
    if (waiting !== undefined) {
      waiting.arrivals.push(arrival);
      return;
    }
    const result = this.#validations.add(prefixHash(path.remote.ip), hello, key, arrival);
    if (result !== 'added') this.#s.counters.add('helloChecksFull');
    this.#startValidation();
  }

  /** The key with somebody who is no peer; undefined for keys of low order. */
  #agree(identity: Identity): PeerKey | undefined {
    const { primitives, core } = this.#s.options;
    const agreed = primitives.agree(this.#s.self.privateKey!, identity.publicKey);
    if (agreed !== undefined) return core.makeKey(agreed);
    this.#s.counters.add('lowOrderKey');
    return undefined;
  }

  #startValidation(): void {
    const v = this.#validations.start();
    if (v === undefined) return;
    const binary = new Uint8Array(IDENTITY_PUBLIC_LEN);
    emitIdentity(v.hello.identity, binary, 0);
    this.#s.out.validate(v.id, binary);
  }

  /** The worker's verdict on an identity. */
  validated(id: number, ok: boolean): void {
    const v = this.#validations.finish(id);
    if (v === undefined) return;
    this.#startValidation();
    if (!ok) {
      this.#s.counters.add('helloBadIdentity');
      return;
    }
    const peer = this.#s.addPeer(v.hello.identity);
    // Somebody else may have taken the address while the check ran: first come stays.
    if (peer === undefined || !equalIdentities(peer.identity, v.hello.identity)) return;
    for (const a of v.arrivals) {
      const hello = this.#parse(a.packet);
      if (hello !== undefined) this.#accept(peer, a.path, a.hops, a.packet, hello);
    }
    this.#whois.learned(peer.address);
    this.peerAdded(peer);
  }

  /** Another identity claims the address of a known peer: tell it so, with its own key. */
  #collision(path: Path, packet: Uint8Array, hello: Hello): void {
    if (!this.#gate(path)) return;
    const key = this.#agree(hello.identity);
    if (key === undefined) return;
    if (!this.#s.options.core.open(key, packet)) {
      this.#s.counters.add('badMac');
      return;
    }
    this.#s.counters.add('helloCollision');
    const w = this.#send.begin(hello.identity.address, VERB.ERROR);
    w.u8(VERB.HELLO).u64(packetId(packet)).u8(ERROR_CODE.IDENTITY_COLLISION);
    this.#send.direct(new Peer(hello.identity, key, this.#s.now, false), path, 1);
  }

  #accept(peer: Peer, path: Path, hops: number, packet: Uint8Array, hello: Hello): void {
    if (hops === 0 && hello.sentTo.family !== 0)
      this.#contact.reportSurface(peer.address, path, hello.sentTo);
    const payload = packet.subarray(PACKET_HEAD_LEN);
    if (hello.maskedFrom < payload.length) {
      this.#s.options.core.maskHello(peer.key, packet, PACKET_HEAD_LEN + hello.maskedFrom);
    }
    const moons = parseHelloTail(payload, hello.maskedFrom);
    if (moons === undefined) {
      this.#s.counters.add('helloMalformed');
      return;
    }
    const stamps = new Map(moons.map((m) => [m.id, m.timestamp]));
    this.#answer(peer, path, packet, hello, stamps);
    const v = hello.version;
    peer.setVersion(v.protocol, v.major, v.minor, v.revision);
    this.#contact.received(peer, path, hops, VERB.HELLO, false);
  }

  #answer(
    peer: Peer,
    path: Path,
    packet: Uint8Array,
    hello: Hello,
    moons: ReadonlyMap<bigint, bigint>,
  ): void {
    const surface =
      hello.version.protocol < 5 ? remoteAddress({ ...path.remote, port: 0 }) : path.remote;
    const w = this.#send.begin(peer.address, VERB.OK);
    w.u8(VERB.HELLO).u64(packetId(packet));
    writeOkHello(
      w,
      {
        timestamp: hello.timestamp,
        version: { protocol: this.#s.options.protocol, ...SOFTWARE_VERSION },
        surface,
      },
      this.#worldsFor(hello, moons),
    );
    this.#send.direct(peer, path);
  }

  /**
   * The newer worlds that the sender asked about, as many as keep the answer in one datagram; the
   * rest follows with its next HELLO [2 section 25].
   */
  #worldsFor(hello: Hello, moons: ReadonlyMap<bigint, bigint>): Uint8Array {
    const topology = this.#s.topology;
    const newer: World[] = topology.moons.filter((m) => {
      const theirs = moons.get(m.id);
      return theirs !== undefined && theirs < m.timestamp;
    });
    const planet = topology.planet;
    if (
      hello.planetId !== 0n &&
      hello.planetId === planet.id &&
      hello.planetTimestamp < planet.timestamp
    ) {
      newer.unshift(planet);
    }
    if (newer.length === 0) return NO_WORLDS;
    const out = Writer.of(MAX_WORLD_LEN * 2);
    const room = DEFAULT_PHYSICAL_MTU - PACKET_HEAD_LEN - 64;
    for (const world of newer) {
      const bytes = emitWorld(world);
      if (out.pos > 0 && out.pos + bytes.length > room) continue;
      out.put(bytes);
    }
    return out.done();
  }
}
