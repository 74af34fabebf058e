import test from 'ava';
import { Loop } from '#src/host/loop.js';
import type { Udp } from '#src/host/udp.js';
import type { Node } from '#src/node/node.js';
import type { NodeOutput } from '#src/node/outputs.js';
import { inetAddress, remoteAddress } from '#src/wire/inetaddress.js';

test('an input that fails costs that input: what follows is still carried out', (t) => {
  const outputs: NodeOutput[] = [];
  const done: string[] = [];
  const node = {
    handleDatagram() {
      outputs.push({ kind: 'networkChanged', nwid: 1n }, { kind: 'identityCollision' });
      throw new RangeError('our mistake');
    },
    poll: () => outputs.shift(),
    deadline: () => Number.POSITIVE_INFINITY,
  } as unknown as Node;
  const loop = new Loop(node, {} as Udp, {
    validate: () => undefined,
    output: (o) => {
      done.push(o.kind);
      if (o.kind === 'networkChanged') throw new Error('another one');
    },
    stackFailed: () => undefined,
    inputFailed: (e) => void done.push((e as Error).message),
  });
  t.teardown(() => loop.close());
  const from = remoteAddress(inetAddress(Uint8Array.of(10, 0, 0, 1), 1));
  t.notThrows(() => loop.handleDatagram(1, from, new Uint8Array(30)));
  t.deepEqual(done, ['our mistake', 'networkChanged', 'another one', 'identityCollision']);
});
