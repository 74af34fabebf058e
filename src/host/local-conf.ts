/** `local.conf` [4 section 9]: what of it is in force, and its re-reading while the service runs. */
import { isRecord, type JsonRecord, jsonBool, jsonInt, jsonText, parseJson } from '../lib/json.js';

export class LocalConfError extends Error {
  readonly code = 'ERR_LOCAL_CONF';
}

export type CipherSetting = 'auto' | 'aes' | 'salsa';

/** @throws LocalConfError with the reference's text. Empty and missing files are an empty object. */
export function parseLocalConf(text: string | undefined): JsonRecord {
  if (text === undefined || text.trim() === '') return {};
  let v: unknown;
  try {
    v = parseJson(text);
  } catch {
    throw new LocalConfError('unable to parse local.conf (invalid JSON)');
  }
  if (!isRecord(v as JsonRecord))
    throw new LocalConfError('unable to parse local.conf (root element is not a JSON object)');
  return v as JsonRecord;
}

export function settingsOf(conf: JsonRecord): JsonRecord {
  return isRecord(conf['settings']) ? conf['settings'] : {};
}

export function netconSettings(conf: JsonRecord): JsonRecord {
  const own = settingsOf(conf)['netcon'];
  return isRecord(own) ? own : {};
}

/** `settings.primaryPort` beats the command line; undefined when it is not set. */
export function primaryPort(conf: JsonRecord): number | undefined {
  const v = settingsOf(conf)['primaryPort'];
  return v === undefined ? undefined : Number(jsonInt(v, 0n) & 0xffffn);
}

/** @throws LocalConfError for a word that is none of the three. */
export function cipherSetting(conf: JsonRecord): CipherSetting {
  const v = jsonText(netconSettings(conf)['cipher'], 'auto');
  if (v === 'auto' || v === 'aes' || v === 'salsa') return v;
  throw new LocalConfError(
    `settings.netcon.cipher in local.conf is "${v}"; it must be auto, aes or salsa`,
  );
}

/** `net/bits` texts from which the API may be used. */
export function allowManagementFrom(conf: JsonRecord): string[] {
  const v = settingsOf(conf)['allowManagementFrom'];
  return Array.isArray(v) ? v.filter((x): x is string => typeof x === 'string') : [];
}

export { jsonBool };
