/** What is refused, and programs that want to break out of or break the supervisor. */
import assert from 'node:assert/strict';
import { OWN_ADDRESS } from '#test/preload/harness.js';
import { buildProbe, check, launch, type World } from './world.js';

const REFUSED = `inet ok
unix ok
netlink ok
packet EAFNOSUPPORT
vsock EAFNOSUPPORT
smc EAFNOSUPPORT
raw EPERM
sctp EPROTONOSUPPORT
type EINVAL
io_uring ENOSYS
descriptor EBADF
`;

const REFUSED_32_BIT = `32-bit inet EAFNOSUPPORT
32-bit call EAFNOSUPPORT
32-bit unix ok
32-bit packet EAFNOSUPPORT
`;

const FORGED = `nothing passed EIO
a pipe EIO
a short note EIO
a wrong note EIO
many pipes EIO
a right note 4
no service ENETDOWN
a name meanwhile 0 port 7200
all came back
`;

export async function refused(world: World): Promise<void> {
  await check(world, 'packet, vsock, raw, io_uring and 32-bit sockets are refused', async () => {
    const done = await launch(world, await buildProbe(world, 'test/launcher/probes/refused.c'));
    const isIntel = process.arch === 'x64';
    assert.ok(done.stdout.startsWith(REFUSED + (isIntel ? 'x32 ENOSYS\n' : '')), done.stdout);
    if (done.stdout.includes('32-bit')) {
      assert.ok(done.stdout.endsWith(REFUSED_32_BIT), done.stdout);
      assert.match(done.stderr, /made a 32-bit call for a socket/);
    } else {
      world.tally.skip('32-bit calls are refused', 'this kernel has no 32-bit calls');
    }
  });
}

export async function hostile(world: World): Promise<void> {
  for (const seed of ['1', '2', '3']) {
    await check(
      world,
      `a hostile program does not harm its supervisor (seed ${seed})`,
      async () => {
        const probe = await buildProbe(world, 'test/launcher/probes/hostile.c');
        const done = await launch(world, probe, seed, OWN_ADDRESS);
        assert.equal(done.stdout, 'orderly hello\nleft nothing\n', done.stderr);
      },
    );
  }
  const title = 'forged sockets, false notes and 1,100 blocked threads are answered';
  await check(world, title, async () => {
    const probe = await buildProbe(world, 'test/launcher/probes/forged.c');
    const done = await launch(world, probe);
    assert.equal(done.stdout, FORGED, done.stderr);
  });
}
