/**
 * HTTP as the reference speaks it [4 section 6], on node:http: access rules, header set, keep-alive
 * policy, limits, JSONP and ranges. Routes are functions from `ApiRequest` to `ApiResponse`.
 */

import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { emitJson, type JsonValue } from '../lib/json.js';
import { type InetAddress, ipInPrefix, parseInetAddress, parseIp } from '../wire/inetaddress.js';

const REQUESTS_PER_CONNECTION = 5;
const IDLE_MS = 5_000;
const MAX_LINE_LEN = 8_192;
/** Ours: the reference takes bodies of any length. */
const MAX_BODY_LEN = 16 * 1024 * 1024;
const KEEP_ALIVE = `timeout=${IDLE_MS / 1000}, max=${REQUESTS_PER_CONNECTION}`;
const ROUTED = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']);

export interface ApiRequest {
  /** GET, POST (also for PUT), DELETE, OPTIONS or PATCH. */
  readonly method: string;
  /** Percent-decoded. */
  readonly path: string;
  readonly body: string;
}

/** Undefined body = empty answer without a content type. */
export interface ApiResponse {
  readonly status: number;
  readonly body?: string;
  readonly type?: string;
}

export function json(value: JsonValue, status = 200): ApiResponse {
  return { status, body: emitJson(value), type: 'application/json' };
}

export const NOT_FOUND: ApiResponse = { status: 404 };

export function failure(e: unknown): ApiResponse {
  const text = e instanceof Error ? e.message : String(e);
  return {
    status: 500,
    body: `{"error": 500, "description": ${JSON.stringify(text)}}`,
    type: 'application/json',
  };
}

export interface Access {
  readonly authToken: string;
  readonly metricsToken: string;
  /** Source networks besides loopback that may manage the node. */
  allowed(): readonly InetAddress[];
}

export type Handler = (request: ApiRequest) => ApiResponse | Promise<ApiResponse>;

/** Compares secrets of any length without telling how much of them agrees. */
function equalSecret(a: string, b: string): boolean {
  const digest = (s: string): Buffer => createHash('sha256').update(s).digest();
  return timingSafeEqual(digest(a), digest(b));
}

function decode(text: string, plusIsSpace: boolean): string {
  const bytes: number[] = [];
  const raw = Buffer.from(plusIsSpace ? text.replaceAll('+', ' ') : text, 'latin1').toString(
    'latin1',
  );
  for (let i = 0; i < raw.length; i++) {
    const hex = raw[i] === '%' ? raw.slice(i + 1, i + 3) : '';
    if (/^[0-9a-fA-F]{2}$/.test(hex)) {
      bytes.push(Number.parseInt(hex, 16));
      i += 2;
    } else bytes.push(raw.charCodeAt(i));
  }
  return Buffer.from(bytes).toString('utf8');
}

/** The target's path and query; the fragment is cut off. */
function splitTarget(target: string): { path: string; query: Map<string, string> } {
  const [withQuery = ''] = target.split('#', 1);
  const at = withQuery.indexOf('?');
  const query = new Map<string, string>();
  for (const pair of at < 0 ? [] : withQuery.slice(at + 1).split('&')) {
    const eq = pair.indexOf('=');
    const key = decode(eq < 0 ? pair : pair.slice(0, eq), true);
    if (!query.has(key)) query.set(key, decode(eq < 0 ? '' : pair.slice(eq + 1), true));
  }
  return { path: decode(at < 0 ? withQuery : withQuery.slice(0, at), false), query };
}

/** The token offered: the first of header, query and bearer that is present [4 section 6]. */
function offeredToken(req: IncomingMessage, query: Map<string, string>): string | undefined {
  const header = req.headers['x-zt1-auth'];
  const own = typeof header === 'string' ? decode(header.trim(), false) : '';
  if (own !== '') return own;
  const inQuery = query.get('auth');
  if (inQuery !== undefined) return inQuery;
  const words = (req.headers.authorization ?? '').split(/ +/);
  return words.length === 2 && words[0]!.toLowerCase() === 'bearer'
    ? decode(words[1]!, false)
    : undefined;
}

function sourceIp(req: IncomingMessage): Uint8Array | undefined {
  const ip = parseIp((req.socket.remoteAddress ?? '').split('%')[0]!);
  const isMapped =
    ip?.length === 16 &&
    ip.subarray(0, 10).every((b) => b === 0) &&
    ip[10] === 255 &&
    ip[11] === 255;
  return isMapped ? ip.subarray(12) : ip;
}

function isLoopback(ip: Uint8Array): boolean {
  if (ip.length === 4) return ip[0] === 127;
  const head = ip[0] === 0xfe && ip[1] === 0x80 ? 2 : 0;
  return ip.subarray(head, 15).every((b) => b === 0) && ip[15] === 1;
}

function mayEnter(
  access: Access,
  req: IncomingMessage,
  path: string,
  query: Map<string, string>,
): boolean {
  const token = offeredToken(req, query);
  const isToken = (t: string): boolean =>
    token !== undefined && token !== '' && equalSecret(token, t);
  if (path === '/metrics') return isToken(access.metricsToken) || isToken(access.authToken);
  const ip = sourceIp(req);
  if (ip === undefined) return false;
  if (!isLoopback(ip) && !access.allowed().some((n) => ipInPrefix(ip, n.ip, n.port))) return false;
  if (path === '/health' || path === '/sso' || path.startsWith('/app')) return true;
  return isToken(access.authToken);
}

/** `net/bits` texts; a missing prefix length means one address [4 section 13, 2]. */
export function parseSourceNetworks(list: readonly string[]): InetAddress[] {
  const out: InetAddress[] = [];
  for (const text of list) {
    const a = parseInetAddress(text);
    if (a === undefined || a.family === 0) continue;
    const width = a.ip.length * 8;
    out.push({ ...a, port: text.includes('/') ? Math.min(a.port, width) : width });
  }
  return out;
}

function readBody(req: IncomingMessage): Promise<string | undefined> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let len = 0;
    req.on('data', (chunk: Buffer) => {
      len += chunk.length;
      if (len <= MAX_BODY_LEN) chunks.push(chunk);
    });
    req.on('end', () =>
      resolve(len <= MAX_BODY_LEN ? Buffer.concat(chunks).toString('utf8') : undefined),
    );
    req.on('error', () => resolve(undefined));
    req.on('aborted', () => resolve(undefined));
  });
}

/** Bytes `from..to` of a `Range: bytes=` header; undefined without one, null when unsatisfiable. */
function byteRange(
  header: string | undefined,
  len: number,
): { from: number; to: number } | null | undefined {
  const m = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (m === null || (m[1] === '' && m[2] === '')) return undefined;
  const from = m[1] === '' ? Math.max(0, len - Number(m[2])) : Number(m[1]);
  const to = m[1] === '' || m[2] === '' ? len - 1 : Math.min(Number(m[2]), len - 1);
  return from > to || from >= len ? null : { from, to };
}

export class HttpApi {
  readonly #access: Access;
  readonly #handler: Handler;
  readonly #counts = new WeakMap<Socket, number>();
  readonly #servers: Server[] = [];

  constructor(access: Access, handler: Handler) {
    this.#access = access;
    this.#handler = handler;
  }

  /** Listens on every host that can be bound. @throws when none can. */
  async listen(hosts: readonly string[], port: number): Promise<void> {
    const errors: unknown[] = [];
    for (const host of hosts) {
      try {
        this.#servers.push(await this.#listenOn(host, port));
      } catch (e) {
        errors.push(e);
      }
    }
    if (this.#servers.length === 0) throw errors[0];
  }

  #listenOn(host: string, port: number): Promise<Server> {
    const server = createServer({
      requireHostHeader: false,
      keepAliveTimeout: IDLE_MS,
      maxHeaderSize: 65_536,
    });
    server.on('request', (req, res) => void this.#serve(req, res));
    server.on('checkContinue', (req: IncomingMessage, res: ServerResponse) => {
      res.writeContinue();
      void this.#serve(req, res);
    });
    server.on('clientError', (_e, socket: Socket) => {
      if (socket.writable)
        socket.end(
          `HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nKeep-Alive: ${KEEP_ALIVE}\r\n\r\n`,
        );
      else socket.destroy();
    });
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port, exclusive: true, ipv6Only: host.includes(':') }, () => {
        server.off('error', reject);
        resolve(server);
      });
    });
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { path, query } = splitTarget(req.url ?? '/');
    const jsonp = query.get('jsonp');
    // A body must have been read before the connection can serve the next request.
    const body = await readBody(req);
    const status = malformed(req);
    if (status !== undefined || body === undefined)
      return this.#send(req, res, { status: status ?? 400 }, undefined);
    if (!mayEnter(this.#access, req, path, query)) {
      return this.#send(req, res, json({}, 401), jsonp);
    }
    let answer: ApiResponse;
    try {
      const method = req.method === 'HEAD' ? 'GET' : req.method === 'PUT' ? 'POST' : req.method!;
      answer = await this.#handler({ method, path, body });
    } catch (e) {
      answer = failure(e);
    }
    this.#send(req, res, answer, jsonp);
  }

  #send(
    req: IncomingMessage,
    res: ServerResponse,
    answer: ApiResponse,
    jsonp: string | undefined,
  ): void {
    const wrapped = wrap(answer, jsonp, req.url ?? '');
    let bytes = Buffer.from(wrapped.body ?? '', 'utf8');
    let status = wrapped.status;
    res.sendDate = false;
    const range =
      req.method === 'GET' && status === 200
        ? byteRange(req.headers.range, bytes.length)
        : undefined;
    if (range === null) {
      status = 416;
      bytes = Buffer.alloc(0);
    } else if (range !== undefined) {
      status = 206;
      res.setHeader('Content-Range', `bytes ${range.from}-${range.to}/${bytes.length}`);
      bytes = bytes.subarray(range.from, range.to + 1);
    }
    if (req.method === 'HEAD' && status !== 404) res.setHeader('Accept-Ranges', 'bytes');
    res.setHeader('Content-Length', bytes.length);
    if (bytes.length > 0 && wrapped.type !== undefined) res.setHeader('Content-Type', wrapped.type);
    this.#connectionHeaders(req, res);
    res.writeHead(status);
    res.end(req.method === 'HEAD' ? undefined : bytes);
  }

  #connectionHeaders(req: IncomingMessage, res: ServerResponse): void {
    const count = (this.#counts.get(req.socket) ?? 0) + 1;
    this.#counts.set(req.socket, count);
    const wants = (req.headers.connection ?? '').toLowerCase();
    if (wants === 'close' || count >= REQUESTS_PER_CONNECTION) {
      res.setHeader('Connection', 'close');
      return;
    }
    res.removeHeader('Connection');
    res.setHeader('Keep-Alive', KEEP_ALIVE);
  }

  async close(): Promise<void> {
    await Promise.all(
      this.#servers.splice(0).map(
        (s) =>
          new Promise<void>((resolve) => {
            s.close(() => resolve());
            s.closeAllConnections();
          }),
      ),
    );
  }
}

/** The status for a request that is refused before access is looked at. */
function malformed(req: IncomingMessage): number | undefined {
  if (!ROUTED.has(req.method ?? '')) return 400;
  if ((req.url ?? '').length + (req.method ?? '').length + 11 > MAX_LINE_LEN) return 414;
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    if (req.rawHeaders[i]!.length + req.rawHeaders[i + 1]!.length + 2 > MAX_LINE_LEN) return 400;
  }
  return undefined;
}

/** JSONP [4 section 6]: answers of handlers are wrapped, answers without a handler stay empty. */
function wrap(answer: ApiResponse, jsonp: string | undefined, target: string): ApiResponse {
  if (jsonp === undefined) return answer;
  const isHandled = answer.type === 'application/json' || /^\/(?:network|peer|moon)\//.test(target);
  if (!isHandled) return answer;
  const isMissing = answer.status === 404 || answer.body === undefined || answer.body === '';
  const body = isMissing ? 'null' : answer.body;
  return { status: answer.status, body: `${jsonp}(${body});`, type: 'application/javascript' };
}
