/**
 * Which sockets of programs exist [5 section 5.2]: each has a name in the abstract namespace, which the
 * kernel keeps until the last descriptor of the socket is closed, in whatever process or message it is,
 * and which /proc/net/unix lists. Sockets in another network namespace are not in the list.
 *
 * The kernel gives the list out in pieces of some 4 KiB, and each is looked through by itself: at no
 * time does this take long, however many sockets there are. A socket may be skipped when another of
 * the list is closed between two pieces.
 */
import { createReadStream } from 'node:fs';
import { toHex } from '../lib/hex.js';
import type { HeldTokens } from '../preload/ended.js';
import { putKey, type Token } from '../preload/protocol.js';

const LIST = '/proc/net/unix';
/** A line of the list ends with the name, its NUL shown as `@`. */
const TOKEN_NAME = / @ztnc1\.[46][a-z]{2}[0-9a-f]{2}\.([0-9a-f]{32})$/gm;
const TOKEN_LEN = 16;

function textOf(token: Token): string {
  const bytes = new Uint8Array(TOKEN_LEN);
  putKey(token, bytes, 0);
  return toHex(bytes);
}

/** Those of the tokens asked for that the list has; whoever fills the list fills nothing here. */
export class ListedTokens implements HeldTokens {
  readonly #wanted: ReadonlySet<string>;
  readonly #found = new Set<string>();
  #rest = '';

  constructor(wanted: Iterable<Token>) {
    this.#wanted = new Set(Array.from(wanted, textOf));
  }

  get size(): number {
    return this.#found.size;
  }

  has(token: Token): boolean {
    return this.#found.has(textOf(token));
  }

  /** The next piece of the list; it may end anywhere in a line. */
  add(piece: string): void {
    const text = this.#rest + piece;
    const end = text.lastIndexOf('\n') + 1;
    this.#rest = text.slice(end);
    for (const [, hex] of text.slice(0, end).matchAll(TOKEN_NAME))
      if (this.#wanted.has(hex!)) this.#found.add(hex!);
  }
}

/** Looks for `wanted` in the list. @throws Error where there is none. */
export async function listTokens(wanted: Iterable<Token>): Promise<ListedTokens> {
  const tokens = new ListedTokens(wanted);
  const pieces = createReadStream(LIST, { encoding: 'latin1' });
  for await (const piece of pieces) tokens.add(piece as string);
  return tokens;
}
