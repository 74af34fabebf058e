/** Real programs that no preload reaches, and one that it does as their partner. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { OWN_ADDRESS } from '#test/preload/harness.js';
import { run, start, until, which } from '#test/preload/run.js';
import {
  check,
  isChosen,
  LAUNCHER,
  launch,
  needDatagrams,
  ROOT,
  SILENT,
  type World,
} from './world.js';

const LIBRARY = path.join(ROOT, 'dist/native/libztintercept.so');

/** Path of a statically linked busybox, or undefined. */
async function staticBusybox(): Promise<string | undefined> {
  const found = await which('busybox');
  if (found === undefined) return undefined;
  const headers = await run('readelf', ['-l', found]);
  return headers.code === 0 && !headers.stdout.includes('INTERP') ? found : undefined;
}

export async function busybox(world: World): Promise<void> {
  const program = await staticBusybox();
  if (program === undefined) {
    world.tally.skip('busybox', 'no statically linked busybox is installed (busybox-static)');
    return;
  }
  const fetch = (port: number) =>
    launch(world, program, 'wget', '-q', '-O', '-', `http://${OWN_ADDRESS}:${port}/index.html`);
  await check(world, 'busybox httpd serves busybox wget', async () => {
    const www = path.join(world.folder, 'www');
    fs.mkdirSync(www);
    const page = 'x'.repeat(300_000);
    fs.writeFileSync(path.join(www, 'index.html'), page);
    const args = [program, 'httpd', '-f', '-p', '8080', '-h', www];
    const server = start(LAUNCHER, args, world.env);
    await until('httpd to listen', () => world.harness.door.view.counters().listeners === 1);
    for (let i = 0; i < 3; i++) assert.equal((await fetch(8080)).stdout, page);
    assert.equal((await server.stop()).signal, 'SIGTERM');
    assert.match((await fetch(8080)).stderr, /Connection refused/);
  });
  await check(world, 'busybox nc talks to busybox nc', async () => {
    const server = start(LAUNCHER, [program, 'nc', '-l', '-p', '8081'], world.env);
    await until('nc to listen', () => world.harness.door.view.counters().listeners === 1);
    const line = `echo from the client | ${program} nc ${OWN_ADDRESS} 8081`;
    assert.equal((await launch(world, program, 'sh', '-c', line)).code, 0);
    assert.equal((await server.finished).stdout, 'from the client\n');
  });
}

async function buildGo(world: World, name: string): Promise<string> {
  const out = path.join(world.folder, `go-${name}`);
  const env = {
    CGO_ENABLED: '0',
    GO111MODULE: 'off',
    GOFLAGS: '',
    GOCACHE: path.join(world.folder, 'go-cache'),
  };
  const source = path.join(ROOT, 'test/launcher/go', `${name}.go`);
  const done = await run('go', ['build', '-o', out, source], env);
  assert.equal(done.code, 0, done.stderr);
  return out;
}

const GO_LINES = `listening [::]:8090 8090
right answers 40
refused true
timeout true
unreachable true
in use true
`;

const GO_DATAGRAMS = `resolved [${OWN_ADDRESS}] <nil>
echo "ONE" <nil>
echo "" <nil>
echo "THREE" <nil>
peer true family udp
`;

export async function golang(world: World): Promise<void> {
  if ((await which('go')) === undefined) {
    world.tally.skip('a Go program', 'go is not installed (golang-go)');
    return;
  }
  await check(world, 'a Go web server and client, refusals and timeouts', async () => {
    const done = await launch(world, await buildGo(world, 'tcp'), OWN_ADDRESS, SILENT);
    assert.equal(done.stdout, GO_LINES, done.stderr);
  });
  await check(world, "Go's resolver, and a Go server and client of datagrams", async () => {
    needDatagrams(world);
    const done = await launch(world, await buildGo(world, 'udp'), OWN_ADDRESS);
    assert.equal(done.stdout, GO_DATAGRAMS, done.stderr);
  });
  const busyboxProgram = await staticBusybox();
  if (busyboxProgram === undefined) return;
  await check(world, 'busybox nslookup asks the Go program, and ping its own address', async () => {
    needDatagrams(world);
    const go = await buildGo(world, 'udp');
    const server = start(LAUNCHER, [go, OWN_ADDRESS, 'stay'], world.env);
    await until('the Go program to serve', () => server.output().includes('serving'));
    const args = ['nslookup', 'somewhere.example.', OWN_ADDRESS];
    const found = await launch(world, busyboxProgram, ...args);
    assert.match(
      found.stdout,
      new RegExp(`Name:\\s+somewhere.example\\S*\nAddress: ${OWN_ADDRESS}`),
      found.stderr,
    );
    await server.stop();
  });
}

/** Python text: an echo server for one connection that says who came. */
const PYTHON_SERVER = `
import socket
l = socket.create_server(('', 8082))
c, peer = l.accept()
c.sendall(peer[0].encode() + b' ' + c.recv(100))
c.close()
`;

export async function preloaded(world: World): Promise<void> {
  const python = await which('python3');
  const program = await staticBusybox();
  if (python === undefined || program === undefined) {
    world.tally.skip('a preloaded partner', 'python3 or busybox-static is not installed');
    return;
  }
  const title = 'a preloaded program and one under the launcher meet on one network';
  if (!isChosen(world, title)) return;
  await check(world, title, async () => {
    const env = { ...world.env, LD_PRELOAD: LIBRARY };
    const server = start(python, ['-c', PYTHON_SERVER], env);
    await until('python to listen', () => world.harness.door.view.counters().listeners === 1);
    const client = await launch(
      world,
      program,
      'sh',
      '-c',
      `echo hello | ${program} nc ${OWN_ADDRESS} 8082`,
    );
    assert.equal(client.stdout, `${OWN_ADDRESS} hello\n`);
    assert.equal((await server.finished).code, 0);
    const back = start(LAUNCHER, [program, 'nc', '-l', '-p', '8083'], world.env);
    await until('nc to listen', () => world.harness.door.view.counters().listeners === 1);
    const text = `import socket; socket.create_connection(('${OWN_ADDRESS}', 8083)).sendall(b'back')`;
    assert.equal((await run(python, ['-c', text], env)).code, 0);
    assert.equal((await back.finished).stdout, 'back');
  });
}
