/**
 * Programs that have the library linked into them instead of preloaded [5 section 16]: the
 * examples in C, as dynamic programs with the shared library or the whole archive, and as fully
 * static ones.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { OWN_ADDRESS } from './harness.js';
import { type Context, need, type ProgramTest } from './programs.js';
import { expect, run, Skip, start, until } from './run.js';

export interface Method {
  /** Its name for `--linked`. */
  readonly kind: 'shared' | 'dynamic' | 'static';
  readonly name: string;
  /** What follows the sources; `folder` holds what the build made. */
  flags(folder: string): readonly string[];
}

export const METHODS: readonly Method[] = [
  {
    kind: 'shared',
    name: 'the shared library named at link time',
    flags: (folder) => [`-L${folder}`, '-lztintercept', `-Wl,-rpath,${folder}`],
  },
  {
    kind: 'dynamic',
    name: 'the whole archive in a dynamic program',
    flags: (folder) => [
      '-Wl,--whole-archive',
      path.join(folder, 'libztintercept.a'),
      '-Wl,--no-whole-archive',
      '-ldl',
      '-pthread',
    ],
  },
  {
    kind: 'static',
    name: 'the archive in a fully static program',
    flags: (folder) => [
      '-static',
      // libc warns that its name functions load libraries, which is so without ours too.
      '-Wl,--no-warnings',
      path.join(folder, 'libztintercept-static.a'),
      `@${path.join(folder, 'ztintercept-static.flags')}`,
    ],
  },
];

/** Environment of a linked program: no library is loaded, only the network is named. */
function linkedEnv(context: Context): NodeJS.ProcessEnv {
  return { ZT_NC_NETWORK: context.env['ZT_NC_NETWORK'] };
}

async function link(context: Context, example: string, method: Method): Promise<string> {
  const gcc = await need('gcc');
  const built = path.join(context.root, 'dist/native');
  const program = path.join(context.folder, example);
  const source = path.join(context.root, `examples/${example}.c`);
  const flags = ['-Wall', '-Wextra', '-Werror', '-o', program, source];
  const done = await run(gcc, [...flags, ...method.flags(built)]);
  expect(done.code === 0, done.stderr);
  return program;
}

async function linkedTcp(context: Context, method: Method): Promise<void> {
  const curl = await need('curl');
  const server = start(await link(context, 'httpstub', method), ['8030'], linkedEnv(context));
  try {
    await until(
      'the listener of httpstub',
      () => context.harness.door.view.counters().listeners > 0,
    );
    const url = `http://${OWN_ADDRESS}:8030/`;
    const done = await run(curl, ['-sS', '--max-time', '30', url], context.env);
    expect(done.stdout === `hello ${OWN_ADDRESS}\n`, done.stdout + done.stderr + server.output());
  } finally {
    await server.stop();
  }
}

const UDP_CLIENT = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10)
s.connect(('${OWN_ADDRESS}', 8031))
for n in (0, 1, 1400, 9000):
    s.send(b'e' * n)
    print(len(s.recv(65536)), end=' ')
`;

async function linkedUdp(context: Context, method: Method): Promise<void> {
  const python = await need('python3');
  if (!fs.existsSync(`${context.harness.network}.dg`)) {
    throw new Skip('the service has no door for datagrams (is the addon built?)');
  }
  const server = start(await link(context, 'udpecho', method), ['8031'], linkedEnv(context));
  try {
    await until('the port of udpecho', () => context.harness.door.view.counters().udpPorts > 0);
    const done = await run(python, ['-c', UDP_CLIENT], context.env);
    expect(done.stdout === '0 1 1400 9000 ', done.stdout + done.stderr + server.output());
  } finally {
    await server.stop();
  }
}

export const LINKED_PROGRAMS: readonly ProgramTest[] = METHODS.flatMap((method) => [
  { name: `httpstub with ${method.name}`, run: (context) => linkedTcp(context, method) },
  { name: `udpecho with ${method.name}`, run: (context) => linkedUdp(context, method) },
]);
