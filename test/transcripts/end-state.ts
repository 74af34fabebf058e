/**
 * Recipe 8: a whole node of ours takes the place of a recorded one. It is fed every datagram that
 * the recorded node received, at the recorded times; what it holds in the end is compared.
 *
 * Requests of our node have other packet ids than the recorded ones, so the recorded OKs answer
 * packets that we never sent: their ids are registered as expected, as a node that had sent the
 * recorded packets would have them.
 */
import assert from 'node:assert/strict';
import type { Entropy, Jitter } from '#src/crypto/api.js';
import { fromHex } from '#src/lib/hex.js';
import type { Moment } from '#src/lib/time.js';
import { Node } from '#src/node/node.js';
import { networkIdText, parseAddress, parseNetworkId } from '#src/wire/address.js';
import { parseIdentity, validateIdentity } from '#src/wire/identity.js';
import { inetAddressText } from '#src/wire/inetaddress.js';
import { parseNetworkConfig } from '#src/wire/netconf.js';
import { parseWorld } from '#src/wire/world.js';
import { configFields } from './fields.js';
import {
  core,
  endpoint,
  type Fields,
  primitives,
  type RecordNode,
  type Transcript,
} from './record.js';

/** Deterministic, and never used for anything secret here. */
class Seeded implements Entropy, Jitter {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  next(): number {
    // Mulberry32: enough spread for a test, and the same in every run.
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let x = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  }

  fill(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) bytes[i] = Math.floor(this.next() * 256);
  }
}

class Replay {
  readonly node: Node;
  readonly frames: Fields[] = [];
  readonly #t: Transcript;
  readonly #me: RecordNode;
  #at: Moment;

  constructor(t: Transcript, me: RecordNode) {
    this.#t = t;
    this.#me = me;
    const random = new Seeded(1);
    this.#at = this.#moment(-1);
    this.node = new Node({
      identity: me.identity,
      core,
      primitives,
      entropy: random,
      jitter: random,
      protocol: 12,
      planet: parseWorld(fromHex(t.raw['planet']['binary'] ?? t.raw['planet']))!.world,
      platform: 'linux/x86_64',
      strict: true,
      poison: true,
    });
    this.node.handleSockets(
      this.#at,
      [
        { id: 1, family: 4 },
        { id: 2, family: 6 },
      ],
      [],
    );
    // The record may begin in the middle of an acquaintance: everybody is known beforehand.
    for (const other of t.nodes) {
      if (other !== me) this.node.vl1.state.addPeer(other.identity);
    }
    this.#drain();
  }

  #moment(t_ms: number): Moment {
    return { mono: 1_000_000 + t_ms, wall: Math.round(this.#t.raw['startUnixMs'] + t_ms) };
  }

  #drain(): void {
    for (let o = this.node.poll(); o !== undefined; o = this.node.poll()) {
      if (o.kind === 'validate') {
        const ok = validateIdentity(primitives, parseIdentity(o.identity, 0)!.identity);
        const id = o.id;
        // The answer is an input of its own, after this drain.
        this.#answers.push(() => this.node.handleValidation(this.#at, id, ok));
      } else if (o.kind === 'frame') {
        this.frames.push({ etherType: o.etherType, bytes: o.bytes.slice() });
      }
    }
    for (const answer of this.#answers.splice(0)) {
      answer();
      this.#drain();
    }
  }

  readonly #answers: (() => void)[] = [];

  join(nwid: bigint): void {
    this.node.join(this.#at, nwid);
    this.#drain();
  }

  /** Of a fragmented packet the record tells the verb once. */
  #expectReplyTo({ packetId, dest, verb }: Fields): void {
    if (packetId === undefined || verb === undefined) return;
    const { expected } = this.node.vl1.state;
    expected.add(this.#at.mono, BigInt(`0x${packetId}`), parseAddress(dest)!, verb);
  }

  /** Feeds the record. */
  run(): void {
    for (const p of this.#t.packets) {
      this.#at = this.#moment(p.t_ms);
      this.node.handleTimeout(this.#at);
      this.#drain();
      if (p.fromNode === this.#me.name) this.#expectReplyTo(p.decoded);
      if (p.toNode !== this.#me.name) continue;
      const from = endpoint(p.from);
      this.node.handleDatagram(this.#at, from.family === 4 ? 1 : 2, from, fromHex(p.udp));
      this.#drain();
    }
  }
}

/** Configurations that the record says were completed by `me`, newest last. */
function configsOf(t: Transcript, me: RecordNode): Fields[] {
  return t.packets
    .filter((p) => p.toNode === me.name && p.decoded['dest'] === me.address)
    .map((p) => p.decoded['fields']?.['assembled'])
    .filter((a) => a !== undefined && a['config']['issuedTo'] === me.address);
}

/** Networks that the recorded node joined, seen from its requests. */
function joinedBy(t: Transcript, me: RecordNode): Set<string> {
  const out = new Set<string>();
  for (const p of t.packets) {
    const d = p.decoded;
    if (
      p.fromNode === me.name &&
      d['source'] === me.address &&
      d['verbName'] === 'NETWORK_CONFIG_REQUEST'
    ) {
      out.add(d['fields']['networkId']);
    }
  }
  for (const c of configsOf(t, me)) out.add(c['config']['networkId']);
  return out;
}

export function checkEndState(
  t: Transcript,
  me: RecordNode,
  check: (what: string, run: () => void) => void,
): void {
  check(`end state of ${me.name}`, () => {
    const replay = new Replay(t, me);
    for (const nwid of joinedBy(t, me)) replay.join(parseNetworkId(nwid)!);
    replay.run();
    const counters = replay.node.vl1.state.counters;
    assert.equal(counters.get('badMac'), 0, 'every packet for us authenticates');
    assert.equal(
      counters.get('malformed') + counters.get('helloMalformed') + counters.get('badLz4'),
      0,
    );
    checkNetworks(t, me, replay);
    checkPeers(t, me, replay);
  });
}

/** Status after the controller's last word: a configuration, or ERROR 7. */
function lastWord(t: Transcript, me: RecordNode, nwid: string): string {
  let status = 'REQUESTING_CONFIGURATION';
  for (const p of t.packets) {
    if (p.toNode !== me.name || p.decoded['dest'] !== me.address) continue;
    const f = p.decoded['fields'];
    if (f?.['assembled']?.['config']['networkId'] === nwid) status = 'OK';
    if (p.decoded['verbName'] === 'ERROR' && f['errorCode'] === 7 && f['networkId'] === nwid) {
      status = 'ACCESS_DENIED';
    }
  }
  return status;
}

function checkNetworks(t: Transcript, me: RecordNode, replay: Replay): void {
  const ids = new Set(configsOf(t, me).map((c) => c['config']['networkId'] as string));
  for (const id of ids) {
    const net = replay.node.vl2.network(parseNetworkId(id)!);
    const config = net?.config;
    assert.ok(config !== undefined, `network ${id} has a configuration`);
    // Pushed and asked-for configurations may arrive in either order: the last arrival is in force.
    const last = configsOf(t, me)
      .filter((c) => c['config']['networkId'] === id)
      .at(-1)!;
    assert.deepEqual(
      configFields(config),
      configFields(parseNetworkConfig(fromHex(last['dictionaryText']))!),
      networkIdText(net!.nwid),
    );
    assert.equal(net!.status, lastWord(t, me, id));
  }
}

/** Every node that answered us directly has a path at the endpoint it answered from. */
function checkPeers(t: Transcript, me: RecordNode, replay: Replay): void {
  for (const p of t.packets) {
    const d = p.decoded;
    if (
      p.toNode !== me.name ||
      d['dest'] !== me.address ||
      d['verbName'] !== 'OK' ||
      d['hops'] !== 0
    )
      continue;
    const peer = replay.node.vl1.peer(t.byAddress(d['source'])!.identity.address);
    assert.ok(peer !== undefined, `${d['source']} is known`);
    const endpoints = peer.slots.map((s) => inetAddressText(s.path.remote));
    assert.ok(
      endpoints.includes(inetAddressText(endpoint(p.from))),
      `a path of ${d['source']} at ${p.from}, not only ${endpoints}`,
    );
  }
}
