/**
 * Seeded attacks: random and mutated bytes at every parser, authentic packets with mutated content
 * at a whole node, random JSON at the controller. HOSTILE_SEED sets the seed, HOSTILE_RUNS
 * multiplies the effort (default 1: some seconds).
 *
 * Contents: luck; recorded payloads; parsers; a whole node; JSON.
 */
import { readdirSync, readFileSync } from 'node:fs';
import test from 'ava';
import { RecordTypeError } from '#src/controller/records.js';
import { normalizeRules, RuleTypeError } from '#src/controller/rules-json.js';
import { stackConfigOf } from '#src/host/network-link.js';
import { fromHex } from '#src/lib/hex.js';
import {
  emitJson,
  isRecord,
  type JsonRecord,
  JsonSyntaxError,
  type JsonValue,
  parseJson,
} from '#src/lib/json.js';
import { Reader } from '#src/lib/reader.js';
import type { NodeOutput } from '#src/node/outputs.js';
import { createStack } from '#src/stack/lwip-stack.js';
import { MAX_CONFIRMATIONS, MAX_SURFACES, REASSEMBLY_SLOTS } from '#src/vl1/constants.js';
import { memberMac, networkIdText, parseMac } from '#src/wire/address.js';
import { type Com, emitCom, readCom } from '#src/wire/com.js';
import {
  CREDENTIAL,
  capabilitySignedBytes,
  ownedThing,
  ownershipSignedBytes,
  REVOCATION_FAST_PROPAGATE,
  readCapability,
  readOwnership,
  readRevocation,
  readTag,
  revocationSignedBytes,
  THING,
  tagSignedBytes,
  writeCapability,
  writeOwnership,
  writeRevocation,
  writeTag,
} from '#src/wire/credentials.js';
import { Dictionary, DictionaryBuilder } from '#src/wire/dictionary.js';
import {
  parseHello,
  parseHelloTail,
  parseIdentities,
  parseOkHello,
  parsePushDirectPaths,
  parseRendezvous,
  parseWhois,
  writeHello,
  writeOkHello,
  writePushDirectPaths,
  writeRendezvous,
} from '#src/wire/hello.js';
import {
  emitIdentity,
  IDENTITY_SECRET_LEN,
  type Identity,
  parseIdentity,
  parseIdentityText,
} from '#src/wire/identity.js';
import {
  inetAddress,
  ipText,
  parseInetAddress,
  parseIp,
  readInetAddress,
  writeInetAddress,
} from '#src/wire/inetaddress.js';
import { BROADCAST_MAC } from '#src/wire/multicast-group.js';
import {
  emitConfigChunks,
  emitNetworkConfig,
  type NetworkConfig,
  parseConfigChunk,
  parseMetadata,
  parseNetworkConfig,
} from '#src/wire/netconf.js';
import { SOFTWARE_VERSION, VERB } from '#src/wire/packet.js';
import { emitPeerRecord, parsePeerRecord } from '#src/wire/peer-record.js';
import { ACCEPT_ALL, emitRules, RULE, readRules } from '#src/wire/rules.js';
import {
  parseConfigRequest,
  parseCredentials,
  parseErrorHead,
  parseExtFrame,
  parseFrame,
  parseGather,
  parseGatherResult,
  parseLikes,
  parseMulticastFrame,
  parseOkHead,
  writeConfigRequest,
  writeCredentials,
  writeExtFrame,
  writeFrame,
  writeGather,
  writeGatherResult,
  writeLike,
  writeMulticastFrame,
} from '#src/wire/vl2-messages.js';
import { emitWorld, parseWorld } from '#src/wire/world.js';
import {
  endpoint,
  networkOf,
  payload,
  type SendOptions,
  Target,
  transmits,
} from '../sim/attack.js';
import { Luck, poolIdentity, primitives } from '../sim/world.js';

const SEED = Number(process.env['HOSTILE_SEED'] ?? 20_261_125);
const RUNS = Number(process.env['HOSTILE_RUNS'] ?? 1);
const VECTORS = new URL('../../../test/vectors/', import.meta.url);

// ---- luck ----

class Dice {
  readonly #luck: Luck;

  constructor(label: string) {
    this.#luck = new Luck(SEED, label);
  }

  below(n: number): number {
    return Math.floor(this.#luck.next() * n);
  }

  chance(p: number): boolean {
    return this.#luck.next() < p;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  bytes(len: number): Uint8Array {
    const out = new Uint8Array(len);
    this.#luck.fill(out);
    return out;
  }
}

const EDGES = [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff];

/** A few small changes of the kinds that break parsers. */
function mutate(d: Dice, seed: Uint8Array): Uint8Array {
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

// ---- recorded payloads ----

interface Sample {
  readonly verb: number;
  readonly bytes: Uint8Array;
}

/** Every object of a record that names a verb and a payload. */
function collect(x: unknown, out: Sample[]): void {
  if (Array.isArray(x)) for (const y of x) collect(y, out);
  else if (typeof x === 'object' && x !== null) {
    const o = x as Record<string, unknown>;
    const text = o['plaintextPayload'] ?? o['payload'];
    const verb = o['verb'];
    if (typeof text === 'string' && typeof verb === 'number' && /^(?:[0-9a-f]{2})*$/.test(text))
      out.push({ verb: verb & 0x1f, bytes: fromHex(text) });
    for (const y of Object.values(o)) collect(y, out);
  }
}

/** Other hex texts of the vectors: certificates, rules, dictionaries, worlds. */
function collectHex(x: unknown, out: Uint8Array[]): void {
  if (typeof x === 'string') {
    if (x.length >= 8 && x.length <= 12_000 && /^(?:[0-9a-f]{2})+$/.test(x)) out.push(fromHex(x));
  } else if (typeof x === 'object' && x !== null)
    for (const y of Object.values(x)) collectHex(y, out);
}

const samples: Sample[] = [];
const hexes: Uint8Array[] = [];
for (const name of readdirSync(new URL('transcripts/', VECTORS))) {
  if (name.endsWith('.json'))
    collect(JSON.parse(readFileSync(new URL(`transcripts/${name}`, VECTORS), 'utf8')), samples);
}
for (const name of readdirSync(VECTORS)) {
  if (!name.endsWith('.json')) continue;
  const doc: unknown = JSON.parse(readFileSync(new URL(name, VECTORS), 'utf8'));
  collect(doc, samples);
  if (/^(?:vl2|world|identity|encoding)/.test(name)) collectHex(doc, hexes);
}

// ---- parsers ----

/** Text of a parsed value, for comparison. */
function dump(v: unknown): string {
  return JSON.stringify(v, (_k, x: unknown) => {
    if (typeof x === 'bigint') return `${x}n`;
    return x instanceof Uint8Array ? Buffer.from(x).toString('hex') : x;
  });
}

const withReader =
  <T>(read: (r: Reader) => T) =>
  (b: Uint8Array): T | undefined => {
    const r = new Reader(b);
    const v = read(r);
    return r.failed ? undefined : v;
  };

interface Codec {
  readonly name: string;
  parse(b: Uint8Array): unknown;
  /** Bytes of a parsed value. */
  emit?(v: never): Uint8Array;
}

function codec<T>(
  name: string,
  parse: (b: Uint8Array) => T | undefined,
  emit?: (v: T) => Uint8Array,
): Codec {
  return { name, parse, ...(emit === undefined ? {} : { emit: emit as (v: never) => Uint8Array }) };
}

const big = (write: (w: Parameters<Parameters<typeof payload>[0]>[0]) => void): Uint8Array =>
  payload(write);

const CODECS: readonly Codec[] = [
  codec(
    'HELLO',
    (b) => {
      const h = parseHello(b);
      return h === undefined ? undefined : { ...h, maskedFrom: undefined };
    },
    (h) => big((w) => void writeHello(w, h, [])),
  ),
  codec('HELLO tail', (b) => parseHelloTail(b, 0)),
  codec('OK(HELLO)', parseOkHello, (v) =>
    big((w) => writeOkHello(w, v, Uint8Array.from(v.worlds.flatMap((x) => [...emitWorld(x)])))),
  ),
  codec('WHOIS', parseWhois, (v) =>
    big((w) => {
      for (const a of v) w.u40(a);
    }),
  ),
  codec('OK(WHOIS)', parseIdentities),
  codec('RENDEZVOUS', parseRendezvous, (v) => big((w) => writeRendezvous(w, v))),
  codec('PUSH_DIRECT_PATHS', parsePushDirectPaths),
  codec(
    'world',
    (b) => parseWorld(b)?.world,
    (v) => emitWorld(v),
  ),
  codec('peer record', parsePeerRecord, emitPeerRecord),
  codec(
    'identity',
    (b) => parseIdentity(b, 0)?.identity,
    (v) => {
      const out = new Uint8Array(IDENTITY_SECRET_LEN);
      return out.subarray(0, emitIdentity(v, out, 0, v.privateKey !== undefined));
    },
  ),
  codec('address', withReader(readInetAddress), (v) => big((w) => writeInetAddress(w, v))),
  codec('FRAME', parseFrame, (v) => big((w) => writeFrame(w, v))),
  codec(
    'EXT_FRAME',
    (b) => {
      const f = parseExtFrame(b);
      return f?.body === undefined || f.com !== undefined ? undefined : f;
    },
    (v) => big((w) => writeExtFrame(w, v.nwid, v.flags, v.body!)),
  ),
  codec('EXT_FRAME with certificate', parseExtFrame),
  codec('MULTICAST_LIKE', parseLikes, (v) =>
    big((w) => {
      for (const x of v) writeLike(w, x.nwid, x.group);
    }),
  ),
  codec('MULTICAST_GATHER', parseGather, (v) => big((w) => writeGather(w, v))),
  codec(
    'OK(MULTICAST_GATHER)',
    (b) => parseGatherResult(b, false),
    (v) => big((w) => writeGatherResult(w, v, false)),
  ),
  codec('OK(MULTICAST_FRAME)', (b) => parseGatherResult(b, true)),
  codec('MULTICAST_FRAME', parseMulticastFrame, (v) => big((w) => writeMulticastFrame(w, v))),
  codec('NETWORK_CREDENTIALS', parseCredentials, (v) => big((w) => writeCredentials(w, v))),
  codec('NETWORK_CONFIG_REQUEST', parseConfigRequest, (v) => big((w) => writeConfigRequest(w, v))),
  codec('OK', parseOkHead),
  codec('ERROR', parseErrorHead),
  codec('NETWORK_CONFIG', parseConfigChunk),
  codec('configuration', parseNetworkConfig, emitNetworkConfig),
  codec('metadata', parseMetadata),
  codec('COM', withReader(readCom), (v: Com) => emitCom(v)),
  codec('capability', withReader(readCapability), (v) => big((w) => writeCapability(w, v))),
  codec('tag', withReader(readTag), (v) => big((w) => writeTag(w, v))),
  codec('ownership', withReader(readOwnership), (v) => big((w) => writeOwnership(w, v))),
  codec('revocation', withReader(readRevocation), (v) => big((w) => writeRevocation(w, v))),
  codec(
    'rules',
    withReader((r) => readRules(r, 200)),
    emitRules,
  ),
];

test('parsers neither throw nor read beyond their bytes, and what they read is stable', (t) => {
  t.log(`HOSTILE_SEED=${SEED}`);
  t.true(samples.length > 500 && hexes.length > 200, 'the recorded payloads are there');
  const d = new Dice('parsers');
  const record = emitPeerRecord({
    identity: { address: 5, publicKey: d.bytes(64), privateKey: undefined },
    version: { protocol: 12, ...SOFTWARE_VERSION },
    endpoints: [endpoint(1), endpoint(2)],
  });
  const pool = [...samples.map((s) => s.bytes), ...hexes, ...Array(40).fill(record)];
  const hits = new Map<string, number>();
  for (let i = 0; i < 1_500 * RUNS; i++) {
    const base = i === 0 ? record : d.chance(0.05) ? d.bytes(d.below(300)) : d.pick(pool);
    const b = i === 0 || d.chance(0.2) ? base : mutate(d, base);
    const framed = d.bytes(b.length + 64);
    framed.set(b, 32);
    for (const c of CODECS) {
      const where = `${c.name}, run ${i}: ${Buffer.from(b).toString('hex').slice(0, 400)}`;
      let v: unknown;
      try {
        v = c.parse(b);
        const again = dump(c.parse(framed.subarray(32, 32 + b.length)));
        if (again !== dump(v)) t.fail(`read beyond the end: ${where}`);
        if (v === undefined || c.emit === undefined || b.length > 9_000) continue;
        hits.set(c.name, (hits.get(c.name) ?? 0) + 1);
        const back = c.parse(c.emit(v as never));
        if (dump(back) !== dump(v)) t.fail(`not stable: ${where}\n${dump(v)}\n${dump(back)}`);
      } catch (e) {
        t.fail(`${(e as Error).stack} in ${where}`);
      }
    }
  }
  for (const c of CODECS)
    if (c.emit !== undefined) t.true((hits.get(c.name) ?? 0) > 0, `${c.name} read something`);
});

test('text parsers take any text', (t) => {
  const d = new Dice('texts');
  const alphabet = '0123456789abcdefABCDEF:./,-+ x=\n\\\0\r%zé\ud800';
  for (let i = 0; i < 5_000 * RUNS; i++) {
    const text = Array.from({ length: d.below(60) }, () => d.pick([...alphabet])).join('');
    parseIdentityText(text);
    parseMac(text);
    const a = parseInetAddress(text);
    if (a !== undefined) t.true(a.port >= 0 && a.port <= 65_535);
    const ip = parseIp(text);
    if (ip !== undefined) t.deepEqual(parseIp(ipText(ip)), ip);
  }
  t.pass();
});

test('dictionaries give back what was written, and read any text', (t) => {
  const d = new Dice('dictionaries');
  for (let i = 0; i < 1_000 * RUNS; i++) {
    const builder = new DictionaryBuilder(d.pick([1, 20, 4_000]));
    const values = new Map<string, Uint8Array>();
    for (let k = 0; k < 5; k++) {
      const value = d.chance(0.5) ? d.bytes(d.below(200)) : Uint8Array.of(0, 13, 10, 92, 61, 92);
      if (builder.bytes(`k${k}`, value)) values.set(`k${k}`, value);
    }
    const text = builder.build();
    const read = new Dictionary(text);
    for (const [k, value] of values) t.deepEqual(read.bytes(k), value);
    const broken = new Dictionary(mutate(d, text));
    for (const k of ['k0', 'k3', 'none']) {
      broken.text(k);
      broken.bool(k);
      t.true(broken.u64(k) >= 0n && broken.u64(k) < 2n ** 64n);
      t.true(broken.s64(k) >= -(2n ** 63n) && broken.s64(k) < 2n ** 63n);
    }
  }
});

// ---- a whole node ----

const root = poolIdentity(0);
const hostile = poolIdentity(2);
const member = poolIdentity(3);
const other = poolIdentity(4);
const NETWORKS = ['4351578df50000a1', '1a016169f0000001'].map((x) => fromHex(x));

/** Puts our network into recorded payloads. */
function renamed(bytes: Uint8Array, nwid: bigint): Uint8Array {
  const out = Buffer.from(bytes);
  const ours = Buffer.from(networkIdText(nwid), 'hex');
  for (const theirs of NETWORKS)
    for (let at = out.indexOf(theirs); at >= 0; at = out.indexOf(theirs, at + 8))
      ours.copy(out, at);
  return new Uint8Array(out);
}

const signed = <T extends { signature: Uint8Array }>(x: T, of: (x: T) => Uint8Array): T => ({
  ...x,
  signature: primitives.sign(hostile.privateKey!, of(x)),
});

/** Everything a controller can hand out to `to`, genuine. */
function genuineCredentials(d: Dice, target: Target, nwid: bigint, to: Identity): Uint8Array {
  const timestamp = BigInt(target.moment().wall - d.below(10_000));
  const head = { nwid, timestamp, signature: new Uint8Array(96) };
  const tail = { issuedTo: to.address, signer: hostile.address };
  const id = d.below(200);
  const bare = { nwid, timestamp, id, rules: ACCEPT_ALL, maxCustody: 1, custody: [] };
  const signature = primitives.sign(hostile.privateKey!, capabilitySignedBytes(bare));
  return payload((w) =>
    writeCredentials(w, {
      coms: [target.com(hostile, nwid, to, Number(timestamp))],
      capabilities: [{ ...bare, custody: [{ to: to.address, from: hostile.address, signature }] }],
      tags: [signed({ ...head, ...tail, id, value: d.below(9) }, tagSignedBytes)],
      revocations: d.chance(0.3)
        ? [
            signed(
              {
                ...head,
                id,
                credentialId: id,
                threshold: timestamp - 5_000n,
                flags: REVOCATION_FAST_PROPAGATE,
                target: to.address,
                signer: hostile.address,
                type: d.pick(Object.values(CREDENTIAL)),
              },
              revocationSignedBytes,
            ),
          ]
        : [],
      ownerships: [
        signed(
          { ...head, ...tail, flags: 0n, id, things: [ownedThing(THING.IPV4, d.bytes(4))] },
          ownershipSignedBytes,
        ),
      ],
    }),
  );
}

/** Rules that copy to others, and every match once. */
const rulesBlob = (d: Dice): Uint8Array =>
  payload((w) => {
    w.u8(RULE.ACTION_TEE)
      .u8(14)
      .u64(BigInt(other.address))
      .u32(0)
      .u16(d.pick([0, 64]));
    for (const type of Object.values(RULE)) {
      if (type < 16) continue;
      const len = 19;
      w.u8(type | d.pick([0, 0x80, 0x40]))
        .u8(len)
        .put(d.bytes(len));
      w.u8(d.pick([0, 1, 3, 4, 5]))
        .u8(14)
        .u64(BigInt(member.address))
        .u32(0)
        .u16(0);
    }
    w.u8(RULE.ACTION_ACCEPT).u8(0);
  });

/** A configuration as a hostile controller may write it: it signs whatever it likes. */
function hostileConfig(d: Dice, target: Target, nwid: bigint): Uint8Array {
  const blob = rulesBlob(d);
  const address = () => inetAddress(d.bytes(d.pick([4, 16])), d.below(200));
  const config: NetworkConfig = {
    ...target.config(hostile, nwid),
    type: d.below(2),
    flags: BigInt(d.below(64)),
    multicastLimit: d.pick([0, 1, 32, 2 ** 32 - 1]),
    mtu: d.pick([0, 1280, 2800, 10_000]),
    rules: d.chance(0.5) ? ACCEPT_ALL : readRules(new Reader(blob), 300),
    addresses: Array.from({ length: d.below(5) }, address),
    routes: Array.from({ length: d.below(5) }, () => ({
      target: address(),
      via: address(),
      flags: 0,
      metric: 0,
    })),
    specialists: Array.from(
      { length: d.below(4) },
      () => BigInt(d.pick([member, other, target.self]).address) | (BigInt(d.below(16)) << 40n),
    ),
  };
  const text = emitNetworkConfig(config);
  return d.chance(0.3) ? mutate(d, text) : text;
}

function chunksOf(d: Dice, nwid: bigint, text: Uint8Array): Uint8Array[] {
  return emitConfigChunks(nwid, text, BigInt(d.below(2 ** 31)), (b) => {
    // The flags byte is part of what is signed: some chunks ask to be passed on.
    if (d.chance(0.3)) b[10 + ((b[8]! << 8) | b[9]!)] = 1;
    return primitives.sign(hostile.privateKey!, b);
  });
}

class Attack {
  readonly d: Dice;
  readonly target: Target;
  readonly nwid = networkOf(hostile);
  readonly own: bigint;
  readonly ids = new Map<number, bigint[]>();
  readonly #stack = createStack({
    mac: Uint8Array.of(2, 0, 0, 0, 0, 1),
    entropy: { fill: (b) => void b.fill(7) },
    at: { mono: 0, wall: 0 },
  });
  most = 0;

  constructor(label: string, isRoot: boolean) {
    this.d = new Dice(label);
    this.target = new Target(SEED, isRoot);
    this.own = networkOf(this.target.self);
    for (const p of this.peers()) this.target.meet(p, p === root ? endpoint(0) : undefined);
    this.target.configure(hostile, this.nwid);
    const rules = [
      { type: 'MATCH_RANDOM', probability: 2 ** 31 },
      { type: 'ACTION_TEE', address: other.address.toString(16), flags: 0, length: 0 },
      { type: 'ACTION_ACCEPT' },
    ];
    this.target.input((at) =>
      this.target.node.run(at, () =>
        this.target.controller.postNetwork(at, this.own, networkIdText(this.own), {
          private: false,
          v4AssignMode: { zt: true },
          routes: [{ target: '10.5.0.0/16', via: null }],
          ipAssignmentPools: [{ ipRangeStart: '10.5.0.1', ipRangeEnd: '10.5.250.1' }],
          rules,
        }),
      ),
    );
    this.target.input((at) => this.target.node.join(at, this.own));
    this.target.input((at) =>
      this.target.node.join(at, 0xff00_0000_0000_0000n | (0xffff_0000_00n << 8n)),
    );
  }

  peers(): Identity[] {
    return [root, hostile, member, other].filter((p) => p.address !== this.target.self.address);
  }

  /** What every output must satisfy. */
  check(outputs: readonly NodeOutput[], most: number): void {
    this.most = Math.max(this.most, outputs.length);
    if (outputs.length > most) throw new Error(`${outputs.length} outputs of one input`);
    for (const o of transmits(outputs)) {
      if (o.bytes.length > 1_472) throw new Error(`a datagram of ${o.bytes.length} bytes`);
      if (o.to.port === 0) throw new Error('a datagram to port 0');
    }
    for (const o of outputs) {
      if (o.kind === 'networkChanged') {
        const config = this.target.node.vl2.network(o.nwid)?.config;
        if (config !== undefined)
          this.#stack.configure(
            { mono: 0, wall: 0 },
            stackConfigOf(config, () => true),
          );
      } else if (o.kind === 'validate') {
        const ok = this.d.chance(0.5);
        this.check(
          this.target.input((at) => this.target.node.handleValidation(at, o.id, ok)),
          most,
        );
      }
    }
  }

  /** Remembers packet ids that await an answer. */
  note(outputs: readonly NodeOutput[]): void {
    for (const o of transmits(outputs)) {
      if (o.bytes.length < 28) continue;
      const to = Number(
        new DataView(o.bytes.buffer, o.bytes.byteOffset).getBigUint64(5) & 0xff_ffff_ffffn,
      );
      const list = this.ids.get(to) ?? [];
      list.push(new DataView(o.bytes.buffer, o.bytes.byteOffset).getBigUint64(0));
      this.ids.set(to, list.slice(-20));
    }
  }

  /** The payload of one packet from `from`. */
  #payload(from: Identity): { verb: number; bytes: Uint8Array; maskFrom?: number } {
    const { d, target } = this;
    const nwid = d.pick([this.nwid, this.own]);
    switch (d.below(12)) {
      case 0:
        return {
          verb: VERB.NETWORK_CREDENTIALS,
          bytes: genuineCredentials(d, target, this.nwid, d.pick([member, other, from])),
        };
      case 1:
        return {
          verb: VERB.NETWORK_CONFIG,
          bytes: d.pick(chunksOf(d, this.nwid, hostileConfig(d, target, this.nwid))),
        };
      case 2: {
        let maskFrom = 0;
        const bytes = payload((w) => {
          maskFrom = writeHello(
            w,
            {
              version: { protocol: d.pick([4, 11, 12, 255]), ...SOFTWARE_VERSION },
              timestamp: d.pick([0n, 2n ** 64n - 1n, BigInt(target.moment().wall)]),
              identity: from,
              sentTo: endpoint(d.below(999), d.below(65_536)),
              planetId: d.pick([0n, 77n, 2n ** 63n]),
              planetTimestamp: d.pick([0n, 2n ** 64n - 1n]),
            },
            Array.from({ length: d.below(4) }, () => ({ type: 127, id: 1n, timestamp: 0n })),
          );
        });
        return { verb: VERB.HELLO, bytes, maskFrom };
      }
      case 3:
        return {
          verb: VERB.PUSH_DIRECT_PATHS,
          bytes: payload((w) => {
            const some = Array.from({ length: 40 }, () =>
              inetAddress(d.bytes(d.pick([4, 16])), d.below(3)),
            );
            writePushDirectPaths(w, some);
          }),
        };
      case 4:
        return {
          verb: VERB.FRAME,
          bytes: payload(
            (w) =>
              void w
                .u64(nwid)
                .u16(d.pick([0x800, 0x86dd, 0x806]))
                .put(d.bytes(d.pick([0, 60, 1_500, 9_986]))),
          ),
        };
      default: {
        const s = d.pick(samples);
        return { verb: s.verb, bytes: renamed(s.bytes, nwid) };
      }
    }
  }

  packet(): void {
    const { d, target } = this;
    const from = d.pick(this.peers());
    const { verb, bytes, maskFrom } = this.#payload(from);
    let body = d.chance(0.6) ? mutate(d, bytes) : bytes;
    const known = this.ids.get(from.address);
    if (verb === VERB.OK && known !== undefined && body.length > 9 && d.chance(0.8)) {
      body = body.slice();
      new DataView(body.buffer).setBigUint64(1, d.pick(known));
    }
    const options: SendOptions = {
      suite: verb === VERB.HELLO && d.chance(0.9) ? 0 : d.pick([0, 1, 3] as const),
      hops: d.pick([0, 0, 0, 1, 3, 7]),
      compress: d.chance(0.3),
      socket: d.pick([1, 1, 2]),
      from: d.chance(0.7)
        ? from === root
          ? endpoint(0)
          : endpoint(100 + (from.address % 100))
        : endpoint(d.below(2_000), d.below(3) * 700),
      ...(maskFrom === undefined || maskFrom >= body.length ? {} : { maskFrom }),
    };
    for (const datagram of target.seal(from, d.chance(0.03) ? d.below(32) : verb, body, options)) {
      const spoiled = d.chance(0.03) ? mutate(d, datagram) : datagram;
      const out = target.datagram(options.from!, spoiled, options.socket);
      this.check(out, 1_200);
      this.note(out);
    }
  }

  /** A frame of the node's own stack. */
  frame(): void {
    const { d, target } = this;
    const nwid = d.pick([this.nwid, this.own]);
    const mac = (p: Identity): Uint8Array => memberMac(p.address, nwid);
    const dst = d.pick([mac(member), mac(target.self), BROADCAST_MAC, d.bytes(6)]);
    const src = d.chance(0.8) ? mac(target.self) : d.bytes(6);
    const bytes = d.bytes(d.pick([0, 28, 64, 1_400, 10_000]));
    const type = d.pick([0x800, 0x806, 0x86dd, 0x8100]);
    const out = target.input((at) => target.node.handleFrame(at, nwid, src, dst, type, bytes));
    this.check(out, 20_000);
    this.note(out);
  }

  run(count: number): void {
    for (let i = 0; i < count; i++) {
      try {
        if (this.d.chance(0.1)) this.frame();
        else this.packet();
        if (this.d.chance(0.05)) {
          const out = this.target.wait(this.d.pick([1, 100, 600, 6_000, 31_000]));
          this.check(out, 20_000);
          this.note(out);
        }
      } catch (e) {
        throw new Error(`step ${i} with HOSTILE_SEED=${SEED}: ${(e as Error).stack}`);
      }
    }
  }
}

for (const isRoot of [false, true]) {
  test(`authentic packets with hostile content leave a ${isRoot ? 'root' : 'leaf'} whole`, (t) => {
    const attack = new Attack(`node ${isRoot}`, isRoot);
    attack.run(2_000 * RUNS);
    const { vl1, vl2 } = attack.target.node;
    const { state } = vl1;
    t.log(`HOSTILE_SEED=${SEED}, at most ${attack.most} outputs of one input`);
    t.log(
      `${JSON.stringify({ ...state.counters.snapshot(), ...vl2.context.counters.snapshot() })}`,
    );
    t.true(state.reassembly.size <= REASSEMBLY_SLOTS);
    t.true(state.surface.addresses().length <= MAX_SURFACES);
    for (const p of state.peers.values()) {
      t.true(p.slots.length <= 64);
      t.true(p.confirmedAt.size <= MAX_CONFIRMATIONS);
    }
    t.true(vl2.context.multicast.groupCount <= 65_536);
    // The attack got somewhere: frames were delivered, configurations applied, verbs refused.
    for (const name of ['frameIn', 'configApplied', 'malformed'] as const)
      t.true(vl2.context.counters.get(name) > 0, name);
    for (const p of attack.peers()) t.not(vl1.peer(p.address), undefined);
  });
}

// ---- JSON ----

const KEYS = [
  'name',
  'private',
  'enableBroadcast',
  'multicastLimit',
  'mtu',
  'remoteTraceTarget',
  'remoteTraceLevel',
  'v4AssignMode',
  'v6AssignMode',
  'routes',
  'ipAssignmentPools',
  'rules',
  'authTokens',
  'capabilities',
  'tags',
  'dns',
  'activeBridge',
  'authorized',
  'ipAssignments',
  'noAutoAssignIps',
  'authenticationExpiryTime',
  'id',
  'type',
  'default',
  'target',
  'via',
  'zt',
  'ipRangeStart',
  'ipRangeEnd',
  'mask',
  'mac',
  'ip',
  'start',
  'end',
  'not',
  'value',
  'domain',
  'servers',
  '__proto__',
  'constructor',
  'toString',
];
const TEXTS = [
  '',
  '10.0.0.0/8',
  'fd00::1/64',
  '10.1.1.1/99',
  '::',
  '1e999',
  'zt',
  'rfc4193,6plane',
  '-5',
  '99999999999999999999999',
  '0xffffffffffffffffff',
  'MATCH_CHARACTERISTICS',
  'MATCH_MAC_SOURCE',
  'MATCH_IPV6_DEST',
  'ACTION_TEE',
  'INTEGER_RANGE',
  'x'.repeat(70),
  '\ud800',
];

function randomJson(d: Dice, depth: number): JsonValue {
  switch (d.below(depth > 0 ? 8 : 5)) {
    case 0:
      return d.pick([null, true, false]);
    case 1:
      return d.pick([0, -1, 1, 0.5, 1e300, -1e300, 2 ** 53, 65_536, 255]);
    case 2:
      return d.pick([2n ** 63n, 2n ** 64n - 1n, -(2n ** 63n), 2n ** 200n]);
    case 3:
    case 4:
      return d.pick(TEXTS);
    case 5:
      return Array.from({ length: d.below(5) }, () => randomJson(d, depth - 1));
    default:
      return randomRecord(d, depth - 1);
  }
}

function randomRecord(d: Dice, depth: number): JsonRecord {
  const out = Object.create(null) as JsonRecord;
  for (let n = d.below(7); n > 0; n--) out[d.pick(KEYS)] = randomJson(d, depth);
  if (d.chance(0.3)) out['type'] = d.pick(TEXTS);
  return out;
}

test('JSON texts are read or refused by name, and written texts read back', (t) => {
  const d = new Dice('json');
  for (let i = 0; i < 3_000 * RUNS; i++) {
    const v = randomJson(d, 4);
    const text = emitJson(v);
    t.is(emitJson(parseJson(text)), text);
    const bytes = mutate(d, new TextEncoder().encode(text));
    const broken = new TextDecoder().decode(bytes);
    try {
      const read = parseJson(broken);
      const again = emitJson(read);
      t.is(emitJson(parseJson(again)), again);
    } catch (e) {
      t.true(e instanceof JsonSyntaxError, `${(e as Error).stack} at ${broken.slice(0, 200)}`);
    }
  }
  for (const text of ['['.repeat(100_000), '{"a":'.repeat(100_000), `"${'\\'.repeat(99_999)}`])
    t.throws(() => parseJson(text), { instanceOf: JsonSyntaxError });
});

test('POST bodies change a record or throw a documented error and change nothing', (t) => {
  const d = new Dice('post');
  const target = new Target(SEED);
  const { controller } = target;
  const nwid = networkOf(target.self);
  const id = networkIdText(nwid);
  target.meet(member);
  const run = (act: (at: ReturnType<Target['moment']>) => unknown): void => {
    target.input((at) => target.node.run(at, () => act(at)));
  };
  run((at) => controller.postNetwork(at, nwid, id, { private: false }));
  let refused = 0;
  for (let i = 0; i < 1_500 * RUNS; i++) {
    const request = parseJson(emitJson(randomRecord(d, 4)));
    t.true(isRecord(request));
    const before = emitJson([
      controller.networkRecord(nwid)!,
      controller.memberRecord(nwid, member.address) ?? null,
    ]);
    const texts = { nwid: id, address: member.address.toString(16).padStart(10, '0') };
    try {
      if (d.chance(0.5)) run((at) => controller.postNetwork(at, nwid, id, request as JsonRecord));
      else
        run((at) => controller.postMember(at, nwid, member.address, texts, request as JsonRecord));
    } catch (e) {
      refused++;
      if (!(e instanceof RecordTypeError || e instanceof RuleTypeError)) throw e;
      const after = emitJson([
        controller.networkRecord(nwid)!,
        controller.memberRecord(nwid, member.address) ?? null,
      ]);
      t.is(after, before);
    }
    // Whatever was stored makes a configuration, and loads again.
    t.true(controller.load('network', emitJson(controller.networkRecord(nwid)!)));
    if (d.chance(0.2)) {
      const metadata = new TextEncoder().encode('v=7\nrevr=1');
      target.now += 1_100;
      const body = payload((w) =>
        writeConfigRequest(w, { nwid, metadata, revision: 0n, timestamp: 0n }),
      );
      target.send(member, VERB.NETWORK_CONFIG_REQUEST, body);
    }
    const list = randomJson(d, 3);
    if (Array.isArray(list)) {
      try {
        const once = normalizeRules(list);
        t.deepEqual(normalizeRules(once), once);
      } catch (e) {
        t.true(e instanceof RuleTypeError);
      }
    }
  }
  t.true(refused > 0);
});
