/**
 * Names of the host, for programs that may reach all of its network [5 sections 11 and 12]: /etc/hosts,
 * then the host's DNS servers. c-ares asks them from the event loop, so a dead server holds no thread
 * of the service.
 */
import { promises as dns, Resolver } from 'node:dns';
import * as fs from 'node:fs';
import { parseHosts } from '../preload/names.js';
import type { IpBytes } from '../stack/stack.js';
import { parseIp } from '../wire/inetaddress.js';

const HOSTS_FILE = '/etc/hosts';
/** [5 section 11] as the network's own servers: time of one try, and tries. */
const TRY_MS = 3000;
const TRIES = 2;
/** Ours: questions under way at once, of one view. */
const QUESTIONS_MAX = 256;

/** Errors that mean that there is no such name, or no such address of it. */
const UNKNOWN: ReadonlySet<string> = new Set([dns.NOTFOUND, dns.NODATA, dns.BADNAME]);

export type HostAnswer = readonly IpBytes[] | 'notFound' | 'tryAgain';

export class HostNames {
  readonly #servers: readonly string[] | undefined;
  #open = 0;

  /** @param servers default: those of the host. */
  constructor(servers?: readonly string[]) {
    this.#servers = servers;
  }

  get size(): number {
    return this.#open;
  }

  /** @returns withdraws the question. `done` is not called inside this call. */
  resolve(name: string, family: number, done: (answer: HostAnswer) => void): () => void {
    const resolver = new Resolver({ timeout: TRY_MS, tries: TRIES });
    if (this.#servers !== undefined) resolver.setServers(this.#servers);
    let isOver = this.#open >= QUESTIONS_MAX;
    const finish = (answer: HostAnswer): void => {
      if (isOver) return;
      isOver = true;
      this.#open--;
      done(answer);
    };
    if (isOver) {
      setImmediate(() => done('tryAgain'));
      return () => undefined;
    }
    this.#open++;
    const known = fromHostsFile(name, family);
    if (known !== undefined) setImmediate(() => finish(known));
    else ask(resolver, name, family, finish);
    return () => {
      if (isOver) return;
      isOver = true;
      this.#open--;
      resolver.cancel();
    };
  }
}

function fromHostsFile(name: string, family: number): readonly IpBytes[] | undefined {
  let text: string;
  try {
    text = fs.readFileSync(HOSTS_FILE, 'utf8');
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw e;
  }
  const plain = name.replace(/\.$/, '').toLowerCase();
  const entries = parseHosts(text).filter((e) => e.names.some((n) => n.toLowerCase() === plain));
  if (entries.length === 0) return undefined;
  return entries
    .map((e) => e.ip)
    .filter((ip) => family === 0 || (ip.length === 4) === (family === 4));
}

function ask(
  resolver: Resolver,
  name: string,
  family: number,
  done: (answer: HostAnswer) => void,
): void {
  const families: readonly (4 | 6)[] = family === 0 ? [4, 6] : [family === 4 ? 4 : 6];
  const found: IpBytes[] = [];
  let due = families.length;
  let isUncertain = false;
  const settle = (e: NodeJS.ErrnoException | null, addresses: readonly string[] = []): void => {
    if (e !== null && !UNKNOWN.has(e.code ?? '')) isUncertain = true;
    for (const a of addresses) found.push(...(parseIp(a) === undefined ? [] : [parseIp(a)!]));
    if (--due > 0) return;
    if (found.length > 0) done(found);
    else done(isUncertain ? 'tryAgain' : 'notFound');
  };
  for (const f of families)
    if (f === 4) resolver.resolve4(name, settle);
    else resolver.resolve6(name, settle);
}
