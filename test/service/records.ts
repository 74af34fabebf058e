/**
 * The records of test/vectors/service: what the reference's programs were asked and answered. Read
 * from VECTORS_DIR when it is set. A record says what happened, never how ours must be built.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageFile } from '../helpers/service.js';

export interface HttpRequest {
  readonly method: string;
  readonly target: string;
  /** Pairs in the order sent. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string | null;
  readonly version?: string;
}

export interface HttpResponse {
  readonly statusLine: string;
  readonly status: number;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string;
}

export interface HomeEntry {
  readonly path: string;
  readonly type: 'file' | 'dir';
  readonly mode: string;
  readonly size?: number;
  readonly text?: string;
}

/** One turn of a recorded conversation. */
export interface Exchange {
  readonly sent: string;
  readonly received: string;
  /** Seconds. */
  readonly closedByServerAfter?: number;
}

/** One record; which fields it has depends on its kind (README of the vectors). */
export interface ServiceRecord {
  readonly seq: number;
  readonly id: string;
  readonly node?: string;
  readonly state?: string;
  readonly note?: string;
  /** Milliseconds since 1970. */
  readonly time?: number;
  readonly argv?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Negative = killed by that signal. */
  readonly exitCode?: number;
  readonly stdout?: string;
  readonly stderr?: string;
  readonly rawRequests?: readonly string[];
  readonly scriptedResponses?: readonly string[];
  readonly files?: Readonly<Record<string, string>>;
  readonly filesAfter?: Readonly<Record<string, string>>;
  readonly filesAfterHex?: Readonly<Record<string, string>>;
  readonly modes?: Readonly<Record<string, string>>;
  readonly request?: HttpRequest;
  readonly response?: HttpResponse | null;
  readonly exchange?: readonly Exchange[];
  readonly interimResponse?: string;
  readonly connectionAfter?: string;
  readonly filesWhileRunning?: readonly HomeEntry[];
  readonly filesAfterExit?: readonly (string | HomeEntry)[];
  readonly endedBy?: NodeJS.Signals;
}

const folder = (): string =>
  join(process.env['VECTORS_DIR'] ?? packageFile('test/vectors'), 'service');

/** Names of all groups of records. */
export function recordGroups(): string[] {
  return readdirSync(folder())
    .filter((n) => n.endsWith('.json'))
    .map((n) => n.slice(0, -'.json'.length));
}

/** @throws when the group is missing or empty: a suite without cases would pass for nothing. */
export function loadRecords(group: string): ServiceRecord[] {
  const file = join(folder(), `${group}.json`);
  const parsed = JSON.parse(readFileSync(file, 'utf8')) as { records?: ServiceRecord[] };
  const records = parsed.records ?? [];
  if (records.length === 0) throw new Error(`${file} has no records`);
  return records;
}

/** A secret identity of the lab that the records contain, by its address. */
export function labSecret(group: string, address: string): string {
  const text = JSON.stringify(loadRecords(group));
  const found = new RegExp(`${address}:0:[0-9a-f]{128}:[0-9a-f]{128}`).exec(text);
  if (found === null) throw new Error(`no record of ${group} has the secret of ${address}`);
  return found[0];
}
