/** What bind() and connect() of a TCP socket may name, and where it leads [5 sections 7 and 12]. */
import type { Endpoint } from '../stack/stack.js';
import type { Binding } from './binding.js';
import { failed } from './errno.js';
import { type TcpWay, tcpWayTo } from './fallthrough.js';
import { addressesOf } from './networks.js';
import type { SocketOptions } from './options.js';
import { hasWayFrom, isBroadcast, streamBindError } from './policy.js';
import { BindFlag, type ZtAddress } from './protocol.js';
import type { SocketHost } from './socket-host.js';

/** What a socket is, as far as its addresses go. */
interface Asker {
  readonly family: 4 | 6;
  readonly options: SocketOptions;
  readonly owner: number | undefined;
  /** Policy that the program asked for [5 section 5.4]. */
  readonly policy: number;
}

/** Whether `address` is one to bind to: 0 or a negative errno number. */
export function mayBindTo(
  host: SocketHost,
  { family, options }: Asker,
  address: ZtAddress,
  flags: number,
): number {
  if (options.v6Only && address.family === 4 && family === 6) return failed('EINVAL');
  if (address.family === 6 && family === 4) return failed('EAFNOSUPPORT');
  const freeBind = options.freeBind || (flags & BindFlag.freeBind) !== 0;
  const error = streamBindError(host.stack, addressesOf(host), address.ip);
  return error === 'EINVAL' || (error !== undefined && !freeBind) ? failed(error) : 0;
}

/** The way to `address`, or a negative errno number. */
export function connectWay(
  host: SocketHost,
  { options, owner, policy }: Asker,
  address: ZtAddress,
): TcpWay | number {
  if (address.family === 0) return failed('EAFNOSUPPORT');
  if (options.v6Only && address.family === 4) return failed('ENETUNREACH');
  const via = host.stackOn(options.device);
  const way =
    host.nameServer.wayTo(address, via, { user: owner, policy }) ??
    tcpWayTo(address, via, host.ports, policy, host.hostNetwork);
  const isOfMany = isBroadcast(addressesOf(host), address.ip);
  if (way === undefined || (way.source !== undefined && isOfMany)) return failed('ENETUNREACH');
  return way;
}

/**
 * The own end of a connection on `way`: what the socket is bound to, undefined where the stack or the
 * host chooses, or a negative errno number.
 */
export function connectEnd(
  host: SocketHost,
  binding: Binding,
  way: TcpWay,
): Endpoint | undefined | number {
  // The service connects for the program on the host; what the program bound is of the network.
  if (way.source === undefined) return undefined;
  const local = binding.connectFrom(way.source);
  if (local === undefined || typeof local === 'number') return local;
  return hasWayFrom(host.stack, local.ip) ? local : failed('ENETUNREACH');
}
