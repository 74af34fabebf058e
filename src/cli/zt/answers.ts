/**
 * What the commands share: asking, the texts for failures, and lenient reading of answers [4 section
 * 4.4]. The reference's program aborts on some missing fields; ours takes a default.
 */
import {
  emitJsonPretty,
  isRecord,
  type JsonRecord,
  type JsonValue,
  jsonInt,
  parseJson,
} from '../../lib/json.js';
import type { ServiceAddress } from './find.js';
import { type Answer, ask, type Method } from './http.js';
import { out } from './print.js';

/** One run of the program. */
export interface Context {
  readonly service: ServiceAddress;
  /** `-j` */
  readonly json: boolean;
  /** The command and all further words. */
  readonly words: readonly string[];
  /** First argument, empty when missing. */
  readonly arg1: string;
  /** The last of the further words, empty when missing. */
  readonly arg2: string;
}

export const EXIT_OK = 0;
/** The request failed. */
export const EXIT_FAILED = 1;
/** A malformed argument, or no port or token. */
export const EXIT_USAGE = 2;

export function request(c: Context, method: Method, path: string, body = ''): Promise<Answer> {
  return ask(c.service, method, path, body);
}

/** The texts name port 9993 and 127.0.0.1 whatever was used, as the reference's do. */
export function printUnreachable(reason: string): number {
  out(
    `Error connecting to the ZeroTier service: ${reason}\n\nPlease check that the service is running and that TCP port 9993 can be contacted via 127.0.0.1.\n`,
  );
  return EXIT_FAILED;
}

export function printRefusal(word: string, answer: Answer): number {
  out(`${answer.status} ${word} ${answer.body}\n`);
  return EXIT_FAILED;
}

/**
 * Asks for JSON and hands it to `show` when the status is 200. `show` is also called before a
 * refusal is printed if `always` is set.
 */
export async function showJson(
  c: Context,
  path: string,
  show: (v: JsonValue) => void,
  always = false,
): Promise<number> {
  const word = c.words[0]!;
  const answer = await request(c, 'GET', path);
  if (answer.status === 0) return printUnreachable(answer.body);
  let v: JsonValue;
  try {
    v = parseJson(answer.body, 'keep');
  } catch (e) {
    out(`${answer.status} ${word} invalid JSON response (${(e as Error).message})\n`);
    return EXIT_FAILED;
  }
  if (answer.status === 200 || always) show(v);
  return answer.status === 200 ? EXIT_OK : printRefusal(word, answer);
}

/** The layout of `-j`. */
export function printPretty(v: JsonValue): void {
  out(`${emitJsonPretty(v, ' ')}\n`);
}

/** For `word OK` commands: the text, with `-j` the body as it came. */
export function printDone(c: Context, word: string, answer: Answer, mayBeJson: boolean): number {
  if (answer.status !== 200) return printRefusal(c.words[0]!, answer);
  out(c.json && mayBeJson ? answer.body : `200 ${word} OK\n`);
  return EXIT_OK;
}

/** The objects of an array; everything else counts as none. */
export function records(v: JsonValue | undefined): JsonRecord[] {
  return Array.isArray(v) ? v.filter(isRecord) : [];
}

/** INT as a signed number of 64 bits, 0 when missing. */
export function signed(v: JsonValue | undefined): bigint {
  return BigInt.asIntN(64, jsonInt(v, 0n));
}
