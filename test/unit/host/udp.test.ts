import test from 'ava';
import { Udp } from '#src/host/udp.js';
import { inetAddress, remoteAddress } from '#src/wire/inetaddress.js';

test('sending to port 0 is counted, not thrown', async (t) => {
  const udp = new Udp(
    () => undefined,
    () => undefined,
  );
  await udp.open(0);
  t.teardown(() => udp.close());
  const to = remoteAddress(inetAddress(Uint8Array.of(127, 0, 0, 1), 0));
  t.notThrows(() => udp.send(1, to, Uint8Array.of(1)));
  t.is(udp.counters.sendErrors, 1);
});
