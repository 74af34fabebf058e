/**
 * Reassembly of fragmented packets [2 section 4.2].
 *
 * Keyed by packet id and sender's path, so that a third party that guesses an id cannot spoil a
 * packet. Order and duplicates do not matter. Bounded: REASSEMBLY_SLOTS packets of at most
 * MAX_PACKET_LEN, each given up after REASSEMBLY_LIFE_MS; when full the oldest is lost.
 */
import {
  FRAGMENT_HEAD_LEN,
  MAX_FRAGMENTS,
  MAX_PACKET_LEN,
  OFF_FRAGMENT_COUNT,
} from '../wire/packet.js';
import { REASSEMBLY_LIFE_MS, REASSEMBLY_SLOTS } from './constants.js';
import type { Path } from './path.js';

export type FragmentDrop = 'fragmentMalformed' | 'fragmentTooLong';

interface Slot {
  at: number;
  head: Uint8Array | undefined;
  path: Path;
  pieces: (Uint8Array | undefined)[];
  have: number;
  total: number;
  /** Bytes held. */
  len: number;
}

export interface Assembled {
  readonly packet: Uint8Array;
  /** Path of the head; the packet's hop count is the head's. */
  readonly path: Path;
}

function idKey(bytes: Uint8Array, path: Path): string {
  return (
    String.fromCharCode(
      (bytes[0]! << 8) | bytes[1]!,
      (bytes[2]! << 8) | bytes[3]!,
      (bytes[4]! << 8) | bytes[5]!,
      (bytes[6]! << 8) | bytes[7]!,
    ) + path.remote.key
  );
}

export class Reassembly {
  readonly #slots = new Map<string, Slot>();

  #slot(now: number, key: string, path: Path): Slot {
    const old = this.#slots.get(key);
    if (old !== undefined && now - old.at < REASSEMBLY_LIFE_MS) return old;
    this.#slots.delete(key);
    if (this.#slots.size >= REASSEMBLY_SLOTS) {
      const oldest = this.#slots.keys().next().value;
      if (oldest !== undefined) this.#slots.delete(oldest);
    }
    const slot: Slot = { at: now, head: undefined, path, pieces: [], have: 0, total: 0, len: 0 };
    this.#slots.set(key, slot);
    return slot;
  }

  /** A head with the fragmented flag, at least 28 bytes. */
  handleHead(now: number, path: Path, bytes: Uint8Array): Assembled | FragmentDrop | undefined {
    const key = idKey(bytes, path);
    const slot = this.#slot(now, key, path);
    if (slot.head !== undefined) return undefined;
    if (!this.#fits(key, slot, bytes.length)) return 'fragmentTooLong';
    slot.head = bytes.slice();
    slot.path = path;
    return this.#finish(key, slot);
  }

  /** A fragment, at least 17 bytes. */
  handleFragment(now: number, path: Path, bytes: Uint8Array): Assembled | FragmentDrop | undefined {
    const total = bytes[OFF_FRAGMENT_COUNT]! >> 4;
    const number = bytes[OFF_FRAGMENT_COUNT]! & 0x0f;
    if (total < 2 || total > MAX_FRAGMENTS || number < 1 || number > MAX_FRAGMENTS - 1)
      return 'fragmentMalformed';
    const key = idKey(bytes, path);
    const slot = this.#slot(now, key, path);
    if (slot.pieces[number] !== undefined) return undefined;
    if (!this.#fits(key, slot, bytes.length - FRAGMENT_HEAD_LEN)) return 'fragmentTooLong';
    slot.pieces[number] = bytes.slice(FRAGMENT_HEAD_LEN);
    slot.have++;
    slot.total = total;
    return this.#finish(key, slot);
  }

  /** Counts `len` bytes more; a packet that would be too long is given up. */
  #fits(key: string, slot: Slot, len: number): boolean {
    slot.len += len;
    if (slot.len <= MAX_PACKET_LEN) return true;
    this.#slots.delete(key);
    return false;
  }

  #finish(key: string, slot: Slot): Assembled | FragmentDrop | undefined {
    if (slot.head === undefined || slot.total === 0 || slot.have + 1 < slot.total) return undefined;
    const parts: Uint8Array[] = [slot.head];
    let len = slot.head.length;
    for (let i = 1; i < slot.total; i++) {
      const piece = slot.pieces[i];
      if (piece === undefined) return undefined;
      parts.push(piece);
      len += piece.length;
    }
    this.#slots.delete(key);
    const packet = new Uint8Array(len);
    let at = 0;
    for (const p of parts) {
      packet.set(p, at);
      at += p.length;
    }
    return { packet, path: slot.path };
  }

  sweep(now: number): void {
    for (const [key, slot] of this.#slots) {
      if (now - slot.at < REASSEMBLY_LIFE_MS) return;
      this.#slots.delete(key);
    }
  }

  get size(): number {
    return this.#slots.size;
  }
}
