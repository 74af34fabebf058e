/**
 * One virtual TCP socket: the state machine between a program's stream and the TCP/IP stack
 * [5 section 6.1].
 *
 * Contents: the stream; bind and listen; connect; data from and to the program; ends and errors;
 * answers to requests. Its parts: binding.ts, control-block.ts, handshake.ts, incoming.ts, outgoing.ts,
 * program-watch.ts, stream-options.ts, stream-ways.ts; what it needs: socket-host.ts.
 *
 * States FRESH, BOUND, LISTENING, CONNECTING, ESTABLISHED, FAILED, CLOSED, RESET. A socket owns at
 * most one stream port and one TCP control block; either may go first. Received bytes return
 * their window credit only after the stream has taken them, so a program that does not read
 * closes its own window; bytes that the stack cannot take stop the reading of the stream. No
 * clock, no timer, no I/O of its own: `SocketHost` gives all three.
 */
import type { Endpoint, StackErrno, TcpHandle, TcpSink } from '../stack/stack.js';
import { Binding } from './binding.js';
import { ControlBlock } from './control-block.js';
import { errnoNumber, failed } from './errno.js';
import type { TcpWay } from './fallthrough.js';
import { Handshake } from './handshake.js';
import { Incoming } from './incoming.js';
import type { ListenerMember } from './listeners.js';
import { type OptionContext, SocketOptions } from './options.js';
import { Outgoing, type OutgoingHost } from './outgoing.js';
import type { PortHolder } from './ports.js';
import { ProgramWatch } from './program-watch.js';
import { ConnectResult, State, type StateNumber, type Token, type ZtAddress } from './protocol.js';
import type { SocketHost, StreamPort } from './socket-host.js';
import { streamContext } from './stream-options.js';
import { connectEnd, connectWay, mayBindTo } from './stream-ways.js';
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
  state: StateNumber = State.fresh;
  /** Set while the socket listens. */
  listener: ListenerMember | undefined;

  #port: StreamPort | undefined;
  readonly #tcp: ControlBlock;
  readonly #binding: Binding;
  #peer: Endpoint | undefined;
  #error = 0;

  readonly #handshake = new Handshake();
  readonly #watch: ProgramWatch;

  readonly #out: Outgoing;
  #endSeen = false;
  #halfClosePending = false;
  #txDone = false;
  /** The program is gone, its last bytes are still on their way into the stack. */
  #lingering = false;

  readonly #in = new Incoming((count) => this.#tcp.credit(count));
  /** SHUTDOWN said that the program will not send; only programs that reset on close say it. */
  #isSendingShut = false;
  /** The connection is dead, its last bytes are still on their way to the program. */
  #dying = false;

  constructor(host: SocketHost, token: Token, family: 4 | 6, options = new SocketOptions()) {
    this.#host = host;
    this.#tcp = new ControlBlock(() => host.now(), host.stack);
    this.token = token;
    this.family = family;
    this.options = options;
    this.#binding = new Binding(host.ports, this);
    this.#out = new Outgoing(this.#outgoingHost());
    this.#watch = new ProgramWatch(host.timers, this);
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
    s.#tcp.accept(handle);
    s.#handshake.skipAll();
    s.#peer = names.peer;
    s.#binding.settle(names.local);
    s.#tcp.holdBacklog(host.stack, true);
    s.#tcp.setOptions(options.tcp());
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

  get holder(): PortHolder | undefined {
    return this.#binding.holder;
  }

  /** Bytes that arrived before a program picked the connection up. */
  get earlyLen(): number {
    return this.#in.earlyLen;
  }

  // ---------------------------------------------------------------- stream

  /** The program's stream is here; what waited for it goes out. */
  attach(port: StreamPort, token: Token): void {
    this.token = token;
    this.#port = port;
    this.#tcp.holdBacklog(this.#host.stack, false);
    this.#limitBuffer();
    this.#in.attach(port);
    port.setReading(true);
    if (this.#dying) this.#finishDying();
    else if (this.#in.isEnded) port.end();
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
    if (!this.#in.isEnded) this.#port?.probe();
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
    this.#in.credit();
    if (this.listener !== undefined) this.listener.flushed();
    if (this.#dying) this.#finishDying();
  }

  /** Answer to `StreamPort.probe`: `open` = the program has only shut down its sending side. */
  streamProbed(open: boolean): void {
    if (this.state === State.connecting) {
      if (open) this.#watch.connecting();
      else this.#programGone();
      return;
    }
    if (this.state !== State.established) return;
    if (!open) this.#programClosed();
    else if (this.#txDone) this.#watch.halfClosed();
    else this.#halfClose();
  }

  /** A timer of `SocketTimers.probe*` is due. */
  probeDue(): void {
    this.#port?.probe();
  }

  #skipPadding(bytes: Uint8Array): Uint8Array {
    if (this.#handshake.isRead) return bytes;
    const rest = this.#handshake.skip(bytes);
    if (this.state === State.established) this.#handshake.answerIfRead();
    return rest;
  }

  // ---------------------------------------------------------- bind, listen

  /** BIND [5 section 7]; 0 or a negative errno number. */
  bind(address: ZtAddress, flags: number): number {
    if (this.state !== State.fresh) return failed('EINVAL');
    return mayBindTo(this.#host, this, address, flags) || this.#bindTo(address, flags);
  }

  #bindTo({ ip, port }: Endpoint, flags: number): number {
    const result = this.#binding.reserve(ip, port, flags);
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
    return this.#bindTo(local, 0);
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
        return this.#handshake.again();
      case State.listening:
        return failed('EISCONN');
      default:
        return this.#handshake.afterEnd(this.state === State.failed, () => this.#takeError());
    }
  }

  #takeError(): number {
    return -this.takePendingError(false);
  }

  #startConnect(address: ZtAddress): number {
    const way = connectWay(this.#host, this, address);
    if (typeof way === 'number') return way;
    const local = connectEnd(this.#host, this.#binding, way);
    if (typeof local === 'number') return local;
    return this.#connectBy(way, local);
  }

  #connectBy({ carrier, to }: TcpWay, local: Endpoint | undefined): number {
    this.#port?.setReading(false);
    const errno = this.#tcp.connect(carrier, local, to, this, this.options.tcp());
    if (errno !== undefined) {
      this.#port?.setReading(true);
      return failed(errno);
    }
    this.#peer = to;
    const own = this.#isOnHost ? undefined : this.#tcp.local;
    if (own !== undefined) this.#binding.settle(own);
    this.state = State.connecting;
    this.#handshake.begin();
    this.#watch.connecting();
    return ConnectResult.started;
  }

  /** PADDED, and the padding part of WAITCONN. */
  padded(count: number): void {
    if (this.state === State.connecting && this.#handshake.announce(count)) this.#settle();
  }

  /**
   * WAITCONN: `waiter` is called once, now or when the outcome is known.
   * @returns withdraws the waiter.
   */
  waitConnect(count: number, waiter: ConnectWaiter): () => void {
    if (this.state !== State.established && this.state !== State.connecting) {
      waiter(this.#takeError() || failed('ENOTCONN'));
      return () => undefined;
    }
    const withdraw = this.#handshake.wait(waiter);
    if (this.state === State.connecting) this.padded(count);
    else {
      this.#handshake.reported();
      this.#handshake.answerIfRead();
    }
    return withdraw;
  }

  /** Applies the outcome of the handshake once the padding is announced. */
  #settle(): void {
    const outcome = this.#handshake.takeOutcome();
    if (outcome === undefined) return;
    this.#watch.stop();
    if (outcome === 'connected') this.#established();
    else this.#connectFailed(outcome);
  }

  /** Whether the host's network carries the connection. */
  get #isOnHost(): boolean {
    return this.#tcp.carrier === this.#host.hostNetwork?.tcp;
  }

  #established(): void {
    const local = this.#isOnHost ? this.#tcp.local : undefined;
    // The host chooses its end of a connection while it connects.
    if (local !== undefined) this.#binding.rename(local);
    this.state = State.established;
    this.#handshake.connected();
    this.#port?.setReading(true);
    this.#handshake.answerIfRead();
  }

  #connectFailed(errno: StackErrno): void {
    if (!this.#handshake.hasWaiters) {
      this.#error = errnoNumber(errno);
      this.#closeStream(State.failed);
      return;
    }
    this.#peer = undefined;
    this.#binding.forgetAutomatic();
    this.state = this.#binding.isByProgram ? State.bound : State.fresh;
    this.#handshake.answer(failed(errno));
    /* The stream is used again: its padding is read and skipped. */
    this.#port?.setReading(true);
  }

  // ------------------------------------------------------ program to stack

  #outgoingHost(): OutgoingHost {
    return {
      isCorked: () => this.options.corked && !this.#endSeen,
      write: (bytes) => this.#tcp.write(bytes),
      setReading: (on) => this.#port?.setReading(on),
      armCork: () => this.#host.timers.cork(this),
      drained: () => this.#drained(),
    };
  }

  #send(bytes: Uint8Array): void {
    if (this.#tcp.isOpen) this.#out.send(bytes);
    /* The connection is gone and the program still writes. */ else this.#closeStream(State.closed);
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

  // ------------------------------------------------------ stack to program

  onConnected(): void {
    this.#handshake.decide('connected');
    this.#settle();
  }

  onData(bytes: Uint8Array): void {
    if (this.#lingering) {
      /* Data for a program that is gone is answered with a reset, as Linux does. */
      this.#abort();
      return;
    }
    if (!this.#in.push(bytes)) this.onEarlyData?.();
  }

  /** Called at the first bytes of a connection that waits for them (TCP_DEFER_ACCEPT). */
  onEarlyData: (() => void) | undefined;

  onSent(_count: number): void {
    this.#out.pump();
  }

  onFin(): void {
    this.#in.isEnded = true;
    this.#port?.end();
    if (this.#txDone) this.#bothDone();
  }

  onError(errno: StackErrno): void {
    this.#tcp.lost();
    this.#lingering = false;
    if (this.state === State.connecting) {
      this.#handshake.decide(errno);
      this.#settle();
      return;
    }
    if (this.state !== State.established) return;
    /* Linux: a reset after the peer's end is EPIPE to a writer, and reads go on to say "end". */
    const isAfterEnd = this.#in.isEnded && errno === 'ECONNRESET';
    this.#error = errnoNumber(isAfterEnd ? 'EPIPE' : errno);
    this.state = isAfterEnd ? State.closed : State.reset;
    this.#dying = true;
    if (this.#port !== undefined) this.#finishDying();
    else this.#binding.release();
  }

  /** A reset: what the program has not been given yet goes first [5 section 13]. */
  #finishDying(): void {
    if (this.#port === undefined || this.#port.queuedLen > 0) return;
    this.#dying = false;
    this.#closeStream(this.state);
  }

  // ------------------------------------------------------------------ ends

  /** The program shut down its sending direction and may still read. */
  #halfClose(): void {
    this.#halfClosePending = true;
    this.#out.pump(true);
    if (this.#txDone || !this.#out.isEmpty || !this.#tcp.isOpen) return;
    this.#txDone = true;
    if (this.#in.isEnded) {
      this.#bothDone();
      return;
    }
    this.#tcp.shutdown();
    this.#watch.halfClosed();
  }

  /** Both directions ended in order: the control block finishes by itself. */
  #bothDone(): void {
    if (this.#tcp.isOpen) this.#in.credit();
    this.#tcp.close();
    this.state = State.closed;
    this.#dying = true;
    this.#finishDying();
  }

  /** The program closed its descriptor. */
  #programClosed(): void {
    if (this.#tcp.isOpen) {
      if (this.options.resetsOnClose || this.#in.isUnread) this.#abort();
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
    this.#tcp.close();
  }

  #abort(): void {
    this.#lingering = false;
    this.#tcp.abort();
  }

  #unlisten(): void {
    this.listener?.close();
    this.listener = undefined;
  }

  /** The stream has ended for good: free everything, keep names and error for a while. */
  #programGone(): void {
    this.#unlisten();
    this.#closeStream(this.state === State.reset ? State.reset : State.closed);
  }

  #closeStream(next: StateNumber): void {
    this.state = next;
    this.#handshake.answer(failed('ECONNRESET'));
    this.#watch.stop();
    this.#out.close(this.#lingering);
    if (!this.#lingering) this.#abort();
    this.#binding.release();
    this.#port?.destroy();
    this.#port = undefined;
    this.#in.detach();
    this.#host.retire(this);
  }

  /** Resets an accepted connection that no program will pick up. */
  abandon(): void {
    this.#abort();
    this.#in.dropEarly();
    this.#binding.release();
  }

  // -------------------------------------------------------------- requests

  /** EOFINFO. */
  takeReadError(): number {
    return this.state === State.closed && this.#in.isEnded ? 0 : this.takePendingError(false);
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
        if (how === SHUT_RD) this.#in.isShut = true;
        else this.#isSendingShut = true;
        return 0;
      case State.listening:
        this.#unlisten();
        this.state = State.closed;
        this.#binding.release();
        return 0;
      case State.connecting:
        this.#resetStream();
        return 0;
      default:
        return failed('ENOTCONN');
    }
  }

  #resetStream(): void {
    this.#abort();
    this.#closeStream(State.reset);
  }

  /** DISCONNECT (connect to AF_UNSPEC): 0, or 2 when the stream must be replaced. */
  disconnect(): number {
    if (this.state === State.fresh || this.state === State.bound) return 0;
    this.#unlisten();
    this.#resetStream();
    return ConnectResult.replace;
  }

  /** SETOPT; 0 or a negative errno number. */
  setOption(level: number, name: number, value: Uint8Array): number {
    const result = this.options.set(level, name, value, this.#optionContext());
    if (result !== 0) return result;
    this.#binding.updateOptions();
    this.#tcp.setOptions(this.options.tcp());
    this.#limitBuffer();
    if (this.options.isPushed(level, name)) this.uncork();
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
    return streamContext(this.#host, {
      state: this.state,
      isReceived: this.#in.isEnded,
      isSent: this.#txDone,
      info: this.#tcp.info,
      queuedLen: this.#out.queuedLen,
    });
  }
}
