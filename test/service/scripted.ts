/**
 * Group cli-scripted-service: the CLI against a server that gives the recorded answers. Compared:
 * the exact bytes of every request, both streams, the exit code, the dump file.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { compareRun, type Programs } from './programs.js';
import { loadRecords, type ServiceRecord } from './records.js';
import { Group, inParallel } from './report.js';

const WIDTH = 3;
/** Time that passed in the recorded program between its start and its reading of the clock, in ms. */
const START_MS = 8;
/** How far two ages may differ for that reason, in ms. */
const AGE_TOLERANCE_MS = 40;

/** Requests that the reference gets wrong [4 section 4.4], and what ours sends instead. */
const CORRECTED: Readonly<Record<string, readonly [theirs: string, ours: string]>> = {
  'bond-setmtu-7-words': ['/bond/setmtu/10.94.0.3// ', '/bond/setmtu/1400/eth0/10.94.0.3 '],
};

export async function cliScriptedService(dir: string, programs: Programs): Promise<Group> {
  const group = new Group('cli-scripted-service');
  await inParallel(loadRecords(group.name), WIDTH, async (r) => {
    if ((r.exitCode ?? 0) < 0) group.skip(r.id, 'the reference aborts on a missing field');
    else await group.check(r.id, () => replay(join(dir, group.name, String(r.seq)), programs, r));
  });
  return group;
}

/** Serves the recorded answers in turn, one connection each, and keeps what was asked. */
class Script {
  readonly requests: string[] = [];
  readonly #answers: readonly string[];
  readonly #server: Server;

  constructor(answers: readonly string[]) {
    this.#answers = answers;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  async listen(): Promise<number> {
    await new Promise<void>((done) => this.#server.listen(0, '127.0.0.1', done));
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    this.#server.close();
  }

  #serve(socket: Socket): void {
    const at = this.requests.push('') - 1;
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      this.requests[at] += chunk.toString('latin1');
      if (isWhole(this.requests[at]!)) socket.end(this.#answers[at] ?? '');
    });
  }
}

function isWhole(request: string): boolean {
  const end = request.indexOf('\r\n\r\n');
  if (end < 0) return false;
  const length = Number(/\r\nContent-Length: (\d+)/i.exec(request)?.[1] ?? 0);
  return request.length >= end + 4 + length;
}

async function replay(cwd: string, programs: Programs, r: ServiceRecord): Promise<void> {
  const home = join(cwd, 'home');
  mkdirSync(home, { recursive: true });
  writeFileSync(join(home, 'authtoken.secret'), 'scripttoken');
  const script = new Script(r.scriptedResponses ?? []);
  writeFileSync(join(home, 'zerotier-one.port'), String(await script.listen()));
  const fill = (text: string): string => text.replaceAll('HOME', home).replaceAll('CWD', cwd);
  try {
    const clock = (r.time ?? 0) + START_MS;
    const run = await programs.run(r.argv!.map(fill), { cwd, clock });
    compareRun(run, r, fill, sameOutput);
    const [theirs, ours] = CORRECTED[r.id] ?? ['', ''];
    const expected = r.rawRequests!.map((q) => q.replace(theirs, ours));
    assert.deepEqual(script.requests, expected, 'request bytes');
    compareDump(cwd, r);
  } finally {
    script.close();
  }
}

/** Equal but for ages a few milliseconds apart, and for the parser's words about malformed JSON. */
function sameOutput(actual: string, expected: string): boolean {
  const [a, b] = [actual, expected].map((t) =>
    t.replace(/invalid JSON response \(.*\)$/m, 'invalid JSON response (WORDING)'),
  );
  const [mine, theirs] = [a!, b!].map((t) => t.split(/(\d+)/));
  if (mine!.length !== theirs!.length) return false;
  return mine!.every((part, i) => {
    const other = theirs![i]!;
    if (part === other) return true;
    const isNumber = i % 2 === 1 && part.length === other.length;
    return isNumber && Math.abs(Number(part) - Number(other)) <= AGE_TOLERANCE_MS;
  });
}

function compareDump(cwd: string, r: ServiceRecord): void {
  for (const [name, text] of Object.entries(r.filesAfter ?? {})) {
    const file = name.split(' ')[0]!;
    const actual = readFileSync(join(cwd, file), 'utf8');
    assert.equal(actual.slice(0, text.length), text, file);
    assert.match(actual.slice(text.length), /^Network Interfaces\n-+\n/);
  }
}
