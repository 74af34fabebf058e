/**
 * One virtual datagram socket, UDP or ICMP echo, between a program's record stream and the TCP/IP
 * stack [5 section 6.4].
 *
 * States FRESH, BOUND, ESTABLISHED (connected). Its port is held from bind, connect or the first
 * send on, its memberships until they are left; all of it, and what waits to be read, goes with the
 * record stream. A program that does not read fills the kernel's queue, then 256 KiB here; what
 * comes after is dropped and counted. No clock, no timer, no I/O of its own.
 */
import { equalBytes } from '../lib/bytes.js';
import type { Endpoint, IpBytes, StackErrno } from '../stack/stack.js';
import { Cork, cutMistake, type Outgoing, parseCutQuestion, segments } from './cork.js';
import type { DatagramHost, DatagramIdentity, RecordPort } from './datagram-host.js';
import { type DatagramOptionContext, DatagramOptions, UDP_CORK } from './datagram-options.js';
import type { Arrival, DatagramPorts, Member } from './datagram-ports.js';
import { errnoNumber, failed, type SendErrno } from './errno.js';
import { datagramLeadsToHost } from './fallthrough.js';
import { HostSide, type HostSideOwner } from './host-datagrams.js';
import { Memberships } from './memberships.js';
import { ANY_INTERFACE, interfaceNamed, LOOPBACK_INDEX } from './networks.js';
import type { OptionAnswer } from './options.js';
import { Pending } from './pending.js';
import {
  classifyDestination,
  type Destination,
  hasWayFrom,
  isBroadcast,
  isLoopback,
  isMulticast,
  isUnspecified,
  mayBind,
  resolveUnspecified,
  type VirtualDestination,
  type Way,
} from './policy.js';
import {
  BindFlag,
  parseAddress,
  State,
  type StateNumber,
  type Token,
  type ZtAddress,
} from './protocol.js';
import { RecordQueue } from './record-queue.js';
import { DeliverFlag, emitDelivery, emitError, parseSending, type Sending } from './records.js';
import type { Names, RequestTarget } from './target.js';

/** Told of datagrams that the host received: node:dgram does not say. */
const HOST_TTL = 64;

const SOL_UDP = 17;
/** Private options of the library: is a datagram begun, and would one (that is cut) leave? */
const OPT_BEGUN = 0x5412;
const OPT_ROUTE = 0x5413;
const OPT_CUT = 0x5414;

const SHUT_RD = 0;
const SHUT_WR = 1;

export class DatagramSocket implements RequestTarget, Member, HostSideOwner {
  readonly token: Token;
  readonly family: 4 | 6;
  readonly owner: number | undefined;
  readonly policy: number;
  readonly options = new DatagramOptions();
  readonly #host: DatagramHost;
  readonly #ports: DatagramPorts;
  readonly #port: RecordPort;
  #hostSide: HostSide | undefined;
  readonly #memberships: Memberships;
  #state: StateNumber = State.fresh;
  #localPort = 0;
  /** As bound; all zero = wildcard. */
  #boundIp: IpBytes;
  /** While connected: the own address that the stack chose. */
  #connectedIp: IpBytes | undefined;
  #remote: Endpoint | undefined;
  /** BIND named the port: DISCONNECT keeps it. */
  #portByProgram = false;
  #reuseAddrByBind = false;
  #reusePortByBind = false;
  /** The peer is reached by the host. */
  #isOnHost = false;
  #rxShut = false;
  #txShut = false;
  readonly #cork: Cork;
  readonly #queue: RecordQueue;
  #closed = false;

  constructor(
    host: DatagramHost,
    ports: DatagramPorts,
    port: RecordPort,
    identity: DatagramIdentity,
  ) {
    this.#host = host;
    this.#ports = ports;
    this.#port = port;
    this.token = identity.token;
    this.family = identity.family;
    this.owner = identity.owner;
    this.policy = identity.policy;
    this.#boundIp = this.#wildcard();
    this.#memberships = new Memberships(host);
    const counters = host.datagramCounters;
    const pending = new Pending(host.pendingLimits, counters, identity.owner);
    this.#queue = new RecordQueue(port, counters, pending);
    this.#cork = new Cork(pending);
  }

  #wildcard(): IpBytes {
    return new Uint8Array(this.family === 4 ? 4 : 16);
  }

  // ------------------------------------------------------- as a member

  get v6Only(): boolean {
    return this.options.v6Only;
  }
  get device(): number {
    return this.options.device;
  }
  get reuseAddr(): boolean {
    return this.#reuseAddrByBind || this.options.reuseAddr;
  }
  get reusePort(): boolean {
    return this.#reusePortByBind || this.options.reusePort;
  }
  get localIp(): IpBytes {
    return this.#connectedIp ?? this.#boundIp;
  }
  get remote(): Endpoint | undefined {
    return this.#remote;
  }
  get names(): Names {
    const isNamed = this.#state !== State.fresh;
    const host = this.#isOnHost ? this.#hostSide?.local() : undefined;
    const local = isNamed ? (host ?? { ip: this.localIp, port: this.#localPort }) : undefined;
    return { state: this.#state, local, peer: this.#remote, isOnHost: this.#isOnHost };
  }

  hears(group: IpBytes, source: IpBytes): boolean {
    const isWanted = this.#memberships.hears(group, source);
    return isWanted ?? this.options.hearsAllGroups(group.length === 16);
  }

  deliver({ payload, from, to, ttl, tos, via }: Arrival): void {
    if (this.#rxShut) return;
    const isV6 = to.length === 16;
    const { options } = this;
    const flags =
      (options.wantsPacketInfo(isV6) ? DeliverFlag.packetInfo : 0) |
      (options.wantsTtl(isV6) ? DeliverFlag.ttl : 0) |
      (options.wantsTos(isV6) ? DeliverFlag.tos : 0) |
      (options.wantsTimestamp ? DeliverFlag.timestamp : 0);
    const interfaceIndex = isLoopback(to) ? LOOPBACK_INDEX : (via ?? this.#onlyInterface());
    const wall = this.#host.now().wall;
    this.#queue.push(emitDelivery({ flags, from, to, interfaceIndex, ttl, tos, wall }, payload));
  }

  #onlyInterface(): number {
    return this.#host.networks()[0]?.index ?? ANY_INTERFACE;
  }

  /**
   * Linux tells a connected socket of refusals; of unreachable hosts and networks, which may
   * pass, only one that asked with IP_RECVERR.
   */
  unreachable(to: Endpoint, errno: StackErrno): void {
    const remote = this.#remote;
    if (remote === undefined || remote.port !== to.port) return;
    if (remote.ip.join() !== to.ip.join()) return;
    const isHard = errno === 'ECONNREFUSED' || errno === 'EACCES';
    if (isHard || this.options.wantsAllErrors(to.ip.length === 16)) this.#fail(errno, to);
  }

  #fail(errno: SendErrno, about: Endpoint): void {
    if (!this.#rxShut) this.#queue.push(emitError(errnoNumber(errno), about));
  }

  // ------------------------------------------------------ record stream

  /** The kernel takes records again. */
  writable(): void {
    this.#queue.writable();
  }

  settle(): void {
    this.#port.drain();
  }

  /** One record of the program; borrowed for the call. */
  record(bytes: Uint8Array): void {
    const sending = parseSending(bytes, this.#remote?.ip.length === 16 ? 6 : 4);
    if (sending === undefined) {
      this.#host.datagramCounters.dropDatagramRecord++;
      return;
    }
    if (this.#txShut) return;
    const to = this.#cork.to ?? this.#destination(sending);
    if (to === undefined) this.#host.datagramCounters.dropDatagramSend++;
    else this.#told(this.#part({ sending, to }), to);
  }

  /** Counts what could not be sent, and tells a connected program. */
  #told(errno: SendErrno | undefined, to: Endpoint): void {
    if (errno === undefined) return;
    this.#host.datagramCounters.dropDatagramSend++;
    /* A connected program hears of it; ENOBUFS is a lost packet, as on any network. */
    if (this.#remote !== undefined && errno !== 'ENOBUFS') this.#fail(errno, to);
  }

  /** A whole datagram or a part of one; the last part sends it, in one or cut into several. */
  #part(part: Outgoing): SendErrno | undefined {
    const whole = this.#cork.add(part, part.sending.more || this.options.isCorked);
    return typeof whole === 'object' ? this.#cut(whole) : whole;
  }

  #cut({ sending, to }: Outgoing): SendErrno | undefined {
    const size = sending.segment ?? this.options.segment;
    const mistake = this.#cutMistake(to, sending.payload.length, size);
    if (mistake !== undefined) return mistake;
    for (const payload of segments(sending.payload, size)) {
      const errno = this.#send({ ...sending, payload }, to);
      if (errno !== undefined) return errno;
    }
    return undefined;
  }

  #destination({ to }: Sending): Endpoint | undefined {
    return to.family === 0 ? this.#remote : { ip: to.ip, port: to.port };
  }

  #send(sending: Sending, wanted: Endpoint): SendErrno | undefined {
    if (this.#state === State.fresh && this.#speaks(wanted.ip)) {
      if (this.#reserve(this.#boundIp, 0) !== 0) return 'ENOBUFS';
    }
    const way = this.#way(sending, wanted);
    if (typeof way === 'string') return way;
    if (way === undefined) return this.#onHost().send(this.#resolved(wanted), sending.payload);
    const isV6 = wanted.ip.length === 16;
    const isGroup = isMulticast(wanted.ip);
    return this.#ports.send(this, { ip: way.ip, port: wanted.port }, sending.payload, {
      source: way.source,
      via: way.via,
      ttl: sending.ttl ?? this.options.ttl(isV6, isGroup),
      tos: sending.tos ?? this.options.tos(isV6),
      loop: way.toMany || (isGroup && this.options.loopsMulticast(isV6)),
    });
  }

  /** How a datagram gets there: through the network, by the host (undefined), or not at all. */
  #way(
    asked: Pick<Sending, 'source' | 'interfaceIndex'>,
    wanted: Endpoint,
  ): SendErrno | Way | undefined {
    if (!this.#speaks(wanted.ip)) return this.family === 4 ? 'EAFNOSUPPORT' : 'ENETUNREACH';
    const toMany = isBroadcast(this.#host.addresses(), wanted.ip);
    // Of the peer it was asked when that was connected; as on Linux, what follows needs no leave.
    if (toMany && !this.options.mayBroadcast && wanted !== this.#remote) return 'EACCES';
    const via = this.#interfaceFor(wanted.ip, asked.interfaceIndex);
    const destination = classifyDestination(this.#host.stackOn(via), wanted.ip);
    if (!toMany && this.#leadsToHost(wanted, destination)) return undefined;
    if (destination.kind !== 'virtual') return 'ENETUNREACH';
    const source = this.#source(asked, destination);
    if (source === undefined) return 'EINVAL';
    if (!hasWayFrom(this.#host.stack, source)) return 'ENETUNREACH';
    return { ip: destination.ip, source, via, toMany };
  }

  /** Private option: whether a datagram to that address would leave; 0 while one is begun. */
  #routeTo(value: Uint8Array): number {
    const to = parseAddress(value, 0);
    if (to === undefined || to.family === 0) return failed('EINVAL');
    if (this.#cork.to !== undefined) return 0;
    const way = this.#way({ source: undefined, interfaceIndex: ANY_INTERFACE }, to);
    return typeof way === 'string' ? failed(way) : 0;
  }

  /** What stays on this machine, or is the host's matter, has no limit here. */
  #mtuTo(to: Endpoint): number {
    const destination = classifyDestination(this.#host.stack, to.ip);
    const isOwn = isUnspecified(to.ip) || isLoopback(to.ip) || this.#host.isLocal(to.ip);
    if (isOwn || this.#leadsToHost(to, destination)) return Number.POSITIVE_INFINITY;
    return this.#host.mtu();
  }

  #cutMistake(to: Endpoint, length: number, size: number): StackErrno | undefined {
    return size === 0 ? undefined : cutMistake(to, length, size, this.#mtuTo(to));
  }

  /** Private option: what Linux answers to a send that is cut; with UDP_CORK, nothing yet. */
  #wouldCut(value: Uint8Array): number {
    const asked = parseCutQuestion(value);
    if (asked === undefined) return failed('EINVAL');
    const { to, length, size = this.options.segment } = asked;
    const end = this.#cork.to ?? (to.family === 0 ? this.#remote : to);
    if (end === undefined || this.options.isCorked) return 0;
    const mistake = this.#cutMistake(end, this.#cork.length + length, size);
    return mistake === undefined ? 0 : failed(mistake);
  }

  /** Interface of the socket, of the datagram, of multicast; 0 = what the route says. */
  #interfaceFor(ip: IpBytes, asked: number): number {
    if (this.device !== ANY_INTERFACE) return this.device;
    if (asked !== ANY_INTERFACE) return asked;
    return isMulticast(ip) ? this.options.multicastInterface(ip.length === 16) : ANY_INTERFACE;
  }

  /** Whether the socket may have peers of the family of `ip`. */
  #speaks(ip: IpBytes): boolean {
    if (this.family === 4) return ip.length === 4;
    const { localIp } = this;
    if (!isUnspecified(localIp)) return localIp.length === ip.length;
    return ip.length === 16 || (!this.options.v6Only && localIp.length === 16);
  }

  /** Source address: of this datagram, as bound, of the multicast interface, of the route. */
  #source(sending: Pick<Sending, 'source'>, to: VirtualDestination): IpBytes | undefined {
    if (sending.source !== undefined && !isUnspecified(sending.source)) {
      return this.#maySend(sending.source) ? sending.source : undefined;
    }
    const { localIp } = this;
    const isOwn = !isUnspecified(localIp) && !isMulticast(localIp);
    if (isOwn && !isBroadcast(this.#host.addresses(), localIp)) {
      /* A loopback address does not leave the host. */
      return isLoopback(localIp) && !this.#host.isLocal(to.ip) ? undefined : localIp;
    }
    const isGroup4 = to.ip.length === 4 && isMulticast(to.ip);
    return (isGroup4 ? this.options.multicastSource : undefined) ?? to.source;
  }

  #maySend(source: IpBytes): boolean {
    return this.options.freeBind || this.#host.isLocal(source);
  }

  /** The program sends no more: it closed, or shut down its sending side after saying so. */
  ended(): void {
    if (!this.#txShut) {
      this.streamReset();
      return;
    }
    this.#port.setReading(false);
    this.#host.watchHeld(this);
  }

  /** Time to ask whether a program that sends no more still holds its descriptor. */
  heldDue(): void {
    if (this.#closed) return;
    if (this.#port.isHeld()) this.#host.watchHeld(this);
    else this.streamReset();
  }

  /** The record stream is over: everything is given back. */
  streamReset(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#memberships.leaveAll();
    this.#countMemberships(0);
    this.#ports.remove(this);
    this.#hostSide?.close();
    this.#queue.close();
    this.#cork.take();
    this.#port.destroy();
    this.#host.datagramGone(this);
  }

  // ----------------------------------------------------------- requests

  bind(address: ZtAddress, flags: number): number {
    if (this.#state !== State.fresh) return failed('EINVAL');
    if (this.family === 4 && address.family === 6) return failed('EAFNOSUPPORT');
    if (this.options.v6Only && address.family === 4) return failed('EINVAL');
    if (!this.#mayBind(address.ip, flags)) return failed('EADDRNOTAVAIL');
    this.#reuseAddrByBind = (flags & BindFlag.reuseAddr) !== 0;
    this.#reusePortByBind = (flags & BindFlag.reusePort) !== 0;
    const result = this.#reserve(address.ip, address.port);
    /* Linux keeps a port that was named, not one it chose itself. */
    if (result === 0) this.#portByProgram = address.port !== 0;
    return result;
  }

  /** Own addresses, wildcards, and what many listen to. */
  #mayBind(ip: IpBytes, flags: number): boolean {
    if (this.options.freeBind || (flags & BindFlag.freeBind) !== 0) return true;
    if (isMulticast(ip) || isBroadcast(this.#host.addresses(), ip)) return true;
    return mayBind(this.#host.stack, ip);
  }

  #reserve(ip: IpBytes, port: number): number {
    this.#boundIp = ip;
    const result = this.#ports.add(this, ip, port);
    if (result < 0) {
      this.#boundIp = this.#wildcard();
      return result;
    }
    this.#localPort = result;
    this.#state = State.bound;
    return 0;
  }

  listen(): number {
    return failed('EOPNOTSUPP');
  }

  /** CONNECT: only fixes the peer; a connected socket may be connected anew. */
  connect(address: ZtAddress): number {
    if (address.family === 0) return this.disconnect();
    /* Linux gives the port before it looks at the address. */
    if (this.#state === State.fresh) {
      const result = this.#reserve(this.#boundIp, 0);
      if (result !== 0) return result;
    }
    if (!this.#speaksOnceUnconnected(address.ip)) {
      return failed(this.family === 4 ? 'EAFNOSUPPORT' : 'ENETUNREACH');
    }
    const toMany = isBroadcast(this.#host.addresses(), address.ip);
    if (toMany && !this.options.mayBroadcast) return failed('EACCES');
    const via = this.#host.stackOn(this.#interfaceFor(address.ip, ANY_INTERFACE));
    const destination = classifyDestination(via, address.ip);
    if (!toMany && this.#leadsToHost(address, destination)) return this.#connectOnHost(address);
    if (destination.kind !== 'virtual' || !this.#hasWayFromBound()) return failed('ENETUNREACH');
    this.#leaveHostPeer();
    this.#remote = { ip: destination.ip, port: address.port };
    this.#connectedIp = isUnspecified(this.#boundIp) ? destination.source : undefined;
    this.#state = State.established;
    this.#ports.update(this);
    return 0;
  }

  /** A wildcard, or what many listen to, leaves the source to the route. */
  #hasWayFromBound(): boolean {
    const ip = this.#boundIp;
    if (isUnspecified(ip) || isMulticast(ip)) return true;
    const { stack } = this.#host;
    return isBroadcast(this.#host.addresses(), ip) || hasWayFrom(stack, ip);
  }

  #connectOnHost(to: Endpoint): number {
    const before = this.#remote;
    this.#remote = this.#resolved(to);
    const errno = this.#onHost().connect(this.#remote);
    if (errno !== undefined) {
      this.#remote = before;
      return failed(errno);
    }
    this.#connectedIp = undefined;
    this.#isOnHost = true;
    this.#state = State.established;
    this.#ports.update(this);
    return 0;
  }

  #leaveHostPeer(): void {
    this.#isOnHost = false;
    this.#hostSide?.disconnect();
  }

  #leadsToHost(to: Endpoint, destination: Destination): boolean {
    const { hostNetwork } = this.#host;
    if (hostNetwork === undefined || !this.#ports.mayFallThrough) return false;
    const end = this.#resolved(to);
    return datagramLeadsToHost(end, destination, this.#ports.hears(end), this.policy, hostNetwork);
  }

  #resolved({ ip, port }: Endpoint): Endpoint {
    return { ip: resolveUnspecified(ip), port };
  }

  #onHost(): HostSide {
    this.#hostSide ??= new HostSide(this.#host.hostNetwork!, this.policy, this);
    return this.#hostSide;
  }

  hostDatagram(payload: Uint8Array, from: Endpoint, local: Endpoint): void {
    const remote = this.#remote;
    if (remote !== undefined && (remote.port !== from.port || !equalBytes(remote.ip, from.ip)))
      return;
    const via = ANY_INTERFACE;
    this.deliver({ payload, from, to: local.ip, ttl: HOST_TTL, tos: 0, via });
  }

  hostError(to: Endpoint, errno: StackErrno): void {
    this.unreachable(to, errno);
  }

  #speaksOnceUnconnected(ip: IpBytes): boolean {
    const connected = this.#connectedIp;
    this.#connectedIp = undefined;
    const result = this.#speaks(ip);
    this.#connectedIp = connected;
    return result;
  }

  /** DISCONNECT: an automatic port is given up, a bound one kept, as Linux does. */
  disconnect(): number {
    if (this.#state !== State.established) return 0;
    this.#remote = undefined;
    this.#connectedIp = undefined;
    this.#leaveHostPeer();
    if (this.#portByProgram) {
      this.#state = State.bound;
      this.#ports.update(this);
    } else {
      this.#ports.remove(this);
      this.#localPort = 0;
      this.#state = State.fresh;
    }
    return 0;
  }

  /** SHUTDOWN; Linux applies it to an unconnected socket too, and says ENOTCONN. */
  shutdown(how: number): number {
    if (how !== SHUT_WR) this.#rxShut = true;
    if (how !== SHUT_RD) this.#txShut = true;
    return this.#state === State.established ? 0 : failed('ENOTCONN');
  }

  padded(): void {}

  waitConnect(_count: number, waiter: (result: number) => void): () => void {
    waiter(failed('EOPNOTSUPP'));
    return () => undefined;
  }

  inherit(): number {
    return failed('EINVAL');
  }

  /** Errors travel in the record stream. */
  takeReadError(): number {
    return this.takePendingError();
  }

  takePendingError(): number {
    return 0;
  }

  setOption(level: number, name: number, value: Uint8Array): number {
    const aboutGroup =
      level === 41 && this.family === 4 ? undefined : this.#memberships.set(level, name, value);
    if (aboutGroup !== undefined) {
      this.#countMemberships(this.#memberships.size);
      return aboutGroup;
    }
    if (level === SOL_UDP && name === OPT_ROUTE) return this.#routeTo(value);
    if (level === SOL_UDP && name === OPT_CUT) return this.#wouldCut(value);
    const result = this.options.set(level, name, value, this.#optionContext());
    if (result === 0 && level === SOL_UDP && name === UDP_CORK) this.#uncorked();
    if (this.options.receiveMax > 0) this.#queue.limit(this.options.receiveMax);
    if (result === 0 && this.#state !== State.fresh) this.#ports.update(this);
    return result;
  }

  /** UDP_CORK was set, or cleared: then what was begun leaves, with whatever result. */
  #uncorked(): void {
    const whole = this.options.isCorked ? undefined : this.#cork.take();
    if (whole !== undefined && this.#cut(whole) !== undefined) {
      this.#host.datagramCounters.dropDatagramSend++;
    }
  }

  getOption(level: number, name: number): OptionAnswer {
    if (level === SOL_UDP && name === OPT_BEGUN)
      return Uint8Array.of(Number(this.#cork.to !== undefined), 0, 0, 0);
    return this.options.get(level, name, this.#optionContext());
  }

  #counted = 0;

  #countMemberships(size: number): void {
    this.#host.datagramCounters.memberships += size - this.#counted;
    this.#counted = size;
  }

  #optionContext(): DatagramOptionContext {
    return {
      family: this.family,
      isFresh: this.#state === State.fresh,
      isConnected: this.#state === State.established,
      interfaceNamed: (name) => interfaceNamed(this.#host, name),
      hasInterface: (index) => this.#host.networks().some((n) => n.index === index),
      mtu: this.#host.mtu(),
      isLocal: (ip) => this.#host.isLocal(ip),
    };
  }
}
