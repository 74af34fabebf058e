/**
 * Memory stays flat under floods: what the heap holds after a collection does not grow between the
 * middle of a flood and its end, and every table stays below its cap.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import { MAX_DEFERRED, MAX_VALIDATIONS, REASSEMBLY_SLOTS } from '#src/vl1/constants.js';
import { writeAddress } from '#src/wire/address.js';
import { writeHello } from '#src/wire/hello.js';
import { emitConfigChunks, emitNetworkConfig } from '#src/wire/netconf.js';
import { OFF_DEST, SOFTWARE_VERSION, VERB } from '#src/wire/packet.js';
import { writeLike } from '#src/wire/vl2-messages.js';
import { endpoint, networkOf, payload, Target } from '../../sim/attack.js';
import { poolIdentity, primitives } from '../../sim/identities.js';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const root = poolIdentity(0);
const peer = poolIdentity(2);
const controller = poolIdentity(3);
/** Ours: what the engine itself may need between two collections. */
const NOISE_LEN = 3 * 1024 * 1024;

function heap(): number {
  collect();
  collect();
  const m = process.memoryUsage();
  return m.heapUsed + m.external;
}

/** Bytes that the second half of `count` inputs left behind. */
function growth(count: number, input: (i: number) => void): number {
  for (let i = 0; i < count; i++) input(i);
  const before = heap();
  for (let i = count; i < 2 * count; i++) input(i);
  return heap() - before;
}

test('random bytes leave nothing', (t) => {
  const target = new Target(1);
  const left = growth(20_000, (i) => {
    const b = target.luck.bytes(target.luck.below(200));
    if (b.length > 20) writeAddress(b, OFF_DEST, target.self.address);
    target.datagram(endpoint(i), b);
    if (i % 50 === 0) target.wait(600);
  });
  t.true(left < NOISE_LEN, `${left} bytes`);
  t.true(target.node.vl1.state.reassembly.size <= REASSEMBLY_SLOTS);
  t.true(target.node.vl1.state.paths.size < 10);
});

test('fragments that never complete leave at most their slots', (t) => {
  const target = new Target(2);
  const left = growth(5_000, (i) => {
    const [, piece] = target.seal(peer, VERB.NOP, new Uint8Array(4_000));
    target.datagram(endpoint(i), piece!);
  });
  t.is(target.node.vl1.state.reassembly.size, REASSEMBLY_SLOTS);
  t.true(left < NOISE_LEN, `${left} bytes`);
  target.wait(6_000);
  t.is(target.node.vl1.state.reassembly.size, 0, 'and those go with time');
});

test('HELLOs of ever new identities wait for a check up to the cap', (t) => {
  const target = new Target(3, true);
  let asked = 0;
  const left = growth(400, (i) => {
    const from = poolIdentity(10 + i);
    let maskFrom = 0;
    const body = payload((w) => {
      maskFrom = writeHello(
        w,
        {
          version: { protocol: 12, ...SOFTWARE_VERSION },
          timestamp: 1n,
          identity: from,
          sentTo: endpoint(1),
          planetId: 77n,
          planetTimestamp: 1n,
        },
        [],
      );
    });
    const out = target.send(from, VERB.HELLO, body, {
      suite: 0,
      maskFrom,
      from: endpoint(i * 256),
    });
    asked += out.filter((o) => o.kind === 'validate').length;
    if (i % 20 === 0) target.wait(2_100);
  });
  t.true(asked <= MAX_VALIDATIONS, `${asked} checks without an answer`);
  t.true(target.node.vl1.state.peers.size < 5, 'nobody was added unchecked');
  t.true(left < NOISE_LEN, `${left} bytes`);
});

test('a WHOIS storm of a known peer is answered within its gate and keeps nothing', (t) => {
  const target = new Target(4, true);
  target.meet(peer);
  const left = growth(2_000, (i) => {
    const body = payload((w) => {
      for (let k = 0; k < 200; k++) w.u40(0x10_0000_0000 + i * 200 + k);
    });
    target.send(peer, VERB.WHOIS, body);
    if (i % 100 === 0) target.wait(1_000);
  });
  t.true(left < NOISE_LEN, `${left} bytes`);
});

test('packets of unknown senders wait up to the cap', (t) => {
  const target = new Target(5);
  target.meet(root, endpoint(0));
  const left = growth(3_000, (i) => {
    const [bytes] = target.seal(peer, VERB.NOP, new Uint8Array(1_000));
    writeAddress(bytes!, 13, 0x10_0000_0000 + i);
    target.datagram(endpoint(5), bytes!);
  });
  const { counters } = target.node.vl1.state;
  t.is(counters.get('deferredFull'), 6_000 - MAX_DEFERRED);
  t.true(left < NOISE_LEN, `${left} bytes`);
});

test('multicast groups without end of one member stay below what one may have', (t) => {
  const target = new Target(6);
  target.meet(peer);
  target.meet(controller);
  const nwid = networkOf(controller);
  target.configure(controller, nwid, { type: 1, com: undefined });
  const left = growth(200, (i) => {
    const body = payload((w) => {
      for (let k = 0; k < 500; k++)
        writeLike(w, nwid, { mac: Uint8Array.of(1, 0, 94, i >> 8, i & 255, k & 255), adi: k });
    });
    target.send(peer, VERB.MULTICAST_LIKE, body);
  });
  const { multicast } = target.node.vl2.context;
  t.true(multicast.groupCount > 1_000 && multicast.groupCount <= 65_536, `${multicast.groupCount}`);
  t.true(multicast.listenerCount <= 65_536);
  t.true(left < NOISE_LEN, `${left} bytes`);
});

test('chunks of ever new configurations that never complete are forgotten', (t) => {
  const target = new Target(7);
  target.meet(controller);
  const nwid = networkOf(controller);
  target.configure(controller, nwid);
  const text = emitNetworkConfig({ ...target.config(controller, nwid), name: 'x'.repeat(120) });
  const long = new Uint8Array(60_000).fill(0x61);
  long.set(text);
  const sign = (b: Uint8Array): Uint8Array => primitives.sign(controller.privateKey!, b);
  const some = emitConfigChunks(nwid, long.subarray(0, 20_000), 1n, sign).length;
  t.true(some > 1);
  const left = growth(150, (i) => {
    const chunks = emitConfigChunks(nwid, long.subarray(0, 20_000), BigInt(1_000 + i), sign);
    for (const c of chunks.slice(1).reverse()) target.send(controller, VERB.NETWORK_CONFIG, c);
  });
  t.true(left < NOISE_LEN, `${left} bytes`);
});
