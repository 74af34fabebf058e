/** What a hostile datagram or known peer must not achieve in VL1. */
import test from 'ava';
import { writePushDirectPaths } from '#src/wire/hello.js';
import { inetAddress } from '#src/wire/inetaddress.js';
import { VERB } from '#src/wire/packet.js';
import { endpoint, payload, Target, transmits } from '../../sim/attack.js';
import { poolIdentity } from '../../sim/world.js';

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
});
