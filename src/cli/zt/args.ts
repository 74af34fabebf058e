/**
 * Command line of `zerotier-cli` [4 section 4.1]: every word that begins with `-` is a switch,
 * wherever it stands; switches are one word; the first bad one ends the reading.
 */

/** What the words ask for. `words` are the command and its arguments, in order. */
export type CommandLine =
  | { readonly kind: 'usage'; readonly exitCode: 0 | 1 }
  | { readonly kind: 'version' }
  | { readonly kind: 'run'; readonly switches: Switches; readonly words: readonly string[] };

export interface Switches {
  /** `-j` */
  readonly json: boolean;
  /** `-D`; undefined = the environment's or the built-in folder. */
  readonly home: string | undefined;
  /** `-p`, 1..65535. */
  readonly port: number | undefined;
  /** `-T` */
  readonly token: string | undefined;
  /** `-H`: a literal address, not checked here. */
  readonly host: string | undefined;
}

const MAX_PORT = 65_535;

type Mutable = { -readonly [K in keyof Switches]: Switches[K] };

/** Applies one switch. @returns what ends the reading, or undefined to go on. */
function apply(word: string, out: Mutable): CommandLine | undefined {
  const value = word.slice(2);
  const needsValue = 'DTHp'.includes(word[1] ?? '-');
  const isPlain = 'vjq'.includes(word[1] ?? '-');
  if ((needsValue && value === '') || (isPlain && value !== ''))
    return { kind: 'usage', exitCode: 1 };
  switch (word[1]) {
    case 'v':
      return { kind: 'version' };
    case 'q':
      return undefined;
    case 'j':
      out.json = true;
      return undefined;
    case 'D':
      out.home = value;
      return undefined;
    case 'T':
      out.token = value;
      return undefined;
    case 'H':
      out.host = value;
      return undefined;
    case 'p':
      out.port = leadingNumber(value);
      return out.port < 1 || out.port > MAX_PORT ? { kind: 'usage', exitCode: 1 } : undefined;
    default:
      return { kind: 'usage', exitCode: 0 };
  }
}

/** Leading decimal digits, 0 without any. */
export function leadingNumber(text: string): number {
  return Number(/^\s*([0-9]*)/.exec(text)![1]);
}

export function parseCommandLine(args: readonly string[]): CommandLine {
  const switches: Mutable = {
    json: false,
    home: undefined,
    port: undefined,
    token: undefined,
    host: undefined,
  };
  const words: string[] = [];
  for (const word of args) {
    if (!word.startsWith('-')) {
      words.push(word);
      continue;
    }
    const end = apply(word, switches);
    if (end !== undefined) return end;
  }
  return { kind: 'run', switches, words };
}
