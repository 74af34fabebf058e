#!/usr/bin/env node
// The client side of bench/soak.mjs: an ordinary program, run under the preload.
//   soak-client.mjs IP PORT SECONDS SHORT_PER_SECOND
// Mixed traffic against `traffic.js serve`: bulk streams both ways, short connections, slow readers
// and half-closes, every byte under a SHA-256. Prints a JSON line of totals every ten seconds.
import { createHash, randomBytes } from 'node:crypto';
import { connect } from 'node:net';

const [ip, port, seconds, shortPerSecond] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const end = Date.now() + seconds * 1000;
const total = { connections: 0, bytes: 0, failures: 0, lastError: '' };
const BLOCK = 65_536;

const open = () =>
  new Promise((done, fail) => {
    const s = connect({ host: ip, port, allowHalfOpen: true }, () => done(s));
    s.once('error', fail);
  });

async function up(len) {
  const s = await open();
  s.write('up\n');
  const hash = createHash('sha256');
  let answer = '';
  s.on('data', (d) => {
    answer += d;
  });
  const ended = new Promise((done, fail) => {
    s.on('end', done);
    s.on('error', fail);
  });
  const block = randomBytes(BLOCK);
  for (let left = len; left > 0; left -= BLOCK) {
    block.writeUInt32LE(left, 0);
    const part = Buffer.from(block.subarray(0, Math.min(BLOCK, left)));
    hash.update(part);
    if (!s.write(part)) await new Promise((r) => s.once('drain', r));
  }
  s.end();
  await ended;
  if (answer.trim() !== hash.digest('hex')) throw new Error('digest differs');
  total.bytes += len;
}

async function down(kind, len) {
  const s = await open();
  s.write(`${kind} ${len}\n`);
  if (kind === 'half') s.end();
  const hash = createHash('sha256');
  let got = 0;
  let tail = '';
  await new Promise((done, fail) => {
    s.on('error', fail);
    s.on('end', done);
    s.on('data', (d) => {
      const body = d.subarray(0, Math.max(0, Math.min(d.length, len - got)));
      hash.update(body);
      got += body.length;
      tail += d.subarray(body.length);
      if (kind === 'slow' && Math.random() < 0.2) {
        s.pause();
        setTimeout(() => s.resume(), 5);
      }
    });
  });
  s.end();
  if (got !== len || tail.trim() !== hash.digest('hex'))
    throw new Error(`received ${got} of ${len}`);
  total.bytes += len;
}

async function echo() {
  const s = await open();
  s.end('echo\nhello');
  let text = '';
  await new Promise((done, fail) => {
    s.on('error', fail);
    s.on('data', (d) => {
      text += d;
    });
    s.on('end', done);
  });
  if (text !== 'hello') throw new Error(`echo said "${text}"`);
  total.bytes += 10;
}

async function counted(run) {
  try {
    await run();
    total.connections++;
  } catch (e) {
    total.failures++;
    total.lastError = e.message;
  }
}

async function repeat(run) {
  while (Date.now() < end) await counted(run);
}

async function shortOnes() {
  const started = Date.now();
  let issued = 0;
  while (Date.now() < end) {
    const due = Math.floor(((Date.now() - started) / 1000) * shortPerSecond);
    for (; issued < due; issued++)
      void counted(issued % 10 === 0 ? () => down('half', 20_000) : echo);
    await new Promise((r) => setTimeout(r, 50));
  }
}

const report = setInterval(() => console.log(JSON.stringify(total)), 10_000);
await Promise.all([
  repeat(() => up(8_000_000)),
  repeat(() => down('down', 8_000_000)),
  repeat(() => down('slow', 500_000)),
  shortOnes(),
]);
await new Promise((r) => setTimeout(r, 3_000));
clearInterval(report);
console.log(JSON.stringify(total));
process.exit(total.failures === 0 ? 0 : 1);
