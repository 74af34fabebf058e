#!/usr/bin/env node
import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  HomeFolder,
  packageFile,
  TestService,
  testAddress,
} from '../build/test/helpers/service.js';
// Long mixed traffic between two services on loopback: memory, descriptors and lwIP pools, sampled
// every ten seconds. Needs the built tests (./build.sh test builds them).
//   node bench/soak.mjs [--minutes N] [--short N] [--out FOLDER]
// Writes FOLDER/soak.csv and FOLDER/soak.svg (default build/soak). Exit code 1 when a connection
// failed, or (from 30 minutes on) when the memory of the last five minutes is more than 1.03 times
// that of minutes 5 to 10.
import { numberOption } from './usage.mjs';

const option = (name, fallback) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : process.argv[at + 1];
};
const MINUTES = numberOption('minutes', 30);
const SHORT = numberOption('short', 40);
const OUT = option('out', 'build/soak');
const ROOT_PORT = 29_993;

const folder = new HomeFolder();
const children = [];

function preloaded(service, nwid, args) {
  const env = {
    ...process.env,
    LD_PRELOAD: packageFile('dist/native/libztintercept.so'),
    ZT_NC_NETWORK: join(service.home, `nc_${nwid}`),
  };
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], env });
  children.push(child);
  return child;
}

async function until(what, ask) {
  for (const end = Date.now() + 30_000; Date.now() < end; ) {
    const v = await ask();
    if (v !== undefined) return v;
    await new Promise((r) => setTimeout(r, 50));
  }
  throw new Error(`${what}: not within 30 s`);
}

async function member(service, nwid) {
  await service.request('POST', `/network/${nwid}`, '{}');
  return until('an address', async () => {
    const net = JSON.parse((await service.request('GET', `/network/${nwid}`)).text);
    return net.status === 'OK'
      ? net.assignedAddresses.find((a) => !a.includes(':'))?.split('/')[0]
      : undefined;
  });
}

function rss(pid) {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;
}

const fds = (pid) => readdirSync(`/proc/${pid}/fd`).length;

async function pools(service) {
  const text = (await service.request('GET', '/metrics')).text;
  const out = {};
  for (const m of text.matchAll(/^netcon_stack\{counter="([^"]+)"[^}]*\} ([-+.e\d]+)$/gm))
    if (/Used$|^heap|^tcpParked$|^tcpTimeWait$/.test(m[1])) out[m[1]] = Number(m[2]);
  if (Object.keys(out).length === 0) throw new Error('no stack counters in /metrics');
  return out;
}

/** A plain line chart as SVG. */
function plot(series, title) {
  const [w, h, left, bottom] = [800, 300, 60, 30];
  const all = series.flatMap((s) => s.values);
  const [lo, hi] = [0, Math.max(...all) * 1.1];
  const n = series[0].values.length;
  const x = (i) => left + ((w - left - 10) * i) / Math.max(1, n - 1);
  const y = (v) => h - bottom - ((h - bottom - 20) * (v - lo)) / (hi - lo);
  const lines = series
    .map(
      (s, k) =>
        `<polyline fill="none" stroke="${s.colour}" points="${s.values.map((v, i) => `${x(i).toFixed(1)},${y(v).toFixed(1)}`).join(' ')}"/><text x="${left + 10}" y="${30 + 16 * k}" fill="${s.colour}" font-size="12">${s.name}</text>`,
    )
    .join('\n');
  const ticks = [0, 0.25, 0.5, 0.75, 1]
    .map(
      (f) => `<text x="5" y="${y(hi * f).toFixed(0)}" font-size="11">${(hi * f).toFixed(0)}</text>`,
    )
    .join('\n');
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${h}" font-family="sans-serif"><title>${title}</title><rect width="${w}" height="${h}" fill="white"/><text x="${left}" y="14" font-size="13">${title}</text>\n${ticks}\n${lines}\n<text x="${w - 120}" y="${h - 8}" font-size="11">${MINUTES} minutes</text></svg>\n`;
}

const mean = (v) => v.reduce((a, b) => a + b, 0) / v.length;

async function run() {
  const root = await new TestService(folder.home('root', 0, ROOT_PORT), [`-p${ROOT_PORT}`]).ready();
  const a = await new TestService(folder.home('a', 1, ROOT_PORT)).ready();
  const b = await new TestService(folder.home('b', 2, ROOT_PORT)).ready();
  children.push(root.child, a.child, b.child);
  const nwid = `${testAddress(0)}0000a1`;
  await root.request(
    'POST',
    `/controller/network/${nwid}`,
    JSON.stringify({
      private: false,
      v4AssignMode: { zt: true },
      routes: [{ target: '10.91.1.0/24' }],
      ipAssignmentPools: [{ ipRangeStart: '10.91.1.10', ipRangeEnd: '10.91.1.250' }],
    }),
  );
  const ip = await member(a, nwid);
  await member(b, nwid);
  preloaded(a, nwid, [packageFile('build/test/interop/traffic.js'), 'serve', '9000']);
  await new Promise((r) => setTimeout(r, 1_000));
  const client = preloaded(b, nwid, [
    packageFile('bench/soak-client.mjs'),
    ip,
    '9000',
    String(MINUTES * 60),
    String(SHORT),
  ]);
  let last = { connections: 0, bytes: 0, failures: 0, lastError: '' };
  client.stdout.on('data', (d) => {
    for (const line of d.toString().split('\n')) if (line.startsWith('{')) last = JSON.parse(line);
  });
  const exit = new Promise((r) => client.once('exit', r));
  const rows = [];
  const started = Date.now();
  const sample = async () => {
    const [pa, pb] = [await pools(a), await pools(b)];
    rows.push({
      s: Math.round((Date.now() - started) / 1000),
      rssA: rss(a.child.pid),
      rssB: rss(b.child.pid),
      fdsA: fds(a.child.pid),
      fdsB: fds(b.child.pid),
      pa,
      pb,
      ...last,
    });
    process.stderr.write(
      `\r${rows.at(-1).s} s  ${last.connections} connections  ${(last.bytes / 1e9).toFixed(2)} GB  ${last.failures} failures  rss ${rows.at(-1).rssA.toFixed(0)}/${rows.at(-1).rssB.toFixed(0)} MiB   `,
    );
  };
  const timer = setInterval(() => void sample(), 10_000);
  const code = await exit;
  clearInterval(timer);
  // Closed connections leave TIME_WAIT after two segment lifetimes.
  await until('pools at rest', async () => {
    const p = await pools(a);
    return p.tcpActiveUsed === 0 && p.tcpHandlesUsed === 0 ? true : undefined;
  }).catch(() => undefined);
  await sample();
  return { code, rows, last };
}

let failed = true;
try {
  const { code, rows, last } = await run();
  mkdirSync(OUT, { recursive: true });
  const names = Object.keys(rows[0].pa);
  const head = [
    'seconds',
    'rss_server_MiB',
    'rss_client_MiB',
    'fds_server',
    'fds_client',
    'connections',
    'bytes',
    'failures',
    ...names.map((n) => `server_${n}`),
    ...names.map((n) => `client_${n}`),
  ];
  const lines = rows.map((r) =>
    [
      r.s,
      r.rssA.toFixed(1),
      r.rssB.toFixed(1),
      r.fdsA,
      r.fdsB,
      r.connections,
      r.bytes,
      r.failures,
      ...names.map((n) => r.pa[n]),
      ...names.map((n) => r.pb[n]),
    ].join(','),
  );
  writeFileSync(join(OUT, 'soak.csv'), `${head.join(',')}\n${lines.join('\n')}\n`);
  writeFileSync(
    join(OUT, 'soak.svg'),
    plot(
      [
        {
          name: 'resident memory of the server side, MiB',
          colour: '#1f77b4',
          values: rows.map((r) => r.rssA),
        },
        {
          name: 'resident memory of the client side, MiB',
          colour: '#d62728',
          values: rows.map((r) => r.rssB),
        },
      ],
      'soak: resident memory of both services',
    ),
  );
  console.log(
    `\n${last.connections} connections, ${(last.bytes / 1e9).toFixed(2)} GB, ${last.failures} failures ${last.lastError}`,
  );
  const between = (from, to, key) =>
    rows.filter((r) => r.s >= from * 60 && r.s <= to * 60).map((r) => r[key]);
  failed = code !== 0;
  if (MINUTES >= 30) {
    for (const [name, key] of [
      ['server', 'rssA'],
      ['client', 'rssB'],
    ]) {
      const ratio = mean(between(MINUTES - 5, MINUTES, key)) / mean(between(5, 10, key));
      console.log(
        `resident memory of the ${name} side, last five minutes over minutes 5 to 10: ${ratio.toFixed(3)}`,
      );
      if (ratio > 1.03) failed = true;
    }
  }
  const end = rows.at(-1);
  console.log(
    `at the end: descriptors ${end.fdsA}/${end.fdsB}, pools server ${JSON.stringify(end.pa)}`,
  );
} finally {
  for (const c of children) c.kill('SIGTERM');
  await new Promise((r) => setTimeout(r, 1_000));
  folder.remove();
}
process.exitCode = failed ? 1 : 0;
