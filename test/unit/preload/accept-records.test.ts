/** Accept records: how often and in which order they are written to a program that does not read. */
import test from 'ava';
import { Op } from '#src/preload/protocol.js';
import { address, int32, OWN, World } from '#test/helpers/preload-client.js';

const ANY = new Uint8Array(4);
const RECORD_LEN = 64;
const ANSWER = { requeue: 1, reject: 2 } as const;

/** A listener on port 80 and `count` connections that wait for it. */
function listening(count: number) {
  const world = new World();
  const control = world.control();
  const server = world.socket();
  control.post(Op.bind, server.token, address(ANY, 80));
  control.post(Op.listen, server.token, int32(4096, 0));
  const { port } = server;
  const connect = () => control.post(Op.connect, world.socket().token, address(OWN, 80));
  for (let i = 0; i < count; i++) connect();
  const answer = (record: number, op: number, times = 1) => {
    const bytes = Buffer.alloc(16 * times);
    const id = port.bytes.subarray(record * RECORD_LEN + 8, record * RECORD_LEN + 16);
    for (let at = 0; at < bytes.length; at += 16) {
      bytes.write('ZTNR', at);
      bytes.writeUInt32LE(op, at + 4);
      bytes.set(id, at + 8);
    }
    server.send(bytes);
  };
  const records = () => port.bytes.length / RECORD_LEN;
  return { world, server, port, connect, answer, records };
}

test('a record that is asked for again and again is written once more', (t) => {
  const { world, server, port, connect, answer, records } = listening(1);
  port.stuck = true;
  connect();
  t.is(records(), 2);
  answer(0, ANSWER.requeue, 100_000);
  t.is(records(), 2, 'the program does not read');
  server.flush();
  t.is(records(), 3);
  answer(0, ANSWER.requeue);
  t.is(records(), 4, 'it has read, and may ask again');
  t.is(world.view.counters().waiting, 2);
});

test('a connection that is rejected has no record left to be written', (t) => {
  const { world, server, port, connect, answer, records } = listening(1);
  port.stuck = true;
  connect();
  answer(0, ANSWER.requeue);
  answer(0, ANSWER.reject);
  server.flush();
  t.deepEqual([records(), world.view.counters().waiting], [2, 1]);
});

test('many records leave in order, each once', (t) => {
  const { server, port, connect, records } = listening(0);
  port.stuck = true;
  for (let i = 0; i < 1200; i++) connect();
  t.is(records(), 1);
  server.flush();
  const ids = Array.from({ length: records() }, (_, i) =>
    port.bytes.toString('latin1', i * RECORD_LEN + 8, i * RECORD_LEN + 16),
  );
  t.deepEqual([ids.length, new Set(ids).size], [1200, 1200]);
  const ports = ids.map((_, i) => port.bytes.readUInt16BE(i * RECORD_LEN + 18));
  t.deepEqual(
    ports,
    ports.toSorted((a, b) => a - b),
  );
});
