/** The controller's folder: of the real binary, and after a death in the middle of writing. */
import { fork } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test from 'ava';
import { Controller } from '#src/controller/controller.js';
import { loadController } from '#src/host/controller-files.js';
import { Home } from '#src/host/home.js';
import { emitJson, type JsonRecord, jsonInt, parseJson } from '#src/lib/json.js';
import { networkIdText, parseNetworkId } from '#src/wire/address.js';
import { LoneController } from '../../helpers/controller-port.js';

const PACKAGE = new URL('../../../../', import.meta.url).pathname;

function folder(t: { teardown: (f: () => void) => void }): string {
  const dir = mkdtempSync(join(tmpdir(), 'nctest-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** Reads a home into a controller. @returns it with the lines of the log. */
function loaded(dir: string, controller = new Controller()): { c: Controller; log: string[] } {
  const log: string[] = [];
  const say = (_level: string, line: string): void => void log.push(line);
  loadController(new Home(dir, say), controller, say);
  return { c: controller, log };
}

interface Step {
  readonly files?: Readonly<Record<string, string>>;
}

/** The last state of `controller.d` that a record of the real binary shows. */
function recordedFolder(): [string, string][] {
  const path = join(PACKAGE, 'test/vectors/service/service-misc.json');
  const { records } = JSON.parse(readFileSync(path, 'utf8')) as { records: Step[] };
  const steps = records.filter((r) =>
    Object.keys(r.files ?? {}).some((n) => n.startsWith('controller.d/network/')),
  );
  return Object.entries(steps[steps.length - 1]!.files!).filter(([n]) =>
    n.startsWith('controller.d/'),
  );
}

test('a folder that the real binary wrote works unchanged', (t) => {
  const dir = folder(t);
  const recorded = recordedFolder();
  for (const [name, text] of recorded) {
    mkdirSync(dirname(join(dir, name)), { recursive: true });
    writeFileSync(join(dir, name), text);
  }
  const lone = new LoneController();
  const { c, log } = loaded(dir, lone.controller);
  t.true(log.length > 0 && log.every((l) => /is not a (network|member) record; ignored/.test(l)));
  const nwid = parseNetworkId('af2d65717f000001')!;
  t.true(c.networkIds().includes(nwid));
  for (const [name, text] of recorded) {
    const member = /network\/([0-9a-f]{16})\/member\/([0-9a-f]{10})\.json$/.exec(name);
    const network = /network\/([0-9a-f]{16})\.json$/.exec(name);
    if (text.startsWith('{broken') || (member === null && network === null)) continue;
    const id = parseNetworkId((member ?? network)![1]!)!;
    const record =
      member === null ? c.networkRecord(id) : c.memberRecord(id, Number.parseInt(member[2]!, 16));
    if (record === undefined) continue;
    t.is(emitJson(record), emitJson(parseJson(text)), name);
  }
  const texts = { nwid: networkIdText(nwid), address: 'a05a22569d' };
  const address = Number.parseInt(texts.address, 16);
  const before = c.memberRecord(nwid, address) as JsonRecord;
  c.postMember(lone.at(), nwid, address, texts, {});
  t.is(lone.files.size, 0, 'nothing changes, nothing is written');
  c.postMember(lone.at(), nwid, address, texts, { name: 'x' });
  const written = parseJson(
    lone.files.get(`network/${texts.nwid}/member/${texts.address}.json`)!,
  ) as JsonRecord;
  t.is(written['custom'], 'kept');
  t.is(jsonInt(written['revision'], 0n), jsonInt(before['revision'], 0n) + 1n);
});

test('a death in the middle of writes leaves every record whole, and none older than flushed', async (t) => {
  const dir = folder(t);
  const writer = join(PACKAGE, 'build/test/helpers/controller-writer.js');
  for (let life = 1; life <= 3; life++) {
    const child = fork(writer, [dir]);
    let rounds = 0;
    await new Promise<void>((done, fail) => {
      child.on('message', (m: { round?: number; line?: string }) => {
        if (m.round === undefined) fail(new Error(m.line));
        rounds = m.round ?? 0;
        // The next round is being written by now.
        if (rounds === life) setImmediate(() => child.kill('SIGKILL'));
      });
      child.on('exit', () => done());
      child.on('error', fail);
    });
    const { c, log } = loaded(dir);
    t.deepEqual(log, []);
    const [nwid] = c.networkIds();
    const members = c.memberRecords(nwid!)!;
    t.is(members.length, 20);
    for (const m of members) {
      const words = String(m['name']).trim().split(' ');
      t.is(words.length, 500);
      t.is(new Set(words).size, 1, 'of one round');
      t.true(Number(words[0]) >= rounds);
    }
  }
});
