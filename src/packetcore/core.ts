/**
 * `PacketCore` over the WebAssembly module, with node:crypto for the AES of suite 3.
 *
 * One instance serves any number of nodes. Bytes are copied into fixed windows of the module's
 * memory, worked on in place and copied back; a packet that already lies in the inbox window (see
 * `inbox`) is not copied at all. The memory never grows, so views are made once: those of the copy
 * and of the outbox by length, at the first use of that length.
 */
import type { PacketCore, PeerKey, Suite } from '../crypto/api.js';
import { createPrimitives, sha512 } from '../crypto/native.js';
import {
  COPY,
  DIGEST,
  DIGEST_LEN,
  DIRECT_LEN,
  HEADER_LEN,
  INBOX,
  INBOX_LEN,
  KEY,
  KEY_LEN,
  OFF_FLAGS,
  OK,
  OUTBOX,
  PACKET_MAX_LEN,
  PAYLOAD_MAX_LEN,
  SUITE_SHIFT,
} from './layout.js';
import { type SivKey, SivWindow } from './siv.js';

/** What the module exports; a negative result is a status of layout.ts. */
export interface PacketCoreExports {
  readonly memory: { readonly buffer: ArrayBuffer };
  seal(p: number, len: number, suite: number): number;
  open(p: number, len: number): number;
  maskHello(p: number, len: number, start: number): number;
  salsa20Xor(p: number, len: number, block: number, rounds: number): number;
  poly1305Tag(p: number, len: number): number;
  lz4Decode(p: number, len: number, limit: number): number;
  lz4Encode(p: number, len: number): number;
  identityFill(): void;
  identityMix(): void;
  sivExpand(): void;
  sivSeal(p: number, len: number): number;
  sivSealStart(p: number, len: number): number;
  sivSealFinish(p: number, len: number): number;
  sivOpen(p: number, len: number): number;
  sivOpenStart(p: number, len: number): number;
  sivOpenFinish(p: number, len: number): number;
}

const AGREED_LEN = 48;
const PUBLIC_KEY_LEN = 64;
const SUITE_SIV = 3;

class WasmPeerKey implements PeerKey {
  readonly agreed: Uint8Array;
  /** The half that suites 0 and 1 use [1 section 2.3]. */
  readonly salsa: Uint8Array;
  /** Keys of suite 3, made at its first packet: many peers never send one. */
  siv: SivKey | undefined;

  constructor(agreed: Uint8Array) {
    if (agreed.length !== AGREED_LEN) throw new RangeError('agreed key: not 48 bytes');
    this.agreed = new Uint8Array(agreed);
    this.salsa = this.agreed.slice(0, KEY_LEN);
  }
}

function own(key: PeerKey): WasmPeerKey {
  if (!(key instanceof WasmPeerKey)) throw new TypeError('key of another packet core');
  return key;
}

export class WasmPacketCore implements PacketCore {
  /** Packets in here are worked on without a copy; the rest of the memory is the module's. */
  readonly inbox: Uint8Array;
  readonly #copy: Uint8Array;
  readonly #wasm: PacketCoreExports;
  readonly #siv: SivWindow;
  readonly #buffer: ArrayBuffer;
  readonly #key: Uint8Array;
  readonly #digest: Uint8Array;
  readonly #copyViews: Uint8Array[] = [];
  readonly #outboxViews: Uint8Array[] = [];

  constructor(wasm: PacketCoreExports) {
    this.#wasm = wasm;
    this.#siv = new SivWindow(wasm);
    this.#buffer = wasm.memory.buffer;
    this.inbox = new Uint8Array(this.#buffer, INBOX, DIRECT_LEN);
    this.#copy = new Uint8Array(this.#buffer, COPY, INBOX + INBOX_LEN - COPY);
    this.#key = new Uint8Array(this.#buffer, KEY, KEY_LEN);
    this.#digest = new Uint8Array(this.#buffer, DIGEST, DIGEST_LEN);
  }

  /** Address of `packet` in the module's memory, where it is copied unless it is there already. */
  #enter(packet: Uint8Array): number {
    if (packet.buffer === this.#buffer) return packet.byteOffset;
    this.#copy.set(packet);
    return COPY;
  }

  #leave(packet: Uint8Array): void {
    if (packet.buffer === this.#buffer) return;
    const len = packet.length;
    this.#copyViews[len] ??= this.#copy.subarray(0, len);
    packet.set(this.#copyViews[len]);
  }

  makeKey(agreed: Uint8Array): PeerKey {
    return new WasmPeerKey(agreed);
  }

  #sivKey(key: WasmPeerKey): SivKey {
    key.siv ??= this.#siv.makeKey(key.agreed);
    return key.siv;
  }

  #sealAt(key: WasmPeerKey, p: number, len: number, suite: Suite): number {
    if (suite === SUITE_SIV) return this.#siv.seal(this.#sivKey(key), p, len);
    this.#key.set(key.salsa);
    return this.#wasm.seal(p, len, suite);
  }

  #openAt(key: WasmPeerKey, p: number, len: number, suite: number): number {
    if (suite === SUITE_SIV) return this.#siv.open(this.#sivKey(key), p, len);
    this.#key.set(key.salsa);
    return this.#wasm.open(p, len);
  }

  seal(key: PeerKey, packet: Uint8Array, suite: Suite): void {
    const len = packet.length;
    if (len < HEADER_LEN || len > PACKET_MAX_LEN) throw new RangeError(`packet of ${len} bytes`);
    const status = this.#sealAt(own(key), this.#enter(packet), len, suite);
    if (status !== OK) throw new RangeError(`seal: status ${status}`);
    this.#leave(packet);
  }

  open(key: PeerKey, packet: Uint8Array): boolean {
    const len = packet.length;
    if (len < HEADER_LEN || len > PACKET_MAX_LEN) return false;
    const suite = (packet[OFF_FLAGS]! >> SUITE_SHIFT) & 7;
    if (suite > 1 && suite !== SUITE_SIV) return false;
    if (this.#openAt(own(key), this.#enter(packet), len, suite) !== OK) return false;
    this.#leave(packet);
    return true;
  }

  maskHello(key: PeerKey, packet: Uint8Array, start: number): void {
    const len = packet.length;
    if (len > PACKET_MAX_LEN) throw new RangeError(`packet of ${len} bytes`);
    this.#key.set(own(key).salsa);
    const status = this.#wasm.maskHello(this.#enter(packet), len, start);
    if (status !== OK) throw new RangeError(`maskHello: status ${status}`);
    this.#leave(packet);
  }

  #fromOutbox(out: Uint8Array, len: number): void {
    this.#outboxViews[len] ??= new Uint8Array(this.#buffer, OUTBOX, len);
    out.set(this.#outboxViews[len]);
  }

  compress(input: Uint8Array, out: Uint8Array): number {
    const len = input.length;
    if (len > PAYLOAD_MAX_LEN) throw new RangeError(`payload of ${len} bytes`);
    const written = this.#wasm.lz4Encode(this.#enter(input), len);
    if (written < 0) throw new RangeError(`compress: status ${written}`);
    if (written > out.length) return 0;
    if (written > 0) this.#fromOutbox(out, written);
    return written;
  }

  decompress(input: Uint8Array, out: Uint8Array): number {
    const len = input.length;
    if (len > PACKET_MAX_LEN) throw new RangeError(`payload of ${len} bytes`);
    const written = this.#wasm.lz4Decode(this.#enter(input), len, out.length);
    if (written > 0) this.#fromOutbox(out, written);
    return written;
  }

  /** Memory-hard hash of a 64-byte public key [1 section 4.4]; some 12 ms of CPU. */
  memoryHardHash(publicKey: Uint8Array): Uint8Array {
    if (publicKey.length !== PUBLIC_KEY_LEN) throw new RangeError('public key: not 64 bytes');
    this.#digest.set(sha512(publicKey));
    this.#wasm.identityFill();
    this.#wasm.identityMix();
    return this.#digest.slice();
  }

  /** node:crypto with this module's memory-hard hash. */
  primitives() {
    return createPrimitives((publicKey) => this.memoryHardHash(publicKey));
  }
}
