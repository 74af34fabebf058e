/**
 * What local.conf lets programs reach of the host's network [5 section 12]:
 *
 *   "settings": { "netcon": { "fallthrough": "none" | "loopback" | "full",
 *                             "fallthroughAllow": ["10.0.0.0/8"], "fallthroughDeny": ["10.1.0.0/16"] } }
 *
 * A mistake grants nothing.
 */
import type { JsonRecord, JsonValue } from '../lib/json.js';
import { type Grant, NOTHING_GRANTED, type Prefix } from '../preload/fallthrough.js';
import { isMapped, Policy, type PolicyNumber } from '../preload/policy.js';
import { netconSettings } from './local-conf.js';
import { parsePrefix } from './physical-conf.js';

export interface GrantConf {
  readonly grant: Grant;
  /** What was wrong, one line each. */
  readonly complaints: readonly string[];
}

/** ::ffff:a.b.c.d/96+n means a.b.c.d/n, as everywhere. */
function asIpv4({ ip, bits }: Prefix): Prefix {
  return isMapped(ip) && bits >= 96 ? { ip: ip.subarray(12), bits: bits - 96 } : { ip, bits };
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
    const p = typeof entry === 'string' ? parsePrefix(entry) : undefined;
    if (p === undefined)
      complaints.push(`settings.netcon.${name}: ${JSON.stringify(entry)} is not a network`);
    else out.push(asIpv4(p));
  }
  return out;
}

export function grantOf(conf: JsonRecord): GrantConf {
  const own = netconSettings(conf);
  const complaints: string[] = [];
  const word = own['fallthrough'] ?? 'none';
  const max: PolicyNumber | undefined =
    typeof word === 'string' && Object.hasOwn(Policy, word)
      ? Policy[word as keyof typeof Policy]
      : undefined;
  if (max === undefined)
    complaints.push(
      `settings.netcon.fallthrough is ${JSON.stringify(word)}; it must be none, loopback or full`,
    );
  const allow = prefixes('fallthroughAllow', own['fallthroughAllow'], complaints);
  const deny = prefixes('fallthroughDeny', own['fallthroughDeny'], complaints);
  if (max === undefined || complaints.length > 0) return { grant: NOTHING_GRANTED, complaints };
  return { grant: { max, allow, deny }, complaints };
}
