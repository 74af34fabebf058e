/**
 * What of a DNS answer fits into one datagram (RFC 1035 sections 4.1.1 and 4.2.1, RFC 6891): as many
 * bytes as the question's OPT record names, 512 without one. A longer answer is cut between records
 * and says so, unless it lost additional records alone (RFC 2181 section 9); its own OPT record
 * stays. No state; nothing is read beyond its input.
 */
import { concatBytes } from '../lib/bytes.js';
import { parseQuestion } from './dns-message.js';

/** RFC 1035 section 4.2.1. */
const PLAIN_MAX = 512;
/** What one UDP datagram over IPv4 can hold. */
const DATAGRAM_MAX = 65_507;
/** RFC 6891 section 6.1.1. */
const TYPE_OPT = 41;
const FLAG_TRUNCATED = 0x0200;
/** Where the header counts the records of answer, authority and additional section. */
const COUNTS = [6, 8, 10] as const;
const ADDITIONAL = 2;
/** Type, class, time to live and length of data, behind the name of a record. */
const RECORD_FIXED_LEN = 10;

interface Span {
  /** Which of COUNTS. */
  readonly section: number;
  readonly type: number;
  /** Of an OPT record the bytes that its sender takes over UDP. */
  readonly recordClass: number;
  readonly start: number;
  readonly end: number;
}

const viewOf = (b: Uint8Array) => new DataView(b.buffer, b.byteOffset, b.byteLength);

/** Behind the name at `start`, whose pointers are not followed; undefined when it is none. */
function nameEnd(message: Uint8Array, start: number): number | undefined {
  for (let at = start; ; ) {
    const count = message[at];
    if (count === undefined) return undefined;
    if (count === 0) return at + 1;
    if ((count & 0xc0) === 0xc0) return at + 2;
    if ((count & 0xc0) !== 0) return undefined;
    at += 1 + count;
  }
}

function spanAt(message: Uint8Array, section: number, start: number): Span | undefined {
  const fixed = nameEnd(message, start);
  if (fixed === undefined || fixed + RECORD_FIXED_LEN > message.length) return undefined;
  const v = viewOf(message);
  const end = fixed + RECORD_FIXED_LEN + v.getUint16(fixed + 8);
  if (end > message.length) return undefined;
  return { section, type: v.getUint16(fixed), recordClass: v.getUint16(fixed + 2), start, end };
}

/** The records from `start` on, up to the first that is malformed. */
function spansFrom(message: Uint8Array, start: number): Span[] {
  const out: Span[] = [];
  let at = start;
  for (const [section, offset] of COUNTS.entries()) {
    for (let left = viewOf(message).getUint16(offset); left > 0; left--) {
      const span = spanAt(message, section, at);
      if (span === undefined) return out;
      out.push(span);
      at = span.end;
    }
  }
  return out;
}

const isOpt = ({ section, type }: Span): boolean => section === ADDITIONAL && type === TYPE_OPT;

/** How long a datagram may be that answers `query`. */
export function datagramRoom(query: Uint8Array): number {
  const question = parseQuestion(query);
  const opt = question === undefined ? undefined : spansFrom(query, question.end).find(isOpt);
  return Math.min(Math.max(opt?.recordClass ?? 0, PLAIN_MAX), DATAGRAM_MAX);
}

/** `answer`, a message with one question, or what of it fits into `room` (at least 512) bytes. */
export function fitDatagram(answer: Uint8Array, room: number): Uint8Array {
  const question = parseQuestion(answer);
  if (answer.length <= room || question === undefined) return answer;
  const spans = spansFrom(answer, question.end);
  const found = spans.find(isOpt);
  const opt = found === undefined ? new Uint8Array(0) : answer.subarray(found.start, found.end);
  const tail = question.end + opt.length > room ? new Uint8Array(0) : opt;
  const counts = [0, 0, tail.length > 0 ? 1 : 0];
  let end = question.end;
  for (const span of spans) {
    if (span === found || span.end + tail.length > room) break;
    counts[span.section]!++;
    end = span.end;
  }
  const out = concatBytes(answer.subarray(0, end), tail);
  const v = viewOf(out);
  const isWhole = [0, 1].every((i) => v.getUint16(COUNTS[i]!) === counts[i]);
  if (!isWhole) v.setUint16(2, v.getUint16(2) | FLAG_TRUNCATED);
  COUNTS.forEach((offset, i) => {
    v.setUint16(offset, counts[i]!);
  });
  return out;
}
