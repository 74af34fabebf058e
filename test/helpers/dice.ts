/** Choices of a test: from seeded luck, or (for a fuzzer) from the bytes of its input. */
import { Luck } from '../sim/luck.js';

export abstract class Dice {
  abstract below(n: number): number;
  abstract chance(p: number): boolean;
  abstract bytes(len: number): Uint8Array;

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}

export class LuckyDice extends Dice {
  readonly #luck: Luck;

  constructor(seed: number, label: string) {
    super();
    this.#luck = new Luck(seed, label);
  }

  below(n: number): number {
    return this.#luck.below(n);
  }

  chance(p: number): boolean {
    return this.#luck.chance(p);
  }

  bytes(len: number): Uint8Array {
    return this.#luck.bytes(len);
  }
}

/** Reads its choices off an input; what is missing at its end follows from its bytes by chance. */
export class ByteDice extends Dice {
  readonly #input: Uint8Array;
  #at = 0;
  #state = 1;

  constructor(input: Uint8Array) {
    super();
    this.#input = input;
  }

  get isSpent(): boolean {
    return this.#at >= this.#input.length;
  }

  #byte(): number {
    const b = this.#input[this.#at++];
    this.#state = (Math.imul(this.#state, 0x41c64e6d) + 0x3039 + (b ?? 0)) | 0;
    return b ?? (this.#state >>> 16) & 255;
  }

  below(n: number): number {
    if (n <= 1) return 0;
    let v = this.#byte();
    if (n > 256) v = v * 256 + this.#byte();
    if (n > 65_536) v = v * 65_536 + this.#byte() * 256 + this.#byte();
    return v % n;
  }

  chance(p: number): boolean {
    return this.#byte() < p * 256;
  }

  /** Up to 64 bytes are taken off the input; the rest repeats a byte. */
  bytes(len: number): Uint8Array {
    const out = new Uint8Array(len);
    const n = Math.min(len, 64);
    for (let i = 0; i < n; i++) out[i] = this.#byte();
    if (len > n) out.fill(this.#byte(), n);
    return out;
  }
}
