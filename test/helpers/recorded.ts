/** Payloads and other byte strings out of the recorded vectors and transcripts. */
import { readdirSync, readFileSync } from 'node:fs';
import { fromHex } from '#src/lib/hex.js';

const VECTORS = new URL('../../../test/vectors/', import.meta.url);

export interface Sample {
  readonly verb: number;
  readonly bytes: Uint8Array;
}

/** Every object of a record that names a verb and a payload. */
function collect(x: unknown, out: Sample[]): void {
  if (Array.isArray(x)) for (const y of x) collect(y, out);
  else if (typeof x === 'object' && x !== null) {
    const o = x as Record<string, unknown>;
    const text = o['plaintextPayload'] ?? o['payload'];
    const verb = o['verb'];
    if (typeof text === 'string' && typeof verb === 'number' && /^(?:[0-9a-f]{2})*$/.test(text))
      out.push({ verb: verb & 0x1f, bytes: fromHex(text) });
    for (const y of Object.values(o)) collect(y, out);
  }
}

/** Other hex texts of the vectors: certificates, rules, dictionaries, worlds. */
function collectHex(x: unknown, out: Uint8Array[]): void {
  if (typeof x === 'string') {
    if (x.length >= 8 && x.length <= 12_000 && /^(?:[0-9a-f]{2})+$/.test(x)) out.push(fromHex(x));
  } else if (typeof x === 'object' && x !== null)
    for (const y of Object.values(x)) collectHex(y, out);
}

export const samples: Sample[] = [];
export const hexes: Uint8Array[] = [];
for (const name of readdirSync(new URL('transcripts/', VECTORS))) {
  if (name.endsWith('.json'))
    collect(JSON.parse(readFileSync(new URL(`transcripts/${name}`, VECTORS), 'utf8')), samples);
}
for (const name of readdirSync(VECTORS)) {
  if (!name.endsWith('.json')) continue;
  const doc: unknown = JSON.parse(readFileSync(new URL(name, VECTORS), 'utf8'));
  collect(doc, samples);
  if (/^(?:vl2|world|identity|encoding)/.test(name)) collectHex(doc, hexes);
}
