/**
 * Checkers of the `vl2-*` files that describe a whole node: its identities, what it sends and
 * answers, and step by step what it does. Where ours departs from the reference on purpose
 * (docs/decisions.md), `Deviations` says what is expected instead.
 */
import assert from 'node:assert/strict';
import { fromHex, toHex } from '#src/lib/hex.js';
import { Reader } from '#src/lib/reader.js';
import { Writer } from '#src/lib/writer.js';
import { isAdhoc } from '#src/vl2/adhoc.js';
import type { Network } from '#src/vl2/network.js';
import { addressText, controllerOf, macText, networkIdText, parseMac } from '#src/wire/address.js';
import { type Com, emitCom } from '#src/wire/com.js';
import { Dictionary } from '#src/wire/dictionary.js';
import { emitIdentityText, parseIdentityText, validateIdentity } from '#src/wire/identity.js';
import { inetAddressText } from '#src/wire/inetaddress.js';
import { groupKey, type MulticastGroup } from '#src/wire/multicast-group.js';
import {
  emitConfigChunks,
  emitMetadata,
  emitNetworkConfig,
  NETWORK_FLAG,
  parseConfigChunk,
  parseNetworkConfig,
} from '#src/wire/netconf.js';
import { ERROR_CODE, MAX_PACKET_LEN, VERB } from '#src/wire/packet.js';
import {
  EXT_FRAME_FLAG,
  LIKE_LEN,
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
import type { Case, Family, JsonObject } from './case.js';
import {
  capabilityFields,
  comFields,
  expectedCom,
  ownershipFields,
  revocationFields,
  sameRules,
  tagFields,
} from './families-vl2.js';
import {
  Bench,
  type Effects,
  primitives,
  type SentPacket,
  secretIdentities,
  secretIdentity,
} from './vl2-lab.js';

const hex64 = (v: bigint): string => v.toString(16).padStart(16, '0');

function must<T>(v: T | undefined, what = 'parses'): T {
  assert.notEqual(v, undefined, what);
  return v as T;
}

function written(write: (w: Writer) => void): string {
  const w = Writer.of(MAX_PACKET_LEN);
  write(w);
  return toHex(w.done());
}

// ---- identities ----

async function identity(c: Case): Promise<void> {
  const [pub, secret] = [c.text('public'), c.text('secret')];
  const whole = must(parseIdentityText(secret));
  const known = must(parseIdentityText(pub));
  assert.equal(addressText(whole.address), c.text('address'));
  assert.equal(emitIdentityText(whole, true), secret);
  assert.equal(emitIdentityText(whole, false), pub);
  assert.equal(emitIdentityText(known, false), pub);
  assert.equal(known.privateKey, undefined, 'the public form holds no secret');
  assert.ok(validateIdentity(primitives, known), 'address and key belong together');
  assert.equal(
    toHex(primitives.publicFromPrivate(whole.privateKey!)),
    toHex(known.publicKey),
    'private and public key belong together',
  );
  const message = new TextEncoder().encode(pub);
  const signature = primitives.sign(whole.privateKey!, message);
  assert.ok(primitives.verify(known.publicKey, message, signature));
}

// ---- payloads of every kind ----

interface Parsed {
  /** The fields that the case must state, in any order. */
  readonly fields: JsonObject;
  /** The payload written again from what was parsed; undefined where ours never writes the form. */
  readonly again: string | undefined;
}

const com = (x: Com | undefined): JsonObject =>
  x === undefined ? {} : { com: comFields(x) as JsonObject };

const group = (g: MulticastGroup): JsonObject => ({ mac: macText(g.mac), adi: g.adi });

function framePayload(p: Uint8Array): Parsed {
  const f = must(parseFrame(p));
  return {
    fields: { networkId: networkIdText(f.nwid), etherType: f.etherType, data: toHex(f.frame) },
    again: written((w) => writeFrame(w, f)),
  };
}

/** The information bits 02, 04 and 08 as a 3-bit number, lowest first. */
const subtype = (flags: number): number => (flags >> 1) & 7;

function extFramePayload(p: Uint8Array): Parsed {
  const f = must(parseExtFrame(p));
  const body = must(f.body);
  const hasCom = (f.flags & EXT_FRAME_FLAG.COM) !== 0;
  return {
    fields: {
      networkId: networkIdText(f.nwid),
      flags: f.flags,
      comAttached: hasCom,
      ackRequested: (f.flags & EXT_FRAME_FLAG.ACK) !== 0,
      subtypeBits: subtype(f.flags),
      ...com(f.com),
      ...(f.com === undefined ? {} : { comLength: emitCom(f.com).length }),
      macDest: macText(body.macDest),
      macSource: macText(body.macSource),
      etherType: body.etherType,
      data: toHex(body.frame),
    },
    // Nobody sends the inline certificate any more; ours has no form for it.
    again: hasCom ? undefined : written((w) => writeExtFrame(w, f.nwid, f.flags, body)),
  };
}

function likesPayload(p: Uint8Array): Parsed {
  const likes = parseLikes(p);
  return {
    fields: {
      groups: likes.map((l) => ({ networkId: networkIdText(l.nwid), ...group(l.group) })),
    },
    // A cut last tuple is nobody's.
    again:
      written((w) => {
        for (const l of likes) writeLike(w, l.nwid, l.group);
      }) + toHex(p.subarray(p.length - (p.length % LIKE_LEN))),
  };
}

function credentialsPayload(p: Uint8Array): Parsed {
  const c = must(parseCredentials(p));
  const whole = written((w) => writeCredentials(w, c));
  // The sender may leave out empty lists at the end; ours writes them.
  const omitted = whole.slice(2 * p.length);
  assert.match(omitted, /^(00)*$/, 'only empty lists are left out');
  return {
    fields: {
      coms: c.coms.map(comFields) as JsonObject[],
      capabilities: c.capabilities.map(capabilityFields) as JsonObject[],
      tags: c.tags.map(tagFields) as JsonObject[],
      revocations: c.revocations.map(revocationFields) as JsonObject[],
      certificatesOfOwnership: c.ownerships.map(ownershipFields) as JsonObject[],
    },
    again: whole.slice(0, whole.length - omitted.length),
  };
}

function requestPayload(p: Uint8Array): Parsed {
  const q = must(parseConfigRequest(p));
  return {
    fields: {
      networkId: networkIdText(q.nwid),
      metadata: new TextDecoder().decode(q.metadata),
      haveRevision: hex64(q.revision),
      haveTimestamp: hex64(q.timestamp),
    },
    again: written((w) => writeConfigRequest(w, q)),
  };
}

function gatherPayload(p: Uint8Array): Parsed {
  const g = must(parseGather(p));
  return {
    fields: {
      networkId: networkIdText(g.nwid),
      flags: g.com === undefined ? 0 : 1,
      ...group(g.group),
      gatherLimit: g.limit,
      ...com(g.com),
    },
    again: written((w) => writeGather(w, g)),
  };
}

function multicastPayload(p: Uint8Array): Parsed {
  const f = must(parseMulticastFrame(p));
  const again = written((w) => writeMulticastFrame(w, f));
  return {
    fields: {
      networkId: networkIdText(f.nwid),
      // The flags follow from what is there: they are read back from what ours writes.
      flags: fromHex(again)[8]!,
      ...com(f.com),
      ...(f.gatherLimit === 0 ? {} : { gatherLimit: f.gatherLimit }),
      ...(f.macSource === undefined ? {} : { macSource: macText(f.macSource) }),
      replicate: f.replicate,
      macDest: macText(f.group.mac),
      adi: f.group.adi,
      etherType: f.etherType,
      data: toHex(f.frame),
    },
    again,
  };
}

function resultPayload(p: Uint8Array): Parsed {
  const head = must(parseOkHead(p));
  const withFlags = head.inReVerb === VERB.MULTICAST_FRAME;
  const v = must(parseGatherResult(head.body, withFlags));
  const flags = withFlags ? head.body[18]! : 2;
  const isOurs = flags === 2;
  return {
    fields: {
      networkId: networkIdText(v.nwid),
      ...group(v.group),
      ...(withFlags ? { flags } : {}),
      ...com(v.com),
      ...((flags & 2) === 0
        ? {}
        : {
            totalKnown: v.totalKnown,
            count: v.members.length,
            addresses: v.members.map(addressText),
          }),
    },
    again: isOurs
      ? written((w) => {
          w.u8(head.inReVerb).u64(head.inRePacketId);
          writeGatherResult(w, v, withFlags);
        })
      : undefined,
  };
}

/** OK(EXT_FRAME), and the OK of a NETWORK_CONFIG, which says ECHO. */
function acknowledgement(p: Uint8Array): Parsed {
  const head = must(parseOkHead(p));
  const r = new Reader(head.body);
  const nwid = r.u64();
  const updateId = head.inReVerb === VERB.ECHO ? r.u64() : undefined;
  assert.ok(!r.failed && r.remaining === 0, 'parses whole');
  return {
    fields: {
      networkId: networkIdText(nwid),
      ...(updateId === undefined ? {} : { configUpdateId: hex64(updateId) }),
    },
    again: written((w) => {
      w.u8(head.inReVerb).u64(head.inRePacketId).u64(nwid);
      if (updateId !== undefined) w.u64(updateId);
    }),
  };
}

function okPayload(p: Uint8Array): Parsed {
  const head = must(parseOkHead(p));
  const isResult =
    head.inReVerb === VERB.MULTICAST_GATHER || head.inReVerb === VERB.MULTICAST_FRAME;
  const { fields, again } = isResult ? resultPayload(p) : acknowledgement(p);
  const of = { inReVerb: head.inReVerb, inRePacketId: hex64(head.inRePacketId) };
  return { fields: { ...of, ...fields }, again };
}

function errorPayload(p: Uint8Array): Parsed {
  const e = must(parseErrorHead(p));
  const r = new Reader(e.body);
  const nwid = r.u64();
  const fields: JsonObject = {
    inReVerb: e.inReVerb,
    inRePacketId: hex64(e.inRePacketId),
    errorCode: e.code,
    networkId: networkIdText(nwid),
  };
  const rest = e.body.subarray(8);
  if (e.code === ERROR_CODE.UNWANTED_MULTICAST)
    Object.assign(fields, group({ mac: r.copy(6), adi: r.u32() }));
  if (e.code === ERROR_CODE.NETWORK_AUTHENTICATION_REQUIRED) {
    const data = r.take(r.u16());
    Object.assign(fields, {
      dataLength: data.length,
      data: new TextDecoder().decode(data),
    });
    assert.notEqual(new Dictionary(data).text('aU'), undefined, 'the login URL is read');
  }
  assert.ok(!r.failed && r.remaining === 0, 'parses whole');
  const again = written((w) => w.u8(e.inReVerb).u64(e.inRePacketId).u8(e.code).u64(nwid).put(rest));
  return { fields, again };
}

const PAYLOADS: Readonly<Record<number, { name: string; parse: (p: Uint8Array) => Parsed }>> = {
  [VERB.ERROR]: { name: 'ERROR', parse: errorPayload },
  [VERB.OK]: { name: 'OK', parse: okPayload },
  [VERB.FRAME]: { name: 'FRAME', parse: framePayload },
  [VERB.EXT_FRAME]: { name: 'EXT_FRAME', parse: extFramePayload },
  [VERB.MULTICAST_LIKE]: { name: 'MULTICAST_LIKE', parse: likesPayload },
  [VERB.NETWORK_CREDENTIALS]: { name: 'NETWORK_CREDENTIALS', parse: credentialsPayload },
  [VERB.NETWORK_CONFIG_REQUEST]: { name: 'NETWORK_CONFIG_REQUEST', parse: requestPayload },
  [VERB.MULTICAST_GATHER]: { name: 'MULTICAST_GATHER', parse: gatherPayload },
  [VERB.MULTICAST_FRAME]: { name: 'MULTICAST_FRAME', parse: multicastPayload },
};

/** Certificates as the codec gives them: an unsigned one has no signature in the record. */
function comparable(fields: JsonObject): JsonObject {
  const out = { ...fields };
  if (out['com'] !== undefined) out['com'] = expectedCom(out['com'] as JsonObject) as JsonObject;
  if (Array.isArray(out['coms']))
    out['coms'] = (out['coms'] as JsonObject[]).map(expectedCom) as JsonObject[];
  if (Array.isArray(out['capabilities']))
    out['capabilities'] = (out['capabilities'] as JsonObject[]).map(({ rules: _, ...c }) => c);
  return out;
}

function packet(c: Case): void {
  c.note('name', 'note');
  const bytes = c.hex('payload');
  const codec = must(PAYLOADS[c.number('verb')], 'the verb is known');
  assert.equal(codec.name, c.text('verbName'));
  const { fields, again } = codec.parse(bytes);
  const expected = c.raw('fields') as JsonObject;
  assert.deepEqual(fields, comparable(expected));
  if (Array.isArray(expected['capabilities'])) {
    const read = must(parseCredentials(bytes)).capabilities;
    for (const [i, x] of (expected['capabilities'] as JsonObject[]).entries())
      sameRules(read[i]!.rules, x['rules'] as never);
  }
  if (again === undefined) return;
  assert.equal(again, toHex(bytes), 'written again');
}

// ---- configurations in chunks ----

function chunkSend(c: Case, file: JsonObject): void {
  c.note('name', 'note');
  const nwid = BigInt(`0x${file['networkId']}`);
  const text = c.hex('dictionary');
  assert.equal(text.length, c.number('dictionaryLength'));
  const config = must(parseNetworkConfig(text));
  assert.equal(config.issuedTo, secretIdentity(c.text('to')).address);
  assert.equal(toHex(emitNetworkConfig(config)), toHex(text), 'written again');
  const controller = secretIdentity('controller');
  const request = c.has('requestPacketId') ? c.u64('requestPacketId') : undefined;
  const packets = c.objects('packets');
  const updateId = BigInt(`0x${packets[0]!.text('updateId')}`);
  const made = emitConfigChunks(nwid, text, updateId, (b) =>
    primitives.sign(controller.privateKey!, b),
  );
  assert.equal(made.length, packets.length, 'number of chunks');
  let at = 0;
  for (const [i, p] of packets.entries()) at += chunkPacket(p, made[i]!, request, at, nwid);
  assert.equal(at, text.length, 'the chunks cover the text');
}

/** One packet of a configuration against the chunk that ours makes. @returns its data length. */
function chunkPacket(
  p: Case,
  made: Uint8Array,
  request: bigint | undefined,
  at: number,
  nwid: bigint,
): number {
  const payload = p.hex('payload');
  let body = payload;
  if (request === undefined) assert.equal(p.number('verb'), VERB.NETWORK_CONFIG);
  else {
    assert.equal(p.number('verb'), VERB.OK);
    const head = must(parseOkHead(payload));
    assert.equal(head.inReVerb, VERB.NETWORK_CONFIG_REQUEST);
    assert.equal(head.inRePacketId, request);
    body = head.body;
  }
  const start = payload.length - body.length;
  assert.equal(start, p.number('chunkBodyOffset'));
  assert.equal(toHex(made), toHex(body), 'as ours emits it');
  const chunk = must(parseConfigChunk(body));
  const s = must(chunk.signed, 'is signed');
  assert.equal(chunk.nwid, nwid);
  assert.equal(chunk.data.length, p.number('chunkLength'));
  assert.equal(s.flags, p.number('flags'));
  assert.equal(hex64(s.updateId), p.text('updateId'));
  assert.equal(s.totalLen, p.number('totalLength'));
  assert.equal(s.offset, p.number('chunkIndex'));
  assert.equal(s.offset, at, 'chunks follow each other');
  assert.equal(toHex(s.signature), p.text('signature'));
  assert.equal(body[s.signedBytes.length], p.number('signatureType'));
  assert.equal(s.signedBytes.byteOffset - payload.byteOffset, p.number('signedFrom'));
  assert.equal(s.signedBytes.length, p.number('signedLength'));
  const key = secretIdentity('controller').publicKey;
  assert.ok(primitives.verify(key, s.signedBytes, s.signature), 'the signature is good');
  const bad = Uint8Array.from(s.signedBytes);
  bad[bad.length - 1] = bad[bad.length - 1]! ^ 1;
  assert.ok(!primitives.verify(key, bad, s.signature), 'and bad for other bytes');
  return chunk.data.length;
}

/** Wall clock of the chunk sequences; no check looks at it. */
const CHUNK_START = 1_700_000_050_000;
/** The member that receives the sequences. */
const RECEIVER = 'alice';

function chunkReceive(c: Case, file: JsonObject): void {
  c.note('name', 'note');
  const nwid = BigInt(`0x${file['networkId']}`);
  sameIdentities(file);
  const bench = new Bench(RECEIVER, CHUNK_START);
  bench.goTo(0);
  bench.join(nwid);
  const net = must(bench.node.vl2.network(nwid));
  for (const name of c.has('knownMembers') ? (c.list('knownMembers') as string[]) : [])
    net.member(secretIdentity(name).address);
  bench.take();
  for (const [i, step] of c.objects('steps').entries()) {
    bench.goTo(i);
    const before = net.config;
    bench.packetIn(
      step.text('from'),
      step.number('verb'),
      chunkPayload(step, file),
      step.u64('packetId'),
    );
    const effects = bench.take();
    samePackets(withoutCompression(expectedSends(step)), withoutCompression(effects.sends));
    assert.equal(net.config !== before, step.bool('applied'), `${step.path}: applied`);
    if (net.config !== before) assert.equal(net.config?.issuedTo, secretIdentity(RECEIVER).address);
  }
}

/** A step names its payload, or a packet of `sends`. */
function chunkPayload(step: Case, file: JsonObject): Uint8Array {
  if (step.has('payload')) return step.hex('payload');
  const ref = step.object('payloadOf');
  const name = ref.text('send');
  const send = (file['sends'] as JsonObject[]).find((s) => s['name'] === name);
  const packets = must(send, `a send named ${name}`)['packets'] as JsonObject[];
  return fromHex(String(packets[ref.number('packet')]!['payload']));
}

// ---- packets of a step ----

interface Expected {
  readonly to: string;
  readonly verb: number;
  readonly payload: string;
  readonly compressed: boolean;
}

function expectedSends(step: Case): Expected[] {
  return step.objects('sends').map((s) => ({
    to: s.text('to'),
    verb: s.number('verb'),
    payload: s.text('payload'),
    compressed: s.has('compressed') ? s.bool('compressed') : false,
  }));
}

const line = (p: Expected): string =>
  `to ${p.to} verb ${p.verb}${p.compressed ? ' compressed' : ''} ${p.payload}`;

/** For records that do not say which packets were compressed. */
function withoutCompression<T extends { readonly compressed: boolean }>(list: readonly T[]): T[] {
  return list.map((p) => ({ ...p, compressed: false }));
}

/** The same packets, those to different recipients in any order. */
function samePackets(expected: readonly Expected[], sends: readonly SentPacket[]): void {
  const ours = sends.map((s) => ({ ...s, payload: toHex(s.payload) }));
  assert.deepEqual(ours.map(line).sort(), expected.map(line).sort(), 'packets sent');
  // Whoever gets a frame must have been shown our credentials before it.
  for (const [i, p] of ours.entries()) {
    const isFrame = p.verb === VERB.FRAME || p.verb === VERB.MULTICAST_FRAME;
    if (!isFrame) continue;
    const later = ours.slice(i).some((x) => x.to === p.to && x.verb === VERB.NETWORK_CREDENTIALS);
    assert.ok(!later, `credentials reach ${p.to} before the frame`);
  }
}

// ---- scenarios ----

const ERROR_EVERY_MS = 1_000;
const REQUEST_EVERY_MS = 2_000;

/**
 * What is expected of ours where it departs from the reference on purpose. Everything else must be
 * as recorded.
 */
class Deviations {
  readonly #errorAt = new Map<string, number>();
  readonly #requestAt = new Map<string, number>();

  /** `at`: ms of the step. */
  expected(at: number, recorded: readonly Expected[]): Expected[] {
    return recorded.filter((p) => this.#isDue(at, p));
  }

  #isDue(at: number, p: Expected): boolean {
    const e = p.verb === VERB.ERROR ? parseErrorHead(fromHex(p.payload)) : undefined;
    if (e?.code === ERROR_CODE.NEED_MEMBERSHIP_CERTIFICATE) {
      // At most one per peer, network and second; the reference repeats it every 500 ms.
      return this.#passes(
        this.#errorAt,
        `${p.to} ${toHex(e.body.subarray(0, 8))}`,
        at,
        ERROR_EVERY_MS,
      );
    }
    const q =
      p.verb === VERB.NETWORK_CONFIG_REQUEST ? parseConfigRequest(fromHex(p.payload)) : undefined;
    // Without a configuration ours asks when it joins and every 2 s; the reference with each
    // background pass.
    if (q?.revision === 0n)
      return this.#passes(this.#requestAt, networkIdText(q.nwid), at, REQUEST_EVERY_MS);
    return true;
  }

  #passes(times: Map<string, number>, key: string, at: number, every: number): boolean {
    const last = times.get(key);
    if (last !== undefined && at - last < every) return false;
    times.set(key, at);
    return true;
  }

  /** The request that leaves with the join, not with the first background pass after it. */
  joined(at: number, nwid: bigint): Expected[] {
    if (isAdhoc(nwid)) return [];
    this.#requestAt.set(networkIdText(nwid), at);
    const metadata = emitMetadata(12, 'linux/x86_64');
    const payload = written((w) =>
      writeConfigRequest(w, { nwid, metadata, revision: 0n, timestamp: 0n }),
    );
    return [{ to: 'controller', verb: VERB.NETWORK_CONFIG_REQUEST, payload, compressed: true }];
  }
}

/** A network as its virtual NIC is told of it. */
function portState(net: Network): JsonObject {
  const config = net.config;
  return {
    status: net.status,
    config: {
      name: config?.name ?? '',
      mac: macText(net.mac),
      type: config?.type ?? 0,
      mtu: config?.mtu ?? 2800,
      bridge: net.isBridge(secretIdentity(RECEIVER).address) ? 1 : 0,
      broadcastEnabled: net.hasFlag(NETWORK_FLAG.BROADCAST) ? 1 : 0,
      netconfRevision: Number(config?.revision ?? 0n),
      assignedAddresses: (config?.addresses ?? []).map(inetAddressText),
      routeCount: config?.routes.length ?? 0,
    },
  };
}

/** What the NIC is told by commands; all else is a change of the configuration. */
const PORT_OPS: Readonly<Record<string, string>> = { join: 'UP', leave: 'DESTROY' };

/** Runs one scenario; `states` is what the NIC of each network was told last. */
class Scenario {
  readonly #bench: Bench;
  readonly #steps: readonly Case[];
  readonly #deviations = new Deviations();
  readonly #states = new Map<string, JsonObject>();

  constructor(c: Case) {
    assert.equal(c.text('self'), RECEIVER);
    this.#bench = new Bench(RECEIVER, c.number('start'));
    this.#steps = c.objects('steps');
  }

  run(): void {
    for (const [i, step] of this.#steps.entries()) {
      try {
        this.#step(i, step);
      } catch (e) {
        const note = step.has('note') ? ` (${step.text('note')})` : '';
        throw new Error(`step ${i}${note}: ${e instanceof Error ? e.message : String(e)}`);
      }
    }
  }

  #step(index: number, step: Case): void {
    step.note('note');
    const at = step.number('at');
    this.#bench.goTo(at);
    this.#bench.take();
    const before = this.#snapshot();
    const extra = this.#do(at, step);
    const effects = this.#bench.take();
    samePackets([...extra, ...this.#deviations.expected(at, expectedSends(step))], effects.sends);
    sameFrames(step, effects);
    this.#port(index, step);
    const after = this.#snapshot();
    assert.deepEqual(Object.fromEntries(after), Object.fromEntries(this.#states), 'networks');
    for (const [nwid, state] of after) {
      if (JSON.stringify(state) !== JSON.stringify(before.get(nwid)))
        assert.ok(effects.changed.has(BigInt(`0x${nwid}`)), 'the change is announced');
    }
  }

  #snapshot(): Map<string, JsonObject> {
    const nets = this.#bench.node.vl2.networks();
    return new Map(nets.map((n) => [networkIdText(n.nwid), portState(n)]));
  }

  /** @returns packets expected of ours that the record does not have in this step. */
  #do(at: number, step: Case): Expected[] {
    const action = step.text('do');
    switch (action) {
      case 'join':
        this.#bench.join(step.u64('networkId'));
        return this.#deviations.joined(at, step.u64('networkId'));
      case 'leave':
        this.#bench.leave(step.u64('networkId'));
        break;
      case 'background':
        return this.#background(step);
      case 'retryQueuedPackets':
        this.#bench.retryQueued();
        break;
      case 'subscribe':
      case 'unsubscribe':
        this.#subscription(step, action === 'subscribe');
        break;
      case 'frameIn':
        this.#bench.frameIn(
          step.u64('networkId'),
          parseMac(step.text('macSource'))!,
          parseMac(step.text('macDest'))!,
          step.number('etherType'),
          step.hex('data'),
        );
        break;
      case 'packetIn':
        this.#packetIn(step);
        break;
      default:
        throw new Error(`no such step: ${action}`);
    }
    return [];
  }

  /** The broadcast group is announced with the first pass after its configuration, not up to 60 s later. */
  #background(step: Case): Expected[] {
    const late = this.#bench.node.vl2
      .networks()
      .filter((n) => n.hasFlag(NETWORK_FLAG.BROADCAST) && !n.hasAnnouncedBroadcast);
    this.#bench.background();
    const announced = expectedSends(step).filter((p) => p.verb === VERB.MULTICAST_LIKE);
    return late.flatMap((n) => {
      const payload = `${networkIdText(n.nwid)}ffffffffffff00000000`;
      if (announced.some((p) => p.payload.startsWith(networkIdText(n.nwid)))) return [];
      return ['controller', 'root'].map((to) => ({
        to,
        verb: VERB.MULTICAST_LIKE,
        payload,
        compressed: false,
      }));
    });
  }

  #subscription(step: Case, isNew: boolean): void {
    const g = { mac: parseMac(step.text('mac'))!, adi: step.number('adi') };
    this.#bench.setGroups(step.u64('networkId'), (groups) => {
      const others = groups.filter((x) => groupKey(x) !== groupKey(g));
      return isNew ? [...others, g] : others;
    });
  }

  #packetIn(step: Case): void {
    const awaited = step.has('expectingReplyTo') ? step.raw('expectingReplyTo') : null;
    const from = step.text('from');
    const payload = step.hex('payload');
    if (awaited !== null) this.#bench.expectReply(from, payload[0]!, BigInt(`0x${awaited}`));
    this.#bench.packetIn(
      from,
      step.number('verb'),
      payload,
      step.u64('packetId'),
      step.has('hops') ? step.number('hops') : 1,
    );
  }

  /** What the record tells the NIC: the states that our networks must have from now on. */
  #port(index: number, step: Case): void {
    if (!step.has('port')) return;
    for (const event of step.objects('port')) {
      const nwid = event.text('networkId');
      const op = event.text('op');
      assert.equal(op, PORT_OPS[step.text('do')] ?? 'CONFIG_UPDATE');
      const state = { status: event.text('status'), config: event.raw('config') ?? null };
      if (op === 'DESTROY') {
        assert.deepEqual(state, this.#states.get(nwid), 'as it was last');
        this.#states.delete(nwid);
      } else if (op === 'UP' && isAdhoc(BigInt(`0x${nwid}`))) {
        // Ours configures itself when it joins, not with the first background pass after it.
        this.#states.set(nwid, this.#nextState(index, nwid) ?? state);
      } else this.#states.set(nwid, state);
    }
  }

  #nextState(index: number, nwid: string): JsonObject | undefined {
    for (const step of this.#steps.slice(index + 1)) {
      const events = (step.has('port') ? step.raw('port') : []) as JsonObject[];
      const next = events.find((e) => e['networkId'] === nwid);
      if (next !== undefined) return { status: next['status']!, config: next['config']! };
    }
    return undefined;
  }
}

function sameFrames(step: Case, effects: Effects): void {
  const expected = step.objects('frames').map((f) => ({
    networkId: f.text('networkId'),
    macSource: f.text('macSource'),
    macDest: f.text('macDest'),
    etherType: f.number('etherType'),
    data: f.text('data'),
  }));
  const ours = effects.frames.map((f) => ({
    networkId: networkIdText(f.nwid),
    macSource: macText(f.src),
    macDest: macText(f.dst),
    etherType: f.etherType,
    data: toHex(f.bytes),
  }));
  assert.deepEqual(ours, expected, 'frames to the NIC');
}

function scenario(c: Case, file: JsonObject): void {
  c.note('name', 'note');
  const nwid = BigInt(`0x${file['networkId']}`);
  sameIdentities(file);
  assert.equal(controllerOf(nwid), secretIdentity('controller').address);
  new Scenario(c).run();
}

/** The public identities in a file are those of the set. */
function sameIdentities(file: JsonObject): void {
  for (const [name, v] of Object.entries(file['identities'] as Record<string, JsonObject>))
    assert.equal(emitIdentityText(must(secretIdentities().get(name)), false), v['public']);
}

const headers = ['networkId', 'identities'];

export const vl2NodeFamilies: readonly Family[] = [
  { file: 'vl2-identities', arrays: {}, objects: { identities: identity }, headers: ['networkId'] },
  { file: 'vl2-packets', arrays: { packets: packet }, headers },
  { file: 'vl2-netconf-chunks', arrays: { sends: chunkSend, receives: chunkReceive }, headers },
  { file: 'vl2-scenarios', arrays: { scenarios: scenario }, headers },
];
