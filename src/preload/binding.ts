/**
 * The local end of one TCP socket: its address, its port in the view's table, and who chose it.
 */
import type { Endpoint, IpBytes } from '../stack/stack.js';
import { failed } from './errno.js';
import type { SocketOptions } from './options.js';
import { isUnspecified } from './policy.js';
import type { PortHolder, Ports } from './ports.js';
import { BindFlag } from './protocol.js';

/** Whose binding it is. */
export interface BindingOwner {
  readonly options: SocketOptions;
  readonly owner: number | undefined;
}

export class Binding {
  readonly #ports: Ports;
  readonly #socket: BindingOwner;
  #holder: PortHolder | undefined;
  #local: Endpoint | undefined;
  /** The program chose the port itself: a failed connect keeps it. */
  isByProgram = false;

  constructor(ports: Ports, socket: BindingOwner) {
    this.#ports = ports;
    this.#socket = socket;
  }

  get holder(): PortHolder | undefined {
    return this.#holder;
  }

  get local(): Endpoint | undefined {
    return this.#local;
  }

  /** Takes a port, 0 = any; 0 or a negative errno number. */
  reserve(ip: IpBytes, port: number, flags: number): number {
    const chosen = port === 0 ? this.#ports.ephemeral() : port;
    if (chosen === undefined) return failed('EADDRINUSE');
    const local = { ip, port: chosen };
    const holder = this.#holderFor(local);
    holder.reuseAddr ||= (flags & BindFlag.reuseAddr) !== 0;
    holder.reusePort ||= (flags & BindFlag.reusePort) !== 0;
    if (this.#ports.conflicts(holder)) return failed('EADDRINUSE');
    this.#ports.add(holder);
    this.#holder = holder;
    this.#local = local;
    return 0;
  }

  #holderFor(local: Endpoint): PortHolder {
    const { options, owner } = this.#socket;
    return {
      port: local.port,
      ip: local.ip,
      v6Only: options.v6Only,
      reuseAddr: options.reuseAddr,
      reusePort: options.reusePort,
      owner,
      listening: false,
      device: options.device,
    };
  }

  /** The local end that a connection has. */
  settle(local: Endpoint): void {
    this.#local = local;
    if (this.#holder !== undefined) return;
    this.#holder = this.#holderFor(local);
    this.#ports.add(this.#holder);
  }

  /** The local end of a connection that holds no port of the view. */
  rename(local: Endpoint): void {
    this.#local = local;
  }

  /** Local end of an outgoing connection; undefined lets the stack choose. */
  connectFrom(source: IpBytes): Endpoint | undefined | number {
    if (this.#local === undefined) return undefined;
    if (isUnspecified(this.#local.ip)) return { ip: source, port: this.#local.port };
    if (this.#local.ip.length !== source.length) return failed('EINVAL');
    return this.#local;
  }

  /** Options that concern the port have changed. */
  updateOptions(): void {
    if (this.#holder === undefined) return;
    this.#holder.reuseAddr = this.#socket.options.reuseAddr;
    this.#holder.reusePort = this.#socket.options.reusePort;
    this.#holder.device = this.#socket.options.device;
  }

  /** Gives the port back; the address stays for the names. */
  release(): void {
    if (this.#holder !== undefined) this.#ports.remove(this.#holder);
    this.#holder = undefined;
  }

  /** Gives back a port that the program did not choose, and the address with it. */
  forgetAutomatic(): void {
    if (this.isByProgram) return;
    this.release();
    this.#local = undefined;
  }
}
