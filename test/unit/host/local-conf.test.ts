import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { Home } from '#src/host/home.js';
import { LocalConfFile, parseLocalConf } from '#src/host/local-conf.js';

test('content is an object, or nothing', (t) => {
  t.deepEqual(parseLocalConf(undefined), {});
  t.deepEqual(parseLocalConf(' \n'), {});
  t.throws(() => parseLocalConf('{'), { message: 'unable to parse local.conf (invalid JSON)' });
  for (const text of ['null', '[]', '1'])
    t.throws(() => parseLocalConf(text), {
      message: 'unable to parse local.conf (root element is not a JSON object)',
    });
  t.throws(() => parseLocalConf('{"settings":{"netcon":{"cipher":"rot13"}}}'), {
    code: 'ERR_LOCAL_CONF',
  });
});

test('a change is taken up once, bad content is said once and changes nothing', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'nctest-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const said: string[] = [];
  const log = (_: string, text: string) => said.push(text);
  const home = new Home(dir, log);
  const write = (text: string) => writeFileSync(join(dir, 'local.conf'), text);
  const file = new LocalConfFile(home, log);
  t.deepEqual(file.load(), {});
  t.is(file.reload(), undefined, 'still missing');
  write('{"settings":{"primaryPort":1}}');
  t.deepEqual({ ...file.reload() }, { settings: { primaryPort: 1 } } as never);
  t.is(file.reload(), undefined, 'unchanged');
  write('{"settings":{"primaryPort":12}');
  t.is(file.reload(), undefined);
  t.is(file.reload(), undefined);
  t.is(said.length, 1);
  rmSync(join(dir, 'local.conf'));
  t.is(file.reload(), undefined, 'removed');
  write('{}');
  t.deepEqual({ ...file.reload() }, {});
  t.is(said.length, 1);
});
