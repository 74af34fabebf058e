/**
 * TCP ports of a view over several networks: its own table, and those of the networks' views, since
 * the programs of both use the same stacks. A port is held where its address leads: a wildcard
 * everywhere, an own address of a network in that network, loopback only here.
 */
import type { IpBytes } from '../stack/stack.js';
import { isLoopback, isUnspecified } from './policy.js';
import type { PortHolder, Ports, PortTable } from './ports.js';

export interface SharedTable {
  readonly table: Ports;
  isLocal(ip: IpBytes): boolean;
}

export class SharedPorts implements Ports {
  readonly #own: PortTable;
  readonly #networks = new Map<number, SharedTable>();

  constructor(own: PortTable) {
    this.#own = own;
  }

  /** @param index of the network's interface. */
  share(index: number, network: SharedTable): void {
    this.#networks.set(index, network);
    for (const holder of this.#own.holders())
      if (isConcerned(network, holder)) network.table.add(holder);
  }

  unshare(index: number): void {
    this.#networks.delete(index);
  }

  *#tables(holder: PortHolder): Iterable<Ports> {
    yield this.#own;
    for (const network of this.#networks.values())
      if (isConcerned(network, holder)) yield network.table;
  }

  #some(holder: PortHolder, ask: (table: Ports) => boolean): boolean {
    for (const table of this.#tables(holder)) if (ask(table)) return true;
    return false;
  }

  conflicts(wanted: PortHolder): boolean {
    return this.#some(wanted, (table) => table.conflicts(wanted));
  }

  conflictsWithListener(wanted: PortHolder): boolean {
    return this.#some(wanted, (table) => table.conflictsWithListener(wanted));
  }

  hasListener(ip: IpBytes, port: number): boolean {
    return this.#own.hasListener(ip, port);
  }

  add(holder: PortHolder): void {
    for (const table of this.#tables(holder)) table.add(holder);
  }

  /** From every table: addresses may have moved since. */
  remove(holder: PortHolder): void {
    this.#own.remove(holder);
    for (const { table } of this.#networks.values()) table.remove(holder);
  }

  isHeld(port: number): boolean {
    return this.#own.isHeld(port);
  }

  ephemeral(): number | undefined {
    const networks = [...this.#networks.values()];
    return this.#own.ephemeral((port) => networks.some(({ table }) => table.isHeld(port)));
  }

  get size(): number {
    return this.#own.size;
  }
}

function isConcerned(network: SharedTable, { ip }: PortHolder): boolean {
  return isUnspecified(ip) || (!isLoopback(ip) && network.isLocal(ip));
}
