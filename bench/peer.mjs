#!/usr/bin/env node
import { Lab, missing, realNode, until } from '../build/test/lab/lab.js';
// Throughput and ping between a preloaded program on our node and a real ZeroTier One, next to the
// same between two real nodes, in alternating runs on this machine.
//   ZEROTIER_ONE=/path/to/zerotier-one node bench/peer.mjs [--seconds N] [--rounds N] [--cipher aes|salsa]
// Needs root, /dev/net/tun, iproute2, ping, iperf3.
import { numberOption } from './usage.mjs';

const option = (name, fallback) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : process.argv[at + 1];
};
const SECONDS = numberOption('seconds', 5);
const ROUNDS = numberOption('rounds', 3);
const CIPHER = option('cipher', 'salsa');

if (realNode() === undefined) {
  console.error('ZEROTIER_ONE must name a zerotier-one binary');
  process.exit(2);
}
const reason = missing(true);
if (reason !== undefined) {
  console.error(reason);
  process.exit(2);
}

const median = (v) => [...v].sort((a, b) => a - b)[v.length >> 1];

async function iperf(client, server, ip, clientEnv, serverEnv, reverse) {
  server.log = '';
  const daemon = server.spawn(['iperf3', '-s', '-1', '-p', '5301', '--forceflush'], serverEnv);
  const gone = new Promise((r) => daemon.once('exit', r));
  await until('iperf3 -s', 10_000, () => (server.log.includes('listening') ? true : undefined));
  const args = [
    'iperf3',
    '-c',
    ip,
    '-p',
    '5301',
    '-t',
    String(SECONDS),
    '-J',
    ...(reverse ? ['-R'] : []),
  ];
  const text = (await client.run(args, clientEnv, (SECONDS + 20) * 1000)).toString();
  const out = JSON.parse(text).end.sum_received.bits_per_second / 1e6;
  daemon.kill('SIGTERM');
  await gone;
  return out;
}

async function ping(from, ip) {
  await until(`${ip} answers`, 30_000, async () => {
    await from.run(['ping', '-c', '1', '-W', '1', ip]);
    return true;
  });
  const text = (await from.run(['ping', '-q', '-c', '200', '-i', '0.01', ip])).toString();
  return Number(/= [\d.]+\/([\d.]+)\//.exec(text)[1]);
}

const lab = new Lab();
try {
  lab.up([
    { name: 'root', kind: 'real' },
    { name: 'peer', kind: 'real' },
    { name: 'peer2', kind: 'real' },
    { name: 'us', kind: 'ours' },
  ]);
  const [root, peer, peer2, us] = ['root', 'peer', 'peer2', 'us'].map((n) => lab.node(n));
  root.start();
  await until('root', 20_000, async () => ((await root.isOnline()) ? true : undefined));
  peer.start();
  peer2.start();
  us.start({ netcon: { cipher: CIPHER } });
  const nwid = await lab.createNetwork(root, 0xa1, { private: false });
  for (const n of [peer, peer2, us])
    await until(`${n.name} joins`, 20_000, () => n.api('POST', `/network/${nwid}`, {}));
  const [ip1, ip2, ipUs] = [
    await peer.ipv4(nwid, 40_000),
    await peer2.ipv4(nwid, 40_000),
    await us.ipv4(nwid),
  ];
  const ours = us.onNetwork(nwid);
  const results = { up: [], down: [], ping: [], realUp: [], realDown: [], realPing: [] };
  for (let i = 0; i < ROUNDS; i++) {
    results.realPing.push(await ping(peer, ip2));
    results.ping.push(await ping(peer, ipUs));
    results.realUp.push(await iperf(peer2, peer, ip1, {}, {}, false));
    results.up.push(await iperf(us, peer, ip1, ours, {}, false));
    results.realDown.push(await iperf(peer2, peer, ip1, {}, {}, true));
    results.down.push(await iperf(us, peer, ip1, ours, {}, true));
    console.error(`round ${i + 1} of ${ROUNDS} done`);
  }
  const row = (what, a, b, unit, ratio) =>
    console.log(
      `${what.padEnd(34)} ${median(a).toFixed(2).padStart(9)} ${unit}   two real nodes ${median(b).toFixed(2).padStart(9)} ${unit}   ratio ${ratio.toFixed(2)}`,
    );
  console.log(
    `cipher asked for by our node: ${CIPHER}; medians of ${ROUNDS} alternating rounds of ${SECONDS} s`,
  );
  row(
    'one TCP stream, we send',
    results.up,
    results.realUp,
    'Mbit/s',
    median(results.up) / median(results.realUp),
  );
  row(
    'one TCP stream, we receive',
    results.down,
    results.realDown,
    'Mbit/s',
    median(results.down) / median(results.realDown),
  );
  row(
    'ping, average',
    results.ping,
    results.realPing,
    'ms',
    median(results.ping) / median(results.realPing),
  );
} finally {
  await lab.down();
}
