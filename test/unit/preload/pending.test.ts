/** What may wait of one user, in all views together: the last that fits, the first that does not. */
import test from 'ava';
import { PENDING_BYTES_MAX, PENDING_RECORDS_MAX, PendingLimits } from '#src/preload/pending.js';
import { Op } from '#src/preload/protocol.js';
import { address, OWN, World } from '#test/helpers/preload-client.js';
import { ProgramDatagram } from '#test/helpers/preload-datagram.js';

/** Of one socket. */
const QUEUE_BYTES = 256 * 1024;
const QUEUE_COUNT = 512;
const HEADER_LEN = 64;
const ANY = new Uint8Array(4);

/** A view whose programs do not read, and what it sends to them. */
class Scene {
  readonly world: World;
  readonly #sender: ProgramDatagram;
  readonly #uids = new Map<ProgramDatagram, number>();
  #port = 1000;

  constructor(limits?: PendingLimits) {
    this.world = new World({ pendingLimits: limits });
    this.#sender = new ProgramDatagram(this.world);
  }

  /** A bound socket of `uid` that takes nothing. */
  deaf(uid: number): ProgramDatagram {
    const { world } = this;
    const socket = new ProgramDatagram(world, { caller: { needsKey: false, uid } });
    const root = world.control(false, undefined, 0);
    if (root.result(Op.bind, socket.token, address(ANY, ++this.#port)) !== 0) throw new Error();
    root.connection.handleReset();
    socket.port.room = 0;
    this.#uids.set(socket, this.#port);
    return socket;
  }

  /** Records of `length` bytes, header included. */
  sendTo(socket: ProgramDatagram, length: number, count = 1): void {
    const to = { ip: OWN, port: this.#uids.get(socket)! };
    const payload = new Uint8Array(length - HEADER_LEN);
    for (let i = 0; i < count; i++) this.#sender.send(to, payload);
  }

  get counters() {
    const { datagramsQueued, datagramBytesQueued, dropDatagramQueue, dropDatagramUser } =
      this.world.view.counters();
    return [datagramsQueued, datagramBytesQueued, dropDatagramQueue, dropDatagramUser];
  }
}

/** Two views of one service, in the first of which user 1 has all but one quarter of a queue. */
function nearlyFull() {
  const limits = new PendingLimits();
  const [one, two] = [new Scene(limits), new Scene(limits)];
  const sockets = Array.from({ length: PENDING_BYTES_MAX / QUEUE_BYTES }, () => one.deaf(1));
  const last = sockets.pop()!;
  for (const s of sockets) one.sendTo(s, QUEUE_BYTES / 4, 4);
  one.sendTo(last, QUEUE_BYTES / 4, 3);
  return { limits, one, two, sockets, last };
}

test('bytes: the last record that fits, none of one byte more, in no view', (t) => {
  const { limits, one, two, sockets, last } = nearlyFull();
  const count = 4 * sockets.length + 3;
  one.sendTo(last, QUEUE_BYTES / 4 + 1);
  t.deepEqual(one.counters, [count, PENDING_BYTES_MAX - QUEUE_BYTES / 4, 1, 0], 'of the socket');
  const elsewhere = two.deaf(1);
  two.sendTo(elsewhere, QUEUE_BYTES / 4 + 1);
  t.deepEqual(two.counters, [0, 0, 0, 1]);
  two.sendTo(elsewhere, QUEUE_BYTES / 4);
  t.deepEqual(two.counters, [1, QUEUE_BYTES / 4, 0, 1], 'exactly the limit');
  one.sendTo(last, HEADER_LEN);
  t.deepEqual(one.counters, [count, PENDING_BYTES_MAX - QUEUE_BYTES / 4, 1, 1]);
  const stranger = one.deaf(2);
  one.sendTo(stranger, HEADER_LEN);
  t.is(one.counters[0], count + 1, 'of another user');
  sockets[0]!.close();
  one.sendTo(last, HEADER_LEN);
  t.is(one.counters[0], count + 1 - 4 + 1, 'after a socket closed');
  for (const { world } of [one, two]) world.view.close();
  t.deepEqual([limits.bytes.total, limits.records.total], [0, 0]);
});

test('records: as many as may, and what a program reads makes room', (t) => {
  const limits = new PendingLimits();
  const [one, two] = [new Scene(limits), new Scene(limits)];
  const sockets = Array.from({ length: PENDING_RECORDS_MAX / QUEUE_COUNT }, () => one.deaf(1));
  for (const s of sockets.slice(1)) one.sendTo(s, HEADER_LEN, QUEUE_COUNT);
  one.sendTo(sockets[0]!, HEADER_LEN, QUEUE_COUNT - 1);
  t.is(one.counters[0], PENDING_RECORDS_MAX - 1);
  const elsewhere = two.deaf(1);
  two.sendTo(elsewhere, HEADER_LEN, 2);
  t.deepEqual(two.counters, [1, HEADER_LEN, 0, 1]);
  sockets[1]!.port.room = 3;
  sockets[1]!.connection.handleWritable();
  t.is(one.counters[0], PENDING_RECORDS_MAX - 4);
  two.sendTo(elsewhere, HEADER_LEN, 4);
  t.deepEqual(two.counters, [4, 4 * HEADER_LEN, 0, 2]);
  for (const { world } of [one, two]) world.view.close();
  t.deepEqual([limits.bytes.total, limits.records.total], [0, 0]);
});

test('begun datagrams count with what waits', (t) => {
  const { limits, one, two } = nearlyFull();
  const server = two.deaf(2);
  server.port.room = 10;
  const begin = (uid: number, length: number) => {
    const socket = new ProgramDatagram(two.world, { caller: { needsKey: false, uid } });
    socket.send({ ip: OWN, port: 1001 }, new Uint8Array(length), { more: true });
    return socket;
  };
  const held = begin(1, 60_000);
  const rest = QUEUE_BYTES / 4 - 60_000;
  begin(1, rest + 1);
  t.deepEqual(two.counters, [0, 60_000, 0, 1]);
  t.is(two.world.view.counters().dropDatagramSend, 1);
  const last = begin(1, rest);
  t.deepEqual(two.counters, [0, 60_000 + rest, 0, 1]);
  last.send(undefined, 'x', { more: true });
  t.deepEqual(two.counters, [0, 60_000, 0, 2], 'a part too many loses all of them');
  begin(2, rest + 1);
  t.is(two.counters[1], 60_000 + rest + 1, 'of another user');
  held.send(undefined, '');
  t.is(server.take()[0]!.payload.length, 60_000);
  t.is(two.counters[1], rest + 1);
  for (const { world } of [one, two]) world.view.close();
  t.deepEqual([limits.bytes.total, limits.records.total], [0, 0]);
});
