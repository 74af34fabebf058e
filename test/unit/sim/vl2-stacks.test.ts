/** Programs on a simulated network: IPv6 in all its kinds, routes, MTUs, groups, broadcast. */
import test from 'ava';
import { adhocForm } from '#src/vl2/adhoc.js';
import { type NetworkId, networkIdText } from '#src/wire/address.js';
import { resolutionGroup } from '#src/wire/multicast-group.js';
import { StackMember } from '../../helpers/sim-stack.js';
import { createNetwork, type SimNode, World } from '../../sim/world.js';
import type { Peer } from '../stack/world.js';

const SEED = 20_261_125;
type Settings = Parameters<SimNode['controller']['postNetwork']>[2];

function change(world: World, nwid: NetworkId, settings: Settings): void {
  const root = world.nodes[0]!;
  root.run((node, at) => node.run(at, () => root.controller.postNetwork(at, nwid, settings)));
}

function changeMember(world: World, nwid: NetworkId, who: SimNode, settings: Settings): void {
  const root = world.nodes[0]!;
  const texts = {
    nwid: networkIdText(nwid),
    address: who.address.toString(16).padStart(10, '0'),
  };
  root.run((node, at) =>
    node.run(at, () => root.controller.postMember(at, nwid, who.address, texts, settings)),
  );
}

/** Node 0 is root and controller; the others are members with stacks and addresses. */
function meeting(
  settings: Settings,
  nodes = 3,
): { world: World; nwid: NetworkId; m: StackMember[] } {
  const world = new World({ seed: SEED, nodes }).start();
  const nwid = createNetwork(world);
  change(world, nwid, settings);
  const m = world.nodes.slice(1).map((n) => {
    n.join(nwid);
    return new StackMember(world, n, nwid);
  });
  const isReady = (x: StackMember): boolean => x.ip(4) !== undefined;
  if (!world.run(30_000, () => m.every(isReady))) throw new Error('no addresses');
  world.run(1_000);
  return { world, nwid, m };
}

/** One transfer; both ends hash what passed. */
function transfer(
  from: StackMember,
  to: StackMember,
  ip: Uint8Array,
  bytes: number,
): { client: Peer; arrived: () => boolean } {
  const server = to.listen(80);
  const client = from.connect({ ip, port: 80 });
  client.send(bytes);
  from.pump();
  const arrived = (): boolean => {
    const [first] = server.peers;
    return first?.received === bytes && first.inDigest() === client.outDigest();
  };
  return { client, arrived };
}

const V6_KINDS: readonly (readonly [string, Settings, number])[] = [
  ['6PLANE', { v6AssignMode: { '6plane': true } }, 40],
  ['RFC4193', { v6AssignMode: { rfc4193: true } }, 88],
  [
    'assigned',
    {
      v6AssignMode: { zt: true },
      routes: [
        { target: '10.91.0.0/16', via: null },
        { target: 'fd12:3456::/64', via: null },
      ],
      ipAssignmentPools: [
        { ipRangeStart: '10.91.0.10', ipRangeEnd: '10.91.250.250' },
        { ipRangeStart: 'fd12:3456::', ipRangeEnd: 'fd12:3456::ffff:ffff:ffff:ffff' },
      ],
    },
    64,
  ],
];

for (const [name, settings, prefixLen] of V6_KINDS) {
  test(`TCP and ping over IPv6, ${name} addresses`, (t) => {
    const { world, m } = meeting(settings);
    const [a, b] = m as [StackMember, StackMember];
    const ip = b.ip(6, prefixLen)!;
    const { arrived } = transfer(a, b, ip, 300_000);
    t.true(world.run(20_000, arrived));
    const replies: number[] = [];
    a.stack.echoOpen(a.at, 6, 9, { onReply: (x) => void replies.push(x[0]!) });
    const request = Uint8Array.of(128, 0, 0, 0, 0, 9, 0, 1, ...new Uint8Array(56));
    t.is(a.stack.echoSend(a.at, ip, request), undefined);
    a.pump();
    t.true(world.run(5_000, () => replies.length > 0));
    t.is(replies[0], 129);
    // A solicitation of an emulated address never leaves the node; a real one does.
    const isSolicitation = (f: { etherType: number; bytes: Uint8Array }): boolean =>
      f.etherType === 0x86dd && f.bytes[6] === 58 && f.bytes[40] === 135 && f.bytes[24] === 0xff;
    t.is(b.seen.some(isSolicitation), name === 'assigned');
  });
}

test('a program reaches what is behind a gateway member through that member', (t) => {
  const { world, nwid, m } = meeting({
    routes: [
      { target: '10.91.0.0/16', via: null },
      { target: '172.20.0.0/16', via: '10.91.0.2' },
    ],
  });
  const [a, b] = m as [StackMember, StackMember];
  changeMember(world, nwid, b.host, { ipAssignments: ['10.91.0.2', '172.20.0.1'] });
  const far = Uint8Array.of(172, 20, 0, 1);
  t.true(world.run(10_000, () => b.stack.isLocal(far)));
  const { arrived } = transfer(a, b, far, 50_000);
  t.true(world.run(10_000, arrived));
  const asked = b.seen
    .filter((f) => f.etherType === 0x0806 && f.bytes[7] === 1)
    .map((f) => f.bytes.subarray(24, 28).join('.'));
  t.deepEqual([...new Set(asked)], ['10.91.0.2'], 'the gateway is resolved, not what is behind it');
});

test("a network's MTU may change to its least and greatest while traffic flows", (t) => {
  const { world, nwid, m } = meeting({ v6AssignMode: { '6plane': true } });
  const [a, b] = m as [StackMember, StackMember];
  const { client, arrived } = transfer(a, b, b.ip(4)!, 6_000_000);
  const mss = (peer: Peer): number => a.stack.tcpInfo(peer.handle!)!.sendMss;
  const sizes: number[] = [];
  for (const mtu of [1_280, 10_000, 1_280, 1_500]) {
    t.true(world.run(10_000, () => client.isConnected));
    change(world, nwid, { mtu });
    t.true(world.run(5_000, () => a.host.node.vl2.network(nwid)?.config?.mtu === mtu));
    world.run(300);
    const fresh = a.connect({ ip: b.ip(4)!, port: 80 });
    t.true(world.run(5_000, () => fresh.isConnected));
    sizes.push(mss(fresh));
    fresh.close();
  }
  t.true(sizes[0] === sizes[2] && sizes[0]! < 1_280 && sizes[0]! > 1_180, sizes.join());
  t.true(sizes[1]! > 9_000 && sizes[3]! < 1_500 && sizes[3]! > 1_400, sizes.join());
  t.true(world.run(120_000, arrived));
});

test('groups follow the addresses, and the root knows who listens', (t) => {
  const { world, nwid, m } = meeting({});
  const [a] = m as [StackMember];
  const v6 = Uint8Array.of(0xfd, 0x12, 0x34, 0x56, ...new Uint8Array(9), 0xaa, 0xbb, 0xcc);
  const before = a.groups().size;
  change(world, nwid, {
    routes: [
      { target: '10.91.0.0/16', via: null },
      { target: 'fd12:3456::/64', via: null },
    ],
  });
  changeMember(world, nwid, a.host, {
    ipAssignments: [a.ip(4)!.join('.'), 'fd12:3456::aa:bbcc'],
  });
  t.true(world.run(5_000, () => a.stack.isLocal(v6)));
  world.run(200);
  t.is(a.groups().size, before + 1);
  const table = world.nodes[0]!.node.vl2.context.multicast;
  t.deepEqual(table.listeners(nwid, resolutionGroup(v6)), [a.host.address]);
  t.deepEqual(table.listeners(nwid, resolutionGroup(a.ip(4)!)), [a.host.address]);
  const allNodes = { mac: Uint8Array.of(0x33, 0x33, 0, 0, 0, 1), adi: 0 };
  t.is(table.listeners(nwid, allNodes).length, m.length);
});

test('broadcast reaches all members while the network allows it, and nobody else', (t) => {
  const { world, nwid, m } = meeting({}, 4);
  const [a, ...others] = m as [StackMember, StackMember, StackMember];
  // The broadcast group is announced with the first background pass after the configuration.
  world.run(6_000);
  const datagram = new Uint8Array(40);
  datagram.set([0x45, 0, 0, 40, 0, 1, 0, 0, 64, 17, 0, 0, ...a.ip(4)!, 255, 255, 255, 255]);
  const broadcast = (): number[] => {
    for (const o of others) o.seen.length = 0;
    a.send({ dst: new Uint8Array(6).fill(255), etherType: 0x0800, payload: datagram });
    world.run(6_000);
    return others.map((o) => o.seen.filter((f) => f.etherType === 0x0800).length);
  };
  t.deepEqual(broadcast(), [1, 1]);
  change(world, nwid, { enableBroadcast: false });
  world.run(2_000);
  t.deepEqual(broadcast(), [0, 0]);
  change(world, nwid, { enableBroadcast: true, multicastLimit: 1 });
  world.run(2_000);
  t.is(
    broadcast().reduce((x, y) => x + y),
    1,
    'the limit is one recipient',
  );
});

test('an ad-hoc network opens its ports of TCP and no others', (t) => {
  const world = new World({ seed: SEED, nodes: 3 }).start();
  const nwid = 0xff_5000_5100_000000n;
  t.is(adhocForm(nwid)?.kind, 'ports');
  const [a, b] = world.nodes.slice(1).map((n) => {
    n.join(nwid);
    return new StackMember(world, n, nwid);
  }) as [StackMember, StackMember];
  t.true(world.run(5_000, () => a.ip(6, 40) !== undefined && b.ip(6, 40) !== undefined));
  world.run(1_000);
  const listeners = [0x4fff, 0x5000, 0x5100, 0x5101].map((port) => ({
    port,
    server: b.listen(port),
    client: a.connect({ ip: b.ip(6, 40)!, port }),
  }));
  world.run(5_000);
  t.deepEqual(
    listeners.map((l) => l.client.isConnected),
    [false, true, true, false],
  );
});

test('a program uses two networks of one node at once', (t) => {
  const world = new World({ seed: SEED, nodes: 3 }).start();
  const root = world.nodes[0]!;
  const networks = [createNetwork(world), createNetwork(world) + 1n];
  const m = networks.map((nwid, i) => {
    root.run((node, at) =>
      node.run(at, () =>
        root.controller.postNetwork(at, nwid, {
          private: false,
          v4AssignMode: { zt: true },
          routes: [{ target: `10.${91 + i}.0.0/16`, via: null }],
          ipAssignmentPools: [{ ipRangeStart: `10.${91 + i}.0.1`, ipRangeEnd: `10.${91 + i}.9.9` }],
        }),
      ),
    );
    return world.nodes.slice(1).map((n) => {
      n.join(nwid);
      return new StackMember(world, n, nwid);
    }) as [StackMember, StackMember];
  });
  t.true(world.run(10_000, () => m.flat().every((x) => x.ip(4) !== undefined)));
  world.run(1_000);
  const runs = m.map(([a, b]) => transfer(a, b, b.ip(4)!, 100_000));
  t.true(world.run(20_000, () => runs.every((r) => r.arrived())));
  t.is(world.nodes[1]!.node.vl2.networks().length, 2);
});
