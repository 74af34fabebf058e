/**
 * The UDP ports of a view and the echo identifiers of its ICMP sockets [5 section 6.4].
 *
 * UDP: one socket of the stack per port, shared by the members that hold the port; this file decides
 * which of them gets a datagram, and tells the stack when none does. ICMP: an identifier has one
 * owner. Both are closed with their last member.
 */
import type { Moment } from '../lib/time.js';
import type {
  DatagramOptions,
  EchoSink,
  Endpoint,
  IpBytes,
  StackErrno,
  UdpHandle,
  UdpSink,
} from '../stack/stack.js';
import { type Candidate, choose, matches, takesAddress } from './demux.js';
import { failed } from './errno.js';
import { ANY_INTERFACE, LOOPBACK_INDEX, type NetworksHost } from './networks.js';
import { isBroadcast, isMulticast, Policy } from './policy.js';
import { type PortHolder, PortTable } from './ports.js';
import { Quota } from './quota.js';
import type { Asker } from './resolver.js';
import type { PreloadStack } from './socket-host.js';

/** How a datagram is sent; `via` = by which interface, where the route shall not decide. */
export interface SendOptions extends DatagramOptions {
  readonly via?: number;
}

/** A datagram as it arrived; `payload` is borrowed for the call. */
export interface Arrival {
  readonly payload: Uint8Array;
  readonly from: Endpoint;
  readonly to: IpBytes;
  readonly ttl: number;
  readonly tos: number;
  /** The interface, where there are several. */
  readonly via?: number | undefined;
}

export interface Member extends Candidate {
  /** The user that owns it: SO_REUSEPORT is shared with oneself only. */
  readonly owner: number | undefined;
  /** Policy that its program asked for [5 section 5.4]. */
  readonly policy: number;
  readonly reuseAddr: boolean;
  /** Whether a datagram to this group from that source is wanted. */
  hears(group: IpBytes, source: IpBytes): boolean;
  deliver(arrival: Arrival): void;
  /** An ICMP error about a datagram sent to `to`. */
  unreachable(to: Endpoint, errno: StackErrno): void;
}

export interface PortsHost extends Pick<NetworksHost, 'stackOn'> {
  readonly stack: PreloadStack;
  now(): Moment;
  addresses(): readonly { readonly ip: IpBytes; readonly prefixLen: number }[];
}

/** Answers on a port where no member takes a datagram. */
export interface PortServer {
  serves(to: IpBytes): boolean;
  /** @param answer sends a reply from where the datagram went; may be called later. */
  asked(
    payload: Uint8Array,
    from: Endpoint,
    asker: Asker,
    answer: (to: Endpoint, reply: Uint8Array) => void,
  ): void;
}

/** Ours: ports tried for a socket that wants any. */
const EPHEMERAL_TRIES = 64;
/** Ours: UDP ports of one user; half of the sockets that a stack has, so that another finds some. */
const PORTS_MAX = 2048;
/** Who is not known: a port that nobody holds any more. */
const NOBODY: Asker = { user: undefined, policy: Policy.none };
/** Ours: hop limit of what a `PortServer` answers. */
const SERVER_TTL = 64;

/** What a datagram socket needs of the ports or identifiers of its protocol. */
export interface DatagramPorts {
  /** Gives `member` the local port, 0 = any. @returns the port, or a negative errno number. */
  add(member: Member, ip: IpBytes, port: number): number;
  /** The member's address or options changed. */
  update(member: Member): void;
  remove(member: Member): void;
  send(
    member: Member,
    to: Endpoint,
    payload: Uint8Array,
    options: SendOptions,
  ): StackErrno | undefined;
  /** Whether what is sent may be the host's to carry. */
  readonly mayFallThrough: boolean;
  /** Whether somebody would hear a datagram to `to`. */
  hears(to: Endpoint): boolean;
  /** Ports or identifiers in use. */
  readonly size: number;
}

interface Holding {
  readonly port: OpenPort;
  holder: PortHolder;
}

/** One port, and those who hold it in the order they were bound. */
class OpenPort implements UdpSink {
  readonly members: Member[] = [];
  handle: UdpHandle | undefined;
  /** Interface that it is open on, 0 = all. */
  index = ANY_INTERFACE;
  server: PortServer | undefined;
  readonly #host: PortsHost;
  readonly #askerAt: (from: Endpoint) => Asker;

  constructor(
    host: PortsHost,
    readonly number: number,
    askerAt: (from: Endpoint) => Asker,
  ) {
    this.#host = host;
    this.#askerAt = askerAt;
  }

  #isToMany(to: IpBytes): boolean {
    return isMulticast(to) || isBroadcast(this.#host.addresses(), to);
  }

  isWanted(from: Endpoint, to: IpBytes, via?: number): boolean {
    if (this.#isToMany(to) || choose(this.members, from, to, via) !== undefined) return true;
    return this.server?.serves(to) === true;
  }

  onDatagram(
    payload: Uint8Array,
    from: Endpoint,
    to: IpBytes,
    ttl: number,
    tos: number,
    via?: number,
  ): void {
    const arrival = { payload, from, to, ttl, tos, via };
    if (!this.#isToMany(to)) {
      const member = choose(this.members, from, to, via);
      if (member !== undefined) member.deliver(arrival);
      else if (this.server !== undefined) {
        const asker = this.#askerAt(from);
        this.server.asked(payload, from, asker, (peer, reply) => this.#answer(to, peer, reply));
      }
      return;
    }
    for (const m of [...this.members]) {
      if (matches(m, from, to, via) && (!isMulticast(to) || m.hears(to, from.ip)))
        m.deliver(arrival);
    }
  }

  /** Whether anybody takes datagrams to `to`, whoever sends them. */
  hears(to: IpBytes): boolean {
    return this.members.some((m) => takesAddress(m, to)) || this.server?.serves(to) === true;
  }

  #answer(source: IpBytes, to: Endpoint, reply: Uint8Array): void {
    if (this.handle === undefined) return;
    const options = { source, ttl: SERVER_TTL };
    this.#host.stack.udpSend(this.#host.now(), this.handle, to, reply, options);
  }

  onUnreachable(to: Endpoint, errno: StackErrno): void {
    for (const m of [...this.members]) m.unreachable(to, errno);
  }
}

export class UdpPorts implements DatagramPorts {
  readonly mayFallThrough = true;
  readonly #host: PortsHost;
  readonly #table: PortTable;
  readonly #open = new Map<number, OpenPort>();
  readonly #held = new Map<Member, Holding>();
  readonly #quota = new Quota(PORTS_MAX);
  /** Ports that were refused: their user has as many as it may. */
  dropped = 0;

  /** @param random a 32-bit number per call. */
  constructor(host: PortsHost, random: () => number) {
    this.#host = host;
    this.#table = new PortTable(random);
  }

  /** Ports that members hold. */
  get size(): number {
    return this.#table.size;
  }

  /** Lets `server` answer on a port of loopback until `unserve`. */
  serve(number: number, server: PortServer): StackErrno | undefined {
    const port = this.#open.get(number) ?? this.#openPort(number, LOOPBACK_INDEX);
    if (typeof port === 'string') return port;
    port.server = server;
    return undefined;
  }

  unserve(number: number): void {
    const port = this.#open.get(number);
    if (port === undefined) return;
    port.server = undefined;
    this.#closeUnused(port);
  }

  /** Whose datagram came from a port of loopback: of several that share it, the first. */
  #askerAt(from: Endpoint): Asker {
    const member = this.#open.get(from.port)?.members[0];
    return member === undefined ? NOBODY : { user: member.owner, policy: member.policy };
  }

  add(member: Member, ip: IpBytes, wanted: number): number {
    if (!this.#quota.hasRoom(member.owner)) {
      this.dropped++;
      return failed('ENOBUFS');
    }
    if (wanted !== 0) return this.#claim(member, ip, wanted);
    let result: number = failed('EADDRINUSE');
    /* A view of other networks may hold the port in one of the stacks. */
    for (let i = 0; i < EPHEMERAL_TRIES && result === failed('EADDRINUSE'); i++) {
      const number = this.#table.ephemeral();
      if (number === undefined) return result;
      result = this.#claim(member, ip, number);
    }
    return result;
  }

  #claim(member: Member, ip: IpBytes, number: number): number {
    const holder = holderOf(member, ip, number);
    if (this.#table.conflicts(holder)) return failed('EADDRINUSE');
    const port = this.#open.get(number) ?? this.#openPort(number, ANY_INTERFACE);
    if (typeof port === 'string') return failed(port);
    const errno = this.#widen(port);
    if (errno !== undefined) return failed(errno);
    this.#quota.take(member.owner);
    this.#table.add(holder);
    port.members.push(member);
    this.#held.set(member, { port, holder });
    return number;
  }

  #openPort(number: number, index: number): OpenPort | StackErrno {
    const port = new OpenPort(this.#host, number, (from) => this.#askerAt(from));
    const errno = this.#openOn(port, index);
    if (errno !== undefined) return errno;
    this.#open.set(number, port);
    return port;
  }

  #openOn(port: OpenPort, index: number): StackErrno | undefined {
    const local = { ip: new Uint8Array(0), port: port.number };
    const handle = this.#host.stackOn(index).udpOpen(this.#host.now(), local, true, port);
    if (typeof handle === 'string') return handle === 'ENOMEM' ? 'ENOBUFS' : handle;
    port.handle = handle;
    port.index = index;
    return undefined;
  }

  /** Opens a port that only answers on loopback for a member too. */
  #widen(port: OpenPort): StackErrno | undefined {
    if (port.index === ANY_INTERFACE) return undefined;
    this.#reopen(port, ANY_INTERFACE);
    if (port.handle !== undefined) return undefined;
    this.#reopen(port, LOOPBACK_INDEX);
    return 'EADDRINUSE';
  }

  #reopen(port: OpenPort, index: number): void {
    if (port.handle !== undefined) this.#host.stack.udpClose(this.#host.now(), port.handle);
    port.handle = undefined;
    this.#openOn(port, index);
  }

  update(member: Member): void {
    const held = this.#held.get(member);
    if (held === undefined) return;
    this.#table.remove(held.holder);
    held.holder = holderOf(member, member.localIp, held.port.number);
    this.#table.add(held.holder);
  }

  remove(member: Member): void {
    const held = this.#held.get(member);
    if (held === undefined) return;
    this.#held.delete(member);
    this.#quota.give(member.owner);
    this.#table.remove(held.holder);
    const { port } = held;
    port.members.splice(port.members.indexOf(member), 1);
    this.#closeUnused(port);
  }

  #closeUnused(port: OpenPort): void {
    if (port.members.length > 0) return;
    if (port.server !== undefined) {
      this.#reopen(port, LOOPBACK_INDEX);
      return;
    }
    this.#open.delete(port.number);
    if (port.handle !== undefined) this.#host.stack.udpClose(this.#host.now(), port.handle);
    port.handle = undefined;
  }

  hears(to: Endpoint): boolean {
    return this.#open.get(to.port)?.hears(to.ip) ?? false;
  }

  send(
    member: Member,
    to: Endpoint,
    payload: Uint8Array,
    options: SendOptions,
  ): StackErrno | undefined {
    const handle = this.#held.get(member)?.port.handle;
    if (handle === undefined) return 'EADDRNOTAVAIL';
    const stack = this.#host.stackOn(options.via ?? member.device ?? ANY_INTERFACE);
    return stack.udpSend(this.#host.now(), handle, to, payload, options);
  }
}

function holderOf(member: Member, ip: IpBytes, port: number): PortHolder {
  return {
    port,
    ip,
    v6Only: member.v6Only,
    reuseAddr: member.reuseAddr,
    reusePort: member.reusePort,
    owner: member.owner,
    listening: false,
    device: member.device ?? ANY_INTERFACE,
  };
}

/** An echo socket's identifier in the stack. */
class OpenEcho implements EchoSink {
  constructor(
    readonly member: Member,
    readonly id: number,
  ) {}

  onReply(
    message: Uint8Array,
    from: IpBytes,
    to: IpBytes,
    ttl: number,
    tos: number,
    via?: number,
  ): void {
    /* The port of an echo socket's peer means nothing. */
    const source = { ip: from, port: this.member.remote?.port ?? 0 };
    if (!matches(this.member, source, to, via)) return;
    this.member.deliver({ payload: message, from: { ip: from, port: 0 }, to, ttl, tos, via });
  }
}

const ECHO_REQUEST = { 4: 8, 6: 128 } as const;
const ID_OFFSET = 4;
const ECHO_HEADER_LEN = 8;
/** Ours: random identifiers tried before the search gives up. */
const ID_TRIES = 64;

export class EchoIds implements DatagramPorts {
  /** Echo requests never leave the network. */
  readonly mayFallThrough = false;
  readonly #host: PortsHost;
  readonly #random: () => number;
  readonly #open = new Map<Member, OpenEcho>();

  constructor(host: PortsHost, random: () => number) {
    this.#host = host;
    this.#random = random;
  }

  get size(): number {
    return this.#open.size;
  }

  add(member: Member, _ip: IpBytes, wanted: number): number {
    if (wanted !== 0) return this.#claim(member, wanted);
    for (let i = 0; i < ID_TRIES; i++) {
      const result = this.#claim(member, 1 + (this.#random() % 0xffff));
      if (result !== failed('EADDRINUSE')) return result;
    }
    return failed('EADDRINUSE');
  }

  #claim(member: Member, id: number): number {
    const { stack } = this.#host;
    const echo = new OpenEcho(member, id);
    if (stack.echoOpen === undefined) return failed('EACCES');
    const errno = stack.echoOpen(this.#host.now(), member.family, id, echo);
    if (errno !== undefined) return failed(errno);
    this.#open.set(member, echo);
    return id;
  }

  update(): void {}

  hears(): boolean {
    return false;
  }

  remove(member: Member): void {
    const echo = this.#open.get(member);
    if (echo === undefined) return;
    this.#open.delete(member);
    this.#host.stack.echoClose?.(this.#host.now(), member.family, echo.id);
  }

  /** Linux lets only echo requests out, and with the socket's identifier. */
  send(
    member: Member,
    to: Endpoint,
    payload: Uint8Array,
    options: SendOptions,
  ): StackErrno | undefined {
    const echo = this.#open.get(member);
    if (echo === undefined) return 'EADDRNOTAVAIL';
    if (payload.length < ECHO_HEADER_LEN) return 'EINVAL';
    if (payload[0] !== ECHO_REQUEST[member.family] || payload[1] !== 0) return 'EINVAL';
    const message = payload.slice();
    message[ID_OFFSET] = echo.id >> 8;
    message[ID_OFFSET + 1] = echo.id & 0xff;
    const stack = this.#host.stackOn(options.via ?? member.device ?? ANY_INTERFACE);
    return stack.echoSend?.(this.#host.now(), to.ip, message, options);
  }
}
