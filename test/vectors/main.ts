/**
 * Runs the vector families over every `*.json` of VECTORS_DIR (default: this project's own copy).
 * A file without a family counts as failed unless `--only` leaves it out; an empty folder, a file
 * with no case and a field that no check reads are errors. Exit code 0 only if everything passed.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readOptions } from '../helpers/args.js';
import { Case, type CheckCase, type Family, type Json, type JsonObject } from './case.js';
import { families } from './families.js';

const USAGE = `usage: node build/test/vectors/main.js [--only FAMILY[,FAMILY...]]

Runs the families of checks over the case files of VECTORS_DIR (default: this project's own).
`;

const HEADERS = new Set(['description', 'reference', 'format', 'set']);

interface Outcome {
  passed: number;
  failures: string[];
}

/** The cases of a file: the items of its arrays, the members of its objects. */
function casesOf(family: Family, doc: JsonObject, out: Outcome): [Case, CheckCase][] {
  const cases: [Case, CheckCase][] = [];
  const add = (item: Json, path: string, check: CheckCase): void => {
    cases.push([new Case(item as JsonObject, `${family.file}.${path}`), check]);
  };
  for (const [key, check] of Object.entries(family.arrays)) {
    const list = doc[key];
    if (!Array.isArray(list) || list.length === 0)
      out.failures.push(`${family.file}.${key}: no case`);
    else for (const [i, item] of list.entries()) add(item, `${key}[${i}]`, check);
  }
  for (const [key, check] of Object.entries(family.objects ?? {})) {
    const named = Object.entries((doc[key] ?? {}) as JsonObject);
    if (named.length === 0) out.failures.push(`${family.file}.${key}: no case`);
    for (const [name, item] of named) add(item, `${key}.${name}`, check);
  }
  return cases;
}

async function runCases(family: Family, doc: JsonObject): Promise<Outcome> {
  const out: Outcome = { passed: 0, failures: [] };
  for (const [c, check] of casesOf(family, doc, out)) {
    try {
      await check(c, doc);
      c.finish();
      out.passed++;
    } catch (e) {
      out.failures.push(`${c.path}: ${e instanceof Error ? e.message : String(e)}`);
    }
  }
  return out;
}

async function runFile(dir: string, name: string): Promise<Outcome> {
  const doc = JSON.parse(readFileSync(join(dir, `${name}.json`), 'utf8')) as JsonObject;
  const family = families.find((f) => f.file === name);
  if (family === undefined) return { passed: 0, failures: [`${name}: no family reads this file`] };
  const known = new Set([
    ...HEADERS,
    ...Object.keys(family.arrays),
    ...Object.keys(family.objects ?? {}),
    ...(family.headers ?? []),
  ]);
  const unknown = Object.keys(doc).filter((k) => !known.has(k));
  if (unknown.length > 0) return { passed: 0, failures: [`${name}: unknown field ${unknown}`] };
  return runCases(family, doc);
}

async function main(): Promise<number> {
  const args = readOptions('vectors', USAGE, { only: { type: 'string' } });
  const only = args.only?.split(',');
  const dir =
    process.env['VECTORS_DIR'] ?? new URL('../../../test/vectors', import.meta.url).pathname;
  const names = readdirSync(dir)
    .filter((n) => n.endsWith('.json'))
    .map((n) => n.slice(0, -5))
    .filter((n) => only === undefined || only.includes(n))
    .sort();
  if (names.length === 0) {
    console.error(`vectors: no case file in ${dir}`);
    return 1;
  }
  const total: Outcome = { passed: 0, failures: [] };
  for (const name of names) {
    const out = await runFile(dir, name);
    console.log(`${name}: ${out.passed} passed, ${out.failures.length} failed`);
    for (const f of out.failures.slice(0, 5)) console.error(`  ${f.slice(0, 600)}`);
    total.passed += out.passed;
    total.failures.push(...out.failures);
  }
  console.log(`vectors: ${total.passed} passed, ${total.failures.length} failed`);
  return total.failures.length === 0 ? 0 : 1;
}

process.exitCode = await main();
