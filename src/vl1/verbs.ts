/** Handlers of the verbs that are VL1's own [2 section 10]. All input is authenticated. */
import { Reader } from '../lib/reader.js';
import {
  PUSH_FORGET,
  parseIdentities,
  parseOkHello,
  parsePushDirectPaths,
  parseRendezvous,
  parseWhois,
} from '../wire/hello.js';
import { emitIdentity, IDENTITY_PUBLIC_LEN } from '../wire/identity.js';
import { ipScope, remoteAddress } from '../wire/inetaddress.js';
import {
  DEFAULT_PHYSICAL_MTU,
  ERROR_CODE,
  PACKET_HEAD_LEN,
  PROTOCOL_VERSION_MIN,
  VERB,
} from '../wire/packet.js';
import {
  ECHO_GATE_MS,
  PUSH_PER_SCOPE,
  PUSH_WINDOW_COUNT,
  PUSH_WINDOW_MS,
  WHOIS_GATE_MS,
} from './constants.js';
import type { Contact } from './contact.js';
import type { Peer } from './peer.js';
import type { Sender } from './sender.js';
import type { Disposition, Message, Vl1State } from './state.js';
import type { Whois } from './whois.js';

/** TTL of the datagram that opens our own NAT without reaching the peer [2 section 10.5]. */
const OPENER_TTL = 2;

export class VerbHandlers {
  readonly #s: Vl1State;
  readonly #send: Sender;
  readonly #contact: Contact;
  readonly #whois: Whois;
  identityLearned: (peer: Peer) => void = () => undefined;

  constructor(state: Vl1State, sender: Sender, contact: Contact, whois: Whois) {
    this.#s = state;
    this.#send = sender;
    this.#contact = contact;
    this.#whois = whois;
  }

  /** Whether `handle` takes this verb; everything else is the upper layer's, or behaves as NOP. */
  handle(m: Message): Disposition {
    switch (m.verb) {
      case VERB.WHOIS:
        return this.#whoisRequest(m);
      case VERB.RENDEZVOUS:
        return this.#rendezvous(m);
      case VERB.ECHO:
        return this.#echo(m);
      case VERB.PUSH_DIRECT_PATHS:
        return this.#pushDirectPaths(m);
      case VERB.OK:
        return this.#ok(m);
      case VERB.ERROR:
        return this.#error(m);
      case VERB.ACK:
      case VERB.QOS_MEASUREMENT:
      case VERB.PATH_NEGOTIATION_REQUEST:
        // Bonding verbs of a peer that bonds; we do not [2 section 18].
        this.#s.counters.add('bondingIgnored');
        return 'ignored';
      case VERB.FRAME:
      case VERB.EXT_FRAME:
      case VERB.MULTICAST_LIKE:
      case VERB.NETWORK_CREDENTIALS:
      case VERB.NETWORK_CONFIG_REQUEST:
      case VERB.NETWORK_CONFIG:
      case VERB.MULTICAST_GATHER:
      case VERB.MULTICAST_FRAME:
        return this.#s.upper?.handleMessage(this.#s.at, m) ?? 'done';
      default:
        return 'done';
    }
  }

  #malformed(): Disposition {
    this.#s.counters.add('malformed');
    return 'ignored';
  }

  #whoisRequest(m: Message): Disposition {
    const now = this.#s.now;
    if (!this.#s.topology.amUpstream) {
      if (now - m.peer.lastWhoisAt < WHOIS_GATE_MS) {
        this.#s.counters.add('whoisGated');
        return 'ignored';
      }
      m.peer.lastWhoisAt = now;
    }
    const w = this.#send.begin(m.peer.address, VERB.OK);
    w.u8(VERB.WHOIS).u64(m.packetId);
    const empty = w.pos;
    for (const address of parseWhois(m.payload)) {
      // One datagram: what does not fit has to be asked for again [2 section 4.1].
      if (w.pos + IDENTITY_PUBLIC_LEN > DEFAULT_PHYSICAL_MTU) break;
      const id = address === this.#s.self.address ? this.#s.self : this.#s.peer(address)?.identity;
      if (id !== undefined) w.pos += emitIdentity({ ...id, privateKey: undefined }, w.bytes, w.pos);
    }
    if (w.pos > empty) this.#send.direct(m.peer, m.path);
    for (const address of parseWhois(m.payload).slice(0, 8)) {
      if (address !== this.#s.self.address && this.#s.peer(address) === undefined)
        this.#whois.request(address, true);
    }
    return 'done';
  }

  #rendezvous(m: Message): Disposition {
    if (!this.#s.topology.isUpstream(m.peer.address)) {
      this.#s.counters.add('notUpstream');
      return 'done';
    }
    const r = parseRendezvous(m.payload);
    if (r === undefined) return this.#malformed();
    const peer = this.#s.peer(r.peer);
    if (peer === undefined || !this.#s.isPathAllowed(r.peer, r.endpoint)) return 'done';
    const to = remoteAddress(r.endpoint);
    const opener = this.#s.arena.alloc(4);
    this.#s.options.entropy.fill(opener);
    // An address of the other family can not be reached from the socket the message came on.
    const socket = m.path.remote.family === to.family ? m.path.socket : undefined;
    for (const s of this.#s.sockets) {
      const isMeant = socket === undefined ? s.family === to.family : s.id === socket;
      if (isMeant) this.#send.raw(s.id, to, opener, to.family === 4 ? OPENER_TTL : undefined);
    }
    this.#contact.contact(peer, to, socket, false);
    return 'done';
  }

  #echo(m: Message): Disposition {
    if (this.#s.now - m.path.lastEchoAt < ECHO_GATE_MS) {
      this.#s.counters.add('echoGated');
      return 'ignored';
    }
    m.path.lastEchoAt = this.#s.now;
    const w = this.#send.begin(m.peer.address, VERB.OK);
    w.u8(VERB.ECHO)
      .u64(m.packetId)
      .put(m.payload.subarray(0, DEFAULT_PHYSICAL_MTU - PACKET_HEAD_LEN - 9));
    this.#send.direct(m.peer, m.path);
    return 'done';
  }

  #pushDirectPaths(m: Message): Disposition {
    const now = this.#s.now;
    const peer = m.peer;
    peer.pushCount = now - peer.pushReceivedAt <= PUSH_WINDOW_MS ? peer.pushCount + 1 : 0;
    peer.pushReceivedAt = now;
    if (peer.pushCount >= PUSH_WINDOW_COUNT) {
      this.#s.counters.add('pushGated');
      return 'done';
    }
    const paths = parsePushDirectPaths(m.payload);
    if (paths === undefined) return this.#malformed();
    const perScope = new Map<number, number>();
    for (const p of paths) {
      if ((p.flags & PUSH_FORGET) !== 0 || !this.#s.isPathAllowed(peer.address, p.endpoint))
        continue;
      const to = remoteAddress(p.endpoint);
      if (peer.slots.some((s) => s.path.remote.key === to.key && s.path.isAlive(now))) continue;
      const kind = ipScope(to.ip) * 16 + to.family;
      const n = perScope.get(kind) ?? 0;
      if (n >= PUSH_PER_SCOPE) continue;
      perScope.set(kind, n + 1);
      this.#contact.contact(peer, to, undefined, false);
    }
    return 'done';
  }

  #ok(m: Message): Disposition {
    const r = new Reader(m.payload);
    const inReVerb = r.u8();
    const inRe = r.u64();
    if (r.failed) return this.#malformed();
    if (!this.#s.expected.has(this.#s.now, inRe, m.peer.address, inReVerb)) {
      this.#s.counters.add('okUnexpected');
      return 'ignored';
    }
    switch (inReVerb) {
      case VERB.HELLO:
        return this.#okHello(m, r.rest());
      case VERB.WHOIS:
        return this.#okWhois(m, r.rest());
      case VERB.ECHO:
        // Ours are empty; with a body it is about a pushed configuration [2 section 10.3].
        if (r.rest().length === 0) return 'done';
        return this.#s.upper?.handleMessage(this.#s.at, m) ?? 'done';
      case VERB.NETWORK_CONFIG_REQUEST:
      case VERB.MULTICAST_GATHER:
      case VERB.MULTICAST_FRAME:
        return this.#s.upper?.handleMessage(this.#s.at, m) ?? 'done';
      default:
        return 'done';
    }
  }

  #okHello(m: Message, body: Uint8Array): Disposition {
    const ok = parseOkHello(body);
    if (ok === undefined) return this.#malformed();
    if (ok.version.protocol < PROTOCOL_VERSION_MIN) return 'ignored';
    const topology = this.#s.topology;
    if (topology.isUpstream(m.peer.address) || topology.isSeed(m.peer.address)) {
      for (const world of ok.worlds) {
        if (topology.offer(world)) this.#s.out.storeWorld(world);
      }
    }
    if (m.hops === 0) {
      m.path.measured(this.#s.at.wall - Number(ok.timestamp));
      if (ok.surface.family !== 0) this.#contact.reportSurface(m.peer.address, m.path, ok.surface);
    }
    const v = ok.version;
    m.peer.setVersion(v.protocol, v.major, v.minor, v.revision);
    m.peer.unansweredContacts = 0;
    return 'done';
  }

  #okWhois(m: Message, body: Uint8Array): Disposition {
    if (!this.#s.topology.isUpstream(m.peer.address)) {
      this.#s.counters.add('notUpstream');
      return 'done';
    }
    for (const id of parseIdentities(body)) {
      const known = this.#s.peer(id.address) !== undefined;
      const peer = this.#s.addPeer(id);
      if (peer === undefined) continue;
      this.#whois.learned(peer.address);
      if (!known) this.identityLearned(peer);
    }
    return 'done';
  }

  #error(m: Message): Disposition {
    const r = new Reader(m.payload);
    const inReVerb = r.u8();
    r.skip(8);
    const code = r.u8();
    if (r.failed) return this.#malformed();
    this.#s.traffic.rxErrors[code]!++;
    m.peer.errorsIn++;
    if (inReVerb === VERB.HELLO && code === ERROR_CODE.IDENTITY_COLLISION) {
      if (this.#s.topology.isUpstream(m.peer.address)) {
        this.#s.counters.add('identityCollisionReported');
        this.#s.out.identityCollision();
      }
      return 'done';
    }
    return this.#s.upper?.handleMessage(this.#s.at, m) ?? 'done';
  }
}
