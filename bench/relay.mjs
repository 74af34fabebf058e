/**
 * What a root pays for a packet that it passes on for others.
 *
 * usage: node bench/relay.mjs [--quick]
 *
 * First the node alone, without sockets: nanoseconds of `handleDatagram` and of taking its output,
 * with few and with many known leaves. Then over loopback sockets: CPU of a process that receives a
 * datagram and sends it on, as our relay (host/udp on the addon, and a node) and as plain node:dgram,
 * in alternating rounds of the same datagrams. Without the addon both use node:dgram, and the ratio is
 * what relaying costs beyond the system's own work.
 */
import './usage.mjs';
import { fork } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createPrimitives, nativeEntropy } from '../dist/crypto/native.js';
import { loadNative } from '../dist/host/native.js';
import { Udp } from '../dist/host/udp.js';
import { openDgram } from '../dist/host/udp-dgram.js';
import { openNative } from '../dist/host/udp-native.js';
import { Node } from '../dist/node/node.js';
import { loadPacketCore } from '../dist/packetcore/load.js';
import { Path } from '../dist/vl1/path.js';
import { Peer } from '../dist/vl1/peer.js';
import { writeAddress } from '../dist/wire/address.js';
import { inetAddress, remoteAddress } from '../dist/wire/inetaddress.js';
import { signWorld, WORLD_PLANET } from '../dist/wire/world.js';

const QUICK = process.argv.includes('--quick');
const PACKETS = QUICK ? 100_000 : 400_000;
const DATAGRAMS = QUICK ? 20_000 : 60_000;
const ROUNDS = QUICK ? 3 : 9;
const SIZES = [100, 1_400];
const LEAVES = [2, 1_000, 20_000];
/** Datagrams in flight of the socket rounds: less than any socket's buffer. */
const WINDOW = 32;
const FIRST_ADDRESS = 0x10_0000_0000;
const LOOPBACK = Uint8Array.of(127, 0, 0, 1);

const core = loadPacketCore();
const primitives = createPrimitives((k) => core.memoryHardHash(k));

/** An identity for a bench: its address is not derived, nobody checks it here. */
function identityOf(address) {
  const privateKey = new Uint8Array(64);
  nativeEntropy.fill(privateKey);
  return { address, publicKey: primitives.publicFromPrivate(privateKey), privateKey };
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

/** A root of a loopback world that knows `count` leaves; `endpointOf` says where. */
function rootWith(count, endpointOf) {
  const identity = identityOf(0x20_0000_0001);
  const privateKey = new Uint8Array(64).fill(3);
  const endpoints = [inetAddress(LOOPBACK, 9993)];
  const planet = signWorld(
    primitives,
    {
      type: WORLD_PLANET,
      id: 1n,
      timestamp: 1n,
      updateKey: primitives.publicFromPrivate(privateKey),
      roots: [{ identity: { ...identity, privateKey: undefined }, endpoints }],
    },
    privateKey,
  );
  const node = new Node({
    identity,
    core,
    primitives,
    entropy: nativeEntropy,
    jitter: { next: () => 0.5 },
    protocol: 12,
    planet,
    platform: 'linux/x86_64',
  });
  const { state } = node.vl1;
  const key = core.makeKey(new Uint8Array(48).fill(1));
  const some = identityOf(1);
  for (let i = 0; i < count; i++) {
    const peer = new Peer({ ...some, address: FIRST_ADDRESS + i }, key, 0, true);
    const path = new Path(1, endpointOf(i));
    peer.lastReceiveAt = 0;
    peer.learn(0, path);
    state.paths.register(path);
    state.peers.set(peer.address, peer);
  }
  return node;
}

function packet(len, from, to) {
  const b = new Uint8Array(len);
  for (let i = 0; i < len; i++) b[i] = i * 31;
  writeAddress(b, 8, FIRST_ADDRESS + to);
  writeAddress(b, 13, FIRST_ADDRESS + from);
  b[18] = 8;
  return b;
}

function drain(node, send) {
  for (let o = node.poll(); o !== undefined; o = node.poll()) if (o.kind === 'transmit') send(o);
}

/** Nanoseconds a packet of the node alone. */
function alone(leaves, len) {
  const at = (i) => remoteAddress(inetAddress(Uint8Array.of(127, 1, i >> 8, i & 255), 1_000));
  const node = rootWith(leaves, at);
  node.run({ mono: 1, wall: 1 }, () =>
    node.vl1.handleSockets([{ id: 1, family: 4 }], [inetAddress(LOOPBACK, 9993)]),
  );
  drain(node, () => undefined);
  // Pairs repeat, as those of conversations do; half of the leaves talk to the other half.
  const pairs = Math.min(leaves >> 1, 2_000);
  const packets = Array.from({ length: pairs }, (_, i) => packet(len, i, leaves - 1 - i));
  const sources = Array.from({ length: pairs }, (_, i) => at(i));
  let out = 0;
  const pass = (count) => {
    for (let i = 0; i < count; i++) {
      const k = i % pairs;
      node.handleDatagram({ mono: 2, wall: 2 }, 1, sources[k], packets[k]);
      drain(node, () => out++);
    }
  };
  pass(PACKETS / 4);
  out = 0;
  const started = process.hrtime.bigint();
  pass(PACKETS);
  const ns = Number(process.hrtime.bigint() - started) / PACKETS;
  if (out < PACKETS) throw new Error(`${out} of ${PACKETS} passed on`);
  return ns;
}

// ---- the forwarding process ----

async function plainForwarder(toPort) {
  const socket = createSocket({
    type: 'udp4',
    lookup: (host, _o, done) => done(null, host, 4),
  });
  socket.on('message', (bytes) => socket.send(bytes, toPort, '127.0.0.1'));
  // The address needs no look-up, so that "listening" comes within the call.
  const listening = once(socket, 'listening');
  socket.bind(0, '127.0.0.1');
  await listening;
  return socket.address().port;
}

async function relayForwarder(toPort, fromPort) {
  const ports = [fromPort, toPort];
  const node = rootWith(2, (i) => remoteAddress(inetAddress(LOOPBACK, ports[i])));
  let clock = 1;
  const native = loadNative();
  let isFlushing = false;
  const udp = new Udp(
    () => undefined,
    typeof native === 'string' ? openDgram : openNative(native),
    (socket, from, bytes) => {
      node.handleDatagram({ mono: clock++ / 1_000, wall: clock }, socket, from, bytes);
      drain(node, (o) => udp.send(o.socket, o.to, o.bytes, o.ttl));
      // As host/loop.ts does: what one wake-up collected leaves at its end.
      if (isFlushing) return;
      isFlushing = true;
      setImmediate(() => {
        isFlushing = false;
        udp.flush();
      });
    },
  );
  await udp.bind([inetAddress(LOOPBACK, 0)]);
  const { port } = udp.addresses[0];
  node.run({ mono: 0, wall: 0 }, () => node.vl1.handleSockets(udp.sockets, udp.addresses));
  drain(node, () => undefined);
  return port;
}

async function forwarder() {
  process.on('message', async (m) => {
    if (m.start !== undefined) {
      const { kind, toPort, fromPort } = m.start;
      const port = await (kind === 'plain'
        ? plainForwarder(toPort)
        : relayForwarder(toPort, fromPort));
      process.send({ port });
    } else if (m.cpu) {
      const c = process.cpuUsage();
      process.send({ cpu: c.user + c.system });
    } else process.exit(0);
  });
  // A message that came before the listener would be lost.
  process.send({ ready: true });
}

// ---- the measuring process ----

async function ask(child, m) {
  child.send(m);
  const [answer] = await once(child, 'message');
  return answer;
}

async function bound() {
  const socket = createSocket({ type: 'udp4', lookup: (host, _o, done) => done(null, host, 4) });
  // The address needs no look-up, so that "listening" comes within the call.
  const listening = once(socket, 'listening');
  socket.bind(0, '127.0.0.1');
  await listening;
  return socket;
}

/** Microseconds of the forwarder's CPU for each datagram. */
async function throughSockets(kind, len) {
  const [from, to] = [await bound(), await bound()];
  const child = fork(new URL(import.meta.url).pathname, ['--forwarder']);
  await once(child, 'message');
  const start = { kind, toPort: to.address().port, fromPort: from.address().port };
  const { port } = await ask(child, { start });
  const bytes = packet(len, 0, 1);
  let sent = 0;
  let got = 0;
  let wanted = 0;
  let finish;
  const send = () => {
    while (sent < wanted && sent - got < WINDOW) {
      sent++;
      from.send(bytes, port, '127.0.0.1');
    }
  };
  to.on('message', () => {
    got++;
    if (got === wanted) finish();
    else send();
  });
  const pass = (count) => {
    const { promise, resolve, reject } = deferred();
    // Loopback loses nothing of a small window; should it, the run says so.
    const watch = setTimeout(() => reject(new Error(`${got} of ${wanted} arrived`)), 60_000);
    finish = () => {
      clearTimeout(watch);
      resolve();
    };
    wanted += count;
    send();
    return promise;
  };
  await pass(DATAGRAMS / 4);
  const before = (await ask(child, { cpu: true })).cpu;
  await pass(DATAGRAMS);
  const used = (await ask(child, { cpu: true })).cpu - before;
  child.send({ end: true });
  await once(child, 'exit');
  from.close();
  to.close();
  return used / DATAGRAMS;
}

function deferred() {
  let resolve;
  let reject;
  const promise = new Promise((a, b) => {
    resolve = a;
    reject = b;
  });
  return { promise, resolve, reject };
}

async function main() {
  console.log('the node alone, ns a packet');
  for (const leaves of LEAVES) {
    const cells = SIZES.map((len) => `${len} B: ${alone(leaves, len).toFixed(0)}`);
    console.log(`  ${leaves} leaves: ${cells.join(', ')}`);
  }
  console.log('over loopback sockets, CPU of the forwarding process, us a datagram (medians)');
  for (const len of SIZES) {
    const plain = [];
    const relay = [];
    for (let i = 0; i < ROUNDS; i++) {
      plain.push(await throughSockets('plain', len));
      relay.push(await throughSockets('relay', len));
    }
    const [p, r] = [median(plain), median(relay)];
    const ratio = median(relay.map((v, i) => v / plain[i]));
    console.log(
      `  ${len} B: plain ${p.toFixed(2)}, relay ${r.toFixed(2)}, ratio ${ratio.toFixed(2)}`,
    );
  }
}

if (process.argv.includes('--forwarder')) await forwarder();
else await main();
