/** `--help` for the programs of this folder: shows the comment at their head and ends. */
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
