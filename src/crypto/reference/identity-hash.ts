/** The memory-hard identity hash, phase by phase [1 section 4.4]. */
import { Salsa20 } from './salsa20.js';
import { sha512 } from './sha2.js';

export const TABLE_LEN = 2097152;
const WORD_COUNT = TABLE_LEN / 8;
const BLOCK_LEN = 64;

/** State between the phases. */
export interface HashState {
  readonly digest: Uint8Array;
  readonly table: Uint8Array;
  readonly cipher: Salsa20;
}

/** Phase 1: the table, each block being the one before XOR the next keystream block. */
export function fillTable(publicKey: Uint8Array): HashState {
  const digest = sha512(publicKey);
  const cipher = new Salsa20(digest.subarray(0, 32), digest.subarray(32, 40), 20);
  const table = new Uint8Array(TABLE_LEN);
  for (let at = 0; at < TABLE_LEN; at += BLOCK_LEN) {
    const stream = cipher.block();
    for (let i = 0; i < BLOCK_LEN; i++) {
      const before = at === 0 ? 0 : table[at - BLOCK_LEN + i]!;
      table[at + i] = before ^ stream[i]!;
    }
  }
  return { digest, table, cipher };
}

function swapWords(a: Uint8Array, wordA: number, b: Uint8Array, wordB: number): void {
  const saved = a.slice(8 * wordA, 8 * wordA + 8);
  a.set(b.subarray(8 * wordB, 8 * wordB + 8), 8 * wordA);
  b.set(saved, 8 * wordB);
}

/** Phase 2: changes table and digest in place; the digest is then the result. */
export function mixTable({ digest, table, cipher }: HashState): void {
  const view = new DataView(table.buffer);
  for (let i = 0; i < WORD_COUNT; i += 2) {
    const a = Number(view.getBigUint64(8 * i) % 8n);
    const b = Number(view.getBigUint64(8 * i + 8) % BigInt(WORD_COUNT));
    swapWords(digest, a, table, b);
    const stream = cipher.block();
    for (let k = 0; k < BLOCK_LEN; k++) digest[k]! ^= stream[k]!;
  }
}

export function memoryHardHash(publicKey: Uint8Array): Uint8Array {
  const state = fillTable(publicKey);
  mixTable(state);
  return state.digest;
}
