import * as v8 from 'node:v8';
import test from 'ava';
import { Op } from '#src/preload/protocol.js';
import { address, type Control, int32, OWN, World } from '#test/helpers/preload-client.js';
import { ProgramDatagram } from '#test/helpers/preload-datagram.js';

const SOL_UDP = 17;
const UDP_CORK = 1;
const UDP_SEGMENT = 103;
const OPT_BEGUN = 0x5412;
const OPT_ROUTE = 0x5413;
const OPT_CUT = 0x5414;
const ENETUNREACH = -101;
const EINVAL = -22;
const EMSGSIZE = -90;
const FAR = Uint8Array.of(8, 8, 8, 8);
const SERVER = { ip: OWN, port: 53 };
const OTHER = { ip: OWN, port: 54 };
/** On the link, whose MTU is 2,800. */
const PEER = { ip: Uint8Array.of(10, 147, 17, 9), port: 53 };

interface Scene {
  readonly world: World;
  readonly control: Control;
  readonly server: ProgramDatagram;
  readonly client: ProgramDatagram;
}

function scene(): Scene {
  const world = new World();
  const control = world.control();
  const server = new ProgramDatagram(world);
  control.result(Op.bind, server.token, address(OWN, SERVER.port));
  return { world, control, server, client: new ProgramDatagram(world) };
}

function set({ control, client }: Scene, name: number, value: number): number {
  return control.result(Op.setOpt, client.token, int32(SOL_UDP, name, 4, value));
}

function isBegun({ control, client }: Scene): number {
  const reply = control.ask(Op.getOpt, client.token, int32(SOL_UDP, OPT_BEGUN, 4));
  return reply.payload.readUInt32LE(4);
}

const dropped = ({ world }: Scene) => world.view.counters().dropDatagramSend;
const waiting = ({ world }: Scene) => world.view.counters().datagramBytesQueued;

test('parts are one datagram, sent by the last to where the first said', (t) => {
  const s = scene();
  s.client.send(SERVER, 'a', { more: true });
  t.is(isBegun(s), 1);
  s.client.send(OTHER, 'b', { more: true });
  t.is(waiting(s), 2);
  t.deepEqual(s.server.texts(), []);
  s.client.send(undefined, 'c');
  t.deepEqual(s.server.texts(), ['abc']);
  t.deepEqual([isBegun(s), waiting(s), dropped(s)], [0, 0, 0]);
});

test('UDP_CORK holds; clearing it sends once, and nothing when nothing was begun', (t) => {
  const s = scene();
  t.is(set(s, UDP_CORK, 7), 0);
  s.client.send(SERVER, 'one');
  s.client.send(SERVER, 'two');
  t.deepEqual(s.server.texts(), []);
  t.is(set(s, UDP_SEGMENT, 0), 0);
  t.deepEqual(s.server.texts(), [], 'another option sends nothing');
  t.is(set(s, UDP_CORK, 0), 0);
  t.is(set(s, UDP_CORK, 0), 0);
  s.world.drain();
  t.deepEqual(s.server.texts(), ['onetwo']);
});

test('a part too many loses the datagram; a socket that closes loses it too', (t) => {
  const s = scene();
  const half = new Uint8Array(40_000);
  s.client.send(SERVER, half, { more: true });
  s.client.send(SERVER, half, { more: true });
  t.deepEqual([isBegun(s), waiting(s), dropped(s)], [0, 0, 1]);
  s.client.send(SERVER, 'next');
  t.deepEqual(s.server.texts(), ['next']);
  s.client.send(SERVER, half, { more: true });
  t.is(waiting(s), half.length);
  s.client.close();
  t.is(waiting(s), 0);
  t.deepEqual(s.server.texts(), []);
});

test('a connected program hears that its datagram is too long', (t) => {
  const s = scene();
  t.is(s.control.result(Op.connect, s.client.token, address(OWN, SERVER.port)), 0);
  s.client.send(undefined, new Uint8Array(65_507), { more: true });
  s.client.send(undefined, 'x');
  t.deepEqual(s.client.texts(), ['errno 90']);
});

test('UDP_SEGMENT cuts, by option or for one datagram, but not into more than 128', (t) => {
  const s = scene();
  t.is(set(s, UDP_SEGMENT, 65_536), EINVAL);
  t.is(set(s, UDP_SEGMENT, -1), EINVAL);
  t.is(set(s, UDP_SEGMENT, 3), 0);
  s.client.send(SERVER, 'abcdefgh');
  t.deepEqual(s.server.texts(), ['abc', 'def', 'gh']);
  s.client.send(SERVER, 'abcd', { segment: 2 });
  t.deepEqual(s.server.texts(), ['ab', 'cd']);
  s.client.send(SERVER, 'abcd', { segment: 0 });
  t.deepEqual(s.server.texts(), ['abcd'], 'nought for one datagram turns the option off');
  s.client.send(SERVER, new Uint8Array(128), { segment: 1 });
  t.is(s.server.take().length, 128);
  s.client.send(SERVER, new Uint8Array(129), { segment: 1 });
  t.is(s.server.take().length, 0);
  t.is(dropped(s), 1);
});

/** What the service says of `length` bytes; `size` of this datagram, else as the socket is set. */
function wouldCut(s: Scene, to: Uint8Array | undefined, length: number, size?: number): number {
  const question = Buffer.alloc(32);
  if (to !== undefined) question.set(address(to, PEER.port).subarray(0, 24));
  question.writeUInt32LE(length, 24);
  question.writeUInt16LE(size ?? 0, 28);
  question.writeUInt8(Number(size !== undefined), 30);
  const head = int32(SOL_UDP, OPT_CUT, question.length);
  return s.control.result(Op.setOpt, s.client.token, Buffer.concat([head, question]));
}

test('the library may ask whether a send that is cut would leave', (t) => {
  const s = scene();
  t.is(wouldCut(s, PEER.ip, 65_507), 0, 'the option is not set');
  t.is(set(s, UDP_SEGMENT, 2_800 - 28), 0);
  t.is(wouldCut(s, PEER.ip, 65_507), 0);
  t.is(set(s, UDP_SEGMENT, 2_800 - 27), 0);
  t.is(wouldCut(s, PEER.ip, 65_507), EMSGSIZE);
  t.is(wouldCut(s, PEER.ip, 2_800 - 28), 0, 'a short datagram is no longer than it is');
  t.is(wouldCut(s, OWN, 65_507), 0, 'what stays here has no limit');
  t.is(wouldCut(s, PEER.ip, 129, 1), EINVAL);
  t.is(wouldCut(s, PEER.ip, 128, 1), 0);
  t.is(wouldCut(s, undefined, 129, 1), 0, 'no peer: the send itself is refused');
  s.control.result(Op.connect, s.client.token, address(PEER.ip, PEER.port));
  t.is(wouldCut(s, undefined, 129, 1), EINVAL);
  s.client.send(PEER, 'x'.repeat(100), { more: true });
  t.is(wouldCut(s, undefined, 29, 1), EINVAL, 'with what was begun');
  t.is(set(s, UDP_CORK, 1), 0);
  t.is(wouldCut(s, undefined, 129, 1), 0, 'nothing leaves yet');
  const short = int32(SOL_UDP, OPT_CUT, 24, 0, 0, 0, 0, 0, 0);
  t.is(s.control.result(Op.setOpt, s.client.token, short), EINVAL);
});

test('pieces longer than the MTU are dropped, and a connected program hears of them', (t) => {
  const s = scene();
  s.control.result(Op.connect, s.client.token, address(PEER.ip, PEER.port));
  s.client.send(undefined, new Uint8Array(6_000), { segment: 3_000 });
  t.deepEqual(s.client.texts(), ['errno 90']);
  t.is(dropped(s), 1);
});

test('the library may ask whether a datagram would leave', (t) => {
  const s = scene();
  const would = (ip: Uint8Array) => {
    const to = address(ip, 9).subarray(0, 24);
    const head = int32(SOL_UDP, OPT_ROUTE, to.length);
    return s.control.result(Op.setOpt, s.client.token, Buffer.concat([head, to]));
  };
  t.is(would(OWN), 0);
  t.is(would(FAR), ENETUNREACH);
  s.client.send(SERVER, 'a', { more: true });
  t.is(would(FAR), 0, 'the destination of a later part does not count');
  t.is(s.control.result(Op.setOpt, s.client.token, int32(SOL_UDP, OPT_ROUTE, 4, 0)), EINVAL);
});

test('parts take no memory of their own, however many and short they are', (t) => {
  const s = scene();
  const objects = () => Number(v8.queryObjects(Uint8Array, { format: 'count' }));
  s.client.send(SERVER, '', { more: true });
  const before = objects();
  for (let i = 0; i < 20_000; i++) s.client.send(undefined, i % 2 === 0 ? '' : 'x', { more: true });
  t.true(objects() - before < 1_000);
  t.is(waiting(s), 10_000);
  s.client.send(undefined, '');
  t.deepEqual(s.server.texts(), ['x'.repeat(10_000)]);
  t.is(waiting(s), 0);
});
