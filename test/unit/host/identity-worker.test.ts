import test from 'ava';
import { createPrimitives, nativeEntropy } from '#src/crypto/native.js';
import { IdentityWorker } from '#src/host/identity-worker.js';
import { loadPacketCore } from '#src/packetcore/load.js';
import {
  emitIdentity,
  generateIdentity,
  IDENTITY_PUBLIC_LEN,
  validateIdentity,
} from '#src/wire/identity.js';

const core = loadPacketCore();
const primitives = createPrimitives((k) => core.memoryHardHash(k));

function binary(): Uint8Array {
  const out = new Uint8Array(IDENTITY_PUBLIC_LEN);
  emitIdentity(generateIdentity(primitives, nativeEntropy), out, 0);
  return out;
}

test('checks of several threads answer each their own question', async (t) => {
  const worker = new IdentityWorker(3);
  worker.ref();
  const good = binary();
  const bad = good.slice();
  bad[10] = bad[10]! ^ 1;
  const asked = Array.from({ length: 9 }, (_, i) => worker.validate(i % 2 === 0 ? good : bad));
  t.deepEqual(
    await Promise.all(asked),
    asked.map((_, i) => i % 2 === 0),
  );
  await worker.close();
});

test('what is asked is copied, and a closed worker can be asked again', async (t) => {
  const worker = new IdentityWorker(1);
  worker.ref();
  const identity = binary();
  const first = worker.validate(identity);
  identity.fill(0);
  t.true(await first);
  await worker.close();
  const made = await worker.generate();
  t.true(validateIdentity(primitives, made));
  t.not(made.privateKey, undefined);
  await worker.close();
});

test('closing refuses what was not answered', async (t) => {
  const worker = new IdentityWorker(2);
  worker.ref();
  const waiting = Array.from({ length: 4 }, () => worker.generate());
  const closed = worker.close();
  await Promise.all(waiting.map((w) => t.throwsAsync(w, { message: /closed/ })));
  await closed;
});
