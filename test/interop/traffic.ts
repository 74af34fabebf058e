/**
 * TCP traffic with checksums, both ends; an ordinary program that knows nothing of networks.
 *   traffic.js serve PORT...
 *   traffic.js echo-test|up|down IP PORT [BYTES]      traffic.js parallel IP PORT COUNT
 *   traffic.js reach IP PORT MS         prints `open` when an echo came back in time, else `closed`
 * A connection begins with one line: `up`, `down N`, `echo`, `slow N` or `half N`.
 *   up      the client sends until it closes its half; the server answers the SHA-256 of all of it
 *   down N  the server sends N random bytes, then their SHA-256 as a last line, and closes
 *   slow N  as `down`, read by the client in small sips
 *   half N  the client closes its half first, then the server sends as `down`
 */
import { createHash, randomBytes } from 'node:crypto';
import { connect, createServer, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';

const BLOCK = 65_536;
const DIGEST_LEN = 65;

function sendRandom(socket: Socket, total: number): void {
  const hash = createHash('sha256');
  let left = total;
  const more = (): void => {
    while (left > 0) {
      const block = randomBytes(Math.min(BLOCK, left));
      left -= block.length;
      hash.update(block);
      if (!socket.write(block)) {
        socket.once('drain', more);
        return;
      }
    }
    socket.end(`${hash.digest('hex')}\n`);
  };
  more();
}

function serveUp(socket: Socket, first: Buffer): void {
  const hash = createHash('sha256').update(first);
  socket.on('data', (d: Buffer) => hash.update(d));
  socket.on('end', () => socket.end(`${hash.digest('hex')}\n`));
}

function serve(socket: Socket): void {
  let head = Buffer.alloc(0);
  socket.on('error', () => socket.destroy());
  const onHead = (d: Buffer): void => {
    head = Buffer.concat([head, d]);
    const at = head.indexOf(10);
    if (at < 0) return;
    socket.off('data', onHead);
    const [command, n] = head.subarray(0, at).toString().split(' ');
    const rest = head.subarray(at + 1);
    if (command === 'up') serveUp(socket, rest);
    else if (command === 'echo') socket.end(rest.length > 0 ? rest : 'echo');
    else if (command === 'half') {
      socket.on('end', () => sendRandom(socket, Number(n)));
      socket.resume();
    } else {
      socket.resume();
      sendRandom(socket, Number(n));
    }
  };
  socket.on('data', onHead);
}

/** Reads to the end and checks the trailing digest. */
function receive(socket: Socket, total: number, isSlow: boolean): Promise<void> {
  return new Promise((done, fail) => {
    const hash = createHash('sha256');
    let got = 0;
    let tail = Buffer.alloc(0);
    socket.on('data', (d: Buffer) => {
      const body = d.subarray(0, Math.max(0, Math.min(d.length, total - got)));
      hash.update(body);
      tail = Buffer.concat([tail, d.subarray(body.length)]);
      got += body.length;
      if (isSlow && Math.random() < 0.3) {
        socket.pause();
        setTimeout(() => socket.resume(), 5);
      }
    });
    socket.on('error', fail);
    socket.on('end', () => {
      const isWhole = got === total && tail.length === DIGEST_LEN;
      if (isWhole && tail.toString().trim() === hash.digest('hex')) done();
      else fail(new Error(`received ${got} of ${total} bytes, digest of ${tail.length} bytes`));
    });
    socket.on('close', () => fail(new Error(`closed after ${got} of ${total} bytes`)));
  });
}

function open(ip: string, port: number): Promise<Socket> {
  return new Promise((done, fail) => {
    const socket = connect({ host: ip, port, allowHalfOpen: true }, () => done(socket));
    socket.on('error', fail);
  });
}

async function up(ip: string, port: number, total: number): Promise<void> {
  const socket = await open(ip, port);
  socket.write('up\n');
  const hash = createHash('sha256');
  let answer = '';
  socket.on('data', (d: Buffer) => {
    answer += d.toString();
  });
  const ended = new Promise<void>((done, fail) => {
    socket.on('end', () => done());
    socket.on('error', fail);
  });
  for (let left = total; left > 0; ) {
    const block = randomBytes(Math.min(BLOCK, left));
    left -= block.length;
    hash.update(block);
    if (!socket.write(block)) await new Promise<void>((r) => socket.once('drain', () => r()));
  }
  socket.end();
  await ended;
  if (answer.trim() !== hash.digest('hex'))
    throw new Error(`digest differs: ${answer.slice(0, 80)}`);
}

async function down(
  ip: string,
  port: number,
  total: number,
  kind: 'down' | 'slow' | 'half',
): Promise<void> {
  const socket = await open(ip, port);
  socket.write(`${kind} ${total}\n`);
  if (kind === 'half') socket.end();
  await receive(socket, total, kind === 'slow');
  socket.end();
}

async function timed(what: string, total: number, run: () => Promise<void>): Promise<void> {
  const from = performance.now();
  await run();
  const s = (performance.now() - from) / 1000;
  console.log(
    `${total} bytes ${what}, SHA-256 equal, ${((total * 8) / s / 1e6).toFixed(0)} Mbit/s`,
  );
}

async function parallel(ip: string, port: number, count: number): Promise<void> {
  const kinds = ['slow', 'half', 'slow', 'half'] as const;
  const jobs = Array.from({ length: count }, (_, i) =>
    down(ip, port, 100_000 + i * 977, kinds[i % 4]!),
  );
  const results = await Promise.allSettled(jobs);
  const bad = results.filter((r) => r.status === 'rejected');
  if (bad.length > 0)
    throw new Error(
      `${bad.length} of ${count} failed: ${String((bad[0] as PromiseRejectedResult).reason)}`,
    );
  console.log(`${count} connections, every SHA-256 equal`);
}

async function reach(ip: string, port: number, ms: number): Promise<void> {
  const socket = connect({ host: ip, port });
  const answered = new Promise<boolean>((done) => {
    socket.on('connect', () => socket.end('echo\n'));
    socket.on('data', () => done(true));
    socket.on('error', () => done(false));
    socket.on('close', () => done(false));
    setTimeout(() => done(false), ms);
  });
  console.log((await answered) ? 'open' : 'closed');
  isDone = true;
  process.exit(0);
}

async function main(args: string[]): Promise<void> {
  const [command = '', a = '', b = '', c = '0'] = args;
  switch (command) {
    case 'serve': {
      for (const port of args.slice(1)) {
        const server = createServer({ allowHalfOpen: true }, serve);
        server.listen({ port: Number(port), host: '::', backlog: 1024 });
      }
      return new Promise(() => undefined);
    }
    case 'echo-test': {
      const socket = await open(a, Number(b));
      socket.end('echo\n');
      await new Promise<void>((done, fail) => {
        socket.on('data', () => done());
        socket.on('error', fail);
        socket.on('close', () => fail(new Error('closed without an answer')));
      });
      socket.destroy();
      return;
    }
    case 'reach':
      return reach(a, Number(b), Number(c));
    case 'up':
      return timed('up', Number(c), () => up(a, Number(b), Number(c)));
    case 'down':
      return timed('down', Number(c), () => down(a, Number(b), Number(c), 'down'));
    case 'parallel':
      return parallel(a, Number(b), Number(c));
    default:
      throw new Error(`unknown command ${command}`);
  }
}

let isDone = false;
process.on('exit', (code) => {
  // An event loop that ran dry before the work was done is a failure, not a silent success.
  if (code === 0 && !isDone) process.exitCode = 3;
});
main(process.argv.slice(2)).then(
  () => {
    isDone = true;
  },
  (e: unknown) => {
    console.error(e instanceof Error ? e.message : String(e));
    process.exit(1);
  },
);
