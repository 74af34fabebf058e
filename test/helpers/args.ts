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

/**
 * The options of a test program. `--help` prints `usage` and ends the process.
 * Programs start themselves again inside a namespace with the same words: read them first.
 */
export function readOptions<const T extends NonNullable<ParseArgsConfig['options']>>(
  program: string,
  usage: string,
  options: T,
): ReturnType<typeof parseArgs<{ options: T }>>['values'] {
  const asked = readArgs(program, {
    options: { ...options, help: { type: 'boolean', short: 'h', default: false } },
  });
  const { help, ...values } = asked.values as { help: boolean };
  if (help) {
    process.stdout.write(usage);
    process.exit(0);
  }
  return values as ReturnType<typeof parseArgs<{ options: T }>>['values'];
}

/** A number above 0 and at most `most` from an option's text; else ends the process. */
export function positive(program: string, name: string, text: string, most = Infinity): number {
  const n = Number(text);
  if (n > 0 && n <= most) return n;
  const range = most === Infinity ? 'above 0' : `from 1 to ${most}`;
  process.stderr.write(`${program}: --${name} ${text}: a number ${range} is needed\n`);
  process.exit(2);
}

/** An option's text where it is one of `words`; else ends the process. */
export function oneOf<T extends string>(
  program: string,
  name: string,
  text: string,
  words: readonly T[],
): T {
  const word = words.find((w) => w === text);
  if (word !== undefined) return word;
  process.stderr.write(`${program}: --${name} ${text}: ${words.join(' or ')} is needed\n`);
  process.exit(2);
}
