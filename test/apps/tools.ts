/** Shells, file transfer, version control, measuring. */

import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { type Program, run } from '../preload/run.js';
import { type App, expect, output, PYTHON, Skip, serving } from './row.js';
import { type Member, type World, within } from './world.js';

interface Ssh {
  readonly dir: string;
  /** Options of ssh, scp and sftp. */
  readonly options: readonly string[];
  readonly server: Program;
}

const SSH_PORT = 22;
const SMART_PORT = 9420;

/** sshd with privilege separation on `a`; `body` may log in from `b`. */
async function withSshd<T>(world: World, body: (ssh: Ssh) => Promise<T>): Promise<T> {
  if (process.getuid?.() !== 0) throw new Skip('only root can run sshd with privilege separation');
  const dir = world.place('ssh');
  for (const name of ['host', 'user'])
    if (!fs.existsSync(path.join(dir, name))) {
      const made = await run('ssh-keygen', [
        '-q',
        '-t',
        'ed25519',
        '-N',
        '',
        '-f',
        path.join(dir, name),
      ]);
      expect(made.code === 0, made.stderr);
    }
  fs.copyFileSync(path.join(dir, 'user.pub'), path.join(dir, 'authorized'));
  fs.mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
  const config = path.join(dir, 'sshd_config');
  fs.writeFileSync(
    config,
    [
      `Port ${SSH_PORT}`,
      `HostKey ${dir}/host`,
      `PidFile ${dir}/pid`,
      `AuthorizedKeysFile ${dir}/authorized`,
      'StrictModes no',
      'UsePAM no',
      'PasswordAuthentication no',
      'PermitRootLogin yes',
      'AcceptEnv GIT_PROTOCOL',
      'Subsystem sftp internal-sftp',
      '',
    ].join('\n'),
  );
  const options = [
    ...['-F', '/dev/null', '-i', path.join(dir, 'user'), '-o', 'IdentitiesOnly=yes'],
    ...['-o', 'StrictHostKeyChecking=no', '-o', `UserKnownHostsFile=${dir}/known`],
    ...['-o', 'LogLevel=ERROR', '-o', 'BatchMode=yes'],
  ];
  const server = world.a.start('/usr/sbin/sshd', ['-D', '-e', '-f', config]);
  return serving(world, world.a, SSH_PORT, server, () => body({ dir, options, server }));
}

/** User and root folder of the processes below `pid` that parse what an unknown client sends. */
function preauth(pid: number): string[] {
  const out: string[] = [];
  for (const child of children(pid)) {
    try {
      const line = fs.readFileSync(`/proc/${child}/cmdline`, 'latin1');
      const uid = /^Uid:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${child}/status`, 'utf8'))![1]!;
      if (line.includes('[net]')) out.push(`${uid} ${fs.readlinkSync(`/proc/${child}/root`)}`);
      out.push(...preauth(child));
    } catch (e) {
      // It ended meanwhile.
      if (!['ENOENT', 'ESRCH'].includes((e as NodeJS.ErrnoException).code!)) throw e;
    }
  }
  return out;
}

function children(pid: number): number[] {
  const text = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return text === '' ? [] : text.split(' ').map(Number);
}

/** Before a client is known, a process of user sshd in an empty folder speaks with it. */
async function separated(world: World, server: Program): Promise<void> {
  const uid = /\d+/.exec((await run('id', ['-u', 'sshd'])).stdout)?.[0];
  const stranger = world.b.start('bash', [
    '-c',
    `exec 3<>/dev/tcp/${world.a.ip}/${SSH_PORT}; echo 'SSH-2.0-stranger' >&3; cat <&3`,
  ]);
  try {
    await within('sshd drops its privileges', 20_000, () =>
      preauth(server.child.pid!).includes(`${uid} /run/sshd`) ? true : undefined,
    );
  } finally {
    await stranger.stop();
  }
}

async function ssh(world: World): Promise<string> {
  const { a, b } = world;
  return withSshd(world, async ({ dir, options, server }) => {
    await separated(world, server);
    const target = `root@${a.ip}`;
    const said = await output(b, 'ssh', [...options, target, 'echo $SSH_CONNECTION']);
    expect(said.startsWith(`${b.ip} `) && said.trim().endsWith(`${a.ip} ${SSH_PORT}`), said);
    const bytes = randomBytes(5 << 20);
    fs.writeFileSync(path.join(dir, 'sent'), bytes);
    await output(b, 'scp', [...options, path.join(dir, 'sent'), `${target}:${dir}/got`]);
    expect(bytes.equals(fs.readFileSync(path.join(dir, 'got'))), 'scp: the copy differs');
    fs.writeFileSync(path.join(dir, 'batch'), `get ${dir}/got ${dir}/back\n`);
    await output(b, 'sftp', ['-q', ...options, '-b', path.join(dir, 'batch'), target]);
    expect(bytes.equals(fs.readFileSync(path.join(dir, 'back'))), 'sftp: the copy differs');
    const listing = await forwarded(world, options, target);
    expect(listing.includes('hello from'), listing);
    return 'an unknown client meets user sshd in /run/sshd; login with true addresses; 5 MiB by scp and sftp; a forwarded port';
  });
}

/** A port of `b` forwarded by ssh to a web server of `a`. */
async function forwarded(
  world: World,
  options: readonly string[],
  target: string,
): Promise<string> {
  const { a, b } = world;
  const script = `require('http').createServer((q, r) => r.end('hello from ' + q.socket.remoteAddress)).listen(8090)`;
  const web = a.start(process.execPath, ['-e', script]);
  return serving(world, a, 8090, web, async () => {
    const args = [...options, '-N', '-L', `0.0.0.0:8091:${a.ip}:8090`, target];
    const tunnel = b.start('ssh', args);
    return serving(world, b, 8091, tunnel, () =>
      output(a, 'curl', ['-sS', '--max-time', '20', `http://${b.ip}:8091/`]),
    );
  });
}

const GIT_ENV = {
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_SYSTEM: '/dev/null',
  GIT_AUTHOR_NAME: 'a',
  GIT_AUTHOR_EMAIL: 'a@example.org',
  GIT_COMMITTER_NAME: 'a',
  GIT_COMMITTER_EMAIL: 'a@example.org',
};

/** A bare repository with a few hundred files of history. */
async function repository(world: World): Promise<string> {
  const dir = world.place('git');
  const work = path.join(dir, 'work');
  const bare = path.join(dir, 'served', 'r.git');
  if (fs.existsSync(bare)) return bare;
  const git = async (cwd: string, ...args: string[]): Promise<void> => {
    const done = await run('git', args, GIT_ENV, cwd);
    expect(done.code === 0, `git ${args.join(' ')}: ${done.stderr}`);
  };
  fs.mkdirSync(work);
  await git(work, 'init', '-q', '-b', 'main');
  for (let i = 0; i < 200; i++) fs.writeFileSync(path.join(work, `f${i}`), randomBytes(2_000));
  await git(work, 'add', '.');
  await git(work, 'commit', '-q', '-m', 'files');
  await git(dir, 'clone', '-q', '--bare', work, bare);
  await git(bare, 'update-server-info');
  await git(bare, 'config', 'daemon.receivepack', 'true');
  await git(bare, 'config', 'http.receivepack', 'true');
  return bare;
}

async function cloneAndPush(
  world: World,
  on: Member,
  name: string,
  url: string,
  env = {},
  mayPush = true,
): Promise<void> {
  const dir = path.join(world.place('git'), name);
  const all = { ...GIT_ENV, ...env };
  await output(on, 'git', ['clone', '-q', url, dir], all);
  expect(fs.readdirSync(dir).filter((f) => f.startsWith('f')).length === 200, 'files of the clone');
  if (!mayPush) return;
  fs.writeFileSync(path.join(dir, name), 'pushed\n');
  await output(on, 'git', ['add', '.'], all, dir);
  await output(on, 'git', ['commit', '-q', '-m', name], all, dir);
  await output(on, 'git', ['push', '-q', 'origin', `HEAD:refs/heads/${name}`], all, dir);
  const seen = await output(on, 'git', ['ls-remote', url, `refs/heads/${name}`], all);
  const head = await output(on, 'git', ['rev-parse', 'HEAD'], all, dir);
  expect(seen.startsWith(head.trim()), `pushed ${head}, the server has ${seen}`);
}

/** git's own CGI program behind a web server: the protocol that hosts of git speak. */
const SMART_HTTP = (dir: string, served: string, backend: string): string => `
server.document-root = "${dir}"
server.port = ${SMART_PORT}
server.bind = "0.0.0.0"
server.errorlog = "${dir}/error.log"
server.modules = ( "mod_alias", "mod_cgi", "mod_setenv" )
alias.url = ( "/git" => "${backend}" )
setenv.add-environment = (
  "GIT_PROJECT_ROOT" => "${served}", "GIT_HTTP_EXPORT_ALL" => "1",
  "GIT_CONFIG_COUNT" => "1", "GIT_CONFIG_KEY_0" => "safe.directory", "GIT_CONFIG_VALUE_0" => "*"
)
$HTTP["url"] =~ "^/git" { cgi.assign = ( "" => "" ) }
`;

async function bySmartHttp(world: World, served: string): Promise<void> {
  const { a, b } = world;
  const dir = world.place('smart-http');
  const core = (await output(a, 'git', ['--exec-path'])).trim();
  const config = path.join(dir, 'lighttpd.conf');
  fs.writeFileSync(config, SMART_HTTP(dir, served, path.join(core, 'git-http-backend')));
  const web = a.start('lighttpd', ['-D', '-f', config]);
  await serving(world, a, SMART_PORT, web, () =>
    cloneAndPush(world, b, 'by-smart-http', `http://${a.ip}:${SMART_PORT}/git/r.git`),
  );
}

async function git(world: World): Promise<string> {
  const bare = await repository(world);
  const served = path.dirname(bare);
  const { a, b } = world;
  const daemon = a.start(
    'git',
    ['daemon', '--reuseaddr', '--export-all', '--port=9418', `--base-path=${served}`],
    {
      ...GIT_ENV,
      GIT_CONFIG_COUNT: '1',
      GIT_CONFIG_KEY_0: 'safe.directory',
      GIT_CONFIG_VALUE_0: '*',
    },
  );
  await serving(world, a, 9418, daemon, () =>
    cloneAndPush(world, b, 'by-git', `git://${a.ip}/r.git`),
  );
  const web = a.start(PYTHON, ['-m', 'http.server', '9419'], {}, served);
  await serving(world, a, 9419, web, () =>
    cloneAndPush(world, b, 'by-http', `http://${a.ip}:9419/r.git`, {}, false),
  );
  await bySmartHttp(world, served);
  await withSshd(world, ({ options }) =>
    cloneAndPush(world, b, 'by-ssh', `ssh://root@${a.ip}${bare}`, {
      GIT_SSH_COMMAND: ['ssh', ...options].join(' '),
    }),
  );
  return 'clone of 200 files by git, plain http, smart http (git http-backend behind lighttpd) and ssh; push by all but plain http';
}

async function rsync(world: World): Promise<string> {
  const { a, b } = world;
  const dir = world.place('rsync');
  const [from, to] = [path.join(dir, 'from'), path.join(dir, 'to')];
  fs.mkdirSync(from);
  for (let i = 0; i < 50; i++) fs.writeFileSync(path.join(from, `f${i}`), randomBytes(40_000));
  fs.writeFileSync(
    path.join(dir, 'conf'),
    `use chroot = no\n[files]\npath = ${from}\nuid = root\ngid = root\n`,
  );
  const args = ['--daemon', '--no-detach', '--port=873', `--config=${dir}/conf`];
  const server = a.start('rsync', args);
  await serving(world, a, 873, server, () =>
    output(b, 'rsync', ['-a', `rsync://${a.ip}/files/`, to]),
  );
  for (const f of fs.readdirSync(from))
    expect(fs.readFileSync(path.join(from, f)).equals(fs.readFileSync(path.join(to, f))), f);
  await withSshd(world, ({ options }) =>
    output(b, 'rsync', [
      '-a',
      '-e',
      ['ssh', ...options].join(' '),
      `root@${a.ip}:${from}/`,
      `${to}2`,
    ]),
  );
  expect(fs.readdirSync(`${to}2`).length === 50, 'files over ssh');
  return '50 files from a daemon and over ssh, equal';
}

async function iperf(world: World): Promise<string> {
  const { a, b } = world;
  const rates: string[] = [];
  for (const reverse of [[], ['-R']]) {
    const server = a.start('iperf3', ['-s', '-p', '5201']);
    // A connection that sends nothing would be taken for a client: the client asks until it is there.
    try {
      const done = await output(b, 'bash', [
        '-c',
        `for i in $(seq 100); do iperf3 -c ${a.ip} -p 5201 -t 3 -J ${reverse.join(' ')} && exit 0; sleep 0.1; done; exit 1`,
      ]);
      const all = done.split(/^\}\n/m).filter((t) => t.includes('sum_received'));
      const report = JSON.parse(`${all.at(-1)}}`) as {
        end: { sum_received: { bits_per_second: number } };
      };
      const rate = report.end.sum_received.bits_per_second / 1e6;
      expect(rate > 0, done);
      rates.push(`${rate.toFixed(0)} Mbit/s`);
    } finally {
      await server.stop();
    }
  }
  return `TCP ${rates.join(', and back ')}`;
}

async function openssl(world: World): Promise<string> {
  const { a, b } = world;
  const dir = world.place('openssl');
  const [key, cert] = [path.join(dir, 'key'), path.join(dir, 'cert')];
  const made = await run('openssl', [
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert],
    ...['-days', '2', '-subj', '/CN=virtual'],
  ]);
  expect(made.code === 0, made.stderr);
  const server = a.start('openssl', [
    ...['s_server', '-accept', '4433', '-key', key, '-cert', cert, '-www', '-quiet'],
  ]);
  return serving(world, a, 4433, server, async () => {
    const script = `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | openssl s_client -connect ${a.ip}:4433 -quiet -CAfile ${cert} -verify_return_error`;
    const text = await output(b, 'bash', ['-c', script]);
    expect(text.includes('200 ok') && /TLSv1\.3/.test(text), text.slice(0, 500));
    return 'a page over TLS 1.3, certificate verified';
  });
}

export const TOOLS: readonly App[] = [
  {
    name: 'sshd, ssh, scp, sftp',
    needs: { '/usr/sbin/sshd': 'openssh-server', ssh: 'openssh-client', curl: 'curl' },
    versions: [['ssh', '-V']],
    run: ssh,
  },
  {
    name: 'git over git, http and ssh',
    needs: {
      git: 'git',
      lighttpd: 'lighttpd',
      '/usr/sbin/sshd': 'openssh-server',
      [PYTHON]: 'python3',
    },
    versions: [
      ['git', '--version'],
      ['lighttpd', '-v'],
    ],
    run: git,
  },
  {
    name: 'rsync',
    needs: { rsync: 'rsync', '/usr/sbin/sshd': 'openssh-server' },
    versions: [['rsync', '--version']],
    run: rsync,
  },
  {
    name: 'iperf3',
    needs: { iperf3: 'iperf3' },
    versions: [['iperf3', '--version']],
    core: true,
    run: iperf,
  },
  {
    name: 'openssl s_server and s_client',
    needs: { openssl: 'openssl' },
    versions: [['openssl', 'version']],
    core: true,
    run: openssl,
  },
];
