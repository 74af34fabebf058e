/**
 * One HTTP request per connection, written byte for byte like the reference's client [4 section
 * 4.3]: HTTP/1.1, no Host header, headers in a fixed order. Over node:net, since node:http adds
 * headers of its own and costs more to load than the whole command takes.
 */
import { connect, type Socket } from 'node:net';
import type { ServiceAddress } from './find.js';

const TIMEOUT_MS = 60_000;
const MAX_ANSWER_LEN = 16 * 1024 * 1024;

/** `status` 0 = no answer; `body` then holds the reason. */
export interface Answer {
  readonly status: number;
  readonly body: string;
}

export type Method = 'GET' | 'POST' | 'DELETE';

/** The request's bytes. */
export function requestText(method: Method, path: string, token: string, body: string): string {
  const length =
    method === 'POST'
      ? `Content-Length: ${Buffer.byteLength(body)}\r\nContent-Type: application/json\r\n`
      : '';
  return `${method} ${path} HTTP/1.1\r\n${length}X-ZT1-Auth: ${token}\r\n\r\n${method === 'POST' ? body : ''}`;
}

/** An answer that is whole. */
interface Whole {
  readonly status: number;
  readonly body: Buffer;
}

type Parsed = Whole | 'more' | 'bad';

/**
 * Reads an answer from what has arrived; interim answers (1xx) are passed over.
 * @param ended no more bytes will come: only then is a body without a length whole.
 */
export function parseAnswer(bytes: Buffer, ended: boolean): Parsed {
  const headEnd = bytes.indexOf('\r\n\r\n');
  if (headEnd < 0) return ended || !mayBegin(bytes) ? 'bad' : 'more';
  const lines = bytes.subarray(0, headEnd).toString('latin1').split('\r\n');
  const status = Number(/^HTTP\/1\.[01] ([0-9]{3})(?: |$)/.exec(lines[0]!)?.[1] ?? 0);
  if (status === 0) return 'bad';
  const rest = bytes.subarray(headEnd + 4);
  if (status < 200) return parseAnswer(rest, ended);
  if (status === 204 || status === 304) return { status, body: rest.subarray(0, 0) };
  const headers = new Map(
    lines.slice(1).map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  if (headers.get('transfer-encoding')?.toLowerCase().endsWith('chunked') === true) {
    const body = parseChunks(rest);
    return typeof body === 'string' ? (ended ? 'bad' : body) : { status, body };
  }
  const length = headers.get('content-length');
  if (length === undefined) return ended ? { status, body: rest } : 'more';
  if (!/^[0-9]+$/.test(length)) return 'bad';
  if (rest.length >= Number(length)) return { status, body: rest.subarray(0, Number(length)) };
  return ended ? 'bad' : 'more';
}

/** Whether an answer may begin like this. */
function mayBegin(bytes: Buffer): boolean {
  const start = 'HTTP/1.';
  return start.startsWith(bytes.subarray(0, start.length).toString('latin1'));
}

function parseChunks(bytes: Buffer): Buffer | 'more' | 'bad' {
  const parts: Buffer[] = [];
  for (let at = 0; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd < 0) return 'more';
    const size = /^([0-9a-fA-F]{1,8})[ \t]*(?:;.*)?$/.exec(
      bytes.subarray(at, lineEnd).toString('latin1'),
    )?.[1];
    if (size === undefined) return 'bad';
    const len = Number.parseInt(size, 16);
    if (len === 0) return Buffer.concat(parts);
    const end = lineEnd + 2 + len;
    if (bytes.length < end + 2) return 'more';
    if (bytes[end] !== 0x0d || bytes[end + 1] !== 0x0a) return 'bad';
    parts.push(bytes.subarray(lineEnd + 2, end));
    at = end + 2;
  }
}

/** Asks the service; never rejects. */
export function ask(
  service: ServiceAddress,
  method: Method,
  path: string,
  body = '',
): Promise<Answer> {
  if (service.host === undefined) return Promise.resolve(failed('connection failed (2)'));
  return converse(
    connect({ host: service.host, port: service.port }),
    requestText(method, path, service.token, body),
  );
}

const failed = (reason: string): Answer => ({ status: 0, body: reason });

function converse(socket: Socket, request: string): Promise<Answer> {
  return new Promise((resolve) => {
    let bytes: Buffer = Buffer.alloc(0);
    let isOpen = false;
    const finish = (answer: Answer): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const look = (ended: boolean): void => {
      const p = parseAnswer(bytes, ended);
      if (p === 'bad') finish(failed(''));
      else if (p !== 'more') finish({ status: p.status, body: p.body.toString('utf8') });
    };
    const timer = setTimeout(() => finish(failed('timed out')), TIMEOUT_MS);
    socket.on('connect', () => {
      isOpen = true;
      socket.write(request);
    });
    socket.on('data', (chunk: Buffer) => {
      bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
      if (bytes.length > MAX_ANSWER_LEN) finish(failed('answer too long'));
      else look(false);
    });
    socket.on('end', () => look(true));
    socket.on('error', () => {
      if (isOpen) look(true);
      else finish(failed('connection failed'));
    });
  });
}
