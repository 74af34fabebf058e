/**
 * Whose certificates are void, and how the members learn it [3 section 12.4]: a revocation is queued for all
 * that are online, its target first, and told again to those who are online then, since nobody
 * acknowledges it. Revoker.ts sends; a turn does a bounded part of what many at once would cost.
 */
import { jsonBool } from '../lib/json.js';
import { type Moment, NEVER } from '../lib/time.js';
import { type NetworkId, type NodeAddress, networkIdText } from '../wire/address.js';
import {
  CREDENTIAL,
  REVOCATION_FAST_PROPAGATE,
  type Revocation,
  revocationSignedBytes,
} from '../wire/credentials.js';
import { Revoker } from './revoker.js';
import { isOnline, type NetworkState } from './state.js';

/**
 * Ours: after these times a revocation is told again, since a member that missed it lets the removed one
 * in until its certificate ends, half an hour later. With one packet of ten lost, one member of a
 * thousand misses all three.
 */
const REVOCATION_REPEAT_MS: readonly number[] = [2_000, 8_000];
/** Ours: revocations that wait to be told again; the oldest gives way, and is counted. */
export const MAX_REPEATS = 1_024;
/** Ours: revocation packets of one turn, at some 20 us. */
export const REVOCATIONS_PER_TURN = 128;
/** Ours: ended sign-ons, and revocations told again, of a turn; each is queued for every online member. */
export const REVOKED_PER_TURN = 16;

export interface RevocationsHost {
  self(): NodeAddress;
  random64(): bigint;
  sign(bytes: Uint8Array): Uint8Array;
  /** One packet. */
  send(to: NodeAddress, revocations: readonly Revocation[]): void;
  /** Whether the network was not deleted. */
  isServed(net: NetworkState): boolean;
  count(name: 'controllerRevocationDropped' | 'controllerRepeatDropped', by: number): void;
}

interface Repeat {
  readonly net: NetworkState;
  readonly revocation: Revocation;
  readonly round: number;
  /** Monotonic ms. */
  readonly dueAt: number;
}

export class Revocations {
  readonly #host: RevocationsHost;
  readonly #revoker: Revoker;
  /** Those that will be told once more, in no order; at most MAX_REPEATS. */
  #repeats: Repeat[] = [];

  constructor(host: RevocationsHost) {
    this.#host = host;
    this.#revoker = new Revoker({
      send: (to, list) => host.send(to, list),
      dropped: (n) => host.count('controllerRevocationDropped', n),
    });
  }

  /** Monotonic ms at which there is something to do; in the past = at once. */
  get deadline(): number {
    const repeat = this.#repeats.reduce((soonest, x) => Math.min(soonest, x.dueAt), NEVER);
    return Math.min(repeat, this.#revoker.deadline);
  }

  /** Sends one turn of what is due. */
  run(now: number): void {
    this.#revoker.run(now, REVOCATIONS_PER_TURN);
  }

  #online(at: Moment, net: NetworkState): NodeAddress[] {
    const self = this.#host.self();
    return [...net.sessions]
      .filter(([address, s]) => address !== self && isOnline(at, s))
      .map(([address]) => address);
  }

  /** Voids a member's certificate at every online member, itself first. */
  revoke(at: Moment, net: NetworkState, target: NodeAddress): void {
    const online = this.#online(at, net);
    if (online.length === 0) return;
    const revocation = this.#revocation(at, net.nwid, target);
    this.#tell(net, revocation, online);
    this.#repeats.push({ net, revocation, round: 0, dueAt: at.mono + REVOCATION_REPEAT_MS[0]! });
    if (this.#repeats.length > MAX_REPEATS) {
      this.#repeats.shift();
      this.#host.count('controllerRepeatDropped', 1);
    }
  }

  /** Queues a revocation for members, its target first. */
  #tell(net: NetworkState, r: Revocation, online: readonly NodeAddress[]): void {
    const others = online.filter((a) => a !== r.target);
    const first = online.length > others.length ? [r.target] : [];
    this.#revoker.add(networkIdText(net.nwid), r, [...first, ...others]);
  }

  /** Nobody acknowledges a revocation: each is told again to those who are online then. */
  repeat(at: Moment): void {
    const due = this.#repeats.filter((x) => at.mono >= x.dueAt).slice(0, REVOKED_PER_TURN);
    if (due.length === 0) return;
    const taken = new Set(due);
    this.#repeats = this.#repeats.filter((x) => !taken.has(x));
    for (const { net, revocation, round } of due) {
      const member = net.members.get(revocation.target);
      const isBack = member !== undefined && jsonBool(member['authorized'], false);
      if (isBack || !this.#host.isServed(net)) continue;
      this.#tell(net, revocation, this.#online(at, net));
      const wait = REVOCATION_REPEAT_MS[round + 1];
      if (wait !== undefined)
        this.#repeats.push({ net, revocation, round: round + 1, dueAt: at.mono + wait });
    }
  }

  /** Voids the certificates of all members of a network that is no more. */
  revokeAll(at: Moment, net: NetworkState): void {
    const targets = [...net.members]
      .filter(([, m]) => jsonBool(m['authorized'], false))
      .map(([address]) => address);
    this.#revoker.addAll(targets, this.#online(at, net), (target) =>
      this.#revocation(at, net.nwid, target),
    );
  }

  #revocation(at: Moment, nwid: NetworkId, target: NodeAddress): Revocation {
    const unsigned: Revocation = {
      id: Number(this.#host.random64() & 0xffff_ffffn),
      nwid,
      credentialId: 0,
      threshold: BigInt(at.wall),
      flags: REVOCATION_FAST_PROPAGATE,
      target,
      signer: this.#host.self(),
      type: CREDENTIAL.COM,
      signature: new Uint8Array(0),
    };
    return { ...unsigned, signature: this.#host.sign(revocationSignedBytes(unsigned)) };
  }
}
