/**
 * Groups http-peer-moon and cli-peer-moon: peers, moons and refused tokens, over HTTP and through our
 * CLI. Member m1 is the only root of a moon; m2 has orbited it once before the records begin, so
 * that both know each other as peers, as in the recorded lab.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createPrimitives } from '#src/crypto/native.js';
import { type JsonRecord, parseJson } from '#src/lib/json.js';
import { parseIdentityText } from '#src/wire/identity.js';
import { parseInetAddress } from '#src/wire/inetaddress.js';
import { emitWorld, parseWorld, signWorld, WORLD_MOON } from '#src/wire/world.js';
import { compareBody, compareHead, compareJson, tryParse, withoutOrder } from './compare.js';
import { translated } from './http-basic.js';
import { eventually, Lab, RECORDED_ROOT, until } from './lab.js';
import { Mapping } from './mapping.js';
import { isInside, OTHER_ADDRESS } from './namespace.js';
import { compareRun, type Programs } from './programs.js';
import { askOnce } from './raw-http.js';
import { loadRecords, type ServiceRecord } from './records.js';
import { Group } from './report.js';

const MOON = 'a05a22569d';
const MOON_FILE = `moons.d/${MOON.padStart(16, '0')}.moon`;

const SKIPPED: Readonly<Record<string, string>> = {
  'moon-delete-v6': 'DELETE works on both families here [4 section 13, 5]',
  dump: 'its parts are compared by the records of /status, /network, /peer and by "dump" of cli-scripted-service',
};

/** What ours answers where the reference counts words [4 section 4.4]. */
const CORRECTED: Readonly<Record<string, string>> = {
  'bond-setmtu-off': "400 Failed to set MTU: Bonding layer isn't active yet\n",
};

export async function peerMoon(programs: Programs): Promise<Group[]> {
  const http = new Group('http-peer-moon');
  const cli = new Group('cli-peer-moon');
  const conf = { settings: { netcon: { apiBind: '0.0.0.0,::' } } };
  const lab = await Lab.start(['root', 'm1', 'm2'], conf);
  try {
    await makeMoon(lab);
    await orbit(lab);
    await lab.json('m2', 'DELETE', `/moon/${MOON}`);
    const mapping = new Mapping().add(RECORDED_ROOT, lab.node('root').address);
    for (const r of loadRecords(http.name)) await one(http, r, () => replayHttp(lab, mapping, r));
    for (const r of loadRecords(cli.name))
      await one(cli, r, () => replayCli(lab, mapping, programs, r));
  } finally {
    await lab.stop();
  }
  return [http, cli];
}

async function one(group: Group, r: ServiceRecord, run: () => Promise<void>): Promise<void> {
  const reason =
    r.id === 'other-node-denied' && !isInside() ? 'needs a network namespace' : SKIPPED[r.id];
  if (reason !== undefined) group.skip(r.id, reason);
  else await group.check(r.id, run);
}

// ---- the moon ----

/** Signs the recorded moon anew, with an address of our lab, and gives it to its root. */
async function makeMoon(lab: Lab): Promise<void> {
  const made = loadRecords('idtool').find((r) => r.id === 'genmoon')!;
  const template = parseJson(made.files!['moon.json']!) as JsonRecord;
  const recorded = parseWorld(Buffer.from(Object.values(made.filesAfterHex!)[0]!, 'hex'))!.world;
  const primitives = createPrimitives(() => {
    throw new Error('no identity is validated here');
  });
  const { home, port } = lab.node('m1').service;
  const identity = parseIdentityText(lab.node('m1').publicIdentity)!;
  const world = signWorld(
    primitives,
    {
      type: WORLD_MOON,
      id: recorded.id,
      timestamp: recorded.timestamp,
      updateKey: recorded.updateKey,
      roots: [{ identity, endpoints: [parseInetAddress(`127.0.0.1/${port}`)!] }],
    },
    Buffer.from(String(template['signingKey_SECRET']), 'hex'),
  );
  mkdirSync(join(home, 'moons.d'), { recursive: true });
  writeFileSync(join(home, MOON_FILE), emitWorld(world));
  await lab.restart('m1');
}

/**
 * Has m2 orbit m1's moon. A seed that is already a peer is asked with its next full HELLO, up to a
 * minute later; one that is not, at once: m2 starts anew without its memory of peers.
 */
async function orbit(lab: Lab): Promise<void> {
  const held = (await lab.json('m2', 'GET', '/moon')) as JsonRecord[];
  if (held.length > 0) return;
  rmSync(join(lab.node('m2').service.home, 'peers.d'), { recursive: true, force: true });
  await lab.restart('m2', 'SIGKILL');
  await lab.json('m2', 'POST', `/moon/${MOON}`, { seed: MOON });
  await until('the moon at m2', async () => {
    const moons = (await lab.json('m2', 'GET', '/moon')) as JsonRecord[];
    return moons.length === 1;
  });
}

/** Commands outside the set that the record's state needs. */
async function bridge(lab: Lab, r: ServiceRecord): Promise<void> {
  const needsMoon = /^(?:peer-list-moon|files-moons\.d|listmoons-orbiting|orbit-again|peers-moon)$/;
  if (needsMoon.test(r.id)) await orbit(lab);
  if (/^(?:files-moons\.d-after|moon-list-empty|listmoons-empty)/.test(r.id))
    await lab.json('m2', 'DELETE', `/moon/${MOON}`);
}

// ---- over HTTP ----

async function replayHttp(lab: Lab, mapping: Mapping, r: ServiceRecord): Promise<void> {
  await bridge(lab, r);
  const { service } = lab.node(r.node!);
  if (r.request === undefined) {
    await eventually(async () => {
      const names = Object.keys(r.files as JsonRecord);
      assert.deepEqual(readdirSync(join(service.home, 'moons.d')), names);
      for (const name of names) parseWorld(readFileSync(join(service.home, 'moons.d', name)))!;
    });
    return;
  }
  const token = r.request.headers.find(([k]) => k === 'X-ZT1-Auth')?.[1];
  if (token !== undefined) mapping.add(token, service.token);
  const expected = { ...r.response!, body: mapping.translate(r.response!.body) };
  const compare = async (): Promise<void> => {
    const actual = await askOnce('127.0.0.1', service.port, translated(mapping, r.request!));
    compareHead(actual, expected);
    const [ours, theirs] = [tryParse(actual.body), tryParse(expected.body)];
    if (Array.isArray(ours) && Array.isArray(theirs))
      compareJson(withoutOrder(ours), withoutOrder(theirs));
    else compareBody(actual, expected);
  };
  await (r.request.method === 'GET' ? eventually(compare) : compare());
}

// ---- through the CLI ----

async function replayCli(
  lab: Lab,
  mapping: Mapping,
  programs: Programs,
  r: ServiceRecord,
): Promise<void> {
  await bridge(lab, r);
  const { home } = lab.node(r.node!).service;
  const fill = (text: string): string => mapping.translate(text).replaceAll('HOME', home);
  const argv = r.argv!.map(fill);
  if (argv.includes(`-H${OTHER_ADDRESS}`)) argv.push(`-p${lab.node('m1').service.port}`);
  const expected = { ...r, stdout: CORRECTED[r.id] ?? r.stdout ?? '' };
  const compare = async (): Promise<void> =>
    compareRun(await programs.run(argv), expected, fill, sameText);
  await (argv.some((a) => /^(?:info|peers|list|\/)/.test(a)) ? eventually(compare) : compare());
}

/** JSON by its values; text without ages, latencies and addresses of paths, lines in any order. */
function sameText(actual: string, expected: string): boolean {
  const [ours, theirs] = [tryParse(actual), tryParse(expected)];
  if (typeof theirs === 'object' && theirs !== null && ours !== undefined) {
    compareJson(withoutOrder(ours), withoutOrder(theirs));
    return true;
  }
  const form = (text: string): string =>
    text
      .replace(/ +-?\d+ DIRECT .*$/gm, ' LATENCY DIRECT')
      .replace(/ \S+\/\d+;(?:-1|\d+);(?:-1|\d+) -?\d+ /g, ' PATH LATENCY ')
      .split('\n')
      .sort()
      .join('\n');
  return form(actual) === form(expected);
}
