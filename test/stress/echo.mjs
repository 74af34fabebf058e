// Echo server and its clients; ordinary programs that know nothing of networks.
//   echo.mjs serve PORT                     echo.mjs hold IP PORT COUNT
//   echo.mjs short IP PORT COUNT LANES
// `hold` opens COUNT connections, prints `held COUNT` once each has echoed a line, and echoes once more
// for every line of its standard input. `short` opens, echoes and closes COUNT times in LANES lanes.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';

const [mode, ...rest] = process.argv.slice(2);

function serve(port) {
  const server = createServer({ allowHalfOpen: true }, (s) => {
    s.on('error', () => s.destroy());
    s.pipe(s);
  });
  server.listen({ port: Number(port), host: '0.0.0.0', backlog: 4096 }, () =>
    console.log('serving'),
  );
}

/** Sends a line and waits for it. */
async function echo(socket, text) {
  socket.write(text);
  let got = '';
  while (got.length < text.length) {
    const [data] = await once(socket, 'data');
    got += data;
  }
  if (got !== text) throw new Error(`sent ${text}, got ${got}`);
}

async function open(ip, port) {
  const socket = connect({ host: ip, port: Number(port) });
  await once(socket, 'connect');
  socket.setNoDelay(true);
  return socket;
}

/** Runs `count` jobs, `lanes` at a time. */
async function inLanes(count, lanes, job) {
  let next = 0;
  const lane = async () => {
    while (next < count) await job(next++);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

async function hold(ip, port, count) {
  const sockets = [];
  await inLanes(Number(count), 64, async (i) => {
    const s = await open(ip, port);
    sockets.push(s);
    await echo(s, `line ${i}\n`);
  });
  console.log(`held ${sockets.length}`);
  for await (const line of createInterface({ input: process.stdin })) {
    await inLanes(sockets.length, 64, (i) => echo(sockets[i], `${line} ${i}\n`));
    console.log(`echoed ${sockets.length}`);
  }
  for (const s of sockets) s.end();
}

async function short(ip, port, count, lanes) {
  await inLanes(Number(count), Number(lanes), async (i) => {
    const s = await open(ip, port);
    await echo(s, `short ${i}\n`);
    s.end();
    await once(s, 'close');
  });
  console.log(`closed ${count}`);
}

await { serve, hold, short }[mode](...rest);
