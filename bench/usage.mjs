/** `--help` for the programs of this folder: shows the comment at their head and ends. Their numbers. */
import { readFileSync } from 'node:fs';

/** The first comment of a source text, without its marks. */
function headOf(text) {
  const lines = text.split('\n').filter((line) => !line.startsWith('#!'));
  const end = lines.findIndex((line) => !/^(\/\/|\/?\*| \*)/.test(line));
  return lines
    .slice(0, end)
    .map((line) => line.replace(/^(\/\/|\/\*\*| \*\/| \*) ?/, '').trimEnd())
    .join('\n')
    .trim();
}

if (process.argv.slice(2).some((word) => word === '--help' || word === '-h')) {
  console.log(headOf(readFileSync(process.argv[1], 'utf8')));
  process.exit(0);
}

/** A number above 0 from a word of the command line; ends the program when it is something else. */
export function positive(name, word, fallback) {
  if (word === undefined) return fallback;
  const n = Number(word);
  if (Number.isFinite(n) && n > 0) return n;
  console.error(`${name}: "${word}" is no number above 0; --help shows the usage`);
  process.exit(2);
}

/** The number after `--name`. */
export function numberOption(name, fallback) {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : positive(`--${name}`, process.argv[at + 1] ?? '', fallback);
}
