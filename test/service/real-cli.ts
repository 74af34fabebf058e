/**
 * Group real-cli: the reference's own zerotier-cli, named by ZEROTIER_CLI, against our service, and
 * ours beside it: exit code and both streams must be equal, command for command. Skipped loudly
 * without the binary.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { JsonRecord } from '#src/lib/json.js';
import { type Finished, runProgram } from '../helpers/service.js';
import { Lab, until } from './lab.js';
import type { Programs } from './programs.js';
import { Group } from './report.js';

const VARIABLE = 'ZEROTIER_CLI';
const TIME_LIMIT_MS = 20_000;

/** Words of one command; NET and PEER are filled in. */
const COMMANDS: readonly string[] = [
  'info',
  'status',
  '-j info',
  'listpeers',
  '-j listpeers',
  'peers',
  'listnetworks',
  '-j listnetworks',
  'listmoons',
  '-j listmoons',
  'join NET',
  'WAIT',
  'join NET',
  'listnetworks',
  'listnetworks -j',
  'get NET status',
  'get NET name',
  'get NET mtu',
  'get NET portDeviceName',
  'get NET ip',
  'get NET ip4',
  'get NET ip6',
  'get NET ip6plane',
  'get NET ip6prefix',
  'get NET routes',
  'get NET nosuch',
  'set NET allowDNS=1',
  'get NET allowDNS',
  'set NET allowDNS=0',
  'set NET bogus=1',
  'set NET allowDNS',
  'leave NET',
  'leave NET',
  '-j leave NET',
  '-j join NET',
  'leave NET',
  'get NET status',
  'join 123',
  'orbit 1234567890 zz',
  'orbit 1234567890 PEER',
  'deorbit 1234567890',
  '-j deorbit 1234567890',
  'deorbit xyz',
  'bond list',
  'listbonds',
  'bond PEER show',
  'bond PEER rotate',
  '/network',
  '/health',
  '/nosuch',
  '-Twrong info',
  '-Twrong listnetworks',
  '-Twrong join NET',
  '-Twrong get NET status',
];

export async function realCli(dir: string, programs: Programs): Promise<Group> {
  const group = new Group('real-cli');
  const binary = process.env[VARIABLE];
  if (binary === undefined || !existsSync(binary)) {
    group.skip('all', `set ${VARIABLE} to the zerotier-cli of a ZeroTier One 1.14.1`);
    return group;
  }
  const cwd = join(dir, group.name);
  mkdirSync(cwd);
  const lab = await Lab.start(['root', 'm1']);
  try {
    const nwid = await makeNetwork(lab);
    const ours = await play(lab, nwid, (words) =>
      programs.run(['zerotier-cli', ...words], { cwd }),
    );
    const theirs = await play(lab, nwid, (words) =>
      runProgram(binary, words, { PATH: process.env['PATH'] ?? '' }, TIME_LIMIT_MS, cwd),
    );
    for (const [i, command] of COMMANDS.entries()) {
      if (command !== 'WAIT')
        await group.check(`${i} ${command}`, () => compare(ours[i]!, theirs[i]!));
    }
  } finally {
    await lab.stop();
  }
  return group;
}

/** A public network with addresses of every kind. */
async function makeNetwork(lab: Lab): Promise<string> {
  const { address } = lab.node('root');
  const made = (await lab.json('root', 'POST', `/controller/network/${address}______`, {
    name: 'real cli',
    private: false,
    v4AssignMode: { zt: true },
    v6AssignMode: { rfc4193: true, '6plane': true, zt: false },
    routes: [{ target: '10.147.18.0/24', via: null }],
    ipAssignmentPools: [{ ipRangeStart: '10.147.18.10', ipRangeEnd: '10.147.18.250' }],
  })) as JsonRecord;
  return String(made['nwid']);
}

/** Runs all commands in order; both programs begin and end with no network joined. */
async function play(
  lab: Lab,
  nwid: string,
  run: (words: string[]) => Promise<Finished>,
): Promise<Finished[]> {
  const { service } = lab.node('m1');
  const peer = lab.node('root').address;
  const out: Finished[] = [];
  for (const command of COMMANDS) {
    if (command === 'WAIT') {
      await until('the configuration', async () => {
        const n = await service.request('GET', `/network/${nwid}`);
        return (JSON.parse(n.text) as JsonRecord)['status'] === 'OK';
      });
      out.push({ code: 0, signal: null, stdout: '', stderr: '' });
    } else {
      const words = command.replaceAll('NET', nwid).replaceAll('PEER', peer).split(' ');
      out.push(await run([`-D${service.home}`, ...words]));
    }
  }
  return out;
}

/** What passes between the two runs: times, ages, latencies. Usage texts are free. */
function settled(text: string): string {
  if (/^usage: |^Usage: /m.test(text)) return 'USAGE-TEXT';
  return text
    .replace(/\b1\d{12}\b/g, 'TIME')
    .replace(/("latency": ?)-?\d+/g, '$1LATENCY')
    .replace(/;(?:-1|\d+);(?:-1|\d+) -?\d+ /g, ';AGE;AGE LATENCY ')
    .replace(/ +-?\d+ DIRECT {3}(?:-1|\d+) +(?:-1|\d+) +/g, ' LATENCY DIRECT AGE AGE ');
}

function compare(ours: Finished, theirs: Finished): void {
  const show = (f: Finished): unknown => ({
    code: f.code ?? f.signal,
    stdout: settled(f.stdout),
    stderr: settled(f.stderr),
  });
  assert.deepEqual(show(ours), show(theirs));
}
