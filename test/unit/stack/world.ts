/**
 * Two stacks on one wire in virtual time, for the tests of this folder.
 *
 * Owns the clock, the wire (latency, loss, duplication, reordering, all from one seeded generator)
 * and the order of events: time, then sequence. After every input the stack concerned is drained, as
 * the contract asks. Nothing sleeps; `run` fails when the condition does not come true in the given
 * virtual time.
 */
import { createHash } from 'node:crypto';
import type { ExecutionContext } from 'ava';
import type { Moment } from '#src/lib/time.js';
import { createStack, type LwipStack } from '#src/stack/lwip-stack.js';
import type {
  Endpoint,
  ListenHandle,
  StackErrno,
  TcpHandle,
  TcpOptions,
  TcpSink,
} from '#src/stack/stack.js';

export const ip4 = (text: string): Uint8Array => Uint8Array.from(text.split('.').map(Number));

/** Only the forms the tests use: eight groups, or `prefix::last`. */
export function ip6(text: string): Uint8Array {
  const [head = '', tail] = text.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = new Array<string>(8 - left.length - right.length).fill('0');
  const groups = [...left, ...zeros, ...right].map((g) => Number.parseInt(g, 16));
  return Uint8Array.from(groups.flatMap((g) => [g >> 8, g & 0xff]));
}

export const A4 = ip4('10.0.0.1');
export const B4 = ip4('10.0.0.2');
export const A6 = ip6('fd00::1');
export const B6 = ip6('fd00::2');
export const MAC_A = Uint8Array.of(2, 0, 0, 0, 0, 0xa);
export const MAC_B = Uint8Array.of(2, 0, 0, 0, 0, 0xb);

/** xorshift32: small, seeded, good enough to pick frames. Returns 0 <= x < 1. */
export function generator(seed: number): () => number {
  let x = seed | 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 32;
  };
}

export interface Frame {
  readonly dst: Uint8Array;
  readonly src: Uint8Array;
  readonly etherType: number;
  readonly payload: Uint8Array;
}

export interface WireOptions {
  readonly seed?: number;
  readonly latencyMs?: number;
  readonly loss?: number;
  readonly duplicate?: number;
  /** Share of frames that take up to `latencyMs` * 4 longer. */
  readonly reorder?: number;
  readonly mtu?: number;
}

interface Timed {
  readonly time: number;
  readonly seq: number;
  readonly to: LwipStack;
  readonly frame: Frame;
}

export function makeStack(mac: Uint8Array, seed: number, at: Moment): LwipStack {
  const random = generator(seed);
  const entropy = {
    fill: (bytes: Uint8Array) => {
      for (let i = 0; i < bytes.length; i++) bytes[i] = Math.floor(random() * 256);
    },
  };
  return createStack({ mac, entropy, at });
}

export class World {
  readonly a: LwipStack;
  readonly b: LwipStack;
  /** Every frame that was sent, before loss; for assertions and mutations. */
  readonly sniffed: Frame[] = [];
  /** Set to drop or change frames by hand; undefined = drop. */
  filter: (frame: Frame, from: LwipStack) => Frame | undefined = (f) => f;
  keepFrames = false;
  frames = 0;
  #now = 1000;
  #seq = 0;
  #queue: Timed[] = [];
  readonly #random: () => number;
  readonly #options: Required<Omit<WireOptions, 'seed'>>;

  constructor({
    seed = 1,
    latencyMs = 0,
    loss = 0,
    duplicate = 0,
    reorder = 0,
    mtu = 2800,
  }: WireOptions = {}) {
    this.#options = { latencyMs, loss, duplicate, reorder, mtu };
    this.#random = generator(seed);
    this.a = makeStack(MAC_A, seed + 1, this.at);
    this.b = makeStack(MAC_B, seed + 2, this.at);
    this.#configure(this.a, A4, A6);
    this.#configure(this.b, B4, B6);
  }

  get at(): Moment {
    return { mono: this.#now, wall: 0 };
  }

  #configure(stack: LwipStack, v4: Uint8Array, v6: Uint8Array): void {
    stack.configure(this.at, {
      mtu: this.#options.mtu,
      addresses: [
        { ip: v4, prefixLen: 24 },
        { ip: v6, prefixLen: 64 },
      ],
      routes: [],
    });
    this.drain(stack);
  }

  drain(stack: LwipStack): void {
    stack.drain(this.at, (dst, src, etherType, payload) => {
      const frame = { dst: dst.slice(), src: src.slice(), etherType, payload: payload.slice() };
      this.frames++;
      if (this.keepFrames) this.sniffed.push(frame);
      this.#transmit(stack, frame);
    });
  }

  #transmit(from: LwipStack, original: Frame): void {
    const frame = this.filter(original, from);
    const { latencyMs, loss, duplicate, reorder } = this.#options;
    if (frame === undefined || this.#random() < loss) return;
    const to = from === this.a ? this.b : this.a;
    const extra = this.#random() < reorder ? this.#random() * (latencyMs + 1) * 4 : 0;
    this.#push(this.#now + latencyMs + extra, to, frame);
    if (this.#random() < duplicate) this.#push(this.#now + latencyMs + 1, to, frame);
  }

  #push(time: number, to: LwipStack, frame: Frame): void {
    const entry = { time, seq: this.#seq++, to, frame };
    let i = this.#queue.length;
    while (i > 0 && (this.#queue[i - 1]?.time ?? 0) > time) i--;
    this.#queue.splice(i, 0, entry);
  }

  /** Puts a frame on the wire as if the other side had sent it. */
  inject(to: LwipStack, frame: Frame): void {
    to.frameIn(this.at, frame.dst, frame.src, frame.etherType, frame.payload);
    this.drain(to);
  }

  /** Advances to the next thing that happens. @returns false when nothing ever will. */
  step(): boolean {
    const head = this.#queue[0];
    const deadline = Math.min(this.a.deadline(), this.b.deadline());
    const next = Math.min(head?.time ?? Number.POSITIVE_INFINITY, deadline);
    if (next === Number.POSITIVE_INFINITY) return false;
    this.#now = Math.max(this.#now, next);
    if (head !== undefined && head.time <= this.#now) {
      this.#queue.shift();
      this.inject(head.to, head.frame);
      return true;
    }
    for (const stack of [this.a, this.b]) {
      if (stack.deadline() > this.#now) continue;
      stack.handleTimeout(this.at);
      this.drain(stack);
    }
    return true;
  }

  /** Runs until `done` or for `limitMs` of virtual time. @returns whether it came true. */
  run(done: () => boolean, limitMs = 60_000): boolean {
    this.flush();
    const end = this.#now + limitMs;
    while (!done()) {
      if (this.#now > end || !this.step()) return false;
    }
    return true;
  }

  /** Lets virtual time pass. */
  pass(ms: number): void {
    const end = this.#now + ms;
    this.flush();
    while (this.#now < end) {
      const head = this.#queue[0]?.time ?? Number.POSITIVE_INFINITY;
      if (Math.min(head, this.a.deadline(), this.b.deadline()) > end || !this.step()) break;
    }
    this.#now = Math.max(this.#now, end);
  }

  /** The host of both stacks does nothing for so long, then everything that is due. */
  stall(ms: number): void {
    this.#now += ms;
    for (const stack of [this.a, this.b]) {
      stack.handleTimeout(this.at);
      this.drain(stack);
    }
  }

  /** Drains both sides: for calls made by the test itself. */
  flush(): void {
    this.drain(this.a);
    this.drain(this.b);
  }
}

/** A TCP endpoint that records everything; credits at once unless told otherwise. */
export class Peer implements TcpSink {
  readonly stack: LwipStack;
  readonly world: World;
  handle: TcpHandle | undefined;
  isConnected = false;
  hasFin = false;
  error: StackErrno | undefined;
  received = 0;
  sent = 0;
  written = 0;
  autoCredit = true;
  uncredited = 0;
  readonly #hash = createHash('sha256');
  readonly #outHash = createHash('sha256');
  #pending: Uint8Array | undefined;
  #remaining = 0;
  #closeWhenDone: 'shutdown' | 'close' | undefined;
  onFinished: () => void = () => {};
  onBytes: (bytes: Uint8Array) => void = () => {};

  constructor(world: World, stack: LwipStack) {
    this.world = world;
    this.stack = stack;
  }

  connect(remote: Endpoint, local?: Endpoint, options?: TcpOptions): this {
    const handle = this.stack.tcpConnect(this.world.at, local, remote, this, options);
    if (typeof handle !== 'number') throw new Error(`connect: ${handle}`);
    this.handle = handle;
    return this;
  }

  /** Writes `total` bytes of a repeating pattern as the stack takes them, then ends as told. */
  send(total: number, then?: 'shutdown' | 'close'): void {
    this.#pending = pattern(Math.min(total, 65536));
    this.#remaining = total;
    this.#closeWhenDone = then;
    this.pump();
  }

  pump(): void {
    const { handle, stack, world } = this;
    if (handle === undefined || this.#pending === undefined) return;
    while (this.#remaining > 0) {
      const start = this.written % this.#pending.length;
      const end = Math.min(this.#pending.length, start + this.#remaining);
      const piece = this.#pending.subarray(start, end);
      const n = stack.tcpWrite(world.at, handle, piece, false);
      this.#outHash.update(piece.subarray(0, n));
      this.written += n;
      this.#remaining -= n;
      if (n < piece.length) return;
    }
    this.#pending = undefined;
    if (this.#closeWhenDone === 'shutdown') stack.tcpShutdown(world.at, handle);
    if (this.#closeWhenDone === 'close') this.close();
  }

  close(): void {
    if (this.handle !== undefined) this.stack.tcpClose(this.world.at, this.handle);
    this.handle = undefined;
  }

  credit(): void {
    if (this.handle !== undefined) {
      this.stack.tcpCredit(this.world.at, this.handle, this.uncredited);
    }
    this.uncredited = 0;
  }

  inDigest(): string {
    return this.#hash.copy().digest('hex');
  }

  outDigest(): string {
    return this.#outHash.copy().digest('hex');
  }

  onConnected(): void {
    this.isConnected = true;
    this.pump();
  }

  onData(bytes: Uint8Array): void {
    this.received += bytes.length;
    this.#hash.update(bytes);
    this.uncredited += bytes.length;
    this.onBytes(bytes);
    if (this.autoCredit) this.credit();
  }

  onSent(count: number): void {
    this.sent += count;
    this.pump();
  }

  onFin(): void {
    this.hasFin = true;
    this.onFinished();
  }

  onError(errno: StackErrno): void {
    this.error = errno;
    this.handle = undefined;
  }
}

export function pattern(len: number): Uint8Array {
  const out = new Uint8Array(len);
  for (let i = 0; i < len; i++) out[i] = (i * 31 + (i >> 8)) & 0xff;
  return out;
}

export interface ListenOptions {
  readonly backlog?: number;
  readonly v6Only?: boolean;
  /** Sees each connection before its data. */
  readonly each?: (peer: Peer) => void;
}

/** A listener that makes a Peer of every connection. */
export class Server {
  readonly peers: Peer[] = [];
  readonly handle: ListenHandle;
  readonly #world: World;
  readonly #stack: LwipStack;

  constructor(world: World, stack: LwipStack, local: Endpoint, options: ListenOptions = {}) {
    this.#world = world;
    this.#stack = stack;
    const { backlog = 128, v6Only = false, each } = options;
    const sink = { onAccept: (h: TcpHandle) => this.#accept(h, each) };
    const handle = stack.tcpListen(world.at, local, v6Only, backlog, sink);
    if (typeof handle !== 'number') throw new Error(`listen: ${handle}`);
    this.handle = handle;
  }

  #accept(handle: TcpHandle, each?: (peer: Peer) => void): Peer {
    const peer = new Peer(this.#world, this.#stack);
    peer.handle = handle;
    peer.isConnected = true;
    this.peers.push(peer);
    each?.(peer);
    return peer;
  }

  /** The only connection so far. */
  get peer(): Peer {
    const [first] = this.peers;
    if (first === undefined || this.peers.length !== 1) throw new Error('not exactly one peer');
    return first;
  }

  close(): void {
    this.#stack.tcpListenClose(this.#world.at, this.handle);
  }
}

/** Counters ending in "Used" that are not zero: what a test left behind. */
export function leftovers(stack: LwipStack): Record<string, number> {
  return Object.fromEntries(
    Object.entries(stack.counters()).filter(([name, n]) => name.endsWith('Used') && n !== 0),
  );
}

/**
 * Closes what the test made, lets the longest timers run out, and checks that both stacks gave
 * everything back: connections, listeners, sockets, buffers.
 */
export function expectClean(t: ExecutionContext, world: World, ...opened: Closable[]): void {
  for (const x of opened) x.close();
  world.filter = (f) => f;
  world.pass(200_000);
  t.deepEqual(leftovers(world.a), {}, 'left in a');
  t.deepEqual(leftovers(world.b), {}, 'left in b');
}

export interface Closable {
  close(): void;
}

export const any = (port: number): Endpoint => ({ ip: new Uint8Array(0), port });
export const on = (ip: Uint8Array, port: number): Endpoint => ({ ip, port });
