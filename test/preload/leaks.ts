/**
 * Names that libc looks up past its own functions. Whether libc's own sockets reach the host: every function that makes one inside libc
 * (probes/leaks.c) is called with the host's name server and a TCP port listening. Without the
 * library they hear of each function, with it of none.
 *
 * As a program (`leaks.js PROBE LIBRARY NETWORK`, the last two may be empty), in namespaces with
 * the server's settings mounted, it listens, runs the probe and prints what was heard.
 */
import * as dgram from 'node:dgram';
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { type Context, need, type ProgramTest } from './programs.js';
import { expect, run, Skip } from './run.js';

interface Heard {
  /** Names that the name server was asked for. */
  readonly names: readonly string[];
  readonly connections: number;
  readonly output: string;
}

const PORT = 9514;

/** What each function asks for, and how many of them connect. */
const NAMES: readonly string[] = [
  ...['getaddrinfo', 'getaddrinfo_a', 'gethostbyname', 'gethostbyname2', 'gethostbyname_r'],
  ...['gethostbyname2_r', 'res_query', 'res_search', 'res_nquery', 'res_nsearch'],
  ...['res_querydomain', 'res_nquerydomain', 'res_send', 'res_nsend', 'getnetbyname'],
  ...['getnetbyname_r', 'ruserok', 'gethostid'],
].map((name) => `${name}.leak.test`);
const REVERSES = ['1.9.9.10', '2.9.9.10', '3.9.9.10', '4.9.9.10'].map((n) => `${n}.in-addr.arpa`);
const CONNECTIONS = 4;

/** Lines of a preloaded probe: each look-up failed as one of an unknown name does. */
const PRELOADED = `leaks getaddrinfo 1
leaks getaddrinfo_a 0
leaks gai_error 1
leaks gethostbyname 1
leaks gethostbyname2 1
leaks gethostbyname_r 1
leaks gethostbyname2_r 1
leaks getnameinfo 1
leaks gethostbyaddr 1
leaks gethostbyaddr_r 1
leaks res_query -1
leaks res_search -1
leaks res_nquery -1
leaks res_nsearch -1
leaks res_querydomain -1
leaks res_nquerydomain -1
leaks res_send 1
leaks code 3
leaks res_nsend 1
leaks code 3
leaks getnetbyname 1
leaks getnetbyname_r 1
leaks getnetbyaddr 1
leaks ruserok -1
leaks gethostid 1
leaks rcmd EOPNOTSUPP
leaks rcmd_af EOPNOTSUPP
leaks rexec EOPNOTSUPP
leaks rexec_af EOPNOTSUPP
`;

/** Arguments: the folder with the settings, then the command. */
const INSIDE = `set -e
ip link set lo up
hostname gethostid.leak.test
for file in hosts resolv.conf nsswitch.conf; do
	if [ -e /etc/$file ]; then mount --bind "$1/$file" /etc/$file; fi
done
shift
exec "$@"`;

function writeSettings(folder: string): void {
  fs.writeFileSync(path.join(folder, 'hosts'), '127.0.0.1 localhost\n');
  fs.writeFileSync(path.join(folder, 'resolv.conf'), 'nameserver 127.0.0.1\n');
  const databases = ['hosts: files dns', 'networks: files dns', 'passwd: files', 'group: files'];
  fs.writeFileSync(path.join(folder, 'nsswitch.conf'), `${databases.join('\n')}\n`);
}

async function listen(context: Context, library: string): Promise<Heard> {
  const probe = path.join(context.folder, 'leaks');
  const self = fileURLToPath(import.meta.url);
  const network = library === '' ? '' : context.harness.network;
  const inner = [process.execPath, self, probe, library, network];
  const script = ['/bin/sh', '-c', INSIDE, 'sh', context.folder, ...inner];
  const done = await run('unshare', ['-nmu', '--', ...script]);
  if (done.stdout === '') throw new Skip(`no namespaces: ${done.stderr.trim()}`);
  return JSON.parse(done.stdout) as Heard;
}

async function build(context: Context, name: string): Promise<string> {
  const probes = path.join(context.root, 'test/preload/probes');
  const sources = [`${name}.c`, 'probe.c'].map((file) => path.join(probes, file));
  const flags = ['-std=gnu11', '-Wall', '-Wextra', '-Werror', '-pthread'];
  const program = path.join(context.folder, name);
  const built = await run(await need('gcc'), [...flags, '-o', program, ...sources]);
  expect(built.code === 0, built.stderr);
  return program;
}

async function leaks(context: Context): Promise<void> {
  await need('ip');
  await build(context, 'leaks');
  writeSettings(context.folder);
  const plain = await listen(context, '');
  const unheard = [...NAMES, ...REVERSES].filter((name) => !plain.names.includes(name));
  expect(unheard.length === 0, `without the library nobody heard of ${unheard.join(' ')}`);
  expect(plain.connections === CONNECTIONS, `${plain.connections} connections`);
  const loaded = await listen(context, path.join(context.root, 'dist/native/libztintercept.so'));
  expect(loaded.names.length === 0, `the host's server was asked for ${loaded.names.join(' ')}`);
  expect(loaded.connections === 0, `${loaded.connections} connections to the host`);
  expect(loaded.output === PRELOADED, loaded.output);
}

const CANCELLED = `cancel started 0
cancel under way 1
cancel waiting 1
cancel again 1
cancel cancelled 1
cancel suspend in vain 1
cancel suspend interrupted 1
cancel child: cancel 1
cancel child: wait 0
cancel child: result 0
cancel without a service 1
`;

async function cancelled(context: Context): Promise<void> {
  const program = await build(context, 'cancel');
  const network = path.join(context.folder, 'nc_8056c2e21c000002');
  const done = await run(program, [], { ...context.env, ZT_NC_NETWORK: network });
  expect(done.stdout === CANCELLED, done.stdout + done.stderr);
}

export const LEAKS: readonly ProgramTest[] = [
  { name: 'look-ups under way can be waited for, and only waiting ones cancelled', run: cancelled },
  { name: "no function of libc asks the host's name server or connects to it", run: leaks },
];

/** The name of a question, behind the twelve bytes of its header. */
function nameOf(message: Buffer): string {
  const labels: string[] = [];
  for (let at = 12; message[at]! > 0; at += message[at]! + 1) {
    labels.push(message.toString('latin1', at + 1, at + 1 + message[at]!));
  }
  return labels.join('.');
}

async function main([probe = '', library = '', network = '']: readonly string[]): Promise<void> {
  const names = new Set<string>();
  const server = dgram.createSocket('udp4').on('message', (message, from) => {
    names.add(nameOf(message));
    const answer = Buffer.from(message);
    answer[2] = 0x85;
    answer[3] = 0x83; // no such name
    server.send(answer, from.port, from.address);
  });
  let connections = 0;
  const remote = net.createServer((socket) => {
    connections++;
    socket.on('error', () => undefined).end('\0');
  });
  await new Promise<void>((ready) => void server.bind(53, '127.0.0.1', ready));
  await new Promise<void>((ready) => void remote.listen(PORT, '127.0.0.1', ready));
  const env = library === '' ? {} : { LD_PRELOAD: library, ZT_NC_NETWORK: network };
  const done = await run(probe, [String(PORT)], env);
  server.close();
  remote.close();
  const heard: Heard = { names: [...names], connections, output: done.stdout };
  console.log(JSON.stringify(heard));
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await main(process.argv.slice(2));
}
