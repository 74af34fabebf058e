/** Command lines of the test programs: a wrong option is a line and exit code 2, not a stack trace. */
import { type ParseArgsConfig, parseArgs } from 'node:util';

/** As `parseArgs`; ends the process where that throws. */
export function readArgs<T extends ParseArgsConfig>(
  program: string,
  config: T,
): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config);
  } catch (e) {
    process.stderr.write(`${program}: ${(e as Error).message} (--help tells more)\n`);
    process.exit(2);
  }
}
