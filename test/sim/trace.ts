/** What a simulated world did: one hash over every datagram, and on request a capture of them. */
import { createHash, type Hash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import type { RemoteAddress } from '#src/wire/inetaddress.js';

interface Captured {
  readonly at: number;
  readonly from: RemoteAddress;
  readonly to: RemoteAddress;
  readonly bytes: Uint8Array;
}

/** pcap link type of bare IP packets. */
const LINKTYPE_RAW = 101;
const IP_LEN = 20;
const UDP_LEN = 8;

/** One IPv4 and UDP packet; checksums are left out, as for offloaded ones. */
function ipPacket(c: Captured): Buffer {
  const len = IP_LEN + UDP_LEN + c.bytes.length;
  const b = Buffer.alloc(len);
  b[0] = 0x45;
  b.writeUInt16BE(len, 2);
  b[8] = 64;
  b[9] = 17;
  b.set(c.from.ip, 12);
  b.set(c.to.ip, 16);
  b.writeUInt16BE(c.from.port, 20);
  b.writeUInt16BE(c.to.port, 22);
  b.writeUInt16BE(UDP_LEN + c.bytes.length, 24);
  b.set(c.bytes, 28);
  return b;
}

export class Trace {
  readonly #hash: Hash = createHash('sha256');
  readonly #captured: Captured[] | undefined;
  readonly #head = new Float64Array(3);
  readonly #headBytes = new Uint8Array(this.#head.buffer);

  constructor(capture: boolean) {
    this.#captured = capture ? [] : undefined;
  }

  /** A datagram as it left a node. */
  sent(at: number, index: number, from: RemoteAddress, to: RemoteAddress, bytes: Uint8Array): void {
    this.#head[0] = at;
    this.#head[1] = index;
    this.#head[2] = to.port;
    this.#hash.update(this.#headBytes).update(to.ip).update(bytes);
    this.#captured?.push({ at, from, to, bytes });
  }

  hash(): string {
    return this.#hash.copy().digest('hex');
  }

  /** Writes what was captured for a packet analyser (IPv4 only). */
  writePcap(path: string): void {
    const parts: Buffer[] = [];
    const head = Buffer.alloc(24);
    head.writeUInt32LE(0xa1b2c3d4, 0);
    head.writeUInt16LE(2, 4);
    head.writeUInt16LE(4, 6);
    head.writeUInt32LE(65_535, 16);
    head.writeUInt32LE(LINKTYPE_RAW, 20);
    parts.push(head);
    for (const c of this.#captured ?? []) {
      const packet = ipPacket(c);
      const record = Buffer.alloc(16);
      record.writeUInt32LE(Math.floor(c.at / 1_000), 0);
      record.writeUInt32LE(Math.floor((c.at % 1_000) * 1_000), 4);
      record.writeUInt32LE(packet.length, 8);
      record.writeUInt32LE(packet.length, 12);
      parts.push(record, packet);
    }
    writeFileSync(path, Buffer.concat(parts));
  }
}
