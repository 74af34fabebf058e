/**
 * What the host keeps per joined network: its TCP/IP stack, its door for preloaded programs, and the
 * user's local settings. Turns a configuration into addresses and routes of the stack.
 */
import { DNS_PORT } from '../preload/dns-answerer.js';
import type { Ports } from '../preload/ports.js';
import type { DnsSettings } from '../preload/resolver.js';
import { createStack } from '../stack/lwip-stack.js';
import type { Stack, StackConfig } from '../stack/stack.js';
import { memberMac, type NetworkId, networkIdText } from '../wire/address.js';
import {
  type InetAddress,
  ipInPrefix,
  ipScope,
  parseInetAddress,
  SCOPE_GLOBAL,
  SCOPE_PRIVATE,
  SCOPE_PSEUDO_PRIVATE,
  SCOPE_SHARED,
} from '../wire/inetaddress.js';
import { DEFAULT_MTU, type NetworkConfig } from '../wire/netconf.js';
import type { JoinedNetwork } from './all-networks.js';
import { readClock } from './clock.js';
import { PooledEntropy } from './entropy.js';
import { errorText } from './log.js';
import type { Service } from './service.js';
import { PreloadDoor } from './unix.js';

export interface LocalSettings {
  allowManaged: boolean;
  allowGlobal: boolean;
  allowDefault: boolean;
  allowDNS: boolean;
}

/** After a trap in the stack a new one is made, at most this often. */
const REBUILD_MS = 1_000;
/** Ours: longest payload that reaches a peer in any verb, in the 7 fragments of 1,432 bytes that it takes. */
const MAX_PAYLOAD_LEN = 9_928 - 51;

type FromController = Pick<NetworkConfig, 'mtu' | 'addresses' | 'routes'>;

/** An address or route target that a stack takes: no v4-mapped one, no prefix longer than it. */
function isUsable(a: InetAddress): boolean {
  const isMapped =
    a.family === 6 &&
    a.ip.subarray(0, 10).every((b) => b === 0) &&
    a.ip[10] === 0xff &&
    a.ip[11] === 0xff;
  return a.family !== 0 && !isMapped && a.port <= a.ip.length * 8;
}

/** What of a configuration the stack gets: what it can take and `isAllowed` lets through. */
export function stackConfigOf(
  config: FromController,
  isAllowed: (a: InetAddress) => boolean,
): StackConfig {
  const own = config.addresses.filter((a) => a.family !== 0).map((a) => a.ip.join());
  const isTaken = (a: InetAddress): boolean => isUsable(a) && isAllowed(a);
  return {
    mtu: Math.min(config.mtu, MAX_PAYLOAD_LEN),
    addresses: config.addresses.filter(isTaken).map((a) => ({ ip: a.ip, prefixLen: a.port })),
    routes: config.routes
      .filter((r) => r.via.family === 0 || r.via.family === r.target.family)
      .filter((r) => isTaken(r.target) && !own.includes(r.via.ip.join()))
      .map((r) => ({
        target: r.target.ip,
        prefixLen: r.target.port,
        via: r.via.family === 0 ? undefined : r.via.ip,
      })),
  };
}

/** The pushed DNS servers; a port of 0 is that of DNS. */
export function dnsSettingsOf(config: Pick<NetworkConfig, 'dns'> | undefined): DnsSettings {
  const { domain, servers } = config?.dns ?? { domain: '', servers: [] };
  const known = servers.filter((s) => s.family !== 0);
  return {
    domain,
    servers: known.map((s) => ({ ip: s.ip, port: s.port === 0 ? DNS_PORT : s.port })),
  };
}

/**
 * Whether local policy lets us use an assigned address or route target [3 section 11.4]; `only` = the
 * networks that `allowManaged` is limited to, none = no limit.
 */
export function isManagedAllowed(
  settings: Readonly<LocalSettings>,
  only: readonly InetAddress[],
  a: InetAddress,
): boolean {
  if (!settings.allowManaged) return false;
  const inList = only.some((n) => a.port >= n.port && ipInPrefix(a.ip, n.ip, n.port));
  if (only.length > 0 && !inList) return false;
  if (a.port === 0) return settings.allowDefault;
  switch (ipScope(a.ip)) {
    case SCOPE_GLOBAL:
      return settings.allowGlobal;
    case SCOPE_PRIVATE:
    case SCOPE_SHARED:
    case SCOPE_PSEUDO_PRIVATE:
      return true;
    default:
      return false;
  }
}

export class NetworkLink implements JoinedNetwork {
  readonly nwid: NetworkId;
  readonly settings: LocalSettings = {
    allowManaged: true,
    allowGlobal: false,
    allowDefault: false,
    allowDNS: false,
  };
  /** Networks that `allowManaged` is limited to; empty = all. */
  managedOnly: readonly InetAddress[] = [];
  readonly #service: Service;
  #stack: Stack;
  #door: PreloadDoor;
  #rebuild: NodeJS.Timeout | undefined;
  #closed = false;
  #stackConfig: StackConfig = { mtu: DEFAULT_MTU, addresses: [], routes: [] };

  constructor(service: Service, nwid: NetworkId) {
    this.#service = service;
    this.nwid = nwid;
    this.#readSettings();
    this.#stack = this.#newStack();
    this.#door = this.#newDoor();
  }

  get stack(): Stack {
    return this.#stack;
  }

  get ports(): Ports {
    return this.#door.view.ports;
  }

  stackConfig(): StackConfig {
    return this.#stackConfig;
  }

  dns(): DnsSettings {
    return dnsSettingsOf(this.#service.node.vl2.network(this.nwid)?.config);
  }

  /** What preloaded programs hold. */
  preloadCounters(): Readonly<Record<string, number>> {
    if (this.#closed) return {};
    return this.#door.counters();
  }

  /** Pools in use and drops of the stack by name; none while a failed stack waits to be remade. */
  stackCounters(): Readonly<Record<string, number>> {
    return this.#rebuild === undefined && !this.#closed ? this.#stack.counters() : {};
  }

  #newStack(): Stack {
    const mac = memberMac(this.#service.identity.address, this.nwid);
    return createStack({ mac, entropy: new PooledEntropy(), at: readClock() });
  }

  #newDoor(): PreloadDoor {
    return new PreloadDoor({
      path: this.#service.doorPath(this.nwid),
      nwid: this.nwid,
      stack: this.#stack,
      mac: this.#stack.mac,
      config: () => this.#stackConfig,
      kick: () => this.#service.loop.touch(this.nwid),
      regroup: () => this.#service.loop.regroup(this.nwid),
      dns: () => this.dns(),
      grant: () => this.#service.grant,
      limits: this.#service.userLimits,
      now: readClock,
      failed: (e) => this.stackFailed(e),
      log: (line) => this.#service.log('warning', line),
    });
  }

  async open(): Promise<void> {
    await this.#door.listen();
    this.#service.loop.addStack(this.nwid, this.#stack);
    this.#service.all.add(this);
  }

  // ---- local settings [4 section 2.1] ----

  #file(): string {
    return `networks.d/${networkIdText(this.nwid)}.local.conf`;
  }

  #readSettings(): void {
    for (const line of (this.#service.home.readText(this.#file()) ?? '').split('\n')) {
      const [key, value] = line.split('=');
      if (key === undefined || value === undefined || !Object.hasOwn(this.settings, key)) continue;
      const text = value.trim();
      if (key === 'allowManaged' && text.length > 5) {
        this.managedOnly = text
          .split(',')
          .map((t) => parseInetAddress(t.trim()))
          .filter((a) => a !== undefined && a.family !== 0) as InetAddress[];
        this.settings.allowManaged = true;
      } else this.settings[key as keyof LocalSettings] = /^[1tT]/.test(text);
    }
  }

  /** Applies and stores settings; those not named stay. */
  set(changes: Partial<LocalSettings>): void {
    Object.assign(this.settings, changes);
    if (changes.allowManaged !== undefined) this.managedOnly = [];
    const lines = Object.entries(this.settings).map(([k, v]) => `${k}=${v ? 1 : 0}\n`);
    this.#service.home.write(this.#file(), lines.join(''));
    this.changed();
  }

  // ---- configuration ----

  /** The network's configuration, status or local settings changed. */
  changed(): void {
    if (this.#closed) return;
    const config = this.#service.node.vl2.network(this.nwid)?.config ?? {
      mtu: DEFAULT_MTU,
      addresses: [],
      routes: [],
    };
    this.#stackConfig = stackConfigOf(config, (a) =>
      isManagedAllowed(this.settings, this.managedOnly, a),
    );
    // A stack that failed is replaced soon, and then configured.
    if (this.#rebuild !== undefined) return;
    try {
      this.#stack.configure(readClock(), this.#stackConfig);
      this.#service.loop.regroup(this.nwid);
      this.#service.all.changed(this.nwid);
    } catch (e) {
      this.stackFailed(e);
    }
  }

  // ---- failure and end ----

  /** The stack trapped: programs on it lose their connections, the network gets a new stack. */
  stackFailed(e: unknown): void {
    this.#service.log(
      'error',
      `the TCP/IP stack of ${networkIdText(this.nwid)} failed and is restarted: ${errorText(e)}`,
    );
    if (this.#closed || this.#rebuild !== undefined) return;
    this.#service.all.failed(this.nwid);
    this.#rebuild = setTimeout(() => {
      this.#rebuild = undefined;
      this.#reopen().catch((err: unknown) => this.stackFailed(err));
    }, REBUILD_MS);
  }

  async #reopen(): Promise<void> {
    await this.#door.close();
    if (this.#closed) return;
    this.#stack = this.#newStack();
    this.#door = this.#newDoor();
    await this.open();
    this.changed();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#rebuild);
    this.#service.all.remove(this.nwid);
    await this.#door.close();
    this.#service.loop.flush();
    this.#service.loop.removeStack(this.nwid);
    this.#stack.close();
  }
}
