/**
 * Credentials on their way to members: ours after a configuration, and revocations that are passed on
 * [3 sections 7.2, 7.4].
 *
 * A receiver takes one packet of credentials per second and sender, whatever the network, and drops the
 * others. So all that waits for one peer, of every network, shares packets, and its packets are spaced.
 * In the usual case that is one packet at once, the same as the reference's.
 */
import type { NetworkId, NodeAddress } from '../wire/address.js';
import { type Com, comLen } from '../wire/com.js';
import {
  type Capability,
  capabilityLen,
  type Ownership,
  ownershipLen,
  REVOCATION_LEN,
  type Revocation,
  TAG_LEN,
  type Tag,
} from '../wire/credentials.js';
import type { NetworkConfig } from '../wire/netconf.js';
import { MAX_PAYLOAD_LEN, VERB } from '../wire/packet.js';
import { writeCredentials } from '../wire/vl2-messages.js';
import type { Vl2Context } from './context.js';

/** A receiver's gate is 1,000 ms [3 section 2.4]; ours leaves room for jitter on the way. */
export const CREDENTIAL_SPACING_MS = 1_100;
/** Ours: peers for whom something waits, and revocations that wait for one of them. */
export const MAX_WAITING_PEERS = 8_192;
export const MAX_WAITING_REVOCATIONS = 256;
/** The zero byte after the certificates and four counts. */
const COUNTS_LEN = 9;

/** What of one configuration was not sent yet. */
interface Push {
  readonly config: NetworkConfig;
  com: boolean;
  capabilities: number;
  tags: number;
  ownerships: number;
}

interface Waiting {
  readonly pushes: Map<NetworkId, Push>;
  revocations: Revocation[];
}

/** The lists of one packet and the room that is left in it. */
class Parcel {
  readonly coms: Com[] = [];
  readonly capabilities: Capability[] = [];
  readonly tags: Tag[] = [];
  readonly revocations: Revocation[] = [];
  readonly ownerships: Ownership[] = [];
  #room = MAX_PAYLOAD_LEN - COUNTS_LEN;

  /** Whether it carries anything but revocations. */
  get hasOwn(): boolean {
    const lists = [this.coms, this.capabilities, this.tags, this.ownerships];
    return lists.some((l) => l.length > 0);
  }

  put<T>(list: T[], item: T, len: number): boolean {
    if (len > this.#room) return false;
    this.#room -= len;
    list.push(item);
    return true;
  }

  /** Takes items from place `from` on while they fit. @returns the place of the next one. */
  fill<T>(list: T[], items: readonly T[], from: number, len: (x: T) => number): number {
    let i = from;
    while (i < items.length && this.put(list, items[i]!, len(items[i]!))) i++;
    return i;
  }
}

export class CredentialOutbox {
  readonly #c: Vl2Context;
  readonly #waiting = new Map<NodeAddress, Waiting>();
  /** Peer -> monotonic ms of its last packet, for those younger than the spacing. */
  readonly #sentAt = new Map<NodeAddress, number>();

  constructor(context: Vl2Context) {
    this.#c = context;
  }

  /**
   * Sends a configuration's credentials to a member: at once, as the reference does. Where that falls
   * into the receiver's gate they are sent again when the gate is open.
   */
  push(to: NodeAddress, config: NetworkConfig): void {
    const push = pushOf(config);
    if (isDone(push)) return;
    const waiting = this.#waitingFor(to);
    if (waiting === undefined) return;
    if (this.#isSpaced(to)) {
      waiting.pushes.set(config.nwid, push);
      this.#send(to, waiting);
      return;
    }
    if (waiting.pushes.get(config.nwid)?.config !== config) waiting.pushes.set(config.nwid, push);
    const parcel = new Parcel();
    pack(parcel, pushOf(config));
    this.#post(to, parcel);
  }

  /** Passes revocations on to a member. */
  pass(to: NodeAddress, revocations: readonly Revocation[]): void {
    const waiting = this.#waitingFor(to);
    if (waiting === undefined) return;
    waiting.revocations.push(...revocations);
    const excess = waiting.revocations.length - MAX_WAITING_REVOCATIONS;
    if (excess > 0) {
      waiting.revocations.splice(0, excess);
      this.#c.counters.add('credentialsDropped', excess);
    }
    this.#send(to, waiting);
  }

  #waitingFor(to: NodeAddress): Waiting | undefined {
    const known = this.#waiting.get(to);
    if (known !== undefined) return known;
    if (this.#waiting.size >= MAX_WAITING_PEERS) {
      this.#c.counters.add('credentialsDropped');
      return undefined;
    }
    const fresh: Waiting = { pushes: new Map(), revocations: [] };
    this.#waiting.set(to, fresh);
    return fresh;
  }

  /** What waits and is due. Called every half second. */
  tick(): void {
    for (const [to, at] of this.#sentAt)
      if (this.#c.now - at >= CREDENTIAL_SPACING_MS) this.#sentAt.delete(to);
    for (const [to, waiting] of this.#waiting) this.#send(to, waiting);
  }

  /** A network was left: nothing of it is sent any more. */
  forget(nwid: NetworkId): void {
    for (const [to, w] of this.#waiting) {
      w.pushes.delete(nwid);
      w.revocations = w.revocations.filter((r) => r.nwid !== nwid);
      if (isEmpty(w)) this.#waiting.delete(to);
    }
  }

  #isSpaced(to: NodeAddress): boolean {
    const at = this.#sentAt.get(to);
    return at === undefined || this.#c.now - at >= CREDENTIAL_SPACING_MS;
  }

  #send(to: NodeAddress, waiting: Waiting): void {
    if (!this.#isSpaced(to)) return;
    const parcel = new Parcel();
    for (const [nwid, push] of waiting.pushes) {
      pack(parcel, push);
      if (isDone(push)) waiting.pushes.delete(nwid);
    }
    const n = parcel.fill(parcel.revocations, waiting.revocations, 0, () => REVOCATION_LEN);
    waiting.revocations = waiting.revocations.slice(n);
    if (isEmpty(waiting)) this.#waiting.delete(to);
    this.#sentAt.set(to, this.#c.now);
    this.#post(to, parcel);
  }

  #post(to: NodeAddress, parcel: Parcel): void {
    writeCredentials(this.#c.port.begin(to, VERB.NETWORK_CREDENTIALS), parcel);
    // The reference tries compression for its own credentials only [3 section 1].
    this.#c.port.send(to, parcel.hasOwn);
  }

  get waitingCount(): number {
    return this.#waiting.size;
  }
}

function pushOf(config: NetworkConfig): Push {
  return { config, com: config.com !== undefined, capabilities: 0, tags: 0, ownerships: 0 };
}

function pack(parcel: Parcel, push: Push): void {
  const { config } = push;
  const { com, capabilities, tags, ownerships } = config;
  if (push.com && com !== undefined && parcel.put(parcel.coms, com, comLen(com))) push.com = false;
  push.capabilities = parcel.fill(
    parcel.capabilities,
    capabilities,
    push.capabilities,
    capabilityLen,
  );
  push.tags = parcel.fill(parcel.tags, tags, push.tags, () => TAG_LEN);
  push.ownerships = parcel.fill(parcel.ownerships, ownerships, push.ownerships, ownershipLen);
}

function isDone(p: Push): boolean {
  return (
    !p.com &&
    p.capabilities >= p.config.capabilities.length &&
    p.tags >= p.config.tags.length &&
    p.ownerships >= p.config.ownerships.length
  );
}

function isEmpty(w: Waiting): boolean {
  return w.pushes.size === 0 && w.revocations.length === 0;
}
