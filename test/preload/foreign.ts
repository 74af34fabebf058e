/**
 * Programs that inherit LD_PRELOAD although the library is not made for them, as children of a
 * preloaded program do: what their loader says, and whether they reach the host.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { type Context, need, type ProgramTest } from './programs.js';
import { expect, type Finished, run, Skip } from './run.js';

/** Status of a program that musl's loader could not relocate. */
const NOT_RELOCATED = 127;

/** Status of the program itself. */
const RAN = 7;

const SOURCE = `#include <stdio.h>
#include <sys/socket.h>
int main(void)
{
	puts(socket(AF_INET, SOCK_STREAM, 0) < 0 ? "refused" : "a socket of the host");
	return ${RAN};
}
`;

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}

/**
 * Compiles the program with `compiler`, and runs it as a preloaded shell would.
 *
 * @throws Skip with the reason when it is not made, or does not run without the library either.
 */
async function inherit(
  context: Context,
  compiler: string,
  flags: readonly string[],
): Promise<Finished> {
  const source = path.join(context.folder, 'program.c');
  const program = path.join(context.folder, 'program');
  fs.writeFileSync(source, SOURCE);
  const built = await run(compiler, [...flags, '-o', program, source]);
  const maker = [path.basename(compiler), ...flags].join(' ');
  if (built.code !== 0)
    throw new Skip(`${maker} builds no program here: ${firstLine(built.stderr)}`);
  const bare = await run('sh', ['-c', '"$1"', 'sh', program]);
  if (bare.code !== RAN) {
    const said = firstLine(bare.stderr).replaceAll(program, 'it') || `exit code ${bare.code}`;
    throw new Skip(`this machine does not run what ${maker} builds, without the library: ${said}`);
  }
  return run('sh', ['-c', 'exec "$1"', 'sh', program], context.env);
}

async function musl(context: Context): Promise<void> {
  const done = await inherit(context, await need('musl-gcc'), []);
  expect(done.code === NOT_RELOCATED, `${done.code} ${done.stdout}${done.stderr}`);
  expect(done.stdout === '', done.stdout);
  expect(
    /Error relocating .*libztintercept\.so: .*symbol not found/.test(done.stderr),
    done.stderr,
  );
}

async function bits32(context: Context): Promise<void> {
  const done = await inherit(context, await need('gcc'), ['-m32']);
  expect(done.code === RAN, `${done.code} ${done.stdout}${done.stderr}`);
  expect(done.stdout === 'a socket of the host\n', done.stdout);
  expect(
    /cannot be preloaded \(wrong ELF class: ELFCLASS64\): ignored/.test(done.stderr),
    done.stderr,
  );
}

export const FOREIGN_PROGRAMS: readonly ProgramTest[] = [
  { name: 'a musl program that inherits LD_PRELOAD does not start, and says why', run: musl },
  { name: 'a 32-bit program that inherits LD_PRELOAD says that it was ignored', run: bits32 },
];
