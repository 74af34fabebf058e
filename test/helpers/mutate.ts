/** Small changes of the kinds that break parsers. */
import type { Dice } from './dice.js';

const EDGES = [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff];

/** A few of them. */
export function mutate(d: Dice, seed: Uint8Array): Uint8Array {
  let b = seed.slice();
  for (let n = 1 + d.below(3); n > 0; n--) {
    const at = d.below(b.length + 1);
    switch (d.below(7)) {
      case 0:
        b = b.slice(0, at);
        break;
      case 1:
        if (at < b.length) b[at] = b[at]! ^ (1 << d.below(8));
        break;
      case 2:
        if (at < b.length) b[at] = d.pick(EDGES);
        break;
      case 3:
        for (let i = at; i < Math.min(b.length, at + d.pick([2, 4, 8])); i++)
          b[i] = d.pick([0, 255]);
        break;
      case 4:
        b = Uint8Array.of(...b.subarray(0, at), ...d.bytes(1 + d.below(24)), ...b.subarray(at));
        break;
      case 5:
        b = Uint8Array.of(...b.subarray(0, at), ...b.subarray(d.below(b.length + 1)));
        break;
      default:
        b = Uint8Array.of(...b, ...d.bytes(d.below(64)));
    }
  }
  return b.length > 12_000 ? b.slice(0, 12_000) : b;
}
