/**
 * What the checkers of networks share: the identities of the set with their secrets, and a bench
 * that runs one whole node of ours in virtual time among peers that exist only as keys.
 *
 * On the bench everybody is known to the node with identity and without a path; the root answers its
 * HELLO, so that packets are relayed. VL1 and VL2 get their time passes apart from each other,
 * because the records call them apart: `retryQueued` is VL1's, `background` is VL2's.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Entropy, Jitter, PeerKey } from '#src/crypto/api.js';
import { createPrimitives } from '#src/crypto/native.js';
import type { Moment } from '#src/lib/time.js';
import { Writer } from '#src/lib/writer.js';
import { Node } from '#src/node/node.js';
import { loadPacketCore } from '#src/packetcore/load.js';
import { addressText, readAddress } from '#src/wire/address.js';
import { writeOkHello } from '#src/wire/hello.js';
import { type Identity, parseIdentityText } from '#src/wire/identity.js';
import { inetAddress, remoteAddress } from '#src/wire/inetaddress.js';
import type { MulticastGroup } from '#src/wire/multicast-group.js';
import {
  FLAG_COMPRESSED,
  FLAG_FRAGMENTED,
  MAX_PACKET_LEN,
  OFF_DEST,
  OFF_FLAGS,
  OFF_VERB,
  PACKET_HEAD_LEN,
  PROTOCOL_VERSION_SALSA,
  packetId,
  SOFTWARE_VERSION,
  VERB,
  VERB_MASK,
} from '#src/wire/packet.js';
import { signWorld, WORLD_PLANET, type World } from '#src/wire/world.js';

export const core = loadPacketCore();
export const primitives = createPrimitives((k) => core.memoryHardHash(k));

/** Folder of the case files in use. */
export const vectorsDir = (): string =>
  process.env['VECTORS_DIR'] ?? new URL('../../../test/vectors', import.meta.url).pathname;

let secrets: ReadonlyMap<string, Identity> | undefined;

/** The identities of the set by name, with their private keys. */
export function secretIdentities(): ReadonlyMap<string, Identity> {
  if (secrets !== undefined) return secrets;
  const file = JSON.parse(readFileSync(join(vectorsDir(), 'vl2-identities.json'), 'utf8')) as {
    identities: Record<string, { secret: string }>;
  };
  secrets = new Map(
    Object.entries(file.identities).map(([name, v]) => [name, parseIdentityText(v.secret)!]),
  );
  return secrets;
}

export function secretIdentity(name: string): Identity {
  const identity = secretIdentities().get(name);
  if (identity === undefined) throw new Error(`no identity named ${name}`);
  return identity;
}

/** Deterministic; nothing on the bench is secret. */
class Counting implements Entropy, Jitter {
  #n = 0;

  next(): number {
    this.#n = (this.#n * 1_103_515_245 + 12_345) % 2 ** 31;
    return this.#n / 2 ** 31;
  }

  fill(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) bytes[i] = Math.floor(this.next() * 256);
  }
}

export interface SentPacket {
  readonly to: string;
  readonly verb: number;
  readonly payload: Uint8Array;
  readonly compressed: boolean;
}

export interface DeliveredFrame {
  readonly nwid: bigint;
  readonly src: Uint8Array;
  readonly dst: Uint8Array;
  readonly etherType: number;
  readonly bytes: Uint8Array;
}

/** All that one input caused. */
export interface Effects {
  readonly sends: readonly SentPacket[];
  readonly frames: readonly DeliveredFrame[];
  /** Networks whose change was announced to the host. */
  readonly changed: ReadonlySet<bigint>;
}

/** The verbs of networks; an OK of the bench's own HELLO is the root's business. */
const NETWORK_VERBS: ReadonlySet<number> = new Set([
  VERB.ERROR,
  VERB.OK,
  VERB.FRAME,
  VERB.EXT_FRAME,
  VERB.MULTICAST_LIKE,
  VERB.NETWORK_CREDENTIALS,
  VERB.NETWORK_CONFIG_REQUEST,
  VERB.NETWORK_CONFIG,
  VERB.MULTICAST_GATHER,
  VERB.MULTICAST_FRAME,
]);

const ROOT = 'root';
const ROOT_ENDPOINT = inetAddress(Uint8Array.of(10, 77, 0, 1), 9993);
const SOCKET = 1;
/** Monotonic time of the step with `at` 0. */
const EPOCH_MS = 1_000_000;
const SUITE_SALSA = 1;

function planetOf(root: Identity): World {
  const updateKey = new Uint8Array(64).fill(5);
  return signWorld(
    primitives,
    {
      type: WORLD_PLANET,
      id: 1n,
      timestamp: 1n,
      updateKey: primitives.publicFromPrivate(updateKey),
      roots: [{ identity: { ...root, privateKey: undefined }, endpoints: [ROOT_ENDPOINT] }],
    },
    updateKey,
  );
}

export class Bench {
  readonly node: Node;
  readonly #self: Identity;
  readonly #start: number;
  readonly #keys = new Map<string, PeerKey>();
  readonly #names = new Map<number, string>();
  readonly #groups = new Map<bigint, MulticastGroup[]>();
  readonly #inflated = new Uint8Array(MAX_PACKET_LEN);
  #at: Moment;
  #sends: SentPacket[] = [];
  #frames: DeliveredFrame[] = [];
  #changed = new Set<bigint>();
  #ownId = 0n;

  /** `start`: wall clock of `at` 0, ms since 1970. */
  constructor(self: string, start: number) {
    this.#self = secretIdentity(self);
    this.#start = start;
    this.#at = this.#moment(-1_000);
    const random = new Counting();
    this.node = new Node({
      identity: this.#self,
      core,
      primitives,
      entropy: random,
      jitter: random,
      protocol: 12,
      planet: planetOf(secretIdentity(ROOT)),
      platform: 'linux/x86_64',
      strict: true,
      poison: true,
    });
    this.node.handleSockets(this.#at, [{ id: SOCKET, family: 4 }], []);
    this.#drain();
    for (const [name, other] of secretIdentities()) {
      this.#names.set(other.address, name);
      if (name === self) continue;
      this.#keys.set(
        name,
        core.makeKey(primitives.agree(this.#self.privateKey!, other.publicKey)!),
      );
      this.node.vl1.state.addPeer({ ...other, privateKey: undefined });
    }
    this.#vl1Pass();
    assert.ok(this.node.isOnline, 'the root answered');
  }

  #moment(at: number): Moment {
    return { mono: EPOCH_MS + at, wall: this.#start + at };
  }

  /** Moves the clock; the root is heard at each step, so that the way through it stays open. */
  goTo(at: number): void {
    this.#at = this.#moment(at);
    this.#feed(ROOT, VERB.NOP, new Uint8Array(0), 0, this.#nextId());
  }

  #nextId(): bigint {
    this.#ownId += 8n;
    return 0xb000_0000_0000_0000n + this.#ownId;
  }

  // ---- inputs ----

  join(nwid: bigint): void {
    this.node.join(this.#at, nwid);
    this.#drain();
  }

  leave(nwid: bigint): void {
    assert.ok(this.node.leave(this.#at, nwid), 'was joined');
    this.#drain();
  }

  /** VL1's pass over the packets that wait. */
  retryQueued(): void {
    this.#vl1Pass();
  }

  #vl1Pass(): void {
    this.node.run(this.#at, () => this.node.vl1.handleTimeout(this.#at));
    this.#drain();
  }

  background(): void {
    this.node.run(this.#at, () => this.node.vl2.handleTimeout(this.#at));
    this.#drain();
  }

  setGroups(nwid: bigint, change: (groups: readonly MulticastGroup[]) => MulticastGroup[]): void {
    const groups = change(this.#groups.get(nwid) ?? []);
    this.#groups.set(nwid, groups);
    this.node.setSubscriptions(this.#at, nwid, groups);
    this.#drain();
  }

  frameIn(
    nwid: bigint,
    src: Uint8Array,
    dst: Uint8Array,
    etherType: number,
    bytes: Uint8Array,
  ): void {
    this.node.handleFrame(this.#at, nwid, src, dst, etherType, bytes);
    this.#drain();
  }

  /** Tells the node that it awaits a reply to a packet that it never sent. */
  expectReply(from: string, verb: number, id: bigint): void {
    const of = secretIdentity(from).address;
    this.node.vl1.state.expected.add(this.#at.mono, id, of, verb);
  }

  packetIn(from: string, verb: number, payload: Uint8Array, id: bigint, hops = 1): void {
    this.#feed(from, verb, payload, hops, id);
  }

  #feed(from: string, verb: number, payload: Uint8Array, hops: number, id: bigint): void {
    const key = this.#keys.get(from);
    if (key === undefined) throw new Error(`${from} is not on the bench`);
    const w = Writer.of(PACKET_HEAD_LEN + payload.length);
    w.u64(id).u40(this.#self.address).u40(secretIdentity(from).address).u8(0).zeros(8);
    w.u8(verb).put(payload);
    core.seal(key, w.bytes, SUITE_SALSA);
    // Hops lie outside the authenticated part.
    w.bytes[OFF_FLAGS] = w.bytes[OFF_FLAGS]! | hops;
    this.node.handleDatagram(this.#at, SOCKET, remoteAddress(ROOT_ENDPOINT), w.bytes);
    assert.equal(this.node.vl1.state.counters.get('badMac'), 0, 'the packet authenticates');
    this.#drain();
  }

  // ---- outputs ----

  #drain(): void {
    const hellos: Uint8Array[] = [];
    for (let o = this.node.poll(); o !== undefined; o = this.node.poll()) {
      if (o.kind === 'transmit') this.#sent(o.bytes.slice(), hellos);
      else if (o.kind === 'networkChanged') this.#changed.add(o.nwid);
      else if (o.kind === 'frame') {
        const { nwid, src, dst, etherType, bytes } = o;
        const own = { src: src.slice(), dst: dst.slice(), bytes: bytes.slice() };
        this.#frames.push({ nwid, etherType, ...own });
      }
    }
    for (const h of hellos) this.#answerHello(h);
  }

  #sent(packet: Uint8Array, hellos: Uint8Array[]): void {
    assert.equal(packet[OFF_FLAGS]! & FLAG_FRAGMENTED, 0, 'fits one datagram');
    const to = this.#names.get(readAddress(packet, OFF_DEST));
    if (to === undefined)
      throw new Error(`a packet to ${addressText(readAddress(packet, OFF_DEST))}`);
    const key = this.#keys.get(to)!;
    const isClear = (packet[OFF_FLAGS]! & 0x38) === 0;
    if (isClear && packet[OFF_VERB] === VERB.HELLO) {
      if (to === ROOT) hellos.push(packet);
      return;
    }
    assert.ok(core.open(key, packet), `authenticates at ${to}`);
    const verb = packet[OFF_VERB]! & VERB_MASK;
    if (!NETWORK_VERBS.has(verb)) return;
    const compressed = (packet[OFF_VERB]! & FLAG_COMPRESSED) !== 0;
    let payload = packet.subarray(PACKET_HEAD_LEN);
    if (compressed) {
      const len = core.decompress(payload, this.#inflated);
      assert.ok(len > payload.length, 'compression shrank it');
      payload = this.#inflated.slice(0, len);
    }
    this.#sends.push({ to, verb, payload, compressed });
  }

  #answerHello(packet: Uint8Array): void {
    const view = new DataView(packet.buffer, packet.byteOffset);
    const w = Writer.of(256);
    w.u8(VERB.HELLO).u64(packetId(packet));
    writeOkHello(
      w,
      {
        timestamp: view.getBigUint64(PACKET_HEAD_LEN + 5),
        version: { protocol: PROTOCOL_VERSION_SALSA, ...SOFTWARE_VERSION },
        surface: inetAddress(Uint8Array.of(10, 77, 0, 2), 9993),
      },
      new Uint8Array(0),
    );
    this.#feed(ROOT, VERB.OK, w.done(), 0, this.#nextId());
  }

  /** What happened since the last call. */
  take(): Effects {
    const effects = { sends: this.#sends, frames: this.#frames, changed: this.#changed };
    this.#sends = [];
    this.#frames = [];
    this.#changed = new Set();
    return effects;
  }
}
