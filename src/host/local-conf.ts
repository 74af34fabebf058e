/**
 * `local.conf` [4 section 9]: what of it is in force, and its re-reading while the service runs. A
 * change is seen by the file's time of modification and size; content that does not load again never
 * replaces good content and is complained about once [4 section 13]. A removed file changes nothing.
 */
import { statSync } from 'node:fs';
import { isRecord, type JsonRecord, jsonInt, jsonText, parseJson } from '../lib/json.js';
import type { Home } from './home.js';
import { errorText, type Log } from './log.js';

const FILE = 'local.conf';

/** How often the file is looked at, in ms. */
export const LOCAL_CONF_CHECK_MS = 10_000;

export class LocalConfError extends Error {
  readonly code = 'ERR_LOCAL_CONF';
}

export type CipherSetting = 'auto' | 'aes' | 'salsa';

/** @throws LocalConfError with the reference's text. Empty and missing files are an empty object. */
export function parseLocalConf(text: string | undefined): JsonRecord {
  if (text === undefined || text.trim() === '') return {};
  let v: ReturnType<typeof parseJson>;
  try {
    v = parseJson(text, 'keep');
  } catch {
    throw new LocalConfError('unable to parse local.conf (invalid JSON)');
  }
  if (!isRecord(v))
    throw new LocalConfError('unable to parse local.conf (root element is not a JSON object)');
  cipherSetting(v);
  return v;
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

/** The file of one home, and which state of it was read last. */
export class LocalConfFile {
  readonly #home: Home;
  readonly #log: Log;
  #seen: string;

  constructor(home: Home, log: Log) {
    this.#home = home;
    this.#log = log;
    this.#seen = this.#stamp();
  }

  /** Modification time and size; empty when the file is missing. */
  #stamp(): string {
    try {
      const s = statSync(this.#home.path(FILE));
      return `${s.mtimeMs}/${s.size}`;
    } catch {
      return '';
    }
  }

  /** Content now. @throws LocalConfError. */
  load(): JsonRecord {
    this.#seen = this.#stamp();
    return parseLocalConf(this.#home.readText(FILE));
  }

  /** New content if the file changed and loads; otherwise undefined. Never throws. */
  reload(): JsonRecord | undefined {
    const stamp = this.#stamp();
    if (stamp === this.#seen || stamp === '') return undefined;
    try {
      return this.load();
    } catch (e) {
      this.#log('error', `${errorText(e)}; the last good content stays in force`);
      return undefined;
    }
  }
}
