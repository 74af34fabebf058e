/**
 * Placeholders: what names things in the recorded lab and what names the same things in ours. A
 * recorded text is translated in one pass; comparison then happens between equals.
 */
import { macText, memberMac, rfc4193Address, sixPlaneAddress } from '#src/wire/address.js';
import { ipText } from '#src/wire/inetaddress.js';

export class Mapping {
  readonly #pairs = new Map<string, string>();
  #pattern: RegExp | undefined;

  /** Maps a text, and its upper-case form. */
  add(recorded: string, ours: string): this {
    this.#pairs.set(recorded.toUpperCase(), ours.toUpperCase());
    this.#pairs.set(recorded, ours);
    this.#pattern = undefined;
    return this;
  }

  /** Maps what follows from a network and a member: MAC, RFC4193 and 6PLANE address and prefix. */
  addMembership(nwid: string, member: string): this {
    const [recorded, ours] = [nwid, this.translate(nwid)].map((id, i) =>
      derived(id, i === 0 ? member : this.translate(member)),
    );
    for (const [i, text] of recorded!.entries()) this.add(text, ours![i]!);
    return this;
  }

  /** A recorded text in our terms; longer names win. */
  translate(text: string): string {
    this.#pattern ??= new RegExp(
      [...this.#pairs.keys()]
        .sort((a, b) => b.length - a.length)
        .map((k) => k.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
        .join('|') || '(?!)',
      'g',
    );
    return text.replace(this.#pattern, (found) => this.#pairs.get(found)!);
  }
}

/** Characters that `get <nwid> ip6prefix` prints. */
const SIX_PLANE_PREFIX_LEN = 24;

function derived(nwid: string, member: string): string[] {
  const [n, m] = [BigInt(`0x${nwid}`), Number.parseInt(member, 16)];
  const plane = ipText(sixPlaneAddress(n, m));
  return [
    macText(memberMac(m, n)),
    ipText(rfc4193Address(n, m)),
    plane,
    plane.slice(0, SIX_PLANE_PREFIX_LEN),
  ];
}
