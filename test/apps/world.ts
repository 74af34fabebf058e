/**
 * A virtual network of two members with the whole node between them: root and controller, and the
 * members `a` and `b`, three services of this machine that speak over loopback. Programs run on a
 * member under the preload; what they print is kept for the report of a failure.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { HomeFolder, packageFile, TestService, testAddress } from '../helpers/service.js';
import { type Finished, type Program, run, start } from '../preload/run.js';

const ROOT_PORT = 29_993;
const NETWORK = 0xa1;
const SUBNET = '10.91.1';
const V6_POOL = 'fd91::';
/** The first packet of a member may have to wait for the path; on a busy machine all is slower. */
const PATIENCE_MS = 40_000;

/** Longest that a server may serve; a whole suite on a busy machine takes minutes. */
export const SERVER_LIMIT_MS = 900_000;

export const LIBRARY = packageFile('dist/native/libztintercept.so');

export async function within<T>(
  what: string,
  ms: number,
  ask: () => T | undefined | Promise<T | undefined>,
): Promise<T> {
  const deadline = performance.now() + ms;
  for (;;) {
    const v = await ask();
    if (v !== undefined) return v;
    if (performance.now() > deadline) throw new Error(`${what}: not within ${ms} ms`);
    await new Promise((r) => setTimeout(r, 20));
  }
}

/** One member of the network. */
export class Member {
  service: TestService;
  readonly name: string;
  readonly door: string;
  ip = '';
  ip6 = '';

  constructor(service: TestService, name: string, nwid: string) {
    this.service = service;
    this.name = name;
    this.door = path.join(service.home, `nc_${nwid}`);
  }

  /** Whether its service has a door for datagrams; not without the addon. */
  get hasDatagrams(): boolean {
    return fs.existsSync(`${this.door}.dg`);
  }

  /** What puts a program on the network. */
  get env(): NodeJS.ProcessEnv {
    return { LD_PRELOAD: LIBRARY, ZT_NC_NETWORK: this.door };
  }

  /** Starts a service that ended again, on the same home folder. */
  async restart(): Promise<void> {
    this.service = await new TestService(this.service.home, ['-p0']).ready();
  }

  async join(nwid: string): Promise<void> {
    await this.service.request('POST', `/network/${nwid}`, '{}');
    const all = await within(`${this.name} has its addresses`, PATIENCE_MS, async () => {
      const text = (await this.service.request('GET', `/network/${nwid}`)).text;
      const net = JSON.parse(text) as { status: string; assignedAddresses: string[] };
      return net.status === 'OK' && net.assignedAddresses.length > 1
        ? net.assignedAddresses.map((a) => a.split('/')[0]!)
        : undefined;
    });
    this.ip = all.find((a) => !a.includes(':'))!;
    this.ip6 = all.find((a) => a.includes(':'))!;
  }

  start(
    command: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv = {},
    cwd?: string,
  ): Program {
    return start(command, args, { ...this.env, ...env }, cwd, SERVER_LIMIT_MS);
  }

  run(
    command: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv = {},
    cwd?: string,
  ): Promise<Finished> {
    return run(command, args, { ...this.env, ...env }, cwd);
  }
}

export interface MemberOptions {
  /** The service runs as this user, who alone may use its doors. */
  readonly user?: string;
  /** local.conf. */
  readonly conf?: object;
}

/** A network that lets everybody in and gives addresses of both families. */
export async function createNetwork(
  controller: TestService,
  nwid: string,
  subnet: string,
  pool6: string,
): Promise<void> {
  await controller.request(
    'POST',
    `/controller/network/${nwid}`,
    JSON.stringify({
      private: false,
      v4AssignMode: { zt: true },
      v6AssignMode: { zt: true },
      routes: [{ target: `${subnet}.0/24` }, { target: `${pool6}/64` }],
      ipAssignmentPools: [
        { ipRangeStart: `${subnet}.10`, ipRangeEnd: `${subnet}.250` },
        { ipRangeStart: `${pool6}10`, ipRangeEnd: `${pool6}ffff` },
      ],
    }),
  );
}

export class World {
  readonly folder = new HomeFolder();
  readonly nwid = `${testAddress(0)}${NETWORK.toString(16).padStart(6, '0')}`;
  readonly #services: TestService[] = [];
  readonly #members: Member[] = [];
  root!: TestService;
  a!: Member;
  b!: Member;

  async up(): Promise<void> {
    fs.chmodSync(this.folder.dir, 0o755);
    this.root = await this.#service('root', 0, [`-p${ROOT_PORT}`]);
    await createNetwork(this.root, this.nwid, SUBNET, V6_POOL);
    this.a = await this.member('a', 1);
    this.b = await this.member('b', 2);
  }

  async #service(
    name: string,
    identity: number,
    args: string[],
    { user, conf }: MemberOptions = {},
  ): Promise<TestService> {
    const home = this.folder.home(name, identity, ROOT_PORT);
    if (conf !== undefined) fs.writeFileSync(path.join(home, 'local.conf'), JSON.stringify(conf));
    const prefix: string[] = [];
    if (user !== undefined) {
      const { stdout } = await run('id', ['-u', user]);
      const uid = Number(stdout);
      for (const file of ['', ...fs.readdirSync(home)])
        fs.chownSync(path.join(home, file), uid, uid);
      prefix.push('setpriv', `--reuid=${user}`, `--regid=${user}`, '--clear-groups');
    }
    const service = new TestService(home, args, process.env, prefix);
    this.#services.push(service);
    return service.ready();
  }

  async member(name: string, identity: number, options: MemberOptions = {}): Promise<Member> {
    const service = await this.#service(name, identity, ['-p0'], options);
    const m = new Member(service, name, this.nwid);
    this.#members.push(m);
    await m.join(this.nwid);
    return m;
  }

  /** A folder for one application, readable by all. */
  place(name: string): string {
    const dir = path.join(this.folder.dir, `app-${name}`);
    fs.mkdirSync(dir, { recursive: true, mode: 0o755 });
    return dir;
  }

  /** Until a program on `from` can open a TCP connection. */
  async reachable(from: Member, ip: string, port: number, server: Program): Promise<void> {
    let ended = false;
    void server.finished.then(() => {
      ended = true;
    });
    await within(`port ${port} of ${ip}`, PATIENCE_MS, async () => {
      if (ended) throw new Error(`the server ended: ${server.output()}`);
      const done = await from.run('bash', ['-c', `exec 3<>/dev/tcp/${ip}/${port}`]);
      return done.code === 0 ? true : undefined;
    });
  }

  async down(): Promise<void> {
    for (const m of this.#members) await m.service.stop();
    for (const s of this.#services.reverse()) await s.stop();
    this.folder.remove();
  }
}
