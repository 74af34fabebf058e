import test from 'ava';
import { REASSEMBLY_SLOTS } from '#src/vl1/constants.js';
import { type Assembled, Reassembly } from '#src/vl1/fragments.js';
import { Path } from '#src/vl1/path.js';
import { inetAddress, remoteAddress } from '#src/wire/inetaddress.js';
import { FRAGMENT_HEAD_LEN, MAX_FRAGMENTS } from '#src/wire/packet.js';
import { LuckyDice } from '../../helpers/dice.js';

const SEED = 20_261_126;
const PACKETS = 400;

interface Piece {
  readonly number: number;
  readonly bytes: Uint8Array;
  readonly path: Path;
}

interface Packet {
  readonly body: Uint8Array;
  readonly path: Path;
  readonly pieces: readonly Piece[];
}

const pathOf = (n: number): Path =>
  new Path(1, remoteAddress(inetAddress(Uint8Array.of(10, 0, 0, n), 9993)));

function cut(dice: LuckyDice, id: number, path: Path): Packet {
  const total = 2 + dice.below(MAX_FRAGMENTS - 1);
  const lengths = Array.from({ length: total }, (_, i) => (i === 0 ? 28 : 1) + dice.below(1_000));
  const body = dice.bytes(lengths.reduce((a, b) => a + b, 0));
  new DataView(body.buffer).setBigUint64(0, BigInt(id) << 20n);
  let at = 0;
  const pieces = lengths.map((length, number) => {
    const part = body.subarray(at, at + length);
    at += length;
    if (number === 0) return { number, bytes: part, path };
    const bytes = new Uint8Array(FRAGMENT_HEAD_LEN + length);
    bytes.set(body.subarray(0, 8));
    bytes[13] = 0xff;
    bytes[14] = (total << 4) | number;
    bytes.set(part, FRAGMENT_HEAD_LEN);
    return { number, bytes, path };
  });
  return { body, path, pieces };
}

const feed = (r: Reassembly, now: number, p: Piece): Assembled | string | undefined =>
  p.number === 0 ? r.handleHead(now, p.path, p.bytes) : r.handleFragment(now, p.path, p.bytes);

/** All pieces once, some twice, in any order, mixed with those of the packets before and after. */
function shuffled(dice: LuckyDice, packets: readonly Packet[]): Piece[] {
  const stream = packets.flatMap((p, i) =>
    p.pieces.flatMap((piece) => {
      const at = i + 3 * (dice.below(1_000) / 1_000);
      return dice.chance(0.1)
        ? [
            { at, piece },
            { at: at + 0.001, piece },
          ]
        : [{ at, piece }];
    }),
  );
  return stream.sort((a, b) => a.at - b.at).map((s) => s.piece);
}

test('pieces in any order and repeated, of interleaved packets of two senders', (t) => {
  t.log(`seed ${SEED}`);
  const dice = new LuckyDice(SEED, 'fragments');
  const paths = [pathOf(1), pathOf(2)];
  // Both senders use the same ids: only the path tells their packets apart.
  const packets = Array.from({ length: PACKETS }, (_, i) => cut(dice, i >> 1, paths[i & 1]!));
  const r = new Reassembly();
  const found: string[] = [];
  for (const piece of shuffled(dice, packets)) {
    const got = feed(r, 0, piece);
    t.not(typeof got, 'string');
    if (typeof got !== 'object') continue;
    t.is(got.path, piece.path);
    found.push(Buffer.from(got.packet).toString('latin1') + got.path.remote.key);
  }
  const wanted = packets.map((p) => Buffer.from(p.body).toString('latin1') + p.path.remote.key);
  t.deepEqual(found.sort(), wanted.sort());
});

test('a piece beyond the total does not belong to the packet', (t) => {
  const dice = new LuckyDice(SEED, 'beyond');
  const path = pathOf(1);
  const head = dice.bytes(100);
  const piece = (total: number, number: number, fill: number): Uint8Array => {
    const bytes = new Uint8Array(FRAGMENT_HEAD_LEN + 50).fill(fill);
    bytes.set(head.subarray(0, 8));
    bytes[13] = 0xff;
    bytes[14] = (total << 4) | number;
    return bytes;
  };
  const r = new Reassembly();
  t.is(r.handleFragment(0, path, piece(6, 5, 9)), undefined);
  t.is(r.handleHead(0, path, head), undefined);
  const got = r.handleFragment(0, path, piece(2, 1, 7));
  t.deepEqual(
    typeof got === 'object' ? Buffer.from(got.packet) : got,
    Buffer.concat([head, Buffer.alloc(50, 7)]),
  );
});

test('a buffer that is used again holds nothing of what was given up', (t) => {
  const dice = new LuckyDice(SEED, 'again');
  const path = pathOf(1);
  const r = new Reassembly();
  const given = Array.from({ length: 3 * REASSEMBLY_SLOTS }, (_, i) => cut(dice, i, path));
  for (const p of given) for (const piece of p.pieces.slice(1)) feed(r, 0, piece);
  t.is(r.size, REASSEMBLY_SLOTS);
  for (let i = 0; i < 2 * REASSEMBLY_SLOTS; i++) {
    const p = cut(dice, 100_000 + i, path);
    let got: Assembled | string | undefined;
    for (const piece of p.pieces) got = feed(r, 0, piece);
    t.deepEqual(typeof got === 'object' ? Buffer.from(got.packet) : got, Buffer.from(p.body));
  }
});
