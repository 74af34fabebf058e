/**
 * What a hosts(5) text says, by name and by address. The text is asked for with every question and
 * read again only when it is another: it may have 100,000 lines.
 */
import type { IpBytes } from '../stack/stack.js';
import { parseIpv4, parseIpv6 } from './ip-text.js';

export interface HostsEntry {
  readonly ip: IpBytes;
  /** First name: the canonical one. */
  readonly names: readonly string[];
}

const NONE: readonly HostsEntry[] = [];

/** Names are equal without regard to case and a final dot. */
export function plainName(name: string): string {
  return (name.endsWith('.') ? name.slice(0, -1) : name).toLowerCase();
}

/** The lines that can be read; others are passed over, as libc does. */
export function parseHosts(text: string): HostsEntry[] {
  const entries: HostsEntry[] = [];
  for (const line of text.split('\n')) {
    const words = line.replace(/#.*/, '').trim().split(/\s+/);
    const ip = parseIpv4(words[0]!) ?? parseIpv6(words[0]!);
    if (ip !== undefined && words.length > 1) entries.push({ ip, names: words.slice(1) });
  }
  return entries;
}

export class HostsTable {
  readonly #source: () => string;
  #text = '';
  readonly #byName = new Map<string, HostsEntry[]>();
  /** The first name of an address. */
  readonly #byIp = new Map<string, string>();

  /** @param source the text as it is now. */
  constructor(source: () => string) {
    this.#source = source;
  }

  /** Entries with that name, in the order of their lines. */
  named(name: string): readonly HostsEntry[] {
    this.#refresh();
    return this.#byName.get(plainName(name)) ?? NONE;
  }

  nameOf(ip: IpBytes): string | undefined {
    this.#refresh();
    return this.#byIp.get(ip.join());
  }

  #refresh(): void {
    const text = this.#source();
    if (text === this.#text) return;
    this.#text = text;
    this.#byName.clear();
    this.#byIp.clear();
    for (const entry of parseHosts(text)) this.#add(entry);
  }

  #add(entry: HostsEntry): void {
    for (const name of new Set(entry.names.map(plainName))) {
      const known = this.#byName.get(name);
      if (known === undefined) this.#byName.set(name, [entry]);
      else known.push(entry);
    }
    const ip = entry.ip.join();
    if (!this.#byIp.has(ip)) this.#byIp.set(ip, entry.names[0]!);
  }
}
