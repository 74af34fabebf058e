/**
 * Linux errno numbers as they stand in replies: the only place where a name becomes a number.
 */
import type { StackErrno } from '../stack/stack.js';

export type Errno =
  | StackErrno
  | 'EAGAIN'
  | 'EAFNOSUPPORT'
  | 'EMFILE'
  | 'ENODEV'
  | 'ENOENT'
  | 'ENOPROTOOPT'
  | 'EOPNOTSUPP'
  | 'EPERM'
  | 'EPIPE';

/** What a datagram may fail with. */
export type SendErrno = StackErrno | 'EAFNOSUPPORT';

const NUMBERS: Readonly<Record<Errno, number>> = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  ENODEV: 19,
  EINVAL: 22,
  EMFILE: 24,
  EPIPE: 32,
  EDESTADDRREQ: 89,
  EMSGSIZE: 90,
  ENOPROTOOPT: 92,
  EOPNOTSUPP: 95,
  EAFNOSUPPORT: 97,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ENETDOWN: 100,
  ENETUNREACH: 101,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ENOBUFS: 105,
  EISCONN: 106,
  ENOTCONN: 107,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EHOSTUNREACH: 113,
  EALREADY: 114,
};

/** Positive number of an errno name. */
export function errnoNumber(name: Errno): number {
  return NUMBERS[name];
}

/** Result field of a reply that reports `name`. */
export function failed(name: Errno): number {
  return -NUMBERS[name];
}
