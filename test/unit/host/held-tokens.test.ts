/** Which sockets programs hold, as the kernel lists them. */
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import test from 'ava';
import { ListedTokens, listTokens } from '#src/host/held-tokens.js';
import { loadNative } from '#src/host/native.js';
import { PreloadDoor } from '#src/host/unix.js';
import { fromHex } from '#src/lib/hex.js';
import { HelloKind, type Token, tokenAt } from '#src/preload/protocol.js';
import { FakeStack } from '#test/helpers/fake-stack.js';
import { hello, NWID, OWN } from '#test/helpers/preload-client.js';

const loaded = loadNative();
if (typeof loaded === 'string') throw new Error(`the addon is missing: ${loaded}`);
const native = loaded;

const HALF_MINUTE = 30_000;
const tokenOf = (hex: string): Token => tokenAt(fromHex(hex), 0);
const hexOf = (digit: number): string => process.pid.toString(16).padStart(31, '0') + digit;

/** A socket with the name of a program's; @returns closes it. */
function named(hex: string): () => void {
  const fd = native.listenRecords(Buffer.from(`\0ztnc1.4sk06.${hex}`), 1);
  if (fd < 0) throw new Error(`errno ${-fd}`);
  return () => native.close(fd);
}

test('names of TCP, UDP and echo sockets are found, others are not', (t) => {
  const list = `Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000003 00000000 00000000 0001 03 71 @ztnc1.4sk06.00112233445566778899aabbccddeeff
0000000000000000: 00000003 00000000 00000000 0001 03 72
0000000000000000: 00000002 00000000 00010000 0001 01 73 @ztnc-svc/8056c2e21c000001/0011223344556677
0000000000000000: 00000003 00000000 00000000 0005 03 74 @ztnc1.6dq11.ffeeddccbbaa99887766554433221100
0000000000000000: 00000003 00000000 00000000 0001 03 75 @ztnc1.4sk06.00112233445566778899aabbccddee
0000000000000000: 00000003 00000000 00000000 0001 03 76 ztnc1.4sk06.11112233445566778899aabbccddeeff
0000000000000000: 00000003 00000000 00000000 0001 03 77 /run/a @ztnc1.4sk06.2211223344556677 @
`;
  const wanted = ['00112233445566778899aabbccddeeff', 'ffeeddccbbaa99887766554433221100'].map(
    tokenOf,
  );
  for (let cut = 0; cut <= list.length; cut++) {
    const tokens = new ListedTokens(wanted);
    tokens.add(list.slice(0, cut));
    tokens.add(list.slice(cut));
    t.is(tokens.size, 2);
    t.true(wanted.every((token) => tokens.has(token)));
  }
});

test('only what is asked for is kept, however many names there are', (t) => {
  const tokens = new ListedTokens([tokenOf('0'.repeat(32))]);
  for (let i = 0; i < 1_000; i++) {
    const hex = i.toString(16).padStart(32, '0');
    tokens.add(`0: 00000003 00000000 00000000 0001 03 71 @ztnc1.4sk06.${hex}\n`);
  }
  t.is(tokens.size, 1);
});

test('a socket is held from its name to the close of its descriptor', async (t) => {
  const close = named(hexOf(1));
  const token = tokenOf(hexOf(1));
  t.true((await listTokens([token])).has(token));
  close();
  t.false((await listTokens([token])).has(token));
});

test('a door remembers an ended socket until its program closes it', async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'netcon-held-'));
  let passed = 0;
  const now = () => ({ mono: performance.now() + passed, wall: Date.now() });
  const config = () => ({ mtu: 2800, addresses: [{ ip: OWN, prefixLen: 24 }], routes: [] });
  const stack = new FakeStack();
  stack.configure(now(), config());
  let changed = (): void => undefined;
  const door = new PreloadDoor({
    path: path.join(folder, 'nc_8056c2e21c000001'),
    nwid: NWID,
    stack,
    config,
    now,
    kick: () => changed(),
    log: (line) => t.fail(line),
    native: undefined,
  });
  const remembered = async (count: number): Promise<void> => {
    while (door.view.counters().remembered !== count) {
      await new Promise<void>((resolve) => {
        changed = resolve;
      });
    }
  };
  /** Half a minute passes; ends when the question is answered. */
  const asks = async (): Promise<void> => {
    passed += HALF_MINUTE;
    const answered = new Promise<void>((resolve) => {
      changed = resolve;
    });
    door.view.handleTimeout(now());
    await answered;
  };
  await door.listen();
  const ends = async (hex: string): Promise<void> => {
    const client = net.connect({ path: path.join(folder, 'nc_8056c2e21c000001') });
    client.end(hello(HelloKind.socket, tokenOf(hex), 4, '\0'.repeat(8)));
    await new Promise((resolve) => client.once('close', resolve).resume());
  };
  const close = named(hexOf(2));
  await ends(hexOf(2));
  await ends(hexOf(3));
  await remembered(2);
  await asks();
  await asks();
  await remembered(1);
  t.not(door.view.find(tokenOf(hexOf(2))), undefined);
  close();
  await asks();
  await asks();
  await remembered(0);
  await door.close();
  fs.rmSync(folder, { recursive: true });
});
