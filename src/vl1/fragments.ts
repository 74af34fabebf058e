/**
 * Reassembly of fragmented packets [2 section 4.2].
 *
 * Keyed by packet id and sender's path, so that a third party that guesses an id cannot spoil a
 * packet. Order and duplicates do not matter. Bounded: REASSEMBLY_SLOTS packets of at most
 * MAX_PACKET_LEN, each given up after REASSEMBLY_LIFE_MS; when full the oldest is lost.
 *
 * Pieces are kept in the order in which they came, in a buffer that the slot owns; buffers are used
 * again. A packet whose pieces came in order, as nearly all do, lies there whole and is not copied.
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

export interface Assembled {
  /** Valid until the next call; the caller may change it. */
  readonly packet: Uint8Array;
  /** Path of the head; the packet's hop count is the head's. */
  readonly path: Path;
}

function word(b: Uint8Array, at: number): number {
  return (b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!;
}

class Slot {
  readonly buffer = new Uint8Array(MAX_PACKET_LEN);
  readonly #offsets = new Uint16Array(MAX_FRAGMENTS);
  readonly #lengths = new Uint16Array(MAX_FRAGMENTS);
  key = '';
  /** The two halves of the packet id. */
  high = 0;
  low = 0;
  remote = '';
  at = 0;
  path!: Path;
  /** Bit n: piece n is here; the head is piece 0. */
  #have = 0;
  #highest = -1;
  #isOrdered = true;
  /** Pieces of the packet; 0 as long as only the head is here. */
  total = 0;
  /** Bytes held. */
  len = 0;

  reset(key: string, bytes: Uint8Array, now: number, path: Path): void {
    this.key = key;
    this.high = word(bytes, 0);
    this.low = word(bytes, 4);
    this.remote = path.remote.key;
    this.at = now;
    this.path = path;
    this.#have = 0;
    this.#highest = -1;
    this.#isOrdered = true;
    this.total = 0;
    this.len = 0;
  }

  isOf(bytes: Uint8Array, path: Path): boolean {
    return (
      this.low === word(bytes, 4) && this.high === word(bytes, 0) && this.remote === path.remote.key
    );
  }

  has(piece: number): boolean {
    return (this.#have & (1 << piece)) !== 0;
  }

  /** False, and nothing kept, if the packet would be too long. */
  add(piece: number, bytes: Uint8Array): boolean {
    if (this.len + bytes.length > MAX_PACKET_LEN) return false;
    this.buffer.set(bytes, this.len);
    this.#offsets[piece] = this.len;
    this.#lengths[piece] = bytes.length;
    this.len += bytes.length;
    this.#have |= 1 << piece;
    if (piece < this.#highest) this.#isOrdered = false;
    else this.#highest = piece;
    return true;
  }

  isWhole(): boolean {
    const wanted = (1 << this.total) - 1;
    return this.total > 0 && (this.#have & wanted) === wanted;
  }

  /** The packet: here, or put in order in `scratch`. Pieces beyond `total` do not belong to it. */
  packet(scratch: Uint8Array): Uint8Array {
    if (this.#isOrdered && this.#highest === this.total - 1)
      return this.buffer.subarray(0, this.len);
    let at = 0;
    for (let i = 0; i < this.total; i++) {
      const offset = this.#offsets[i]!;
      scratch.set(this.buffer.subarray(offset, offset + this.#lengths[i]!), at);
      at += this.#lengths[i]!;
    }
    return scratch.subarray(0, at);
  }
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
  readonly #free: Slot[] = [];
  /** The slot touched last: a packet's pieces mostly follow each other. */
  #recent: Slot | undefined;
  readonly #scratch = new Uint8Array(MAX_PACKET_LEN);

  #slot(now: number, bytes: Uint8Array, path: Path): Slot {
    const recent = this.#recent;
    if (recent?.isOf(bytes, path) === true && now - recent.at < REASSEMBLY_LIFE_MS) return recent;
    const slot = this.#find(now, bytes, path);
    this.#recent = slot;
    return slot;
  }

  #find(now: number, bytes: Uint8Array, path: Path): Slot {
    const key = idKey(bytes, path);
    const old = this.#slots.get(key);
    if (old !== undefined && now - old.at < REASSEMBLY_LIFE_MS) return old;
    if (old !== undefined) this.#release(old);
    if (this.#slots.size >= REASSEMBLY_SLOTS) {
      const oldest = this.#slots.values().next().value;
      if (oldest !== undefined) this.#release(oldest);
    }
    const slot = this.#free.pop() ?? new Slot();
    slot.reset(key, bytes, now, path);
    this.#slots.set(key, slot);
    return slot;
  }

  #release(slot: Slot): void {
    this.#slots.delete(slot.key);
    if (slot === this.#recent) this.#recent = undefined;
    this.#free.push(slot);
  }

  /** A head with the fragmented flag, at least 28 bytes. */
  handleHead(now: number, path: Path, bytes: Uint8Array): Assembled | FragmentDrop | undefined {
    const slot = this.#slot(now, bytes, path);
    if (slot.has(0)) return undefined;
    slot.path = path;
    return this.#add(slot, 0, bytes);
  }

  /** A fragment, at least 17 bytes. */
  handleFragment(now: number, path: Path, bytes: Uint8Array): Assembled | FragmentDrop | undefined {
    const total = bytes[OFF_FRAGMENT_COUNT]! >> 4;
    const number = bytes[OFF_FRAGMENT_COUNT]! & 0x0f;
    if (total < 2 || total > MAX_FRAGMENTS || number < 1 || number > MAX_FRAGMENTS - 1)
      return 'fragmentMalformed';
    const slot = this.#slot(now, bytes, path);
    if (slot.has(number)) return undefined;
    slot.total = total;
    return this.#add(slot, number, bytes.subarray(FRAGMENT_HEAD_LEN));
  }

  #add(slot: Slot, piece: number, bytes: Uint8Array): Assembled | FragmentDrop | undefined {
    if (!slot.add(piece, bytes)) {
      this.#release(slot);
      return 'fragmentTooLong';
    }
    if (!slot.isWhole()) return undefined;
    this.#release(slot);
    return { packet: slot.packet(this.#scratch), path: slot.path };
  }

  sweep(now: number): void {
    for (const slot of this.#slots.values()) {
      if (now - slot.at < REASSEMBLY_LIFE_MS) return;
      this.#release(slot);
    }
  }

  get size(): number {
    return this.#slots.size;
  }
}
