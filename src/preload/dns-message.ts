/**
 * Codec of the few DNS messages that a view asks and answers (RFC 1035): one question, records of
 * addresses and names. Parsers return undefined for anything malformed, never read past their input,
 * and follow at most a bounded number of compression pointers. No state.
 */
export const DnsType = { a: 1, cname: 5, ptr: 12, aaaa: 28 } as const;
export const DnsRcode = { ok: 0, format: 1, failure: 2, noName: 3, notImplemented: 4 } as const;

const CLASS_IN = 1;
const HEADER_LEN = 12;
const LABEL_MAX = 63;
/** RFC 1035 section 2.3.4, without the final dot. */
const NAME_MAX = 253;
/** Ours: pointers of one name, and records of one message, that are followed. */
const JUMPS_MAX = 32;
const RECORDS_MAX = 256;
/** Ours: how long a program may keep an answer of our own; names may change at any time. */
const OWN_TTL_S = 5;

const FLAG_RESPONSE = 0x8000;
const FLAG_TRUNCATED = 0x0200;
const FLAG_RECURSION_WANTED = 0x0100;
const FLAG_RECURSION = 0x0080;
const OPCODE_BITS = 0x7800;
const RCODE_BITS = 0x000f;

export interface DnsQuestion {
  readonly id: number;
  readonly isResponse: boolean;
  readonly isTruncated: boolean;
  readonly isStandard: boolean;
  readonly rcode: number;
  /** Lower case, without the final dot. */
  readonly name: string;
  readonly type: number;
  readonly isInternet: boolean;
  /** Where the question ends. */
  readonly end: number;
}

export interface DnsRecord {
  readonly name: string;
  readonly type: number;
  readonly data: Uint8Array;
  /** Name in the data of CNAME and PTR. */
  readonly target: string | undefined;
}

const viewOf = (b: Uint8Array) => new DataView(b.buffer, b.byteOffset, b.byteLength);

/** A name as labels; undefined when it can not be one. The root is ''. */
export function emitName(name: string): Uint8Array | undefined {
  const plain = name.endsWith('.') ? name.slice(0, -1) : name;
  if (plain.length > NAME_MAX || !/^[\x21-\x7e]*$/.test(plain)) return undefined;
  const labels = plain === '' ? [] : plain.split('.');
  if (labels.some((l) => l.length === 0 || l.length > LABEL_MAX)) return undefined;
  const out = new Uint8Array(plain === '' ? 1 : plain.length + 2);
  let at = 0;
  for (const label of labels) {
    out[at++] = label.length;
    for (let i = 0; i < label.length; i++) out[at++] = label.charCodeAt(i);
  }
  return out;
}

/**
 * Whether a program may be given a name as that of a host, as libc's own resolver decides: what a
 * server says ends in logs and command lines.
 */
export function isHostName(name: string): boolean {
  return /^[a-z0-9_.][a-z0-9_.-]*$/i.test(name);
}

interface ParsedName {
  readonly name: string;
  /** Behind the name where it stands. */
  readonly end: number;
}

function parseName(message: Uint8Array, start: number): ParsedName | undefined {
  const labels: string[] = [];
  let at = start;
  let end = -1;
  let len = 0;
  for (let jumps = 0; jumps <= JUMPS_MAX; ) {
    const count = message[at];
    if (count === undefined) return undefined;
    if (count === 0) return { name: labels.join('.'), end: end < 0 ? at + 1 : end };
    if ((count & 0xc0) === 0xc0) {
      const low = message[at + 1];
      if (low === undefined) return undefined;
      if (end < 0) end = at + 2;
      at = ((count & 0x3f) << 8) | low;
      jumps++;
      continue;
    }
    len += count + 1;
    if (count > LABEL_MAX || len > NAME_MAX + 1 || at + 1 + count > message.length)
      return undefined;
    const label = String.fromCharCode(...message.subarray(at + 1, at + 1 + count)).toLowerCase();
    if (label.includes('.')) return undefined;
    labels.push(label);
    at += 1 + count;
  }
  return undefined;
}

/** Header and the one question of a message. */
export function parseQuestion(message: Uint8Array): DnsQuestion | undefined {
  if (message.length < HEADER_LEN) return undefined;
  const v = viewOf(message);
  if (v.getUint16(4) !== 1) return undefined;
  const parsed = parseName(message, HEADER_LEN);
  if (parsed === undefined || parsed.end + 4 > message.length) return undefined;
  const flags = v.getUint16(2);
  return {
    id: v.getUint16(0),
    isResponse: (flags & FLAG_RESPONSE) !== 0,
    isTruncated: (flags & FLAG_TRUNCATED) !== 0,
    isStandard: (flags & OPCODE_BITS) === 0,
    rcode: flags & RCODE_BITS,
    name: parsed.name,
    type: v.getUint16(parsed.end),
    isInternet: v.getUint16(parsed.end + 2) === CLASS_IN,
    end: parsed.end + 4,
  };
}

/** The records of the answer section. */
export function parseAnswers(message: Uint8Array): DnsRecord[] | undefined {
  const question = parseQuestion(message);
  if (question === undefined) return undefined;
  const v = viewOf(message);
  const count = Math.min(v.getUint16(6), RECORDS_MAX);
  const out: DnsRecord[] = [];
  let at = question.end;
  for (let i = 0; i < count; i++) {
    const owner = parseName(message, at);
    if (owner === undefined || owner.end + 10 > message.length) return undefined;
    const type = v.getUint16(owner.end);
    const data = owner.end + 10;
    at = data + v.getUint16(owner.end + 8);
    if (at > message.length) return undefined;
    const isName = type === DnsType.cname || type === DnsType.ptr;
    const target = isName ? parseName(message, data)?.name : undefined;
    if (v.getUint16(owner.end + 2) !== CLASS_IN) continue;
    out.push({ name: owner.name, type, data: message.slice(data, at), target });
  }
  return out;
}

/** A question for a server; undefined when the name can not be asked for. */
export function emitQuery(id: number, name: string, type: number): Uint8Array | undefined {
  const encoded = emitName(name);
  if (encoded === undefined) return undefined;
  const out = new Uint8Array(HEADER_LEN + encoded.length + 4);
  const v = viewOf(out);
  v.setUint16(0, id);
  v.setUint16(2, FLAG_RECURSION_WANTED);
  v.setUint16(4, 1);
  out.set(encoded, HEADER_LEN);
  v.setUint16(HEADER_LEN + encoded.length, type);
  v.setUint16(HEADER_LEN + encoded.length + 2, CLASS_IN);
  return out;
}

/** Our own answer to `query`, a message with the question `question`. */
export function emitReply(
  query: Uint8Array,
  question: DnsQuestion,
  rcode: number,
  data: readonly Uint8Array[] = [],
): Uint8Array {
  const len = data.reduce((n, d) => n + 12 + d.length, question.end);
  const out = new Uint8Array(len);
  out.set(query.subarray(0, question.end));
  const v = viewOf(out);
  const asked = v.getUint16(2) & (OPCODE_BITS | FLAG_RECURSION_WANTED);
  v.setUint16(2, FLAG_RESPONSE | FLAG_RECURSION | asked | rcode);
  v.setUint16(6, data.length);
  v.setUint32(8, 0);
  let at = question.end;
  for (const d of data) {
    v.setUint16(at, 0xc000 | HEADER_LEN);
    v.setUint16(at + 2, question.type);
    v.setUint16(at + 4, CLASS_IN);
    v.setUint32(at + 6, OWN_TTL_S);
    v.setUint16(at + 10, d.length);
    out.set(d, at + 12);
    at += 12 + d.length;
  }
  return out;
}

/** Name whose PTR record names an address. */
export function reverseNameOf(ip: Uint8Array): string {
  if (ip.length === 4) return `${[...ip].reverse().join('.')}.in-addr.arpa`;
  const digits = [...ip].flatMap((b) => [b >> 4, b & 15]).reverse();
  return `${digits.map((d) => d.toString(16)).join('.')}.ip6.arpa`;
}

/** The address that a name below in-addr.arpa or ip6.arpa stands for. */
export function addressOfReverse(name: string): Uint8Array | undefined {
  const labels = name.split('.').reverse();
  if (labels[0] !== 'arpa') return undefined;
  const digits = labels.slice(2);
  const isDecimal = (d: string) => /^(?:0|[1-9]\d{0,2})$/.test(d) && Number(d) < 256;
  if (labels[1] === 'in-addr' && digits.length === 4 && digits.every(isDecimal)) {
    return Uint8Array.from(digits, Number);
  }
  if (labels[1] !== 'ip6' || digits.length !== 32) return undefined;
  if (!digits.every((d) => /^[0-9a-f]$/.test(d))) return undefined;
  const nibbles = digits.map((d) => Number.parseInt(d, 16));
  return Uint8Array.from({ length: 16 }, (_, i) => (nibbles[2 * i]! << 4) | nibbles[2 * i + 1]!);
}
