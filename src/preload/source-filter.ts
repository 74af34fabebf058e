/**
 * Which sources of a group one membership hears: all but those that are blocked, or none but those
 * that are wanted. Answers what Linux answers, measured by test/preload/probes/udp_source.c.
 */

type Failure = 'EINVAL' | 'EADDRNOTAVAIL' | 'ENOBUFS';

/** Linux: sources of one membership (igmp_max_msf and mld_max_msf). */
const SOURCES_MAX4 = 10;
const SOURCES_MAX6 = 64;

export class SourceFilter {
  #wantsListed: boolean;
  /** Undefined until the first source is named: only until then the kind may change. */
  #sources: Set<string> | undefined;

  /** @param wantsListed the sources that will be named are wanted, not blocked. */
  constructor(wantsListed: boolean) {
    this.#wantsListed = wantsListed;
  }

  allows(source: Uint8Array): boolean {
    return (this.#sources?.has(source.join('.')) ?? false) === this.#wantsListed;
  }

  /** Names a source; it must be of the kind of those that were named before. */
  add(source: Uint8Array, isWanted: boolean): Failure | undefined {
    if (this.#sources === undefined) this.#wantsListed = isWanted;
    if (this.#wantsListed !== isWanted) return 'EINVAL';
    this.#sources ??= new Set();
    if (this.#sources.size >= (source.length === 4 ? SOURCES_MAX4 : SOURCES_MAX6)) return 'ENOBUFS';
    if (this.#sources.has(source.join('.'))) return 'EADDRNOTAVAIL';
    this.#sources.add(source.join('.'));
    return undefined;
  }

  /** Takes a name back; 'leave': it was the last that was wanted, which ends the membership. */
  remove(source: Uint8Array, isWanted: boolean): Failure | 'leave' | undefined {
    if (this.#sources === undefined) this.#wantsListed = isWanted;
    if (this.#wantsListed !== isWanted) return 'EINVAL';
    if (this.#sources?.has(source.join('.')) !== true) return 'EADDRNOTAVAIL';
    if (this.#wantsListed && this.#sources.size === 1) return 'leave';
    this.#sources.delete(source.join('.'));
    return undefined;
  }
}
