/** Telling others which groups we listen to, and when our credentials are due [3 sections 7.4, 10.3]. */

import type { NodeAddress } from '../wire/address.js';
import { BROADCAST_GROUP, type MulticastGroup } from '../wire/multicast-group.js';
import { NETWORK_FLAG } from '../wire/netconf.js';
import { MAX_PACKET_LEN, PACKET_HEAD_LEN, VERB } from '../wire/packet.js';
import { isAdhoc } from './adhoc.js';
import type { Vl2Context } from './context.js';
import type { CredentialOutbox } from './credential-outbox.js';
import type { Membership } from './membership.js';
import type { Network } from './network.js';
import type { Vl2Peer } from './port.js';

// [3 section 13]
const ANNOUNCE_MS = 60_000;
const PUSH_AGAIN_MS = 500_000;
const PUSH_ON_ERROR_MS = 1_000;
const LIKE_LEN = 18;

export class Announcer {
  readonly #c: Vl2Context;
  readonly #outbox: CredentialOutbox;

  constructor(context: Vl2Context, outbox: CredentialOutbox) {
    this.#c = context;
    this.#outbox = outbox;
  }

  /** MULTICAST_LIKE with all (or the given) groups to one node. */
  like(net: Network, to: NodeAddress, groups: readonly MulticastGroup[] = net.allGroups()): void {
    const perPacket = Math.floor((MAX_PACKET_LEN - PACKET_HEAD_LEN - 24) / LIKE_LEN);
    for (let i = 0; i < groups.length; i += perPacket) {
      const w = this.#c.port.begin(to, VERB.MULTICAST_LIKE);
      for (const g of groups.slice(i, i + perPacket)) w.u64(net.nwid).put(g.mac).u32(g.adi);
      this.#c.port.send(to, true);
    }
  }

  /**
   * Roots, controller and specialists: those who keep group tables for us; ascending, once each.
   * The address in the place of an ad-hoc network's controller is nobody's [3 section 11.5].
   */
  #keepers(net: Network): NodeAddress[] {
    const all = new Set([
      ...(isAdhoc(net.nwid) ? [] : [net.controller]),
      ...this.#c.port.upstreams(),
      ...net.anchors,
      ...net.replicators,
    ]);
    all.delete(this.#c.port.self.address);
    return [...all].sort((a, b) => a - b);
  }

  #isAllowed(net: Network, address: NodeAddress): boolean {
    const identity = this.#c.port.identityOf(address);
    return identity !== undefined && net.allows({ address, identity });
  }

  /** Whether a member's own timer has run out; asking starts it anew [3 section 10.3]. */
  #isDue(m: Membership): boolean {
    const now = this.#c.now;
    if (now - m.announcedAt < ANNOUNCE_MS) return false;
    m.announcedAt = now;
    return true;
  }

  /** New groups are announced at once to everybody concerned. */
  announceNew(net: Network, groups: readonly MulticastGroup[]): void {
    if (groups.length === 0) return;
    const keepers = this.#keepers(net);
    for (const to of keepers) this.like(net, to, groups);
    for (const [address, m] of net.members()) {
      this.#isDue(m);
      if (!keepers.includes(address) && this.#isAllowed(net, address))
        this.like(net, address, groups);
    }
  }

  /** The part of the background pass [3 section 10.3]. */
  background(net: Network): void {
    const now = this.#c.now;
    const hasBroadcast = net.hasFlag(NETWORK_FLAG.BROADCAST);
    const first = now - net.announcedAt >= ANNOUNCE_MS ? this.#keepers(net) : [];
    if (first.length > 0) net.announcedAt = now;
    else if (hasBroadcast && !net.hasAnnouncedBroadcast) {
      // It comes with the configuration, often just after the first announcement.
      for (const to of this.#keepers(net)) this.like(net, to, [BROADCAST_GROUP]);
    }
    net.hasAnnouncedBroadcast = hasBroadcast;
    for (const to of first) this.like(net, to);
    for (const [address, m] of net.members()) {
      if (this.#isDue(m) && !first.includes(address) && this.#isAllowed(net, address))
        this.like(net, address);
    }
  }

  /** The membership gate [3 section 7.3]: who passes learns our groups, at most every 60 s. */
  gate(net: Network, peer: Vl2Peer): boolean {
    if (!net.allows(peer)) return false;
    if (this.#isDue(net.member(peer.address))) this.like(net, peer.address);
    return true;
  }

  /** Before a frame to a member [3 section 7.4, 1]. */
  pushIfDue(net: Network, to: NodeAddress): void {
    const m = net.member(to);
    if (m.pushedAt < net.updatedAt || this.#c.now - m.pushedAt > PUSH_AGAIN_MS)
      this.#push(net, to, m);
  }

  /** A member said that it lacks our credentials [3 section 7.4, 2]. */
  pushOnError(net: Network, to: NodeAddress): void {
    if (net.config?.com === undefined) return;
    const m = net.member(to);
    if (m.pushedAt < net.updatedAt || this.#c.now - m.pushedAt > PUSH_ON_ERROR_MS)
      this.#push(net, to, m);
  }

  #push(net: Network, to: NodeAddress, m: Membership): void {
    if (net.config === undefined) return;
    m.pushedAt = this.#c.now;
    this.#outbox.push(to, net.config);
  }
}
