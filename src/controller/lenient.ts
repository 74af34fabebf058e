/**
 * Texts of API requests and records, read as the reference reads them: nothing is refused, what makes no
 * sense is zero [4 sections 8.2, 8.4]. Pure.
 */
import { type JsonValue, jsonHex, jsonText } from '../lib/json.js';
import { type InetAddress, parseInetAddress } from '../wire/inetaddress.js';

/** An IP/bits text; a malformed IP is the zero address of its family. */
export function lenientAddress(text: string): InetAddress | undefined {
  const parsed = parseInetAddress(text);
  if (parsed !== undefined) return parsed.family === 0 ? undefined : parsed;
  if (text.length >= 64) return undefined;
  const host = text.split('/')[0]!;
  const port = Number(/^\/([0-9]+)/.exec(text.slice(host.length))?.[1] ?? '0') & 0xffff;
  if (host.includes(':')) return { family: 6, ip: new Uint8Array(16), port };
  return host.includes('.') ? { family: 4, ip: new Uint8Array(4), port } : undefined;
}

/** Address and bits of a rule about one family. Of an address of the other only the bits count. */
export function lenientPrefix(
  v: JsonValue | undefined,
  len: 4 | 16,
): { ip: Uint8Array; bits: number } {
  const a = lenientAddress(jsonText(v, '0.0.0.0'));
  const ip = a !== undefined && a.ip.length === len ? a.ip : new Uint8Array(len);
  return { ip, bits: Math.min((a?.port ?? 0) & 0xff, len * 8) };
}

/** A MAC: pairs of hex digits from the left, missing ones are zero. */
export function lenientMac(v: JsonValue | undefined): Uint8Array {
  const digits = jsonText(v, '0').replace(/[:-]/g, '');
  const digit = (i: number): number => Number.parseInt(digits[i]!, 16) || 0;
  const pairs = Math.min(6, digits.length >> 1);
  return Uint8Array.from({ length: 6 }, (_, i) =>
    i < pairs ? (digit(2 * i) << 4) | digit(2 * i + 1) : 0,
  );
}

/** A ZeroTier address. One of decimal digits alone may come as a number: its digits are meant. */
export function lenientNodeAddress(v: JsonValue | undefined): number {
  return Number(jsonHex(jsonText(v, '0'), 0n) & 0xff_ffff_ffffn);
}
