/**
 * The networks behind a view: one of `HOME/nc_<nwid>`, every joined one of `HOME/nc_all`
 * [5 sections 11 and 12]. A socket may be tied to one of them by its interface (SO_BINDTODEVICE).
 */
import { equalBytes } from '../lib/bytes.js';
import type { IpBytes, StackConfig } from '../stack/stack.js';
import type { DnsSettings } from './resolver.js';
import type { PreloadStack } from './socket-host.js';

/** [5 section 11] index 1 is lo; the virtual interfaces follow. */
export const LOOPBACK_INDEX = 1;
export const FIRST_INTERFACE_INDEX = 2;
/** Every interface, as SO_BINDTODEVICE and ipi_ifindex have it. */
export const ANY_INTERFACE = 0;

export interface ViewNetwork {
  /** Of its interface; never used again in this view. */
  readonly index: number;
  readonly name: string;
  readonly mac: Uint8Array;
  /** 16 hexadecimal digits. */
  readonly nwidText: string;
  config(): StackConfig;
  /** DNS servers that the network pushed. */
  dns(): DnsSettings;
}

/** What sockets need to know of the networks of their view. */
export interface NetworksHost {
  /** Lowest network id first. */
  networks(): readonly ViewNetwork[];
  /** The stack as a socket tied to that interface may use it; of an interface that is gone: nothing. */
  stackOn(index: number): PreloadStack;
}

/** The own addresses on all networks of the view. */
export function addressesOf(host: NetworksHost): StackConfig['addresses'] {
  return host.networks().flatMap((network) => network.config().addresses);
}

/** `zt` and the last ten digits of the network id. */
export function interfaceNameOf(nwidText: string): string {
  return `zt${nwidText.slice(6)}`;
}

/** Index of an interface by name, ANY_INTERFACE for the empty one. */
export function interfaceNamed(host: NetworksHost, name: string): number | undefined {
  if (name === '') return ANY_INTERFACE;
  if (name === 'lo') return LOOPBACK_INDEX;
  return host.networks().find((n) => n.name === name)?.index;
}

/**
 * The network that an option names by index, by one of its own addresses, or leaves open: then the
 * first, as a route for every group would.
 */
export function networkFor(
  host: NetworksHost & { isLocal(ip: IpBytes): boolean },
  index: number,
  address: IpBytes,
): ViewNetwork | undefined {
  const networks = host.networks();
  if (index !== ANY_INTERFACE) return networks.find((n) => n.index === index);
  const isOwn = (n: ViewNetwork) => n.config().addresses.some((a) => equalBytes(a.ip, address));
  const owner = networks.find(isOwn);
  if (owner !== undefined) return owner;
  const isOpen = address.every((b) => b === 0) || host.isLocal(address);
  return isOpen ? networks[0] : undefined;
}
