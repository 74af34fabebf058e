/**
 * Loads lwip.wasm and gives typed access to one instance of it.
 *
 * The module is compiled once per process, synchronously, and shared; an instance is one network,
 * since lwIP keeps all state in globals. Instances have no imports: time and entropy go in as
 * arguments, frames and events come out through the window (layout.ts). Memory has a fixed size, so
 * the views made here stay valid for good, and bytes handed out stay readable while callbacks call
 * back into the stack.
 *
 * Every call is guarded: a trap becomes a StackFault, and a faulted instance is never entered again.
 * The only Node built-in of this room is the file read of the loader.
 */
import { readFileSync } from 'node:fs';
import { StackFault } from './errors.js';
import {
  DATA_MAX,
  ENDPOINT_FAMILY,
  ENDPOINT_PORT,
  FAMILY_4,
  FAMILY_6,
  FAMILY_ANY,
  LAYOUT,
  OFF_DATA,
  OFF_LAYOUT,
} from './layout.js';
import type { Endpoint, IpBytes } from './stack.js';

/** The exports of the port; contracts in lwip-port/port_api.h. `now` is in whole milliseconds. */
export interface LwipExports {
  port_io_address(now: number): number;
  port_start(now: number): void;
  port_tick(now: number): void;
  port_delay(now: number): number;
  port_events(now: number): number;
  port_frames(now: number, most: number): number;
  port_configure(now: number, mtu: number, addrs: number, routes: number): void;
  port_frame_alloc(now: number, len: number): number;
  port_frame_in(now: number, type: number, group: number): void;
  port_source_for(now: number): number;
  port_is_local(now: number): number;
  port_count(now: number): void;
  port_tcp_connect(now: number): number;
  port_tcp_listen(now: number, backlog: number): number;
  port_tcp_backlog(now: number, handle: number, backlog: number): void;
  port_tcp_unlisten(now: number, handle: number): void;
  port_tcp_hold(now: number, handle: number, held: number): void;
  port_tcp_write(now: number, handle: number, len: number, more: number): number;
  port_tcp_room(now: number, handle: number): number;
  port_tcp_credit(now: number, handle: number, count: number): void;
  port_tcp_shutdown(now: number, handle: number): void;
  port_tcp_close(now: number, handle: number): void;
  port_tcp_abort(now: number, handle: number): void;
  port_tcp_options(now: number, handle: number): void;
  port_tcp_info(now: number, handle: number): number;
  port_tcp_names(now: number, handle: number): number;
  port_tcp_listen_name(now: number, handle: number): number;
  port_udp_open(now: number, reuse: number): number;
  port_udp_send(now: number, handle: number, len: number, how: number): number;
  port_udp_refuse(now: number, index: number): void;
  port_udp_close(now: number, handle: number): void;
  port_udp_name(now: number, handle: number): number;
  port_echo_open(now: number, family: number, id: number): number;
  port_echo_send(now: number, len: number, how: number): number;
  port_echo_close(now: number, family: number, id: number): void;
  port_group_join(now: number): number;
  port_group_leave(now: number): void;
}

/** The little of WebAssembly's API used here: no configured library declares it. */
type WasmModule = object;
type WasmExports = Record<string, unknown>;
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => WasmModule;
  Instance: new (module: WasmModule, imports: object) => { readonly exports: WasmExports };
};

const WASM_FILE = new URL('../wasm/lwip.wasm', import.meta.url);

let compiled: WasmModule | undefined;

/** The shared module; reads and compiles the file at the first call (some 10 ms). */
export function lwipModule(): WasmModule {
  compiled ??= new WebAssembly.Module(readFileSync(WASM_FILE));
  return compiled;
}

type Guarded = (a?: number, b?: number, c?: number, d?: number) => number;

/**
 * `f` with traps turned into StackFault by `fault`. Fixed parameters instead of a rest array: the
 * call then costs some nanoseconds instead of an allocation.
 */
function guard(name: string, f: Guarded, fault: (where: string, cause: unknown) => never): unknown {
  if (f.length <= 2) {
    return (a: number, b: number) => {
      try {
        return f(a, b);
      } catch (e) {
        return fault(name, e);
      }
    };
  }
  if (f.length <= 4) {
    return (a: number, b: number, c: number, d: number) => {
      try {
        return f(a, b, c, d);
      } catch (e) {
        return fault(name, e);
      }
    };
  }
  return (...args: number[]) => {
    try {
      return f(...(args as [number]));
    } catch (e) {
      return fault(name, e);
    }
  };
}

const MAPPED_PREFIX = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/** Whether a 16-byte address is an IPv4-mapped one (::ffff:a.b.c.d). */
export function isMapped(ip: IpBytes): boolean {
  return ip.length === 16 && MAPPED_PREFIX.every((byte, i) => ip[i] === byte);
}

/** The 4-byte form of a mapped address, any other as it is. */
export function unmapped(ip: IpBytes): IpBytes {
  return isMapped(ip) ? ip.subarray(12) : ip;
}

export function isAnyIp(ip: IpBytes): boolean {
  return ip.every((byte) => byte === 0);
}

/** One instance: exports, views, and the codec of the window's endpoints. */
export class Lwip {
  readonly exports: LwipExports;
  /** All of the instance's memory. */
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly view: DataView;
  /** Address of the window (struct port_io). */
  readonly io: number;
  /** The window's data area. */
  readonly data: Uint8Array;
  #fault: StackFault | undefined;

  constructor(now: number) {
    const instance = new WebAssembly.Instance(lwipModule(), {});
    const memory = instance.exports['memory'] as { readonly buffer: ArrayBuffer };
    this.exports = this.#guardAll(instance.exports);
    this.u8 = new Uint8Array(memory.buffer);
    this.u32 = new Uint32Array(memory.buffer);
    this.view = new DataView(memory.buffer);
    (instance.exports['_initialize'] as () => void)();
    this.io = this.exports.port_io_address(now);
    if (this.u32[(this.io + OFF_LAYOUT) >> 2] !== LAYOUT) {
      throw new Error('lwip.wasm does not fit src/stack/layout.ts: build both again');
    }
    this.data = this.u8.subarray(this.io + OFF_DATA, this.io + OFF_DATA + DATA_MAX);
  }

  #guardAll(raw: WasmExports): LwipExports {
    const fault = (where: string, cause: unknown): never => {
      this.#fault ??= new StackFault(where, cause);
      throw this.#fault;
    };
    const out: Record<string, unknown> = {};
    for (const [name, f] of Object.entries(raw)) {
      if (name.startsWith('port_')) out[name] = guard(name, f as Guarded, fault);
    }
    return out as unknown as LwipExports;
  }

  /** @throws StackFault if this instance trapped before. */
  check(): void {
    if (this.#fault !== undefined) throw this.#fault;
  }

  /** Writes an endpoint to the window; an empty address is the wildcard of both families. */
  putEndpoint(at: number, ip: IpBytes, port: number): void {
    const p = this.io + at;
    this.u8.set(ip, p);
    this.view.setUint16(p + ENDPOINT_PORT, port, true);
    this.u8[p + ENDPOINT_FAMILY] =
      ip.length === 0 ? FAMILY_ANY : ip.length === 4 ? FAMILY_4 : FAMILY_6;
  }

  /** Reads an endpoint at a memory address; the wildcard of both families is an empty address. */
  endpoint(p: number): Endpoint {
    const family = this.u8[p + ENDPOINT_FAMILY];
    const len = family === FAMILY_ANY ? 0 : family === FAMILY_4 ? 4 : 16;
    return { ip: this.u8.slice(p, p + len), port: this.view.getUint16(p + ENDPOINT_PORT, true) };
  }
}
