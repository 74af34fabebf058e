/**
 * A small internet in network namespaces, for what only the kernel can show: NATs, routers with port
 * mapping, addresses that change. Needs root, iproute2 and nftables. Nothing leaves the namespaces.
 *
 *     root 99.7.0.10 ---.
 *                        switch (99.7.0.0/24, fd99::/64)
 *     a 192.168.1.2 -- router 1 --'  '-- router 2 -- b 192.168.2.2
 *                      99.7.0.1          99.7.0.2
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makePlanet } from '#src/cli/planet.js';
import { createPrimitives } from '#src/crypto/native.js';
import { isRecord, type JsonRecord, type JsonValue, parseJson } from '#src/lib/json.js';
import { loadPacketCore } from '#src/packetcore/load.js';
import { emitIdentityText } from '#src/wire/identity.js';
import { parseInetAddress } from '#src/wire/inetaddress.js';
import { emitWorld } from '#src/wire/world.js';
import { packageFile, TestService, testAddress, testIdentity } from '../helpers/service.js';

const core = loadPacketCore();
const primitives = createPrimitives((k) => core.memoryHardHash(k));
const PORT = 9993;
const MINIUPNPD = '/usr/sbin/miniupnpd';

/** What the router does to sources: keep ports where it can, or choose one per destination. */
export type Nat = 'port-preserving' | 'symmetric';

/** Why such a net cannot be made here, or undefined. */
export function missing(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root for network namespaces';
  for (const [file, name] of [
    ['/usr/sbin/nft', 'nftables'],
    [MINIUPNPD, 'miniupnpd'],
    ['/usr/bin/curl', 'curl'],
  ] as const)
    if (!existsSync(file)) return `needs ${name}`;
  try {
    execFileSync('ip', ['-V'], { stdio: 'ignore' });
  } catch {
    return 'needs ip (iproute2)';
  }
  return undefined;
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

const lines = (...l: string[]): string => `${l.join('\n')}\n`;

function ruleset(nat: Nat): string {
  const random = nat === 'symmetric' ? ' fully-random' : '';
  return lines(
    'flush ruleset',
    'table inet filter {',
    ' chain forward { type filter hook forward priority 0; policy drop;',
    '  ct state established,related accept; iifname "lan" accept; jump miniupnpd; }',
    ' chain miniupnpd { }',
    // As home routers do: otherwise a stranger's packet would take the port of a mapping to come.
    ' chain input { type filter hook input priority 0; iifname "wan" ct state new drop; }',
    ' chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }',
    ' chain prerouting_miniupnpd { }',
    ' chain postrouting { type nat hook postrouting priority 100;',
    `  jump postrouting_miniupnpd; oifname "wan" masquerade${random}; }`,
    ' chain postrouting_miniupnpd { }',
    '}',
  );
}

export class Node {
  readonly ns: string;
  readonly home: string;
  readonly address: string;
  service: TestService | undefined;

  constructor(net: Net, name: string, identity: number) {
    this.ns = `${net.prefix}${name}`;
    this.home = join(net.dir, name);
    this.address = testAddress(identity);
    mkdirSync(this.home);
    const id = testIdentity(identity);
    writeFileSync(join(this.home, 'identity.secret'), emitIdentityText(id, true), { mode: 0o600 });
    writeFileSync(join(this.home, 'planet'), net.planet);
  }

  start(conf: JsonRecord = {}): TestService {
    writeFileSync(join(this.home, 'local.conf'), JSON.stringify(conf));
    const prefix = ['ip', 'netns', 'exec', this.ns];
    this.service = new TestService(this.home, [`-p${PORT}`], process.env, prefix);
    return this.service;
  }

  async stop(): Promise<void> {
    await this.service?.stop();
    this.service = undefined;
  }

  /** Runs a command in the namespace. @throws on a non-zero exit. */
  run(command: readonly string[], env: NodeJS.ProcessEnv = {}): string {
    return execFileSync('ip', ['netns', 'exec', this.ns, ...command], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
      timeout: 20_000,
    });
  }

  api(path: string, body?: JsonRecord, method = 'POST'): JsonValue {
    const token = readFileSync(join(this.home, 'authtoken.secret'), 'utf8').trim();
    const data = body === undefined ? [] : ['-X', method, '-d', JSON.stringify(body)];
    const url = `http://127.0.0.1:${PORT}${path}`;
    return parseJson(
      this.run(['curl', '-sS', '--fail', '-m', '5', '-H', `X-ZT1-Auth: ${token}`, ...data, url]),
    );
  }

  record(path: string): JsonRecord {
    const v = this.api(path);
    if (!isRecord(v)) throw new Error(`${path}: ${JSON.stringify(v)}`);
    return v;
  }

  /** `ip/port` of the paths to a peer. */
  paths(to: Node): string[] {
    const paths = this.record(`/peer/${to.address}`)['paths'];
    return Array.isArray(paths) ? paths.map((p) => String((p as JsonRecord)['address'])) : [];
  }

  settings(): JsonRecord {
    return (this.record('/status')['config'] as JsonRecord)['settings'] as JsonRecord;
  }

  mapped(): string[] {
    return (this.record('/status')['netcon'] as JsonRecord)['mapped'] as string[];
  }

  onNetwork(nwid: string): NodeJS.ProcessEnv {
    return {
      LD_PRELOAD: packageFile('dist/native/libztintercept.so'),
      ZT_NC_NETWORK: join(this.home, `nc_${nwid}`),
      ZT_NC_WAIT: '3',
    };
  }
}

export class Net {
  readonly prefix = `ncu${process.pid % 10_000}-`;
  readonly dir = mkdtempSync(join(tmpdir(), 'ncunder-'));
  readonly planet: Uint8Array;
  readonly root: Node;
  readonly a: Node;
  readonly b: Node;
  readonly #namespaces: string[] = [];
  readonly #children: ChildProcess[] = [];

  constructor() {
    const privateKey = new Uint8Array(64).fill(9);
    const key = { privateKey, publicKey: primitives.publicFromPrivate(privateKey) };
    const endpoints = ['99.7.0.10', 'fd99::10'].map((t) => parseInetAddress(`${t}/${PORT}`)!);
    const roots = [{ identity: { ...testIdentity(0), privateKey: undefined }, endpoints }];
    this.planet = emitWorld(makePlanet(primitives, key, roots, 900_003n, 1_700_000_000_000n));
    this.root = new Node(this, 'root', 0);
    this.a = new Node(this, 'a', 1);
    this.b = new Node(this, 'b', 2);
  }

  up(): void {
    this.#namespace('sw');
    ip('-n', `${this.prefix}sw`, 'link', 'add', 'br0', 'type', 'bridge');
    ip('-n', `${this.prefix}sw`, 'link', 'set', 'br0', 'up');
    this.#namespace('root');
    this.#wire('root', 'eth0', 'sw', 'p0');
    this.#address('root', 'eth0', '99.7.0.10/24', 'fd99::10/64');
    for (const [i, leaf] of ['a', 'b'].entries()) this.#site(i + 1, leaf);
  }

  #site(n: number, leaf: string): void {
    const router = `r${n}`;
    this.#namespace(router);
    this.#namespace(leaf);
    this.#wire(router, 'wan', 'sw', `p${n}`);
    this.#wire(leaf, 'eth0', router, 'lan');
    this.#address(router, 'wan', `99.7.0.${n}/24`);
    this.#address(router, 'lan', `192.168.${n}.1/24`);
    this.#address(leaf, 'eth0', `192.168.${n}.2/24`);
    ip('-n', this.prefix + leaf, 'route', 'add', 'default', 'via', `192.168.${n}.1`);
    const forward = ['sysctl', '-qw', 'net.ipv4.ip_forward=1'];
    ip('netns', 'exec', this.prefix + router, ...forward);
  }

  #namespace(name: string): void {
    const ns = this.prefix + name;
    ip('netns', 'add', ns);
    this.#namespaces.push(ns);
    // Addresses are usable at once: nobody else could have them.
    const dad = ['sysctl', '-qw', 'net.ipv6.conf.default.accept_dad=0'];
    ip('netns', 'exec', ns, ...dad);
    ip('-n', ns, 'link', 'set', 'lo', 'up');
  }

  /** A cable from an interface to a port of the switch, or to a router's interface. */
  #wire(node: string, name: string, peer: string, peerName: string): void {
    const [ns, peerNs] = [this.prefix + node, this.prefix + peer];
    ip('link', 'add', name, 'netns', ns, 'type', 'veth', 'peer', 'name', peerName, 'netns', peerNs);
    if (peer === 'sw') ip('-n', peerNs, 'link', 'set', peerName, 'master', 'br0');
    ip('-n', peerNs, 'link', 'set', peerName, 'up');
    ip('-n', ns, 'link', 'set', name, 'up');
  }

  #address(node: string, name: string, ...addresses: string[]): void {
    for (const a of addresses) ip('-n', this.prefix + node, 'addr', 'add', a, 'dev', name);
  }

  changeAddress(node: Node, from: string, to: string, gateway: string): void {
    ip('-n', node.ns, 'addr', 'del', from, 'dev', 'eth0');
    ip('-n', node.ns, 'addr', 'add', to, 'dev', 'eth0');
    ip('-n', node.ns, 'route', 'replace', 'default', 'via', gateway);
  }

  /** A second cable, from a leaf to the switch, with an address. */
  plug(node: Node, port: string, address: string): void {
    const name = node.ns.slice(this.prefix.length);
    this.#wire(name, 'eth1', 'sw', port);
    this.#address(name, 'eth1', address);
  }

  /** Sets the router up anew, without port mapping; forgets what it had translated. */
  nat(n: number, nat: Nat): void {
    const file = join(this.dir, `nat${n}`);
    writeFileSync(file, ruleset(nat));
    ip('netns', 'exec', `${this.prefix}r${n}`, '/usr/sbin/nft', '-f', file);
  }

  /** Lets no UDP through a router any more, until `nat` sets it up again. */
  dropUdp(n: number): void {
    const rule = ['insert', 'rule', 'inet', 'filter', 'forward', 'meta', 'l4proto', 'udp', 'drop'];
    ip('netns', 'exec', `${this.prefix}r${n}`, '/usr/sbin/nft', ...rule);
  }

  /** Gives the link behind a router a small MTU, and makes the router keep it to itself. */
  narrow(n: number, mtu: number): void {
    const router = `${this.prefix}r${n}`;
    ip('-n', router, 'link', 'set', 'wan', 'mtu', String(mtu));
    const nft = ['netns', 'exec', router, '/usr/sbin/nft'];
    const chain = '{ type filter hook output priority 0; icmp type destination-unreachable drop; }';
    ip(...nft, 'add', 'chain', 'inet', 'filter', 'silent', chain);
  }

  rules(n: number): string {
    return execFileSync(
      'ip',
      ['netns', 'exec', `${this.prefix}r${n}`, '/usr/sbin/nft', 'list', 'ruleset'],
      {
        encoding: 'utf8',
      },
    );
  }

  /** Debian's miniupnpd on a router. @returns what ends it. */
  portMapping(n: number, pmp: boolean): () => Promise<void> {
    const conf = join(this.dir, `miniupnpd${n}`);
    writeFileSync(
      conf,
      lines(
        'ext_ifname=wan',
        'listening_ip=lan',
        'http_port=5555',
        `enable_natpmp=${pmp ? 'yes' : 'no'}`,
        `enable_upnp=${pmp ? 'no' : 'yes'}`,
        'uuid=11111111-1111-1111-1111-111111111111',
        `allow 1024-65535 192.168.${n}.0/24 1024-65535`,
        'deny 0-65535 0.0.0.0/0 0-65535',
        'upnp_table_name=filter',
        'upnp_nat_table_name=filter',
        'upnp_forward_chain=miniupnpd',
        'upnp_nat_chain=prerouting_miniupnpd',
        'upnp_nat_postrouting_chain=postrouting_miniupnpd',
      ),
    );
    const pid = join(this.dir, `miniupnpd${n}.pid`);
    const args = ['netns', 'exec', `${this.prefix}r${n}`, MINIUPNPD, '-d', '-f', conf, '-P', pid];
    const child = spawn('ip', args, { stdio: 'ignore' });
    this.#children.push(child);
    return () => ended(child);
  }

  /** A program in a node's namespace that ends with the net. */
  spawn(node: Node, command: readonly string[], env: NodeJS.ProcessEnv): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', node.ns, ...command], {
      stdio: 'ignore',
      env: { ...process.env, ...env },
      cwd: this.dir,
    });
    this.#children.push(child);
    return child;
  }

  async down(): Promise<void> {
    for (const n of [this.a, this.b, this.root]) await n.stop();
    await Promise.all(this.#children.map(ended));
    for (const ns of this.#namespaces) ip('netns', 'del', ns);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((r) => child.once('exit', () => r()));
  child.kill('SIGKILL');
  await gone;
}
