/**
 * Revision counters: their absolute values depend on requests that are not in the set, their steps
 * do not. Between two records without a gap an object's counter must move as it was recorded.
 */
import assert from 'node:assert/strict';
import { isRecord, type JsonRecord, type JsonValue } from '#src/lib/json.js';

interface Pair {
  readonly ours: number;
  readonly theirs: number;
}

export class Revisions {
  readonly #last = new Map<string, Pair>();

  /**
   * @param isGap requests are missing before this record: values are taken as they are.
   * A failed check leaves everything as it was, so it can be made again.
   */
  check(ours: JsonValue, theirs: JsonValue, isGap: boolean): void {
    if (isGap) this.#last.clear();
    const mine = new Map(objects(ours).map((o) => [identityOf(o), o['revision']]));
    for (const o of objects(theirs)) {
      const id = identityOf(o);
      const pair = { ours: Number(mine.get(id)), theirs: Number(o['revision']) };
      const last = this.#last.get(id);
      if (last === undefined) assert.ok(pair.ours >= 1, `revision of ${id}: ${pair.ours}`);
      else
        assert.equal(pair.ours - last.ours, pair.theirs - last.theirs, `step of ${id}'s revision`);
      this.#last.set(id, pair);
    }
  }
}

function objects(v: JsonValue): JsonRecord[] {
  const list = isRecord(v) && Array.isArray(v['data']) ? v['data'] : [v];
  return list.filter(isRecord).filter((o) => o['revision'] !== undefined);
}

function identityOf(o: JsonRecord): string {
  return `${String(o['nwid']).toLowerCase()}/${String(o['address'] ?? '').toLowerCase()}`;
}
