/**
 * Our node and a real one as members of the same networks, and what they do there. Every check
 * returns what it saw and the traffic between the two from the switch's capture.
 */
import type { ChildProcess } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import { type Capture, type Traffic, trafficBetween } from '../lab/capture.js';
import { type JsonObject, type Lab, type LabNode, until } from '../lab/lab.js';
import { expect, type Finding } from './rows.js';

const HELPER = new URL('./traffic.js', import.meta.url).pathname;
const GROUPS = new URL('./groups.js', import.meta.url).pathname;
/** Groups of both families: an administrative scope of IPv4, the link of IPv6. */
const GROUP_4 = '239.91.7.7';
const GROUP_6 = 'ff12::9107';
const GROUP_PORT = '9300';
/** Who joined is announced at once, and gathered again by a sender after at most a minute. */
const GROUP_MS = 90_000;
const PUBLIC = 0xa1;
const PRIVATE = 0xb2;
const V6_POOL = 'fd91::';
const RFC4193 = 'fd';
const SIX_PLANE = 'fc';
const TRANSFER_PORT = 9200;
/** Never reachable, reachable with equal tags, with a capability of the sender, always. */
const PORTS = { never: 9201, tagged: 9202, capable: 9203, open: 9204 };
const TAG = 1000;
const CAPABILITY = 1;
/** A refused port never answers; this long is waited for it. */
const REFUSED_MS = 1_500;
/** On a lossy wire a SYN or its answer may have to be sent three times. */
const LOSSY_REFUSED_MS = 4_000;
const PATIENCE_MS = 20_000;
/** A push that the reference's controller lost is healed by the member's next request, within a minute. */
const LOSSY_PATIENCE_MS = 90_000;

export interface PairOptions {
  readonly isLossy: boolean;
  readonly path: 'direct' | 'relayed';
}

interface Addresses {
  readonly v4: string;
  /** Neighbour discovery emulated for the first two, real for the third. */
  readonly rfc4193: string;
  readonly sixPlane: string;
  readonly pool: string;
}

const RULE_SET: JsonObject[] = [
  { type: 'MATCH_IP_DEST_PORT_RANGE', start: PORTS.never, end: PORTS.never },
  { type: 'ACTION_DROP' },
  { type: 'MATCH_IP_DEST_PORT_RANGE', start: PORTS.tagged, end: PORTS.tagged },
  { type: 'MATCH_TAGS_DIFFERENCE', id: TAG, value: 0 },
  { type: 'ACTION_ACCEPT' },
  { type: 'MATCH_IP_DEST_PORT_RANGE', start: PORTS.tagged, end: PORTS.capable },
  { type: 'ACTION_BREAK' },
  { type: 'ACTION_ACCEPT' },
];
const CAPABILITY_RULES: JsonObject[] = [
  { type: 'MATCH_IP_DEST_PORT_RANGE', start: PORTS.capable, end: PORTS.capable },
  { type: 'ACTION_ACCEPT' },
];

export class Pair {
  readonly #lab: Lab;
  readonly #controller: LabNode;
  readonly #us: LabNode;
  readonly #peer: LabNode;
  readonly #options: PairOptions;
  readonly #nwid: string;
  readonly #capture: Capture;
  readonly #servers: ChildProcess[] = [];
  #ours!: Addresses;
  #theirs!: Addresses;

  private constructor(
    lab: Lab,
    controller: LabNode,
    us: LabNode,
    peer: LabNode,
    options: PairOptions,
    nwid: string,
    capture: Capture,
  ) {
    this.#lab = lab;
    this.#controller = controller;
    this.#us = us;
    this.#peer = peer;
    this.#options = options;
    this.#nwid = nwid;
    this.#capture = capture;
  }

  /** Both join a public network with every kind of address; servers run on both. */
  static async join(
    lab: Lab,
    controller: LabNode,
    us: LabNode,
    peer: LabNode,
    options: PairOptions,
  ): Promise<Pair> {
    const subnet = `10.91.${PUBLIC}`;
    const nwid = await lab.createNetwork(controller, PUBLIC, {
      private: false,
      v6AssignMode: { zt: true, rfc4193: true, '6plane': true },
      routes: [
        { target: `${subnet}.0/24`, via: null },
        { target: `${V6_POOL}/64`, via: null },
      ],
      ipAssignmentPools: [
        { ipRangeStart: `${subnet}.10`, ipRangeEnd: `${subnet}.250` },
        { ipRangeStart: `${V6_POOL}10`, ipRangeEnd: `${V6_POOL}ffff` },
      ],
    });
    const capture = await lab.capture();
    const pair = new Pair(lab, controller, us, peer, options, nwid, capture);
    for (const n of [peer, us]) await n.api('POST', `/network/${nwid}`, {});
    pair.#ours = await pair.#addresses(us);
    pair.#theirs = await pair.#addresses(peer);
    for (const n of [us, peer])
      pair.#serve(n, nwid, [TRANSFER_PORT, ...Object.values(PORTS)].map(String));
    return pair;
  }

  async #addresses(n: LabNode): Promise<Addresses> {
    const v4 = await n.ipv4(this.#nwid, 40_000);
    const v6 = async (prefix: string): Promise<string> => n.ipv6(this.#nwid, prefix, 5_000);
    const pool = await v6(V6_POOL.slice(0, 5));
    const net = await n.network(this.#nwid);
    const all = (net['assignedAddresses'] as string[]).map((a) => a.split('/')[0]!);
    const rfc4193 = all.find((a) => a.startsWith(RFC4193) && a !== pool);
    const sixPlane = all.find((a) => a.startsWith(SIX_PLANE));
    if (rfc4193 === undefined || sixPlane === undefined) throw new Error(`addresses: ${all}`);
    return { v4, rfc4193, sixPlane, pool };
  }

  #env(n: LabNode, nwid: string): NodeJS.ProcessEnv {
    return n.kind === 'ours' ? n.onNetwork(nwid) : {};
  }

  #serve(n: LabNode, nwid: string, ports: readonly string[]): void {
    this.#servers.push(n.spawn([process.execPath, HELPER, 'serve', ...ports], this.#env(n, nwid)));
  }

  async #traffic(mark: number): Promise<Traffic> {
    return trafficBetween(await this.#capture.since(mark), this.#us, this.#peer);
  }

  /** Runs a check, and demands that most of its packets took the path of the conditions. */
  async #seen(run: () => Promise<string>): Promise<Finding> {
    const mark = await this.#capture.mark();
    const detail = await run();
    const traffic = await this.#traffic(mark);
    const { direct, relayed } = traffic;
    const isRight =
      this.#options.path === 'direct' ? direct > relayed : direct === 0 && relayed > 0;
    expect(isRight, `${detail}; but ${direct} packets direct and ${relayed} relayed`);
    return { detail, traffic };
  }

  async #answers(ip: string): Promise<void> {
    await until(`${ip} answers a ping`, 30_000, async () => {
      await this.#peer.run(['ping', '-c', '1', '-W', '1', ip]);
      return true;
    });
  }

  async #ping(from: LabNode, ip: string): Promise<string> {
    if (from === this.#peer) await this.#answers(ip);
    const count = 30;
    const command = ['ping', '-c', String(count), '-i', '0.05', '-W', '2', ip];
    const text = await from.run(command, this.#env(from, this.#nwid)).then(String);
    const seen = new Set([...text.matchAll(/icmp_seq=(\d+) /g)].map((m) => Number(m[1])));
    const lost = Array.from({ length: count }, (_, i) => i + 1).filter((n) => !seen.has(n));
    const received = Number(/(\d+) received/.exec(text)?.[1]);
    // Four uplinks of 5 % each lose a fifth of all round trips.
    const wanted = this.#options.isLossy ? count / 2 : count;
    expect(
      received >= wanted,
      `${from.name} to ${ip}: ${received} of ${count} answered, without ${lost.join(' ')}`,
    );
    return `${received}/${count} ${/= [\d.]+\/([\d.]+)/.exec(text)?.[1]} ms`;
  }

  /** Each pings all addresses of the other. */
  pings(): Promise<Finding> {
    return this.#seen(async () => {
      const out: string[] = [];
      for (const [from, to] of [
        [this.#peer, this.#ours],
        [this.#us, this.#theirs],
      ] as const)
        for (const [kind, ip] of Object.entries(to))
          out.push(`${from.name} ${kind} ${await this.#ping(from, ip)}`);
      return out.join(', ');
    });
  }

  /** Interface name of a node's network, as its programs see it. */
  async #device(n: LabNode): Promise<string> {
    if (n === this.#peer) return String((await this.#peer.network(this.#nwid))['portDeviceName']);
    const names = `console.log(Object.keys(require('os').networkInterfaces()).find((n) => n !== 'lo'))`;
    const text = await n.run([process.execPath, '-e', names], this.#env(n, this.#nwid));
    return String(text).trim();
  }

  /** Datagrams to a group that the other joined arrive, both ways and in both families. */
  groups(): Promise<Finding> {
    return this.#seen(async () => {
      const out: string[] = [];
      for (const group of [GROUP_4, GROUP_6])
        for (const [from, to] of [
          [this.#us, this.#peer],
          [this.#peer, this.#us],
        ] as const)
          out.push(await this.#group(from, to, group));
      return out.join(', ');
    });
  }

  async #group(from: LabNode, to: LabNode, group: string): Promise<string> {
    const own = (n: LabNode): Promise<string> =>
      group === GROUP_6
        ? this.#device(n)
        : Promise.resolve(n === this.#us ? this.#ours.v4 : this.#theirs.v4);
    const text = `${from.name} to ${group}`;
    const run = async (n: LabNode, mode: string): Promise<ChildProcess> => {
      const args = [GROUPS, mode, group, GROUP_PORT, await own(n), text];
      return n.spawn([process.execPath, ...args], this.#env(n, this.#nwid));
    };
    const listener = await run(to, 'listen');
    let heard = '';
    listener.stdout!.on('data', (d: Buffer) => {
      heard += d.toString();
    });
    await until(`${to.name} listens to ${group}`, 20_000, () =>
      heard.includes('ready') ? true : undefined,
    );
    const began = performance.now();
    const sender = await run(from, 'send');
    try {
      await until(`three datagrams: ${text}`, GROUP_MS, () =>
        heard.split(text).length > 3 ? true : undefined,
      );
    } finally {
      for (const child of [listener, sender]) child.kill('SIGTERM');
    }
    return `${text} after ${((performance.now() - began) / 1000).toFixed(1)} s`;
  }

  /** The peer forgets its neighbours, and we start anew: both must ask by multicast again. */
  multicast(): Promise<Finding> {
    return this.#seen(async () => {
      const device = String((await this.#peer.network(this.#nwid))['portDeviceName']);
      for (const ip of [this.#ours.v4, this.#ours.pool]) {
        await this.#peer.run(['ip', 'neigh', 'flush', 'dev', device]);
        await this.#answers(ip);
        const entry = String(await this.#peer.run(['ip', 'neigh', 'show', ip, 'dev', device]));
        expect(entry.includes('lladdr'), `no neighbour entry for ${ip}: ${entry}`);
      }
      await this.#restartUs();
      for (const ip of [this.#theirs.v4, this.#theirs.pool]) await this.#echo(this.#us, ip);
      return 'asked by the peer and by us, IPv4 and IPv6';
    });
  }

  async #restartUs(): Promise<void> {
    await this.#us.stop();
    this.#us.start();
    await this.#us.status(this.#nwid, 'OK', 40_000);
    this.#serve(this.#us, this.#nwid, [TRANSFER_PORT, ...Object.values(PORTS)].map(String));
    await this.#echo(this.#peer, this.#ours.v4);
  }

  /** A short TCP exchange, tried until it works. */
  async #echo(from: LabNode, ip: string): Promise<void> {
    await until(`${from.name} reaches ${ip}`, 30_000, async () =>
      (await this.#reach(from, ip, TRANSFER_PORT, 5_000)) ? true : undefined,
    );
  }

  async #reach(from: LabNode, ip: string, port: number, ms: number): Promise<boolean> {
    const command = [process.execPath, HELPER, 'reach', ip, String(port), String(ms)];
    const text = String(await from.run(command, this.#env(from, this.#nwid)));
    return text.trim() === 'open';
  }

  async #move(from: LabNode, direction: 'up' | 'down', ip: string, bytes: number): Promise<void> {
    await from.run(
      [process.execPath, HELPER, direction, ip, String(TRANSFER_PORT), String(bytes)],
      this.#env(from, this.#nwid),
      120_000,
    );
  }

  /** Bytes of a transfer: a lossy wire of some thousand frames a second carries less. */
  get #bytes(): number {
    return this.#options.isLossy ? 300_000 : 5_000_000;
  }

  /** Each side connects to the other and sends, then receives. */
  tcp(family: 4 | 6): Promise<Finding> {
    return this.#seen(async () => {
      const ours = family === 4 ? [this.#ours.v4] : [this.#ours.rfc4193, this.#ours.pool];
      const theirs = family === 4 ? [this.#theirs.v4] : [this.#theirs.sixPlane, this.#theirs.pool];
      for (const [from, to] of [
        [this.#us, theirs],
        [this.#peer, ours],
      ] as const) {
        for (const ip of to) {
          await this.#echo(from, ip);
          for (const direction of ['up', 'down'] as const)
            await this.#move(from, direction, ip, this.#bytes);
        }
      }
      return `${this.#bytes} bytes each way on connections of either side, SHA-256 equal`;
    });
  }

  async #set(path: string, body: JsonObject): Promise<void> {
    await this.#controller.api('POST', `/controller/network/${path}`, body);
  }

  get #patience(): number {
    return this.#options.isLossy ? LOSSY_PATIENCE_MS : PATIENCE_MS;
  }

  async #reachBoth(port: number): Promise<readonly [boolean, boolean]> {
    const ms = this.#options.isLossy ? LOSSY_REFUSED_MS : REFUSED_MS;
    return Promise.all([
      this.#reach(this.#us, this.#theirs.v4, port, ms),
      this.#reach(this.#peer, this.#ours.v4, port, ms),
    ]);
  }

  async #expectReach(
    port: number,
    fromUs: boolean,
    fromPeer: boolean,
    when: string,
  ): Promise<void> {
    await until(
      `${when}: port ${port} from us ${fromUs}, from the peer ${fromPeer}`,
      this.#patience,
      async () => {
        const [a, b] = await this.#reachBoth(port);
        return a === fromUs && b === fromPeer ? true : undefined;
      },
    );
  }

  /** Rules, then equal tags, then a capability of ours alone. */
  rules(): Promise<Finding> {
    return this.#seen(async () => {
      const [us, peer] = [this.#us.address, this.#peer.address];
      await this.#set(this.#nwid, {
        rules: RULE_SET,
        tags: [{ id: TAG, default: null }],
        capabilities: [{ id: CAPABILITY, default: false, rules: CAPABILITY_RULES }],
      });
      await this.#expectReach(PORTS.never, false, false, 'rules');
      await this.#expectReach(PORTS.open, true, true, 'rules');
      await this.#expectReach(PORTS.tagged, false, false, 'no tags');
      await this.#set(`${this.#nwid}/member/${us}`, { tags: [[TAG, 5]] });
      await this.#set(`${this.#nwid}/member/${peer}`, { tags: [[TAG, 6]] });
      await this.#expectReach(PORTS.tagged, false, false, 'other tags');
      await this.#set(`${this.#nwid}/member/${peer}`, { tags: [[TAG, 5]] });
      await this.#expectReach(PORTS.tagged, true, true, 'equal tags');
      await this.#expectReach(PORTS.capable, false, false, 'no capability');
      await this.#set(`${this.#nwid}/member/${us}`, { capabilities: [CAPABILITY] });
      await this.#expectReach(PORTS.capable, true, false, 'capability of ours');
      await this.#set(this.#nwid, { rules: [{ type: 'ACTION_ACCEPT' }] });
      await this.#expectReach(PORTS.never, true, true, 'rules removed');
      return 'dropped port, tag and capability judged alike from both sides';
    });
  }

  /** A private network: denied, authorised; each of the two in turn deauthorised. */
  revoked(): Promise<Finding> {
    return this.#seen(async () => {
      const nwid = await this.#lab.createNetwork(this.#controller, PRIVATE, { private: true });
      const authorize = (n: LabNode, authorized: boolean): Promise<void> =>
        this.#set(`${nwid}/member/${n.address}`, { authorized });
      for (const n of [this.#peer, this.#us]) {
        await n.api('POST', `/network/${nwid}`, {});
        await n.status(nwid, 'ACCESS_DENIED', this.#patience);
        await authorize(n, true);
      }
      const ip = await this.#us.ipv4(nwid, 40_000);
      await this.#peer.ipv4(nwid, 40_000);
      await this.#answers(ip);
      const out: string[] = [];
      for (const n of [this.#us, this.#peer]) {
        const from = performance.now();
        await authorize(n, false);
        await until(`pings end after ${n.name} is removed`, this.#patience, async () =>
          this.#peer.run(['ping', '-c', '2', '-i', '0.2', '-W', '1', ip]).then(
            () => undefined,
            () => true,
          ),
        );
        out.push(`${n.name} silent within ${((performance.now() - from) / 1000).toFixed(1)} s`);
        // The reference learns of it with its next request, up to a minute later.
        if (n.kind === 'ours') await n.status(nwid, 'ACCESS_DENIED', this.#patience);
        await authorize(n, true);
        await n.status(nwid, 'OK', 90_000);
        await this.#answers(ip);
      }
      for (const n of [this.#peer, this.#us]) await n.api('DELETE', `/network/${nwid}`);
      return out.join(', ');
    });
  }

  /** Name, MTU and routes change under traffic, twice. */
  pushed(): Promise<Finding> {
    return this.#seen(async () => {
      let isOver = false;
      let transfers = 0;
      const moving = (async () => {
        do {
          await this.#move(this.#us, 'up', this.#theirs.v4, this.#bytes);
          await this.#move(this.#peer, 'up', this.#ours.v4, this.#bytes);
          transfers += 2;
        } while (!isOver);
      })();
      // A transfer that fails is reported below, after the pushes.
      moving.catch(() => undefined);
      const routes = [
        { target: `10.91.${PUBLIC}.0/24`, via: null },
        { target: `${V6_POOL}/64`, via: null },
        { target: '10.77.0.0/16', via: `10.91.${PUBLIC}.1` },
      ];
      try {
        for (const [name, mtu] of [
          ['changed', 1400],
          ['changed again', 2800],
        ] as const) {
          await this.#set(this.#nwid, { name, mtu, routes });
          for (const n of [this.#us, this.#peer])
            await until(`${n.name} has ${name}`, this.#patience, async () => {
              const net = await n.network(this.#nwid);
              const count = (net['routes'] as unknown[]).length;
              return net['name'] === name && net['mtu'] === mtu && count === 3 ? true : undefined;
            });
        }
      } finally {
        isOver = true;
      }
      await moving;
      return `name, MTU 1400 and 2800, a route by a gateway; ${transfers} transfers went on`;
    });
  }

  async end(): Promise<void> {
    for (const child of this.#servers) child.kill('SIGTERM');
    await this.#capture.stop();
  }
}
