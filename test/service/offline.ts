/** Group cli-offline: the CLI without a usable service. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compareRun, type Programs } from './programs.js';
import { loadRecords, type ServiceRecord } from './records.js';
import { Group, inParallel } from './report.js';

const WIDTH = 3;

/** Makes the home that the record's `state` describes. */
function prepare(home: string, state: string): void {
  mkdirSync(home, { recursive: true });
  const port = /zerotier-one\.port contains "([^"]*)"/.exec(state)?.[1];
  if (port !== undefined) writeFileSync(join(home, 'zerotier-one.port'), port);
  if (state.includes('authtoken.secret present'))
    writeFileSync(join(home, 'authtoken.secret'), 'sometoken');
  if (/\$HOME\/\.zeroTierOneAuthToken exists/.test(state))
    writeFileSync(join(home, '.zeroTierOneAuthToken'), 'usertoken');
}

export async function cliOffline(dir: string, programs: Programs): Promise<Group> {
  const group = new Group('cli-offline');
  await inParallel(loadRecords(group.name), WIDTH, (r) =>
    group.check(r.id, () => replay(join(dir, group.name, String(r.seq)), programs, r)),
  );
  return group;
}

async function replay(home: string, programs: Programs, r: ServiceRecord): Promise<void> {
  prepare(home, r.state ?? '');
  const fill = (text: string): string => text.replaceAll('HOME', home);
  const env = Object.fromEntries(Object.entries(r.env ?? {}).map(([k, v]) => [k, fill(v)]));
  compareRun(await programs.run(r.argv!.map(fill), { cwd: home, env }), r, fill);
}
