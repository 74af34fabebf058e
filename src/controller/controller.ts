/**
 * The network controller of a node [3 section 12, 4 section 8]: records, authorisation, requests,
 * pushes and revocations. Sans-IO: storage goes out as `store` requests in the reference's
 * `controller.d` layout, time and messages come in; `deadline()` says when postponed work is due.
 *
 * Contents: storage; the API's view; requests; pushes; time. Who may: authorisation.ts; what is void:
 * revocations.ts.
 *
 * Owns all records in memory. A request costs one configuration (config.ts), well below 1 ms; requests
 * of one member are gated to one a second. What goes to many members at once is spread over turns, so
 * that ten thousand of them do not stop the node.
 */

import { Counters } from '../lib/counters.js';
import {
  emitJson,
  isRecord,
  type JsonRecord,
  type JsonValue,
  jsonBool,
  parseJson,
} from '../lib/json.js';
import { type Moment, NEVER } from '../lib/time.js';
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
import type { Revocation } from '../wire/credentials.js';
import {
  emitIdentityText,
  equalIdentities,
  type Identity,
  parseIdentityText,
} from '../wire/identity.js';
import { emitConfigChunks, type Metadata, parseMetadata } from '../wire/netconf.js';
import { ERROR_CODE, VERB } from '../wire/packet.js';
import { authenticationData, authorise, needsSignOn } from './authorisation.js';
import { makeConfig, type Signer } from './config.js';
import {
  defaultMember,
  defaultNetwork,
  nextRevision,
  sameButRevision,
  updateMember,
  updateNetwork,
  withDefaults,
} from './records.js';
import { REVOKED_PER_TURN, Revocations } from './revocations.js';
import { writeRevocations } from './revoker.js';
import { RuleTypeError } from './rules-json.js';
import { isOnline, NetworkState, type Session } from './state.js';

// [3 section 13], ms
const REQUEST_GATE_MS = 1_000;
const SERVED_MS = 180_000;
/** [3 section 12.4] */
const SSO_CHECK_MS = 500;
/** Ours: how often sessions of members that went away are dropped. */
const SWEEP_MS = 30_000;
/** Ours: a requester that is not a member yet makes a record; this bounds what strangers can make. */
export const MAX_MEMBERS_PER_NETWORK = 100_000;
/** Ours: as many may be remembered as online. */
export const MAX_SESSIONS_PER_NETWORK = 100_000;
/**
 * Ours: a pushed configuration that was not acknowledged for so long is pushed again, so often. The
 * reference leaves losses to the member's next request, up to 60 s later [3 section 5.1].
 */
export const PUSH_AGAIN_MS = 2_000;
export const MAX_PUSH_ROUNDS = 2;
/** Ours: configurations of one turn, at some 0.5 ms. */
export const PUSHES_PER_TURN = 16;

export type ControllerCounter =
  | 'controllerRequestGated'
  | 'controllerMembersFull'
  | 'controllerSessionsFull'
  | 'controllerConfigSent'
  | 'controllerRevocationSent'
  | 'controllerRevocationDropped'
  | 'controllerRepeatDropped';

export interface ControllerOut {
  /** Writes (or with undefined deletes, a folder with all in it) `controller.d/<path>`. */
  store(path: string, json: string | undefined): void;
  /** Applies a configuration to our own membership. */
  applyLocal(at: Moment, nwid: NetworkId, text: Uint8Array): void;
  failLocal(nwid: NetworkId, failure: 'ACCESS_DENIED' | 'NOT_FOUND'): void;
}

type Answer =
  | { readonly config: Uint8Array }
  | { readonly error: number; readonly data?: Uint8Array };

interface Unacknowledged {
  readonly net: NetworkState;
  readonly address: NodeAddress;
  readonly updateId: bigint;
  /** Monotonic ms. */
  readonly dueAt: number;
  readonly round: number;
}

export class Controller implements ControllerPort {
  readonly #networks = new Map<NetworkId, NetworkState>();
  #port!: Vl1Port;
  #out!: ControllerOut;
  readonly counters = new Counters<ControllerCounter>();
  readonly #revocations = new Revocations({
    self: () => this.#port.self.address,
    random64: () => this.#random64(),
    sign: (bytes) => this.#sign(bytes),
    send: (to, list) => this.#sendRevocations(to, list),
    isServed: (net) => this.#networks.get(net.nwid) === net,
    count: (name, by) => this.counters.add(name, by),
  });
  /** The last push to a session whose acknowledgement is awaited, by time. */
  readonly #unacknowledged = new Map<Session, Unacknowledged>();
  /** Members whose configuration is to be pushed; each is built from what holds when its turn comes. */
  readonly #pushes = new Map<NetworkState, Map<NodeAddress, number>>();
  #ssoCheckedAt = Number.NEGATIVE_INFINITY;
  #sweptAt = Number.NEGATIVE_INFINITY;

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
    this.#state(nwid).record = v;
    return true;
  }

  #loadMember(v: JsonRecord): boolean {
    const nwid = typeof v['nwid'] === 'string' ? parseNetworkId(v['nwid']) : undefined;
    const address = typeof v['id'] === 'string' ? parseAddress(v['id']) : undefined;
    if (nwid === undefined || address === undefined) return false;
    this.#state(nwid).setMember(address, v);
    return true;
  }

  #state(nwid: NetworkId): NetworkState {
    let net = this.#networks.get(nwid);
    if (net === undefined) {
      net = new NetworkState(nwid);
      this.#networks.set(nwid, net);
    }
    return net;
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
      .filter((n) => n.exists)
      .map((n) => n.nwid)
      .sort((a, b) => (a < b ? -1 : 1));
  }

  networkRecord(nwid: NetworkId): JsonRecord | undefined {
    const net = this.#networks.get(nwid);
    return net?.exists ? net.record : undefined;
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
  postNetwork(at: Moment, nwid: NetworkId, request: JsonRecord): JsonRecord {
    const defaults = defaultNetwork(networkIdText(nwid), at.wall);
    const old = this.networkRecord(nwid);
    const next = updateNetwork(withDefaults(old ?? {}, defaults), request);
    const net = this.#state(nwid);
    if (this.#saveNetwork(net, next)) {
      for (const address of net.sessions.keys()) this.#queuePush(net, address);
      this.#work(at);
    }
    return net.record;
  }

  /** @returns whether anything but the revision changed. */
  #saveNetwork(net: NetworkState, next: JsonRecord): boolean {
    if (net.exists && sameButRevision(net.record, next)) return false;
    net.record = { ...next, revision: nextRevision(net.record) };
    this.#out.store(this.#networkFile(net.nwid), emitJson(net.record));
    return true;
  }

  deleteNetwork(at: Moment, nwid: NetworkId): JsonRecord | undefined {
    const record = this.networkRecord(nwid);
    const net = this.#networks.get(nwid);
    if (record === undefined || net === undefined) return undefined;
    this.#networks.delete(nwid);
    this.#pushes.delete(net);
    this.#revocations.revokeAll(at, net);
    this.#work(at);
    // Members first: an end in between leaves nobody authorised on a network made anew with this id.
    this.#out.store(`network/${networkIdText(nwid)}`, undefined);
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
      if (wasAuthorized && !jsonBool(next['authorized'], false))
        this.#revocations.revoke(at, net, address);
      this.#queuePush(net, address);
      this.#work(at);
    }
    return net.members.get(address);
  }

  #saveMember(net: NetworkState, address: NodeAddress, next: JsonRecord): boolean {
    const old = net.members.get(address);
    if (old !== undefined && sameButRevision(old, next)) return false;
    const saved = { ...next, revision: nextRevision(old) };
    net.setMember(address, saved);
    this.#out.store(this.#memberFile(net.nwid, address), emitJson(saved));
    return true;
  }

  deleteMember(at: Moment, nwid: NetworkId, address: NodeAddress): JsonRecord | undefined {
    const net = this.#networks.get(nwid);
    const record = net?.members.get(address);
    if (net === undefined || record === undefined) return undefined;
    if (jsonBool(record['authorized'], false)) this.#revocations.revoke(at, net, address);
    net.deleteMember(address);
    this.#work(at);
    this.#out.store(this.#memberFile(nwid, address), undefined);
    return record;
  }

  // ---- requests ----

  handleRequest(at: Moment, m: Vl2Message, nwid: NetworkId, metadataText: Uint8Array): void {
    const net = this.#networks.get(nwid);
    if (net !== undefined && !this.#isWelcome(at, net, m.peer.address)) return;
    const answer = this.#decide(at, nwid, m.peer.identity, parseMetadata(metadataText));
    if ('error' in answer) {
      const w = this.#port.begin(m.peer.address, VERB.ERROR);
      w.u8(m.verb).u64(m.packetId).u8(answer.error).u64(nwid);
      if (answer.data !== undefined) w.put(answer.data);
      this.#port.send(m.peer.address, false);
      return;
    }
    // An answer is as good as the push that may still be open.
    const session = net?.sessions.get(m.peer.address);
    if (session !== undefined) session.pushed = undefined;
    for (const body of this.#chunks(nwid, answer.config, this.#updateId())) {
      this.#port
        .begin(m.peer.address, VERB.OK)
        .u8(VERB.NETWORK_CONFIG_REQUEST)
        .u64(m.packetId)
        .put(body);
      this.#port.send(m.peer.address, true);
    }
    this.counters.add('controllerConfigSent');
  }

  /** The gate of one request a second; remembers who asks as online. */
  #isWelcome(at: Moment, net: NetworkState, address: NodeAddress): boolean {
    if (!net.sessions.has(address) && net.sessions.size >= MAX_SESSIONS_PER_NETWORK) {
      this.counters.add('controllerSessionsFull');
      return false;
    }
    const session = net.session(address);
    if (at.mono - session.requestedAt <= REQUEST_GATE_MS) {
      this.counters.add('controllerRequestGated');
      return false;
    }
    session.requestedAt = at.mono;
    return true;
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
    if (net !== undefined) net.session(this.#port.self.address).requestedAt = at.mono;
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
    if (net === undefined || !net.exists) return { error: ERROR_CODE.OBJ_NOT_FOUND };
    const address = identity.address;
    const old = net.members.get(address);
    if (old === undefined && net.members.size >= MAX_MEMBERS_PER_NETWORK) {
      this.counters.add('controllerMembersFull');
      return { error: ERROR_CODE.NETWORK_ACCESS_DENIED };
    }
    const member = withDefaults(
      old ?? {},
      defaultMember(addressText(address), networkIdText(nwid), at.wall),
    );
    const known =
      typeof member['identity'] === 'string' ? parseIdentityText(member['identity']) : undefined;
    if (known !== undefined && !equalIdentities(known, identity))
      return { error: ERROR_CODE.NETWORK_ACCESS_DENIED };
    member['identity'] = emitIdentityText(identity, false);
    const isAuthorised = authorise(at, net, member, metadata);
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
    const session = net.session(address);
    session.metadata = metadata;
    session.identity = identity;
    session.servedAt = at.mono;
    const to = { identity, metadata, isNew: old === undefined };
    const config = makeConfig(this.#signer, net, member, to, at.wall);
    this.#saveMember(net, address, member);
    return { config };
  }

  get #signer(): Signer {
    return {
      primitives: this.#port.primitives,
      self: this.#port.self,
      random64: () => this.#random64(),
    };
  }

  #sign(bytes: Uint8Array): Uint8Array {
    return this.#port.primitives.sign(this.#port.self.privateKey!, bytes);
  }

  #random64(): bigint {
    const b = new Uint8Array(8);
    this.#port.entropy.fill(b);
    return new DataView(b.buffer).getBigUint64(0);
  }

  /** An update id is never 0. */
  #updateId(): bigint {
    return this.#random64() | (1n << 56n);
  }

  /** Chunk bodies of one update. */
  #chunks(nwid: NetworkId, text: Uint8Array, updateId: bigint): Uint8Array[] {
    return emitConfigChunks(nwid, text, updateId, (b) => this.#sign(b));
  }

  // ---- pushes [3 section 12.4] ----

  #queuePush(net: NetworkState, address: NodeAddress, round = 0): void {
    const waiting = this.#pushes.get(net);
    if (waiting === undefined) this.#pushes.set(net, new Map([[address, round]]));
    else waiting.set(address, Math.min(round, waiting.get(address) ?? round));
  }

  /** One turn of what waits for members. */
  #work(at: Moment): void {
    this.#revocations.run(at.mono);
    let left = PUSHES_PER_TURN;
    for (const [net, waiting] of this.#pushes) {
      for (const [address, round] of waiting) {
        if (left <= 0) return;
        waiting.delete(address);
        if (this.#pushMember(at, net, address, round)) left--;
      }
      this.#pushes.delete(net);
    }
  }

  /** Builds and sends the configuration anew, if the member is online and was served before. */
  #pushMember(at: Moment, net: NetworkState, address: NodeAddress, round: number): boolean {
    const s = net.sessions.get(address);
    if (s?.metadata === undefined || s.identity === undefined || !isOnline(at, s)) return false;
    if (!this.#refresh(at, net, s.identity, s.metadata)) return false;
    s.servedAt = at.mono;
    const updateId = s.pushed;
    const dueAt = at.mono + PUSH_AGAIN_MS;
    this.#unacknowledged.delete(s);
    if (updateId !== undefined)
      this.#unacknowledged.set(s, { net, address, updateId, dueAt, round });
    return true;
  }

  handleAcknowledgement(nwid: NetworkId, from: NodeAddress, updateId: bigint): void {
    const s = this.#networks.get(nwid)?.sessions.get(from);
    if (s?.pushed === updateId) s.pushed = undefined;
  }

  /** Pushes again, built anew, what was not acknowledged in time. */
  #pushAgain(at: Moment): void {
    // In the order of their times, as the wait is the same for all.
    for (const [session, { net, address, updateId, dueAt, round }] of this.#unacknowledged) {
      if (at.mono < dueAt) break;
      this.#unacknowledged.delete(session);
      const isOpen =
        this.#networks.get(net.nwid) === net && net.sessions.get(address)?.pushed === updateId;
      if (isOpen && round < MAX_PUSH_ROUNDS) this.#queuePush(net, address, round + 1);
    }
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
    if (!authorise(at, net, member, metadata) || needsSignOn(at, net.record, member)) {
      return false;
    }
    const text = this.#configOrNone(at, net, member, to, metadata);
    if (text === undefined) return false;
    this.#saveMember(net, to.address, member);
    if (to.address === this.#port.self.address) {
      this.#out.applyLocal(at, net.nwid, text);
      return true;
    }
    const updateId = this.#updateId();
    const session = net.sessions.get(to.address);
    if (session !== undefined) session.pushed = updateId;
    for (const body of this.#chunks(net.nwid, text, updateId)) {
      this.#port.begin(to.address, VERB.NETWORK_CONFIG).put(body);
      this.#port.send(to.address, true);
    }
    this.counters.add('controllerConfigSent');
    return true;
  }

  /** As `makeConfig`; undefined when the stored rules make none. */
  #configOrNone(
    at: Moment,
    net: NetworkState,
    member: JsonRecord,
    to: Identity,
    metadata: Metadata,
  ): Uint8Array | undefined {
    try {
      const recipient = { identity: to, metadata, isNew: false };
      return makeConfig(this.#signer, net, member, recipient, at.wall);
    } catch (e) {
      if (!(e instanceof RuleTypeError)) throw e;
      return undefined;
    }
  }

  #sendRevocations(to: NodeAddress, list: readonly Revocation[]): void {
    writeRevocations(this.#port.begin(to, VERB.NETWORK_CREDENTIALS), list);
    this.#port.send(to, false);
    this.counters.add('controllerRevocationSent', list.length);
  }

  // ---- time ----

  handleTimeout(at: Moment): void {
    if (at.mono - this.#ssoCheckedAt >= SSO_CHECK_MS) this.#checkSignOns(at);
    if (at.mono - this.#sweptAt >= SWEEP_MS) this.#sweep(at);
    this.#revocations.repeat(at);
    this.#pushAgain(at);
    this.#work(at);
  }

  /** Monotonic ms of the next thing to do; long past when it is to be done at once. */
  deadline(): number {
    if (this.#networks.size === 0 && this.#revocations.deadline === NEVER) return NEVER;
    const work = this.#pushes.size > 0 ? Number.NEGATIVE_INFINITY : this.#revocations.deadline;
    const [first] = this.#unacknowledged.values();
    const again = first?.dueAt ?? NEVER;
    return Math.min(work, again, this.#ssoCheckedAt + SSO_CHECK_MS, this.#sweptAt + SWEEP_MS);
  }

  /** Sign-ons of many members may end together: those beyond a turn's number come in the next. */
  #checkSignOns(at: Moment): void {
    let left = REVOKED_PER_TURN;
    for (const net of this.#networks.values()) {
      if (!jsonBool(net.record['ssoEnabled'], false)) continue;
      const expired = net.takeExpired(at.wall, left);
      for (const address of expired) this.#revocations.revoke(at, net, address);
      left -= expired.length;
      if (left <= 0) return;
    }
    this.#ssoCheckedAt = at.mono;
  }

  #sweep(at: Moment): void {
    this.#sweptAt = at.mono;
    for (const net of this.#networks.values()) {
      for (const [address, s] of net.sessions) {
        if (at.mono - Math.max(s.requestedAt, s.servedAt) > SERVED_MS) net.sessions.delete(address);
      }
    }
  }

  /** Whether networks with this id are ours to serve. */
  isOurs(nwid: NetworkId): boolean {
    return controllerOf(nwid) === this.#port.self.address;
  }
}
