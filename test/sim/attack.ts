/**
 * One node under test and others that speak to it with the right keys, without a network between:
 * for tests of what a hostile but known peer, root or controller can do. Deterministic by seed.
 */
import { Controller } from '#src/controller/controller.js';
import type { PeerKey, Suite } from '#src/crypto/api.js';
import type { Moment } from '#src/lib/time.js';
import { Writer } from '#src/lib/writer.js';
import { Node } from '#src/node/node.js';
import type { NodeOutput } from '#src/node/outputs.js';
import { type NetworkId, writeAddress } from '#src/wire/address.js';
import { type Com, issueCom } from '#src/wire/com.js';
import { writeOkHello } from '#src/wire/hello.js';
import type { Identity } from '#src/wire/identity.js';
import { inetAddress, type RemoteAddress, remoteAddress } from '#src/wire/inetaddress.js';
import {
  DEFAULT_MTU,
  emitNetworkConfig,
  NETWORK_PRIVATE,
  type NetworkConfig,
} from '#src/wire/netconf.js';
import {
  FLAG_COMPRESSED,
  FLAG_FRAGMENTED,
  fragmentPlan,
  MAX_PACKET_LEN,
  OFF_DEST,
  OFF_FLAGS,
  OFF_SOURCE,
  OFF_VERB,
  PACKET_HEAD_LEN,
  packetId,
  SOFTWARE_VERSION,
  VERB,
  writeFragmentHead,
} from '#src/wire/packet.js';
import { ACCEPT_ALL } from '#src/wire/rules.js';
import { signWorld, WORLD_PLANET, type World } from '#src/wire/world.js';
import { core, poolIdentity, primitives } from './identities.js';
import { Luck } from './luck.js';

const PORT = 9993;
const MTU = 1432;
const WALL = 1_700_000_000_000;

export type Transmit = Extract<NodeOutput, { kind: 'transmit' }>;

export interface Opened {
  readonly verb: number;
  readonly id: bigint;
  readonly payload: Uint8Array;
}

export interface SendOptions {
  readonly from?: RemoteAddress;
  readonly suite?: Suite;
  readonly hops?: number;
  /** LZ4 when the payload is long enough to gain by it. */
  readonly compress?: boolean;
  readonly socket?: number;
  /** Payload offset from which a HELLO is masked. */
  readonly maskFrom?: number;
}

/** An endpoint of the test's own: 10.9.x.y. */
export function endpoint(n: number, port = PORT): RemoteAddress {
  return remoteAddress(inetAddress(Uint8Array.of(10, 9, (n >> 8) & 255, (n & 255) + 1), port));
}

/** A payload of up to 10 KB. */
export function payload(write: (w: Writer) => void): Uint8Array {
  const w = Writer.of(MAX_PACKET_LEN);
  write(w);
  return w.done().slice();
}

/** The planet whose only root is `root`. */
function planetOf(root: Identity): World {
  const privateKey = new Uint8Array(64).fill(3);
  const world = {
    type: WORLD_PLANET,
    id: 77n,
    timestamp: 1n,
    updateKey: primitives.publicFromPrivate(privateKey),
    roots: [{ identity: { ...root, privateKey: undefined }, endpoints: [endpoint(0)] }],
  };
  return signWorld(primitives, world, privateKey);
}

export class Target {
  readonly node: Node;
  readonly self: Identity;
  readonly controller = new Controller();
  readonly luck: Luck;
  now = 1_000_000;
  readonly #keys = new Map<number, PeerKey>();

  /** Identity 0 is the planet's root; the node is 1, or 0 with `isRoot`. */
  constructor(seed: number, isRoot = false) {
    this.self = poolIdentity(isRoot ? 0 : 1);
    this.luck = new Luck(seed, 'attack');
    this.node = new Node({
      identity: this.self,
      core,
      primitives,
      entropy: new Luck(seed, 'entropy'),
      jitter: new Luck(seed, 'jitter'),
      protocol: 12,
      planet: planetOf(poolIdentity(0)),
      platform: 'linux/x86_64',
      strict: true,
      poison: true,
    });
    this.node.setController(this.controller);
    this.input((at) =>
      this.node.handleSockets(
        at,
        [
          { id: 1, family: 4 },
          { id: 2, family: 6 },
        ],
        [endpoint(1)],
      ),
    );
  }

  moment(): Moment {
    return { mono: this.now, wall: WALL + Math.floor(this.now) };
  }

  /** Runs one input and returns copies of all it caused. */
  input(run: (at: Moment) => unknown): NodeOutput[] {
    run(this.moment());
    const out: NodeOutput[] = [];
    for (let o = this.node.poll(); o !== undefined; o = this.node.poll()) {
      if (o.kind === 'transmit' || o.kind === 'frame') out.push({ ...o, bytes: o.bytes.slice() });
      else out.push(o);
    }
    return out;
  }

  /** Lets `ms` pass and runs what is due then. */
  wait(ms: number): NodeOutput[] {
    this.now += ms;
    return this.input((at) => this.node.handleTimeout(at));
  }

  key(other: Identity): PeerKey {
    let key = this.#keys.get(other.address);
    if (key === undefined) {
      key = core.makeKey(primitives.agree(other.privateKey!, this.self.publicKey)!);
      this.#keys.set(other.address, key);
    }
    return key;
  }

  /** Makes `other` known without a conversation. */
  know(other: Identity): void {
    this.input(() => this.node.vl1.state.addPeer(other));
  }

  /** The sealed datagrams of one packet from `from`: one, or its fragments. */
  seal(from: Identity, verb: number, body: Uint8Array, o: SendOptions = {}): Uint8Array[] {
    let data = body.subarray(0, MAX_PACKET_LEN - PACKET_HEAD_LEN);
    let flag = 0;
    if (o.compress === true && data.length > 64) {
      const packed = new Uint8Array(MAX_PACKET_LEN);
      const n = core.compress(data, packed);
      if (n > 0 && n < data.length) [data, flag] = [packed.subarray(0, n), FLAG_COMPRESSED];
    }
    const packet = new Uint8Array(PACKET_HEAD_LEN + data.length);
    this.luck.fill(packet.subarray(0, 8));
    writeAddress(packet, OFF_DEST, this.self.address);
    writeAddress(packet, OFF_SOURCE, from.address);
    packet[OFF_VERB] = verb | flag;
    packet.set(data, PACKET_HEAD_LEN);
    const plan = fragmentPlan(packet.length, MTU);
    if (plan.pieces > 0) packet[OFF_FLAGS] = FLAG_FRAGMENTED;
    if (o.maskFrom !== undefined && flag === 0)
      core.maskHello(this.key(from), packet, PACKET_HEAD_LEN + o.maskFrom);
    core.seal(this.key(from), packet, o.suite ?? 3);
    packet[OFF_FLAGS] = packet[OFF_FLAGS]! | (o.hops ?? 0);
    const out = [packet.slice(0, plan.first)];
    for (let i = 1, at = plan.first; i <= plan.pieces; i++, at += MTU - 16) {
      const piece = packet.subarray(at, at + MTU - 16);
      const datagram = new Uint8Array(16 + piece.length);
      writeFragmentHead(datagram, packet, i, plan.pieces + 1);
      datagram.set(piece, 16);
      out.push(datagram);
    }
    return out;
  }

  /** One packet from `from`, whole. */
  send(from: Identity, verb: number, body: Uint8Array, o: SendOptions = {}): NodeOutput[] {
    const at = o.from ?? endpoint(100 + (from.address % 100));
    return this.seal(from, verb, body, o).flatMap((d) => this.datagram(at, d, o.socket));
  }

  datagram(from: RemoteAddress, bytes: Uint8Array, socket = 1): NodeOutput[] {
    return this.input((at) => this.node.handleDatagram(at, socket, from, bytes));
  }

  /** What `to` reads in a datagram of the node; undefined when it is not (whole and) for it. */
  open(to: Identity, datagram: Uint8Array): Opened | undefined {
    const packet = datagram.slice();
    const id = packet.length < PACKET_HEAD_LEN ? 0n : packetId(packet);
    if (!core.open(this.key(to), packet)) return undefined;
    let body = packet.slice(PACKET_HEAD_LEN);
    if ((packet[OFF_VERB]! & FLAG_COMPRESSED) !== 0) {
      const room = new Uint8Array(MAX_PACKET_LEN);
      body = room.slice(0, Math.max(0, core.decompress(body, room)));
    }
    return { verb: packet[OFF_VERB]! & 0x1f, id, payload: body };
  }

  /** Packets for `to` among outputs. */
  opened(to: Identity, outputs: readonly NodeOutput[]): Opened[] {
    return transmits(outputs)
      .map((o) => this.open(to, o.bytes))
      .filter((x) => x !== undefined);
  }

  /** Makes `other` known with a path at `from`: HELLO is provoked and answered. */
  meet(other: Identity, from = endpoint(100 + (other.address % 100))): void {
    this.know(other);
    const hello = this.opened(other, this.send(other, VERB.NOP, new Uint8Array(0), { from })).find(
      (p) => p.verb === VERB.HELLO,
    );
    if (hello === undefined) throw new Error('the node did not confirm the path');
    const ok = payload((w) => {
      w.u8(VERB.HELLO).u64(hello.id);
      writeOkHello(
        w,
        {
          timestamp: BigInt(this.moment().wall),
          version: { protocol: 12, ...SOFTWARE_VERSION },
          surface: endpoint(1),
        },
        new Uint8Array(0),
      );
    });
    this.send(other, VERB.OK, ok, { from });
  }

  /** Joins a network of `controller` and gives it a configuration, in the old unsigned form. */
  configure(controller: Identity, nwid: NetworkId, change: Partial<NetworkConfig> = {}): void {
    this.know(controller);
    this.input((at) => this.node.join(at, nwid));
    this.input(() =>
      this.node.vl2.applyConfig(
        this.node.vl2.network(nwid)!,
        emitNetworkConfig({ ...this.config(controller, nwid), ...change }),
      ),
    );
  }

  config(controller: Identity, nwid: NetworkId): NetworkConfig {
    return {
      nwid,
      timestamp: BigInt(this.moment().wall),
      credentialTimeMaxDelta: 1_800_000n,
      revision: 1n,
      issuedTo: this.self.address,
      traceTarget: 0,
      traceLevel: 0n,
      flags: 0x02n,
      multicastLimit: 32,
      type: NETWORK_PRIVATE,
      name: 'attacked',
      mtu: DEFAULT_MTU,
      com: this.com(controller, nwid, this.self),
      capabilities: [],
      tags: [],
      ownerships: [],
      specialists: [],
      routes: [],
      addresses: [inetAddress(Uint8Array.of(10, 91, 0, 1), 16)],
      rules: ACCEPT_ALL,
      dns: { domain: '', servers: [] },
      sso: { enabled: false, version: 0n, authenticationUrl: '', expiryTime: 0n },
    };
  }

  com(controller: Identity, nwid: NetworkId, to: Identity, timestamp = this.moment().wall): Com {
    return issueCom(primitives, controller, nwid, to, BigInt(timestamp), 1_800_000n);
  }
}

export function transmits(outputs: readonly NodeOutput[]): Transmit[] {
  return outputs.filter((o): o is Transmit => o.kind === 'transmit');
}

/** A network id of a controller. */
export function networkOf(controller: Identity, low = 0xa1n): NetworkId {
  return (BigInt(controller.address) << 24n) | low;
}
