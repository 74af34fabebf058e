/**
 * The codecs of src/wire. Oracles: a parser neither throws nor reads beyond its bytes; what it read is
 * written and read again unchanged; what it read keeps the bounds of its document.
 */
import { fromHex } from '#src/lib/hex.js';
import { emitIdentity, IDENTITY_SECRET_LEN } from '#src/wire/identity.js';
import { emitRules } from '#src/wire/rules.js';
import { CODECS, type Codec, dump } from '../../helpers/codecs.js';
import { hexes, samples } from '../../helpers/recorded.js';
import { poolIdentity } from '../../sim/identities.js';
import { type Family, must, type Plant, type Target } from '../target.js';

/** Values longer than this do not fit the writers' buffer of one packet. */
const MAX_WRITTEN_LEN = 9_000;
const MAX_LEN = 12_000;
const FRAME = 32;

/** An identity with its secret half, which no record of the wire shows. */
function secretIdentity(): Uint8Array {
  const out = new Uint8Array(IDENTITY_SECRET_LEN);
  emitIdentity(poolIdentity(1), out, 0, true);
  return out;
}

const seeds = (): Uint8Array[] => [...samples.map((s) => s.bytes), ...hexes, secretIdentity()];

function check(c: Codec, b: Uint8Array): void {
  const v = c.parse(b);
  const framed = new Uint8Array(b.length + 2 * FRAME).fill(0xa5);
  framed.set(b, FRAME);
  const again = dump(c.parse(framed.subarray(FRAME, FRAME + b.length)));
  must(again === dump(v), `${c.name}: reads beyond its bytes`);
  if (v === undefined) return;
  bounds(c.name, v);
  if (c.emit === undefined || b.length > MAX_WRITTEN_LEN) return;
  const back = c.parse(c.emit(v as never));
  must(dump(back) === dump(v), `${c.name}: not stable`);
}

type Loose = Record<string, unknown>;
const lenOf = (v: unknown): number => (v as ArrayLike<unknown>).length;

/** What a value may hold at most, by the documents. */
function bounds(name: string, v: unknown): void {
  const o = v as Loose;
  if (name === 'world') {
    must(lenOf(o['updateKey']) === 64 && lenOf(o['signature']) === 96, 'a world cut short');
    must(lenOf(o['roots']) <= 4, 'a world of more than 4 roots');
    for (const r of o['roots'] as Loose[])
      must(lenOf(r['endpoints']) <= 32, 'a root with more than 32 endpoints');
  } else if (name === 'COM') comBounds(o);
  else if (name === 'identity') identityBounds(o);
  else if (name === 'address') addressBounds(o);
  else if (name === 'peer record') for (const e of o['endpoints'] as Loose[]) addressBounds(e);
  else if (name === 'capability') {
    must(lenOf(o['custody']) <= 7, 'a custody of more than 7');
    must(lenOf(o['rules']) <= 64, 'a capability of more than 64 rules');
    for (const c of o['custody'] as Loose[]) signatureBounds(c);
  } else if (name === 'ownership') {
    must(lenOf(o['things']) <= 16, 'more than 16 things');
    signatureBounds(o);
  } else if (name === 'tag' || name === 'revocation') signatureBounds(o);
  else if (name === 'NETWORK_CONFIG') chunkBounds(o);
  else if (name === 'configuration') {
    must((o['mtu'] as number) >= 1_280 && (o['mtu'] as number) <= 10_000, 'an MTU out of range');
    must(lenOf(o['rules']) <= 1_024 && lenOf(o['addresses']) <= 32, 'too many rules or addresses');
  }
}

function addressBounds(o: Loose): void {
  const want = o['family'] === 4 ? 4 : o['family'] === 6 ? 16 : 0;
  must(lenOf(o['ip']) === want, 'an address cut short');
}

function identityBounds(o: Loose): void {
  const secret = o['privateKey'];
  must(lenOf(o['publicKey']) === 64, 'a key cut short');
  must(secret === undefined || lenOf(secret) === 64, 'a secret key cut short');
}

function signatureBounds(o: Loose): void {
  const len = lenOf(o['signature']);
  must(len === 0 || len === 96, 'a signature that is not 96 bytes');
}

function comBounds(o: Loose): void {
  const q = o['qualifiers'] as { id: bigint }[];
  must(q.length <= 8, 'more than 8 qualifiers');
  must(
    q.every((x, i) => i === 0 || x.id >= q[i - 1]!.id),
    'qualifiers out of order',
  );
}

function chunkBounds(o: Loose): void {
  const s = o['signed'] as Loose | undefined;
  if (s === undefined) must(lenOf(o['data']) < 65_536, 'a chunk of more than 64 KiB');
  else {
    must(lenOf(s['signature']) === 96, 'a signature that is not 96 bytes');
    must(lenOf(s['signedBytes']) === lenOf(o['data']) + 27, 'signed bytes that are not the chunk');
  }
}

function wire(
  name: string,
  file: string,
  codecs: readonly string[],
  plant: Omit<Plant, 'file'>,
): Target {
  const mine = CODECS.filter((c) => codecs.includes(c.name));
  if (mine.length !== codecs.length) throw new Error(`${name}: a codec is missing`);
  return {
    name,
    files: [`wire/${file}.js`],
    plant: { file: `wire/${file}.js`, ...plant },
    maxLen: MAX_LEN,
    seeds,
    tokens: [
      fromHex('8056c2e21c000001'),
      fromHex('ffffffffff'),
      emitRules([{ t: 1, body: new Uint8Array(0) }]),
    ],
    run(input) {
      for (const c of mine) check(c, input);
    },
  };
}

const TARGETS: readonly Target[] = [
  wire(
    'hello',
    'hello',
    ['HELLO', 'HELLO tail', 'OK(HELLO)', 'WHOIS', 'OK(WHOIS)', 'RENDEZVOUS', 'PUSH_DIRECT_PATHS'],
    {
      find: 'return r.failed || port === 0 ? undefined : { flags, peer, endpoint };',
      replace: 'return { flags, peer, endpoint };',
    },
  ),
  wire('world', 'world', ['world'], {
    find: 'return r.failed ? undefined : { world, length: r.pos - pos };',
    replace: 'return { world, length: r.pos - pos };',
  }),
  wire('identity', 'identity', ['identity'], {
    find: '|| bytes.length - offset < IDENTITY_SECRET_LEN',
    replace: '',
  }),
  wire('address', 'inetaddress', ['address'], {
    find: 'return { family: 6, ip: r.copy(16), port: r.u16() };',
    replace: 'return { family: 6, ip: r.copy(Math.min(16, r.remaining)), port: 9 };',
  }),
  wire('peer-record', 'peer-record', ['peer record'], {
    find: 'if (r.failed)\n        return undefined;',
    replace: '',
  }),
  wire(
    'messages',
    'vl2-messages',
    [
      'FRAME',
      'EXT_FRAME',
      'EXT_FRAME with certificate',
      'MULTICAST_LIKE',
      'MULTICAST_GATHER',
      'OK(MULTICAST_GATHER)',
      'OK(MULTICAST_FRAME)',
      'MULTICAST_FRAME',
      'NETWORK_CREDENTIALS',
      'NETWORK_CONFIG_REQUEST',
      'OK',
      'ERROR',
    ],
    {
      find: 'if (r.failed || count * 5 > r.remaining)',
      replace: 'if (r.failed)',
    },
  ),
  wire('configuration', 'netconf', ['NETWORK_CONFIG', 'configuration', 'metadata'], {
    find: 'return r.failed ? undefined : { nwid, data, signed:',
    replace: 'return { nwid, data, signed:',
  }),
  wire('certificate', 'com', ['COM'], {
    find: 'if (i > 0 && q.id < qualifiers[i - 1].id)',
    replace: 'if (false)',
  }),
  wire('credentials', 'credentials', ['capability', 'tag', 'ownership', 'revocation'], {
    find: 'if (len !== 96)\n        r.fail();\n    return r.copy(96);',
    replace: 'return r.copy(len);',
  }),
  wire('rules', 'rules', ['rules'], { find: 'if (r.failed)\n            break;', replace: '' }),
];

export const FAMILY: Family = { targets: TARGETS };
