/**
 * A member of a simulated network with its TCP/IP stack, joined as the service's loop joins them:
 * frames both ways, configurations, multicast subscriptions, timers; all in the world's time.
 */
import { stackConfigOf } from '#src/host/network-link.js';
import type { Moment } from '#src/lib/time.js';
import type { LwipStack } from '#src/stack/lwip-stack.js';
import type { Endpoint } from '#src/stack/stack.js';
import { memberMac, type NetworkId } from '#src/wire/address.js';
import { BROADCAST_MAC, groupKey } from '#src/wire/multicast-group.js';
import type { NetworkConfig } from '#src/wire/netconf.js';
import type { SimNode, World } from '../sim/world.js';
import { makeStack, Peer, Server, type World as StackWorld } from '../unit/stack/world.js';

const ETHERTYPE_ARP = 0x0806;
const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
/** How often a member looks whether its configuration changed. */
const LOOK_MS = 50;

interface Outgoing {
  readonly dst: Uint8Array;
  readonly etherType: number;
  readonly payload: Uint8Array;
}

const members = new WeakMap<SimNode, Map<NetworkId, StackMember>>();

export class StackMember {
  readonly world: World;
  readonly host: SimNode;
  readonly nwid: NetworkId;
  readonly mac: Uint8Array;
  readonly stack: LwipStack;
  /** Ethernet payloads of each kind that came in. */
  readonly seen: { readonly etherType: number; readonly bytes: Uint8Array }[] = [];
  #config: NetworkConfig | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #isPumping = false;

  constructor(world: World, host: SimNode, nwid: NetworkId) {
    this.world = world;
    this.host = host;
    this.nwid = nwid;
    this.mac = memberMac(host.address, nwid);
    this.stack = makeStack(this.mac, host.index + 1, this.at);
    const others = members.get(host) ?? new Map<NetworkId, StackMember>();
    others.set(nwid, this);
    members.set(host, others);
    host.onFrame = (f) => others.get(f.nwid)?.frameIn(f.etherType, f.bytes);
    this.#look();
  }

  get at(): Moment {
    return { mono: this.world.now, wall: 0 };
  }

  #look(): void {
    this.pump();
    this.world.after(LOOK_MS, () => this.#look());
  }

  frameIn(etherType: number, bytes: Uint8Array): void {
    this.seen.push({ etherType, bytes });
    this.stack.frameIn(this.at, this.#dstOf(etherType, bytes), this.mac, etherType, bytes);
    // A frame may come out of the middle of a pump: an emulated advertisement.
    if (!this.#isPumping) this.pump();
  }

  /** The world's frames carry no destination: it follows from what is inside. */
  #dstOf(etherType: number, b: Uint8Array): Uint8Array {
    if (etherType === ETHERTYPE_ARP) return b[7] === 1 ? BROADCAST_MAC : this.mac;
    if (etherType === ETHERTYPE_IPV6 && b[24] === 0xff)
      return Uint8Array.of(0x33, 0x33, ...b.subarray(36, 40));
    const isBroadcast = etherType === ETHERTYPE_IPV4 && b.subarray(16, 20).every((x) => x === 255);
    return isBroadcast ? BROADCAST_MAC : this.mac;
  }

  /** Takes a new configuration, hands out what the stack has to send, and sets its timer. */
  pump(): void {
    this.#isPumping = true;
    this.#configure();
    for (let round = 0; round < 20; round++) {
      if (this.stack.deadline() <= this.world.now) this.stack.handleTimeout(this.at);
      const out: Outgoing[] = [];
      this.stack.drain(this.at, (dst, _src, etherType, payload) => {
        out.push({ dst: dst.slice(), etherType, payload: payload.slice() });
      });
      for (const f of out) this.send(f);
      if (out.length === 0) break;
    }
    this.#isPumping = false;
    this.#arm();
  }

  send({ dst, etherType, payload }: Outgoing): void {
    this.host.run((node, at) => node.handleFrame(at, this.nwid, this.mac, dst, etherType, payload));
  }

  #configure(): void {
    const config = this.host.node.vl2.network(this.nwid)?.config;
    if (config === undefined || config === this.#config) return;
    this.#config = config;
    this.stack.configure(
      this.at,
      stackConfigOf(config, () => true),
    );
    const groups = this.stack.multicastGroups();
    this.host.run((node, at) => node.setSubscriptions(at, this.nwid, groups));
  }

  #arm(): void {
    const due = this.stack.deadline();
    if (due >= this.#timerAt) return;
    this.#timerAt = due;
    this.world.after(due - this.world.now, () => {
      if (this.#timerAt > this.world.now) return;
      this.#timerAt = Number.POSITIVE_INFINITY;
      this.pump();
    });
  }

  // ---- programs ----

  /** What the helpers of the stack's tests want of a world. */
  get #stackWorld(): StackWorld {
    return this as unknown as StackWorld;
  }

  connect(to: Endpoint): Peer {
    const peer = new Peer(this.#stackWorld, this.stack).connect(to);
    this.pump();
    return peer;
  }

  listen(port: number): Server {
    return new Server(this.#stackWorld, this.stack, { ip: new Uint8Array(0), port });
  }

  /** An IP of the configuration, by family and prefix length. */
  ip(family: 4 | 6, prefixLen?: number): Uint8Array | undefined {
    return this.#config?.addresses.find(
      (a) => a.family === family && (prefixLen === undefined || a.port === prefixLen),
    )?.ip;
  }

  /** Groups that this member listens to, as keys. */
  groups(): Set<string> {
    return new Set(this.stack.multicastGroups().map(groupKey));
  }
}
