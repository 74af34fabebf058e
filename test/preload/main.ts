/**
 * Tests of the preload library: `node build/test/preload/main.js [options]`, options as in USAGE.
 *
 * Enters a network namespace of its own first, so that a library that failed to load talks to
 * nobody. Compares the conformance probes with the kernel's sockets, checks that the library is inert, fails
 * closed and names a missing service, then runs real programs. Last line: `preload: N passed, N
 * failed, N skipped`; exit status 1 on failure.
 */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Stack } from '#src/stack/stack.js';
import { oneOf, positive, readOptions } from '#test/helpers/args.js';
import { FakeStack } from '#test/helpers/fake-stack.js';
import {
  ADDON_CASES,
  buildProbe,
  byCase,
  compareCase,
  DATAGRAM_CASES,
  HOSTS,
  hookNames,
  onKernel,
  PROBES,
  type Probe,
  probeFingerprint,
  readExcusedCases,
  readKnownDifferences,
  skippedBecause,
} from './conformance.js';
import { DATAGRAM_PROGRAMS } from './datagram-programs.js';
import { FOREIGN_PROGRAMS } from './foreign.js';
import { type Harness, OWN_ADDRESS, openHarness } from './harness.js';
import { LEAKS } from './leaks.js';
import { LINKED_PROGRAMS, METHODS, type Method } from './linking.js';
import { MODULE_PROGRAMS } from './modules.js';
import { enterNamespace, lwipStack } from './namespace.js';
import { PROCESS_LIFE } from './process-life.js';
import { type Context, PROGRAMS } from './programs.js';
import { replies } from './replies.js';
import { expect, run, Skip, start, until, which } from './run.js';
import { SERVICE_ENDS } from './service-ends.js';
import { STRANGE_SERVICES } from './strange-service.js';
import { SYSTEM_WIDE } from './system-wide.js';

/** A hundred messages would take most of the time that a case has then: STALLED. */
const STALL_MAX_MS = 1_000;

const USAGE = `usage: node build/test/preload/main.js [options]

The preload library, in a network namespace of its own: probes compared with the kernel's sockets, failures
of the service, real programs.

  --only TEXT     tests whose name contains it
  --stack STACK   lwip (default), or fake: an in-process stack
  --stall MS      the service takes MS for each message (at most ${STALL_MAX_MS})
  --linked WAY    the probes carry the library in them: shared, dynamic or static
  --no-addon      as where the addon is not built: what needs datagrams is skipped
  --help          this

With --stall or --linked only what is compared with the kernel runs.
Last line: preload: N passed, N failed, N skipped
`;

const args = readOptions('preload', USAGE, {
  only: { type: 'string', default: '' },
  stack: { type: 'string', default: 'lwip' },
  stall: { type: 'string' },
  linked: { type: 'string' },
  'no-addon': { type: 'boolean', default: false },
});
const STACK = oneOf('preload', 'stack', args.stack, ['lwip', 'fake']);
/** Milliseconds that the service takes for each message; 0 without `--stall`. */
const STALL_MS =
  args.stall === undefined ? 0 : positive('preload', 'stall', args.stall, STALL_MAX_MS);
/** The way of linking that `--linked` names, undefined without. */
const METHOD = methodOf(args.linked);

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
const LIBRARY = path.join(ROOT, 'dist/native/libztintercept.so');

class Results {
  passed = 0;
  failed = 0;
  skipped = 0;

  async test(name: string, body: () => Promise<void>): Promise<void> {
    if (!name.includes(args.only)) return;
    const began = performance.now();
    try {
      await body();
      this.passed++;
      console.log(`ok      ${name} (${Math.round(performance.now() - began)} ms)`);
    } catch (e) {
      if (e instanceof Skip) {
        this.skipped++;
        console.log(`SKIPPED: ${name}: ${e.message}`);
      } else {
        this.failed++;
        console.log(`FAILED  ${name}: ${(e as Error).message}`);
      }
    }
  }
}

/** Kernel sockets in this namespace that would reach a network: none may ever exist. */
function kernelSockets(): string {
  const text = fs.readFileSync('/proc/net/sockstat', 'utf8');
  const used = ['TCP', 'UDP', 'RAW'].map(
    (name) => `${name} ${new RegExp(`^${name}: inuse (\\d+)`, 'm').exec(text)?.[1] ?? '0'}`,
  );
  return used.filter((u) => !u.endsWith(' 0')).join(', ');
}

/** Cases that the in-process stack cannot show. */
function isBeyondFake(probe: Probe, name: string): boolean {
  return probe.datagrams || name === 'X-backlog';
}

/** The service's door for datagram sockets needs the addon. */
function hasDatagrams(context: Context): boolean {
  return fs.existsSync(`${context.harness.network}.dg`);
}

/**
 * Longest that a probe may take, ms, and each of its cases by PROBE_LIMIT, s. Behind a slow service
 * cases with hundreds of connections make a tenth of them: PROBE_SLOW.
 */
const USUAL = { ms: 60_000, env: {} };
const STALLED = { ms: 7_200_000, env: { PROBE_LIMIT: '120', PROBE_SLOW: '10' } };

/** Cases that may differ in the chosen run, and why. */
function readExcuses(): ReadonlyMap<string, string> {
  if (STALL_MS > 0) return readExcusedCases(path.join(ROOT, 'test/preload/stalled.md'));
  if (METHOD === undefined) return new Map();
  return readExcusedCases(path.join(ROOT, 'test/preload/linked.md'));
}

/** What is compared with the kernel. */
interface Subject {
  /** The probe as it runs on the kernel's sockets. */
  readonly plain: string;
  /** The probe with the library. */
  readonly file: string;
  /** What brings the library in; without ZT_NC_NETWORK. */
  readonly env: NodeJS.ProcessEnv;
}

function methodOf(word: string | undefined): Method | undefined {
  if (word === undefined) return undefined;
  const kinds = METHODS.map((m) => m.kind);
  const kind = oneOf('preload', 'linked', word, kinds);
  return METHODS.find((m) => m.kind === kind);
}

async function subjectOf(probe: Probe, plain: string, context: Context): Promise<Subject> {
  const method = METHOD;
  if (method === undefined) return { plain, file: plain, env: { LD_PRELOAD: LIBRARY } };
  const folder = path.join(context.folder, 'linked');
  fs.mkdirSync(folder, { recursive: true });
  const define = method.kind === 'static' ? ['-DPROBE_STATIC'] : [];
  const libraries = method.flags(path.join(ROOT, 'dist/native'));
  return { plain, file: await buildProbe(ROOT, probe, folder, define, libraries), env: {} };
}

async function conformance(results: Results, context: Context): Promise<void> {
  const limits = STALL_MS > 0 ? STALLED : USUAL;
  const excused = readExcuses();
  const known = readKnownDifferences(path.join(ROOT, 'test/preload/known-differences.md'));
  const built = new Map<Probe, Subject>();
  const met = new Set<string>();
  fs.writeFileSync(`${context.harness.network}.hosts`, HOSTS);
  for (const probe of PROBES) {
    let kernel = new Map<string, string[]>();
    let preload = new Map<string, string[]>();
    await results.test(`conformance: ${probe.name} runs on both`, async () => {
      const plain = await buildProbe(ROOT, probe, context.folder);
      const subject = await subjectOf(probe, plain, context);
      built.set(probe, subject);
      const env = { ...subject.env, ZT_NC_NETWORK: context.harness.network, ...limits.env };
      const [a, b] = await Promise.all([
        onKernel(plain, limits.env),
        run(subject.file, [], env, undefined, limits.ms).then((done) => done.stdout),
      ]);
      kernel = byCase(a);
      preload = byCase(b);
      expect(kernel.size >= probe.cases, `only ${kernel.size} cases ran`);
    });
    for (const [name, lines] of kernel) {
      await results.test(`conformance: ${probe.name} ${name}`, async () => {
        if (context.harness.stack instanceof FakeStack && isBeyondFake(probe, name)) {
          throw new Skip('the in-process stack has no such thing');
        }
        if ((probe.datagrams || DATAGRAM_CASES.has(name)) && !hasDatagrams(context)) {
          throw new Skip('the service has no door for datagrams (is the addon built?)');
        }
        if (ADDON_CASES.has(name) && process.env['NETCON_IO'] === 'dgram')
          throw new Skip("without the addon the kernel's buffer of the service's end stays");
        const wrong = compareCase(lines, preload.get(name) ?? [], known, met);
        const reason = skippedBecause(lines);
        if (reason !== undefined) throw new Skip(reason);
        const excuse = excused.get(name) ?? excused.get(name.replace(/-(?:6|mapped)$/, ''));
        if (wrong.length > 0 && excuse !== undefined) throw new Skip(excuse);
        expect(wrong.length === 0, wrong.join('; '));
      });
    }
  }
  const gone = [...known.keys()].filter((line) => !met.has(line));
  if (args.only === '' && gone.length > 0)
    console.log(`note    known differences that did not occur: ${gone.join('; ')}`);
  await results.test('without ZT_NC_NETWORK the library changes nothing', async () => {
    for (const [probe, { plain: file, file: other, env }] of built) {
      const plain = await onKernel(file, {}, probe.inert);
      const loaded = await onKernel(other, env, probe.inert);
      expect(plain === loaded && plain.length > 0, `plain:\n${plain}\nloaded:\n${loaded}`);
    }
    if (built.size === 0) throw new Skip('no probe ran');
  });
}

/** Python text that prints errno's name for a connect of each kind. */
const CONNECT_BOTH = `
import errno, socket
for blocking in (True, False):
    s = socket.socket()
    s.setblocking(blocking)
    print(errno.errorcode.get(s.connect_ex(('${OWN_ADDRESS}', 80)), 0))
`;

const SOCKET_ONLY = `
import errno, socket
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_INET):
    try:
        socket.socket(family)
        print('made')
    except OSError as e:
        print(errno.errorcode[e.errno])
print(socket.socket(socket.AF_UNIX) is not None)
`;

async function environment(results: Results, context: Context): Promise<void> {
  const python = await which('python3');
  const needed = () => {
    if (python === undefined) throw new Skip('python3 is not installed');
    return python;
  };
  await results.test('without a service connect fails at once with ENETUNREACH', async () => {
    const env = { LD_PRELOAD: LIBRARY, ZT_NC_NETWORK: '/nonexistent/nc_8056c2e21c000001' };
    const done = await run(needed(), ['-c', CONNECT_BOTH], env);
    expect(done.stdout === 'ENETUNREACH\nENETUNREACH\n', done.stdout + done.stderr);
  });
  await results.test('ZT_NC_WAIT waits for the service at first contact', async () => {
    const home = path.join(context.folder, 'late');
    fs.mkdirSync(home);
    const network = path.join(home, 'nc_8056c2e21c000001');
    const began = performance.now();
    const env = { LD_PRELOAD: LIBRARY, ZT_NC_NETWORK: network, ZT_NC_WAIT: '1' };
    const done = await run(needed(), ['-c', CONNECT_BOTH], env);
    const took = performance.now() - began;
    expect(done.stdout === 'ENETUNREACH\nENETUNREACH\n', done.stdout + done.stderr);
    expect(took > 950, `it waited ${took} ms`);
  });
  for (const [value, mistake] of [
    ['nc_8056c2e21c000001', 'not an absolute path'],
    ['/tmp/nc_80', 'does not end in nc_<16 hexadecimal digits>, nor in nc_all'],
    [`/tmp/${'x'.repeat(100)}/nc_8056c2e21c000001`, 'longer than 104 bytes'],
  ] as const) {
    await results.test(
      `an unusable ZT_NC_NETWORK fails closed: ${value.slice(0, 20)}`,
      async () => {
        const done = await run(needed(), ['-c', SOCKET_ONLY], {
          LD_PRELOAD: LIBRARY,
          ZT_NC_NETWORK: value,
        });
        expect(done.stdout === 'ENETDOWN\nENETDOWN\nENETDOWN\nTrue\n', done.stdout + done.stderr);
        expect((done.stderr.match(/ZT_NC_NETWORK/g) ?? []).length === 1, done.stderr);
        expect(done.stderr.includes(mistake), done.stderr);
      },
    );
  }
}

/** A connect after every descriptor was closed that the program does not know. */
const TRACED = `
import errno, os, socket
os.closerange(3, 1024)
s = socket.socket(); print(os.getpid(), errno.errorcode[s.connect_ex(('${OWN_ADDRESS}', 9))])
`;

/** What ZT_NC_DEBUG=2 says of TRACED, in the file that ZT_NC_DEBUG_FILE names. */
const TRACE =
  /^ztnc\[(\d+)\.\1\] socket\(\d+, [0-9a-f]{8}\) = \d+\n(ztnc.*\n)*ztnc\[\1\.\1\] connect\(\d+, [0-9a-f]{8}, 10\.147\.17\.1:9\) = -111\n$/;

async function debugFile(results: Results, context: Context): Promise<void> {
  await results.test('ZT_NC_DEBUG_FILE takes what ZT_NC_DEBUG says, of each process', async () => {
    const python = await which('python3');
    if (python === undefined) throw new Skip('python3 is not installed');
    const folder = path.join(context.folder, 'debug');
    fs.mkdirSync(folder);
    const trace = (file: string) =>
      run(python, ['-c', TRACED], { ...context.env, ZT_NC_DEBUG: '2', ZT_NC_DEBUG_FILE: file });
    const done = await trace(path.join(folder, 'trace.%p'));
    const [pid, result] = done.stdout.trim().split(' ');
    expect(result === 'ECONNREFUSED' && done.stderr === '', done.stdout + done.stderr);
    const file = path.join(folder, `trace.${pid}`);
    const text = fs.readFileSync(file, 'utf8');
    expect(TRACE.exec(text)?.[1] === pid, text);
    expect((fs.statSync(file).mode & 0o777) === 0o600, 'others may read it');
    for (let i = 0; i < 2; i++) await trace(path.join(folder, 'all'));
    const pids = fs.readFileSync(path.join(folder, 'all'), 'utf8').match(/(?<=connect.*)= -111/g);
    expect(pids?.length === 2, 'lines are not appended');
    const nowhere = await trace(path.join(folder, 'missing/trace'));
    expect(nowhere.stdout.endsWith(' ECONNREFUSED\n') && nowhere.stderr === '', nowhere.stderr);
  });
}

const SERVICE_DIES = `
import errno, socket, sys
l = socket.socket(); l.bind(('0.0.0.0', 8100)); l.listen()
c = socket.create_connection(('${OWN_ADDRESS}', 8100)); s, _ = l.accept()
print('ready', flush=True)
def attempt(what, call):
    try:
        print(what, call(), flush=True)
    except OSError as e:
        print(what, errno.errorcode[e.errno], flush=True)
attempt('read', lambda: c.recv(1))
attempt('accept', lambda: l.accept())
attempt('connect', lambda: socket.create_connection(('${OWN_ADDRESS}', 8100)))
attempt('bind', lambda: socket.socket().bind(('0.0.0.0', 8101)))
`;

async function serviceDies(results: Results): Promise<void> {
  await results.test(
    'a service that dies: reset, ENETDOWN, ENETUNREACH, EADDRNOTAVAIL',
    async () => {
      const python = await which('python3');
      if (python === undefined) throw new Skip('python3 is not installed');
      const own = await openHarness();
      const env = { LD_PRELOAD: LIBRARY, ZT_NC_NETWORK: own.network };
      const program = start(python, ['-c', SERVICE_DIES], env);
      await until('the connection', () => program.output().includes('ready'));
      await own.close();
      const done = await program.finished;
      const want =
        'ready\nread ECONNRESET\naccept ENETDOWN\nconnect ENETUNREACH\nbind EADDRNOTAVAIL\n';
      expect(done.stdout === want, done.stdout + done.stderr);
    },
  );
}

const DATAGRAMS_DIE = `
import errno, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 8110))
c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); c.connect(('${OWN_ADDRESS}', 8110))
c.send(b'x'); s.recv(1)
print('ready', flush=True)
def attempt(what, call):
    try:
        print(what, call(), flush=True)
    except OSError as e:
        print(what, errno.errorcode[e.errno], flush=True)
attempt('receive', lambda: s.recv(1))
attempt('again', lambda: s.recv(1))
attempt('send', lambda: c.send(b'x'))
attempt('send to', lambda: s.sendto(b'x', ('${OWN_ADDRESS}', 9)))
new = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
attempt('new receive', lambda: new.recv(1))
attempt('new send', lambda: new.sendto(b'x', ('${OWN_ADDRESS}', 9)))
attempt('new connect', lambda: new.connect(('${OWN_ADDRESS}', 9)))
attempt('new bind', lambda: new.bind(('0.0.0.0', 0)))
attempt('echo', lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) and 'made')
`;

const DATAGRAMS_DEAD = `ready
receive ENETDOWN
again ENETDOWN
send ENETDOWN
send to ENETDOWN
new receive ENETUNREACH
new send ENETUNREACH
new connect ENETUNREACH
new bind EADDRNOTAVAIL
echo made
`;

async function datagramsDie(results: Results): Promise<void> {
  await results.test('datagram sockets of a service that dies: ENETDOWN', async () => {
    const python = await which('python3');
    if (python === undefined) throw new Skip('python3 is not installed');
    const own = await openHarness();
    if (!fs.existsSync(`${own.network}.dg`)) {
      await own.close();
      throw new Skip('the service has no door for datagrams (is the addon built?)');
    }
    const env = { LD_PRELOAD: LIBRARY, ZT_NC_NETWORK: own.network };
    const program = start(python, ['-c', DATAGRAMS_DIE], env);
    await until('the datagram', () => program.output().includes('ready'));
    await own.close();
    const done = await program.finished;
    expect(done.stdout === DATAGRAMS_DEAD, done.stdout + done.stderr);
  });
}

async function serviceEnds(results: Results, context: Context): Promise<void> {
  for (const [title, body] of [...SERVICE_ENDS, ...STRANGE_SERVICES])
    await results.test(title, () => body(LIBRARY));
  await results.test('a service that answers nonsense: no crash, no hang, an errno of Linux', () =>
    replies(LIBRARY, ROOT, context.folder),
  );
}

async function library(results: Results): Promise<void> {
  await results.test('the library refers to no function that it wraps', async () => {
    const hooks = hookNames(ROOT);
    if ((await which('nm')) === undefined) throw new Skip('nm (binutils) is not installed');
    const undefinedOnes = await run('nm', ['-D', '--undefined-only', LIBRARY]);
    const used: string[] = undefinedOnes.stdout.match(/\w+(?=@|$)/gm) ?? [];
    const wrong = hooks.filter((h) => used.includes(h));
    expect(wrong.length === 0, wrong.join(' '));
    const defined = await run('nm', ['-D', '--defined-only', LIBRARY]);
    const exported = new Set([...defined.stdout.matchAll(/ [TW] (\w+)$/gm)].map((m) => m[1]!));
    expect(
      exported.size === hooks.length && hooks.every((h: string) => exported.has(h)),
      [...exported].join(' '),
    );
  });
}

/** hooks.md is made by a run of its own; a hook that it does not know has not been measured. */
async function measured(results: Results): Promise<void> {
  await results.test('every hook is in hooks.md, and a probe fails without it', async () => {
    const text = fs.readFileSync(path.join(ROOT, 'test/preload/hooks.md'), 'utf8');
    const rows = new Map(
      [...text.matchAll(/^\| `(\w+)` \| ([^|]+) \|$/gm)].map((m) => [m[1]!, m[2]!]),
    );
    const wrong = hookNames(ROOT).filter((h) => (rows.get(h) ?? '**').startsWith('**'));
    expect(wrong.length === 0, `run hooks.js --write for ${wrong.join(' ')}`);
    expect(text.includes(probeFingerprint(ROOT)), 'cases came or went: run hooks.js --write');
    expect(!text.includes('**?**'), 'a cell is empty without a reason');
  });
}

function contextFor(harness: Harness, folder: string): Context {
  const env = { LD_PRELOAD: LIBRARY, ZT_NC_NETWORK: harness.network };
  return { harness, env, folder, root: ROOT };
}

/** Whether a stack holds nothing but connections in TIME_WAIT. */
function isEmpty(stack: Stack): boolean {
  const c = stack.counters();
  const names = ['pcbs', 'listeners', 'tcpActiveUsed', 'tcpBoundUsed', 'tcpListenUsed'];
  const rest = (c['tcpHandlesUsed'] ?? 0) - (c['tcpTimeWait'] ?? 0);
  return rest === 0 && names.every((n) => (c[n] ?? 0) === 0);
}

async function programs(results: Results, context: Context): Promise<void> {
  for (const [i, test] of [
    ...PROGRAMS,
    ...DATAGRAM_PROGRAMS,
    ...LINKED_PROGRAMS,
    ...FOREIGN_PROGRAMS,
    ...MODULE_PROGRAMS,
    ...LEAKS,
    ...PROCESS_LIFE,
    ...SYSTEM_WIDE,
  ].entries()) {
    await results.test(test.name, async () => {
      const folder = path.join(context.folder, `program-${i}`);
      fs.mkdirSync(folder);
      await test.run({ ...context, folder });
      await until('every socket to be closed', () => {
        const c = context.harness.door.view.counters();
        return c.listeners === 0 && c.waiting === 0 && c.sockets === c.remembered;
      });
      await until('every datagram socket to be closed', () => {
        const c = context.harness.door.view.counters();
        return c.datagramSockets === 0 && c.udpPorts === 0 && c.echoIds === 0;
      });
      await until('every control block to be freed', () => isEmpty(context.harness.stack));
    });
  }
}

async function everything(results: Results, context: Context): Promise<void> {
  await library(results);
  await measured(results);
  await environment(results, context);
  await debugFile(results, context);
  await serviceDies(results);
  await datagramsDie(results);
  await serviceEnds(results, context);
  await conformance(results, context);
  await programs(results, context);
}

async function main(): Promise<void> {
  if (args['no-addon']) process.env['NETCON_IO'] = 'dgram';
  enterNamespace(fileURLToPath(import.meta.url), 'preload: 0 passed, 1 failed, 0 skipped');
  const results = new Results();
  if (!fs.existsSync(LIBRARY)) {
    console.log(`FAILED  ${LIBRARY} is not built`);
    console.log('preload: 0 passed, 1 failed, 0 skipped');
    process.exit(1);
  }
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'netcon-preload-test-'));
  fs.chmodSync(folder, 0o755);
  const harness = await openHarness(STACK === 'fake' ? new FakeStack() : lwipStack(), STALL_MS);
  const context = contextFor(harness, folder);
  if (STALL_MS > 0 || METHOD !== undefined) await conformance(results, context);
  else await everything(results, context);
  await results.test('no kernel socket was left open', async () => {
    expect(kernelSockets() === '', `${kernelSockets()} in use`);
  });
  await harness.close();
  fs.rmSync(folder, { recursive: true, force: true });
  console.log(
    `preload: ${results.passed} passed, ${results.failed} failed, ${results.skipped} skipped`,
  );
  process.exit(results.failed === 0 ? 0 : 1);
}

await main();
