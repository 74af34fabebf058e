/**
 * `zerotier-idtool` [4 section 5]: identities, signatures and worlds on the command line. Output
 * without a newline unless stated otherwise; failures go to standard error with exit code 1.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import type { Primitives } from '../../crypto/api.js';
import { createPrimitives, nativeEntropy } from '../../crypto/native.js';
import { fromHex, toHex } from '../../lib/hex.js';
import {
  emitJsonPretty,
  isRecord,
  type JsonRecord,
  type JsonValue,
  jsonHex,
  jsonText,
  parseJson,
} from '../../lib/json.js';
import { loadPacketCore } from '../../packetcore/load.js';
import {
  emitAddressText,
  emitIdentityText,
  generateIdentity,
  type Identity,
  parseIdentityText,
  validateIdentity,
} from '../../wire/identity.js';
import { type InetAddress, parseInetAddress } from '../../wire/inetaddress.js';
import {
  emitWorld,
  MAX_ROOT_ENDPOINTS,
  MAX_ROOTS,
  signWorld,
  WORLD_MOON,
  WORLD_PLANET,
  type WorldRoot,
} from '../../wire/world.js';
import { err, out } from './print.js';

const OK = 0;
const FAILED = 1;
/** An identity on the command line itself: longer than this, with a colon after the address. */
const LITERAL_LEN = 32;
const ADDRESS_DIGITS = 10;
const KEY_LEN = 64;

const USAGE = `zerotier-idtool of netcon, for ZeroTier One 1.14.1
usage: zerotier-idtool command [arguments]

  generate [SECRET-FILE [PUBLIC-FILE [PREFIX]]]   new identity; PREFIX = hex digits of its address
  validate IDENTITY                               check an identity
  getpublic IDENTITY                              its public half
  sign IDENTITY FILE                              signature of a file, in hex
  verify IDENTITY FILE SIGNATURE                  check one; SIGNATURE = hex or a file with it
  initmoon IDENTITY                               template of a moon, as JSON
  genmoon JSON-FILE                               make and sign the moon of that template

IDENTITY is a file or the identity itself.
`;

/** A failure with its line on standard error. */
class ToolError extends Error {
  readonly code = 'ERR_IDTOOL';
}

let cached: Primitives | undefined;

/** Made at first use: `getpublic` needs no packet core. */
function primitives(): Primitives {
  if (cached === undefined) {
    const core = loadPacketCore();
    cached = createPrimitives((k) => core.memoryHardHash(k));
  }
  return cached;
}

/** @returns undefined when the file can not be read. */
function readBytes(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch {
    return undefined;
  }
}

function readIdentity(word: string): Identity {
  const isLiteral = word.length > LITERAL_LEN && word[ADDRESS_DIGITS] === ':';
  const text = isLiteral ? word : readBytes(word)?.toString('latin1');
  const id = text === undefined ? undefined : parseIdentityText(text.trim());
  if (id === undefined)
    throw new ToolError(`Identity argument invalid or file unreadable: ${word}`);
  return id;
}

// ---- generate ----

function generate(args: readonly string[]): number {
  const [secretFile, publicFile, prefix = ''] = args;
  const id = makeIdentity(prefix);
  if (secretFile === undefined) {
    out(emitIdentityText(id, true));
    return OK;
  }
  writeText(secretFile, emitIdentityText(id, true));
  if (publicFile !== undefined) writeText(publicFile, emitIdentityText(id, false));
  return OK;
}

/** Tries until the address begins with the prefix; only hex digits of it count. */
function makeIdentity(prefix: string): Identity {
  const digits = /^[0-9a-f]*/.exec(prefix.toLowerCase())![0].slice(0, ADDRESS_DIGITS);
  const wanted = digits.padEnd(ADDRESS_DIGITS, '0');
  for (;;) {
    const id = generateIdentity(primitives(), nativeEntropy);
    const address = emitAddressText(id.address);
    if (digits === '') return id;
    if (address.startsWith(digits)) {
      err(`vanity address: found ${address} !\n`);
      return id;
    }
    err(
      `vanity address: tried ${address} looking for first ${digits.length * 4} bits of ${wanted}\n`,
    );
  }
}

function writeText(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch {
    throw new ToolError(`Error writing to ${file}`);
  }
  out(`${file} written\n`);
}

// ---- identities and signatures ----

function validate([word]: readonly string[]): number {
  if (word === undefined) return usage(FAILED);
  if (!validateIdentity(primitives(), readIdentity(word)))
    throw new ToolError(`${word} FAILED validation.`);
  out(`${word} is a valid identity\n`);
  return OK;
}

function getPublic([word]: readonly string[]): number {
  if (word === undefined) return usage(FAILED);
  out(emitIdentityText(readIdentity(word), false));
  return OK;
}

function sign([word, file]: readonly string[]): number {
  if (word === undefined || file === undefined) return usage(FAILED);
  const id = readIdentity(word);
  if (id.privateKey === undefined)
    throw new ToolError(`${word} does not contain a private key (must use private to sign)`);
  out(toHex(primitives().sign(id.privateKey, readMessage(file))));
  return OK;
}

function verify([word, file, signature]: readonly string[]): number {
  if (word === undefined || file === undefined || signature === undefined) return usage(FAILED);
  const id = readIdentity(word);
  const message = readMessage(file);
  const candidates = [signature, readBytes(signature)?.toString('latin1').trim() ?? ''];
  const isValid = candidates.some((hex) => {
    const bytes = hexBytes(hex);
    return bytes !== undefined && primitives().verify(id.publicKey, message, bytes);
  });
  if (!isValid) throw new ToolError(`${file} signature check FAILED`);
  out(`${file} signature valid\n`);
  return OK;
}

function readMessage(file: string): Uint8Array {
  const bytes = readBytes(file);
  if (bytes === undefined) throw new ToolError(`${file} is not readable`);
  return bytes;
}

function hexBytes(text: string): Uint8Array | undefined {
  return /^(?:[0-9a-fA-F]{2})+$/.test(text) ? fromHex(text.toLowerCase()) : undefined;
}

// ---- moons ----

function initMoon([word]: readonly string[]): number {
  if (word === undefined) return usage(OK);
  let id: Identity;
  try {
    id = readIdentity(word);
  } catch {
    throw new ToolError(`${word} is not a valid identity`);
  }
  const secret = new Uint8Array(KEY_LEN);
  nativeEntropy.fill(secret);
  const key = toHex(primitives().publicFromPrivate(secret));
  const template: JsonRecord = {
    id: emitAddressText(id.address),
    objtype: 'world',
    roots: [{ identity: emitIdentityText(id, false), stableEndpoints: [] }],
    signingKey: key,
    signingKey_SECRET: toHex(secret),
    updatesMustBeSignedBy: key,
    worldType: 'moon',
  };
  out(`${emitJsonPretty(template, ' ')}\n`);
  return OK;
}

function genMoon([file]: readonly string[]): number {
  if (file === undefined) return usage(OK);
  const text = readBytes(file)?.toString('utf8');
  if (text === undefined) throw new ToolError(`cannot read ${file}`);
  let v: JsonValue;
  try {
    v = parseJson(text);
  } catch (e) {
    throw new ToolError(`${file} is not JSON: ${(e as Error).message}`);
  }
  const template = isRecord(v) ? v : {};
  const id = jsonHex(template['id'], 0n);
  if (id === 0n) throw new ToolError(`ID in ${file} is invalid`);
  const type = worldType(jsonText(template['worldType'], ''));
  const privateKey = key(template, 'signingKey_SECRET', file);
  const timestamp = Date.now();
  const world = signWorld(
    primitives(),
    {
      type,
      id,
      timestamp: BigInt(timestamp),
      updateKey: key(template, 'updatesMustBeSignedBy', file),
      roots: rootsOf(template, file),
    },
    privateKey,
  );
  const name = `${id.toString(16).padStart(16, '0')}.moon`;
  try {
    writeFileSync(name, emitWorld(world));
  } catch {
    throw new ToolError(`Error writing to ${name}`);
  }
  out(`wrote ${name} (signed world with timestamp ${timestamp})\n`);
  return OK;
}

function worldType(text: string): number {
  if (text === 'moon') return WORLD_MOON;
  if (text === 'planet') return WORLD_PLANET;
  throw new ToolError('invalid worldType');
}

function key(template: JsonRecord, name: string, file: string): Uint8Array {
  const bytes = hexBytes(jsonText(template[name], ''));
  if (bytes?.length !== KEY_LEN)
    throw new ToolError(`${file}: ${name} must have ${KEY_LEN * 2} hex digits`);
  return bytes;
}

/** Roots in the order of their identities, endpoints in the order of their addresses. */
function rootsOf(template: JsonRecord, file: string): WorldRoot[] {
  const list = Array.isArray(template['roots']) ? template['roots'].filter(isRecord) : [];
  if (list.length > MAX_ROOTS) throw new ToolError(`${file}: at most ${MAX_ROOTS} roots`);
  return list
    .map((r): WorldRoot => {
      const identity = parseIdentityText(jsonText(r['identity'], ''));
      if (identity === undefined) throw new ToolError(`${file}: a root has no valid identity`);
      return {
        identity: { ...identity, privateKey: undefined },
        endpoints: endpointsOf(r, file).sort(compareEndpoints),
      };
    })
    .sort((a, b) => compareRoots(a.identity, b.identity));
}

function endpointsOf(root: JsonRecord, file: string): InetAddress[] {
  const list = Array.isArray(root['stableEndpoints']) ? root['stableEndpoints'] : [];
  if (list.length > MAX_ROOT_ENDPOINTS)
    throw new ToolError(`${file}: at most ${MAX_ROOT_ENDPOINTS} endpoints of a root`);
  return list.map((e) => {
    const a = parseInetAddress(jsonText(e, ''));
    if (a === undefined || a.family === 0)
      throw new ToolError(`${file}: "${jsonText(e, '')}" is not an endpoint (ip/port)`);
    return a;
  });
}

function compareEndpoints(a: InetAddress, b: InetAddress): number {
  return a.family - b.family || a.port - b.port || Buffer.compare(a.ip, b.ip);
}

function compareRoots(a: Identity, b: Identity): number {
  return a.address - b.address || Buffer.compare(a.publicKey, b.publicKey);
}

// ---- the command line ----

function usage(exitCode: number): number {
  out(USAGE);
  return exitCode;
}

const COMMANDS: ReadonlyMap<string, (args: readonly string[]) => number> = new Map([
  ['generate', generate],
  ['validate', validate],
  ['getpublic', getPublic],
  ['sign', sign],
  ['verify', verify],
  ['initmoon', initMoon],
  ['genmoon', genMoon],
]);

/** Runs one command line; returns the exit code. */
export function idtoolMain(args: readonly string[]): number {
  const command = COMMANDS.get(args[0] ?? '');
  if (command === undefined) return usage(FAILED);
  try {
    return command(args.slice(1));
  } catch (e) {
    if (!(e instanceof ToolError)) throw e;
    err(`${e.message}\n`);
    return FAILED;
  }
}
