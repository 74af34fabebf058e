/**
 * Replays recorded conversations of real nodes, as every node whose secret is in the record.
 * Recipes 1 to 7 of the records' README for every packet, and for the records of joins and traffic
 * recipe 8: a whole node is fed the record and its end state compared field by field.
 */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fromHex, toHex } from '#src/lib/hex.js';
import { Writer } from '#src/lib/writer.js';
import { parseAddress } from '#src/wire/address.js';
import {
  FLAG_FRAGMENTED,
  FRAGMENT_HEAD_LEN,
  fragmentPlan,
  OFF_FLAGS,
  VERB,
  writeFragmentHead,
} from '#src/wire/packet.js';
import { readOptions } from '../helpers/args.js';
import { checkEndState } from './end-state.js';
import { checkFields } from './fields.js';
import {
  asSuite,
  core,
  openPacket,
  type Packet,
  Receiver,
  type RecordNode,
  Transcript,
} from './record.js';

class Count {
  passed = 0;
  readonly failures: string[] = [];

  check(what: string, run: () => void): void {
    try {
      run();
      this.passed++;
    } catch (e) {
      this.failures.push(`${what}: ${e instanceof Error ? e.message : String(e)}`);
    }
  }
}

/** Recipe 1: what each datagram to a node must yield, and nothing else. */
function receive(t: Transcript, me: RecordNode, count: Count): void {
  const receiver = new Receiver(t, me);
  for (const p of t.packets.filter((x) => x.toNode === me.name)) {
    const d = p.decoded;
    if (d['dest'] !== me.address && d.kind !== 'other') continue;
    count.check(`${t.file} #${p.n} received by ${me.name}`, () => {
      const got = receiver.feed(p);
      if (d['verb'] === undefined) {
        assert.equal(got, undefined, 'yields nothing');
        return;
      }
      assert.ok(got !== undefined, 'is accepted');
      assert.equal(got.verb, d['verb']);
      assert.equal(got.verbFlags, d['verbFlags']);
      assert.equal(got.source, parseAddress(d['source']));
      assert.equal(got.suite, d['cipher']);
      assert.equal(toHex(got.payload), d['plaintextPayload']);
      if (d['assembledFrom'] === undefined) {
        assert.equal(got.packetId, d['packetId']);
        assert.equal(got.hops, d['hops']);
      }
    });
  }
}

/** Recipe 2: the datagrams that a node made, bit for bit. */
function send(t: Transcript, me: RecordNode, count: Count): void {
  for (const p of t.packets) {
    const d = p.decoded;
    if (p.fromNode !== me.name || d['source'] !== me.address || d['verb'] === undefined) continue;
    count.check(`${t.file} #${p.n} as ${me.name} sent it`, () => {
      const to = t.byAddress(d['dest']);
      assert.ok(to !== undefined, 'the destination is known');
      const made = datagrams(t, me, to, p);
      const indices = (d['assembledFrom'] as number[] | undefined) ?? [p.n];
      assert.deepEqual(
        made.map(toHex),
        indices.map((n) => withoutHops(t.packets[n]!)),
      );
    });
  }
}

/** A datagram with its hop count set to zero. */
function withoutHops(p: Packet): string {
  const bytes = fromHex(p.udp);
  if (p.decoded.kind === 'fragment') bytes[15] = 0;
  else bytes[OFF_FLAGS] = bytes[OFF_FLAGS]! & 0xf8;
  return toHex(bytes);
}

function datagrams(t: Transcript, me: RecordNode, to: RecordNode, p: Packet): Uint8Array[] {
  const d = p.decoded;
  let body = fromHex(d['compressedPayload'] ?? d['plaintextPayload']);
  if (d['verb'] === VERB.HELLO && d['fields']['maskedFrom'] !== undefined) {
    body = Uint8Array.from([
      ...body.subarray(0, d['fields']['maskedFrom']),
      ...fromHex(d['maskedTail']),
    ]);
  }
  const w = Writer.of(28 + body.length);
  w.put(fromHex(d['iv'])).u40(to.identity.address).u40(me.identity.address).u8(0).zeros(8);
  w.u8(d['verb'] | (d['verbFlags'] << 5)).put(body);
  const packet = w.bytes;
  const plan = fragmentPlan(packet.length, 1432);
  if (plan.pieces > 0) packet[OFF_FLAGS] = FLAG_FRAGMENTED;
  core.seal(t.key(me, to), packet, asSuite(d['cipher']));
  const out = [packet.slice(0, plan.first)];
  const room = 1432 - FRAGMENT_HEAD_LEN;
  for (let i = 1, at = plan.first; i <= plan.pieces; i++, at += room) {
    const data = packet.subarray(at, Math.min(packet.length, at + room));
    const piece = new Uint8Array(FRAGMENT_HEAD_LEN + data.length);
    writeFragmentHead(piece, packet, i, plan.pieces + 1);
    piece.set(data, FRAGMENT_HEAD_LEN);
    out.push(piece);
  }
  return out;
}

/** Recipes 3 and 6: fields in both directions, signatures. */
function fields(t: Transcript, count: Count): void {
  for (const p of t.packets) {
    const d = p.decoded;
    if (d['fields'] === undefined) continue;
    count.check(`${t.file} #${p.n} fields of ${d['verbName']}`, () =>
      checkFields(t, d['verb'], fromHex(d['plaintextPayload']), d['fields']),
    );
  }
}

/** Recipe 4: fragments in other orders, twice, and with one missing. */
function fragments(t: Transcript, me: RecordNode, count: Count): void {
  for (const p of t.packets.filter(
    (x) => x.toNode === me.name && x.decoded['assembledFrom'] !== undefined,
  )) {
    if (t.packets[p.decoded['assembledFrom'][0]]!.decoded['dest'] !== me.address) continue;
    const parts = (p.decoded['assembledFrom'] as number[]).map((n) => t.packets[n]!);
    const orders = [
      parts,
      [...parts].reverse(),
      [...parts.slice(1), parts[0]!],
      parts.flatMap((x) => [x, x]),
    ];
    for (const [i, order] of orders.entries()) {
      count.check(`${t.file} #${p.n} fragments, order ${i}`, () => {
        const receiver = new Receiver(t, me);
        const got = order
          .map((x) => receiver.feed({ ...x, t_ms: 0 }))
          .filter((x) => x !== undefined);
        // Given twice in a row the second copy of the completing piece begins a new, incomplete packet.
        assert.equal(got.length, 1, 'completes exactly once');
        assert.equal(toHex(got[0]!.payload), p.decoded['plaintextPayload']);
      });
    }
    for (const [i] of parts.entries()) {
      count.check(`${t.file} #${p.n} fragments, without piece ${i}`, () => {
        const receiver = new Receiver(t, me);
        for (const x of parts.filter((_, k) => k !== i))
          assert.equal(receiver.feed({ ...x, t_ms: 0 }), undefined);
      });
    }
  }
}

/** Recipe 5: every flipped bit but the hop count is noticed. */
function tamper(t: Transcript, me: RecordNode, count: Count): void {
  for (const p of t.packets.filter(
    (x) => x.toNode === me.name && x.decoded['dest'] === me.address,
  )) {
    if (
      p.decoded.kind !== 'packet' ||
      p.decoded['fragmented'] === true ||
      p.decoded['verb'] === undefined
    )
      continue;
    count.check(`${t.file} #${p.n} tampered with`, () => {
      const bytes = fromHex(p.udp);
      // One bit of each byte; which one moves along with the position.
      for (let at = 0; at < bytes.length; at++) {
        const bit = at === OFF_FLAGS ? 3 + (p.n % 5) : (at + p.n) % 8;
        bytes[at] = bytes[at]! ^ (1 << bit);
        const got = openPacket(t, me, bytes);
        bytes[at] = bytes[at]! ^ (1 << bit);
        if (got !== undefined) assert.fail(`bit ${bit} of byte ${at} was not noticed`);
      }
      for (let hops = 0; hops < 8; hops++) {
        bytes[OFF_FLAGS] = (bytes[OFF_FLAGS]! & 0xf8) | hops;
        assert.equal(toHex(openPacket(t, me, bytes)!.payload), p.decoded['plaintextPayload']);
      }
    });
  }
}

/** Recipe 7: every OK and ERROR answers a packet of the record. */
function replies(t: Transcript, count: Count): void {
  const ids = new Set(t.packets.map((p) => p.decoded['packetId']).filter((x) => x !== undefined));
  for (const p of t.packets) {
    const id = p.decoded['fields']?.['inRePacketId'];
    if (id !== undefined)
      count.check(`${t.file} #${p.n} answers a packet`, () => assert.ok(ids.has(id)));
  }
}

const USAGE = `usage: node build/test/transcripts/main.js [--only NAME[,NAME...]]

Replays the recorded conversations of TRANSCRIPTS_DIR (default: this project's own).
`;

function main(): number {
  const args = readOptions('transcripts', USAGE, { only: { type: 'string' } });
  const only = args.only?.split(',');
  const dir =
    process.env['TRANSCRIPTS_DIR'] ??
    new URL('../../../test/vectors/transcripts', import.meta.url).pathname;
  const names = readdirSync(dir)
    .filter((n) => n.endsWith('.json'))
    .map((n) => n.slice(0, -5))
    .filter((n) => only === undefined || only.includes(n))
    .sort();
  if (names.length === 0) {
    console.error(`transcripts: no record in ${dir}`);
    return 1;
  }
  let passed = 0;
  let failed = 0;
  for (const name of names) {
    const count = new Count();
    count.check(`${name} loads`, () => {
      const t = new Transcript(join(dir, `${name}.json`), name);
      for (const me of t.nodes) {
        receive(t, me, count);
        send(t, me, count);
        fragments(t, me, count);
        tamper(t, me, count);
        checkEndState(t, me, (what, run) => count.check(`${name} ${what}`, run));
      }
      fields(t, count);
      replies(t, count);
    });
    console.log(`${name}: ${count.passed} passed, ${count.failures.length} failed`);
    for (const f of count.failures.slice(0, 6)) console.error(`  ${f.slice(0, 700)}`);
    passed += count.passed;
    failed += count.failures.length;
  }
  console.log(`transcripts: ${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

process.exitCode = main();
