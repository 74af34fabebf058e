/**
 * Writes test/sim/identities.txt: `node build/test/sim/make-identities.js COUNT`. About 0.2 s of CPU
 * each, on all cores; lines that stand already are kept.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { recordOf, searchIdentity } from './identities.js';

const FILE = new URL('../../../test/sim/identities.txt', import.meta.url);

function serve(): void {
  parentPort!.on('message', (index: number) => {
    parentPort!.postMessage([index, recordOf(index, searchIdentity(index))]);
  });
}

function main(count: number): void {
  const lines = readFileSync(FILE, 'utf8').split('\n').filter(Boolean);
  let next = lines.length;
  for (let i = 0; i < availableParallelism(); i++) {
    const worker = new Worker(new URL(import.meta.url));
    const give = (): void => {
      if (next < count) worker.postMessage(next++);
      else void worker.terminate();
    };
    worker.on('error', (e) => {
      throw e;
    });
    worker.on('message', ([index, line]: [number, string]) => {
      lines[index] = line;
      give();
    });
    give();
  }
  process.on('exit', () => writeFileSync(FILE, `${lines.join('\n')}\n`));
}

if (isMainThread) main(Number(process.argv[2] ?? 0));
else serve();
