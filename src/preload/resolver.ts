/**
 * Names of a view, first hit wins [5 section 11]: its hosts file, the own host name, members by
 * address, then the DNS servers that the network pushes: for every name if it pushed no domain,
 * else for names in that domain; then, for programs that may reach all of the host's network, the
 * host's hosts file and servers. Nothing is kept: every question is asked anew.
 */
import type { Endpoint, IpBytes, StackConfig } from '../stack/stack.js';
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
import { HostsTable, plainName } from './hosts-table.js';
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

/** The program that asks. */
export interface Asker {
  readonly user: number | undefined;
  /** What it wants of the host. */
  readonly policy: number;
}

export interface ResolverHost {
  readonly names: NameSources;
  networks(): readonly ViewNetwork[];
  readonly dns: DnsClient;
  readonly hostNetwork: HostNetwork | undefined;
  /** Asks the host's servers; there where `hostNetwork` is. */
  readonly hostDns: DnsClient | undefined;
  /** Whether the network has a way to `ip`. */
  isVirtual(ip: IpBytes): boolean;
}

/** Ends a question early; its answer is not called any more. */
export type Withdraw = () => void;
const NOTHING: Withdraw = () => undefined;

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

type Named = (r: Resolution | NameError) => void;
type Answered = (answer: Uint8Array | undefined) => void;

/** Who is asked, and by what. */
interface Servers {
  readonly dns: DnsClient;
  readonly servers: readonly DnsServer[];
}

interface HostNames extends Servers {
  readonly sources: NameSources;
}

/** The host's own name is known to the view already. */
const NO_CONFIG: StackConfig = { mtu: 0, addresses: [], routes: [] };

/**
 * Asks `first`, and `second` where the answer is one to `goOn` from; `second` returns undefined when
 * there is nobody to ask. `done` may be called inside this call.
 */
function inTurns<T>(
  first: (next: (found: T) => void) => Withdraw,
  second: (next: (found: T) => void) => Withdraw | undefined,
  goOn: (found: T) => boolean,
  done: (found: T) => void,
): Withdraw {
  let later = NOTHING;
  const now = first((found) => {
    const more = goOn(found) ? second(done) : undefined;
    if (more === undefined) done(found);
    else later = more;
  });
  return () => {
    now();
    later();
  };
}

export class Resolver {
  readonly #host: ResolverHost;
  /** Of the host; unused where it cannot be reached. */
  readonly #hostSources: NameSources;

  constructor(host: ResolverHost) {
    this.#host = host;
    const hosts = new HostsTable(() => host.hostNetwork?.hosts() ?? '');
    this.#hostSources = { hosts, hostName: '', config: () => NO_CONFIG };
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

  /** The host's names, where `asker` may reach all of the host's network. */
  #hostNames(asker: Asker): HostNames | undefined {
    const { hostNetwork, hostDns } = this.#host;
    if (hostNetwork === undefined || hostDns === undefined) return undefined;
    if (effectivePolicy(asker.policy, hostNetwork.grant()) !== Policy.full) return undefined;
    return { sources: this.#hostSources, dns: hostDns, servers: hostNetwork.nameServers() };
  }

  /**
   * RESOLVE: what the networks do not know, the host may, for those that may reach all of it. `done`
   * may be called inside this call.
   */
  resolve(
    asker: Asker,
    name: string,
    family: number,
    done: (r: Resolution | NameError) => void,
  ): Withdraw {
    return inTurns(
      (next) => this.#onNetworks(asker, name, family, next),
      (next) => {
        const host = this.#hostNames(asker);
        if (host === undefined) return undefined;
        return this.#onHost(host, asker, name, family, next);
      },
      (found) => found === NameError.notFound,
      done,
    );
  }

  #onNetworks(asker: Asker, name: string, family: number, done: Named): Withdraw {
    const local = this.#local(name, family);
    if (local !== undefined) {
      done(local);
      return NOTHING;
    }
    const { dns } = this.#host;
    return this.#askTypes({ dns, servers: this.#serversFor(name) }, asker, name, family, done);
  }

  #onHost(host: HostNames, asker: Asker, name: string, family: number, done: Named): Withdraw {
    const known = name === '' ? undefined : resolveName(host.sources, name, family);
    if (known === undefined) return this.#askTypes(host, asker, name, family, done);
    done(known);
    return NOTHING;
  }

  #askTypes(by: Servers, asker: Asker, name: string, family: number, done: Named): Withdraw {
    if (by.servers.length === 0 || emitName(name) === undefined) {
      done(NameError.notFound);
      return NOTHING;
    }
    const types =
      family === 0 ? [DnsType.a, DnsType.aaaa] : [family === 4 ? DnsType.a : DnsType.aaaa];
    const answers: (Uint8Array | undefined)[] = types.map(() => undefined);
    const open: (Withdraw | undefined)[] = [];
    let due = types.length;
    const settle = (i: number, answer: Uint8Array | undefined) => {
      answers[i] = answer;
      if (--due === 0) done(this.#combine(name, types, answers));
    };
    types.forEach((type, i) => {
      const query = emitQuery(0, name, type)!;
      const withdraw = by.dns.ask(by.servers, query, asker.user, (answer) => settle(i, answer));
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

  /**
   * REVERSE; `done` may be called inside this call. The host is not asked about addresses of the
   * networks: their members are no business of its servers.
   */
  reverse(asker: Asker, ip: IpBytes, done: (name: string | NameError) => void): Withdraw {
    return inTurns(
      (next) => {
        const local = reverseName(this.#host.names, ip);
        const { dns } = this.#host;
        return this.#pointer({ dns, servers: this.#serversForAddress(ip) }, asker, ip, local, next);
      },
      (next) => {
        const host = this.#host.isVirtual(ip) ? undefined : this.#hostNames(asker);
        if (host === undefined) return undefined;
        return this.#pointer(host, asker, ip, reverseName(host.sources, ip), next);
      },
      (found) => found === NameError.notFound,
      done,
    );
  }

  #pointer(
    by: Servers,
    asker: Asker,
    ip: IpBytes,
    local: string | undefined,
    done: (name: string | NameError) => void,
  ): Withdraw {
    if (local !== undefined || by.servers.length === 0) {
      done(local ?? NameError.notFound);
      return NOTHING;
    }
    const query = emitQuery(0, reverseNameOf(ip), DnsType.ptr)!;
    const withdraw = by.dns.ask(by.servers, query, asker.user, (answer) => {
      const pointer = (answer === undefined ? undefined : parseAnswers(answer))?.find(
        (r) => r.type === DnsType.ptr && r.target !== undefined && isHostName(r.target),
      );
      done(pointer?.target ?? (answer === undefined ? NameError.tryAgain : NameError.notFound));
    });
    if (withdraw === undefined) done(NameError.tryAgain);
    return withdraw ?? NOTHING;
  }

  /** DNSRAW; `done` gets undefined when no server answers, and may be called inside this call. */
  raw(asker: Asker, query: Uint8Array, done: (answer: Uint8Array | undefined) => void): Withdraw {
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
    return inTurns(
      (next) => this.#rawOnNetworks(asker, query, question, next),
      (next) => {
        const about = addressOfReverse(question.name);
        const isVirtual = about !== undefined && this.#host.isVirtual(about);
        const host = isVirtual ? undefined : this.#hostNames(asker);
        return host === undefined || host.servers.length === 0
          ? undefined
          : this.#askRaw(host, asker, query, next);
      },
      (answer) => answer !== undefined && parseQuestion(answer)?.rcode === DnsRcode.noName,
      done,
    );
  }

  #rawOnNetworks(asker: Asker, query: Uint8Array, question: DnsQuestion, done: Answered): Withdraw {
    const about = addressOfReverse(question.name);
    const servers =
      about === undefined ? this.#serversFor(question.name) : this.#serversForAddress(about);
    if (servers.length > 0)
      return this.#askRaw({ dns: this.#host.dns, servers }, asker, query, done);
    done(emitReply(query, question, DnsRcode.noName));
    return NOTHING;
  }

  #askRaw(by: Servers, asker: Asker, query: Uint8Array, done: Answered): Withdraw {
    const withdraw = by.dns.ask(by.servers, query, asker.user, done);
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
