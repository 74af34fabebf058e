/**
 * Requests of control connections: decoding of payloads, dispatch, replies [5 section 5.6].
 *
 * Each operation is one row of `SOCKET_OPS` (needs a registered token) or `VIEW_OPS`. A payload
 * that is too short is answered with -EINVAL; unknown operations with -EOPNOTSUPP.
 */
import { orderAddresses } from './address-order.js';
import type { PreloadConnection } from './client.js';
import { failed } from './errno.js';
import { emitInterfaces, emitName, emitResolution, type NameSources } from './names.js';
import { classifyDestination, isLoopback } from './policy.js';
import {
  emitReply,
  NamesFlag,
  Op,
  parseAddress,
  putAddress,
  putEndpoint,
  type RequestHeader,
  ResolveFlag,
  type Token,
  tokenAt,
  ZTADDR_LEN,
  type ZtAddress,
} from './protocol.js';
import { type Asker, NameError, type Resolver } from './resolver.js';
import type { SocketHost } from './socket-host.js';
import type { RequestTarget } from './target.js';

export interface Request {
  readonly header: RequestHeader;
  readonly payload: Uint8Array;
  readonly client: PreloadConnection;
}

/** What requests may ask of the view. */
export interface RequestHost extends SocketHost {
  readonly names: NameSources;
  readonly resolver: Resolver;
  find(token: Token): RequestTarget | undefined;
  /** A control connection waits for one connect already. */
  connectWaitRefused(): void;
}

interface Answer {
  readonly result: number;
  readonly payload?: Uint8Array;
}

const DONE: Answer = { result: 0 };
const INVALID: Answer = { result: failed('EINVAL') };

function u32(payload: Uint8Array, at: number): number | undefined {
  if (payload.length < at + 4) return undefined;
  return new DataView(payload.buffer, payload.byteOffset, payload.length).getUint32(at, true);
}

function i32(payload: Uint8Array, at: number): number | undefined {
  const v = u32(payload, at);
  return v === undefined ? undefined : v | 0;
}

function int32Payload(...values: number[]): Uint8Array {
  const out = new Uint8Array(values.length * 4);
  const v = new DataView(out.buffer);
  values.forEach((n, i) => {
    v.setInt32(i * 4, n, true);
  });
  return out;
}

function localPayload(socket: RequestTarget): Uint8Array {
  const out = new Uint8Array(ZTADDR_LEN);
  putEndpoint(socket.names.local, out, 0);
  return out;
}

type SocketOp = (
  socket: RequestTarget,
  payload: Uint8Array,
  host: RequestHost,
  client: PreloadConnection,
) => Answer;

function bind(socket: RequestTarget, payload: Uint8Array): Answer {
  const address = parseAddress(payload, 0);
  if (address === undefined || address.family === 0) return INVALID;
  const result = socket.bind(address, u32(payload, ZTADDR_LEN) ?? 0);
  return result === 0 ? { result, payload: localPayload(socket) } : { result };
}

function listen(socket: RequestTarget, payload: Uint8Array): Answer {
  const backlog = i32(payload, 0);
  if (backlog === undefined) return INVALID;
  const result = socket.listen(backlog);
  return result === 0 ? { result, payload: localPayload(socket) } : { result };
}

function connect(socket: RequestTarget, payload: Uint8Array): Answer {
  const address = parseAddress(payload, 0);
  return address === undefined ? INVALID : { result: socket.connect(address) };
}

function padded(socket: RequestTarget, payload: Uint8Array): Answer {
  const count = u32(payload, 0);
  if (count === undefined) return INVALID;
  socket.padded(count);
  return DONE;
}

function names(socket: RequestTarget): Answer {
  const { state, local, peer, isOnHost } = socket.names;
  const payload = new Uint8Array(8 + 2 * ZTADDR_LEN);
  const v = new DataView(payload.buffer);
  v.setUint32(0, state, true);
  const loopback = peer !== undefined && isLoopback(peer.ip) ? NamesFlag.loopback : 0;
  v.setUint32(4, loopback | (isOnHost === true ? NamesFlag.onHost : 0), true);
  putEndpoint(local, payload, 8);
  putEndpoint(peer, payload, 8 + ZTADDR_LEN);
  return { result: 0, payload };
}

function takeErr(socket: RequestTarget, payload: Uint8Array): Answer {
  const peek = ((u32(payload, 0) ?? 0) & 1) !== 0;
  const errno = socket.takePendingError(peek);
  return { result: 0, payload: int32Payload(errno, socket.names.state) };
}

function eofInfo(socket: RequestTarget): Answer {
  return { result: 0, payload: int32Payload(socket.takeReadError()) };
}

function setOpt(socket: RequestTarget, payload: Uint8Array): Answer {
  const level = i32(payload, 0);
  const name = i32(payload, 4);
  const len = u32(payload, 8);
  if (level === undefined || name === undefined || len === undefined) return INVALID;
  if (payload.length < 12 + len) return INVALID;
  return { result: socket.setOption(level, name, payload.subarray(12, 12 + len)) };
}

function getOpt(socket: RequestTarget, payload: Uint8Array): Answer {
  const level = i32(payload, 0);
  const name = i32(payload, 4);
  const max = u32(payload, 8);
  if (level === undefined || name === undefined || max === undefined) return INVALID;
  const value = socket.getOption(level, name);
  if (typeof value === 'string') return { result: failed(value) };
  const part = value.subarray(0, max);
  const out = new Uint8Array(4 + part.length);
  new DataView(out.buffer).setUint32(0, part.length, true);
  out.set(part, 4);
  return { result: 0, payload: out };
}

function shutdown(socket: RequestTarget, payload: Uint8Array): Answer {
  const how = i32(payload, 0);
  if (how === undefined || how < 0 || how > 2) return INVALID;
  return { result: socket.shutdown(how) };
}

/** INHERIT takes a binding away: the old socket must be the client's as well. */
function inherit(
  socket: RequestTarget,
  payload: Uint8Array,
  host: RequestHost,
  client: PreloadConnection,
): Answer {
  if (payload.length < 16) return INVALID;
  const old = host.find(tokenAt(payload, 0));
  if (old === undefined) return DONE;
  return { result: client.mayUse(old.owner) ? socket.inherit(old) : failed('EACCES') };
}

const SOCKET_OPS: ReadonlyMap<number, SocketOp> = new Map<number, SocketOp>([
  [Op.bind, bind],
  [Op.listen, listen],
  [Op.connect, connect],
  [Op.padded, padded],
  [Op.names, names],
  [Op.takeErr, takeErr],
  [Op.eofInfo, eofInfo],
  [Op.setOpt, setOpt],
  [Op.getOpt, getOpt],
  [Op.shutdown, shutdown],
  [Op.disconnect, (socket) => ({ result: socket.disconnect() })],
  [Op.inherit, inherit],
]);

type ViewOp = (payload: Uint8Array, host: RequestHost) => Answer;

function ifList(_payload: Uint8Array, host: RequestHost): Answer {
  const loopback6 = new Uint8Array(16);
  loopback6[15] = 1;
  const payload = emitInterfaces(host.networks(), host.stack.isLocal(loopback6));
  return { result: 0, payload };
}

function sourceFor(address: ZtAddress, host: RequestHost): Answer {
  const destination = classifyDestination(host.stack, address.ip);
  if (destination.kind !== 'virtual') return { result: failed('ENETUNREACH') };
  const payload = new Uint8Array(ZTADDR_LEN);
  putAddress(destination.source, 0, 0, payload, 0);
  return { result: 0, payload };
}

function srcAddr(payload: Uint8Array, host: RequestHost): Answer {
  const address = parseAddress(payload, 0);
  return address === undefined || address.family === 0 ? INVALID : sourceFor(address, host);
}

const VIEW_OPS: ReadonlyMap<number, ViewOp> = new Map<number, ViewOp>([
  [Op.ping, () => DONE],
  [Op.ifList, ifList],
  [Op.srcAddr, srcAddr],
]);

/** Whether `op` speaks about the socket of its token. */
export function needsSocket(op: number): boolean {
  return op === Op.waitConn || SOCKET_OPS.has(op);
}

/** [5 section 5.6] what is asked at an end, when the token is known or gone, is never parked. */
export function mayPark({ op, noPark }: RequestHeader): boolean {
  return !noPark && op !== Op.takeErr && op !== Op.eofInfo;
}

/** Who is answered; what waits keeps this and not the payload. */
type Asked = Pick<Request, 'header' | 'client'>;

function answer({ header, client }: Asked, a: Answer): void {
  if (!header.noReply) client.reply(emitReply(header.op, header.seq, a.result, a.payload));
}

export function answerError(request: Asked, result: number): void {
  answer(request, { result });
}

/** Requests whose answer may take seconds; each tells how to withdraw it. */
type LateOp = (
  payload: Uint8Array,
  host: RequestHost,
  answered: (answer: Answer) => void,
  asker: Asker,
) => () => void;

function refuse(answered: (answer: Answer) => void): () => void {
  answered(INVALID);
  return () => undefined;
}

function resolve(
  payload: Uint8Array,
  host: RequestHost,
  answered: (answer: Answer) => void,
  asker: Asker,
): () => void {
  if (payload.length < 4) return refuse(answered);
  const len = payload[2]! | (payload[3]! << 8);
  if (payload.length < 4 + len) return refuse(answered);
  const name = new TextDecoder().decode(payload.subarray(4, 4 + len));
  const flags = payload[1]!;
  return host.resolver.resolve(asker, name, payload[0]!, (found) => {
    if (typeof found === 'number') {
      answered({ result: found });
      return;
    }
    const isOrdered = (flags & ResolveFlag.ordered) !== 0;
    const addresses = isOrdered
      ? orderAddresses(found.addresses, (to) => host.stack.sourceFor(to))
      : found.addresses;
    const withCanonical = (flags & ResolveFlag.canonical) !== 0;
    answered({ result: 0, payload: emitResolution({ ...found, addresses }, withCanonical) });
  });
}

function reverse(
  payload: Uint8Array,
  host: RequestHost,
  answered: (answer: Answer) => void,
  asker: Asker,
): () => void {
  const address = parseAddress(payload, 0);
  if (address === undefined || address.family === 0) return refuse(answered);
  return host.resolver.reverse(asker, address.ip, (found) => {
    if (typeof found === 'number') answered({ result: found });
    else answered({ result: 0, payload: emitName(found) });
  });
}

function dnsRaw(
  payload: Uint8Array,
  host: RequestHost,
  answered: (answer: Answer) => void,
  asker: Asker,
): () => void {
  const len = payload.length < 2 ? 0 : payload[0]! | (payload[1]! << 8);
  if (len === 0 || payload.length < 2 + len) return refuse(answered);
  return host.resolver.raw(asker, payload.slice(2, 2 + len), (message) => {
    if (message === undefined) {
      answered({ result: NameError.tryAgain });
      return;
    }
    const out = new Uint8Array(2 + message.length);
    new DataView(out.buffer).setUint16(0, message.length, true);
    out.set(message, 2);
    answered({ result: 0, payload: out });
  });
}

const LATE_OPS: ReadonlyMap<number, LateOp> = new Map<number, LateOp>([
  [Op.resolve, resolve],
  [Op.reverse, reverse],
  [Op.dnsRaw, dnsRaw],
]);

/**
 * Starts what is answered later or at once, and forgets it when its client goes.
 * @param start is given what takes the answer, tells how to withdraw.
 */
function startWait(asked: Asked, start: (answered: (answer: Answer) => void) => () => void): void {
  const { client } = asked;
  let withdraw: (() => void) | undefined;
  let isOver = false;
  const answered = (result: Answer) => {
    isOver = true;
    if (withdraw !== undefined) client.onClose.delete(withdraw);
    answer(asked, result);
  };
  withdraw = start(answered);
  if (isOver) return;
  if (client.isControl) client.onClose.add(withdraw);
  /* A parked request, whose client has gone meanwhile. */ else withdraw();
}

function startLate(op: LateOp, { header, payload, client }: Request, host: RequestHost): void {
  const { policy, uid: user } = client;
  startWait({ header, client }, (answered) => op(payload, host, answered, { user, policy }));
}

/**
 * WAITCONN. A program that waits has a connection of its own for it, so one wait of each is enough,
 * and the limit on control connections bounds them.
 */
function waitConnect(request: Request, socket: RequestTarget, host: RequestHost): void {
  const { header, payload, client } = request;
  const count = u32(payload, 0);
  if (count === undefined) {
    answer(request, INVALID);
    return;
  }
  if (client.isWaiting) {
    host.connectWaitRefused();
    answerError(request, failed('ENOBUFS'));
    return;
  }
  client.isWaiting = true;
  startWait({ header, client }, (answered) =>
    socket.waitConnect(count, (result) => {
      client.isWaiting = false;
      answered({ result });
    }),
  );
}

/** Carries out a request whose token, if it needs one, is registered as `socket`. */
export function carryOut(
  request: Request,
  socket: RequestTarget | undefined,
  host: RequestHost,
): void {
  const { header, payload } = request;
  if (socket !== undefined && header.op === Op.waitConn) {
    waitConnect(request, socket, host);
    return;
  }
  const socketOp = SOCKET_OPS.get(header.op);
  if (socketOp !== undefined && socket !== undefined) {
    answer(request, socketOp(socket, payload, host, request.client));
    return;
  }
  const lateOp = LATE_OPS.get(header.op);
  if (lateOp !== undefined) {
    startLate(lateOp, request, host);
    return;
  }
  const viewOp = VIEW_OPS.get(header.op);
  answer(request, viewOp?.(payload, host) ?? { result: failed('EOPNOTSUPP') });
}
