/**
 * Names of a view, first hit wins [5 section 11]: its hosts file, the own host name, members by
 * address, then the DNS servers that the network pushes: for every name if it pushed no domain,
 * else for names in that domain. Nothing is kept: every question is asked anew.
 */
import type { Endpoint, IpBytes } from '../stack/stack.js';
import type { DnsClient, DnsServer } from './dns-client.js';
import {
  addressOfReverse,
  type DnsQuestion,
  DnsRcode,
  DnsType,
  emitName,
  emitQuery,
  emitReply,
  isHostName,
  parseAnswers,
  parseQuestion,
  reverseNameOf,
} from './dns-message.js';
import { effectivePolicy, type HostNetwork } from './fallthrough.js';
import { memberAddresses } from './member-names.js';
import {
  ANSWERS_MAX,
  type NameSources,
  type Resolution,
  resolveName,
  reverseName,
} from './names.js';
import type { ViewNetwork } from './networks.js';
import { isInPrefix, isLoopback, Policy } from './policy.js';

/** [5 section 5.6] results of RESOLVE and REVERSE beside 0. */
export const NameError = { notFound: -2, failed: -5, tryAgain: -11 } as const;
export type NameError = (typeof NameError)[keyof typeof NameError];

/** Ours: aliases followed within one answer. */
const ALIASES_MAX = 16;

/** What a network pushed. */
export interface DnsSettings {
  /** Empty = every name. */
  readonly domain: string;
  readonly servers: readonly Endpoint[];
}

export interface ResolverHost {
  readonly names: NameSources;
  networks(): readonly ViewNetwork[];
  readonly dns: DnsClient;
  readonly hostNetwork: HostNetwork | undefined;
  /** Whether the network has a way to `ip`. */
  isVirtual(ip: IpBytes): boolean;
}

/** Ends a question early; its answer is not called any more. */
export type Withdraw = () => void;
const NOTHING: Withdraw = () => undefined;

function plainName(name: string): string {
  return (name.endsWith('.') ? name.slice(0, -1) : name).toLowerCase();
}

/** Whether `ip` is in a subnet or route of that network. */
function isOf(network: ViewNetwork, ip: IpBytes): boolean {
  const { addresses, routes } = network.config();
  return (
    addresses.some((a) => isInPrefix(ip, a.ip, a.prefixLen)) ||
    routes.some((r) => isInPrefix(ip, r.target, r.prefixLen))
  );
}

interface Found {
  readonly canonical: string;
  readonly addresses: readonly IpBytes[];
}

/** Addresses of `type` that an answer gives its question's name, through its aliases. */
function addressesIn(answer: Uint8Array, name: string, type: number): Found {
  const records = parseAnswers(answer) ?? [];
  const length = type === DnsType.a ? 4 : 16;
  let canonical = plainName(name);
  for (let i = 0; i < ALIASES_MAX; i++) {
    const own = records.filter((r) => r.name === canonical);
    const addresses = own.filter((r) => r.type === type && r.data.length === length);
    const alias = own.find((r) => r.type === DnsType.cname)?.target;
    if (addresses.length > 0 || alias === undefined) {
      return { canonical, addresses: addresses.map((r) => r.data) };
    }
    canonical = alias;
  }
  return { canonical, addresses: [] };
}

export class Resolver {
  readonly #host: ResolverHost;

  constructor(host: ResolverHost) {
    this.#host = host;
  }

  /** What needs no server: undefined when the name is not known here. */
  #local(name: string, family: number): Resolution | undefined {
    const found = resolveName(this.#host.names, name, family);
    if (found !== undefined) return found;
    const members = this.#host
      .networks()
      .flatMap((n) => memberAddresses(name, n.nwidText, n.config().addresses) ?? []);
    if (members.length === 0) return undefined;
    return { canonical: plainName(name), addresses: family === 4 ? [] : members };
  }

  /** Servers for `name`: of the networks with the longest domain that it is in; none in no such. */
  #serversFor(name: string): readonly DnsServer[] {
    const plain = plainName(name);
    return this.#serversOf((domain) => {
      const isInside = domain === '' || plain === domain || plain.endsWith(`.${domain}`);
      return isInside ? domain.length : undefined;
    });
  }

  /** A reverse name is in no domain: a network is asked about what it leads to. */
  #serversForAddress(ip: IpBytes): readonly DnsServer[] {
    const isVirtual = !isLoopback(ip) && this.#host.isVirtual(ip);
    return this.#serversOf((domain, network) => {
      if (isVirtual && isOf(network, ip)) return 1;
      return domain === '' || isVirtual ? 0 : undefined;
    });
  }

  /** Servers of the networks that `rank` puts highest; undefined = not theirs to answer. */
  #serversOf(
    rank: (domain: string, network: ViewNetwork) => number | undefined,
  ): readonly DnsServer[] {
    let best = Number.NEGATIVE_INFINITY;
    let found: DnsServer[] = [];
    for (const network of this.#host.networks()) {
      const { domain, servers } = network.dns();
      const value = servers.length === 0 ? undefined : rank(plainName(domain), network);
      if (value === undefined || value < best) continue;
      if (value > best) found = [];
      best = value;
      found.push(...servers.map((s) => ({ ip: s.ip, port: s.port, via: network.index })));
    }
    return found;
  }

  /**
   * RESOLVE for a program that wants `policy`: what the networks do not know, the host may, for those
   * that may reach all of it.
   */
  resolveFor(
    policy: number,
    name: string,
    family: number,
    done: (r: Resolution | NameError) => void,
  ): Withdraw {
    const host = this.#host.hostNetwork;
    if (host === undefined || effectivePolicy(policy, host.grant()) !== Policy.full)
      return this.resolve(name, family, done);
    let withdraw = NOTHING;
    const first = this.resolve(name, family, (found) => {
      if (found !== NameError.notFound) {
        done(found);
        return;
      }
      withdraw = host.resolve(name, family, (answer) => {
        if (answer === 'notFound') done(NameError.notFound);
        else if (answer === 'tryAgain') done(NameError.tryAgain);
        else done({ canonical: plainName(name), addresses: answer.slice(0, ANSWERS_MAX) });
      });
    });
    return () => {
      first();
      withdraw();
    };
  }

  /** RESOLVE by the networks; `done` may be called inside this call. */
  resolve(name: string, family: number, done: (r: Resolution | NameError) => void): Withdraw {
    const local = this.#local(name, family);
    if (local !== undefined) {
      done(local);
      return NOTHING;
    }
    const servers = this.#serversFor(name);
    if (servers.length === 0 || emitName(name) === undefined) {
      done(NameError.notFound);
      return NOTHING;
    }
    const types =
      family === 0 ? [DnsType.a, DnsType.aaaa] : [family === 4 ? DnsType.a : DnsType.aaaa];
    return this.#askTypes(name, types, servers, done);
  }

  #askTypes(
    name: string,
    types: readonly number[],
    servers: readonly DnsServer[],
    done: (r: Resolution | NameError) => void,
  ): Withdraw {
    const answers: (Uint8Array | undefined)[] = types.map(() => undefined);
    const open: (Withdraw | undefined)[] = [];
    let due = types.length;
    const settle = (i: number, answer: Uint8Array | undefined) => {
      answers[i] = answer;
      if (--due === 0) done(this.#combine(name, types, answers));
    };
    types.forEach((type, i) => {
      const query = emitQuery(0, name, type)!;
      const withdraw = this.#host.dns.ask(servers, query, (answer) => settle(i, answer));
      open.push(withdraw);
      if (withdraw === undefined) settle(i, undefined);
    });
    return () => {
      for (const withdraw of open) withdraw?.();
    };
  }

  #combine(
    name: string,
    types: readonly number[],
    answers: readonly (Uint8Array | undefined)[],
  ): Resolution | NameError {
    const addresses: IpBytes[] = [];
    let canonical = plainName(name);
    let worst: NameError | undefined;
    answers.forEach((answer, i) => {
      const rcode = answer === undefined ? undefined : parseQuestion(answer)?.rcode;
      if (answer === undefined || rcode === DnsRcode.failure) worst = NameError.tryAgain;
      else if (rcode === DnsRcode.noName) worst ??= NameError.notFound;
      else if (rcode !== DnsRcode.ok) worst ??= NameError.failed;
      else {
        const found = addressesIn(answer, name, types[i]!);
        if (found.addresses.length > 0 && isHostName(found.canonical)) canonical = found.canonical;
        addresses.push(...found.addresses);
      }
    });
    if (addresses.length === 0 && worst !== undefined) return worst;
    return { canonical, addresses: addresses.slice(0, ANSWERS_MAX) };
  }

  /** REVERSE; `done` may be called inside this call. */
  reverse(ip: IpBytes, done: (name: string | NameError) => void): Withdraw {
    const local = reverseName(this.#host.names, ip);
    const query = emitQuery(0, reverseNameOf(ip), DnsType.ptr)!;
    if (local !== undefined) {
      done(local);
      return NOTHING;
    }
    const servers = this.#serversForAddress(ip);
    if (servers.length === 0) {
      done(NameError.notFound);
      return NOTHING;
    }
    const withdraw = this.#host.dns.ask(servers, query, (answer) => {
      const pointer = (answer === undefined ? undefined : parseAnswers(answer))?.find(
        (r) => r.type === DnsType.ptr && r.target !== undefined && isHostName(r.target),
      );
      done(pointer?.target ?? (answer === undefined ? NameError.tryAgain : NameError.notFound));
    });
    if (withdraw === undefined) done(NameError.tryAgain);
    return withdraw ?? NOTHING;
  }

  /** DNSRAW; `done` gets undefined when no server answers, and may be called inside this call. */
  raw(query: Uint8Array, done: (answer: Uint8Array | undefined) => void): Withdraw {
    const question = parseQuestion(query);
    if (question === undefined || question.isResponse) {
      done(undefined);
      return NOTHING;
    }
    const own = this.#ownAnswer(query, question);
    if (own !== undefined) {
      done(own);
      return NOTHING;
    }
    const about = addressOfReverse(question.name);
    const servers =
      about === undefined ? this.#serversFor(question.name) : this.#serversForAddress(about);
    if (servers.length === 0) {
      done(emitReply(query, question, DnsRcode.noName));
      return NOTHING;
    }
    const withdraw = this.#host.dns.ask(servers, query, done);
    if (withdraw === undefined) done(undefined);
    return withdraw ?? NOTHING;
  }

  /** The answer that needs no server, if there is one. */
  #ownAnswer(query: Uint8Array, question: DnsQuestion): Uint8Array | undefined {
    if (!question.isStandard) return emitReply(query, question, DnsRcode.notImplemented);
    if (!question.isInternet) return undefined;
    if (question.type === DnsType.ptr) return this.#ownPointer(query, question);
    if (this.#local(question.name, 0) === undefined) return undefined;
    const family = question.type === DnsType.a ? 4 : question.type === DnsType.aaaa ? 6 : 0;
    const found = family === 0 ? undefined : this.#local(question.name, family);
    return emitReply(query, question, DnsRcode.ok, found?.addresses.slice(0, ANSWERS_MAX) ?? []);
  }

  #ownPointer(query: Uint8Array, question: DnsQuestion): Uint8Array | undefined {
    const ip = addressOfReverse(question.name);
    const name = ip === undefined ? undefined : reverseName(this.#host.names, ip);
    const data = name === undefined ? undefined : emitName(name);
    return data === undefined ? undefined : emitReply(query, question, DnsRcode.ok, [data]);
  }
}
