/** Metrics in Prometheus text format [4 section 10], as far as this service counts them. */
import type { Service } from '../host/service.js';
import { addressText, networkIdText } from '../wire/address.js';

interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

function family(name: string, type: string, help: string, samples: readonly Sample[]): string {
  if (samples.length === 0) return '';
  const lines = samples.map(({ labels, value }) => {
    const text = Object.entries(labels)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([k, v]) => `${k}="${v}"`)
      .join(',');
    return `${name}${text === '' ? '' : `{${text}}`} ${value}\n`;
  });
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
}

const plain = (value: number): Sample[] => [{ labels: {}, value }];

export function metricsText(s: Service): string {
  const udp = s.udp.counters;
  const now = performance.now();
  const peers = [...s.node.vl1.state.peers.values()];
  const networks = [...s.links.keys()].sort((a, b) => (a < b ? -1 : 1));
  const drops = {
    ...s.node.vl1.state.counters.snapshot(),
    ...s.node.vl2.context.counters.snapshot(),
  };
  return [
    family('zt_data', 'counter', 'bytes of datagrams', [
      { labels: { direction: 'rx', protocol: 'udp' }, value: udp.bytesIn },
      { labels: { direction: 'tx', protocol: 'udp' }, value: udp.bytesOut },
    ]),
    family('netcon_datagrams', 'counter', 'datagrams at the UDP sockets', [
      { labels: { direction: 'rx' }, value: udp.datagramsIn },
      { labels: { direction: 'tx' }, value: udp.datagramsOut },
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
    family(
      'zt_peer_path_count',
      'gauge',
      'paths of a peer',
      peers.flatMap((p) => {
        const alive = p.slots.filter((x) => x.path.isAlive(now)).length;
        return [
          { labels: { node_id: addressText(p.address), status: 'alive' }, value: alive },
          {
            labels: { node_id: addressText(p.address), status: 'dead' },
            value: p.slots.length - alive,
          },
        ];
      }),
    ),
    family(
      'netcon_stack',
      'gauge',
      'counters and pools in use of a TCP/IP stack, by name',
      networks.flatMap((nwid) =>
        Object.entries(s.links.get(nwid)?.stack.counters() ?? {}).map(([counter, value]) => ({
          labels: { network_id: networkIdText(nwid), counter },
          value,
        })),
      ),
    ),
    family(
      'controller_network_count',
      'gauge',
      'networks of this controller',
      plain(s.controller.networkIds().length),
    ),
    family(
      'controller_member_count',
      'gauge',
      'members of networks of this controller',
      plain(
        s.controller
          .networkIds()
          .reduce((n, id) => n + (s.controller.memberRecords(id)?.length ?? 0), 0),
      ),
    ),
    family(
      'netcon_events',
      'counter',
      'packets dropped and other events, by name',
      Object.entries(drops)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([event, value]) => ({ labels: { event }, value })),
    ),
  ].join('');
}
