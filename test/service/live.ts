/**
 * Groups with members: http-controller-ui-flow (a network's life as UIs drive it) and the join,
 * settings and leave part of http-network. Members of ours join over loopback; what takes a packet
 * or two to happen is asked for again until it is there. Requests that are not in the set are
 * inferred as in http-controller.ts: joins, leaves and settings from the recorded answers.
 */
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { emitJson, isRecord, type JsonRecord, type JsonValue, parseJson } from '#src/lib/json.js';
import { compareBody, compareHead, compareJson, tryParse } from './compare.js';
import { translated } from './http-basic.js';
import { ControllerReplay } from './http-controller.js';
import { eventually, Lab, type LabNode, RECORDED_ROOT } from './lab.js';
import type { Mapping } from './mapping.js';
import { askOnce } from './raw-http.js';
import { loadRecords, type ServiceRecord } from './records.js';
import { Group } from './report.js';

/** The protocol version in member records is that of AES. */
const CONF = { settings: { netcon: { cipher: 'aes' } } };
const SETTINGS = ['allowManaged', 'allowGlobal', 'allowDefault', 'allowDNS'];

export async function uiFlow(): Promise<Group> {
  const group = new Group('http-controller-ui-flow');
  await withLab('m2', async (replay) => {
    for (const r of loadRecords(group.name)) await group.check(r.id, () => replay.run(r));
  });
  return group;
}

export async function httpNetwork(): Promise<Group> {
  const group = new Group('http-network');
  await withLab('m1', async (replay, lab) => {
    const records = loadRecords(group.name);
    await makeRecordedNetwork(lab, replay.mapping, records);
    for (const r of records) {
      if (r.request !== undefined) await group.check(r.id, () => replay.run(r));
      else await group.check(r.id, () => compareSettingsFiles(lab, lab.node('m1'), replay, r));
    }
  });
  return group;
}

async function withLab(
  member: string,
  work: (replay: LiveReplay, lab: Lab) => Promise<void>,
): Promise<void> {
  const lab = await Lab.start(['root', member], CONF);
  try {
    await work(new LiveReplay(lab, lab.node(member)), lab);
  } finally {
    await lab.stop();
  }
}

/** The network that the lab's controller had before http-network began, from what members saw. */
export async function makeRecordedNetwork(
  lab: Lab,
  mapping: Mapping,
  records: readonly ServiceRecord[],
): Promise<void> {
  const seen = parseJson(records.find((r) => r.id === 'get-ok')!.response!.body) as JsonRecord;
  const made = loadRecords('http-controller').find((r) => r.id === 'pools')!.response!.body;
  const nwid = String(seen['nwid']);
  const isV6 = (prefix: string): boolean => emitJson(seen['assignedAddresses']!).includes(prefix);
  await lab.json('root', 'POST', `/controller/network/${mapping.translate(nwid)}`, {
    name: seen['name'],
    mtu: seen['mtu'],
    dns: seen['dns'],
    enableBroadcast: seen['broadcastEnabled'],
    private: seen['type'] === 'PRIVATE',
    routes: (seen['routes'] as JsonRecord[]).map((x) => ({ target: x['target'], via: x['via'] })),
    ipAssignmentPools: (parseJson(made) as JsonRecord)['ipAssignmentPools'],
    v4AssignMode: { zt: true },
    v6AssignMode: { zt: false, rfc4193: isV6('"fd'), '6plane': isV6('"fc') },
  });
}

/** Replays records at whichever of the two nodes they belong to. */
class LiveReplay {
  readonly #lab: Lab;
  readonly #member: LabNode;
  readonly #controller: ControllerReplay;
  /** Last recorded answer per network of the member. */
  readonly #seen = new Map<string, JsonRecord>();
  #isListStale = false;

  constructor(lab: Lab, member: LabNode) {
    this.#lab = lab;
    this.#member = member;
    this.#controller = new ControllerReplay(lab, true);
  }

  get mapping(): Mapping {
    return this.#controller.mapping;
  }

  translate(text: string): string {
    return this.mapping.translate(text);
  }

  async run(r: ServiceRecord): Promise<void> {
    if (r.node === this.#member.name) await this.#runAtMember(r);
    else if (r.request!.target === '/peer') await this.#comparePeers(r);
    else await this.#runAtRoot(r);
  }

  // ---- records of the controller ----

  async #runAtRoot(r: ServiceRecord): Promise<void> {
    const listed = /^\/controller\/network\/([0-9a-f]{16})\/member$/.exec(r.request!.target)?.[1];
    const members = tryParse(r.response!.body);
    if (listed !== undefined && isRecord(members) && Object.keys(members).length > 0)
      await this.#join(this.translate(listed));
    await this.#controller.run(r);
    const nwid = /"nwid":"([0-9a-f]{16})"/.exec(r.response!.body)?.[1];
    if (nwid !== undefined) this.#controller.mapping.addMembership(nwid, this.#member.address);
  }

  /** Which peers a root has depends on the lab: those in both labs must look alike. */
  async #comparePeers(r: ServiceRecord): Promise<void> {
    this.#controller.passOver(r.seq);
    const theirs = parseJson(r.response!.body) as JsonRecord[];
    const ours = (await this.#lab.json('root', 'GET', '/peer')) as JsonRecord[];
    const same = theirs.filter((p) => p['address'] === this.#member.address);
    assert.equal(same.length, 1, 'the member is a recorded peer');
    compareJson(
      ours.filter((p) => p['address'] === this.#member.address),
      same,
    );
  }

  // ---- records of the member ----

  async #runAtMember(r: ServiceRecord): Promise<void> {
    const isGap = this.#controller.passOver(r.seq);
    this.#isListStale ||= isGap;
    this.#addMemberships(r);
    const expected = { ...r.response!, body: this.translate(r.response!.body) };
    await this.#bridge(r, tryParse(expected.body), isGap);
    const request = translated(this.#controller.mapping, r.request!);
    const compare = async (): Promise<void> => {
      const actual = await askOnce('127.0.0.1', this.#member.service.port, request);
      compareHead(actual, expected);
      compareBody(actual, expected);
      this.#checkDevices(tryParse(actual.body));
    };
    await (r.request!.method === 'GET' ? eventually(compare) : compare());
    const v = tryParse(expected.body);
    if (isRecord(v) && v['nwid'] !== undefined) this.#seen.set(String(v['nwid']), v);
  }

  #addMemberships(r: ServiceRecord): void {
    const token = r.request!.headers.find(([k]) => k === 'X-ZT1-Auth')?.[1];
    if (token !== undefined) this.#controller.mapping.add(token, this.#member.service.token);
    const ids = [...r.response!.body.matchAll(/"nwid":"([0-9a-f]{16})"/g)].map((m) => m[1]!);
    for (const nwid of ids.filter((id) => id.startsWith(RECORDED_ROOT)))
      this.#controller.mapping.addMembership(nwid, this.#member.address);
  }

  /** The device of every network is its door in the home [4 section 14]. */
  #checkDevices(v: JsonValue | undefined): void {
    for (const n of (Array.isArray(v) ? v : [v]).filter(isRecord)) {
      if (n['portDeviceName'] !== undefined)
        assert.equal(
          n['portDeviceName'],
          join(this.#member.service.home, `nc_${String(n['nwid'])}`),
        );
    }
  }

  /** Joins, leaves and settings that requests outside the set must have made. */
  async #bridge(r: ServiceRecord, expected: JsonValue | undefined, isGap: boolean): Promise<void> {
    const { target, method, body } = r.request!;
    if (target === '/network' && Array.isArray(expected)) {
      if (this.#isListStale) await this.#joinExactly(expected.filter(isRecord));
      this.#isListStale = false;
      return;
    }
    const nwid = /^\/network\/([0-9a-fA-F]{16})$/.exec(this.translate(target))?.[1]?.toLowerCase();
    if (nwid === undefined || !isGap || r.response!.status !== 200) return;
    if (method !== 'POST') await this.#join(nwid);
    if (!isRecord(expected) || expected['nwid'] === undefined) return;
    await this.#adoptSettings(nwid, expected, tryParse(body ?? ''));
    await this.#adoptAddress(nwid, expected);
  }

  async #joinExactly(networks: readonly JsonRecord[]): Promise<void> {
    const held = (await this.#lab.json(this.#member.name, 'GET', '/network')) as JsonRecord[];
    const wanted = networks.map((n) => String(n['nwid']));
    for (const id of held.map((n) => String(n['nwid'])).filter((id) => !wanted.includes(id)))
      await this.#lab.json(this.#member.name, 'DELETE', `/network/${id}`);
    for (const id of wanted) await this.#join(id);
  }

  async #join(nwid: string): Promise<void> {
    const path = `/network/${nwid}`;
    const held = await this.#member.service.request('GET', path);
    if (held.status !== 200) await this.#lab.json(this.#member.name, 'POST', path, {});
  }

  async #adoptSettings(
    nwid: string,
    expected: JsonRecord,
    own: JsonValue | undefined,
  ): Promise<void> {
    const before = this.#seen.get(nwid);
    const changes: JsonRecord = {};
    for (const key of SETTINGS) {
      const isOwn = isRecord(own) && typeof own[key] === 'boolean';
      if (before !== undefined && before[key] !== expected[key] && !isOwn)
        changes[key] = expected[key];
    }
    if (Object.keys(changes).length > 0)
      await this.#lab.json(this.#member.name, 'POST', `/network/${nwid}`, changes);
  }

  /** Another IPv4 address than before: the controller was told to assign it. */
  async #adoptAddress(nwid: string, expected: JsonRecord): Promise<void> {
    const v4 = (n: JsonRecord | undefined): string | undefined =>
      (n?.['assignedAddresses'] as string[] | undefined)?.find((a) => !a.includes(':'));
    const [before, after] = [v4(this.#seen.get(nwid)), v4(expected)];
    if (before === undefined || after === undefined || before === after) return;
    const path = `/controller/network/${nwid}/member/${this.#member.address}`;
    await this.#lab.json('root', 'POST', path, { ipAssignments: [after.split('/')[0]!] });
  }
}

/**
 * The snapshot of networks.d: the settings files as they are (a request outside the set made the
 * settings: they are made again), modes, and a cached configuration, whose content is the business
 * of the configuration vectors.
 */
async function compareSettingsFiles(
  lab: Lab,
  member: LabNode,
  replay: LiveReplay,
  r: ServiceRecord,
): Promise<void> {
  const files = r.files as unknown as Readonly<Record<string, { text?: string; mode: string }>>;
  for (const [recorded, file] of Object.entries(files)) {
    const name = replay.translate(recorded);
    const path = join(member.service.home, 'networks.d', name);
    if (file.text !== undefined)
      await lab.json(member.name, 'POST', `/network/${name.split('.')[0]}`, settingsOf(file.text));
    await eventually(async () => {
      const text = readFileSync(path, 'utf8');
      if (file.text !== undefined) assert.equal(text, file.text, name);
      else assert.ok(text.length > 1, `${name} has a configuration`);
      assert.equal(`0o${(statSync(path).mode & 0o777).toString(8)}`, file.mode, `mode of ${name}`);
    });
  }
}

function settingsOf(text: string): JsonRecord {
  return Object.fromEntries(
    text
      .trim()
      .split('\n')
      .map((line) => line.split('=') as [string, string])
      .map(([k, v]) => [k, v === '1']),
  );
}
