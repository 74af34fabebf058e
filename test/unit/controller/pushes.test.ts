/** What a controller sends to many members: spread, bounded, complete [3 section 12.4]. */
import test from 'ava';
import {
  MAX_MEMBERS_PER_NETWORK,
  MAX_PUSH_ROUNDS,
  MAX_SESSIONS_PER_NETWORK,
  PUSH_AGAIN_MS,
  PUSHES_PER_TURN,
} from '#src/controller/controller.js';
import {
  MAX_REPEATS,
  REVOCATIONS_PER_TURN,
  REVOKED_PER_TURN,
} from '#src/controller/revocations.js';
import { MAX_IN_PACKET, SPACING_MS } from '#src/controller/revoker.js';
import type { NodeOutput } from '#src/node/outputs.js';
import { addressText, networkIdText } from '#src/wire/address.js';
import type { Identity } from '#src/wire/identity.js';
import { parseConfigChunk } from '#src/wire/netconf.js';
import { ERROR_CODE, VERB } from '#src/wire/packet.js';
import { writeConfigRequest } from '#src/wire/vl2-messages.js';
import {
  cheapIdentity,
  errorOf,
  LoneController,
  revoked,
  type SentPacket,
} from '../../helpers/controller-port.js';
import { networkOf, payload, Target } from '../../sim/attack.js';
import { poolIdentity } from '../../sim/world.js';

/** Members that were authorised and have asked. */
function online(c: LoneController, count: number, settings = {}): Identity[] {
  const members = Array.from({ length: count }, (_, i) => cheapIdentity(i + 1));
  for (const m of members) {
    c.member(m, { authorized: true, ...settings });
    c.ask(m);
  }
  c.pass(2_000);
  c.take();
  return members;
}

const PUSHED = PUSHES_PER_TURN * 2 + 1;

test('a changed network is pushed to all online members, once each, over several turns', (t) => {
  const c = new LoneController();
  c.network();
  const members = online(c, PUSHED);
  c.network({ name: 'changed' });
  t.is(c.take().length, PUSHES_PER_TURN, 'the first turn');
  t.true(c.controller.deadline() <= c.mono, 'more waits');
  c.controller.handleTimeout(c.at());
  t.is(c.take().length, PUSHES_PER_TURN, 'the second');
  c.controller.handleTimeout(c.at());
  const rest = c.take();
  t.is(rest.length, PUSHED - 2 * PUSHES_PER_TURN);
  t.true(rest.every((p) => p.verb === VERB.NETWORK_CONFIG));
  t.is(rest[0]!.dest, members[PUSHED - 1]!.address);
  t.true(c.controller.deadline() > c.mono);
});

test('two changes while a push waits make one push', (t) => {
  const c = new LoneController();
  c.network();
  online(c, PUSHED);
  c.network({ name: 'first' });
  c.take();
  c.network({ name: 'second' });
  c.pass(1);
  const counts = new Map<number, number>();
  for (const p of c.take()) counts.set(p.dest, (counts.get(p.dest) ?? 0) + 1);
  t.is(counts.size, PUSHED);
  t.deepEqual([...new Set(counts.values())], [1]);
});

test('a push that is not acknowledged is made again, twice; an acknowledged one is not', (t) => {
  const c = new LoneController();
  c.network();
  const [a, b] = online(c, 2);
  c.network({ name: 'changed' });
  const first = c.take();
  t.deepEqual(
    first.map((p) => p.dest),
    [a!.address, b!.address],
  );
  const idOf = (p: SentPacket): bigint => parseConfigChunk(p.payload)!.signed!.updateId;
  c.controller.handleAcknowledgement(c.nwid, a!.address, idOf(first[0]!));
  c.controller.handleAcknowledgement(c.nwid, b!.address, idOf(first[1]!) + 1n);
  c.pass(20_000);
  const again = c.take();
  t.deepEqual(
    again.map((p) => [p.dest, p.at - first[1]!.at]),
    [
      [b!.address, PUSH_AGAIN_MS],
      [b!.address, 2 * PUSH_AGAIN_MS],
    ],
  );
  t.is(MAX_PUSH_ROUNDS, 2);
  t.not(idOf(again[0]!), idOf(first[1]!), 'built anew');
});

test('the acknowledgement of a member on the wire ends the pushing', (t) => {
  const target = new Target(1);
  const peer = poolIdentity(2);
  target.meet(peer);
  const nwid = networkOf(target.self);
  const change = (name: string) =>
    target.input((at) => target.controller.postNetwork(at, nwid, { private: false, name }));
  const pushes = (out: readonly NodeOutput[]) =>
    target.opened(peer, out).filter((p) => p.verb === VERB.NETWORK_CONFIG);
  change('first');
  const request = payload((w) =>
    writeConfigRequest(w, {
      nwid,
      metadata: new TextEncoder().encode('v=7\nrevr=1'),
      revision: 0n,
      timestamp: 0n,
    }),
  );
  target.send(peer, VERB.NETWORK_CONFIG_REQUEST, request);
  const [push, ...more] = pushes(change('second'));
  t.is(more.length, 0);
  const { updateId } = parseConfigChunk(push!.payload)!.signed!;
  const ack = payload((w) => void w.u8(VERB.ECHO).u64(push!.id).u64(nwid).u64(updateId));
  target.send(peer, VERB.OK, ack);
  let again = 0;
  for (let i = 0; i < 10; i++) again += pushes(target.wait(1_000)).length;
  t.is(again, 0);
});

test('a request that is answered closes what a push left open', (t) => {
  const c = new LoneController();
  c.network();
  const [a] = online(c, 1);
  c.network({ name: 'changed' });
  c.take();
  c.pass(1_100);
  c.ask(a!);
  t.is(c.take().length, 1);
  c.pass(20_000);
  t.deepEqual(c.take(), []);
});

test('members that have not asked for 120 s are not pushed to', (t) => {
  const c = new LoneController();
  c.network();
  online(c, 3);
  c.pass(120_000);
  c.network({ name: 'changed' });
  c.pass(1_000);
  t.deepEqual(c.take(), []);
});

test('a deauthorised member is told first, then all others, in bounded turns', (t) => {
  const c = new LoneController();
  c.network();
  const members = online(c, REVOCATIONS_PER_TURN + 1);
  const gone = members[5]!;
  c.member(gone, { authorized: false });
  const first = c.take();
  t.is(first.length, REVOCATIONS_PER_TURN);
  t.is(first[0]!.dest, gone.address);
  c.pass(1);
  const all = [...first, ...c.take()];
  t.deepEqual(
    all.map((p) => p.dest).sort((x, y) => x - y),
    members.map((m) => m.address),
  );
  t.true(all.every((p) => revoked(p).join() === String(gone.address)));
});

test('what is revoked within a second reaches a recipient in packets that its gate lets through', (t) => {
  const c = new LoneController();
  c.network();
  const members = online(c, MAX_IN_PACKET + 5);
  const [watcher, ...others] = members;
  const gone = others.slice(0, MAX_IN_PACKET + 2);
  for (const m of gone) c.member(m, { authorized: false });
  c.pass(1.5 * SPACING_MS);
  const soon = c.take().filter((p) => p.dest === watcher!.address);
  t.deepEqual(
    soon.map((p) => revoked(p).length),
    [1, MAX_IN_PACKET],
    'the first at once, then a full packet',
  );
  c.pass(30_000);
  const got = [...soon, ...c.take().filter((p) => p.dest === watcher!.address)];
  for (let i = 1; i < got.length; i++) t.true(got[i]!.at - got[i - 1]!.at >= SPACING_MS);
  const told = got.flatMap(revoked);
  for (const m of gone)
    t.is(told.filter((a) => a === m.address).length, 3, 'nobody acknowledges: told three times');
});

test('a revocation is told again after 2 and 8 s, unless the member was authorised meanwhile', (t) => {
  const c = new LoneController();
  c.network();
  const [a, b] = online(c, 2);
  const times = (): number[] =>
    c
      .take()
      .filter((p) => revoked(p).length > 0 && p.dest === b!.address)
      .map((p) => p.at);
  c.member(a!, { authorized: false });
  const first = times();
  t.is(first.length, 1);
  c.pass(20_000);
  t.deepEqual(
    times().map((at) => Math.round((at - first[0]!) / 1_000)),
    [2, 10],
  );
  c.member(a!, { authorized: true });
  c.member(a!, { authorized: false });
  c.pass(100);
  t.is(times().length, 1);
  c.member(a!, { authorized: true });
  c.pass(20_000);
  t.deepEqual(times(), []);
});

test('at most MAX_REPEATS revocations wait to be told again', (t) => {
  const c = new LoneController();
  c.network();
  const [a] = online(c, 2);
  for (let i = 0; i <= MAX_REPEATS; i++) {
    c.member(a!, { authorized: true });
    c.member(a!, { authorized: false });
  }
  t.is(c.controller.counters.get('controllerRepeatDropped'), 1);
});

test('revocations are told again over several turns', (t) => {
  const c = new LoneController();
  c.network();
  const members = online(c, REVOKED_PER_TURN + 2);
  for (const m of members.slice(1)) c.member(m, { authorized: false });
  c.take();
  const witness = members[0]!.address;
  const told = () =>
    c
      .take()
      .filter((p) => p.dest === witness)
      .reduce((n, p) => n + revoked(p).length, 0);
  for (let at = 0; at < 1_900; at += 100) c.pass(100);
  c.take();
  c.mono += 1_000;
  c.controller.handleTimeout(c.at());
  t.is(told(), REVOKED_PER_TURN);
  t.true(c.controller.deadline() <= c.mono, 'one more waits');
  c.pass(2 * SPACING_MS);
  t.is(told(), 1);
});

test('a deleted network costs one packet per online member, its own revocation first', (t) => {
  for (const count of [MAX_IN_PACKET, MAX_IN_PACKET + 1]) {
    const c = new LoneController();
    c.network();
    const members = online(c, count);
    c.controller.deleteNetwork(c.at(), c.nwid);
    c.pass(1_000);
    const sent = c.take();
    t.is(sent.length, count);
    t.true(sent.every((p) => revoked(p)[0] === p.dest));
    t.true(sent.every((p) => new Set(revoked(p)).size === MAX_IN_PACKET));
    t.deepEqual(new Set(sent.map((p) => p.dest)), new Set(members.map((m) => m.address)));
    t.is(c.files.size, 0);
    t.is(c.controller.deadline(), Number.POSITIVE_INFINITY);
  }
});

test('the end of a sign-on revokes once, and again after a new one ended', (t) => {
  const c = new LoneController();
  const id = networkIdText(c.nwid);
  t.true(c.controller.load('network', JSON.stringify({ id, nwid: id, ssoEnabled: true })));
  const [a, b] = [cheapIdentity(1), cheapIdentity(2)];
  const until = (ms: number) => ({ authenticationExpiryTime: c.at().wall + ms });
  c.member(a, { authorized: true, ...until(10_000) });
  c.member(b, { authorized: true, ...until(1_000_000) });
  c.ask(a);
  c.ask(b);
  c.pass(9_000);
  t.deepEqual(c.take().flatMap(revoked), []);
  c.pass(1_500);
  const told = c.take().filter((p) => revoked(p).length > 0);
  t.deepEqual(
    told.map((p) => [p.dest, revoked(p)[0]]),
    [
      [a.address, a.address],
      [b.address, a.address],
    ],
  );
  c.ask(a);
  t.is(errorOf(c.take()[0]), ERROR_CODE.NETWORK_AUTHENTICATION_REQUIRED);
  c.pass(5_000);
  t.deepEqual(c.take().flatMap(revoked), [], 'not again');
  c.member(a, until(2_000));
  c.pass(3_000);
  t.is(c.take().filter((p) => revoked(p)[0] === a.address).length, 2);
});

test('sign-ons that end together are revoked over several turns', (t) => {
  const c = new LoneController();
  const id = networkIdText(c.nwid);
  t.true(c.controller.load('network', JSON.stringify({ id, nwid: id, ssoEnabled: true })));
  const until = { authenticationExpiryTime: c.at().wall + 10_000 };
  const [witness] = online(c, REVOKED_PER_TURN + 2, until);
  const told = () =>
    c
      .take()
      .filter((p) => p.dest === witness!.address)
      .reduce((n, p) => n + revoked(p).length, 0);
  c.mono += 20_000;
  c.controller.handleTimeout(c.at());
  t.is(told(), REVOKED_PER_TURN);
  t.true(c.controller.deadline() <= c.mono, 'two more wait');
  c.pass(SPACING_MS);
  t.is(told(), 2);
});

test('an address that two members store stays in use until both let it go', (t) => {
  const c = new LoneController();
  c.network({
    v4AssignMode: { zt: true },
    routes: [{ target: '10.1.0.0/24' }],
    ipAssignmentPools: [{ ipRangeStart: '10.1.0.7', ipRangeEnd: '10.1.0.7' }],
  });
  const [a, b, d] = [cheapIdentity(1), cheapIdentity(2), cheapIdentity(3)];
  for (const m of [a, b]) c.member(m, { authorized: true, ipAssignments: ['10.1.0.7'] });
  c.member(d, { authorized: true });
  const assigned = (): unknown => c.controller.memberRecord(c.nwid, d.address)?.['ipAssignments'];
  const ask = (): unknown => {
    c.pass(2_000);
    c.ask(d);
    return assigned();
  };
  t.deepEqual(ask(), []);
  c.controller.deleteMember(c.at(), c.nwid, a.address);
  t.deepEqual(ask(), []);
  c.member(b, { ipAssignments: [] });
  t.deepEqual(ask(), ['10.1.0.7']);
});

test('one member more than a network may have is refused, and so is one session more', (t) => {
  const c = new LoneController();
  c.network({ private: false });
  const nwid = networkIdText(c.nwid);
  const load = (n: number): boolean => {
    const id = addressText(cheapIdentity(n).address);
    return c.controller.load('member', `{"id":"${id}","nwid":"${nwid}"}`);
  };
  for (let n = 1; n < MAX_MEMBERS_PER_NETWORK; n++) if (!load(n)) t.fail();
  c.ask(cheapIdentity(MAX_MEMBERS_PER_NETWORK));
  t.is(c.take()[0]?.verb, VERB.OK, 'the last one');
  c.ask(cheapIdentity(MAX_MEMBERS_PER_NETWORK + 1));
  t.is(errorOf(c.take()[0]), ERROR_CODE.NETWORK_ACCESS_DENIED);
  t.is(c.controller.counters.get('controllerMembersFull'), 1);
  for (let n = 3; n <= MAX_SESSIONS_PER_NETWORK; n++)
    c.ask(cheapIdentity(MAX_MEMBERS_PER_NETWORK + n));
  t.is(c.controller.counters.get('controllerSessionsFull'), 0);
  c.take();
  c.ask(cheapIdentity(1));
  t.is(c.controller.counters.get('controllerSessionsFull'), 1);
  t.deepEqual(c.take(), []);
});
