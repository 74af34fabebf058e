/**
 * What happens once: moons, several roots and networks, restarts, a controller's folder taken over,
 * bridges, planet updates.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import {
  type Json,
  type JsonObject,
  type Kind,
  type Lab,
  type LabNode,
  type NodeSpec,
  until,
} from '../lab/lab.js';
import { addAddress, addCable, inside, ip } from '../lab/net.js';
import { expect } from './rows.js';
import { realPorts, trustedPaths } from './sockets.js';
import { online, startAll, story } from './story.js';

const HELPER = new URL('./traffic.js', import.meta.url).pathname;
const PORT = 9200;
/** A leaf of ours is back at a restarted root within this (0-architecture, decision 10). */
const RETURN_MS = 10_000;

/** All named nodes join a public network of a controller. */
async function joinAll(
  lab: Lab,
  controller: LabNode,
  nodes: readonly LabNode[],
  number = 0xa1,
  settings: JsonObject = {},
): Promise<string> {
  const nwid = await lab.createNetwork(controller, number, { private: false, ...settings });
  for (const n of nodes) await n.api('POST', `/network/${nwid}`, {});
  for (const n of nodes) await n.ipv4(nwid, 40_000);
  return nwid;
}

async function answers(from: LabNode, address: string, ms = 30_000): Promise<number> {
  const start = performance.now();
  await until(`${address} answers ${from.name}`, ms, async () => {
    await from.run(['ping', '-c', '1', '-W', '1', address]);
    return true;
  });
  return performance.now() - start;
}

const env = (n: LabNode, nwid: string): NodeJS.ProcessEnv =>
  n.kind === 'ours' ? n.onNetwork(nwid) : {};

function serve(n: LabNode, nwid: string, port = PORT): void {
  n.spawn([process.execPath, HELPER, 'serve', String(port)], env(n, nwid));
}

async function reaches(
  from: LabNode,
  nwid: string,
  address: string,
  port = PORT,
  ms = 4_000,
): Promise<boolean> {
  const command = [process.execPath, HELPER, 'reach', address, String(port), String(ms)];
  return String(await from.run(command, env(from, nwid))).trim() === 'open';
}

async function connects(from: LabNode, nwid: string, address: string, port = PORT): Promise<void> {
  await until(`${from.name} reaches ${address}:${port}`, 30_000, async () =>
    (await reaches(from, nwid, address, port)) ? true : undefined,
  );
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

async function moonOf(n: LabNode, id: string): Promise<JsonObject> {
  return (await n.api('GET', `/moon/${id}`)) as JsonObject;
}

/**
 * ms; a real node divides the silence of an upstream by whole minutes before it weighs its latency,
 * so that a root that is gone is preferred for 61 s, and with a slower moon for 122 s; then come
 * its two turns of WHOIS and the retry of ping.
 */
const ROOT_GIVEN_UP_MS = 200_000;

function moon(kind: Kind): ReturnType<typeof story> {
  const name = `a moon of ${kind === 'real' ? 'their' : 'our'} node`;
  const nodes: NodeSpec[] = [
    { name: 'root', kind: 'real' },
    { name: 'moon', kind },
    { name: 'peer', kind: 'real' },
    { name: 'us', kind: 'ours' },
  ];
  return story(name, nodes, async (lab, row) => {
    const [root, moon, peer, us] = ['root', 'moon', 'peer', 'us'].map((n) => lab.node(n));
    const made = Date.now() - 60_000;
    lab.writeMoon(moon!, made, [moon!]);
    us!.refuse([peer!]);
    peer!.refuse([us!]);
    await startAll(lab);
    await row('orbited by seed, received in band', async () => {
      const out: string[] = [];
      for (const n of [us!, peer!]) {
        const from = performance.now();
        await n.api('POST', `/moon/${moon!.address}`, { seed: moon!.address });
        await until(`${n.name} has the moon`, 60_000, async () =>
          (await moonOf(n, moon!.address))['timestamp'] === made ? true : undefined,
        );
        out.push(`${n.name} after ${seconds(performance.now() - from)}`);
      }
      return out.join(', ');
    });
    const nwid = await joinAll(lab, moon!, [us!, peer!]);
    await row('the moon relays when the root is gone', async () => {
      await root!.stop('SIGKILL');
      const took = await answers(peer!, await us!.ipv4(nwid), ROOT_GIVEN_UP_MS);
      serve(peer!, nwid);
      await connects(us!, nwid, await peer!.ipv4(nwid));
      return `ping after ${seconds(took)}, TCP from us`;
    });
    await row('a newer moon reaches our leaf in band', async () => {
      await moon!.stop();
      lab.writeMoon(moon!, made + 1_000, [moon!]);
      moon!.start();
      const from = performance.now();
      await until('the newer moon', 90_000, async () =>
        (await moonOf(us!, moon!.address))['timestamp'] === made + 1_000 ? true : undefined,
      );
      return `after ${seconds(performance.now() - from)}`;
    });
    await row('deorbited', async () => {
      await us!.api('DELETE', `/moon/${moon!.address}`);
      expect(Object.keys(await moonOf(us!, moon!.address)).length === 0, 'the moon is still held');
      return 'its record and its file are gone';
    });
  });
}

const twoRoots = story(
  'two roots, theirs and ours',
  [
    { name: 'root', kind: 'real', root: true },
    { name: 'root2', kind: 'ours', root: true },
    { name: 'peer', kind: 'real' },
    { name: 'us', kind: 'ours' },
  ],
  async (lab, row) => {
    const [root, root2, peer, us] = ['root', 'root2', 'peer', 'us'].map((n) => lab.node(n));
    us!.refuse([root!, peer!]);
    root!.refuse([us!]);
    peer!.refuse([root2!, us!]);
    root2!.refuse([peer!]);
    await startAll(lab);
    const nwid = await joinAll(lab, root!, [us!, peer!]);
    const address = await us!.ipv4(nwid);
    await row('each member reaches one root only; packets cross both', async () => {
      await answers(peer!, address);
      const capture = await lab.capture();
      await peer!.run(['ping', '-q', '-c', '20', '-i', '0.1', address]);
      const seen = await capture.stop();
      const crossed = (to: LabNode, by: LabNode): number =>
        seen.filter((d) => d.destination === to.address && d.hops === 2 && d.from === by.ip).length;
      const [there, back] = [crossed(us!, root2!), crossed(peer!, root!)];
      expect(there >= 20 && back >= 20, `${there} and ${back} packets of two hops`);
      return `${there} packets to us and ${back} to the peer arrived with two hops`;
    });
  },
);

async function hasPathTo(at: LabNode, leaf: LabNode): Promise<boolean> {
  const peers = (await at.api('GET', '/peer')) as JsonObject[];
  const paths = peers.find((p) => p['address'] === leaf.address)?.['paths'] as
    | JsonObject[]
    | undefined;
  return paths?.some((p) => p['active'] === true && p['expired'] !== true) ?? false;
}

function rootRestart(kind: Kind): ReturnType<typeof story> {
  const nodes: NodeSpec[] = [
    { name: 'root', kind },
    { name: 'peer', kind: 'real' },
    { name: 'us', kind: 'ours' },
  ];
  return story(`${kind === 'real' ? 'their' : 'our'} root restarts`, nodes, async (lab, row) => {
    const [root, peer, us] = ['root', 'peer', 'us'].map((n) => lab.node(n));
    await startAll(lab);
    const back = async (leaf: LabNode, ms: number): Promise<string> => {
      const from = performance.now();
      await until(`${leaf.name} is back`, ms, async () =>
        (await hasPathTo(root!, leaf)) ? true : undefined,
      );
      return `${leaf.name} after ${seconds(performance.now() - from)}`;
    };
    await row('killed, its memory of peers lost: our leaf is back within 10 s', async () => {
      await root!.stop('SIGKILL');
      rmSync(join(root!.home, 'peers.d'), { recursive: true, force: true });
      root!.start();
      return back(us!, RETURN_MS);
    });
    // A real leaf comes back by its next HELLO alone, up to 225 s later: make it known again.
    await peer!.stop();
    peer!.start();
    await until('the root has the peer', 30_000, async () =>
      (await hasPathTo(root!, peer!)) ? true : undefined,
    );
    if (kind === 'ours')
      await row('killed, its memory of peers kept: their leaf and ours are back', async () => {
        await until('the peer is remembered', 30_000, async () =>
          readdirSync(join(root!.home, 'peers.d')).some((f) => f.startsWith(peer!.address))
            ? true
            : undefined,
        );
        await root!.stop('SIGKILL');
        root!.start();
        return `${await back(us!, RETURN_MS)}, ${await back(peer!, 30_000)}`;
      });
  });
}

function controllerRestart(kind: Kind): ReturnType<typeof story> {
  const nodes: NodeSpec[] = [
    { name: 'root', kind: 'real' },
    { name: 'ctl', kind },
    { name: 'peer', kind: 'real' },
    { name: 'us', kind: 'ours' },
  ];
  const name = `${kind === 'real' ? 'their' : 'our'} controller is away and returns`;
  return story(name, nodes, async (lab, row) => {
    const [ctl, peer, us] = ['ctl', 'peer', 'us'].map((n) => lab.node(n));
    await startAll(lab);
    const nwid = await joinAll(lab, ctl!, [us!, peer!]);
    const address = await us!.ipv4(nwid);
    await answers(peer!, address);
    await row('our member starts with its stored configuration while it is away', async () => {
      await ctl!.stop('SIGKILL');
      await us!.stop();
      us!.start();
      const again = await us!.ipv4(nwid);
      expect(again === address, `another address: ${again}`);
      return `the same address; the peer's ping after ${seconds(await answers(peer!, address))}`;
    });
    await row('after its return a changed configuration reaches both', async () => {
      ctl!.start();
      await online(ctl!);
      const from = performance.now();
      await until('the controller answers', 10_000, () =>
        ctl!.api('POST', `/controller/network/${nwid}`, { name: 'after' }),
      );
      for (const n of [us!, peer!])
        await until(`${n.name} has the change`, 100_000, async () =>
          (await n.network(nwid))['name'] === 'after' ? true : undefined,
        );
      return `after ${seconds(performance.now() - from)}`;
    });
  });
}

const threeNetworks = story(
  'three networks at once, of two controllers',
  [
    { name: 'root', kind: 'real' },
    { name: 'ctl', kind: 'ours' },
    { name: 'peer', kind: 'real' },
    { name: 'us', kind: 'ours' },
  ],
  async (lab, row) => {
    const [root, ctl, peer, us] = ['root', 'ctl', 'peer', 'us'].map((n) => lab.node(n));
    await startAll(lab);
    const ids: string[] = [];
    for (const [controller, number] of [
      [root!, 0xa1],
      [ctl!, 0xb2],
      [ctl!, 0xc3],
    ] as const)
      ids.push(await joinAll(lab, controller, [us!, peer!], number));
    await row('the same port on each, TCP both ways', async () => {
      for (const nwid of ids) serve(us!, nwid);
      serve(peer!, ids[0]!);
      for (const nwid of ids) {
        await connects(peer!, nwid, await us!.ipv4(nwid));
        await connects(us!, nwid, await peer!.ipv4(nwid));
      }
      return ids.join(', ');
    });
    await row('a program sees its own network only', async () => {
      const foreign = await peer!.ipv4(ids[1]!);
      expect(!(await reaches(us!, ids[0]!, foreign, PORT, 2_000)), 'the other network was reached');
      return `${foreign} is not reached through ${ids[0]}`;
    });
    await row('leaving one leaves the others', async () => {
      await us!.api('DELETE', `/network/${ids[1]}`);
      for (const nwid of [ids[0]!, ids[2]!]) await connects(peer!, nwid, await us!.ipv4(nwid));
      return 'TCP goes on in two';
    });
  },
);

/** The controller's view of a network and its members, without what changes by itself. */
async function records(ctl: LabNode, nwid: string): Promise<Json> {
  const net = (await ctl.api('GET', `/controller/network/${nwid}`)) as JsonObject;
  const list = (await ctl.api('GET', `/controller/network/${nwid}/member`)) as JsonObject;
  const members: JsonObject = {};
  for (const address of Object.keys(list).sort())
    members[address] = await ctl.api('GET', `/controller/network/${nwid}/member/${address}`);
  return { net, members };
}

const takenOver = story(
  "a real controller's folder taken over, and given back",
  [
    { name: 'root', kind: 'real' },
    { name: 'ctl', kind: 'real' },
    { name: 'peer', kind: 'real' },
    { name: 'late', kind: 'real' },
    { name: 'us', kind: 'ours' },
  ],
  async (lab, row) => {
    const [ctl, peer, late, us] = ['ctl', 'peer', 'late', 'us'].map((n) => lab.node(n));
    await startAll(lab);
    const nwid = await lab.createNetwork(ctl!, 0xa1, {
      private: true,
      v6AssignMode: { rfc4193: true, '6plane': true, zt: false },
      tags: [{ id: 1000, default: 7 }],
      capabilities: [{ id: 1, default: true, rules: [{ type: 'ACTION_ACCEPT' }] }],
    });
    const admit = async (n: LabNode): Promise<void> => {
      await n.api('POST', `/network/${nwid}`, {});
      await n.status(nwid, 'ACCESS_DENIED');
      await ctl!.api('POST', `/controller/network/${nwid}/member/${n.address}`, {
        authorized: true,
        tags: [[1000, 9]],
      });
      await n.ipv4(nwid, 40_000);
    };
    for (const n of [peer!, us!]) await admit(n);
    const address = await us!.ipv4(nwid);
    await answers(peer!, address);
    const change = async (kind: Kind): Promise<void> => {
      await ctl!.stop();
      ctl!.kind = kind;
      ctl!.start();
      await online(ctl!);
    };
    let before = JSON.stringify(await records(ctl!, nwid));
    const same = async (): Promise<string> => {
      const now = JSON.stringify(await records(ctl!, nwid));
      expect(now === before, `${before}\n${now}`);
      return `${now.length} bytes of records equal`;
    };
    await row('our controller shows the same records', async () => {
      await change('ours');
      return same();
    });
    await row('its members stay, a new one is admitted', async () => {
      await admit(late!);
      await answers(late!, address);
      await answers(peer!, address);
      return `${late!.name} has ${await late!.ipv4(nwid)}`;
    });
    before = JSON.stringify(await records(ctl!, nwid));
    await row('the real controller reads the folder again', async () => {
      await change('real');
      const text = await same();
      await answers(late!, address);
      return text;
    });
  },
);

const planetUpdate = story(
  'the planet is updated in band',
  [
    { name: 'root', kind: 'ours' },
    { name: 'root2', kind: 'real', root: false },
    { name: 'peer', kind: 'real' },
    { name: 'us', kind: 'ours' },
  ],
  async (lab, row) => {
    const [root, root2, peer, us] = ['root', 'root2', 'peer', 'us'].map((n) => lab.node(n));
    await startAll(lab);
    await row(
      'a second root joins: our leaf learns it, their leaf with its next HELLO',
      async () => {
        const newer = Date.now() + 5_000;
        for (const n of [root!, root2!]) await n.stop();
        lab.writePlanet([root!, root2!], newer, [root!, root2!]);
        for (const n of [root!, root2!]) n.start();
        const knows = async (n: LabNode): Promise<true | undefined> =>
          ((await n.api('GET', '/status')) as JsonObject)['planetWorldTimestamp'] === newer
            ? true
            : undefined;
        const from = performance.now();
        await until('our leaf knows', 90_000, () => knows(us!));
        const ours = performance.now() - from;
        await peer!.stop();
        peer!.start();
        await until('their leaf knows', 30_000, () => knows(peer!));
        const stored = readFileSync(join(us!.home, 'planet'));
        expect(stored.equals(readFileSync(join(root!.home, 'planet'))), 'stored otherwise');
        return `ours after ${seconds(ours)}, stored as it was signed`;
      },
    );
  },
);

const bridge = story(
  'a host behind a real bridge',
  [
    { name: 'root', kind: 'real' },
    { name: 'peer', kind: 'real' },
    { name: 'us', kind: 'ours' },
  ],
  async (lab, row) => {
    const [root, peer, us] = ['root', 'peer', 'us'].map((n) => lab.node(n));
    await startAll(lab);
    const nwid = await joinAll(lab, root!, [us!, peer!]);
    await root!.api('POST', `/controller/network/${nwid}/member/${peer!.address}`, {
      activeBridge: true,
    });
    await until('the peer may bridge', 20_000, async () =>
      (await peer!.network(nwid))['bridge'] === true ? true : undefined,
    );
    // Members learn of bridges from their own configuration, pushed when the network changes.
    await root!.api('POST', `/controller/network/${nwid}`, { name: 'bridged' });
    await until('we know of the bridge', 20_000, async () =>
      (await us!.network(nwid))['name'] === 'bridged' ? true : undefined,
    );
    const device = String((await peer!.network(nwid))['portDeviceName']);
    const host = lab.extraNamespace('host');
    ip('-n', peer!.ns, 'link', 'add', 'br1', 'type', 'bridge');
    ip('-n', peer!.ns, 'link', 'set', 'br1', 'up');
    ip('-n', peer!.ns, 'link', 'set', device, 'master', 'br1');
    addCable(host, 'lan0', peer!.ns, 'lan', 'br1');
    addAddress(host, 'lan0', '10.91.161.5', 4);
    await row('it pings us, we connect to it', async () => {
      const address = await us!.ipv4(nwid);
      await until('the host pings us', 30_000, () => {
        inside(host, 'ping', ['-c', '1', '-W', '1', address]);
        return true;
      });
      lab.spawnIn(host, [process.execPath, HELPER, 'serve', String(PORT)]);
      await connects(us!, nwid, '10.91.161.5');
      return `10.91.161.5 behind ${peer!.address}`;
    });
  },
);

const adhoc = story(
  'an ad-hoc network',
  [
    { name: 'root', kind: 'real' },
    { name: 'peer', kind: 'real' },
    { name: 'us', kind: 'ours' },
  ],
  async (lab, row) => {
    const [peer, us] = ['peer', 'us'].map((n) => lab.node(n));
    await startAll(lab);
    const nwid = 'ff23f023f1000000';
    for (const n of [us!, peer!]) {
      await n.api('POST', `/network/${nwid}`, {});
      await n.status(nwid, 'OK');
    }
    const [ours, theirs] = [await us!.ipv6(nwid, 'fc'), await peer!.ipv6(nwid, 'fc')];
    await row('TCP to a port inside its range both ways, none to one outside', async () => {
      for (const n of [us!, peer!]) for (const port of [9200, 9202]) serve(n, nwid, port);
      await connects(us!, nwid, theirs, 9200);
      await connects(peer!, nwid, ours, 9200);
      expect(!(await reaches(us!, nwid, theirs, 9202, 2_000)), 'we reached port 9202');
      expect(!(await reaches(peer!, nwid, ours, 9202, 2_000)), 'the peer reached port 9202');
      return `${ours} and ${theirs}, ports 9200 to 9201`;
    });
  },
);

export const eventScenarios: readonly (readonly [string, () => Promise<void>])[] = [
  moon('real'),
  moon('ours'),
  twoRoots,
  rootRestart('real'),
  rootRestart('ours'),
  controllerRestart('real'),
  controllerRestart('ours'),
  threeNetworks,
  takenOver,
  planetUpdate,
  bridge,
  adhoc,
  realPorts,
  trustedPaths,
];
