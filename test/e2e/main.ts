/**
 * Whole programs on this machine alone: the demo (as root, unprivileged, in an empty network
 * namespace), the service's command line and errors, `netcon run` and `netcon planet`.
 * Prints one line per check and last `e2e: N passed, N failed, N skipped`.
 */
import assert from 'node:assert/strict';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  HomeFolder,
  packageFile,
  runProgram,
  TestService,
  testAddress,
} from '../helpers/service.js';
import { Skip, Tally } from '../helpers/tally.js';

const NETCON = packageFile('dist/netcon.js');
const SERVICE = packageFile('dist/service.js');
const tally = new Tally('e2e');
const folder = new HomeFolder();
const isRoot = process.getuid?.() === 0;

/** Prefix that puts a command into a network namespace of its own with only lo up. */
async function isolation(): Promise<string[] | undefined> {
  for (const prefix of [
    ['unshare', '-n'],
    ['unshare', '-rn'],
  ]) {
    const r = await runProgram(prefix[0]!, [
      ...prefix.slice(1),
      'ip',
      'link',
      'set',
      'lo',
      'up',
    ]).catch(() => undefined);
    if (r?.code === 0) return [...prefix, 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh'];
  }
  return undefined;
}

function demoLeftovers(): string[] {
  return readdirSync(tmpdir()).filter((n) => n.startsWith('netcon-demo-'));
}

async function demo(
  title: string,
  prefix: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<void> {
  await tally.check(title, async () => {
    const before = demoLeftovers();
    const [file, ...args] = [...prefix, process.execPath, NETCON, 'demo', '--bytes', '1000000'];
    const r = await runProgram(file!, args, env, 60_000, '/');
    assert.equal(r.code, 0, r.stdout + r.stderr);
    assert.match(r.stdout, /SHA-256 as sent/);
    assert.match(r.stdout, /encrypted datagrams/);
    assert.deepEqual(demoLeftovers(), before, 'the demo leaves nothing behind');
  });
}

async function demos(isolated: readonly string[]): Promise<void> {
  await demo('the demo runs in a network namespace with only lo', isolated);
  if (!isRoot) {
    tally.skip('the demo as an unprivileged user', 'only root can become another user');
    return;
  }
  const copy = join(folder.dir, 'package');
  mkdirSync(copy);
  for (const part of ['dist', 'examples', 'package.json'])
    cpSync(packageFile(part), join(copy, part), { recursive: true });
  chmodSync(folder.dir, 0o755);
  await tally.check('the demo runs as an unprivileged user without new privileges', async () => {
    const user = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--no-new-privs'];
    const [file, ...args] = [
      ...isolated,
      ...user,
      process.execPath,
      join(copy, 'dist/netcon.js'),
      'demo',
      '--bytes',
      '1000000',
    ];
    const r = await runProgram(
      file!,
      args,
      { PATH: process.env['PATH'], HOME: '/nonexistent' },
      60_000,
      '/',
    );
    assert.equal(r.code, 0, r.stdout + r.stderr);
  });
  await tally.check('the demo ends on SIGINT and leaves nothing behind', async () => {
    const before = demoLeftovers();
    const script = `"$@" & pid=$!; sleep 2; kill -INT $pid; wait $pid; echo code $?`;
    const [file, ...args] = [
      ...isolated,
      'bash',
      '-mc',
      script,
      'bash',
      process.execPath,
      NETCON,
      'demo',
    ];
    const r = await runProgram(file!, args, process.env, 30_000, '/');
    assert.match(r.stdout, /code 130/, r.stdout + r.stderr);
    assert.deepEqual(demoLeftovers(), before);
  });
}

async function serviceErrors(): Promise<void> {
  await tally.check(
    'a second instance on a home is refused and leaves the first alone',
    async () => {
      const first = await new TestService(folder.home('second', 1)).ready();
      try {
        const pid = readFileSync(join(first.home, 'zerotier-one.pid'), 'utf8');
        const r = await runProgram(process.execPath, [SERVICE, '-p0', first.home]);
        assert.equal(r.code, 1);
        assert.match(r.stderr, new RegExp(`${first.home} is in use by pid ${first.child.pid}`));
        assert.equal(readFileSync(join(first.home, 'zerotier-one.pid'), 'utf8'), pid);
        assert.equal((await first.request('GET', '/status')).status, 200);
      } finally {
        assert.equal(await first.stop(), 0);
      }
      assert.ok(!existsSync(join(first.home, 'zerotier-one.pid')), 'the pid file is removed');
    },
  );
  await tally.check('a home left by a killed service starts again', async () => {
    const first = await new TestService(folder.home('killed', 1)).ready();
    await first.stop('SIGKILL');
    const again = await new TestService(first.home).ready();
    assert.equal(await again.stop(), 0);
  });
  await tally.check('a busy port is named', async () => {
    const blocker = createServer();
    await new Promise<void>((r) => blocker.listen(0, '0.0.0.0', r));
    const blocker6 = createServer();
    const { port } = blocker.address() as { port: number };
    await new Promise<void>((r) => blocker6.listen({ port, host: '::', ipv6Only: true }, r));
    try {
      const r = await runProgram(process.execPath, [SERVICE, `-p${port}`, folder.home('busy', 1)]);
      assert.equal(r.code, 1);
      assert.match(r.stderr, new RegExp(`cannot bind to local control interface port ${port}`));
    } finally {
      blocker.close();
      blocker6.close();
    }
  });
  await tally.check('a port above 65535 prints the usage, exit code 1', async () => {
    const r = await runProgram(process.execPath, [SERVICE, '-p65536', folder.home('badport', 1)]);
    assert.equal(r.code, 1);
    assert.match(r.stdout, /usage/);
  });
  await tally.check('a home that can not be made is named', async () => {
    const file = join(folder.dir, 'file');
    writeFileSync(file, '');
    const r = await runProgram(process.execPath, [SERVICE, '-p0', join(file, 'home')]);
    assert.equal(r.code, 1);
    assert.match(r.stderr, /can not be created/);
  });
  await tally.check('a home whose path is too long for its sockets is refused', async () => {
    const r = await runProgram(process.execPath, [
      SERVICE,
      '-p0',
      join(folder.dir, 'x'.repeat(90)),
    ]);
    assert.equal(r.code, 1);
    assert.match(r.stderr, /too long/);
  });
  await tally.check('an invalid identity is refused and kept', async () => {
    const home = folder.home('badid', null);
    writeFileSync(join(home, 'identity.secret'), 'nonsense');
    const r = await runProgram(process.execPath, [SERVICE, '-p0', home]);
    assert.equal(r.code, 1);
    assert.match(r.stderr, /invalid identity loaded from disk/);
    assert.equal(readFileSync(join(home, 'identity.secret'), 'utf8'), 'nonsense');
  });
  await tally.check('local.conf that is not JSON is refused', async () => {
    const home = folder.home('badconf', 1);
    writeFileSync(join(home, 'local.conf'), '{');
    const r = await runProgram(process.execPath, [SERVICE, '-p0', home]);
    assert.equal(r.code, 1);
    assert.match(r.stderr, /unable to parse local.conf \(invalid JSON\)/);
  });
  await tally.check('-d returns when the service answers; secrets have mode 0600', async () => {
    const home = folder.home('daemon', 1);
    const r = await runProgram(process.execPath, [SERVICE, '-d', '-p0', home]);
    assert.equal(r.code, 0, r.stderr);
    assert.equal(r.stdout + r.stderr, '');
    const pid = Number(readFileSync(join(home, 'zerotier-one.pid'), 'utf8'));
    try {
      for (const f of ['identity.secret', 'authtoken.secret', 'metricstoken.secret']) {
        assert.equal(statSync(join(home, f)).mode & 0o777, 0o600, f);
      }
    } finally {
      process.kill(pid, 'SIGTERM');
      while (existsSync(join(home, 'zerotier-one.pid')))
        await new Promise((done) => setTimeout(done, 20));
    }
  });
  await tally.check(
    'networks.d/<nwid>.conf joins at start; a malformed id is not a network',
    async () => {
      const home = folder.home('networksd', 1);
      mkdirSync(join(home, 'networks.d'));
      writeFileSync(join(home, 'networks.d', `${testAddress(1)}000001.conf`), '');
      writeFileSync(join(home, 'networks.d', 'zzzzzzzzzzzzzzzz.conf'), '');
      const s = await new TestService(home).ready();
      try {
        const list = JSON.parse((await s.request('GET', '/network')).text) as {
          nwid: string;
          portDeviceName: string;
        }[];
        assert.deepEqual(
          list.map((n) => n.nwid),
          [`${testAddress(1)}000001`],
        );
        assert.equal(list[0]!.portDeviceName, join(home, `nc_${testAddress(1)}000001`));
        assert.equal((await s.request('POST', '/network/123', '{}')).status, 404);
      } finally {
        await s.stop();
      }
    },
  );
}

/** Of such a program ld.so drops the library without a word, and ping of Debian is one. */
async function fileCapabilities(): Promise<void> {
  if (process.getuid?.() !== 0) throw new Skip('only root can give a program capabilities');
  const home = folder.home('capable', 1);
  const program = join(folder.dir, 'raised');
  copyFileSync('/bin/true', program);
  // Others may start it and not look into it.
  chmodSync(program, 0o711);
  chmodSync(folder.dir, 0o755);
  const set = await runProgram('setcap', ['cap_net_raw+ep', program]);
  if (set.code !== 0) throw new Skip(`setcap: ${set.stderr.trim() || 'libcap2-bin is missing'}`);
  const line = [process.execPath, NETCON, 'run', `${home}/nc_0123456789abcdef`, '--wait', '0'];
  const user = ['--reuid=65534', '--regid=65534', '--clear-groups'];
  const visible = await runProgram('setpriv', [...user, process.execPath, NETCON, '--help']);
  if (visible.code !== 0) throw new Skip('another user can not read this folder');
  const refused = await runProgram('setpriv', [...user, ...line, program]);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /raised has file capabilities, which drop preloaded libraries/);
  // What follows is that there is no such service: both were looked at.
  for (const command of [
    ['setpriv', ...user, ...line, '--seccomp', program],
    [...line, program],
  ]) {
    const r = await runProgram(command[0]!, command.slice(1));
    assert.match(r.stderr, /does not exist: is the service running/);
  }
}

/** The door of another user's service: `netcon run` says so, with and without --seccomp. */
async function doorClosedToUser(home: string, nwid: string): Promise<void> {
  const door = join(home, `nc_${nwid}`);
  const user = ['--reuid=65534', '--regid=65534', '--clear-groups'];
  const visible = await runProgram('setpriv', [...user, process.execPath, NETCON, '--help']);
  if (visible.code !== 0) throw new Skip('another user can not read this folder');
  const tried = async (...words: string[]): Promise<string> => {
    const line = [...user, process.execPath, NETCON, 'run', door, ...words, 'true'];
    const r = await runProgram('setpriv', line);
    assert.equal(r.code, 1, r.stderr);
    return r.stderr;
  };
  chmodSync(folder.dir, 0o755);
  chmodSync(home, 0o755);
  for (const words of [[], ['--seccomp']]) {
    const said = await tried(...words);
    assert.ok(said.includes(`${door} has mode 0600, user 0, group 0`), said);
    assert.match(said, /no permission to use the service.*give user 65534 .*nc_[0-9a-f]{16}\.dg/);
  }
  chmodSync(home, 0o700);
  const said = await tried();
  assert.ok(said.includes(`${home} has mode 0700, user 0, group 0`), said);
  assert.match(said, /right to search that folder/);
}

async function frontCommands(): Promise<void> {
  await tally.check('netcon without a command prints its usage, exit code 2', async () => {
    const r = await runProgram(process.execPath, [NETCON]);
    assert.equal(r.code, 2);
    assert.match(r.stdout, /usage: netcon COMMAND/);
  });
  await tally.check('netcon names an unknown command', async () => {
    const r = await runProgram(process.execPath, [NETCON, 'dmeo']);
    assert.equal(r.code, 2);
    assert.match(r.stderr, /unknown command "dmeo"/);
  });
  for (const name of ['demo', 'run', 'planet', 'doctor']) {
    await tally.check(`netcon ${name} --help`, async () => {
      const r = await runProgram(process.execPath, [NETCON, name, '--help']);
      assert.equal(r.code, 0);
      assert.match(r.stdout, new RegExp(`^usage: netcon ${name}`));
    });
  }
  await tally.check('netcon run passes exit codes and signals through', async () => {
    const home = folder.home('run', 1);
    mkdirSync(join(home, 'networks.d'));
    const nwid = `${testAddress(1)}000002`;
    writeFileSync(join(home, 'networks.d', `${nwid}.conf`), '');
    const s = await new TestService(home).ready();
    try {
      const run = (...command: string[]) =>
        runProgram(process.execPath, [NETCON, 'run', '-n', nwid, '-D', home, '--', ...command]);
      assert.equal((await run('sh', '-c', 'exit 7')).code, 7);
      assert.equal((await run('sh', '-c', 'kill -TERM $$')).signal, 'SIGTERM');
      assert.equal(
        (await run('sh', '-c', 'echo $ZT_NC_NETWORK')).stdout.trim(),
        join(home, `nc_${nwid}`),
      );
      assert.equal((await run('/no/such/program')).code, 127);
      const short = (...words: string[]) => runProgram(process.execPath, [NETCON, 'run', ...words]);
      const print = ['sh', '-c', 'echo $ZT_NC_NETWORK "$@"', 'sh', '-n', '--wait'];
      const told = `${join(home, `nc_${nwid}`)} -n --wait\n`;
      for (const words of [
        ['-n', nwid, '-D', home],
        [join(home, `nc_${nwid}`)],
        ['--wait', '3', join(home, `nc_${nwid}`), '--debug', '0', '--'],
      ])
        assert.equal((await short(...words, ...print)).stdout, told, words.join(' '));
      const dial = ['bash', '-c', 'for i in 1 2; do exec 3<>/dev/tcp/198.51.100.9/80; done'];
      const lost = await short('-n', nwid, '-D', home, '--debug', '1', ...dial);
      const line =
        /^ztnc\[[\d.]+\] no route to 198\.51\.100\.9:80: no address or route of .*nc_.*ZT_NC_FALLTHROUGH$/gm;
      assert.equal(lost.stderr.match(line)?.length, 1, lost.stderr);
      const traced = await short('-n', nwid, '-D', home, '--debug', '2', ...dial);
      assert.match(traced.stderr, / connect\(\d+, [0-9a-f]{8}, 198\.51\.100\.9:80\) = -101$/m);
    } finally {
      await s.stop();
    }
  });
  await tally.check('netcon run names a door that is closed to this user', async () => {
    if (!isRoot) throw new Skip('only root can run programs as another user');
    const home = folder.home('closed', 1);
    mkdirSync(join(home, 'networks.d'));
    const nwid = `${testAddress(1)}000003`;
    writeFileSync(join(home, 'networks.d', `${nwid}.conf`), '');
    const s = await new TestService(home).ready();
    try {
      await doorClosedToUser(home, nwid);
    } finally {
      await s.stop();
    }
  });
  await tally.check('netcon run refuses a program with file capabilities to a user', () =>
    fileCapabilities(),
  );
  await tally.check('netcon run refuses a malformed network and a missing service', async () => {
    const bad = await runProgram(process.execPath, [NETCON, 'run', '-n', 'xyz', '--', 'true']);
    assert.equal(bad.code, 2);
    assert.match(bad.stderr, /16 hex digits/);
    const none = await runProgram(process.execPath, [
      NETCON,
      'run',
      '-n',
      '0123456789abcdef',
      '-D',
      folder.dir,
      '--',
      'true',
    ]);
    assert.equal(none.code, 1);
    assert.match(none.stderr, /does not exist/);
  });
  await tally.check('netcon names what is wrong with an option, exit code 2', async () => {
    const nwid = '0123456789abcdef';
    for (const [args, said] of [
      [['run', '--', 'true'], /-n NETWORK, or HOME\/nc_NETWORK, is missing/],
      [['run', 'true'], /-n NETWORK, or HOME\/nc_NETWORK, is missing/],
      [['run', '-n', nwid], /there is no command to run/],
      [['run', `/tmp/nc_${nwid}`, '--'], /there is no command to run/],
      [['run', `/tmp/nc_${nwid}`, '-n', nwid, 'true'], /leave out -n and -D/],
      [['run', '-n', nwid, '--wait', 'soon', '--', 'true'], /--wait soon: not a whole number/],
      [['run', '-n', nwid, '--wait', '3601', '--', 'true'], /from 0 to 3600/],
      [['doctor', '--bad'], /--bad/],
      [['demo', '--bad'], /--bad/],
      [['run', '--bla'], /'--bla'[\s\S]*netcon COMMAND --help/],
      [['demo', '--bytes', '0'], /--bytes must be/],
    ] as const) {
      const r = await runProgram(process.execPath, [NETCON, ...args]);
      assert.equal(r.code, 2, args.join(' '));
      assert.match(r.stderr, said);
    }
  });
  await tally.check(
    'netcon planet makes a file that the service takes, and signs its update with the same key',
    async () => {
      const home = folder.home('planet', 1);
      const key = join(folder.dir, 'planet.key');
      const other = join(folder.dir, 'other.key');
      const make = (timestamp: string, port = '7', id = ['--id', '900003'], by = key) =>
        runProgram(process.execPath, [
          NETCON,
          'planet',
          '--out',
          join(home, 'planet'),
          '--key',
          by,
          ...id,
          '--timestamp',
          timestamp,
          '-j',
          '--root',
          `${join(home, 'identity.public')}@127.0.0.1/${port}`,
        ]);
      const s = await new TestService(home).ready();
      await s.stop();
      const first = await make('1700000000000', '7', ['--id', '900003', '--force']);
      assert.equal(first.code, 0, first.stderr);
      assert.equal(statSync(key).mode & 0o777, 0o600);
      const second = await make('1700000000001', '7', []);
      assert.equal((JSON.parse(second.stdout) as { id: number }).id, 900003, 'the id is kept');
      const before = readFileSync(join(home, 'planet'));
      for (const [refused, said] of [
        [await make('1700000000001', '7', []), /of timestamp 1700000000001, not older than/],
        [await make('1700000000003', '8', ['--id', '900004']), /of the world 900003, not 900004/],
        [await make('1700000000003', '8', [], other), /other\.key does not exist/],
      ] as const) {
        assert.equal(refused.code, 1);
        assert.match(refused.stderr, said);
      }
      assert.equal(existsSync(other), false, 'no key is made for what is refused');
      cpSync(join(home, 'planet'), join(folder.dir, 'kept'));
      const forced = await make('1600000000000', '7', ['--force'], other);
      assert.equal(forced.code, 0, forced.stderr);
      assert.match((await make('1700000000003', '7', [])).stderr, /signed by another key than/);
      cpSync(join(folder.dir, 'kept'), join(home, 'planet'));
      assert.deepEqual(readFileSync(join(home, 'planet')), before);
      for (const port of ['0', '65536', '']) {
        const r = await make('1700000000002', port);
        assert.equal(r.code, 2);
        assert.match(r.stderr, /port from 1 to 65535/);
      }
      assert.equal(
        (JSON.parse(first.stdout) as { updateKey: string }).updateKey,
        (JSON.parse(second.stdout) as { updateKey: string }).updateKey,
      );
      const again = await new TestService(home).ready();
      try {
        const status = JSON.parse((await again.request('GET', '/status')).text) as {
          planetWorldId: number;
          online: boolean;
        };
        assert.equal(status.planetWorldId, 900003);
        assert.equal(status.online, true, 'a root is always online');
      } finally {
        await again.stop();
      }
    },
  );
}

/** In a namespace of its own: the built-in planet that takes over names the public roots. */
async function unusablePlanet(isolated: readonly string[]): Promise<void> {
  await tally.check('a planet file that can not be read is kept and reported', async () => {
    const home = folder.home('unusable', 1);
    writeFileSync(join(home, 'planet'), 'not a planet');
    const script =
      '"$@" & pid=$!; until [ -s "$0/zerotier-one.pid" ]; do sleep 0.05; done; kill $pid; wait $pid';
    const [file, ...args] = [...isolated, 'bash', '-c', script, home, process.execPath, SERVICE];
    const r = await runProgram(file!, [...args, '-p0', home], process.env, 30_000, '/');
    assert.equal(r.code, 0, r.stderr);
    assert.match(r.stderr, /is not a planet file: kept as planet\.unusable/);
    assert.equal(readFileSync(join(home, 'planet.unusable'), 'utf8'), 'not a planet');
    assert.ok(readFileSync(join(home, 'planet')).length > 100, 'the built-in planet');
  });
}

try {
  await serviceErrors();
  await frontCommands();
  const isolated = await isolation();
  if (isolated === undefined)
    tally.skip('the demo', 'no network namespace can be made here (unshare -n)');
  else {
    await unusablePlanet(isolated);
    await demos(isolated);
  }
} finally {
  folder.remove();
}
tally.finish();
