/**
 * What must hold after every step of a simulated world; a breach throws, whatever the scenario.
 *
 * - no datagram above the path limit, none to port 0;
 * - no deadline in the past after a drain;
 * - no two different packets from one node to another under one packet id: key and IV are used once;
 * - no frame handed to a node that has no configuration of its network.
 *
 * That a node is drained before its next input is checked by the node itself (`strict`), and late
 * readers of its buffers meet poisoned bytes (`poison`).
 */
import type { RemoteAddress } from '#src/wire/inetaddress.js';
import {
  FLAG_FRAGMENTED,
  FRAGMENT_INDICATOR,
  OFF_DEST,
  OFF_FLAGS,
  OFF_SOURCE,
  PACKET_HEAD_LEN,
} from '#src/wire/packet.js';

/** Largest UDP payload that leaves a node [2 section 2]. */
const MAX_DATAGRAM_LEN = 1_472;
/** Packets of one generation; two are remembered, an id that returns later is not noticed. */
const GENERATION = 50_000;

/** A cheap sum of a packet without its hop count, which relays change. */
function digest(bytes: Uint8Array): number {
  let h = bytes.length;
  for (let i = 0; i < bytes.length; i++) {
    const b = i === OFF_FLAGS ? bytes[i]! & (0xf8 & ~FLAG_FRAGMENTED) : bytes[i]!;
    h = (Math.imul(h, 31) + b) | 0;
  }
  return h;
}

export class Invariants {
  #seen = new Map<string, number>();
  #seenBefore = new Map<string, number>();

  datagram(self: number, to: RemoteAddress, bytes: Uint8Array): void {
    if (bytes.length > MAX_DATAGRAM_LEN) throw new Error(`a datagram of ${bytes.length} bytes`);
    if (to.port === 0) throw new Error('a datagram to port 0');
    if (bytes.length >= PACKET_HEAD_LEN && bytes[OFF_SOURCE] !== FRAGMENT_INDICATOR)
      this.#packet(self, bytes);
  }

  #packet(self: number, bytes: Uint8Array): void {
    const head = Buffer.from(bytes.buffer, bytes.byteOffset, OFF_FLAGS);
    if (head.readUIntBE(OFF_SOURCE, 5) !== self) return;
    const key = head.toString('latin1', 0, OFF_DEST + 5) + self;
    const sum = digest(bytes);
    const before = this.#seen.get(key) ?? this.#seenBefore.get(key);
    if (before !== undefined && before !== sum)
      throw new Error(`two packets of ${self.toString(16)} with one id`);
    if (this.#seen.size >= GENERATION) {
      this.#seenBefore = this.#seen;
      this.#seen = new Map();
    }
    this.#seen.set(key, sum);
  }

  deadline(due: number, now: number): void {
    if (Number.isNaN(due)) throw new Error('a deadline that is no time');
    // The first one may be "at once"; a passed one means that a timeout did not take effect.
    if (due < now - 1e-6) throw new Error(`a deadline ${now - due} ms in the past`);
  }

  frame(isMember: boolean): void {
    if (!isMember) throw new Error('a frame for a node without a configuration of the network');
  }
}
