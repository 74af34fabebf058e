/** Settings of physical networks: MTU, trusted paths, blacklists, hints [2 section 20]. */
import test, { type ExecutionContext } from 'ava';
import type { NodeOutput } from '#src/node/outputs.js';
import {
  HINT_MS,
  MAX_DATAGRAM_V4,
  MAX_DATAGRAM_V6,
  MAX_HINTS,
  MAX_PHYSICAL_NETS,
} from '#src/vl1/constants.js';
import { Physical, type PhysicalSettings } from '#src/vl1/physical.js';
import { inetAddress, parseIp, remoteAddress } from '#src/wire/inetaddress.js';
import { OFF_MAC, suiteOf, VERB, writeTrustedPathId } from '#src/wire/packet.js';
import { endpoint, Target, transmits } from '../../sim/attack.js';
import { poolIdentity } from '../../sim/world.js';

const root = poolIdentity(0);
const peer = poolIdentity(2);
const ip = (text: string): Uint8Array => parseIp(text)!;
const at = (text: string, port = 9993) => remoteAddress(inetAddress(ip(text), port));

function settings(s: Partial<PhysicalSettings>): PhysicalSettings {
  return { nets: [], blacklist: [], peers: new Map(), lowBandwidth: false, ...s };
}

const net = (text: string, bits: number, mtu = 0, trustedPathId = 0n) => ({
  ip: ip(text),
  bits,
  mtu,
  trustedPathId,
});

function configure(target: Target, s: Partial<PhysicalSettings>): NodeOutput[] {
  return target.input((now) => target.node.handlePhysical(now, settings(s)));
}

/** Sends one packet to the peer by the general path. */
function say(target: Target, len: number): NodeOutput[] {
  return target.input((now) =>
    target.node.run(now, () => {
      target.node.vl1.begin(peer.address, VERB.USER_MESSAGE).put(new Uint8Array(len));
      target.node.vl1.send(peer.address, false);
    }),
  );
}

test('the MTU of a network is clamped, and never exceeds an Ethernet frame', (t) => {
  const mtu = (given: number, to: string): number =>
    new Physical(settings({ nets: [net('10.0.0.0', 8, given), net('fd00::', 8, given)] })).mtu(
      at(to),
    );
  t.is(mtu(0, '10.1.1.1'), 1432);
  t.is(mtu(-5, '10.1.1.1'), 1432);
  t.is(mtu(1, '10.1.1.1'), 1400);
  t.is(mtu(1399, '10.1.1.1'), 1400);
  t.is(mtu(1400, '10.1.1.1'), 1400);
  t.is(mtu(MAX_DATAGRAM_V4, '10.1.1.1'), MAX_DATAGRAM_V4);
  t.is(mtu(MAX_DATAGRAM_V4 + 1, '10.1.1.1'), MAX_DATAGRAM_V4);
  t.is(mtu(20_000, '10.1.1.1'), MAX_DATAGRAM_V4);
  t.is(mtu(20_000, 'fd00::1'), MAX_DATAGRAM_V6);
  t.is(mtu(1400, '11.1.1.1'), 1432, 'another network');
});

test('shorter prefixes count first, and only 32 networks in all', (t) => {
  const overlap = new Physical(
    settings({ nets: [net('10.9.0.0', 16, 1410), net('10.0.0.0', 8, 1420)] }),
  );
  t.is(overlap.mtu(at('10.9.1.1')), 1420);
  const many = Array.from({ length: MAX_PHYSICAL_NETS + 1 }, (_, i) =>
    net(`10.9.${i}.0`, 24, 1400 + i, BigInt(i + 1)),
  );
  const physical = new Physical(settings({ nets: many }));
  t.is(physical.trustedPathId(at(`10.9.${MAX_PHYSICAL_NETS - 1}.1`)), 32n);
  t.is(physical.trustedPathId(at(`10.9.${MAX_PHYSICAL_NETS}.1`)), 0n);
});

test('packets are cut at the MTU of their path, at once when it changes', (t) => {
  const target = new Target(1);
  target.meet(peer, endpoint(5));
  const first = (): number => transmits(say(target, 3_000))[0]!.bytes.length;
  t.is(first(), 1432);
  configure(target, { nets: [net('10.9.0.0', 16, 1400)] });
  t.is(first(), 1400);
  configure(target, { nets: [net('10.9.0.0', 16, 9000)] });
  t.is(first(), MAX_DATAGRAM_V4);
  configure(target, {});
  t.is(first(), 1432);
});

test('the largest packet of seven pieces is sent, one byte more is dropped', (t) => {
  const target = new Target(1);
  target.meet(peer, endpoint(5));
  const most = 1432 + 6 * 1416 - 28;
  t.is(transmits(say(target, most)).length, 7);
  t.is(transmits(say(target, most + 1)).length, 0);
  t.is(target.node.vl1.state.counters.get('txTooManyPieces'), 1);
});

function trusted(t: ExecutionContext): Target {
  const target = new Target(1);
  target.meet(peer, endpoint(5));
  configure(target, { nets: [net('10.9.0.0', 16, 0, 77n)] });
  t.is(target.node.vl1.peer(peer.address)?.slots[0]?.path.trustedPathId, 77n);
  return target;
}

test('the general path sends in clear over a trusted path; answers keep their cipher', (t) => {
  const target = trusted(t);
  const [sent] = transmits(say(target, 9));
  t.is(sent!.bytes[18], 0x10);
  t.deepEqual([...sent!.bytes.subarray(OFF_MAC, OFF_MAC + 8)], [0, 0, 0, 0, 0, 0, 0, 77]);
  t.is(sent!.bytes[27], VERB.USER_MESSAGE);
  t.deepEqual(sent!.bytes.subarray(28), new Uint8Array(9));
  const [head] = transmits(say(target, 2_000));
  t.is(head!.bytes[18], 0x50, 'fragmented');
  const out = transmits(target.send(peer, VERB.ECHO, new Uint8Array(4), { from: endpoint(5) }));
  t.deepEqual(
    out.map((o) => suiteOf(o.bytes)),
    [3],
  );
});

test('a packet of a trusted path is taken from its network with its id alone', (t) => {
  const target = trusted(t);
  const echo = (id: bigint, from = endpoint(5)): number => {
    target.wait(600);
    const packet = new Uint8Array(30);
    packet.set(target.seal(peer, VERB.ECHO, new Uint8Array(2))[0]!.subarray(0, 18));
    packet[27] = VERB.ECHO;
    writeTrustedPathId(packet, id);
    return target
      .opened(peer, target.datagram(from, packet))
      .filter((p) => p.verb === VERB.OK && p.payload[0] === VERB.ECHO).length;
  };
  t.is(echo(77n), 1);
  t.is(echo(78n), 0);
  t.is(echo(0n), 0);
  t.is(echo(77n, at('10.10.0.5')), 0, 'another network');
  t.is(echo(0n, at('10.10.0.5')), 0, 'no id configured');
  t.is(target.node.vl1.state.counters.get('trustedPathRefused'), 4);
});

test('an identity is learned over a trusted path to the root: the request is remembered', (t) => {
  const target = new Target(1);
  target.meet(root, endpoint(0));
  configure(target, { nets: [net('10.9.0.0', 16, 0, 5n)] });
  const asked = transmits(
    target.input(() => target.node.vl1.requestIdentity(poolIdentity(3).address)),
  ).find((o) => o.bytes[27] === VERB.WHOIS);
  t.truthy(asked);
  t.true(
    target.node.vl1.state.expected.has(
      target.now,
      new DataView(asked!.bytes.buffer).getBigUint64(0),
      root.address,
      VERB.WHOIS,
    ),
  );
});

test('a blacklisted network is no path, for all or for one peer, at once', (t) => {
  const target = new Target(1);
  target.meet(peer, endpoint(5));
  const other = poolIdentity(3);
  target.meet(other, endpoint(6));
  const slots = (id: typeof peer): number => target.node.vl1.peer(id.address)!.slots.length;
  const blacklist = [{ ip: ip('10.9.0.0'), bits: 24 }];
  configure(target, { peers: new Map([[peer.address, { hints: [], blacklist }]]) });
  t.deepEqual([slots(peer), slots(other)], [0, 1]);
  configure(target, { blacklist });
  t.deepEqual([slots(peer), slots(other)], [0, 0]);
  t.false(target.node.vl1.state.isPathAllowed(peer.address, endpoint(5)));
  t.true(target.node.vl1.state.isPathAllowed(peer.address, at('10.9.1.1')));
});

test('a configured address is tried when there is no direct path, every 30 s', (t) => {
  const target = new Target(1);
  target.know(peer);
  const hints = [at('10.44.0.1', 7000), at('127.0.0.1', 7000)];
  configure(target, { peers: new Map([[peer.address, { hints, blacklist: [] }]]) });
  const tried = (): string[] =>
    transmits(say(target, 1))
      .filter((o) => target.open(peer, o.bytes)?.verb === VERB.HELLO)
      .map((o) => o.to.ip.join('.'));
  t.deepEqual(tried(), ['10.44.0.1']);
  t.deepEqual(tried(), []);
  target.now += HINT_MS - 1;
  t.deepEqual(tried(), []);
  target.now += 1;
  t.deepEqual(tried(), ['10.44.0.1']);
  target.now += HINT_MS;
  target.meet(peer, endpoint(5));
  t.deepEqual(tried(), [], 'a direct path needs no hint');
});

test('of the addresses of one peer 32 are used', (t) => {
  const hints = Array.from({ length: MAX_HINTS + 1 }, (_, i) => at(`10.44.0.${i + 1}`));
  const physical = new Physical(
    settings({ peers: new Map([[peer.address, { hints, blacklist: [] }]]) }),
  );
  t.is(physical.hints(peer.address).length, MAX_HINTS);
  t.deepEqual(physical.hints(root.address), []);
});
