/**
 * Group http-connections: whole conversations on the control port. Where ours is better on purpose
 * [4 section 13, 6] the record's first answer is compared and `BETTER` says what comes instead.
 */
import assert from 'node:assert/strict';
import { compareBody, compareHead } from './compare.js';
import { Lab } from './lab.js';
import { Mapping } from './mapping.js';
import { Connection, type RawAnswer } from './raw-http.js';
import { type Exchange, type HttpResponse, loadRecords, type ServiceRecord } from './records.js';
import { Group, inParallel } from './report.js';

/** The reference times an idle connection out after 5 s; ours looks once a second. */
const WIDTH = 8;

const SKIPPED: Readonly<Record<string, string>> = {
  'form-body-too-long': 'ours has no limit of its own for form bodies',
  'post-no-length-body':
    'ours takes a POST without a length as empty at once instead of waiting 5 s for its end',
};

/** What ours does after the recorded part of a conversation. */
const BETTER: Readonly<Record<string, (c: Connection) => Promise<void>>> = {
  // Both requests are answered.
  'pipelined-two': async (c) => assert.equal((await c.answer()).status, 200),
  // Rubbish in the place of a request ends the connection at once.
  'bare-lf': (c) => c.closed(),
  // So does a body that did not come.
  'post-short-body': (c) => c.closed(),
};

export async function httpConnections(): Promise<Group> {
  const group = new Group('http-connections');
  const lab = await Lab.start(['root', 'm1']);
  try {
    const records = loadRecords(group.name);
    const isChanging = (r: ServiceRecord): boolean =>
      (r.exchange ?? []).some((e) => /^(?:POST|DELETE)/.test(e.sent));
    await inParallel(
      records.filter((r) => !isChanging(r)),
      WIDTH,
      (r) => check(group, lab, r),
    );
    for (const r of records.filter(isChanging)) await check(group, lab, r);
  } finally {
    await lab.stop();
  }
  return group;
}

async function check(group: Group, lab: Lab, r: ServiceRecord): Promise<void> {
  const reason = SKIPPED[r.id];
  if (reason !== undefined) group.skip(r.id, reason);
  else if (r.id === 'eight-idle-connections') await group.check(r.id, () => idleOnes(lab));
  else await group.check(r.id, () => converse(lab, r));
}

/** Eight connections that send nothing keep nobody waiting. */
async function idleOnes(lab: Lab): Promise<void> {
  const { port } = lab.node('m1').service;
  const idle = await Promise.all(
    Array.from({ length: 8 }, () => Connection.open('127.0.0.1', port)),
  );
  const c = await Connection.open('127.0.0.1', port);
  c.send('GET /health HTTP/1.1\r\n\r\n');
  assert.equal((await c.answer()).status, 200);
  for (const other of [...idle, c]) other.end();
}

async function converse(lab: Lab, r: ServiceRecord): Promise<void> {
  const { service } = lab.node('m1');
  const mapping = new Mapping().add('TOKEN', service.token);
  const c = await Connection.open('127.0.0.1', service.port);
  try {
    for (const step of r.exchange!) {
      c.send(mapping.translate(step.sent));
      if (step.received !== '') compareStep(await c.answer(), step, r);
      const more = BETTER[r.id];
      if (more !== undefined) await more(c);
      else if (step.closedByServerAfter !== undefined) await c.closed();
    }
  } finally {
    c.end();
  }
}

function compareStep(actual: RawAnswer, step: Exchange, r: ServiceRecord): void {
  const expected = responseOf(step.received);
  // A body that never came whole ends the connection, and the answer says so.
  const isCut = r.id === 'post-short-body';
  if (isCut) assert.equal(actual.status, expected.status);
  else compareHead(actual, expected);
  compareBody(actual, expected);
}

/** The first answer of a recorded text. */
function responseOf(text: string): HttpResponse {
  const end = text.indexOf('\r\n\r\n');
  const [statusLine = '', ...lines] = text.slice(0, end).split('\r\n');
  return {
    statusLine,
    status: Number(statusLine.split(' ')[1]),
    headers: lines.map((l): [string, string] => {
      const colon = l.indexOf(':');
      return [l.slice(0, colon), l.slice(colon + 1).trim()];
    }),
    body: text.slice(end + 4),
  };
}
