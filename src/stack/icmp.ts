/**
 * Echo sockets: ICMP and ICMPv6 echo requests out, replies in, by identifier [5 section 6.4].
 *
 * Mirrors lwip-port/port_icmp.c. Requests that arrive are answered inside the stack and never seen
 * here.
 */
import { stackErrno } from './errors.js';
import { EVENT_A, EVENT_B, EVENT_C, EVENT_LOCAL, EVENT_REMOTE, OFF_REMOTE } from './layout.js';
import { type Lwip, unmapped } from './lwip.js';
import type { DatagramOptions, EchoSink, IpBytes, StackErrno } from './stack.js';
import { howToSend } from './udp.js';

const MESSAGE_MAX = 65507;

const key = (family: 4 | 6, id: number): number => (family === 6 ? 0x10000 : 0) | id;

export class EchoTable {
  readonly #lwip: Lwip;
  readonly #sinks = new Map<number, EchoSink>();

  constructor(lwip: Lwip) {
    this.#lwip = lwip;
  }

  open(now: number, family: 4 | 6, id: number, sink: EchoSink): StackErrno | undefined {
    if (!(id >= 0 && id <= 0xffff)) return 'EINVAL';
    if (this.#lwip.exports.port_echo_open(now, family, id) === 0) return 'EADDRINUSE';
    this.#sinks.set(key(family, id), sink);
    return undefined;
  }

  send(
    now: number,
    to: IpBytes,
    message: Uint8Array,
    options?: DatagramOptions,
  ): StackErrno | undefined {
    const ip = unmapped(to);
    if (ip.length !== 4 && ip.length !== 16) return 'EINVAL';
    if (message.length > MESSAGE_MAX) return 'EMSGSIZE';
    const how = howToSend(this.#lwip, ip, options);
    if (how === undefined) return 'EINVAL';
    this.#lwip.putEndpoint(OFF_REMOTE, ip, 0);
    this.#lwip.data.set(message);
    const result = this.#lwip.exports.port_echo_send(now, message.length, how);
    return result < 0 ? stackErrno(result) : undefined;
  }

  close(now: number, family: 4 | 6, id: number): void {
    if (this.#sinks.delete(key(family, id))) this.#lwip.exports.port_echo_close(now, family, id);
  }

  /** Runs the callback of the event record at memory address `p`. */
  dispatch(p: number): void {
    const { u8, u32 } = this.#lwip;
    const c = u32[(p + EVENT_C) >> 2] ?? 0;
    const from = this.#lwip.endpoint(p + EVENT_REMOTE).ip;
    const to = this.#lwip.endpoint(p + EVENT_LOCAL).ip;
    const sink = this.#sinks.get(key(from.length === 16 ? 6 : 4, c >>> 16));
    const a = u32[(p + EVENT_A) >> 2] ?? 0;
    const message = u8.subarray(a, a + (u32[(p + EVENT_B) >> 2] ?? 0));
    sink?.onReply(message, from, to, c & 0xff, (c >> 8) & 0xff);
  }

  clear(): void {
    this.#sinks.clear();
  }
}
