/** Many connections, and programs and services that die at any moment; see USAGE. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Member, World, within } from '../apps/world.js';
import { positive, readOptions } from '../helpers/args.js';
import { packageFile } from '../helpers/service.js';
import { Tally } from '../helpers/tally.js';
import { type Program, run, start } from '../preload/run.js';

const INSIDE = 'NETCON_STRESS_INSIDE';
const ECHO = packageFile('test/stress/echo.mjs');
const PORT = 7;
/** Calls of a whole run of the victim, about; later ones are runs that end by themselves. */
const MOST_CALLS = 1_500;
/** FIN_WAIT_2 and a closing peer take up to 20 s [5 section 6.1]. */
const SETTLE_MS = 90_000;
const HOLDERS = 5;

const USAGE = `usage: node build/test/stress/main.js [options]

Many connections at once and in a row, and programs and services killed at any moment, in a network
namespace of its own. npm test runs none of it; all of it takes about 25 minutes.

  --scale F     F times the full numbers (default 1)
  --seed N      of the random system calls (default 1)
  --only TEXT   checks whose name contains it
  --out FILE    writes the figures over those of earlier runs in this JSON file, and the page beside it
  --help        this

Last line: stress: N passed, N failed, N skipped
`;

const args = readOptions('stress', USAGE, {
  scale: { type: 'string', default: '1' },
  seed: { type: 'string', default: '1' },
  only: { type: 'string', default: '' },
  out: { type: 'string', default: '' },
});
const SCALE = positive('stress', 'scale', args.scale);
const SEED = positive('stress', 'seed', args.seed);
const tally = new Tally('stress');
const figures: Record<string, string> = {};
const scaled = (n: number): number => Math.max(1, Math.round(n * SCALE));

/** What must be as it was when programs are gone: levels of the stack and of the doors, descriptors. */
async function levels(m: Member): Promise<Record<string, number>> {
  const text = (await m.service.request('GET', '/metrics')).text;
  const out: Record<string, number> = {};
  let remembered = 0;
  const line = /^netcon_(stack|preload)\{counter="([^"]+)"[^}]*\} ([-+.e\d]+)$/gm;
  for (const [, family, name, value] of text.matchAll(line)) {
    if (name === 'remembered') remembered = Number(value);
    const isLevel =
      family === 'stack'
        ? /Used$/.test(name!) && !/^frames/.test(name!)
        : !/remembered|[dD]rop/.test(name!);
    if (isLevel) out[`${family} ${name}`] = Number(value);
  }
  // Errors and names of finished sockets are kept for a minute, on purpose [5 section 6.1].
  out['preload sockets']! -= remembered;
  if (Object.keys(out).length < 10) throw new Error('too few counters in /metrics');
  out['descriptors'] = fs.readdirSync(`/proc/${m.service.child.pid}/fd`).length;
  return out;
}

function different(before: Record<string, number>, now: Record<string, number>): string {
  return Object.keys(before)
    .filter((k) => now[k]! > before[k]!)
    .map((k) => `${k} ${before[k]} -> ${now[k]}`)
    .join(', ');
}

/** Waits until nothing is left of what came after `before`. */
async function settled(m: Member, before: Record<string, number>): Promise<void> {
  let last = '';
  try {
    await within(`${m.name} as before`, SETTLE_MS, async () => {
      last = different(before, await levels(m));
      if (last === '') return true;
      await new Promise((r) => setTimeout(r, 200));
      return undefined;
    });
  } catch {
    throw new Error(`${m.name}: left behind: ${last}`);
  }
}

const rssMiB = (m: Member): number =>
  Number(
    /VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${m.service.child.pid}/status`, 'utf8'))![1],
  ) / 1024;

/** A program, by default echo.mjs, whose lines can be waited for; not limited in time. */
class Lines {
  readonly child;
  readonly #lines: string[] = [];
  #errors = '';

  constructor(on: Member, args: readonly string[], program = [process.execPath, ECHO]) {
    this.child = spawn(program[0]!, [...program.slice(1), ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...on.env },
    });
    this.child.stderr.on('data', (d: Buffer) => {
      this.#errors += d.toString();
    });
    createInterface({ input: this.child.stdout }).on('line', (l) => this.#lines.push(l));
  }

  /** The first line with `text`. */
  async says(text: string, ms: number): Promise<string> {
    return within(`a line with "${text}"`, ms, () => {
      if (this.child.exitCode !== null && this.child.exitCode !== 0)
        throw new Error(`the program ended: ${this.#errors.slice(-1_000)}`);
      return this.#lines.find((l) => l.includes(text));
    });
  }

  async end(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const gone = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await gone;
  }
}

async function withServer<T>(on: Member, body: (server: Lines) => Promise<T>): Promise<T> {
  const server = new Lines(on, ['serve', String(PORT)]);
  try {
    await server.says('serving', 20_000);
    return await body(server);
  } finally {
    await server.end();
  }
}

async function manyHeld(world: World): Promise<void> {
  const { a, b } = world;
  const count = scaled(10_000);
  const each = Math.ceil(count / HOLDERS);
  const before = [await levels(a), await levels(b)] as const;
  const [memoryA, memoryB] = [rssMiB(a), rssMiB(b)];
  await withServer(a, async () => {
    const holders: Lines[] = [];
    try {
      for (let i = 0; i < HOLDERS; i++)
        holders.push(new Lines(b, ['hold', a.ip, String(PORT), String(each)]));
      await Promise.all(holders.map((h) => h.says(`held ${each}`, 300_000)));
      for (const h of holders) h.child.stdin.write('again\n');
      await Promise.all(holders.map((h) => h.says(`echoed ${each}`, 300_000)));
      const [kibA, kibB] = [
        ((rssMiB(a) - memoryA) * 1024) / (each * HOLDERS),
        ((rssMiB(b) - memoryB) * 1024) / (each * HOLDERS),
      ];
      figures['connections held through one listener'] =
        `${each * HOLDERS}, each echoed twice; memory of the services ${kibA.toFixed(1)} and ${kibB.toFixed(1)} KiB each`;
    } finally {
      for (const h of holders) await h.end();
    }
  });
  await settled(a, before[0]);
  await settled(b, before[1]);
}

async function manyShort(world: World): Promise<void> {
  const { a, b } = world;
  const count = scaled(100_000);
  const warm = Math.max(1, Math.round(count / 10));
  const before = [await levels(a), await levels(b)] as const;
  await withServer(a, async () => {
    const part = async (n: number): Promise<void> => {
      const client = new Lines(b, ['short', a.ip, String(PORT), String(n), '16']);
      try {
        await client.says(`closed ${n}`, 60_000 + n * 20);
      } finally {
        await client.end();
      }
    };
    await part(warm);
    const [memoryA, memoryB] = [rssMiB(a), rssMiB(b)];
    const from = performance.now();
    await part(count - warm);
    const perSecond = ((count - warm) * 1000) / (performance.now() - from);
    figures['short connections in a row'] =
      `${count}, ${perSecond.toFixed(0)} a second; memory of the services after the first tenth and at the end: ${memoryA.toFixed(0)} -> ${rssMiB(a).toFixed(0)} and ${memoryB.toFixed(0)} -> ${rssMiB(b).toFixed(0)} MiB`;
  });
  await settled(a, before[0]);
  await settled(b, before[1]);
}

/** Each kind of a connection that nobody reads; with a megabyte each they would take all memory. */
const SILENT = 200;
/** Bytes of an active connection; four times what it has under way. */
const CROWD_BYTES = 65_536;
/** When all have CROWD_BYTES on average, nobody may have less than this part of it. */
const LEAST_PART = 16;

async function crowd(world: World): Promise<void> {
  const { a, b } = world;
  const program = [await compile(world.place('crowd'), 'crowd')];
  const [active, silent] = [scaled(5_000), scaled(SILENT)];
  const before = [await levels(a), await levels(b)] as const;
  const server = new Lines(a, ['serve', String(PORT)], program);
  try {
    await server.says('serving', 20_000);
    const args = [a.ip, PORT, active, silent, CROWD_BYTES].map(String);
    const client = new Lines(b, ['run', ...args], program);
    try {
      const line = await client.says(`complete ${active}`, 1_800_000);
      const [least, jain, questions, longest] = ['least', 'jain', 'questions', 'longest'].map((k) =>
        Number(new RegExp(`${k} ([\\d.]+)`).exec(line)?.[1]),
      );
      if (!(least! >= CROWD_BYTES / LEAST_PART) || !(questions! > 0))
        throw new Error(`somebody starved: ${line}`);
      figures['connections that all transfer'] =
        `${active}, and ${2 * silent} that nobody reads; when each had ${CROWD_BYTES / 1024} KiB on average, the last had ${(least! / 1024).toFixed(0)}, Jain's index ${jain}; ${questions} questions of 64 bytes answered meanwhile, the slowest in ${longest} ms; all complete, every byte compared`;
    } finally {
      await client.end();
    }
  } finally {
    await server.end();
  }
  await settled(a, before[0]);
  await settled(b, before[1]);
}

async function compile(dir: string, name: string): Promise<string> {
  const out = path.join(dir, name);
  const done = await run('gcc', ['-O1', '-Wall', '-o', out, packageFile(`test/stress/${name}.c`)]);
  if (done.code !== 0) throw new Error(done.stderr);
  return out;
}

async function killedPrograms(world: World): Promise<void> {
  const { a, b } = world;
  const dir = world.place('stress');
  const [killer, victim] = [await compile(dir, 'killer'), await compile(dir, 'victim')];
  const rounds = Math.max(1, Math.round(10 * SCALE));
  const perRound = SCALE >= 0.1 ? 100 : Math.max(5, scaled(1_000));
  let killed = 0;
  await withServer(a, async () => {
    const before = [await levels(a), await levels(b)] as const;
    for (let i = 0; i < rounds; i++) {
      const args = [String(SEED * 1_000 + i), String(perRound), String(MOST_CALLS)];
      const program = start(killer, [...args, victim, b.ip, a.ip, String(PORT)], b.env);
      const done = await program.finished;
      const [, k] = /killed (\d+), whole/.exec(done.stdout) ?? [];
      if (k === undefined) throw new Error(`killer: ${done.code ?? done.signal} ${done.stderr}`);
      killed += Number(k);
      await settled(b, before[1]);
      await settled(a, before[0]);
    }
  });
  figures['programs killed at random system calls'] =
    `${rounds * perRound} runs, ${killed} killed (the others ended first), seed ${SEED}; stack, doors and descriptors of both services as before after each ${perRound}`;
}

/** What blocked calls meet when their service dies, and a new socket before it is back. */
const WITNESS = `
import errno, os, select, socket, sys, threading
at, silent, port = sys.argv[1], sys.argv[2], ${PORT}
def said(what, call):
    try:
        call()
        word = 'ok'
    except OSError as e:
        word = errno.errorcode.get(e.errno, str(e))
    os.write(1, f'{what} {word}\\n'.encode())  # whole: threads end at the same moment
stream = socket.create_connection((at, port))
stream.sendall(b'x'); stream.recv(1)
polled = socket.create_connection((at, port))
listener = socket.create_server(('', 0))
pending = socket.socket()
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(('', 0))
def poll():
    p = select.poll()
    p.register(polled, select.POLLIN)
    p.poll()
    polled.recv(1)
threads = [threading.Thread(target=said, args=a) for a in [
    ('recv', lambda: stream.recv(1)), ('poll', poll), ('accept', listener.accept),
    ('connect', lambda: pending.connect((silent, 9))), ('recvfrom', lambda: datagrams.recvfrom(1))]]
for t in threads: t.start()
print('ready', flush=True)
for t in threads: t.join()
said('new', lambda: socket.create_connection((at, port)))
print('done', flush=True)
`;
/** [5 section 10]; of `new` only that it fails. */
const WITNESSED = [
  'accept ENETDOWN',
  'connect ENETUNREACH',
  'poll ECONNRESET',
  'recv ECONNRESET',
  'recvfrom ENETDOWN',
];

/** Kills the service under five blocked calls. @returns how long the last of them was left waiting, ms. */
async function killUnderWitness({ a, b }: World): Promise<number> {
  const silent = a.ip.replace(/\d+$/, '250');
  const witness: Program = b.start('python3', ['-c', WITNESS, a.ip, silent]);
  const says = (text: string): Promise<true> =>
    within(`the witness says ${text}`, 30_000, () => {
      if (witness.child.exitCode !== null && !witness.output().includes(text))
        throw new Error(witness.output());
      return witness.output().includes(text) ? true : undefined;
    });
  await says('ready');
  const from = performance.now();
  await b.service.stop('SIGKILL');
  await says('new');
  const took = performance.now() - from;
  const lines = (await witness.finished).stdout.trim().split('\n');
  const met = lines.filter((l) => !/^(ready|done|new )/.test(l)).sort();
  if (met.join() !== WITNESSED.join() || lines.includes('new ok'))
    throw new Error(`the program saw ${lines.join(', ')}`);
  return took;
}

async function killedService(world: World): Promise<void> {
  const { a, b } = world;
  const count = scaled(100);
  const before = await levels(a);
  await withServer(a, async () => {
    let slowest = 0;
    for (let i = 0; i < count; i++) {
      slowest = Math.max(slowest, await killUnderWitness(world));
      await b.restart();
      await within('a new connection', 60_000, async () => {
        const script = `exec 3<>/dev/tcp/${a.ip}/${PORT}; echo hi >&3; read -t 5 -u 3 x; [ "$x" = hi ]`;
        return (await b.run('bash', ['-c', script])).code === 0 ? true : undefined;
      });
    }
    figures['service killed while programs run'] =
      `${count} times: recv, poll, accept, connect and recvfrom that waited got their errors, the last after ${slowest.toFixed(0)} ms at most, new sockets an error, and the restarted service served new ones; the other service as before when its server had ended`;
  });
  // Its connections to services that were killed idle until then, as on Linux.
  await settled(a, before);
}

const CHECKS: readonly (readonly [string, (w: World) => Promise<void>])[] = [
  ['connections held through one listener', manyHeld],
  ['connections that all transfer', crowd],
  ['short connections in a row', manyShort],
  ['programs killed at random system calls', killedPrograms],
  ['service killed while programs run', killedService],
];

function enterNamespace(): never {
  const flags = process.getuid?.() === 0 ? ['-n'] : ['-rn'];
  const inner = [process.execPath, fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  const script = 'ip link set lo up && ulimit -n $(ulimit -Hn) && exec "$@"';
  const done = spawnSync('unshare', [...flags, '--', '/bin/sh', '-c', script, 'sh', ...inner], {
    stdio: 'inherit',
    env: { ...process.env, [INSIDE]: '1' },
  });
  process.exit(done.status ?? 1);
}

interface Row {
  readonly result: string;
  readonly date: string;
  readonly commit: string;
}

const cell = ([name, r]: readonly [string, Row]): string =>
  `| ${name} | ${r.result} | ${r.date}, ${r.commit} |`;

const page = (rows: Record<string, Row>): string => `# Stress

Written by \`node build/test/stress/main.js --out docs/stress.json\`; do not edit. Two members of a network,
services of one machine; programs under the preload. Figures are of a shared machine of two cores.

| check | result | run |
| --- | --- | --- |
${Object.entries(rows).map(cell).join('\n')}
`;

/** Adds this run's figure to the file and writes the page beside it. */
function record(out: string, name: string): void {
  const rows = fs.existsSync(out)
    ? (JSON.parse(fs.readFileSync(out, 'utf8')) as Record<string, Row>)
    : {};
  const commit = spawnSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' });
  rows[name] = {
    result: figures[name]!,
    date: new Date().toISOString().slice(0, 10),
    commit: commit.stdout.trim(),
  };
  fs.writeFileSync(out, `${JSON.stringify(rows, null, 1)}\n`);
  fs.writeFileSync(out.replace(/\.json$/, '.md'), page(rows));
}

async function main(): Promise<void> {
  if (process.env[INSIDE] === undefined) enterNamespace();
  const world = new World();
  try {
    await world.up();
    for (const [name, body] of CHECKS)
      if (name.includes(args.only))
        await tally.check(name, async () => {
          await body(world);
          console.log(`     ${figures[name]}`);
          if (args.out !== '') record(args.out, name);
        });
  } finally {
    await world.down();
  }
  tally.finish();
}

await main();
