/**
 * A preloaded program for tests of `PreloadView`: streams and control connections without sockets,
 * in virtual time, over the in-process stack.
 */
import type { Moment } from '#src/lib/time.js';
import type { PreloadConnection } from '#src/preload/client.js';
import {
  emitHello,
  emitRequest,
  HELLO_LEN,
  HelloKind,
  putEndpoint,
  type Token,
  WELCOME_LEN,
  ZTADDR_LEN,
} from '#src/preload/protocol.js';
import type { DnsSettings } from '#src/preload/resolver.js';
import type { StreamPort } from '#src/preload/socket-host.js';
import { PreloadView, type PreloadViewOptions } from '#src/preload/view.js';
import type { Endpoint, StackConfig } from '#src/stack/stack.js';
import { FakeStack } from './fake-stack.js';

export const NWID = 0x8056c2e21c000001n;
export const OWN = Uint8Array.of(10, 147, 17, 1);
export const SILENT = Uint8Array.of(10, 147, 17, 99);

const CONFIG: StackConfig = {
  mtu: 2800,
  addresses: [{ ip: OWN, prefixLen: 24 }],
  routes: [],
};

/** The service's end of one stream; remembers what the view did to it. */
export class FakePort implements StreamPort {
  written: Uint8Array[] = [];
  reading = false;
  ended = false;
  destroyed = false;
  probes = 0;
  /** Last bound of the kernel's buffer. */
  limit: number | undefined;
  /** Set to hold writes back, as a program that does not read does. */
  stuck = false;
  queuedLen = 0;

  write(bytes: Uint8Array): void {
    if (this.destroyed) return;
    this.written.push(bytes.slice());
    if (this.stuck) this.queuedLen += bytes.length;
  }
  setReading(on: boolean): void {
    this.reading = on;
  }
  limitBuffer(len: number): void {
    this.limit = len;
  }
  end(): void {
    this.ended = true;
  }
  destroy(): void {
    this.destroyed = true;
  }
  probe(): void {
    this.probes++;
  }
  /** Everything written so far, as one. */
  get bytes(): Buffer {
    return Buffer.concat(this.written);
  }
}

export interface Reply {
  readonly op: number;
  readonly seq: number;
  readonly result: number;
  readonly payload: Buffer;
}

export class World {
  readonly stack = new FakeStack();
  readonly view: PreloadView;
  mono = 1000;
  wakes = 0;
  regroups = 0;
  hosts = '';
  dns: DnsSettings = { domain: '', servers: [] };
  #seed = 1;
  #tokens = 0;

  /**
   * @param changes to the options of the view.
   * @param others stacks to drain beside the own one.
   */
  constructor(
    changes: Partial<PreloadViewOptions> = {},
    readonly others: readonly Pick<FakeStack, 'drain'>[] = [],
  ) {
    this.stack.configure(this.now(), CONFIG);
    this.view = new PreloadView({
      nwid: NWID,
      stack: this.stack,
      now: () => this.now(),
      random: (out) => this.#fill(out),
      config: () => CONFIG,
      hosts: () => this.hosts,
      hostName: 'machine',
      pid: 77,
      wake: () => {
        this.wakes++;
      },
      hasRecords: true,
      dns: () => this.dns,
      regroup: () => {
        this.regroups++;
      },
      ...changes,
    });
  }

  now(): Moment {
    return { mono: this.mono, wall: 1_700_000_000_000 + this.mono };
  }

  /** Reproducible, not secret. */
  #fill(out: Uint8Array): void {
    for (let i = 0; i < out.length; i++) {
      this.#seed = (Math.imul(this.#seed, 1103515245) + 12345) & 0x7fffffff;
      out[i] = this.#seed >> 16;
    }
  }

  newToken(): Token {
    return String(++this.#tokens).padStart(16, 't') as Token;
  }

  drain(): void {
    for (const s of [this.stack, ...this.others]) s.drain(this.now(), () => undefined);
  }

  /** Lets `ms` pass, running every timer that becomes due. */
  pass(ms: number): void {
    const end = this.mono + ms;
    for (;;) {
      const next = this.view.deadline();
      if (next > end) break;
      this.mono = Math.max(this.mono, next);
      this.view.handleTimeout(this.now());
      this.drain();
    }
    this.mono = end;
  }

  control(needsKey = false, key?: Uint8Array, uid?: number): Control {
    return new Control(this, needsKey, key, uid);
  }

  socket(family: 4 | 6 = 4, uid?: number): ProgramSocket {
    const token = this.newToken();
    return new ProgramSocket(this, token, family, HelloKind.socket, '\0'.repeat(8), true, uid);
  }

  /** What a program does with an accept record. */
  accepted(record: Uint8Array, family: 4 | 6 = 4): ProgramSocket {
    const id = String.fromCharCode(...record.subarray(8, 16));
    return new ProgramSocket(this, this.newToken(), family, HelloKind.accepted, id);
  }
}

export function hello(
  kind: number,
  token: Token,
  family: number,
  connectionId: string,
  protocol = family === 0 ? 0 : 6,
): Uint8Array {
  const out = new Uint8Array(HELLO_LEN);
  emitHello(
    {
      kind,
      token,
      connectionId,
      pid: 4242,
      family,
      protocol,
      policy: 0,
      key: undefined,
    },
    out,
  );
  return out;
}

/** One stream of a program. */
export class ProgramSocket {
  readonly port = new FakePort();
  readonly connection: PreloadConnection;
  readonly #world: World;

  constructor(
    world: World,
    readonly token: Token,
    family: 4 | 6,
    kind: number,
    id: string,
    announce = true,
    uid?: number,
  ) {
    this.#world = world;
    this.connection = world.view.open(this.port, { needsKey: false, uid });
    if (announce) this.connection.handleBytes(hello(kind, token, family, id));
    world.drain();
  }

  send(bytes: Uint8Array | string): void {
    this.connection.handleBytes(typeof bytes === 'string' ? Buffer.from(bytes) : bytes);
    this.#world.drain();
  }

  /** The program shut down its sending side (`open`) or closed. */
  end(open: boolean): void {
    this.connection.handleEnd();
    if (this.port.probes > 0 && !this.port.destroyed) this.connection.handleProbe(open);
    this.#world.drain();
  }

  reset(): void {
    this.connection.handleReset();
    this.#world.drain();
  }

  /** The program has read everything. */
  flush(): void {
    this.port.queuedLen = 0;
    this.port.stuck = false;
    for (let seen = -1; seen !== this.port.written.length; ) {
      seen = this.port.written.length;
      this.connection.handleFlushed();
      this.#world.drain();
    }
  }
}

/** A control connection. */
export class Control {
  readonly port = new FakePort();
  readonly connection: PreloadConnection;
  readonly #world: World;
  #seq = 0;

  constructor(world: World, needsKey: boolean, key?: Uint8Array, uid?: number, policy = 0) {
    this.#world = world;
    this.connection = world.view.open(this.port, { needsKey, uid });
    const bytes = hello(HelloKind.control, world.newToken(), 0, '\0'.repeat(8));
    bytes[39] = policy;
    if (key !== undefined) {
      bytes[7] = 1;
      bytes.set(key, 40);
    }
    this.connection.handleBytes(bytes);
  }

  /** Sends a request without waiting for its reply; its sequence number. */
  post(
    op: number,
    token: Token | undefined,
    payload: Uint8Array = new Uint8Array(0),
    flags = 0,
  ): number {
    const seq = ++this.#seq;
    this.connection.handleBytes(emitRequest(op, seq, token, payload, flags));
    this.#world.drain();
    return seq;
  }

  /** Replies received so far. */
  replies(): Reply[] {
    const all = this.port.bytes;
    const found: Reply[] = [];
    let at = WELCOME_LEN;
    while (at + 16 <= all.length) {
      const len = all.readUInt32LE(at);
      found.push({
        op: all.readUInt16LE(at + 4) & 0x7fff,
        seq: all.readUInt32LE(at + 8),
        result: all.readInt32LE(at + 12),
        payload: all.subarray(at + 16, at + len),
      });
      at += len;
    }
    return found;
  }

  /** The reply to `seq`, or undefined while it is due. */
  reply(seq: number): Reply | undefined {
    return this.replies().find((r) => r.seq === seq);
  }

  /** Sends a request and returns its reply. */
  ask(op: number, token?: Token, payload?: Uint8Array): Reply {
    const reply = this.reply(this.post(op, token, payload));
    if (reply === undefined) throw new Error(`no reply to operation ${op}`);
    return reply;
  }

  result(op: number, token?: Token, payload?: Uint8Array): number {
    return this.ask(op, token, payload).result;
  }
}

/** Payload of BIND and CONNECT. */
export function address(ip: Uint8Array, port: number, flags = 0): Uint8Array {
  const out = new Uint8Array(ZTADDR_LEN + 4);
  const endpoint: Endpoint = { ip, port };
  putEndpoint(endpoint, out, 0);
  new DataView(out.buffer).setUint32(ZTADDR_LEN, flags, true);
  return out;
}

export function int32(...values: number[]): Uint8Array {
  const out = new Uint8Array(values.length * 4);
  values.forEach((v, i) => {
    new DataView(out.buffer).setInt32(i * 4, v, true);
  });
  return out;
}
