/** docs/scale.json, and docs/scale.md made of it. */
import { readFileSync } from 'node:fs';
import { fitLine, fitPower, type Point } from './fit.js';
import type { GrowthRow } from './growth.js';
import type { Summary } from './scenario.js';

const JSON_FILE = new URL('../../../docs/scale.json', import.meta.url);
export const MD_FILE = new URL('../../../docs/scale.md', import.meta.url);

export interface ScenarioResult {
  readonly id: string;
  readonly title: string;
  readonly summary: Summary;
}

export interface Scale {
  readonly seed: number;
  readonly scenarios: readonly ScenarioResult[];
  readonly growth: readonly GrowthRow[];
}

export const SCALE_JSON = JSON_FILE;

export function readScale(): Scale {
  return JSON.parse(readFileSync(JSON_FILE, 'utf8')) as Scale;
}

export function scaleText(s: Scale): string {
  return `${JSON.stringify(s, undefined, 1)}\n`;
}

type Column = readonly [title: string, value: (r: GrowthRow) => number];

const TIMES: readonly Column[] = [
  ['ONLINE, median', (r) => r.onlineMedianMs],
  ['ONLINE, last', (r) => r.onlineLastMs],
  ['address, last', (r) => r.addressLastMs],
  ['first echo, median', (r) => r.firstEchoMedianMs],
  ['first echo, last', (r) => r.firstEchoLastMs],
  ['root restarted: back, median', (r) => r.rootRestartMedianMs],
  ['back, last', (r) => r.rootRestartLastMs],
];

const TRAFFIC: readonly Column[] = [
  ['relayed pairs, %', (r) => r.relayedPairsPercent],
  ['member with a warm path, sent/h', (r) => r.warmPerHour],
  ['idle member, sent/h', (r) => r.idlePerHour],
  ['idle member, bytes/h', (r) => r.idleBytesPerHour],
  ['root, sent/h', (r) => r.rootSentPerHour],
  ['root, received/h', (r) => r.rootReceivedPerHour],
];

const COST: readonly Column[] = [
  ['CPU s per idle node-hour', (r) => Number(r.cost.cpuPerIdleHour.toFixed(3))],
  ['KiB per node', (r) => r.cost.kibPerNode],
  ['run, s', (r) => Math.round(r.cost.wallSeconds)],
];

function table(columns: readonly Column[], rows: readonly GrowthRow[]): string {
  const head = ['nodes', ...columns.map(([t]) => t)];
  const lines = [head, head.map(() => '---:')];
  for (const r of rows) lines.push([`${r.nodes}`, ...columns.map(([, f]) => `${f(r)}`)]);
  return lines.map((l) => `| ${l.join(' | ')} |`).join('\n');
}

const points = (rows: readonly GrowthRow[], f: (r: GrowthRow) => number): Point[] =>
  rows.map((r) => ({ x: r.nodes, y: f(r) }));

const num = (v: number): string => (Math.abs(v) >= 100 ? v.toFixed(0) : v.toPrecision(3));

function lineLaw(name: string, rows: readonly GrowthRow[], f: (r: GrowthRow) => number): string {
  const l = fitLine(points(rows, f));
  return `| ${name} | ${num(l.a)} + ${num(l.b)} N | ${(100 * l.worst).toFixed(1)} % | ${num(l.a + l.b * 1e6)} |`;
}

function powerLaw(name: string, rows: readonly GrowthRow[], f: (r: GrowthRow) => number): string {
  const p = fitPower(points(rows, f));
  return `| ${name} | ${num(p.c)} N^${p.k.toFixed(3)} | ${(100 * p.worst).toFixed(1)} % | ${num(p.c * 1e6 ** p.k)} |`;
}

function laws(rows: readonly GrowthRow[]): string {
  const large = rows.filter((r) => r.nodes >= 100);
  return [
    '| quantity | law | worst residual | at N = 1,000,000 |',
    '| --- | --- | ---: | ---: |',
    lineLaw('datagrams an hour that the root sends', rows, (r) => r.rootSentPerHour),
    lineLaw('datagrams an hour that the root receives', rows, (r) => r.rootReceivedPerHour),
    powerLaw('datagrams an hour of an idle member', rows, (r) => r.idlePerHour),
    powerLaw('datagrams an hour of a member with a warm path', rows, (r) => r.warmPerHour),
    lineLaw('cold start: last ONLINE, ms (N >= 100)', large, (r) => r.onlineLastMs),
    powerLaw('first echo, median, ms', rows, (r) => r.firstEchoMedianMs),
  ].join('\n');
}

function value(v: Summary[string]): string {
  return typeof v === 'number' ? v.toLocaleString('en-US') : `${v}`;
}

function scenarioText(s: ScenarioResult): string {
  const lines = Object.entries(s.summary).map(([k, v]) => `| ${k} | ${value(v)} |`);
  return `### ${s.title}\n\n\`${s.id}\`\n\n| what | value |\n| --- | --- |\n${lines.join('\n')}`;
}

export function renderScale(s: Scale): string {
  return `# Scale and behaviour in simulation

Written by \`npm run sim -- --accept\` from docs/scale.json; do not edit. All nodes run the code of the
service in one process, in virtual time, with real cryptography; nothing is shared but the packet
core, which keeps no state of theirs. Seed ${s.seed}; the same seed gives the same traces, and every
run is made twice and compared. \`npm test\` repeats the scenarios and the small sizes and compares
them with this page; a change of behaviour shows as a difference that somebody has to accept.

## Growth with the number of nodes

One root that is also the controller, N - 1 members of one network: 2 of 10 with public addresses, 3
behind full-cone NATs, 1 address-restricted, 3 port-restricted, 1 symmetric; one-way delays of 2 to 60 ms.
All start and join in one instant, find a neighbour by ARP, talk for two minutes, fall silent; then the
root restarts without its peers.d. One identity check takes 12 ms of the root's one worker, as measured
on the service (which has a worker for each core, eight at most: with more than one it is done sooner).

Times in ms, from the start of all (ONLINE, address), from the first ARP request (echo), from the restart:

${table(TIMES, s.growth)}

Control traffic, without frames of programs; datagrams:

${table(TRAFFIC, s.growth)}

Cost of the simulation on 2 shared cores (not compared):

${table(COST, s.growth)}

### Laws

Least squares of the relative differences over the rows above; the residual is the largest of them.

${laws(s.growth)}

What it means for a network of a million members with one root and one controller:

- A member's own traffic does not depend on N: the exponent is near 0. What grows is the root's and the
  controller's share, linearly, so roots have to be added in proportion (a planet lists up to 4, moons
  add more) and a network of this size needs several controllers.
- A cold start of everybody at once is bound by the identity checks: N x 12 ms of one worker, hours for a
  million, while the gates keep the root itself responsive. With its peers.d a root checks nobody again.
- The same bound holds for a root that restarts without its peers.d: up to some 600 leaves are back within
  10 s, the last of 2,000 after 27 s.
- The time from one member to another stays that of a few round trips, as it does not touch the root's
  checks.
- Tables are capped below that (65,536 peers, 262,144 listeners): a root for more members needs higher
  caps, and the memory per node above says what they cost.

## Scenarios

${s.scenarios.map(scenarioText).join('\n\n')}
`;
}
