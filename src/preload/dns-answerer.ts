/**
 * The view's own DNS server on its virtual 127.0.0.1:53 and 127.0.0.53:53, for programs that bring
 * their own resolver [5 section 11]. Over UDP it answers where no application took the datagram, from
 * a port of the view that stays open as long as there are datagram sockets, and as much as fits into
 * a datagram (dns-datagram.ts). Over TCP: dns-stream.ts.
 */
import { equalBytes } from '../lib/bytes.js';
import type { Endpoint, IpBytes } from '../stack/stack.js';
import type { PortServer } from './datagram-ports.js';
import { datagramRoom, fitDatagram } from './dns-datagram.js';
import { DnsRcode, emitReply, parseQuestion } from './dns-message.js';
import { Quota } from './quota.js';
import type { Asker, Resolver, Withdraw } from './resolver.js';

export const DNS_PORT = 53;
const ADDRESSES = [Uint8Array.of(127, 0, 0, 1), Uint8Array.of(127, 0, 0, 53)];
/** Ours: questions of one user that may be under way here; more are not answered. */
const QUESTIONS_MAX = 128;
const NOTHING: Withdraw = () => undefined;

export class DnsAnswerer implements PortServer {
  readonly #resolver: Resolver;
  readonly #open = new Set<Withdraw>();
  readonly #quota = new Quota(QUESTIONS_MAX);
  /** Questions that were not answered for their user's limit. */
  dropped = 0;

  constructor(resolver: Resolver) {
    this.#resolver = resolver;
  }

  serves(to: IpBytes): boolean {
    return ADDRESSES.some((a) => equalBytes(a, to));
  }

  asked(
    payload: Uint8Array,
    from: Endpoint,
    asker: Asker,
    answer: (to: Endpoint, reply: Uint8Array) => void,
  ): void {
    const room = datagramRoom(payload);
    let isOver = false;
    let withdraw = NOTHING;
    withdraw = this.ask(payload, asker, (reply) => {
      isOver = true;
      this.#open.delete(withdraw);
      if (reply !== undefined) answer(from, fitDatagram(reply, room));
    });
    if (!isOver) this.#open.add(withdraw);
  }

  /**
   * The whole answer; undefined for what is no question, and for one too many of its user. `done` may
   * be called inside this call, and is not after the question was withdrawn.
   */
  ask(message: Uint8Array, asker: Asker, done: (reply: Uint8Array | undefined) => void): Withdraw {
    if (!this.#quota.take(asker.user)) {
      this.dropped++;
      done(undefined);
      return NOTHING;
    }
    const query = message.slice();
    let isOver = false;
    const end = (): void => {
      if (!isOver) this.#quota.give(asker.user);
      isOver = true;
    };
    const withdraw = this.#resolver.raw(asker, query, (reply) => {
      end();
      done(reply ?? failureOf(query));
    });
    return () => {
      end();
      withdraw();
    };
  }

  /** Over UDP nobody is left to answer. */
  close(): void {
    for (const withdraw of this.#open) withdraw();
    this.#open.clear();
  }
}

/** SERVFAIL; nothing for what is no question. */
function failureOf(query: Uint8Array): Uint8Array | undefined {
  const question = parseQuestion(query);
  if (question === undefined || question.isResponse) return undefined;
  return emitReply(query, question, DnsRcode.failure);
}
