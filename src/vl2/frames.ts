/** Ethernet frames from the stack to members and back [3 sections 2.1, 2.2, 2.8, 9]. */

import { equalBytes } from '../lib/bytes.js';
import { macPrefix, memberOfMac, type NodeAddress } from '../wire/address.js';
import type { Com } from '../wire/com.js';
import {
  BROADCAST_MAC,
  isBroadcastMac,
  isMulticastMac,
  type MulticastGroup,
} from '../wire/multicast-group.js';
import { NETWORK_FLAG } from '../wire/netconf.js';
import { ERROR_CODE, MAX_PAYLOAD_LEN, VERB } from '../wire/packet.js';
import {
  EXT_FRAME_FLAG as EXT,
  type MulticastFrame,
  parseExtFrame,
  parseFrame,
  parseGather,
  parseGatherResult,
  parseMulticastFrame,
  writeExtFrame,
  writeFrame,
  writeGather,
  writeGatherResult,
  writeMulticastFrame,
} from '../wire/vl2-messages.js';
import { isAdhoc } from './adhoc.js';
import type { Announcer } from './announcer.js';
import type { Vl2Context } from './context.js';
import type { Copy } from './filter.js';
import { emulateNdp } from './neighbor.js';
import type { FrameInfo, InboundVerdict, Network, OutboundVerdict } from './network.js';
import type { Vl2Disposition, Vl2Message } from './port.js';

const ETHERTYPE_ARP = 0x0806;
const ETHERTYPE_IPV6 = 0x86dd;
const MAX_MULTICAST_PAYLOAD = 10_000;
/** Longest payloads that fit a packet behind the longest head of each verb, in bytes. */
const MAX_FRAME_LEN = MAX_PAYLOAD_LEN - 10;
const MAX_EXT_FRAME_LEN = MAX_PAYLOAD_LEN - 23;
const MAX_MULTICAST_FRAME_LEN = MAX_PAYLOAD_LEN - 31;
/** Unknown MACs are offered to at most this many bridges. */
const BRIDGE_SPAM = 32;
/** Explicit gathers sent for one frame at most. */
const MAX_GATHER_TARGETS = 16;
/** Ours: the reference repeats this error every 500 ms for each refused packet [3 section 2.10]. */
const ERROR_MS = 1_000;
const MAX_GATHER_LIMIT = 65_535;
/** Addresses that keep the answer below 1,432 bytes: head 28, in-re 9, group 18, flags 1, counts 6. */
const MAX_GATHER_MEMBERS = Math.floor((1_432 - 62) / 5);

export class Frames {
  readonly #c: Vl2Context;
  readonly #announcer: Announcer;
  /** Offers an inline certificate to the membership store. */
  offerCom: (com: Com, from: NodeAddress) => void = () => undefined;

  constructor(context: Vl2Context, announcer: Announcer) {
    this.#c = context;
    this.#announcer = announcer;
  }

  // ---- from the stack ----

  /** One frame from the network's stack; all bytes are borrowed. */
  fromStack(
    net: Network,
    src: Uint8Array,
    dst: Uint8Array,
    etherType: number,
    payload: Uint8Array,
  ): void {
    const config = net.config;
    if (config === undefined) {
      this.#c.counters.add('noConfig');
      return;
    }
    const self = this.#c.port.self.address;
    const isOwn = equalBytes(src, net.mac);
    if (!isOwn && !net.isBridge(self)) {
      this.#c.counters.add('badSource');
      return;
    }
    this.#c.counters.add('frameOut');
    const info: FrameInfo = { macSource: src, macDest: dst, etherType, frame: payload };
    if (isMulticastMac(dst)) this.#multicastFromStack(net, info, isOwn);
    else if (equalBytes(dst, net.mac)) this.#c.out.frame(net.nwid, src, dst, etherType, payload);
    else if (dst[0] === macPrefix(net.nwid))
      this.#toMember(net, memberOfMac(dst, net.nwid), info, isOwn);
    else this.#toBridges(net, info);
  }

  #toMember(net: Network, to: NodeAddress, info: FrameInfo, isOwn: boolean): void {
    if (!this.#passesOut(net, to, info, false)) return;
    this.#announcer.pushIfDue(net, to);
    if (!isOwn) {
      this.#sendExt(net, to, 0, info, info.frame.length, false);
      return;
    }
    const { etherType, frame } = info;
    if (this.#isTooLong(frame.length, MAX_FRAME_LEN)) return;
    writeFrame(this.#c.port.begin(to, VERB.FRAME), { nwid: net.nwid, etherType, frame });
    this.#c.port.send(to, false);
  }

  /** A frame, or the copy of one, that no packet takes. Copies have longer heads than what they copy. */
  #isTooLong(len: number, max: number): boolean {
    if (len > max) this.#c.counters.add('frameTooLong');
    return len > max;
  }

  #toBridges(net: Network, info: FrameInfo): void {
    if (!this.#passesOut(net, 0, info, false)) return;
    const self = this.#c.port.self.address;
    const route = net.bridgeRoute(info.macDest);
    const targets =
      route !== undefined && route !== self
        ? [route]
        : this.#sample(
            net.bridges.filter((b) => b !== self),
            BRIDGE_SPAM,
          );
    for (const to of targets) {
      if (this.#passesOut(net, to, info, true))
        this.#sendExt(net, to, 0, info, info.frame.length, false);
    }
  }

  /** Applies the outbound rules, sends copies and redirects. @returns whether the frame goes on. */
  #passesOut(net: Network, to: NodeAddress, info: FrameInfo, noTee: boolean): boolean {
    const v = net.filterOutbound(to, info, noTee);
    this.#copies(net, v, info, EXT.TEE_OUT, EXT.WATCH_OUT, EXT.REDIRECT_OUT);
    if (!v.pass) this.#c.counters.add('ruleDropOut');
    return v.pass;
  }

  #copies(
    net: Network,
    v: OutboundVerdict,
    info: FrameInfo,
    tee: number,
    watch: number,
    redirect: number,
  ): void {
    const send = (c: Copy): void =>
      this.#sendExt(net, c.target, c.watch ? watch : tee, info, c.len, true);
    v.copies.forEach(send);
    if (v.redirectTo !== 0)
      this.#sendExt(net, v.redirectTo, redirect, info, info.frame.length, true);
  }

  #sendExt(
    net: Network,
    to: NodeAddress,
    flags: number,
    info: FrameInfo,
    len: number,
    compress: boolean,
  ): void {
    if (this.#isTooLong(len, MAX_EXT_FRAME_LEN)) return;
    const w = this.#c.port.begin(to, VERB.EXT_FRAME);
    writeExtFrame(w, net.nwid, flags, { ...info, frame: info.frame.subarray(0, len) });
    this.#c.port.send(to, compress);
  }

  #multicastFromStack(net: Network, info: FrameInfo, isOwn: boolean): void {
    const config = net.config!;
    let group: MulticastGroup = { mac: info.macDest.slice(), adi: 0 };
    if (isBroadcastMac(info.macDest)) {
      const adi = arpTarget(info);
      if (adi !== undefined) group = { mac: BROADCAST_MAC, adi };
      else if (!net.hasFlag(NETWORK_FLAG.BROADCAST)) {
        this.#c.counters.add('multicastDisabled');
        return;
      }
    } else if (info.etherType === ETHERTYPE_IPV6) {
      const reply = emulateNdp(config, this.#c.port.self.address, info);
      if (reply !== undefined) {
        this.#c.out.frame(net.nwid, reply.macSource, reply.macDest, ETHERTYPE_IPV6, reply.frame);
        return;
      }
    }
    if (config.multicastLimit === 0) {
      this.#c.counters.add('multicastDisabled');
      return;
    }
    if (!isOwn && net.learnGroup(group)) this.#announcer.announceNew(net, [group]);
    if (!this.#passesOut(net, 0, info, false)) return;
    const bridgedSource = isOwn ? undefined : info.macSource.slice();
    if (this.#isTooLong(info.frame.length, MAX_MULTICAST_FRAME_LEN)) return;
    const replicator = this.#replicatorFor(net);
    if (replicator === undefined) this.#replicate(net, group, info, bridgedSource, undefined);
    else this.#sendToReplicator(net, replicator, group, info);
  }

  /** The nearest of the network's replicators; undefined when we replicate ourselves. */
  #replicatorFor(net: Network): NodeAddress | undefined {
    const self = this.#c.port.self.address;
    if (net.replicators.length === 0 || net.isBridge(self) || net.isReplicator(self))
      return undefined;
    let nearest: NodeAddress | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const a of net.replicators) {
      const latency = this.#c.port.directLatency(a) ?? Number.POSITIVE_INFINITY;
      if (latency < least) [nearest, least] = [a, latency];
    }
    return nearest;
  }

  #sendToReplicator(net: Network, to: NodeAddress, group: MulticastGroup, info: FrameInfo): void {
    this.#announcer.pushIfDue(net, to);
    const { macSource, etherType, frame } = info;
    const w = this.#c.port.begin(to, VERB.MULTICAST_FRAME);
    writeMulticastFrame(w, {
      nwid: net.nwid,
      replicate: true,
      com: undefined,
      gatherLimit: 0,
      macSource,
      group,
      etherType,
      frame,
    });
    this.#c.port.send(to, !net.hasFlag(NETWORK_FLAG.NO_COMPRESSION));
  }

  /** Sender replication [3 section 10.4]; `origin` = whom we replicate for. */
  #replicate(
    net: Network,
    group: MulticastGroup,
    info: FrameInfo,
    bridgedSource: Uint8Array | undefined,
    origin: NodeAddress | undefined,
  ): void {
    const c = this.#c;
    const self = c.port.self.address;
    const limit = net.config!.multicastLimit;
    const known = c.multicast.listeners(net.nwid, group).filter((a) => a !== self);
    const isEnough = known.length >= limit;
    const gatherLimit = isEnough ? 1 : limit - known.length + 1;
    if (!isEnough && c.multicast.mayGather(c.now, net.nwid, group))
      this.#gather(net, group, gatherLimit);
    const frame: FrameInfo = {
      macSource: info.macSource.slice(),
      macDest: info.macDest.slice(),
      etherType: info.etherType,
      frame: info.frame.slice(),
    };
    const sendTo = (to: NodeAddress): void => {
      // The network may have been left while the frame waited.
      if (c.networks.get(net.nwid) === net)
        this.#sendMulticast(net, to, group, frame, gatherLimit, bridgedSource);
    };
    const served = new Set<NodeAddress>(origin === undefined ? [self] : [self, origin]);
    let left = limit;
    const bridges = net.bridges.filter((b) => !served.has(b));
    for (const to of [
      ...bridges,
      ...this.#sample(
        known.filter((a) => !bridges.includes(a)),
        limit,
      ),
    ]) {
      if (left <= 0) break;
      if (served.has(to)) continue;
      served.add(to);
      left--;
      sendTo(to);
    }
    if (!isEnough && left > 0)
      c.multicast.wait(net.nwid, group, { at: c.now, served, left, sendTo });
  }

  #sendMulticast(
    net: Network,
    to: NodeAddress,
    group: MulticastGroup,
    info: FrameInfo,
    gatherLimit: number,
    bridgedSource: Uint8Array | undefined,
  ): void {
    if (!this.#passesOut(net, to, info, true)) return;
    this.#announcer.pushIfDue(net, to);
    const w = this.#c.port.begin(to, VERB.MULTICAST_FRAME);
    writeMulticastFrame(w, {
      nwid: net.nwid,
      replicate: false,
      com: undefined,
      gatherLimit,
      macSource: bridgedSource,
      group,
      etherType: info.etherType,
      frame: info.frame,
    });
    this.#c.port.send(to, !net.hasFlag(NETWORK_FLAG.NO_COMPRESSION));
  }

  /** Asks root, controller and specialists for members; each once (the reference may ask one twice). */
  #gather(net: Network, group: MulticastGroup, limit: number): void {
    const c = this.#c;
    const best = c.port.bestUpstream();
    const targets = new Set([
      ...(best === undefined ? [] : [best]),
      ...(isAdhoc(net.nwid) ? [] : [net.controller]),
      ...net.replicators,
      ...net.anchors,
    ]);
    targets.delete(c.port.self.address);
    const com = net.config?.com;
    for (const to of [...targets].slice(0, MAX_GATHER_TARGETS)) {
      writeGather(c.port.begin(to, VERB.MULTICAST_GATHER), { nwid: net.nwid, group, limit, com });
      c.port.send(to, false);
    }
  }

  /** A random sample, in random order; costs as many steps as it has items. */
  #sample<T>(items: readonly T[], count: number): T[] {
    const out = [...items];
    const n = Math.min(count, out.length);
    for (let i = 0; i < n; i++) {
      const j = i + Math.floor(this.#c.port.jitter.next() * (out.length - i));
      [out[i], out[j]] = [out[j]!, out[i]!];
    }
    return out.slice(0, n);
  }

  // ---- from members ----

  /** The gate, with an error to a peer that does not pass; its packet is then deferred. */
  #gate(net: Network, m: Vl2Message): boolean {
    if (this.#announcer.gate(net, m.peer)) return true;
    this.#c.counters.add('notMember');
    const member = net.member(m.peer.address);
    if (this.#c.now - member.errorSentAt < ERROR_MS) return false;
    member.errorSentAt = this.#c.now;
    const w = this.#c.port.begin(m.peer.address, VERB.ERROR);
    w.u8(m.verb).u64(m.packetId).u8(ERROR_CODE.NEED_MEMBERSHIP_CERTIFICATE).u64(net.nwid);
    this.#c.port.reply(m);
    return false;
  }

  #deliver(net: Network, info: FrameInfo): void {
    this.#c.counters.add('frameIn');
    this.#c.out.frame(net.nwid, info.macSource, info.macDest, info.etherType, info.frame);
  }

  #judge(net: Network, from: NodeAddress, info: FrameInfo): InboundVerdict {
    const v = net.filterInbound(from, info);
    this.#copies(net, v, info, EXT.TEE_IN, EXT.WATCH_IN, EXT.REDIRECT_IN);
    if (v.level === 0) this.#c.counters.add('ruleDropIn');
    return v;
  }

  handleFrame(m: Vl2Message): Vl2Disposition {
    const f = parseFrame(m.payload);
    if (f === undefined) return this.#malformed();
    const net = this.#c.networks.get(f.nwid);
    if (net === undefined) return this.#notJoined();
    if (!this.#gate(net, m)) return 'defer';
    if (f.frame.length === 0) return 'trusted';
    const info = {
      macSource: net.macOf(m.peer.address),
      macDest: net.mac,
      etherType: f.etherType,
      frame: f.frame,
    };
    if (this.#judge(net, m.peer.address, info).level > 0) this.#deliver(net, info);
    return 'trusted';
  }

  handleExtFrame(m: Vl2Message): Vl2Disposition {
    const f = parseExtFrame(m.payload);
    if (f === undefined) return this.#malformed();
    const net = this.#c.networks.get(f.nwid);
    if (net === undefined) return this.#notJoined();
    if (f.com !== undefined) this.offerCom(f.com, m.peer.address);
    if (!this.#gate(net, m)) return 'defer';
    if (f.body !== undefined && f.body.frame.length > 0) {
      if (!this.#extToStack(net, m, f.body)) return 'trusted';
    }
    if ((f.flags & EXT.ACK) !== 0) {
      this.#c.port.begin(m.peer.address, VERB.OK).u8(VERB.EXT_FRAME).u64(m.packetId).u64(net.nwid);
      this.#c.port.reply(m);
    }
    return 'trusted';
  }

  /** @returns false when the frame was refused without an acknowledgement. */
  #extToStack(net: Network, m: Vl2Message, info: FrameInfo): boolean {
    const from = m.peer.address;
    if (info.macSource.every((b) => b === 0) || equalBytes(info.macSource, net.mac)) {
      this.#c.counters.add('badSource');
      return false;
    }
    const v = this.#judge(net, from, info);
    if (v.level === 1 && !this.#macsFit(net, from, info)) return false;
    if (v.level > 0) this.#deliver(net, info);
    return true;
  }

  /** The MAC checks of an ordinarily accepted EXT_FRAME [3 section 2.2]. */
  #macsFit(net: Network, from: NodeAddress, info: FrameInfo): boolean {
    if (!equalBytes(info.macSource, net.macOf(from))) {
      if (!net.isBridge(from)) {
        this.#c.counters.add('badSource');
        return false;
      }
      net.learnBridgeRoute(info.macSource, from);
      return true;
    }
    if (equalBytes(info.macDest, net.mac)) return true;
    const isWelcome = isMulticastMac(info.macDest)
      ? net.config!.multicastLimit !== 0
      : net.isBridge(this.#c.port.self.address);
    if (!isWelcome) this.#c.counters.add('badDestination');
    return isWelcome;
  }

  handleMulticastFrame(m: Vl2Message): Vl2Disposition {
    const f = parseMulticastFrame(m.payload);
    if (f === undefined) return this.#malformed();
    const net = this.#c.networks.get(f.nwid);
    if (net === undefined) {
      this.#c.counters.add('notJoined');
      return 'ignored';
    }
    if (f.com !== undefined) this.offerCom(f.com, m.peer.address);
    if (!this.#gate(net, m)) return 'defer';
    if (net.config!.multicastLimit === 0) {
      this.#c.counters.add('multicastDisabled');
      return 'done';
    }
    if (f.frame.length > 0 && f.frame.length <= MAX_MULTICAST_PAYLOAD) {
      const own = net.macOf(m.peer.address);
      const info = {
        macSource: f.macSource ?? own,
        macDest: f.group.mac,
        etherType: f.etherType,
        frame: f.frame,
      };
      if (!this.#multicastToStack(net, m, f, info, own)) return 'trusted';
    }
    if (f.gatherLimit > 0) {
      this.#answerGather(m, net.nwid, f.group, f.gatherLimit, VERB.MULTICAST_FRAME);
    }
    return 'trusted';
  }

  #multicastToStack(
    net: Network,
    m: Vl2Message,
    { group, replicate }: Pick<MulticastFrame, 'group' | 'replicate'>,
    info: FrameInfo,
    own: Uint8Array,
  ): boolean {
    const src = info.macSource;
    if (
      !isMulticastMac(info.macDest) ||
      isMulticastMac(src) ||
      src.every((b) => b === 0) ||
      equalBytes(src, net.mac)
    ) {
      this.#c.counters.add('badSource');
      return false;
    }
    if (replicate && net.isReplicator(this.#c.port.self.address)) {
      this.#c.counters.add('replicated');
      const length = info.frame.length;
      if (!this.#isTooLong(length, MAX_MULTICAST_FRAME_LEN))
        this.#replicate(net, group, info, src.slice(), m.peer.address);
    }
    if (!equalBytes(src, own)) {
      if (!net.isBridge(m.peer.address)) {
        this.#c.counters.add('badSource');
        return false;
      }
      net.learnBridgeRoute(src, m.peer.address);
    }
    if (this.#judge(net, m.peer.address, info).level > 0) this.#deliver(net, info);
    return true;
  }

  handleGather(m: Vl2Message): Vl2Disposition {
    const g = parseGather(m.payload);
    if (g === undefined) return this.#malformed();
    const c = this.#c;
    const net = c.networks.get(g.nwid);
    if (g.com !== undefined && net !== undefined) this.offerCom(g.com, m.peer.address);
    const passed = net !== undefined && this.#announcer.gate(net, m.peer);
    const isWelcome =
      passed || c.port.isRoot() || (c.controller?.served(c.at, g.nwid, m.peer.address) ?? false);
    if (!isWelcome) c.counters.add('gatherRefused');
    else if (g.limit > 0) this.#answerGather(m, g.nwid, g.group, g.limit, VERB.MULTICAST_GATHER);
    return passed ? 'trusted' : 'done';
  }

  /** OK(MULTICAST_GATHER) or OK(MULTICAST_FRAME), only when somebody can be listed [3 section 10.5]. */
  #answerGather(
    m: Vl2Message,
    nwid: bigint,
    group: MulticastGroup,
    limit: number,
    verb: number,
  ): void {
    const c = this.#c;
    const all = c.multicast.listeners(nwid, group);
    const key =
      String.fromCharCode(...group.mac) + String.fromCharCode(group.adi >>> 16, group.adi & 0xffff);
    const selfListens = c.networks.get(nwid)?.subscribes(key) ?? false;
    const others = this.#sample(
      all.filter((a) => a !== m.peer.address),
      Math.min(limit, MAX_GATHER_MEMBERS),
    );
    const list = (selfListens ? [c.port.self.address, ...others] : others).slice(
      0,
      Math.min(limit, MAX_GATHER_LIMIT),
    );
    if (list.length === 0) return;
    const w = c.port.begin(m.peer.address, VERB.OK);
    w.u8(verb).u64(m.packetId);
    // One datagram, since an answer on the arrival path is never fragmented [2 section 4.1].
    const members = list.slice(0, MAX_GATHER_MEMBERS);
    const totalKnown = all.length + (selfListens ? 1 : 0);
    writeGatherResult(w, { nwid, group, totalKnown, members }, verb === VERB.MULTICAST_FRAME);
    c.port.reply(m);
  }

  /** OK(MULTICAST_GATHER) and OK(MULTICAST_FRAME), after the in-re packet id. */
  handleGatherResult(m: Vl2Message, body: Uint8Array, inReVerb: number): Vl2Disposition {
    const v = parseGatherResult(body, inReVerb === VERB.MULTICAST_FRAME);
    if (v === undefined) return this.#malformed();
    const c = this.#c;
    if (!c.networks.has(v.nwid)) return 'done';
    if (v.com !== undefined) this.offerCom(v.com, m.peer.address);
    for (const a of v.members) {
      if (a !== c.port.self.address) c.multicast.addListed(c.now, v.nwid, v.group, a);
    }
    return 'done';
  }

  #malformed(): Vl2Disposition {
    this.#c.counters.add('malformed');
    return 'ignored';
  }

  #notJoined(): Vl2Disposition {
    this.#c.counters.add('notJoined');
    return 'done';
  }
}

/** ADI of an ARP request for an IPv4 address over Ethernet, else undefined [3 section 9.2]. */
function arpTarget(info: FrameInfo): number | undefined {
  const b = info.frame;
  if (info.etherType !== ETHERTYPE_ARP || b.length < 28) return undefined;
  if (b[2] !== 8 || b[3] !== 0 || b[4] !== 6 || b[5] !== 4 || b[7] !== 1) return undefined;
  return ((b[24]! << 24) | (b[25]! << 16) | (b[26]! << 8) | b[27]!) >>> 0;
}
