/**
 * The part of a datagram socket that reaches the host's network [5 section 12]: a socket of the
 * service per family, opened with the first datagram that leads there and closed with the program's.
 *
 * A connected socket has one that is connected too, so that refusals come back. Only who may be
 * reached is heard: the grant is asked about every datagram that comes.
 */
import { equalBytes } from '../lib/bytes.js';
import type { Endpoint, StackErrno } from '../stack/stack.js';
import { type HostDatagrams, type HostNetwork, mayReachHost } from './fallthrough.js';

export interface HostSideOwner {
  /** Its user. */
  readonly owner: number | undefined;
  readonly remote: Endpoint | undefined;
  /** @param local where it came, as far as it is known. */
  hostDatagram(payload: Uint8Array, from: Endpoint, local: Endpoint): void;
  hostError(to: Endpoint, errno: StackErrno): void;
}

interface Open {
  readonly port: HostDatagrams;
  readonly peer: Endpoint | undefined;
}

const sameEnd = (a: Endpoint | undefined, b: Endpoint | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && a.port === b.port && equalBytes(a.ip, b.ip));

export class HostSide {
  readonly #network: HostNetwork;
  readonly #policy: number;
  readonly #owner: HostSideOwner;
  readonly #open = new Map<4 | 6, Open>();

  constructor(network: HostNetwork, policy: number, owner: HostSideOwner) {
    this.#network = network;
    this.#policy = policy;
    this.#owner = owner;
  }

  /** Sends; `to` is known to be the host's. */
  send(to: Endpoint, payload: Uint8Array): StackErrno | undefined {
    const port = this.#portFor(to);
    return typeof port === 'string' ? port : port.send(to, payload);
  }

  /** The socket's peer is `to`: its socket is opened now, so that it can tell the local end. */
  connect(to: Endpoint): StackErrno | undefined {
    const port = this.#portFor(to);
    return typeof port === 'string' ? port : undefined;
  }

  #portFor(to: Endpoint): HostDatagrams | StackErrno {
    const family = to.ip.length === 4 ? 4 : 6;
    const peer = sameEnd(this.#owner.remote, to) ? to : undefined;
    const known = this.#open.get(family);
    const isUsable = known !== undefined && !known.port.hasFailed();
    if (isUsable && sameEnd(known.peer, peer)) return known.port;
    known?.port.close();
    this.#open.delete(family);
    const port = this.#network.openDatagrams(family, peer, this.#owner.owner, {
      onDatagram: (payload, from) => this.#arrived(family, payload, from),
      onError: (errno) => {
        if (peer !== undefined) this.#owner.hostError(peer, errno);
      },
    });
    if (typeof port !== 'string') this.#open.set(family, { port, peer });
    return port;
  }

  #arrived(family: 4 | 6, payload: Uint8Array, from: Endpoint): void {
    if (!mayReachHost(from.ip, this.#policy, this.#network.grant())) return;
    const local = this.local(family);
    if (local !== undefined) this.#owner.hostDatagram(payload, from, local);
  }

  /** The host's end; its address is unspecified until a peer is fixed. */
  local(family: 4 | 6): Endpoint | undefined {
    return this.#open.get(family)?.port.local();
  }

  close(): void {
    for (const { port } of this.#open.values()) port.close();
    this.#open.clear();
  }
}
