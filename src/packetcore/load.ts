/**
 * Loads the packet core's module, synchronously, once per call. Reads one file and touches nothing
 * else; the module imports nothing.
 */
import { readFileSync } from 'node:fs';
import { type PacketCoreExports, WasmPacketCore } from './core.js';

// The part of the JavaScript API that is used here; Node's type package leaves it to the DOM's.
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object) => { readonly exports: object };
};

// dist/packetcore/load.js -> dist/wasm/packetcore.wasm
const MODULE_URL = new URL('../wasm/packetcore.wasm', import.meta.url);

/** A new instance of the module; the raw exports are for tests and benchmarks. */
export function loadExports(): PacketCoreExports {
  const module = new WebAssembly.Module(readFileSync(MODULE_URL));
  return new WebAssembly.Instance(module).exports as PacketCoreExports;
}

/** A new packet core; one is enough for a process. @throws when the module is missing. */
export function loadPacketCore(): WasmPacketCore {
  return new WasmPacketCore(loadExports());
}
