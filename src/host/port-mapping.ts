/**
 * Keeps one UDP port mapped at the home router [4 section 11]: PCP or NAT-PMP, else UPnP. Everything
 * here happens beside the node: a gateway that is missing, slow or hostile costs counted failures.
 *
 *   off --map--> trying --ok--> mapped --REFRESH_MS--> trying
 *                  '--failed--> waiting --REFRESH_MS--> trying
 *
 * `map` with another port or other addresses begins anew; `stop` and `close` remove the mapping.
 */
import { Worker } from 'node:worker_threads';
import {
  type InetAddress,
  inetAddress,
  ipScope,
  ipText,
  parseIp,
  SCOPE_LINK_LOCAL,
  SCOPE_LOOPBACK,
  SCOPE_MULTICAST,
  SCOPE_NONE,
} from '../wire/inetaddress.js';
import { defaultGateway } from './gateway.js';
import { errorText, type Log } from './log.js';
import { type Mapping, mapByPcp, newNonce } from './nat-pmp.js';
import type { UpnpAnswer, UpnpTask } from './upnp-thread.js';

/** [2 section 18] */
const REFRESH_MS = 300_000;
/** Ours: twice the recommended renewal, so that one refresh may fail. */
const LIFETIME_SEC = 900;
/** External ports tried: the port itself and those after it. The reference goes on for 59. */
const EXTERNAL_TRIES = 8;
/** Ours: a UPnP gateway gets so long for all of it, and its thread so much memory. */
const UPNP_MS = 20_000;
const UPNP_MEMORY_MB = 32;
/** Removing a mapping at the end must not hold the end up. */
const REMOVE_MS = 1_000;

/** What a gateway may not claim to be our address outside: a private one may be another NAT's. */
const NOT_OUTSIDE: readonly number[] = [
  SCOPE_NONE,
  SCOPE_LOOPBACK,
  SCOPE_LINK_LOCAL,
  SCOPE_MULTICAST,
];

export type MappingMethod = 'pcp' | 'upnp';

export interface PortMapper {
  /** Where the port can be reached from outside. */
  readonly addresses: readonly InetAddress[];
  readonly counters: Readonly<Record<'mapped' | 'failed', number>>;
  /** Begins, or goes on when nothing changed. */
  map(port: number, localIps: readonly Uint8Array[]): void;
  stop(): void;
  close(): Promise<void>;
}

interface Held {
  readonly method: MappingMethod;
  readonly external: InetAddress;
  readonly port: number;
  readonly gateway: Uint8Array;
}

/** Runs one task in a thread of its own. @throws what went wrong, also after UPNP_MS. */
export function runUpnp(task: UpnpTask): Promise<{ ip: string; port: number }> {
  const worker = new Worker(new URL('./upnp-thread.js', import.meta.url), {
    workerData: task,
    resourceLimits: { maxOldGenerationSizeMb: UPNP_MEMORY_MB },
    stderr: true,
  });
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Error('UPnP takes too long'));
      void worker.terminate();
    }, UPNP_MS);
    worker.on('message', (a: UpnpAnswer) => {
      if ('error' in a) reject(new Error(a.error));
      else resolve(a);
    });
    worker.on('error', reject);
    worker.on('exit', () => {
      clearTimeout(timer);
      reject(new Error('UPnP gave no answer'));
    });
  });
}

export class GatewayMapper implements PortMapper {
  readonly counters = { mapped: 0, failed: 0 };
  readonly #log: Log;
  readonly #description: (port: number) => string;
  readonly #changed: () => void;
  #key = '';
  #held: Held | undefined;
  #nonce = newNonce();
  #timer: NodeJS.Timeout | undefined;
  #turn: Promise<void> = Promise.resolve();
  #saidFailed = false;

  constructor(log: Log, address: string, changed: () => void) {
    this.#log = log;
    this.#description = (port) => `ZeroTier/${address}@${port}`;
    this.#changed = changed;
  }

  get addresses(): readonly InetAddress[] {
    return this.#held === undefined ? [] : [this.#held.external];
  }

  map(port: number, localIps: readonly Uint8Array[]): void {
    const gateway = defaultGateway();
    const key = `${port} ${gateway?.join('.') ?? ''} ${localIps.map(ipText).join()}`;
    if (key === this.#key) return;
    this.stop();
    this.#key = key;
    if (gateway === undefined || localIps.length === 0) return;
    this.#nonce = newNonce();
    this.#again(key, gateway, port);
  }

  /** Maps or refreshes, then comes back; a change of `#key` ends the chain. */
  #again(key: string, gateway: Uint8Array, port: number): void {
    this.#turn = this.#turn.then(async () => {
      if (key !== this.#key) return;
      const held = await this.#try(gateway, port);
      if (key !== this.#key) {
        if (held !== undefined) await this.#remove(held);
        return;
      }
      this.#take(held);
      this.#timer = setTimeout(() => this.#again(key, gateway, port), REFRESH_MS);
      this.#timer.unref();
    });
  }

  async #try(gateway: Uint8Array, port: number): Promise<Held | undefined> {
    const reasons: string[] = [];
    for (const method of ['pcp', 'upnp'] as const) {
      try {
        const external = await this.#ask(method, gateway, port);
        if (!NOT_OUTSIDE.includes(ipScope(external.ip)) && external.port !== 0) {
          this.counters.mapped++;
          return { method, external, port, gateway };
        }
        reasons.push(`${method}: ${ipText(external.ip)}/${external.port} is no address outside`);
      } catch (e) {
        reasons.push(errorText(e));
      }
    }
    this.counters.failed++;
    if (!this.#saidFailed) this.#log('info', `no port mapping: ${reasons.join('; ')}`);
    this.#saidFailed = true;
    return undefined;
  }

  async #ask(method: MappingMethod, gateway: Uint8Array, port: number): Promise<InetAddress> {
    const wanted = this.#held?.method === method ? this.#held.external.port : port;
    if (method === 'pcp') return (await this.#pcp(gateway, port, wanted, LIFETIME_SEC)).external;
    const externalPorts = Array.from({ length: EXTERNAL_TRIES }, (_, i) =>
      Math.min(wanted + i, 65_535),
    );
    const description = this.#description(port);
    const a = await runUpnp({ port, externalPorts, description, lifetimeSec: LIFETIME_SEC });
    const ip = parseIp(a.ip);
    if (ip === undefined) throw new Error(`UPnP: external address "${a.ip}"`);
    return inetAddress(ip, a.port);
  }

  #pcp(gateway: Uint8Array, port: number, externalPort: number, lifetimeSec: number) {
    const request = { gateway, port, externalPort, lifetimeSec, nonce: this.#nonce };
    return mapByPcp(request) as Promise<Mapping>;
  }

  #take(held: Held | undefined): void {
    const before = this.#held?.external;
    this.#held = held;
    if (held !== undefined) this.#saidFailed = false;
    const isSame =
      before?.port === held?.external.port && before?.ip.join() === held?.external.ip.join();
    if (!isSame) this.#changed();
  }

  stop(): void {
    this.#key = '';
    clearTimeout(this.#timer);
    const held = this.#held;
    if (held === undefined) return;
    this.#take(undefined);
    this.#turn = this.#turn.then(() => this.#remove(held));
  }

  /** What cannot be removed ends by itself after LIFETIME_SEC. */
  async #remove(held: Held): Promise<void> {
    const { gateway, port } = held;
    const external = held.external.port;
    try {
      if (held.method === 'pcp') await this.#pcp(gateway, port, 0, 0);
      else
        await runUpnp({
          port,
          externalPorts: [external],
          description: this.#description(port),
          lifetimeSec: 0,
        });
    } catch (e) {
      this.#log('info', `port mapping not removed: ${errorText(e)}`);
    }
  }

  async close(): Promise<void> {
    this.stop();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((done) => {
      timer = setTimeout(done, REMOVE_MS);
    });
    await Promise.race([this.#turn, late]);
    clearTimeout(timer);
  }
}
