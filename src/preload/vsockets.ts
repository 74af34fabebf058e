/**
 * One virtual TCP socket: the state machine between a program's stream and the TCP/IP stack
 * [5 section 6.1].
 *
 * Contents: the stream; bind and listen; connect; data from and to the program; ends and errors;
 * answers to requests. Its parts: binding.ts, padding.ts, outgoing.ts; what it needs: socket-host.ts.
 *
 * States FRESH, BOUND, LISTENING, CONNECTING, ESTABLISHED, FAILED, CLOSED, RESET. A socket owns at
 * most one stream port and one TCP control block; either may go first. Received bytes return
 * their window credit only after the stream has taken them, so a program that does not read
 * closes its own window; bytes that the stack cannot take stop the reading of the stream. No
 * clock, no timer, no I/O of its own: `SocketHost` gives all three.
 */
import type { Endpoint, StackErrno, TcpHandle, TcpSink } from '../stack/stack.js';
import { Binding } from './binding.js';
import type { DelayEntry } from './delay-queue.js';
import { errnoNumber, failed } from './errno.js';
import { leadsToHost, type TcpCarrier } from './fallthrough.js';
import type { ListenerMember } from './listeners.js';
import { interfaceNamed } from './networks.js';
import { type OptionContext, SocketOptions } from './options.js';
import { Outgoing, type OutgoingHost } from './outgoing.js';
import { Padding } from './padding.js';
import { classifyDestination, hasWayFrom, mayBind, resolveUnspecified } from './policy.js';
import type { PortHolder } from './ports.js';
import {
  BindFlag,
  ConnectResult,
  State,
  type StateNumber,
  type Token,
  type ZtAddress,
} from './protocol.js';
import type { SocketHost, StreamPort } from './socket-host.js';
import type { ConnectWaiter, Names, RequestTarget } from './target.js';

const SHUT_RD = 0;

export class VirtualSocket implements TcpSink, RequestTarget {
  /** Identity of the program's descriptor; an accepted socket gets it when it is picked up. */
  token: Token;
  owner: number | undefined;
  /** 4 or 6: family of the program's descriptor. */
  readonly family: 4 | 6;
  readonly #host: SocketHost;
  options: SocketOptions;
  /** Policy that the program asked for [5 section 5.4]. */
  policy = 0;
  #carrier: TcpCarrier;
  state: StateNumber = State.fresh;
  /** Set while the socket listens. */
  listener: ListenerMember | undefined;

  #port: StreamPort | undefined;
  #handle: TcpHandle | undefined;
  readonly #binding: Binding;
  #peer: Endpoint | undefined;
  #error = 0;

  readonly #padding = new Padding();
  /** Decided outcome of the handshake that waits for the padding to be announced. */
  #outcome: 'connected' | StackErrno | undefined;
  #waiters = new Set<ConnectWaiter>();
  /** The handshake was complete once. */
  #wasConnected = false;
  /** connect() has reported the failure of the handshake. */
  #failureReported = false;
  /** A connect() has already reported success. */
  #connectReported = false;
  #connectProbe: DelayEntry<VirtualSocket> | undefined;

  readonly #out: Outgoing;
  #endSeen = false;
  #halfClosePending = false;
  #txDone = false;
  /** The program is gone, its last bytes are still on their way into the stack. */
  #lingering = false;
  #halfCloseProbe: DelayEntry<VirtualSocket> | undefined;

  /** Received bytes while no stream is attached. */
  #early: Uint8Array[] = [];
  #earlyLen = 0;
  /** Received bytes whose window credit is outstanding. */
  #uncredited = 0;
  #finReceived = false;
  #rxShut = false;
  /** SHUTDOWN said that the program will not send; only programs that reset on close say it. */
  #isSendingShut = false;
  /** The connection is dead, its last bytes are still on their way to the program. */
  #dying = false;

  constructor(host: SocketHost, token: Token, family: 4 | 6, options = new SocketOptions()) {
    this.#host = host;
    this.#carrier = host.stack;
    this.token = token;
    this.family = family;
    this.options = options;
    this.#binding = new Binding(host.ports, this);
    this.#out = new Outgoing(this.#outgoingHost());
  }

  /** An accepted connection that no program has picked up yet. */
  static accepted(
    host: SocketHost,
    token: Token,
    family: 4 | 6,
    options: SocketOptions,
    handle: TcpHandle,
    names: { local: Endpoint; peer: Endpoint; owner: number | undefined },
  ): VirtualSocket {
    const s = new VirtualSocket(host, token, family, options);
    s.owner = names.owner;
    s.state = State.established;
    s.#handle = handle;
    s.#connectReported = true;
    s.#wasConnected = true;
    s.#peer = names.peer;
    s.#binding.settle(names.local);
    host.stack.tcpBacklogHold?.(host.now(), handle, true);
    host.stack.tcpSetOptions(host.now(), handle, options.tcp());
    return s;
  }

  get names(): Names {
    const { state } = this;
    return { state, local: this.#binding.local, peer: this.#peer, isOnHost: this.#isOnHost };
  }

  /** FAILED, CLOSED or RESET: nothing will happen on it any more. */
  get isFinished(): boolean {
    return this.state >= State.failed;
  }

  get isAttached(): boolean {
    return this.#port !== undefined;
  }

  get holder(): PortHolder | undefined {
    return this.#binding.holder;
  }

  /** Bytes that arrived before a program picked the connection up. */
  get earlyLen(): number {
    return this.#earlyLen;
  }

  /** Whether the connection of an accepted socket is already dead. */
  get isDead(): boolean {
    return this.#handle === undefined && this.state !== State.fresh;
  }

  // ---------------------------------------------------------------- stream

  /** The program's stream is here; what waited for it goes out. */
  attach(port: StreamPort, token: Token): void {
    this.token = token;
    this.#port = port;
    if (this.#handle !== undefined) {
      this.#host.stack.tcpBacklogHold?.(this.#host.now(), this.#handle, false);
    }
    this.#limitBuffer();
    for (const bytes of this.#early) port.write(bytes);
    this.#early = [];
    this.#earlyLen = 0;
    port.setReading(true);
    if (this.#dying) this.#finishDying();
    else if (this.#finReceived) port.end();
    this.streamFlushed();
  }

  /** Bytes of the program; borrowed for the call. */
  streamBytes(bytes: Uint8Array): void {
    if (this.listener !== undefined) {
      this.listener.upstream(bytes);
      return;
    }
    const rest = this.#skipPadding(bytes);
    if (rest.length === 0) return;
    if (this.state === State.established) this.#send(rest);
    else this.#closeStream(State.failed);
  }

  /** The program will send no more: it closed, or shut down its sending direction. */
  streamEnd(): void {
    if (this.state !== State.established) {
      this.#programGone();
      return;
    }
    this.#endSeen = true;
    /*
     * After the peer's end, when the stream can no longer be asked, both directions are done, and
     * whether the program closed or only shut down is the same; not for one that wants its close to
     * be a reset, which says what it does.
     */
    if (!this.#finReceived) this.#port?.probe();
    else if (this.options.resetsOnClose && !this.#isSendingShut) this.#programClosed();
    else this.#halfClose();
  }

  /** The program closed with unread data, or the stream broke. */
  streamReset(): void {
    this.#abort();
    this.#programGone();
  }

  /** Everything written to the port has reached the kernel. */
  streamFlushed(): void {
    this.#credit();
    if (this.listener !== undefined) this.listener.flushed();
    if (this.#dying) this.#finishDying();
  }

  /** Answer to `StreamPort.probe`: `open` = the program has only shut down its sending side. */
  streamProbed(open: boolean): void {
    if (this.state === State.connecting) {
      if (open) this.#connectProbe = this.#host.timers.probeConnecting(this);
      else this.#programGone();
      return;
    }
    if (this.state !== State.established) return;
    if (!open) this.#programClosed();
    else if (this.#txDone) this.#halfCloseProbe = this.#host.timers.probeHalfClosed(this);
    else this.#halfClose();
  }

  /** A timer of `SocketTimers.probe*` is due. */
  probeDue(): void {
    this.#port?.probe();
  }

  #skipPadding(bytes: Uint8Array): Uint8Array {
    if (this.#padding.isRead) return bytes;
    const rest = this.#padding.skip(bytes);
    /* A blocking connect() returns when its descriptor is writable again. */
    if (this.#padding.isRead && this.state === State.established) this.#answerWaiters(0);
    return rest;
  }

  // ---------------------------------------------------------- bind, listen

  /** BIND [5 section 7]; 0 or a negative errno number. */
  bind(address: ZtAddress, flags: number): number {
    if (this.state !== State.fresh) return failed('EINVAL');
    if (this.options.v6Only && address.family === 4 && this.family === 6) return failed('EINVAL');
    if (address.family === 6 && this.family === 4) return failed('EAFNOSUPPORT');
    const freeBind = this.options.freeBind || (flags & BindFlag.freeBind) !== 0;
    if (!freeBind && !mayBind(this.#host.stack, address.ip)) return failed('EADDRNOTAVAIL');
    const result = this.#binding.reserve(address.ip, address.port, flags);
    if (result !== 0) return result;
    this.#binding.isByProgram = true;
    this.state = State.bound;
    return 0;
  }

  /** LISTEN; 0 or a negative errno number. */
  listen(backlog: number): number {
    const port = this.#port;
    if (port === undefined) return failed('ENOTCONN');
    if (this.state === State.listening) return this.#host.listen(this, port, backlog);
    if (this.state !== State.fresh && this.state !== State.bound) return failed('EINVAL');
    if (this.state === State.fresh) {
      const result = this.#binding.reserve(new Uint8Array(this.family === 4 ? 4 : 16), 0, 0);
      if (result !== 0) return result;
      this.state = State.bound;
    }
    const result = this.#host.listen(this, port, backlog);
    if (result !== 0) return result;
    this.state = State.listening;
    this.#binding.holder!.listening = true;
    port.setReading(true);
    return 0;
  }

  /** Takes over options and the program's own binding from a failed socket. */
  inherit(old: RequestTarget): number {
    if (!(old instanceof VirtualSocket)) return failed('EINVAL');
    if (this.state !== State.fresh || !old.isFinished) return failed('EINVAL');
    this.options = old.options.clone();
    const { local } = old.#binding;
    if (!old.#binding.isByProgram || local === undefined) return 0;
    old.#binding.release();
    const result = this.#binding.reserve(local.ip, local.port, 0);
    if (result !== 0) return result;
    this.#binding.isByProgram = true;
    this.state = State.bound;
    return 0;
  }

  // --------------------------------------------------------------- connect

  /** CONNECT: a `ConnectResult` or a negative errno number. */
  connect(address: ZtAddress): number {
    switch (this.state) {
      case State.fresh:
      case State.bound:
        return this.#startConnect(address);
      case State.connecting:
        return failed('EALREADY');
      case State.established:
        return this.#connectAgain();
      case State.listening:
        return failed('EISCONN');
      default:
        return this.#connectAfterEnd();
    }
  }

  /**
   * Linux, measured: a socket that was connected stays so for connect(2); one whose handshake
   * failed reports the error, or ECONNABORTED when that was read already, and is free after that.
   */
  #connectAfterEnd(): number {
    if (this.#wasConnected) return failed('EISCONN');
    const error = this.#takeError();
    if (this.#failureReported || this.state !== State.failed) return error || ConnectResult.replace;
    this.#failureReported = true;
    return error || failed('ECONNABORTED');
  }

  #connectAgain(): number {
    if (this.#connectReported) return failed('EISCONN');
    this.#connectReported = true;
    return ConnectResult.done;
  }

  #takeError(): number {
    const e = this.#error;
    this.#error = 0;
    return -e;
  }

  #startConnect(address: ZtAddress): number {
    if (address.family === 0) return failed('EAFNOSUPPORT');
    if (this.options.v6Only && address.family === 4) return failed('ENETUNREACH');
    const { ports, hostNetwork } = this.#host;
    const stack = this.#host.stackOn(this.options.device);
    const destination = classifyDestination(stack, address.ip);
    const to = { ip: resolveUnspecified(address.ip), port: address.port };
    // The service connects for the program; what the program bound is of the virtual network.
    if (leadsToHost(to, destination, ports, this.policy, hostNetwork))
      return this.#connectBy(hostNetwork!.tcp, undefined, to);
    if (destination.kind !== 'virtual') return failed('ENETUNREACH');
    const local = this.#binding.connectFrom(destination.source);
    if (typeof local === 'number') return local;
    if (local !== undefined && !hasWayFrom(this.#host.stack, local.ip))
      return failed('ENETUNREACH');
    return this.#connectBy(stack, local, to);
  }

  #connectBy(carrier: TcpCarrier, local: Endpoint | undefined, remote: Endpoint): number {
    this.#carrier = carrier;
    this.#port?.setReading(false);
    const handle = carrier.tcpConnect(this.#host.now(), local, remote, this, this.options.tcp());
    if (typeof handle === 'string') {
      this.#port?.setReading(true);
      return failed(handle);
    }
    this.#beginConnecting(handle, remote);
    return ConnectResult.started;
  }

  #beginConnecting(handle: TcpHandle, remote: Endpoint): void {
    this.#handle = handle;
    this.#peer = remote;
    const names = this.#isOnHost ? undefined : this.#carrier.tcpNames(handle);
    if (names !== undefined) this.#binding.settle(names.local);
    this.state = State.connecting;
    this.#padding.begin();
    this.#outcome = undefined;
    this.#connectProbe = this.#host.timers.probeConnecting(this);
  }

  /** PADDED, and the padding part of WAITCONN. */
  padded(count: number): void {
    if (this.state === State.connecting && this.#padding.announce(count)) this.#settle();
  }

  /**
   * WAITCONN: `waiter` is called once, now or when the outcome is known.
   * @returns withdraws the waiter.
   */
  waitConnect(count: number, waiter: ConnectWaiter): () => void {
    if (this.state === State.established) {
      this.#connectReported = true;
      this.#waiters.add(waiter);
      if (this.#padding.isRead) this.#answerWaiters(0);
    } else if (this.state !== State.connecting) {
      waiter(this.#takeError() || failed('ENOTCONN'));
    } else {
      this.#waiters.add(waiter);
      this.padded(count);
    }
    return () => this.#waiters.delete(waiter);
  }

  /** Applies the outcome of the handshake once the padding is announced. */
  #settle(): void {
    if (this.#outcome === undefined || !this.#padding.isAnnounced) return;
    const outcome = this.#outcome;
    this.#outcome = undefined;
    cancel(this.#connectProbe);
    if (outcome === 'connected') this.#established();
    else this.#connectFailed(outcome);
  }

  /** Whether the host's network carries the connection. */
  get #isOnHost(): boolean {
    return this.#carrier === this.#host.hostNetwork?.tcp;
  }

  #established(): void {
    const names = this.#isOnHost ? this.#carrier.tcpNames(this.#handle!) : undefined;
    // The host chooses its end of a connection while it connects.
    if (names !== undefined) this.#binding.rename(names.local);
    this.state = State.established;
    this.#wasConnected = true;
    if (this.#waiters.size > 0) this.#connectReported = true;
    this.#port?.setReading(true);
    if (this.#padding.isRead) this.#answerWaiters(0);
  }

  #connectFailed(errno: StackErrno): void {
    if (this.#waiters.size === 0) {
      this.#error = errnoNumber(errno);
      this.#closeStream(State.failed);
      return;
    }
    this.#peer = undefined;
    this.#binding.forgetAutomatic();
    this.state = this.#binding.isByProgram ? State.bound : State.fresh;
    this.#answerWaiters(failed(errno));
    /* The stream is used again: its padding is read and skipped. */
    this.#port?.setReading(true);
  }

  #answerWaiters(result: number): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const w of waiters) w(result);
  }

  // ------------------------------------------------------ program to stack

  #outgoingHost(): OutgoingHost {
    return {
      isCorked: () => this.options.corked && !this.#endSeen,
      write: (bytes) => {
        if (this.#handle === undefined) return undefined;
        return this.#carrier.tcpWrite(this.#host.now(), this.#handle, bytes, false);
      },
      setReading: (on) => this.#port?.setReading(on),
      armCork: () => this.#host.timers.cork(this),
      drained: () => this.#drained(),
    };
  }

  #send(bytes: Uint8Array): void {
    if (this.#handle === undefined) this.#brokenPipe();
    else this.#out.send(bytes);
  }

  /** Nothing waits any more: an end that came meanwhile may go out. */
  #drained(): void {
    if (this.#lingering) this.#closeLingering();
    else if (this.#halfClosePending) this.#halfClose();
  }

  /** Cork timer, or the option was cleared: everything goes. */
  uncork(): void {
    this.#out.pump(true);
  }

  /** The connection is gone and the program still writes. */
  #brokenPipe(): void {
    this.#closeStream(this.state === State.established ? State.closed : this.state);
  }

  // ------------------------------------------------------ stack to program

  onConnected(): void {
    this.#outcome = 'connected';
    this.#settle();
  }

  onData(bytes: Uint8Array): void {
    if (this.#lingering) {
      /* Data for a program that is gone is answered with a reset, as Linux does. */
      this.#abort();
      return;
    }
    if (this.#rxShut) {
      this.#carrier.tcpCredit(this.#host.now(), this.#handle!, bytes.length);
      return;
    }
    this.#uncredited += bytes.length;
    if (this.#port === undefined) {
      this.#early.push(bytes.slice());
      this.#earlyLen += bytes.length;
      this.onEarlyData?.();
      return;
    }
    this.#port.write(bytes);
  }

  /** Called at the first bytes of a connection that waits for them (TCP_DEFER_ACCEPT). */
  onEarlyData: (() => void) | undefined;

  onSent(_count: number): void {
    this.#out.pump();
  }

  onFin(): void {
    this.#finReceived = true;
    this.#port?.end();
    if (this.#txDone) this.#bothDone();
  }

  onError(errno: StackErrno): void {
    this.#handle = undefined;
    this.#lingering = false;
    if (this.state === State.connecting) {
      this.#outcome = errno;
      this.#settle();
      return;
    }
    if (this.state !== State.established) return;
    /* Linux: a reset after the peer's end is EPIPE to a writer, and reads go on to say "end". */
    const isAfterEnd = this.#finReceived && errno === 'ECONNRESET';
    this.#error = errnoNumber(isAfterEnd ? 'EPIPE' : errno);
    this.state = isAfterEnd ? State.closed : State.reset;
    this.#dying = true;
    if (this.#port !== undefined) this.#finishDying();
    else this.#binding.release();
    this.onDeath?.();
  }

  /** Called when a connection dies that no program has picked up. */
  onDeath: (() => void) | undefined;

  /** A reset: what the program has not been given yet goes first [5 section 13]. */
  #finishDying(): void {
    if (this.#port === undefined || this.#port.queuedLen > 0) return;
    this.#dying = false;
    this.#closeStream(this.state);
  }

  #credit(): void {
    if (this.#uncredited === 0 || this.#port === undefined) return;
    if (this.#port.queuedLen > 0) return;
    const count = this.#uncredited;
    this.#uncredited = 0;
    if (this.#handle !== undefined) {
      this.#carrier.tcpCredit(this.#host.now(), this.#handle, count);
    }
  }

  // ------------------------------------------------------------------ ends

  /** The program shut down its sending direction and may still read. */
  #halfClose(): void {
    this.#halfClosePending = true;
    this.#out.pump(true);
    if (this.#txDone || !this.#out.isEmpty || this.#handle === undefined) return;
    this.#txDone = true;
    if (this.#finReceived) {
      this.#bothDone();
      return;
    }
    this.#carrier.tcpShutdown(this.#host.now(), this.#handle);
    this.#halfCloseProbe = this.#host.timers.probeHalfClosed(this);
  }

  /** Both directions ended in order: the control block finishes by itself. */
  #bothDone(): void {
    if (this.#handle !== undefined) {
      this.#credit();
      this.#carrier.tcpClose(this.#host.now(), this.#handle);
    }
    this.#handle = undefined;
    this.state = State.closed;
    this.#dying = true;
    this.#finishDying();
  }

  /** The program closed its descriptor. */
  #programClosed(): void {
    if (this.#handle !== undefined) {
      if (this.options.resetsOnClose || this.#uncredited > 0) this.#abort();
      else this.#closeGently();
    }
    this.#programGone();
  }

  /** An orderly close after everything the program wrote. */
  #closeGently(): void {
    this.#lingering = true;
    this.#out.pump(true);
    if (this.#out.isEmpty) this.#closeLingering();
  }

  #closeLingering(): void {
    this.#lingering = false;
    if (this.#handle !== undefined) this.#carrier.tcpClose(this.#host.now(), this.#handle);
    this.#handle = undefined;
  }

  #abort(): void {
    this.#lingering = false;
    if (this.#handle !== undefined) this.#carrier.tcpAbort(this.#host.now(), this.#handle);
    this.#handle = undefined;
  }

  /** The stream has ended for good: free everything, keep names and error for a while. */
  #programGone(): void {
    this.listener?.close();
    this.listener = undefined;
    this.#closeStream(this.state === State.reset ? State.reset : State.closed);
  }

  #closeStream(next: StateNumber): void {
    this.state = next;
    this.#answerWaiters(failed('ECONNRESET'));
    for (const t of [this.#connectProbe, this.#halfCloseProbe]) cancel(t);
    this.#out.close(this.#lingering);
    if (!this.#lingering) this.#abort();
    this.#binding.release();
    this.#port?.destroy();
    this.#port = undefined;
    this.#uncredited = 0;
    this.#host.retire(this);
  }

  /** Resets an accepted connection that no program will pick up. */
  abandon(): void {
    this.#abort();
    this.#early = [];
    this.#earlyLen = 0;
    this.#binding.release();
  }

  // -------------------------------------------------------------- requests

  /** EOFINFO. */
  takeReadError(): number {
    return this.state === State.closed && this.#finReceived ? 0 : this.takePendingError(false);
  }

  /** TAKEERR: the pending error, cleared unless `peek`. */
  takePendingError(peek: boolean): number {
    const e = this.#error;
    if (!peek) this.#error = 0;
    return e;
  }

  /** SHUTDOWN; 0 or a negative errno number. */
  shutdown(how: number): number {
    switch (this.state) {
      case State.established:
        if (how === SHUT_RD) this.#rxShut = true;
        else this.#isSendingShut = true;
        return 0;
      case State.listening:
        this.listener?.close();
        this.listener = undefined;
        this.state = State.closed;
        this.#binding.release();
        return 0;
      case State.connecting:
        this.#abortConnecting();
        return 0;
      default:
        return failed('ENOTCONN');
    }
  }

  #abortConnecting(): void {
    this.#abort();
    this.#closeStream(State.reset);
  }

  /** DISCONNECT (connect to AF_UNSPEC): 0, or 2 when the stream must be replaced. */
  disconnect(): number {
    if (this.state === State.fresh || this.state === State.bound) return 0;
    if (this.listener !== undefined) {
      this.listener.close();
      this.listener = undefined;
    }
    this.#abort();
    this.#closeStream(State.reset);
    return ConnectResult.replace;
  }

  /** SETOPT; 0 or a negative errno number. */
  setOption(level: number, name: number, value: Uint8Array): number {
    const result = this.options.set(level, name, value, this.#optionContext());
    if (result !== 0) return result;
    this.#binding.updateOptions();
    if (this.#handle !== undefined) {
      this.#carrier.tcpSetOptions(this.#host.now(), this.#handle, this.options.tcp());
    }
    this.#limitBuffer();
    if (!this.options.corked) this.uncork();
    return 0;
  }

  /** SO_RCVBUF bounds what waits for the program, here as in the stack's window. */
  #limitBuffer(): void {
    const { receiveMax = 0 } = this.options.tcp();
    if (receiveMax > 0) this.#port?.limitBuffer(receiveMax);
  }

  getOption(level: number, name: number): ReturnType<SocketOptions['get']> {
    return this.options.get(level, name, this.#optionContext());
  }

  #optionContext(): OptionContext {
    const info = this.#handle === undefined ? undefined : this.#carrier.tcpInfo(this.#handle);
    return {
      isFresh: this.state === State.fresh,
      isConnected: this.state === State.established,
      interfaceNamed: (name) => interfaceNamed(this.#host, name),
      mtu: this.#host.mtu(),
      tcpState: this.#tcpState(),
      info,
      unsentLen: (info?.unacked ?? 0) + (info?.unsent ?? 0) + this.#out.queuedLen,
    };
  }

  /** Linux's TCP state number for struct tcp_info. */
  #tcpState(): number {
    if (this.state === State.listening) return 10;
    if (this.state === State.connecting) return 2;
    if (this.state !== State.established) return 7;
    if (this.#finReceived) return this.#txDone ? 9 : 8;
    return this.#txDone ? 5 : 1;
  }
}

function cancel(entry: DelayEntry<VirtualSocket> | undefined): void {
  if (entry !== undefined) entry.value = undefined;
}
