/**
 * What the library parses, from a service that answers nonsense: replies with wrong payloads,
 * results and headers, accept records and datagram records in pieces. The same nonsense in each
 * run: it follows from a seed.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { loadNative } from '#src/host/native.js';
import { RecordDoor } from '#src/host/records.js';
import type { RecordPort } from '#src/preload/datagram-host.js';
import {
  emitAccept,
  emitReply,
  Op,
  type RequestHeader,
  ZTADDR_LEN,
} from '#src/preload/protocol.js';
import type { RecordConnection } from '#src/preload/record-client.js';
import { emitDelivery, emitError } from '#src/preload/records.js';
import { LuckyDice } from '#test/helpers/dice.js';
import { mutate } from '#test/helpers/mutate.js';
import { buildProbe } from './conformance.js';
import { expect, run } from './run.js';
import { type Answer, openStrange, WELCOME } from './strange-service.js';

const SEED = 7;
const OWN = { ip: Uint8Array.of(10, 147, 17, 1), port: 80 };
const OWN6 = { ip: Uint8Array.of(0xfd, 0, 0, 0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), port: 80 };
const RESULTS = [
  -1,
  -11,
  -22,
  -98,
  -101,
  -107,
  -111,
  -133,
  -134,
  -4096,
  -5000,
  -(2 ** 31),
  1,
  2,
  3,
  7,
];

function address(family: 4 | 6): Uint8Array {
  const out = new Uint8Array(ZTADDR_LEN);
  const { ip, port } = family === 4 ? OWN : OWN6;
  out.set([family, 24, port >> 8, port & 255]);
  out.set(ip, 8);
  return out;
}

const u16 = (n: number): number[] => [n & 255, n >> 8];
const u32 = (n: number): number[] => [...u16(n & 0xffff), ...u16(n >>> 16)];

/** A right payload for each operation: what nonsense is made of. */
function payloadOf(op: number): Uint8Array {
  const name = [...Buffer.from('zt0')];
  const iface = [...u32(2), ...u32(0x1043), ...u32(2800), 2, 0, 0, 0, 0, 1, 3, 2, ...name];
  switch (op) {
    case Op.bind:
    case Op.listen:
    case Op.srcAddr:
      return address(4);
    case Op.names:
      return Uint8Array.of(...u32(4), ...u32(0), ...address(4), ...address(6));
    case Op.takeErr:
      return Uint8Array.of(...u32(111), ...u32(5));
    case Op.eofInfo:
      return Uint8Array.of(...u32(104));
    case Op.getOpt:
      return Uint8Array.of(...u32(4), ...u32(1));
    case Op.resolve:
      return Uint8Array.of(...u16(2), ...u16(3), ...name, ...address(4), ...address(6));
    case Op.reverse:
      return Uint8Array.of(...u16(3), ...name);
    case Op.ifList:
      return Uint8Array.of(...u16(1), ...iface, ...address(4), ...address(6));
    case Op.dnsRaw:
      return Uint8Array.of(...u16(12), 0, 1, 0x81, 0x80, 0, 0, 0, 0, 0, 0, 0, 0);
    default:
      return new Uint8Array(0);
  }
}

/** Answers to requests; one whose header is nonsense ends its connection. */
class Nonsense {
  readonly #dice = new LuckyDice(SEED, 'replies');

  answer({ op, seq }: RequestHeader): Answer {
    const d = this.#dice;
    const payload = d.chance(0.6) ? mutate(d, payloadOf(op)) : payloadOf(op);
    const bytes = emitReply(op, seq, d.chance(0.3) ? d.pick(RESULTS) : 0, payload);
    if (!d.chance(0.1)) return { bytes };
    return { bytes: mutate(d, bytes), ends: true };
  }

  /** Bytes for a listener's stream. */
  offer(): Uint8Array {
    const d = this.#dice;
    const right = emitAccept('abcdefgh', d.pick([OWN, OWN6]), OWN);
    return d.chance(0.6) ? mutate(d, right) : right;
  }
}

/** Records for a datagram socket that has just said HELLO. */
function records(d: LuckyDice): Uint8Array[] {
  return Array.from({ length: 4 + d.below(8) }, () => {
    const from = d.pick([OWN, OWN6]);
    const tells = { interfaceIndex: 2, ttl: 64, tos: 1, wall: 1 };
    const delivery = { flags: d.below(256), from, to: from.ip, ...tells };
    const right = d.chance(0.3)
      ? emitError(d.pick([0, 111, 113, 200, 65535]), from)
      : emitDelivery(delivery, d.bytes(d.below(300)));
    return d.chance(0.5) ? mutate(d, right) : right;
  });
}

/** A door for datagram sockets whose records are nonsense; undefined without the addon. */
function openRecords(network: string): RecordDoor | undefined {
  const native = loadNative();
  if (typeof native === 'string') return undefined;
  const d = new LuckyDice(SEED, 'records');
  const open = (port: RecordPort): RecordConnection => {
    let isGreeted = false;
    const connection: Pick<
      RecordConnection,
      'handleRecord' | 'handleReset' | 'handleEnd' | 'handleWritable'
    > = {
      handleRecord() {
        if (isGreeted) return;
        isGreeted = true;
        for (const record of records(d)) port.send(record);
      },
      handleReset: () => port.destroy(),
      handleEnd: () => port.destroy(),
      handleWritable: () => undefined,
    };
    return connection as RecordConnection;
  };
  const log = (line: string): void => void console.error(line);
  const door = new RecordDoor({
    native,
    open,
    guard: (act) => act(),
    touched: () => undefined,
    log,
  });
  expect(door.listen(`${network}.dg`, false) === 0, 'the door for records could not be opened');
  return door;
}

/** Runs the probe with `env` (the library and what it needs) against nonsense. */
export async function repliesProbe(
  root: string,
  folder: string,
  env: NodeJS.ProcessEnv,
  cycles: number,
): Promise<string> {
  const probe = { name: 'replies', with: ['probe.c'], datagrams: true, cases: 0, inert: [] };
  const program = await buildProbe(root, probe, folder);
  const nonsense = new Nonsense();
  const service = await openStrange({
    greet: () => WELCOME,
    answer: (header) => nonsense.answer(header),
    offer: () => nonsense.offer(),
  });
  const door = openRecords(service.network);
  try {
    const done = await run(program, [String(cycles)], { ...env, ZT_NC_NETWORK: service.network });
    const requests = service.ops.length;
    expect(done.code === 0, `${done.stdout}${done.stderr} status ${done.code} ${done.signal}`);
    expect(requests > 20 * cycles, `only ${requests} requests`);
    return done.stderr;
  } finally {
    door?.close();
    service.close();
  }
}

/** Cycles of some 60 calls. */
const CYCLES = 150;

export async function replies(library: string, root: string, folder: string): Promise<void> {
  const home = path.join(folder, 'replies');
  fs.mkdirSync(home);
  await repliesProbe(root, home, { LD_PRELOAD: library }, CYCLES);
}
