/**
 * One ZeroTier node: VL1, VL2 and the controller as one sans-IO state machine (6-style 4.2).
 *
 * Inputs are the `handle*` methods and commands; after each, drain `poll()` to undefined, then
 * sleep until `deadline()` or the next input. Nothing here reads a clock or touches the system.
 */
import type { Controller } from '../controller/controller.js';
import { type Moment, NEVER } from '../lib/time.js';
import type { PhysicalSettings } from '../vl1/physical.js';
import type { Message, UdpSocket, Vl1Options, Vl1Out, Vl1Upper } from '../vl1/state.js';
import { Vl1 } from '../vl1/vl1.js';
import type { Vl2Out } from '../vl2/context.js';
import type { Network } from '../vl2/network.js';
import type { Vl1Port, Vl2Message } from '../vl2/port.js';
import { Vl2 } from '../vl2/vl2.js';
import type { NetworkId, NodeAddress } from '../wire/address.js';
import type { InetAddress, RemoteAddress } from '../wire/inetaddress.js';
import type { MulticastGroup } from '../wire/multicast-group.js';
import { parsePeerRecord } from '../wire/peer-record.js';
import type { NodeOutput } from './outputs.js';

export interface NodeOptions extends Vl1Options {
  /** The `o` entry of configuration requests, e.g. `linux/x86_64`. */
  readonly platform: string;
  /** Throws when an input arrives while outputs wait; for tests and debug builds. */
  readonly strict?: boolean;
}

const VL2_TICK_MS = 500;
/** [3 section 0] peer activity timeout. */
const PEER_ACTIVE_MS = 500_000;

export class Node {
  readonly vl1: Vl1;
  readonly vl2: Vl2;
  readonly #strict: boolean;
  #out: NodeOutput[] = [];
  #next = 0;
  #vl2At = Number.NEGATIVE_INFINITY;
  #wasOnline = false;
  #controller: Controller | undefined;

  constructor(options: NodeOptions) {
    this.#strict = options.strict ?? false;
    this.vl1 = new Vl1(options, this.#vl1Out());
    this.vl2 = new Vl2(this.#port(options), this.#vl2Out(), options.platform);
    const upper: Vl1Upper = {
      handleMessage: (at, m) => this.vl2.handleMessage(at, m),
      isVirtualIp: (ip) => this.vl2.isVirtualIp(ip),
      identityLearned: (at, peer) => this.vl2.identityLearned(at, peer),
    };
    this.vl1.setUpper(upper, () => this.vl2.alwaysContact());
  }

  /** Makes this node the controller of the networks whose ids begin with its address. */
  setController(controller: Controller): void {
    this.#controller = controller;
    controller.attach(this.#port(this.vl1.state.options as NodeOptions), {
      store: (path, json) => this.#push({ kind: 'storeController', path, json }),
      applyLocal: (at, nwid, text) => this.#applyLocal(at, nwid, text),
      failLocal: (nwid, failure) => this.#failLocal(nwid, failure),
    });
    this.vl2.setController(controller);
  }

  get controller(): Controller | undefined {
    return this.#controller;
  }

  #applyLocal(at: Moment, nwid: NetworkId, text: Uint8Array): void {
    const net = this.vl2.network(nwid);
    if (net === undefined) return;
    this.vl2.context.at = at;
    this.vl2.applyConfig(net, text);
  }

  #failLocal(nwid: NetworkId, failure: 'ACCESS_DENIED' | 'NOT_FOUND'): void {
    const net = this.vl2.network(nwid);
    if (net === undefined || net.status === failure) return;
    net.fail(failure);
    this.#push({ kind: 'networkChanged', nwid });
  }

  // ---- wiring ----

  #push(o: NodeOutput): void {
    this.#out.push(o);
  }

  #vl1Out(): Vl1Out {
    return {
      transmit: (socket, to, bytes, ttl) =>
        this.#push({ kind: 'transmit', socket, to, bytes, ttl }),
      validate: (id, identity) => this.#push({ kind: 'validate', id, identity }),
      storeWorld: (world) => this.#push({ kind: 'storeWorld', world }),
      storePeer: (address, record) => this.#push({ kind: 'storePeer', address, record }),
      identityCollision: () => this.#push({ kind: 'identityCollision' }),
    };
  }

  #vl2Out(): Vl2Out {
    return {
      frame: (nwid, src, dst, etherType, payload) =>
        this.#push({ kind: 'frame', nwid, src, dst, etherType, bytes: payload }),
      storeConfig: (nwid, text) => this.#push({ kind: 'storeConfig', nwid, text }),
      networkChanged: (nwid) => this.#push({ kind: 'networkChanged', nwid }),
    };
  }

  #port(options: NodeOptions): Vl1Port {
    const vl1 = this.vl1;
    return {
      self: options.identity,
      primitives: options.primitives,
      entropy: options.entropy,
      jitter: options.jitter,
      protocol: options.protocol,
      isRoot: () => vl1.state.topology.amUpstream,
      begin: (dest, verb) => vl1.begin(dest, verb),
      send: (dest, compress) => vl1.send(dest, compress),
      reply: (m: Vl2Message) => vl1.reply((m as Message).peer, (m as Message).path),
      identityOf: (a) =>
        a === options.identity.address ? options.identity : vl1.peer(a)?.identity,
      requestIdentity: (a) => vl1.requestIdentity(a),
      upstreams: () => vl1.upstreams(),
      directLatency: (a) => this.#directLatency(a),
      bestUpstream: () => vl1.bestUpstream(),
    };
  }

  #directLatency(address: NodeAddress): number | undefined {
    const peer = this.vl1.peer(address);
    const { now } = this.vl1.state;
    if (peer === undefined || now - peer.lastReceiveAt > PEER_ACTIVE_MS) return undefined;
    const path = peer.directPath(now);
    return path?.hasLatency ? path.latency : undefined;
  }

  // ---- inputs ----

  #begin(at: Moment): void {
    if (this.#next < this.#out.length) {
      if (this.#strict)
        throw new Error(`input while ${this.#out.length - this.#next} outputs wait`);
    } else if (this.#out.length > 0) {
      this.#out = [];
      this.#next = 0;
    }
    if (this.#next >= this.#out.length) this.vl1.state.arena.reset();
    this.vl1.state.at = at;
    this.vl2.context.at = at;
  }

  handleDatagram(at: Moment, socket: number, from: RemoteAddress, bytes: Uint8Array): void {
    this.#begin(at);
    this.vl1.handleDatagram(at, socket, from, bytes);
    this.#noticeOnline(at);
  }

  handleFrame(
    at: Moment,
    nwid: NetworkId,
    src: Uint8Array,
    dst: Uint8Array,
    etherType: number,
    bytes: Uint8Array,
  ): void {
    this.#begin(at);
    this.vl2.handleFrame(at, nwid, src, dst, etherType, bytes);
  }

  handleTimeout(at: Moment): void {
    this.#begin(at);
    this.vl1.handleTimeout(at);
    if (at.mono - this.#vl2At >= VL2_TICK_MS) {
      this.#vl2At = at.mono;
      this.vl2.handleTimeout(at);
    }
    const controller = this.#controller;
    if (controller !== undefined && at.mono >= controller.deadline()) controller.handleTimeout(at);
    this.#noticeOnline(at);
  }

  /** What is bound now; `localAddresses` (with ports) are offered to peers. */
  handleSockets(
    at: Moment,
    sockets: readonly UdpSocket[],
    localAddresses: readonly InetAddress[],
  ): void {
    this.#begin(at);
    this.vl1.handleSockets(sockets, localAddresses);
  }

  /** The machine slept. */
  handleWake(at: Moment): void {
    this.#begin(at);
    this.vl1.handleWake();
  }

  /** The user's settings of physical networks [4 section 9]. */
  handlePhysical(at: Moment, settings: PhysicalSettings): void {
    this.#begin(at);
    this.vl1.handlePhysical(settings);
  }

  /** Answers a `validate` output. */
  handleValidation(at: Moment, id: number, ok: boolean): void {
    this.#begin(at);
    this.vl1.handleValidation(at, id, ok);
  }

  /** A record from `peers.d`. @returns whether it was well-formed. */
  handleStoredPeer(record: Uint8Array): boolean {
    const parsed = parsePeerRecord(record);
    if (parsed !== undefined) this.vl1.addCachedPeer(parsed);
    return parsed !== undefined;
  }

  #noticeOnline(at: Moment): void {
    const online = this.vl1.isOnline();
    if (online && !this.#wasOnline) this.vl2.requestMissing(at);
    this.#wasOnline = online;
  }

  // ---- commands ----

  join(at: Moment, nwid: NetworkId, stored?: Uint8Array): Network {
    this.#begin(at);
    return this.vl2.join(at, nwid, stored);
  }

  leave(at: Moment, nwid: NetworkId): boolean {
    this.#begin(at);
    return this.vl2.leave(nwid);
  }

  setSubscriptions(at: Moment, nwid: NetworkId, groups: readonly MulticastGroup[]): void {
    this.#begin(at);
    this.vl2.setSubscriptions(at, nwid, groups);
  }

  /** Runs a command that may produce outputs (controller changes, orbit ...). */
  run<T>(at: Moment, command: () => T): T {
    this.#begin(at);
    return command();
  }

  /** Hands out every peer's cache record, for an orderly end. */
  storePeers(at: Moment): void {
    this.#begin(at);
    this.vl1.storeAllPeers();
  }

  // ---- outputs ----

  poll(): NodeOutput | undefined {
    if (this.#next >= this.#out.length) return undefined;
    return this.#out[this.#next++];
  }

  deadline(): number {
    const vl2 =
      this.#vl2At === Number.NEGATIVE_INFINITY ? this.vl1.state.now : this.#vl2At + VL2_TICK_MS;
    const controller = Math.max(this.vl1.state.now, this.#controller?.deadline() ?? NEVER);
    return Math.min(this.vl1.deadline(), vl2, controller);
  }

  get isOnline(): boolean {
    return this.vl1.isOnline();
  }
}
