/** Altering one value of a JSON document so that nothing that compares it can miss the change. */
import type { Luck } from '../sim/world.js';

export type Value = null | boolean | number | string | Value[] | { [key: string]: Value };
export type Fields = { [key: string]: Value };

/** One value inside a document: the container that holds it, and where. */
export interface Leaf {
  readonly holder: Fields | Value[];
  readonly key: string | number;
  /** Where it stands, for the reader. */
  readonly path: string;
}

export const isFields = (v: Value | undefined): v is Fields =>
  typeof v === 'object' && v !== null && !Array.isArray(v);

function at(holder: Fields | Value[], key: string | number): Value | undefined {
  return (holder as Fields)[key];
}

/**
 * Every number, text and truth value at or under `holder[key]`; empty texts and nulls say nothing
 * that could be altered. `skip` leaves out what nobody compares.
 */
export function leavesAt(
  holder: Fields | Value[],
  key: string | number,
  path: string,
  skip: (holder: Fields | Value[], key: string | number) => boolean,
): Leaf[] {
  const v = at(holder, key);
  if (v === undefined || v === null || v === '' || skip(holder, key)) return [];
  if (Array.isArray(v)) return v.flatMap((_, i) => leavesAt(v, i, `${path}[${i}]`, skip));
  if (isFields(v)) return Object.keys(v).flatMap((k) => leavesAt(v, k, `${path}.${k}`, skip));
  return [{ holder, key, path }];
}

export function pick<T>(luck: Luck, items: readonly T[]): T {
  const item = items[Math.floor(luck.next() * items.length)];
  if (item === undefined) throw new Error('nothing to pick from');
  return item;
}

/** Another digit of the same base, or another letter. */
function otherCharacter(luck: Luck, c: string, isHex: boolean): string {
  const alphabet = isHex ? '0123456789abcdef' : /[0-9]/.test(c) ? '0123456789' : 'ghijklmnopqrstuv';
  return pick(
    luck,
    [...alphabet].filter((x) => x !== c.toLowerCase()),
  );
}

/** Parser verdicts: `ok`, or a kind of refusal whose wording is free. */
const otherVerdict = (text: string): string => (text === 'ok' ? 'refused' : 'ok');

function otherText(luck: Luck, text: string): string {
  const isHex = /^[0-9a-f]+$/.test(text);
  const places = [...text].flatMap((c, i) => (/[0-9A-Za-z]/.test(c) ? [i] : []));
  if (places.length === 0) return `${text}x`;
  const i = pick(luck, places);
  return text.slice(0, i) + otherCharacter(luck, text[i]!, isHex) + text.slice(i + 1);
}

/** Alters the value in place. @returns a description of the change. */
export function alter(luck: Luck, leaf: Leaf): string {
  const old = at(leaf.holder, leaf.key);
  let fresh: Value;
  if (typeof old === 'boolean') fresh = !old;
  else if (typeof old === 'number') fresh = old + 1;
  else if (typeof old === 'string')
    fresh = leaf.key === 'result' ? otherVerdict(old) : otherText(luck, old);
  else throw new TypeError(`${leaf.path} holds nothing to alter`);
  (leaf.holder as Fields)[leaf.key] = fresh;
  return leaf.path;
}
