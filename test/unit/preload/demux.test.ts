import test from 'ava';
import { type Candidate, choose, matches } from '#src/preload/demux.js';

const A = Uint8Array.of(10, 0, 0, 1);
const B = Uint8Array.of(10, 0, 0, 2);
const SIX = Uint8Array.of(0xfd, ...new Uint8Array(14), 1);
const ANY4 = new Uint8Array(4);
const ANY6 = new Uint8Array(16);
const from = (port: number) => ({ ip: B, port });

function socket(part: Partial<Candidate>): Candidate {
  return { family: 4, v6Only: false, reusePort: false, localIp: ANY4, remote: undefined, ...part };
}

test('connected before bound before wildcard', (t) => {
  const wild = socket({});
  const bound = socket({ localIp: A });
  const connected = socket({ localIp: A, remote: from(9) });
  const all = [connected, bound, wild];
  t.is(choose(all, from(9), A), connected);
  t.is(choose(all, from(8), A), bound, 'another peer');
  t.is(choose([connected, wild], from(8), A), wild, 'as iperf3 needs it');
  t.is(choose(all, from(9), B), wild, 'another address');
  t.is(choose([connected], from(8), A), undefined);
});

test('dual-stack: wildcard of IPv6 takes IPv4 unless V6ONLY, after an IPv4 socket', (t) => {
  const dual = socket({ family: 6, localIp: ANY6 });
  const only = socket({ family: 6, localIp: ANY6, v6Only: true });
  const four = socket({});
  t.is(choose([four, dual], from(1), A), four);
  t.is(choose([dual], from(1), A), dual);
  t.is(choose([only], from(1), A), undefined);
  t.is(choose([four, only], { ip: SIX, port: 1 }, SIX), only);
  t.is(choose([four], { ip: SIX, port: 1 }, SIX), undefined);
  const mapped = socket({ family: 6, localIp: A });
  t.is(choose([dual, mapped], from(1), A), mapped, 'bound to a mapped address');
});

test('SO_REUSEADDR: the socket bound last wins; SO_REUSEPORT: flows are divided and stay', (t) => {
  const first = socket({});
  const last = socket({});
  t.is(choose([first, last], from(1), A), last);
  const group = [0, 1, 2, 3].map(() => socket({ reusePort: true }));
  const hits = new Map<Candidate, number>();
  for (let port = 1000; port < 1400; port++) {
    const hit = choose(group, from(port), A);
    if (hit === undefined) return t.fail();
    t.is(choose(group, from(port), A), hit);
    hits.set(hit, (hits.get(hit) ?? 0) + 1);
  }
  for (const g of group) t.true((hits.get(g) ?? 0) > 50);
});

test('a multicast matches wildcard sockets and those bound to the group', (t) => {
  const group = Uint8Array.of(239, 1, 2, 3);
  t.true(matches(socket({}), from(1), group));
  t.true(matches(socket({ localIp: group }), from(1), group));
  t.false(matches(socket({ localIp: A }), from(1), group));
});
