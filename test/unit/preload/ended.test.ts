/** Sockets whose stream is over: what is remembered of them, how long, and of whose. */
import test from 'ava';
import { NEVER } from '#src/lib/time.js';
import { EndedSockets, type HeldTokens } from '#src/preload/ended.js';
import { Op, State, type Token } from '#src/preload/protocol.js';
import { int32, World } from '#test/helpers/preload-client.js';
import { ProgramDatagram } from '#test/helpers/preload-datagram.js';
import { pair, stateOf } from '#test/helpers/preload-pair.js';

const ECONNRESET = 104;
const ENOTCONN = -107;
const MINUTE = 60_000;
const TOKENS_MAX = 16384;

const tokenOf = (i: number): Token => `${i}`.padStart(16, 'e') as Token;

/** Ended sockets, and those that were forgotten since. */
function bounded(max: number) {
  const forgotten: Token[] = [];
  const clock = { now: 0 };
  const ended = new EndedSockets(
    {
      now: () => clock.now,
      askHeld: (_tokens, answer) => answer(new Set()),
      forgotten: (token) => forgotten.push(token),
      wake: () => undefined,
    },
    max,
  );
  return { ended, forgotten, clock };
}

/** A host that answers when it is told to. */
class SlowHost {
  held = new Set<Token>();
  questions: ((held: HeldTokens) => void)[] = [];
  /** What the last question is about. */
  asked: readonly Token[] = [];
  readonly ask = (tokens: readonly Token[], answer: (held: HeldTokens) => void) => {
    this.asked = tokens;
    this.questions.push(answer);
  };
  /** Lets half minutes pass, each with a question and its answer. */
  round(world: World, count: number): void {
    for (let i = 0; i < count; i++) {
      world.pass(MINUTE / 2);
      this.answer();
    }
  }
  answer(): void {
    for (const answer of this.questions.splice(0)) answer(this.held);
  }
}

/** A connection of user `uid` that its peer has reset. */
function resetOf(world: World, uid: number, port = 80) {
  const { client, accepted } = pair(world, port, uid);
  accepted.reset();
  return client;
}

/** SO_ERROR, read and cleared. */
const errorOf = ({ control, socket }: ReturnType<typeof resetOf>): number =>
  control.ask(Op.takeErr, socket.token, int32(0)).payload.readInt32LE(0);

/** Sockets of a user that end at once. */
function churn(world: World, uid: number, count: number): void {
  for (let i = 0; i < count; i++) world.socket(4, uid).end(false);
}

test('names and error of an ended socket are kept for a minute where nobody can tell more', (t) => {
  const world = new World();
  const { client } = pair(world);
  client.socket.end(false);
  world.pass(MINUTE - 1);
  t.is(stateOf(client.control, client.socket), State.closed);
  world.pass(1);
  t.is(world.view.counters().remembered, 0);
  t.is(client.control.result(Op.takeErr, client.socket.token, int32(0)), ENOTCONN);
});

test('an error waits as long as the program holds its socket, however late it asks', (t) => {
  const host = new SlowHost();
  const world = new World({ askHeld: host.ask });
  const kept = resetOf(world, 1, 80);
  const closed = resetOf(world, 1, 81);
  host.held.add(kept.socket.token);
  for (let minutes = 0; minutes < 100; minutes++) host.round(world, 2);
  t.is(world.view.counters().remembered, 1);
  t.is(closed.control.result(Op.takeErr, closed.socket.token, int32(0)), ENOTCONN);
  t.is(errorOf(kept), ECONNRESET);
  host.held.clear();
  host.round(world, 2);
  t.is(world.view.counters().remembered, 0);
  t.is(world.view.deadline(), NEVER);
});

test('an answer that misses a socket once is not believed', (t) => {
  const host = new SlowHost();
  const world = new World({ askHeld: host.ask });
  const client = resetOf(world, 1);
  for (let i = 0; i < 10; i++) {
    host.round(world, 1);
    host.held.add(client.socket.token);
    host.round(world, 1);
    host.held.clear();
  }
  t.is(errorOf(client), ECONNRESET);
  host.round(world, 1);
  t.is(world.view.counters().remembered, 1);
  host.round(world, 1);
  t.is(world.view.counters().remembered, 0);
});

test('one question at a time, at most one in ten seconds, about those alone that are due', (t) => {
  const host = new SlowHost();
  const world = new World({ askHeld: host.ask });
  churn(world, 1, 1);
  world.pass(5_000);
  churn(world, 1, 1);
  world.pass(25_000);
  host.answer();
  world.pass(9_999);
  t.is(host.questions.length, 0, 'the second is due since 5 s');
  world.pass(1);
  t.is(host.questions.length, 1);
  t.is(host.asked.length, 1, 'the first was asked for before, and is not due');
  churn(world, 1, 1);
  host.answer();
  t.is(world.view.counters().remembered, 3, 'each was missed once at most');
  world.pass(20_000);
  host.answer();
  t.is(world.view.counters().remembered, 2);
  world.pass(MINUTE / 2);
  t.is(host.questions.length, 1);
  world.view.close();
  host.answer();
  t.is(world.view.counters().remembered, 0);
});

test('an answer that takes long puts off the next question', (t) => {
  const host = new SlowHost();
  const world = new World({ askHeld: host.ask });
  churn(world, 1, 1);
  world.pass(MINUTE / 2);
  world.pass(6_000);
  host.answer();
  world.pass(MINUTE - 1);
  t.is(host.questions.length, 0, 'six seconds are paid with sixty');
  world.pass(1);
  t.is(host.questions.length, 1);
});

test("a user's sockets push out none of another's", (t) => {
  const world = new World();
  const idle = resetOf(world, 1);
  churn(world, 2, 2 * TOKENS_MAX);
  t.is(world.view.counters().remembered, TOKENS_MAX);
  t.is(errorOf(idle), ECONNRESET);
});

test('of a user with all the sockets it may have the longest ended gives way to a new one', (t) => {
  const world = new World();
  const first = resetOf(world, 1, 80);
  const second = resetOf(world, 1, 81);
  const held = () => new ProgramDatagram(world, { caller: { needsKey: false, uid: 1 } });
  for (let i = 2; i < TOKENS_MAX; i++) held();
  t.is(world.view.counters().dropRemembered, 0);
  t.false(held().port.destroyed);
  t.is(first.control.result(Op.takeErr, first.socket.token, int32(0)), ENOTCONN);
  t.is(errorOf(second), ECONNRESET);
  t.false(world.socket(4, 1).port.destroyed);
  t.true(held().port.destroyed, 'all sockets of the user are open');
  const { dropSockets, dropRemembered } = world.view.counters();
  t.deepEqual([dropSockets, dropRemembered], [1, 2]);
});

test('beyond the limit of all, one of the user with the most is forgotten, the oldest first', (t) => {
  const { ended, forgotten } = bounded(6);
  for (let i = 0; i < 4; i++) ended.add(tokenOf(i), 1);
  for (let i = 4; i < 6; i++) ended.add(tokenOf(i), 2);
  ended.add(tokenOf(6), 3);
  t.deepEqual(forgotten.splice(0), [tokenOf(0)]);
  ended.add(tokenOf(7), 2);
  t.deepEqual(forgotten.splice(0), [tokenOf(4)], 'who has as many as anybody: its own');
  ended.add(tokenOf(8), 3);
  t.deepEqual(forgotten.splice(0), [tokenOf(1)]);
  t.deepEqual([ended.size, ended.dropped], [6, 3]);
});

test('any number of users pushes out nobody who has a single end', (t) => {
  const { ended, forgotten } = bounded(100);
  for (let user = 0; user < 100; user++) ended.add(tokenOf(user), user);
  for (let user = 100; user < 5_000; user++) {
    ended.add(tokenOf(user), user);
    t.deepEqual(forgotten.splice(0), [tokenOf(user)]);
  }
});

test('as an obvious implementation does: users, limits and times at random', (t) => {
  const MAX = 20;
  const { ended, forgotten, clock } = bounded(MAX);
  let model: { token: Token; user: number; at: number }[] = [];
  const lose = (gone: (typeof model)[number] | undefined): Token[] => {
    model = model.filter((e) => e !== gone);
    return gone === undefined ? [] : [gone.token];
  };
  const countOf = (user: number) => model.filter((e) => e.user === user).length;
  let seed = 7;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return (seed >> 8) % below;
  };
  for (let now = 0; now < 20_000; now++) {
    const user = random(7) * random(2);
    const token = tokenOf(now);
    if (random(8) === 0) {
      const oldest = model.find((e) => e.user === user);
      t.is(ended.forgetOldestOf(user), oldest !== undefined);
      t.deepEqual(forgotten.splice(0), lose(oldest));
      continue;
    }
    clock.now = now;
    ended.add(token, user);
    model.push({ token, user, at: now });
    if (model.length > MAX) {
      const most = Math.max(...model.map((e) => countOf(e.user)));
      const loser = model.find((e) => e.token === forgotten[0])!;
      t.is(countOf(loser.user), most);
      t.true(countOf(user) < most || loser.user === user);
      t.is(loser, model.find((e) => e.user === loser.user)!);
      t.deepEqual(forgotten.splice(0), lose(loser));
    }
    t.is(ended.size, model.length);
    t.is(ended.deadline(), model[0]!.at + MINUTE / 2);
  }
  for (let i = 0; i < 2; i++) {
    clock.now += MINUTE / 2;
    ended.handleTimeout(clock.now);
  }
  t.deepEqual([ended.size, ended.deadline()], [0, NEVER]);
});
