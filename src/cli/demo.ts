/**
 * `netcon demo`: a whole private universe on loopback - root, controller, two members - and an
 * unmodified web server and client that meet on its virtual network [0 section 7].
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { createPrimitives, nativeEntropy } from '../crypto/native.js';
import { IdentityWorker } from '../host/identity-worker.js';
import { choosePort } from '../host/ports.js';
import { isRecord, type JsonRecord } from '../lib/json.js';
import { loadPacketCore } from '../packetcore/load.js';
import { addressText } from '../wire/address.js';
import { emitIdentityText, type Identity } from '../wire/identity.js';
import { parseInetAddress } from '../wire/inetaddress.js';
import { emitWorld } from '../wire/world.js';
import { ApiClient } from './api-client.js';
import { CommandError, packagePath, UsageError } from './args.js';
import { makePlanet } from './planet.js';
import { programEnvironment } from './run.js';

export const DEMO_USAGE = `usage: netcon demo [--bytes N]

Starts a root, a controller and two members on 127.0.0.1, joins both members to a network of
that controller, runs examples/httpserver.js unmodified on one member and fetches from it with an
unmodified client on the other. Touches nothing outside a temporary folder; needs no root.

  --bytes N   size of the download (default 4000000)
`;

const WEB_PORT = 8080;
const STEP_MS = 20_000;
const POLL_MS = 20;

class Universe {
  readonly dir = mkdtempSync(join(tmpdir(), 'netcon-demo-'));
  readonly #children: ChildProcess[] = [];
  readonly #startedAt = performance.now();
  #stepAt = performance.now();
  readonly #isTerminal = process.stdout.isTTY === true;

  step(text: string): void {
    const now = performance.now();
    const took = `${(now - this.#stepAt).toFixed(0).padStart(6)} ms`;
    this.#stepAt = now;
    process.stdout.write(`${this.#isTerminal ? `\x1b[2m${took}\x1b[0m` : took}  ${text}\n`);
  }

  get seconds(): string {
    return ((performance.now() - this.#startedAt) / 1000).toFixed(1);
  }

  home(name: string): string {
    return join(this.dir, name);
  }

  /** Starts a program that is ended with the universe; `log` collects what it prints. */
  start(
    file: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv,
    log: string[],
  ): ChildProcess {
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (d: Buffer) => log.push(d.toString()));
    this.#children.push(child);
    return child;
  }

  async end(): Promise<void> {
    const alive = this.#children.filter((c) => c.exitCode === null && c.signalCode === null);
    const gone = alive.map((c) => new Promise<void>((r) => c.once('exit', () => r())));
    for (const c of alive) c.kill('SIGTERM');
    const forced = setTimeout(() => {
      for (const c of alive) c.kill('SIGKILL');
    }, 3_000);
    await Promise.all(gone);
    clearTimeout(forced);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Asks until the answer is there. @throws CommandError after STEP_MS, with `what`. */
async function until<T>(what: string, ask: () => Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + STEP_MS;
  let last = '';
  while (performance.now() < deadline) {
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (e) {
      last = e instanceof Error ? e.message : String(e);
    }
    await new Promise((r) => setTimeout(r, POLL_MS));
  }
  throw new CommandError(
    `${what}: not within ${STEP_MS / 1000} s${last === '' ? '' : ` (${last})`}`,
  );
}

interface Member {
  readonly name: string;
  readonly home: string;
  readonly api: ApiClient;
  readonly address: string;
}

const NAMES = ['root', 'controller', 'alice', 'bob'] as const;

async function startNodes(u: Universe, identities: readonly Identity[]): Promise<Member[]> {
  const core = loadPacketCore();
  const p = createPrimitives((k) => core.memoryHardHash(k));
  const ports: number[] = [];
  while (ports.length < NAMES.length) {
    const port = await choosePort(0);
    if (!ports.includes(port)) ports.push(port);
  }
  const privateKey = new Uint8Array(64);
  nativeEntropy.fill(privateKey);
  const key = { privateKey, publicKey: p.publicFromPrivate(privateKey) };
  const endpoint = parseInetAddress(`127.0.0.1/${ports[0]}`)!;
  const planet = makePlanet(
    p,
    key,
    [{ identity: { ...identities[0]!, privateKey: undefined }, endpoints: [endpoint] }],
    1_000_000_001n,
    BigInt(Date.now()),
  );
  const logs = NAMES.map((): string[] => []);
  for (const [i, name] of NAMES.entries()) {
    const home = u.home(name);
    mkdirSync(home);
    writeFileSync(join(home, 'planet'), emitWorld(planet));
    writeFileSync(join(home, 'identity.secret'), emitIdentityText(identities[i]!, true), {
      mode: 0o600,
    });
    u.start(
      process.execPath,
      [packagePath('dist/service.js'), `-p${ports[i]}`, home],
      process.env,
      logs[i]!,
    );
  }
  return Promise.all(
    NAMES.map((name, i) =>
      until(`${name} online ${logs[i]!.join('')}`, async () => {
        const api = ApiClient.ofHome(u.home(name));
        const status = await api.record('GET', '/status');
        return status['online'] === true
          ? { name, home: u.home(name), api, address: String(status['address']) }
          : undefined;
      }),
    ),
  );
}

async function createNetwork(controller: Member): Promise<string> {
  const record = await controller.api.record(
    'POST',
    `/controller/network/${controller.address}______`,
    {
      name: 'demo',
      private: false,
      v4AssignMode: { zt: true },
      routes: [{ target: '10.147.17.0/24', via: null }],
      ipAssignmentPools: [{ ipRangeStart: '10.147.17.10', ipRangeEnd: '10.147.17.250' }],
    },
  );
  return String(record['nwid']);
}

async function join4(m: Member, nwid: string): Promise<string> {
  await m.api.record('POST', `/network/${nwid}`, {});
  return until(`${m.name} in the network`, async () => {
    const net: JsonRecord = await m.api.record('GET', `/network/${nwid}`);
    const list = Array.isArray(net['assignedAddresses'])
      ? net['assignedAddresses'].map(String)
      : [];
    const v4 = list.find((a) => !a.includes(':'));
    return net['status'] === 'OK' && v4 !== undefined ? v4.split('/')[0]! : undefined;
  });
}

interface Traffic {
  readonly datagrams: number;
  readonly bytes: number;
}

/** Datagrams and bytes at a member's UDP sockets so far, both directions. */
async function traffic(m: Member): Promise<Traffic> {
  const text = (await m.api.text('GET', '/metrics')).body;
  const sum = (name: string): number =>
    [...text.matchAll(new RegExp(`^${name}\\{[^}]*\\} (\\d+)$`, 'gm'))].reduce(
      (n, x) => n + Number(x[1]),
      0,
    );
  return { datagrams: sum('netcon_datagrams'), bytes: sum('zt_data') };
}

function hasCurl(): boolean {
  try {
    execFileSync('curl', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const NODE_CLIENT =
  "require('http').get(process.argv[1],(r)=>r.pipe(process.stdout)).on('error',(e)=>{console.error(e.message);process.exit(1)})";

/** Fetches with an unmodified client on the member's network. */
function fetchOn(u: Universe, m: Member, nwid: string, url: string): Promise<Buffer> {
  const env = { ...process.env, ...programEnvironment(join(m.home, `nc_${nwid}`)) };
  const [file, args] = hasCurl()
    ? ['curl', ['-sS', '--noproxy', '*', '--max-time', '15', url]]
    : [process.execPath, ['-e', NODE_CLIENT, url]];
  const errors: string[] = [];
  const chunks: Buffer[] = [];
  const child = u.start(file, args, env, errors);
  errors.length = 0;
  child.stdout!.removeAllListeners('data');
  child.stdout!.on('data', (d: Buffer) => chunks.push(d));
  return new Promise((done, fail) => {
    child.on('error', fail);
    child.on('close', (code) =>
      code === 0
        ? done(Buffer.concat(chunks))
        : fail(new CommandError(`${file} ${url}: exit code ${code} ${errors.join('')}`)),
    );
  });
}

/** What examples/httpserver.js sends for /bytes/N. */
function expectedDigest(len: number): string {
  const block = createHash('sha512').update('netcon').digest();
  const hash = createHash('sha256');
  for (let at = 0; at < len; at += block.length)
    hash.update(block.subarray(0, Math.min(block.length, len - at)));
  return hash.digest('hex');
}

async function show(u: Universe, bytes: number): Promise<void> {
  const worker = new IdentityWorker();
  worker.ref();
  const identities = await Promise.all(Array.from({ length: 4 }, () => worker.generate()));
  await worker.close();
  u.step(
    `made ${identities.length} identities: ${identities.map((i) => addressText(i.address)).join(' ')}`,
  );
  const [root, controller, alice, bob] = (await startNodes(u, identities)) as [
    Member,
    Member,
    Member,
    Member,
  ];
  u.step(
    `root ${root.address}, controller ${controller.address}, members ${alice.address} and ${bob.address} are online, on 127.0.0.1`,
  );
  const nwid = await createNetwork(controller);
  u.step(`the controller made the network ${nwid}`);
  const [ipA, ipB] = await Promise.all([join4(alice, nwid), join4(bob, nwid)]);
  u.step(`both members joined it: alice has ${ipA}, bob has ${ipB}`);
  const log: string[] = [];
  const env = { ...process.env, ...programEnvironment(join(alice.home, `nc_${nwid}`)) };
  u.start(process.execPath, [packagePath('examples/httpserver.js'), String(WEB_PORT)], env, log);
  await until(`examples/httpserver.js under the preload ${log.join('')}`, async () =>
    log.join('').includes('listening') ? true : undefined,
  );
  u.step(`examples/httpserver.js, unmodified, listens on alice's network, port ${WEB_PORT}`);
  const greeting = await fetchOn(u, bob, nwid, `http://${ipA}:${WEB_PORT}/`);
  u.step(
    `bob: ${hasCurl() ? 'curl' : 'node'} http://${ipA}:${WEB_PORT}/ -> ${greeting.toString().trim()}`,
  );
  const before = await Promise.all([traffic(alice), traffic(bob)]);
  const body = await fetchOn(u, bob, nwid, `http://${ipA}:${WEB_PORT}/bytes/${bytes}`);
  const digest = createHash('sha256').update(body).digest('hex');
  if (digest !== expectedDigest(bytes))
    throw new CommandError(`the download is not what was sent (${body.length} of ${bytes} bytes)`);
  u.step(`bob: downloaded ${body.length} bytes, SHA-256 as sent (${digest.slice(0, 16)}...)`);
  const after = await Promise.all([traffic(alice), traffic(bob)]);
  for (const [i, m] of [alice, bob].entries()) {
    const datagrams = after[i]!.datagrams - before[i]!.datagrams;
    const moved = after[i]!.bytes - before[i]!.bytes;
    if (moved < bytes)
      throw new CommandError(
        `only ${moved} bytes crossed ${m.name}'s UDP sockets: the download went another way`,
      );
    u.step(`${m.name}'s UDP sockets: ${datagrams} encrypted datagrams, ${moved} bytes`);
  }
}

export async function demoCommand(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      bytes: { type: 'string', default: '4000000' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(DEMO_USAGE);
    return 0;
  }
  const bytes = Number(values.bytes);
  if (!Number.isSafeInteger(bytes) || bytes < 1 || bytes > 1e9)
    throw new UsageError('--bytes must be a whole number from 1 to 1000000000');
  const u = new Universe();
  const interrupted = (): void => {
    void u.end().then(() => process.exit(130));
  };
  process.on('SIGINT', interrupted);
  process.on('SIGTERM', interrupted);
  try {
    await show(u, bytes);
  } finally {
    await u.end();
  }
  process.stdout.write(`done in ${u.seconds} s; nothing is left behind\n`);
  return 0;
}

export { isRecord };
