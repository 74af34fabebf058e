/** What is said when the launcher cannot work: old kernels, forbidden calls, no network. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { type Finished, run } from '#test/preload/run.js';
import { buildProbe, check, LAUNCHER, launch, type World } from './world.js';

const EPERM = '1';
const EINVAL = '22';
const ENOSYS = '38';
/** Numbers of x86-64 and of the processors with the generic table. */
const NUMBERS: Record<string, readonly [string, string, string]> = {
  x64: ['317', '438', '310'],
  arm64: ['277', '438', '270'],
};

function saysWith(done: Finished, said: RegExp): void {
  assert.equal(done.code, 125, `${done.code} ${done.stdout}${done.stderr}`);
  assert.match(done.stderr, said);
  assert.equal(done.stderr.trim().split('\n').length, 1, done.stderr);
}

export async function errors(world: World): Promise<void> {
  const [seccomp, getfd, readv] = NUMBERS[process.arch] ?? ['', '', ''];
  const deny = await buildProbe(world, 'test/launcher/probes/deny.c');
  for (const [title, number, error, said] of [
    ['a kernel without seccomp()', seccomp, ENOSYS, /Linux 5\.19 or newer/],
    ['a kernel without killable waits', 'seccomp-flags', EINVAL, /Linux 5\.19 or newer/],
    ['a container that forbids seccomp()', seccomp, EPERM, /seccomp filters are forbidden here/],
    ['ptrace scope above 1', getfd, EPERM, /kernel\.yama\.ptrace_scope above 1/],
    ['a kernel without pidfd_getfd()', getfd, ENOSYS, /pidfd_getfd\): Function not implemented/],
    ['a container that forbids process_vm_readv()', readv, EPERM, /process_vm_readv/],
  ] as const) {
    await check(world, `${title}: a clear message, exit code 125`, async () => {
      saysWith(await run(deny, [number, error, LAUNCHER, 'true'], world.env), said);
    });
  }
  await check(world, 'inside itself: a clear message, exit code 125', async () => {
    saysWith(await launch(world, LAUNCHER, 'true'), /a supervisor watches this process already/);
  });
  await check(world, 'no network and bad network: a clear message, exit code 125', async () => {
    saysWith(await run(LAUNCHER, ['true'], { ZT_NC_NETWORK: '' }), /ZT_NC_NETWORK is not set/);
    const bad = await run(LAUNCHER, ['true'], { ZT_NC_NETWORK: '/tmp/nc_12' });
    saysWith(bad, /ZT_NC_NETWORK cannot be used/);
  });
  await check(world, 'without a service connect fails with ENETUNREACH', async () => {
    const env = { ZT_NC_NETWORK: '/nonexistent/nc_8056c2e21c000001', ZT_NC_DEBUG: '1' };
    const text = `import socket, errno
print(errno.errorcode[socket.socket().connect_ex(('10.147.17.1', 80))])`;
    const done = await run(LAUNCHER, ['python3', '-c', text], env);
    assert.equal(done.stdout, 'ENETUNREACH\n', done.stderr);
    assert.match(done.stderr, /service not running, or network not joined/);
  });
  await check(world, 'a process that hides its memory is named', async () => {
    if (process.getuid?.() !== 0) return world.tally.skip('hidden memory', 'needs another user');
    const probe = await hiddenProbe(world);
    fs.chmodSync(world.harness.home, 0o711);
    const user = ['--reuid=65534', '--regid=65534', '--clear-groups', '--bounding-set=-all'];
    const done = await run('setpriv', [...user, LAUNCHER, probe], world.env);
    assert.equal(done.code, 0);
    assert.match(done.stderr, /hides from other processes/);
  });
}

/** A program that becomes undumpable and then asks for a socket's name. */
async function hiddenProbe(world: World): Promise<string> {
  const source = path.join(world.folder, 'hidden.c');
  fs.writeFileSync(
    source,
    `#include <sys/prctl.h>
#include <sys/socket.h>
int main(void) {
	char name[128];
	socklen_t len = sizeof(name);
	prctl(PR_SET_DUMPABLE, 0);
	return getsockname(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)name, &len);
}
`,
  );
  const out = path.join(world.folder, 'hidden');
  const done = await run('gcc', ['-static', '-o', out, source]);
  assert.equal(done.code, 0, done.stderr);
  return out;
}
