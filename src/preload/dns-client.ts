/**
 * Questions to the DNS servers that a network pushes, through the virtual stack [5 section 11]: UDP,
 * TCP when the answer is truncated; every server is tried twice, three seconds each, in turns.
 *
 * An answer counts only from the server that was asked, to the port and with the identifier of its
 * question, both random. Every question ends in one call of its `done`, unless it is withdrawn.
 */
import { concatBytes } from '../lib/bytes.js';
import type { Moment } from '../lib/time.js';
import type { Endpoint, IpBytes, TcpHandle, TcpSink } from '../stack/stack.js';
import type { Arrival, DatagramPorts, Member } from './datagram-ports.js';
import { type DelayEntry, DelayQueue } from './delay-queue.js';
import { type DnsQuestion, DnsRcode, parseQuestion } from './dns-message.js';
import type { TcpCarrier } from './fallthrough.js';
import { ANY_INTERFACE } from './networks.js';
import { Policy } from './policy.js';
import type { Quota } from './quota.js';

/** [5 section 11] tries per server, and time of one. */
const TRIES = 2;
const TRY_MS = 3000;
/** Ours: hop limit of questions. */
const TTL = 64;
/** RFC 1035 section 4.2.2: a length of 16 bits before each message. */
const LENGTH_LEN = 2;

/** A server, and the interface that leads to it; 0 = what the route says. */
export interface DnsServer extends Endpoint {
  readonly via?: number;
}

export interface DnsHost {
  /** Of the interface `index`. */
  readonly stackOn: (index: number) => TcpCarrier;
  readonly stack: TcpCarrier;
  readonly udp: DatagramPorts;
  readonly wake: () => void;
  now(): Moment;
  random32(): number;
}

/** Called with the answer, or undefined when no server gave one. */
export type DnsDone = (answer: Uint8Array | undefined) => void;

/** One attempt: a port, of the user who asks, that hears one server. */
class UdpTry implements Member {
  readonly family: 4 | 6;
  readonly v6Only = true;
  readonly reuseAddr = false;
  readonly reusePort = false;
  readonly owner: number | undefined;
  readonly policy = Policy.none;
  readonly localIp: IpBytes;
  readonly remote: DnsServer;
  readonly device: number;
  readonly #question: Question;

  constructor(question: Question, server: DnsServer, user: number | undefined) {
    this.#question = question;
    this.owner = user;
    this.remote = server;
    this.device = server.via ?? ANY_INTERFACE;
    this.family = server.ip.length === 4 ? 4 : 6;
    this.localIp = new Uint8Array(server.ip.length);
  }
  hears(): boolean {
    return false;
  }
  deliver({ payload }: Arrival): void {
    this.#question.answered(payload.slice(), this.remote, true);
  }
  unreachable(): void {
    this.#question.next();
  }
}

/** One attempt over TCP. */
class TcpTry implements TcpSink {
  handle: TcpHandle | undefined;
  readonly #question: Question;
  readonly #server: DnsServer;
  /** Length and message, as far as they came. */
  readonly #bytes = new Uint8Array(LENGTH_LEN + 0xffff);
  #len = 0;

  constructor(question: Question, server: DnsServer) {
    this.#question = question;
    this.#server = server;
  }

  onConnected(): void {
    this.#question.writeTo(this.handle!);
  }

  onData(bytes: Uint8Array): void {
    this.#question.credit(this.handle!, bytes.length);
    const part = bytes.subarray(0, this.#bytes.length - this.#len);
    this.#bytes.set(part, this.#len);
    this.#len += part.length;
    if (this.#len < LENGTH_LEN) return;
    const len = LENGTH_LEN + ((this.#bytes[0]! << 8) | this.#bytes[1]!);
    if (this.#len < len) return;
    this.#question.answeredByTcp(this.#bytes.slice(LENGTH_LEN, len), this.#server);
  }

  onSent(): void {}

  onFin(): void {
    this.#question.next();
  }

  onError(): void {
    this.handle = undefined;
    this.#question.next();
  }
}

class Question {
  readonly user: number | undefined;
  readonly #client: DnsClient;
  readonly #servers: readonly DnsServer[];
  readonly #message: Uint8Array;
  readonly #asked: DnsQuestion;
  readonly #done: DnsDone;
  #tries = 0;
  #udp: UdpTry | undefined;
  #tcp: TcpTry | undefined;
  #timer: DelayEntry<Question> | undefined;
  /** A server's refusal: better than nothing when no other answers. */
  #lastAnswer: Uint8Array | undefined;
  #isOver = false;

  constructor(
    client: DnsClient,
    servers: readonly DnsServer[],
    message: Uint8Array,
    asked: DnsQuestion,
    user: number | undefined,
    done: DnsDone,
  ) {
    this.user = user;
    this.#client = client;
    this.#servers = servers;
    this.#message = message.slice();
    this.#asked = asked;
    this.#done = done;
  }

  /** The next attempt, or the end. */
  next(): void {
    this.#stop();
    while (!this.#isOver) {
      if (this.#tries === this.#servers.length * TRIES) {
        this.#finish(this.#lastAnswer);
        return;
      }
      const server = this.#servers[this.#tries++ % this.#servers.length]!;
      const attempt = new UdpTry(this, server, this.user);
      if (this.#client.host.udp.add(attempt, attempt.localIp, 0) < 0) {
        /* The user has all the ports it may: there is none to ask another server from either. */
        this.#finish(this.#lastAnswer);
        return;
      }
      if (this.#sendTo(server, attempt)) return;
    }
  }

  #sendTo(server: DnsServer, attempt: UdpTry): boolean {
    this.#newId();
    this.#udp = attempt;
    this.#timer = this.#client.arm(this);
    const { udp } = this.#client.host;
    const errno = udp.send(attempt, server, this.#message, { ttl: TTL });
    if (errno === undefined) return true;
    this.#stop();
    return false;
  }

  #newId(): void {
    const id = this.#client.host.random32();
    this.#message[0] = (id >> 8) & 0xff;
    this.#message[1] = id & 0xff;
  }

  /** What was asked for is the only message of its connection. */
  answeredByTcp(message: Uint8Array, server: DnsServer): void {
    if (!this.answered(message, server, false)) this.next();
  }

  /** @returns false when it is no answer to this question: over UDP anybody may have sent it. */
  answered(message: Uint8Array, server: DnsServer, mayRetry: boolean): boolean {
    const got = parseQuestion(message);
    if (got === undefined || !this.#isAnswer(got)) return false;
    if (got.isTruncated && mayRetry) {
      this.#connectTo(server);
      return true;
    }
    message[0] = this.#asked.id >> 8;
    message[1] = this.#asked.id & 0xff;
    this.#lastAnswer = message;
    if (got.rcode === DnsRcode.ok || got.rcode === DnsRcode.noName) this.#finish(message);
    else this.next();
    return true;
  }

  #isAnswer(got: DnsQuestion): boolean {
    const id = (this.#message[0]! << 8) | this.#message[1]!;
    const { name, type } = this.#asked;
    return got.isResponse && got.id === id && got.name === name && got.type === type;
  }

  #connectTo(server: DnsServer): void {
    this.#stop();
    const { host } = this.#client;
    const attempt = new TcpTry(this, server);
    const stack = host.stackOn(server.via ?? ANY_INTERFACE);
    const handle = stack.tcpConnect(host.now(), undefined, server, attempt);
    if (typeof handle === 'string') {
      this.next();
      return;
    }
    attempt.handle = handle;
    this.#tcp = attempt;
    this.#timer = this.#client.arm(this);
  }

  writeTo(handle: TcpHandle): void {
    const len = this.#message.length;
    const framed = concatBytes(Uint8Array.of(len >> 8, len & 0xff), this.#message);
    this.#client.host.stack.tcpWrite(this.#client.host.now(), handle, framed, false);
  }

  credit(handle: TcpHandle, count: number): void {
    this.#client.host.stack.tcpCredit(this.#client.host.now(), handle, count);
  }

  #stop(): void {
    const { host } = this.#client;
    if (this.#timer !== undefined) this.#timer.value = undefined;
    this.#timer = undefined;
    if (this.#udp !== undefined) host.udp.remove(this.#udp);
    this.#udp = undefined;
    if (this.#tcp?.handle !== undefined) host.stack.tcpAbort(host.now(), this.#tcp.handle);
    this.#tcp = undefined;
  }

  #finish(answer: Uint8Array | undefined): void {
    if (this.#isOver) return;
    this.withdraw();
    this.#done(answer);
  }

  /** Ends without an answer. */
  withdraw(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stop();
    this.#client.forget(this);
  }
}

export class DnsClient {
  readonly host: DnsHost;
  /** Questions that were refused: their user has as many under way as it may. */
  dropped = 0;
  readonly #quota: Quota;
  /** Questions under way. */
  readonly #open = new Set<Question>();
  readonly #due: DelayQueue<Question>;

  /** @param quota questions of each user; may be shared with other clients. */
  constructor(host: DnsHost, quota: Quota) {
    this.host = host;
    this.#quota = quota;
    this.#due = new DelayQueue(TRY_MS, host.wake);
  }

  get size(): number {
    return this.#open.size;
  }

  /**
   * Asks `servers` what `message` asks. `done` is not called inside this call.
   * @returns withdraws the question; undefined when it can not be asked.
   */
  ask(
    servers: readonly DnsServer[],
    message: Uint8Array,
    user: number | undefined,
    done: DnsDone,
  ): (() => void) | undefined {
    const asked = parseQuestion(message);
    if (asked === undefined || servers.length === 0) return undefined;
    if (!this.#quota.take(user)) {
      this.dropped++;
      return undefined;
    }
    let isInside = true;
    let isRefused = false;
    const question = new Question(this, servers, message, asked, user, (answer) => {
      if (isInside) isRefused = true;
      else done(answer);
    });
    this.#open.add(question);
    question.next();
    isInside = false;
    return isRefused ? undefined : () => question.withdraw();
  }

  arm(question: Question): DelayEntry<Question> {
    return this.#due.arm(this.host.now().mono, question);
  }

  forget(question: Question): void {
    this.#quota.give(question.user);
    this.#open.delete(question);
  }

  deadline(): number {
    return this.#due.deadline();
  }

  handleTimeout(now: number): void {
    for (let q = this.#due.takeDue(now); q !== undefined; q = this.#due.takeDue(now)) q.next();
  }

  close(): void {
    for (const question of [...this.#open]) question.withdraw();
  }
}
