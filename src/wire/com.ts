/** Certificates of membership [3 section 6.1]. */
import type { Primitives } from '../crypto/api.js';
import { equalBytes } from '../lib/bytes.js';
import type { Reader } from '../lib/reader.js';
import { Writer } from '../lib/writer.js';
import type { NetworkId, NodeAddress } from './address.js';
import { type Identity, publicKeyHash } from './identity.js';

export const MAX_QUALIFIERS = 8;
const QUALIFIER_LEN = 24;
const U64_MAX = 0xffff_ffff_ffff_ffffn;

export const QUALIFIER = { TIMESTAMP: 0n, NETWORK: 1n, ISSUED_TO: 2n } as const;
const HASH_FIRST = 3n;
const HASH_LAST = 6n;

export interface Qualifier {
  readonly id: bigint;
  readonly value: bigint;
  readonly maxDelta: bigint;
}

export interface Com {
  readonly qualifiers: readonly Qualifier[];
  /** 0 = unsigned. */
  readonly signer: NodeAddress;
  /** 96 bytes, empty when unsigned. */
  readonly signature: Uint8Array;
}

/** Reads one certificate; a malformed one fails the reader. */
export function readCom(r: Reader): Com {
  if (r.u8() !== 1) r.fail();
  const count = r.u16();
  if (count > MAX_QUALIFIERS) r.fail();
  const qualifiers: Qualifier[] = [];
  for (let i = 0; i < count && !r.failed; i++) {
    const q = { id: r.u64(), value: r.u64(), maxDelta: r.u64() };
    if (i > 0 && q.id < qualifiers[i - 1]!.id) r.fail();
    qualifiers.push(q);
  }
  const signer = r.u40();
  const signature = signer === 0 ? new Uint8Array(0) : r.copy(96);
  return { qualifiers, signer, signature };
}

export function writeCom(w: Writer, com: Com): void {
  w.u8(1).u16(com.qualifiers.length).put(comSignedBytes(com)).u40(com.signer);
  if (com.signer !== 0) w.put(com.signature);
}

/** Serialised length. */
export function comLen(com: Com): number {
  return 8 + com.qualifiers.length * QUALIFIER_LEN + (com.signer === 0 ? 0 : 96);
}

export function emitCom(com: Com): Uint8Array {
  const w = Writer.of(comLen(com));
  writeCom(w, com);
  return w.done().slice();
}

/** The qualifiers alone are signed. */
export function comSignedBytes(com: Com): Uint8Array {
  const w = Writer.of(com.qualifiers.length * QUALIFIER_LEN);
  for (const q of com.qualifiers) w.u64(q.id).u64(q.value).u64(q.maxDelta);
  return w.done();
}

function firstValue(com: Com, id: bigint): bigint {
  return com.qualifiers.find((q) => q.id === id)?.value ?? 0n;
}

export function comTimestamp(com: Com): bigint {
  return firstValue(com, QUALIFIER.TIMESTAMP);
}

export function comNetwork(com: Com): NetworkId {
  return firstValue(com, QUALIFIER.NETWORK);
}

export function comIssuedTo(com: Com): NodeAddress {
  return Number(firstValue(com, QUALIFIER.ISSUED_TO) & 0xff_ffff_ffffn);
}

export function equalComs(a: Com, b: Com): boolean {
  return equalBytes(emitCom(a), emitCom(b));
}

/** The four 64-bit words of the identity hash that qualifiers 3..6 carry [1 section 4.6]. */
export function identityHashWords(p: Primitives, identity: Identity): bigint[] {
  const hash = publicKeyHash(p, identity);
  const view = new DataView(hash.buffer, hash.byteOffset);
  return [0, 8, 16, 24].map((at) => view.getBigUint64(at));
}

/**
 * Whether `theirs` lets its owner talk to us, by our own certificate [3 section 6.1]. Our max
 * deltas decide. Does not check signatures.
 */
export function comAgrees(p: Primitives, mine: Com, theirs: Com, theirIdentity: Identity): boolean {
  if (mine.qualifiers.length === 0 || theirs.qualifiers.length === 0) return false;
  const values = new Map(theirs.qualifiers.map((q) => [q.id, q.value]));
  let checksHash = false;
  for (const q of mine.qualifiers) {
    const theirValue = values.get(q.id);
    if (theirValue === undefined) return false;
    const delta = q.value > theirValue ? q.value - theirValue : theirValue - q.value;
    if (delta > q.maxDelta) return false;
    if (q.id >= HASH_FIRST && q.id <= HASH_LAST) checksHash = true;
  }
  if (!checksHash) return true;
  return identityHashWords(p, theirIdentity).every(
    (w, i) => values.get(HASH_FIRST + BigInt(i)) === w,
  );
}

/** A signed certificate with the usual seven qualifiers [3 section 12.3]. */
export function issueCom(
  p: Primitives,
  controller: Identity,
  nwid: NetworkId,
  to: Identity,
  timestamp: bigint,
  maxDelta: bigint,
): Com {
  const qualifiers: Qualifier[] = [
    { id: QUALIFIER.TIMESTAMP, value: timestamp, maxDelta },
    { id: QUALIFIER.NETWORK, value: nwid, maxDelta: 0n },
    { id: QUALIFIER.ISSUED_TO, value: BigInt(to.address), maxDelta: U64_MAX },
    ...identityHashWords(p, to).map((value, i) => ({
      id: HASH_FIRST + BigInt(i),
      value,
      maxDelta: U64_MAX,
    })),
  ];
  const unsigned = { qualifiers, signer: controller.address, signature: new Uint8Array(96) };
  return { ...unsigned, signature: p.sign(controller.privateKey!, comSignedBytes(unsigned)) };
}
