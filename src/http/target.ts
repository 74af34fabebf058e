/** The request target: path and query, percent-decoded [4 section 6]. */

export interface Target {
  readonly path: string;
  /** First value of every key. */
  readonly query: ReadonlyMap<string, string>;
}

/** Percent-decodes; what is no escape stays as it is. @param plusIsSpace as in query values. */
export function percentDecode(text: string, plusIsSpace: boolean): string {
  const raw = plusIsSpace ? text.replaceAll('+', ' ') : text;
  if (!raw.includes('%')) return Buffer.from(raw, 'latin1').toString('utf8');
  const bytes: number[] = [];
  for (let i = 0; i < raw.length; i++) {
    const hex = raw[i] === '%' ? raw.slice(i + 1, i + 3) : '';
    if (/^[0-9a-fA-F]{2}$/.test(hex)) {
      bytes.push(Number.parseInt(hex, 16));
      i += 2;
    } else bytes.push(...Buffer.from(raw[i]!, 'latin1'));
  }
  return Buffer.from(bytes).toString('utf8');
}

/** Splits a target; the fragment is cut off. */
export function parseTarget(target: string): Target {
  const [withQuery = ''] = target.split('#', 1);
  const at = withQuery.indexOf('?');
  const query = new Map<string, string>();
  for (const pair of at < 0 ? [] : withQuery.slice(at + 1).split('&')) {
    const eq = pair.indexOf('=');
    const key = percentDecode(eq < 0 ? pair : pair.slice(0, eq), true);
    if (!query.has(key)) query.set(key, percentDecode(eq < 0 ? '' : pair.slice(eq + 1), true));
  }
  return { path: percentDecode(at < 0 ? withQuery : withQuery.slice(0, at), false), query };
}
