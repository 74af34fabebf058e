/**
 * Services of ours on loopback in the places of the recorded lab: `root` (only root, and controller)
 * and the members, which carry the lab's own identities where the records contain their secrets.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { choosePort } from '#src/host/ports.js';
import { emitJson, type JsonRecord, type JsonValue, parseJson } from '#src/lib/json.js';
import { parseIdentityText } from '#src/wire/identity.js';
import { HomeFolder, TestService, testAddress, testIdentity } from '../helpers/service.js';
import { labSecret } from './records.js';

/** Group whose records contain a member's secret identity. */
const SECRETS: Readonly<Record<string, readonly [group: string, address: string]>> = {
  m1: ['idtool', 'a05a22569d'],
  m2: ['service-command-line', 'ce81a7dba3'],
};
/** The recorded root's address; its secret is not in the records. */
export const RECORDED_ROOT = 'e8144315db';
const DEADLINE_MS = 20_000;
const POLL_MS = 50;

type Prepare = (name: string, home: string, root: string) => void;

export interface LabNode {
  readonly name: string;
  readonly service: TestService;
  readonly address: string;
  readonly publicIdentity: string;
}

export class Lab {
  readonly #folder = new HomeFolder();
  readonly #nodes = new Map<string, LabNode>();
  #rootPort = 0;

  /**
   * Starts the nodes named; the root first.
   * @param conf local.conf of all of them.
   * @param prepare called for every home before its start, with the root's address.
   */
  static async start(
    names: readonly string[],
    conf?: JsonRecord,
    prepare: Prepare = () => undefined,
  ): Promise<Lab> {
    const lab = new Lab();
    lab.#rootPort = await choosePort(0);
    try {
      for (const name of names) await lab.#start(name, conf, prepare);
      await Promise.all(names.map((n) => lab.#online(lab.node(n))));
    } catch (e) {
      await lab.stop();
      throw e;
    }
    return lab;
  }

  async #start(name: string, conf: JsonRecord | undefined, prepare: Prepare): Promise<void> {
    const isRoot = name === 'root';
    const home = this.#folder.home(name, isRoot ? 0 : null, this.#rootPort);
    let identity = testIdentity(0);
    if (!isRoot) {
      const text = labSecret(...SECRETS[name]!);
      identity = parseIdentityText(text)!;
      writeFileSync(join(home, 'identity.secret'), text, { mode: 0o600 });
    }
    if (conf !== undefined) writeFileSync(join(home, 'local.conf'), emitJson(conf));
    prepare(name, home, testAddress(0));
    const service = await new TestService(home, [`-p${isRoot ? this.#rootPort : 0}`]).ready();
    const status = parseJson((await service.request('GET', '/status')).text) as JsonRecord;
    this.#nodes.set(name, {
      name,
      service,
      address: identity.address.toString(16).padStart(10, '0'),
      publicIdentity: String(status['publicIdentity']),
    });
  }

  /** Ends a node and starts it again with its home, on the port it had. */
  async restart(name: string, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const node = this.node(name);
    const { port, home } = node.service;
    await node.service.stop(signal);
    const service = await new TestService(home, [`-p${port}`]).ready();
    this.#nodes.set(name, { ...node, service });
    await this.#online(this.node(name));
  }

  async #online(node: LabNode): Promise<void> {
    await until(`${node.name} online`, async () => {
      const status = (await this.json(node.name, 'GET', '/status')) as JsonRecord;
      return status['online'] === true;
    });
  }

  node(name: string): LabNode {
    const node = this.#nodes.get(name);
    if (node === undefined) throw new Error(`no node ${name} in the lab`);
    return node;
  }

  get nodes(): readonly LabNode[] {
    return [...this.#nodes.values()];
  }

  /** An API request of the suite's own. @throws on any status but 200. */
  async json(name: string, method: string, path: string, body?: JsonValue): Promise<JsonValue> {
    const text = body === undefined ? undefined : emitJson(body);
    const r = await this.node(name).service.request(method, path, text);
    if (r.status !== 200) throw new Error(`${method} ${path} at ${name}: ${r.status} ${r.text}`);
    return parseJson(r.text);
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((n) => n.service.stop()));
    this.#folder.remove();
  }
}

/** Asks until `isDone` says yes. @throws after a deadline, with the last error. */
export async function until(what: string, isDone: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    if (await isDone()) return;
    if (performance.now() > deadline) throw new Error(`${what}: not in time`);
    await new Promise((r) => setTimeout(r, POLL_MS));
  }
}

/** Runs a comparison until it holds; after the deadline its last failure is thrown. */
export async function eventually(compare: () => Promise<void>): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    try {
      return await compare();
    } catch (e) {
      if (performance.now() > deadline) throw e;
      await new Promise((r) => setTimeout(r, POLL_MS));
    }
  }
}
