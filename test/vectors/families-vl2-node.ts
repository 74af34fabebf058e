/**
 * Checkers of the `vl2-*` files that describe a whole node: its identities, what it sends and
 * answers, and step by step what it does. Where ours departs from the reference on purpose
 * (docs/decisions.md), `Deviations` says what is expected instead.
 */
import assert from 'node:assert/strict';
import { fromHex, toHex } from '#src/lib/hex.js';
import { Writer } from '#src/lib/writer.js';
import { isAdhoc } from '#src/vl2/adhoc.js';
import type { Network } from '#src/vl2/network.js';
import { addressText, controllerOf, macText, networkIdText, parseMac } from '#src/wire/address.js';
import { emitIdentityText, parseIdentityText, validateIdentity } from '#src/wire/identity.js';
import { inetAddressText } from '#src/wire/inetaddress.js';
import { groupKey } from '#src/wire/multicast-group.js';
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
  parseConfigRequest,
  parseErrorHead,
  parseOkHead,
  writeConfigRequest,
} from '#src/wire/vl2-messages.js';
import type { Case, Family, JsonObject } from './case.js';
import { headers, hex64, must } from './vl2-common.js';
import {
  Bench,
  type Effects,
  primitives,
  type SentPacket,
  secretIdentities,
  secretIdentity,
} from './vl2-lab.js';
import { packet } from './vl2-payloads.js';

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

export const vl2NodeFamilies: readonly Family[] = [
  { file: 'vl2-identities', arrays: {}, objects: { identities: identity }, headers: ['networkId'] },
  { file: 'vl2-packets', arrays: { packets: packet }, headers },
  { file: 'vl2-netconf-chunks', arrays: { sends: chunkSend, receives: chunkReceive }, headers },
  { file: 'vl2-scenarios', arrays: { scenarios: scenario }, headers },
];
