/**
 * A laboratory of network namespaces on one machine: nodes on a virtual switch, each a real
 * ZeroTier One or ours. Needs root, iproute2 and, for real nodes, /dev/net/tun and the binary
 * named by ZEROTIER_ONE. Everything made here is removed by `down`; nothing can leave the
 * namespaces, since none has a default route.
 *
 *        sw: bridge br0  10.9.0.254
 *      +---------+---------+--- ...
 *   node 1    node 2    node 3        10.9.0.1, .2, .3 on eth0, UDP port 9993
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { makePlanet } from '#src/cli/planet.js';
import { createPrimitives, nativeEntropy } from '#src/crypto/native.js';
import { loadPacketCore } from '#src/packetcore/load.js';
import { addressText } from '#src/wire/address.js';
import { emitIdentityText, generateIdentity, type Identity } from '#src/wire/identity.js';
import { parseInetAddress } from '#src/wire/inetaddress.js';
import { emitWorld } from '#src/wire/world.js';

export type Kind = 'real' | 'ours';
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

const PORT = 9993;
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

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
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
  readonly kind: Kind;
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

  /** Starts the node; resolves at once. */
  start(settings: JsonObject = {}): void {
    const quiet = {
      primaryPort: PORT,
      allowSecondaryPort: false,
      portMappingEnabled: false,
      allowTcpFallbackRelay: false,
      softwareUpdate: 'disable',
    };
    writeFileSync(
      join(this.home, 'local.conf'),
      JSON.stringify({ settings: { ...quiet, ...settings } }),
    );
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
    const child = spawn('ip', ['netns', 'exec', this.ns, ...command], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    const keep = (d: Buffer): void => {
      this.log = (this.log + d.toString()).slice(-20_000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    this.lab.children.push(child);
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

  /** IPv4 address once the network is OK. */
  async ipv4(nwid: string, ms = 15_000): Promise<string> {
    return until(`${this.name} has an address`, ms, async () => {
      const net = await this.network(nwid);
      const list = net['assignedAddresses'] as string[];
      const v4 = list.find((a) => !a.includes(':'));
      return net['status'] === 'OK' && v4 !== undefined ? v4.split('/')[0] : undefined;
    });
  }
}

export class Lab {
  readonly dir = mkdtempSync(join(tmpdir(), 'nclab-'));
  readonly prefix: string;
  readonly nodes: LabNode[] = [];
  readonly children: ChildProcess[] = [];
  #planet: Uint8Array | undefined;

  constructor(prefix = `nct${process.pid % 10000}-`) {
    this.prefix = prefix;
  }

  /** Switch and nodes; the first node is the only root. */
  up(nodes: readonly { readonly name: string; readonly kind: Kind }[]): void {
    ip('netns', 'add', `${this.prefix}sw`);
    ip('-n', `${this.prefix}sw`, 'link', 'add', 'br0', 'type', 'bridge');
    ip('-n', `${this.prefix}sw`, 'link', 'set', 'br0', 'up');
    for (const [i, n] of nodes.entries()) this.#addNode(n.name, n.kind, i + 1);
    const root = this.nodes[0]!;
    const privateKey = new Uint8Array(64);
    nativeEntropy.fill(privateKey);
    const key = { privateKey, publicKey: primitives.publicFromPrivate(privateKey) };
    const endpoint = parseInetAddress(`${root.ip}/${PORT}`)!;
    const roots = [
      { identity: { ...root.identity, privateKey: undefined }, endpoints: [endpoint] },
    ];
    this.#planet = emitWorld(makePlanet(primitives, key, roots, 900_001n, BigInt(Date.now())));
    for (const n of this.nodes) writeFileSync(join(n.home, 'planet'), this.#planet);
  }

  #addNode(name: string, kind: Kind, number: number): void {
    const node = new LabNode(
      this,
      name,
      kind,
      `10.9.0.${number}`,
      generateIdentity(primitives, nativeEntropy),
    );
    this.nodes.push(node);
    mkdirSync(node.home);
    writeFileSync(join(node.home, 'identity.secret'), emitIdentityText(node.identity, true), {
      mode: 0o600,
    });
    writeFileSync(join(node.home, 'identity.public'), emitIdentityText(node.identity, false));
    const port = `v${number}`;
    ip('netns', 'add', node.ns);
    ip(
      'link',
      'add',
      'eth0',
      'netns',
      node.ns,
      'type',
      'veth',
      'peer',
      'name',
      port,
      'netns',
      `${this.prefix}sw`,
    );
    ip('-n', `${this.prefix}sw`, 'link', 'set', port, 'master', 'br0', 'up');
    ip('-n', node.ns, 'addr', 'add', `${node.ip}/24`, 'dev', 'eth0');
    ip('-n', node.ns, 'link', 'set', 'eth0', 'up');
    ip('-n', node.ns, 'link', 'set', 'lo', 'up');
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

  /** Records the switch's UDP into a pcap file until `stop` is called. */
  async capture(file: string): Promise<{ stop(): Promise<void> }> {
    const child = spawn(
      'ip',
      [
        'netns',
        'exec',
        `${this.prefix}sw`,
        'tcpdump',
        '-i',
        'br0',
        '-U',
        '-s',
        '128',
        '-w',
        file,
        'udp port 9993',
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    this.children.push(child);
    await new Promise<void>((done) => child.stderr.once('data', () => done()));
    return {
      stop: async () => {
        await new Promise((r) => setTimeout(r, 300));
        const gone = new Promise<void>((r) => child.once('exit', () => r()));
        child.kill('SIGTERM');
        await gone;
      },
    };
  }

  /** Ends all processes that were started here and removes namespaces and files. */
  async down(): Promise<void> {
    await Promise.all(this.nodes.map((n) => n.stop()));
    const alive = this.children.filter((c) => c.exitCode === null && c.signalCode === null);
    const gone = alive.map((c) => new Promise<void>((r) => c.once('exit', () => r())));
    for (const c of alive) c.kill('SIGKILL');
    await Promise.all(gone);
    for (const ns of [...this.nodes.map((n) => n.ns), `${this.prefix}sw`]) {
      try {
        ip('netns', 'del', ns);
      } catch {
        // Never made: `up` failed before it.
      }
    }
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Datagrams by (source IP, cipher suite) in a capture of Ethernet frames. */
export function countCiphers(pcap: Buffer): Map<string, Map<number, number>> {
  const out = new Map<string, Map<number, number>>();
  const le = pcap.readUInt32LE(0) === 0xa1b2c3d4;
  const u32 = (at: number): number => (le ? pcap.readUInt32LE(at) : pcap.readUInt32BE(at));
  for (let at = 24; at + 16 <= pcap.length; ) {
    const len = u32(at + 8);
    const f = pcap.subarray(at + 16, at + 16 + len);
    at += 16 + len;
    if (f.length < 14 + 20 + 8 + 28 || f.readUInt16BE(12) !== 0x0800 || f[23] !== 17) continue;
    const udp = 14 + (f[14]! & 15) * 4 + 8;
    if (f[udp + 13] === 0xff) continue;
    const from = f.subarray(26, 30).join('.');
    const suite = (f[udp + 18]! >> 3) & 7;
    const counts = out.get(from) ?? new Map<number, number>();
    counts.set(suite, (counts.get(suite) ?? 0) + 1);
    out.set(from, counts);
  }
  return out;
}
