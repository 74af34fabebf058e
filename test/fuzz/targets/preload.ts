/** The service's end of the preload protocol: raw bytes of programs, on control and socket streams. */
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
import { address, hello, int32, OWN, World } from '../../helpers/preload-client.js';
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
    'preload/padding.js',
    'preload/listeners.js',
    'preload/options.js',
    'preload/tcp-info.js',
    'preload/names.js',
    'preload/hosts-table.js',
    'preload/address-order.js',
    'preload/view.js',
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

export const FAMILY: Family = { targets: [protocol, requests] };
