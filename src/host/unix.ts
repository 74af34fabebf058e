/**
 * The doors of one network for preloaded programs: AF_UNIX listeners, their connections, the key
 * file and the timer of a `PreloadView` [5 sections 5.1 and 13].
 *
 * Owns every descriptor of the view. The state machine is in src/preload; the host's side only moves
 * bytes and ends (unix-stream.ts). Two doors lead to it: the path `HOME/nc_<nwid>`, mode 0600, and an abstract name
 * for programs that changed user or root, where a HELLO must carry the key of `<path>.key`. With
 * the addon there are two more for datagram sockets (records.ts), and peers are known by user.
 */
import { randomFillSync } from 'node:crypto';
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as os from 'node:os';
import { toHex } from '../lib/hex.js';
import type { Moment } from '../lib/time.js';
import { type HeldTokens, NOTHING_HELD } from '../preload/ended.js';
import { type Grant, NOTHING_GRANTED } from '../preload/fallthrough.js';
import type { Token } from '../preload/protocol.js';
import type { DnsSettings } from '../preload/resolver.js';
import type { PreloadStack } from '../preload/socket-host.js';
import { PreloadView, type SeveralNetworks } from '../preload/view.js';
import type { StackConfig } from '../stack/stack.js';
import { PooledEntropy } from './entropy.js';
import { listTokens } from './held-tokens.js';
import { DoorHostNetwork } from './host-network.js';
import { loadNative, type Native } from './native.js';
import { RecordDoor, userOf } from './records.js';
import { TextFile } from './text-file.js';
import { CHUNK_LEN, type StreamDoor, UnixStream } from './unix-stream.js';
import { UserLimits } from './user-limits.js';

/** [5 section 5.1] longest path; sun_path has 108 bytes. */
const PATH_MAX = 104;
/** [5 section 5.1] listen backlog. */
const BACKLOG = 4096;
/**
 * Ours: turns of the loop without a new connection after which none waits that came before. Node
 * accepts one at least in a turn, and reads what it sent in the next.
 */
const QUIET_TURNS = 2;
/** Ours: after so many turns, whatever came meanwhile, all that had waited are accepted and read. */
const TURNS_MAX = BACKLOG + QUIET_TURNS;
/**
 * Ours: connections that are accepted in one turn of the loop. Node alone takes one, so behind streams
 * that keep every turn busy new sockets of many programs waited for a turn each.
 */
const ACCEPTS_MAX = 64;
/** Ours: setTimeout's longest delay. */
const TIMER_MAX_MS = 2 ** 31 - 1;

export class PreloadDoorError extends Error {
  override readonly name = 'PreloadDoorError';
  constructor(
    readonly code: 'ERR_PATH_TOO_LONG' | 'ERR_PATH_IN_USE' | 'ERR_PATH_NOT_SOCKET' | 'ERR_LISTEN',
    message: string,
  ) {
    super(message);
  }
}

export interface PreloadDoorOptions {
  /** Absolute path `HOME/nc_<16 hex digits>`, or `HOME/nc_all`. */
  readonly path: string;
  /** 0 = of several networks. */
  readonly nwid: bigint;
  readonly stack: PreloadStack;
  /** Own Ethernet address of the network. */
  readonly mac?: Uint8Array;
  readonly several?: SeveralNetworks;
  /** Current addresses, routes and MTU of the network. */
  readonly config: () => StackConfig;
  /** Called after anything here touched the stack: the host drains it. */
  readonly kick: () => void;
  readonly now: () => Moment;
  readonly log: (line: string) => void;
  /** The stack threw inside a call made here; without it the error goes to the event loop. */
  readonly failed?: (error: unknown) => void;
  /** Name of the virtual interface; default derived from the network id. */
  readonly interfaceName?: string;
  /** DNS servers that the network pushed; default none. */
  readonly dns?: () => DnsSettings;
  /** The groups that the stack listens to changed. */
  readonly regroup?: () => void;
  /** What programs may reach of the host's network; default: nothing. */
  readonly grant?: () => Grant;
  /** Shared with the other doors of the service; default: limits of this door. */
  readonly limits?: UserLimits;
  /** The addon; default: loaded, unless NETCON_IO=dgram says that there is none. */
  readonly native?: Native | undefined;
}

export class PreloadDoor implements StreamDoor {
  readonly view: PreloadView;
  readonly #options: PreloadDoorOptions;
  readonly #servers: net.Server[] = [];
  readonly native: Native | undefined;
  readonly #records: RecordDoor | undefined;
  readonly #hostNetwork: DoorHostNetwork;
  readonly #streams = new Set<UnixStream>();
  /** A plain Uint8Array: the view's `slice` must copy, which Buffer's does not. */
  readonly #readBuffer = new Uint8Array(CHUNK_LEN);
  readonly #chunks: Buffer[] = [];
  #dirty: UnixStream[] = [];
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  /** Connections of programs so far. */
  #accepted = 0;
  #isClosed = false;
  #hasHeldList = true;

  constructor(options: PreloadDoorOptions) {
    if (Buffer.byteLength(options.path) > PATH_MAX) {
      throw new PreloadDoorError(
        'ERR_PATH_TOO_LONG',
        `the socket path has more than ${PATH_MAX} bytes: ${options.path}`,
      );
    }
    this.#options = options;
    const entropy = new PooledEntropy();
    const hostsFile = `${options.path}.hosts`;
    const hosts = new TextFile(hostsFile, {
      failed: (reason) => options.log(`preload: ${hostsFile}: ${reason}`),
    });
    const limits = options.limits ?? new UserLimits();
    this.native = 'native' in options ? options.native : installedNative();
    this.#hostNetwork = new DoorHostNetwork(
      (act) => this.guard(act),
      () => this.touched(),
      options.grant ?? (() => NOTHING_GRANTED),
      limits.hostSockets,
    );
    this.view = new PreloadView({
      nwid: options.nwid,
      stack: options.stack,
      now: options.now,
      random: (out) => entropy.fill(out),
      config: options.config,
      hosts: () => hosts.text(),
      hostName: os.hostname(),
      pid: process.pid,
      wake: () => this.#arm(),
      afterPending: (act) => this.#afterPending(act),
      askHeld: (tokens, answer) => this.#askHeld(tokens, answer),
      hasRecords: this.native !== undefined,
      hasCredentials: this.native !== undefined,
      hostNetwork: this.#hostNetwork,
      pendingLimits: limits.pending,
      helloLimits: limits.hellos,
      several: options.several,
      ...(options.mac === undefined ? {} : { mac: options.mac }),
      ...(options.regroup === undefined ? {} : { regroup: options.regroup }),
      ...(options.dns === undefined ? {} : { dns: options.dns }),
      ...(options.interfaceName === undefined ? {} : { interfaceName: options.interfaceName }),
    });
    if (this.native !== undefined) this.#records = this.#newRecords(this.native);
  }

  #newRecords(native: Native): RecordDoor {
    return new RecordDoor({
      native,
      open: (port, caller) => this.view.openRecords(port, caller),
      guard: (act) => this.guard(act),
      touched: () => this.touched(),
      log: this.#options.log,
    });
  }

  /** Opens both doors. @throws PreloadDoorError when the path cannot be used. */
  async listen(): Promise<void> {
    const { path, nwid } = this.#options;
    await removeStaleSocket(path);
    const name = abstractName(nwid);
    await this.#openServer(`\0${name}`, true);
    await this.#openServer(path, false);
    fs.chmodSync(path, 0o600);
    const records = this.#listenRecords();
    writeKeyFile(`${path}.key`, `${toHex(this.view.key)}\n${name}\n${records}\n`);
  }

  /** Opens the doors for records. @returns the abstract one's name, empty without the addon. */
  #listenRecords(): string {
    const { path, nwid } = this.#options;
    const file = `${path}.dg`;
    removeSocketFile(file);
    if (this.#records === undefined) return '';
    const name = abstractName(nwid);
    const umask = process.umask(0o177);
    try {
      this.#listenRecord(file, file, false);
    } finally {
      process.umask(umask);
    }
    fs.chmodSync(file, 0o600);
    this.#listenRecord(`\0${name}`, name, true);
    return name;
  }

  #listenRecord(address: string, shown: string, needsKey: boolean): void {
    const result = this.#records!.listen(address, needsKey);
    if (result < 0) {
      throw new PreloadDoorError('ERR_LISTEN', `cannot listen on ${shown}: errno ${-result}`);
    }
  }

  /** What programs of the view have, in the view and on the host. */
  counters(): Readonly<Record<string, number>> {
    return { ...this.view.counters(), ...this.#hostNetwork.counters() };
  }

  /** Closes every connection and removes the files. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.guard(() => this.view.close());
    for (const s of [...this.#streams]) s.destroy();
    this.#records?.close();
    this.#hostNetwork.close();
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await Promise.all(
      this.#servers.map((s) => new Promise<void>((resolve) => s.close(() => resolve()))),
    );
    this.#servers.length = 0;
    const { path } = this.#options;
    for (const file of [path, `${path}.key`, `${path}.dg`]) fs.rmSync(file, { force: true });
    this.#options.kick();
  }

  // ------------------------------------------------------- for streams

  /**
   * Runs what may call into the stack. A stack that failed must not take the service with it: the
   * owner is told, and replaces stack and door.
   */
  guard(act: () => void): void {
    const { failed } = this.#options;
    if (failed === undefined) {
      act();
      return;
    }
    try {
      act();
    } catch (e) {
      failed(e);
    }
  }

  /** The view may have used the stack. */
  touched(): void {
    this.#options.kick();
  }

  forget(stream: UnixStream): void {
    this.#streams.delete(stream);
  }

  takeChunk(): Buffer {
    return this.#chunks.pop() ?? Buffer.allocUnsafeSlow(CHUNK_LEN);
  }

  giveChunk(chunk: Buffer): void {
    if (this.#chunks.length < 16) this.#chunks.push(chunk);
  }

  flushLater(stream: UnixStream): void {
    if (this.#dirty.length === 0) process.nextTick(() => this.#flush());
    this.#dirty.push(stream);
  }

  #flush(): void {
    const streams = this.#dirty;
    this.#dirty = [];
    for (const s of streams) s.flush();
    this.#options.kick();
  }

  // ------------------------------------------------------------ inside

  #openServer(path: string, needsKey: boolean): Promise<void> {
    const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true }, (first) =>
      this.#acceptAll(server, first, needsKey),
    );
    this.#servers.push(server);
    return new Promise((resolve, reject) => {
      server.once('error', (e) => {
        reject(new PreloadDoorError('ERR_LISTEN', `cannot listen on ${path}: ${e.message}`));
      });
      /* The file appears with the mode the umask leaves: nobody else may slip in before chmod. */
      const umask = process.umask(0o177);
      try {
        server.listen({ path, backlog: BACKLOG }, () => {
          server.removeAllListeners('error');
          server.on('error', (e) => this.#options.log(`preload: ${path}: ${e.message}`));
          resolve();
        });
      } finally {
        process.umask(umask);
      }
    });
  }

  /** What Node accepted, and with the addon what waits behind it. */
  #acceptAll(server: net.Server, first: net.Socket, needsKey: boolean): void {
    this.#accept(first, descriptorOf(first), needsKey);
    if (this.native === undefined) return;
    for (let i = 1; i < ACCEPTS_MAX; i++) {
      const fd = this.native.accept(descriptorOf(server));
      // Whatever is wrong, such as too many descriptors, Node meets too, and knows what to do.
      if (fd < 0) return;
      this.#accept(fd, fd, needsKey);
    }
  }

  #accept(from: net.Socket | number, fd: number, needsKey: boolean): void {
    this.#accepted++;
    const uid = this.native === undefined || fd < 0 ? undefined : userOf(this.native, fd);
    const stream = new UnixStream(this, from, this.#readBuffer);
    this.#streams.add(stream);
    stream.connection = this.view.open(stream, { needsKey, uid });
    stream.setReading(true);
  }

  #askHeld(tokens: readonly Token[], answer: (held: HeldTokens) => void): void {
    const answered = (held: HeldTokens): void => {
      if (this.#isClosed) return;
      this.guard(() => answer(held));
      this.touched();
    };
    listTokens(tokens).then(answered, (e: NodeJS.ErrnoException) => {
      // A service out of descriptors knows nothing for a moment; that is no answer.
      const isMomentary = e.code === 'EMFILE' || e.code === 'ENFILE';
      if (!isMomentary) this.#cannotAsk(e.message);
      answered(isMomentary ? new Set(tokens) : NOTHING_HELD);
    });
  }

  /** Said once: it will not change while the service runs. */
  #cannotAsk(reason: string): void {
    if (!this.#hasHeldList) return;
    this.#hasHeldList = false;
    this.#options.log(`preload: ${reason}: ends of connections are remembered for a minute only`);
  }

  #afterPending(act: () => void): void {
    let seen = this.#accepted;
    let quiet = 0;
    let turns = 0;
    const turn = (): void => {
      quiet = this.#accepted === seen ? quiet + 1 : 0;
      seen = this.#accepted;
      if (this.#isClosed) return;
      if (quiet < QUIET_TURNS && ++turns < TURNS_MAX) {
        setImmediate(turn);
        return;
      }
      this.guard(act);
      this.touched();
    };
    setImmediate(turn);
  }

  #arm(): void {
    const at = this.view.deadline();
    if (at >= this.#timerAt && this.#timer !== undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#timerAt = at;
    if (at === Number.POSITIVE_INFINITY) return;
    const delay = Math.min(TIMER_MAX_MS, Math.max(0, Math.ceil(at - this.#options.now().mono)));
    this.#timer = setTimeout(() => this.#expired(), delay);
    this.#timer.unref();
  }

  #expired(): void {
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    this.guard(() => this.view.handleTimeout(this.#options.now()));
    this.#arm();
    this.#options.kick();
  }
}

/** Descriptor of what Node listens or reads on; -1 when it is closed. */
function descriptorOf(of: net.Server | net.Socket): number {
  return (of as unknown as { _handle: { readonly fd: number } | null })._handle?.fd ?? -1;
}

/** The addon, unless it is missing or NETCON_IO=dgram asks for doing without. */
function installedNative(): Native | undefined {
  const native = process.env['NETCON_IO'] === 'dgram' ? '' : loadNative();
  return typeof native === 'string' ? undefined : native;
}

/** A name that nobody can have taken before: the path of the key file tells it. */
function abstractName(nwid: bigint): string {
  const random = new Uint8Array(8);
  randomFillSync(random);
  return `ztnc-svc/${nwid.toString(16).padStart(16, '0')}/${toHex(random)}`;
}

/** Removes a socket file whose service is known to be gone. */
function removeSocketFile(file: string): void {
  const stat = fs.lstatSync(file, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) {
    throw new PreloadDoorError('ERR_PATH_NOT_SOCKET', `${file} exists and is not a socket`);
  }
  fs.rmSync(file, { force: true });
}

/** Removes the socket file of a service that is gone; refuses anything else. */
async function removeStaleSocket(path: string): Promise<void> {
  const stat = fs.lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) {
    throw new PreloadDoorError('ERR_PATH_NOT_SOCKET', `${path} exists and is not a socket`);
  }
  if (await isAnswered(path)) {
    throw new PreloadDoorError('ERR_PATH_IN_USE', `another service listens on ${path}`);
  }
  fs.rmSync(path, { force: true });
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Atomic, mode 0600. */
function writeKeyFile(file: string, text: string): void {
  const temporary = `${file}.${process.pid}.tmp`;
  fs.writeFileSync(temporary, text, { mode: 0o600 });
  fs.renameSync(temporary, file);
}
