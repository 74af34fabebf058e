import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { PooledEntropy } from '#src/host/entropy.js';
import { Home } from '#src/host/home.js';
import { lockHome } from '#src/host/lock.js';
import { readToken, trimToken } from '#src/host/tokens.js';

function home(t: { teardown(fn: () => void): void }): Home {
  const dir = mkdtempSync(join(tmpdir(), 'nchome-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  return new Home(dir, () => undefined);
}

test('a queued file holds its newest content, and no temporary file stays', async (t) => {
  const h = home(t);
  for (let i = 0; i < 50; i++) h.write('peers.d/one.peer', `content ${i}`);
  await h.flush();
  t.is(h.readText('peers.d/one.peer'), 'content 49');
  t.deepEqual(readdirSync(h.path('peers.d')), ['one.peer']);
});

test('a removal after a write wins, and a write after a removal too', async (t) => {
  const h = home(t);
  h.write('a', '1');
  h.remove('a');
  h.remove('b');
  h.write('b', '2');
  await h.flush();
  t.is(h.read('a'), undefined);
  t.is(h.readText('b'), '2');
});

test('a folder that can not be made is an error, also where mkdir itself says ENOENT', (t) => {
  for (const dir of ['/proc/none', '/proc/none/below'])
    t.throws(() => new Home(dir, () => undefined).create(), { code: 'ENOENT' });
  const h = home(t);
  writeFileSync(h.path('file'), '');
  t.throws(() => new Home(h.path('file'), () => undefined).create(), { message: /not a folder/ });
  new Home(h.path('a/b/c'), () => undefined).create();
  t.true(statSync(h.path('a/b/c')).isDirectory());
});

test('secrets are written with mode 0600, whatever was there before', (t) => {
  const h = home(t);
  writeFileSync(h.path('identity.secret'), 'old', { mode: 0o644 });
  h.writeSecretNow('identity.secret', 'new');
  t.is(statSync(h.path('identity.secret')).mode & 0o777, 0o600);
  t.is(h.readText('identity.secret'), 'new');
});

test('a file that can not be written is reported and does not stop the others', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'nchome-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const said: string[] = [];
  const h = new Home(dir, (level, text) => said.push(`${level} ${text}`));
  writeFileSync(h.path('plain'), '');
  h.write('plain/inside', 'x');
  h.write('fine', 'y');
  await h.flush();
  t.is(h.readText('fine'), 'y');
  t.is(said.length, 1);
  t.true(said[0]!.includes('plain/inside was not written'));
});

test('a home has one holder, whose pid the next one is told', async (t) => {
  const h = home(t);
  const lock = await lockHome(h.path('netcon.lock'), h.dir);
  await t.throwsAsync(lockHome(h.path('netcon.lock'), h.dir), {
    code: 'ERR_HOME_IN_USE',
    message: `${h.dir} is in use by pid ${process.pid}`,
  });
  await lock.release();
  const again = await lockHome(h.path('netcon.lock'), h.dir);
  await again.release();
  t.false(existsSync(h.path('netcon.lock')));
});

test('a token is made once, trimmed when read, and never empty', (t) => {
  const h = home(t);
  const made = readToken(h, 'authtoken.secret');
  t.regex(made, /^[a-z0-9]{24}$/);
  t.is(readToken(h, 'authtoken.secret'), made);
  writeFileSync(h.path('authtoken.secret'), ' \tsecret\r\n\0');
  t.is(readToken(h, 'authtoken.secret'), 'secret');
  writeFileSync(h.path('authtoken.secret'), '\n');
  t.regex(readToken(h, 'authtoken.secret'), /^[a-z0-9]{24}$/);
  t.is(trimToken('\n a b \n'), 'a b');
});

test('pooled entropy never hands out the same bytes twice and fills long requests', (t) => {
  const e = new PooledEntropy();
  const seen = new Set<string>();
  for (let i = 0; i < 2_000; i++) {
    const b = new Uint8Array(8);
    e.fill(b);
    seen.add(b.join());
  }
  t.is(seen.size, 2_000);
  const long = new Uint8Array(10_000);
  e.fill(long);
  t.true(new Set(long).size > 200);
});

test('of many that find a stale lock one gets the home', async (t) => {
  const h = home(t);
  const path = h.path('netcon.lock');
  const holds =
    'require("net").createServer().listen(process.argv[1], () => process.kill(process.pid, 9))';
  spawnSync(process.execPath, ['-e', holds, path]);
  t.true(existsSync(path), 'left behind');
  const tries = await Promise.allSettled(Array.from({ length: 8 }, () => lockHome(path, h.dir)));
  const got = tries.filter((x) => x.status === 'fulfilled');
  t.is(got.length, 1);
  for (const x of tries)
    if (x.status === 'rejected') t.is((x.reason as { code: string }).code, 'ERR_HOME_IN_USE');
  await got[0]!.value.release();
  t.deepEqual(readdirSync(h.dir), []);
});

test('records that can not be read are left out, old ones removed', async (t) => {
  const h = home(t);
  mkdirSync(h.path('peers.d/folder'), { recursive: true });
  t.is(h.readRecord('peers.d/folder'), undefined);
  for (const name of ['old', 'new']) writeFileSync(h.path(`peers.d/${name}`), name);
  utimesSync(h.path('peers.d/old'), 1_000, 1_000);
  h.removeOlder('peers.d', Date.now() - 60_000, 9);
  await h.flush();
  t.deepEqual(h.list('peers.d'), ['new']);
});

test('of too many files the newest are kept', async (t) => {
  const h = home(t);
  mkdirSync(h.path('peers.d'));
  for (let i = 1; i <= 5; i++) {
    writeFileSync(h.path(`peers.d/${i}`), '');
    utimesSync(h.path(`peers.d/${i}`), 1_000, 1_000 * ((i * 2) % 5) + 1_000);
  }
  h.removeOlder('peers.d', 0, 5);
  await h.flush();
  t.is(h.list('peers.d').length, 5);
  h.removeOlder('peers.d', 0, 2);
  await h.flush();
  t.deepEqual(h.list('peers.d').sort(), ['2', '4']);
});
