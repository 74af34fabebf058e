#!/usr/bin/env node
// A plain HTTP server that knows nothing of ZeroTier. Run it under the preload library and it
// answers on the virtual network instead of the host's.
//   usage: httpserver.js [port]        GET /  a greeting        GET /bytes/N  N bytes of a pattern
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';

const port = Number(process.argv[2] ?? 8080);
const MAX_BYTES = 1024 * 1024 * 1024;

/** `len` bytes whose content is known from their position, so that a reader can check them. */
function pattern(len) {
  const block = createHash('sha512').update('netcon').digest();
  const out = Buffer.alloc(len);
  for (let at = 0; at < len; at += block.length) block.copy(out, at);
  return out;
}

const server = createServer((req, res) => {
  const wanted = /^\/bytes\/(\d{1,10})$/.exec(req.url ?? '')?.[1];
  if (wanted !== undefined && Number(wanted) <= MAX_BYTES) {
    const body = pattern(Number(wanted));
    res.setHeader('Content-Type', 'application/octet-stream');
    res.setHeader('Content-Length', body.length);
    res.end(body);
    return;
  }
  const { localAddress, remoteAddress } = req.socket;
  res.setHeader('Content-Type', 'text/plain');
  res.end(`Hello ${remoteAddress}, this is ${localAddress} on a virtual network.\n`);
});

server.on('error', (e) => {
  console.error(`httpserver: ${e.message}`);
  process.exit(1);
});
server.listen(port, '0.0.0.0', () => console.log(`listening on port ${port}`));
