/**
 * Address translators of simulated homes, in the four classic kinds:
 *
 * | kind | a port outside per | lets in |
 * |---|---|---|
 * | fullCone | inner endpoint | anybody |
 * | addressRestricted | inner endpoint | hosts that were sent to |
 * | portRestricted | inner endpoint | endpoints that were sent to |
 * | symmetric | inner endpoint and destination | endpoints that were sent to |
 *
 * Mappings and permissions age from the last datagram out. A `Nat` knows nothing of time but what
 * it is told, and nothing of links: it translates, or refuses.
 */
import { inetAddress, type RemoteAddress, remoteAddress } from '#src/wire/inetaddress.js';
import type { Luck } from './luck.js';

export type NatKind = 'fullCone' | 'addressRestricted' | 'portRestricted' | 'symmetric';
export const NAT_KINDS: readonly NatKind[] = [
  'fullCone',
  'addressRestricted',
  'portRestricted',
  'symmetric',
];

export interface NatOptions {
  readonly kind: NatKind;
  /** Whether inner hosts reach each other by the outside address. */
  readonly hairpin?: boolean;
  /** Life of an idle mapping; 120 s is the least that RFC 4787 allows. */
  readonly mappingMs?: number;
}

const MAPPING_MS = 120_000;
const FIRST_PORT = 20_000;
const PORTS = 40_000;

interface Mapping<Host> {
  readonly host: Host;
  readonly outside: RemoteAddress;
  lastOutAt: number;
  /** Remote (address or endpoint, by kind) -> last datagram sent to it. */
  readonly permitted: Map<string, number>;
}

const ipKey = (a: RemoteAddress): string => a.key.slice(0, -1);

export class Nat<Host> {
  readonly ip: Uint8Array;
  #kind: NatKind;
  readonly hairpin: boolean;
  readonly #mappingMs: number;
  readonly #luck: Luck;
  readonly #byInner = new Map<string, Mapping<Host>>();
  readonly #byPort = new Map<number, Mapping<Host>>();
  /** Datagrams that found no mapping or no permission. */
  refused = 0;

  constructor(ip: Uint8Array, options: NatOptions, luck: Luck) {
    this.ip = ip;
    this.#kind = options.kind;
    this.hairpin = options.hairpin ?? false;
    this.#mappingMs = options.mappingMs ?? MAPPING_MS;
    this.#luck = luck;
  }

  get kind(): NatKind {
    return this.#kind;
  }

  /** Becomes another kind (a port was opened, a line was changed); mappings are lost. */
  become(kind: NatKind): void {
    this.#kind = kind;
    this.rebind();
  }

  /** Forgets all mappings, as after a restart of the box. */
  rebind(): void {
    this.#byInner.clear();
    this.#byPort.clear();
  }

  get mappings(): number {
    return this.#byPort.size;
  }

  #permitKey(remote: RemoteAddress): string {
    return this.#kind === 'addressRestricted' ? ipKey(remote) : remote.key;
  }

  #freePort(): number {
    for (;;) {
      const port = FIRST_PORT + this.#luck.below(PORTS);
      if (!this.#byPort.has(port)) return port;
    }
  }

  #isLive(now: number, m: Mapping<Host>): boolean {
    return now - m.lastOutAt < this.#mappingMs;
  }

  #drop(key: string, m: Mapping<Host>): void {
    this.#byInner.delete(key);
    this.#byPort.delete(m.outside.port);
  }

  /** The source that the world sees of a datagram from an inner host to `to`. */
  outbound(now: number, host: Host, inner: RemoteAddress, to: RemoteAddress): RemoteAddress {
    const key = this.#kind === 'symmetric' ? `${inner.key}>${to.key}` : inner.key;
    let m = this.#byInner.get(key);
    if (m !== undefined && !this.#isLive(now, m)) {
      this.#drop(key, m);
      m = undefined;
    }
    if (m === undefined) {
      const outside = remoteAddress(inetAddress(this.ip, this.#freePort()));
      m = { host, outside, lastOutAt: now, permitted: new Map() };
      this.#byInner.set(key, m);
      this.#byPort.set(outside.port, m);
    }
    m.lastOutAt = now;
    m.permitted.set(this.#permitKey(to), now);
    return m.outside;
  }

  /** The inner host of an outside port, whether or not it lets anybody in. */
  owner(now: number, port: number): Host | undefined {
    const m = this.#byPort.get(port);
    return m !== undefined && this.#isLive(now, m) ? m.host : undefined;
  }

  /** The inner host that gets a datagram from `from` to an outside port. */
  inbound(now: number, port: number, from: RemoteAddress): Host | undefined {
    const m = this.#byPort.get(port);
    if (m === undefined || !this.#isLive(now, m)) {
      this.refused++;
      return undefined;
    }
    if (this.#kind === 'fullCone') return m.host;
    const sentAt = m.permitted.get(this.#permitKey(from));
    if (sentAt !== undefined && now - sentAt < this.#mappingMs) return m.host;
    this.refused++;
    return undefined;
  }
}
