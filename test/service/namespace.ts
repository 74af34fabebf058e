/** A network namespace of the suite's own: only lo, with one more address that is not loopback. */
import { spawnSync } from 'node:child_process';

const INSIDE = 'NETCON_SERVICE_TEST_INSIDE';
/** An address of this machine that the API must not take for loopback. */
export const OTHER_ADDRESS = '10.94.0.2';

export const OTHER_ADDRESS_6 = 'fd94::2';

const SETUP = `ip link set lo up && ip addr add ${OTHER_ADDRESS}/32 dev lo && ip addr add ${OTHER_ADDRESS_6}/128 dev lo && exec "$@"`;

/** Whether the suite runs in its own namespace. */
export const isInside = (): boolean => process.env[INSIDE] === '1';

/** Starts this program again inside a namespace and does not return; returns where that fails. */
export function enterNamespace(): void {
  if (isInside()) return;
  const inner = ['sh', '-c', SETUP, 'sh', process.execPath, ...process.argv.slice(1)];
  for (const flags of [['-n'], ['-rn']]) {
    const probe = ['--', 'sh', '-c', SETUP, 'sh', 'true'];
    if (spawnSync('unshare', [...flags, ...probe], { stdio: 'ignore' }).status !== 0) continue;
    const env = { ...process.env, [INSIDE]: '1' };
    const done = spawnSync('unshare', [...flags, '--', ...inner], { stdio: 'inherit', env });
    process.exit(done.status ?? 1);
  }
}
