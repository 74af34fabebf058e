/**
 * Who may use the API [4 section 6]: decided before routing and before the body is read, from the
 * source address, the path and one token. Never says which of the three was wrong.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { type InetAddress, ipInPrefix, parseInetAddress, parseIp } from '../wire/inetaddress.js';
import { percentDecode, type Target } from './target.js';

export interface Access {
  readonly authToken: string;
  readonly metricsToken: string;
  /** Source networks besides loopback that may manage the node; `port` is the prefix length. */
  allowed(): readonly InetAddress[];
}

/** What of a request counts for access. */
export interface Caller {
  /** As the socket says it: may be v4-mapped and carry a zone. */
  readonly remoteAddress: string;
  readonly target: Target;
  /** Names and values in turn, as received. */
  readonly rawHeaders: readonly string[];
}

/** Value of the first header of that (lower-case) name. */
export function firstHeader(rawHeaders: readonly string[], name: string): string | undefined {
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i]!.toLowerCase() === name) return rawHeaders[i + 1]!;
  return undefined;
}

/**
 * The token offered: of header, query parameter and bearer credentials the first that is present;
 * no other is tried after it. An empty header is absent, an empty parameter is not.
 */
export function offeredToken(c: Caller): string | undefined {
  const own = percentDecode((firstHeader(c.rawHeaders, 'x-zt1-auth') ?? '').trim(), false);
  if (own !== '') return own;
  const inQuery = c.target.query.get('auth');
  if (inQuery !== undefined) return inQuery;
  const words = (firstHeader(c.rawHeaders, 'authorization') ?? '').trim().split(/ +/);
  return words.length === 2 && words[0]!.toLowerCase() === 'bearer'
    ? percentDecode(words[1]!, false)
    : undefined;
}

/** The caller's address; a v4-mapped one as IPv4. */
export function sourceIp(remoteAddress: string): Uint8Array | undefined {
  const ip = parseIp(remoteAddress.split('%', 1)[0]!);
  const isMapped =
    ip?.length === 16 &&
    ip.subarray(0, 10).every((b) => b === 0) &&
    ip[10] === 255 &&
    ip[11] === 255;
  return isMapped ? ip.subarray(12) : ip;
}

/** 127.0.0.0/8, ::1, fe80::1. */
export function isLoopback(ip: Uint8Array): boolean {
  if (ip.length === 4) return ip[0] === 127;
  const head = ip[0] === 0xfe && ip[1] === 0x80 ? 2 : 0;
  return ip.subarray(head, 15).every((b) => b === 0) && ip[15] === 1;
}

export function mayEnter(access: Access, c: Caller): boolean {
  const token = offeredToken(c);
  const isToken = (secret: string): boolean =>
    token !== undefined && token !== '' && equalSecret(token, secret);
  const { path } = c.target;
  if (path === '/metrics') return isToken(access.metricsToken) || isToken(access.authToken);
  const ip = sourceIp(c.remoteAddress);
  if (ip === undefined) return false;
  if (!isLoopback(ip) && !access.allowed().some((n) => ipInPrefix(ip, n.ip, n.port))) return false;
  if (path === '/health' || path === '/sso' || path.startsWith('/app')) return true;
  return isToken(access.authToken);
}

/** Compares secrets of any length without telling how much of them agrees. */
function equalSecret(a: string, b: string): boolean {
  const digest = (s: string): Buffer => createHash('sha256').update(s).digest();
  return timingSafeEqual(digest(a), digest(b));
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
