import test from 'ava';
import { RecordTypeError } from '#src/controller/records.js';
import { normalizeRules, RuleTypeError } from '#src/controller/rules-json.js';
import { emitJson, isRecord, type JsonRecord, JsonSyntaxError, parseJson } from '#src/lib/json.js';
import { MAX_CONFIRMATIONS, MAX_SURFACES, REASSEMBLY_SLOTS } from '#src/vl1/constants.js';
import { networkIdText, parseMac } from '#src/wire/address.js';
import { Dictionary, DictionaryBuilder } from '#src/wire/dictionary.js';
import { parseIdentityText } from '#src/wire/identity.js';
import { ipText, parseInetAddress, parseIp } from '#src/wire/inetaddress.js';
import { SOFTWARE_VERSION, VERB } from '#src/wire/packet.js';
import { emitPeerRecord } from '#src/wire/peer-record.js';
import { writeConfigRequest } from '#src/wire/vl2-messages.js';
import { Attack, member } from '../fuzz/attack.js';
import { CODECS, dump } from '../helpers/codecs.js';
import { LuckyDice } from '../helpers/dice.js';
import { randomJson, randomRecord } from '../helpers/json.js';
import { mutate } from '../helpers/mutate.js';
import { hexes, samples } from '../helpers/recorded.js';
import { endpoint, networkOf, payload, Target } from '../sim/attack.js';

const SEED = Number(process.env['HOSTILE_SEED'] ?? 20_261_125);
const RUNS = Number(process.env['HOSTILE_RUNS'] ?? 1);

test('parsers neither throw nor read beyond their bytes, and what they read is stable', (t) => {
  t.log(`HOSTILE_SEED=${SEED}`);
  t.true(samples.length > 500 && hexes.length > 200, 'the recorded payloads are there');
  const d = new LuckyDice(SEED, 'parsers');
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
  const d = new LuckyDice(SEED, 'texts');
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
  const d = new LuckyDice(SEED, 'dictionaries');
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

for (const isRoot of [false, true]) {
  test(`authentic packets with hostile content leave a ${isRoot ? 'root' : 'leaf'} whole`, (t) => {
    const attack = new Attack({ seed: SEED, dice: new LuckyDice(SEED, `node ${isRoot}`), isRoot });
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

test('JSON texts are read or refused by name, and written texts read back', (t) => {
  const d = new LuckyDice(SEED, 'json');
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
  const d = new LuckyDice(SEED, 'post');
  const target = new Target(SEED);
  const { controller } = target;
  const nwid = networkOf(target.self);
  const id = networkIdText(nwid);
  target.meet(member);
  const run = (act: (at: ReturnType<Target['moment']>) => unknown): void => {
    target.input((at) => target.node.run(at, () => act(at)));
  };
  run((at) => controller.postNetwork(at, nwid, { private: false }));
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
      if (d.chance(0.5)) run((at) => controller.postNetwork(at, nwid, request as JsonRecord));
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
