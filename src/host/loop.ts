/**
 * Drives one node and its networks' stacks: datagrams, frames, timers and what they cause
 * [0 decision 6]. One wake-up takes all waiting datagrams through the node; the stacks are flushed
 * once, at the end of the wake-up, so acknowledgements are batched.
 */
import type { Moment } from '../lib/time.js';
import type { Node } from '../node/node.js';
import type { NodeOutput } from '../node/outputs.js';
import type { Stack } from '../stack/stack.js';
import type { NetworkId } from '../wire/address.js';
import type { MulticastGroup } from '../wire/multicast-group.js';
import { readClock } from './clock.js';
import type { Udp } from './udp.js';

export interface LoopEvents {
  validate(id: number, identity: Uint8Array): void;
  output(o: Exclude<NodeOutput, { kind: 'transmit' | 'frame' | 'validate' }>): void;
  /** A stack trapped: its network has to be rebuilt. */
  stackFailed(nwid: NetworkId, error: unknown): void;
  /** An input made the node, or the carrying out of what it asked for, throw: our own mistake. */
  inputFailed(error: unknown): void;
}

interface Link {
  readonly stack: Stack;
  dirty: boolean;
  /** The stack's multicast groups may have changed. */
  regroup: boolean;
}

interface QueuedFrame {
  readonly nwid: NetworkId;
  readonly dst: Uint8Array;
  readonly src: Uint8Array;
  readonly etherType: number;
  readonly bytes: Uint8Array;
}

/** A timer is never armed for longer; the system's timers take 32-bit milliseconds. */
const MAX_SLEEP_MS = 60_000;

export class Loop {
  readonly #node: Node;
  readonly #udp: Udp;
  readonly #events: LoopEvents;
  readonly #links = new Map<NetworkId, Link>();
  readonly #queued: QueuedFrame[] = [];
  #inStack = false;
  #flushing: NodeJS.Immediate | undefined;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #closed = false;

  constructor(node: Node, udp: Udp, events: LoopEvents) {
    this.#node = node;
    this.#udp = udp;
    this.#events = events;
  }

  /** Called by Udp for each datagram; `bytes` is borrowed. */
  handleDatagram(
    socket: number,
    from: Parameters<Node['handleDatagram']>[2],
    bytes: Uint8Array,
  ): void {
    if (this.#closed) return;
    const at = readClock();
    this.#guard(() => this.#node.handleDatagram(at, socket, from, bytes));
    this.#drainNode(at);
    this.kick();
  }

  /** One bad packet costs that packet, not the service. */
  #guard(act: () => void): void {
    try {
      act();
    } catch (e) {
      this.#events.inputFailed(e);
    }
  }

  /** Runs a command on the node and carries out what it causes. */
  run<T>(command: (node: Node, at: Moment) => T): T {
    const at = readClock();
    const result = command(this.#node, at);
    this.#drainNode(at);
    this.kick();
    return result;
  }

  addStack(nwid: NetworkId, stack: Stack): void {
    this.#links.set(nwid, { stack, dirty: true, regroup: true });
    this.kick();
  }

  removeStack(nwid: NetworkId): void {
    this.#links.delete(nwid);
  }

  /** Something touched a stack (or the node): flush at the end of this turn of the event loop. */
  kick(): void {
    if (this.#flushing !== undefined || this.#closed) return;
    this.#flushing = setImmediate(() => {
      this.#flushing = undefined;
      this.flush();
    });
  }

  /** Marks one network's stack as touched. */
  touch(nwid: NetworkId): void {
    const link = this.#links.get(nwid);
    if (link !== undefined) link.dirty = true;
    this.kick();
  }

  /** The network's addresses changed: its groups are read again with the next flush. */
  regroup(nwid: NetworkId): void {
    const link = this.#links.get(nwid);
    if (link !== undefined) link.regroup = true;
    this.touch(nwid);
  }

  /** Runs what is due, hands out frames and callbacks, and arms the timer. */
  flush(): void {
    if (this.#closed) return;
    const at = readClock();
    if (at.mono >= this.#node.deadline()) {
      this.#guard(() => this.#node.handleTimeout(at));
      this.#drainNode(at);
    }
    // Callbacks may touch stacks again; a few rounds settle it, the rest waits for the next turn.
    for (let round = 0; round < 4; round++) {
      let busy = false;
      for (const [nwid, link] of this.#links) busy = this.#flushLink(at, nwid, link) || busy;
      if (!busy) break;
    }
    this.#udp.flush();
    for (const link of this.#links.values()) if (link.dirty) this.kick();
    this.#arm(at);
  }

  #flushLink(at: Moment, nwid: NetworkId, link: Link): boolean {
    try {
      if (link.stack.deadline() <= at.mono) {
        link.stack.handleTimeout(at);
        link.dirty = true;
      }
      if (!link.dirty) return false;
      link.dirty = false;
      this.#inStack = true;
      link.stack.drain(at, (dst, src, etherType, payload) => {
        this.#guard(() => this.#node.handleFrame(at, nwid, src, dst, etherType, payload));
        this.#drainNode(at);
      });
      this.#inStack = false;
      this.#deliverQueued(at);
      this.#syncGroups(at, nwid, link);
    } catch (e) {
      this.#inStack = false;
      this.#links.delete(nwid);
      this.#events.stackFailed(nwid, e);
    }
    return true;
  }

  /** Frames that the node returned while a stack was being drained. */
  #deliverQueued(at: Moment): void {
    for (const f of this.#queued.splice(0))
      this.#toStack(at, f.nwid, f.dst, f.src, f.etherType, f.bytes);
  }

  #toStack(
    at: Moment,
    nwid: NetworkId,
    dst: Uint8Array,
    src: Uint8Array,
    etherType: number,
    bytes: Uint8Array,
  ): void {
    const link = this.#links.get(nwid);
    if (link === undefined) return;
    link.dirty = true;
    try {
      link.stack.frameIn(at, dst, src, etherType, bytes);
    } catch (e) {
      this.#links.delete(nwid);
      this.#events.stackFailed(nwid, e);
    }
  }

  #syncGroups(at: Moment, nwid: NetworkId, link: Link): void {
    if (!link.regroup) return;
    link.regroup = false;
    const groups: readonly MulticastGroup[] = link.stack.multicastGroups();
    this.#node.setSubscriptions(at, nwid, groups);
    this.#drainNode(at);
  }

  #drainNode(at: Moment): void {
    for (let o = this.#node.poll(); o !== undefined; o = this.#node.poll()) {
      const output = o;
      if (output.kind === 'transmit')
        this.#udp.send(output.socket, output.to, output.bytes, output.ttl);
      else this.#guard(() => this.#carryOut(at, output));
    }
  }

  #carryOut(at: Moment, o: Exclude<NodeOutput, { kind: 'transmit' }>): void {
    switch (o.kind) {
      case 'frame':
        if (this.#inStack) {
          this.#queued.push({
            nwid: o.nwid,
            dst: o.dst.slice(),
            src: o.src.slice(),
            etherType: o.etherType,
            bytes: o.bytes.slice(),
          });
        } else this.#toStack(at, o.nwid, o.dst, o.src, o.etherType, o.bytes);
        break;
      case 'validate':
        this.#events.validate(o.id, o.identity);
        break;
      default:
        this.#events.output(o);
    }
  }

  #arm(at: Moment): void {
    let next = this.#node.deadline();
    for (const link of this.#links.values()) next = Math.min(next, link.stack.deadline());
    next = Math.min(next, at.mono + MAX_SLEEP_MS);
    if (this.#timer !== undefined && Math.abs(this.#timerAt - next) < 0.5) return;
    clearTimeout(this.#timer);
    this.#timerAt = next;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.flush();
      },
      Math.max(0, Math.ceil(next - at.mono)),
    );
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    if (this.#flushing !== undefined) clearImmediate(this.#flushing);
  }
}
