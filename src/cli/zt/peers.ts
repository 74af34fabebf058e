/** `info`, `listpeers`, `peers` [4 sections 4.4, 4.5]. */
import { isRecord, type JsonRecord, type JsonValue, jsonText } from '../../lib/json.js';
import { type Context, printPretty, records, showJson, signed } from './answers.js';
import { out } from './print.js';

export function info(c: Context): Promise<number> {
  return showJson(c, '/status', (v) => {
    if (c.json) printPretty(v);
    else if (isRecord(v)) out(statusText(v));
  });
}

function statusText(v: JsonRecord): string {
  const isOnline = v['online'] === true ? 'ONLINE' : 'OFFLINE';
  const state = v['tcpFallbackActive'] === true ? 'TUNNELED' : isOnline;
  return `200 info ${jsonText(v['address'], '-')} ${jsonText(v['version'], '-')} ${state}\n`;
}

export function listPeers(c: Context): Promise<number> {
  return showJson(c, '/peer', (v) => {
    if (c.json) printPretty(v);
    else out(peerList(v, Date.now()));
  });
}

export function peers(c: Context): Promise<number> {
  return showJson(c, '/peer', (v) => {
    if (c.json) printPretty(v);
    else out(peerTable(v, Date.now()));
  });
}

interface Link {
  readonly address: string;
  /** Milliseconds since the last packet, -1 for never. */
  readonly sentAgo: string;
  readonly receivedAgo: string;
}

/** The preferred path, if there is one. */
function link(p: JsonRecord, now: number): Link | undefined {
  const path = records(p['paths']).find((x) => x['preferred'] === true);
  if (path === undefined) return undefined;
  const ago = (v: JsonValue | undefined): string => {
    const at = signed(v);
    return at === 0n ? '-1' : String(BigInt(now) - at);
  };
  return {
    address: jsonText(path['address'], '-'),
    sentAgo: ago(path['lastSend']),
    receivedAgo: ago(path['lastReceive']),
  };
}

function version(p: JsonRecord): string {
  const [major, minor, rev] = ['versionMajor', 'versionMinor', 'versionRev'].map((k) =>
    p[k] === undefined ? -1n : signed(p[k]),
  );
  return major! < 0n ? '-' : `${major}.${minor}.${rev}`;
}

/** @param now milliseconds since 1970. */
export function peerList(v: JsonValue, now: number): string {
  const lines = records(v).map((p) => {
    const l = link(p, now);
    const path = l === undefined ? '-' : `${l.address};${l.sentAgo};${l.receivedAgo}`;
    return [
      '200 listpeers',
      jsonText(p['address'], '-'),
      path,
      signed(p['latency']),
      version(p),
      jsonText(p['role'], '-'),
    ].join(' ');
  });
  return ['200 listpeers <ztaddr> <path> <latency> <version> <role>', ...lines, ''].join('\n');
}

/** @param now milliseconds since 1970. */
export function peerTable(v: JsonValue, now: number): string {
  const list = records(v);
  const lines = list.map((p) =>
    [
      jsonText(p['address'], '-'),
      version(p).padEnd(6),
      jsonText(p['role'], '-').padEnd(6),
      String(signed(p['latency'])).padStart(5),
      linkText(p, now),
    ].join(' '),
  );
  if (list.some((p) => p['tunneled'] === true))
    lines.push('NOTE: Currently tunneling through a TCP relay. Ensure that UDP is not blocked.');
  return [
    '200 peers',
    '<ztaddr>   <ver>  <role> <lat> <link>   <lastTX> <lastRX> <path>',
    ...lines,
    '',
  ].join('\n');
}

function linkText(p: JsonRecord, now: number): string {
  const l = link(p, now);
  if (l === undefined) return 'RELAY';
  const kind = p['tunneled'] === true ? 'RELAY ' : 'DIRECT   ';
  return `${kind}${l.sentAgo.padEnd(8)} ${l.receivedAgo.padEnd(8)} ${l.address}`;
}
