/**
 * The only way for a test to start the service: it writes a planet file first, whose only root is
 * on loopback, so that no test can ever reach the public roots (a test of the layout enforces it).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makePlanet } from '#src/cli/planet.js';
import { createPrimitives, nativeEntropy } from '#src/crypto/native.js';
import { loadPacketCore } from '#src/packetcore/load.js';
import { addressText } from '#src/wire/address.js';
import { emitIdentityText, generateIdentity, type Identity } from '#src/wire/identity.js';
import { parseInetAddress } from '#src/wire/inetaddress.js';
import { emitWorld } from '#src/wire/world.js';

const PACKAGE = new URL('../../../', import.meta.url).pathname;
const core = loadPacketCore();
const primitives = createPrimitives((k) => core.memoryHardHash(k));

/** Path of a file of the package, relative to its root. */
export function packageFile(name: string): string {
  return join(PACKAGE, name);
}

const pool: Identity[] = [];

/** An identity of this run; they are made once and reused by index. */
export function testIdentity(index: number): Identity {
  while (pool.length <= index) pool.push(generateIdentity(primitives, nativeEntropy));
  return pool[index]!;
}

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end; killed (and failed) after `timeoutMs`. */
export function runProgram(
  file: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
  timeoutMs = 30_000,
  cwd?: string,
): Promise<Finished> {
  const child = spawn(file, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env,
    ...(cwd === undefined ? {} : { cwd }),
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (d: Buffer) => {
    stdout += d.toString();
  });
  child.stderr.on('data', (d: Buffer) => {
    stderr += d.toString();
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  return new Promise((done, fail) => {
    child.on('error', fail);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      done({ code, signal, stdout, stderr });
    });
  });
}

/** A folder for homes, removed by `remove`. */
export class HomeFolder {
  readonly dir = mkdtempSync(join(tmpdir(), 'nctest-'));

  /** A home with a private planet and, unless `identity` is null, an identity. */
  home(name: string, identity: number | null = 0, rootPort = 1): string {
    const home = join(this.dir, name);
    mkdirSync(home, { recursive: true });
    writePlanet(home, rootPort);
    if (identity !== null)
      writeFileSync(join(home, 'identity.secret'), emitIdentityText(testIdentity(identity), true), {
        mode: 0o600,
      });
    return home;
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** A planet whose root is identity 0 at 127.0.0.1:`port`. */
export function writePlanet(home: string, port: number): void {
  const privateKey = new Uint8Array(64).fill(9);
  const key = { privateKey, publicKey: primitives.publicFromPrivate(privateKey) };
  const roots = [
    {
      identity: { ...testIdentity(0), privateKey: undefined },
      endpoints: [parseInetAddress(`127.0.0.1/${port}`)!],
    },
  ];
  writeFileSync(
    join(home, 'planet'),
    emitWorld(makePlanet(primitives, key, roots, 900_002n, 1_700_000_000_000n)),
  );
}

export function testAddress(index: number): string {
  return addressText(testIdentity(index).address);
}

/** A service in the foreground, with its planet checked before it starts. */
export class TestService {
  readonly home: string;
  readonly child: ChildProcess;
  stderr = '';

  constructor(
    home: string,
    args: readonly string[] = ['-p0'],
    env: NodeJS.ProcessEnv = process.env,
    /** A command that runs the program it is given, as `ip netns exec NAME`. */
    prefix: readonly string[] = [],
  ) {
    if (!existsSync(join(home, 'planet')))
      throw new Error(`${home} has no planet file: a test service must not use the built-in roots`);
    this.home = home;
    const [file, ...rest] = [...prefix, process.execPath, packageFile('dist/service.js')];
    this.child = spawn(file!, [...rest, ...args, home], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env,
    });
    this.child.stderr!.on('data', (d: Buffer) => {
      this.stderr += d.toString();
    });
  }

  /** Resolves when the control API answers. */
  async ready(): Promise<this> {
    for (;;) {
      if (this.child.exitCode !== null)
        throw new Error(`the service ended with ${this.child.exitCode}: ${this.stderr}`);
      try {
        if ((await this.request('GET', '/health')).status === 200) return this;
      } catch {
        // Not listening yet; the runner's time limit bounds this loop.
      }
      await new Promise((r) => setTimeout(r, 20));
    }
  }

  get port(): number {
    return Number(readFileSync(join(this.home, 'zerotier-one.port'), 'utf8'));
  }

  get token(): string {
    return readFileSync(join(this.home, 'authtoken.secret'), 'utf8').trim();
  }

  async request(
    method: string,
    path: string,
    body?: string,
  ): Promise<{ status: number; text: string }> {
    const init: RequestInit = {
      method,
      headers: { 'X-ZT1-Auth': this.token, Connection: 'close' },
    };
    if (body !== undefined) init.body = body;
    const r = await fetch(`http://127.0.0.1:${this.port}${path}`, init);
    return { status: r.status, text: await r.text() };
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const gone = new Promise<void>((r) => this.child.once('exit', () => r()));
      this.child.kill(signal);
      await gone;
    }
    return this.child.exitCode;
  }
}
