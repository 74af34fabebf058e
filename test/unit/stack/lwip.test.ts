import { readFileSync } from 'node:fs';
import test from 'ava';
import {
  ERR_ABRT,
  ERR_ALREADY,
  ERR_ARG,
  ERR_BUF,
  ERR_CLSD,
  ERR_CONN,
  ERR_IF,
  ERR_ISCONN,
  ERR_MEM,
  ERR_RST,
  ERR_RTE,
  ERR_TIMEOUT,
  ERR_USE,
  ERR_VAL,
  StackFault,
  stackErrno,
  unreachableErrno,
} from '#src/stack/errors.js';
import {
  PLACE_BIND,
  PLACE_CONNECT,
  PLACE_DATAGRAM,
  PLACE_OPEN,
  PLACE_SYN_SENT,
} from '#src/stack/layout.js';
import { Lwip, lwipModule } from '#src/stack/lwip.js';
import { A4, any, B4, makeStack, on, Peer, Server, World } from './world.js';

declare const WebAssembly: {
  Module: {
    imports(module: object): { name: string }[];
    exports(module: object): { name: string; kind: string }[];
  };
};

test('the artefact imports nothing and exports exactly the listed functions', (t) => {
  const module = lwipModule();
  t.deepEqual(WebAssembly.Module.imports(module), []);
  const listed = readFileSync('lwip-port/exports.list', 'utf8').trim().split('\n').sort();
  const exported = WebAssembly.Module.exports(module)
    .map((e) => e.name)
    .filter((name) => name.startsWith('port_'))
    .sort();
  t.deepEqual(exported, listed);
});

test('errors are mapped as the table says', (t) => {
  const errs = [
    ...[ERR_MEM, ERR_BUF, ERR_TIMEOUT, ERR_RTE, ERR_VAL, ERR_USE, ERR_ALREADY],
    ...[ERR_ISCONN, ERR_CONN, ERR_IF, ERR_ABRT, ERR_RST, ERR_CLSD, ERR_ARG],
  ];
  const row = (place: number): string => errs.map((e) => stackErrno(-((place << 8) | e))).join(' ');
  t.is(
    row(PLACE_BIND),
    'ENOMEM EADDRINUSE EIO EADDRNOTAVAIL EINVAL EADDRINUSE EINVAL EINVAL EINVAL ENETDOWN EIO EIO EINVAL EINVAL',
  );
  t.is(
    row(PLACE_CONNECT),
    'ENOBUFS EADDRNOTAVAIL ETIMEDOUT ENETUNREACH EINVAL EADDRNOTAVAIL EALREADY EISCONN ENOTCONN ENETDOWN EIO EIO EIO EINVAL',
  );
  t.is(
    row(PLACE_SYN_SENT),
    'ENOBUFS EIO ETIMEDOUT EHOSTUNREACH EIO EIO EIO EIO EIO ENETDOWN ETIMEDOUT ECONNREFUSED ECONNABORTED EIO',
  );
  t.is(
    row(PLACE_OPEN),
    'ENOBUFS EIO ETIMEDOUT EHOSTUNREACH EIO EIO EIO EIO EIO ENETDOWN ETIMEDOUT ECONNRESET EIO EIO',
  );
  t.is(
    row(PLACE_DATAGRAM),
    'ENOBUFS ENOBUFS ETIMEDOUT ENETUNREACH EINVAL EADDRINUSE EISCONN EISCONN EDESTADDRREQ ENETDOWN EIO EIO EIO EINVAL',
  );
  t.is(stackErrno(-99999), 'EIO');
  t.is(unreachableErrno(3, false), 'ECONNREFUSED');
  t.is(unreachableErrno(4, true), 'ECONNREFUSED');
  t.is(unreachableErrno(200, true), 'EHOSTUNREACH');
});

test('a trap is a StackFault, and the instance is not entered again', (t) => {
  const lwip = new Lwip(1);
  lwip.exports.port_start(1);
  t.notThrows(() => lwip.check());
  t.throws(() => lwip.exports.port_start(1), { instanceOf: StackFault, code: 'ERR_STACK_FAULT' });
  t.throws(() => lwip.check(), { instanceOf: StackFault });
});

test('a closed stack refuses every call', (t) => {
  const world = new World();
  world.a.close();
  t.throws(() => world.a.handleTimeout(world.at), { instanceOf: StackFault });
  t.throws(() => world.a.deadline(), { instanceOf: StackFault });
});

test('a callback that throws does not keep the others from running', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80));
  const clients = [1, 2].map(() => new Peer(world, world.a).connect(on(B4, 80)));
  t.true(world.run(() => server.peers.length === 2));
  const [bad, good] = server.peers;
  if (bad === undefined || good === undefined) return t.fail();
  bad.onBytes = () => {
    throw new Error('of the program');
  };
  world.filter = (f, from) => {
    if (from === world.a) world.b.frameIn(world.at, f.dst, f.src, f.etherType, f.payload);
    return undefined;
  };
  for (const c of clients) c.send(10);
  world.drain(world.a);
  t.throws(() => world.drain(world.b), { message: 'of the program' });
  t.is(bad.received + good.received, 20);
});

test('a callback may drain and call back; nothing is lost or repeated', (t) => {
  const world = new World();
  const server = new Server(world, world.b, any(80), {
    each: (p) => {
      p.onBytes = (bytes) => {
        world.b.tcpWrite(world.at, p.handle!, bytes, false);
        world.drain(world.b);
      };
    },
  });
  const client = new Peer(world, world.a).connect(on(B4, 80));
  client.send(200_000);
  t.true(world.run(() => client.received === 200_000));
  t.is(client.inDigest(), client.outDigest());
  t.is(server.peer.received, 200_000);
});

test('two stacks with different entropy choose different ports and sequence numbers', (t) => {
  const at = { mono: 5, wall: 0 };
  const seen = new Set<string>();
  for (const seed of [1, 2, 3]) {
    const stack = makeStack(Uint8Array.of(2, 0, 0, 0, 0, 1), seed, at);
    stack.configure(at, { mtu: 2800, addresses: [{ ip: A4, prefixLen: 24 }], routes: [] });
    const world = new World();
    for (let i = 0; i < 3; i++) {
      const handle = stack.tcpConnect(at, undefined, on(A4, 80), new Peer(world, stack));
      if (typeof handle === 'number') seen.add(String(stack.tcpNames(handle)?.local.port));
    }
  }
  t.is(seen.size, 9);
});
