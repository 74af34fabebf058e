/** The door of a network: that it is there, and that this user may open it. */
import { accessSync, constants, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { performance } from 'node:perf_hooks';
import { CommandError } from './args.js';

const POLL_MS = 50;

type Finding = 'open' | 'missing' | 'closed';

/** What `mode` finds at `path`; errors but these two are left to the program's own calls. */
function look(path: string, mode: number): Finding {
  try {
    accessSync(path, mode);
  } catch (e) {
    const { code } = e as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return 'missing';
    if (code === 'EACCES' || code === 'EPERM') return 'closed';
  }
  return 'open';
}

/** The folders above `path`, outermost first. */
function foldersAbove(path: string): string[] {
  const folder = dirname(path);
  return folder === path ? [folder] : [...foldersAbove(folder), folder];
}

/** Who may use a file, as far as this user may know. */
function rightsOf(path: string): string {
  const { mode, uid, gid } = statSync(path);
  return `mode 0${(mode & 0o7777).toString(8).padStart(3, '0')}, user ${uid}, group ${gid}`;
}

function noPermission(door: string): CommandError {
  const folder = foldersAbove(door).find((f) => look(f, constants.X_OK) === 'closed');
  const closed = folder ?? door;
  const help =
    folder === undefined
      ? `let its owner or root run this, or give user ${process.geteuid?.()} the right to write to it and to ${door}.dg (setfacl -m u:${process.geteuid?.()}:rw)`
      : 'let its owner or root run this, or give this user the right to search that folder (x)';
  return new CommandError(
    `no permission to use the service at ${door}: ${closed} has ${rightsOf(closed)}; ${help}`,
  );
}

/**
 * Waits up to `seconds` for the door of `network`.
 * @throws CommandError when it does not appear, or this user may not open it.
 */
export async function requireDoor(door: string, network: string, seconds: number): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    const found = look(door, constants.W_OK);
    if (found === 'open') return;
    if (found === 'closed') throw noPermission(door);
    if (performance.now() >= deadline) break;
    await new Promise((r) => setTimeout(r, POLL_MS));
  }
  throw new CommandError(
    `${door} does not exist: is the service running with that home, and has it joined ${network}?`,
  );
}
