/** What a hostile member, controller or known peer must not achieve in VL2. */
import test from 'ava';
import { memberMac } from '#src/wire/address.js';
import { BROADCAST_MAC } from '#src/wire/multicast-group.js';
import { MAX_MTU } from '#src/wire/netconf.js';
import { MAX_PAYLOAD_LEN, VERB } from '#src/wire/packet.js';
import { ACCEPT_ALL, RULE, type Rule } from '#src/wire/rules.js';
import { networkOf, payload, Target, transmits } from '../../sim/attack.js';
import { poolIdentity } from '../../sim/world.js';

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
