/**
 * A network namespace for a whole test program, so that a library that failed to load talks to
 * nobody; and the stack under test.
 */
import { spawnSync } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { createStack } from '#src/stack/lwip-stack.js';
import type { Stack } from '#src/stack/stack.js';

const INSIDE = 'NETCON_PRELOAD_INSIDE';

/** Starts the program `file` again inside a namespace unless it runs there already. */
export function enterNamespace(file: string, failure: string): void {
  if (process.env[INSIDE] === '1') return;
  const isRoot = process.getuid?.() === 0;
  const inner = [process.execPath, file, ...process.argv.slice(2)];
  const flags = isRoot ? ['-n'] : ['-rn'];
  const env = { ...process.env, [INSIDE]: '1', ...(isRoot ? {} : { NETCON_MAPPED_ROOT: '1' }) };
  const done = spawnSync('unshare', [...flags, '--', ...inner], { stdio: 'inherit', env });
  if (done.error !== undefined) {
    console.error(`preload: cannot enter a network namespace: ${done.error.message}`);
    console.log(failure);
  }
  process.exit(done.status ?? 1);
}

/** A stack of lwIP with an address of its own on the link. */
export function lwipStack(): Stack {
  return createStack({
    mac: Uint8Array.of(0x02, 0x17, 0, 0, 0, 1),
    entropy: { fill: (bytes) => void randomFillSync(bytes) },
    at: { mono: performance.now(), wall: Date.now() },
  });
}
