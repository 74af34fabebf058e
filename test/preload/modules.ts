/** Modules that a program loads itself, and whose calls must find the library before libc. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { OWN_ADDRESS } from './harness.js';
import { type Context, need, type ProgramTest } from './programs.js';
import { expect, run } from './run.js';

const MODULE = `#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
int reach(const char *ip)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, ip, &to.sin_addr);
	return connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 ? 0 : errno;
}
`;

/** The module's name has no folder: it is found by the RUNPATH of who called dlopen(). */
const PROGRAM = `#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
static void ask(void *module, const char *ip)
{
	int (*reach)(const char *) = NULL;
	void *found = module == NULL ? NULL : dlsym(module, "reach");

	memcpy(&reach, &found, sizeof(reach));
	puts(reach == NULL ? dlerror() : strerrorname_np(reach(ip)));
}
int main(int argc, char **argv)
{
	(void)argc;
	ask(dlopen("netcon-module.so", RTLD_NOW | RTLD_DEEPBIND), argv[1]);
	ask(dlmopen(LM_ID_BASE, "netcon-other.so", RTLD_NOW | RTLD_DEEPBIND), argv[1]);
	return dlopen("no-such-module.so", RTLD_NOW) == NULL ? 0 : 1;
}
`;

async function build(gcc: string, args: readonly string[]): Promise<void> {
  const built = await run(gcc, args);
  expect(built.code === 0, built.stderr);
}

async function deepbind(context: Context): Promise<void> {
  const gcc = await need('gcc');
  const at = (name: string): string => path.join(context.folder, name);
  fs.mkdirSync(at('modules'));
  fs.writeFileSync(at('module.c'), MODULE);
  fs.writeFileSync(at('program.c'), PROGRAM);
  for (const name of ['module', 'other'])
    await build(gcc, ['-shared', '-fPIC', '-o', at(`modules/netcon-${name}.so`), at('module.c')]);
  const origin = '-Wl,-rpath,$ORIGIN/modules,--enable-new-dtags';
  await build(gcc, ['-o', at('program'), at('program.c'), origin, '-ldl']);
  const answer = async (env: NodeJS.ProcessEnv): Promise<string> => {
    const done = await run(at('program'), [OWN_ADDRESS], env);
    expect(done.code === 0, `${done.code} ${done.stderr}`);
    return done.stdout;
  };
  // Nobody listens there; the host of this namespace has no way to it at all.
  expect((await answer({})) === 'ENETUNREACH\nENETUNREACH\n', await answer({}));
  const told = await answer(context.env);
  expect(told === 'ECONNREFUSED\nECONNREFUSED\n', told);
}

export const MODULE_PROGRAMS: readonly ProgramTest[] = [
  { name: 'modules loaded with RTLD_DEEPBIND stay on the network', run: deepbind },
];
