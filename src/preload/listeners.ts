/**
 * Listening sockets: one listener of the stack per (address, port), a group of members behind it,
 * and the connections that wait to be picked up [5 section 6.2].
 *
 * A new connection is offered to one member by an accept record on that member's stream; the
 * process that reads the record attaches a stream of its own with the record's connection id. A
 * connection whose record was lost with its reader is reset; when a member closes, its
 * connections are offered to the others, and reset when none is left.
 */
import { NEVER } from '../lib/time.js';
import type { Endpoint, ListenHandle, ListenSink, TcpHandle, TcpSink } from '../stack/stack.js';
import { type DelayEntry, DelayQueue } from './delay-queue.js';
import { failed } from './errno.js';
import { ANY_INTERFACE } from './networks.js';
import type { PortHolder } from './ports.js';
import { ACCEPT_LEN, emitAccept, parseUpstream, type Token, UPSTREAM_LEN } from './protocol.js';
import type { Quota } from './quota.js';
import type { SocketHost, StreamPort } from './socket-host.js';
import { VirtualSocket } from './vsockets.js';

/** [5 section 6.2] bounds of a backlog. */
const BACKLOG_MAX = 4096;
/** [5 section 5.7] records of one write: 32 KiB are taken whole by the kernel. */
const RECORDS_PER_WRITE = 32768 / ACCEPT_LEN;
/** [5 section 13] a connection whose record's reader vanished. */
export const ORPHAN_MS = 5000;
/**
 * Ours: after a listener's stream ended, an accept() that another thread had begun may still be
 * under way. What had been sent to us by then is waited for without a limit of time, `afterPending`.
 */
export const LATE_ATTACH_MS = 100;

/** Token of a connection that no program has picked up. */
const UNATTACHED = '' as Token;

/** One connection that no program has picked up. */
interface Waiting {
  readonly id: string;
  readonly socket: VirtualSocket;
  readonly local: Endpoint;
  readonly peer: Endpoint;
  member: ListenerMember;
  /** Order of offering within the member; 0 = not offered yet. */
  offered: number;
}

/** What the listeners need of the view beside `SocketHost`. */
export interface ListenHost extends SocketHost {
  /** A timer was armed: the deadline may be earlier now. */
  readonly wake: () => void;
  /** Runs `act` when all that programs had sent before has been handed over, however long it takes. */
  readonly afterPending: (act: () => void) => void;
  /** 8 random bytes as a string. */
  newConnectionId(): string;
  /** Unattached connections, per user of the listening socket. */
  readonly waitingQuota: Quota;
  /** Listening sockets, per user. */
  readonly listenerQuota: Quota;
}

export class ListenerMember {
  readonly socket: VirtualSocket;
  readonly group: ListenGroup;
  readonly #port: StreamPort;
  readonly #registry: ListenRegistry;
  backlog: number;
  /** Connections offered or about to be, not attached. */
  readonly waiting = new Map<string, Waiting>();
  /** Whose record is to be written, each once: a program may ask again as often as it likes. */
  readonly #queue = new Set<Waiting>();
  #offers = 0;
  /** Highest offer that has been attached: earlier ones have been read too. */
  #attachedUpTo = 0;
  #orphanTimer: DelayEntry<ListenerMember> | undefined;
  #orphansUpTo = 0;
  #deferred: DelayQueue<Waiting> | undefined;
  #partial: Uint8Array | undefined;

  constructor(
    registry: ListenRegistry,
    group: ListenGroup,
    socket: VirtualSocket,
    port: StreamPort,
    backlog: number,
  ) {
    this.#registry = registry;
    this.group = group;
    this.socket = socket;
    this.#port = port;
    this.backlog = backlog;
  }

  /** Takes charge of a connection; its record goes out now or when TCP_DEFER_ACCEPT allows. */
  add(waiting: Waiting): void {
    waiting.member = this;
    waiting.offered = 0;
    this.waiting.set(waiting.id, waiting);
    const deferMs = this.socket.options.deferAcceptMs;
    if (deferMs > 0 && waiting.socket.earlyLen === 0) this.#defer(waiting, deferMs);
    else this.#offer(waiting);
  }

  #defer(waiting: Waiting, delayMs: number): void {
    this.#deferred ??= new DelayQueue<Waiting>(delayMs, this.#registry.host.wake);
    const timer = this.#deferred.arm(this.#registry.host.now().mono, waiting);
    waiting.socket.onEarlyData = () => {
      waiting.socket.onEarlyData = undefined;
      timer.value = undefined;
      if (this.waiting.has(waiting.id)) this.#offer(waiting);
    };
  }

  #offer(waiting: Waiting): void {
    if (this.#queue.has(waiting)) return;
    waiting.offered = ++this.#offers;
    this.#queue.add(waiting);
    this.flushed();
  }

  /** The stream can take records: whole ones only, so that readers never see half a record. */
  flushed(): void {
    if (this.#queue.size === 0 || this.#port.queuedLen > 0) return;
    const bytes = new Uint8Array(Math.min(this.#queue.size, RECORDS_PER_WRITE) * ACCEPT_LEN);
    let at = 0;
    for (const waiting of this.#queue) {
      if (at === bytes.length) break;
      bytes.set(emitAccept(waiting.id, waiting.peer, waiting.local), at);
      at += ACCEPT_LEN;
      this.#queue.delete(waiting);
    }
    this.#port.write(bytes);
  }

  /** Answers of the process that read a record [5 section 5.8]. */
  upstream(bytes: Uint8Array): void {
    const all = this.#partial === undefined ? bytes : joined(this.#partial, bytes);
    let at = 0;
    for (; at + UPSTREAM_LEN <= all.length; at += UPSTREAM_LEN) {
      const record = parseUpstream(all, at);
      const waiting = record === undefined ? undefined : this.waiting.get(record.connectionId);
      if (record === undefined || waiting === undefined) continue;
      if (record.op === 'requeue') this.#offer(waiting);
      else this.#registry.reset(waiting);
    }
    this.#partial = at < all.length ? all.slice(at) : undefined;
  }

  /** A program attached `waiting`: what was offered before it has been read by somebody. */
  attached(waiting: Waiting): void {
    this.forget(waiting);
    if (waiting.offered > this.#attachedUpTo) this.#attachedUpTo = waiting.offered;
    this.#watchOrphans();
  }

  /** Nothing is to be told of `waiting` any more. */
  forget(waiting: Waiting): void {
    this.waiting.delete(waiting.id);
    this.#queue.delete(waiting);
  }

  /** Starts the orphan timer when a connection was passed over and no timer runs. */
  #watchOrphans(): void {
    if (this.#orphanTimer !== undefined || this.#firstOffer() > this.#attachedUpTo) return;
    this.#orphansUpTo = this.#attachedUpTo;
    this.#orphanTimer = this.#registry.armOrphans(this);
  }

  /** Resets connections that were passed over when the timer started, and still are. */
  resetOrphans(): void {
    this.#orphanTimer = undefined;
    for (const w of [...this.waiting.values()]) {
      if (w.offered !== 0 && w.offered < this.#orphansUpTo) this.#registry.reset(w);
    }
    this.#watchOrphans();
  }

  /** Order of the oldest offer that is not attached, or NEVER. */
  #firstOffer(): number {
    for (const w of this.waiting.values()) if (w.offered !== 0) return w.offered;
    return NEVER;
  }

  /** The listening socket is gone. */
  close(): void {
    if (this.#orphanTimer !== undefined) this.#orphanTimer.value = undefined;
    this.#queue.clear();
    this.#registry.leave(this);
  }

  deadline(): number {
    return this.#deferred?.deadline() ?? NEVER;
  }

  handleTimeout(now: number): void {
    for (let w = this.#deferred?.takeDue(now); w !== undefined; w = this.#deferred?.takeDue(now)) {
      w.socket.onEarlyData = undefined;
      if (this.waiting.has(w.id)) this.#offer(w);
    }
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}

/** One listener of the stack and the sockets that share it (more than one with SO_REUSEPORT). */
export class ListenGroup implements ListenSink {
  readonly key: string;
  readonly members: ListenerMember[] = [];
  handle: ListenHandle | undefined;
  readonly #registry: ListenRegistry;
  #turn = 0;

  constructor(registry: ListenRegistry, key: string) {
    this.#registry = registry;
    this.key = key;
  }

  onAccept(handle: TcpHandle, local: Endpoint, remote: Endpoint): TcpSink | undefined {
    const member = this.choose();
    if (member === undefined) return undefined;
    return this.#registry.hold(member, handle, copyOf(local), copyOf(remote));
  }

  /** The member with the fewest waiting connections; equal ones take turns. */
  choose(): ListenerMember | undefined {
    let best: ListenerMember | undefined;
    const n = this.members.length;
    for (let i = 0; i < n; i++) {
      const m = this.members[(this.#turn + i) % n]!;
      if (best === undefined || m.waiting.size < best.waiting.size) best = m;
    }
    this.#turn = n === 0 ? 0 : (this.#turn + 1) % n;
    return best;
  }
}

function copyOf(e: Endpoint): Endpoint {
  return { ip: e.ip.slice(), port: e.port };
}

function groupKey({ ip, v6Only, port, device }: PortHolder): string {
  return `${port}/${v6Only ? 'only' : ''}/${ip.join('.')}/${device ?? ANY_INTERFACE}`;
}

/** All listeners of a view and the connections that wait behind them. */
export class ListenRegistry {
  readonly host: ListenHost;
  readonly #groups = new Map<string, ListenGroup>();
  readonly #waiting = new Map<string, Waiting>();
  readonly #orphans: DelayQueue<ListenerMember>;
  readonly #late: DelayQueue<Waiting>;
  readonly #deferring = new Set<ListenerMember>();

  constructor(host: ListenHost) {
    this.host = host;
    this.#orphans = new DelayQueue(ORPHAN_MS, host.wake);
    this.#late = new DelayQueue(LATE_ATTACH_MS, host.wake);
  }

  /** Makes `socket` (bound, streaming over `port`) listen; 0 or a negative errno number. */
  listen(socket: VirtualSocket, port: StreamPort, backlog: number): number {
    const effective = Math.min(Math.max(backlog, 1), BACKLOG_MAX);
    if (socket.listener !== undefined) {
      socket.listener.backlog = effective;
      this.#updateBacklog(socket.listener.group);
      return 0;
    }
    const holder = socket.holder!;
    if (this.host.ports.conflictsWithListener(holder)) return failed('EADDRINUSE');
    const { listenerQuota } = this.host;
    if (!listenerQuota.take(socket.owner)) return failed('ENOBUFS');
    const key = groupKey(holder);
    const group = this.#groups.get(key) ?? this.#open(key, socket, effective);
    if (typeof group === 'number') {
      listenerQuota.give(socket.owner);
      return group;
    }
    const member = new ListenerMember(this, group, socket, port, effective);
    group.members.push(member);
    socket.listener = member;
    this.#updateBacklog(group);
    return 0;
  }

  /** The stack's listener holds as many connections as its members together. */
  #updateBacklog(group: ListenGroup): void {
    if (group.handle === undefined) return;
    const sum = group.members.reduce((n, m) => n + m.backlog, 0);
    const backlog = Math.min(sum, BACKLOG_MAX);
    this.host.stack.tcpListenBacklog?.(this.host.now(), group.handle, backlog);
  }

  #open(key: string, socket: VirtualSocket, backlog: number): ListenGroup | number {
    const { ip, port, v6Only, device } = socket.holder!;
    const both = socket.family === 6 && ip.length === 16 && !v6Only && ip.every((b) => b === 0);
    const group = new ListenGroup(this, key);
    const local = { ip: both ? new Uint8Array(0) : ip, port };
    const stack = this.host.stackOn(device ?? ANY_INTERFACE);
    const handle = stack.tcpListen(this.host.now(), local, v6Only, backlog, group);
    if (typeof handle === 'string') return failed(handle);
    group.handle = handle;
    this.#groups.set(key, group);
    return group;
  }

  /** A member closed: its connections go to the others of its group, or are reset soon. */
  leave(member: ListenerMember): void {
    const group = member.group;
    const at = group.members.indexOf(member);
    if (at < 0) return;
    group.members.splice(at, 1);
    this.host.listenerQuota.give(member.socket.owner);
    this.#deferring.delete(member);
    if (group.members.length === 0) this.#closeGroup(group);
    const now = this.host.now().mono;
    for (const w of member.waiting.values()) this.#late.arm(now, w);
    member.waiting.clear();
  }

  /** Nobody attached a connection whose listener is gone. */
  #reofferOrReset(waiting: Waiting): void {
    const next = waiting.member.group.choose();
    if (next === undefined) this.reset(waiting);
    else next.add(waiting);
  }

  #closeGroup(group: ListenGroup): void {
    this.#groups.delete(group.key);
    if (group.handle !== undefined) this.host.stack.tcpListenClose(this.host.now(), group.handle);
    group.handle = undefined;
  }

  /**
   * Holds a new connection for `member`; its bytes wait in the returned socket. undefined when the
   * member's user has too many that wait.
   */
  hold(
    member: ListenerMember,
    handle: TcpHandle,
    local: Endpoint,
    peer: Endpoint,
  ): VirtualSocket | undefined {
    const listening = member.socket;
    if (!this.host.waitingQuota.take(listening.owner)) return undefined;
    const id = this.host.newConnectionId();
    const socket = VirtualSocket.accepted(
      this.host,
      UNATTACHED,
      listening.family,
      listening.options.clone(),
      handle,
      { local, peer, owner: listening.owner },
    );
    const waiting: Waiting = { id, socket, local, peer, member, offered: 0 };
    this.#waiting.set(id, waiting);
    if (member.socket.options.deferAcceptMs > 0) this.#deferring.add(member);
    member.add(waiting);
    return socket;
  }

  /**
   * A program attaches connection `id`; undefined when there is none.
   * @param mayUse whether it may have a socket of that user.
   */
  take(id: string, mayUse: (owner: number | undefined) => boolean): VirtualSocket | undefined {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined || !mayUse(waiting.socket.owner)) return undefined;
    this.#forget(waiting);
    waiting.member.attached(waiting);
    waiting.socket.onEarlyData = undefined;
    return waiting.socket;
  }

  #forget(waiting: Waiting): void {
    if (!this.#waiting.delete(waiting.id)) return;
    this.host.waitingQuota.give(waiting.socket.owner);
  }

  reset(waiting: Waiting): void {
    this.#forget(waiting);
    waiting.member.forget(waiting);
    waiting.socket.abandon();
  }

  armOrphans(member: ListenerMember): DelayEntry<ListenerMember> {
    return this.#orphans.arm(this.host.now().mono, member);
  }

  /** Decides about connections that nobody has attached yet, though their listener is gone. */
  #settleLate(now: number): void {
    const late: Waiting[] = [];
    for (let w = this.#late.takeDue(now); w !== undefined; w = this.#late.takeDue(now))
      if (this.#waiting.has(w.id)) late.push(w);
    if (late.length === 0) return;
    this.host.afterPending(() => {
      for (const w of late) if (this.#waiting.has(w.id)) this.#reofferOrReset(w);
    });
  }

  deadline(): number {
    let at = Math.min(this.#orphans.deadline(), this.#late.deadline());
    for (const m of this.#deferring) at = Math.min(at, m.deadline());
    return at;
  }

  handleTimeout(now: number): void {
    for (let m = this.#orphans.takeDue(now); m !== undefined; m = this.#orphans.takeDue(now)) {
      m.resetOrphans();
    }
    this.#settleLate(now);
    for (const m of this.#deferring) {
      m.handleTimeout(now);
      if (m.deadline() === NEVER) this.#deferring.delete(m);
    }
  }
}
