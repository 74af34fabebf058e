/**
 * Metrics in Prometheus text format 0.0.4 [4 section 10], as far as this service counts them: the
 * reference's families in their order, then our own (`netcon_`). A family without samples is left
 * out. `GET /metrics` gives the values of the moment, `HOME/metrics.prom` those of the last write.
 */
import { rename, writeFile } from 'node:fs/promises';
import type { NetworkLink } from '../host/network-link.js';
import type { Service } from '../host/service.js';
import { LATENCY_BOUNDS } from '../vl1/latency.js';
import type { Peer } from '../vl1/peer.js';
import { addressText, networkIdText } from '../wire/address.js';
import { ERROR_CODE, VERB } from '../wire/packet.js';

const WRITE_MS = 5_000;

/** Names of packet types in the order of the reference, and their verbs. */
const PACKET_TYPES: readonly (readonly [string, number])[] = [
  ['nop', VERB.NOP],
  ['error', VERB.ERROR],
  ['ack', VERB.ACK],
  ['qos', VERB.QOS_MEASUREMENT],
  ['hello', VERB.HELLO],
  ['ok', VERB.OK],
  ['whois', VERB.WHOIS],
  ['rendezvous', VERB.RENDEZVOUS],
  ['frame', VERB.FRAME],
  ['ext_frame', VERB.EXT_FRAME],
  ['echo', VERB.ECHO],
  ['multicast_like', VERB.MULTICAST_LIKE],
  ['network_credentials', VERB.NETWORK_CREDENTIALS],
  ['network_config_request', VERB.NETWORK_CONFIG_REQUEST],
  ['network_config', VERB.NETWORK_CONFIG],
  ['multicast_gather', VERB.MULTICAST_GATHER],
  ['multicast_frame', VERB.MULTICAST_FRAME],
  ['push_direct_paths', VERB.PUSH_DIRECT_PATHS],
  ['user_message', VERB.USER_MESSAGE],
  ['remote_trace', VERB.REMOTE_TRACE],
  ['path_negotiation_request', VERB.PATH_NEGOTIATION_REQUEST],
];

/** The last one has no code of its own on the wire. */
const ERROR_TYPES: readonly (readonly [string, number | undefined])[] = [
  ['obj_not_found', ERROR_CODE.OBJ_NOT_FOUND],
  ['unsupported_operation', ERROR_CODE.UNSUPPORTED_OPERATION],
  ['identity_collision', ERROR_CODE.IDENTITY_COLLISION],
  ['need_membership_certificate', ERROR_CODE.NEED_MEMBERSHIP_CERTIFICATE],
  ['network_access_denied', ERROR_CODE.NETWORK_ACCESS_DENIED],
  ['unwanted_multicast', ERROR_CODE.UNWANTED_MULTICAST],
  ['authentication_required', ERROR_CODE.NETWORK_AUTHENTICATION_REQUIRED],
  ['internal_server_error', undefined],
];

interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Shortest text of a double: 100000 is 1e+05, 120000 stays. */
export function metricNumber(n: number): string {
  const fixed = String(n);
  const [digits = '', exponent = ''] = n.toExponential().split('e');
  const e = Number(exponent);
  const scientific = `${digits}e${e < 0 ? '-' : '+'}${String(Math.abs(e)).padStart(2, '0')}`;
  return scientific.length < fixed.length ? scientific : fixed;
}

function family(name: string, type: string, help: string, samples: readonly Sample[]): string {
  if (samples.length === 0) return '';
  const lines = samples.map(({ labels, value }) => {
    const text = Object.entries(labels)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([k, v]) => `${k}="${v}"`)
      .join(',');
    return `${name}${text === '' ? '' : `{${text}}`} ${metricNumber(value)}\n`;
  });
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
}

const plain = (value: number): Sample[] => [{ labels: {}, value }];

/** Two samples, received and sent. */
const both = (rx: number, tx: number, labels: Sample['labels'] = {}): Sample[] => [
  { labels: { direction: 'rx', ...labels }, value: rx },
  { labels: { direction: 'tx', ...labels }, value: tx },
];

export function metricsText(s: Service): string {
  return [...nodeFamilies(s), ...controllerFamilies(s), ...ownFamilies(s)].join('');
}

function nodeFamilies(s: Service): string[] {
  const udp = s.udp.counters;
  const tcp = s.underlay.relay.counters;
  const networks = [...s.links.keys()].sort((a, b) => (a < b ? -1 : 1));
  return [
    family('zt_packet', 'counter', 'packets by type', packetTypes(s)),
    family('zt_packet_error', 'counter', 'errors by type', errorTypes(s)),
    family('zt_data', 'counter', 'bytes of datagrams', [
      ...both(udp.bytesIn, udp.bytesOut, { protocol: 'udp' }),
      ...both(tcp.bytesIn, tcp.bytesOut, { protocol: 'tcp' }),
    ]),
    family('zt_num_networks', 'gauge', 'joined networks', plain(networks.length)),
    family(
      'zt_network_multicast_groups_subscribed',
      'gauge',
      'multicast groups subscribed',
      networks.map((nwid) => ({
        labels: { network_id: networkIdText(nwid) },
        value: s.node.vl2.network(nwid)?.allGroups().length ?? 0,
      })),
    ),
    latencyFamily(s),
    family('zt_peer_path_count', 'gauge', 'paths of a peer', pathCounts(s)),
    family('zt_peer_packets', 'counter', 'packets of a peer', peerPackets(s)),
    family('zt_peer_packet_errors', 'counter', 'errors from a peer', peerErrors(s)),
  ];
}

function packetTypes(s: Service): Sample[] {
  const { rx, tx } = s.node.vl1.state.traffic;
  return PACKET_TYPES.flatMap(([packet_type, verb]) => both(rx[verb]!, tx[verb]!, { packet_type }));
}

function errorTypes(s: Service): Sample[] {
  const { rxErrors, txErrors } = s.node.vl1.state.traffic;
  return ERROR_TYPES.flatMap(([error_type, code]) =>
    both(code === undefined ? 0 : rxErrors[code]!, code === undefined ? 0 : txErrors[code]!, {
      error_type,
    }),
  );
}

const peersOf = (s: Service): Peer[] =>
  [...s.node.vl1.state.peers.values()].sort((a, b) => a.address - b.address);

function peerPackets(s: Service): Sample[] {
  return peersOf(s).flatMap((p) =>
    both(p.packetsIn, p.packetsOut, { node_id: addressText(p.address) }),
  );
}

function peerErrors(s: Service): Sample[] {
  return peersOf(s).map((p) => ({
    labels: { node_id: addressText(p.address) },
    value: p.errorsIn,
  }));
}

/** A histogram per peer: count, sum, then the buckets, each with those below it. */
function latencyFamily(s: Service): string {
  const name = 'zt_peer_latency';
  const lines = peersOf(s).flatMap((p) => {
    const node = `node_id="${addressText(p.address)}"`;
    const h = p.latencies;
    let below = 0;
    const buckets = [...LATENCY_BOUNDS, Number.POSITIVE_INFINITY].map((bound, i) => {
      below += h.buckets[i]!;
      const le = bound === Number.POSITIVE_INFINITY ? '+Inf' : String(bound);
      return `${name}_bucket{le="${le}",${node}} ${metricNumber(below)}\n`;
    });
    return [
      `${name}_count{${node}} ${metricNumber(h.count)}\n`,
      `${name}_sum{${node}} ${metricNumber(h.sum)}\n`,
      ...buckets,
    ];
  });
  if (lines.length === 0) return '';
  return `# HELP ${name} latency of a peer, in ms\n# TYPE ${name} histogram\n${lines.join('')}`;
}

function pathCounts(s: Service): Sample[] {
  const now = performance.now();
  return peersOf(s).flatMap((p) => {
    const alive = p.slots.filter((x) => x.path.isAlive(now)).length;
    const labels = { node_id: addressText(p.address) };
    return [
      { labels: { ...labels, status: 'alive' }, value: alive },
      { labels: { ...labels, status: 'dead' }, value: p.slots.length - alive },
    ];
  });
}

function controllerFamilies(s: Service): string[] {
  const ids = s.controller.networkIds();
  const members = ids.reduce((n, id) => n + (s.controller.memberRecords(id)?.length ?? 0), 0);
  return [
    family('controller_network_count', 'gauge', 'networks of this controller', plain(ids.length)),
    family(
      'controller_member_count',
      'gauge',
      'members of networks of this controller',
      plain(members),
    ),
  ];
}

/** One sample per counter of each network. */
function ofNetworks(
  s: Service,
  counters: (link: NetworkLink) => Readonly<Record<string, number>>,
): Sample[] {
  return [...s.links].flatMap(([nwid, link]) =>
    Object.entries(counters(link)).map(([counter, value]) => ({
      labels: { counter, network_id: networkIdText(nwid) },
      value,
    })),
  );
}

function ofAll(s: Service): Sample[] {
  return Object.entries(s.all.counters()).map(([counter, value]) => ({
    labels: { counter, network_id: 'all' },
    value,
  }));
}

function ownFamilies(s: Service): string[] {
  const udp = s.udp.counters;
  const events = {
    ...s.node.vl1.state.counters.snapshot(),
    ...s.node.vl2.context.counters.snapshot(),
    ...s.controller.counters.snapshot(),
  };
  return [
    family(
      'netcon_datagrams',
      'counter',
      'datagrams at the UDP sockets',
      both(udp.datagramsIn, udp.datagramsOut),
    ),
    family(
      'netcon_events',
      'counter',
      'packets dropped and other events, by name',
      Object.entries(events)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([event, value]) => ({ labels: { event }, value })),
    ),
    family(
      'netcon_stack',
      'gauge',
      "pools in use and drops of a network's TCP/IP stack, by name",
      ofNetworks(s, (link) => link.stackCounters()),
    ),
    family(
      'netcon_preload',
      'gauge',
      'sockets, listeners and ports that programs hold of a network, by name',
      [...ofNetworks(s, (link) => link.preloadCounters()), ...ofAll(s)],
    ),
  ];
}

/**
 * Keeps `HOME/metrics.prom` up to date, for collectors that read files. Replaced by renaming, so a
 * reader never sees half of it; not synced, since it is worthless after a crash.
 */
export class MetricsFile {
  readonly #service: Service;
  readonly #timer: NodeJS.Timeout;
  #writing: Promise<void> | undefined;
  #hasFailed = false;

  constructor(service: Service) {
    this.#service = service;
    this.#timer = setInterval(() => this.#write(), WRITE_MS);
    this.#write();
  }

  #write(): void {
    this.#writing ??= this.#replace().finally(() => {
      this.#writing = undefined;
    });
  }

  async #replace(): Promise<void> {
    const path = this.#service.home.path('metrics.prom');
    try {
      await writeFile(`${path}.tmp`, metricsText(this.#service));
      await rename(`${path}.tmp`, path);
      this.#hasFailed = false;
    } catch (e) {
      if (!this.#hasFailed) this.#service.log('warning', `metrics.prom: ${(e as Error).message}`);
      this.#hasFailed = true;
    }
  }

  /** Resolves when nothing is being written any more. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#writing;
  }
}
