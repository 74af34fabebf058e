/**
 * Real programs and bulk traffic between a preloaded program on our node and a real ZeroTier One,
 * with both cipher suites, under their root and controller and under ours.
 */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { trafficBetween } from '../lab/capture.js';
import { type Kind, Lab, type LabNode, until } from '../lab/lab.js';
import { check, expect, isQuick, scenarioFailed, suitesText } from './rows.js';

const GROUP = 'programs';
const HELPER = new URL('./traffic.js', import.meta.url).pathname;
const EXAMPLE = new URL('../../../examples/httpserver.js', import.meta.url).pathname;
const BULK = isQuick ? 20_000_000 : 200_000_000;
const PARALLEL = isQuick ? 40 : 200;

async function ping(from: LabNode, to: string): Promise<string> {
  await until(`${to} answers a ping`, 30_000, async () => {
    await from.run(['ping', '-c', '1', '-W', '1', to]);
    return true;
  });
  const out = (await from.run(['ping', '-q', '-c', '100', '-i', '0.02', to])).toString();
  expect(out.includes(' 100 received'), out.slice(-200));
  return /rtt .*/.exec(out)?.[0] ?? '';
}

/** A server program under the preload on `us`, ended after `use`. */
async function serving(
  us: LabNode,
  nwid: string,
  command: string[],
  ready: () => Promise<unknown>,
  use: () => Promise<string>,
): Promise<string> {
  const child = us.spawn(command, us.onNetwork(nwid));
  try {
    await until(`${command[0]} serves`, 15_000, async () => {
      await ready();
      return true;
    });
    return await use();
  } finally {
    const gone = new Promise<void>((r) =>
      child.exitCode === null && child.signalCode === null ? child.once('exit', () => r()) : r(),
    );
    child.kill('SIGTERM');
    const forced = setTimeout(() => child.kill('SIGKILL'), 5_000);
    await gone;
    clearTimeout(forced);
  }
}

const curl = (node: LabNode, url: string, env: NodeJS.ProcessEnv = {}): Promise<Buffer> =>
  node.run(['curl', '-sS', '--fail', '-m', '20', url], env);

const digest = (b: Buffer): string => createHash('sha256').update(b).digest('hex');

async function programs(
  s: string,
  lab: Lab,
  us: LabNode,
  peer: LabNode,
  nwid: string,
  ourIp: string,
  peerIp: string,
): Promise<void> {
  const www = join(lab.dir, 'www');
  mkdirSync(www, { recursive: true });
  const content = randomBytes(1_000_000);
  writeFileSync(join(www, 'file.bin'), content);

  await check(GROUP, s, 'curl from the peer to python3 -m http.server under the preload', () =>
    serving(
      us,
      nwid,
      ['python3', '-m', 'http.server', '8001', '--directory', www],
      () => curl(peer, `http://${ourIp}:8001/`),
      async () => {
        expect(
          digest(await curl(peer, `http://${ourIp}:8001/file.bin`)) === digest(content),
          'content differs',
        );
        return '1 MB, SHA-256 equal';
      },
    ),
  );
  await check(GROUP, s, 'curl from the peer to node examples/httpserver.js under the preload', () =>
    serving(
      us,
      nwid,
      [process.execPath, EXAMPLE, '8002'],
      () => curl(peer, `http://${ourIp}:8002/`),
      async () => (await curl(peer, `http://${ourIp}:8002/`)).toString().trim(),
    ),
  );
  await nginx(s, lab, us, peer, nwid, ourIp, www, content);
  await redis(s, us, peer, nwid, ourIp);
  await check(GROUP, s, 'curl under the preload to nginx on the peer', async () => {
    if (!existsSync('/usr/sbin/nginx')) return 'SKIPPED: nginx is not installed';
    const conf = nginxConf(lab, 'peer', `${peerIp}:8010`, www);
    const child = peer.spawn(['/usr/sbin/nginx', '-c', conf, '-g', 'daemon off;']);
    try {
      const body = await until('nginx on the peer', 10_000, () =>
        curl(us, `http://${peerIp}:8010/file.bin`, us.onNetwork(nwid)),
      );
      expect(digest(body) === digest(content), 'content differs');
      return '1 MB, SHA-256 equal';
    } finally {
      child.kill('SIGTERM');
    }
  });
}

function nginxConf(lab: Lab, name: string, listen: string, www: string): string {
  const dir = join(lab.dir, `nginx-${name}`);
  mkdirSync(dir, { recursive: true });
  const conf = join(dir, 'nginx.conf');
  const temps = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((t) => `${t}_temp_path ${dir}/${t};`)
    .join(' ');
  writeFileSync(
    conf,
    `user root; worker_processes 2; pid ${dir}/pid; error_log ${dir}/error.log;
env LD_PRELOAD; env ZT_NC_NETWORK;
events { worker_connections 1024; }
http { access_log off; ${temps} server { listen ${listen}; location / { root ${www}; } } }\n`,
  );
  return conf;
}

/** Debian's default site, as the package installs it, under a main configuration of our own. */
function debianSite(lab: Lab): string {
  const dir = join(lab.dir, 'nginx-debian');
  mkdirSync(dir, { recursive: true });
  const conf = join(dir, 'nginx.conf');
  writeFileSync(
    conf,
    `user www-data; worker_processes 2; pid ${dir}/pid; error_log ${dir}/error.log;
env LD_PRELOAD; env ZT_NC_NETWORK;
events { worker_connections 1024; }
http { access_log off; include /etc/nginx/mime.types; include /etc/nginx/sites-available/default; }\n`,
  );
  return conf;
}

async function nginx(
  s: string,
  lab: Lab,
  us: LabNode,
  peer: LabNode,
  nwid: string,
  ourIp: string,
  www: string,
  content: Buffer,
): Promise<void> {
  if (!existsSync('/usr/sbin/nginx')) {
    console.log('SKIPPED: nginx under the preload: nginx is not installed');
    return;
  }
  const command = (conf: string): string[] => ['/usr/sbin/nginx', '-c', conf, '-g', 'daemon off;'];
  await check(
    GROUP,
    s,
    "curl from the peer to nginx with Debian's default site under the preload",
    () =>
      serving(
        us,
        nwid,
        command(debianSite(lab)),
        () => curl(peer, `http://${ourIp}/`),
        async () => {
          const page = (await curl(peer, `http://${ourIp}/`)).toString();
          expect(
            page === readFileSync('/var/www/html/index.nginx-debian.html', 'utf8'),
            page.slice(0, 200),
          );
          return 'its welcome page';
        },
      ),
  );
  await check(GROUP, s, 'curl from the peer to nginx (2 workers) under the preload', () =>
    serving(
      us,
      nwid,
      command(nginxConf(lab, 'ours', '80', www)),
      () => curl(peer, `http://${ourIp}/file.bin`),
      async () => {
        for (let i = 0; i < 20; i++) {
          expect(
            digest(await curl(peer, `http://${ourIp}/file.bin`)) === digest(content),
            'content differs',
          );
        }
        return '20 x 1 MB, SHA-256 equal';
      },
    ),
  );
}

async function redis(
  s: string,
  us: LabNode,
  peer: LabNode,
  nwid: string,
  ourIp: string,
): Promise<void> {
  await check(GROUP, s, 'redis-cli from the peer to redis-server under the preload', async () => {
    if (!existsSync('/usr/bin/redis-server')) return 'SKIPPED: redis-server is not installed';
    const cli = (...args: string[]): Promise<Buffer> =>
      peer.run(['redis-cli', '-h', ourIp, ...args]);
    const server = [
      'redis-server',
      '--bind',
      '0.0.0.0',
      '--protected-mode',
      'no',
      '--save',
      '',
      '--dir',
      '/tmp',
    ];
    return serving(
      us,
      nwid,
      server,
      async () => expect((await cli('ping')).toString().trim() === 'PONG', 'no PONG'),
      async () => {
        const value = randomBytes(50_000).toString('hex');
        await cli('set', 'key', value);
        expect((await cli('get', 'key')).toString().trim() === value, 'value differs');
        return 'PING, SET and GET of 100 kB';
      },
    );
  });
}

/** Bulk and parallel transfers by test/interop/traffic.ts on both sides. */
async function transfers(
  s: string,
  us: LabNode,
  peer: LabNode,
  nwid: string,
  ourIp: string,
  peerIp: string,
): Promise<void> {
  const sides = [
    { client: peer, server: us, ip: ourIp, who: 'the peer' },
    { client: us, server: peer, ip: peerIp, who: 'us' },
  ];
  const env = (n: LabNode): NodeJS.ProcessEnv => (n === us ? us.onNetwork(nwid) : {});
  let port = 9100;
  for (const { client, server, ip, who } of sides) {
    port++;
    const p = String(port);
    const child = server.spawn([process.execPath, HELPER, 'serve', p], env(server));
    for (const direction of ['up', 'down'] as const) {
      await check(GROUP, s, `${BULK / 1e6} MB ${direction} on a connection opened by ${who}`, () =>
        until('the traffic server', 10_000, async () => {
          await client.run([process.execPath, HELPER, 'echo-test', ip, p], env(client));
          return true;
        }).then(async () =>
          (
            await client.run(
              [process.execPath, HELPER, direction, ip, p, String(BULK)],
              env(client),
              180_000,
            )
          )
            .toString()
            .trim(),
        ),
      );
    }
    await check(
      GROUP,
      s,
      `${PARALLEL} parallel connections opened by ${who}, half with slow readers, half closing one direction first`,
      async () =>
        (
          await client.run(
            [process.execPath, HELPER, 'parallel', ip, p, String(PARALLEL)],
            env(client),
            180_000,
          )
        )
          .toString()
          .trim(),
    );
    child.kill('SIGTERM');
  }
}

async function starts(
  s: string,
  us: LabNode,
  root: LabNode,
  nwid: string,
  settings: { netcon: { cipher: string } },
): Promise<void> {
  const count = isQuick ? 3 : 20;
  await check(
    GROUP,
    s,
    `${count} starts with an existing identity: ONLINE within 2 s, address within 5 s`,
    async () => {
      const online: number[] = [];
      const address: number[] = [];
      for (let i = 0; i < count; i++) {
        await us.stop();
        const from = performance.now();
        us.start(settings);
        await until('online', 5_000, async () => ((await us.isOnline()) ? true : undefined));
        online.push(performance.now() - from);
        await us.ipv4(nwid, 5_000);
        address.push(performance.now() - from);
      }
      const max = (v: number[]): number => Math.max(...v);
      expect(max(online) < 2_000, `ONLINE took up to ${max(online).toFixed(0)} ms`);
      expect(max(address) < 5_000, `an address took up to ${max(address).toFixed(0)} ms`);
      const median = (v: number[]): string => v.sort((a, b) => a - b)[v.length >> 1]!.toFixed(0);
      return `ONLINE median ${median(online)} ms, max ${max(online).toFixed(0)}; address median ${median(address)} ms, max ${max(address).toFixed(0)} (polled through curl; root ${root.kind})`;
    },
  );
}

async function privateNetwork(
  s: string,
  lab: Lab,
  controller: LabNode,
  us: LabNode,
): Promise<void> {
  await check(GROUP, s, 'private network: denied, then authorised without a restart', async () => {
    const nwid = await lab.createNetwork(controller, 0xb2, { private: true });
    await us.api('POST', `/network/${nwid}`, {});
    await until('ACCESS_DENIED', 15_000, async () =>
      (await us.network(nwid))['status'] === 'ACCESS_DENIED' ? true : undefined,
    );
    await controller.api('POST', `/controller/network/${nwid}/member/${us.address}`, {
      authorized: true,
    });
    const from = performance.now();
    const ip = await us.ipv4(nwid, 15_000);
    return `authorised after ${((performance.now() - from) / 1000).toFixed(1)} s, address ${ip}`;
  });
}

export async function programScenario(
  name: string,
  cipher: 'aes' | 'salsa',
  root: Kind,
): Promise<void> {
  const s = `${name}, ${cipher}`;
  const lab = new Lab();
  const settings = { netcon: { cipher } };
  try {
    await lab.up([
      { name: 'root', kind: root },
      { name: 'peer', kind: 'real' },
      { name: 'us', kind: 'ours' },
    ]);
    const [rootNode, peer, us] = [lab.node('root'), lab.node('peer'), lab.node('us')];
    rootNode.start(root === 'ours' ? settings : {});
    await until('root online', 20_000, async () =>
      (await rootNode.isOnline()) ? true : undefined,
    );
    peer.start();
    us.start(settings);
    await until('peer online', 20_000, async () => ((await peer.isOnline()) ? true : undefined));
    const nwid = await lab.createNetwork(rootNode, 0xa1, { private: false });
    await peer.api('POST', `/network/${nwid}`, {});
    await until('our service online', 10_000, async () =>
      (await us.isOnline()) ? true : undefined,
    );
    await us.api('POST', `/network/${nwid}`, {});
    await starts(s, us, rootNode, nwid, settings);
    const ourIp = await us.ipv4(nwid);
    const peerIp = await peer.ipv4(nwid, 30_000);
    const capture = await lab.capture();
    await check(GROUP, s, 'ping from the peer, 100 of 100', () => ping(peer, ourIp));
    await programs(s, lab, us, peer, nwid, ourIp, peerIp);
    await check(GROUP, s, 'ciphers on the wire between peer and us', async () => {
      const { suites } = trafficBetween(await capture.stop(), us, peer);
      const wanted = cipher === 'aes' ? 3 : 1;
      // What we announce decides what the peer sends; we send AES to whoever announces it.
      const dominant = Object.entries(suites[1]).sort((x, y) => y[1] - x[1])[0]?.[0];
      expect(Number(dominant) === wanted, `the peer's datagrams are mostly of suite ${dominant}`);
      return suitesText(suites);
    });
    await transfers(s, us, peer, nwid, ourIp, peerIp);
    await privateNetwork(s, lab, rootNode, us);
  } catch (e) {
    scenarioFailed(GROUP, s, lab, e);
  } finally {
    await lab.down();
  }
}
