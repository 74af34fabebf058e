/** What a hostile member, controller or known peer must not achieve in VL2. */
import test from 'ava';
import { MulticastTable } from '#src/vl2/multicast.js';
import { memberMac } from '#src/wire/address.js';
import { type Com, writeCom } from '#src/wire/com.js';
import { CREDENTIAL, type Revocation, revocationSignedBytes } from '#src/wire/credentials.js';
import type { Identity } from '#src/wire/identity.js';
import { inetAddress } from '#src/wire/inetaddress.js';
import { BROADCAST_MAC, type MulticastGroup } from '#src/wire/multicast-group.js';
import { MAX_MTU } from '#src/wire/netconf.js';
import { MAX_PAYLOAD_LEN, VERB } from '#src/wire/packet.js';
import { ACCEPT_ALL, RULE, type Rule } from '#src/wire/rules.js';
import { type Credentials, writeCredentials, writeGatherResult } from '#src/wire/vl2-messages.js';
import { endpoint, networkOf, payload, Target, transmits } from '../../sim/attack.js';
import { poolIdentity, primitives } from '../../sim/world.js';

const controller = poolIdentity(2);
const member = poolIdentity(3);
const nwid = networkOf(controller);

/** TEE or REDIRECT of the whole frame to a third node. */
function copyTo(type: number, address: number): Rule {
  const body = payload((w) => void w.u64(BigInt(address)).u32(0).u16(0));
  return { t: type, body };
}

for (const [name, type] of [
  ['TEE', RULE.ACTION_TEE],
  ['REDIRECT', RULE.ACTION_REDIRECT],
] as const) {
  test(`a frame of the greatest length under a ${name} rule is handled`, (t) => {
    const target = new Target(1);
    target.meet(member);
    target.meet(poolIdentity(4));
    const rules = [copyTo(type, poolIdentity(4).address), ...ACCEPT_ALL];
    target.configure(controller, nwid, { type: 1, rules });
    const frame = payload(
      (w) =>
        void w
          .u64(nwid)
          .u16(0x0800)
          .zeros(MAX_PAYLOAD_LEN - 10),
    );
    t.notThrows(() => target.send(member, VERB.FRAME, frame, { compress: true }));
    t.is(target.node.vl2.context.counters.get('frameTooLong'), 1);
  });
}

test('frames of the greatest network MTU that no packet takes are dropped, not thrown', (t) => {
  const target = new Target(1);
  target.meet(member);
  target.configure(controller, nwid, { type: 1, mtu: MAX_MTU });
  const own = memberMac(target.self.address, nwid);
  const long = new Uint8Array(MAX_MTU);
  for (const dst of [memberMac(member.address, nwid), BROADCAST_MAC]) {
    t.notThrows(() =>
      target.input((at) => target.node.handleFrame(at, nwid, own, dst, 0x0800, long)),
    );
  }
  t.is(target.node.vl2.context.counters.get('frameTooLong'), 2);
  t.true(transmits(target.wait(600)).every((o) => o.bytes.length <= 1472));
});

const DELTA = 1_000_000;

/** A revocation by the controller. */
function revoke(type: number, credentialId: number, threshold: number, who: Identity): Revocation {
  const unsigned = {
    id: 1,
    nwid,
    credentialId,
    threshold: BigInt(threshold),
    flags: 0n,
    target: who.address,
    signer: controller.address,
    type,
    signature: new Uint8Array(96),
  };
  const signature = primitives.sign(controller.privateKey!, revocationSignedBytes(unsigned));
  return { ...unsigned, signature };
}

const credentials = (x: Partial<Credentials>): Uint8Array =>
  payload((w) =>
    writeCredentials(w, {
      coms: [],
      capabilities: [],
      tags: [],
      revocations: [],
      ownerships: [],
      ...x,
    }),
  );

test('an old revocation, sent again, gives no revoked member back its access', (t) => {
  const target = new Target(1);
  target.meet(member);
  target.configure(controller, nwid);
  const wall = target.moment().wall;
  const com = target.com(controller, nwid, member);
  const give = (x: Partial<Credentials>): void => {
    target.now += 1_100;
    target.send(member, VERB.NETWORK_CREDENTIALS, credentials(x));
  };
  const passes = (): boolean =>
    target.node.vl2.network(nwid)!.allows({ address: member.address, identity: member });
  give({ coms: [com] });
  t.true(passes());
  give({ revocations: [revoke(CREDENTIAL.COM, 0, wall + 1, member)] });
  t.false(passes());
  give({ revocations: [revoke(CREDENTIAL.TAG, 9, wall - DELTA, member)] });
  t.false(passes());
});

test('certificates that are not genuine make no records', (t) => {
  const target = new Target(1);
  target.meet(member);
  target.configure(controller, nwid);
  const forged = Array.from({ length: 40 }, (_, i): Com => {
    const qualifier = (id: bigint, value: bigint) => ({ id, value, maxDelta: 0n });
    return {
      qualifiers: [qualifier(0n, 5n), qualifier(1n, nwid), qualifier(2n, BigInt(1_000 + i))],
      signer: controller.address,
      signature: new Uint8Array(96),
    };
  });
  target.send(member, VERB.NETWORK_CREDENTIALS, credentials({ coms: forged }));
  for (const com of forged) {
    const body = payload((w) => {
      w.u64(nwid).u8(0x01);
      writeCom(w, com);
      w.zeros(14);
    });
    target.send(member, VERB.EXT_FRAME, body);
  }
  const known = [...target.node.vl2.network(nwid)!.members()].map(([a]) => a);
  t.deepEqual(known, [member.address], 'the one that was refused');
  // One signature check for the first packet of credentials, one for the inline ones.
  t.is(target.node.vl2.context.counters.get('credentialsGated'), forged.length - 1);
});

test('credentials of an unknown signer open no way around the gate', (t) => {
  const target = new Target(1);
  target.meet(member);
  const far = poolIdentity(4);
  const lost = networkOf(far);
  target.input((at) => target.node.join(at, lost));
  const com = target.com(far, lost, member);
  const checks = (): number => target.node.vl2.context.counters.get('credentialsGated');
  for (let i = 0; i < 10; i++)
    target.send(member, VERB.NETWORK_CREDENTIALS, credentials({ coms: [com] }));
  t.is(checks(), 9);
  target.wait(600);
  t.is(checks(), 9, 'the retry itself passes');
  target.know(far);
  target.wait(600);
  t.not(target.node.vl2.network(lost)!.knownMember(member.address)?.com, undefined);
});

test('no member fills the table of multicast groups alone', (t) => {
  const table = new MulticastTable();
  const group = (i: number): MulticastGroup => ({
    mac: Uint8Array.of(1, 0, 0, i >> 16, i >> 8, i),
    adi: 0,
  });
  table.add(0, 1n, group(0), 5);
  for (let i = 0; i < 100_000; i++) table.add(1, 1n, group(i), 6);
  t.true(table.groupCount < 10_000);
  t.deepEqual(table.listeners(1n, group(0)).sort(), [5, 6]);
  for (let i = 0; i < 100_000; i++) table.addListed(2, 1n, group(0), 1_000 + i);
  t.true(table.listeners(1n, group(0)).length < 5_000);
  for (let g = 0; g < 200; g++)
    for (let i = 0; i < 2_000; i++) table.add(3, 2n, group(g), 1_000_000 + i);
  t.true(table.listenerCount < 300_000);
  for (let g = 0; g < 5_000; g++)
    table.wait(1n, group(g), { at: 4, served: new Set(), left: 1, sendTo: () => undefined });
  t.true(table.waitingCount < 3_000);
  table.sweep(700_000);
  t.deepEqual([table.groupCount, table.listenerCount, table.waitingCount], [0, 0, 0]);
});

test('a controller that assigns all of IPv4 cuts nobody off from the roots', (t) => {
  const root = poolIdentity(0);
  const target = new Target(1);
  const addresses = [0, 128].map((a) => inetAddress(Uint8Array.of(a, 0, 0, 1), 1));
  target.configure(controller, nwid, { addresses });
  target.meet(root, endpoint(0));
  t.is(target.node.vl1.peer(root.address)!.slots.length, 1);
  t.true(target.node.isOnline);
  t.throws(() => target.meet(member), { message: /did not confirm/ }, 'others are relayed');
});

test('who was not asked for members of a group tells of none', (t) => {
  const target = new Target(1);
  const stranger = poolIdentity(5);
  for (const i of [member, controller]) target.meet(i);
  target.configure(controller, nwid);
  const group: MulticastGroup = { mac: Uint8Array.of(0x01, 0, 0x5e, 1, 2, 3), adi: 0 };
  const table = target.node.vl2.context.multicast;
  const result = (id: bigint, verb: number, from: Identity): void => {
    const body = payload((w) => {
      w.u8(verb).u64(id);
      const members = [0x11_2233_4455];
      const isFrame = verb === VERB.MULTICAST_FRAME;
      writeGatherResult(w, { nwid, group, totalKnown: 1, members }, isFrame);
    });
    target.send(from, VERB.OK, body);
  };
  target.know(stranger);
  const [hello] = target.opened(stranger, target.send(stranger, VERB.NOP, new Uint8Array(0)));
  t.is(hello!.verb, VERB.HELLO);
  for (const verb of [VERB.MULTICAST_GATHER, VERB.MULTICAST_FRAME])
    result(hello!.id, verb, stranger);
  const src = memberMac(target.self.address, nwid);
  const out = target.input((at) =>
    target.node.handleFrame(at, nwid, src, group.mac, 0x0800, new Uint8Array(40)),
  );
  const gather = target.opened(controller, out).find((p) => p.verb === VERB.MULTICAST_GATHER)!;
  result(gather.id, VERB.MULTICAST_GATHER, stranger);
  result(gather.id, VERB.MULTICAST_FRAME, controller);
  t.is(table.listenerCount, 0);
  t.is(target.node.vl1.state.counters.get('okUnexpected'), 4);
  result(gather.id, VERB.MULTICAST_GATHER, controller);
  t.deepEqual(table.listeners(nwid, group), [0x11_2233_4455]);
});
