/**
 * Sockets whose stream the view has closed [5 section 6.1]. A program may hold the descriptor of such a
 * socket as long as it likes; until it closes it, its calls must still tell the error, the names and
 * the options.
 *
 * Owns who is remembered and for how long; what is remembered stays with the view. Every half
 * minute the host is asked which sockets programs hold: those stay, and what it misses twice running is
 * forgotten. So where it cannot tell, a minute is all.
 *
 * Bounds: the view counts an ended socket among those of its user and forgets the user's oldest where
 * a new one needs the place, so nobody's sockets cost another user anything. Of all users together
 * `max` are remembered; then one of whoever has the most is forgotten, and where the newcomer has as
 * many as anybody, it is the newcomer's own. So with U users each keeps its latest `max` / U, and who
 * has a single end keeps it however many users come (there are 2^32 user ids, and a user namespace
 * gives one user 65,536 of them). Every step has a constant cost, but for question and answer, which go
 * through the ends that are due.
 */
import { type Link, LinkedList } from '../lib/linked-list.js';
import { NEVER } from '../lib/time.js';
import type { Token } from './protocol.js';

/** A socket that is missing in this many answers running is forgotten: one answer may err. */
const MISSED_MAX = 2;
/** [5 section 13] ms between two questions about a socket: unseen it is remembered for a minute. */
const ROUND_MS = 60_000 / MISSED_MAX;
/** Ours: ms between two questions to the host, which costs a look at all AF_UNIX sockets. */
const ASK_MS = 10_000;
/** Ours: and so many times as long as the last answer took. */
const REST = 10;

/** The sockets that programs hold. */
export interface HeldTokens {
  has(token: Token): boolean;
}

/** What a host that cannot tell answers. */
export const NOTHING_HELD: HeldTokens = new Set();

export interface EndedHost {
  /** Monotonic ms. */
  now(): number;
  /** Which of `tokens` programs hold: calls `answer` once, now or later. */
  askHeld(tokens: readonly Token[], answer: (held: HeldTokens) => void): void;
  /** The socket of `token` is not remembered any more. */
  forgotten(token: Token): void;
  /** `deadline()` is earlier than it was. */
  wake(): void;
}

/** A user that has ended sockets, oldest first. */
class Holder {
  readonly ends = new LinkedList<End>();
  place: Link<Holder> | undefined;
  constructor(readonly user: number | undefined) {}
}

class End {
  readonly place: Link<End>;
  /** When to ask for it. */
  dueAt: number;
  due: Link<End>;
  /** Answers running that miss it. */
  missed = 0;
  constructor(
    readonly token: Token,
    readonly holder: Holder,
    dueAt: number,
    byTime: LinkedList<End>,
  ) {
    this.dueAt = dueAt;
    this.place = holder.ends.append(this);
    this.due = byTime.append(this);
  }
}

export class EndedSockets {
  readonly #host: EndedHost;
  readonly #max: number;
  readonly #ends = new Map<Token, End>();
  readonly #byTime = new LinkedList<End>();
  readonly #holders = new Map<number | undefined, Holder>();
  /** Holders by how many ends they have. */
  readonly #byCount: LinkedList<Holder>[] = [];
  #most = 0;
  #dropped = 0;
  /** When the question was put that is not answered yet. */
  #askedAt: number | undefined;
  #notBefore = 0;

  constructor(host: EndedHost, max: number) {
    this.#host = host;
    this.#max = max;
  }

  get size(): number {
    return this.#ends.size;
  }

  /** How many were forgotten to make room. */
  get dropped(): number {
    return this.#dropped;
  }

  add(token: Token, user: number | undefined): void {
    if (this.#ends.has(token)) return;
    const holder = this.#holderOf(user);
    this.#ends.set(token, new End(token, holder, this.#host.now() + ROUND_MS, this.#byTime));
    this.#recount(holder, holder.ends.length - 1);
    if (this.#ends.size > this.#max) this.#giveWay(holder);
    if (this.#byTime.length === 1) this.#host.wake();
  }

  /** Makes room for a new socket of `user`. @returns whether there was one to forget. */
  forgetOldestOf(user: number | undefined): boolean {
    const oldest = this.#holders.get(user)?.ends.first;
    if (oldest === undefined) return false;
    this.#dropped++;
    this.#forget(oldest);
    return true;
  }

  /** Forgets all. */
  clear(): void {
    for (let end = this.#byTime.first; end !== undefined; end = this.#byTime.first) {
      this.#forget(end);
    }
  }

  /** Monotonic ms of the next question, or NEVER. */
  deadline(): number {
    const first = this.#byTime.first;
    if (first === undefined || this.#askedAt !== undefined) return NEVER;
    return Math.max(first.dueAt, this.#notBefore);
  }

  handleTimeout(now: number): void {
    if (now < this.deadline()) return;
    this.#askedAt = now;
    this.#host.askHeld(this.#dueAt(now), (held) => this.#answered(held));
  }

  #dueAt(now: number): Token[] {
    const tokens: Token[] = [];
    for (const end of this.#byTime) {
      if (end.dueAt > now) break;
      tokens.push(end.token);
    }
    return tokens;
  }

  #answered(held: HeldTokens): void {
    const askedAt = this.#askedAt;
    if (askedAt === undefined) return;
    this.#askedAt = undefined;
    const now = this.#host.now();
    // Who makes the list long makes the question rare.
    this.#notBefore = now + Math.max(ASK_MS, (now - askedAt) * REST);
    const next = now + ROUND_MS;
    for (let end = this.#byTime.first; end !== undefined; end = this.#byTime.first) {
      if (end.dueAt > askedAt) break;
      end.missed = held.has(end.token) ? 0 : end.missed + 1;
      if (end.missed < MISSED_MAX) this.#askAt(end, next);
      else this.#forget(end);
    }
    this.#host.wake();
  }

  #askAt(end: End, dueAt: number): void {
    this.#byTime.remove(end.due);
    end.dueAt = dueAt;
    end.due = this.#byTime.append(end);
  }

  #giveWay(newcomer: Holder): void {
    const isNewcomers = newcomer.ends.length === this.#most;
    const holder = isNewcomers ? newcomer : this.#byCount[this.#most]!.first!;
    this.#dropped++;
    this.#forget(holder.ends.first!);
  }

  #forget(end: End): void {
    const { token, holder } = end;
    this.#ends.delete(token);
    this.#byTime.remove(end.due);
    holder.ends.remove(end.place);
    this.#recount(holder, holder.ends.length + 1);
    this.#host.forgotten(token);
  }

  #holderOf(user: number | undefined): Holder {
    const known = this.#holders.get(user);
    if (known !== undefined) return known;
    const holder = new Holder(user);
    this.#holders.set(user, holder);
    return holder;
  }

  /** `holder` had `before` ends, and has one more or less now. */
  #recount(holder: Holder, before: number): void {
    const count = holder.ends.length;
    if (holder.place !== undefined) this.#byCount[before]!.remove(holder.place);
    holder.place = undefined;
    if (count === 0) this.#holders.delete(holder.user);
    else {
      this.#byCount[count] ??= new LinkedList();
      holder.place = this.#byCount[count].append(holder);
    }
    if (count > this.#most) this.#most = count;
    else if (this.#byCount[this.#most]!.length === 0) this.#most--;
  }
}
