/**
 * A TCP/IP stack for tests: one host whose own addresses and loopback reach each other, nothing
 * else answers. It keeps the contract of `Stack` (callbacks only inside `drain`), has bounded send
 * buffers and receive windows, and counts what is open, so that tests can see leaks. TCP is IPv4 only.
 *
 * What it does not model: segments, retransmission, timers of TCP. TIME_WAIT does not exist.
 */
import { equalBytes } from '#src/lib/bytes.js';
import { type Moment, NEVER } from '#src/lib/time.js';
import type {
  DatagramOptions,
  EchoSink,
  Endpoint,
  FrameSink,
  IpBytes,
  ListenHandle,
  ListenSink,
  Stack,
  StackConfig,
  StackErrno,
  StackExtras,
  TcpHandle,
  TcpInfo,
  TcpOptions,
  TcpSink,
  UdpHandle,
  UdpSink,
} from '#src/stack/stack.js';

import { FakeUdp } from './fake-udp.js';

const SEND_BUFFER = 65536;
const WINDOW = 65536;
const MSS = 1460;

interface Pcb {
  readonly handle: TcpHandle;
  readonly local: Endpoint;
  readonly remote: Endpoint;
  sink: TcpSink | undefined;
  peer: Pcb | undefined;
  state: 'connecting' | 'open' | 'dead';
  /** Written, not delivered. */
  out: Uint8Array[];
  outLen: number;
  /** Delivered, not credited. */
  held: number;
  finQueued: boolean;
  finSent: boolean;
  finReceived: boolean;
  /** The user closed: no callbacks, but the rest still goes out. */
  closed: boolean;
}

interface Listener {
  readonly handle: ListenHandle;
  readonly local: Endpoint;
  readonly sink: ListenSink;
}

const isZero = (ip: IpBytes) => ip.every((b) => b === 0);

type DatagramExtras = Pick<
  StackExtras,
  'echoOpen' | 'echoSend' | 'echoClose' | 'groupJoin' | 'groupLeave'
>;

export class FakeStack implements Stack, DatagramExtras {
  readonly mac = Uint8Array.of(0x02, 0, 0, 0, 0, 1);
  #config: StackConfig = { mtu: 2800, addresses: [], routes: [] };
  #next = 1;
  #port = 40000;
  readonly #pcbs = new Map<TcpHandle, Pcb>();
  readonly #listeners = new Map<ListenHandle, Listener>();
  #events: (() => void)[] = [];
  readonly udp = new FakeUdp({
    isLocal: (ip) => this.isLocal(ip),
    sourceFor: (to) => this.sourceFor(to),
    later: (event) => this.#events.push(event),
  });

  configure(_at: Moment, config: StackConfig): void {
    this.#config = config;
  }
  frameIn(): void {}
  handleTimeout(): void {}
  deadline(): number {
    return NEVER;
  }
  multicastGroups(): [] {
    return [];
  }
  close(): void {
    this.#pcbs.clear();
    this.#listeners.clear();
  }

  drain(_at: Moment, _send: FrameSink): void {
    for (let turn = 0; turn < 10_000; turn++) {
      const events = this.#events;
      this.#events = [];
      for (const e of events) e();
      let moved = events.length > 0;
      for (const pcb of [...this.#pcbs.values()]) moved = this.#move(pcb) || moved;
      if (!moved) return;
    }
    throw new Error('the stack does not come to rest');
  }

  isLocal(ip: IpBytes): boolean {
    if (ip.length === 4 && ip[0] === 127) return true;
    if (ip.length === 16 && ip[15] === 1 && ip.subarray(0, 15).every((b) => b === 0)) return true;
    return this.#config.addresses.some((a) => equalBytes(a.ip, ip));
  }

  sourceFor(to: IpBytes): IpBytes | undefined {
    if (to.length !== 4) return this.#sourceFor6(to);
    if (to[0] === 127) return Uint8Array.of(127, 0, 0, 1);
    if (to[0]! >= 0xe0) return this.#config.addresses.find((a) => a.ip.length === 4)?.ip;
    return this.#config.addresses.find((a) => samePrefix(a.ip, to, a.prefixLen))?.ip;
  }

  #sourceFor6(to: IpBytes): IpBytes | undefined {
    if (this.isLocal(to)) return to;
    if (to[0] === 0xff) return this.#config.addresses.find((a) => a.ip.length === 16)?.ip;
    return this.#config.addresses.find((a) => samePrefix(a.ip, to, a.prefixLen))?.ip;
  }

  tcpConnect(
    _at: Moment,
    local: Endpoint | undefined,
    remote: Endpoint,
    sink: TcpSink,
    _options?: TcpOptions,
  ): TcpHandle | StackErrno {
    const source = this.sourceFor(remote.ip);
    if (source === undefined) return 'ENETUNREACH';
    const from = local ?? { ip: source, port: this.#ephemeral() };
    const pcb = this.#make(from, remote, sink, 'connecting');
    if (this.isLocal(remote.ip)) this.#events.push(() => this.#handshake(pcb));
    return pcb.handle;
  }

  #handshake(pcb: Pcb): void {
    if (pcb.state !== 'connecting') return;
    const listener = this.#listenerFor(pcb.remote);
    if (listener === undefined) {
      this.#die(pcb, 'ECONNREFUSED');
      return;
    }
    const other = this.#make(pcb.remote, pcb.local, undefined, 'open');
    other.peer = pcb;
    pcb.peer = other;
    pcb.state = 'open';
    pcb.sink?.onConnected();
    const sink = listener.sink.onAccept(other.handle, other.local, other.remote);
    if (sink === undefined) this.#reset(other);
    else other.sink = sink;
  }

  #listenerFor(to: Endpoint): Listener | undefined {
    let found: Listener | undefined;
    for (const l of this.#listeners.values()) {
      if (l.local.port !== to.port || l.local.ip.length === 16) continue;
      if (equalBytes(l.local.ip, to.ip)) return l;
      if (isZero(l.local.ip)) found ??= l;
    }
    return found;
  }

  #ephemeral(): number {
    this.#port = this.#port >= 49000 ? 40000 : this.#port + 1;
    return this.#port;
  }

  #make(local: Endpoint, remote: Endpoint, sink: TcpSink | undefined, state: Pcb['state']): Pcb {
    const pcb: Pcb = {
      handle: this.#next++ as TcpHandle,
      local,
      remote,
      sink,
      peer: undefined,
      state,
      out: [],
      outLen: 0,
      held: 0,
      finQueued: false,
      finSent: false,
      finReceived: false,
      closed: false,
    };
    this.#pcbs.set(pcb.handle, pcb);
    return pcb;
  }

  /** Delivers what `pcb` may send now; true when something happened. */
  #move(pcb: Pcb): boolean {
    const peer = pcb.peer;
    if (pcb.state !== 'open' || peer === undefined || (peer.sink === undefined && !peer.closed)) {
      return false;
    }
    let moved = false;
    let sent = 0;
    while (pcb.outLen > 0 && peer.state === 'open' && (peer.closed || peer.held < WINDOW)) {
      if (peer.closed) {
        this.#reset(peer);
        return true;
      }
      const chunk = pcb.out[0]!;
      const part = chunk.subarray(0, Math.min(MSS, WINDOW - peer.held));
      if (part.length === chunk.length) pcb.out.shift();
      else pcb.out[0] = chunk.subarray(part.length);
      pcb.outLen -= part.length;
      peer.held += part.length;
      sent += part.length;
      peer.sink?.onData(part.slice());
      moved = true;
    }
    if (sent > 0 && !pcb.closed && pcb.state === 'open') pcb.sink?.onSent(sent);
    return this.#moveFin(pcb, peer) || moved;
  }

  #moveFin(pcb: Pcb, peer: Pcb): boolean {
    if (!pcb.finQueued || pcb.finSent || pcb.outLen > 0 || pcb.state !== 'open') return false;
    pcb.finSent = true;
    peer.finReceived = true;
    if (!peer.closed) peer.sink?.onFin();
    for (const p of [pcb, peer]) {
      if (p.finSent && p.finReceived && p.closed) this.#pcbs.delete(p.handle);
    }
    return true;
  }

  #die(pcb: Pcb, errno: StackErrno): void {
    if (pcb.state === 'dead') return;
    pcb.state = 'dead';
    this.#pcbs.delete(pcb.handle);
    if (!pcb.closed) pcb.sink?.onError(errno);
  }

  /** RST from `pcb` to its peer. */
  #reset(pcb: Pcb): void {
    pcb.state = 'dead';
    this.#pcbs.delete(pcb.handle);
    const peer = pcb.peer;
    if (peer !== undefined) this.#events.push(() => this.#die(peer, 'ECONNRESET'));
  }

  tcpListen(
    _at: Moment,
    local: Endpoint,
    v6Only: boolean,
    _backlog: number,
    sink: ListenSink,
  ): ListenHandle | StackErrno {
    const port = local.port === 0 ? this.#ephemeral() : local.port;
    const ip = local.ip.length === 16 && !v6Only ? new Uint8Array(0) : local.ip;
    for (const l of this.#listeners.values()) {
      if (l.local.port === port && equalBytes(l.local.ip, ip)) return 'EADDRINUSE';
    }
    const handle = this.#next++ as ListenHandle;
    this.#listeners.set(handle, { handle, local: { ip, port }, sink });
    return handle;
  }
  tcpListenClose(_at: Moment, handle: ListenHandle): void {
    this.#listeners.delete(handle);
  }

  #live(handle: TcpHandle): Pcb {
    const pcb = this.#pcbs.get(handle);
    if (pcb === undefined || pcb.closed) throw new Error(`handle ${handle} is dead`);
    return pcb;
  }

  tcpWrite(_at: Moment, handle: TcpHandle, bytes: Uint8Array): number {
    const pcb = this.#live(handle);
    const part = bytes.slice(0, Math.min(bytes.length, SEND_BUFFER - pcb.outLen));
    if (part.length > 0) pcb.out.push(part);
    pcb.outLen += part.length;
    return part.length;
  }
  tcpSendRoom(handle: TcpHandle): number {
    return SEND_BUFFER - this.#live(handle).outLen;
  }
  tcpCredit(_at: Moment, handle: TcpHandle, count: number): void {
    const pcb = this.#live(handle);
    if (count > pcb.held) throw new Error(`credit of ${count}, only ${pcb.held} outstanding`);
    pcb.held -= count;
  }
  tcpShutdown(_at: Moment, handle: TcpHandle): void {
    this.#live(handle).finQueued = true;
  }
  tcpClose(_at: Moment, handle: TcpHandle): void {
    const pcb = this.#live(handle);
    if (pcb.held > 0) {
      this.#reset(pcb);
      return;
    }
    pcb.closed = true;
    pcb.finQueued = true;
    if (pcb.finSent && pcb.finReceived) this.#pcbs.delete(handle);
  }
  tcpAbort(_at: Moment, handle: TcpHandle): void {
    const pcb = this.#live(handle);
    pcb.closed = true;
    this.#reset(pcb);
  }
  tcpSetOptions(_at: Moment, handle: TcpHandle): void {
    this.#live(handle);
  }
  tcpInfo(handle: TcpHandle): TcpInfo | undefined {
    const pcb = this.#pcbs.get(handle);
    if (pcb === undefined) return undefined;
    return {
      state: pcb.state === 'open' ? 4 : 2,
      rtoMs: 200,
      rttUs: 1_000,
      rttVarUs: 500,
      sendMss: MSS,
      congestionWindow: 10 * MSS,
      slowStartThreshold: 0x7fffffff,
      unacked: pcb.outLen,
      unsent: 0,
      receiveWindow: 65_535,
      retransmits: 0,
      timestamps: true,
      sack: true,
      sendScale: 5,
      receiveScale: 5,
      bytesAcked: 0,
      bytesReceived: 0,
    };
  }
  tcpNames(handle: TcpHandle): { local: Endpoint; remote: Endpoint } | undefined {
    const pcb = this.#pcbs.get(handle);
    return pcb === undefined ? undefined : { local: pcb.local, remote: pcb.remote };
  }

  udpOpen(_at: Moment, local: Endpoint, reuse: boolean, sink: UdpSink): UdpHandle | StackErrno {
    return this.udp.socket(local, sink, reuse);
  }
  udpSend(
    _at: Moment,
    handle: UdpHandle,
    to: Endpoint,
    payload: Uint8Array,
    options: DatagramOptions = {},
  ): StackErrno | undefined {
    return this.udp.send(handle, to, payload, options);
  }
  udpClose(_at: Moment, handle: UdpHandle): void {
    this.udp.close(handle);
  }
  udpLocal(handle: UdpHandle): Endpoint | undefined {
    return this.udp.local(handle);
  }
  echoOpen(_at: Moment, family: 4 | 6, id: number, sink: EchoSink): StackErrno | undefined {
    return this.udp.openEcho(family, id, sink);
  }
  echoSend(_at: Moment, to: IpBytes, message: Uint8Array): StackErrno | undefined {
    return this.udp.sendEcho(to, message);
  }
  echoClose(_at: Moment, family: 4 | 6, id: number): void {
    this.udp.closeEcho(family, id);
  }
  groupJoin(_at: Moment, group: IpBytes): boolean {
    return this.udp.join(group);
  }
  groupLeave(_at: Moment, group: IpBytes): void {
    this.udp.leave(group);
  }

  counters(): Readonly<Record<string, number>> {
    return {
      pcbs: this.#pcbs.size,
      listeners: this.#listeners.size,
      datagrams: this.udp.open,
    };
  }
}

function samePrefix(a: IpBytes, b: IpBytes, prefixLen: number): boolean {
  if (a.length !== b.length) return false;
  for (let bit = 0; bit < prefixLen; bit++) {
    const mask = 0x80 >> (bit & 7);
    if ((a[bit >> 3]! & mask) !== (b[bit >> 3]! & mask)) return false;
  }
  return true;
}
