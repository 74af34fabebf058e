/**
 * Files that are there before a start: controller records (service-misc), joined networks
 * (service-start-networks), tokens as Docker entry points write them (service-token-newline).
 */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isRecord, type JsonRecord, type JsonValue, parseJson } from '#src/lib/json.js';
import { compareHead, compareJson, tryParse, withoutOrder } from './compare.js';
import { translated } from './http-basic.js';
import { eventually, Lab, RECORDED_ROOT } from './lab.js';
import { Mapping } from './mapping.js';
import { compareRun, type Programs } from './programs.js';
import { askOnce } from './raw-http.js';
import { loadRecords, type ServiceRecord } from './records.js';
import { Group } from './report.js';

/** Writes files below a folder. */
function plant(folder: string, files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
}

async function compareOnce(lab: Lab, mapping: Mapping, r: ServiceRecord): Promise<void> {
  const { service } = lab.node('m1');
  for (const [k, v] of r.request!.headers)
    if (k === 'X-ZT1-Auth' && /^[a-z0-9]{24}$/.test(v)) mapping.add(v, service.token);
  const actual = await askOnce('127.0.0.1', service.port, translated(mapping, r.request!));
  compareHead(actual, r.response!);
  const theirs = tryParse(mapping.translate(r.response!.body));
  if (theirs === undefined) assert.equal(actual.body, r.response!.body);
  else compareJson(withoutOrder(parseJson(actual.body)), withoutOrder(theirs));
}

// ---- service-misc ----

const MISC_SKIPPED: Readonly<Record<string, string>> = {
  'peer-trusted-path': 'needs a second machine: test/interop/sockets, test/underlay',
  'status-physical-virtual': 'needs a second machine: test/interop/sockets, test/underlay',
  'stderr-trustedpaths': 'the old trustedpaths file is not read: local.conf has them',
  'empty-token-query-no-value': 'the reference lets it in; ours makes a token [4 section 13, 3]',
  'token-header-plain': 'percent-decoding of tokens: test/unit/http/access.test.ts',
  'token-header-encoded': 'percent-decoding of tokens: test/unit/http/access.test.ts',
};

export async function serviceMisc(): Promise<Group> {
  const group = new Group('service-misc');
  const records = loadRecords(group.name);
  const before = records.find((r) => r.id === 'controller-files-before')!.files!;
  const lab = await Lab.start(['root', 'm1'], undefined, (name, home) => {
    if (name === 'm1') plant(home, before);
  });
  const mapping = new Mapping();
  try {
    for (const r of records) {
      const reason = MISC_SKIPPED[r.id];
      if (reason !== undefined) group.skip(r.id, reason);
      else if (r.request !== undefined) await group.check(r.id, () => compareOnce(lab, mapping, r));
      else await group.check(r.id, () => compareControllerFiles(lab, r));
    }
  } finally {
    await lab.stop();
  }
  return group;
}

/** Files of records that were POSTed to have all fields, those that were not stay as they were. */
async function compareControllerFiles(lab: Lab, r: ServiceRecord): Promise<void> {
  for (const [name, text] of Object.entries(r.files!)) {
    const theirs = tryParse(text);
    // The POST that filled this record in, and named it, may be outside the set.
    if (isRecord(theirs) && theirs['objtype'] === 'network')
      await lab.json('m1', 'POST', `/controller/network/${String(theirs['id'])}`, {
        name: theirs['name'],
      });
    await eventually(async () => {
      const actual = readFileSync(join(lab.node('m1').service.home, name), 'utf8');
      if (isRecord(theirs)) compareJson(parseJson(actual), theirs);
      else assert.equal(actual, text, name);
    });
  }
}

// ---- service-start-networks ----

/** What of the group is about network devices, users or time, which ours does not have. */
const START_SKIPPED: Readonly<Record<string, string>> = {
  'list-start-offline-cached': 'cached configurations are tested in the node and transcript suites',
  'status-offline': 'no interface can be taken away from the suite',
  'allowManaged-list-kernel-addresses': 'ours puts no addresses on a kernel device',
  'allowManaged-list-post': 'needs the configuration of a node whose record is not in the set',
  'devicemap-name': 'the device is always HOME/nc_<nwid>',
  'devicemap-after': 'the device is always HOME/nc_<nwid>',
  'corrupt-cache': 'needs the configuration of a node whose record is not in the set',
  'unprivileged-join': 'ours needs no privilege to join',
  'unprivileged-list': 'ours needs no privilege to join',
  'unprivileged-stderr': 'ours needs no privilege to join',
  'controllerDbPath-create': 'the setting is kept and shown, but has no effect yet',
};

export async function serviceStartNetworks(): Promise<Group> {
  const group = new Group('service-start-networks');
  const records = loadRecords(group.name);
  const snapshot = records.find((r) => r.id === 'networks.d-before-after') as unknown as {
    before: Record<string, { hex: string }>;
  };
  const names = Object.entries(snapshot.before).map(([name, f]): [string, string] => [
    name,
    Buffer.from(f.hex, 'hex').toString(),
  ]);
  const mapping = new Mapping();
  const lab = await Lab.start(['root', 'm1'], undefined, (name, home, root) => {
    if (name !== 'm1') return;
    mapping.add(RECORDED_ROOT, root);
    const files = names.map(([file, text]) => [`networks.d/${mapping.translate(file)}`, text]);
    plant(home, {
      ...(Object.fromEntries(files) as Record<string, string>),
      'networks.d/zzzzzzzzzzzzzzzz.conf': '',
    });
  });
  try {
    for (const r of records) {
      const reason = START_SKIPPED[r.id];
      if (reason !== undefined) group.skip(r.id, reason);
      else await group.check(r.id, () => compareStart(lab, mapping, r));
    }
  } finally {
    await lab.stop();
  }
  return group;
}

async function compareStart(lab: Lab, mapping: Mapping, r: ServiceRecord): Promise<void> {
  const { home } = lab.node('m1').service;
  if (r.id === 'networks.d-before-after') {
    // The cache of a name in upper case stands under the name in lower case.
    await eventually(async () =>
      assert.equal(readFileSync(join(home, 'networks.d/8056c2e21c000001.conf'), 'utf8'), '\n'),
    );
  } else if (r.id === 'networks.d-non-hex') {
    // The reference joins network 0 for it [4 section 13, 11].
    assert.ok(!existsSync(join(home, 'networks.d/0000000000000000.conf')));
  } else if (r.id === 'list-after-start') {
    await compareJoined(lab, mapping, r);
  } else {
    mapping.add(String((tryParse(r.response!.body) as JsonRecord)['nwid'] ?? 'none'), 'NWID');
    await compareOnce(lab, mapping, r).catch(async (e: unknown) => {
      // A network with a random id: only the id may differ.
      if (!(e instanceof Error) || !e.message.includes('NWID')) throw e;
      const list = (await lab.json('m1', 'GET', '/controller/network')) as string[];
      assert.equal(list.length, 1);
    });
  }
}

/** Joined networks, their settings and status; MACs follow from our member's address. */
async function compareJoined(lab: Lab, mapping: Mapping, r: ServiceRecord): Promise<void> {
  const theirs = parseJson(mapping.translate(r.response!.body)) as JsonRecord[];
  const plain = (n: JsonRecord): JsonValue => ({ ...n, mac: 'MAC', status: 'STATUS' });
  const ours = (await lab.json('m1', 'GET', '/network')) as JsonRecord[];
  compareJson(withoutOrder(ours.map(plain)), withoutOrder(theirs.map(plain)));
}

// ---- service-token-newline ----

/** The reference's own CLI fails here; ours takes the token as the service does [4 section 4.2]. */
export async function tokenNewline(programs: Programs): Promise<Group> {
  const group = new Group('service-token-newline');
  const lab = await Lab.start(['root', 'm1'], undefined, (name, home) => {
    if (name === 'm1') writeFileSync(join(home, 'authtoken.secret'), 'newlinetoken\n');
  });
  const { home } = lab.node('m1').service;
  const better: Readonly<Record<string, string>> = {
    info: `200 info ${lab.node('m1').address} 1.14.1 ONLINE\n`,
    'info-T': `200 info ${lab.node('m1').address} 1.14.1 ONLINE\n`,
    join: '200 join OK\n',
  };
  try {
    for (const r of loadRecords(group.name))
      await group.check(r.id, async () => {
        const run = await programs.run(r.argv!.map((a) => a.replace('HOME', home)));
        compareRun(run, { ...r, stdout: better[r.id]!, exitCode: 0 }, (t) => t);
      });
    assert.equal(readFileSync(join(home, 'authtoken.secret'), 'utf8'), 'newlinetoken\n');
  } finally {
    await lab.stop();
  }
  return group;
}
