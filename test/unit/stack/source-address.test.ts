/** Which of several IPv6 addresses a connection comes from: RFC 6724, rules 1, 2 and 8. */
import test from 'ava';
import { nativeEntropy } from '#src/crypto/native.js';
import { createStack } from '#src/stack/lwip-stack.js';
import { ip6, MAC_A } from './world.js';

const RFC4193 = ip6('fd80:56c2:e21c:0:199:9312:3456:789a');
const SIX_PLANE = ip6('fc9c:72a5:df12:3456:789a:0:0:1');
const POOL = ip6('fd91::10');
const GLOBAL = ip6('2001:db8:1:2::5');
const AT = { mono: 1, wall: 0 };

function stack() {
  const s = createStack({ mac: MAC_A, entropy: nativeEntropy, at: AT });
  s.configure(AT, {
    mtu: 2800,
    addresses: [
      { ip: RFC4193, prefixLen: 88 },
      { ip: SIX_PLANE, prefixLen: 40 },
      { ip: POOL, prefixLen: 64 },
      { ip: GLOBAL, prefixLen: 64 },
    ],
    routes: [],
  });
  return s;
}

const CASES = [
  ['another member by RFC4193', ip6('fd80:56c2:e21c:0:199:9323:4567:89ab'), RFC4193],
  [
    'another member by 6PLANE, outside of our 64 bits',
    ip6('fc9c:72a5:df23:4567:89ab::1'),
    SIX_PLANE,
  ],
  ['a host of the pool', ip6('fd91::77'), POOL],
  ['a host of the pool with our 6PLANE host part', ip6('fd91::1'), POOL],
  ['a global address', ip6('2001:db8:1:2::9'), GLOBAL],
  ['ourselves', SIX_PLANE, SIX_PLANE],
] as const;

for (const [what, to, from] of CASES)
  test(`the source towards ${what}`, (t) => {
    t.deepEqual(stack().sourceFor(to), from);
  });
