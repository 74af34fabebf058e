/** `bond ...` and `listbonds` [4 sections 4.4, 4.8]. */
import {
  isRecord,
  type JsonRecord,
  type JsonValue,
  jsonFloat,
  jsonInt,
  jsonText,
} from '../../lib/json.js';
import {
  type Context,
  EXIT_FAILED,
  EXIT_OK,
  EXIT_USAGE,
  printDone,
  printPretty,
  records,
  request,
  showJson,
  signed,
} from './answers.js';
import { out } from './print.js';

const ADDRESS_LEN = 10;
const POLICIES = [
  'none',
  'active-backup',
  'broadcast',
  'balance-rr',
  'balance-xor',
  'balance-aware',
];
const RULE = '-'.repeat(120);

export async function bond(c: Context): Promise<number> {
  if (c.arg1 === 'list') return listBonds(c);
  if (c.arg1 === 'setmtu') return setMtu(c);
  if (Buffer.byteLength(c.arg1) === ADDRESS_LEN) {
    if (c.arg2 === 'show') return show(c);
    if (c.arg2 === 'rotate')
      return printDone(c, 'rotate', await request(c, 'POST', `/bond/rotate/${c.arg1}`, '{}'), true);
  }
  return missingArguments();
}

function missingArguments(): number {
  out('(bond) command is missing required arguments\n');
  return EXIT_USAGE;
}

async function setMtu(c: Context): Promise<number> {
  const [mtu, name, ip] = c.words.slice(2);
  if (mtu === undefined || name === undefined || ip === undefined) return missingArguments();
  const answer = await request(c, 'POST', `/bond/setmtu/${mtu}/${name}/${ip}`, '{}');
  if (answer.status === 200) {
    out('200 setmtu OK\n');
    return EXIT_OK;
  }
  out(`${answer.status} Failed to set MTU: ${answer.body}\n`);
  return EXIT_FAILED;
}

export function listBonds(c: Context): Promise<number> {
  return showJson(c, '/peer', (v) => {
    if (c.json) printPretty(v);
    else out(bondList(v));
  });
}

export function bondList(v: JsonValue): string {
  const lines = records(v)
    .filter((p) => p['isBonded'] === true)
    .map((p) => {
      const policy = POLICIES[Number(jsonInt(p['bondingPolicyCode'], 0n))] ?? 'none';
      return `${jsonText(p['address'], '-')}  ${policy.padStart(32)}         ${links(p)}`;
    });
  if (lines.length === 0) lines.push('      NONE\t\t\t\tNONE\t    NONE       NONE');
  return ['    <peer>                        <bondtype>     <links>', ...lines, ''].join('\n');
}

function links(p: JsonRecord): string {
  return `${signed(p['numAliveLinks'])}/${signed(p['numTotalLinks'])}`;
}

function show(c: Context): Promise<number> {
  return showJson(c, `/bond/show/${c.arg1}`, (v) => {
    if (c.json) printPretty(v);
    else if (isRecord(v)) out(bondText(v));
  });
}

export function bondText(p: JsonRecord): string {
  const labels: [string, bigint | string][] = [
    ['Peer', jsonText(p['address'], '-')],
    ['Bond', jsonText(p['bondingPolicyStr'], '-')],
    ['Link Select Method', signed(p['linkSelectMethod'])],
    ['Links', links(p)],
    ['Failover Interval (ms)', signed(p['failoverInterval'])],
    ['Up Delay (ms)', signed(p['upDelay'])],
    ['Down Delay (ms)', signed(p['downDelay'])],
    ['Packets Per Link', signed(p['packetsPerLink'])],
  ];
  const head = labels.map(([label, value]) => `${label.padEnd(23)}: ${value}\n`).join('');
  const paths = records(p['paths']);
  return Array.isArray(p['paths'])
    ? `${head}\n${socketTable(paths)}\n${qualityTable(paths)}`
    : head;
}

function socketTable(paths: readonly JsonRecord[]): string {
  const lines = paths.map((x, i) =>
    [
      index(i),
      jsonText(x['ifname'], '-').padStart(26),
      jsonText(x['address'], '-').padStart(51),
      jsonInt(x['localSocket'], 0n).toString(16).padStart(16, '0'),
      String(signed(x['localPort'])).padStart(12),
    ].join(' '),
  );
  return table(
    'idx                  interface                                  path               socket             local port',
    lines,
  );
}

function qualityTable(paths: readonly JsonRecord[]): string {
  const fixed = (v: JsonValue | undefined, digits: number): string => jsonFloat(v).toFixed(digits);
  const lines = paths.map((x, i) =>
    [
      index(i),
      fixed(x['latencyMean'], 2).padStart(9),
      fixed(x['latencyVariance'], 2).padStart(9),
      String(signed(x['givenLinkSpeed'])).padStart(11),
      fixed(x['relativeQuality'], 4).padStart(8),
      String(signed(x['lastInAge'])).padStart(12),
      String(signed(x['lastOutAge'])).padStart(12),
      String(signed(x['eligible'])).padStart(10),
      String(signed(x['bonded'])).padStart(8),
      String(signed(x['assignedFlowCount'])).padStart(8),
    ].join(''),
  );
  return table(
    'idx     lat      pdv    capacity    qual      rx_age      tx_age  eligible  bonded   flows',
    lines,
  );
}

const index = (i: number): string => `${String(i).padStart(2)}:`;

function table(title: string, lines: readonly string[]): string {
  return [title, RULE, ...lines, ''].join('\n');
}
