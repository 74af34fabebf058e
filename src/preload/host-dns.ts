/**
 * DNS questions of a view to the host's servers: the ports of a `DnsClient` over sockets of the
 * host [5 section 12]. Each question has a socket of its own, connected to the server it asks, so
 * the host lets nobody else answer.
 */
import type { Endpoint, StackErrno } from '../stack/stack.js';
import type { DatagramPorts, Member } from './datagram-ports.js';
import type { DnsHost } from './dns-client.js';
import { failed } from './errno.js';
import type { HostDatagrams, HostNetwork } from './fallthrough.js';

/** Told of answers: nobody asks for it. */
const TTL = 64;
/** Any number above 0: the host chooses the port. */
const SOME_PORT = 1;

class HostPorts implements DatagramPorts {
  readonly mayFallThrough = true;
  readonly #network: HostNetwork;
  readonly #open = new Map<Member, HostDatagrams>();

  constructor(network: HostNetwork) {
    this.#network = network;
  }

  get size(): number {
    return this.#open.size;
  }

  add(member: Member): number {
    const { remote: peer, family, owner } = member;
    if (peer === undefined) return failed('EINVAL');
    const port = this.#network.openDatagrams(family, peer, owner, {
      onDatagram: (payload, from) =>
        member.deliver({ payload, from, to: member.localIp, ttl: TTL, tos: 0 }),
      onError: (errno) => member.unreachable(peer, errno),
    });
    if (typeof port === 'string') return failed(port);
    this.#open.set(member, port);
    return SOME_PORT;
  }

  update(): void {}

  remove(member: Member): void {
    this.#open.get(member)?.close();
    this.#open.delete(member);
  }

  send(member: Member, to: Endpoint, payload: Uint8Array): StackErrno | undefined {
    return this.#open.get(member)?.send(to, payload) ?? undefined;
  }

  hears(): boolean {
    return false;
  }
}

/** What a `DnsClient` needs, of the host's network instead of the virtual one. */
export function dnsOnHost(
  network: HostNetwork,
  view: Pick<DnsHost, 'wake' | 'now' | 'random32'>,
): DnsHost {
  return {
    stack: network.tcp,
    stackOn: () => network.tcp,
    udp: new HostPorts(network),
    wake: view.wake,
    now: () => view.now(),
    random32: () => view.random32(),
  };
}
