/**
 * Where the host's names come from, for programs that may reach all of its network [5 sections 11
 * and 12]: the text of /etc/hosts and the addresses of the DNS servers in /etc/resolv.conf, both as
 * they are now.
 */
import type { Endpoint } from '../stack/stack.js';
import { parseIp } from '../wire/inetaddress.js';
import { TextFile } from './text-file.js';

const HOSTS_FILE = '/etc/hosts';
const RESOLV_FILE = '/etc/resolv.conf';
/** Ours: a resolv.conf is some lines. */
const RESOLV_MAX = 64 * 1024;
const DNS_PORT = 53;
/** resolv.conf(5): servers that libc asks. */
const SERVERS_MAX = 3;
/** resolv.conf(5): who is asked where the file names nobody. */
const OWN_SERVER: Endpoint = { ip: Uint8Array.of(127, 0, 0, 1), port: DNS_PORT };

/** `address`, `address:port` or `[address]:port`; zones are not kept. */
export function serverOf(text: string): Endpoint | undefined {
  const [, bracketed, port] = /^\[([^\]]+)\](?::(\d+))?$/.exec(text) ?? [];
  const [, plain, plainPort] = /^([\d.]+):(\d+)$/.exec(text) ?? [];
  const ip = parseIp((bracketed ?? plain ?? text).replace(/%.*/, ''));
  return ip === undefined ? undefined : { ip, port: Number(port ?? plainPort ?? DNS_PORT) };
}

/** The servers that a resolv.conf names; lines that cannot be read are passed over. */
export function serversIn(text: string): readonly Endpoint[] {
  const found: Endpoint[] = [];
  for (const line of text.split('\n')) {
    const [, name] = /^nameserver[ \t]+([^\s#;]+)/.exec(line) ?? [];
    const server = name === undefined ? undefined : serverOf(name);
    if (server !== undefined && found.length < SERVERS_MAX) found.push(server);
  }
  return found.length === 0 ? [OWN_SERVER] : found;
}

/**
 * A file that cannot be read, for whatever reason, a lack of descriptors among them, is as an empty
 * one: as with libc, the servers are asked then.
 */
export class HostNames {
  readonly #hosts: TextFile;
  readonly #resolv: TextFile;

  constructor(hosts = HOSTS_FILE, resolv = RESOLV_FILE) {
    this.#hosts = new TextFile(hosts);
    this.#resolv = new TextFile(resolv, { lengthMax: RESOLV_MAX });
  }

  hosts(): string {
    return this.#hosts.text();
  }

  servers(): readonly Endpoint[] {
    return serversIn(this.#resolv.text());
  }
}
