import { stackConfigOf } from '#src/host/network-link.js';
import { fromHex } from '#src/lib/hex.js';
import { Reader } from '#src/lib/reader.js';
import type { NodeOutput } from '#src/node/outputs.js';
import { createStack } from '#src/stack/lwip-stack.js';
import { memberMac, networkIdText, readAddress, writeAddress } from '#src/wire/address.js';
import {
  CREDENTIAL,
  capabilitySignedBytes,
  ownedThing,
  ownershipSignedBytes,
  REVOCATION_FAST_PROPAGATE,
  revocationSignedBytes,
  THING,
  tagSignedBytes,
} from '#src/wire/credentials.js';
import { writeHello, writePushDirectPaths } from '#src/wire/hello.js';
import type { Identity } from '#src/wire/identity.js';
import { inetAddress } from '#src/wire/inetaddress.js';
import { BROADCAST_MAC } from '#src/wire/multicast-group.js';
import { emitConfigChunks, emitNetworkConfig, type NetworkConfig } from '#src/wire/netconf.js';
import { OFF_DEST, PACKET_HEAD_LEN, SOFTWARE_VERSION, VERB } from '#src/wire/packet.js';
import { ACCEPT_ALL, RULE, readRules } from '#src/wire/rules.js';
import { writeCredentials } from '#src/wire/vl2-messages.js';
import type { Dice } from '../helpers/dice.js';
import { mutate } from '../helpers/mutate.js';
import { type Sample, samples } from '../helpers/recorded.js';
import {
  endpoint,
  networkOf,
  payload,
  type SendOptions,
  Target,
  transmits,
} from '../sim/attack.js';
import { poolIdentity, primitives } from '../sim/world.js';

export const root = poolIdentity(0);
const hostile = poolIdentity(2);
export const member = poolIdentity(3);
const other = poolIdentity(4);
const NETWORKS = ['4351578df50000a1', '1a016169f0000001'].map((x) => fromHex(x));

/** Puts our network into recorded payloads. */
function renamed(bytes: Uint8Array, nwid: bigint): Uint8Array {
  const out = Buffer.from(bytes);
  const ours = Buffer.from(networkIdText(nwid), 'hex');
  for (const theirs of NETWORKS)
    for (let at = out.indexOf(theirs); at >= 0; at = out.indexOf(theirs, at + 8))
      ours.copy(out, at);
  return new Uint8Array(out);
}

const signed = <T extends { signature: Uint8Array }>(x: T, of: (x: T) => Uint8Array): T => ({
  ...x,
  signature: primitives.sign(hostile.privateKey!, of(x)),
});

/** Everything a controller can hand out to `to`, genuine. */
function genuineCredentials(d: Dice, target: Target, nwid: bigint, to: Identity): Uint8Array {
  const timestamp = BigInt(target.moment().wall - d.below(10_000));
  const head = { nwid, timestamp, signature: new Uint8Array(96) };
  const tail = { issuedTo: to.address, signer: hostile.address };
  const id = d.below(200);
  const bare = { nwid, timestamp, id, rules: ACCEPT_ALL, maxCustody: 1, custody: [] };
  const signature = primitives.sign(hostile.privateKey!, capabilitySignedBytes(bare));
  return payload((w) =>
    writeCredentials(w, {
      coms: [target.com(hostile, nwid, to, Number(timestamp))],
      capabilities: [{ ...bare, custody: [{ to: to.address, from: hostile.address, signature }] }],
      tags: [signed({ ...head, ...tail, id, value: d.below(9) }, tagSignedBytes)],
      revocations: d.chance(0.3)
        ? [
            signed(
              {
                ...head,
                id,
                credentialId: id,
                threshold: timestamp - 5_000n,
                flags: REVOCATION_FAST_PROPAGATE,
                target: to.address,
                signer: hostile.address,
                type: d.pick(Object.values(CREDENTIAL)),
              },
              revocationSignedBytes,
            ),
          ]
        : [],
      ownerships: [
        signed(
          { ...head, ...tail, flags: 0n, id, things: [ownedThing(THING.IPV4, d.bytes(4))] },
          ownershipSignedBytes,
        ),
      ],
    }),
  );
}

/** Rules that copy to others, and every match once. */
const rulesBlob = (d: Dice): Uint8Array =>
  payload((w) => {
    w.u8(RULE.ACTION_TEE)
      .u8(14)
      .u64(BigInt(other.address))
      .u32(0)
      .u16(d.pick([0, 64]));
    for (const type of Object.values(RULE)) {
      if (type < 16) continue;
      const len = 19;
      w.u8(type | d.pick([0, 0x80, 0x40]))
        .u8(len)
        .put(d.bytes(len));
      w.u8(d.pick([0, 1, 3, 4, 5]))
        .u8(14)
        .u64(BigInt(member.address))
        .u32(0)
        .u16(0);
    }
    w.u8(RULE.ACTION_ACCEPT).u8(0);
  });

/** A configuration as a hostile controller may write it: it signs whatever it likes. */
function hostileConfig(d: Dice, target: Target, nwid: bigint): Uint8Array {
  const blob = rulesBlob(d);
  const address = () => inetAddress(d.bytes(d.pick([4, 16])), d.below(200));
  const config: NetworkConfig = {
    ...target.config(hostile, nwid),
    type: d.below(2),
    flags: BigInt(d.below(64)),
    multicastLimit: d.pick([0, 1, 32, 2 ** 32 - 1]),
    mtu: d.pick([0, 1280, 2800, 10_000]),
    rules: d.chance(0.5) ? ACCEPT_ALL : readRules(new Reader(blob), 300),
    addresses: Array.from({ length: d.below(5) }, address),
    routes: Array.from({ length: d.below(5) }, () => ({
      target: address(),
      via: address(),
      flags: 0,
      metric: 0,
    })),
    specialists: Array.from(
      { length: d.below(4) },
      () => BigInt(d.pick([member, other, target.self]).address) | (BigInt(d.below(16)) << 40n),
    ),
  };
  const text = emitNetworkConfig(config);
  return d.chance(0.3) ? mutate(d, text) : text;
}

function chunksOf(d: Dice, nwid: bigint, text: Uint8Array): Uint8Array[] {
  return emitConfigChunks(nwid, text, BigInt(d.below(2 ** 31)), (b) => {
    // The flags byte is part of what is signed: some chunks ask to be passed on.
    const flagsAt = 10 + ((b[8]! << 8) | b[9]!);
    if (d.chance(0.3)) b[flagsAt] = 1;
    // Total length or offset of the chunk.
    if (d.chance(0.1)) b.set(d.bytes(4), flagsAt + d.pick([9, 13]));
    return primitives.sign(hostile.privateKey!, b);
  });
}

export interface AttackOptions {
  readonly seed: number;
  readonly dice: Dice;
  readonly isRoot?: boolean;
  /** Joined networks of others. Default: yes. */
  readonly member?: boolean;
  /** A network of its own. Default: yes. */
  readonly controller?: boolean;
  /** Verbs of which more packets are sent. */
  readonly focus?: readonly number[];
}

interface Asked {
  readonly id: bigint;
  readonly verb: number;
}

export class Attack {
  d: Dice;
  readonly target: Target;
  readonly nwid = networkOf(hostile);
  readonly own: bigint;
  readonly asked = new Map<number, Asked[]>();
  readonly #stack = createStack({
    mac: Uint8Array.of(2, 0, 0, 0, 0, 1),
    entropy: { fill: (b) => void b.fill(7) },
    at: { mono: 0, wall: 0 },
  });
  readonly #withFrames: boolean;
  readonly #focus: readonly Sample[];
  readonly #focusChance: number;
  most = 0;

  constructor(o: AttackOptions) {
    this.d = o.dice;
    this.#withFrames = o.member ?? true;
    this.#focus = samples.filter((s) => o.focus?.includes(s.verb));
    this.#focusChance = this.#focus.length === 0 ? 0 : 0.4;
    this.target = new Target(o.seed, o.isRoot ?? false);
    this.own = networkOf(this.target.self);
    for (const p of this.peers()) this.target.meet(p, p === root ? endpoint(0) : undefined);
    if (o.member ?? true) this.#join();
    if (o.controller ?? true) this.#control();
  }

  /** A network of the hostile controller, and an ad-hoc one. */
  #join(): void {
    this.target.configure(hostile, this.nwid);
    this.target.input((at) =>
      this.target.node.join(at, 0xff00_0000_0000_0000n | (0xffff_0000_00n << 8n)),
    );
  }

  /** A network of the node's own. */
  #control(): void {
    const rules = [
      { type: 'MATCH_RANDOM', probability: 2 ** 31 },
      { type: 'ACTION_TEE', address: other.address.toString(16), flags: 0, length: 0 },
      { type: 'ACTION_ACCEPT' },
    ];
    this.target.input((at) =>
      this.target.node.run(at, () =>
        this.target.controller.postNetwork(at, this.own, {
          private: false,
          v4AssignMode: { zt: true },
          routes: [{ target: '10.5.0.0/16', via: null }],
          ipAssignmentPools: [{ ipRangeStart: '10.5.0.1', ipRangeEnd: '10.5.250.1' }],
          rules,
        }),
      ),
    );
    this.target.input((at) => this.target.node.join(at, this.own));
  }

  peers(): Identity[] {
    return [root, hostile, member, other].filter((p) => p.address !== this.target.self.address);
  }

  /** What every output must satisfy. */
  check(outputs: readonly NodeOutput[], most: number): void {
    this.most = Math.max(this.most, outputs.length);
    if (outputs.length > most) throw new Error(`${outputs.length} outputs of one input`);
    for (const o of transmits(outputs)) {
      if (o.bytes.length > 1_472) throw new Error(`a datagram of ${o.bytes.length} bytes`);
      if (o.to.port === 0) throw new Error('a datagram to port 0');
    }
    for (const o of outputs) {
      if (o.kind === 'networkChanged') {
        const config = this.target.node.vl2.network(o.nwid)?.config;
        if (config !== undefined)
          this.#stack.configure(
            { mono: 0, wall: 0 },
            stackConfigOf(config, () => true),
          );
      } else if (o.kind === 'validate') {
        const ok = this.d.chance(0.5);
        this.check(
          this.target.input((at) => this.target.node.handleValidation(at, o.id, ok)),
          most,
        );
      }
    }
  }

  /** Remembers what the peers were asked: an OK counts only from who was, about the verb. */
  note(outputs: readonly NodeOutput[]): void {
    for (const o of transmits(outputs)) {
      if (o.bytes.length < PACKET_HEAD_LEN) continue;
      const to = readAddress(o.bytes, OFF_DEST);
      const peer = this.peers().find((p) => p.address === to);
      const packet = peer && this.target.open(peer, o.bytes);
      if (packet === undefined) continue;
      const list = this.asked.get(to) ?? [];
      list.push({ id: packet.id, verb: packet.verb });
      this.asked.set(to, list.slice(-20));
    }
  }

  /** The payload of one packet from `from`. */
  #payload(from: Identity): { verb: number; bytes: Uint8Array; maskFrom?: number } {
    const { d, target } = this;
    const nwid = d.pick([this.nwid, this.own]);
    if (d.chance(this.#focusChance)) return this.#focused(nwid);
    switch (d.below(14)) {
      case 0:
        return {
          verb: VERB.NETWORK_CREDENTIALS,
          bytes: genuineCredentials(d, target, this.nwid, d.pick([member, other, from])),
        };
      case 1:
        return {
          verb: VERB.NETWORK_CONFIG,
          bytes: d.pick(chunksOf(d, this.nwid, hostileConfig(d, target, this.nwid))),
        };
      case 2: {
        let maskFrom = 0;
        const bytes = payload((w) => {
          maskFrom = writeHello(
            w,
            {
              version: { protocol: d.pick([4, 11, 12, 255]), ...SOFTWARE_VERSION },
              timestamp: d.pick([0n, 2n ** 64n - 1n, BigInt(target.moment().wall)]),
              identity: from,
              sentTo: endpoint(d.below(999), d.below(65_536)),
              planetId: d.pick([0n, 77n, 2n ** 63n]),
              planetTimestamp: d.pick([0n, 2n ** 64n - 1n]),
            },
            Array.from({ length: d.below(4) }, () => ({ type: 127, id: 1n, timestamp: 0n })),
          );
        });
        return { verb: VERB.HELLO, bytes, maskFrom };
      }
      case 3:
        return {
          verb: VERB.PUSH_DIRECT_PATHS,
          bytes: payload((w) => {
            const some = Array.from({ length: 40 }, () =>
              inetAddress(d.bytes(d.pick([4, 16])), d.below(3)),
            );
            writePushDirectPaths(w, some);
          }),
        };
      case 4:
        return {
          verb: VERB.FRAME,
          bytes: payload(
            (w) =>
              void w
                .u64(nwid)
                .u16(d.pick([0x800, 0x86dd, 0x806]))
                .put(d.bytes(d.pick([0, 60, 1_500, 9_986]))),
          ),
        };
      case 5:
        return { verb: VERB.ECHO, bytes: d.bytes(d.pick([0, 8, 1_400, 1_500, 9_900])) };
      case 6: {
        const asked = [...this.peers(), target.self, poolIdentity(5)].map((p) => p.address);
        const count = d.pick([1, 8, 40, 1_900]);
        return {
          verb: VERB.WHOIS,
          bytes: payload((w) => {
            for (let i = 0; i < count; i++) w.u40(asked[i % asked.length]!);
          }),
        };
      }
      default: {
        const s = d.pick(samples);
        return { verb: s.verb, bytes: renamed(s.bytes, nwid) };
      }
    }
  }

  /** A recorded payload of one of the verbs that this attack is about. */
  #focused(nwid: bigint): { verb: number; bytes: Uint8Array } {
    const s = this.d.pick(this.#focus);
    return { verb: s.verb, bytes: renamed(s.bytes, nwid) };
  }

  /** A datagram for somebody else, of any length; its content is nobody's business. */
  relayed(): void {
    const { d, target } = this;
    const bytes = new Uint8Array(d.pick([17, 28, 1_472, 1_473, 2_000, 60_000])).fill(5);
    writeAddress(bytes, 8, d.pick([...this.peers(), poolIdentity(5)]).address);
    writeAddress(bytes, 13, d.pick(this.peers()).address);
    if (d.chance(0.5)) bytes[13] = 0xff;
    const hopsAt = bytes[13] === 0xff ? 15 : 18;
    if (hopsAt < bytes.length) bytes[hopsAt] = d.below(9);
    this.check(target.datagram(endpoint(d.below(300)), bytes), 1_200);
  }

  packet(): void {
    const { d, target } = this;
    const from = d.pick(this.peers());
    const { verb, bytes, maskFrom } = this.#payload(from);
    let body = d.chance(0.6) ? mutate(d, bytes) : bytes;
    const known = this.asked.get(from.address);
    if (verb === VERB.OK && known !== undefined && body.length > 9 && d.chance(0.8)) {
      body = body.slice();
      const about = known.filter((x) => x.verb === body[0]);
      const { id, verb } = d.pick(about.length === 0 ? known : about);
      new DataView(body.buffer).setBigUint64(1, id);
      if (about.length === 0 && d.chance(0.5)) body[0] = verb;
    }
    const options: SendOptions = {
      suite: verb === VERB.HELLO && d.chance(0.9) ? 0 : d.pick([0, 1, 3] as const),
      hops: d.pick([0, 0, 0, 1, 3, 7]),
      compress: d.chance(0.3),
      socket: d.pick([1, 1, 2]),
      from: d.chance(0.7)
        ? from === root
          ? endpoint(0)
          : endpoint(100 + (from.address % 100))
        : endpoint(d.below(2_000), d.below(3) * 700),
      ...(maskFrom === undefined || maskFrom >= body.length ? {} : { maskFrom }),
    };
    for (const datagram of target.seal(from, d.chance(0.03) ? d.below(32) : verb, body, options)) {
      const spoiled = d.chance(0.03) ? mutate(d, datagram) : datagram;
      const out = target.datagram(options.from!, spoiled, options.socket);
      this.check(out, 1_200);
      this.note(out);
    }
  }

  /** A frame of the node's own stack. */
  frame(): void {
    const { d, target } = this;
    const nwid = d.pick([this.nwid, this.own]);
    const mac = (p: Identity): Uint8Array => memberMac(p.address, nwid);
    const dst = d.pick([mac(member), mac(target.self), BROADCAST_MAC, d.bytes(6)]);
    const src = d.chance(0.8) ? mac(target.self) : d.bytes(6);
    const bytes = d.bytes(d.pick([0, 28, 64, 1_400, 10_000]));
    const type = d.pick([0x800, 0x806, 0x86dd, 0x8100]);
    const out = target.input((at) => target.node.handleFrame(at, nwid, src, dst, type, bytes));
    this.check(out, 20_000);
    this.note(out);
  }

  /** One packet or frame, sometimes followed by time. */
  step(): void {
    if (this.#withFrames && this.d.chance(0.1)) this.frame();
    else if (this.d.chance(0.05)) this.relayed();
    else this.packet();
    if (this.d.chance(0.05)) {
      const out = this.target.wait(this.d.pick([1, 100, 600, 6_000, 31_000]));
      this.check(out, 20_000);
      this.note(out);
    }
  }

  run(count: number): void {
    for (let i = 0; i < count; i++) {
      try {
        this.step();
      } catch (e) {
        throw new Error(`step ${i}: ${(e as Error).stack}`);
      }
    }
  }
}
