/** The service's own routes [4 section 7]: status, networks, peers, moons, configuration, metrics. */

import { parseLocalConf, settingsOf } from '../host/local-conf.js';
import type { LocalSettings } from '../host/network-link.js';
import type { Service } from '../host/service.js';
import { RELAY_SOCKET } from '../host/tcp-relay.js';
import { NETCON_VERSION } from '../host/version.js';
import { toHex } from '../lib/hex.js';
import {
  emitJsonPretty,
  isRecord,
  type JsonRecord,
  type JsonValue,
  jsonBool,
  jsonHex,
  parseJson,
  shrink,
} from '../lib/json.js';
import { Peer } from '../vl1/peer.js';
import {
  addressText,
  macText,
  memberMac,
  type NetworkId,
  networkIdText,
  parseAddress,
  parseNetworkId,
} from '../wire/address.js';
import { emitIdentityText } from '../wire/identity.js';
import { inetAddressText, ipText } from '../wire/inetaddress.js';
import { DEFAULT_MTU, NETWORK_FLAG, NETWORK_PUBLIC } from '../wire/netconf.js';
import { SOFTWARE_VERSION } from '../wire/packet.js';
import type { World } from '../wire/world.js';
import { type ApiRequest, type ApiResponse, json, NOT_FOUND } from './answer.js';
import { AppFiles } from './app.js';
import { handleController } from './controller-routes.js';
import { metricsText } from './metrics.js';

const VERSION_TEXT = `${SOFTWARE_VERSION.major}.${SOFTWARE_VERSION.minor}.${SOFTWARE_VERSION.revision}`;
const VERSION_FIELDS: JsonRecord = {
  version: VERSION_TEXT,
  versionMajor: SOFTWARE_VERSION.major,
  versionMinor: SOFTWARE_VERSION.minor,
  versionRev: SOFTWARE_VERSION.revision,
  versionBuild: 0,
};

/** The socket number by which programs know the TCP relay [4 section 7.4]. */
const RELAY_SHOWN_AS = 0xffff_ffff_ffff_ffffn;
/** Indentation of local.conf when we write it [4 section 7.7]. */
const LOCAL_CONF_INDENT = '    ';

export class Routes {
  readonly #s: Service;
  readonly #app: AppFiles | undefined;

  /** @throws when a folder that local.conf asks for can not be made. */
  constructor(service: Service) {
    this.#s = service;
    const isServing = jsonBool(settingsOf(service.localConf)['enableWebServer'], false);
    this.#app = isServing ? new AppFiles(service.home.path('app')) : undefined;
  }

  async handle(r: ApiRequest): Promise<ApiResponse> {
    if (r.path.startsWith('/controller') || r.path.startsWith('/unstable/controller'))
      return handleController(this.#s, r);
    if (r.path.startsWith('/app')) return this.#app?.handle(r) ?? NOT_FOUND;
    const [, head = '', id, ...rest] = r.path.split('/');
    if (rest.length > 0) return this.#bond(r);
    switch (head) {
      case 'status':
        return id === undefined && r.method === 'GET' ? json(this.#status()) : NOT_FOUND;
      case 'health':
        return id === undefined && r.method === 'GET' ? json(this.#health()) : NOT_FOUND;
      case 'network':
        return this.#network(r, id);
      case 'peer':
        return this.#peer(r, id);
      case 'moon':
        return this.#moon(r, id);
      case 'config':
        return this.#config(r, id);
      case 'metrics':
        if (id !== undefined || r.method !== 'GET') return NOT_FOUND;
        return { status: 200, body: metricsText(this.#s), type: 'text/plain' };
      default:
        return NOT_FOUND;
    }
  }

  // ---- status ----

  #status(): JsonRecord {
    const s = this.#s;
    const planet = s.node.vl1.state.topology.planet;
    return {
      address: addressText(s.identity.address),
      clock: Date.now(),
      config: { ...s.localConf, settings: this.#settings() },
      netcon: {
        version: NETCON_VERSION,
        cipher: s.node.vl1.state.options.protocol >= 12 ? 'aes' : 'salsa',
        mapped: (s.underlay.mapper?.addresses ?? []).map(inetAddressText),
      },
      online: s.node.isOnline,
      planetWorldId: shrink(planet.id),
      planetWorldTimestamp: shrink(planet.timestamp),
      publicIdentity: emitIdentityText(s.identity, false),
      tcpFallbackActive: s.underlay.relay.isOpen,
      ...VERSION_FIELDS,
    };
  }

  #settings(): JsonRecord {
    const s = this.#s;
    const file = settingsOf(s.localConf);
    const surfaces = s.node.vl1.state.surface.addresses().map(inetAddressText);
    return {
      allowTcpFallbackRelay: true,
      forceTcpRelay: false,
      portMappingEnabled: true,
      secondaryPort: s.underlay.ports.secondary,
      tertiaryPort: s.underlay.ports.tertiary,
      ...file,
      homeDir: s.home.dir,
      listeningOn: s.udp.addresses.map(inetAddressText),
      primaryPort: file['primaryPort'] ?? s.port,
      softwareUpdate: 'disable',
      softwareUpdateChannel: 'release',
      surfaceAddresses: surfaces,
    };
  }

  #health(): JsonRecord {
    return { clock: Date.now(), online: this.#s.node.isOnline, ...VERSION_FIELDS };
  }

  // ---- networks ----

  async #network(r: ApiRequest, id: string | undefined): Promise<ApiResponse> {
    if (id === undefined) {
      if (r.method !== 'GET') return NOT_FOUND;
      return json(this.#networkIds().map((n) => this.#networkRecord(n)));
    }
    const nwid = parseNetworkId(id);
    if (nwid === undefined) return NOT_FOUND;
    switch (r.method) {
      case 'GET':
        return this.#s.links.has(nwid) ? json(this.#networkRecord(nwid)) : json({}, 404);
      case 'POST':
        // A network of id 0 does not exist [4 section 13, 11].
        if (nwid === 0n) return json({}, 404);
        (await this.#s.join(nwid)).set(localSettings(r.body));
        return json(this.#networkRecord(nwid));
      case 'DELETE':
        return json((await this.#s.leave(nwid)) ? { result: true } : {});
      default:
        return NOT_FOUND;
    }
  }

  #networkIds(): NetworkId[] {
    return [...this.#s.links.keys()].sort((a, b) => (a < b ? -1 : 1));
  }

  #networkRecord(nwid: NetworkId): JsonRecord {
    const s = this.#s;
    const net = s.node.vl2.network(nwid);
    const link = s.links.get(nwid);
    const config = net?.config;
    const record: JsonRecord = {
      ...(link?.settings ?? {}),
      assignedAddresses: (config?.addresses ?? []).map(inetAddressText),
      bridge: net?.isBridge(s.identity.address) ?? false,
      broadcastEnabled: net?.hasFlag(NETWORK_FLAG.BROADCAST) ?? false,
      dhcp: false,
      dns: {
        domain: config?.dns.domain ?? '',
        servers: (config?.dns.servers ?? []).map((a) => ipText(a.ip)),
      },
      id: networkIdText(nwid),
      mac: macText(memberMac(s.identity.address, nwid)),
      mtu: config?.mtu ?? DEFAULT_MTU,
      multicastSubscriptions: (net?.allGroups() ?? []).map((g) => ({
        mac: macText(g.mac),
        adi: g.adi,
      })),
      name: config?.name ?? '',
      netconfRevision: shrink(config?.revision ?? 0n),
      nwid: networkIdText(nwid),
      portDeviceName: s.doorPath(nwid),
      portError: 0,
      routes: (config?.routes ?? []).map((x) => ({
        target: inetAddressText(x.target),
        via: x.via.family === 0 ? null : ipText(x.via.ip),
        flags: x.flags,
        metric: x.metric,
      })),
      status: net?.status ?? 'REQUESTING_CONFIGURATION',
      type: config?.type === NETWORK_PUBLIC ? 'PUBLIC' : 'PRIVATE',
    };
    if (config?.sso.enabled || net?.status === 'AUTHENTICATION_REQUIRED') {
      record['ssoEnabled'] = true;
      record['authenticationURL'] = net?.authenticationUrl ?? '';
      record['authenticationExpiryTime'] = shrink(config?.sso.expiryTime ?? 0n);
    }
    return record;
  }

  // ---- peers ----

  #peer(r: ApiRequest, id: string | undefined): ApiResponse {
    if (r.method !== 'GET') return NOT_FOUND;
    const peers = this.#s.node.vl1.state.peers;
    if (id === undefined) {
      return json(
        [...peers.values()].sort((a, b) => a.address - b.address).map((p) => this.#peerRecord(p)),
      );
    }
    const address = parseAddress(id);
    if (address === undefined) return NOT_FOUND;
    const peer = peers.get(address);
    return json(peer === undefined ? {} : this.#peerRecord(peer));
  }

  #peerRecord(p: Peer): JsonRecord {
    const state = this.#s.node.vl1.state;
    const now = performance.now();
    const toWall = (mono: number): number =>
      mono === Number.NEGATIVE_INFINITY ? 0 : Math.round(Date.now() - (now - mono));
    const best = p.directPath(now);
    const paths = p.slots
      .filter((slot) => !Peer.isExpired(slot, now))
      .map(
        (slot): JsonValue => ({
          active: true,
          address: inetAddressText(slot.path.remote),
          expired: false,
          lastReceive: toWall(slot.path.lastInAt),
          lastSend: toWall(slot.path.lastOutAt),
          localPort: 0,
          localSocket: slot.path.socket === RELAY_SOCKET ? RELAY_SHOWN_AS : slot.path.socket,
          preferred: slot.path === best,
          trustedPathId: shrink(slot.path.trustedPathId),
        }),
      );
    const isKnown = p.protocol > 0;
    return {
      address: addressText(p.address),
      isBonded: false,
      latency: best?.hasLatency ? best.latency : -1,
      paths,
      role: state.topology.role(p.address),
      tunneled: this.#s.underlay.relay.isOpen,
      version: isKnown ? `${p.major}.${p.minor}.${p.revision}` : '-1.-1.-1',
      versionMajor: isKnown ? p.major : -1,
      versionMinor: isKnown ? p.minor : -1,
      versionRev: isKnown ? p.revision : -1,
    };
  }

  // ---- moons ----

  #moon(r: ApiRequest, id: string | undefined): ApiResponse {
    const topology = this.#s.node.vl1.state.topology;
    if (id === undefined)
      return r.method === 'GET' ? json(topology.moons.map(moonRecord)) : NOT_FOUND;
    if (!/^[0-9a-fA-F]{10}$/.test(id)) return NOT_FOUND;
    const moonId = BigInt(`0x${id}`);
    const held = topology.moons.find((m) => m.id === moonId);
    switch (r.method) {
      case 'GET':
        return json(held === undefined ? {} : moonRecord(held));
      case 'POST': {
        if (held !== undefined) return json(moonRecord(held));
        const seed = Number(jsonHex(lenientRecord(r.body)['seed'], 0n) & 0xff_ffff_ffffn);
        if (seed === 0) return json({});
        this.#s.orbit(moonId, seed);
        const found = topology.moons.find((m) => m.id === moonId);
        if (found !== undefined) return json(moonRecord(found));
        const waiting = {
          roots: [],
          signature: null,
          timestamp: 0,
          updatesMustBeSignedBy: null,
          waiting: true,
        };
        return json({ id: moonId.toString(16).padStart(16, '0'), ...waiting });
      }
      case 'DELETE':
        this.#s.deorbit(moonId);
        return json({ result: true });
      default:
        return NOT_FOUND;
    }
  }

  // ---- configuration ----

  async #config(r: ApiRequest, id: string | undefined): Promise<ApiResponse> {
    if (id === undefined) return r.method === 'GET' ? json(this.#s.localConf) : NOT_FOUND;
    if (id !== 'settings' || r.method !== 'POST') return NOT_FOUND;
    const changes = parseJson(r.body, 'keep');
    if (!isRecord(changes) || Object.keys(changes).length === 0) return json({});
    const conf = {
      ...this.#s.localConf,
      settings: { ...settingsOf(this.#s.localConf), ...changes },
    };
    const text = emitJsonPretty(conf, LOCAL_CONF_INDENT);
    // What would not load again is not stored.
    this.#s.setLocalConf(parseLocalConf(text));
    this.#s.home.write('local.conf', text);
    await this.#s.home.flush();
    return json({});
  }

  /** Multipath is not built: as the reference answers while no policy is configured [4 section 7.6]. */
  #bond(r: ApiRequest): ApiResponse {
    if (r.method === 'GET' && /^\/bond\/show\/[0-9a-fA-F]{10}$/.test(r.path)) return json({}, 400);
    if (r.method !== 'POST') return NOT_FOUND;
    if (/^\/bond\/rotate\/[0-9a-fA-F]{10}$/.test(r.path)) return json({}, 400);
    if (/^\/bond\/setmtu\/\d{1,6}\/\w{1,16}\/[0-9a-fA-F.:]+$/.test(r.path)) {
      return { status: 400, body: "Bonding layer isn't active yet", type: 'application/json' };
    }
    return NOT_FOUND;
  }
}

/** A body as an object; anything else counts as an empty one. */
function lenientRecord(body: string): JsonRecord {
  try {
    const v = parseJson(body);
    return isRecord(v) ? v : {};
  } catch {
    return {};
  }
}

/** Only real booleans count; everything else is ignored silently [4 section 7.3]. */
function localSettings(body: string): Partial<LocalSettings> {
  const v = lenientRecord(body);
  const out: Partial<LocalSettings> = {};
  for (const key of ['allowManaged', 'allowGlobal', 'allowDefault', 'allowDNS'] as const) {
    if (typeof v[key] === 'boolean') out[key] = v[key];
  }
  return out;
}

function moonRecord(m: World): JsonRecord {
  return {
    id: m.id.toString(16).padStart(16, '0'),
    roots: m.roots.map((r) => ({
      identity: emitIdentityText(r.identity, false),
      stableEndpoints: r.endpoints.map(inetAddressText),
    })),
    signature: toHex(m.signature),
    timestamp: shrink(m.timestamp),
    updatesMustBeSignedBy: toHex(m.updateKey),
    waiting: false,
  };
}
