/** Records that were edited by hand, and requests on them. */
import test from 'ava';
import { VERB } from '#src/wire/packet.js';
import { writeConfigRequest } from '#src/wire/vl2-messages.js';
import { networkOf, payload, Target } from '../../sim/attack.js';
import { poolIdentity } from '../../sim/world.js';

test('a stored rule that makes no configuration is answered as an unknown network', (t) => {
  const target = new Target(1);
  const peer = poolIdentity(2);
  target.meet(peer);
  const nwid = networkOf(target.self);
  const id = nwid.toString(16).padStart(16, '0');
  const rules = [{ type: 'MATCH_CHARACTERISTICS', mask: [1] }];
  t.true(
    target.controller.load(
      'network',
      JSON.stringify({ id, nwid: id, objtype: 'network', private: false, rules }),
    ),
  );
  const metadata = new TextEncoder().encode('v=7\nrevr=1');
  const request = payload((w) =>
    writeConfigRequest(w, { nwid, metadata, revision: 0n, timestamp: 0n }),
  );
  const [answer] = target.opened(peer, target.send(peer, VERB.NETWORK_CONFIG_REQUEST, request));
  t.is(answer?.verb, VERB.ERROR);
  t.is(answer?.payload[9], 3);
  t.notThrows(() => target.input((at) => target.node.join(at, nwid)));
  t.is(target.node.vl2.network(nwid)?.status, 'NOT_FOUND');
});
