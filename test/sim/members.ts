/** Members of simulated networks, and traffic between them as programs would cause it. */
import type { NetworkId } from '#src/wire/address.js';
import { ETHERTYPE_ARP, ETHERTYPE_IPV4, type SeenFrame, type SimNode } from './simhost.js';
import type { World } from './world.js';

/** Joins nodes, waits for their addresses and subscribes their ARP groups. @throws when some get none. */
export function joinAll(
  world: World,
  nwid: NetworkId,
  nodes: readonly SimNode[],
  withinMs = 30_000,
): void {
  const waiting = new Set(nodes);
  for (const n of nodes) {
    const look = (): void => {
      if (!waiting.has(n) || n.ipv4(nwid) === undefined) return;
      waiting.delete(n);
      n.subscribe(nwid);
    };
    n.onNetworkChanged = look;
    n.join(nwid);
    look();
  }
  world.run(withinMs, () => waiting.size === 0);
  if (waiting.size > 0) throw new Error(`${waiting.size} of ${nodes.length} got no address`);
}

const MARK = 0x54;
const FRAME_LEN = 100;
const ARP_RETRY_MS = 1_000;

/** One conversation: `a` sends a frame every so often, `b` echoes it. */
export class Talk {
  readonly #world: World;
  readonly #nwid: NetworkId;
  readonly #id: number;
  readonly #everyMs: number;
  readonly a: SimNode;
  readonly b: SimNode;
  #isRunning = true;
  #isResolved: boolean;
  sent = 0;
  echoed = 0;
  /** Frames that reached `b`. */
  arrived = 0;
  firstEchoAt: number | undefined;
  #lastEchoAt: number;
  /** Longest time without an echo since `mark`, in ms. */
  #longestMs = 0;

  constructor(talks: Talks, id: number, a: SimNode, b: SimNode, everyMs: number, withArp: boolean) {
    this.#world = talks.world;
    this.#nwid = talks.nwid;
    this.#id = id;
    this.#everyMs = everyMs;
    this.a = a;
    this.b = b;
    this.#isResolved = !withArp;
    this.#lastEchoAt = this.#world.now;
    this.#step();
  }

  stop(): void {
    this.#isRunning = false;
  }

  resume(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.mark();
    this.#step();
  }

  /** Begins a new measurement of silence. */
  mark(): void {
    this.#longestMs = 0;
    this.#lastEchoAt = this.#world.now;
  }

  /** Longest silence since `mark`, beyond the pace of the conversation. */
  get silenceMs(): number {
    const open = this.#world.now - this.#lastEchoAt;
    return Math.max(0, Math.round(Math.max(this.#longestMs, open) - this.#everyMs));
  }

  get lastEchoAt(): number {
    return this.#lastEchoAt;
  }

  #step(): void {
    if (!this.#isRunning) return;
    const target = this.b.ipv4(this.#nwid);
    if (!this.a.isRunning || this.a.ipv4(this.#nwid) === undefined || target === undefined) {
      this.#world.after(this.#everyMs, () => this.#step());
    } else if (!this.#isResolved) {
      this.a.sendArp(this.#nwid, target);
      this.#world.after(ARP_RETRY_MS, () => {
        if (!this.#isResolved) this.#step();
      });
    } else {
      this.sent++;
      this.a.sendFrame(this.#nwid, this.b, this.#payload(0));
      this.#world.after(this.#everyMs, () => this.#step());
    }
  }

  #payload(role: number): Uint8Array {
    const p = new Uint8Array(FRAME_LEN);
    p.set([MARK, this.#id >> 8, this.#id & 255, role]);
    return p;
  }

  /** An ARP reply came to `a`. */
  resolved(by: SimNode): void {
    if (this.#isResolved || by !== this.a) return;
    this.#isResolved = true;
    this.#step();
  }

  arrive(role: number): void {
    if (role === 0) {
      this.arrived++;
      if (this.b.isRunning) this.b.sendFrame(this.#nwid, this.a, this.#payload(1));
      return;
    }
    const now = this.#world.now;
    this.echoed++;
    this.firstEchoAt ??= now;
    this.#longestMs = Math.max(this.#longestMs, now - this.#lastEchoAt);
    this.#lastEchoAt = now;
  }
}

/** All conversations of one network. */
export class Talks {
  readonly world: World;
  readonly nwid: NetworkId;
  readonly all: Talk[] = [];
  readonly #of = new Map<SimNode, Talk[]>();

  constructor(world: World, nwid: NetworkId) {
    this.world = world;
    this.nwid = nwid;
  }

  /** Starts one; `withArp` makes `a` look for `b` first. */
  start(a: SimNode, b: SimNode, everyMs = 200, withArp = false): Talk {
    a.onFrame = (f) => this.#take(a, f);
    b.onFrame = (f) => this.#take(b, f);
    const talk = new Talk(this, this.all.length, a, b, everyMs, withArp);
    this.all.push(talk);
    this.#of.set(a, [...(this.#of.get(a) ?? []), talk]);
    return talk;
  }

  #take(node: SimNode, f: SeenFrame): void {
    if (f.etherType === ETHERTYPE_ARP) {
      for (const t of this.#of.get(node) ?? []) t.resolved(node);
    } else if (f.etherType === ETHERTYPE_IPV4 && f.bytes[0] === MARK) {
      this.all[(f.bytes[1]! << 8) | f.bytes[2]!]?.arrive(f.bytes[3]!);
    }
  }
}
