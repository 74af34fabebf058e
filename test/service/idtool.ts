/**
 * Group idtool. Outputs with fresh keys can not be equal: they are checked by what they must be
 * (a valid identity, a moon that its own key signed) and for equal form.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createPrimitives } from '#src/crypto/native.js';
import { loadPacketCore } from '#src/packetcore/load.js';
import { parseIdentityText, validateIdentity } from '#src/wire/identity.js';
import { parseWorld, verifyWorld, type World } from '#src/wire/world.js';
import { compareRun, type Programs } from './programs.js';
import { loadRecords, type ServiceRecord } from './records.js';
import { Group } from './report.js';

const core = loadPacketCore();
const primitives = createPrimitives((k) => core.memoryHardHash(k));

/** Files that records use but that were made by records not in the set. */
const MADE_ELSEWHERE: Readonly<Record<string, (sign: string, moon: string) => string>> = {
  'sig.nl': (sign) => `${sign}\n`,
  'sig.hex': (sign) => sign,
  'm3.json': (_, moon) => moon.replace('"worldType": "moon"', '"worldType": "star"'),
  'm4.json': (_, moon) => moon.replace(/"id": "[0-9a-f]+"/, '"id": "0000000000"'),
};

export async function idtool(dir: string, programs: Programs): Promise<Group> {
  const group = new Group('idtool');
  const cwd = join(dir, group.name);
  mkdirSync(cwd, { recursive: true });
  const records = loadRecords(group.name);
  writeInputs(cwd, records);
  for (const r of records) {
    if (r.argv !== undefined) await group.check(r.id, () => replay(cwd, programs, r));
  }
  return group;
}

function writeInputs(cwd: string, records: readonly ServiceRecord[]): void {
  for (const r of records) {
    for (const [name, text] of Object.entries(r.files ?? {})) writeFileSync(join(cwd, name), text);
  }
  const signature = records.find((r) => r.id === 'sign')?.stdout ?? '';
  const moon = records.find((r) => r.id === 'genmoon')?.files?.['moon.json'] ?? '';
  for (const [name, make] of Object.entries(MADE_ELSEWHERE)) {
    if (!existsSync(join(cwd, name))) writeFileSync(join(cwd, name), make(signature, moon));
  }
}

/** Words whose output has fresh keys, an address or a time in it. */
const FRESH = new Set(['generate', 'initmoon', 'genmoon']);

async function replay(cwd: string, programs: Programs, r: ServiceRecord): Promise<void> {
  const run = await programs.run(r.argv!, { cwd });
  const word = r.argv!.find((w) => FRESH.has(w));
  compareRun(run, r, (t) => t, word === undefined ? undefined : sameForm);
  if (word === 'generate' && r.argv!.length === 2) assertIdentity(run.stdout);
  if (word === 'initmoon' && r.exitCode === 0 && r.argv!.length > 2) assertTemplate(run.stdout);
  checkFiles(cwd, r);
}

/** Equal once keys, the address of a new identity and the time of signing are put aside. */
function sameForm(actual: string, expected: string): boolean {
  const form = (t: string): string =>
    t
      .replace(/^[0-9a-f]{10}(?=:0:[0-9a-f]{128}:)/, 'ADDRESS')
      .replace(/timestamp \d{13}/, 'timestamp TIME')
      .replace(/"signingKey(_SECRET)?": "[0-9a-f]{128}"/g, '"signingKey$1": "KEY"')
      .replace(/"updatesMustBeSignedBy": "[0-9a-f]{128}"/, '"updatesMustBeSignedBy": "KEY"')
      .replace(/^(ADDRESS):0:[0-9a-f]{128}:[0-9a-f]{128}$/, '$1:0:KEY:KEY');
  return form(actual) === form(expected);
}

/** The keys of a moon's template belong together. */
function assertTemplate(text: string): void {
  const t = JSON.parse(text) as Record<string, string>;
  const secret = Buffer.from(t['signingKey_SECRET']!, 'hex');
  assert.equal(
    t['signingKey'],
    Buffer.from(primitives.publicFromPrivate(secret)).toString('hex'),
    'signing key',
  );
  assert.equal(t['updatesMustBeSignedBy'], t['signingKey']);
}

function assertIdentity(text: string): void {
  const id = parseIdentityText(text);
  assert.ok(id?.privateKey !== undefined, 'a secret identity');
  assert.ok(validateIdentity(primitives, id), 'a valid identity');
  assert.deepEqual(primitives.publicFromPrivate(id.privateKey), id.publicKey);
}

function checkFiles(cwd: string, r: ServiceRecord): void {
  for (const name of Object.keys(r.filesAfter ?? {})) {
    const text = readFileSync(join(cwd, name), 'utf8');
    if (name.endsWith('.secret')) assertIdentity(text);
    assert.equal(text.length, r.filesAfter![name]!.length, `length of ${name}`);
  }
  for (const [name, mode] of Object.entries(r.modes ?? {})) {
    assert.equal(`0o${(statSync(join(cwd, name)).mode & 0o777).toString(8)}`, mode);
  }
  for (const [name, hex] of Object.entries(r.filesAfterHex ?? {})) {
    compareWorlds(readFileSync(join(cwd, name)), Buffer.from(hex, 'hex'));
  }
}

/** Equal but for the time stamp and the signature, which must be that of the world's own key. */
function compareWorlds(actual: Uint8Array, expected: Uint8Array): void {
  const [mine, theirs] = [actual, expected].map((b) => {
    const w = parseWorld(b);
    assert.equal(w?.length, b.length, 'a whole world');
    assert.ok(verifyWorld(primitives, w!.world, w!.world.updateKey), 'a valid signature');
    return w!.world;
  }) as [World, World];
  const rest = (w: World): World => ({ ...w, timestamp: 0n, signature: new Uint8Array(0) });
  assert.deepEqual(rest(mine), rest(theirs));
}
