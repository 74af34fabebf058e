import test from 'ava';
import { parseServiceLine } from '#src/cli/service/args.js';
import { leadingNumber, parseCommandLine } from '#src/cli/zt/args.js';

const run = (...args: string[]) => {
  const line = parseCommandLine(args);
  if (line.kind !== 'run') throw new Error(`${args.join(' ')} gives ${line.kind}`);
  return line;
};

test('switches count wherever they stand, the last of equal ones wins', (t) => {
  const line = run('-Da', 'get', '-j', '8056c2e21c000001', '-Db', 'ip', '-p1', '-p65535', '-Tx');
  t.deepEqual(line.words, ['get', '8056c2e21c000001', 'ip']);
  t.deepEqual(line.switches, { json: true, home: 'b', port: 65_535, token: 'x', host: undefined });
});

for (const word of ['-h', '-?', '-hx', '-x', '-', '--json'])
  test(`${word} is answered with the usage and success`, (t) => {
    t.deepEqual(parseCommandLine(['info', word]), { kind: 'usage', exitCode: 0 });
  });

for (const word of ['-vx', '-jx', '-qx', '-D', '-T', '-H', '-p', '-p0', '-p65536', '-pabc'])
  test(`${word} is answered with the usage and failure`, (t) => {
    t.deepEqual(parseCommandLine(['info', word]), { kind: 'usage', exitCode: 1 });
  });

test('the first switch that ends the reading decides', (t) => {
  t.deepEqual(parseCommandLine(['-v', '-p0']), { kind: 'version' });
  t.deepEqual(parseCommandLine(['-p0', '-v']), { kind: 'usage', exitCode: 1 });
});

test('-q alone changes nothing', (t) => {
  t.deepEqual(run('-q', 'info'), run('info'));
});

test('a number ends where its digits end', (t) => {
  t.is(leadingNumber('9993\n'), 9993);
  t.is(leadingNumber('80x'), 80);
  t.is(leadingNumber('junk'), 0);
  t.is(leadingNumber(''), 0);
});

test('the service takes its port glued on, and no number as random', (t) => {
  const port = (word: string) => {
    const line = parseServiceLine([word, 'home'], {});
    return line.kind === 'run' ? line.port : line;
  };
  t.is(port('-p8000'), 8000);
  t.is(port('-p'), 0);
  t.is(port('-p0'), 0);
  t.is(port('-p80x'), 80);
  t.deepEqual(port('-p65536'), { kind: 'usage', exitCode: 1 });
});

test('the home of the service is the word, the environment, or the usual folder', (t) => {
  const home = (args: string[], env: NodeJS.ProcessEnv = {}) => {
    const line = parseServiceLine(args, env);
    return line.kind === 'run' ? line.home : line.kind;
  };
  t.is(home(['-d', '-U', '/x'], { ZEROTIER_HOME: '/y' }), '/x');
  t.is(home([], { ZEROTIER_HOME: '/y' }), '/y');
  t.is(home([], { ZEROTIER_HOME: '' }), '/var/lib/zerotier-one');
  t.is(home(['/x', '/y']), 'usage');
});

test('-i as first word and -q anywhere make the service another program', (t) => {
  t.deepEqual(parseServiceLine(['-i', 'generate'], {}), { kind: 'idtool', args: ['generate'] });
  t.deepEqual(parseServiceLine(['-q', '-D/x', 'info'], {}), {
    kind: 'cli',
    args: ['-D/x', 'info'],
  });
  t.is(parseServiceLine(['-ix'], {}).kind, 'usage');
  t.is(parseServiceLine(['-d', '-i'], {}).kind, 'usage');
  t.is(parseServiceLine(['-qx'], {}).kind, 'usage');
});
