/**
 * Group http-controller: every controller route and field rule, on our root. Some requests of the
 * recording are not in the set. Where the numbering has a gap, what the missing requests must have
 * done is read off the difference between two recorded answers and done first (`bridge`); fields
 * that the request at hand sets are never bridged.
 */
import { isRecord, type JsonRecord, type JsonValue, parseJson } from '#src/lib/json.js';
import {
  compareBody,
  compareHead,
  compareJson,
  sameJson,
  tryParse,
  withoutOrder,
} from './compare.js';
import { translated } from './http-basic.js';
import { eventually, Lab, RECORDED_ROOT } from './lab.js';
import { Mapping } from './mapping.js';
import { askOnce, type RawAnswer } from './raw-http.js';
import { loadRecords, type ServiceRecord } from './records.js';
import { Group } from './report.js';
import { Revisions } from './revisions.js';

/** Fields that a POST sets, of networks and members [4 sections 8.2, 8.5]. */
const SETTABLE = [
  'name',
  'private',
  'enableBroadcast',
  'multicastLimit',
  'mtu',
  'remoteTraceTarget',
  'remoteTraceLevel',
  'v4AssignMode',
  'v6AssignMode',
  'routes',
  'ipAssignmentPools',
  'rules',
  'authTokens',
  'capabilities',
  'tags',
  'dns',
  'activeBridge',
  'noAutoAssignIps',
  'authenticationExpiryTime',
  'authorized',
  'ipAssignments',
];

const ARRAYS = new Set([
  'routes',
  'ipAssignmentPools',
  'rules',
  'capabilities',
  'tags',
  'ipAssignments',
]);

/** Records that show what ours does otherwise on purpose [4 section 13]. */
const DEFECTS: Readonly<Record<string, string>> = {
  'network-zero': 'a network of id 0 does not exist; ours refuses to make it',
};

const OBJECT_PATH = /^\/controller\/network\/[0-9a-fA-F]{16}(?:\/member\/[0-9a-fA-F]{10})?$/;

export async function httpController(): Promise<Group> {
  const group = new Group('http-controller');
  const lab = await Lab.start(['root']);
  try {
    const replay = new ControllerReplay(lab);
    for (const r of loadRecords(group.name)) {
      const defect = DEFECTS[r.id];
      if (defect !== undefined) group.skip(r.id, defect);
      else await group.check(r.id, () => replay.run(r));
    }
  } finally {
    await lab.stop();
  }
  return group;
}

/** Replays records against the controller of the lab's root. */
export class ControllerReplay {
  readonly lab: Lab;
  readonly mapping = new Mapping();
  readonly #revisions = new Revisions();
  /** Last recorded answer per object, in our terms. */
  readonly #seen = new Map<string, JsonRecord>();
  readonly #isLive: boolean;
  #lastSeq = 0;
  /** A gap was passed over on behalf of another node and may concern this one too. */
  #isPending = false;
  /** Requests were missing since a list of networks was last compared. */
  #isListStale = false;

  /** @param isLive members take part: answers to GET may need a moment. */
  constructor(lab: Lab, isLive = false) {
    this.lab = lab;
    this.#isLive = isLive;
    const root = lab.node('root');
    this.mapping.add(RECORDED_ROOT, root.address);
  }

  async run(r: ServiceRecord): Promise<void> {
    const isGap = this.passOver(r.seq) || this.#isPending;
    this.#isPending = false;
    this.#mapSecrets(r);
    const expected = tryParse(this.mapping.translate(r.response!.body));
    if (isGap || this.#isListStale) await this.#bridge(r, expected, isGap);
    const once = (): Promise<void> => this.#askAndCompare(r, isGap);
    // What members do shows at the controller when their packets have arrived.
    await (this.#isLive && r.request!.method === 'GET' ? eventually(once) : once());
  }

  async #askAndCompare(r: ServiceRecord, isGap: boolean): Promise<void> {
    const { port } = this.lab.node('root').service;
    const actual = await askOnce('127.0.0.1', port, translated(this.mapping, r.request!));
    compareHead(actual, r.response!);
    this.#mapCreated(r, actual);
    this.#compare(actual, r, isGap);
  }

  /** The same numbering goes on at another node: what it skipped is no gap here. */
  passOver(seq: number): boolean {
    const isGap = seq !== this.#lastSeq + 1;
    this.#lastSeq = seq;
    this.#isPending ||= isGap;
    this.#isListStale ||= isGap;
    return isGap;
  }

  /** The recorded token of whichever node, and the key of the recorded root, as ours. */
  #mapSecrets(r: ServiceRecord): void {
    const key = new RegExp(`${RECORDED_ROOT}:0:([0-9a-f]{128})`).exec(r.response!.body)?.[1];
    if (key !== undefined)
      this.mapping.add(key, this.lab.node('root').publicIdentity.split(':')[2]!);
    const token = r.request!.headers.find(([k]) => k.toLowerCase() === 'x-zt1-auth')?.[1];
    if (token !== undefined) this.mapping.add(token, this.lab.node(r.node ?? 'root').service.token);
  }

  /** A network with a random id has another one in our lab. */
  #mapCreated(r: ServiceRecord, actual: RawAnswer): void {
    const isCreation = /^\/controller\/network(?:\/[0-9a-f]{10}______)?$/.test(r.request!.target);
    if (!isCreation || r.response!.status !== 200 || r.request!.method === 'GET') return;
    const [theirs, ours] = [r.response!.body, actual.body].map((t) => parseJson(t) as JsonRecord);
    this.mapping.add(String(theirs!['nwid']), String(ours!['nwid']));
  }

  /** Compares bodies; revisions by their steps, lists without their order. */
  #compare(actual: RawAnswer, r: ServiceRecord, isGap: boolean): void {
    const text = this.mapping.translate(r.response!.body);
    const theirs = tryParse(text);
    if (theirs === undefined || r.request!.target.includes('jsonp=')) {
      compareBody(actual, { ...r.response!, body: text });
      return;
    }
    const ours = parseJson(actual.body);
    const key = r.request!.target.toLowerCase();
    this.#revisions.check(ours, theirs, isGap);
    compareJson(withoutOrder(ours), withoutOrder(theirs));
    if (isRecord(theirs) && OBJECT_PATH.test(r.request!.target)) this.#seen.set(key, theirs);
  }

  // ---- what requests that are not in the set must have done ----

  async #bridge(r: ServiceRecord, expected: JsonValue | undefined, isGap: boolean): Promise<void> {
    const { target, method } = r.request!;
    if (OBJECT_PATH.test(target) && isGap) {
      await this.#bridgeObject(target.toLowerCase(), r, expected);
    } else if (target === '/controller/network' && method === 'GET' && Array.isArray(expected)) {
      await this.#bridgeNetworks(expected.map(String));
    } else if (target.startsWith('/unstable/') && isGap && isRecord(expected)) {
      await this.#bridgeList(target, expected['data']);
    }
  }

  /** Makes and deletes networks so that just these exist. */
  async #bridgeNetworks(wanted: readonly string[]): Promise<void> {
    const held = (await this.lab.json('root', 'GET', '/controller/network')) as string[];
    for (const id of wanted) await this.#ensure(`/controller/network/${id}`);
    for (const id of held.filter((h) => !wanted.includes(h)))
      await this.lab.json('root', 'DELETE', `/controller/network/${id}`);
    this.#isListStale = false;
  }

  async #bridgeObject(
    key: string,
    r: ServiceRecord,
    expected: JsonValue | undefined,
  ): Promise<void> {
    const path = this.mapping.translate(key);
    const ours = await this.#get(path);
    const { method, body } = r.request!;
    if (r.response!.status === 404 && ours !== undefined) {
      await this.lab.json('root', 'DELETE', path);
      this.#seen.delete(key);
      return;
    }
    if (r.response!.status !== 200 || !isRecord(expected)) return;
    if (ours === undefined && method === 'POST') return;
    const own = tryParse(body ?? '');
    const isOwn = (field: string): boolean => isRecord(own) && isTaken(field, own[field]);
    await this.#adopt(path, this.#seen.get(key) ?? ours, expected, isOwn);
  }

  async #bridgeList(target: string, data: JsonValue | undefined): Promise<void> {
    for (const item of Array.isArray(data) ? data.filter(isRecord) : []) {
      const path =
        item['objtype'] === 'member'
          ? `/controller/network/${String(item['nwid'])}/member/${String(item['address'])}`
          : `/controller/network/${String(item['nwid'])}`;
      if (target.includes('/member') === path.includes('/member'))
        await this.#adopt(path, await this.#get(path), item, () => false);
    }
  }

  /** Sets what differs between two recorded answers. */
  async #adopt(
    path: string,
    before: JsonRecord | undefined,
    after: JsonRecord,
    isOwn: (field: string) => boolean,
  ): Promise<void> {
    const changes: JsonRecord = {};
    for (const field of SETTABLE) {
      const isChanged = !sameJson(before?.[field], after[field]) && after[field] !== undefined;
      if (isChanged && !isOwn(field)) changes[field] = after[field];
    }

    if (before !== undefined && Object.keys(changes).length === 0) return;
    await this.lab.json('root', 'POST', path, changes);
  }

  async #ensure(path: string): Promise<void> {
    if ((await this.#get(path)) === undefined) await this.lab.json('root', 'POST', path, {});
  }

  async #get(path: string): Promise<JsonRecord | undefined> {
    const answer = await this.lab.node('root').service.request('GET', path);
    return answer.status === 200 ? (parseJson(answer.text) as JsonRecord) : undefined;
  }
}

/** Whether a request's value is taken up at all: of the wrong type it is ignored [4 section 8.2]. */
function isTaken(field: string, value: JsonValue | undefined): boolean {
  if (value === undefined) return false;
  if (ARRAYS.has(field)) return Array.isArray(value);
  return field !== 'dns' || isRecord(value);
}
