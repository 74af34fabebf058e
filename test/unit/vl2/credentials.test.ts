/** Our credentials and others' revocations on their way: spaced, shared, complete [3 section 7.4]. */
import test from 'ava';
import { Writer } from '#src/lib/writer.js';
import type { NodeOutput } from '#src/node/outputs.js';
import { Vl2Context } from '#src/vl2/context.js';
import {
  CREDENTIAL_SPACING_MS,
  CredentialOutbox,
  MAX_WAITING_PEERS,
  MAX_WAITING_REVOCATIONS,
} from '#src/vl2/credential-outbox.js';
import type { Vl1Port } from '#src/vl2/port.js';
import { memberMac } from '#src/wire/address.js';
import {
  type Capability,
  CREDENTIAL,
  capabilitySignedBytes,
  type Revocation,
  revocationSignedBytes,
} from '#src/wire/credentials.js';
import type { Identity } from '#src/wire/identity.js';
import { ERROR_CODE, MAX_PACKET_LEN, VERB } from '#src/wire/packet.js';
import { RULE } from '#src/wire/rules.js';
import { type Credentials, parseCredentials, writeCredentials } from '#src/wire/vl2-messages.js';
import { networkOf, payload, Target } from '../../sim/attack.js';
import { poolIdentity, primitives } from '../../sim/world.js';

const controller = poolIdentity(2);
const member = poolIdentity(3);
const other = poolIdentity(4);
const nwid = networkOf(controller);
const second = networkOf(controller, 0xa2n);

/** A capability of 64 rules that no table has: some 1.5 KB. */
function capability(to: Identity, id: number): Capability {
  const body = new Uint8Array(19).fill(id);
  const unsigned: Capability = {
    nwid,
    timestamp: 5n,
    id,
    rules: Array.from({ length: 64 }, () => ({ t: RULE.MATCH_INTEGER_RANGE, body })),
    maxCustody: 1,
    custody: [],
  };
  const signature = primitives.sign(controller.privateKey!, capabilitySignedBytes(unsigned));
  return { ...unsigned, custody: [{ to: to.address, from: controller.address, signature }] };
}

function revocation(target: number, network = nwid, threshold = 9n): Revocation {
  const unsigned = {
    id: target,
    nwid: network,
    credentialId: 0,
    threshold,
    flags: 1n,
    target,
    signer: controller.address,
    type: CREDENTIAL.COM,
    signature: new Uint8Array(96),
  };
  const signature = primitives.sign(controller.privateKey!, revocationSignedBytes(unsigned));
  return { ...unsigned, signature };
}

const revocations = (list: readonly Revocation[]): Uint8Array =>
  payload((w) =>
    writeCredentials(w, {
      coms: [],
      capabilities: [],
      tags: [],
      revocations: list,
      ownerships: [],
    } satisfies Credentials),
  );

/** Credentials packets of the node to `to`; fragments are not put together, so small ones only. */
function pushes(target: Target, to: Identity, out: readonly NodeOutput[]): Credentials[] {
  return target
    .opened(to, out)
    .filter((p) => p.verb === VERB.NETWORK_CREDENTIALS)
    .map((p) => parseCredentials(p.payload)!);
}

function frame(target: Target, network = nwid): NodeOutput[] {
  const [src, dst] = [target.self, member].map((i) => memberMac(i.address, network)) as [
    Uint8Array,
    Uint8Array,
  ];
  return target.input((at) =>
    target.node.handleFrame(at, network, src, dst, 0x0800, new Uint8Array(64)),
  );
}

/** An outbox without a node: the packets it sends, and its clock. */
function lone() {
  const sent: { at: number; to: number; list: Credentials }[] = [];
  const w = Writer.of(MAX_PACKET_LEN);
  const port = {
    begin: () => {
      w.pos = 0;
      return w;
    },
    send: (to: number) =>
      void sent.push({ at: context.at.mono, to, list: parseCredentials(w.done().slice())! }),
  };
  const none = {
    frame: () => undefined,
    storeConfig: () => undefined,
    networkChanged: () => undefined,
  };
  const context = new Vl2Context(port as unknown as Vl1Port, none, 'test');
  const outbox = new CredentialOutbox(context);
  /** Ticks every half second, as the node does. */
  const pass = (ms: number): void => {
    for (let left = ms; left > 0; left -= 500) {
      context.at = { mono: context.at.mono + 500, wall: 0 };
      outbox.tick();
    }
  };
  return { sent, context, outbox, pass, dropped: () => context.counters.get('credentialsDropped') };
}

test('credentials of two networks for one peer: what falls into its gate is sent again', (t) => {
  const target = new Target(1);
  target.meet(member);
  target.configure(controller, nwid);
  target.configure(controller, second);
  t.is(pushes(target, member, frame(target)).length, 1);
  const again = pushes(target, member, frame(target, second));
  t.is(again.length, 1, 'at once, as the reference');
  t.is(again[0]!.coms[0]!.qualifiers[1]!.value, second);
  t.deepEqual(pushes(target, member, target.wait(CREDENTIAL_SPACING_MS - 1)), []);
  const repeated = pushes(target, member, target.wait(501));
  t.deepEqual(
    repeated.map((c) => c.coms[0]!.qualifiers[1]!.value),
    [second],
  );
  t.deepEqual(pushes(target, member, target.wait(2_000)), [], 'once');
});

test('credentials that need several packets are spaced by more than a gate, and all arrive', (t) => {
  const { sent, outbox, pass, dropped } = lone();
  const target = new Target(1);
  const capabilities = Array.from({ length: 14 }, (_, i) => capability(target.self, i));
  outbox.push(7, { ...target.config(controller, nwid), capabilities });
  t.is(sent.length, 1);
  t.is(sent[0]!.list.coms.length, 1);
  pass(10_000);
  t.is(sent.length, 3);
  t.deepEqual(
    sent.flatMap((p) => p.list.capabilities.map((c) => c.id)),
    capabilities.map((c) => c.id),
  );
  t.is(sent.flatMap((p) => p.list.coms).length, 1);
  for (let i = 1; i < sent.length; i++)
    t.true(sent[i]!.at - sent[i - 1]!.at >= CREDENTIAL_SPACING_MS);
  t.is(dropped() + outbox.waitingCount, 0);
});

test('revocations of one packet are passed on in one packet, to all but sender and controller', (t) => {
  const target = new Target(1);
  for (const i of [member, other, controller]) target.meet(i);
  target.configure(controller, nwid);
  const give = (from: Identity, coms: number): void => {
    target.now += 1_100;
    target.send(
      from,
      VERB.NETWORK_CREDENTIALS,
      payload((w) =>
        writeCredentials(w, {
          coms: coms === 0 ? [] : [target.com(controller, nwid, from)],
          capabilities: [],
          tags: [],
          revocations: [],
          ownerships: [],
        }),
      ),
    );
  };
  give(member, 1);
  give(other, 1);
  target.now += 1_100;
  const list = [100, 101, 102].map((n) => revocation(n));
  const out = target.send(controller, VERB.NETWORK_CREDENTIALS, revocations(list));
  for (const to of [member, other]) {
    const got = pushes(target, to, out);
    t.deepEqual(
      got.map((c) => c.revocations.map((r) => r.target)),
      [[100, 101, 102]],
    );
  }
  t.deepEqual(pushes(target, controller, out), []);
  target.now += 1_100;
  t.deepEqual(
    pushes(target, other, target.send(member, VERB.NETWORK_CREDENTIALS, revocations(list))),
    [],
    'known ones are not passed on',
  );
});

test('what waits is bounded in revocations of a peer, and in peers', (t) => {
  const { sent, outbox, pass, dropped } = lone();
  const r = revocation(1);
  outbox.pass(7, [r]);
  t.is(sent.length, 1, 'the first goes at once and closes the gate');
  outbox.pass(
    7,
    Array.from({ length: MAX_WAITING_REVOCATIONS }, () => r),
  );
  t.is(dropped(), 0);
  outbox.pass(7, [r]);
  t.is(dropped(), 1);
  for (let to = 10; outbox.waitingCount < MAX_WAITING_PEERS; to++) {
    outbox.pass(to, [r]);
    outbox.pass(to, [r]);
  }
  t.is(dropped(), 1);
  outbox.pass(5, [r]);
  t.is(dropped(), 2);
  pass(10_000);
  t.is(outbox.waitingCount, 0);
  outbox.pass(5, [r]);
  t.is(dropped(), 2);
});

test('a network that was left is not spoken for', (t) => {
  const { sent, outbox, pass } = lone();
  const target = new Target(1);
  outbox.push(7, target.config(controller, second));
  outbox.push(7, target.config(controller, nwid));
  outbox.pass(7, [revocation(1), revocation(2, second)]);
  sent.length = 0;
  outbox.forget(nwid);
  pass(5_000);
  t.deepEqual(
    sent.map((p) => [p.list.coms.length, p.list.revocations.map((r) => r.target)]),
    [[0, [2]]],
  );
});

test('a revoked member asks at once, and no more than the others once it was refused', (t) => {
  const target = new Target(1);
  target.configure(controller, nwid);
  target.meet(controller);
  const asked = (out: readonly NodeOutput[]): number =>
    target.opened(controller, out).filter((p) => p.verb === VERB.NETWORK_CONFIG_REQUEST).length;
  const denied = payload(
    (w) =>
      void w.u8(VERB.NETWORK_CONFIG_REQUEST).u64(1n).u8(ERROR_CODE.NETWORK_ACCESS_DENIED).u64(nwid),
  );
  target.wait(2_000);
  // Refused by another way before the revocation came.
  target.send(controller, VERB.ERROR, denied);
  const out = target.send(
    controller,
    VERB.NETWORK_CREDENTIALS,
    revocations([revocation(target.self.address)]),
  );
  t.is(asked(out), 1);
  target.send(controller, VERB.ERROR, denied);
  let later = 0;
  for (let i = 0; i < 20; i++) later += asked(target.wait(500));
  t.is(later, 0);
});
