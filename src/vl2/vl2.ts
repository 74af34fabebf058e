/**
 * Virtual networks of one node: joining, configurations, credentials, and the dispatch of their
 * verbs [3]. Sans-IO. Worst case of an input: one packet of credentials, each with a signature
 * check, gated to one packet per peer and second.
 */

import { equalBytes } from '../lib/bytes.js';
import { Reader } from '../lib/reader.js';
import { Recent } from '../lib/recent.js';
import type { Moment } from '../lib/time.js';
import { controllerOf, type NetworkId, type NodeAddress } from '../wire/address.js';
import { type Com, comIssuedTo, comNetwork } from '../wire/com.js';
import {
  capabilityIssuedTo,
  REVOCATION_FAST_PROPAGATE,
  type Revocation,
} from '../wire/credentials.js';
import { Dictionary } from '../wire/dictionary.js';
import { ipInPrefix } from '../wire/inetaddress.js';
import type { MulticastGroup } from '../wire/multicast-group.js';
import {
  type ConfigChunk,
  emitMetadata,
  emitNetworkConfig,
  type NetworkConfig,
  parseConfigChunk,
  parseNetworkConfig,
} from '../wire/netconf.js';
import { ERROR_CODE, VERB } from '../wire/packet.js';
import { type ConfigSso, NO_SSO, readSsoRequired } from '../wire/sso.js';
import {
  parseConfigRequest,
  parseCredentials,
  parseLikes,
  parseOkHead,
  writeConfigRequest,
} from '../wire/vl2-messages.js';
import { adhocConfig, adhocForm, isAdhoc } from './adhoc.js';
import { Announcer } from './announcer.js';
import { ConfigAssembly } from './config-assembly.js';
import { type ControllerPort, Vl2Context, type Vl2Out } from './context.js';
import { CredentialOutbox } from './credential-outbox.js';
import { Frames } from './frames.js';
import type { Stored } from './membership.js';
import { Network } from './network.js';
import type { Vl1Port, Vl2Disposition, Vl2Message, Vl2Peer } from './port.js';

// [3 section 13]
const BACKGROUND_MS = 5_000;
const REFRESH_MS = 60_000;
const CREDENTIALS_GATE_MS = 1_000;
const SWEEP_MS = 30_000;
/** [3 section 2.6] flag of a chunk. */
const CHUNK_FAST_PROPAGATE = 0x01;
/** Ours: peers whose last credentials packet is remembered. */
const MAX_GATED_PEERS = 65_536;
/** Ours: how soon an unanswered request of a network without configuration is repeated. */
const REQUEST_RETRY_MS = 2_000;

/** A peer's last packet of credentials. */
interface Gate {
  readonly at: number;
  /** Set while that packet waits for the identity of a signer. */
  waiting: bigint | undefined;
}

export class Vl2 {
  readonly context: Vl2Context;
  readonly #outbox: CredentialOutbox;
  readonly #announcer: Announcer;
  readonly #frames: Frames;
  readonly #credentialsAt = new Recent<NodeAddress, Gate>(MAX_GATED_PEERS);
  /** When a peer's inline certificate last cost a signature check. */
  readonly #inlineComAt = new Recent<NodeAddress, number>(MAX_GATED_PEERS);
  #backgroundAt = Number.NEGATIVE_INFINITY;
  #sweptAt = Number.NEGATIVE_INFINITY;

  constructor(port: Vl1Port, out: Vl2Out, platform: string) {
    this.context = new Vl2Context(port, out, platform);
    this.#outbox = new CredentialOutbox(this.context);
    this.#announcer = new Announcer(this.context, this.#outbox);
    this.#frames = new Frames(this.context, this.#announcer);
    this.#frames.offerCom = (com, from) => this.#offerCom(com, from);
  }

  setController(controller: ControllerPort): void {
    this.context.controller = controller;
  }

  network(nwid: NetworkId): Network | undefined {
    return this.context.networks.get(nwid);
  }

  networks(): Network[] {
    return [...this.context.networks.values()].sort((a, b) => (a.nwid < b.nwid ? -1 : 1));
  }

  // ---- commands ----

  /** Joins; `stored` is the text of an earlier configuration, believed until the controller speaks. */
  join(at: Moment, nwid: NetworkId, stored: Uint8Array | undefined): Network {
    this.context.at = at;
    const known = this.context.networks.get(nwid);
    if (known !== undefined) return known;
    const net = new Network(this.context.port, nwid, (name) => this.context.counters.add(name));
    this.context.networks.set(nwid, net);
    const config = stored === undefined || isAdhoc(nwid) ? undefined : parseNetworkConfig(stored);
    if (
      config !== undefined &&
      config.nwid === nwid &&
      config.issuedTo === this.context.port.self.address
    ) {
      net.setConfig(at, config, false);
    } else if (!isAdhoc(nwid)) this.context.out.storeConfig(nwid, new Uint8Array(0));
    this.#request(net);
    this.context.out.networkChanged(nwid);
    return net;
  }

  /** @returns whether the network was joined. */
  leave(nwid: NetworkId): boolean {
    this.#outbox.forget(nwid);
    return this.context.networks.delete(nwid);
  }

  /** The stack's multicast groups; new ones are announced at once. */
  setSubscriptions(at: Moment, nwid: NetworkId, groups: readonly MulticastGroup[]): void {
    this.context.at = at;
    const net = this.context.networks.get(nwid);
    if (net !== undefined) this.#announcer.announceNew(net, net.setSubscriptions(groups));
  }

  /** One frame from the stack; bytes are borrowed. */
  handleFrame(
    at: Moment,
    nwid: NetworkId,
    src: Uint8Array,
    dst: Uint8Array,
    etherType: number,
    payload: Uint8Array,
  ): void {
    this.context.at = at;
    const net = this.context.networks.get(nwid);
    if (net !== undefined) this.#frames.fromStack(net, src, dst, etherType, payload);
  }

  // ---- time ----

  handleTimeout(at: Moment): void {
    const c = this.context;
    c.at = at;
    for (const net of c.networks.values()) {
      const isWaiting = net.config === undefined || net.isDoubtful;
      if (isWaiting && at.mono - net.requestedAt >= REQUEST_RETRY_MS) this.#request(net);
    }
    this.#outbox.tick();
    if (at.mono - this.#backgroundAt >= BACKGROUND_MS) {
      this.#backgroundAt = at.mono;
      for (const net of c.networks.values()) {
        if (at.mono - net.updatedAt >= REFRESH_MS && at.mono - net.requestedAt >= BACKGROUND_MS - 1)
          this.#request(net);
        this.#announcer.background(net);
      }
    }
    if (at.mono - this.#sweptAt >= SWEEP_MS) {
      this.#sweptAt = at.mono;
      c.multicast.sweep(at.mono);
      this.#credentialsAt.sweep((gate) => at.mono - gate.at >= CREDENTIALS_GATE_MS);
      this.#inlineComAt.sweep((when) => at.mono - when >= CREDENTIALS_GATE_MS);
    }
  }

  /** An upstream became reachable, or the controller known: ask again without waiting. */
  requestMissing(at: Moment): void {
    this.context.at = at;
    for (const net of this.context.networks.values())
      if (net.config === undefined) this.#request(net);
  }

  #request(net: Network): void {
    const c = this.context;
    net.requestedAt = c.now;
    if (isAdhoc(net.nwid)) {
      // An id of no known form is waited for in vain [1 section 9].
      if (adhocForm(net.nwid) === undefined) return;
      const config = adhocConfig(net.nwid, c.port.self.address, c.at.wall);
      if (config === undefined) net.fail('NOT_FOUND');
      else if (net.config === undefined) net.setConfig(c.at, config, true);
      c.out.networkChanged(net.nwid);
      return;
    }
    if (net.controller === c.port.self.address) {
      c.controller?.requestLocal(c.at, net.nwid);
      return;
    }
    const metadata = emitMetadata(c.port.protocol, c.platform);
    writeConfigRequest(c.port.begin(net.controller, VERB.NETWORK_CONFIG_REQUEST), {
      nwid: net.nwid,
      metadata,
      revision: net.config?.revision ?? 0n,
      timestamp: net.config?.timestamp ?? 0n,
    });
    c.port.send(net.controller, true);
  }

  /** Nodes that networks want to be kept in touch with. */
  *alwaysContact(): Iterable<NodeAddress> {
    for (const net of this.context.networks.values()) {
      for (const a of [...net.anchors, ...net.replicators])
        if (a !== this.context.port.self.address) yield a;
    }
  }

  /** Whether an IP lies inside a subnet that a network assigns to us [2 section 12.2]. */
  isVirtualIp(ip: Uint8Array): boolean {
    for (const net of this.context.networks.values()) {
      for (const a of net.config?.addresses ?? [])
        if (a.port > 0 && ipInPrefix(ip, a.ip, a.port)) return true;
    }
    return false;
  }

  // ---- messages ----

  handleMessage(at: Moment, m: Vl2Message): Vl2Disposition {
    this.context.at = at;
    switch (m.verb) {
      case VERB.FRAME:
        return this.#frames.handleFrame(m);
      case VERB.EXT_FRAME:
        return this.#frames.handleExtFrame(m);
      case VERB.MULTICAST_FRAME:
        return this.#frames.handleMulticastFrame(m);
      case VERB.MULTICAST_LIKE:
        return this.#like(m);
      case VERB.MULTICAST_GATHER:
        return this.#frames.handleGather(m);
      case VERB.NETWORK_CREDENTIALS:
        return this.#credentials(m);
      case VERB.NETWORK_CONFIG_REQUEST:
        return this.#configRequest(m);
      case VERB.NETWORK_CONFIG:
        return this.#pushedConfig(m);
      case VERB.OK:
        return this.#ok(m);
      case VERB.ERROR:
        return this.#error(m);
      default:
        return 'done';
    }
  }

  #malformed(): Vl2Disposition {
    this.context.counters.add('malformed');
    return 'ignored';
  }

  #like(m: Vl2Message): Vl2Disposition {
    const c = this.context;
    const verdicts = new Map<NetworkId, boolean>();
    for (const { nwid, group } of parseLikes(m.payload)) {
      let ok = verdicts.get(nwid);
      if (ok === undefined) {
        const net = c.networks.get(nwid);
        ok =
          (net !== undefined && this.#announcer.gate(net, m.peer)) ||
          c.port.isRoot() ||
          (c.controller?.served(c.at, nwid, m.peer.address) ?? false);
        verdicts.set(nwid, ok);
      }
      if (ok) c.multicast.add(c.now, nwid, group, m.peer.address);
      else c.counters.add('likeRefused');
    }
    return 'done';
  }

  #credentials(m: Vl2Message): Vl2Disposition {
    const c = this.context;
    const last = this.#credentialsAt.get(m.peer.address);
    // The retry of a packet must not die in the gate, as it does in the reference [3 section 2.4].
    const isRetry = last !== undefined && last.waiting === m.packetId;
    if (last !== undefined && !isRetry && c.now - last.at < CREDENTIALS_GATE_MS) {
      c.counters.add('credentialsGated');
      return 'ignored';
    }
    const gate: Gate = { at: isRetry ? last.at : c.now, waiting: undefined };
    if (this.#credentialsAt.set(m.peer.address, gate)) c.counters.add('credentialGatesFull');
    const passOn: Revocation[] = [];
    const results = this.#storeAll(m, passOn);
    if (results === undefined) return this.#malformed();
    this.#propagate(passOn, m.peer);
    if (results.includes('unknownSigner')) {
      gate.waiting = m.packetId;
      return 'defer';
    }
    return results.some((x) => x === 'new' || x === 'known') ? 'trusted' : 'done';
  }

  /** `passOn` receives revocations that are new and are to reach other members. */
  #storeAll(m: Vl2Message, passOn: Revocation[]): Stored[] | undefined {
    const all = parseCredentials(m.payload);
    if (all === undefined) return undefined;
    const put = <T extends { readonly nwid: NetworkId }>(
      items: readonly T[],
      store: (net: Network, item: T) => Stored,
    ): Stored[] =>
      items.map((x) => {
        const net = this.context.networks.get(x.nwid);
        return net === undefined ? 'rejected' : this.#outcome(net, store(net, x));
      });
    return [
      ...all.coms.map((c) => this.#storeCom(c)),
      ...put(all.capabilities, (n, x) =>
        n.offer(capabilityIssuedTo(x), (r) => r.storeCapability(n.verifier(), x)),
      ),
      ...put(all.tags, (n, x) => n.offer(x.issuedTo, (r) => r.storeTag(n.verifier(), x))),
      ...put(all.revocations, (n, x) => this.#storeRevocation(n, x, passOn)),
      ...put(all.ownerships, (n, x) =>
        n.offer(x.issuedTo, (r) => r.storeOwnership(n.verifier(), x)),
      ),
    ];
  }

  #outcome(net: Network, result: Stored): Stored {
    if (result === 'unknownSigner') this.context.port.requestIdentity(net.controller);
    if (result === 'rejected') this.context.counters.add('credentialRejected');
    return result;
  }

  /** A certificate inside a frame or gather; new ones of a peer are looked at once a second. */
  #offerCom(com: Com, from: NodeAddress): void {
    const now = this.context.now;
    const last = this.#inlineComAt.get(from);
    if (last !== undefined && now - last < CREDENTIALS_GATE_MS) {
      this.context.counters.add('credentialsGated');
      return;
    }
    if (this.#storeCom(com) === 'known') return;
    if (this.#inlineComAt.set(from, now)) this.context.counters.add('credentialGatesFull');
  }

  #storeCom(com: Com): Stored {
    const net = this.context.networks.get(comNetwork(com));
    if (net === undefined) return 'rejected';
    return this.#outcome(
      net,
      net.offer(comIssuedTo(com), (m) => m.storeCom(net.verifier(), com)),
    );
  }

  #storeRevocation(net: Network, r: Revocation, passOn: Revocation[]): Stored {
    const result = net.offer(r.target, (m) => m.storeRevocation(net.verifier(), r));
    if (result === 'new' && r.target === this.context.port.self.address) this.#askAnew(net);
    if (result === 'new' && (r.flags & REVOCATION_FAST_PROPAGATE) !== 0n) passOn.push(r);
    return result;
  }

  /**
   * A credential of ours was revoked: the controller says at once what is left of our membership.
   * The reference learns it with its next request, up to 60 s later [3 section 12.4].
   */
  #askAnew(net: Network): void {
    net.isDoubtful = true;
    const waited = this.context.now - net.requestedAt;
    if (waited >= REQUEST_RETRY_MS) this.#request(net);
  }

  /** Passes revocations on to every member we know of [3 section 7.2]. */
  #propagate(list: readonly Revocation[], from: Vl2Peer): void {
    const self = this.context.port.self.address;
    for (const nwid of new Set(list.map((r) => r.nwid))) {
      const net = this.context.networks.get(nwid);
      const own = list.filter((r) => r.nwid === nwid);
      for (const [to] of net?.members() ?? [])
        if (to !== from.address && to !== net?.controller && to !== self)
          this.#outbox.pass(to, own);
    }
  }

  #configRequest(m: Vl2Message): Vl2Disposition {
    const c = this.context;
    const r = new Reader(m.payload);
    const nwid = r.u64();
    if (r.failed) return this.#malformed();
    if (c.controller === undefined || controllerOf(nwid) !== c.port.self.address) {
      const w = c.port.begin(m.peer.address, VERB.ERROR);
      w.u8(m.verb).u64(m.packetId).u8(ERROR_CODE.UNSUPPORTED_OPERATION).u64(nwid);
      c.port.reply(m);
      return 'done';
    }
    const q = parseConfigRequest(m.payload);
    if (q === undefined) return this.#malformed();
    c.controller.handleRequest(c.at, m, nwid, q.metadata);
    return 'done';
  }

  #pushedConfig(m: Vl2Message): Vl2Disposition {
    const done = this.#chunk(m, m.payload);
    if (done === undefined) return 'done';
    const w = this.context.port.begin(m.peer.address, VERB.OK);
    w.u8(VERB.ECHO).u64(m.packetId).u64(done.nwid).u64(done.updateId);
    this.context.port.reply(m);
    return 'done';
  }

  #ok(m: Vl2Message): Vl2Disposition {
    const ok = parseOkHead(m.payload);
    if (ok === undefined) return this.#malformed();
    if (ok.inReVerb === VERB.NETWORK_CONFIG_REQUEST) {
      this.#chunk(m, ok.body);
      return 'done';
    }
    if (ok.inReVerb === VERB.ECHO) {
      const r = new Reader(ok.body);
      const [nwid, updateId] = [r.u64(), r.u64()];
      if (r.failed) return this.#malformed();
      this.context.controller?.handleAcknowledgement(nwid, m.peer.address, updateId);
      return 'done';
    }
    return this.#frames.handleGatherResult(m, ok.body, ok.inReVerb);
  }

  /** One chunk [3 section 5.2]. @returns the update that it completed. */
  #chunk(m: Vl2Message, body: Uint8Array): { nwid: NetworkId; updateId: bigint } | undefined {
    const c = this.context;
    const chunk = parseConfigChunk(body);
    const net = chunk === undefined ? undefined : c.networks.get(chunk.nwid);
    if (chunk === undefined || net === undefined) {
      c.counters.add('configRejected');
      return undefined;
    }
    const isDirect = m.peer.address === net.controller;
    if (chunk.signed === undefined) {
      // The old, unsigned form is believed from the controller alone.
      if (!isDirect) {
        c.counters.add('configRejected');
        return undefined;
      }
      const parsed = this.applyConfig(net, chunk.data.slice(), isDirect);
      return parsed ? { nwid: net.nwid, updateId: m.packetId } : undefined;
    }
    if (!this.#isAuthentic(net, chunk)) {
      c.counters.add('configRejected');
      return undefined;
    }
    const whole = net.assembly.add(chunk, isDirect);
    if ((chunk.signed.flags & CHUNK_FAST_PROPAGATE) !== 0)
      this.#propagateChunk(net, m.peer, chunk.signed.updateId, body);
    if (whole === undefined || !this.applyConfig(net, whole.text, isDirect)) return undefined;
    return { nwid: net.nwid, updateId: whole.updateId };
  }

  #isAuthentic(net: Network, chunk: ConfigChunk): boolean {
    if (!ConfigAssembly.isPlausible(chunk) || net.assembly.has(chunk)) return false;
    const controller = this.context.port.identityOf(net.controller);
    if (controller === undefined || chunk.signed === undefined) return false;
    return this.context.port.primitives.verify(
      controller.publicKey,
      chunk.signed.signedBytes,
      chunk.signed.signature,
    );
  }

  #propagateChunk(net: Network, from: Vl2Peer, updateId: bigint, body: Uint8Array): void {
    if (!net.assembly.mayPass(this.context.now, updateId)) {
      this.context.counters.add('configNotPassed');
      return;
    }
    for (const [to] of net.members()) {
      if (to === from.address || to === net.controller || to === this.context.port.self.address)
        continue;
      this.context.port.begin(to, VERB.NETWORK_CONFIG).put(body);
      this.context.port.send(to, true);
    }
  }

  /**
   * Parses and applies a configuration. One that is older than the one in force counts only when the
   * controller sent it (its clock may have been set back): signatures do not expire, so anybody can send
   * an old one again. @returns whether it parsed (even if it was not applied).
   */
  applyConfig(net: Network, text: Uint8Array, isDirect = true): boolean {
    const c = this.context;
    const config = parseNetworkConfig(text);
    if (config === undefined) {
      c.counters.add('configRejected');
      return false;
    }
    if (config.nwid !== net.nwid || config.issuedTo !== c.port.self.address) {
      c.counters.add('configForOther');
      return true;
    }
    if (!isDirect && config.timestamp < (net.config?.timestamp ?? 0n)) {
      c.counters.add('configStale');
      return true;
    }
    const normal = emitNetworkConfig(config);
    if (
      net.status === 'OK' &&
      net.config !== undefined &&
      equalBytes(normal, emitNetworkConfig(net.config))
    )
      return true;
    net.setConfig(c.at, config, true);
    c.counters.add('configApplied');
    c.out.storeConfig(net.nwid, normal);
    c.out.networkChanged(net.nwid);
    return true;
  }

  #error(m: Vl2Message): Vl2Disposition {
    const c = this.context;
    const r = new Reader(m.payload);
    const inReVerb = r.u8();
    r.skip(8);
    const code = r.u8();
    const nwid = r.u64();
    const net = r.failed ? undefined : c.networks.get(nwid);
    if (net === undefined) return 'done';
    const isController = m.peer.address === net.controller;
    switch (code) {
      case ERROR_CODE.OBJ_NOT_FOUND:
      case ERROR_CODE.UNSUPPORTED_OPERATION:
        if (isController && inReVerb === VERB.NETWORK_CONFIG_REQUEST) this.#fail(net, 'NOT_FOUND');
        break;
      case ERROR_CODE.NETWORK_ACCESS_DENIED:
        if (isController) this.#fail(net, 'ACCESS_DENIED');
        break;
      case ERROR_CODE.NEED_MEMBERSHIP_CERTIFICATE:
        this.#announcer.pushOnError(net, m.peer.address);
        break;
      case ERROR_CODE.UNWANTED_MULTICAST:
        if (this.#announcer.gate(net, m.peer))
          c.multicast.remove(nwid, { mac: r.copy(6), adi: r.u32() }, m.peer.address);
        break;
      case ERROR_CODE.NETWORK_AUTHENTICATION_REQUIRED:
        if (isController) this.#authenticationRequired(net, r);
        break;
    }
    return 'done';
  }

  #fail(net: Network, failure: 'ACCESS_DENIED' | 'NOT_FOUND' | 'AUTHENTICATION_REQUIRED'): void {
    const before = net.status;
    net.fail(failure);
    if (before !== failure) this.context.out.networkChanged(net.nwid);
  }

  /** [3 section 2.9], code 0x09. */
  #authenticationRequired(net: Network, r: Reader): void {
    let required: ConfigSso = { ...NO_SSO, enabled: true };
    if (r.remaining >= 3) {
      const text = r.take(r.u16());
      const said = r.failed ? undefined : readSsoRequired(new Dictionary(text));
      if (said === undefined) return;
      required = said;
    }
    const urlBefore = net.authenticationUrl;
    net.ssoRequired = required;
    if (net.authenticationUrl !== urlBefore && net.status === 'AUTHENTICATION_REQUIRED')
      this.context.out.networkChanged(net.nwid);
    this.#fail(net, 'AUTHENTICATION_REQUIRED');
  }

  identityLearned(at: Moment, peer: Vl2Peer): void {
    this.context.at = at;
    for (const net of this.context.networks.values()) {
      if (
        net.controller === peer.address &&
        net.config === undefined &&
        at.mono - net.requestedAt > 1_000
      )
        this.#request(net);
    }
  }
}

export type { NetworkConfig };
