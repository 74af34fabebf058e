/**
 * The signed configuration of one member [3 section 12.3]: addresses, credentials, and what the
 * network's plan says to all. About six signatures for the usual network, 33 us each.
 */
import type { Primitives } from '../crypto/api.js';
import { type JsonRecord, type JsonValue, jsonInt } from '../lib/json.js';
import type { NodeAddress } from '../wire/address.js';
import { issueCom } from '../wire/com.js';
import {
  type Capability,
  capabilitySignedBytes,
  MAX_OWNED_THINGS,
  type Ownership,
  ownedThing,
  ownershipSignedBytes,
  type Tag,
  THING,
  tagSignedBytes,
} from '../wire/credentials.js';
import type { Identity } from '../wire/identity.js';
import type { InetAddress } from '../wire/inetaddress.js';
import {
  emitNetworkConfig,
  MAX_CAPABILITIES,
  MAX_SPECIALISTS,
  MAX_TAGS,
  type Metadata,
  NETWORK_FLAG,
  SPECIALIST,
} from '../wire/netconf.js';
import { ACCEPT_ALL } from '../wire/rules.js';
import { assignAddresses } from './assign.js';
import { traceOf, u32 } from './plan.js';
import type { NetworkState } from './state.js';

export interface Signer {
  readonly primitives: Primitives;
  readonly self: Identity;
  random64(): bigint;
}

export interface Recipient {
  readonly identity: Identity;
  readonly metadata: Metadata;
  /** Its record was made by this very request. */
  readonly isNew: boolean;
}

const array = (v: JsonValue | undefined): JsonValue[] => (Array.isArray(v) ? v : []);

class ConfigMaker {
  readonly #s: Signer;
  readonly #net: NetworkState;
  readonly #to: NodeAddress;
  readonly #timestamp: bigint;

  constructor(signer: Signer, net: NetworkState, to: NodeAddress, timestamp: bigint) {
    this.#s = signer;
    this.#net = net;
    this.#to = to;
    this.#timestamp = timestamp;
  }

  #sign(bytes: Uint8Array): Uint8Array {
    return this.#s.primitives.sign(this.#s.self.privateKey!, bytes);
  }

  /** A new member is given the default ones; all that are listed and exist are issued. */
  capabilities(member: JsonRecord, isNew: boolean): Capability[] {
    const { plan } = this.#net;
    let ids = array(member['capabilities']).map((x) => jsonInt(x, 0n));
    if (isNew) {
      ids = [...new Set([...ids, ...plan.defaultCapabilities])].sort((a, b) => (a < b ? -1 : 1));
      if (ids.length > 0) member['capabilities'] = ids.map(Number);
    }
    const out: Capability[] = [];
    for (const id of ids) {
      const rules = plan.capabilities.get(id);
      if (rules === undefined || out.length >= MAX_CAPABILITIES) continue;
      const cap: Capability = {
        nwid: this.#net.nwid,
        timestamp: this.#timestamp,
        id: Number(BigInt.asUintN(32, id)),
        rules,
        maxCustody: 1,
        custody: [],
      };
      const signature = this.#sign(capabilitySignedBytes(cap));
      out.push({ ...cap, custody: [{ to: this.#to, from: this.#s.self.address, signature }] });
    }
    return out;
  }

  /** The member's, and the network's defaults where it has none. */
  tags(member: JsonRecord): Tag[] {
    const values = new Map<number, number>();
    for (const t of array(member['tags'])) {
      if (Array.isArray(t) && t.length === 2) values.set(u32(t[0]), u32(t[1]));
    }
    const before = values.size;
    for (const [id, value] of this.#net.plan.defaultTags)
      if (!values.has(id)) values.set(id, value);
    if (values.size > before) member['tags'] = [...values];
    return [...values]
      .sort(([a], [b]) => a - b)
      .slice(0, MAX_TAGS)
      .map(([id, value]) => this.#tag(id, value));
  }

  #tag(id: number, value: number): Tag {
    const unsigned: Tag = {
      nwid: this.#net.nwid,
      timestamp: this.#timestamp,
      id,
      value,
      issuedTo: this.#to,
      signer: this.#s.self.address,
      signature: new Uint8Array(0),
    };
    return { ...unsigned, signature: this.#sign(tagSignedBytes(unsigned)) };
  }

  ownerships(addresses: readonly InetAddress[]): Ownership[] {
    if (addresses.length === 0) return [];
    const unsigned: Ownership = {
      nwid: this.#net.nwid,
      timestamp: this.#timestamp,
      flags: 0n,
      id: 1,
      things: addresses
        .slice(0, MAX_OWNED_THINGS)
        .map((a) => ownedThing(a.family === 4 ? THING.IPV4 : THING.IPV6, a.ip)),
      issuedTo: this.#to,
      signer: this.#s.self.address,
      signature: new Uint8Array(0),
    };
    return [{ ...unsigned, signature: this.#sign(ownershipSignedBytes(unsigned)) }];
  }
}

/** Adds default capabilities, tags and addresses to `member`. @throws RuleTypeError. */
export function makeConfig(
  signer: Signer,
  net: NetworkState,
  member: JsonRecord,
  to: Recipient,
  wall: number,
): Uint8Array {
  const { plan, nwid } = net;
  const timestamp = BigInt(wall);
  const { address } = to.identity;
  const make = new ConfigMaker(signer, net, address, timestamp);
  const given = assignAddresses(
    plan.assign,
    member,
    nwid,
    address,
    (ip) => net.isInUse(ip, address),
    () => signer.random64(),
  );
  if (given.taken.length > 0)
    member['ipAssignments'] = [...array(member['ipAssignments']), ...given.taken];
  const seesRules = to.metadata.rulesRevision > 0;
  const trace = traceOf(member) ?? plan.trace;
  const { common } = plan;
  return emitNetworkConfig({
    ...common,
    nwid,
    timestamp,
    issuedTo: address,
    traceTarget: trace.target,
    traceLevel: trace.level,
    flags: plan.flags | (given.emulatesNdp ? NETWORK_FLAG.NDP_EMULATION : 0n),
    com: issueCom(
      signer.primitives,
      signer.self,
      nwid,
      to.identity,
      timestamp,
      common.credentialTimeMaxDelta,
    ),
    capabilities: seesRules ? make.capabilities(member, to.isNew) : [],
    tags: seesRules ? make.tags(member) : [],
    ownerships: make.ownerships(given.addresses),
    specialists: net
      .bridges()
      .slice(0, MAX_SPECIALISTS)
      .map((a) => BigInt(a) | SPECIALIST.ACTIVE_BRIDGE),
    addresses: given.addresses,
    rules: seesRules ? common.rules : ACCEPT_ALL,
    sso: {
      enabled: plan.isSso,
      version: 0n,
      authenticationUrl: '',
      expiryTime: jsonInt(member['authenticationExpiryTime'], 0n),
    },
  });
}
