/**
 * A service that is none: it greets with another version, with half a greeting or garbage, not at
 * all, or greets and never answers. Programs hear that there is no service, in bounded time, and no
 * request is made twice that may have been carried out [5 sections 5.5, 9.4 and 10].
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import {
  emitReply,
  emitWelcome,
  HELLO_LEN,
  HelloKind,
  Op,
  parseHello,
  parseRequestHeader,
  type RequestHeader,
  type Token,
} from '#src/preload/protocol.js';
import { NWID, OWN_ADDRESS } from './harness.js';
import { expect, run, Skip, which } from './run.js';

export interface Answer {
  readonly bytes?: Uint8Array;
  /** The connection ends behind it. */
  readonly ends?: boolean;
}

/** What a service does on its connections. */
export interface Manners {
  greet(): Uint8Array;
  readonly endsAfterGreeting?: boolean;
  answer(header: RequestHeader): Answer;
  /** What the stream of a socket that listens is given. */
  offer?(): Uint8Array;
}

const NOTHING: Uint8Array = new Uint8Array(0);

/** One connection of a program: it reads HELLO and requests, and answers as its manners say. */
class Line {
  readonly #socket: net.Socket;
  readonly #service: Strange;
  #bytes = NOTHING;
  #kind = 0;

  constructor(socket: net.Socket, service: Strange) {
    this.#socket = socket;
    this.#service = service;
    // A program that hears nonsense closes its end, with what it has not read.
    socket.on('error', () => socket.destroy());
    socket.on('data', (bytes) => this.#received(bytes));
    socket.on('end', () => socket.destroy());
    socket.on('close', () => service.sockets.delete(socket));
  }

  #received(bytes: Uint8Array): void {
    this.#bytes = Uint8Array.of(...this.#bytes, ...bytes);
    if (this.#kind === 0) this.#hello();
    if (this.#kind !== HelloKind.control) this.#bytes = this.#kind === 0 ? this.#bytes : NOTHING;
    else
      for (let header = this.#request(); header !== undefined; header = this.#request())
        this.#answer(header);
  }

  #hello(): void {
    const hello = parseHello(this.#bytes);
    if (hello === undefined) return;
    const { manners, streams } = this.#service;
    this.#kind = hello.kind;
    this.#bytes = this.#bytes.slice(HELLO_LEN);
    if (hello.kind !== HelloKind.control) {
      streams.set(hello.token, this.#socket);
      return;
    }
    this.#socket.write(manners.greet());
    if (manners.endsAfterGreeting === true) this.#socket.end();
  }

  #request(): RequestHeader | undefined {
    const header = parseRequestHeader(this.#bytes);
    return header !== undefined && this.#bytes.length >= header.len ? header : undefined;
  }

  #answer(header: RequestHeader): void {
    const { manners, streams, ops } = this.#service;
    this.#bytes = this.#bytes.slice(header.len);
    ops.push(header.op);
    const offer = header.op === Op.listen ? manners.offer?.() : undefined;
    if (offer !== undefined) streams.get(header.token)?.write(offer);
    const { bytes, ends } = manners.answer(header);
    if (bytes !== undefined && !header.noReply) this.#socket.write(bytes);
    if (ends === true) this.#socket.end();
  }
}

class Strange {
  readonly manners: Manners;
  readonly ops: number[] = [];
  readonly sockets = new Set<net.Socket>();
  readonly streams = new Map<Token, net.Socket>();

  constructor(manners: Manners) {
    this.manners = manners;
  }

  accept(socket: net.Socket): void {
    this.sockets.add(socket);
    new Line(socket, this);
  }
}

export interface StrangeService {
  readonly network: string;
  /** Requests in the order they came. */
  readonly ops: readonly number[];
  close(): void;
}

function doorOf(home: string): string {
  return path.join(home, `nc_${NWID.toString(16).padStart(16, '0')}`);
}

export async function openStrange(manners: Manners): Promise<StrangeService> {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'netcon-strange-'));
  const network = doorOf(home);
  const strange = new Strange(manners);
  const server = net.createServer({ allowHalfOpen: true }, (socket) => strange.accept(socket));
  await new Promise<void>((ready) => void server.listen(network, ready));
  return {
    network,
    ops: strange.ops,
    close() {
      for (const socket of strange.sockets) socket.destroy();
      server.close();
      fs.rmSync(home, { recursive: true, force: true });
    },
  };
}

export const WELCOME = emitWelcome({
  capabilities: 0,
  instanceId: 1n,
  nwid: NWID,
  policy: 0,
  datagramMax: 1_000,
  pid: 1,
});

/** Each call in a process of its own, while signals come. */
const CALLS = `
import errno, os, signal, socket, sys

def connect(s):
    s.setblocking(False)
    s.connect(('${OWN_ADDRESS}', 80))
def bind(s): s.bind(('0.0.0.0', 0))
def listen(s): s.listen()
def option(s): s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 9)
def lookup(s): socket.getaddrinfo('name.test', 80)
def blocking(s): s.connect(('${OWN_ADDRESS}', 80))

def outcome(call):
    try:
        with socket.socket() as s: call(s)
        return 'ok'
    except socket.gaierror as e: return 'EAI %d' % e.errno
    except OSError as e: return errno.errorcode.get(e.errno, str(e))

children = []
for name in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        os.write(1, ('%s %s\\n' % (name, outcome(globals()[name]))).encode())
        os._exit(0)
    children.append(child)
for child in children: os.waitpid(child, 0)
`;

/** Those that are made of a request to the service about the socket, with their answers. */
const WANTED: readonly [string, string][] = [
  ['connect', 'ENETUNREACH'],
  ['bind', 'EADDRNOTAVAIL'],
  ['listen', 'EADDRNOTAVAIL'],
  ['option', 'ENETDOWN'],
];
/** Those that may take longer than a request's ten seconds with a silent service. */
const ANSWERED: readonly [string, string][] = [
  ...WANTED,
  ['blocking', 'ENETUNREACH'],
  ['lookup', 'EAI -3'],
];

async function calls(library: string, network: string, wanted: typeof WANTED) {
  const python = await which('python3');
  if (python === undefined) throw new Skip('python3 is not installed');
  const env = { LD_PRELOAD: library, ZT_NC_NETWORK: network };
  const done = await run(python, ['-c', CALLS, ...wanted.map(([name]) => name)], env);
  const lines = wanted.map(([name, errno]) => `${name} ${errno}`).sort();
  const said = done.stdout.trim().split('\n').sort();
  expect(said.join() === lines.join(), done.stdout + done.stderr);
  return done.stderr;
}

/** Every call finds no service; `says` is what each process writes to stderr, once. */
async function meets(
  library: string,
  manners: Manners,
  says: string,
  wanted = ANSWERED,
): Promise<readonly number[]> {
  const service = await openStrange(manners);
  try {
    const said = await calls(library, service.network, wanted);
    const lines = said.split('\n').filter((line) => line !== '');
    const count = says === '' ? 0 : wanted.length;
    const isSaid = lines.every((line) => line.endsWith(`${says}${service.network}`));
    expect(lines.length === count && isSaid, `stderr: ${said}`);
    return service.ops;
  } finally {
    service.close();
  }
}

const otherVersion = (major: number): Uint8Array => {
  const greeting = WELCOME.slice();
  greeting[4] = major;
  return greeting;
};

const done = (header: RequestHeader) => ({ bytes: emitReply(header.op, header.seq, 0) });
const silence = () => ({});
const VERSION = 'the service speaks another version of the protocol: ';

type Meeting = readonly [string, (library: string) => Promise<void>];

/** A greeting that ends the matter: with and without an end of the connection. */
function greetings(what: string, greeting: Uint8Array, says: string): Meeting[] {
  return [true, false].map((endsAfterGreeting) => [
    `a service whose greeting is ${what}${endsAfterGreeting ? '' : ', and answers'}: unreachable`,
    async (library) => {
      await meets(library, { greet: () => greeting, endsAfterGreeting, answer: done }, says);
    },
  ]);
}

/** Ten seconds of silence, while signals come: no request is made twice. */
async function silent(library: string, greeting: Uint8Array): Promise<void> {
  const ops = await meets(library, { greet: () => greeting, answer: silence }, '', WANTED);
  const sorted = [...ops].sort((a, b) => a - b).join();
  const once = [Op.bind, Op.listen, Op.connect, Op.setOpt].join();
  expect(sorted === once, `requests ${sorted} instead of ${once}`);
}

/** A request whose answer is that of another one may have been carried out as well. */
async function wrongAnswers(library: string): Promise<void> {
  const answer = ({ op, seq }: RequestHeader) => ({ bytes: emitReply(op, seq + 1, 0) });
  const ops = await meets(library, { greet: () => WELCOME, answer }, '', WANTED);
  expect(ops.length === WANTED.length, `requests ${ops.join()}`);
}

/** By title. */
export const STRANGE_SERVICES: readonly Meeting[] = [
  ...greetings('of another major version', otherVersion(2), VERSION),
  ...greetings('of major version 0', otherVersion(0), VERSION),
  ...greetings('garbage', new Uint8Array(64).fill(0x5a), ''),
  ['a service that ends in its greeting: unreachable', cutShort],
  [
    'a service that greets and is silent, or does not greet: unreachable after ten seconds, asked once',
    async (library) => {
      await Promise.all([silent(library, WELCOME), silent(library, NOTHING)]);
    },
  ],
  ['a service that is stopped, with a full backlog: unreachable', fullBacklog],
  ['a service that answers something else: unreachable, asked once', wrongAnswers],
];

/** Listens at the path in its arguments and accepts nobody; its backlog is full. */
const STOPPED = `
import socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen(0)
fillers = []
while True:
    filler = socket.socket(socket.AF_UNIX)
    filler.setblocking(False)
    fillers.append(filler)
    try: filler.connect(sys.argv[1])
    except BlockingIOError: break
print('full', flush=True)
sys.stdin.read()
`;

async function fullBacklog(library: string): Promise<void> {
  const python = await which('python3');
  if (python === undefined) throw new Skip('python3 is not installed');
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'netcon-stopped-'));
  const network = doorOf(home);
  const stopped = spawn(python, ['-c', STOPPED, network], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(stopped, 'exit');
  try {
    const [said] = await once(stopped.stdout, 'data');
    expect(String(said) === 'full\n', `the stopped service said ${said}`);
    await calls(library, network, ANSWERED);
  } finally {
    stopped.stdin.end();
    await ended;
    fs.rmSync(home, { recursive: true, force: true });
  }
}

async function cutShort(library: string): Promise<void> {
  for (const len of [0, 1, 63]) {
    const greet = () => WELCOME.slice(0, len);
    await meets(library, { greet, endsAfterGreeting: true, answer: silence }, '');
  }
}
