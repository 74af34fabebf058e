/**
 * The view's own DNS server on its virtual 127.0.0.1:53 and 127.0.0.53:53, for programs that bring
 * their own resolver [5 section 11]. It answers where no application took the datagram, and over
 * UDP only. It speaks from a port of the view that stays open as long as there are datagram sockets.
 */
import { equalBytes } from '../lib/bytes.js';
import type { Endpoint, IpBytes } from '../stack/stack.js';
import type { PortServer } from './datagram-ports.js';
import { DnsRcode, emitReply, parseQuestion } from './dns-message.js';
import { Quota } from './quota.js';
import type { Asker, Resolver, Withdraw } from './resolver.js';

export const DNS_PORT = 53;
const ADDRESSES = [Uint8Array.of(127, 0, 0, 1), Uint8Array.of(127, 0, 0, 53)];
/** Ours: questions of one user that may be under way here; more are not answered. */
const QUESTIONS_MAX = 128;

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
    if (!this.#quota.take(asker.user)) {
      this.dropped++;
      return;
    }
    const query = payload.slice();
    let open: Withdraw | undefined;
    let isOver = false;
    const end = (): void => {
      isOver = true;
      this.#quota.give(asker.user);
      if (open !== undefined) this.#open.delete(open);
    };
    const withdraw = this.#resolver.raw(asker, query, (reply) => {
      end();
      const message = reply ?? failureOf(query);
      if (message !== undefined) answer(from, message);
    });
    if (isOver) return;
    open = () => {
      end();
      withdraw();
    };
    this.#open.add(open);
  }

  close(): void {
    for (const withdraw of [...this.#open]) withdraw();
  }
}

/** SERVFAIL; nothing for what is no question. */
function failureOf(query: Uint8Array): Uint8Array | undefined {
  const question = parseQuestion(query);
  if (question === undefined || question.isResponse) return undefined;
  return emitReply(query, question, DnsRcode.failure);
}
