/**
 * The service: one node with its home folder, networks, stacks and doors. Composition and life
 * cycle only; what the API shows of it is in http/, what programs do with it in preload/.
 */
import { arch } from 'node:os';
import { join } from 'node:path';
import { Controller } from '../controller/controller.js';
import type { Primitives } from '../crypto/api.js';
import { createPrimitives } from '../crypto/native.js';
import type { JsonRecord } from '../lib/json.js';
import { Node } from '../node/node.js';
import type { NodeOutput } from '../node/outputs.js';
import type { WasmPacketCore } from '../packetcore/core.js';
import { loadPacketCore } from '../packetcore/load.js';
import { type Grant, NOTHING_GRANTED } from '../preload/fallthrough.js';
import { MAX_PEERS } from '../vl1/constants.js';
import {
  addressText,
  type NetworkId,
  type NodeAddress,
  networkIdText,
  parseNetworkId,
} from '../wire/address.js';
import type { Identity } from '../wire/identity.js';
import { inetAddress } from '../wire/inetaddress.js';
import { PROTOCOL_VERSION_AES, PROTOCOL_VERSION_SALSA } from '../wire/packet.js';
import {
  defaultPlanet,
  emitWorld,
  parseWorld,
  WORLD_MOON,
  WORLD_PLANET,
  type World,
} from '../wire/world.js';
import { AllNetworks, NO_NETWORK } from './all-networks.js';
import { chooseCipher } from './cipher.js';
import { readClock } from './clock.js';
import { loadController } from './controller-files.js';
import { mathJitter, PooledEntropy } from './entropy.js';
import { grantOf } from './grant.js';
import { Home } from './home.js';
import { IdentityWorker } from './identity-worker.js';
import { cipherSetting, LOCAL_CONF_CHECK_MS, LocalConfFile, primaryPort } from './local-conf.js';
import { type HomeLock, lockHome } from './lock.js';
import { errorText, type Log } from './log.js';
import { Loop } from './loop.js';
import { loadNative } from './native.js';
import { NetworkLink } from './network-link.js';
import { physicalConf, underlaySettings } from './physical-conf.js';
import { GatewayMapper } from './port-mapping.js';
import { choosePort, DEFAULT_PORT } from './ports.js';
import { loadIdentity, loadPlanet, ServiceStartError } from './start-files.js';
import { RELAY_SOCKET, TcpRelay } from './tcp-relay.js';
import { readToken } from './tokens.js';
import { Udp } from './udp.js';
import { openDgram } from './udp-dgram.js';
import { openNative } from './udp-native.js';
import type { OpenSocket } from './udp-socket.js';
import { Underlay } from './underlay.js';
import { UserLimits } from './user-limits.js';

export interface ServiceOptions {
  /** The home folder as given. */
  readonly home: string;
  /** `-p`; 0 = random, undefined = not given. */
  readonly port: number | undefined;
  readonly log: Log;
}

/** [4 section 2] */
/** Belongs to the built-in planet: a universe of one's own never speaks to it [2 section 18]. */
const BUILT_IN_RELAY = inetAddress(Uint8Array.of(204, 80, 128, 1), 443);
const COLLIDED_IDENTITY = 'identity.secret.saved_after_collision';
const FAILURE_LOG_MS = 60_000;
/**
 * Peers that were not written anew for so long are forgotten, looked at so often [2 section 21]; ours:
 * and the oldest beyond what memory holds, since strangers that are answered make files.
 */
const PEER_FILE_LIFE_MS = 30 * 86_400_000;
const PRUNE_MS = 3_600_000;
/** Ours: identity checks given to each worker thread: one that runs, one that follows without a pause. */
const CHECKS_PER_THREAD = 2;
/** Linux: sun_path less its terminator; document 5 allows 104 bytes for `HOME/nc_<nwid>`. */
const MAX_DOOR_PATH_LEN = 104;
const DOOR_NAME_LEN = '/nc_'.length + 16;

/** Names of architectures as configuration requests carry them [3 section 3]. */
const ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'x86_64',
  ia32: 'x86',
  arm64: 'arm64',
  arm: 'arm',
};

export class Service {
  readonly home: Home;
  readonly log: Log;
  readonly node: Node;
  readonly udp: Udp;
  readonly underlay: Underlay;
  readonly loop: Loop;
  readonly identity: Identity;
  readonly primitives: Primitives;
  readonly core: WasmPacketCore;
  readonly controller: Controller;
  readonly authToken: string;
  readonly metricsToken: string;
  readonly links = new Map<NetworkId, NetworkLink>();
  /** All of them at once, for programs. */
  readonly all: AllNetworks;
  readonly startedAt = Date.now();
  localConf: JsonRecord;
  /** What programs may reach of the host's network. */
  grant: Grant = NOTHING_GRANTED;
  readonly userLimits = new UserLimits();
  /** Called after local.conf changed. */
  onLocalConf: () => void = () => undefined;
  /** Called once when our address turned out to be another node's, at once if it did already. */
  set onIdentityLost(act: () => void) {
    this.#onIdentityLost = act;
    if (this.#hasLostIdentity) act();
  }
  #onIdentityLost: () => void = () => undefined;
  #hasLostIdentity = false;
  readonly #confCheck: NodeJS.Timeout;
  readonly #worker: IdentityWorker;
  readonly #lock: HomeLock;
  readonly #prune: NodeJS.Timeout;
  #stopping: Promise<void> | undefined;
  #failureLoggedAt = Number.NEGATIVE_INFINITY;

  /** @throws ServiceStartError and others, with a message that names what was wrong. */
  static async start(options: ServiceOptions): Promise<Service> {
    const home = new Home(options.home, options.log);
    checkPathLength(home.dir);
    try {
      home.create();
    } catch (e) {
      throw new ServiceStartError(`${home.dir} can not be created: ${errorText(e)}`);
    }
    const lock = await takeLock(home);
    try {
      return await Service.#startLocked(home, lock, options);
    } catch (e) {
      home.removeNow('zerotier-one.pid');
      await lock.release();
      throw e;
    }
  }

  static async #startLocked(home: Home, lock: HomeLock, options: ServiceOptions): Promise<Service> {
    home.protect('identity.secret');
    home.protect('authtoken.secret');
    if (home.read('controller.db') !== undefined) {
      throw new ServiceStartError(
        `${home.path('controller.db')} is of an old version that can not be used; move it away`,
      );
    }
    try {
      home.writeNow('zerotier-one.pid', String(process.pid));
    } catch (e) {
      throw new ServiceStartError(`${home.dir} is not writable: ${errorText(e)}`);
    }
    const core = loadPacketCore();
    const primitives = createPrimitives((k) => core.memoryHardHash(k));
    const worker = new IdentityWorker();
    const authToken = readToken(home, 'authtoken.secret');
    const metricsToken = readToken(home, 'metricstoken.secret');
    const identity = await loadIdentity(home, primitives, worker);
    const confFile = new LocalConfFile(home, options.log);
    const localConf = confFile.load();
    const cipher = chooseCipher(home, core, cipherSetting(localConf));
    const port = await choosePort(primaryPort(localConf) ?? options.port ?? DEFAULT_PORT);
    const planet = loadPlanet(home, primitives, options.log);
    const node = new Node({
      identity,
      core,
      primitives,
      entropy: new PooledEntropy(),
      jitter: mathJitter,
      protocol: cipher === 'aes' ? PROTOCOL_VERSION_AES : PROTOCOL_VERSION_SALSA,
      planet,
      validationsAtOnce: CHECKS_PER_THREAD * worker.threads,
      platform: `linux/${ARCHITECTURES[arch()] ?? 'unknown'}`,
    });
    const service = new Service({
      home,
      lock,
      options,
      node,
      identity,
      primitives,
      core,
      worker,
      authToken,
      metricsToken,
      confFile,
      localConf,
    });
    await service.#open(port);
    return service;
  }

  private constructor(p: {
    home: Home;
    lock: HomeLock;
    options: ServiceOptions;
    node: Node;
    identity: Identity;
    primitives: Primitives;
    core: WasmPacketCore;
    worker: IdentityWorker;
    authToken: string;
    metricsToken: string;
    confFile: LocalConfFile;
    localConf: JsonRecord;
  }) {
    this.home = p.home;
    this.log = p.options.log;
    this.node = p.node;
    this.identity = p.identity;
    this.primitives = p.primitives;
    this.core = p.core;
    this.authToken = p.authToken;
    this.metricsToken = p.metricsToken;
    this.localConf = p.localConf;
    this.#worker = p.worker;
    this.#lock = p.lock;
    this.udp = new Udp(this.log, openSockets(this.log), (socket, from, bytes) =>
      this.loop.handleDatagram(socket, from, bytes),
    );
    this.loop = new Loop(this.node, this.udp, {
      validate: (id, identity) => this.#validate(id, identity),
      output: (o) => this.#output(o),
      stackFailed: (nwid, e) => {
        if (nwid === NO_NETWORK) this.all.loopbackFailed(e);
        else this.links.get(nwid)?.stackFailed(e);
      },
      inputFailed: (e) => this.#inputFailed(e),
    });
    this.all = new AllNetworks(this);
    this.underlay = this.#makeUnderlay();
    this.controller = new Controller();
    this.node.setController(this.controller);
    this.#prune = setInterval(() => this.#prunePeers(), PRUNE_MS);
    this.#confCheck = setInterval(() => {
      const conf = p.confFile.reload();
      if (conf !== undefined) this.setLocalConf(conf);
    }, LOCAL_CONF_CHECK_MS);
  }

  /** Puts settings in force, as far as they are not only read at the start [4 section 9]. */
  setLocalConf(conf: JsonRecord): void {
    this.localConf = conf;
    this.#applyGrant();
    this.#applyPhysical();
    this.underlay.refresh();
    this.onLocalConf();
  }

  #applyGrant(): void {
    const { grant, complaints } = grantOf(this.localConf);
    for (const c of complaints)
      this.log('warning', `local.conf: ${c}; programs reach nothing of the host's network`);
    this.grant = grant;
  }

  #applyPhysical(): void {
    const conf = physicalConf(this.localConf);
    for (const c of conf.complaints) this.log('warning', `local.conf: ${c}; ignored`);
    this.loop.run((node, at) => node.handlePhysical(at, conf));
  }

  #makeUnderlay(): Underlay {
    const { topology } = this.node.vl1.state;
    return new Underlay({
      udp: this.udp,
      log: this.log,
      makeMapper: (changed) =>
        new GatewayMapper(this.log, addressText(this.identity.address), changed),
      makeRelay: (changed) =>
        new TcpRelay(
          this.log,
          (d) => this.loop.handleDatagram(RELAY_SOCKET, d.from, d.bytes),
          changed,
        ),
      builtInRelay: () => (topology.planet.id === defaultPlanet().id ? BUILT_IN_RELAY : undefined),
      settings: () => underlaySettings(this.localConf),
      loopback: () => (topology.isOnlyLoopback ? 'only' : topology.allowsLoopback ? 'also' : 'no'),
      isOnline: () => this.node.isOnline,
      now: readClock,
      woke: () => this.loop.run((node, at) => node.handleWake(at)),
      announce: (sockets, addresses) =>
        this.loop.run((node, at) => node.handleSockets(at, sockets, addresses)),
    });
  }

  async #open(port: number): Promise<void> {
    this.#loadMoons();
    this.#applyGrant();
    this.#applyPhysical();
    try {
      await this.underlay.open(port);
    } catch (e) {
      await this.underlay.close();
      clearInterval(this.#prune);
      clearInterval(this.#confCheck);
      throw new ServiceStartError(`UDP port ${port} can not be bound: ${errorText(e)}`);
    }
    this.home.writeNow('zerotier-one.port', String(port));
    // Left behind by old versions [4 section 2].
    this.home.remove('iddb.d');
    loadController(this.home, this.controller, this.log);
    this.#prunePeers();
    await this.home.flush();
    this.#loadPeers();
    await this.all.open();
    for (const nwid of this.#storedNetworks()) await this.join(nwid);
    this.loop.flush();
  }

  /** Our own mistake, met by a packet: it is dropped, and said at most once a minute. */
  #inputFailed(e: unknown): void {
    const now = performance.now();
    if (now - this.#failureLoggedAt < FAILURE_LOG_MS) return;
    this.#failureLoggedAt = now;
    const where = e instanceof Error ? (e.stack?.split('\n')[1]?.trim() ?? '') : '';
    this.log('error', `a packet was dropped by a fault of this program: ${errorText(e)} ${where}`);
  }

  /** Port of UDP and of the control API. */
  get port(): number {
    return this.underlay.ports.primary;
  }

  #validate(id: number, identity: Uint8Array): void {
    this.#worker.validate(identity).then(
      (ok) => this.loop.run((node, at) => node.handleValidation(at, id, ok)),
      (e: unknown) => {
        if (this.#stopping !== undefined) return;
        this.log('error', `identity check failed: ${errorText(e)}`);
        this.loop.run((node, at) => node.handleValidation(at, id, false));
      },
    );
  }

  // ---- storage ----

  #output(o: Exclude<NodeOutput, { kind: 'transmit' | 'frame' | 'validate' }>): void {
    switch (o.kind) {
      case 'storeWorld':
        this.home.write(worldFile(o.world), emitWorld(o.world));
        this.underlay.refresh();
        break;
      case 'storePeer':
        this.home.write(`peers.d/${addressText(o.address)}.peer`, o.record.slice());
        break;
      case 'storeConfig':
        this.home.write(
          `networks.d/${networkIdText(o.nwid)}.conf`,
          o.text.length > 0 ? o.text.slice() : '\n',
        );
        break;
      case 'storeController':
        if (o.json !== undefined) this.home.write(`controller.d/${o.path}`, o.json, 0o600);
        else this.home.remove(`controller.d/${o.path}`);
        break;
      case 'networkChanged':
        this.links.get(o.nwid)?.changed();
        break;
      case 'identityCollision':
        this.#identityLost();
        break;
    }
  }

  /**
   * A root says that another node owns our address [2 section 10.3]: the identity is set aside, and
   * whoever runs the service starts it again with a new one.
   */
  #identityLost(): void {
    if (this.#hasLostIdentity) return;
    this.#hasLostIdentity = true;
    this.log(
      'error',
      `a root reports that another node owns the address ${addressText(this.identity.address)}: ` +
        `its identity is kept as ${COLLIDED_IDENTITY}, a new one takes its place`,
    );
    try {
      this.home.renameNow('identity.secret', COLLIDED_IDENTITY);
      this.home.removeNow('identity.public');
    } catch (e) {
      this.log('error', `${this.home.path('identity.secret')}: ${errorText(e)}`);
      return;
    }
    this.#onIdentityLost();
  }

  #loadMoons(): void {
    for (const name of this.home.list('moons.d')) {
      const id = /^([0-9a-fA-F]{16})\.moon$/.exec(name)?.[1];
      if (id !== undefined) this.#loadMoon(BigInt(`0x${id}`), name);
    }
  }

  /** @returns whether that file holds the moon, which is then in use. */
  #loadMoon(id: bigint, name: string): boolean {
    const bytes = this.home.readRecord(`moons.d/${name}`);
    if (bytes === undefined) return false;
    const moon = parseWorld(bytes)?.world;
    if (moon?.type === WORLD_MOON && moon.id === id) {
      this.node.vl1.state.topology.addStoredMoon(moon);
      return true;
    }
    this.log('warning', `moons.d/${name} is not a moon of that id; ignored`);
    return false;
  }

  /** Follows a moon [2 section 15.3]: from its file when it is there, else asked of the seed. */
  orbit(id: bigint, seed: NodeAddress): void {
    if (this.#loadMoon(id, `${moonName(id)}.moon`)) this.underlay.refresh();
    else this.loop.run((node) => node.vl1.state.topology.want(id, seed));
  }

  deorbit(id: bigint): void {
    this.loop.run((node) => node.vl1.state.topology.forgetMoon(id));
    this.home.remove(`moons.d/${moonName(id)}.moon`);
    this.underlay.refresh();
  }

  #prunePeers(): void {
    try {
      this.home.removeOlder('peers.d', Date.now() - PEER_FILE_LIFE_MS, MAX_PEERS);
    } catch (e) {
      this.log('warning', `peers.d: ${errorText(e)}`);
    }
  }

  #loadPeers(): void {
    for (const name of this.home.list('peers.d')) {
      const bytes = name.endsWith('.peer') ? this.home.readRecord(`peers.d/${name}`) : undefined;
      if (bytes !== undefined && !this.node.handleStoredPeer(bytes))
        this.log('info', `peers.d/${name} is not a peer record; ignored`);
    }
  }

  #storedNetworks(): NetworkId[] {
    const out: NetworkId[] = [];
    for (const name of this.home.list('networks.d')) {
      const nwid =
        name.length === 21 && name.endsWith('.conf')
          ? parseNetworkId(name.slice(0, 16))
          : undefined;
      if (nwid !== undefined && nwid !== 0n) out.push(nwid);
    }
    return out;
  }

  // ---- networks ----

  /** Joins (once); the network's door opens at once, addresses follow with the configuration. */
  async join(nwid: NetworkId): Promise<NetworkLink> {
    const known = this.links.get(nwid);
    if (known !== undefined) return known;
    const stored = this.home.readRecord(`networks.d/${networkIdText(nwid)}.conf`);
    const link = new NetworkLink(this, nwid);
    this.links.set(nwid, link);
    try {
      await link.open();
    } catch (e) {
      if (this.links.get(nwid) === link) this.links.delete(nwid);
      await link.close();
      throw e;
    }
    if (this.links.get(nwid) !== link) {
      // Left while it was being joined.
      await link.close();
      return link;
    }
    this.loop.run((node, at) => node.join(at, nwid, stored));
    link.changed();
    return link;
  }

  /** @returns whether the network was joined. */
  async leave(nwid: NetworkId): Promise<boolean> {
    const link = this.links.get(nwid);
    if (link === undefined) return false;
    this.links.delete(nwid);
    this.loop.run((node, at) => node.leave(at, nwid));
    await link.close();
    const name = `networks.d/${networkIdText(nwid)}`;
    this.home.remove(`${name}.conf`);
    this.home.remove(`${name}.local.conf`);
    return true;
  }

  /** The socket path of a network, which is also its device name. */
  doorPath(nwid: NetworkId): string {
    return join(this.home.dir, `nc_${networkIdText(nwid)}`);
  }

  /** Ends everything in order and resolves when the home folder is at rest. Repeatable. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    clearInterval(this.#prune);
    clearInterval(this.#confCheck);
    await Promise.all([...this.links.values()].map((l) => l.close()));
    await this.all.close();
    this.loop.run((node, at) => node.storePeers(at));
    this.loop.close();
    await this.underlay.close();
    await this.#worker.close();
    await this.home.flush();
    this.home.removeNow('zerotier-one.pid');
    await this.#lock.release();
  }
}

/** The addon's sockets, or node:dgram's where it is missing or NETCON_IO=dgram says so. */
function openSockets(log: Log): OpenSocket {
  const isWanted = process.env['NETCON_IO'] !== 'dgram';
  const native = isWanted ? loadNative() : 'NETCON_IO=dgram';
  if (typeof native !== 'string') return openNative(native);
  log(isWanted ? 'warning' : 'info', `UDP without the addon, which is slower: ${native}`);
  return openDgram;
}

/** Every node has them, whether it controls networks or not [4 section 2]. */
function checkPathLength(dir: string): void {
  const len = Buffer.byteLength(dir) + DOOR_NAME_LEN;
  if (len > MAX_DOOR_PATH_LEN) {
    throw new ServiceStartError(
      `${dir} is too long: the sockets of its networks would need ${len} bytes, ${MAX_DOOR_PATH_LEN} are possible`,
    );
  }
}

async function takeLock(home: Home): Promise<HomeLock> {
  try {
    return await lockHome(home.path('netcon.lock'), home.dir);
  } catch (e) {
    if ((e as { code?: string }).code === 'ERR_HOME_IN_USE') throw e;
    throw new ServiceStartError(`${home.dir} is not writable: ${errorText(e)}`);
  }
}

function worldFile(world: World): string {
  if (world.type === WORLD_PLANET) return 'planet';
  return `moons.d/${moonName(world.id)}.moon`;
}

const moonName = (id: bigint): string => id.toString(16).padStart(16, '0');

export { readClock, ServiceStartError };
