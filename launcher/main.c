/**
 * main.c - zt-run: arguments, and the split into front and supervisor
 */
#include "run.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static const char usage[] = "usage: zt-run COMMAND...\n"
			    "\n"
			    "Runs COMMAND on the virtual network that ZT_NC_NETWORK names "
			    "(HOME/nc_<16 hex digits>), also\n"
			    "when it is statically linked or makes system calls of its own. "
			    "`netcon run --seccomp` sets\n"
			    "the variable and starts this. Exit code and signals are those of "
			    "COMMAND; 125: zt-run failed,\n"
			    "126: COMMAND cannot be executed, 127: there is no such command.\n";

void say(const char *format, ...)
{
	char line[512];
	va_list list;
	int n;

	va_start(list, format);
	n = vsnprintf(line, sizeof(line) - 1, format, list);
	va_end(list);
	if (n < 0)
		return;
	if ((size_t)n > sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n] = '\0';
	dprintf(STDERR_FILENO, "zt-run: %s\n", line);
}

/** network_is_named() - ZT_NC_NETWORK can be used; says what is wrong with it otherwise */
static bool network_is_named(void)
{
	switch (zt_env.mode) {
	case MODE_ACTIVE:
		return true;
	case MODE_INERT:
		say("ZT_NC_NETWORK is not set: no virtual network to run on");
		return false;
	case MODE_BROKEN:
		env_complain();
	}
	return false;
}

/** block_signals() - All but those that a process raises in itself, or that stop it */
static void block_signals(sigset_t *before)
{
	static const int open[] = {SIGSEGV, SIGBUS,  SIGILL,  SIGFPE,  SIGABRT, SIGTRAP,
				   SIGSYS,  SIGTSTP, SIGTTIN, SIGTTOU, SIGSTOP, SIGKILL};
	sigset_t blocked;

	sigfillset(&blocked);
	for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++)
		sigdelset(&blocked, open[i]);
	sigprocmask(SIG_SETMASK, &blocked, before);
}

int main(int argc, char **argv)
{
	sigset_t before;
	int pair[2];
	pid_t child;

	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		fputs(usage, stdout);
		return 0;
	}
	if (argc > 1 && strcmp(argv[1], "--") == 0)
		argv++, argc--;
	if (argc < 2) {
		fputs(usage, stderr);
		return EXIT_FAILURE_OF_RUN;
	}
	if (!network_is_named())
		return EXIT_FAILURE_OF_RUN;
	block_signals(&before);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
		say("no socket: %s", strerror(errno));
		return EXIT_FAILURE_OF_RUN;
	}
	child = fork();
	if (child < 0) {
		say("no process: %s", strerror(errno));
		return EXIT_FAILURE_OF_RUN;
	}
	if (child == 0) {
		close(pair[0]);
		serve_main(pair[1], argv + 1, &before);
	}
	close(pair[1]);
	/* Whoever may trace the front or the supervisor could use them to leave the network. */
	prctl(PR_SET_DUMPABLE, 0);
	return front_main(pair[0], child);
}
