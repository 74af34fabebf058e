/** Checker of `vl2-controller`: records and one request in, the reply and the stored member out. */
import assert from 'node:assert/strict';
import { Controller } from '#src/controller/controller.js';
import { fromHex, toHex } from '#src/lib/hex.js';
import { emitJson, type JsonValue, parseJson } from '#src/lib/json.js';
import { Writer } from '#src/lib/writer.js';
import type { Vl1Port, Vl2Message } from '#src/vl2/port.js';
import { addressText, networkIdText } from '#src/wire/address.js';
import { type Identity, parseIdentityText } from '#src/wire/identity.js';
import { parseConfigChunk, parseNetworkConfig } from '#src/wire/netconf.js';
import { MAX_PACKET_LEN, VERB } from '#src/wire/packet.js';
import { parseErrorHead, parseOkHead } from '#src/wire/vl2-messages.js';
import type { Case, Family, JsonObject } from './case.js';
import { sameConfig } from './families-vl2.js';
import { primitives, secretIdentity } from './vl2-lab.js';

const ERROR_NAMES: Readonly<Record<number, string>> = {
  3: 'OBJECT_NOT_FOUND',
  7: 'ACCESS_DENIED',
  9: 'AUTHENTICATION_REQUIRED',
};

interface Sent {
  readonly dest: number;
  readonly verb: number;
  readonly payload: Uint8Array;
}

/** A port that keeps what is sent. */
class Port implements Vl1Port {
  readonly sent: Sent[] = [];
  readonly self: Identity;
  readonly primitives = primitives;
  readonly protocol = 12;
  readonly entropy = { fill: (b: Uint8Array): void => void b.fill(5) };
  readonly jitter = { next: (): number => 0.5 };
  #writer = Writer.of(MAX_PACKET_LEN);
  #verb = 0;

  constructor(self: Identity) {
    this.self = self;
  }

  isRoot(): boolean {
    return false;
  }

  begin(_dest: number, verb: number): Writer {
    this.#verb = verb;
    this.#writer = Writer.of(600_000);
    return this.#writer;
  }

  send(dest: number): void {
    this.sent.push({ dest, verb: this.#verb, payload: this.#writer.done().slice() });
  }

  reply(m: Vl2Message): void {
    this.send(m.peer.address);
  }

  identityOf(): undefined {
    return undefined;
  }

  requestIdentity(): void {}

  upstreams(): number[] {
    return [];
  }

  directLatency(): undefined {
    return undefined;
  }

  bestUpstream(): undefined {
    return undefined;
  }
}

function controllerCase(c: Case): void {
  c.note('name', 'note');
  const self = secretIdentity('controller');
  const port = new Port(self);
  const controller = new Controller();
  controller.attach(port, {
    store: () => undefined,
    applyLocal: () => undefined,
    failLocal: () => undefined,
  });
  const network = c.raw('network');
  if (network !== null)
    assert.ok(controller.load('network', JSON.stringify(network)), 'the network loads');
  for (const m of c.list('members'))
    assert.ok(controller.load('member', JSON.stringify(m)), 'the member loads');
  const q = c.object('request');
  const nwid = q.u64('networkId');
  const identity = parseIdentityText(q.text('identity'))!;
  const packetId = q.u64('packetId');
  const at = { mono: 10_000_000, wall: c.number('now') };
  const metadata = new TextEncoder().encode(q.text('metadata'));
  const message = {
    peer: { address: identity.address, identity },
    path: undefined,
    hops: 0,
    verb: VERB.NETWORK_CONFIG_REQUEST,
    packetId,
    payload: metadata,
  };
  if (packetId === 0n) controller.refresh(at, nwid, identity, metadata);
  else if (controller.isOurs(nwid)) controller.handleRequest(at, message, nwid, metadata);
  const result = c.object('result');
  if (result.has('reason')) {
    // The reference's look-up throws and nobody is answered; ours says what a refusal is [3 section 12.2].
    assert.equal(result.text('reason'), 'internal exception: no reply');
    result.note('type');
    c.note('memberAfter');
    assert.equal(ERROR_NAMES[parseErrorHead(port.sent[0]!.payload)!.code], 'ACCESS_DENIED');
    return;
  }
  checkResult(result, port.sent, nwid);
  const after = c.raw('memberAfter');
  const stored = controller.memberRecord(nwid, identity.address);
  assert.equal(
    stored === undefined ? null : emitJson(stored),
    after === null ? null : emitJson(parseJson(JSON.stringify(after)) as JsonValue),
    'member record',
  );
}

function checkResult(r: Case, sent: readonly Sent[], nwid: bigint): void {
  r.note('legacyRequested');
  if (r.text('type') === 'none') {
    r.note('networkId', 'requestPacketId', 'destination');
    assert.equal(sent.length, 0, 'no answer');
    return;
  }
  const packetId = r.u64('requestPacketId');
  assert.equal(networkIdText(nwid), r.text('networkId'));
  if (packetId === 0n && r.text('type') === 'error') {
    // Internal refreshes that fail are silent [3 section 12.2].
    r.note('destination', 'error');
    assert.equal(sent.length, 0);
    return;
  }
  assert.ok(sent.length > 0, 'there is an answer');
  assert.equal(addressText(sent[0]!.dest), r.text('destination'));
  if (r.text('type') === 'error') {
    const e = parseErrorHead(sent[0]!.payload)!;
    assert.equal(ERROR_NAMES[e.code], r.text('error'));
    assert.equal(e.inRePacketId, packetId);
    const data = r.has('data') ? r.text('data') : '';
    if (data !== '') assert.equal(toHex(e.body.subarray(10)), data);
    return;
  }
  const parts = sent.map(
    (s) => parseConfigChunk(s.verb === VERB.OK ? parseOkHead(s.payload)!.body : s.payload)!,
  );
  const text = parts.map((p) => toHex(p.data)).join('');
  assert.equal(text, r.text('dictionary'));
  sameConfig(parseNetworkConfig(fromHex(text))!, r.raw('parsed') as JsonObject);
  assert.ok(fromHex(text).length === parts[0]!.signed!.totalLen);
}

export const controllerFamilies: readonly Family[] = [
  {
    file: 'vl2-controller',
    arrays: { cases: controllerCase },
    headers: ['networkId', 'identities', 'networkDefaults', 'memberDefaults'],
  },
];
