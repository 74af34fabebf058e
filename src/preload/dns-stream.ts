/**
 * The view's own DNS server over TCP (RFC 1035 section 4.2.2, RFC 7766), for programs with a resolver
 * of their own whose answer did not fit into a datagram.
 *
 * A connection to it is none of the stack: the carrier of the program's socket is the server's end, so
 * who asks is known, and a user has as many as it has sockets. Where a program of the network listens
 * there is no such way. One question is under way at a time, and the next is looked at when the program
 * has read the answer, which bounds what waits. The sink is called from `handleTimeout` alone.
 */
import { concatBytes } from '../lib/bytes.js';
import type { Moment } from '../lib/time.js';
import type { Endpoint, Stack, StackErrno, TcpHandle, TcpSink } from '../stack/stack.js';
import { type DelayEntry, DelayQueue } from './delay-queue.js';
import { DNS_PORT, type DnsAnswerer } from './dns-answerer.js';
import type { TcpCarrier, TcpWay } from './fallthrough.js';
import { classifyDestination, resolveUnspecified } from './policy.js';
import type { Ports } from './ports.js';
import type { Asker, Withdraw } from './resolver.js';

/** Ours: a connection on which nothing happens ends after this, in ms (RFC 7766 section 6.2.3). */
const IDLE_MS = 10_000;
/** RFC 1035 section 4.2.2: a length of 16 bits before each message. */
const LENGTH_LEN = 2;
/** Ours: longest question; one with a longer ends its connection. */
const QUESTION_MAX = 4096;
const ROOM = LENGTH_LEN + QUESTION_MAX;
/** A carrier carries one connection. */
const ONLY = 1 as TcpHandle;
const LOOPBACK = Uint8Array.of(127, 0, 0, 1);

export interface DnsStreamHost {
  readonly ports: Ports;
  readonly wake: () => void;
  now(): Moment;
}

/** The server's end of one connection. */
class DnsStream implements TcpCarrier {
  readonly #server: DnsStreams;
  readonly #asker: Asker;
  #sink: TcpSink | undefined;
  #names: { readonly local: Endpoint; readonly remote: Endpoint } | undefined;
  /** What the program wrote, from the first byte that is not asked yet. */
  #in: Uint8Array = new Uint8Array(0);
  #reply: Uint8Array | undefined;
  /** Bytes of the answer that the program has not taken. */
  #unread = 0;
  #isConnected = false;
  #isAsking = false;
  #isProgramDone = false;
  /** Our end of the connection is closed. */
  #isEnded = false;
  #hasFailed = false;
  #withdraw: Withdraw | undefined;
  #soon: DelayEntry<DnsStream> | undefined;
  #idle: DelayEntry<DnsStream> | undefined;

  constructor(server: DnsStreams, asker: Asker) {
    this.#server = server;
    this.#asker = asker;
  }

  tcpConnect(
    _at: Moment,
    local: Endpoint | undefined,
    remote: Endpoint,
    sink: TcpSink,
  ): TcpHandle | StackErrno {
    const port = local?.port ?? this.#server.host.ports.ephemeral();
    if (port === undefined) return 'EADDRNOTAVAIL';
    this.#names = { local: local ?? { ip: LOOPBACK, port }, remote };
    this.#sink = sink;
    this.#touch();
    return ONLY;
  }

  tcpWrite(_at: Moment, _handle: TcpHandle, bytes: Uint8Array): number {
    if (this.#isEnded) this.#hasFailed = true;
    const count = this.#isEnded ? bytes.length : Math.min(bytes.length, ROOM - this.#in.length);
    if (!this.#isEnded) this.#in = concatBytes(this.#in, bytes.subarray(0, count));
    this.#touch();
    return count;
  }

  tcpCredit(_at: Moment, _handle: TcpHandle, count: number): void {
    this.#unread -= count;
    this.#touch();
  }

  tcpShutdown(): void {
    this.#isProgramDone = true;
    this.#touch();
  }

  tcpClose(): void {
    this.#forget();
  }

  tcpAbort(): void {
    this.#forget();
  }

  /** No packets, so no options of theirs and nothing to tell about them. */
  tcpSetOptions(): void {}

  tcpInfo(): undefined {
    return undefined;
  }

  tcpNames(): { readonly local: Endpoint; readonly remote: Endpoint } | undefined {
    return this.#names;
  }

  #forget(): void {
    this.#sink = undefined;
    this.#withdraw?.();
    this.#withdraw = undefined;
    if (this.#soon !== undefined) this.#soon.value = undefined;
    if (this.#idle !== undefined) this.#idle.value = undefined;
  }

  /** Something happened: what follows from it comes soon, and idle time starts again. */
  #touch(): void {
    if (this.#sink === undefined) return;
    if (this.#soon?.value === undefined) this.#soon = this.#server.armSoon(this);
    if (this.#idle !== undefined) this.#idle.value = undefined;
    this.#idle = this.#server.armIdle(this);
  }

  /** What has become possible; each step may end the connection. */
  proceed(): void {
    if (!this.#isConnected) {
      this.#isConnected = true;
      this.#sink?.onConnected();
    }
    if (this.#hasFailed) {
      const sink = this.#sink;
      this.#forget();
      sink?.onError('ECONNRESET');
      return;
    }
    this.#handOver();
    this.#askNext();
    const isWaiting = this.#isAsking || this.#reply !== undefined || this.#unread > 0;
    if (this.#isProgramDone && !isWaiting && !this.#hasFailed) this.#end();
  }

  #handOver(): void {
    const reply = this.#reply;
    if (reply === undefined) return;
    this.#reply = undefined;
    this.#unread += reply.length;
    this.#sink?.onData(reply);
  }

  #askNext(): void {
    if (this.#isAsking || this.#reply !== undefined || this.#unread > 0) return;
    if (this.#isEnded || this.#in.length < LENGTH_LEN) return;
    const len = (this.#in[0]! << 8) | this.#in[1]!;
    if (len > QUESTION_MAX) this.#fail();
    else if (this.#in.length >= LENGTH_LEN + len) this.#ask(LENGTH_LEN + len);
  }

  #ask(end: number): void {
    const question = this.#in.slice(LENGTH_LEN, end);
    this.#in = this.#in.slice(end);
    this.#isAsking = true;
    const withdraw = this.#server.answerer.ask(question, this.#asker, (answer) => {
      this.#isAsking = false;
      this.#withdraw = undefined;
      if (answer === undefined) this.#fail();
      else this.#reply = framed(answer);
      this.#touch();
    });
    if (this.#isAsking) this.#withdraw = withdraw;
    this.#sink?.onSent(end);
  }

  /** What was no question, or one too many of its user, ends the connection. */
  #fail(): void {
    this.#hasFailed = true;
    this.#touch();
  }

  #end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#sink?.onFin();
  }

  idleDue(): void {
    if (this.#isAsking) this.#touch();
    else this.#end();
  }
}

function framed(message: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(message.length >> 8, message.length & 0xff), message);
}

export class DnsStreams {
  readonly host: DnsStreamHost;
  readonly answerer: DnsAnswerer;
  readonly #soon: DelayQueue<DnsStream>;
  readonly #idle: DelayQueue<DnsStream>;

  constructor(host: DnsStreamHost, answerer: DnsAnswerer) {
    this.host = host;
    this.answerer = answerer;
    this.#soon = new DelayQueue(0, host.wake);
    this.#idle = new DelayQueue(IDLE_MS, host.wake);
  }

  /** The way to `address` if it is the own server's and no program of the network listens there. */
  wayTo(address: Endpoint, stack: Pick<Stack, 'sourceFor'>, asker: Asker): TcpWay | undefined {
    const to = { ip: resolveUnspecified(address.ip), port: address.port };
    if (to.port !== DNS_PORT || !this.answerer.serves(to.ip)) return undefined;
    const virtual = classifyDestination(stack, to.ip);
    if (virtual.kind !== 'virtual' || this.host.ports.hasListener(to.ip, to.port)) return undefined;
    return { carrier: new DnsStream(this, asker), to, source: virtual.source };
  }

  armSoon(stream: DnsStream): DelayEntry<DnsStream> {
    return this.#soon.arm(this.host.now().mono, stream);
  }

  armIdle(stream: DnsStream): DelayEntry<DnsStream> {
    return this.#idle.arm(this.host.now().mono, stream);
  }

  deadline(): number {
    return Math.min(this.#soon.deadline(), this.#idle.deadline());
  }

  handleTimeout(now: number): void {
    for (let s = this.#soon.takeDue(now); s !== undefined; s = this.#soon.takeDue(now)) s.proceed();
    for (let s = this.#idle.takeDue(now); s !== undefined; s = this.#idle.takeDue(now)) s.idleDue();
  }
}
