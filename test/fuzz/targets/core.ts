/** The packet core and the TCP/IP stack, both WebAssembly: a trap is a finding. */
import { createStack } from '#src/stack/lwip-stack.js';
import type { Stack } from '#src/stack/stack.js';
import { hexes, samples } from '../../helpers/recorded.js';
import { core } from '../../sim/identities.js';
import { type Family, must, type Target } from '../target.js';

const PACKET_MAX_LEN = 10_024;

const lz4: Target = {
  name: 'lz4',
  files: ['packetcore/core.js'],
  plant: {
    file: 'packetcore/core.js',
    find: 'this.#wasm.lz4Decode(this.#enter(input), len, out.length)',
    replace: 'this.#wasm.lz4Decode(this.#enter(input), len, 0x4000)',
  },
  maxLen: PACKET_MAX_LEN,
  seeds() {
    const out = new Uint8Array(20_000);
    const packed = (b: Uint8Array): Uint8Array => out.slice(0, core.compress(b, out));
    const texts = [...samples.map((s) => s.bytes), ...hexes].filter((b) => b.length > 60);
    return [
      ...texts.slice(0, 200).map((b) => Uint8Array.of(1, ...packed(b.subarray(0, 9_000)))),
      Uint8Array.of(1, ...packed(new Uint8Array(9_000))),
    ];
  },
  run(input) {
    // The first byte is the room for the output, in 64 bytes.
    const room = new Uint8Array((input[0] ?? 0) * 64);
    const block = input.subarray(1);
    const n = core.decompress(block, room);
    must(n <= room.length, 'more than its room');
    if (n <= 0) return;
    const text = room.slice(0, n);
    const packed = new Uint8Array(2 * n + 64);
    const len = core.compress(text, packed);
    if (len <= 0) return;
    const back = new Uint8Array(n);
    must(core.decompress(packed.subarray(0, len), back) === n, 'its own block is refused');
    must(Buffer.compare(back, text) === 0, 'its own block reads otherwise');
  },
};

const key = core.makeKey(Uint8Array.from({ length: 48 }, (_, i) => i * 5));

const packets: Target = {
  name: 'packets',
  files: ['packetcore/core.js', 'packetcore/siv.js'],
  plant: {
    file: 'packetcore/core.js',
    find: 'if (len < HEADER_LEN || len > PACKET_MAX_LEN)\n            return false;',
    replace: '',
  },
  maxLen: 10_400,
  seeds() {
    const lens = [0, 27, 28, 29, 100, 155, 156, 157, 1_432, 2_800, 10_024, 10_025, 10_400];
    return lens.flatMap((len) =>
      [0, 1, 3].map((suite) => {
        const b = Uint8Array.from({ length: len }, (_, i) => i * 13);
        if (len > 18) b[18] = suite << 3;
        if (len >= 28 && len <= PACKET_MAX_LEN) core.seal(key, b, suite as 0 | 1 | 3);
        return b;
      }),
    );
  },
  run(input) {
    const packet = input.slice();
    const isOpen = core.open(key, packet);
    if (input.length < 28 || input.length > PACKET_MAX_LEN) {
      must(!isOpen, 'a packet of an impossible length is taken');
      return;
    }
    for (const suite of [0, 1, 3] as const) {
      const own = input.slice();
      own[18] = own[18]! & 0x47;
      core.seal(key, own, suite);
      const sealed = own.slice();
      must(core.open(key, own), `suite ${suite}: its own packet is refused`);
      sealed[input[0]! % 8] = sealed[input[0]! % 8]! ^ 1;
      must(!core.open(key, sealed), `suite ${suite}: an altered packet is taken`);
    }
    const start = 28 + (input[1]! % (input.length - 27));
    const masked = input.slice();
    core.maskHello(key, masked, start);
    core.maskHello(key, masked, start);
    must(Buffer.compare(masked, input) === 0, 'masking twice is not nothing');
  },
};

const MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
const PEER = Uint8Array.of(2, 0, 0, 0, 0, 2);
const OWN_IP = Uint8Array.of(10, 7, 0, 1);
const FRESH_EVERY = 2_000;
const moment = (ms: number): { mono: number; wall: number } => ({ mono: ms, wall: ms });

let stack: Stack | undefined;
let frames = 0;

function stackOf(): Stack {
  if (stack === undefined || frames % FRESH_EVERY === 0) {
    stack = createStack({ mac: MAC, entropy: { fill: (b) => void b.fill(7) }, at: moment(0) });
    stack.configure(moment(0), {
      mtu: 2_800,
      addresses: [
        { ip: OWN_IP, prefixLen: 24 },
        { ip: Uint8Array.of(0xfd, ...new Array<number>(14).fill(0), 1), prefixLen: 64 },
      ],
      routes: [],
    });
  }
  return stack;
}

/** IPv4 and TCP, UDP or ICMP headers towards us, for the fuzzer to bend. */
function ip4(protocol: number, body: readonly number[]): number[] {
  const len = 20 + body.length;
  const head = [
    0x45,
    0,
    len >> 8,
    len & 255,
    0,
    1,
    0,
    0,
    64,
    protocol,
    0,
    0,
    10,
    7,
    0,
    2,
    10,
    7,
    0,
    1,
  ];
  let sum = 0;
  for (let i = 0; i < 20; i += 2) sum += (head[i]! << 8) | head[i + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  head[10] = (~sum >> 8) & 255;
  head[11] = ~sum & 255;
  return [...head, ...body];
}

const ARP = 0;
const IPV4 = 1;
const IPV6 = 2;
const ETHER_TYPES = [0x0806, 0x0800, 0x86dd, 0x8100];

const stackFrames: Target = {
  name: 'stack',
  files: ['stack/netif.js', 'stack/lwip-stack.js', 'stack/icmp.js'],
  plant: {
    file: 'stack/netif.js',
    find: 'const p = exports.port_frame_alloc(now, payload.length);',
    replace: 'const p = u8.length - 8;',
  },
  maxLen: 3_000,
  seeds: () =>
    [
      [ARP, 0, 1, 8, 0, 6, 4, 0, 1, ...PEER, 10, 7, 0, 2, 0, 0, 0, 0, 0, 0, ...OWN_IP],
      [IPV4, ...ip4(1, [8, 0, 0xf7, 0xff, 0, 0, 0, 0])],
      [IPV4, ...ip4(6, [4, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 16, 0, 0, 0, 0, 0])],
      [IPV4, ...ip4(17, [4, 0, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4])],
      [IPV6, 0x60, 0, 0, 0, 0, 24, 58, 255, 0xfe, 0x80, ...new Array<number>(13).fill(0), 2],
    ].map((x) => Uint8Array.from(x)),
  run(input) {
    const s = stackOf();
    const at = moment(++frames * 10);
    const type = ETHER_TYPES[(input[0] ?? 0) & 3]!;
    const dst = ((input[0] ?? 0) & 4) === 0 ? MAC : Uint8Array.of(255, 255, 255, 255, 255, 255);
    s.frameIn(at, dst, PEER, type, input.subarray(1));
    let count = 0;
    s.drain(at, (_dst, _src, _type, payload) => {
      count++;
      must(payload.length <= 2_800, 'a frame above the MTU');
    });
    must(count <= 16, `${count} frames for one`);
    if (s.deadline() <= at.mono) s.handleTimeout(at);
  },
};

export const FAMILY: Family = { targets: [lz4, packets, stackFrames] };
