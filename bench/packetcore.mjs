/**
 * Speed of the packet core, through its public interface: packets are copied into the module and
 * back, the keys of each packet derived, every packet has another id and other content (each is the
 * ciphertext of the one before), and the last packets of a run are compared with the reference.
 *
 * usage: node bench/packetcore.mjs [--quick]
 * ZEROTIER_SELFTEST=PATH runs that program's cipher benchmarks in alternation, for the ratio.
 */
import './usage.mjs';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { ReferencePacketCore } from '../dist/crypto/reference/core.js';
import { loadPacketCore } from '../dist/packetcore/load.js';

const SIZES = [64, 512, 1400, 2800];
const SLOTS = 16;
const ROUNDS = process.argv.includes('--quick') ? 8 : 40;
const MIB = 1024 * 1024;
// Packets per timed round, as passes over the slots; passes of the round that is replayed.
const ROUND_BYTES = 6 * MIB;
const REPLAY_PASSES = 4;

const core = loadPacketCore();
const reference = new ReferencePacketCore();
const agreed = randomBytes(48);
const key = core.makeKey(agreed);
const referenceKey = reference.makeKey(agreed);
let serial = 0;

function newId(packet) {
  serial++;
  packet[0] = serial;
  packet[1] = serial >> 8;
  packet[2] = serial >> 16;
  packet[7] = serial >> 24;
}

const same = (a, b, what) => {
  if (Buffer.compare(a, b) !== 0) throw new Error(`${what}: differs from the reference`);
};

/** Nanoseconds of `work`. */
function timed(work) {
  const start = process.hrtime.bigint();
  work();
  return Number(process.hrtime.bigint() - start);
}

function sealPasses(it, itsKey, packets, passes, suite) {
  for (let pass = 0; pass < passes; pass++) {
    for (const packet of packets) {
      newId(packet);
      it.seal(itsKey, packet, suite);
    }
  }
}

/** The same seals by the reference give the same bytes. */
function replaySeals(packets, suite) {
  const copies = packets.map((p) => Uint8Array.from(p));
  const first = serial;
  sealPasses(core, key, packets, REPLAY_PASSES, suite);
  serial = first;
  sealPasses(reference, referenceKey, copies, REPLAY_PASSES, suite);
  packets.forEach((p, i) => {
    same(p, copies[i], `suite ${suite} seal`);
  });
}

const newPackets = (len) => Array.from({ length: SLOTS }, () => new Uint8Array(randomBytes(len)));

/** Best and median of the samples, in nanoseconds. */
function summary(samples) {
  const sorted = [...samples].sort((a, b) => a - b);
  return { best: sorted[0], median: sorted[sorted.length >> 1] };
}

/** A benchmark: `round` returns nanoseconds per operation; `check` compares with the reference. */
function sealBench(len, suite) {
  const packets = newPackets(len);
  const passes = Math.max(1, Math.floor(ROUND_BYTES / len / SLOTS / (suite === 3 ? 4 : 1)));
  return {
    name: `suite ${suite} seal`,
    len,
    samples: [],
    round: () => timed(() => sealPasses(core, key, packets, passes, suite)) / (passes * SLOTS),
    check: () => replaySeals(packets.slice(0, suite === 3 ? 2 : SLOTS), suite),
  };
}

function openBench(len, suite) {
  const packets = newPackets(len);
  const passes = Math.max(1, Math.floor(ROUND_BYTES / len / SLOTS / 4));
  return {
    name: `suite ${suite} open`,
    len,
    samples: [],
    round() {
      let spent = 0;
      for (let pass = 0; pass < passes; pass++) {
        sealPasses(core, key, packets, 1, suite);
        spent += timed(() => {
          for (const packet of packets) {
            if (!core.open(key, packet)) throw new Error('a genuine packet was refused');
          }
        });
      }
      return spent / (passes * SLOTS);
    },
    check() {
      for (const plain of packets.slice(0, 2)) {
        const sealed = Uint8Array.from(plain);
        reference.seal(referenceKey, sealed, suite);
        const header = sealed.slice(0, 27);
        if (!core.open(key, sealed)) throw new Error('a packet of the reference was refused');
        same(sealed.subarray(27), plain.subarray(27), `suite ${suite} open`);
        same(sealed.subarray(0, 27), header, `suite ${suite} header`);
      }
    },
  };
}

/** Text-like data: the payload that compression is for (configurations) is text. */
function compressible(len) {
  const words = Array.from({ length: 64 }, () => randomBytes(5).toString('hex'));
  let text = '';
  while (text.length < len) text += `${words[Math.floor(Math.random() * 64)]}=`;
  return new Uint8Array(Buffer.from(text.slice(0, len)));
}

function lz4Benches(len) {
  const plain = compressible(len);
  const block = new Uint8Array(len);
  const back = new Uint8Array(len);
  const used = core.compress(plain, block);
  const packed = block.slice(0, used);
  const times = Math.floor(ROUND_BYTES / len / 4);
  const check = () => {
    if (used === 0) throw new Error('text did not compress');
    const plainAgain = new Uint8Array(len);
    if (reference.decompress(packed, plainAgain) !== len) throw new Error('reference refuses');
    same(plainAgain, plain, 'lz4');
    same(back, plain, 'lz4');
  };
  const bench = (name, work) => ({
    name,
    len,
    samples: [],
    check,
    round: () =>
      timed(() => {
        for (let i = 0; i < times; i++) work();
      }) / times,
  });
  return [
    bench(`lz4 compress (to ${((100 * used) / len).toFixed(0)} %)`, () =>
      core.compress(plain, block),
    ),
    bench('lz4 decompress', () => core.decompress(packed, back)),
  ];
}

function hashBench() {
  const publicKey = new Uint8Array(randomBytes(64));
  return {
    name: 'identity hash',
    len: 0,
    samples: [],
    round() {
      publicKey[0]++;
      return timed(() => core.memoryHardHash(publicKey));
    },
    async check() {
      const { memoryHardHash } = await import('../dist/crypto/reference/identity-hash.js');
      same(core.memoryHardHash(publicKey), memoryHardHash(publicKey), 'identity hash');
    },
  };
}

/**
 * One run of the self test up to its Poly1305 line: MiB/s of its fastest Salsa20/12, of Poly1305 and
 * of AES-GMAC-SIV. The process is ended there.
 */
async function runSelfTest(path) {
  const child = spawn(path, { stdio: ['ignore', 'pipe', 'ignore'] });
  const found = { salsa: 0, poly: 0, siv: 0 };
  for await (const line of createInterface({ input: child.stdout })) {
    const rate = Number(/([\d.]+) MiB\/second/.exec(line)?.[1] ?? 0);
    if (/Salsa20\/12/.test(line)) found.salsa = Math.max(found.salsa, rate);
    if (/AES-GMAC-SIV/.test(line)) found.siv = rate;
    if (/Benchmarking Poly1305/.test(line)) {
      found.poly = rate;
      break;
    }
  }
  child.kill();
  return found;
}

function printBench({ name, len, samples }) {
  const { best, median } = summary(samples);
  const rate = (ns) => `${((len / MIB / ns) * 1e9).toFixed(0).padStart(6)} MiB/s`;
  const label = `${name}${len > 0 ? `, ${len} bytes` : ''}`.padEnd(36);
  if (len === 0) {
    console.log(
      `${label} ${(median / 1e6).toFixed(2)} ms median, ${(best / 1e6).toFixed(2)} ms best`,
    );
    return;
  }
  console.log(`${label} ${rate(median)} median, ${rate(best)} best, ${median.toFixed(0)} ns`);
}

function printRatio(seal, runs) {
  // The two ciphers one after the other, as the reference applies them to a packet.
  const together = runs.map(({ salsa, poly }) => 1 / (1 / salsa + 1 / poly));
  const rates = together.sort((a, b) => a - b);
  const theirs = rates[rates.length >> 1];
  const ours = (seal.len / MIB / summary(seal.samples).median) * 1e9;
  for (const { salsa, poly, siv } of runs) {
    console.log(`self test: Salsa20/12 ${salsa}, Poly1305 ${poly}, AES-GMAC-SIV ${siv} MiB/s`);
  }
  console.log(`suite 1 seal at ${seal.len} bytes: ${ours.toFixed(0)} MiB/s, self test's ciphers`);
  console.log(
    `one after the other ${theirs.toFixed(0)} MiB/s, ratio ${(ours / theirs).toFixed(2)}`,
  );
}

async function main() {
  const seals = SIZES.map((len) => sealBench(len, 1));
  const benches = [
    ...seals,
    ...SIZES.map((len) => openBench(len, 1)),
    ...SIZES.map((len) => sealBench(len, 0)),
    ...SIZES.map((len) => sealBench(len, 3)),
    ...SIZES.map((len) => openBench(len, 3)),
    ...lz4Benches(1400),
    ...lz4Benches(9996),
    hashBench(),
  ];
  const selfTest = process.env.ZEROTIER_SELFTEST;
  const runs = [];
  for (let round = 0; round < ROUNDS; round++) {
    for (const bench of benches) bench.samples.push(bench.round());
    if (selfTest !== undefined && round % 8 === 7) runs.push(await runSelfTest(selfTest));
  }
  for (const bench of benches) await bench.check();
  console.log(`node ${process.version}, ${ROUNDS} rounds; outputs equal to the reference's`);
  benches.forEach(printBench);
  if (runs.length > 0) printRatio(seals[SIZES.length - 1], runs);
}

await main();
