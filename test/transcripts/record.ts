/** One recorded conversation and the packet work that its tests share. */
import { readFileSync } from 'node:fs';
import type { PeerKey, Suite } from '#src/crypto/api.js';
import { createPrimitives } from '#src/crypto/native.js';
import { fromHex, toHex } from '#src/lib/hex.js';
import { loadPacketCore } from '#src/packetcore/load.js';
import { Reassembly } from '#src/vl1/fragments.js';
import { Path } from '#src/vl1/path.js';
import { readAddress } from '#src/wire/address.js';
import { parseHello } from '#src/wire/hello.js';
import { type Identity, parseIdentityText } from '#src/wire/identity.js';
import { inetAddress, parseIp, type RemoteAddress, remoteAddress } from '#src/wire/inetaddress.js';
import {
  FLAG_COMPRESSED,
  FLAG_FRAGMENTED,
  MAX_PACKET_LEN,
  OFF_FLAGS,
  OFF_VERB,
  VERB,
} from '#src/wire/packet.js';

export const core = loadPacketCore();
export const primitives = createPrimitives((k) => core.memoryHardHash(k));

// biome-ignore lint/suspicious/noExplicitAny: the record's own format, checked field by field
export type Fields = Record<string, any>;

export interface Decoded extends Fields {
  readonly kind: 'packet' | 'fragment' | 'other';
}

export interface Packet {
  readonly n: number;
  readonly t_ms: number;
  readonly from: string;
  readonly to: string;
  readonly fromNode: string;
  readonly toNode: string;
  readonly udp: string;
  readonly decoded: Decoded;
}

export interface RecordNode {
  readonly name: string;
  readonly role: string;
  readonly address: string;
  readonly identity: Identity;
  readonly software: { readonly version: string; readonly protocol: number };
}

export class Transcript {
  readonly file: string;
  readonly raw: Fields;
  readonly packets: readonly Packet[];
  readonly nodes: readonly RecordNode[];
  readonly #keys = new Map<string, PeerKey>();

  constructor(path: string, file: string) {
    this.file = file;
    this.raw = JSON.parse(readFileSync(path, 'utf8')) as Fields;
    if (this.raw['format'] !== 'zerotier-transcript-1') throw new Error(`${file}: unknown format`);
    this.packets = this.raw['packets'] as Packet[];
    if (this.packets.length === 0) throw new Error(`${file}: no packet`);
    this.nodes = (this.raw['nodes'] as Fields[]).map((n) => ({
      name: n['name'],
      role: n['role'],
      address: n['address'],
      identity: parseIdentityText(n['identitySecret'])!,
      software: n['software'],
    }));
  }

  node(name: string): RecordNode {
    const n = this.nodes.find((x) => x.name === name);
    if (n === undefined) throw new Error(`${this.file}: no node ${name}`);
    return n;
  }

  byAddress(address: string): RecordNode | undefined {
    return this.nodes.find((x) => x.address === address);
  }

  /** Key between two nodes, as `mine` computes it. */
  key(mine: RecordNode, theirs: RecordNode): PeerKey {
    const id = `${mine.address}-${theirs.address}`;
    let key = this.#keys.get(id);
    if (key === undefined) {
      key = core.makeKey(primitives.agree(mine.identity.privateKey!, theirs.identity.publicKey)!);
      this.#keys.set(id, key);
    }
    return key;
  }
}

/** `ip:port` or `[ip]:port` as an endpoint. */
export function endpoint(text: string): RemoteAddress {
  const at = text.lastIndexOf(':');
  const ip = parseIp(text.slice(0, at).replace(/^\[|\]$/g, ''));
  if (ip === undefined) throw new Error(`not an endpoint: ${text}`);
  return remoteAddress(inetAddress(ip, Number(text.slice(at + 1))));
}

export interface Opened {
  readonly source: number;
  readonly hops: number;
  readonly verb: number;
  readonly verbFlags: number;
  readonly suite: number;
  readonly payload: Uint8Array;
  /** The packet id on the wire. */
  readonly packetId: string;
}

const inflated = new Uint8Array(MAX_PACKET_LEN);

/** Authenticates, decrypts and decompresses one whole packet; undefined when refused. */
export function openPacket(t: Transcript, me: RecordNode, sealed: Uint8Array): Opened | undefined {
  if (sealed.length < 28) return undefined;
  const packet = Uint8Array.from(sealed);
  const from = t.nodes.find((n) => n.identity.address === readAddress(packet, 13));
  if (from === undefined || from === me) return undefined;
  const key = t.key(me, from);
  if (!core.open(key, packet)) return undefined;
  const verbByte = packet[OFF_VERB]!;
  let payload = packet.subarray(28);
  if ((verbByte & FLAG_COMPRESSED) !== 0 && payload.length > 0) {
    const n = core.decompress(payload, inflated);
    if (n <= 0) return undefined;
    payload = inflated.slice(0, n);
  }
  if ((verbByte & 0x1f) === VERB.HELLO) {
    const hello = parseHello(payload);
    if (hello === undefined) return undefined;
    if (hello.maskedFrom < payload.length) core.maskHello(key, packet, 28 + hello.maskedFrom);
  }
  return {
    source: from.identity.address,
    hops: packet[OFF_FLAGS]! & 7,
    verb: verbByte & 0x1f,
    verbFlags: verbByte >> 5,
    suite: (packet[OFF_FLAGS]! >> 3) & 7,
    payload,
    packetId: toHex(sealed.subarray(0, 8)),
  };
}

/** Feeds datagrams to one node's reassembly; returns what each completes. */
export class Receiver {
  readonly #reassembly = new Reassembly();
  readonly #t: Transcript;
  readonly #me: RecordNode;

  constructor(t: Transcript, me: RecordNode) {
    this.#t = t;
    this.#me = me;
  }

  feed(p: Packet): Opened | undefined {
    const bytes = fromHex(p.udp);
    const path = new Path(1, endpoint(p.from));
    if (bytes.length <= 16) return undefined;
    if (bytes[13] === 0xff) return this.#done(this.#reassembly.handleFragment(p.t_ms, path, bytes));
    if (bytes.length >= 28 && (bytes[OFF_FLAGS]! & FLAG_FRAGMENTED) !== 0) {
      return this.#done(this.#reassembly.handleHead(p.t_ms, path, bytes));
    }
    return openPacket(this.#t, this.#me, bytes);
  }

  #done(r: ReturnType<Reassembly['handleHead']>): Opened | undefined {
    return r === undefined || typeof r === 'string'
      ? undefined
      : openPacket(this.#t, this.#me, r.packet);
  }
}

export function asSuite(cipher: number): Suite {
  if (cipher !== 0 && cipher !== 1 && cipher !== 3) throw new Error(`cipher ${cipher}`);
  return cipher;
}
