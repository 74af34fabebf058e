/** The peer cache file `peers.d/<address>.peer` [2 section 21, 4 section 2.2]. */
import { Reader } from '../lib/reader.js';
import { Writer } from '../lib/writer.js';
import type { SoftwareVersion } from './hello.js';
import { emitIdentity, IDENTITY_PUBLIC_LEN, type Identity, parseIdentity } from './identity.js';
import { type InetAddress, readInetAddress, writeInetAddress } from './inetaddress.js';

const FORMAT_VERSION = 2;
const MAX_RECORDED_PATHS = 64;

export interface PeerRecord {
  readonly identity: Identity;
  readonly version: SoftwareVersion;
  readonly endpoints: readonly InetAddress[];
}

/** Undefined for another format version or anything malformed. */
export function parsePeerRecord(bytes: Uint8Array): PeerRecord | undefined {
  const r = new Reader(bytes);
  if (r.u8() !== FORMAT_VERSION) return undefined;
  const id = parseIdentity(bytes, r.pos);
  if (id === undefined) return undefined;
  r.skip(id.length);
  const version = { protocol: r.u16(), major: r.u16(), minor: r.u16(), revision: r.u16() };
  const count = Math.min(r.u16(), MAX_RECORDED_PATHS);
  const endpoints: InetAddress[] = [];
  for (let i = 0; i < count && !r.failed; i++) endpoints.push(readInetAddress(r));
  if (r.failed) return undefined;
  const identity = { ...id.identity, privateKey: undefined };
  return { identity, version, endpoints: endpoints.filter((e) => e.family !== 0) };
}

export function emitPeerRecord(p: PeerRecord): Uint8Array {
  const w = Writer.of(1 + IDENTITY_PUBLIC_LEN + 10 + p.endpoints.length * 19);
  w.u8(FORMAT_VERSION);
  w.pos += emitIdentity({ ...p.identity, privateKey: undefined }, w.bytes, w.pos);
  w.u16(p.version.protocol).u16(p.version.major).u16(p.version.minor).u16(p.version.revision);
  w.u16(p.endpoints.length);
  for (const e of p.endpoints) writeInetAddress(w, e);
  return w.done().slice();
}
