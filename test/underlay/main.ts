/** What the service makes of real NATs, routers and interfaces. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createPrimitives, nativeEntropy } from '#src/crypto/native.js';
import type { JsonRecord } from '#src/lib/json.js';
import { loadPacketCore } from '#src/packetcore/load.js';
import { SOFTWARE_VERSION } from '#src/wire/packet.js';
import { emitPeerRecord } from '#src/wire/peer-record.js';
import { readOptions } from '../helpers/args.js';
import { packageFile, testIdentity } from '../helpers/service.js';
import { Tally } from '../helpers/tally.js';
import { missing, Net, type Node } from './net.js';

const tally = new Tally('underlay');
const WEB_PORT = '8080';
const RELAY_PORT = '4443';
const PAGE = 'a page of b\n';
/** Nothing but the primary port. */
const PLAIN: JsonRecord = {
  settings: { allowSecondaryPort: false, portMappingEnabled: false },
};
const MAPPING: JsonRecord = { settings: { allowSecondaryPort: false } };

/** Asks until it is so. @throws with `what` after `ms`. */
async function until(what: string, ms: number, ask: () => boolean): Promise<number> {
  const from = performance.now();
  let last = '';
  for (;;) {
    try {
      if (ask()) return performance.now() - from;
    } catch (e) {
      last = e instanceof Error ? e.message.split('\n')[0]! : String(e);
    }
    if (performance.now() - from > ms) throw new Error(`${what}: not within ${ms} ms ${last}`);
    await new Promise((r) => setTimeout(r, 100));
  }
}

const isOnline = (n: Node): boolean => n.record('/status')['online'] === true;

async function online(...nodes: Node[]): Promise<void> {
  for (const n of nodes) await until(`${n.ns} online`, 20_000, () => isOnline(n));
}

/** The root makes a public network and the leaves join it. */
async function network(net: Net): Promise<{ nwid: string; ipOf: (n: Node) => string }> {
  const nwid = `${net.root.address}0000a1`;
  net.root.api(`/controller/network/${nwid}`, {
    private: false,
    v4AssignMode: { zt: true },
    routes: [{ target: '10.91.0.0/24', via: null }],
    ipAssignmentPools: [{ ipRangeStart: '10.91.0.10', ipRangeEnd: '10.91.0.250' }],
  });
  const assigned = (n: Node): string[] =>
    (n.record(`/network/${nwid}`)['assignedAddresses'] as string[]) ?? [];
  for (const n of [net.a, net.b]) {
    n.api(`/network/${nwid}`, {});
    await until('an address', 20_000, () => assigned(n).length > 0);
  }
  return { nwid, ipOf: (n) => assigned(n)[0]!.split('/')[0]! };
}

/** Starts root and leaves; `a` fetches a file from `b` until it succeeds. */
async function meet(
  net: Net,
  conf: { readonly a: JsonRecord; readonly b: JsonRecord; readonly root: JsonRecord },
): Promise<() => void> {
  net.root.start(conf.root);
  net.a.start(conf.a);
  net.b.start(conf.b);
  await online(net.root, net.a, net.b);
  const { nwid, ipOf } = await network(net);
  const server = ['python3', '-m', 'http.server', WEB_PORT];
  net.spawn(net.b, server, net.b.onNetwork(nwid));
  writeFileSync(join(net.dir, 'page'), PAGE);
  const url = `http://${ipOf(net.b)}:${WEB_PORT}/page`;
  const fetchOnce = (): void => {
    const text = net.a.run(['curl', '-sS', '-m', '5', url], net.a.onNetwork(nwid));
    assert.equal(text, PAGE);
  };
  await until('a page over the network', 20_000, () => {
    fetchOnce();
    return true;
  });
  return fetchOnce;
}

/** A file of b's, as many bytes as given, fetched by a. */
function fetchLarge(net: Net, nwid: string, ip: string, len: number): void {
  const text = 'large\n'.repeat(len / 6);
  writeFileSync(join(net.dir, 'large'), text);
  const url = `http://${ip}:${WEB_PORT}/large`;
  const got = net.a.run(['curl', '-sS', '-m', '10', url], net.a.onNetwork(nwid));
  assert.equal(got.length, text.length);
  assert.ok(got === text, 'another text of the same length');
}

/** What is longer than a router's link is cut into fragments there: it must not be marked otherwise. */
async function narrowLink(net: Net): Promise<void> {
  net.nat(1, 'port-preserving');
  net.nat(2, 'port-preserving');
  for (const n of [1, 2]) net.narrow(n, 1_000);
  await meet(net, { root: PLAIN, a: PLAIN, b: PLAIN });
  const nwid = `${net.root.address}0000a1`;
  const assigned = net.b.record(`/network/${nwid}`)['assignedAddresses'] as string[];
  fetchLarge(net, nwid, assigned[0]!.split('/')[0]!, 600_000);
}

async function stopAll(net: Net): Promise<void> {
  for (const n of [net.a, net.b, net.root]) await n.stop();
}

const ipsOf = (paths: readonly string[]): string[] => paths.map((p) => p.split('/')[0]!);

async function holePunching(net: Net): Promise<void> {
  net.nat(1, 'port-preserving');
  net.nat(2, 'port-preserving');
  await meet(net, { root: PLAIN, a: PLAIN, b: PLAIN });
  await until('a direct path both ways', 20_000, () => {
    return (
      ipsOf(net.a.paths(net.b)).includes('99.7.0.2') &&
      ipsOf(net.b.paths(net.a)).includes('99.7.0.1')
    );
  });
}

async function relaying(net: Net): Promise<void> {
  net.nat(1, 'symmetric');
  net.nat(2, 'symmetric');
  const fetchOnce = await meet(net, { root: PLAIN, a: PLAIN, b: PLAIN });
  for (let i = 0; i < 3; i++) fetchOnce();
  assert.deepEqual([net.a.paths(net.b), net.b.paths(net.a)], [[], []]);
}

/** A leaf with a mapped port is reached directly by one behind a symmetric NAT. */
async function mapping(net: Net, pmp: boolean): Promise<void> {
  net.nat(1, 'symmetric');
  net.nat(2, 'symmetric');
  const end = net.portMapping(1, pmp);
  try {
    const fetchOnce = await meet(net, { root: PLAIN, a: MAPPING, b: PLAIN });
    const port = String(net.a.settings()['tertiaryPort']);
    await until('the port is mapped', 20_000, () => net.a.mapped().length > 0);
    assert.deepEqual(net.a.mapped(), [`99.7.0.1/${port}`]);
    assert.match(net.rules(1), new RegExp(`dport ${port} `));
    assert.doesNotMatch(net.rules(1), /0xffffffff/, 'from any source');
    await until('a path through it', 30_000, () => {
      fetchOnce();
      return net.b.paths(net.a).includes(`99.7.0.1/${port}`);
    });
    await net.a.stop();
    await until('the mapping is removed', 5_000, () => !net.rules(1).includes(`dport ${port} `));
  } finally {
    await end();
  }
}

/** A leaf without UDP, then with it again. */
async function tcpRelay(net: Net): Promise<void> {
  net.nat(1, 'port-preserving');
  net.nat(2, 'port-preserving');
  net.dropUdp(1);
  const relay = packageFile('build/test/underlay/relay.js');
  net.spawn(net.root, [process.execPath, relay, '99.7.0.10', RELAY_PORT], {});
  const settings = { forceTcpRelay: true, tcpFallbackRelay: `99.7.0.10/${RELAY_PORT}` };
  const isActive = (): boolean => net.a.record('/status')['tcpFallbackActive'] === true;
  const fetchOnce = await meet(net, { root: PLAIN, a: { settings }, b: PLAIN });
  assert.ok(isActive());
  assert.deepEqual(net.a.settings()['listeningOn'], []);
  for (let i = 0; i < 3; i++) fetchOnce();
  net.nat(1, 'port-preserving');
  net.a.api('/config/settings', { forceTcpRelay: false });
  await until('UDP is used again', 20_000, () => {
    fetchOnce();
    const paths = net.a.record(`/peer/${net.root.address}`)['paths'] as JsonRecord[];
    return !isActive() && paths.length > 0 && paths.every((p) => Number(p['localSocket']) < 1e6);
  });
}

/** The leaves have sockets of IPv6 alone. */
async function ipv6(net: Net): Promise<void> {
  net.plug(net.a, 'p3', 'fd99::1/64');
  net.plug(net.b, 'p4', 'fd99::2/64');
  const only = (address: string): JsonRecord => ({
    settings: { ...(PLAIN['settings'] as JsonRecord), bind: [address] },
  });
  await meet(net, { root: PLAIN, a: only('fd99::1'), b: only('fd99::2') });
  await until('direct paths', 20_000, () => {
    return (
      net.a.paths(net.b).includes('fd99::2/9993') && net.b.paths(net.a).includes('fd99::1/9993')
    );
  });
  assert.deepEqual(net.a.paths(net.root), ['fd99::10/9993']);
}

async function ports(net: Net): Promise<void> {
  net.nat(1, 'port-preserving');
  net.root.start(PLAIN);
  net.a.start({ settings: { portMappingEnabled: false, secondaryPort: 21_001 } });
  await online(net.root, net.a);
  // The root keeps one path per address of ours, we one per socket of ours.
  await until('two paths to the root', 10_000, () => net.a.paths(net.root).length === 2);
  assert.deepEqual(new Set(net.a.paths(net.root)), new Set(['99.7.0.10/9993']));
  assert.deepEqual(net.a.settings()['listeningOn'], ['192.168.1.2/9993', '192.168.1.2/21001']);
}

async function addressChange(net: Net): Promise<void> {
  net.nat(1, 'port-preserving');
  net.root.start(PLAIN);
  net.a.start(PLAIN);
  await online(net.root, net.a);
  const heardFrom = (): number => {
    const paths = net.a.record(`/peer/${net.root.address}`)['paths'] as JsonRecord[];
    return Math.max(0, ...paths.map((p) => Number(p['lastReceive'])));
  };
  net.changeAddress(net.a, '192.168.1.2/24', '192.168.1.77/24', '192.168.1.1');
  const changedAt = Date.now();
  const ms = await until('the root is heard from the new address', 20_000, () => {
    return heardFrom() > changedAt && String(net.a.settings()['listeningOn']).includes('.77/');
  });
  assert.deepEqual(net.a.settings()['listeningOn'], ['192.168.1.77/9993']);
  process.stdout.write(`     heard again after ${Math.round(ms)} ms\n`);
  net.changeAddress(net.a, '192.168.1.77/24', '192.168.1.2/24', '192.168.1.1');
}

/** Settings that are in force as soon as the file is read. */
async function liveSettings(net: Net): Promise<void> {
  net.root.start(PLAIN);
  await online(net.root);
  assert.deepEqual(net.root.settings()['listeningOn'], ['99.7.0.10/9993', 'fd99::10/9993']);
  const conf = { ...PLAIN, physical: { '99.7.0.0/24': { blacklist: true } } };
  writeFileSync(join(net.root.home, 'local.conf'), JSON.stringify(conf));
  const bound = (): string => String(net.root.settings()['listeningOn']);
  await until('a blacklisted address is closed', 20_000, () => bound() === 'fd99::10/9993');
  const settings = { ...(PLAIN['settings'] as JsonRecord), interfacePrefixBlacklist: ['et'] };
  net.root.api('/config/settings', settings);
  await until('a blacklisted interface is closed', 5_000, () => bound() === '');
  net.root.api('/config/settings', { interfacePrefixBlacklist: [], bind: ['99.7.0.10'] });
  await until('a bound address is opened', 5_000, () => bound() === '99.7.0.10/9993');
}

async function trustedPaths(net: Net): Promise<void> {
  net.nat(1, 'port-preserving');
  net.nat(2, 'port-preserving');
  const conf = { ...PLAIN, physical: { '99.7.0.0/24': { trustedPathId: 55 } } };
  await meet(net, { root: conf, a: conf, b: conf });
  await until('a direct path', 20_000, () => net.a.paths(net.b).length > 0);
  const peer = net.a.record(`/peer/${net.b.address}`)['paths'] as JsonRecord[];
  assert.ok(peer.every((p) => p['trustedPathId'] === 55));
}

/** Another identity holds our address at the root: a new one takes its place. */
async function collision(net: Net): Promise<void> {
  net.nat(1, 'port-preserving');
  const core = loadPacketCore();
  const p = createPrimitives((k) => core.memoryHardHash(k));
  const privateKey = new Uint8Array(64);
  nativeEntropy.fill(privateKey);
  const publicKey = p.publicFromPrivate(privateKey);
  const holder = { ...testIdentity(1), privateKey: undefined, publicKey };
  const version = { protocol: 12, ...SOFTWARE_VERSION };
  const record = emitPeerRecord({ identity: holder, version, endpoints: [] });
  net.root.start(PLAIN);
  await online(net.root);
  await net.root.stop();
  mkdirSync(join(net.root.home, 'peers.d'), { recursive: true });
  writeFileSync(join(net.root.home, `peers.d/${net.a.address}.peer`), record);
  net.root.start(PLAIN);
  await online(net.root);
  const secret = readFileSync(join(net.a.home, 'identity.secret'), 'utf8');
  const service = net.a.start(PLAIN);
  const saved = join(net.a.home, 'identity.secret.saved_after_collision');
  await until('the identity is set aside', 20_000, () => existsSync(saved));
  assert.equal(readFileSync(saved, 'utf8').trim(), secret.trim());
  await until('a new one is online', 30_000, () => {
    const status = net.a.record('/status');
    return status['address'] !== net.a.address && status['online'] === true;
  });
  assert.equal(service.child.exitCode, null, 'in the same process');
}

const SCENARIOS: readonly (readonly [string, (net: Net) => Promise<void>])[] = [
  ['two leaves behind port-preserving NATs reach each other directly', holePunching],
  ['two leaves behind symmetric NATs stay relayed and lose nothing', relaying],
  ['a port mapped by PCP is reached from behind a symmetric NAT', (n) => mapping(n, true)],
  ['a port mapped by UPnP is reached from behind a symmetric NAT', (n) => mapping(n, false)],
  ['routers with a small MTU that say nothing cut datagrams into fragments', narrowLink],
  ['a network over the TCP relay, where UDP is dropped', tcpRelay],
  ['a network over IPv6 alone', ipv6],
  ['two ports of one node are two paths', ports],
  ['an address that changes is noticed', addressChange],
  ['where to bind follows local.conf while the service runs', liveSettings],
  ['a network works over trusted paths', trustedPaths],
  ['a node whose address is another’s starts again with a new one', collision],
];

const USAGE = `usage: node build/test/underlay/main.js [--only TEXT]

What the service makes of real NATs, routers and interfaces, in network namespaces. Needs root.

  --only TEXT   scenarios whose title contains it
`;

async function main(): Promise<void> {
  const why = missing();
  const args = readOptions('underlay', USAGE, { only: { type: 'string', default: '' } });
  for (const [title, run] of SCENARIOS) {
    if (!title.includes(args.only)) continue;
    if (why !== undefined) {
      tally.skip(title, why);
      continue;
    }
    await tally.check(title, async () => {
      const net = new Net();
      try {
        net.up();
        await run(net);
        await stopAll(net);
      } finally {
        await net.down();
      }
    });
  }
}

await main();
tally.finish();
