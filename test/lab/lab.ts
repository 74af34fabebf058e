/**
 * A laboratory of network namespaces on one machine: nodes on a virtual switch, each a real
 * ZeroTier One or ours. Needs root, iproute2 and, for real nodes, /dev/net/tun and the binary
 * named by ZEROTIER_ONE; nft for NATs, python3 for lossy wires, tcpdump for captures. Everything
 * made here is removed by `down`; nothing can leave the namespaces, since none has a default route.
 *
 *                 sw: bridge br0
 *      +---------+---------+-----------------+
 *   node 1    node 2    node 3   NAT of 4: out 10.9.0.4 / in 192.168.4.1
 *                                node 4        192.168.4.2
 *
 * Node <n> is 10.9.0.<n> or fd09::<n> on eth0 (behind a NAT: seen from outside), UDP port 9993.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { createPrimitives, nativeEntropy } from '#src/crypto/native.js';
import { loadPacketCore } from '#src/packetcore/load.js';
import { addressText } from '#src/wire/address.js';
import { emitIdentityText, generateIdentity, type Identity } from '#src/wire/identity.js';
import { parseInetAddress } from '#src/wire/inetaddress.js';
import { emitWorld, signWorld, WORLD_MOON, WORLD_PLANET } from '#src/wire/world.js';
import { Capture } from './capture.js';
import {
  addAddress,
  addCable,
  addNamespace,
  addNat,
  addWire,
  BRIDGE,
  type Conditions,
  dropFrom,
  dropNothing,
  ip,
  removeNamespace,
  startWire,
  writeLocalConf,
} from './net.js';

export type Kind = 'real' | 'ours';
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

const PORT = 9993;
const PLANET_ID = 900_001n;
const SERVICE = new URL('../../../dist/service.js', import.meta.url).pathname;
export const PRELOAD = new URL('../../../dist/native/libztintercept.so', import.meta.url).pathname;
export const SUPPORTED_VERSION = '1.14.1';

const core = loadPacketCore();
const primitives = createPrimitives((k) => core.memoryHardHash(k));

/** Flags of our service's Node.js, for profiling: LAB_NODE_FLAGS. */
function extraFlags(): string[] {
  return (process.env['LAB_NODE_FLAGS'] ?? '').split(' ').filter((f) => f !== '');
}

/** Path of the real node, or why there is none. @throws when its version is another one. */
export function realNode(): string | undefined {
  const path = process.env['ZEROTIER_ONE'];
  if (path === undefined || path === '') return undefined;
  const version = execFileSync(path, ['-v'], { encoding: 'utf8' }).trim();
  if (version !== SUPPORTED_VERSION)
    throw new Error(`${path} is version ${version}; these tests name ${SUPPORTED_VERSION}`);
  return path;
}

/** Why a laboratory can not be set up here, or undefined. */
export function missing(needsTun: boolean): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root for network namespaces';
  if (needsTun && !existsSync('/dev/net/tun')) return 'needs /dev/net/tun';
  try {
    execFileSync('ip', ['-V'], { stdio: 'ignore' });
  } catch {
    return 'needs ip (iproute2)';
  }
  return undefined;
}

/** Asks until `ask` answers. @throws with `what` after `ms`. */
export async function until<T>(
  what: string,
  ms: number,
  ask: () => T | undefined | Promise<T | undefined>,
): Promise<T> {
  const deadline = performance.now() + ms;
  let last = '';
  for (;;) {
    try {
      const v = await ask();
      if (v !== undefined) return v;
    } catch (e) {
      last = e instanceof Error ? e.message.split('\n')[0]! : String(e);
    }
    if (performance.now() > deadline) throw new Error(`${what}: not within ${ms} ms ${last}`);
    await new Promise((r) => setTimeout(r, 20));
  }
}

export class LabNode {
  readonly lab: Lab;
  readonly name: string;
  /** Who runs in this home folder; changed while the node is stopped. */
  kind: Kind;
  readonly ip: string;
  readonly identity: Identity;
  readonly home: string;
  readonly ns: string;
  #process: ChildProcess | undefined;
  log = '';

  constructor(lab: Lab, name: string, kind: Kind, address: string, identity: Identity) {
    this.lab = lab;
    this.name = name;
    this.kind = kind;
    this.ip = address;
    this.identity = identity;
    this.home = join(lab.dir, name);
    this.ns = `${lab.prefix}${name}`;
  }

  get address(): string {
    return addressText(this.identity.address);
  }

  /** Device path of a network, for programs under the preload. */
  door(nwid: string): string {
    return join(this.home, `nc_${nwid}`);
  }

  /**
   * Starts the node; resolves at once.
   * @param settings of local.conf, over quiet ones. @param more other members of local.conf.
   */
  start(settings: JsonObject = {}, more: JsonObject = {}): void {
    writeLocalConf(this.home, PORT, more, settings);
    const [file, args] =
      this.kind === 'real'
        ? [realNode()!, ['-U', `-p${PORT}`, this.home]]
        : [process.execPath, [...extraFlags(), SERVICE, `-p${PORT}`, this.home]];
    this.#process = this.spawn([file, ...args]);
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Ends the node and waits for it. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const p = this.#process;
    this.#process = undefined;
    if (p === undefined || p.exitCode !== null || p.signalCode !== null) return;
    const gone = new Promise<void>((r) => p.once('exit', () => r()));
    p.kill(signal);
    const forced = setTimeout(() => p.kill('SIGKILL'), 6_000);
    await gone;
    clearTimeout(forced);
  }

  /** A process in this node's namespace, ended with the lab; its output goes to `log`. */
  spawn(command: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
    const child = this.lab.spawnIn(this.ns, command, env);
    const keep = (d: Buffer): void => {
      this.log = (this.log + d.toString()).slice(-20_000);
    };
    child.stdout?.on('data', keep);
    child.stderr?.on('data', keep);
    return child;
  }

  /** Runs a command to its end and returns its standard output. @throws on a non-zero exit. */
  run(
    command: readonly string[],
    env: NodeJS.ProcessEnv = {},
    timeoutMs = 60_000,
  ): Promise<Buffer> {
    const child = spawn('ip', ['netns', 'exec', this.ns, ...command], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    this.lab.children.push(child);
    const out: Buffer[] = [];
    let err = '';
    child.stdout.on('data', (d: Buffer) => out.push(d));
    child.stderr.on('data', (d: Buffer) => {
      err += d.toString();
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    return new Promise((done, fail) => {
      child.on('error', fail);
      child.on('close', (code, signal) => {
        clearTimeout(timer);
        if (code === 0) done(Buffer.concat(out));
        else
          fail(
            new Error(
              `${command.slice(0, 4).join(' ')}: exit ${code ?? signal} ${err.slice(-400)}`,
            ),
          );
      });
    });
  }

  /** Environment of a program under the preload on this node's network. */
  onNetwork(nwid: string): NodeJS.ProcessEnv {
    return { LD_PRELOAD: PRELOAD, ZT_NC_NETWORK: this.door(nwid), ZT_NC_WAIT: '3' };
  }

  /** A request to the node's control API, from inside its namespace. */
  async api(method: string, path: string, body?: JsonObject): Promise<Json> {
    const token = readFileSync(join(this.home, 'authtoken.secret'), 'utf8').trim();
    const data =
      body === undefined
        ? []
        : ['-H', 'Content-Type: application/json', '-d', JSON.stringify(body)];
    const text = await this.run([
      'curl',
      '-sS',
      '--fail',
      '-m',
      '10',
      '-X',
      method,
      '-H',
      `X-ZT1-Auth: ${token}`,
      ...data,
      `http://127.0.0.1:${PORT}${path}`,
    ]);
    return JSON.parse(text.toString()) as Json;
  }

  async isOnline(): Promise<boolean> {
    return ((await this.api('GET', '/status')) as JsonObject)['online'] === true;
  }

  async network(nwid: string): Promise<JsonObject> {
    return (await this.api('GET', `/network/${nwid}`)) as JsonObject;
  }

  /** Addresses of a network, without their prefix lengths, once it is OK and `wanted` agrees. */
  private async addresses(
    nwid: string,
    ms: number,
    wanted: (address: string) => boolean,
  ): Promise<string> {
    return until(`${this.name} has an address`, ms, async () => {
      const net = await this.network(nwid);
      const list = (net['assignedAddresses'] as string[]).map((a) => a.split('/')[0]!);
      return net['status'] === 'OK' ? list.find(wanted) : undefined;
    });
  }

  /** IPv4 address once the network is OK. */
  ipv4(nwid: string, ms = 15_000): Promise<string> {
    return this.addresses(nwid, ms, (a) => !a.includes(':'));
  }

  /** IPv6 address that begins with `prefix`, once the network is OK. */
  ipv6(nwid: string, prefix: string, ms = 15_000): Promise<string> {
    return this.addresses(nwid, ms, (a) => a.startsWith(prefix));
  }

  /** Until the network has that status. */
  async status(nwid: string, status: string, ms = 20_000): Promise<void> {
    await until(`${this.name}: ${status}`, ms, async () =>
      (await this.network(nwid))['status'] === status ? true : undefined,
    );
  }

  /** Drops all underlay traffic from these nodes. */
  refuse(others: readonly LabNode[]): void {
    dropFrom(
      this.ns,
      others.map((n) => n.ip),
    );
  }

  /** Takes back what `refuse` did. */
  refuseNobody(): void {
    dropNothing(this.ns);
  }
}

export interface NodeSpec {
  readonly name: string;
  readonly kind: Kind;
  /** Behind the NAT of the conditions. */
  readonly inside?: boolean;
  /** Listed in the planet; default: the first node alone. */
  readonly root?: boolean;
}

export class Lab {
  readonly dir = mkdtempSync(join(tmpdir(), 'nclab-'));
  readonly prefix: string;
  readonly nodes: LabNode[] = [];
  readonly children: ChildProcess[] = [];
  readonly #namespaces: string[] = [];
  readonly #worldKey = new Uint8Array(64);

  static readonly #standing = new Set<Lab>();
  static #count = 0;

  constructor(prefix = `nct${process.pid % 10000}-`) {
    // Several laboratories of one process stand at a time.
    this.prefix = `${prefix}${(Lab.#count++).toString(36)}-`;
    Lab.#standing.add(this);
    nativeEntropy.fill(this.#worldKey);
  }

  get #switch(): string {
    return `${this.prefix}sw`;
  }

  #namespace(ns: string): string {
    this.#namespaces.push(ns);
    addNamespace(ns);
    return ns;
  }

  /** Switch, nodes and planet. */
  async up(nodes: readonly NodeSpec[], conditions: Conditions = {}): Promise<void> {
    this.#namespace(this.#switch);
    ip('-n', this.#switch, 'link', 'add', BRIDGE, 'type', 'bridge');
    ip('-n', this.#switch, 'link', 'set', BRIDGE, 'up');
    const hasWire = (conditions.loss ?? 0) > 0 || (conditions.delayMs ?? 0) > 0;
    const taps = [];
    for (const [i, spec] of nodes.entries()) {
      if (hasWire) taps.push(addWire(this.#switch, i + 1));
      this.#addNode(spec, i + 1, conditions, hasWire ? `b${i + 1}` : BRIDGE);
    }
    if (hasWire) this.children.push(await startWire(this.#switch, taps, conditions));
    const isRoot = (spec: NodeSpec, i: number): boolean => spec.root ?? i === 0;
    const roots = this.nodes.filter((_, i) => isRoot(nodes[i]!, i));
    this.writePlanet(roots, Date.now());
  }

  /** Signs a planet with the laboratory's key and gives it to nodes (default: all). */
  writePlanet(
    roots: readonly LabNode[],
    timestamp: number,
    to: readonly LabNode[] = this.nodes,
  ): void {
    const planet = this.#world(WORLD_PLANET, PLANET_ID, roots, timestamp);
    for (const n of to) writeFileSync(join(n.home, 'planet'), planet);
  }

  /** Signs a moon with one root, whose address is its id, and gives it to nodes. Returns the id. */
  writeMoon(root: LabNode, timestamp: number, to: readonly LabNode[]): string {
    const moon = this.#world(WORLD_MOON, BigInt(root.identity.address), [root], timestamp);
    const id = root.address.padStart(16, '0');
    for (const n of to) {
      mkdirSync(join(n.home, 'moons.d'), { recursive: true });
      writeFileSync(join(n.home, 'moons.d', `${id}.moon`), moon);
    }
    return id;
  }

  #world(type: number, id: bigint, roots: readonly LabNode[], timestamp: number): Uint8Array {
    const listed = roots.map((n) => ({
      identity: { ...n.identity, privateKey: undefined },
      endpoints: [parseInetAddress(`${n.ip}/${PORT}`)!],
    }));
    const updateKey = primitives.publicFromPrivate(this.#worldKey);
    const world = { type, id, timestamp: BigInt(timestamp), updateKey, roots: listed };
    return emitWorld(signWorld(primitives, world, this.#worldKey));
  }

  #addNode(spec: NodeSpec, number: number, conditions: Conditions, bridge: string): void {
    const family = conditions.family ?? 4;
    const address = family === 4 ? `10.9.0.${number}` : `fd09::${number}`;
    const identity = generateIdentity(primitives, nativeEntropy);
    const node = new LabNode(this, spec.name, spec.kind, address, identity);
    this.nodes.push(node);
    mkdirSync(node.home);
    writeFileSync(join(node.home, 'identity.secret'), emitIdentityText(identity, true), {
      mode: 0o600,
    });
    writeFileSync(join(node.home, 'identity.public'), emitIdentityText(identity, false));
    this.#namespace(node.ns);
    if (conditions.nat !== undefined && spec.inside === true) {
      const nat = this.#namespace(`${node.ns}-nat`);
      addCable(nat, 'out', this.#switch, `v${number}`, bridge);
      addAddress(nat, 'out', address, 4);
      addNat(nat, node.ns, number, conditions.nat === 'symmetric');
    } else {
      addCable(node.ns, 'eth0', this.#switch, `v${number}`, bridge);
      addAddress(node.ns, 'eth0', address, family);
    }
  }

  /** A further namespace, removed with the laboratory. */
  extraNamespace(name: string): string {
    return this.#namespace(this.prefix + name);
  }

  /** A process in a namespace, ended with the laboratory; its output must be read. */
  spawnIn(ns: string, command: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', ns, ...command], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    this.children.push(child);
    return child;
  }

  node(name: string): LabNode {
    const n = this.nodes.find((x) => x.name === name);
    if (n === undefined) throw new Error(`no node ${name} in this laboratory`);
    return n;
  }

  /** A network of a controller of either kind, made through its HTTP routes. */
  async createNetwork(controller: LabNode, number: number, settings: JsonObject): Promise<string> {
    const nwid = controller.address + number.toString(16).padStart(6, '0');
    const subnet = `10.91.${number & 0xff}`;
    await controller.api('POST', `/controller/network/${nwid}`, {
      name: `lab-${number}`,
      v4AssignMode: { zt: true },
      routes: [{ target: `${subnet}.0/24`, via: null }],
      ipAssignmentPools: [{ ipRangeStart: `${subnet}.10`, ipRangeEnd: `${subnet}.250` }],
      ...settings,
    });
    return nwid;
  }

  /** Records the switch's UDP into a file of the laboratory. */
  async capture(name = 'capture.pcap'): Promise<Capture> {
    const capture = await Capture.start(this.#switch, BRIDGE, PORT, join(this.dir, name));
    this.children.push(capture.child);
    return capture;
  }

  /** Ends all processes that were started here and removes namespaces and files. */
  async down(): Promise<void> {
    await Promise.all(this.nodes.map((n) => n.stop()));
    const alive = this.children.filter((c) => c.exitCode === null && c.signalCode === null);
    const gone = alive.map((c) => new Promise<void>((r) => c.once('exit', () => r())));
    for (const c of alive) c.kill('SIGKILL');
    await Promise.all(gone);
    for (const ns of this.#namespaces) removeNamespace(ns);
    rmSync(this.dir, { recursive: true, force: true });
    Lab.#standing.delete(this);
  }

  /** Takes down whatever stands when the process is told to end. */
  static downOnSignal(): void {
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.once(signal, () => {
        void Promise.all([...Lab.#standing].map((l) => l.down())).then(() => process.exit(1));
      });
  }
}
