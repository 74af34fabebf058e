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
  | JsonValue[]
  | { [key: string]: JsonValue | undefined };
export type JsonRecord = { [key: string]: JsonValue | undefined };

export class JsonSyntaxError extends Error {
  readonly code = 'ERR_JSON_SYNTAX';
}

/** Ours: deeper texts are refused, since the parser recurses. */
const MAX_DEPTH = 128;

class Parser {
  readonly #s: string;
  #i = 0;

  constructor(text: string) {
    this.#s = text;
  }

  parse(): JsonValue {
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

  #number(): number | bigint {
    const m = /^-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/.exec(
      this.#s.slice(this.#i, this.#i + 400),
    );
    if (m === null)
      this.#fail(this.#i >= this.#s.length ? 'unexpected end' : 'unexpected character');
    this.#i += m[0].length;
    const n = Number(m[0]);
    return m[1] === undefined && m[2] === undefined && !Number.isSafeInteger(n) ? BigInt(m[0]) : n;
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
    try {
      return JSON.parse(this.#s.slice(start, this.#i)) as string;
    } catch {
      this.#i = start;
      return this.#fail('malformed text');
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

/** @throws JsonSyntaxError naming the column. */
export function parseJson(text: string): JsonValue {
  return new Parser(text).parse();
}

export function isRecord(v: JsonValue | undefined): v is JsonRecord {
  return typeof v === 'object' && v !== null && !Array.isArray(v);
}

function byBytes(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function members(v: JsonRecord): [string, JsonValue][] {
  return Object.keys(v)
    .filter((k) => v[k] !== undefined)
    .sort(byBytes)
    .map((k) => [k, v[k]!] as [string, JsonValue]);
}

/** Numbers as other JSON writers print them; `.0` after a float that happens to be whole is lost. */
function scalar(v: null | boolean | number | bigint | string): string {
  if (typeof v === 'bigint') return v.toString();
  return JSON.stringify(v);
}

/** Compact, keys sorted. */
export function emitJson(v: JsonValue): string {
  if (v === null || typeof v !== 'object') return scalar(v);
  if (Array.isArray(v)) return `[${v.map(emitJson).join(',')}]`;
  return `{${members(v)
    .map(([k, x]) => `${JSON.stringify(k)}:${emitJson(x)}`)
    .join(',')}}`;
}

/** Indented, keys sorted, `[]` and `{}` for empty ones. */
export function emitJsonPretty(v: JsonValue, indent: string, depth = 0): string {
  if (v === null || typeof v !== 'object') return scalar(v);
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

const U64 = 0xffff_ffff_ffff_ffffn;

function asU64(n: number | bigint): bigint {
  return BigInt.asUintN(64, typeof n === 'bigint' ? n : BigInt(Math.trunc(n)));
}

/** A bigint as number when it is exact. */
export function shrink(v: bigint): number | bigint {
  return v <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(v) : v;
}

/** INT: unsigned 64 bits. */
export function jsonInt(v: JsonValue | undefined, fallback: bigint): bigint {
  if (typeof v === 'number' || typeof v === 'bigint') return asU64(v);
  if (typeof v === 'boolean') return v ? 1n : 0n;
  if (typeof v !== 'string') return fallback;
  const digits = BigInt(/^\s*\+?([0-9]+)/.exec(v)?.[1] ?? '0');
  return digits > U64 ? U64 : digits;
}

/** HEX: as INT, but text is hexadecimal. */
export function jsonHex(v: JsonValue | undefined, fallback: bigint): bigint {
  if (typeof v !== 'string') return jsonInt(v, fallback);
  const digits = /^\s*(?:0[xX])?([0-9a-fA-F]+)/.exec(v)?.[1] ?? '0';
  const n = BigInt(`0x${digits}`);
  return n > U64 ? U64 : n;
}

export function jsonBool(v: JsonValue | undefined, fallback: boolean): boolean {
  if (typeof v === 'number' || typeof v === 'bigint') return asU64(v) > 0n;
  if (typeof v === 'string') return /^[tT1]/.test(v);
  return typeof v === 'boolean' ? v : fallback;
}

export function jsonText(v: JsonValue | undefined, fallback: string): string {
  if (typeof v === 'number' || typeof v === 'bigint') return asU64(v).toString();
  if (typeof v === 'boolean') return v ? '1' : '0';
  return typeof v === 'string' ? v : fallback;
}
