/**
 * Whether a preloaded library can reach a program: what is statically linked, of another libc or word
 * size, or raises its privileges ignores LD_PRELOAD and would use the host's network without a word.
 * The file format is that of elf(5).
 */
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  openSync,
  readSync,
  statSync,
} from 'node:fs';
import { endianness } from 'node:os';
import { basename, delimiter, join } from 'node:path';
import { loadNative } from '../host/native.js';

const ELF_MAGIC = '\x7fELF';
const CLASS_64 = 2;
const PROGRAM_INTERPRETER = 3;
const MAX_HEADERS = 64;
const HEAD_LEN = 4096;
const MAX_INTERPRETERS = 4;
const MACHINES: Readonly<Record<string, number>> = { x64: 62, arm64: 183, riscv64: 243 };
const S_ISUID = 0o4000;
const S_ISGID = 0o2000;

/** What a command names, as execvp(3) finds it; undefined when there is no such program. */
export function findProgram(
  command: string,
  path: string = process.env['PATH'] ?? '',
): string | undefined {
  const candidates = command.includes('/')
    ? [command]
    : path.split(delimiter).map((dir) => join(dir === '' ? '.' : dir, command));
  return candidates.find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return statSync(file).isFile();
    } catch {
      return false;
    }
  });
}

function read(fd: number, at: number, len: number): Buffer {
  const out = Buffer.alloc(len);
  return out.subarray(0, readSync(fd, out, 0, len, at));
}

/** Of a 64-bit little-endian file: the dynamic loader it asks for, undefined when it has none. */
function interpreterOf(fd: number, head: Buffer): string | undefined {
  const [offset, size] = [Number(head.readBigUInt64LE(32)), head.readUInt16LE(54)];
  const count = Math.min(head.readUInt16LE(56), MAX_HEADERS);
  const table = read(fd, offset, size * count);
  for (let at = 0; at + 40 <= table.length; at += size) {
    if (table.readUInt32LE(at) !== PROGRAM_INTERPRETER) continue;
    const [where, len] = [table.readBigUInt64LE(at + 8), table.readBigUInt64LE(at + 32)];
    return read(fd, Number(where), Math.min(Number(len), HEAD_LEN))
      .toString('latin1')
      .replace(/\0.*$/, '');
  }
  return undefined;
}

function elfObstacle(fd: number, head: Buffer): string | undefined {
  if (head.length < 64 || endianness() !== 'LE') return undefined;
  if (head[4] !== CLASS_64) return 'is a 32-bit program, the library is for 64 bits';
  const machine = MACHINES[process.arch];
  if (machine !== undefined && head.readUInt16LE(18) !== machine)
    return 'is a program of another processor';
  const loader = interpreterOf(fd, head);
  if (loader === undefined) return 'is statically linked';
  return basename(loader).startsWith('ld-musl') ? 'uses musl, the library needs glibc' : undefined;
}

/** The interpreter of a script; behind env(1) the program that env starts. */
function scriptInterpreter(head: Buffer): string | undefined {
  const line = head.toString('latin1').slice(2).split('\n', 1)[0]!.trim();
  const words = line.split(/\s+/);
  if (basename(words[0]!) !== 'env') return words[0];
  const name = words.slice(1).find((w) => !w.startsWith('-') && !w.includes('='));
  return name === undefined ? undefined : findProgram(name);
}

function privilegeObstacle(file: string): string | undefined {
  const { mode, uid, gid } = statSync(file);
  const raises =
    ((mode & S_ISUID) !== 0 && uid !== process.geteuid?.()) ||
    ((mode & S_ISGID) !== 0 && gid !== process.getegid?.());
  if (raises) return 'is set-user-ID or set-group-ID, which drops preloaded libraries';
  return process.geteuid?.() !== 0 && hasCapabilities(file)
    ? 'has file capabilities, which drop preloaded libraries (a copy of it has none)'
    : undefined;
}

/** capabilities(7). Without the addon nobody can say; root is not raised by them. */
function hasCapabilities(file: string): boolean {
  const native = loadNative();
  const bytes = (text: string): Uint8Array => Buffer.from(text);
  return (
    typeof native !== 'string' && native.attributeLen(bytes(file), bytes('security.capability')) > 0
  );
}

/**
 * Why a preloaded library would not be in a program, with the program's file; undefined when nothing
 * says so, also for files that can not be read.
 */
export function preloadObstacle(file: string, depth = 0): string | undefined {
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch {
    // Executable but not readable: it can be started, and no more is known of it.
    const why = existsSync(file) ? privilegeObstacle(file) : undefined;
    return why === undefined ? undefined : `${file} ${why}`;
  }
  try {
    const head = read(fd, 0, HEAD_LEN);
    if (head.toString('latin1', 0, 4) === ELF_MAGIC) {
      const why = elfObstacle(fd, head) ?? privilegeObstacle(file);
      return why === undefined ? undefined : `${file} ${why}`;
    }
    if (head.toString('latin1', 0, 2) !== '#!' || depth >= MAX_INTERPRETERS) return undefined;
    const interpreter = scriptInterpreter(head);
    return interpreter === undefined ? undefined : preloadObstacle(interpreter, depth + 1);
  } finally {
    closeSync(fd);
  }
}
