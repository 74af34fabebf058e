/** `netcon planet`: makes and signs a planet file [1 section 8]. */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { Entropy, Primitives } from '../crypto/api.js';
import { createPrimitives, nativeEntropy } from '../crypto/native.js';
import { fromHex, toHex } from '../lib/hex.js';
import { emitJson } from '../lib/json.js';
import { loadPacketCore } from '../packetcore/load.js';
import { emitIdentityText, parseIdentityText, validateIdentity } from '../wire/identity.js';
import { inetAddressText, parseInetAddress } from '../wire/inetaddress.js';
import {
  emitWorld,
  MAX_ROOT_ENDPOINTS,
  MAX_ROOTS,
  parseWorld,
  signWorld,
  WORLD_PLANET,
  type World,
  type WorldRoot,
} from '../wire/world.js';
import { CommandError, UsageError } from './args.js';

export const PLANET_USAGE = `usage: netcon planet --out FILE --key FILE --root IDENTITY@IP/PORT[,IP/PORT...] ... [--id N] [--timestamp MS] [-j]

Writes a signed planet file: the roots of a world of your own. Put it as "planet" into the home
folders of all its nodes before their first start; docs/own-universe.md goes through all of it.

  --out        the planet file to write
  --key        file of the signing key; made if it does not exist (keep it to sign later versions)
  --root       a root: its public identity or a file with it (identity.public), then its addresses
  --id         world id; must stay the same for updates (default: that of the planet in FILE
               when KEY signed it, else a random one)
  --timestamp  milliseconds since 1970 (default: now); must grow with every update
  --force      replace the planet in FILE by one that nodes which have it will not take: older, of
               another id or signed by another key
  -j           print a description as JSON
`;

interface KeyPair {
  readonly publicKey: Uint8Array;
  readonly privateKey: Uint8Array;
}

function readKey(file: string, p: Primitives, entropy: Entropy): KeyPair {
  if (existsSync(file)) {
    try {
      const v = JSON.parse(readFileSync(file, 'utf8')) as { secret: string };
      const privateKey = fromHex(v.secret);
      if (privateKey.length === 64)
        return { privateKey, publicKey: p.publicFromPrivate(privateKey) };
    } catch (e) {
      throw new CommandError(`${file} is not a key file: ${(e as Error).message}`);
    }
    throw new CommandError(`${file} is not a key file: "secret" must have 128 hex digits`);
  }
  const privateKey = new Uint8Array(64);
  entropy.fill(privateKey);
  const publicKey = p.publicFromPrivate(privateKey);
  writeFileSync(file, `${emitJson({ public: toHex(publicKey), secret: toHex(privateKey) })}\n`, {
    mode: 0o600,
    flag: 'wx',
  });
  return { privateKey, publicKey };
}

function parseRoot(text: string, p: Primitives): WorldRoot {
  const at = text.lastIndexOf('@');
  const who = at < 0 ? text : text.slice(0, at);
  const identityText = /^[0-9a-fA-F]{10}:0:/.test(who) ? who : readIdentityFile(who);
  const identity = parseIdentityText(identityText.trim());
  if (identity === undefined || !validateIdentity(p, identity))
    throw new UsageError(`--root ${who}: not a valid identity`);
  const endpoints = (at < 0 ? '' : text.slice(at + 1)).split(',').map((e) => {
    const a = hasValidPort(e) ? parseInetAddress(e) : undefined;
    if (a === undefined || a.family === 0 || a.port === 0)
      throw new UsageError(`--root: "${e}" is not IP/PORT with a port from 1 to 65535`);
    return a;
  });
  if (endpoints.length > MAX_ROOT_ENDPOINTS)
    throw new UsageError(`--root: at most ${MAX_ROOT_ENDPOINTS} addresses`);
  return { identity: { ...identity, privateKey: undefined }, endpoints };
}

/** The reference's address syntax takes ports modulo 65536; a typed one out of range is a mistake. */
function hasValidPort(text: string): boolean {
  const port = /\/([0-9]{1,5})$/.exec(text)?.[1];
  return port !== undefined && Number(port) >= 1 && Number(port) <= 65535;
}

function readPlanetFile(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (e) {
    throw new CommandError(`--out ${file} can not be read: ${(e as Error).message}`);
  }
}

/** The planet in a file; undefined when there is none. @throws when it is something else. */
function planetIn(file: string): World | undefined {
  if (!existsSync(file)) return undefined;
  const world = parseWorld(new Uint8Array(readPlanetFile(file)))?.world;
  if (world?.type !== WORLD_PLANET)
    throw new CommandError(`${file} exists and is not a planet file; move it away or name another`);
  return world;
}

/**
 * Nodes that have `old` take an update of the same world alone: newer, and signed by the key that
 * `old` names [1 section 8].
 */
function requireUpdate(file: string, old: World, made: World, keyFile: string): void {
  const why = (() => {
    if (toHex(old.updateKey) !== toHex(made.updateKey))
      return `signed by another key than ${keyFile}`;
    if (old.id !== made.id) return `of the world ${old.id}, not ${made.id}`;
    if (old.timestamp >= made.timestamp)
      return `of timestamp ${old.timestamp}, not older than ${made.timestamp}`;
    return undefined;
  })();
  if (why !== undefined)
    throw new CommandError(
      `${file} holds a planet ${why}: nodes that have it would not take this one; --force replaces it all the same`,
    );
}

function readIdentityFile(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (e) {
    throw new CommandError(`--root: ${file} can not be read: ${(e as Error).message}`);
  }
}

/** A signed planet of these roots. */
export function makePlanet(
  p: Primitives,
  key: KeyPair,
  roots: readonly WorldRoot[],
  id: bigint,
  timestamp: bigint,
): World {
  return signWorld(
    p,
    { type: WORLD_PLANET, id, timestamp, updateKey: key.publicKey, roots },
    key.privateKey,
  );
}

export function planetCommand(args: readonly string[]): number {
  const { values } = parseArgs({
    args: [...args],
    options: {
      out: { type: 'string' },
      key: { type: 'string' },
      root: { type: 'string', multiple: true, default: [] },
      id: { type: 'string' },
      timestamp: { type: 'string' },
      force: { type: 'boolean', default: false },
      json: { type: 'boolean', short: 'j', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(PLANET_USAGE);
    return 0;
  }
  if (values.out === undefined || values.key === undefined || values.root.length === 0) {
    throw new UsageError(`--out, --key and at least one --root are needed\n${PLANET_USAGE}`);
  }
  if (values.root.length > MAX_ROOTS)
    throw new UsageError(`a world has at most ${MAX_ROOTS} roots`);
  const core = loadPacketCore();
  const p = createPrimitives((k) => core.memoryHardHash(k));
  const roots = values.root.map((r) => parseRoot(r, p));
  const old = planetIn(values.out);
  if (old !== undefined && !values.force && !existsSync(values.key))
    throw new CommandError(
      `${values.key} does not exist, so it is not the key that signed ${values.out}; name that one, or make a new world with --force`,
    );
  const key = readKey(values.key, p, nativeEntropy);
  const isOurs = old !== undefined && toHex(old.updateKey) === toHex(key.publicKey);
  const world = makePlanet(
    p,
    key,
    roots,
    number('--id', values.id) ?? (isOurs ? old.id : randomId()),
    number('--timestamp', values.timestamp) ?? BigInt(Date.now()),
  );
  if (old !== undefined && !values.force) requireUpdate(values.out, old, world, values.key);
  replaceFile(values.out, emitWorld(world));
  process.stdout.write(
    values.json
      ? `${describe(values.out, world)}\n`
      : `wrote ${values.out}: ${roots.length} root(s), id ${world.id}, timestamp ${world.timestamp}\n`,
  );
  return 0;
}

function replaceFile(file: string, data: Uint8Array): void {
  const temporary = `${file}.tmp`;
  try {
    writeFileSync(temporary, data);
    renameSync(temporary, file);
  } catch (e) {
    throw new CommandError(`--out ${file} can not be written: ${(e as Error).message}`);
  }
}

function describe(file: string, world: World): string {
  return emitJson({
    file,
    id: Number(world.id),
    timestamp: Number(world.timestamp),
    size: emitWorld(world).length,
    updateKey: toHex(world.updateKey),
    roots: world.roots.map((r) => ({
      identity: emitIdentityText(r.identity, false),
      endpoints: r.endpoints.map(inetAddressText),
    })),
  });
}

function number(name: string, text: string | undefined): bigint | undefined {
  if (text === undefined) return undefined;
  if (!/^[1-9][0-9]{0,18}$/.test(text))
    throw new UsageError(`${name} must be a positive whole number, not "${text}"`);
  return BigInt(text);
}

/** Never the built-in world's, whose id a private one must not share. */
function randomId(): bigint {
  const b = new Uint8Array(6);
  nativeEntropy.fill(b);
  return b.reduce((n, x) => (n << 8n) | BigInt(x), 0n) + 1_000_000_000n;
}
