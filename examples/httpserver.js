#!/usr/bin/env node
// A plain HTTP server that knows nothing of virtual networks. Run it under the preload library and
// it answers on the virtual network instead of the host's.
//   node examples/httpserver.js [port]      GET /  a greeting      GET /bytes/N  N bytes of a pattern
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

const server = createServer((request, response) => {
  const wanted = /^\/bytes\/(\d{1,10})$/.exec(request.url ?? '')?.[1];
  if (wanted !== undefined && Number(wanted) <= MAX_BYTES) {
    const body = pattern(Number(wanted));
    response.setHeader('content-type', 'application/octet-stream');
    response.setHeader('content-length', body.length);
    response.end(body);
    return;
  }
  const { localAddress, remoteAddress } = request.socket;
  response.setHeader('content-type', 'text/plain');
  response.end(
    `hello from ${localAddress} to ${remoteAddress}: ${request.method} ${request.url}\n`,
  );
});

server.on('error', (error) => {
  console.error(`httpserver: ${error.message}`);
  process.exit(1);
});
server.listen(port, () => console.log(`httpserver: listening on port ${port}`));
