/*
 * killer.c - Runs a program many times and kills it at random system calls
 *
 * usage: killer SEED COUNT MOST PROGRAM [ARGUMENT...]
 *
 * Run i of COUNT is traced to its n-th system call, entry or exit, n drawn from 1 to MOST, and
 * killed there with SIGKILL; a run that ends before counts as whole. The program gets its number as
 * last argument. Prints `killed K, whole W`. Threads and children of the program are not traced.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t state;

/* xorshift64*: small, and the same everywhere */
static uint32_t draw(uint32_t below)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)((state * 0x2545f4914f6cdd1dULL) >> 33) % below;
}

static void fail(const char *what)
{
	perror(what);
	exit(2);
}

static void begin(char **argv)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		fail("PTRACE_TRACEME");
	execvp(argv[0], argv);
	fail(argv[0]);
}

/* 1 when it was killed, 0 when it ended before */
static int run_until(pid_t pid, uint32_t stops)
{
	int status, signal = 0;

	if (waitpid(pid, &status, 0) < 0)
		fail("waitpid");
	if (!WIFSTOPPED(status))
		return 0;
	if (ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) < 0)
		fail("PTRACE_SETOPTIONS");
	while (stops > 0) {
		if (ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(long)signal) < 0)
			fail("PTRACE_SYSCALL");
		if (waitpid(pid, &status, 0) < 0)
			fail("waitpid");
		if (!WIFSTOPPED(status))
			return 0;
		signal = WSTOPSIG(status);
		if (signal == (SIGTRAP | 0x80)) {
			signal = 0;
			stops--;
		} else if (signal == SIGTRAP) {
			signal = 0;
		}
	}
	kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) == pid && !WIFSIGNALED(status) && !WIFEXITED(status))
		;
	return 1;
}

int main(int argc, char **argv)
{
	uint32_t count, most, killed = 0, whole = 0;
	char number[16];
	char **args;

	if (argc < 5) {
		fprintf(stderr, "usage: killer SEED COUNT MOST PROGRAM [ARGUMENT...]\n");
		return 2;
	}
	state = strtoull(argv[1], NULL, 10) * 2 + 1;
	count = (uint32_t)strtoul(argv[2], NULL, 10);
	most = (uint32_t)strtoul(argv[3], NULL, 10);
	args = calloc((size_t)argc, sizeof(*args));
	if (args == NULL || most == 0)
		fail("arguments");
	memcpy(args, argv + 4, (size_t)(argc - 4) * sizeof(*args));
	args[argc - 4] = number;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t stops = 1 + draw(most);
		pid_t pid;

		snprintf(number, sizeof(number), "%u", draw(1u << 30));
		pid = fork();
		if (pid < 0)
			fail("fork");
		if (pid == 0)
			begin(args);
		if (run_until(pid, stops))
			killed++;
		else
			whole++;
	}
	printf("killed %u, whole %u\n", killed, whole);
	return 0;
}
