/**
 * The service ends, or is killed, while programs wait in every call that can wait: each returns
 * with the errno of document 5, section 10, new sockets of the same process work with the next
 * service, and the old ones are answered at once. One that is stopped for a while fails no call.
 */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { OWN_ADDRESS } from './harness.js';
import { expect, type Program, Skip, start, until, which } from './run.js';

const SERVICE = path.join(path.dirname(fileURLToPath(import.meta.url)), 'harness.js');

/** `start` runs each call in a child of its own, which says what became of it. */
const CHILDREN = `
import errno, os, select, signal, socket, sys, time
OWN, SILENT = '${OWN_ADDRESS}', '10.147.17.99'
listener = socket.socket(); listener.bind(('0.0.0.0', 8120)); listener.listen()
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); datagrams.bind(('0.0.0.0', 8120))

def tell(text):
    os.write(1, (text + '\\n').encode())

def pair():
    c = socket.create_connection((OWN, 8120)); s, _ = listener.accept()
    return c, s

def name(call):
    try:
        call()
        return 'ok'
    except OSError as e:
        return errno.errorcode[e.errno]

children = []

def start(calls, ends_of):
    for call in calls:
        ends = ends_of()
        child = os.fork()
        if child == 0:
            tell('%s %s' % (call.__name__, name(lambda: call(*ends))))
            os._exit(0)
        children.append((child, ends))

def asleep():
    '''How often each child has gone to sleep; None while one does not sleep.'''
    found = []
    for child, _ in children:
        with open('/proc/%d/status' % child) as f: status = dict(line.split(':', 1) for line in f)
        if status['State'].strip()[0] != 'S': return None
        found.append(status['voluntary_ctxt_switches'])
    return found
`;

/** One child for each call that can wait. */
const WAITERS = `${CHILDREN}
quiet = socket.socket(); quiet.bind(('0.0.0.0', 8122)); quiet.listen()

def receive(c, s): c.recv(1)
def send(c, s):
    while True: c.send(bytes(65536))
def poll(c, s):
    p = select.poll(); p.register(c, select.POLLIN); p.poll(); c.recv(1)
def epoll(c, s):
    p = select.epoll(); p.register(c, select.EPOLLIN | select.EPOLLET); p.poll(); c.recv(1)
def select_(c, s):
    select.select([c], [], []); c.recv(1)
def accept(c, s): quiet.accept()
def poll_accept(c, s):
    p = select.poll(); p.register(quiet, select.POLLIN); p.poll(); quiet.accept()
def datagram(c, s): datagrams.recv(1)
def connect(c, s): socket.socket().connect((SILENT, 9))
def connect_poll(c, s):
    n = socket.socket(); n.setblocking(False)
    assert n.connect_ex((SILENT, 9)) == errno.EINPROGRESS
    p = select.poll(); p.register(n, select.POLLOUT); p.poll()
    raise OSError(n.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), '')

def again():
    l = socket.socket(); l.bind(('0.0.0.0', 8121)); l.listen()
    c = socket.create_connection((OWN, 8121)); s, _ = l.accept()
    d = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); d.bind((OWN, 8121))
    c.send(b'tcp'); d.sendto(b'udp', (OWN, 8121))
    assert s.recv(3) == b'tcp' and d.recv(3) == b'udp'

def all_wait():
    '''No child waits for an answer of the service: it has answered a later request meanwhile.'''
    before = asleep(); again()
    return before is not None and asleep() == before

start((receive, send, poll, epoll, select_, accept, poll_accept, datagram, connect, connect_poll), pair)
while not all_wait(): time.sleep(0.02)
tell('all')
for child, _ in children: os.waitpid(child, 0)
tell('returned')

limit = time.monotonic() + 20
while name(again) != 'ok' and time.monotonic() < limit: time.sleep(0.02)
tell('again %s' % name(again))

def ask(s):
    name(s.getpeername)
    option = name(lambda: s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 9))
    return '%s %s %s' % (s.getsockname()[0], option, name(s.close))

old = [quiet, listener, datagrams] + [s for _, ends in children for s in ends]
tell('old %s' % '; '.join(sorted(set(ask(s) for s in old))))
`;

/**
 * Sockets that the next service has never heard of: a connection that was accepted knows its
 * names. A service that waited for each of them would outlast the program's time limit.
 */
const OLD = 'old 0.0.0.0 ENOTCONN ok; 10.147.17.1 ENOTCONN ok';

/** Calls while the service is stopped, which goes on once all of them wait. */
const STOPPED = `${CHILDREN}
SERVICE = int(sys.argv[1])

def connect(c, s): socket.create_connection((OWN, 8120))
def listen(c, s):
    l = socket.socket(); l.bind(('0.0.0.0', 0)); l.listen()
def option(c, s): c.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 9)
def stream(c, s):
    c.send(b'x'); s.recv(1)
def datagram(c, s):
    d = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); d.bind((OWN, 0))
    d.sendto(b'x', d.getsockname()); d.recv(1)

ends = pair()
os.kill(SERVICE, signal.SIGSTOP)
try:
    start((connect, listen, option, stream, datagram), lambda: ends)
    while asleep() is None: time.sleep(0.02)
    tell('continue')
finally:
    os.kill(SERVICE, signal.SIGCONT)
for child, _ in children: os.waitpid(child, 0)
`;

/** What a full stream says depends on whether the service had read all that it was given. */
const WANTED: readonly string[] = [
  'accept ENETDOWN',
  'connect ENETUNREACH',
  'connect_poll ECONNRESET',
  'datagram ENETDOWN',
  'epoll ECONNRESET',
  'poll ECONNRESET',
  'poll_accept ENETDOWN',
  'receive ECONNRESET',
  'select_ ECONNRESET',
  'send E(CONNRESET|PIPE)',
];

async function startService(home: string, services: Program[]): Promise<Program> {
  const service = start(process.execPath, [SERVICE, home]);
  services.push(service);
  await until('the service', () => service.output().includes('/nc_'));
  return service;
}

/** @throws Skip when it has no door for datagrams. */
function networkOf(service: Program): string {
  const network = service.output().trim();
  if (!fs.existsSync(`${network}.dg`)) {
    throw new Skip('the service has no door for datagrams (is the addon built?)');
  }
  return network;
}

type Body = (python: string, home: string, services: Program[]) => Promise<void>;

/** Runs `body` with a folder for services, and ends those that it noted. */
async function withServices(body: Body): Promise<void> {
  const python = await which('python3');
  if (python === undefined) throw new Skip('python3 is not installed');
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'netcon-ends-'));
  const services: Program[] = [];
  try {
    await body(python, home, services);
  } finally {
    for (const service of services) await service.stop();
    fs.rmSync(home, { recursive: true, force: true });
  }
}

/** The service is stopped for a while: calls wait, none fails. */
async function stopAWhile(
  library: string,
  python: string,
  home: string,
  services: Program[],
): Promise<void> {
  const service = await startService(home, services);
  const env = { LD_PRELOAD: library, ZT_NC_NETWORK: networkOf(service) };
  const done = await start(python, ['-c', STOPPED, String(service.child.pid)], env).finished;
  const [early, late] = done.stdout.split('continue\n');
  const calls = ['connect', 'datagram', 'listen', 'option', 'stream'];
  expect(early === '', done.stdout + done.stderr);
  const wanted = calls.map((call) => `${call} ok`).join();
  expect(late?.trim().split('\n').sort().join() === wanted, done.stdout + done.stderr);
}

/** Starts two services one after the other and notes them in `services`. */
async function endUnder(
  library: string,
  signal: 'SIGKILL' | 'SIGTERM',
  python: string,
  home: string,
  services: Program[],
): Promise<void> {
  const first = await startService(home, services);
  const network = networkOf(first);
  const env = { LD_PRELOAD: library, ZT_NC_NETWORK: network };
  const program = start(python, ['-c', WAITERS], env);
  await until('ten calls that wait', () => program.output().includes('all\n'));
  const before = program.output().match(/^\w+ E\w+$/gm);
  first.child.kill(signal);
  await first.finished;
  expect(before === null, `returned before the service ended: ${before?.join(', ')}`);
  await until('every call to return', () => program.output().includes('returned\n'));
  await startService(home, services);
  const done = await program.finished;
  const said = done.stdout.match(/^\w+ E\w+$/gm)?.sort() ?? [];
  const isAsWanted = new RegExp(`^${WANTED.join()}$`).test(said.join());
  expect(isAsWanted, `${said.join(', ')}; ${done.stderr}`);
  expect(done.stdout.endsWith(`again ok\n${OLD}\n`), done.stdout + done.stderr);
}

/** By title. */
export const SERVICE_ENDS: readonly [string, (library: string) => Promise<void>][] = [
  [
    'a service that is killed: every call that waits returns, new sockets find the next',
    (library) => withServices((...all) => endUnder(library, 'SIGKILL', ...all)),
  ],
  [
    'a service that ends: every call that waits returns, new sockets find the next',
    (library) => withServices((...all) => endUnder(library, 'SIGTERM', ...all)),
  ],
  [
    'a service that is stopped for a while: every call waits and succeeds',
    (library) => withServices((...all) => stopAWhile(library, ...all)),
  ],
];
