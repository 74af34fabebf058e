/**
 * `HOME/nc_all`: the door of programs that use every joined network at once [5 sections 5.1 and 12].
 *
 * Owns the door, a stack of its own for loopback, and the interface numbers; the stacks of the
 * networks stay their links', which tell this object when they come, change and go.
 */

import { MultiStack } from '../preload/multi-stack.js';
import {
  FIRST_INTERFACE_INDEX,
  interfaceNameOf,
  LOOPBACK_INDEX,
  type ViewNetwork,
} from '../preload/networks.js';
import { type Ports, PortTable } from '../preload/ports.js';
import type { DnsSettings } from '../preload/resolver.js';
import { SharedPorts } from '../preload/shared-ports.js';
import { createStack } from '../stack/lwip-stack.js';
import type { Stack, StackConfig } from '../stack/stack.js';
import { type NetworkId, networkIdText } from '../wire/address.js';
import { DEFAULT_MTU } from '../wire/netconf.js';
import { readClock } from './clock.js';
import { PooledEntropy } from './entropy.js';
import { errorText } from './log.js';
import type { Service } from './service.js';
import { PreloadDoor } from './unix.js';

/** No network has it: the loopback stack's place in the loop. */
export const NO_NETWORK: NetworkId = 0n as NetworkId;
/** A stack without a wire. */
const NO_MAC = new Uint8Array(6);
const LOOPBACK_CONFIG: StackConfig = { mtu: DEFAULT_MTU, addresses: [], routes: [] };

/** What a link offers of its network. */
export interface JoinedNetwork {
  readonly nwid: NetworkId;
  readonly stack: Stack;
  /** TCP ports of the network's own programs. */
  readonly ports: Ports;
  stackConfig(): StackConfig;
  dns(): DnsSettings;
}

export class AllNetworks {
  readonly #service: Service;
  readonly #multi = new MultiStack();
  readonly #ports: SharedPorts;
  readonly #entropy = new PooledEntropy();
  readonly #door: PreloadDoor;
  #loopback: Stack;
  readonly #networks = new Map<NetworkId, ViewNetwork>();
  #list: readonly ViewNetwork[] = [];
  #next = FIRST_INTERFACE_INDEX;

  constructor(service: Service) {
    this.#service = service;
    this.#ports = new SharedPorts(new PortTable(() => this.#random32()));
    this.#loopback = this.#newLoopback();
    this.#door = new PreloadDoor({
      path: service.home.path('nc_all'),
      nwid: NO_NETWORK,
      stack: this.#multi.stack,
      several: {
        networks: () => this.#list,
        stackOn: (index) => this.#multi.on(index),
        ports: this.#ports,
      },
      config: () => this.#config(),
      kick: () => service.loop.kick(),
      regroup: () => this.#regroup(),
      grant: () => service.grant,
      limits: service.userLimits,
      now: readClock,
      failed: (e) => this.#failed(e),
      log: (line) => service.log('warning', line),
    });
  }

  #random32(): number {
    const bytes = new Uint8Array(4);
    this.#entropy.fill(bytes);
    return new DataView(bytes.buffer).getUint32(0);
  }

  #newLoopback(): Stack {
    const at = readClock();
    const stack = createStack({ mac: NO_MAC, entropy: this.#entropy, at });
    this.#multi.add(at, {
      index: LOOPBACK_INDEX,
      nwid: NO_NETWORK,
      stack,
      config: () => LOOPBACK_CONFIG,
      touch: () => this.#service.loop.touch(NO_NETWORK),
    });
    return stack;
  }

  async open(): Promise<void> {
    await this.#door.listen();
    this.#service.loop.addStack(NO_NETWORK, this.#loopback);
  }

  /** Addresses and routes of all networks; the MTU that fits each of them. */
  #config(): StackConfig {
    const configs = this.#list.map((n) => n.config());
    return {
      mtu: configs.length === 0 ? DEFAULT_MTU : Math.min(...configs.map((c) => c.mtu)),
      addresses: configs.flatMap((c) => c.addresses),
      routes: configs.flatMap((c) => c.routes),
    };
  }

  #regroup(): void {
    for (const nwid of this.#networks.keys()) this.#service.loop.regroup(nwid);
  }

  // ----------------------------------------------------------- for links

  /** A network was joined, or has a new stack. */
  add(network: JoinedNetwork): void {
    const { nwid, stack } = network;
    const index = this.#networks.get(nwid)?.index ?? this.#next++;
    const nwidText = networkIdText(nwid);
    this.#networks.set(nwid, {
      index,
      name: interfaceNameOf(nwidText),
      mac: stack.mac,
      nwidText,
      config: () => network.stackConfig(),
      dns: () => network.dns(),
    });
    this.#sort();
    this.#ports.share(index, { table: network.ports, isLocal: (ip) => stack.isLocal(ip) });
    this.#enter(() =>
      this.#multi.add(readClock(), {
        index,
        nwid,
        stack,
        config: () => network.stackConfig(),
        touch: () => this.#service.loop.touch(nwid),
      }),
    );
  }

  /** Addresses or routes of a network changed. */
  changed(nwid: NetworkId): void {
    const network = this.#networks.get(nwid);
    if (network !== undefined) this.#enter(() => this.#multi.changed(readClock(), network.index));
  }

  /** The stack of a network failed: a new one will be added. */
  failed(nwid: NetworkId): void {
    this.#detach(nwid, true);
  }

  /** A network was left. */
  remove(nwid: NetworkId): void {
    this.#detach(nwid, false);
    this.#networks.delete(nwid);
    this.#sort();
  }

  #detach(nwid: NetworkId, isBroken: boolean): void {
    const index = this.#networks.get(nwid)?.index;
    if (index === undefined) return;
    this.#ports.unshare(index);
    this.#enter(() => this.#multi.remove(readClock(), index, isBroken));
  }

  #sort(): void {
    const all = [...this.#networks].sort(([a], [b]) => (a < b ? -1 : 1));
    this.#list = all.map(([, network]) => network);
  }

  #enter(act: () => void): void {
    this.#door.guard(act);
    this.#service.loop.kick();
  }

  // ------------------------------------------------------------- failure

  /** A stack failed inside a call of ours: draining all shows which, and its owner replaces it. */
  #failed(e: unknown): void {
    this.#service.log('error', `nc_all: ${errorText(e)}`);
    for (const nwid of [NO_NETWORK, ...this.#networks.keys()]) this.#service.loop.touch(nwid);
  }

  /** The loopback stack trapped: connections over loopback are lost. */
  loopbackFailed(e: unknown): void {
    this.#service.log(
      'error',
      `the loopback stack of nc_all failed and is restarted: ${errorText(e)}`,
    );
    this.#multi.remove(readClock(), LOOPBACK_INDEX, true);
    this.#loopback = this.#newLoopback();
    this.#service.loop.addStack(NO_NETWORK, this.#loopback);
  }

  /** What programs hold here, and what is open on the networks. */
  counters(): Readonly<Record<string, number>> {
    return { ...this.#door.counters(), ...this.#multi.counters() };
  }

  async close(): Promise<void> {
    await this.#door.close();
    this.#service.loop.flush();
    this.#service.loop.removeStack(NO_NETWORK);
    this.#loopback.close();
  }
}
