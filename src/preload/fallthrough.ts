/**
 * What of the host's network a program may reach, and how [5 section 12]: the service grants at most
 * what its configuration says, a program gets what it asks for within that, and only where nothing
 * virtual answers. Connections are made by the service, with its rights.
 */
import type { Endpoint, IpBytes, Stack, StackErrno } from '../stack/stack.js';
import {
  classifyDestination,
  type Destination,
  embeddedIpv4,
  isInPrefix,
  isLoopback,
  isMapped,
  isMulticast,
  Policy,
  type PolicyNumber,
  resolveUnspecified,
} from './policy.js';
import type { Ports } from './ports.js';

/** Carries the connection of a virtual socket: the virtual stack, or the host's network. */
export type TcpCarrier = Pick<
  Stack,
  | 'tcpConnect'
  | 'tcpWrite'
  | 'tcpCredit'
  | 'tcpShutdown'
  | 'tcpClose'
  | 'tcpAbort'
  | 'tcpSetOptions'
  | 'tcpInfo'
  | 'tcpNames'
>;

export interface Prefix {
  readonly ip: IpBytes;
  readonly bits: number;
}

/** What the service's owner grants. */
export interface Grant {
  readonly max: PolicyNumber;
  /** Host destinations that are allowed, all where it is empty; and those that never are. */
  readonly allow: readonly Prefix[];
  readonly deny: readonly Prefix[];
}

export const NOTHING_GRANTED: Grant = { max: Policy.none, allow: [], deny: [] };

/** A datagram socket on the host's network. */
export interface HostDatagrams {
  /** With a peer, to the peer. */
  send(to: Endpoint, payload: Uint8Array): StackErrno | undefined;
  /** What is not known yet is zero. */
  local(): Endpoint;
  /** It could not be bound or connected: it will never send, another has to be opened. */
  hasFailed(): boolean;
  close(): void;
}

export interface HostDatagramSink {
  /** `payload` is borrowed for the call. */
  onDatagram(payload: Uint8Array, from: Endpoint): void;
  /** Only with a peer. */
  onError(errno: StackErrno): void;
}

/** The host's network, as the sockets of a view use it. */
export interface HostNetwork {
  readonly tcp: TcpCarrier;
  /** Sinks are not called inside this call, nor inside those of what it returns. */
  openDatagrams(
    family: 4 | 6,
    peer: Endpoint | undefined,
    user: number | undefined,
    sink: HostDatagramSink,
  ): HostDatagrams | StackErrno;
  /** Text of the host's hosts file, and its DNS servers; both as they are now. */
  hosts(): string;
  nameServers(): readonly Endpoint[];
  /** In force now. */
  grant(): Grant;
}

/** What a program that wants `wanted` has. */
export function effectivePolicy(wanted: number, grant: Grant): PolicyNumber {
  const most = Math.min(wanted, grant.max);
  return most >= Policy.full
    ? Policy.full
    : most === Policy.loopback
      ? Policy.loopback
      : Policy.none;
}

/** An IPv6 address with an IPv4 address in it is in the lists of both. */
function isIn(ip: IpBytes, list: readonly Prefix[]): boolean {
  const inside = embeddedIpv4(ip);
  return list.some(
    (p) =>
      isInPrefix(ip, p.ip, p.bits) || (inside !== undefined && isInPrefix(inside, p.ip, p.bits)),
  );
}

/**
 * Whether a destination that nothing virtual answers at may be reached on the host. IPv4 in IPv6 form
 * may not: the kernel would connect by IPv4, and the library asks for IPv4 as such.
 * @param ip an address, not the unspecified one.
 */
export function mayReachHost(ip: IpBytes, wanted: number, grant: Grant): boolean {
  if (isMapped(ip)) return false;
  const policy = effectivePolicy(wanted, grant);
  if (policy === Policy.none || (policy === Policy.loopback && !isLoopback(ip))) return false;
  return !isIn(ip, grant.deny) && (grant.allow.length === 0 || isIn(ip, grant.allow));
}

/**
 * Whether a connection to `to` is the host's: what is virtual stays so; of loopback, only where a
 * program of the network listens.
 */
export function leadsToHost(
  to: Endpoint,
  virtual: Destination,
  ports: Ports,
  wanted: number,
  host: HostNetwork | undefined,
): boolean {
  if (host === undefined || isMulticast(to.ip)) return false;
  const isTaken = isLoopback(to.ip)
    ? ports.hasListener(to.ip, to.port)
    : virtual.kind === 'virtual';
  return !isTaken && mayReachHost(to.ip, wanted, host.grant());
}

/** How a connection gets to its destination. */
export interface TcpWay {
  readonly carrier: TcpCarrier;
  readonly to: Endpoint;
  /** Address that the network would send from; undefined = the host carries it. */
  readonly source: IpBytes | undefined;
}

/** @param stack of the interface that the socket is bound to. @returns undefined: there is no way. */
export function tcpWayTo(
  address: Endpoint,
  stack: Pick<Stack, 'sourceFor'> & TcpCarrier,
  ports: Ports,
  wanted: number,
  host: HostNetwork | undefined,
): TcpWay | undefined {
  const destination = classifyDestination(stack, address.ip);
  const to = { ip: resolveUnspecified(address.ip), port: address.port };
  if (host !== undefined && leadsToHost(to, destination, ports, wanted, host))
    return { carrier: host.tcp, to, source: undefined };
  return destination.kind === 'virtual'
    ? { carrier: stack, to, source: destination.source }
    : undefined;
}

/**
 * Whether a datagram to `to` is the host's. No group, no broadcast; of loopback, only where nobody
 * on the network hears it.
 */
export function datagramLeadsToHost(
  to: Endpoint,
  virtual: Destination,
  isHeard: boolean,
  wanted: number,
  host: HostNetwork | undefined,
): boolean {
  if (host === undefined || isMulticast(to.ip)) return false;
  const isTaken = isLoopback(to.ip) ? isHeard : virtual.kind === 'virtual';
  return !isTaken && mayReachHost(to.ip, wanted, host.grant());
}
