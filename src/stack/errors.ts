/**
 * lwIP's err_t, by the place where it arose, to errno(3) names [5 section 10].
 *
 * This is the only translation. The port reports -(place << 8 | -err_t); the table below is that of
 * the document, and everything it omits is EIO. It also owns StackFault, the one exception of this
 * room: a trap inside the instance, after which that instance is never entered again.
 */
import { PLACE_BIND, PLACE_CONNECT, PLACE_DATAGRAM, PLACE_OPEN, PLACE_SYN_SENT } from './layout.js';
import type { StackErrno } from './stack.js';

/** lwIP's error numbers (lwip/err.h), negated. */
export const ERR_MEM = 1;
export const ERR_BUF = 2;
export const ERR_TIMEOUT = 3;
export const ERR_RTE = 4;
export const ERR_VAL = 6;
export const ERR_USE = 8;
export const ERR_ALREADY = 9;
export const ERR_ISCONN = 10;
export const ERR_CONN = 11;
export const ERR_IF = 12;
export const ERR_ABRT = 13;
export const ERR_RST = 14;
export const ERR_CLSD = 15;
export const ERR_ARG = 16;

type Column = ReadonlyMap<number, StackErrno>;

const column = (...rows: readonly (readonly [number, StackErrno])[]): Column => new Map(rows);

const BIND = column(
  [ERR_MEM, 'ENOMEM'],
  [ERR_BUF, 'EADDRINUSE'],
  [ERR_RTE, 'EADDRNOTAVAIL'],
  [ERR_VAL, 'EINVAL'],
  [ERR_USE, 'EADDRINUSE'],
  [ERR_ALREADY, 'EINVAL'],
  [ERR_ISCONN, 'EINVAL'],
  [ERR_CONN, 'EINVAL'],
  [ERR_IF, 'ENETDOWN'],
  [ERR_CLSD, 'EINVAL'],
  [ERR_ARG, 'EINVAL'],
);

const CONNECT = column(
  [ERR_MEM, 'ENOBUFS'],
  [ERR_BUF, 'EADDRNOTAVAIL'],
  [ERR_TIMEOUT, 'ETIMEDOUT'],
  [ERR_RTE, 'ENETUNREACH'],
  [ERR_VAL, 'EINVAL'],
  [ERR_USE, 'EADDRNOTAVAIL'],
  [ERR_ALREADY, 'EALREADY'],
  [ERR_ISCONN, 'EISCONN'],
  [ERR_CONN, 'ENOTCONN'],
  [ERR_IF, 'ENETDOWN'],
  [ERR_ARG, 'EINVAL'],
);

const SYN_SENT = column(
  [ERR_MEM, 'ENOBUFS'],
  [ERR_TIMEOUT, 'ETIMEDOUT'],
  [ERR_RTE, 'EHOSTUNREACH'],
  [ERR_IF, 'ENETDOWN'],
  [ERR_ABRT, 'ETIMEDOUT'],
  [ERR_RST, 'ECONNREFUSED'],
  [ERR_CLSD, 'ECONNABORTED'],
);

const OPEN = column(
  [ERR_MEM, 'ENOBUFS'],
  [ERR_TIMEOUT, 'ETIMEDOUT'],
  [ERR_RTE, 'EHOSTUNREACH'],
  [ERR_IF, 'ENETDOWN'],
  [ERR_ABRT, 'ETIMEDOUT'],
  [ERR_RST, 'ECONNRESET'],
);

const DATAGRAM = column(
  [ERR_MEM, 'ENOBUFS'],
  [ERR_BUF, 'ENOBUFS'],
  [ERR_TIMEOUT, 'ETIMEDOUT'],
  [ERR_RTE, 'ENETUNREACH'],
  [ERR_VAL, 'EINVAL'],
  [ERR_USE, 'EADDRINUSE'],
  [ERR_ALREADY, 'EISCONN'],
  [ERR_ISCONN, 'EISCONN'],
  [ERR_CONN, 'EDESTADDRREQ'],
  [ERR_IF, 'ENETDOWN'],
  [ERR_ARG, 'EINVAL'],
);

const PLACES: ReadonlyMap<number, Column> = new Map([
  [PLACE_BIND, BIND],
  [PLACE_CONNECT, CONNECT],
  [PLACE_SYN_SENT, SYN_SENT],
  [PLACE_OPEN, OPEN],
  [PLACE_DATAGRAM, DATAGRAM],
]);

/** The errno of a negative result of the port. */
export function stackErrno(code: number): StackErrno {
  const bits = -code;
  return PLACES.get(bits >> 8)?.get(bits & 0xff) ?? 'EIO';
}

const UNREACHABLE_4: ReadonlyMap<number, StackErrno> = new Map([
  [0, 'ENETUNREACH'],
  [1, 'EHOSTUNREACH'],
  [2, 'EIO'],
  [3, 'ECONNREFUSED'],
  [4, 'EMSGSIZE'],
  [9, 'EACCES'],
  [10, 'EACCES'],
  [13, 'EACCES'],
]);

const UNREACHABLE_6: ReadonlyMap<number, StackErrno> = new Map([
  [0, 'ENETUNREACH'],
  [1, 'EACCES'],
  [3, 'EHOSTUNREACH'],
  [4, 'ECONNREFUSED'],
]);

/** The errno that Linux gives for an ICMP or ICMPv6 "destination unreachable" code. */
export function unreachableErrno(code: number, isV6: boolean): StackErrno {
  return (isV6 ? UNREACHABLE_6 : UNREACHABLE_4).get(code) ?? 'EHOSTUNREACH';
}

/** A trap inside the stack's instance: an invariant of ours is broken and this stack is dead. */
export class StackFault extends Error {
  readonly code = 'ERR_STACK_FAULT';

  constructor(where: string, cause: unknown) {
    super(`the TCP/IP stack failed in ${where}`, { cause });
    this.name = 'StackFault';
  }
}
