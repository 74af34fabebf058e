/**
 * HTTP as the reference speaks it [4 section 6], on node:http: header set, keep-alive policy, limits
 * and time limits. Routes are functions from `ApiRequest` to `ApiResponse`. The reference's defects
 * are not copied: pipelined requests are answered, idle connections block nobody, a POST without a
 * length is answered at once. Where a request can not be parsed the connection ends with the answer,
 * since nobody knows where the next one would begin.
 */
import { isUtf8 } from 'node:buffer';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type Access, firstHeader, mayEnter } from './access.js';
import { type ApiResponse, byteRange, failure, type Handler, json, wrapJsonp } from './answer.js';
import { parseTarget } from './target.js';

const REQUESTS_PER_CONNECTION = 5;
/** Idle time between requests, time for a request's head, and for the next piece of a body, in ms. */
const IDLE_MS = 5_000;
/** How often Node looks for heads that take too long, in ms. */
const CHECK_MS = 1_000;
const MAX_LINE_LEN = 8_192;
/** All headers together; the limits per line are ours to check. */
const MAX_HEAD_LEN = 256 * 1024;
/** At once and per listening address; each costs a descriptor. */
const MAX_CONNECTIONS = 256;
/** Ours: the reference takes bodies of any length. */
const MAX_BODY_LEN = 16 * 1024 * 1024;
const KEEP_ALIVE = `timeout=${IDLE_MS / 1000}, max=${REQUESTS_PER_CONNECTION}`;
const ROUTED = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']);

/** What binding to an address of a family that this machine does not have fails with. */
const MISSING_FAMILY = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL']);

const BAD_REQUEST = `HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nKeep-Alive: ${KEEP_ALIVE}\r\n\r\n`;

/** Ends a connection whose request makes no sense. */
function refuse(socket: Duplex): void {
  if (socket.writable) socket.end(BAD_REQUEST);
  else socket.destroy();
}

/** A body as text; one that is not UTF-8 holds half surrogate pairs then, and so is no JSON. */
function bodyText(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  return isUtf8(bytes) ? text : text.replaceAll('\ufffd', '\udfff');
}

/** A body, or the status for a request whose body never came whole (400) or is too long (413). */
function readBody(req: IncomingMessage): Promise<string | number> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let len = 0;
    const finish = (result: string | number): void => {
      clearTimeout(timer);
      resolve(result);
    };
    const timer = setTimeout(() => finish(400), IDLE_MS);
    req.on('data', (chunk: Buffer) => {
      timer.refresh();
      len += chunk.length;
      if (len > MAX_BODY_LEN) finish(413);
      else chunks.push(chunk);
    });
    req.on('end', () => finish(bodyText(Buffer.concat(chunks))));
    req.on('error', () => finish(400));
    req.on('close', () => finish(400));
  });
}

/** The status for a request that is refused before access is looked at. */
function malformed(req: IncomingMessage): number | undefined {
  if (!ROUTED.has(req.method ?? '')) return 400;
  const requestLine = `${req.method} ${req.url} HTTP/1.1\r\n`;
  if (requestLine.length > MAX_LINE_LEN) return 414;
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    const line = req.rawHeaders[i]!.length + req.rawHeaders[i + 1]!.length + ': \r\n'.length;
    if (line > MAX_LINE_LEN) return 400;
  }
  return undefined;
}

export class HttpApi {
  readonly #access: Access;
  readonly #handler: Handler;
  readonly #counts = new WeakMap<Socket, number>();
  readonly #servers: Server[] = [];
  /** No longer listening, with connections still open. */
  readonly #closing = new Set<Server>();

  constructor(access: Access, handler: Handler) {
    this.#access = access;
    this.#handler = handler;
  }

  /**
   * Listens on every host whose address family this machine has.
   * @throws when an address is taken, for whoever holds it would be given our tokens, and when no
   * host could be bound; nothing is left listening then.
   */
  async listen(hosts: readonly string[], port: number): Promise<void> {
    let missing: unknown;
    try {
      for (const host of hosts) {
        try {
          this.#servers.push(await this.#listenOn(host, port));
        } catch (e) {
          if (!MISSING_FAMILY.has((e as NodeJS.ErrnoException).code ?? '')) throw e;
          missing = e;
        }
      }
      if (this.#servers.length === 0) throw missing ?? new Error('no address to listen on');
    } catch (e) {
      await this.#stopListening();
      throw e;
    }
  }

  /** Listens elsewhere; connections that are open go on. @throws as `listen`. */
  async move(hosts: readonly string[], port: number): Promise<void> {
    await this.#stopListening();
    await this.listen(hosts, port);
  }

  /** Frees the addresses at once; connections end by themselves or in `close`. */
  async #stopListening(): Promise<void> {
    for (const s of this.#servers.splice(0)) {
      this.#closing.add(s);
      s.close(() => this.#closing.delete(s));
    }
    // The listening sockets are gone when the event loop has come round.
    await new Promise((r) => setImmediate(r));
  }

  #listenOn(host: string, port: number): Promise<Server> {
    const server = createServer({
      // The reference's own client sends no Host header [4 section 4.3].
      requireHostHeader: false,
      keepAliveTimeout: IDLE_MS,
      headersTimeout: IDLE_MS,
      requestTimeout: 0,
      connectionsCheckingInterval: CHECK_MS,
      maxHeaderSize: MAX_HEAD_LEN,
    });
    server.maxConnections = MAX_CONNECTIONS;
    server.on('request', (req, res) => void this.#serve(req, res));
    server.on('checkContinue', (req: IncomingMessage, res: ServerResponse) => {
      res.writeContinue();
      void this.#serve(req, res);
    });
    server.on('connect', (_req, socket) => refuse(socket));
    server.on('clientError', (e: NodeJS.ErrnoException, socket) => {
      if (e.code === 'ERR_HTTP_REQUEST_TIMEOUT') socket.destroy();
      else refuse(socket);
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
    const status = malformed(req);
    if (status !== undefined) return this.#send(req, res, { status });
    const target = parseTarget(req.url ?? '/');
    const jsonp = target.query.get('jsonp');
    const answer = await this.#answer(req, res, target);
    this.#send(req, res, jsonp === undefined ? answer : wrapJsonp(answer, jsonp));
  }

  async #answer(
    req: IncomingMessage,
    res: ServerResponse,
    target: ReturnType<typeof parseTarget>,
  ): Promise<ApiResponse> {
    const remoteAddress = req.socket.remoteAddress ?? '';
    if (!mayEnter(this.#access, { remoteAddress, target, rawHeaders: req.rawHeaders }))
      return json({}, 401);
    const body = await readBody(req);
    if (typeof body === 'number') {
      // What still comes of the body must not be read as the next request.
      res.setHeader('Connection', 'close');
      return { status: body };
    }
    const method = req.method === 'HEAD' ? 'GET' : req.method === 'PUT' ? 'POST' : req.method!;
    try {
      return await this.#handler({ method, path: target.path, body });
    } catch (e) {
      return failure(e);
    }
  }

  #send(req: IncomingMessage, res: ServerResponse, answer: ApiResponse): void {
    let bytes = Buffer.from(answer.body ?? '');
    let { status } = answer;
    const isRead = req.method === 'GET' || req.method === 'HEAD';
    const range = byteRange(isRead && status === 200 ? req.headers.range : undefined, bytes.length);
    if (range === 'unsatisfiable') {
      status = 416;
      bytes = Buffer.alloc(0);
    } else if (range !== 'whole') {
      status = 206;
      res.setHeader('Content-Range', `bytes ${range.from}-${range.to}/${bytes.length}`);
      bytes = bytes.subarray(range.from, range.to + 1);
    }
    res.sendDate = false;
    if (req.method === 'HEAD') res.setHeader('Accept-Ranges', 'bytes');
    res.setHeader('Content-Length', bytes.length);
    if (answer.location !== undefined) res.setHeader('Location', answer.location);
    if (bytes.length > 0 && answer.type !== undefined) res.setHeader('Content-Type', answer.type);
    this.#connectionHeaders(req, res);
    res.writeHead(status);
    res.end(req.method === 'HEAD' ? undefined : bytes);
  }

  #connectionHeaders(req: IncomingMessage, res: ServerResponse): void {
    const count = (this.#counts.get(req.socket) ?? 0) + 1;
    this.#counts.set(req.socket, count);
    const wants = (firstHeader(req.rawHeaders, 'connection') ?? '').toLowerCase();
    if (res.hasHeader('Connection') || wants === 'close' || count >= REQUESTS_PER_CONNECTION) {
      res.setHeader('Connection', 'close');
      return;
    }
    // Node's own header is left out; it still closes what HTTP/1.0 does not ask to keep.
    res.removeHeader('Connection');
    res.setHeader('Keep-Alive', KEEP_ALIVE);
  }

  /** Ends everything, open connections too. */
  async close(): Promise<void> {
    const all = [...this.#servers.splice(0), ...this.#closing];
    await Promise.all(
      all.map(
        (s) =>
          new Promise<void>((resolve) => {
            s.close(() => resolve());
            s.closeAllConnections();
          }),
      ),
    );
  }
}
