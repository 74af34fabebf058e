/**
 * Group http-config-metrics: /config and local.conf, who may manage, /metrics, the web server. Each
 * part starts a member with the local.conf that the records' states describe; what the recorded
 * service is told by editing the file while it runs, ours is told before its start, except once.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isRecord, type JsonRecord, parseJson } from '#src/lib/json.js';
import { compareBody, compareHead } from './compare.js';
import { translated } from './http-basic.js';
import { Lab, RECORDED_ROOT, until } from './lab.js';
import { Mapping } from './mapping.js';
import { isInside, OTHER_ADDRESS, OTHER_ADDRESS_6 } from './namespace.js';
import { askOnce } from './raw-http.js';
import { loadRecords, type ServiceRecord } from './records.js';
import { Group } from './report.js';

const NOT_BUILT = 'the setting is kept and shown, but has no effect yet';

const SKIPPED: Readonly<Record<string, string>> = {
  'management-before-reload': 'ours puts settings that come over the API in force at once',
  'config-after-file-removed': 'tested without waiting: test/unit/host/local-conf.test.ts',
  'stderr-after-restart': 'words on standard error are free',
  'status-interface-blacklist': NOT_BUILT,
  'status-physical-blacklist': NOT_BUILT,
};

/** Settings with which a part's service starts, by its records. */
interface Part {
  readonly settings: JsonRecord | undefined;
  readonly ids: RegExp;
}

const PARTS: readonly Part[] = [
  { settings: undefined, ids: /^(?:metrics-|config-|local\.conf-|service-dies)/ },
  {
    settings: { allowManagementFrom: ['10.94.0.0/24'], myOwn: null, portMappingEnabled: false },
    ids: /^(?:management-no-token|management-health|status-with-config)$/,
  },
  { settings: { allowManagementFrom: ['10.94.0.9'] }, ids: /^management-entry-without-bits$/ },
  {
    settings: { allowManagementFrom: ['10.94.0.9/32', 'fd94::/64'] },
    ids: /^management-v6$/,
  },
  { settings: { allowManagementFrom: '10.94.0.0/24' }, ids: /^management-not-array$/ },
  { settings: { enableWebServer: true }, ids: /^app-/ },
];

export async function httpConfigMetrics(): Promise<Group> {
  const group = new Group('http-config-metrics');
  const records = loadRecords(group.name);
  const done = new Set<string>();
  for (const part of PARTS) {
    const own = records.filter((r) => part.ids.test(r.id) && SKIPPED[r.id] === undefined);
    for (const r of own) done.add(r.id);
    await runPart(group, part, own);
  }
  const live = records.filter((r) => r.id.startsWith('status-ports'));
  for (const r of live) done.add(r.id);
  await runLive(group, live);
  for (const r of records.filter((x) => !done.has(x.id)))
    group.skip(r.id, SKIPPED[r.id] ?? 'no part of the suite covers it');
  return group;
}

async function runPart(group: Group, part: Part, records: readonly ServiceRecord[]): Promise<void> {
  const apiBind = { netcon: { apiBind: '0.0.0.0,::' } };
  const conf = part.settings === undefined ? undefined : { ...part.settings, ...apiBind };
  const lab = await Lab.start(
    ['root', 'm1', 'm2'],
    conf === undefined ? undefined : { settings: conf },
  );
  try {
    makeAppFiles(lab.node('m2').service.home);
    for (const r of records) {
      if (isFromOutside(r) && !isInside()) group.skip(r.id, 'needs a network namespace');
      else await group.check(r.id, () => replay(lab, r));
    }
  } finally {
    await lab.stop();
  }
}

/** The files that the records' state names; the folder itself is made by the service. */
function makeAppFiles(home: string): void {
  const app = join(home, 'app');
  if (!existsSync(app)) return;
  mkdirSync(join(app, 'demo'));
  writeFileSync(join(app, 'demo/index.html'), '<h1>demo</h1>\n');
  writeFileSync(join(app, 'demo/page.html'), '<h1>page</h1>\n');
  writeFileSync(join(app, 'demo/a.js'), 'x\n');
  writeFileSync(join(app, 'data.json'), '{}\n');
}

const host = (r: ServiceRecord): string =>
  r.request?.headers.find(([k]) => k === 'Host')?.[1] ?? '127.0.0.1';

const isFromOutside = (r: ServiceRecord): boolean => !host(r).startsWith('127.');

async function replay(lab: Lab, r: ServiceRecord): Promise<void> {
  const { service } = lab.node(r.node ?? 'm2');
  if (r.request === undefined) return compareSnapshot(service.home, r);
  const mapping = mappingOf(lab, r);
  const outside = host(r).startsWith('[') ? OTHER_ADDRESS_6 : OTHER_ADDRESS;
  const actual = await askOnce(
    isFromOutside(r) ? outside : '127.0.0.1',
    service.port,
    translated(mapping, r.request),
  );
  const expected = { ...r.response!, body: mapping.translate(r.response!.body) };
  if (r.id === 'management-entry-without-bits') {
    // The reference lets everybody in [4 section 13, 2].
    assert.equal(actual.status, 401, 'an entry without /bits is one address');
    return;
  }
  compareHead(actual, expected);
  if (r.request.target.startsWith('/metrics') && expected.status === 200)
    compareFamilies(actual.body, expected.body);
  else compareBody(actual, expected);
}

function mappingOf(lab: Lab, r: ServiceRecord): Mapping {
  const { service } = lab.node(r.node ?? 'm2');
  const mapping = new Mapping().add(RECORDED_ROOT, lab.node('root').address);
  const file = r.request!.target.startsWith('/metrics')
    ? 'metricstoken.secret'
    : 'authtoken.secret';
  const token = readFileSync(join(service.home, file), 'utf8');
  const offered = [
    ...r
      .request!.headers.filter(([k]) => /^(?:x-zt1-auth|authorization)$/i.test(k))
      .map(([, v]) => v.split(' ').at(-1)!),
    /auth=(\w+)/.exec(r.request!.target)?.[1] ?? '',
  ].filter((t) => /^[a-z0-9]{24}$/.test(t));
  for (const t of offered) mapping.add(t, token);
  return mapping;
}

function compareSnapshot(home: string, r: ServiceRecord): void {
  const raw = r as unknown as { exists?: boolean; text?: string; mode?: string };
  const conf = join(home, 'local.conf');
  if (r.id === 'app-dir-created') {
    assert.equal(`0o${(statSync(join(home, 'app')).mode & 0o777).toString(8)}`, raw.mode);
  } else if (r.id === 'service-dies-after-empty-object') {
    // The reference wrote `null` and ended [4 section 13, 1].
    if (existsSync(conf)) assert.ok(isRecord(parseJson(readFileSync(conf, 'utf8'))));
  } else if (raw.exists === false) assert.ok(!existsSync(conf), 'no local.conf');
  else assert.equal(readFileSync(conf, 'utf8').replace(/,\n {8}"netcon"[^}]*\}/, ''), raw.text);
}

interface Family {
  readonly type: string;
  /** Label names of all samples. */
  readonly labels: string;
}

function families(text: string): Map<string, Family> {
  const out = new Map<string, Family>();
  for (const [, name, type] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    const sample = new RegExp(`^${name}(?:_count)?(?:\\{([^}]*)\\})? \\S+$`, 'm').exec(text);
    assert.ok(sample !== null, `${name} has samples`);
    const labels = [...(sample[1] ?? '').matchAll(/(\w+)="/g)].map((m) => m[1]!);
    out.set(name!, { type: type!, labels: labels.join() });
  }
  return out;
}

/** Families that both count have the same type, labels and order; ours may count fewer. */
function compareFamilies(actual: string, expected: string): void {
  const [ours, theirs] = [families(actual), families(expected)];
  const shared = [...ours.keys()].filter((name) => !name.startsWith('netcon_'));
  assert.ok(shared.length >= 5, 'some families');
  for (const name of shared) {
    const isPerNetwork = name.startsWith('zt_network_') || name.startsWith('zt_peer_');
    if (theirs.has(name) || !isPerNetwork) assert.deepEqual(ours.get(name), theirs.get(name), name);
  }
  const order = [...theirs.keys()].filter((name) => ours.has(name));
  assert.deepEqual(
    shared.filter((name) => theirs.has(name)),
    order,
    'order of families',
  );
}

/** Ports written to local.conf while the service runs: shown at once, used after a restart. */
async function runLive(group: Group, records: readonly ServiceRecord[]): Promise<void> {
  const changed = records.find((r) => r.id === 'status-ports-changed-live')!;
  const settings = settingsOf(changed);
  const ports = Object.fromEntries(
    ['primaryPort', 'secondaryPort', 'tertiaryPort'].map((k) => [k, settings[k]]),
  );
  const lab = await Lab.start(['root', 'm2']);
  const { service } = lab.node('m2');
  try {
    const before = service.port;
    writeFileSync(join(service.home, 'local.conf'), JSON.stringify({ settings: ports }));
    await group.check(changed.id, async () => {
      await until('local.conf read again', async () => {
        const conf = (await lab.json('m2', 'GET', '/config')) as JsonRecord;
        return isRecord(conf['settings']) && conf['settings']['primaryPort'] !== undefined;
      });
      await replay(lab, changed);
      const shown = (await lab.json('m2', 'GET', '/status')) as JsonRecord;
      for (const [k, v] of Object.entries(ports))
        assert.equal(((shown['config'] as JsonRecord)['settings'] as JsonRecord)[k], v, k);
      assert.equal(service.port, before, 'the port in use is the old one');
    });
    const after = records.find((r) => r.id === 'status-ports-after-restart')!;
    await group.check(after.id, async () => {
      await lab.restart('m2');
      assert.equal(lab.node('m2').service.port, ports['primaryPort'], 'the new port is in use');
      await replay(lab, after);
    });
  } finally {
    await lab.stop();
  }
}

function settingsOf(r: ServiceRecord): JsonRecord {
  const body = parseJson(r.response!.body) as JsonRecord;
  return (body['config'] as JsonRecord)['settings'] as JsonRecord;
}
