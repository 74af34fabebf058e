/** Errors of the `netcon` command line, and where its parts are. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** A mistake of the caller: the message names it and says what to do. Exit code 2. */
export class UsageError extends Error {
  readonly code = 'ERR_USAGE';
}

/** Something that could not be done. Exit code 1. */
export class CommandError extends Error {
  readonly code = 'ERR_COMMAND';
}

/** Absolute path of a file of the installed package, given relative to its root. */
export function packagePath(name: string): string {
  return fileURLToPath(new URL(`../../${name}`, import.meta.url));
}

/** The preload library. @throws CommandError when it was not built. */
export function preloadLibrary(): string {
  const path = packagePath('dist/native/libztintercept.so');
  if (!existsSync(path))
    throw new CommandError(`${path} is missing; build it with ./build.sh intercept`);
  return path;
}

/** The launcher for programs that a preload cannot reach. @throws CommandError when it was not built. */
export function launcherProgram(): string {
  const path = packagePath('dist/native/zt-run');
  if (!existsSync(path))
    throw new CommandError(`${path} is missing; build it with ./build.sh launcher`);
  return path;
}
