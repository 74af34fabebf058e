/** What a hostile datagram or known peer must not achieve in VL1. */
import test from 'ava';
import type { NodeOutput } from '#src/node/outputs.js';
import {
  EVICTION_SAMPLE,
  MAX_CONFIRMATIONS,
  MAX_PEERS,
  MAX_RELAYED_LEN,
  MAX_SURFACES,
  RECALLS_FOR_OTHERS_PER_SEC,
  WHOIS_FOR_OTHERS_PER_SEC,
} from '#src/vl1/constants.js';
import { Peer } from '#src/vl1/peer.js';
import { Surface } from '#src/vl1/surface.js';
import { writeAddress } from '#src/wire/address.js';
import { writePushDirectPaths } from '#src/wire/hello.js';
import { inetAddress, type RemoteAddress, remoteAddress } from '#src/wire/inetaddress.js';
import { OFF_DEST, OFF_SOURCE, VERB } from '#src/wire/packet.js';
import { endpoint, payload, Target, transmits } from '../../sim/attack.js';
import { poolIdentity } from '../../sim/world.js';

const root = poolIdentity(0);
const peer = poolIdentity(2);

test('a pushed path of port 0 is not tried: no socket can send to it', (t) => {
  const target = new Target(1);
  target.meet(peer);
  const push = payload(
    (w) =>
      void writePushDirectPaths(w, [
        inetAddress(Uint8Array.of(10, 77, 0, 1), 0),
        inetAddress(Uint8Array.of(10, 77, 0, 2), 9993),
      ]),
  );
  const tried = transmits(target.send(peer, VERB.PUSH_DIRECT_PATHS, push)).map((o) => o.to.port);
  t.deepEqual(tried, [9993]);
});

test('a datagram from port 0 is not answered', (t) => {
  const target = new Target(1);
  target.meet(peer);
  const out = target.send(peer, VERB.ECHO, new Uint8Array(4), { from: endpoint(3, 0) });
  t.deepEqual(transmits(out), []);
  t.is(target.node.vl1.state.counters.get('portZero'), 1);
});

test('fragments longer than any packet are not kept', (t) => {
  const target = new Target(1);
  for (let i = 0; i < 20; i++) {
    const [, piece] = target.seal(peer, VERB.NOP, new Uint8Array(2_000));
    const long = new Uint8Array(60_000);
    long.set(piece!.subarray(0, 16));
    target.datagram(endpoint(3), long);
  }
  const { reassembly, counters } = target.node.vl1.state;
  t.is(counters.get('fragmentTooLong'), 20);
  t.is(reassembly.size, 0);
});

test('pieces that together exceed a packet give it up at once', (t) => {
  const target = new Target(1);
  const [, piece] = target.seal(peer, VERB.NOP, new Uint8Array(2_000));
  for (let number = 1; number <= 3; number++) {
    const long = new Uint8Array(4_000);
    long.set(piece!.subarray(0, 16));
    long[14] = (7 << 4) | number;
    target.datagram(endpoint(3), long);
  }
  t.is(target.node.vl1.state.counters.get('fragmentTooLong'), 1);
  t.is(target.node.vl1.state.reassembly.size, 0);
});

test('a root passes on nothing that exceeds an Ethernet frame', (t) => {
  const root = new Target(1, true);
  root.meet(peer);
  const stranger = endpoint(9);
  const relayed = (len: number, isFragment: boolean): number => {
    const bytes = new Uint8Array(len).fill(5);
    writeAddress(bytes, OFF_DEST, peer.address);
    bytes[13] = isFragment ? 0xff : 1;
    bytes[isFragment ? 15 : 18] = 0;
    return transmits(root.datagram(stranger, bytes)).length;
  };
  t.is(relayed(MAX_RELAYED_LEN, false), 1);
  t.is(relayed(MAX_RELAYED_LEN, true), 1);
  t.is(relayed(MAX_RELAYED_LEN + 1, false), 0);
  t.is(relayed(60_000, true), 0);
  t.is(root.node.vl1.state.counters.get('oversize'), 2);
});

test('a peer that comes from ever new endpoints is confirmed at a few of them', (t) => {
  const target = new Target(1);
  target.know(peer);
  let hellos = 0;
  for (let i = 0; i < 500; i++) {
    const from = remoteAddress(inetAddress(Uint8Array.of(10, 70, i >> 8, i & 255), 1000));
    hellos += target.opened(peer, target.send(peer, VERB.NOP, new Uint8Array(0), { from })).length;
  }
  t.is(hellos, MAX_CONFIRMATIONS);
  t.is(target.node.vl1.state.paths.size, MAX_CONFIRMATIONS);
  t.is(target.node.vl1.state.counters.get('confirmGated'), 500 - MAX_CONFIRMATIONS);
  for (let i = 0; i < 15; i++) target.wait(600);
  const from = endpoint(77);
  t.is(target.opened(peer, target.send(peer, VERB.NOP, new Uint8Array(0), { from })).length, 1);
});

test('a full table of peers makes room for a newcomer, and keeps upstreams', (t) => {
  const target = new Target(1);
  const { state } = target.node.vl1;
  const key = target.key(peer);
  target.wait(600);
  for (let i = 0; state.peers.size < MAX_PEERS; i++) {
    const p = new Peer({ ...peer, address: 1_000 + i }, key, target.now, true);
    p.lastReceiveAt = target.now + i;
    state.peers.set(p.address, p);
  }
  target.know(peer);
  t.not(state.peer(peer.address), undefined);
  t.is(state.peer(1_000), undefined, 'the one silent longest');
  t.not(state.peer(root.address), undefined);
  t.is(state.peers.size, MAX_PEERS);
});

test('a newcomer to a full table costs a look at a few peers, and who goes is remembered', (t) => {
  const target = new Target(1);
  const { state } = target.node.vl1;
  const key = target.key(peer);
  target.wait(600);
  let looks = 0;
  class Counted extends Peer {
    override get activeAt(): number {
      looks++;
      return super.activeAt;
    }
  }
  for (let i = 0; state.peers.size < MAX_PEERS; i++) {
    const p = new Counted({ ...peer, address: 1_000 + i }, key, target.now, true);
    p.lastReceiveAt = target.now + (i % 7);
    state.peers.set(p.address, p);
  }
  const newcomers = 40;
  for (let i = 0; i < newcomers; i++) state.addPeer({ ...peer, address: 2 ** 30 + i });
  t.is(state.peers.size, MAX_PEERS);
  t.is(state.counters.get('peersFull'), newcomers);
  t.true(looks <= newcomers * 2 * EVICTION_SAMPLE, `${looks}`);
  const gone = Array.from({ length: MAX_PEERS / 2 }, (_, i) => 1_000 + i).filter(
    (address) => state.peer(address) === undefined,
  );
  t.is(gone.length, newcomers);
  t.true(
    gone.every((address) => (address - 1_000) % 7 === 0),
    'each was silent longest in its turn',
  );
  target.send({ ...peer, address: gone[0]! }, VERB.NOP, new Uint8Array(0));
  t.is(state.peer(gone[0]!)?.packetsIn, 1, 'its next packet is read at once');
});

test('invented sources leave WHOIS requests for our own packets', (t) => {
  const target = new Target(1);
  target.meet(root, endpoint(0));
  target.wait(2_000);
  const asked = (out: NodeOutput[]): number =>
    target.opened(root, out).filter((p) => p.verb === VERB.WHOIS).length;
  let forOthers = 0;
  for (let i = 0; i < 400; i++) {
    const [bytes] = target.seal(peer, VERB.NOP, new Uint8Array(1));
    writeAddress(bytes!, OFF_SOURCE, 0x10_0000_0000 + i);
    forOthers += asked(target.datagram(endpoint(5), bytes!));
  }
  t.is(forOthers, WHOIS_FOR_OTHERS_PER_SEC);
  const own = target.input(() => {
    target.node.vl1.begin(0x20_0000_0001, VERB.ECHO);
    target.node.vl1.send(0x20_0000_0001, false);
  });
  t.is(asked(own), 1);
});

test('invented addresses of peers of an earlier run bring back a bounded number of them', (t) => {
  const target = new Target(1, true);
  const { vl1 } = target.node;
  const version = { protocol: 12, major: 1, minor: 14, revision: 1 };
  const first = 0x30_0000_0000;
  const count = RECALLS_FOR_OTHERS_PER_SEC + 100;
  const known = (address: number) => vl1.peer(address) !== undefined;
  const all = Array.from({ length: count }, (_, i) => first + i);
  for (const address of all)
    vl1.addCachedPeer({ identity: { ...peer, address }, version, endpoints: [endpoint(7)] });
  let hellos = 0;
  const [bytes] = target.seal(peer, VERB.NOP, new Uint8Array(1));
  all.forEach((address, i) => {
    const isRelayed = i % 2 === 0;
    writeAddress(bytes!, OFF_DEST, isRelayed ? address : target.self.address);
    writeAddress(bytes!, OFF_SOURCE, isRelayed ? 0x10_0000_0000 : address);
    hellos += transmits(target.datagram(endpoint(5), bytes!)).length;
  });
  t.is(all.filter(known).length, RECALLS_FOR_OTHERS_PER_SEC);
  t.is(hellos, RECALLS_FOR_OTHERS_PER_SEC);
  t.true(vl1.state.counters.get('recallGated') >= 100);
  const own = all.findLast((address) => !known(address))!;
  target.input(() => {
    vl1.begin(own, VERB.ECHO);
    vl1.send(own, false);
  });
  t.true(known(own), 'a packet of our own brings its peer back');
  const rest = all.findLast((address) => !known(address))!;
  target.now += 1_000;
  writeAddress(bytes!, OFF_DEST, rest);
  target.datagram(endpoint(5), bytes!);
  t.true(known(rest), 'the next second has its own number');
});

test('what an upstream says of our address is not displaced by other peers', (t) => {
  const surface = new Surface();
  const mine = inetAddress(Uint8Array.of(99, 1, 1, 1), 9993);
  const at = (n: number): RemoteAddress =>
    remoteAddress(inetAddress(Uint8Array.of(98, 1, n >> 8, n & 255), 1));
  surface.report(0, 1, 1, at(0), mine, true);
  for (let i = 1; i < 1_000; i++) {
    const bogus = inetAddress(Uint8Array.of(97, 1, i >> 8, i & 255), 9);
    surface.report(i, 2, 1, at(i), bogus, false);
  }
  t.is(surface.addresses().length, MAX_SURFACES);
  t.deepEqual(surface.addresses()[0]?.ip, mine.ip);
});

test('a HELLO stays one datagram, however many moons are wanted', (t) => {
  const target = new Target(1);
  for (let i = 1n; i < 700n; i++) target.node.vl1.state.topology.want(i, 5);
  const out = transmits(target.wait(600));
  t.true(out.length > 0);
  t.true(out.every((o) => o.bytes.length <= 1_472));
});

test('a peer that fell silent is known again at its next packet', (t) => {
  const target = new Target(1);
  target.meet(peer);
  for (let i = 0; i < 1_100; i++) target.wait(500);
  t.is(target.node.vl1.peer(peer.address), undefined);
  const answers = target.opened(peer, target.send(peer, VERB.ECHO, new Uint8Array(3)));
  t.true(answers.some((p) => p.verb === VERB.OK));
});
