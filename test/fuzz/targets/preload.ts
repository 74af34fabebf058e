/** The service's end of the preload protocol: raw bytes of programs, on streams and record sockets. */
import {
  emitRequest,
  HELLO_LEN,
  HelloKind,
  Op,
  parseAddress,
  parseHello,
  parseRequestHeader,
  parseUpstream,
  type Token,
} from '#src/preload/protocol.js';
import type { RecordConnection } from '#src/preload/record-client.js';
import { emitSending } from '#src/preload/records.js';
import { address, hello, int32, OWN, World } from '../../helpers/preload-client.js';
import { FakeRecordPort } from '../../helpers/preload-datagram.js';
import { type Family, must, type Target } from '../target.js';

const protocol: Target = {
  name: 'preload-protocol',
  files: ['preload/protocol.js'],
  plant: {
    file: 'preload/protocol.js',
    find: 'if (bytes.length < at + ZTADDR_LEN)',
    replace: 'if (false)',
  },
  maxLen: 300,
  seeds: () => [
    hello(HelloKind.socket, 'tttttttttttttttt' as Token, 4, 'abcdefgh'),
    emitRequest(Op.connect, 1, 'tttttttttttttttt' as Token, address(OWN, 80)),
    Uint8Array.of(...Buffer.from('ZTNR'), 1, 0, 0, 0, ...Buffer.from('abcdefgh')),
  ],
  run(input) {
    const h = parseHello(input);
    if (h !== undefined) {
      must(h.token.length === 16 && h.connectionId.length === 8, 'short names');
      must(h.key === undefined || h.key.length === 16, 'a key that is not 16 bytes');
    }
    const r = parseRequestHeader(input);
    must(r === undefined || (r.len >= 32 && r.len <= 65_568), 'a length out of range');
    for (let at = 0; at <= input.length; at++) {
      const a = parseAddress(input, at);
      must(a === undefined || at + 24 <= input.length, 'an address beyond the end');
      const u = parseUpstream(input, at);
      must(u === undefined || u.connectionId.length === 8, 'a short id');
    }
  },
};

/** The token that `hello` of the first socket has in each world. */
const TOKEN = '1'.padStart(16, 't') as Token;

/** Streams of one program: each piece of the input goes to the control or to a socket stream. */
function program(input: Uint8Array): void {
  const world = new World();
  const socket = world.socket();
  const control = world.control();
  let at = 0;
  while (at < input.length) {
    const to = input[at]!;
    const len = 1 + (input[at + 1] ?? 0);
    const piece = input.subarray(at + 2, at + 2 + len);
    at += 2 + len;
    switch (to & 7) {
      case 0:
        socket.send(piece);
        break;
      case 1:
        socket.end((to & 8) !== 0);
        break;
      case 2:
        socket.flush();
        break;
      case 3:
        world.pass(100);
        break;
      default:
        control.connection.handleBytes(piece);
        world.drain();
    }
  }
  world.pass(1_000);
  must(control.port.bytes.length <= 64 + 70_000 * (1 + input.length / 32), 'replies without end');
}

const piece = (to: number, bytes: Uint8Array): number[] => [to, bytes.length - 1, ...bytes];

const requests: Target = {
  name: 'preload-requests',
  files: [
    'preload/client.js',
    'preload/requests.js',
    'preload/vsockets.js',
    'preload/handshake.js',
    'preload/incoming.js',
    'preload/control-block.js',
    'preload/binding.js',
    'preload/outgoing.js',
    'preload/program-watch.js',
    'preload/stream-options.js',
    'preload/stream-ways.js',
    'preload/padding.js',
    'preload/listeners.js',
    'preload/options.js',
    'preload/tcp-info.js',
    'preload/names.js',
    'preload/hosts-table.js',
    'preload/address-order.js',
    'preload/view.js',
    'preload/ended.js',
  ],
  plant: {
    file: 'preload/requests.js',
    find: 'if (payload.length < at + 4)',
    replace: 'if (false)',
  },
  maxLen: 2_000,
  tokens: Object.values(Op).map((op) => emitRequest(op, 7, TOKEN, new Uint8Array(8)).slice(0, 40)),
  seeds() {
    const ask = (op: number, payload: Uint8Array): number[] =>
      piece(4, emitRequest(op, 1, TOKEN, payload));
    const all = Object.values(Op).map((op) => Uint8Array.from(ask(op, new Uint8Array(28))));
    return [
      ...all,
      Uint8Array.from([
        ...ask(Op.bind, address(OWN, 80)),
        ...ask(Op.listen, int32(5, 0)),
        ...piece(3, new Uint8Array(1)),
      ]),
      Uint8Array.from([
        ...ask(Op.connect, address(OWN, 80)),
        ...piece(0, new Uint8Array(HELLO_LEN)),
        ...piece(1, new Uint8Array(1)),
      ]),
    ];
  },
  run: program,
};

/** Record sockets that one input may open. */
const RECORD_SOCKETS = 4;

/** Programs at the door for records: what they say first is the input's matter too. */
class RecordPrograms {
  readonly world = new World();
  readonly #control = this.world.control();
  readonly #ports: FakeRecordPort[] = [];
  readonly #connections: RecordConnection[] = [];

  /** One step of an input. */
  step(to: number, piece: Uint8Array): void {
    switch (to & 7) {
      case 0:
        this.#open();
        break;
      case 1:
        this.#of(to)?.handleEnd();
        break;
      case 2:
        this.#of(to)?.handleReset();
        break;
      case 3:
        this.world.pass(6_000);
        break;
      case 4:
        this.#control.connection.handleBytes(piece);
        break;
      case 5:
        this.#leaveRoom(to);
        break;
      default:
        this.#of(to)?.handleRecord(piece);
    }
    this.world.drain();
  }

  #open(): void {
    if (this.#ports.length === RECORD_SOCKETS) return;
    const port = new FakeRecordPort();
    const connection = this.world.view.openRecords(port, { needsKey: false, uid: undefined });
    port.connection = connection;
    this.#ports.push(port);
    this.#connections.push(connection);
  }

  /** The one that bits 3 and 4 of a step name, unless it is closed. */
  #of(to: number): RecordConnection | undefined {
    const i = (to >> 3) & 3;
    return this.#ports[i]?.destroyed === false ? this.#connections[i] : undefined;
  }

  /** The program's queue is full, or takes records again. */
  #leaveRoom(to: number): void {
    const port = this.#ports[(to >> 3) & 3];
    if (port === undefined || port.destroyed) return;
    port.room = port.room === 0 ? Number.POSITIVE_INFINITY : 0;
    if (port.room > 0) port.connection?.handleWritable();
  }

  /** @throws Finding when something is left behind. */
  end(): void {
    this.world.pass(6_000);
    const { datagramSockets } = this.world.view.counters();
    must(datagramSockets <= this.#ports.length, 'more sockets than connections');
    this.world.view.close();
    const c = this.world.view.counters();
    must(c.datagramSockets === 0 && c.udpPorts === 0 && c.echoIds === 0, 'a socket is left');
    must(c.datagramBytesQueued === 0 && c.memberships === 0, 'records or groups are left');
    must(
      this.#ports.every((port) => port.destroyed),
      'a connection is left',
    );
  }
}

const greet = (family: 4 | 6, protocol: number): Uint8Array =>
  hello(HelloKind.datagram, TOKEN, family, '\0'.repeat(8), protocol);
const OWN_PORT = { ip: OWN, port: 80 };

const records: Target = {
  name: 'preload-records',
  files: [
    'preload/record-client.js',
    'preload/records.js',
    'preload/datagrams.js',
    'preload/datagram-options.js',
    'preload/datagram-ports.js',
    'preload/record-queue.js',
    'preload/memberships.js',
    'preload/source-filter.js',
    'preload/cork.js',
    'preload/demux.js',
    'preload/pending.js',
  ],
  plant: {
    file: 'preload/records.js',
    find: 'if (record.length < RECORD_HEADER_LEN || record.length > RECORD_MAX)',
    replace: 'if (false)',
  },
  maxLen: 2_000,
  tokens: [greet(4, 17), greet(6, 17), greet(4, 1), emitSending(OWN_PORT, Buffer.from('x'))],
  seeds() {
    const ask = (op: number, payload: Uint8Array): number[] =>
      piece(4, emitRequest(op, 1, TOKEN, payload));
    const open = [...piece(0, new Uint8Array(1)), ...piece(6, greet(4, 17))];
    const echo = [...piece(0, new Uint8Array(1)), ...piece(6, greet(4, 1))];
    const send = piece(6, emitSending(OWN_PORT, Buffer.from('datagram'), { more: true }));
    const ping = piece(6, emitSending(OWN_PORT, Uint8Array.of(8, 0, 0, 0, 0, 1, 0, 1)));
    const full = piece(5, new Uint8Array(1));
    return [
      Uint8Array.from([...open, ...ask(Op.bind, address(OWN, 80)), ...send, ...full, ...send]),
      Uint8Array.from([...open, ...ask(Op.connect, address(OWN, 80)), ...send]),
      Uint8Array.from([...echo, ...ping]),
      Uint8Array.from([...open, ...piece(1, new Uint8Array(1)), ...piece(3, new Uint8Array(1))]),
    ];
  },
  run(input) {
    const programs = new RecordPrograms();
    let at = 0;
    while (at < input.length) {
      const len = 1 + (input[at + 1] ?? 0);
      programs.step(input[at]!, input.subarray(at + 2, at + 2 + len));
      at += 2 + len;
    }
    programs.end();
  },
};

export const FAMILY: Family = { targets: [protocol, requests, records] };
