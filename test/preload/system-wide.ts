/**
 * The library in /etc/ld.so.preload, which the loader puts into every program: without the
 * variable nothing may change, with it plain programs are on the network, and programs that run
 * with more rights than their caller ignore it.
 *
 * The machine's own file is never touched: each command runs in a mount namespace with a copy of
 * /etc. The loader says and ignores what it cannot load, so each test also looks whether the
 * library is there.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { Context, ProgramTest } from './programs.js';
import { expect, type Finished, run, Skip, start, until, which } from './run.js';

const PORT = '8131';
const NOBODY = 65534;
const AS_NOBODY = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];

/** Arguments: folder, the line of ld.so.preload (may be empty), the command. */
const INSIDE = `set -e
ip link set lo up
folder=$1 line=$2
shift 2
mkdir -p "$folder"
mount -t tmpfs tmpfs "$folder"
cp -a /etc/. "$folder"
if [ -n "$line" ]; then
	echo "$line" >"$folder/ld.so.preload"
fi
mount --bind "$folder" /etc
exec "$@"`;

interface Wide {
  readonly context: Context;
  /** A copy of the library that every user may read. */
  readonly library: string;
}

async function prepare(context: Context): Promise<Wide> {
  if (process.getuid?.() !== 0 || process.env['NETCON_MAPPED_ROOT'] === '1') {
    throw new Skip('only root can replace /etc/ld.so.preload in a namespace');
  }
  for (const tool of ['gcc', 'setpriv', 'ip', 'mount']) {
    if ((await which(tool)) === undefined) throw new Skip(`${tool} is not installed`);
  }
  const library = path.join(context.folder, 'libztintercept.so');
  fs.copyFileSync(path.join(context.root, 'dist/native/libztintercept.so'), library);
  fs.chmodSync(library, 0o755);
  fs.chmodSync(context.folder, 0o755);
  return { context, library };
}

/** Runs a command with `line` as the whole of /etc/ld.so.preload. */
function within(
  { context }: Wide,
  line: string,
  command: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<Finished> {
  const etc = path.join(context.folder, 'etc');
  const args = ['-nm', '--', '/bin/sh', '-c', INSIDE, 'sh', etc, line, ...command];
  return run('unshare', args, env);
}

/** Programs of every kind; each prints what a changed behaviour would change. */
const COMMANDS: readonly (readonly string[])[] = [
  ['sh', '-c', 'echo text; exit 3'],
  ['ls', '-l', '/usr'],
  ['sh', '-c', 'ls / | sort -r | head -3 | wc -c'],
  [...AS_NOBODY, 'sh', '-c', 'id; cat /etc/shadow'],
  [...AS_NOBODY, 'mount', '--bind', '/tmp', '/mnt'],
  ['su', '-s', '/bin/sh', '-c', 'id', 'nobody'],
  [
    'python3',
    '-c',
    `import socket
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    s = socket.socket(socket.AF_INET, kind); s.bind(('127.0.0.1', 8132))
    print(s.getsockname(), s.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE))
print(socket.if_nameindex(), socket.gethostbyname('127.0.0.1'))`,
  ],
  [
    'sh',
    '-c',
    `python3 -m http.server --bind 127.0.0.1 8133 >/dev/null 2>&1 &
for i in 1 2 3 4 5 6 7 8 9 10; do
	curl -s --retry 50 --retry-connrefused --retry-delay 1 http://127.0.0.1:8133/etc/hostname && break
done
kill $!`,
  ],
];

async function inert(context: Context): Promise<void> {
  const wide = await prepare(context);
  const seen = await within(wide, wide.library, ['cat', '/proc/self/maps']);
  expect(seen.stdout.includes('libztintercept'), `it was not loaded: ${seen.stderr}`);
  for (const command of COMMANDS) {
    const plain = await within(wide, '', command);
    const loaded = await within(wide, wide.library, command);
    const differs = (what: 'code' | 'stdout' | 'stderr') =>
      expect(
        plain[what] === loaded[what],
        `${command.join(' ')}: ${what} ${plain[what]}, with the library ${loaded[what]}`,
      );
    differs('code');
    differs('stdout');
    differs('stderr');
    expect(plain.stdout + plain.stderr !== '', `${command.join(' ')} prints nothing`);
  }
}

async function buildSecure({ context }: Wide): Promise<string> {
  const program = path.join(context.folder, 'secure');
  const sources = ['secure.c', 'probe.c'].map((name) =>
    path.join(context.root, 'test/preload/probes', name),
  );
  const flags = ['-std=gnu11', '-Wall', '-Wextra', '-Werror'];
  const done = await run('gcc', [...flags, '-o', program, ...sources]);
  expect(done.code === 0, done.stderr);
  return program;
}

/** Another user may use the network while `body` runs. */
async function openToNobody({ harness }: Context, body: () => Promise<void>): Promise<void> {
  const mode = fs.statSync(harness.home).mode;
  fs.chmodSync(harness.home, 0o711);
  fs.chownSync(harness.network, NOBODY, NOBODY);
  await body().finally(() => {
    fs.chownSync(harness.network, 0, 0);
    fs.chmodSync(harness.home, mode);
  });
}

async function onNetwork(context: Context): Promise<void> {
  const wide = await prepare(context);
  const plain = await buildSecure(wide);
  const raised = path.join(context.folder, 'secure-setuid');
  fs.copyFileSync(plain, raised);
  fs.chmodSync(raised, 0o4755);
  const env = { ZT_NC_NETWORK: context.harness.network };
  const server = start(plain, ['serve', PORT], context.env);
  await until('the server', () => server.output().includes('ready'));
  await openToNobody(context, async () => {
    const ask = (line: string, program: string) =>
      within(wide, line, [...AS_NOBODY, program, 'connect', PORT], env);
    const setuid = await ask(wide.library, raised);
    expect(setuid.stdout === 'secure 1\nloaded 1\nconnect ENETUNREACH\n', setuid.stdout);
    expect(setuid.stderr === '', setuid.stderr);
    const absent = await ask('/nonexistent/libztintercept.so', plain);
    expect(absent.stdout === 'secure 0\nloaded 0\nconnect ENETUNREACH\n', absent.stdout);
    expect(/cannot be preloaded.*ignored/s.test(absent.stderr), absent.stderr);
    const user = await ask(wide.library, plain);
    expect(user.stdout === 'secure 0\nloaded 1\nconnect ok\n', user.stdout + user.stderr);
    expect(user.stderr === '', user.stderr);
  });
  const served = await server.finished;
  expect(served.code === 0, server.output());
}

export const SYSTEM_WIDE: readonly ProgramTest[] = [
  { name: '/etc/ld.so.preload without the variable: eight programs behave as without', run: inert },
  {
    name: '/etc/ld.so.preload with the variable: the network, but not for a set-user-ID program',
    run: onNetwork,
  },
];
