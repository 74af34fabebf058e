/** What of sockets and paths only a real node can confirm. */
import { trafficBetween } from '../lab/capture.js';
import { type JsonObject, type Lab, type LabNode, type NodeSpec, until } from '../lab/lab.js';
import { expect } from './rows.js';
import { online, story } from './story.js';

const PINGS = 10;
const TRUSTED_ID = 101;
/** Packets of a trusted path: neither sealed nor authenticated. */
const SUITE_TRUSTED = 2;

const NODES: readonly NodeSpec[] = [
  { name: 'root', kind: 'real' },
  { name: 'peer', kind: 'real' },
  { name: 'us', kind: 'ours' },
];

/** Starts all with these settings and lets the two members join. Returns our address. */
async function members(lab: Lab, settings: JsonObject, physical: JsonObject): Promise<string> {
  const [root, peer, us] = lab.nodes as [LabNode, LabNode, LabNode];
  root.start(settings);
  for (const n of [peer, us]) n.start(settings, { physical });
  await online(root, peer, us);
  const nwid = await lab.createNetwork(root, 0xa1, { private: false });
  for (const n of [peer, us]) await n.api('POST', `/network/${nwid}`, {});
  await peer.ipv4(nwid, 60_000);
  return us.ipv4(nwid, 60_000);
}

async function ping(peer: LabNode, address: string): Promise<void> {
  await until(`${address} answers`, 30_000, async () => {
    await peer.run(['ping', '-c', '1', '-W', '1', address]);
    return true;
  });
  await peer.run(['ping', '-c', String(PINGS), '-i', '0.3', address]);
}

async function paths(from: LabNode, to: LabNode): Promise<JsonObject[]> {
  return ((await from.api('GET', `/peer/${to.address}`)) as JsonObject)['paths'] as JsonObject[];
}

export const realPorts = story('three ports of each node', NODES, async (lab, row) => {
  const settings = { allowSecondaryPort: true, portMappingEnabled: true };
  const address = await members(lab, settings, {});
  const [root, peer, us] = lab.nodes as [LabNode, LabNode, LabNode];
  await row('a path for each, from both sides, of members and root', async () => {
    await ping(peer, address);
    for (const [from, to] of [
      [peer, us],
      [us, peer],
      [us, root],
      [root, us],
    ] as const)
      await until(`three paths of ${from.name}`, 60_000, async () =>
        (await paths(from, to)).length === 3 ? true : undefined,
      );
    return 'three paths each';
  });
});

export const trustedPaths = story('trusted paths between the members', NODES, async (lab, row) => {
  // The members alone: towards their root the reference could not use WHOIS.
  const physical = Object.fromEntries(
    lab.nodes.slice(1).map((n) => [`${n.ip}/32`, { trustedPathId: TRUSTED_ID }]),
  );
  const address = await members(lab, {}, physical);
  const [, peer, us] = lab.nodes as [LabNode, LabNode, LabNode];
  await row('packets pass in clear both ways', async () => {
    for (const [from, to] of [
      [peer, us],
      [us, peer],
    ] as const)
      await until(`a trusted path of ${from.name}`, 40_000, async () => {
        await ping(peer, address);
        return (await paths(from, to))[0]?.['trustedPathId'] === TRUSTED_ID ? true : undefined;
      });
    const capture = await lab.capture();
    await ping(peer, address);
    const traffic = trafficBetween(await capture.stop(), us, peer);
    const counts = traffic.suites.map((s) => s[SUITE_TRUSTED] ?? 0);
    expect(
      counts.every((n) => n >= PINGS),
      `packets in clear: ${counts.join(' and ')}`,
    );
    return { detail: `${counts.join(' and ')} packets of suite 2`, traffic };
  });
});
