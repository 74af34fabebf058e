/**
 * Memory-hard identity work off the loop, on a few threads: a thread is started when all others are
 * busy, and all end when nothing was asked for a while, so that a quiet node does not keep their memory.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Identity } from '../wire/identity.js';

export type IdentityTask =
  | { readonly kind: 'generate'; readonly id: number }
  | { readonly kind: 'validate'; readonly id: number; readonly identity: Uint8Array };

export interface IdentityAnswer {
  readonly id: number;
  readonly ok: boolean;
  readonly identity: Identity | undefined;
}

const IDLE_MS = 30_000;
/** Ours: a check takes 12 ms, so that eight threads have 2,000 leaves of a new root checked in 3 s. */
const MAX_THREADS = 8;

interface Waiter {
  resolve(answer: IdentityAnswer): void;
  reject(e: Error): void;
}

/** One thread and what it has been asked. */
class Thread {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiter>();

  constructor(ended: (thread: Thread) => void, rested: () => void) {
    this.#worker = new Worker(new URL('./identity-thread.js', import.meta.url));
    this.#worker.on('message', (answer: IdentityAnswer) => {
      this.#waiting.get(answer.id)?.resolve(answer);
      this.#waiting.delete(answer.id);
      rested();
    });
    this.#worker.on('error', (e) => {
      ended(this);
      this.#fail(e);
    });
    this.#worker.unref();
  }

  get load(): number {
    return this.#waiting.size;
  }

  ask(task: IdentityTask): Promise<IdentityAnswer> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(task.id, { resolve, reject });
      this.#worker.postMessage(task);
    });
  }

  #fail(e: Error): void {
    for (const w of this.#waiting.values()) w.reject(e);
    this.#waiting.clear();
  }

  ref(): void {
    this.#worker.ref();
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
    this.#fail(new Error('the identity worker was closed'));
  }
}

export class IdentityWorker {
  /** Threads at most. */
  readonly threads: number;
  #running: Thread[] = [];
  #next = 1;
  #idle: NodeJS.Timeout | undefined;
  #isKeptAlive = false;

  constructor(threads = Math.min(MAX_THREADS, availableParallelism())) {
    this.threads = threads;
  }

  async generate(): Promise<Identity> {
    const id = this.#next++;
    const answer = await this.#thread().ask({ kind: 'generate', id });
    return answer.identity!;
  }

  /** Full validation of an identity in binary form. */
  async validate(identity: Uint8Array): Promise<boolean> {
    const id = this.#next++;
    return (await this.#thread().ask({ kind: 'validate', id, identity: identity.slice() })).ok;
  }

  /** The thread with the least to do; a new one while all have something. */
  #thread(): Thread {
    clearTimeout(this.#idle);
    const [first, ...others] = this.#running;
    const best = others.reduce((a, b) => (b.load < a!.load ? b : a), first);
    if (best !== undefined && (best.load === 0 || this.#running.length >= this.threads))
      return best;
    const thread = new Thread(
      (gone) => {
        this.#running = this.#running.filter((t) => t !== gone);
      },
      () => this.#rested(),
    );
    if (this.#isKeptAlive) thread.ref();
    this.#running.push(thread);
    return thread;
  }

  #rested(): void {
    if (this.#running.some((t) => t.load > 0)) return;
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => void this.close(), IDLE_MS);
    this.#idle.unref();
  }

  /** Keeps the process alive while work is under way (at start, when nothing else does). */
  ref(): void {
    this.#isKeptAlive = true;
    for (const t of this.#running) t.ref();
  }

  async close(): Promise<void> {
    clearTimeout(this.#idle);
    const running = this.#running;
    this.#running = [];
    await Promise.all(running.map((t) => t.close()));
  }
}
