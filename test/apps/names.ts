/** Names of a server that the network pushes, asked by programs, with the host's resolver listening. */
import * as dgram from 'node:dgram';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { run } from '../preload/run.js';
import { type App, expect, output, PYTHON } from './row.js';
import { type World, within } from './world.js';

const PATIENCE_MS = 40_000;
const DOMAIN = 'virtual.test';
const NAME = `server.${DOMAIN}`;
const ADDRESS = '192.0.2.9';

/** Arguments: the folder with the settings, then the command. */
const WITH_SETTINGS = `set -e
for file in resolv.conf nsswitch.conf; do
	if [ -e /etc/$file ]; then mount --bind "$1/$file" /etc/$file; fi
done
shift
exec "$@"`;

const GETADDRINFO = `
import socket, sys
print(socket.getaddrinfo(sys.argv[1], 80, socket.AF_INET)[0][4][0])
`;

/** Prints the address of a whole answer: its last four bytes. */
const RES_QUERY = `
import ctypes, sys
libc = ctypes.CDLL(None)
answer = ctypes.create_string_buffer(512)
n = libc.res_query(sys.argv[1].encode(), 1, 1, answer, 512)
print('.'.join(str(b) for b in answer.raw[n - 4:n]) if n > 0 else n)
`;

const WAYS: readonly (readonly [string, readonly string[]])[] = [
  ['getaddrinfo', [PYTHON, '-c', GETADDRINFO, NAME]],
  ['dig', ['dig', '+short', '+time=2', '+tries=2', NAME]],
  ['res_query', [PYTHON, '-c', RES_QUERY, NAME]],
];

/** What the host's name server at 127.0.0.1 hears; it answers that there is no such name. */
class HostServer {
  heard = 0;
  readonly #socket = dgram.createSocket('udp4');

  async open(): Promise<void> {
    this.#socket.on('message', (message, from) => {
      this.heard++;
      const answer = Buffer.from(message);
      answer[2] = 0x85;
      answer[3] = 0x83; // no such name
      this.#socket.send(answer, from.port, from.address);
    });
    await new Promise<void>((ready) => void this.#socket.bind(53, '127.0.0.1', ready));
  }

  close(): void {
    this.#socket.close();
  }
}

/** The network pushes `servers` for `domain`, or none. */
async function push(world: World, domain: string, servers: readonly string[]): Promise<void> {
  const body = JSON.stringify({ dns: { domain, servers } });
  await world.root.request('POST', `/controller/network/${world.nwid}`, body);
  await within('the member has the settings', PATIENCE_MS, async () => {
    const { text } = await world.b.service.request('GET', `/network/${world.nwid}`);
    const { dns } = JSON.parse(text) as { dns: { servers: string[] } };
    return dns.servers.length === servers.length ? true : undefined;
  });
}

async function askThere(world: World, settings: string, host: HostServer): Promise<void> {
  for (const [way, command] of WAYS) {
    const args = ['-m', '--', '/bin/sh', '-c', WITH_SETTINGS, 'sh', settings, ...command];
    const before = host.heard;
    await run('unshare', args);
    expect(host.heard > before, `without the library nobody heard of ${way}`);
    const known = host.heard;
    const said = await output(world.b, 'unshare', args);
    expect(said.includes(ADDRESS), `${way}: ${said}`);
    expect(host.heard === known, `the host's server was asked by ${way}`);
  }
}

async function pushed(world: World): Promise<string> {
  const { a } = world;
  const settings = world.place('pushed');
  fs.writeFileSync(path.join(settings, 'resolv.conf'), 'nameserver 127.0.0.1\n');
  fs.writeFileSync(path.join(settings, 'nsswitch.conf'), 'hosts: files dns\n');
  const host = new HostServer();
  await host.open();
  const server = a.start('dnsmasq', [
    ...['--no-daemon', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--user=root'],
    ...['--bind-interfaces', `--listen-address=${a.ip}`, '--port=53'],
    `--address=/${DOMAIN}/${ADDRESS}`,
  ]);
  try {
    await push(world, DOMAIN, [a.ip]);
    await within('dnsmasq answers', PATIENCE_MS, async () => {
      const done = await world.b.run('dig', [`@${a.ip}`, '+short', '+time=1', '+tries=1', NAME]);
      return done.stdout.trim() === ADDRESS ? true : undefined;
    });
    await askThere(world, settings, host);
    return `a name of the pushed domain by ${WAYS.map(([way]) => way).join(', ')}; the host's resolver heard nothing`;
  } finally {
    await server.stop();
    host.close();
    await push(world, '', []);
  }
}

export const NAMES: readonly App[] = [
  {
    name: 'DNS server that the network pushes',
    needs: {
      dnsmasq: 'dnsmasq-base',
      dig: 'bind9-dnsutils',
      [PYTHON]: 'python3',
    },
    versions: [
      ['dnsmasq', '-v'],
      ['dig', '-v'],
    ],
    core: true,
    datagrams: true,
    run: pushed,
  },
];
