/** Caps of VL1 at their edges that no other file is about. */
import test from 'ava';
import type { NodeOutput } from '#src/node/outputs.js';
import { MAX_PEERS, MAX_PUSHED_ADDRESSES, WHOIS_PER_SEC } from '#src/vl1/constants.js';
import { parsePushDirectPaths } from '#src/wire/hello.js';
import { inetAddress } from '#src/wire/inetaddress.js';
import { VERB } from '#src/wire/packet.js';
import { endpoint, Target, transmits } from '../../sim/attack.js';
import { poolIdentity } from '../../sim/world.js';

const root = poolIdentity(0);
const peer = poolIdentity(2);
const version = { protocol: 12, major: 1, minor: 14, revision: 1 };
/** [2 section 9.2], ours: addresses of a record that are tried. */
const RECALLED_ENDPOINTS = 8;

const asked = (target: Target, out: readonly NodeOutput[]): number =>
  target.opened(root, out).filter((p) => p.verb === VERB.WHOIS).length;

test('WHOIS of a node: 200 a second for its own packets', (t) => {
  const target = new Target(1);
  target.meet(root, endpoint(0));
  const { vl1 } = target.node;
  const ask = (from: number, count: number): number =>
    asked(
      target,
      target.input((at) =>
        target.node.run(at, () => {
          for (let i = 0; i < count; i++) vl1.requestIdentity(0x60_0000_0000 + from + i);
        }),
      ),
    );
  target.now += 1_000;
  t.is(ask(0, WHOIS_PER_SEC), WHOIS_PER_SEC);
  t.is(ask(1_000, 1), 0);
  t.is(vl1.state.counters.get('whoisThrottled'), 1);
  target.now += 1_000;
  t.is(ask(2_000, 1), 1);
});

test('of the addresses of a record eight are tried', (t) => {
  const target = new Target(1);
  const { vl1 } = target.node;
  const endpoints = Array.from({ length: RECALLED_ENDPOINTS + 1 }, (_, i) => endpoint(i + 20));
  vl1.addCachedPeer({ identity: peer, version, endpoints });
  const out = target.input((at) => target.node.run(at, () => vl1.requestIdentity(peer.address)));
  t.deepEqual(
    transmits(out).map((o) => o.to.key),
    endpoints.slice(0, RECALLED_ENDPOINTS).map((e) => e.key),
  );
});

test('one record of an earlier run more than are kept drives out the oldest', (t) => {
  const target = new Target(1);
  target.meet(root, endpoint(0));
  const { vl1 } = target.node;
  const first = 0x60_0000_0000;
  for (let i = 0; i <= MAX_PEERS; i++)
    vl1.addCachedPeer({
      identity: { ...peer, address: first + i },
      version,
      endpoints: [endpoint(7)],
    });
  const ask = (address: number): number =>
    asked(
      target,
      target.input((at) => target.node.run(at, () => vl1.requestIdentity(address))),
    );
  t.is(ask(first), 1, 'no longer known');
  t.is(ask(first + 1), 0);
  t.not(vl1.peer(first + 1), undefined);
  t.is(ask(first + MAX_PEERS), 0);
});

test('a peer is told 48 addresses of ours, and no more', (t) => {
  for (const extra of [0, 1]) {
    const target = new Target(1);
    target.meet(peer);
    const own = Array.from({ length: MAX_PUSHED_ADDRESSES + extra }, (_, i) =>
      inetAddress(Uint8Array.of(10, 8, 0, i + 1), 9993),
    );
    target.input((at) => target.node.handleSockets(at, [{ id: 1, family: 4 }], own));
    const known = target.node.vl1.peer(peer.address)!;
    known.lastTrustAt = target.now;
    known.lastPathPushAt = Number.NEGATIVE_INFINITY;
    const told = target
      .opened(peer, target.send(peer, VERB.NOP, new Uint8Array(0)))
      .filter((p) => p.verb === VERB.PUSH_DIRECT_PATHS)
      .flatMap((p) => parsePushDirectPaths(p.payload) ?? []);
    t.is(told.length, MAX_PUSHED_ADDRESSES);
  }
});
