/**
 * Group service-command-line: switches, ports, signals, damaged files. Every home gets a planet file
 * first (test/helpers/service.ts), so the planet and the peers of the built-in one are not compared.
 * What ours does otherwise on purpose is marked where it is compared, or skipped
 * with the reason ([4 sections 13, 14]).
 */
import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { parseIdentityText } from '#src/wire/identity.js';
import { HomeFolder, TestService } from '../helpers/service.js';
import { until } from './lab.js';
import { isInside } from './namespace.js';
import { compareRun, type Programs } from './programs.js';
import { type HomeEntry, labSecret, loadRecords, type ServiceRecord } from './records.js';
import { Group } from './report.js';

const ADDRESS = 'ce81a7dba3';

/** Not compared at all, and why. */
const SKIPPED: Readonly<Record<string, string>> = {
  'not-root': 'ours needs no root: it starts',
  'not-root-U': 'starting without root is tested end to end (demo as an unprivileged user)',
  'privilege-drop': 'ours never changes its user: it needs no privileges to drop',
  daemon: 'ours waits until the service answers and is a session of its own; tested end to end',
};

/**
 * Files of ours that the reference does not have; the doors of all networks are there before any is
 * joined [5 section 5.1].
 */
const OURS = new Set(['netcon.lock', 'netcon.cipher', 'nc_all', 'nc_all.dg', 'nc_all.key']);

export async function serviceCommandLine(programs: Programs): Promise<Group> {
  const group = new Group('service-command-line');
  const folder = new HomeFolder();
  try {
    for (const r of loadRecords(group.name)) {
      const reason = SKIPPED[r.id] ?? (needsPorts(r) ? NEEDS_PORTS : undefined);
      if (reason !== undefined) group.skip(r.id, reason);
      else if (r.filesWhileRunning === undefined && r.filesAfterExit === undefined)
        await group.check(r.id, () => compareWords(folder, programs, r));
      else await group.check(r.id, () => new Start(folder, r).run());
    }
  } finally {
    folder.remove();
  }
  return group;
}

const NEEDS_PORTS = 'needs the recorded port: only in a network namespace of its own';

/** Records without a random port use 9993 or another fixed one. */
function needsPorts(r: ServiceRecord): boolean {
  const isStart = r.filesWhileRunning !== undefined || r.state?.startsWith('TCP port') === true;
  return !isInside() && isStart && r.id !== 'port-empty';
}

async function compareWords(
  folder: HomeFolder,
  programs: Programs,
  r: ServiceRecord,
): Promise<void> {
  const home = join(folder.dir, 'words');
  const fill = (text: string): string => text.replaceAll('HOME', home);
  compareRun(await programs.run(r.argv!.map(fill)), r, fill);
  assert.ok(!existsSync(home), 'nothing was made');
}

/** One start of the service as recorded. */
class Start {
  readonly #r: ServiceRecord;
  readonly #home: string;
  readonly #before = new Map<string, string>();
  #blocker: Server | undefined;

  constructor(folder: HomeFolder, r: ServiceRecord) {
    this.#r = r;
    this.#home = folder.home(r.id, null);
  }

  async run(): Promise<void> {
    await this.#prepare();
    const mask = process.umask(this.#r.state?.includes('umask 077') === true ? 0o077 : 0o022);
    const service = new TestService(
      this.#home,
      this.#r.argv!.slice(1).filter((a) => a !== 'HOME'),
    );
    process.umask(mask);
    try {
      await (this.#r.filesWhileRunning === undefined
        ? this.#compareFailure(service)
        : this.#compareSuccess(service));
    } finally {
      await service.stop('SIGKILL');
      await new Promise<void>((done) =>
        this.#blocker === undefined ? done() : this.#blocker.close(() => done()),
      );
    }
  }

  // ---- before the start ----

  #write(name: string, text: string, mode = 0o644): void {
    this.#before.set(name, text);
    writeFileSync(join(this.#home, name), text, { mode });
  }

  async #prepare(): Promise<void> {
    const state = this.#r.state ?? '';
    const secret = labSecret('service-command-line', ADDRESS);
    const publicText = secret.split(':').slice(0, 3).join(':');
    if (!/HOME exists and is empty/.test(state)) {
      this.#write('identity.secret', secret, 0o600);
      this.#write('identity.public', publicText);
    }
    const text = /(identity\.secret|zerotier-one\.pid|local\.conf) contains "?(.*?)"?$/.exec(state);
    if (text !== null) this.#write(text[1]!, text[2]!);
    const port = /settings\.primaryPort (\d+)/.exec(state)?.[1];
    if (port !== undefined) this.#write('local.conf', `{"settings":{"primaryPort":${port}}}`);
    if (state.startsWith('identity.secret ends with a newline'))
      this.#write('identity.secret', `${secret}\n`);
    if (state.startsWith('identity.secret is empty')) this.#write('identity.secret', '');
    if (state.startsWith('identity.public holds')) this.#write('identity.public', 'other text');
    if (this.#r.id === 'authtoken-preset') {
      this.#write('authtoken.secret', ' \n presettoken \n\n', 0o644);
      this.#write('identity.secret', secret, 0o644);
    }
    if (this.#r.id === 'authtoken-empty') this.#write('authtoken.secret', '');
    if (state.includes('controller.db')) this.#write('controller.db', '');
    if (state.includes('iddb.d')) {
      mkdirSync(join(this.#home, 'iddb.d'));
      this.#write('iddb.d/old', 'x');
    }
    if (this.#r.id === 'identity-public-missing') {
      rmSync(join(this.#home, 'identity.public'));
      this.#before.delete('identity.public');
    }
    if (state.startsWith('TCP port')) await this.#takePort(Number(/\d+/.exec(state)![0]));
  }

  async #takePort(port: number): Promise<void> {
    this.#blocker = createServer();
    await new Promise<void>((done) => this.#blocker!.listen(port, '0.0.0.0', done));
  }

  // ---- a start that fails ----

  async #compareFailure(service: TestService): Promise<void> {
    await until('the end of the program', async () => service.child.exitCode !== null);
    const r = this.#r;
    // One exit code for every failed start [4 section 14].
    const isBusyPort = r.state?.startsWith('TCP port') === true;
    assert.equal(service.child.exitCode, isBusyPort ? 1 : r.exitCode, 'exit code');
    if (isBusyPort) assert.match(service.stderr, /fatal error: cannot bind to .* port 9993/);
    else if (r.state?.includes('controller.db') === true)
      assert.match(service.stderr, /controller\.db/);
    else assert.equal(service.stderr, this.#named(r.stderr ?? ''), 'stderr');
    this.#comparePreserved();
    assert.ok(!existsSync(join(this.#home, 'zerotier-one.pid')), 'no pid file is left');
  }

  /** A message under the name of our program, with our home. */
  #named(text: string): string {
    return text.replaceAll('HOME', this.#home).replace(/^zerotier-one:/, 'zerotier-sdk-service:');
  }

  /** What was there before a failed start is there after it. */
  #comparePreserved(): void {
    for (const [name, text] of this.#before)
      assert.equal(readFileSync(join(this.#home, name), 'utf8'), text, name);
  }

  // ---- a start that succeeds ----

  async #compareSuccess(service: TestService): Promise<void> {
    await service.ready();
    // The metrics file comes last of all.
    await until('metrics.prom', async () => existsSync(join(this.#home, 'metrics.prom')));
    this.#compareTree(this.#r.filesWhileRunning!);
    this.#compareIdentity();
    await this.#compareTokens(service);
    await this.#compareEnd(service);
  }

  #compareTree(expected: readonly HomeEntry[]): void {
    const found = new Map(tree(this.#home).map((e) => [e.path, e]));
    for (const e of expected.filter((x) => x.path !== 'planet')) {
      const mine = found.get(e.path);
      assert.ok(mine !== undefined, `${e.path} is missing`);
      assert.equal(mine.mode, e.mode, `mode of ${e.path}`);
      const isFixed = e.path !== 'metrics.prom' && !e.path.startsWith('zerotier-one.');
      const isToken = e.path === 'authtoken.secret' && this.#before.has(e.path);
      if (e.size !== undefined && isFixed && !isToken)
        assert.equal(mine.size, e.size, `size of ${e.path}`);
      found.delete(e.path);
    }
    const rest = [...found.keys()].filter((p) => p !== 'planet' && !OURS.has(p));
    // Ours restores the public identity [4 section 13, 12].
    const allowed = this.#r.id === 'identity-public-missing' ? ['identity.public'] : [];
    assert.deepEqual(rest, allowed, 'no other files');
  }

  #compareIdentity(): void {
    const secret = readFileSync(join(this.#home, 'identity.secret'), 'utf8');
    const kept = this.#before.get('identity.secret');
    if (kept !== undefined && kept !== '') assert.equal(secret, kept, 'the identity is kept');
    const id = parseIdentityText(secret.trim());
    assert.ok(id?.privateKey !== undefined, 'a secret identity');
    const half = secret.trim().split(':').slice(0, 3).join(':');
    assert.equal(readFileSync(join(this.#home, 'identity.public'), 'utf8'), half);
  }

  async #compareTokens(service: TestService): Promise<void> {
    const token = readFileSync(join(this.#home, 'authtoken.secret'), 'utf8');
    const preset = this.#before.get('authtoken.secret');
    if (preset === undefined || preset === '') assert.match(token, /^[a-z0-9]{24}$/);
    else assert.equal(token, preset, 'the token file is kept as it is');
    assert.equal((await service.request('GET', '/status')).status, 200, 'the trimmed token works');
    const none = await fetch(`http://127.0.0.1:${service.port}/status?auth=`);
    assert.equal(none.status, 401, 'an empty token does not');
    await none.text();
    const fixed = this.#r.filesWhileRunning!.find((e) => e.path === 'zerotier-one.port')!.text!;
    const isRandom = this.#r.id === 'port-empty';
    if (isRandom) assert.ok(service.port >= 20_000 && service.port < 65_500, 'a random port');
    else assert.equal(String(service.port), fixed, 'port');
    const pid = readFileSync(join(this.#home, 'zerotier-one.pid'), 'utf8');
    assert.equal(pid, String(service.child.pid), 'pid file');
  }

  async #compareEnd(service: TestService): Promise<void> {
    if (this.#r.id === 'ignored-signals') {
      for (const signal of ['SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGPIPE'] as const)
        service.child.kill(signal);
      assert.equal((await service.request('GET', '/health')).status, 200, 'alive after signals');
    }
    const signal = this.#r.endedBy!;
    assert.equal(await service.stop(signal), 0, 'exit code');
    const isImmediate = signal === ('SIGALRM' as string);
    assert.equal(existsSync(join(this.#home, 'zerotier-one.pid')), isImmediate, 'pid file');
    for (const e of this.#r.filesAfterExit!) {
      const name = typeof e === 'string' ? e : e.path;
      // Records of an abort at the end keep the pid file [4 section 13, 7].
      if (name.startsWith('peers.d') || name === 'planet' || name === 'zerotier-one.pid') continue;
      assert.ok(existsSync(join(this.#home, name)), `${name} after the end`);
    }
  }
}

function tree(dir: string, prefix = ''): { path: string; mode: string; size: number }[] {
  return readdirSync(join(dir, prefix), { withFileTypes: true }).flatMap((e) => {
    const path = prefix === '' ? e.name : `${prefix}/${e.name}`;
    const s = statSync(join(dir, path));
    const own = { path, mode: `0o${(s.mode & 0o777).toString(8)}`, size: s.size };
    return e.isDirectory() ? [own, ...tree(dir, path)] : [own];
  });
}
