/**
 * A network of many members: what one configuration request costs the controller (decision, signing,
 * chunks; the packet's seal and the member's identity check are others' work and reported apart),
 * what records cost in memory, a push to all, a deauthorisation, and a start on as many files.
 *
 *   node bench/controller.mjs [members]
 */

import { execFileSync, fork } from 'node:child_process';
import { randomBytes, randomFillSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Controller } from '../dist/controller/controller.js';
import { createPrimitives, nativeEntropy } from '../dist/crypto/native.js';
import { Writer } from '../dist/lib/writer.js';
import { loadPacketCore } from '../dist/packetcore/load.js';
import { addressText, networkIdText } from '../dist/wire/address.js';
import { generateIdentity, validateIdentity } from '../dist/wire/identity.js';
import { MAX_PACKET_LEN, VERB } from '../dist/wire/packet.js';
import { positive } from './usage.mjs';

const MIB = 1024 * 1024;
const METADATA = new TextEncoder().encode(
  'v=0000000000000007\nvend=0000000000000001\npv=000000000000000c\nmajv=0000000000000001\n' +
    'minv=000000000000000e\nrevv=0000000000000001\nrevr=0000000000000001\no=linux/x86_64',
);

/** Rules, a capability and tags of the size that real networks have. */
const NETWORK = {
  private: true,
  v4AssignMode: { zt: true },
  v6AssignMode: { rfc4193: true, '6plane': true, zt: false },
  routes: [
    { target: '10.64.0.0/14', via: null },
    { target: '192.168.0.0/16', via: '10.64.0.1' },
  ],
  ipAssignmentPools: [{ ipRangeStart: '10.64.0.2', ipRangeEnd: '10.67.255.250' }],
  dns: { domain: 'example.test', servers: ['10.64.0.1'] },
  capabilities: [
    {
      id: 1,
      default: true,
      rules: [{ type: 'MATCH_IP_PROTOCOL', ipProtocol: 6 }, { type: 'ACTION_ACCEPT' }],
    },
  ],
  tags: [
    { id: 1, default: 1 },
    { id: 2, default: 2 },
  ],
  rules: [
    { type: 'MATCH_ETHERTYPE', not: true, etherType: 0x0800 },
    { type: 'MATCH_ETHERTYPE', not: true, etherType: 0x0806 },
    { type: 'MATCH_ETHERTYPE', not: true, etherType: 0x86dd },
    { type: 'ACTION_DROP' },
    { type: 'MATCH_TAGS_DIFFERENCE', id: 1, value: 4 },
    { type: 'ACTION_ACCEPT' },
    { type: 'ACTION_ACCEPT' },
  ],
};

const core = loadPacketCore();
const primitives = createPrimitives((k) => core.memoryHardHash(k));

/** A member's address and keys; not one that passes validation, which the controller does not look at. */
function stranger() {
  const publicKey = randomFillSync(new Uint8Array(64));
  const address = (randomBytes(4).readUInt32BE() % 0xfe) * 2 ** 32 + randomBytes(4).readUInt32BE();
  return { address: Math.max(1, address), publicKey, privateKey: undefined };
}

/** The node below the controller: counts what is sent. */
class Port {
  sent = 0;
  bytes = 0;
  primitives = primitives;
  protocol = 12;
  entropy = { fill: (b) => void randomFillSync(b) };
  jitter = { next: () => Math.random() };
  #w = Writer.of(MAX_PACKET_LEN);

  constructor(self) {
    this.self = self;
  }

  isRoot = () => false;
  identityOf = () => undefined;
  requestIdentity() {}
  upstreams = () => [];
  bestUpstream = () => undefined;
  directLatency = () => undefined;

  begin() {
    this.#w.pos = 0;
    return this.#w;
  }

  send() {
    this.sent++;
    this.bytes += this.#w.pos;
  }

  reply() {
    this.send();
  }
}

const cpu = () => {
  const u = process.cpuUsage();
  return (u.user + u.system) / 1000;
};

function rss() {
  globalThis.gc?.();
  return process.memoryUsage().rss / MIB;
}

function percentile(sorted, p) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))];
}

/** Each member asks once; CPU of each request in ms. */
function round(controller, nwid, members, at) {
  const times = [];
  for (const identity of members) {
    const message = {
      peer: { address: identity.address, identity },
      path: undefined,
      hops: 0,
      verb: VERB.NETWORK_CONFIG_REQUEST,
      packetId: 7n,
      payload: METADATA,
    };
    const from = performance.now();
    controller.handleRequest(at, message, nwid, METADATA);
    times.push(performance.now() - from);
  }
  return times;
}

function report(name, times, cpuMs) {
  const sorted = [...times].sort((a, b) => a - b);
  const figures = [percentile(sorted, 0.5), percentile(sorted, 0.99), sorted[sorted.length - 1]];
  console.log(
    `${name}: CPU ${(cpuMs / times.length).toFixed(3)} ms each; wall median, 99 %, most: ` +
      `${figures.map((x) => x.toFixed(2)).join(', ')} ms`,
  );
}

/** Runs what the controller postponed; the longest turn is how long the service does nothing else. */
function settle(controller, at) {
  let turns = 0;
  let longest = 0;
  while (controller.deadline() <= at.mono) {
    const from = performance.now();
    controller.handleTimeout(at);
    longest = Math.max(longest, performance.now() - from);
    turns++;
  }
  return { turns, longest };
}

function inMemory(count) {
  const self = generateIdentity(primitives, nativeEntropy);
  const members = Array.from({ length: count }, stranger);
  const nwid = (BigInt(self.address) << 24n) | 1n;
  const files = new Map();
  const port = new Port(self);
  const controller = new Controller();
  controller.attach(port, {
    store: (path, json) => json !== undefined && files.set(path, json),
    applyLocal() {},
    failLocal() {},
  });
  let at = { mono: 1_000_000, wall: 1_800_000_000_000 };
  const step = (ms) => {
    at = { mono: at.mono + ms, wall: at.wall + ms };
  };
  controller.postNetwork(at, nwid, NETWORK);
  const texts = (a) => ({ nwid: networkIdText(nwid), address: addressText(a) });
  const before = rss();
  for (const m of members)
    controller.postMember(at, nwid, m.address, texts(m.address), { authorized: true });
  settle(controller, at);
  step(2_000);
  for (const name of ['first request (assigns, stores)', 'later request']) {
    const from = cpu();
    const times = round(controller, nwid, members, at);
    report(name, times, cpu() - from);
    settle(controller, at);
    step(60_000);
  }
  console.log(`answers: ${port.sent}, ${Math.round(port.bytes / port.sent)} bytes each`);
  console.log(
    `memory of ${count} members online: ${(rss() - before).toFixed(0)} MiB, their files' texts included`,
  );
  const all = (name, act) => {
    const [from, sent] = [cpu(), port.sent];
    act();
    const first = port.sent - sent;
    const { turns, longest } = settle(controller, at);
    console.log(
      `${name}: ${port.sent - sent} packets, CPU ${(cpu() - from).toFixed(0)} ms in ${turns} turns, ` +
        `longest ${longest.toFixed(1)} ms; ${first} of them at once`,
    );
  };
  round(controller, nwid, members, at);
  settle(controller, at);
  all('a changed network, pushed to all online', () =>
    controller.postNetwork(at, nwid, { name: 'changed' }),
  );
  const gone = members[count >> 1].address;
  all('one member deauthorised', () =>
    controller.postMember(at, nwid, gone, texts(gone), { authorized: false }),
  );
  step(2_000);
  all('network deleted', () => controller.deleteNetwork(at, nwid));
}

/** The records as files, and a service that starts on them. */
async function onDisk(count) {
  const home = mkdtempSync(join(tmpdir(), 'netcon-bench-'));
  try {
    const self = generateIdentity(primitives, nativeEntropy);
    const nwid = networkIdText((BigInt(self.address) << 24n) | 1n);
    const controller = new Controller();
    const files = new Map();
    controller.attach(new Port(self), {
      store: (p, j) => files.set(p, j),
      applyLocal() {},
      failLocal() {},
    });
    const at = { mono: 1_000, wall: 1_800_000_000_000 };
    const id = BigInt(`0x${nwid}`);
    controller.postNetwork(at, id, NETWORK);
    const members = Array.from({ length: count }, stranger);
    for (const m of members)
      controller.postMember(
        at,
        id,
        m.address,
        { nwid, address: addressText(m.address) },
        { authorized: true },
      );
    round(controller, id, members, { mono: 3_000, wall: at.wall });
    mkdirSync(join(home, 'controller.d/network', nwid, 'member'), { recursive: true });
    for (const [path, json] of files) writeFileSync(join(home, 'controller.d', path), json);
    for (const withFiles of [true, false]) {
      if (!withFiles) rmSync(join(home, 'controller.d/network', nwid), { recursive: true });
      const child = fork(new URL(import.meta.url).pathname, ['--load', home], {
        execArgv: ['--expose-gc'],
      });
      const [ms, mib] = await new Promise((done) => child.once('message', done));
      console.log(
        `start on ${withFiles ? files.size : 1} files: ${ms.toFixed(0)} ms to read the records, ${mib.toFixed(0)} MiB resident`,
      );
    }
  } finally {
    rmSync(home, { recursive: true });
  }
}

/** In a process of its own: only the service's reading of `controller.d`. */
async function load(home) {
  const { Home } = await import('../dist/host/home.js');
  const { loadController } = await import('../dist/host/controller-files.js');
  const from = performance.now();
  const controller = new Controller();
  loadController(new Home(home, () => undefined), controller, () => undefined);
  const ms = performance.now() - from;
  process.send([ms, rss()]);
}

function identityCheck() {
  const identity = generateIdentity(primitives, nativeEntropy);
  const from = cpu();
  for (let i = 0; i < 20; i++) validateIdentity(primitives, identity);
  console.log(
    `apart: a member's identity is checked once, ${((cpu() - from) / 20).toFixed(1)} ms, in a thread of its own`,
  );
}

if (process.argv[2] === '--load') await load(process.argv[3]);
else if (globalThis.gc === undefined)
  execFileSync(process.execPath, ['--expose-gc', ...process.argv.slice(1)], { stdio: 'inherit' });
else {
  const count = positive('members', process.argv[2], 10_000);
  console.log(`node ${process.version}, ${count} members of one network`);
  identityCheck();
  inMemory(count);
  await onDisk(count);
}
