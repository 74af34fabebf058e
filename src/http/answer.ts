/** What handlers return, and what becomes of it on the wire: JSONP and ranges [4 section 6]. */
import { emitJson, type JsonValue } from '../lib/json.js';

export interface ApiRequest {
  /** GET (also for HEAD), POST (also for PUT), DELETE, OPTIONS or PATCH. */
  readonly method: string;
  /** Percent-decoded. */
  readonly path: string;
  readonly body: string;
}

/** Undefined body = empty answer without a content type. */
export interface ApiResponse {
  readonly status: number;
  readonly body?: string | Uint8Array;
  readonly type?: string;
  /** The body is somebody's file: never wrapped. */
  readonly isFile?: boolean;
  /** For redirections. */
  readonly location?: string;
}

export type Handler = (request: ApiRequest) => ApiResponse | Promise<ApiResponse>;

const JSON_TYPE = 'application/json';

export function json(value: JsonValue, status = 200): ApiResponse {
  return { status, body: emitJson(value), type: JSON_TYPE };
}

export const NOT_FOUND: ApiResponse = { status: 404 };

/** The answer for an exception in a handler. */
export function failure(e: unknown): ApiResponse {
  const text = e instanceof Error ? e.message : String(e);
  return {
    status: 500,
    body: `{"error": 500, "description": ${JSON.stringify(text)}}`,
    type: JSON_TYPE,
  };
}

/**
 * Wraps an answer for `?jsonp=name`: handlers' JSON only; refusals of a handler (400, 404) read as
 * null, and answers without a body stay empty, as the reference's do.
 */
export function wrapJsonp(answer: ApiResponse, name: string): ApiResponse {
  if (answer.type !== JSON_TYPE || answer.isFile === true) return answer;
  const isRefusal = answer.status === 400 || answer.status === 404;
  return {
    status: answer.status,
    body: `${name}(${isRefusal ? 'null' : String(answer.body)});`,
    type: 'application/javascript',
  };
}

/** Part of a body: first and last byte. */
export interface ByteRange {
  readonly from: number;
  readonly to: number;
}

/**
 * The part that a `Range` header asks of `len` bytes. Several parts at once are answered with the
 * whole, which RFC 9110 allows.
 * @returns 'whole', or 'unsatisfiable' also for a malformed header.
 */
export function byteRange(
  header: string | undefined,
  len: number,
): ByteRange | 'whole' | 'unsatisfiable' {
  if (header === undefined || header.includes(',')) return 'whole';
  const m = /^bytes=(\d*)-(\d*)$/.exec(header.trim());
  if (m === null || (m[1] === '' && m[2] === '')) return 'unsatisfiable';
  const from = m[1] === '' ? Math.max(0, len - Number(m[2])) : Number(m[1]);
  const to = m[1] === '' || m[2] === '' ? len - 1 : Math.min(Number(m[2]), len - 1);
  return from > to || from >= len ? 'unsatisfiable' : { from, to };
}
