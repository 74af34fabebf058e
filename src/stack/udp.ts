/**
 * UDP sockets. Mirrors lwip-port/port_udp.c, which owns the receive queues.
 */
import { stackErrno, unreachableErrno } from './errors.js';
import {
  EV_UNREACHABLE,
  EVENT_A,
  EVENT_B,
  EVENT_C,
  EVENT_LEN,
  EVENT_LOCAL,
  EVENT_REMOTE,
  HOW_LOOP,
  HOW_SOURCE,
  HOW_TOS,
  HOW_TOS_SHIFT,
  HOW_TTL,
  HOW_TTL_SHIFT,
  OFF_EVENTS,
  OFF_LOCAL,
  OFF_REMOTE,
} from './layout.js';
import { type Lwip, unmapped } from './lwip.js';
import type {
  DatagramOptions,
  Endpoint,
  IpBytes,
  StackErrno,
  UdpHandle,
  UdpSink,
} from './stack.js';
import { localIp } from './tcp.js';

/** Longest UDP payloads: 65535 less all headers. lwIP counts IPv6's header too: 40 bytes less than [5 section 7]. */
const MAX_4 = 65507;
const MAX_6 = 65487;

/**
 * The word that tells the port how to send; a source goes to the window.
 * @returns undefined when the source is not of the destination's family.
 */
export function howToSend(
  lwip: Lwip,
  to: IpBytes,
  options: DatagramOptions | undefined,
): number | undefined {
  if (options === undefined) return 0;
  let how = 0;
  if (options.source !== undefined) {
    const source = unmapped(options.source);
    if (source.length !== to.length) return undefined;
    lwip.putEndpoint(OFF_LOCAL, source, 0);
    how |= HOW_SOURCE;
  }
  if (options.ttl !== undefined) how |= HOW_TTL | ((options.ttl & 0xff) << HOW_TTL_SHIFT);
  if (options.tos !== undefined) how |= HOW_TOS | ((options.tos & 0xff) << HOW_TOS_SHIFT);
  return options.loop === true ? how | HOW_LOOP : how;
}

export class UdpTable {
  readonly #lwip: Lwip;
  readonly #sinks = new Map<number, UdpSink>();

  constructor(lwip: Lwip) {
    this.#lwip = lwip;
  }

  open(now: number, local: Endpoint, reuse: boolean, sink: UdpSink): UdpHandle | StackErrno {
    const ip = localIp(local.ip, false);
    if (ip === undefined || !(local.port >= 0 && local.port <= 65535)) return 'EINVAL';
    this.#lwip.putEndpoint(OFF_LOCAL, ip, local.port);
    const handle = this.#lwip.exports.port_udp_open(now, reuse ? 1 : 0);
    if (handle < 0) return stackErrno(handle);
    this.#sinks.set(handle, sink);
    return handle as UdpHandle;
  }

  send(
    now: number,
    handle: UdpHandle,
    to: Endpoint,
    payload: Uint8Array,
    options?: DatagramOptions,
  ): StackErrno | undefined {
    const ip = unmapped(to.ip);
    if (ip.length !== 4 && ip.length !== 16) return 'EINVAL';
    if (to.port === 0) return 'EINVAL';
    if (payload.length > (ip.length === 4 ? MAX_4 : MAX_6)) return 'EMSGSIZE';
    const how = howToSend(this.#lwip, ip, options);
    if (how === undefined) return 'EINVAL';
    this.#lwip.putEndpoint(OFF_REMOTE, ip, to.port);
    this.#lwip.data.set(payload);
    const result = this.#lwip.exports.port_udp_send(now, handle, payload.length, how);
    return result < 0 ? stackErrno(result) : undefined;
  }

  close(now: number, handle: UdpHandle): void {
    if (this.#sinks.delete(handle)) this.#lwip.exports.port_udp_close(now, handle);
  }

  name(now: number, handle: UdpHandle): Endpoint | undefined {
    if (this.#lwip.exports.port_udp_name(now, handle) === 0) return undefined;
    return this.#lwip.endpoint(this.#lwip.io + OFF_LOCAL);
  }

  /** Runs the callback of the event record at memory address `p`. */
  dispatch(now: number, kind: number, handle: number, p: number): void {
    const sink = this.#sinks.get(handle);
    if (sink === undefined) return;
    const { u8, u32 } = this.#lwip;
    const a = u32[(p + EVENT_A) >> 2] ?? 0;
    const remote = this.#lwip.endpoint(p + EVENT_REMOTE);
    if (kind === EV_UNREACHABLE) {
      sink.onUnreachable?.(remote, unreachableErrno(a & 0xff, remote.ip.length === 16));
      return;
    }
    const to = this.#lwip.endpoint(p + EVENT_LOCAL).ip;
    if (sink.isWanted?.(remote, to) === false) {
      const index = (p - this.#lwip.io - OFF_EVENTS) / EVENT_LEN;
      this.#lwip.exports.port_udp_refuse(now, index);
      return;
    }
    const c = u32[(p + EVENT_C) >> 2] ?? 0;
    const payload = u8.subarray(a, a + (u32[(p + EVENT_B) >> 2] ?? 0));
    sink.onDatagram(payload, remote, to, c & 0xff, (c >> 8) & 0xff);
  }

  clear(): void {
    this.#sinks.clear();
  }
}
