/** The three processes: exit codes, signals, and what remains when one of them is killed. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { OWN_ADDRESS } from '#test/preload/harness.js';
import { type Program, run, start, until } from '#test/preload/run.js';
import { buildProbe, check, LAUNCHER, launch, ROOT, type World } from './world.js';

const NETCON = path.join(ROOT, 'dist/netcon.js');

function children(pid: number): number[] {
  try {
    const text = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
    return text.split(' ').filter(Boolean).map(Number);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw e;
  }
}

function isAlive(pid: number): boolean {
  try {
    return !/^State:\t[ZX]/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch (e) {
    const { code } = e as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return false;
    throw e;
  }
}

interface Family {
  readonly program: Program;
  readonly front: number;
  readonly supervisor: number;
  readonly target: number;
  /** Children of the target. */
  readonly rest: number[];
}

/** Starts a shell with two children under the launcher. */
async function family(world: World): Promise<Family> {
  const text = 'sleep 600 & sleep 600 & echo started; wait';
  const program = start(LAUNCHER, ['sh', '-c', text], world.env);
  await until('the shell to start', () => program.output().includes('started'));
  const front = program.child.pid!;
  const [supervisor] = children(front);
  const [target] = children(supervisor!);
  return {
    program,
    front,
    supervisor: supervisor!,
    target: target!,
    rest: children(target!),
  };
}

async function killed(world: World): Promise<void> {
  for (const who of ['front', 'supervisor'] as const) {
    await check(world, `nothing is left when the ${who} is killed`, async () => {
      const f = await family(world);
      assert.equal(f.rest.length, 2);
      process.kill(f[who], 'SIGKILL');
      const done = await f.program.finished;
      const all = [f.front, f.supervisor, f.target, ...f.rest];
      await until('all to end', () => !all.some(isAlive));
      if (who === 'supervisor') {
        assert.equal(done.code, 125);
        assert.match(done.stderr, /the supervisor is gone; the program was ended/);
      }
    });
  }
  await check(world, 'a killed target ends the launcher with its signal', async () => {
    const probe = await buildProbe(world, 'test/launcher/probes/signals.c');
    const program = start(LAUNCHER, [probe, OWN_ADDRESS, OWN_ADDRESS], world.env);
    await until('the first line', () => program.output().includes('accept'));
    const [supervisor] = children(program.child.pid!);
    process.kill(children(supervisor!)[0]!, 'SIGKILL');
    assert.equal((await program.finished).signal, 'SIGKILL');
    await until('the supervisor to end', () => !isAlive(supervisor!));
  });
}

async function background(world: World): Promise<void> {
  await check(
    world,
    'background processes keep their supervisor, and it ends with them',
    async () => {
      const pidFile = path.join(world.folder, 'background.pid');
      const text = `import os, socket
l = socket.create_server(('', 8084))
if os.fork(): os._exit(5)
os.setsid()
for fd in (0, 1, 2): os.close(fd)
open('${pidFile}', 'w').write(str(os.getppid()) + ' ' + str(os.getpid()))
c, peer = l.accept()
c.sendall(b'from behind')
`;
      const done = await launch(world, 'python3', '-c', text);
      assert.equal(done.code, 5, done.stderr);
      await until('the pid file', () => fs.existsSync(pidFile));
      const client = `import socket; print(socket.create_connection(('${OWN_ADDRESS}', 8084)).recv(99))`;
      assert.equal((await launch(world, 'python3', '-c', client)).stdout, "b'from behind'\n");
      const pids = fs.readFileSync(pidFile, 'utf8').split(' ').map(Number);
      await until('both to end', () => !pids.some(isAlive));
    },
  );
}

async function commandLine(world: World): Promise<void> {
  const nwid = path.basename(world.harness.network).slice(3);
  const netcon = [NETCON, 'run', '--seccomp', '-n', nwid, '-D', world.harness.home, '--'];
  const go = (...command: string[]) => run(process.execPath, [...netcon, ...command]);
  await check(world, 'netcon run --seccomp passes exit codes and signals through', async () => {
    assert.equal((await go('sh', '-c', 'exit 7')).code, 7);
    assert.equal((await go('sh', '-c', 'kill -TERM $$')).signal, 'SIGTERM');
    assert.equal(
      (await go('sh', '-c', 'echo $ZT_NC_NETWORK $LD_PRELOAD')).stdout.trim(),
      world.harness.network,
    );
    const missing = await go('/no/such/program');
    assert.equal(missing.code, 127);
    assert.match(missing.stderr, /\/no\/such\/program: command not found/);
    assert.equal((await go('/')).code, 126);
  });
  await check(world, 'a signal to netcon reaches the program once', async () => {
    const text = "trap 'echo caught; exit 3' USR1; echo ready; while :; do sleep 0.01; done";
    const program = start(process.execPath, [...netcon, 'sh', '-c', text]);
    await until('the shell', () => program.output().includes('ready'));
    process.kill(program.child.pid!, 'SIGUSR1');
    const done = await program.finished;
    assert.equal(done.code, 3);
    assert.equal(done.stdout, 'ready\ncaught\n');
  });
}

async function jobControl(world: World): Promise<void> {
  await check(
    world,
    'on a terminal Ctrl-C, Ctrl-Z and fg reach the program, each once',
    async () => {
      const nwid = path.basename(world.harness.network).slice(3);
      const netcon = [NETCON, 'run', '--seccomp', '-n', nwid, '-D', world.harness.home, '--'];
      const script = path.join(ROOT, 'test/launcher/probes/terminal.py');
      const done = await run('python3', [script, process.execPath, ...netcon]);
      assert.equal(done.stdout, 'caught again: False\nstopped\nresumed\ncode 130\n', done.stderr);
    },
  );
}

export async function lives(world: World): Promise<void> {
  await commandLine(world);
  await jobControl(world);
  await killed(world);
  await background(world);
}
