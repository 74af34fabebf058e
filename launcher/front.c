/**
 * front.c - The process that was started: signals in, exit status out
 *
 * It stays in the terminal's foreground group with the target, so job control is the kernel's. A
 * signal that the terminal sends reaches the target without help and is not sent twice; one that
 * a process sent to the front is passed on. The target is named by a pidfd, never by its number.
 *
 * When the supervisor is gone before it reported the target's end, every process that it left is
 * a child of the front by then (it is their subreaper) and is ended.
 */
#include "run.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "raw.h"

#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif

/** next_child() - A child of this process, or 0 */
static pid_t next_child(void)
{
	char path[64];
	FILE *list;
	int pid = 0;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	list = fopen(path, "re");
	if (list == NULL)
		return 0;
	if (fscanf(list, "%d", &pid) != 1)
		pid = 0;
	fclose(list);
	return pid;
}

void end_children(void)
{
	pid_t pid;

	/* A child's number cannot be given to another process before we reap it. */
	while ((pid = next_child()) > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
}

/** receive_news() - One message; @pidfd is set when it carries one. False: the supervisor is gone
 */
static bool receive_news(int supervisor, struct news *news, int *pidfd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {news, sizeof(*news)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	struct cmsghdr *c;

	if (raw6(SYS_recvmsg, supervisor, (long)&msg, MSG_CMSG_CLOEXEC, 0, 0, 0) != sizeof(*news))
		return false;
	c = CMSG_FIRSTHDR(&msg);
	if (c != NULL && c->cmsg_type == SCM_RIGHTS)
		memcpy(pidfd, CMSG_DATA(c), sizeof(int));
	return true;
}

/** pass_on() - Signals of the terminal come from the kernel: the target has them already */
static void pass_on(int signals, int pidfd)
{
	struct signalfd_siginfo info;

	if (read(signals, &info, sizeof(info)) != sizeof(info) || info.ssi_signo == SIGCHLD)
		return;
	if (info.ssi_code > 0 || pidfd < 0)
		return;
	raw6(SYS_pidfd_send_signal, pidfd, (long)info.ssi_signo, 0, 0, 0, 0);
}

/** end_as() - End this process as the target ended; the core is the target's affair */
static int end_as(int status)
{
	struct rlimit none = {0, 0};
	sigset_t one;
	int number;

	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	number = WTERMSIG(status);
	setrlimit(RLIMIT_CORE, &none);
	signal(number, SIG_DFL);
	sigemptyset(&one);
	sigaddset(&one, number);
	raise(number);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	return 128 + number;
}

static int lost_supervisor(void)
{
	end_children();
	say("the supervisor is gone; the program was ended");
	return EXIT_FAILURE_OF_RUN;
}

int front_main(int supervisor, pid_t pid)
{
	struct pollfd poll_set[2] = {{.fd = supervisor, .events = POLLIN}, {.events = POLLIN}};
	struct news news;
	sigset_t blocked;
	int pidfd = -1;

	sigprocmask(SIG_BLOCK, NULL, &blocked);
	poll_set[1].fd = signalfd(-1, &blocked, SFD_CLOEXEC);
	for (;;) {
		if (poll(poll_set, 2, -1) < 0 && errno != EINTR)
			return EXIT_FAILURE_OF_RUN;
		if (poll_set[0].revents != 0) {
			if (!receive_news(supervisor, &news, &pidfd))
				return lost_supervisor();
			if (news.kind == NEWS_ENDED_ALL)
				waitpid(pid, NULL, 0);
			if (news.kind == NEWS_ENDED || news.kind == NEWS_ENDED_ALL)
				return end_as(news.value);
			if (news.kind == NEWS_FAILED)
				return EXIT_FAILURE_OF_RUN;
		}
		if ((poll_set[1].revents & POLLIN) != 0)
			pass_on(poll_set[1].fd, pidfd);
	}
}
