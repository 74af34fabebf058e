/**
 * Where the host's names come from, for programs that may reach all of its network [5 sections 11
 * and 12]: the text of /etc/hosts and the addresses of its DNS servers, both as they are now.
 */
import * as dns from 'node:dns';
import * as fs from 'node:fs';
import type { Endpoint } from '../stack/stack.js';
import { parseIp } from '../wire/inetaddress.js';

const HOSTS_FILE = '/etc/hosts';
const DNS_PORT = 53;

/**
 * Empty where the file cannot be read, for whatever reason, a lack of descriptors among them: as with
 * libc, the servers are asked then.
 */
export function hostsText(file = HOSTS_FILE): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** `address`, `address:port` or `[address]:port`, as node:dns writes them; zones are not kept. */
export function serverOf(text: string): Endpoint | undefined {
  const [, bracketed, port] = /^\[([^\]]+)\](?::(\d+))?$/.exec(text) ?? [];
  const [, plain, plainPort] = /^([\d.]+):(\d+)$/.exec(text) ?? [];
  const ip = parseIp((bracketed ?? plain ?? text).replace(/%.*/, ''));
  return ip === undefined ? undefined : { ip, port: Number(port ?? plainPort ?? DNS_PORT) };
}

export function nameServers(): readonly Endpoint[] {
  return dns
    .getServers()
    .map(serverOf)
    .filter((s) => s !== undefined);
}
