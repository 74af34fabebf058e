/** `listnetworks`, `join`, `leave`, `set`, `get` [4 sections 4.4, 4.6, 4.7]. */
import { type JsonRecord, type JsonValue, jsonText } from '../../lib/json.js';
import {
  type Context,
  EXIT_OK,
  EXIT_USAGE,
  printDone,
  printPretty,
  printRefusal,
  records,
  request,
  showJson,
  signed,
} from './answers.js';
import { CLI_USAGE, err, out } from './print.js';

const ID_LEN = 16;
const SETTINGS = ['allowManaged', 'allowGlobal', 'allowDefault', 'allowDNS'];

/** Only the length counts; the text goes into the path as it is. */
const isId = (text: string): boolean => Buffer.byteLength(text) === ID_LEN;

// ---- listnetworks ----

export function listNetworks(c: Context): Promise<number> {
  return showJson(c, '/network', (v) => {
    if (c.json) printPretty(v);
    else out(networksText(v, Date.now()));
  });
}

/** @param now milliseconds since 1970. */
export function networksText(v: JsonValue, now: number): string {
  const lines = records(v).flatMap((n) => [networkLine(n), ...signOnLines(n, now)]);
  return [
    '200 listnetworks <nwid> <name> <mac> <status> <type> <dev> <ZT assigned ips>',
    ...lines,
    '',
  ].join('\n');
}

function networkLine(n: JsonRecord): string {
  const fields = ['nwid', 'name', 'mac', 'status', 'type', 'portDeviceName'];
  const ips = strings(n['assignedAddresses']).join(',') || '-';
  return ['200 listnetworks', ...fields.map((f) => jsonText(n[f], '-')), ips].join(' ');
}

function strings(v: JsonValue | undefined): string[] {
  return Array.isArray(v) ? v.filter((x): x is string => typeof x === 'string') : [];
}

/** What single sign-on asks of the user, for networks that use it. */
function signOnLines(n: JsonRecord, now: number): string[] {
  if (n['ssoEnabled'] !== true) return [];
  const status = jsonText(n['status'], '-');
  if (status === 'AUTHENTICATION_REQUIRED')
    return [`    AUTH EXPIRED, URL: ${jsonText(n['authenticationURL'], '(null)')}`];
  const left = Number(signed(n['authenticationExpiryTime'])) - now;
  return status === 'OK' && left > 0
    ? [`    AUTH OK, expires in: ${Math.floor(left / 1000)} seconds`]
    : [];
}

// ---- join, leave, set ----

export async function join(c: Context): Promise<number> {
  if (!isId(c.arg1)) return invalidId();
  return printDone(c, 'join', await request(c, 'POST', `/network/${c.arg1}`, '{}'), true);
}

export async function leave(c: Context): Promise<number> {
  if (!isId(c.arg1)) return invalidId();
  return printDone(c, 'leave', await request(c, 'DELETE', `/network/${c.arg1}`), true);
}

function invalidId(): number {
  out('invalid network id\n');
  return EXIT_USAGE;
}

export async function set(c: Context): Promise<number> {
  if (!hasIdAndName(c)) return EXIT_USAGE;
  const equals = c.arg2.indexOf('=');
  if (equals < 0) {
    err(CLI_USAGE);
    return EXIT_USAGE;
  }
  const name = c.arg2.slice(0, equals);
  // Unknown names do nothing, silently, like the reference's.
  if (!SETTINGS.includes(name)) return EXIT_OK;
  const value = /^[t1]/.test(c.arg2.slice(equals + 1));
  const answer = await request(c, 'POST', `/network/${c.arg1}`, `{"${name}":${value}}`);
  if (answer.status !== 200) return printRefusal('set', answer);
  out(answer.body);
  return EXIT_OK;
}

/** Whether a network id and a property stand there; says what is missing. */
function hasIdAndName(c: Context): boolean {
  if (!isId(c.arg1)) err('invalid format: must be a 16-digit (network) ID\n');
  else if (c.arg2 === '') err(`invalid format: include a property name to ${c.words[0]}\n`);
  else return true;
  return false;
}

// ---- get ----

export async function get(c: Context): Promise<number> {
  if (!hasIdAndName(c)) return EXIT_USAGE;
  return showJson(
    c,
    '/network',
    (v) => {
      const found = records(v).filter((n) => jsonText(n['id'], '') === c.arg1);
      for (const n of found) out(propertyText(n, c.arg2));
      if (found.length === 0)
        err('unknown network ID, check that you are a member of the network\n');
    },
    true,
  );
}

/** What `get` prints of a network. */
export function propertyText(n: JsonRecord, name: string): string {
  const all = Array.isArray(n['assignedAddresses']) ? n['assignedAddresses'] : [];
  const any = (a: JsonValue): boolean => typeof a === 'string';
  const v4 = (a: JsonValue): boolean => typeof a === 'string' && a.includes('.');
  const v6 = (a: JsonValue): boolean => typeof a === 'string' && a.includes(':');
  const plane = (a: string): boolean => a.startsWith('fc');
  switch (name) {
    case 'ip':
      return addressLines(all, any);
    case 'ip4':
      return addressLines(all.filter(v4), any);
    case 'ip6':
      return addressLines(all.filter(v6), any);
    case 'ip6plane':
      return addressLines(all.filter(v6), plane as (a: JsonValue) => boolean);
    case 'ip6prefix':
      return addressLines(all.filter(v6), plane as (a: JsonValue) => boolean, PREFIX_LEN);
    default: {
      const v = Object.hasOwn(n, name) ? n[name] : undefined;
      const isScalar = v !== null && typeof v !== 'object' && v !== undefined;
      return isScalar ? `${jsonText(v, '')}\n` : 'error, unknown property name\n';
    }
  }
}

/** Characters of an address that `ip6prefix` prints. */
const PREFIX_LEN = 24;

/** A newline follows every printed value but the last candidate's, and one more ends the text. */
function addressLines(
  candidates: readonly JsonValue[],
  isPrinted: (a: JsonValue) => boolean,
  len?: number,
): string {
  const text = candidates.map((a, i) => {
    if (!isPrinted(a)) return '';
    const address = (a as string).split('/', 1)[0]!.slice(0, len);
    return i + 1 < candidates.length ? `${address}\n` : address;
  });
  return `${text.join('')}\n`;
}
