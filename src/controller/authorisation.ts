/** Whether a requester may have a configuration: what its record, its network and its token say [3 section 12.2]. */
import { isRecord, type JsonRecord, jsonBool, jsonInt } from '../lib/json.js';
import type { Moment } from '../lib/time.js';
import { DictionaryBuilder } from '../wire/dictionary.js';
import type { Metadata } from '../wire/netconf.js';
import type { NetworkState } from './state.js';

/** Authorises a member that its record does not, where it can; says so in `member`. */
export function authorise(
  at: Moment,
  net: NetworkState,
  member: JsonRecord,
  metadata: Metadata,
): boolean {
  if (jsonBool(member['authorized'], false)) return true;
  const credential = credentialOf(at, net, metadata);
  if (credential === undefined) return false;
  member['authorized'] = true;
  member['lastAuthorizedTime'] = at.wall;
  member['lastAuthorizedCredentialType'] = credential.type;
  member['lastAuthorizedCredential'] = credential.value;
  return true;
}

function credentialOf(
  at: Moment,
  net: NetworkState,
  metadata: Metadata,
): { type: string; value: string | null } | undefined {
  if (!jsonBool(net.record['private'], true)) return { type: 'public', value: null };
  const token = /^token:(.+)$/s.exec(metadata.auth)?.[1];
  const tokens = net.record['authTokens'];
  if (token === undefined || !isRecord(tokens)) return undefined;
  const expires = Object.hasOwn(tokens, token) ? tokens[token] : undefined;
  if (typeof expires !== 'number' && typeof expires !== 'bigint') return undefined;
  if (expires !== 0 && expires <= at.wall) return undefined;
  return { type: 'token', value: token };
}

/** Single sign-on is on, and this member's authentication is missing or has expired. */
export function needsSignOn(at: Moment, network: JsonRecord, member: JsonRecord): boolean {
  if (!jsonBool(network['ssoEnabled'], false) || jsonBool(member['ssoExempt'], false)) return false;
  return jsonInt(member['authenticationExpiryTime'], 0n) <= BigInt(at.wall);
}

/** What ERROR 9 carries: version 0 with an empty login address [3 section 2.9]. */
export function authenticationData(): Uint8Array {
  const d = new DictionaryBuilder(64);
  d.u64('aV', 0n);
  d.text('aU', '');
  const text = d.build();
  const out = new Uint8Array(2 + text.length);
  out[1] = text.length;
  out.set(text, 2);
  return out;
}
