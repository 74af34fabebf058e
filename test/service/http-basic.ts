/** Group http-basic: access, methods, JSONP, ranges, protocol details, on member m1. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { compareBody, compareHead } from './compare.js';
import { Lab, RECORDED_ROOT } from './lab.js';
import { Mapping } from './mapping.js';
import { isInside, OTHER_ADDRESS } from './namespace.js';
import { Connection, requestBytes } from './raw-http.js';
import { type HttpRequest, loadRecords, type ServiceRecord } from './records.js';
import { Group } from './report.js';

/** Requests that can not be parsed: the reference keeps the connection, ours ends it (transport.ts). */
const UNPARSABLE = new Set(['status-bogus-method', 'status-lowercase-method']);

export async function httpBasic(): Promise<Group> {
  const group = new Group('http-basic');
  const conf = { settings: { netcon: { apiBind: '0.0.0.0,::' } } };
  const lab = await Lab.start(['root', 'm1'], conf);
  try {
    const records = loadRecords(group.name);
    const mapping = mappingOf(lab, records);
    for (const r of records) {
      if (isFromOutside(r) && !isInside()) {
        group.skip(
          r.id,
          'needs a network namespace: no other address of this machine to call from',
        );
      } else await group.check(r.id, () => replay(lab, mapping, r));
    }
  } finally {
    await lab.stop();
  }
  return group;
}

function mappingOf(lab: Lab, records: readonly ServiceRecord[]): Mapping {
  const { service } = lab.node('m1');
  const header = (id: string): string =>
    records.find((r) => r.id === id)?.request?.headers.find(([k]) => k === 'X-ZT1-Auth')?.[1] ?? '';
  return new Mapping()
    .add(RECORDED_ROOT, lab.node('root').address)
    .add(header('status-ok'), service.token)
    .add(
      header('auth-metrics-token-on-status'),
      readFileSync(join(service.home, 'metricstoken.secret'), 'utf8'),
    );
}

/** Whether the recorded request came from an address that is not loopback. */
function isFromOutside(r: ServiceRecord): boolean {
  return r.request!.headers.some(([k, v]) => k === 'Host' && v.startsWith('10.'));
}

async function replay(lab: Lab, mapping: Mapping, r: ServiceRecord): Promise<void> {
  const request = translated(mapping, r.request!);
  const expected = { ...r.response!, body: mapping.translate(r.response!.body) };
  const host = isFromOutside(r) ? OTHER_ADDRESS : '127.0.0.1';
  const c = await Connection.open(host, lab.node('m1').service.port);
  try {
    c.send(requestBytes(request));
    const actual = await c.answer(request.method !== 'HEAD');
    compareHead(actual, expected);
    assert.equal(actual.interim, r.interimResponse ?? '', 'interim answers');
    if (request.target.startsWith('/metrics')) assert.match(actual.body, /^# HELP zt_/);
    else compareBody(actual, expected);
    const isKept = r.connectionAfter === 'kept open' && !UNPARSABLE.has(r.id);
    if (isKept) {
      c.send('GET /health HTTP/1.1\r\n\r\n');
      const next = await c.answer();
      assert.ok(next.status === 200 || next.status === 401, 'an answer on the same connection');
    } else await c.closed();
  } finally {
    c.end();
  }
}

/** A request in our terms; texts that the records shorten are written out. */
export function translated(mapping: Mapping, r: HttpRequest): HttpRequest {
  const long = (text: string): string =>
    text.replace(/\((\d+) times "?(.)"?\)/, (_, n: string, c: string) => c.repeat(Number(n)));
  return {
    ...r,
    target: mapping.translate(long(r.target)),
    headers: r.headers.map(([k, v]) => [k, mapping.translate(long(v))] as const),
    body: r.body === null ? null : mapping.translate(long(r.body)),
  };
}
