/** Whether programs can be run under the launcher here. */
import { spawnSync } from 'node:child_process';
import type { Member } from '../apps/world.js';
import { packageFile } from '../helpers/service.js';
import { Skip } from '../helpers/tally.js';

/** @throws Skip with the launcher's own reason. */
export function needLauncher(on: Member): void {
  const env = { ...process.env, ZT_NC_NETWORK: on.door };
  const done = spawnSync(packageFile('dist/native/zt-run'), ['true'], { env });
  if (done.error !== undefined) throw new Skip(`the launcher: ${done.error.message}`);
  if (done.status !== 0) throw new Skip(done.stderr.toString().trim());
}
