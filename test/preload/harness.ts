/**
 * A virtual network for preloaded programs without the rest of the node: one `PreloadDoor` over a
 * stack whose own address reaches itself, so that a preloaded client and a preloaded server meet.
 *
 * As a program (`node build/test/preload/harness.js [FOLDER]`) it opens the door over lwIP, prints
 * the value for ZT_NC_NETWORK, and serves until its standard input ends; in FOLDER until SIGTERM.
 */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { pathToFileURL } from 'node:url';
import { PreloadDoor } from '#src/host/unix.js';
import type { Moment } from '#src/lib/time.js';
import type { Stack, StackConfig } from '#src/stack/stack.js';
import { FakeStack } from '#test/helpers/fake-stack.js';
import { lwipStack } from './namespace.js';

export const NWID = 0x8056c2e21c000001n;
export const OWN_ADDRESS = '10.147.17.1';
export const OWN_ADDRESS6 = 'fd00:17::1';

const CONFIG: StackConfig = {
  mtu: 2800,
  addresses: [
    { ip: Uint8Array.of(10, 147, 17, 1), prefixLen: 24 },
    { ip: Uint8Array.of(0xfd, 0, 0, 0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), prefixLen: 64 },
  ],
  routes: [],
};

export interface Harness {
  /** Value for ZT_NC_NETWORK. */
  readonly network: string;
  readonly home: string;
  readonly door: PreloadDoor;
  readonly stack: Stack;
  close(): Promise<void>;
}

function now(): Moment {
  return { mono: performance.now(), wall: Date.now() };
}

/** Runs the stack whenever the door or its timers ask; frames for the wire go nowhere. */
class StackLoop {
  readonly #stack: Stack;
  #timer: NodeJS.Timeout | undefined;
  #pending = false;
  #stopped = false;

  constructor(stack: Stack) {
    this.#stack = stack;
  }

  readonly kick = (): void => {
    if (this.#pending) return;
    this.#pending = true;
    process.nextTick(() => this.#run());
  };

  #run(): void {
    this.#pending = false;
    if (this.#stopped) return;
    this.#stack.drain(now(), () => undefined);
    clearTimeout(this.#timer);
    const at = this.#stack.deadline();
    if (at === Number.POSITIVE_INFINITY) return;
    const delay = Math.max(0, Math.ceil(at - now().mono));
    this.#timer = setTimeout(() => this.#expired(), delay);
  }

  #expired(): void {
    this.#stack.handleTimeout(now());
    this.#run();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }
}

/** Makes the door take `ms` for each message and event of a program: a service that is busy. */
function stall(door: PreloadDoor, ms: number): void {
  const guard = door.guard.bind(door);
  const nobody = new Int32Array(new SharedArrayBuffer(4));
  door.guard = (act) =>
    guard(() => {
      Atomics.wait(nobody, 0, 0, ms);
      act();
    });
}

/** Opens a door in `home`, or a fresh folder; `stack` defaults to the in-process one. */
export async function openHarness(
  stack: Stack = new FakeStack(),
  stallMs: number = 0,
  home: string = fs.mkdtempSync(path.join(os.tmpdir(), 'netcon-preload-')),
): Promise<Harness> {
  const network = path.join(home, `nc_${NWID.toString(16).padStart(16, '0')}`);
  stack.configure(now(), CONFIG);
  const loop = new StackLoop(stack);
  const door = new PreloadDoor({
    path: network,
    nwid: NWID,
    stack,
    config: () => CONFIG,
    kick: loop.kick,
    now,
    log: (line) => console.error(line),
  });
  if (stallMs > 0) stall(door, stallMs);
  await door.listen();
  return {
    network,
    home,
    door,
    stack,
    async close() {
      await door.close();
      loop.stop();
      stack.close();
      fs.rmSync(home, { recursive: true, force: true });
    },
  };
}

async function main(): Promise<void> {
  const folder = process.argv[2];
  const ended = new Promise<void>((resolve) => {
    if (folder !== undefined) process.once('SIGTERM', () => resolve());
    else process.stdin.resume().once('end', () => resolve());
  });
  if (folder !== undefined) fs.mkdirSync(folder, { recursive: true });
  const harness = await openHarness(lwipStack(), 0, folder);
  console.log(harness.network);
  await ended;
  console.error(JSON.stringify({ ...harness.door.view.counters(), ...harness.stack.counters() }));
  await harness.close();
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main();
