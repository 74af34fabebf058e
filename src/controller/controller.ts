/**
 * The network controller of a node [3 section 12, 4 section 8]: records, authorisation, signed
 * configurations, pushes and revocations. Sans-IO: storage goes out as `store` requests in the
 * reference's `controller.d` layout, time and messages come in.
 *
 * Contents: storage; the API's view; requests; configurations; pushes.
 *
 * Owns all records in memory; a request costs one configuration with its signatures (about ten
 * Ed25519 operations at most for the usual network). Requests of one member are gated to one a
 * second.
 */
import {
  emitJson,
  equalJson,
  isRecord,
  type JsonRecord,
  type JsonValue,
  jsonBool,
  jsonInt,
  jsonText,
  parseJson,
} from '../lib/json.js';
import type { Moment } from '../lib/time.js';
import type { ControllerPort } from '../vl2/context.js';
import type { Vl1Port, Vl2Message } from '../vl2/port.js';
import {
  addressText,
  controllerOf,
  type NetworkId,
  type NodeAddress,
  networkIdText,
  parseAddress,
  parseNetworkId,
} from '../wire/address.js';
import { issueCom } from '../wire/com.js';
import {
  type Capability,
  CREDENTIAL,
  capabilitySignedBytes,
  type Ownership,
  ownedThing,
  ownershipSignedBytes,
  REVOCATION_FAST_PROPAGATE,
  type Revocation,
  revocationSignedBytes,
  type Tag,
  THING,
  tagSignedBytes,
  writeRevocation,
} from '../wire/credentials.js';
import { DictionaryBuilder } from '../wire/dictionary.js';
import {
  emitIdentityText,
  equalIdentities,
  type Identity,
  parseIdentityText,
} from '../wire/identity.js';
import { NO_ADDRESS } from '../wire/inetaddress.js';
import {
  clampMtu,
  emitConfigChunks,
  emitNetworkConfig,
  MAX_CAPABILITIES,
  MAX_DNS_SERVERS,
  MAX_ROUTES,
  MAX_TAGS,
  type Metadata,
  NETWORK_FLAG,
  NETWORK_PRIVATE,
  NETWORK_PUBLIC,
  type NetworkConfig,
  parseMetadata,
  SPECIALIST,
} from '../wire/netconf.js';
import { ERROR_CODE, VERB } from '../wire/packet.js';
import { ACCEPT_ALL, MAX_RULES } from '../wire/rules.js';
import { assignAddresses, routesOf } from './assign.js';
import {
  defaultMember,
  defaultNetwork,
  lenientAddress,
  updateMember,
  updateNetwork,
  withDefaults,
} from './records.js';
import { RuleTypeError, rulesFromJson } from './rules-json.js';

// [3 section 13]
const REQUEST_GATE_MS = 1_000;
const ONLINE_MS = 120_000;
const SERVED_MS = 180_000;
const DELTA_DEFAULT = 1_800_000n;
const DELTA_MIN = 300_000n;
const DELTA_MAX = 7_200_000n;
const MAX_OWNED = 16;
/** Ours: a requester that is not a member yet makes a record; this bounds what strangers can make. */
const MAX_MEMBERS_PER_NETWORK = 100_000;

export interface ControllerOut {
  /** Writes (or with undefined deletes) `controller.d/<path>`. */
  store(path: string, json: string | undefined): void;
  /** Applies a configuration to our own membership. */
  applyLocal(at: Moment, nwid: NetworkId, text: Uint8Array): void;
  failLocal(nwid: NetworkId, failure: 'ACCESS_DENIED' | 'NOT_FOUND'): void;
}

/** What is known of a member only while the controller runs. */
interface Session {
  requestedAt: number;
  servedAt: number;
  metadata: Metadata | undefined;
  identity: Identity | undefined;
}

interface NetworkState {
  readonly nwid: NetworkId;
  record: JsonRecord;
  readonly members: Map<NodeAddress, JsonRecord>;
  readonly sessions: Map<NodeAddress, Session>;
  /** Address text -> member, for assignment. */
  readonly assigned: Map<string, NodeAddress>;
}

type Answer =
  | { readonly config: Uint8Array }
  | { readonly error: number; readonly data?: Uint8Array };

/** What ERROR 9 carries: version 0 with an empty login address [3 section 2.9]. */
function authenticationData(): Uint8Array {
  const d = new DictionaryBuilder(64);
  d.u64('aV', 0n);
  d.text('aU', '');
  const text = d.build();
  const out = new Uint8Array(2 + text.length);
  out[1] = text.length;
  out.set(text, 2);
  return out;
}

export class Controller implements ControllerPort {
  readonly #networks = new Map<NetworkId, NetworkState>();
  #port!: Vl1Port;
  #out!: ControllerOut;
  /** Networks and members whose change has to be pushed once the current input is done. */

  attach(port: Vl1Port, out: ControllerOut): void {
    this.#port = port;
    this.#out = out;
  }

  // ---- storage ----

  /** Takes the content of a file below `controller.d/network`. @returns whether it was a record. */
  load(kind: 'network' | 'member', json: string): boolean {
    let v: JsonValue;
    try {
      v = parseJson(json);
    } catch {
      return false;
    }
    if (!isRecord(v) || typeof v['id'] !== 'string') return false;
    if (kind === 'member') return this.#loadMember(v);
    const nwid = parseNetworkId(v['id']);
    if (nwid === undefined) return false;
    const known = this.#networks.get(nwid);
    if (known !== undefined) known.record = v;
    else this.#networks.set(nwid, newState(nwid, v));
    return true;
  }

  #loadMember(v: JsonRecord): boolean {
    const nwid = typeof v['nwid'] === 'string' ? parseNetworkId(v['nwid']) : undefined;
    const address = typeof v['id'] === 'string' ? parseAddress(v['id']) : undefined;
    if (nwid === undefined || address === undefined) return false;
    let net = this.#networks.get(nwid);
    if (net === undefined) {
      net = newState(nwid, {});
      this.#networks.set(nwid, net);
    }
    net.members.set(address, v);
    indexAssignments(net, address, v);
    return true;
  }

  #networkFile(nwid: NetworkId): string {
    return `network/${networkIdText(nwid)}.json`;
  }

  #memberFile(nwid: NetworkId, address: NodeAddress): string {
    return `network/${networkIdText(nwid)}/member/${addressText(address)}.json`;
  }

  // ---- the API's view ----

  networkIds(): NetworkId[] {
    return [...this.#networks.values()]
      .filter((n) => n.record['id'] !== undefined)
      .map((n) => n.nwid)
      .sort((a, b) => (a < b ? -1 : 1));
  }

  networkRecord(nwid: NetworkId): JsonRecord | undefined {
    const record = this.#networks.get(nwid)?.record;
    return record?.['id'] === undefined ? undefined : record;
  }

  memberRecords(nwid: NetworkId): JsonRecord[] | undefined {
    if (this.networkRecord(nwid) === undefined) return undefined;
    return [...this.#networks.get(nwid)!.members].sort(([a], [b]) => a - b).map(([, m]) => m);
  }

  memberRecord(nwid: NetworkId, address: NodeAddress): JsonRecord | undefined {
    return this.#networks.get(nwid)?.members.get(address);
  }

  /** An unused id of a network of this node. */
  newNetworkId(): NetworkId {
    const bytes = new Uint8Array(3);
    for (;;) {
      this.#port.entropy.fill(bytes);
      const low = BigInt((bytes[0]! << 16) | (bytes[1]! << 8) | bytes[2]!);
      const nwid = (BigInt(this.#port.self.address) << 24n) | low;
      if (low !== 0n && !this.#networks.has(nwid)) return nwid;
    }
  }

  /** Creates or changes a network. @throws RecordTypeError, RuleTypeError with nothing changed. */
  postNetwork(at: Moment, nwid: NetworkId, idText: string, request: JsonRecord): JsonRecord {
    const defaults = defaultNetwork(idText, at.wall);
    const old = this.networkRecord(nwid);
    const next = updateNetwork(withDefaults(old ?? {}, defaults), request);
    let net = this.#networks.get(nwid);
    if (net === undefined) {
      net = newState(nwid, {});
      this.#networks.set(nwid, net);
    }
    if (this.#saveNetwork(net, next)) this.#pushNetwork(at, net);
    return net.record;
  }

  /** @returns whether anything but the revision changed. */
  #saveNetwork(net: NetworkState, next: JsonRecord): boolean {
    if (net.record['id'] !== undefined && sameButRevision(net.record, next)) return false;
    net.record = { ...next, revision: Number(jsonInt(net.record['revision'], 0n)) + 1 };
    this.#out.store(this.#networkFile(net.nwid), emitJson(net.record));
    return true;
  }

  deleteNetwork(at: Moment, nwid: NetworkId): JsonRecord | undefined {
    const record = this.networkRecord(nwid);
    const net = this.#networks.get(nwid);
    if (record === undefined || net === undefined) return undefined;
    for (const [address, member] of net.members) {
      if (jsonBool(member['authorized'], false)) this.#revoke(at, net, address);
    }
    this.#networks.delete(nwid);
    for (const address of net.members.keys())
      this.#out.store(this.#memberFile(nwid, address), undefined);
    this.#out.store(this.#networkFile(nwid), undefined);
    return record;
  }

  /** Creates or changes a member; undefined when there is no such network. @throws as postNetwork. */
  postMember(
    at: Moment,
    nwid: NetworkId,
    address: NodeAddress,
    texts: { nwid: string; address: string },
    request: JsonRecord,
  ): JsonRecord | undefined {
    const net = this.#networks.get(nwid);
    if (net === undefined || this.networkRecord(nwid) === undefined) return undefined;
    const old = net.members.get(address);
    const base = withDefaults(old ?? {}, defaultMember(texts.address, texts.nwid, at.wall));
    const next = updateMember(base, request, at.wall);
    const wasAuthorized = jsonBool(old?.['authorized'], false);
    if (this.#saveMember(net, address, next)) {
      if (wasAuthorized && !jsonBool(next['authorized'], false)) this.#revoke(at, net, address);
      this.#pushMember(at, net, address);
    }
    return net.members.get(address);
  }

  #saveMember(net: NetworkState, address: NodeAddress, next: JsonRecord): boolean {
    const old = net.members.get(address);
    if (old !== undefined && sameButRevision(old, next)) return false;
    const saved = { ...next, revision: Number(jsonInt(old?.['revision'], 0n)) + 1 };
    net.members.set(address, saved);
    unindexAssignments(net, address);
    indexAssignments(net, address, saved);
    this.#out.store(this.#memberFile(net.nwid, address), emitJson(saved));
    return true;
  }

  deleteMember(at: Moment, nwid: NetworkId, address: NodeAddress): JsonRecord | undefined {
    const net = this.#networks.get(nwid);
    const record = net?.members.get(address);
    if (net === undefined || record === undefined) return undefined;
    if (jsonBool(record['authorized'], false)) this.#revoke(at, net, address);
    net.members.delete(address);
    net.sessions.delete(address);
    unindexAssignments(net, address);
    this.#out.store(this.#memberFile(nwid, address), undefined);
    return record;
  }

  // ---- requests ----

  handleRequest(at: Moment, m: Vl2Message, nwid: NetworkId, metadataText: Uint8Array): void {
    const net = this.#networks.get(nwid);
    const session = net === undefined ? undefined : this.#session(net, m.peer.address);
    if (session !== undefined) {
      if (at.mono - session.requestedAt <= REQUEST_GATE_MS) return;
      session.requestedAt = at.mono;
    }
    const answer = this.#decide(at, nwid, m.peer.identity, parseMetadata(metadataText));
    if ('error' in answer) {
      const w = this.#port.begin(m.peer.address, VERB.ERROR);
      w.u8(m.verb).u64(m.packetId).u8(answer.error).u64(nwid);
      if (answer.data !== undefined) w.put(answer.data);
      this.#port.send(m.peer.address, false);
      return;
    }
    for (const body of this.#chunks(nwid, answer.config)) {
      this.#port
        .begin(m.peer.address, VERB.OK)
        .u8(VERB.NETWORK_CONFIG_REQUEST)
        .u64(m.packetId)
        .put(body);
      this.#port.send(m.peer.address, true);
    }
  }

  requestLocal(at: Moment, nwid: NetworkId): void {
    const metadata: Metadata = {
      configVersion: 7,
      protocol: this.#port.protocol,
      major: 1,
      minor: 14,
      revision: 1,
      rulesRevision: 1,
      auth: '',
    };
    const net = this.#networks.get(nwid);
    if (net !== undefined) this.#session(net, this.#port.self.address).requestedAt = at.mono;
    const answer = this.#decide(at, nwid, this.#port.self, metadata);
    if ('config' in answer) this.#out.applyLocal(at, nwid, answer.config);
    else
      this.#out.failLocal(
        nwid,
        answer.error === ERROR_CODE.OBJ_NOT_FOUND ? 'NOT_FOUND' : 'ACCESS_DENIED',
      );
  }

  served(at: Moment, nwid: NetworkId, address: NodeAddress): boolean {
    const s = this.#networks.get(nwid)?.sessions.get(address);
    return s !== undefined && at.mono - s.servedAt < SERVED_MS;
  }

  handleTimeout(at: Moment): void {
    for (const net of this.#networks.values()) {
      for (const [address, s] of net.sessions) {
        if (at.mono - Math.max(s.requestedAt, s.servedAt) > SERVED_MS) net.sessions.delete(address);
      }
    }
  }

  #session(net: NetworkState, address: NodeAddress): Session {
    const known = net.sessions.get(address);
    if (known !== undefined) return known;
    const fresh: Session = {
      requestedAt: Number.NEGATIVE_INFINITY,
      servedAt: Number.NEGATIVE_INFINITY,
      metadata: undefined,
      identity: undefined,
    };
    net.sessions.set(address, fresh);
    return fresh;
  }

  /**
   * The decision; a stored record that no configuration can be made of is an internal failure, which
   * reads as "not found" [3 section 12.2].
   */
  #decide(at: Moment, nwid: NetworkId, identity: Identity, metadata: Metadata): Answer {
    try {
      return this.#answer(at, nwid, identity, metadata);
    } catch (e) {
      if (!(e instanceof RuleTypeError)) throw e;
      return { error: ERROR_CODE.OBJ_NOT_FOUND };
    }
  }

  /** The decision on a genuine request [3 section 12.2]. */
  #answer(at: Moment, nwid: NetworkId, identity: Identity, metadata: Metadata): Answer {
    const net = this.#networks.get(nwid);
    if (net === undefined || net.record['id'] === undefined)
      return { error: ERROR_CODE.OBJ_NOT_FOUND };
    const address = identity.address;
    const old = net.members.get(address);
    if (old === undefined && net.members.size >= MAX_MEMBERS_PER_NETWORK)
      return { error: ERROR_CODE.NETWORK_ACCESS_DENIED };
    const member = withDefaults(
      old ?? {},
      defaultMember(addressText(address), networkIdText(nwid), at.wall),
    );
    const known =
      typeof member['identity'] === 'string' ? parseIdentityText(member['identity']) : undefined;
    if (known !== undefined && !equalIdentities(known, identity))
      return { error: ERROR_CODE.NETWORK_ACCESS_DENIED };
    member['identity'] = emitIdentityText(identity, false);
    const isAuthorised = this.#authorise(at, net, member, metadata);
    if (needsSignOn(at, net.record, member)) {
      this.#saveMember(net, address, member);
      return { error: ERROR_CODE.NETWORK_AUTHENTICATION_REQUIRED, data: authenticationData() };
    }
    if (!isAuthorised) {
      this.#saveMember(net, address, member);
      return { error: ERROR_CODE.NETWORK_ACCESS_DENIED };
    }
    member['vMajor'] = metadata.major;
    member['vMinor'] = metadata.minor;
    member['vRev'] = metadata.revision;
    member['vProto'] = metadata.protocol;
    const session = this.#session(net, address);
    session.metadata = metadata;
    session.identity = identity;
    session.servedAt = at.mono;
    const config = this.#buildConfig(at, net, member, identity, metadata, old === undefined);
    this.#saveMember(net, address, member);
    return { config };
  }

  #authorise(at: Moment, net: NetworkState, member: JsonRecord, metadata: Metadata): boolean {
    if (jsonBool(member['authorized'], false)) return true;
    const credential = this.#credential(at, net, metadata);
    if (credential === undefined) return false;
    member['authorized'] = true;
    member['lastAuthorizedTime'] = at.wall;
    member['lastAuthorizedCredentialType'] = credential.type;
    member['lastAuthorizedCredential'] = credential.value;
    return true;
  }

  #credential(
    at: Moment,
    net: NetworkState,
    metadata: Metadata,
  ): { type: string; value: string | null } | undefined {
    if (!jsonBool(net.record['private'], true)) return { type: 'public', value: null };
    const token = /^token:(.+)$/s.exec(metadata.auth)?.[1];
    const tokens = net.record['authTokens'];
    if (token === undefined || !isRecord(tokens)) return undefined;
    const expires = Object.hasOwn(tokens, token) ? tokens[token] : undefined;
    if (typeof expires !== 'number' || (expires !== 0 && expires <= at.wall)) return undefined;
    return { type: 'token', value: token };
  }

  // ---- configurations ----

  #chunks(nwid: NetworkId, text: Uint8Array): Uint8Array[] {
    const id = new Uint8Array(8);
    this.#port.entropy.fill(id);
    id[0] = id[0]! | 1;
    const updateId = new DataView(id.buffer).getBigUint64(0);
    return emitConfigChunks(nwid, text, updateId, (b) =>
      this.#port.primitives.sign(this.#port.self.privateKey!, b),
    );
  }

  #sign(bytes: Uint8Array): Uint8Array {
    return this.#port.primitives.sign(this.#port.self.privateKey!, bytes);
  }

  /** [3 section 12.3]; adds default capabilities, tags and addresses to `member`. */
  #buildConfig(
    at: Moment,
    net: NetworkState,
    member: JsonRecord,
    to: Identity,
    metadata: Metadata,
    isNew: boolean,
  ): Uint8Array {
    const record = net.record;
    const timestamp = BigInt(at.wall);
    const window = jsonInt(record['certificateTimeoutWindowSize'], DELTA_DEFAULT);
    const delta = window < DELTA_MIN ? DELTA_MIN : window > DELTA_MAX ? DELTA_MAX : window;
    const seesRules = metadata.rulesRevision > 0;
    const assignment = assignAddresses(
      record,
      member,
      net.nwid,
      to.address,
      (ip) => {
        const owner = net.assigned.get(ip);
        return owner !== undefined && owner !== to.address;
      },
      () => this.#random64(),
    );
    if (assignment.taken.length > 0) {
      const old = Array.isArray(member['ipAssignments']) ? member['ipAssignments'] : [];
      member['ipAssignments'] = [...old, ...assignment.taken];
    }
    let flags = 0n;
    if (jsonBool(record['enableBroadcast'], true)) flags |= NETWORK_FLAG.BROADCAST;
    if (assignment.emulatesNdp) flags |= NETWORK_FLAG.NDP_EMULATION;
    const trace = typeof member['remoteTraceTarget'] === 'string' ? member : record;
    const config: NetworkConfig = {
      nwid: net.nwid,
      timestamp,
      credentialTimeMaxDelta: delta,
      revision: jsonInt(record['revision'], 0n),
      issuedTo: to.address,
      traceTarget:
        typeof trace['remoteTraceTarget'] === 'string'
          ? (parseAddress(trace['remoteTraceTarget']) ?? 0)
          : 0,
      traceLevel:
        typeof trace['remoteTraceTarget'] === 'string'
          ? jsonInt(trace['remoteTraceLevel'], 0n)
          : 0n,
      flags,
      multicastLimit: Number(BigInt.asUintN(32, jsonInt(record['multicastLimit'], 32n))),
      type: jsonBool(record['private'], true) ? NETWORK_PRIVATE : NETWORK_PUBLIC,
      name: jsonText(record['name'], ''),
      mtu: clampMtu(Number(jsonInt(record['mtu'], 2800n))),
      com: issueCom(this.#port.primitives, this.#port.self, net.nwid, to, timestamp, delta),
      capabilities: seesRules ? this.#capabilities(net, member, to.address, timestamp, isNew) : [],
      tags: seesRules ? this.#tags(net, member, to.address, timestamp) : [],
      ownerships: this.#ownerships(net.nwid, to.address, timestamp, assignment.addresses),
      specialists: this.#bridges(net),
      routes: routesOf(record)
        .slice(0, MAX_ROUTES)
        .map((r) => ({ target: r.target, via: r.via ?? NO_ADDRESS, flags: 0, metric: 0 })),
      addresses: assignment.addresses,
      rules: seesRules ? rulesFromJson(record['rules'], MAX_RULES) : ACCEPT_ALL,
      dns: dnsOf(record),
      sso: {
        enabled: jsonBool(record['ssoEnabled'], false),
        version: 0n,
        authenticationUrl: '',
        expiryTime: jsonInt(member['authenticationExpiryTime'], 0n),
      },
    };
    return emitNetworkConfig(config);
  }

  #random64(): bigint {
    const b = new Uint8Array(8);
    this.#port.entropy.fill(b);
    return new DataView(b.buffer).getBigUint64(0);
  }

  #bridges(net: NetworkState): bigint[] {
    return [...net.members]
      .filter(([, m]) => jsonBool(m['activeBridge'], false))
      .map(([a]) => BigInt(a) | SPECIALIST.ACTIVE_BRIDGE)
      .sort((a, b) => (a < b ? -1 : 1));
  }

  #capabilities(
    net: NetworkState,
    member: JsonRecord,
    to: NodeAddress,
    timestamp: bigint,
    isNew: boolean,
  ): Capability[] {
    const defined = (
      Array.isArray(net.record['capabilities']) ? net.record['capabilities'] : []
    ).filter(isRecord);
    let ids = (Array.isArray(member['capabilities']) ? member['capabilities'] : []).map((x) =>
      jsonInt(x, 0n),
    );
    if (isNew) {
      const defaults = defined
        .filter((c) => jsonBool(c['default'], false))
        .map((c) => jsonInt(c['id'], 0n));
      ids = [...new Set([...ids, ...defaults])].sort((a, b) => (a < b ? -1 : 1));
      if (ids.length > 0) member['capabilities'] = ids.map(Number);
    }
    const out: Capability[] = [];
    for (const id of ids) {
      const def = defined.find((c) => jsonInt(c['id'], 0n) === id);
      if (def === undefined || out.length >= MAX_CAPABILITIES) continue;
      const cap: Capability = {
        nwid: net.nwid,
        timestamp,
        id: Number(BigInt.asUintN(32, id)),
        rules: rulesFromJson(def['rules'], 64),
        maxCustody: 1,
        custody: [],
      };
      const signature = this.#sign(capabilitySignedBytes(cap));
      out.push({ ...cap, custody: [{ to, from: this.#port.self.address, signature }] });
    }
    return out;
  }

  #tags(net: NetworkState, member: JsonRecord, to: NodeAddress, timestamp: bigint): Tag[] {
    const values = new Map<number, number>();
    const u32 = (v: JsonValue | undefined): number => Number(BigInt.asUintN(32, jsonInt(v, 0n)));
    for (const t of Array.isArray(member['tags']) ? member['tags'] : []) {
      if (Array.isArray(t) && t.length === 2) values.set(u32(t[0]), u32(t[1]));
    }
    let added = false;
    for (const t of Array.isArray(net.record['tags']) ? net.record['tags'] : []) {
      if (!isRecord(t) || typeof t['default'] !== 'number' || values.has(u32(t['id']))) continue;
      values.set(u32(t['id']), u32(t['default']));
      added = true;
    }
    const sorted = [...values].sort(([a], [b]) => a - b);
    if (added) member['tags'] = [...values];
    return sorted.slice(0, MAX_TAGS).map(([id, value]) => {
      const tag = {
        nwid: net.nwid,
        timestamp,
        id,
        value,
        issuedTo: to,
        signer: this.#port.self.address,
        signature: new Uint8Array(96),
      };
      return { ...tag, signature: this.#sign(tagSignedBytes(tag)) };
    });
  }

  #ownerships(
    nwid: NetworkId,
    to: NodeAddress,
    timestamp: bigint,
    addresses: readonly { family: 0 | 4 | 6; ip: Uint8Array }[],
  ): Ownership[] {
    if (addresses.length === 0) return [];
    const things = addresses
      .slice(0, MAX_OWNED)
      .map((a) => ownedThing(a.family === 4 ? THING.IPV4 : THING.IPV6, a.ip));
    const coo = {
      nwid,
      timestamp,
      flags: 0n,
      id: 1,
      things,
      issuedTo: to,
      signer: this.#port.self.address,
      signature: new Uint8Array(96),
    };
    return [{ ...coo, signature: this.#sign(ownershipSignedBytes(coo)) }];
  }

  // ---- pushes [3 section 12.4] ----

  #isOnline(at: Moment, s: Session | undefined): boolean {
    return s !== undefined && at.mono - s.requestedAt < ONLINE_MS;
  }

  #pushNetwork(at: Moment, net: NetworkState): void {
    for (const address of net.sessions.keys()) this.#pushMember(at, net, address);
  }

  /** Builds and sends the configuration anew, if the member is online and was served before. */
  #pushMember(at: Moment, net: NetworkState, address: NodeAddress): void {
    const s = net.sessions.get(address);
    if (s?.metadata === undefined || s.identity === undefined || !this.#isOnline(at, s)) return;
    if (this.#refresh(at, net, s.identity, s.metadata)) s.servedAt = at.mono;
  }

  /** An internal refresh [3 section 12.2]: pushed when the member may have it, silent otherwise. */
  refresh(at: Moment, nwid: NetworkId, to: Identity, metadataText: Uint8Array): void {
    const net = this.#networks.get(nwid);
    if (net !== undefined) this.#refresh(at, net, to, parseMetadata(metadataText));
  }

  /** @returns whether a configuration went out. */
  #refresh(at: Moment, net: NetworkState, to: Identity, metadata: Metadata): boolean {
    const old = net.members.get(to.address);
    if (old === undefined) return false;
    const member = { ...old };
    if (!this.#authorise(at, net, member, metadata) || needsSignOn(at, net.record, member)) {
      return false;
    }
    const text = this.#configOrNone(at, net, member, to, metadata);
    if (text === undefined) return false;
    this.#saveMember(net, to.address, member);
    if (to.address === this.#port.self.address) {
      this.#out.applyLocal(at, net.nwid, text);
      return true;
    }
    for (const body of this.#chunks(net.nwid, text)) {
      this.#port.begin(to.address, VERB.NETWORK_CONFIG).put(body);
      this.#port.send(to.address, true);
    }
    return true;
  }

  /** As `#buildConfig`; undefined when the stored rules make none. */
  #configOrNone(
    at: Moment,
    net: NetworkState,
    member: JsonRecord,
    to: Identity,
    metadata: Metadata,
  ): Uint8Array | undefined {
    try {
      return this.#buildConfig(at, net, member, to, metadata, false);
    } catch (e) {
      if (!(e instanceof RuleTypeError)) throw e;
      return undefined;
    }
  }

  /** Voids a member's certificate at every online member, itself included. */
  #revoke(at: Moment, net: NetworkState, target: NodeAddress): void {
    const id = Number(this.#random64() & 0xffff_ffffn);
    const unsigned: Revocation = {
      id,
      nwid: net.nwid,
      credentialId: 0,
      threshold: BigInt(at.wall),
      flags: REVOCATION_FAST_PROPAGATE,
      target,
      signer: this.#port.self.address,
      type: CREDENTIAL.COM,
      signature: new Uint8Array(96),
    };
    const revocation = { ...unsigned, signature: this.#sign(revocationSignedBytes(unsigned)) };
    for (const [address, s] of net.sessions) {
      if (!this.#isOnline(at, s) || address === this.#port.self.address) continue;
      const w = this.#port.begin(address, VERB.NETWORK_CREDENTIALS).u8(0).u16(0).u16(0).u16(1);
      writeRevocation(w, revocation);
      w.u16(0);
      this.#port.send(address, false);
    }
  }

  /** Whether networks with this id are ours to serve. */
  isOurs(nwid: NetworkId): boolean {
    return controllerOf(nwid) === this.#port.self.address;
  }
}

/** Single sign-on is on, and this member's authentication is missing or has expired. */
function needsSignOn(at: Moment, network: JsonRecord, member: JsonRecord): boolean {
  if (!jsonBool(network['ssoEnabled'], false) || jsonBool(member['ssoExempt'], false)) return false;
  return jsonInt(member['authenticationExpiryTime'], 0n) <= BigInt(at.wall);
}

function newState(nwid: NetworkId, record: JsonRecord): NetworkState {
  return { nwid, record, members: new Map(), sessions: new Map(), assigned: new Map() };
}

function sameButRevision(a: JsonRecord, b: JsonRecord): boolean {
  return equalJson({ ...a, revision: 0 }, { ...b, revision: 0 });
}

function indexAssignments(net: NetworkState, address: NodeAddress, member: JsonRecord): void {
  for (const ip of Array.isArray(member['ipAssignments']) ? member['ipAssignments'] : []) {
    if (typeof ip === 'string') net.assigned.set(ip, address);
  }
}

function unindexAssignments(net: NetworkState, address: NodeAddress): void {
  for (const [ip, owner] of net.assigned) if (owner === address) net.assigned.delete(ip);
}

function dnsOf(record: JsonRecord): NetworkConfig['dns'] {
  const dns = record['dns'];
  if (!isRecord(dns)) return { domain: '', servers: [] };
  const servers = (Array.isArray(dns['servers']) ? dns['servers'] : [])
    .map((s) => (typeof s === 'string' ? lenientAddress(s) : undefined))
    .filter((a) => a !== undefined)
    .slice(0, MAX_DNS_SERVERS);
  return { domain: typeof dns['domain'] === 'string' ? dns['domain'] : '', servers };
}
