/**
 * target.c - The process that becomes the program
 *
 * After the filter is in place its own socket calls would stop with nobody to answer, so the
 * listener's number leaves by write(), the supervisor takes the descriptor itself, and the word
 * to go on comes by read().
 */
#include "run.h"

#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static void hand_over(int supervisor, int32_t step, int32_t value)
{
	struct handover h = {step, value};

	if (write(supervisor, &h, sizeof(h)) != sizeof(h))
		_exit(EXIT_FAILURE_OF_RUN);
}

_Noreturn static void give_up(int supervisor, int32_t step, int32_t value)
{
	hand_over(supervisor, step, value);
	_exit(EXIT_FAILURE_OF_RUN);
}

_Noreturn static void become(char **argv)
{
	int error;

	execvp(argv[0], argv);
	error = errno;
	if (error == ENOENT) {
		say("%s: command not found", argv[0]);
		_exit(EXIT_NOT_FOUND);
	}
	say("%s: %s", argv[0], strerror(error));
	_exit(EXIT_NOT_EXECUTABLE);
}

_Noreturn void target_start(int supervisor, pid_t parent, char **argv, const sigset_t *mask)
{
	int listener;
	char word;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_FAILURE_OF_RUN);
	sigprocmask(SIG_SETMASK, mask, NULL);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		give_up(supervisor, STEP_PRIVILEGES, -errno);
	listener = filter_install();
	if (listener < 0)
		give_up(supervisor, STEP_FILTER, listener);
	hand_over(supervisor, STEP_LISTENER, listener);
	if (read(supervisor, &word, 1) != 1)
		_exit(EXIT_FAILURE_OF_RUN);
	close(listener);
	close(supervisor);
	become(argv);
}
