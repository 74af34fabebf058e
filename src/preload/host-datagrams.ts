/**
 * The part of a datagram socket that reaches the host's network [5 section 12]: a socket of the
 * service per family, opened with the first datagram that leads there and closed with the program's.
 *
 * A connected socket has one more, connected too, so that refusals come back; it is closed when the
 * program's peer is another one or none. So whatever a program sends in which order, at most three
 * are open: two families and a peer. Only who may be reached is heard: the grant is asked about
 * every datagram that comes.
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

interface Connected {
  readonly port: HostDatagrams;
  readonly peer: Endpoint;
}

type Family = 4 | 6;

const familyOf = ({ ip }: Endpoint): Family => (ip.length === 4 ? 4 : 6);
const isSame = (a: Endpoint | undefined, b: Endpoint): boolean =>
  a !== undefined && a.port === b.port && equalBytes(a.ip, b.ip);

export class HostSide {
  readonly #network: HostNetwork;
  readonly #policy: number;
  readonly #owner: HostSideOwner;
  /** For destinations that are not the peer. */
  readonly #open = new Map<4 | 6, HostDatagrams>();
  #connected: Connected | undefined;

  constructor(network: HostNetwork, policy: number, owner: HostSideOwner) {
    this.#network = network;
    this.#policy = policy;
    this.#owner = owner;
  }

  /** Sends; `to` is known to be the host's. */
  send(to: Endpoint, payload: Uint8Array): StackErrno | undefined {
    const port = isSame(this.#owner.remote, to) ? this.#portToPeer(to) : this.#portTo(familyOf(to));
    return typeof port === 'string' ? port : port.send(to, payload);
  }

  /** The socket's peer is `to`: its socket is opened now, so that it can tell the local end. */
  connect(to: Endpoint): StackErrno | undefined {
    const port = this.#portToPeer(to);
    return typeof port === 'string' ? port : undefined;
  }

  /** The socket has no peer any more, or one of the network. */
  disconnect(): void {
    this.#connected?.port.close();
    this.#connected = undefined;
  }

  #portTo(family: Family): HostDatagrams | StackErrno {
    const known = this.#open.get(family);
    if (known?.hasFailed() === false) return known;
    known?.close();
    this.#open.delete(family);
    const port = this.#openPort(family, undefined);
    if (typeof port !== 'string') this.#open.set(family, port);
    return port;
  }

  #portToPeer(peer: Endpoint): HostDatagrams | StackErrno {
    const known = this.#connected;
    if (isSame(known?.peer, peer) && known?.port.hasFailed() === false) return known.port;
    this.disconnect();
    const port = this.#openPort(familyOf(peer), peer);
    if (typeof port !== 'string') this.#connected = { port, peer };
    return port;
  }

  #openPort(family: Family, peer: Endpoint | undefined): HostDatagrams | StackErrno {
    const port: HostDatagrams | StackErrno = this.#network.openDatagrams(
      family,
      peer,
      this.#owner.owner,
      {
        onDatagram: (payload, from) => {
          if (typeof port !== 'string') this.#arrived(payload, from, port);
        },
        onError: (errno) => {
          if (peer !== undefined) this.#owner.hostError(peer, errno);
        },
      },
    );
    return port;
  }

  #arrived(payload: Uint8Array, from: Endpoint, port: HostDatagrams): void {
    if (mayReachHost(from.ip, this.#policy, this.#network.grant()))
      this.#owner.hostDatagram(payload, from, port.local());
  }

  /** The host's end of the connected socket. */
  local(): Endpoint | undefined {
    return this.#connected?.port.local();
  }

  close(): void {
    this.disconnect();
    for (const port of this.#open.values()) port.close();
    this.#open.clear();
  }
}
