/**
 * Memory-hard identity work off the loop: one worker thread, started at the first task, ended when
 * idle for a while so that a quiet node does not keep its memory.
 */
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

interface Waiter {
  resolve(answer: IdentityAnswer): void;
  reject(e: Error): void;
}

export class IdentityWorker {
  #worker: Worker | undefined;
  #next = 1;
  readonly #waiting = new Map<number, Waiter>();
  #idle: NodeJS.Timeout | undefined;

  async generate(): Promise<Identity> {
    const answer = await this.#ask((id) => ({ kind: 'generate', id }));
    return answer.identity!;
  }

  /** Full validation of an identity in binary form. */
  async validate(identity: Uint8Array): Promise<boolean> {
    const copy = identity.slice();
    return (await this.#ask((id) => ({ kind: 'validate', id, identity: copy }))).ok;
  }

  #ask(make: (id: number) => IdentityTask): Promise<IdentityAnswer> {
    clearTimeout(this.#idle);
    const worker = this.#start();
    const task = make(this.#next++);
    return new Promise((resolve, reject) => {
      this.#waiting.set(task.id, { resolve, reject });
      worker.postMessage(task);
    });
  }

  #start(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const worker = new Worker(new URL('./identity-thread.js', import.meta.url));
    worker.on('message', (answer: IdentityAnswer) => this.#answered(answer));
    worker.on('error', (e) => this.#failed(worker, e));
    worker.unref();
    this.#worker = worker;
    return worker;
  }

  #answered(answer: IdentityAnswer): void {
    this.#waiting.get(answer.id)?.resolve(answer);
    this.#waiting.delete(answer.id);
    if (this.#waiting.size === 0) {
      this.#idle = setTimeout(() => void this.close(), IDLE_MS);
      this.#idle.unref();
    }
  }

  #failed(worker: Worker, e: Error): void {
    if (this.#worker === worker) this.#worker = undefined;
    for (const w of this.#waiting.values()) w.reject(e);
    this.#waiting.clear();
  }

  /** Keeps the process alive while work is under way (at start, when nothing else does). */
  ref(): void {
    this.#start().ref();
  }

  async close(): Promise<void> {
    clearTimeout(this.#idle);
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }
}
