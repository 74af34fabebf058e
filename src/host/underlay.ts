/**
 * What the node's datagrams travel on: which addresses and ports are bound, and which are told to
 * peers [2 sections 2, 12.7, 4 section 11]. Polls the machine's interfaces, since Node.js has no
 * notice of their changes; the node hears of every change at once.
 *
 *   primary    the control port's number           always
 *   secondary  random, for NATs that mangle 9993   unless allowSecondaryPort is false
 *   tertiary   random, for port mapping            while port mapping is on
 *
 * In a world whose roots are all on loopback nothing else is bound and no further port is opened.
 */
import type { Moment } from '../lib/time.js';
import type { UdpSocket } from '../vl1/state.js';
import { type InetAddress, inetAddress, inetAddressText } from '../wire/inetaddress.js';
import { type InterfaceRules, localAddresses, MAX_LOCAL_ADDRESSES } from './interfaces.js';
import { errorText, type Log } from './log.js';
import type { UnderlaySettings } from './physical-conf.js';
import type { PortMapper } from './port-mapping.js';
import { randomUdpPort } from './ports.js';
import { RelayPolicy, type TcpRelay } from './tcp-relay.js';
import type { Udp } from './udp.js';

/** Ours: how often interfaces are looked at; one look costs some 0.1 ms. */
const INTERFACE_POLL_MS = 2_000;
/** Addresses that could not be bound are tried again this often [2 section 19.1]. */
const REBIND_MS = 30_000;
/** A random secondary port is changed after so long offline [2 section 14.4]. */
const OFFLINE_NEW_PORT_MS = 120_000;
/** The wall clock ran ahead by this: the machine slept [2 section 19.1]. */
const SLEEP_MS = 10_000;

export interface UnderlayHost {
  readonly udp: Udp;
  readonly log: Log;
  /** Makes the mapper when port mapping is on for the first time. */
  makeMapper(changed: () => void): PortMapper;
  makeRelay(changed: () => void): TcpRelay;
  /** The relay that the planet's owner runs, if any. */
  builtInRelay(): InetAddress | undefined;
  settings(): UnderlaySettings;
  /** Whether the worlds in use have roots on loopback, or no others. */
  loopback(): InterfaceRules['loopback'];
  isOnline(): boolean;
  now(): Moment;
  woke(): void;
  announce(sockets: readonly UdpSocket[], addresses: readonly InetAddress[]): void;
}

export class Underlay {
  readonly #h: UnderlayHost;
  readonly #timer: NodeJS.Timeout;
  #ports = { primary: 0, secondary: 0, tertiary: 0 };
  #mapper: PortMapper | undefined;
  readonly #relay: TcpRelay;
  readonly #relayPolicy: RelayPolicy;
  #local: readonly Uint8Array[] = [];
  #boundFor = '';
  #announced = '';
  #bindAt = 0;
  #polledAt: Moment;
  #onlineAt: number;
  #turn: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(host: UnderlayHost) {
    this.#h = host;
    this.#polledAt = host.now();
    this.#onlineAt = this.#polledAt.mono;
    this.#relayPolicy = new RelayPolicy(this.#polledAt.mono);
    this.#relay = host.makeRelay(() => void this.#next(async () => this.#announce()));
    host.udp.setRelay(this.#relay);
    this.#timer = setInterval(() => this.#next(() => this.#poll()), INTERFACE_POLL_MS);
  }

  get ports(): { readonly primary: number; readonly secondary: number; readonly tertiary: number } {
    return this.#ports;
  }

  get mapper(): PortMapper | undefined {
    return this.#mapper;
  }

  get relay(): TcpRelay {
    return this.#relay;
  }

  /** Binds for the first time. @throws when there are addresses and none of them can be bound. */
  async open(primary: number): Promise<void> {
    const s = this.#h.settings();
    const isPlain = this.#h.loopback() !== 'only';
    const hasSecondary = s.allowSecondaryPort && (isPlain || s.secondaryPort !== undefined);
    const hasTertiary = s.portMapping && isPlain;
    this.#ports = {
      primary,
      secondary: hasSecondary ? (s.secondaryPort ?? (await randomUdpPort())) : 0,
      tertiary: hasTertiary ? (s.tertiaryPort ?? (await randomUdpPort())) : 0,
    };
    if (s.secondaryPort !== undefined || s.tertiaryPort !== undefined)
      this.#h.log('warning', 'secondary or tertiary port set by hand: this can cause NAT problems');
    await this.#next(() => this.#rebind());
    if (s.forceTcpRelay) this.#forceRelay(s);
    else if (this.#local.length === 0)
      this.#h.log('warning', 'no local address to bind; looking on');
    else if (!this.#h.udp.addresses.some((a) => a.port === primary))
      throw new Error(`no local address can be bound`);
    this.#followMapping();
  }

  /** One thing after the other; a failure is said and ends only itself. */
  #next(act: () => Promise<void>): Promise<void> {
    this.#turn = this.#turn.then(act).catch((e: unknown) => {
      this.#h.log('error', `UDP sockets: ${errorText(e)}`);
    });
    return this.#turn;
  }

  /** Settings or worlds changed. */
  refresh(): void {
    void this.#next(() => this.#poll());
  }

  async #poll(): Promise<void> {
    if (this.#closed) return;
    const now = this.#h.now();
    const slept = now.wall - this.#polledAt.wall - (now.mono - this.#polledAt.mono) > SLEEP_MS;
    this.#polledAt = now;
    if (this.#h.isOnline()) this.#onlineAt = now.mono;
    if (slept || now.mono - this.#onlineAt >= OFFLINE_NEW_PORT_MS) await this.#newSecondary(now);
    await this.#rebind();
    this.#followMapping();
    if (slept) {
      this.#relayPolicy.woke(now.mono);
      this.#h.woke();
    }
    this.#followRelay(now.mono);
  }

  /** Opens the relay while UDP does not come back, or when nothing else is wanted. */
  #followRelay(now: number): void {
    const s = this.#h.settings();
    const { globalIn, globalOut } = this.#h.udp.counters;
    const isBlocked = this.#relayPolicy.decide(now, globalIn, globalOut);
    const server = s.tcpRelay ?? this.#h.builtInRelay();
    const isWanted = s.forceTcpRelay || (s.allowTcpRelay && isBlocked);
    if (server !== undefined && isWanted) this.#relay.open(now, server);
    else this.#relay.close();
  }

  #forceRelay(s: UnderlaySettings): void {
    if ((s.tcpRelay ?? this.#h.builtInRelay()) === undefined)
      this.#h.log('warning', 'forceTcpRelay without tcpFallbackRelay: nothing is sent at all');
    this.#followRelay(this.#h.now().mono);
  }

  /** NATs forget or confuse mappings: another port gets a new one. */
  async #newSecondary(now: Moment): Promise<void> {
    this.#onlineAt = now.mono;
    if (this.#ports.secondary === 0 || this.#h.settings().secondaryPort !== undefined) return;
    this.#ports = { ...this.#ports, secondary: await randomUdpPort() };
  }

  #addresses(): readonly Uint8Array[] {
    const s = this.#h.settings();
    if (s.forceTcpRelay) return [];
    if (s.bind.length > 0) return s.bind.slice(0, MAX_LOCAL_ADDRESSES);
    return this.#interfaceAddresses(s);
  }

  #interfaceAddresses(s: UnderlaySettings): readonly Uint8Array[] {
    return localAddresses({
      namePrefixes: s.interfacePrefixBlacklist,
      blacklist: s.blacklist,
      loopback: this.#h.loopback(),
    });
  }

  #wanted(): InetAddress[] {
    const { primary, secondary, tertiary } = this.#ports;
    return [primary, secondary, tertiary]
      .filter((port) => port !== 0)
      .flatMap((port) => this.#local.map((ip) => inetAddress(ip, port)));
  }

  /** Binds what is missing; what failed is tried again only from time to time. */
  async #rebind(): Promise<void> {
    this.#local = this.#addresses();
    const wanted = this.#wanted();
    const key = wanted.map(inetAddressText).join();
    const now = this.#h.now().mono;
    const isRetry = this.#h.udp.addresses.length < wanted.length && now - this.#bindAt >= REBIND_MS;
    if (key !== this.#boundFor || isRetry) {
      this.#boundFor = key;
      this.#bindAt = now;
      await this.#h.udp.bind(wanted);
    }
    if (!this.#closed) this.#announce();
  }

  /** Tells the node when sockets or addresses are others than before. */
  #announce(): void {
    const { sockets } = this.#h.udp;
    const addresses = this.#pushed();
    const key = `${sockets.map((s) => s.id).join()} ${addresses.map(inetAddressText).join()}`;
    if (key === this.#announced) return;
    this.#announced = key;
    this.#h.announce(sockets, addresses);
  }

  /** Addresses for peers: those of the primary port first, then mapped ones, then the others. */
  #pushed(): InetAddress[] {
    const bound = this.#h.udp.addresses.flatMap((a) => this.#reachable(a));
    const isPrimary = (a: InetAddress): boolean => a.port === this.#ports.primary;
    return [
      ...bound.filter(isPrimary),
      ...(this.#mapper?.addresses ?? []),
      ...bound.filter((a) => !isPrimary(a)),
    ];
  }

  /** A socket of a wildcard address is reached at every address of its family. */
  #reachable(a: InetAddress): InetAddress[] {
    if (a.ip.some((b) => b !== 0)) return [a];
    return this.#interfaceAddresses(this.#h.settings())
      .filter((ip) => ip.length === a.ip.length)
      .map((ip) => inetAddress(ip, a.port));
  }

  /** Starts, moves or stops the mapping of the tertiary port. */
  #followMapping(): void {
    const { tertiary } = this.#ports;
    const isOn = tertiary !== 0 && this.#h.loopback() !== 'only' && this.#h.settings().portMapping;
    if (!isOn) {
      this.#mapper?.stop();
      return;
    }
    this.#mapper ??= this.#h.makeMapper(() => void this.#next(async () => this.#announce()));
    this.#mapper.map(
      tertiary,
      this.#local.filter((ip) => ip.length === 4),
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#turn;
    this.#relay.close();
    await this.#mapper?.close();
    this.#h.udp.close();
  }
}
