/**
 * One network of the controller: its record, its members' records, and what is known of members only
 * while the controller runs. Owns the indexes over member records (addresses in use, bridges, sign-on
 * expiries) and keeps them equal to what a scan of the records would give.
 */
import { type JsonRecord, type JsonValue, jsonBool, jsonInt } from '../lib/json.js';
import type { Moment } from '../lib/time.js';
import type { NetworkId, NodeAddress } from '../wire/address.js';
import type { Identity } from '../wire/identity.js';
import type { Metadata } from '../wire/netconf.js';
import { type NetworkPlan, planOf } from './plan.js';

/** What is known of a member only while the controller runs; times are monotonic ms. */
export interface Session {
  requestedAt: number;
  servedAt: number;
  metadata: Metadata | undefined;
  identity: Identity | undefined;
  /** Update id of the last pushed configuration until the member acknowledges it. */
  pushed: bigint | undefined;
}

/** [3 section 13] a member counts as online for so long after its request, ms. */
const ONLINE_MS = 120_000;

export function isOnline(at: Moment, s: Session | undefined): boolean {
  return s !== undefined && at.mono - s.requestedAt < ONLINE_MS;
}

export class NetworkState {
  readonly nwid: NetworkId;
  readonly sessions = new Map<NodeAddress, Session>();
  readonly #members = new Map<NodeAddress, JsonRecord>();
  /** IP text -> who has it; several only when somebody stored it twice by hand. */
  readonly #owners = new Map<string, NodeAddress[]>();
  readonly #bridges = new Set<NodeAddress>();
  /** Wall ms at which a member's sign-on ends, until `takeExpired` tells it. */
  readonly #expiries = new Map<NodeAddress, number>();
  #record: JsonRecord = {};
  #plan: NetworkPlan | undefined;

  constructor(nwid: NetworkId) {
    this.nwid = nwid;
  }

  /** Empty while only members of it are known. */
  get record(): JsonRecord {
    return this.#record;
  }

  set record(record: JsonRecord) {
    this.#record = record;
    this.#plan = undefined;
  }

  get exists(): boolean {
    return this.#record['id'] !== undefined;
  }

  /** @throws RuleTypeError for stored rules that make no configuration. */
  get plan(): NetworkPlan {
    this.#plan ??= planOf(this.#record);
    return this.#plan;
  }

  get members(): ReadonlyMap<NodeAddress, JsonRecord> {
    return this.#members;
  }

  setMember(address: NodeAddress, record: JsonRecord): void {
    const old = this.#members.get(address);
    const expiry = expiryOf(record);
    const isTold = old !== undefined && expiryOf(old) === expiry && !this.#expiries.has(address);
    this.#unindex(address);
    this.#members.set(address, record);
    for (const ip of assignments(record)) {
      const owners = this.#owners.get(ip);
      if (owners === undefined) this.#owners.set(ip, [address]);
      else if (!owners.includes(address)) owners.push(address);
    }
    if (jsonBool(record['activeBridge'], false)) this.#bridges.add(address);
    if (expiry > 0 && !isTold) this.#expiries.set(address, expiry);
  }

  deleteMember(address: NodeAddress): void {
    this.#unindex(address);
    this.#members.delete(address);
    this.sessions.delete(address);
  }

  #unindex(address: NodeAddress): void {
    const old = this.#members.get(address);
    if (old === undefined) return;
    for (const ip of assignments(old)) {
      const left = (this.#owners.get(ip) ?? []).filter((a) => a !== address);
      if (left.length > 0) this.#owners.set(ip, left);
      else this.#owners.delete(ip);
    }
    this.#bridges.delete(address);
    this.#expiries.delete(address);
  }

  /** Whether another member than `self` has the address. */
  isInUse(ip: string, self: NodeAddress): boolean {
    return this.#owners.get(ip)?.some((a) => a !== self) ?? false;
  }

  /** Active bridges, authorised or not [3 section 12.3], ascending. */
  bridges(): NodeAddress[] {
    return [...this.#bridges].sort((a, b) => a - b);
  }

  /** Members whose sign-on ended since this was last asked, at most `max`. */
  takeExpired(wall: number, max: number): NodeAddress[] {
    const out: NodeAddress[] = [];
    for (const [address, expiry] of this.#expiries) {
      if (out.length >= max) break;
      if (expiry > wall) continue;
      this.#expiries.delete(address);
      out.push(address);
    }
    return out;
  }

  session(address: NodeAddress): Session {
    const known = this.sessions.get(address);
    if (known !== undefined) return known;
    const fresh: Session = {
      requestedAt: Number.NEGATIVE_INFINITY,
      servedAt: Number.NEGATIVE_INFINITY,
      metadata: undefined,
      identity: undefined,
      pushed: undefined,
    };
    this.sessions.set(address, fresh);
    return fresh;
  }
}

/** When the sign-on of an authorised member ends; 0 = never or not authorised. */
function expiryOf(member: JsonRecord): number {
  if (!jsonBool(member['authorized'], false) || jsonBool(member['ssoExempt'], false)) return 0;
  return Number(jsonInt(member['authenticationExpiryTime'], 0n));
}

function assignments(member: JsonRecord): string[] {
  const list: JsonValue | undefined = member['ipAssignments'];
  return Array.isArray(list) ? list.filter((ip) => typeof ip === 'string') : [];
}
