/**
 * The service's side of the preload library for one network, sans-IO [5 sections 5, 6 and 13].
 *
 * Owns the tokens, the listeners, the ports, early requests and all timers of one view. The host
 * gives every accepted AF_UNIX connection to `open` and calls the returned object; it calls
 * `handleTimeout` at `deadline()`, and drains the stack after any of these calls.
 *
 * Limits and times are those of [5 section 13]; beyond a limit a request fails with ENOBUFS or a
 * connection is closed.
 */
import type { Moment } from '../lib/time.js';
import type { IpBytes, StackConfig } from '../stack/stack.js';
import { type ClientHost, PreloadConnection } from './client.js';
import type { DatagramCounters, DatagramHost, RecordPort } from './datagram-host.js';
import { type DatagramPorts, EchoIds, UdpPorts } from './datagram-ports.js';
import { DatagramSocket } from './datagrams.js';
import { DelayQueue } from './delay-queue.js';
import { DNS_PORT, DnsAnswerer } from './dns-answerer.js';
import { DnsClient } from './dns-client.js';
import { DnsStreams } from './dns-stream.js';
import { EndedSockets, type HeldTokens, NOTHING_HELD } from './ended.js';
import { failed } from './errno.js';
import type { HostNetwork } from './fallthrough.js';
import { AwaitedHellos, HelloLimits, type SilentConnection } from './hellos.js';
import { dnsOnHost } from './host-dns.js';
import { HostsTable } from './hosts-table.js';
import { type ListenHost, ListenRegistry } from './listeners.js';
import type { NameSources } from './names.js';
import { FIRST_INTERFACE_INDEX, interfaceNameOf, type ViewNetwork } from './networks.js';
import { ParkedRequests } from './parked.js';
import { PendingLimits } from './pending.js';
import { type Ports, PortTable } from './ports.js';
import {
  byteKey,
  Capability,
  type Hello,
  HelloKind,
  type Token,
  type Welcome,
} from './protocol.js';
import { Quota } from './quota.js';
import { type Caller, type RecordClientHost, RecordConnection } from './record-client.js';
import {
  answerError,
  carryOut,
  mayPark,
  needsSocket,
  type Request,
  type RequestHost,
} from './requests.js';
import { type DnsSettings, Resolver } from './resolver.js';
import type { PreloadStack, StreamPort } from './socket-host.js';
import type { RequestTarget } from './target.js';
import { PROBE_HALF_CLOSED_MS, Timers } from './timers.js';
import { VirtualSocket } from './vsockets.js';

// [5 section 13] limits per user.
const TOKENS_MAX = 16384;
const LISTENERS_MAX = 1024;
const WAITING_MAX = 4096;
const CONTROL_MAX = 1024;
const IPPROTO_ICMP = 1;
const IPPROTO_UDP = 17;
const IPPROTO_ICMPV6 = 58;
// Ours: DNS questions under way, per user.
const QUESTIONS_MAX = 256;
/**
 * Ours: ended sockets of all users that are remembered, some 2 KiB each: as many as one user may have
 * sockets [document 5 says 4096].
 */
const ENDED_MAX = TOKENS_MAX;

/** What a view over several networks has instead of one of each. */
export interface SeveralNetworks {
  networks(): readonly ViewNetwork[];
  stackOn(index: number): PreloadStack;
  readonly ports: Ports;
}

export interface PreloadViewOptions {
  /** 0 = of several networks. */
  readonly nwid: bigint;
  readonly stack: PreloadStack;
  /** Own Ethernet address of the network. */
  readonly mac?: Uint8Array;
  readonly several?: SeveralNetworks | undefined;
  readonly now: () => Moment;
  /** Fills with bytes that no client can guess. */
  readonly random: (out: Uint8Array) => void;
  /** Current addresses, routes and MTU of the network. */
  readonly config: () => StackConfig;
  /** DNS servers that the network pushed; default none. */
  readonly dns?: () => DnsSettings;
  /** Contents of the view's hosts file; empty when there is none. */
  readonly hosts: () => string;
  readonly hostName: string;
  /** A timer was armed: `deadline()` may be earlier now. */
  readonly wake: () => void;
  /** Runs it when all that programs had sent before has been handed over; default: it has. */
  readonly afterPending?: (act: () => void) => void;
  /** Process id told to clients. */
  readonly pid: number;
  /** Name of the virtual interface; default `zt` and the network's last ten digits. */
  readonly interfaceName?: string;
  /** The host has doors for records: datagram sockets work. */
  readonly hasRecords?: boolean;
  /** The host tells the user of every connection. */
  readonly hasCredentials?: boolean;
  /** The groups that the stack listens to changed. */
  readonly regroup?: () => void;
  /** What programs may reach of the host's network; without it nothing. */
  readonly hostNetwork?: HostNetwork;
  /** Shared with the other views of the service; default: a limit of this view. */
  readonly pendingLimits?: PendingLimits | undefined;
  /** Shared likewise. */
  readonly helloLimits?: HelloLimits | undefined;
  /** Tells which sockets programs hold, now or later; without it ended ones are kept a minute. */
  readonly askHeld?:
    | ((tokens: readonly Token[], answer: (held: HeldTokens) => void) => void)
    | undefined;
}

/** Counts of a view, for metrics and tests. */
export interface PreloadCounters extends Readonly<DatagramCounters> {
  readonly sockets: number;
  readonly remembered: number;
  readonly listeners: number;
  readonly waiting: number;
  readonly controls: number;
  readonly parked: number;
  readonly ports: number;
  /** DNS questions under way. */
  readonly questions: number;
  readonly datagramSockets: number;
  readonly udpPorts: number;
  readonly echoIds: number;
  /** What was refused because its user had as much as it may. */
  readonly dropSockets: number;
  /** Connections without HELLO that were closed to make room. */
  readonly dropHellos: number;
  /** Ended sockets that were forgotten to make room. */
  readonly dropRemembered: number;
  readonly dropListeners: number;
  readonly dropWaiting: number;
  readonly dropControls: number;
  readonly dropParked: number;
  /** Of a control connection that waits for a connect already. */
  readonly dropConnectWaits: number;
  readonly dropQuestions: number;
  readonly dropUdpPorts: number;
}

const NO_DNS: DnsSettings = { domain: '', servers: [] };

export class PreloadView
  implements ListenHost, RequestHost, ClientHost, RecordClientHost, DatagramHost
{
  readonly stack: PreloadStack;
  readonly ports: Ports;
  readonly timers: Timers;
  readonly networks: () => readonly ViewNetwork[];
  readonly stackOn: (index: number) => PreloadStack;
  readonly hostNetwork: HostNetwork | undefined;
  readonly names: NameSources;
  readonly dns: DnsClient;
  readonly hostDns: DnsClient | undefined;
  readonly resolver: Resolver;
  readonly #answerer: DnsAnswerer;
  readonly nameServer: DnsStreams;
  readonly regroup: () => void;
  readonly datagramCounters: DatagramCounters = {
    datagramsQueued: 0,
    datagramBytesQueued: 0,
    memberships: 0,
    dropDatagramQueue: 0,
    dropDatagramUser: 0,
    dropDatagramRecord: 0,
    dropDatagramSend: 0,
  };
  readonly pendingLimits: PendingLimits;
  readonly welcome: Welcome;
  /** K of [5 section 5.1]: 16 bytes that clients of the abstract door must know. */
  readonly key = new Uint8Array(16);
  readonly now: () => Moment;
  readonly wake: () => void;
  readonly afterPending: (act: () => void) => void;

  readonly #random: (out: Uint8Array) => void;
  readonly #listeners: ListenRegistry;
  readonly #sockets = new Map<Token, RequestTarget>();
  readonly #datagrams = new Set<DatagramSocket>();
  readonly udp: UdpPorts;
  readonly #echo: EchoIds;
  readonly #heldDue: DelayQueue<DatagramSocket>;
  readonly #ended: EndedSockets;
  readonly #hellos: AwaitedHellos;
  readonly #parked: ParkedRequests;
  #connectWaitsRefused = 0;
  /** Connections that are not a socket's stream: HELLO pending, or control. */
  readonly #clients = new Set<PreloadConnection>();
  /** Record connections whose HELLO is pending. */
  readonly #newRecords = new Set<RecordConnection>();
  readonly #tokenQuota = new Quota(TOKENS_MAX);
  readonly #controlQuota = new Quota(CONTROL_MAX);
  readonly waitingQuota = new Quota(WAITING_MAX);
  readonly listenerQuota = new Quota(LISTENERS_MAX);

  constructor(options: PreloadViewOptions) {
    this.stack = options.stack;
    this.now = options.now;
    this.#random = options.random;
    this.wake = options.wake;
    this.afterPending = options.afterPending ?? ((act) => act());
    this.timers = new Timers(options.now, options.wake);
    this.#ended = this.#newEnded(options);
    this.#hellos = new AwaitedHellos(options.helloLimits ?? new HelloLimits(), options.wake);
    this.#parked = new ParkedRequests(options.wake);
    this.#heldDue = new DelayQueue(PROBE_HALF_CLOSED_MS, options.wake);
    this.hostNetwork = options.hostNetwork;
    this.pendingLimits = options.pendingLimits ?? new PendingLimits();
    this.regroup = options.regroup ?? (() => undefined);
    const several = options.several ?? this.#onlyNetwork(options);
    this.networks = () => several.networks();
    this.stackOn = (index) => several.stackOn(index);
    this.ports = several.ports;
    const { hostName, config } = options;
    this.names = { hosts: new HostsTable(options.hosts), hostName, config };
    this.#listeners = new ListenRegistry(this);
    this.udp = new UdpPorts(this, () => this.random32());
    this.#echo = new EchoIds(this, () => this.random32());
    const questions = new Quota(QUESTIONS_MAX);
    this.dns = new DnsClient(this, questions);
    this.hostDns =
      options.hostNetwork === undefined
        ? undefined
        : new DnsClient(dnsOnHost(options.hostNetwork, this), questions);
    this.resolver = new Resolver(this);
    this.#answerer = new DnsAnswerer(this.resolver);
    this.nameServer = new DnsStreams(this, this.#answerer);
    this.#random(this.key);
    this.welcome = {
      capabilities: capabilitiesOf(options),
      instanceId: this.#random64(),
      nwid: options.nwid,
      policy: 0,
      datagramMax: Math.max(0, options.config().mtu - 28),
      pid: options.pid,
    };
  }

  #onlyNetwork(options: PreloadViewOptions): SeveralNetworks {
    const nwidText = options.nwid.toString(16).padStart(16, '0');
    const only: ViewNetwork = {
      index: FIRST_INTERFACE_INDEX,
      name: options.interfaceName ?? interfaceNameOf(nwidText),
      mac: options.mac ?? new Uint8Array(6),
      nwidText,
      config: options.config,
      dns: options.dns ?? (() => NO_DNS),
    };
    const list = [only];
    return {
      networks: () => list,
      stackOn: () => options.stack,
      ports: new PortTable(() => this.random32()),
    };
  }

  #newEnded({ askHeld, wake }: PreloadViewOptions): EndedSockets {
    const host = {
      now: () => this.now().mono,
      askHeld: askHeld ?? ((_tokens, answer) => answer(NOTHING_HELD)),
      forgotten: (token: Token) => this.#dropToken(token),
      wake,
    };
    return new EndedSockets(host, ENDED_MAX);
  }

  random32(): number {
    const b = new Uint8Array(4);
    this.#random(b);
    return new DataView(b.buffer).getUint32(0, true);
  }

  #random64(): bigint {
    const b = new Uint8Array(8);
    this.#random(b);
    return new DataView(b.buffer).getBigUint64(0, true);
  }

  // ------------------------------------------------------- for the host

  /** A program connected to one of the view's stream sockets. */
  open(port: StreamPort, caller: Caller): PreloadConnection {
    const client = new PreloadConnection(this, port, caller);
    this.#clients.add(client);
    return client;
  }

  /** A program connected to one of the view's record sockets. */
  openRecords(port: RecordPort, caller: Caller): RecordConnection {
    const client = new RecordConnection(this, port, caller);
    this.#newRecords.add(client);
    return client;
  }

  /** Monotonic ms of the next timer, or NEVER. */
  deadline(): number {
    return Math.min(
      this.#hellos.deadline(),
      this.#parked.deadline(),
      this.#ended.deadline(),
      this.#heldDue.deadline(),
      this.nameServer.deadline(),
      this.dns.deadline(),
      this.hostDns?.deadline() ?? Number.POSITIVE_INFINITY,
      this.timers.connecting.deadline(),
      this.timers.halfClosed.deadline(),
      this.timers.corked.deadline(),
      this.#listeners.deadline(),
    );
  }

  handleTimeout(at: Moment): void {
    const now = at.mono;
    this.#hellos.handleTimeout(now);
    drainDue(this.#parked, now, (request) => answerError(request, failed('ENOTCONN')));
    this.#ended.handleTimeout(now);
    drainDue(this.#heldDue, now, (socket) => socket.heldDue());
    drainDue(this.timers.connecting, now, (socket) => socket.probeDue());
    drainDue(this.timers.halfClosed, now, (socket) => socket.probeDue());
    drainDue(this.timers.corked, now, (socket) => socket.uncork());
    this.#listeners.handleTimeout(now);
    this.nameServer.handleTimeout(now);
    this.dns.handleTimeout(now);
    this.hostDns?.handleTimeout(now);
  }

  /** The network is left or the service stops: every connection is closed. */
  close(): void {
    this.#answerer.close();
    this.dns.close();
    this.hostDns?.close();
    for (const client of [...this.#clients]) client.close();
    for (const client of [...this.#newRecords]) client.close();
    for (const socket of [...this.#sockets.values()]) socket.streamReset();
    this.#ended.clear();
    for (const token of [...this.#sockets.keys()]) this.#dropToken(token);
  }

  counters(): PreloadCounters {
    return {
      sockets: this.#sockets.size,
      remembered: this.#ended.size,
      listeners: this.listenerQuota.total,
      waiting: this.waitingQuota.total,
      controls: this.#controlQuota.total,
      parked: this.#parked.size,
      ports: this.ports.size,
      datagramSockets: this.#datagrams.size,
      questions: this.dns.size + (this.hostDns?.size ?? 0),
      udpPorts: this.udp.size,
      echoIds: this.#echo.size,
      dropSockets: this.#tokenQuota.refused,
      dropHellos: this.#hellos.dropped,
      dropRemembered: this.#ended.dropped,
      dropListeners: this.listenerQuota.refused,
      dropWaiting: this.waitingQuota.refused,
      dropControls: this.#controlQuota.refused,
      dropParked: this.#parked.dropped,
      dropConnectWaits: this.#connectWaitsRefused,
      dropQuestions: this.dns.dropped + (this.hostDns?.dropped ?? 0) + this.#answerer.dropped,
      dropUdpPorts: this.udp.dropped,
      ...this.datagramCounters,
    };
  }

  // -------------------------------------------------- for connections

  awaitHello(client: SilentConnection): () => void {
    return this.#hellos.await(client, this.now().mono);
  }

  mayControl(uid: number | undefined): boolean {
    return this.#controlQuota.take(uid);
  }

  forget(client: PreloadConnection): void {
    this.#clients.delete(client);
  }

  /** A control connection that had been admitted is over. */
  controlClosed(uid: number | undefined): void {
    this.#controlQuota.give(uid);
  }

  attach(hello: Hello, port: StreamPort, client: PreloadConnection): VirtualSocket | undefined {
    if (this.#sockets.has(hello.token) || !this.#takePlace(client.uid)) return undefined;
    const socket = this.#socketFor(hello, client);
    if (socket === undefined) {
      this.#tokenQuota.give(client.uid);
      return undefined;
    }
    socket.owner = client.uid;
    this.#sockets.set(hello.token, socket);
    socket.attach(port, hello.token);
    return socket;
  }

  /** A place among the sockets of a user, if need be that of one which has ended. */
  #takePlace(user: number | undefined): boolean {
    if (!this.#tokenQuota.hasRoom(user)) this.#ended.forgetOldestOf(user);
    return this.#tokenQuota.take(user);
  }

  #socketFor(hello: Hello, client: PreloadConnection): VirtualSocket | undefined {
    if (hello.kind === HelloKind.accepted) {
      return this.#listeners.take(hello.connectionId, (owner) => client.mayUse(owner));
    }
    if (hello.kind !== HelloKind.socket || hello.protocol !== 6) return undefined;
    if (hello.family !== 4 && hello.family !== 6) return undefined;
    const socket = new VirtualSocket(this, hello.token, hello.family);
    socket.policy = hello.policy;
    return socket;
  }

  attachDatagram(hello: Hello, port: RecordPort, caller: Caller): DatagramSocket | undefined {
    if (this.#sockets.has(hello.token)) return undefined;
    const ports = this.#portsFor(hello);
    const { token, family } = hello;
    if (ports === undefined || (family !== 4 && family !== 6)) return undefined;
    if (!this.#takePlace(caller.uid)) return undefined;
    const socket = new DatagramSocket(this, ports, port, {
      token,
      family,
      owner: caller.uid,
      policy: hello.policy,
    });
    this.#sockets.set(token, socket);
    this.#datagrams.add(socket);
    if (this.#datagrams.size === 1) this.udp.serve(DNS_PORT, this.#answerer);
    return socket;
  }

  #portsFor({ family, protocol }: Hello): DatagramPorts | undefined {
    if (protocol === IPPROTO_UDP) return this.udp;
    const isEcho = protocol === (family === 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
    return isEcho && this.stack.echoOpen !== undefined ? this.#echo : undefined;
  }

  attachedDatagram(socket: DatagramSocket): void {
    this.#unpark(socket);
  }

  forgetRecords(client: RecordConnection): void {
    this.#newRecords.delete(client);
  }

  datagramGone(socket: DatagramSocket): void {
    this.#datagrams.delete(socket);
    this.#dropToken(socket.token);
    if (this.#datagrams.size > 0) return;
    this.#answerer.close();
    this.udp.unserve(DNS_PORT);
  }

  watchHeld(socket: DatagramSocket): void {
    this.#heldDue.arm(this.now().mono, socket);
  }

  isVirtual(ip: IpBytes): boolean {
    return this.stack.sourceFor(ip) !== undefined;
  }

  isLocal(ip: IpBytes): boolean {
    return this.stack.isLocal(ip);
  }

  addresses(): StackConfig['addresses'] {
    return this.names.config().addresses;
  }

  attached(socket: VirtualSocket): void {
    this.#unpark(socket);
  }

  #unpark(socket: RequestTarget): void {
    for (const request of this.#parked.take(socket.token)) this.#carryOut(request, socket);
  }

  request(request: Request): void {
    const { op, token } = request.header;
    if (!needsSocket(op)) {
      carryOut(request, undefined, this);
      return;
    }
    const socket = this.#sockets.get(token);
    if (socket !== undefined) this.#carryOut(request, socket);
    else if (!mayPark(request.header)) answerError(request, failed('ENOTCONN'));
    else if (!this.#parked.park(request, this.now().mono)) answerError(request, failed('ENOBUFS'));
  }

  /**
   * Only the owner of a socket, root, or who knows the key may speak about it [5 section 14]. What
   * the program sent on the socket before comes first, and may end it.
   */
  #carryOut(request: Request, socket: RequestTarget): void {
    if (!request.client.mayUse(socket.owner)) {
      answerError(request, failed('EACCES'));
      return;
    }
    socket.settle?.();
    if (this.#sockets.get(socket.token) === socket) carryOut(request, socket, this);
    else answerError(request, failed('ENOTCONN'));
  }

  // ----------------------------------------------------- for sockets

  connectWaitRefused(): void {
    this.#connectWaitsRefused++;
  }

  find(token: Token): RequestTarget | undefined {
    return this.#sockets.get(token);
  }

  mtu(): number {
    return this.names.config().mtu;
  }

  listen(socket: VirtualSocket, port: StreamPort, backlog: number): number {
    return this.#listeners.listen(socket, port, backlog);
  }

  newConnectionId(): string {
    const id = new Uint8Array(8);
    this.#random(id);
    return byteKey(id, 0, 8);
  }

  retire(socket: VirtualSocket): void {
    const { token, owner } = socket;
    if (this.#sockets.get(token) === socket) this.#ended.add(token, owner);
  }

  #dropToken(token: Token): void {
    const socket = this.#sockets.get(token);
    if (socket === undefined) return;
    this.#sockets.delete(token);
    this.#tokenQuota.give(socket.owner);
  }
}

function capabilitiesOf(options: PreloadViewOptions): number {
  const { hasRecords, hasCredentials, stack } = options;
  const datagrams = hasRecords === true ? Capability.seqpacket : 0;
  const echo = datagrams !== 0 && stack.echoOpen !== undefined ? Capability.icmpEcho : 0;
  const credentials = hasCredentials === true ? Capability.peerCredentials : 0;
  return Capability.resolver | datagrams | echo | credentials;
}

function drainDue<T>(
  queue: Pick<DelayQueue<T>, 'takeDue'>,
  now: number,
  act: (value: T) => void,
): void {
  for (let v = queue.takeDue(now); v !== undefined; v = queue.takeDue(now)) act(v);
}
