/**
 * Salsa20 with 12 or 20 rounds, written for reading [1 section 2.3].
 *
 * One object is one cipher state: successive calls of `xor` go on at the next whole block, the rest
 * of a call's last block is discarded.
 */
import { concatBytes } from '../../lib/bytes.js';

const CONSTANTS = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574] as const;
const BLOCK_LEN = 64;

// The quarter rounds of a column round and a row round, as indices into the state.
const QUARTERS: readonly (readonly [number, number, number, number])[] = [
  [0, 4, 8, 12],
  [5, 9, 13, 1],
  [10, 14, 2, 6],
  [15, 3, 7, 11],
  [0, 1, 2, 3],
  [5, 6, 7, 4],
  [10, 11, 8, 9],
  [15, 12, 13, 14],
];

function rotate(v: number, bits: number): number {
  return (v << bits) | (v >>> (32 - bits));
}

function quarterRound(x: Uint32Array, a: number, b: number, c: number, d: number): void {
  x[b]! ^= rotate((x[a]! + x[d]!) | 0, 7);
  x[c]! ^= rotate((x[b]! + x[a]!) | 0, 9);
  x[d]! ^= rotate((x[c]! + x[b]!) | 0, 13);
  x[a]! ^= rotate((x[d]! + x[c]!) | 0, 18);
}

function initialState(key: Uint8Array, iv: Uint8Array): Uint32Array {
  const word = (bytes: Uint8Array, i: number) =>
    new DataView(bytes.buffer, bytes.byteOffset).getUint32(4 * i, true);
  const x = new Uint32Array(16);
  CONSTANTS.forEach((c, i) => {
    x[5 * i] = c;
  });
  for (let i = 0; i < 4; i++) {
    x[1 + i] = word(key, i);
    x[11 + i] = word(key, 4 + i);
  }
  x[6] = word(iv, 0);
  x[7] = word(iv, 1);
  return x;
}

export class Salsa20 {
  readonly #state: Uint32Array;
  readonly #rounds: number;

  /** `key` 32 bytes, `iv` 8 bytes; the first block has the number `block`. */
  constructor(key: Uint8Array, iv: Uint8Array, rounds: 12 | 20, block = 0) {
    if (key.length !== 32 || iv.length !== 8) throw new RangeError('Salsa20 key or IV length');
    this.#rounds = rounds;
    this.#state = initialState(key, iv);
    this.#state[8] = block;
    this.#state[9] = Math.floor(block / 2 ** 32);
  }

  /** The next 64 bytes of keystream. */
  block(): Uint8Array {
    const x = this.#state.slice();
    for (let i = 0; i < this.#rounds; i += 2) {
      for (const q of QUARTERS) quarterRound(x, q[0], q[1], q[2], q[3]);
    }
    const out = new Uint8Array(BLOCK_LEN);
    const view = new DataView(out.buffer);
    for (let i = 0; i < 16; i++) view.setUint32(4 * i, x[i]! + this.#state[i]!, true);
    this.#state[8]!++;
    if (this.#state[8] === 0) this.#state[9]!++;
    return out;
  }

  /** `input` XOR keystream, as a new array. */
  xor(input: Uint8Array): Uint8Array {
    const out = concatBytes(input);
    for (let at = 0; at < out.length; at += BLOCK_LEN) {
      const stream = this.block();
      for (let i = 0; i < BLOCK_LEN && at + i < out.length; i++) out[at + i]! ^= stream[i]!;
    }
    return out;
  }
}
