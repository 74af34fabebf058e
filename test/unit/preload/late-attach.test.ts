/** Connections that were accepted just before their listener was closed, with a service that is slow. */
import test from 'ava';
import { BindFlag, Op, RequestFlag } from '#src/preload/protocol.js';
import { address, int32, OWN, type ProgramSocket, World } from '#test/helpers/preload-client.js';

const ANY = new Uint8Array(4);
/** Longer than any patience with a listener that is gone. */
const LONG_MS = 4_000;

/** A world whose service has not read all that programs sent, until `caughtUp` is called. */
class SlowWorld extends World {
  readonly #waiting: (() => void)[];

  constructor() {
    const waiting: (() => void)[] = [];
    super({ afterPending: (act) => void waiting.push(act) });
    this.#waiting = waiting;
  }

  caughtUp(): void {
    for (const act of this.#waiting.splice(0)) act();
    this.drain();
  }

  listener(): ProgramSocket {
    const control = this.control();
    const socket = this.socket();
    const flags = int32(BindFlag.reuseAddr | BindFlag.reusePort);
    control.post(
      Op.bind,
      socket.token,
      Uint8Array.of(...address(ANY, 80).subarray(0, 24), ...flags),
    );
    control.post(Op.listen, socket.token, int32(8, 0));
    return socket;
  }

  client(): ProgramSocket {
    const control = this.control();
    const socket = this.socket();
    control.post(Op.connect, socket.token, address(OWN, 80));
    control.post(Op.padded, socket.token, int32(1), RequestFlag.noReply);
    socket.send(new Uint8Array(1));
    return socket;
  }
}

test('a connection is not reset before all is read that its reader may have sent', (t) => {
  const world = new SlowWorld();
  const server = world.listener();
  const client = world.client();
  const record = server.port.bytes.subarray(0, 64);
  server.end(false);
  world.pass(LONG_MS);
  t.false(client.port.destroyed);
  const accepted = world.accepted(record);
  world.caughtUp();
  world.pass(LONG_MS);
  t.false(client.port.destroyed);
  client.send('to the one that accepted');
  t.is(accepted.port.bytes.toString(), 'to the one that accepted');
});

test('it is reset, or offered to another listener, when nobody has taken it by then', (t) => {
  const world = new SlowWorld();
  const server = world.listener();
  const client = world.client();
  server.end(false);
  world.pass(LONG_MS);
  t.false(client.port.destroyed);
  world.caughtUp();
  t.true(client.port.destroyed);
  const first = world.listener();
  const second = world.listener();
  const moved = world.client();
  const [holder, other] = first.port.bytes.length > 0 ? [first, second] : [second, first];
  holder.end(false);
  world.pass(LONG_MS);
  t.is(other.port.bytes.length, 0);
  world.caughtUp();
  t.is(other.port.bytes.length, 64);
  t.false(moved.port.destroyed);
});
