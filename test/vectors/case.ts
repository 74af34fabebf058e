/**
 * Access to one vector case that remembers which fields were read, so that a field nobody compares
 * is an error instead of a silent gap.
 */
import assert from 'node:assert/strict';
import { fromHex } from '#src/lib/hex.js';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

export class Case {
  readonly #data: JsonObject;
  readonly #used = new Set<string>();
  readonly #path: string;
  readonly #children: Case[] = [];

  constructor(data: JsonObject, path: string) {
    this.#data = data;
    this.#path = path;
  }

  get path(): string {
    return this.#path;
  }

  has(key: string): boolean {
    return Object.hasOwn(this.#data, key);
  }

  /** The raw value; undefined when absent. Marks the whole subtree as read. */
  raw(key: string): Json | undefined {
    this.#used.add(key);
    return this.#data[key];
  }

  /** Marks fields that are prose for the reader. */
  note(...keys: string[]): void {
    for (const key of keys) this.#used.add(key);
  }

  #need<T>(key: string, kind: string, is: (v: Json | undefined) => v is T & Json): T {
    const v = this.raw(key);
    if (!is(v)) throw new TypeError(`${this.#path}.${key}: expected ${kind}, found ${typeof v}`);
    return v;
  }

  text(key: string): string {
    return this.#need(key, 'text', (v): v is string => typeof v === 'string');
  }

  number(key: string): number {
    return this.#need(key, 'a number', (v): v is number => typeof v === 'number');
  }

  bool(key: string): boolean {
    return this.#need(key, 'true or false', (v): v is boolean => typeof v === 'boolean');
  }

  list(key: string): Json[] {
    return this.#need(key, 'an array', (v): v is Json[] => Array.isArray(v));
  }

  hex(key: string): Uint8Array {
    return fromHex(this.text(key));
  }

  /** 64-bit value written as hex text. */
  u64(key: string): bigint {
    return BigInt(`0x${this.text(key)}`);
  }

  object(key: string): Case {
    const v = this.#need(
      key,
      'an object',
      (x): x is JsonObject => typeof x === 'object' && x !== null && !Array.isArray(x),
    );
    const child = new Case(v, `${this.#path}.${key}`);
    this.#children.push(child);
    return child;
  }

  objects(key: string): Case[] {
    return this.list(key).map((v, i) => {
      if (typeof v !== 'object' || v === null || Array.isArray(v)) {
        throw new TypeError(`${this.#path}.${key}[${i}]: expected an object`);
      }
      const child = new Case(v, `${this.#path}.${key}[${i}]`);
      this.#children.push(child);
      return child;
    });
  }

  /** @throws when a field was never read. */
  finish(): void {
    const unread = Object.keys(this.#data).filter((k) => !this.#used.has(k));
    assert.deepEqual(unread, [], `${this.#path}: fields that no check reads`);
    for (const child of this.#children) child.finish();
  }
}

/** Runs the checks of one case; throws on the first difference. */
export type CheckCase = (c: Case, file: JsonObject) => void | Promise<void>;

export interface Family {
  /** File name without `.json`. */
  readonly file: string;
  /** Arrays of the file that hold cases (default `cases`), each with its checker. */
  readonly arrays: Readonly<Record<string, CheckCase>>;
  /** Objects of the file whose members are cases, each with its checker. */
  readonly objects?: Readonly<Record<string, CheckCase>>;
  /** Other top-level fields of the file that the checkers use or that are prose. */
  readonly headers?: readonly string[];
}
