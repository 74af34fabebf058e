/**
 * A pool of test identities, the same in every run, and the packet core shared by all tests.
 *
 * Making an identity costs some 15 memory-hard hashes, so the pool is committed, in the least form
 * that spares them: identities.txt says for each index how many keys were drawn, how many
 * scalars tried from the last of them, and which address that gave. The private keys come from seeded luck; the file holds no key. Regenerate or
 * extend it with `node build/test/sim/make-identities.js COUNT`.
 */
import { readFileSync } from 'node:fs';
import { createPrimitives } from '#src/crypto/native.js';
import { loadPacketCore } from '#src/packetcore/load.js';
import { generateIdentity, type Identity, validateIdentity } from '#src/wire/identity.js';
import { Luck } from './luck.js';

export const core = loadPacketCore();
export const primitives = createPrimitives((k) => core.memoryHardHash(k));

const FILE = new URL('../../../test/sim/identities.txt', import.meta.url);
/** Byte of the private key at which the counted 64-bit word begins [1 section 4.5]. */
const OFF_COUNTED = 8;

const luckOf = (index: number): Luck => new Luck(77, `identity ${index}`);

/** Runs the real search. */
export function searchIdentity(index: number): Identity {
  return generateIdentity(primitives, luckOf(index));
}

const word = (b: Uint8Array): bigint => Buffer.from(b).readBigUInt64LE(OFF_COUNTED);

/** How often the search drew a key: once, or more often when it met reserved addresses. */
function drawOf(index: number, privateKey: Uint8Array): { key: Uint8Array; draws: number } {
  const luck = luckOf(index);
  for (let draws = 1; draws < 10; draws++) {
    const key = luck.bytes(64);
    if (Buffer.compare(key.subarray(16), privateKey.subarray(16)) === 0) return { key, draws };
  }
  throw new Error(`identity ${index} is not of its luck`);
}

/** The line of identities.txt for an identity that `searchIdentity` found. */
export function recordOf(index: number, id: Identity): string {
  const { key, draws } = drawOf(index, id.privateKey!);
  const tries = BigInt.asUintN(64, word(id.privateKey!) - word(key));
  return `${draws} ${tries} ${id.address.toString(16).padStart(10, '0')}`;
}

function fromRecord(index: number, record: string): Identity {
  const [draws, tries, address] = record.split(' ');
  const luck = luckOf(index);
  for (let i = 1; i < Number(draws); i++) luck.bytes(64);
  const privateKey = luck.bytes(64);
  new DataView(privateKey.buffer).setBigUint64(
    OFF_COUNTED,
    word(privateKey) + BigInt(tries!),
    true,
  );
  return {
    address: Number.parseInt(address!, 16),
    publicKey: primitives.publicFromPrivate(privateKey),
    privateKey,
  };
}

const records = readFileSync(FILE, 'utf8').split('\n').filter(Boolean);
export const POOL_LEN = records.length;
const identities = new Map<number, Identity>();

export function poolIdentity(index: number): Identity {
  let id = identities.get(index);
  if (id === undefined) {
    const record = records[index];
    id = record === undefined ? searchIdentity(index) : fromRecord(index, record);
    identities.set(index, id);
  }
  return id;
}

const verdicts = new Map<string, boolean>();

/** Full validation, remembered: the verdict depends on the bytes alone, and costs 12 ms. */
export function validate(id: Identity): boolean {
  const key = `${id.address} ${Buffer.from(id.publicKey).toString('latin1')}`;
  let ok = verdicts.get(key);
  if (ok === undefined) {
    ok = validateIdentity(primitives, id);
    verdicts.set(key, ok);
  }
  return ok;
}
