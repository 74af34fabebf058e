import { type AddressInfo, connect, createServer } from 'node:net';
import test from 'ava';
import { json } from '#src/http/answer.js';
import { HttpApi } from '#src/http/transport.js';

const AUTH = 'X-ZT1-Auth: secret\r\n';

/** A free port; the little time until it is used again is the price of knowing it. */
function freePort(): Promise<number> {
  const server = createServer();
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

async function api(): Promise<{ port: number; close: () => Promise<void> }> {
  const port = await freePort();
  const http = new HttpApi(
    { authToken: 'secret', metricsToken: 'metrics', allowed: () => [] },
    (r) => {
      if (r.path === '/throw') throw new Error('no "such" thing');
      return json({ method: r.method, path: r.path, body: r.body });
    },
  );
  await http.listen(['127.0.0.1'], port);
  return { port, close: () => http.close() };
}

/** Sends bytes and collects what comes until the server closes. */
function converse(port: number, bytes: string | Buffer): Promise<string> {
  const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
  let text = '';
  return new Promise((resolve, reject) => {
    socket.on('data', (d: Buffer) => {
      text += d.toString('latin1');
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(text));
  });
}

const close = 'Connection: close\r\n';

test('HTTP/1.1 without a Host header is answered, with these headers only', async (t) => {
  const { port, close: end } = await api();
  t.teardown(end);
  t.is(
    await converse(port, `GET /a%20b HTTP/1.1\r\n${AUTH}${close}\r\n`),
    'HTTP/1.1 200 OK\r\nContent-Length: 40\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{"body":"","method":"GET","path":"/a b"}',
  );
});

test('the fifth answer of a connection is its last', async (t) => {
  const { port, close: end } = await api();
  t.teardown(end);
  const text = await converse(port, `GET /x HTTP/1.1\r\n${AUTH}\r\n`.repeat(7));
  t.is(text.match(/HTTP\/1\.1 200 OK/g)?.length, 5);
  t.is(text.match(/Keep-Alive: timeout=5, max=5/g)?.length, 4);
  t.is(text.match(/Connection: close/g)?.length, 1);
});

test('PUT is POST, a POST without a length has an empty body and is answered at once', async (t) => {
  const { port, close: end } = await api();
  t.teardown(end);
  t.regex(
    await converse(port, `PUT /x HTTP/1.1\r\n${AUTH}${close}Content-Length: 2\r\n\r\n{}`),
    /"body":"\{\}","method":"POST"/,
  );
  t.regex(
    await converse(port, `POST /x HTTP/1.1\r\n${AUTH}${close}\r\n`),
    /"body":"","method":"POST"/,
  );
});

test('a refused request is answered before its body has come', async (t) => {
  const { port, close: end } = await api();
  t.teardown(end);
  const text = await converse(port, `POST /x HTTP/1.1\r\n${close}Content-Length: 1000000\r\n\r\n{`);
  t.regex(text, /^HTTP\/1\.1 401 Unauthorized\r\nContent-Length: 2\r\n/);
});

test('exceptions of handlers are 500 with their text, escaped', async (t) => {
  const { port, close: end } = await api();
  t.teardown(end);
  const text = await converse(port, `GET /throw HTTP/1.1\r\n${AUTH}${close}\r\n`);
  t.regex(text, /^HTTP\/1\.1 500 /);
  t.true(text.endsWith('{"error": 500, "description": "no \\"such\\" thing"}'));
});

test('request lines, header lines and methods have their limits', async (t) => {
  const { port, close: end } = await api();
  t.teardown(end);
  const status = async (head: string) =>
    (await converse(port, `${head}\r\n${AUTH}${close}\r\n`)).slice(9, 12);
  t.is(await status(`GET /${'a'.repeat(8192)} HTTP/1.1`), '414');
  t.is(await status(`GET /${'a'.repeat(8000)} HTTP/1.1`), '200');
  t.is(await status(`GET /x HTTP/1.1\r\nX: ${'a'.repeat(8192)}`), '400');
  t.is(await status(`GET /x HTTP/1.1\r\nX: ${'a'.repeat(8000)}`), '200');
  t.is(await status('TRACE /x HTTP/1.1'), '400');
  t.is(await status('BOGUS /x HTTP/1.1'), '400');
  t.is(await status('CONNECT x:1 HTTP/1.1'), '400');
});

test('a port that somebody else holds is refused, and nothing is left listening', async (t) => {
  const { port, close: end } = await api();
  t.teardown(end);
  const second = new HttpApi({ authToken: 'a', metricsToken: 'b', allowed: () => [] }, () =>
    json({}),
  );
  await t.throwsAsync(second.listen(['127.0.0.2', '127.0.0.1'], port), { code: 'EADDRINUSE' });
  await t.throwsAsync(converseAt('127.0.0.2', port), { code: 'ECONNREFUSED' });
});

function converseAt(host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, host, () => {
      socket.destroy();
      resolve();
    });
    socket.on('error', reject);
  });
}

test('moving to another address frees the old one', async (t) => {
  const port = await freePort();
  const http = new HttpApi({ authToken: 'a', metricsToken: 'b', allowed: () => [] }, () =>
    json({}),
  );
  t.teardown(() => http.close());
  await http.listen(['127.0.0.1'], port);
  await http.move(['0.0.0.0'], port);
  await converseAt('127.0.0.2', port);
  await http.move(['127.0.0.1'], port);
  await t.throwsAsync(converseAt('127.0.0.2', port), { code: 'ECONNREFUSED' });
});

test('a body that is not UTF-8 reaches the handler as no JSON', async (t) => {
  const { port, close } = await api();
  const head = `POST / HTTP/1.1\r\n${AUTH}Connection: close\r\nContent-Length: 3\r\n\r\n`;
  const bodies: [number[], string][] = [
    [[0x22, 0xff, 0x22], '"\\"\\udfff\\""'],
    [[0xef, 0xbf, 0xbd], '"\ufffd"'],
  ];
  for (const [bytes, body] of bodies) {
    const answer = await converse(port, Buffer.concat([Buffer.from(head), Buffer.from(bytes)]));
    t.true(Buffer.from(answer, 'latin1').toString().includes(`"body":${body}`), answer);
  }
  await close();
});
