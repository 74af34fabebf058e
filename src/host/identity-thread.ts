/** Body of the worker thread that makes and checks identities; see identity-worker.ts. */
import { parentPort } from 'node:worker_threads';
import { createPrimitives } from '../crypto/native.js';
import { loadPacketCore } from '../packetcore/load.js';
import { generateIdentity, parseIdentity, validateIdentity } from '../wire/identity.js';
import { PooledEntropy } from './entropy.js';
import type { IdentityAnswer, IdentityTask } from './identity-worker.js';

const core = loadPacketCore();
const primitives = createPrimitives((publicKey) => core.memoryHardHash(publicKey));
const port = parentPort;
if (port === null) throw new Error('identity-thread is a worker thread');

function work(task: IdentityTask): IdentityAnswer {
  if (task.kind === 'generate') {
    return { id: task.id, ok: true, identity: generateIdentity(primitives, new PooledEntropy()) };
  }
  const parsed = parseIdentity(task.identity, 0);
  return {
    id: task.id,
    ok: parsed !== undefined && validateIdentity(primitives, parsed.identity),
    identity: undefined,
  };
}

port.on('message', (task: IdentityTask) => {
  port.postMessage(work(task));
});
