/**
 * Worlds: the planet and moons that list root servers [1 section 8]. Codec, signature and the
 * replacement rule; which worlds a node holds is vl1/topology's business.
 */

import type { Primitives } from '../crypto/api.js';
import { concatBytes, equalBytes } from '../lib/bytes.js';
import { fromHex } from '../lib/hex.js';
import { Reader } from '../lib/reader.js';
import { Writer } from '../lib/writer.js';
import { emitIdentity, type Identity, parseIdentity, parseIdentityText } from './identity.js';
import {
  type InetAddress,
  parseInetAddress,
  readInetAddress,
  writeInetAddress,
} from './inetaddress.js';

export const WORLD_NULL = 0;
export const WORLD_PLANET = 1;
export const WORLD_MOON = 127;
export const MAX_ROOTS = 4;
export const MAX_ROOT_ENDPOINTS = 32;
/** Largest stored world in bytes [1 section 8.1]. */
export const MAX_WORLD_LEN = 8480;

export interface WorldRoot {
  readonly identity: Identity;
  readonly endpoints: readonly InetAddress[];
}

export interface World {
  readonly type: number;
  readonly id: bigint;
  /** Milliseconds since 1970, also the revision. */
  readonly timestamp: bigint;
  /** Public key (64 bytes) that must sign the next update. */
  readonly updateKey: Uint8Array;
  readonly signature: Uint8Array;
  readonly roots: readonly WorldRoot[];
}

/** Reads one world; anything malformed fails the reader. */
export function readWorld(r: Reader): World {
  const type = r.u8();
  if (type !== WORLD_NULL && type !== WORLD_PLANET && type !== WORLD_MOON) r.fail();
  const id = r.u64();
  const timestamp = r.u64();
  const updateKey = r.copy(64);
  const signature = r.copy(96);
  const count = r.u8();
  if (count > MAX_ROOTS) r.fail();
  const roots: WorldRoot[] = [];
  for (let i = 0; i < count && !r.failed; i++) roots.push(readRoot(r));
  // The attached dictionary is skipped by its announced length, which nobody checks [1 section 8.1].
  if (type === WORLD_MOON) {
    const len = r.u16();
    if (!r.failed) r.pos += len;
  }
  return { type, id, timestamp, updateKey, signature, roots };
}

function readRoot(r: Reader): WorldRoot {
  const parsed = parseIdentity(r.bytes, r.pos);
  if (parsed === undefined) {
    r.fail();
    return {
      identity: { address: 0, publicKey: new Uint8Array(64), privateKey: undefined },
      endpoints: [],
    };
  }
  r.skip(parsed.length);
  const count = r.u8();
  if (count > MAX_ROOT_ENDPOINTS) r.fail();
  const endpoints: InetAddress[] = [];
  for (let i = 0; i < count && !r.failed; i++) endpoints.push(readInetAddress(r));
  return { identity: { ...parsed.identity, privateKey: undefined }, endpoints };
}

/** Parses one world that begins at `pos`; undefined when refused. */
export function parseWorld(
  bytes: Uint8Array,
  pos = 0,
): { world: World; length: number } | undefined {
  const r = new Reader(bytes, pos);
  const world = readWorld(r);
  return r.failed ? undefined : { world, length: r.pos - pos };
}

function emit(world: World, withSignature: boolean): Uint8Array {
  const w = Writer.of(MAX_WORLD_LEN);
  w.u8(world.type).u64(world.id).u64(world.timestamp).put(world.updateKey);
  if (withSignature) w.put(world.signature);
  w.u8(world.roots.length);
  for (const root of world.roots) {
    w.pos += emitIdentity({ ...root.identity, privateKey: undefined }, w.bytes, w.pos);
    w.u8(root.endpoints.length);
    for (const e of root.endpoints) writeInetAddress(w, e);
  }
  if (world.type === WORLD_MOON) w.u16(0);
  return w.done().slice();
}

export function emitWorld(world: World): Uint8Array {
  return emit(world, true);
}

/** The bytes that the signature covers [1 section 8.2]. */
export function worldSignedBytes(world: World): Uint8Array {
  return concatBytes(
    new Uint8Array(8).fill(0x7f),
    emit(world, false),
    new Uint8Array(8).fill(0xf7),
  );
}

export function verifyWorld(p: Primitives, world: World, updateKey: Uint8Array): boolean {
  return p.verify(updateKey, worldSignedBytes(world), world.signature);
}

/** Signs a world with the private half (64 bytes) of the key its predecessor named. */
export function signWorld(
  p: Primitives,
  world: Omit<World, 'signature'>,
  privateKey: Uint8Array,
): World {
  const unsigned = { ...world, signature: new Uint8Array(96) };
  return { ...unsigned, signature: p.sign(privateKey, worldSignedBytes(unsigned)) };
}

/** The replacement rule [1 section 8.3]; a moon that is not held has its own rule [1 section 8.5]. */
export function replacesWorld(p: Primitives, held: World | undefined, candidate: World): boolean {
  if (held === undefined || held.id === 0n || held.type === WORLD_NULL) return true;
  if (candidate.id !== held.id || candidate.type !== held.type) return false;
  return candidate.timestamp > held.timestamp && verifyWorld(p, candidate, held.updateKey);
}

export function sameRoot(a: Identity, b: Identity): boolean {
  return a.address === b.address && equalBytes(a.publicKey, b.publicKey);
}

/** The planet of release 1.14.1, from the table in [1 section 8.6]. */
const DEFAULT_PLANET = {
  id: 149604618n,
  timestamp: 1644592324813n,
  updateKey:
    'b8b388a469221491aa9acd66cc764cdefd56039f1067ae15e69c6fb42d7b55330e3fdaac529c0792fd7340a6aa21aba8a489fdaea44a39bf2d00659ac9c818eb',
  signature:
    '3600927637ef4d1404a44d544684851379751faa79b4c4ea85040175ea065860482402e1eb342052000e6290061a9be0cd293c8b55f1c3d2524808afc54922080e3539a75addc3cef0f6ad260d588293bb7786e71efa4b9057dad9867afe12dd',
  roots: [
    [
      'cafe9efeb9:0:ccdef76bc7b97ded904eabc5df09886d9c1514a610036cb9139cc214001a2958978efcec15712dd3948c6e6b3a8e893df01ff493d1f8d9806a860c5420571bf0',
      '104.194.8.134/9993',
      '2605:9880:200:1200:30:571:e34:51/9993',
    ],
    [
      '778cde7190:0:3f6681a99e5ad1895e9fba33e6212d4454e168bcec7112101bf000956ed8e92e42892cb6f2ec410881a84ab19da50e1287ba3d926c3a1f755cccf299a1207055',
      '103.195.103.66/9993',
      '2605:9880:400:c3:254:f2bc:a1f7:19/9993',
    ],
    [
      '62f865ae71:0:e2076c57de870e6288d7d5e7404408b1545efca37d67f77b87e9e54168c25d3ef1a9abf2905ea5e785c01dff23887ad4232d95c7a8fd2c27111a72bd159322dc',
      '50.7.252.138/9993',
      '2001:49f0:d0db:2::2/9993',
    ],
    [
      'cafe04eba9:0:6c6a9d1dea55c1616bfe2a2b8f0ff9a8cacaf70374fb1f39e3bef81cbfebef17b7228268a0a2a29d3488c752565c6c965cbd6506ec24397cc8a5d9d15285a87f',
      '84.17.53.155/9993',
      '2a02:6ea0:d405::9993/9993',
    ],
  ],
} as const;

export function defaultPlanet(): World {
  return {
    type: WORLD_PLANET,
    id: DEFAULT_PLANET.id,
    timestamp: DEFAULT_PLANET.timestamp,
    updateKey: fromHex(DEFAULT_PLANET.updateKey),
    signature: fromHex(DEFAULT_PLANET.signature),
    roots: DEFAULT_PLANET.roots.map(([identity, ...endpoints]) => ({
      identity: parseIdentityText(identity)!,
      endpoints: endpoints.map((e) => parseInetAddress(e)!),
    })),
  };
}
