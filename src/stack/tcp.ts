/**
 * TCP connections and listeners: the host's sinks and their handles.
 *
 * Mirrors lwip-port/port_tcp.c. A handle's entry exists from `connect` or `onAccept` until `onError`,
 * `close` or `abort`; events for handles without an entry are dropped, since a callback earlier in
 * the same batch may have closed them. Handles carry a generation, so a number is not reused soon.
 */
import { stackErrno } from './errors.js';
import {
  DATA_MAX,
  EV_ACCEPT,
  EV_CONNECTED,
  EV_DATA,
  EV_FIN,
  EV_SENT,
  EVENT_A,
  EVENT_B,
  EVENT_LOCAL,
  EVENT_REMOTE,
  OFF_INFO,
  OFF_LOCAL,
  OFF_REMOTE,
  OFF_SETTINGS,
} from './layout.js';
import { isAnyIp, type Lwip, unmapped } from './lwip.js';
import type {
  Endpoint,
  IpBytes,
  ListenHandle,
  ListenSink,
  StackErrno,
  TcpHandle,
  TcpInfo,
  TcpOptions,
  TcpSink,
} from './stack.js';

interface Names {
  readonly local: Endpoint;
  readonly remote: Endpoint;
}

interface Entry {
  sink: TcpSink;
  readonly names: Names;
  /** All that was ever set. */
  options: TcpOptions;
}

/** As Linux. */
const TTL_DEFAULT = 64;
const SYN_COUNT_DEFAULT = 6;
/** struct port_tcp_info's flags. */
const HAS_TIMESTAMPS = 1;
const HAS_SACK = 2;
const HAS_SCALE = 4;

const NO_SINK: TcpSink = {
  onConnected() {},
  onData() {},
  onSent() {},
  onFin() {},
  onError() {},
};

const EMPTY = new Uint8Array(0);

/** Local address as the port wants it: empty = both families. `v6Only` matters to :: alone. */
export function localIp(ip: IpBytes, v6Only: boolean): IpBytes | undefined {
  if (ip.length === 16 && !v6Only && isAnyIp(ip)) return EMPTY;
  if (ip.length !== 0 && ip.length !== 4 && ip.length !== 16) return undefined;
  return unmapped(ip);
}

const isPort = (port: number): boolean => Number.isInteger(port) && port >= 0 && port <= 65535;

export class TcpTable {
  readonly #lwip: Lwip;
  readonly #entries = new Map<number, Entry>();
  readonly #listeners = new Map<number, ListenSink>();

  constructor(lwip: Lwip) {
    this.#lwip = lwip;
  }

  connect(
    now: number,
    local: Endpoint | undefined,
    remote: Endpoint,
    sink: TcpSink,
    options: TcpOptions = {},
  ): TcpHandle | StackErrno {
    const { exports } = this.#lwip;
    const from = localIp(local?.ip ?? EMPTY, false);
    const to = unmapped(remote.ip);
    const port = local?.port ?? 0;
    if (from === undefined || (to.length !== 4 && to.length !== 16)) return 'EINVAL';
    if (!isPort(port) || !isPort(remote.port)) return 'EINVAL';
    this.#lwip.putEndpoint(OFF_LOCAL, from, port);
    this.#lwip.putEndpoint(OFF_REMOTE, to, remote.port);
    this.#putSettings(options);
    const handle = exports.port_tcp_connect(now);
    if (handle < 0) return stackErrno(handle);
    exports.port_tcp_names(now, handle);
    this.#entries.set(handle, { sink, names: this.#names(), options });
    return handle as TcpHandle;
  }

  #names(): Names {
    const { io } = this.#lwip;
    return {
      local: this.#lwip.endpoint(io + OFF_LOCAL),
      remote: this.#lwip.endpoint(io + OFF_REMOTE),
    };
  }

  listen(
    now: number,
    local: Endpoint,
    v6Only: boolean,
    backlog: number,
    sink: ListenSink,
  ): ListenHandle | StackErrno {
    const ip = localIp(local.ip, v6Only);
    if (ip === undefined || !isPort(local.port)) return 'EINVAL';
    this.#lwip.putEndpoint(OFF_LOCAL, ip, local.port);
    const handle = this.#lwip.exports.port_tcp_listen(now, clampBacklog(backlog));
    if (handle < 0) return stackErrno(handle);
    this.#listeners.set(handle, sink);
    return handle as ListenHandle;
  }

  setBacklog(now: number, handle: ListenHandle, backlog: number): void {
    this.#lwip.exports.port_tcp_backlog(now, handle, clampBacklog(backlog));
  }

  listenName(now: number, handle: ListenHandle): Endpoint | undefined {
    if (this.#lwip.exports.port_tcp_listen_name(now, handle) === 0) return undefined;
    return this.#lwip.endpoint(this.#lwip.io + OFF_LOCAL);
  }

  unlisten(now: number, handle: ListenHandle): void {
    if (this.#listeners.delete(handle)) this.#lwip.exports.port_tcp_unlisten(now, handle);
  }

  write(now: number, handle: TcpHandle, bytes: Uint8Array, more: boolean): number {
    if (!this.#entries.has(handle)) return 0;
    const { exports, data } = this.#lwip;
    let taken = 0;
    while (taken < bytes.length) {
      const want = Math.min(bytes.length - taken, DATA_MAX - 1);
      data.set(taken === 0 && want === bytes.length ? bytes : bytes.subarray(taken, taken + want));
      const isLast = taken + want === bytes.length;
      const n = exports.port_tcp_write(now, handle, want, more || !isLast ? 1 : 0);
      taken += n;
      if (n < want) break;
    }
    return taken;
  }

  room(now: number, handle: TcpHandle): number {
    return this.#entries.has(handle) ? this.#lwip.exports.port_tcp_room(now, handle) : 0;
  }

  credit(now: number, handle: TcpHandle, count: number): void {
    if (count > 0 && this.#entries.has(handle)) {
      this.#lwip.exports.port_tcp_credit(now, handle, count);
    }
  }

  shutdown(now: number, handle: TcpHandle): void {
    if (this.#entries.has(handle)) this.#lwip.exports.port_tcp_shutdown(now, handle);
  }

  close(now: number, handle: TcpHandle): void {
    if (this.#entries.delete(handle)) this.#lwip.exports.port_tcp_close(now, handle);
  }

  abort(now: number, handle: TcpHandle): void {
    if (this.#entries.delete(handle)) this.#lwip.exports.port_tcp_abort(now, handle);
  }

  hold(now: number, handle: TcpHandle, held: boolean): void {
    if (this.#entries.has(handle)) this.#lwip.exports.port_tcp_hold(now, handle, held ? 1 : 0);
  }

  /** What is not given stays as it is. */
  setOptions(now: number, handle: TcpHandle, options: TcpOptions): void {
    const entry = this.#entries.get(handle);
    if (entry === undefined) return;
    entry.options = { ...entry.options, ...options };
    this.#putSettings(entry.options);
    this.#lwip.exports.port_tcp_options(now, handle);
  }

  #putSettings(options: TcpOptions): void {
    const { u32, io } = this.#lwip;
    const keep = options.keepAlive === false ? undefined : options.keepAlive;
    u32.set(
      [
        options.noDelay === true ? 1 : 0,
        keep === undefined ? 0 : 1,
        keep?.idleMs ?? 0,
        keep?.intervalMs ?? 0,
        keep?.count ?? 0,
        options.ttl ?? TTL_DEFAULT,
        options.tos ?? 0,
        options.sendMax ?? 0,
        options.receiveMax ?? 0,
        options.userTimeoutMs ?? 0,
        options.synCount ?? SYN_COUNT_DEFAULT,
      ],
      (io + OFF_SETTINGS) >> 2,
    );
  }

  info(now: number, handle: TcpHandle): TcpInfo | undefined {
    const { exports, u32, io } = this.#lwip;
    if (!this.#entries.has(handle) || exports.port_tcp_info(now, handle) === 0) return undefined;
    const field = (i: number): number => u32[((io + OFF_INFO) >> 2) + i] ?? 0;
    const has = (flag: number): boolean => (field(11) & flag) !== 0;
    return {
      state: field(0),
      rtoMs: field(1),
      rttUs: field(2),
      rttVarUs: field(3),
      sendMss: field(4),
      congestionWindow: field(5),
      slowStartThreshold: field(6),
      unacked: field(7),
      unsent: field(8),
      receiveWindow: field(9),
      retransmits: field(10),
      timestamps: has(HAS_TIMESTAMPS),
      sack: has(HAS_SACK),
      sendScale: has(HAS_SCALE) ? field(12) : undefined,
      receiveScale: has(HAS_SCALE) ? field(13) : undefined,
      bytesAcked: field(14) + field(15) * 2 ** 32,
      bytesReceived: field(16) + field(17) * 2 ** 32,
    };
  }

  names(handle: TcpHandle): Names | undefined {
    return this.#entries.get(handle)?.names;
  }

  /** Runs the callback of the event record at memory address `p`. */
  dispatch(now: number, kind: number, handle: number, p: number): void {
    if (kind === EV_ACCEPT) {
      this.#accept(now, handle as TcpHandle, p);
      return;
    }
    const entry = this.#entries.get(handle);
    if (entry === undefined) return;
    const { u8, u32 } = this.#lwip;
    const a = u32[(p + EVENT_A) >> 2] ?? 0;
    if (kind === EV_DATA) {
      entry.sink.onData(u8.subarray(a, a + (u32[(p + EVENT_B) >> 2] ?? 0)));
    } else if (kind === EV_SENT) {
      entry.sink.onSent(a);
    } else if (kind === EV_CONNECTED) {
      entry.sink.onConnected();
    } else if (kind === EV_FIN) {
      entry.sink.onFin();
    } else {
      this.#entries.delete(handle);
      entry.sink.onError(stackErrno(a | 0));
    }
  }

  #accept(now: number, handle: TcpHandle, p: number): void {
    const listener = this.#listeners.get(this.#lwip.u32[(p + EVENT_A) >> 2] ?? 0);
    const local = this.#lwip.endpoint(p + EVENT_LOCAL);
    const remote = this.#lwip.endpoint(p + EVENT_REMOTE);
    const entry: Entry = { sink: NO_SINK, names: { local, remote }, options: {} };
    this.#entries.set(handle, entry);
    const sink = listener?.onAccept(handle, local, remote);
    if (sink === undefined) this.abort(now, handle);
    else entry.sink = sink;
  }

  clear(): void {
    this.#entries.clear();
    this.#listeners.clear();
  }
}

function clampBacklog(backlog: number): number {
  return Math.min(Math.max(Math.trunc(backlog) || 1, 1), 4096);
}
