/**
 * JSON that keeps 64-bit integers: whole numbers beyond 2^53 parse as bigint and are written in
 * full [4 section 14]. Objects are written with sorted keys; `undefined` members are left out.
 */
export type JsonValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | JsonFloat
  | JsonValue[]
  | { [key: string]: JsonValue | undefined };
export type JsonRecord = { [key: string]: JsonValue | undefined };

/**
 * A number written with a fraction or an exponent. Only `parseJson(text, 'keep')` makes them, for
 * programs that print an answer again: 0.0 stays 0.0 [4 section 4.4].
 */
export class JsonFloat {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

export class JsonSyntaxError extends Error {
  readonly code = 'ERR_JSON_SYNTAX';
}

const U64 = 0xffff_ffff_ffff_ffffn;
const I64_MIN = -0x8000_0000_0000_0000n;

/** Ours: deeper texts are refused, since the parser recurses. */
const MAX_DEPTH = 128;

class Parser {
  readonly #s: string;
  readonly #keepFloats: boolean;
  #i = 0;

  constructor(text: string, keepFloats: boolean) {
    this.#s = text;
    this.#keepFloats = keepFloats;
  }

  parse(): JsonValue {
    // The mark that editors on Windows put before UTF-8.
    if (this.#s.startsWith('\ufeff')) this.#i = 1;
    const v = this.#value(0);
    this.#space();
    if (this.#i < this.#s.length) this.#fail('text after the value');
    return v;
  }

  #fail(what: string): never {
    throw new JsonSyntaxError(`${what} at column ${this.#i + 1}`);
  }

  #space(): void {
    while (' \t\n\r'.includes(this.#s[this.#i] ?? 'x')) this.#i++;
  }

  #value(depth: number): JsonValue {
    if (depth > MAX_DEPTH) this.#fail('nested too deeply');
    this.#space();
    const c = this.#s[this.#i];
    if (c === '{') return this.#object(depth);
    if (c === '[') return this.#array(depth);
    if (c === '"') return this.#string();
    const word = /^(?:true|false|null)/.exec(this.#s.slice(this.#i, this.#i + 5))?.[0];
    if (word !== undefined) {
      this.#i += word.length;
      return word === 'null' ? null : word === 'true';
    }
    return this.#number();
  }

  #number(): JsonValue {
    const m = /^-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/.exec(
      this.#s.slice(this.#i, this.#i + 400),
    );
    if (m === null)
      this.#fail(this.#i >= this.#s.length ? 'unexpected end' : 'unexpected character');
    const n = Number(m[0]);
    if (!Number.isFinite(n)) this.#fail('number out of range');
    this.#i += m[0].length;
    const isFloat = m[1] !== undefined || m[2] !== undefined;
    if (!isFloat && Number.isSafeInteger(n)) return n;
    const whole = isFloat ? undefined : BigInt(m[0]);
    if (!this.#keepFloats) return whole ?? n;
    // What fits no 64-bit integer is a float to the reference.
    return whole === undefined || whole > U64 || whole < I64_MIN ? new JsonFloat(n) : whole;
  }

  #string(): string {
    const start = this.#i++;
    for (;;) {
      const c = this.#s[this.#i];
      if (c === undefined) this.#fail('unterminated text');
      if (c === '"') break;
      this.#i += c === '\\' ? 2 : 1;
    }
    this.#i++;
    const text = this.#textOf(this.#s.slice(start, this.#i));
    if (text !== undefined) return text;
    this.#i = start;
    return this.#fail('malformed text');
  }

  /** Undefined also for half a surrogate pair: no UTF-8 file can hold it, and the reference refuses it. */
  #textOf(literal: string): string | undefined {
    try {
      const text = JSON.parse(literal) as string;
      return /\p{Surrogate}/u.test(text) ? undefined : text;
    } catch {
      return undefined;
    }
  }

  #array(depth: number): JsonValue[] {
    const out: JsonValue[] = [];
    this.#i++;
    this.#space();
    if (this.#s[this.#i] === ']') {
      this.#i++;
      return out;
    }
    for (;;) {
      out.push(this.#value(depth + 1));
      if (this.#closes(']')) return out;
    }
  }

  #object(depth: number): JsonRecord {
    const out: JsonRecord = Object.create(null) as JsonRecord;
    this.#i++;
    this.#space();
    if (this.#s[this.#i] === '}') {
      this.#i++;
      return out;
    }
    for (;;) {
      this.#space();
      if (this.#s[this.#i] !== '"') this.#fail('expected a key');
      const key = this.#string();
      this.#space();
      if (this.#s[this.#i++] !== ':') this.#fail('expected ":"');
      out[key] = this.#value(depth + 1);
      if (this.#closes('}')) return out;
    }
  }

  /** After an item: true at the closing bracket, false at a comma. */
  #closes(bracket: string): boolean {
    this.#space();
    const c = this.#s[this.#i++];
    if (c === bracket) return true;
    if (c !== ',') {
      this.#i--;
      this.#fail(`expected "," or "${bracket}"`);
    }
    return false;
  }
}

/**
 * @param floats 'keep' marks numbers written as floats (`JsonFloat`); by default they are numbers.
 * @throws JsonSyntaxError naming the column.
 */
export function parseJson(text: string, floats?: 'keep'): JsonValue {
  return new Parser(text, floats === 'keep').parse();
}

export function isRecord(v: JsonValue | undefined): v is JsonRecord {
  return typeof v === 'object' && v !== null && !Array.isArray(v) && !(v instanceof JsonFloat);
}

/** Order of the texts' UTF-8 bytes: surrogates come after the rest of the first plane. */
function byBytes(a: string, b: string): number {
  for (let i = 0; i < a.length && i < b.length; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (x !== y) return utf8Rank(x) - utf8Rank(y);
  }
  return a.length - b.length;
}

function utf8Rank(unit: number): number {
  return unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}

function members(v: JsonRecord): [string, JsonValue][] {
  return Object.keys(v)
    .filter((k) => v[k] !== undefined)
    .sort(byBytes)
    .map((k) => [k, v[k]!] as [string, JsonValue]);
}

function isScalar(v: JsonValue): v is null | boolean | number | bigint | string | JsonFloat {
  return v === null || typeof v !== 'object' || v instanceof JsonFloat;
}

function scalar(v: null | boolean | number | bigint | string | JsonFloat): string {
  if (v instanceof JsonFloat) return floatText(v.value);
  if (typeof v === 'bigint') return v.toString();
  return JSON.stringify(v);
}

/** Decimal exponents between which a float is written without one. */
const PLAIN_EXPONENTS = { from: -5, to: 14 };

/** The shortest text of a float, always recognisable as one: 1.0, 1e+15, 1.5e-07. */
function floatText(n: number): string {
  const sign = n < 0 || Object.is(n, -0) ? '-' : '';
  const [digits = '', exponent = ''] = Math.abs(n).toExponential().split('e');
  const e = Number(exponent);
  if (e > PLAIN_EXPONENTS.from && e <= PLAIN_EXPONENTS.to) {
    const plain = String(Math.abs(n));
    return `${sign}${plain}${plain.includes('.') ? '' : '.0'}`;
  }
  return `${sign}${digits}e${e < 0 ? '-' : '+'}${String(Math.abs(e)).padStart(2, '0')}`;
}

/** Compact, keys sorted. */
export function emitJson(v: JsonValue): string {
  if (isScalar(v)) return scalar(v);
  if (Array.isArray(v)) return `[${v.map(emitJson).join(',')}]`;
  return `{${members(v)
    .map(([k, x]) => `${JSON.stringify(k)}:${emitJson(x)}`)
    .join(',')}}`;
}

/** Indented, keys sorted, `[]` and `{}` for empty ones. */
export function emitJsonPretty(v: JsonValue, indent: string, depth = 0): string {
  if (isScalar(v)) return scalar(v);
  const pad = `\n${indent.repeat(depth + 1)}`;
  const end = `\n${indent.repeat(depth)}`;
  if (Array.isArray(v)) {
    if (v.length === 0) return '[]';
    return `[${v.map((x) => pad + emitJsonPretty(x, indent, depth + 1)).join(',')}${end}]`;
  }
  const list = members(v);
  if (list.length === 0) return '{}';
  const lines = list.map(
    ([k, x]) => `${pad}${JSON.stringify(k)}: ${emitJsonPretty(x, indent, depth + 1)}`,
  );
  return `{${lines.join(',')}${end}}`;
}

/** Deep equality, ignoring the order of keys. */
export function equalJson(a: JsonValue | undefined, b: JsonValue | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return emitJson(a) === emitJson(b);
}

// ---- the reference's lenient readings [4 section 0] ----

function asU64(n: number | bigint): bigint {
  return BigInt.asUintN(64, typeof n === 'bigint' ? n : BigInt(Math.trunc(n)));
}

/** A bigint as number when it is exact. */
export function shrink(v: bigint): number | bigint {
  return v <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(v) : v;
}

/** The number under a `JsonFloat`. */
function unwrap(v: JsonValue | undefined): JsonValue | undefined {
  return v instanceof JsonFloat ? v.value : v;
}

/** A number of either kind as a double, 0 for anything else. */
export function jsonFloat(v: JsonValue | undefined): number {
  const n = unwrap(v);
  return typeof n === 'number' || typeof n === 'bigint' ? Number(n) : 0;
}

/** INT: unsigned 64 bits. */
export function jsonInt(json: JsonValue | undefined, fallback: bigint): bigint {
  const v = unwrap(json);
  if (typeof v === 'number' || typeof v === 'bigint') return asU64(v);
  if (typeof v === 'boolean') return v ? 1n : 0n;
  if (typeof v !== 'string') return fallback;
  const [, sign, digits] = /^\s*([+-]?)([0-9]+)/.exec(v) ?? [];
  return u64OfText(sign, BigInt(digits ?? '0'));
}

/** Text is read as by C's strtoull: beyond 64 bits the greatest, negative numbers from the top down. */
function u64OfText(sign: string | undefined, n: bigint): bigint {
  if (n > U64) return U64;
  return sign === '-' ? BigInt.asUintN(64, -n) : n;
}

/** HEX: as INT, but text is hexadecimal. */
export function jsonHex(v: JsonValue | undefined, fallback: bigint): bigint {
  if (typeof v !== 'string') return jsonInt(v, fallback);
  const [, sign, digits] = /^\s*([+-]?)(?:0[xX])?([0-9a-fA-F]+)/.exec(v) ?? [];
  return u64OfText(sign, BigInt(`0x${digits ?? '0'}`));
}

export function jsonBool(json: JsonValue | undefined, fallback: boolean): boolean {
  const v = unwrap(json);
  if (typeof v === 'number' || typeof v === 'bigint') return asU64(v) > 0n;
  if (typeof v === 'string') return /^[tT1]/.test(v);
  return typeof v === 'boolean' ? v : fallback;
}

export function jsonText(json: JsonValue | undefined, fallback: string): string {
  const v = unwrap(json);
  if (typeof v === 'number' || typeof v === 'bigint') return asU64(v).toString();
  if (typeof v === 'boolean') return v ? '1' : '0';
  return typeof v === 'string' ? v : fallback;
}
