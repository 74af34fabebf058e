/** Several networks for one program: the routing and spreading of `MultiStack`, and a view over it. */
import test from 'ava';
import { MultiStack } from '#src/preload/multi-stack.js';
import type { ViewNetwork } from '#src/preload/networks.js';
import { PortTable } from '#src/preload/ports.js';
import { Op, RequestFlag, State } from '#src/preload/protocol.js';
import { SharedPorts } from '#src/preload/shared-ports.js';
import type { PreloadStack } from '#src/preload/socket-host.js';
import type { StackConfig } from '#src/stack/stack.js';
import { FakeStack } from '#test/helpers/fake-stack.js';
import { address, type Control, int32, World } from '#test/helpers/preload-client.js';
import { ProgramDatagram } from '#test/helpers/preload-datagram.js';

const ANY = new Uint8Array(4);
const LOOPBACK = Uint8Array.of(127, 0, 0, 1);
const GROUP = Uint8Array.of(239, 1, 2, 3);
/** Own addresses in the networks a and b. */
const A = Uint8Array.of(10, 1, 0, 1);
const B = Uint8Array.of(10, 2, 0, 1);
const EINVAL = -22;
const ENODEV = -19;
const EADDRINUSE = -98;
const EADDRNOTAVAIL = -99;
const ENETUNREACH = -101;
const ECONNRESET = 104;
const AT = { mono: 0, wall: 0 };

interface Network {
  readonly stack: FakeStack;
  readonly table: PortTable;
  config: StackConfig;
  touched: number;
}

function network(ip: Uint8Array, prefixLen = 24): Network {
  const n: Network = {
    stack: new FakeStack(),
    table: new PortTable(() => 1),
    config: { mtu: 2800, addresses: [{ ip, prefixLen }], routes: [] },
    touched: 0,
  };
  n.stack.configure(AT, n.config);
  return n;
}

/** A view over networks that can be joined and left; index 2 is the first that was joined. */
class Several {
  readonly multi = new MultiStack();
  readonly ports = new SharedPorts(new PortTable(() => 7));
  readonly stacks: FakeStack[] = [];
  readonly world: World;
  #list: { nwid: bigint; view: ViewNetwork }[] = [];
  #next = 2;
  #dns = new Map<number, ReturnType<ViewNetwork['dns']>>();

  constructor(...networks: Network[]) {
    const loopback = new FakeStack();
    this.stacks.push(loopback);
    const config = { mtu: 2800, addresses: [], routes: [] };
    this.multi.add(AT, {
      index: 1,
      nwid: 0n,
      stack: loopback,
      config: () => config,
      touch: () => undefined,
    });
    this.world = new World(
      {
        nwid: 0n,
        stack: this.multi.stack,
        config: () => this.#config(),
        several: {
          networks: () => this.#list.map((n) => n.view),
          stackOn: (index) => this.multi.on(index),
          ports: this.ports,
        },
      },
      this.stacks,
    );
    networks.forEach((n, i) => {
      this.join(n, BigInt(i + 1));
    });
  }

  #config(): StackConfig {
    const all = this.#list.map((n) => n.view.config());
    return {
      mtu: 2800,
      addresses: all.flatMap((c) => c.addresses),
      routes: all.flatMap((c) => c.routes),
    };
  }

  join(n: Network, nwid: bigint): number {
    const index = this.#next++;
    const view: ViewNetwork = {
      index,
      name: `zt${nwid}`,
      mac: n.stack.mac,
      nwidText: nwid.toString(16).padStart(16, '0'),
      config: () => n.config,
      dns: () => this.#dns.get(index) ?? { domain: '', servers: [] },
    };
    this.#list = [...this.#list, { nwid, view }].sort((a, b) => (a.nwid < b.nwid ? -1 : 1));
    this.stacks.push(n.stack);
    this.ports.share(index, { table: n.table, isLocal: (ip) => n.stack.isLocal(ip) });
    this.multi.add(AT, {
      index,
      nwid,
      stack: n.stack,
      config: () => n.config,
      touch: () => {
        n.touched++;
      },
    });
    return index;
  }

  leave(index: number, isBroken = false): void {
    this.#list = this.#list.filter((n) => n.view.index !== index);
    this.ports.unshare(index);
    this.multi.remove(AT, index, isBroken);
    this.world.drain();
  }

  pushDns(index: number, domain: string, ip: Uint8Array, port: number): void {
    this.#dns.set(index, { domain, servers: [{ ip, port }] });
  }

  /** A listening stream and what its control connection says. */
  server(control: Control, ip: Uint8Array, port: number) {
    const socket = this.world.socket();
    const bound = control.result(Op.bind, socket.token, address(ip, port));
    const listening = bound === 0 ? control.result(Op.listen, socket.token, int32(5, 0)) : bound;
    return { socket, result: listening };
  }

  /** A member of a network connects there; what it saw. */
  dial(n: Network, ip: Uint8Array, port: number): string[] {
    const seen: string[] = [];
    n.stack.tcpConnect(
      AT,
      undefined,
      { ip, port },
      {
        onConnected: () => seen.push('connected'),
        onData: () => undefined,
        onSent: () => undefined,
        onFin: () => seen.push('fin'),
        onError: (e) => seen.push(e),
      },
    );
    this.world.drain();
    return seen;
  }

  datagram(control: Control, ip: Uint8Array, port: number) {
    const socket = new ProgramDatagram(this.world);
    return { socket, result: control.result(Op.bind, socket.token, address(ip, port)) };
  }

  idle(): Record<string, number> {
    const { lines, spreads, dropLatePort } = this.multi.counters();
    const all = this.stacks.flatMap((s, i) =>
      Object.entries(s.counters()).map(([k, v]): [string, number] => [`${k}${i}`, v]),
    );
    const counts: [string, number][] = [...all, ['lines', lines], ['spreads', spreads]];
    counts.push(['dropLatePort', dropLatePort]);
    return Object.fromEntries(counts.filter(([, v]) => v !== 0));
  }
}

function source(stack: PreloadStack, ...ip: number[]): string {
  return stack.sourceFor(Uint8Array.from(ip))?.join('.') ?? 'none';
}

test('the longest prefix decides, of equals the lowest network; a device decides alone', (t) => {
  const narrow = network(Uint8Array.of(10, 2, 0, 1), 24);
  const wide = network(Uint8Array.of(10, 1, 0, 1), 8);
  const same = network(Uint8Array.of(10, 2, 0, 9), 24);
  const s = new Several(same, narrow, wide);
  const { stack } = s.multi;
  t.is(source(stack, 10, 2, 0, 77), '10.2.0.9', 'the lowest of two equals');
  t.is(source(stack, 10, 2, 0, 1), '10.2.0.1', 'an own address before any subnet');
  t.is(source(stack, 10, 7, 7, 7), '10.1.0.1');
  t.is(source(stack, 11, 0, 0, 1), 'none');
  t.is(source(s.multi.on(3), 10, 2, 0, 77), '10.2.0.1');
  t.is(source(s.multi.on(3), 10, 7, 7, 7), 'none');
  t.is(source(s.multi.on(77), 10, 2, 0, 77), 'none', 'an interface that does not exist');
  t.is(source(stack, 127, 0, 0, 1), '127.0.0.1');
  t.is(source(s.multi.on(3), 127, 0, 0, 1), 'none', 'a network leads to no loopback');
});

test('a wildcard listener hears every network and loopback, also networks that come later', (t) => {
  const [a, b] = [network(A), network(B)];
  const s = new Several(a);
  const control = s.world.control();
  const { socket, result } = s.server(control, ANY, 80);
  t.is(result, 0);
  s.join(b, 9n);
  for (const [n, ip] of [
    [a, A],
    [b, B],
  ] as const)
    t.deepEqual(s.dial(n, ip, 80), ['connected']);
  const local = s.world.socket();
  t.is(control.result(Op.connect, local.token, address(LOOPBACK, 80)), 0);
  control.post(Op.padded, local.token, int32(0), RequestFlag.noReply);
  s.world.drain();
  t.is(socket.port.bytes.length, 3 * 64, 'three accept records');
  const picked = [0, 1, 2].map((i) =>
    s.world.accepted(socket.port.bytes.subarray(i * 64, i * 64 + 64)),
  );
  const names = picked.map((p) =>
    control.ask(Op.names, p.token).payload.subarray(16, 20).join('.'),
  );
  t.deepEqual(names, ['10.1.0.1', '10.2.0.1', '127.0.0.1']);
  local.send('hello');
  t.is(picked[2]!.port.bytes.toString(), 'hello');
  t.true(a.touched > 0 && b.touched > 0);
  for (const p of [...picked, local, socket]) p.reset();
  t.deepEqual(s.idle(), {});
});

test('all or nothing: a port that one network has in use is refused', (t) => {
  const [a, b] = [network(A), network(B)];
  const s = new Several(a, b);
  const control = s.world.control();
  const sink = { onAccept: () => undefined };
  const taken = b.stack.tcpListen(AT, { ip: new Uint8Array(4), port: 80 }, false, 5, sink);
  const { socket, result } = s.server(control, ANY, 80);
  t.is(result, EADDRINUSE);
  t.is(a.stack.counters()['listeners'], 0, 'not left open where there was room');
  socket.reset();
  t.not(typeof taken, 'string');
  b.stack.tcpListenClose(AT, taken as never);
  t.deepEqual(s.idle(), {});
});

test('TCP ports are shared with the programs of each network: bind tells', (t) => {
  const [a, b] = [network(A), network(B)];
  const s = new Several(a, b);
  const control = s.world.control();
  const holder = { v6Only: false, reuseAddr: false, reusePort: false, listening: false };
  b.table.add({ ...holder, port: 80, ip: ANY });
  const bind = (ip: Uint8Array) => {
    const socket = s.world.socket();
    const result = control.result(Op.bind, socket.token, address(ip, 80));
    socket.reset();
    return result;
  };
  t.is(bind(ANY), EADDRINUSE);
  t.is(bind(B), EADDRINUSE);
  t.is(bind(A), 0);
  t.is(bind(LOOPBACK), 0, 'loopback is its own');
  const mine = s.world.socket();
  t.is(control.result(Op.bind, mine.token, address(A, 81)), 0);
  t.true(a.table.conflicts({ ...holder, port: 81, ip: ANY }), 'and they see ours');
  t.false(b.table.conflicts({ ...holder, port: 81, ip: ANY }));
  mine.reset();
  t.false(a.table.isHeld(81));
});

test('a network that is left takes its connections, not those of others', (t) => {
  const [a, b] = [network(A), network(B)];
  const s = new Several(a, b);
  const control = s.world.control();
  const { socket: server } = s.server(control, ANY, 80);
  const clients = [A, B].map((ip) => {
    const socket = s.world.socket();
    t.is(control.result(Op.connect, socket.token, address(ip, 80)), 0);
    control.post(Op.padded, socket.token, int32(0), RequestFlag.noReply);
    s.world.drain();
    return socket;
  });
  const stateOf = (i: number) => control.ask(Op.names, clients[i]!.token).payload.readUInt32LE(0);
  t.deepEqual([stateOf(0), stateOf(1)], [State.established, State.established]);
  s.leave(3);
  t.deepEqual([stateOf(0), stateOf(1)], [State.established, State.reset]);
  t.is(control.ask(Op.takeErr, clients[1]!.token).payload.readInt32LE(0), ECONNRESET);
  const late = s.world.socket();
  t.is(control.result(Op.connect, late.token, address(B, 80)), ENETUNREACH);
  s.leave(2, true);
  t.is(stateOf(0), State.reset);
  t.is(s.multi.counters().lines, 0);
  for (const p of [server, late]) p.reset();
  t.is(s.multi.counters().spreads, 0);
});

test('datagrams: one socket hears all networks and answers each from its own address', (t) => {
  const [a, b] = [network(A), network(B)];
  const s = new Several(a);
  const control = s.world.control();
  const { socket, result } = s.datagram(control, ANY, 53);
  t.is(result, 0);
  s.join(b, 9n);
  control.result(Op.setOpt, socket.token, int32(0, 8, 4, 1));
  const client = s.datagram(control, ANY, 0).socket;
  for (const ip of [A, B, LOOPBACK]) {
    client.send({ ip, port: 53 }, 'question');
    s.world.drain();
    const [got] = socket.take();
    t.is(got!.from.ip.join('.'), ip.join('.'));
    t.is(got!.interfaceIndex, ip === A ? 2 : ip === B ? 3 : 1);
    socket.send({ ip: got!.from.ip, port: got!.from.port }, 'answer');
    t.deepEqual(client.texts(), ['answer']);
  }
  client.send({ ip: Uint8Array.of(9, 9, 9, 9), port: 1 }, 'lost');
  t.is(s.world.view.counters().dropDatagramSend, 1);
  client.close();
  socket.close();
  t.deepEqual(s.idle(), {});
});

test('SO_BINDTODEVICE: sends by and hears one network', (t) => {
  const [a, b] = [network(A), network(B)];
  const s = new Several(a, b);
  const control = s.world.control();
  const device = (token: Parameters<Control['result']>[1], name: string) => {
    const text = Buffer.from(name);
    return control.result(Op.setOpt, token, Buffer.concat([int32(1, 25, text.length), text]));
  };
  const { socket } = s.datagram(control, ANY, 53);
  t.is(device(socket.token, 'eth0'), ENODEV);
  t.is(device(socket.token, 'zt2'), 0);
  const client = s.datagram(control, ANY, 0).socket;
  client.send({ ip: A, port: 53 }, 'to a');
  client.send({ ip: B, port: 53 }, 'to b');
  t.deepEqual(socket.texts(), ['to b']);
  socket.send({ ip: A, port: 9 }, 'x');
  t.is(s.world.view.counters().dropDatagramSend, 1, 'network b does not lead to a');
  const stream = s.world.socket();
  t.is(device(stream.token, 'zt2'), 0);
  t.is(control.result(Op.connect, stream.token, address(A, 80)), ENETUNREACH);
  const listener = s.world.socket();
  t.is(device(listener.token, 'zt1'), 0);
  t.is(control.result(Op.bind, listener.token, address(ANY, 80)), 0);
  t.is(control.result(Op.listen, listener.token, int32(5, 0)), 0);
  t.deepEqual(s.dial(a, A, 80), ['connected']);
  t.deepEqual(s.dial(b, B, 80), ['ECONNREFUSED']);
});

test('what is bound to an address of a network is opened there alone, and when it comes', (t) => {
  const a = network(A);
  const b = network(B);
  const s = new Several(a);
  const control = s.world.control();
  t.is(s.server(control, B, 80).result, EADDRNOTAVAIL);
  const socket = s.world.socket();
  t.is(control.result(Op.bind, socket.token, address(B, 80, 8)), 0, 'IP_FREEBIND');
  t.is(control.result(Op.listen, socket.token, int32(5, 0)), 0);
  t.is(a.stack.counters()['listeners'], 0);
  b.stack.configure(AT, { ...b.config, addresses: [] });
  const index = s.join(b, 9n);
  t.is(b.stack.counters()['listeners'], 0);
  b.stack.configure(AT, b.config);
  s.multi.changed(AT, index);
  t.deepEqual(s.dial(b, B, 80), ['connected']);
});

test('groups are joined on the interface that is named, else on the first', (t) => {
  const [a, b] = [network(A), network(B)];
  const s = new Several(a, b);
  const control = s.world.control();
  const { socket } = s.datagram(control, ANY, 5353);
  const change = (name: number, ip: Uint8Array, index = 0) =>
    control.result(
      Op.setOpt,
      socket.token,
      Buffer.concat([int32(0, name, 12), GROUP, ip, int32(index)]),
    );
  const joined = (n: Network) => n.stack.udp.groups.get(GROUP.join('.')) ?? 0;
  t.is(change(35, ANY), 0);
  t.deepEqual([joined(a), joined(b)], [1, 0]);
  t.is(change(35, ANY, 3), 0);
  t.deepEqual([joined(a), joined(b)], [1, 1]);
  t.is(change(35, B), EADDRINUSE, 'the same one by its address');
  t.is(change(35, ANY, 9), ENODEV);
  socket.close();
  t.deepEqual([joined(a), joined(b)], [0, 0]);
  t.deepEqual(s.idle(), {});
});

test('names: each network is asked by its domain, the longest first', (t) => {
  const [a, b] = [network(A), network(B)];
  const s = new Several(a, b);
  s.pushDns(2, '', A, 530);
  s.pushDns(3, 'corp.test', B, 530);
  const control = s.world.control();
  const servers = [s.datagram(control, A, 530).socket, s.datagram(control, B, 530).socket];
  const asked = (name: string) => {
    const text = Buffer.from(name);
    control.post(Op.resolve, undefined, Buffer.concat([Buffer.from([4, 0, text.length, 0]), text]));
    return servers.map((server) => server.take().length);
  };
  t.deepEqual(asked('www.test'), [1, 0]);
  t.deepEqual(asked('www.corp.test'), [0, 1]);
  t.deepEqual(asked('corp.test'), [0, 1]);
  t.deepEqual(asked('xcorp.test'), [1, 0]);
});

test('the own DNS server answers on loopback and takes port 53 of no network', (t) => {
  const a = network(A);
  const s = new Several(a);
  const control = s.world.control();
  const client = s.datagram(control, ANY, 0).socket;
  const own = s.stacks[1]!;
  t.is(own, a.stack);
  const sink = { onDatagram: () => undefined };
  const port53 = a.stack.udpOpen(AT, { ip: new Uint8Array(0), port: 53 }, true, sink);
  t.is(typeof port53, 'number', 'port 53 of the network is free');
  client.send({ ip: LOOPBACK, port: 53 }, 'not a question');
  t.deepEqual(client.texts(), [], 'and no refusal from loopback');
  const refused = s.datagram(control, ANY, 53);
  t.is(refused.result, EADDRINUSE);
  refused.socket.close();
  a.stack.udpClose(AT, port53 as never);
  const server = s.datagram(control, ANY, 53);
  t.is(server.result, 0);
  client.send({ ip: LOOPBACK, port: 53 }, 'for the program');
  t.deepEqual(server.socket.texts(), ['for the program']);
  server.socket.close();
  client.close();
  t.deepEqual(s.idle(), {});
});

test('interfaces: lo and one of each network', (t) => {
  const s = new Several(network(A), network(B));
  const { payload } = s.world.control().ask(Op.ifList);
  t.is(payload.readUInt16LE(0), 3);
  const text = payload.toString('latin1');
  for (const name of ['lo', 'zt1', 'zt2']) t.true(text.includes(name));
  t.is(s.world.control().result(Op.srcAddr, undefined, address(ANY, 0).subarray(0, 20)), EINVAL);
});
