import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { loadNative } from '#src/host/native.js';

const bytes = (text: string): Uint8Array => Buffer.from(text);

test('attributes of files: none, no file, and what is no name', (t) => {
  const native = loadNative();
  if (typeof native === 'string') throw new Error(`the addon is missing: ${native}`);
  const dir = mkdtempSync(join(tmpdir(), 'netcon-file-'));
  const file = join(dir, 'plain');
  writeFileSync(file, 'x');
  const capability = bytes('security.capability');
  const { ENODATA, ENOENT, EINVAL } = constants.errno;
  t.is(native.attributeLen(bytes(file), capability), -ENODATA);
  t.is(native.attributeLen(bytes(join(dir, 'none')), capability), -ENOENT);
  for (const [path, name] of [
    [new Uint8Array(), capability],
    [bytes(file), new Uint8Array()],
    [bytes(`${file}\0`), capability],
    [bytes('x'.repeat(5_000)), capability],
    [bytes(file), bytes('security.'.padEnd(300, 'x'))],
  ] as const)
    t.is(native.attributeLen(path, name), -EINVAL);
  t.throws(() => native.attributeLen(file as unknown as Uint8Array, capability), {
    instanceOf: TypeError,
  });
  rmSync(dir, { recursive: true });
});
