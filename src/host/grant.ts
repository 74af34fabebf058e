/**
 * What local.conf lets programs reach of the host's network [5 section 12]:
 *
 *   "settings": { "netcon": { "fallthrough": "none" | "loopback" | "full",
 *                             "fallthroughAllow": ["10.0.0.0/8"], "fallthroughDeny": ["10.1.0.0/16"] } }
 *
 * A mistake grants nothing and is named: these settings are ours, so they are read more strictly than
 * those of the reference (physical-conf.ts).
 */
import { isRecord, type JsonRecord, type JsonValue } from '../lib/json.js';
import { type Grant, NOTHING_GRANTED, type Prefix } from '../preload/fallthrough.js';
import { isMapped, Policy, type PolicyNumber } from '../preload/policy.js';
import { maskIp, parseIp } from '../wire/inetaddress.js';
import { netconSettings, settingsOf } from './local-conf.js';

const FALLTHROUGH = 'fallthrough';
const ALLOW = 'fallthroughAllow';
const DENY = 'fallthroughDeny';
/** Every name that `settings.netcon` may have. */
const SETTINGS = ['cipher', 'apiBind', FALLTHROUGH, ALLOW, DENY];

export interface GrantConf {
  readonly grant: Grant;
  /** What was wrong, one line each. */
  readonly complaints: readonly string[];
}

/** `address` or `address/bits`, as a whole; bits behind the prefix count as 0. */
function prefixOf(text: string): Prefix | undefined {
  const [address = '', digits, more] = text.split('/');
  const ip = parseIp(address);
  if (ip === undefined || more !== undefined) return undefined;
  const width = ip.length * 8;
  if (digits !== undefined && !/^(?:0|[1-9]\d{0,2})$/.test(digits)) return undefined;
  const bits = digits === undefined ? width : Number(digits);
  return bits > width ? undefined : { ip: maskIp(ip, bits), bits };
}

/** ::ffff:a.b.c.d/96+n means a.b.c.d/n, as everywhere. */
function asIpv4({ ip, bits }: Prefix): Prefix {
  return isMapped(ip) && bits >= 96 ? { ip: ip.subarray(12), bits: bits - 96 } : { ip, bits };
}

/** What is wrong with the section itself: no record, at another place, names that do not exist. */
function sectionComplaints(conf: JsonRecord): string[] {
  const out = conf['netcon'] === undefined ? [] : ['netcon stands in settings, not beside it'];
  const own = settingsOf(conf)['netcon'];
  if (own === undefined) return out;
  if (!isRecord(own)) return [...out, 'settings.netcon must be an object'];
  const unknown = Object.keys(own).filter((name) => !SETTINGS.includes(name));
  return [
    ...out,
    ...unknown.map(
      (name) => `settings.netcon.${name} is no setting; there are ${SETTINGS.join(', ')}`,
    ),
  ];
}

/** @throws nothing; what is no list of prefixes is named in `complaints`. */
function prefixes(name: string, v: JsonValue | undefined, complaints: string[]): Prefix[] {
  if (v === undefined) return [];
  if (!Array.isArray(v)) {
    complaints.push(`settings.netcon.${name} must be a list of networks like "10.0.0.0/8"`);
    return [];
  }
  const out: Prefix[] = [];
  for (const entry of v) {
    const p = typeof entry === 'string' ? prefixOf(entry) : undefined;
    if (p === undefined)
      complaints.push(`settings.netcon.${name}: ${JSON.stringify(entry)} is not a network`);
    else out.push(asIpv4(p));
  }
  return out;
}

export function grantOf(conf: JsonRecord): GrantConf {
  const own = netconSettings(conf);
  const complaints = sectionComplaints(conf);
  const word = own[FALLTHROUGH] === undefined ? 'none' : own[FALLTHROUGH];
  const max: PolicyNumber | undefined =
    typeof word === 'string' && Object.hasOwn(Policy, word)
      ? Policy[word as keyof typeof Policy]
      : undefined;
  if (max === undefined)
    complaints.push(
      `settings.netcon.fallthrough is ${JSON.stringify(word)}; it must be none, loopback or full`,
    );
  const allow = prefixes(ALLOW, own[ALLOW], complaints);
  const deny = prefixes(DENY, own[DENY], complaints);
  if (max === undefined || complaints.length > 0) return { grant: NOTHING_GRANTED, complaints };
  return { grant: { max, allow, deny }, complaints };
}
