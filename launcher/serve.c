/**
 * serve.c - The supervisor's life: start the target, watch its end, leave nothing behind
 *
 * The main thread starts the target, reaps, and reports; the threads of pool.c answer calls. The
 * supervisor is a subreaper, so that every process under the filter stays its descendant: that
 * is what Yama's ptrace scope 1 asks for [5 section 15]. It is in a session of its own, holds
 * none of the target's descriptors, and is not dumpable: no program of the same user can trace
 * it. It ends when the last process under the filter has ended, or with the front.
 */
#include "run.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "raw.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

struct server {
	int front;
	int target; /* stream to the target before it becomes the program */
	int pidfd;
	int signals;
	int listener;
	pid_t pid;
	bool ended; /* the target's end was reported */
};

/* ------------------------------------------------------------------- front */

static void tell(const struct server *s, int kind, int value, int fd)
{
	struct news news = {kind, value};
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {&news, sizeof(news)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c;

	if (fd >= 0) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	raw_sendmsg(s->front, &msg, MSG_NOSIGNAL);
}

_Noreturn static void fail(const struct server *s)
{
	end_children();
	tell(s, NEWS_FAILED, 0, -1);
	_exit(EXIT_FAILURE_OF_RUN);
}

/* ------------------------------------------------------- being no burden */

static void close_between(int first, int last)
{
	if (first <= last)
		raw6(SYS_close_range, first, last, 0, 0, 0, 0);
}

/** keep_only() - Close what the target inherits from us: its pipes must end when it ends */
static void keep_only(int a, int b)
{
	int low = a < b ? a : b;
	int high = a < b ? b : a;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	close_between(3, low - 1);
	close_between(low + 1, high - 1);
	close_between(high + 1, INT32_MAX);
}

static void raise_limits(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

static int watch_children(const sigset_t *before)
{
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_SETMASK, before, NULL);
	sigprocmask(SIG_BLOCK, &child, NULL);
	return signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* ------------------------------------------------------------------- start */

static void start_target(struct server *s, char **argv, const sigset_t *mask)
{
	struct sigaction ended, before;
	pid_t self = getpid();
	int pair[2];

	/* Ignored SIGCHLD would reap our children; the program gets back what it would inherit. */
	memset(&ended, 0, sizeof(ended));
	ended.sa_handler = SIG_DFL;
	sigaction(SIGCHLD, &ended, &before);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
		say("no socket: %s", strerror(errno));
		fail(s);
	}
	s->pid = fork();
	if (s->pid < 0) {
		say("no process: %s", strerror(errno));
		fail(s);
	}
	if (s->pid == 0) {
		sigaction(SIGCHLD, &before, NULL);
		close(pair[0]);
		target_start(pair[1], self, argv, mask);
	}
	close(pair[1]);
	s->target = pair[0];
}

/** take_listener() - What pidfd_getfd() is not allowed now it will not be allowed later */
static void take_listener(struct server *s, int number)
{
	s->listener = (int)raw6(SYS_pidfd_getfd, s->pidfd, number, 0, 0, 0, 0);
	if (s->listener >= 0)
		return;
	if (s->listener == -EPERM || s->listener == -EACCES)
		say("this system forbids a process to look into its children "
		    "(kernel.yama.ptrace_scope "
		    "above 1, or a container's profile)");
	else
		say("descriptors of the program cannot be had (pidfd_getfd): %s",
		    strerror(-s->listener));
	fail(s);
}

/** check_memory() - The other access that is needed; the target reads nothing meanwhile */
static void check_memory(struct server *s)
{
	static char probe;
	struct iovec iov = {&probe, 1};
	char seen;
	struct iovec mine = {&seen, 1};
	long r = raw6(SYS_process_vm_readv, s->pid, (long)&mine, 1, (long)&iov, 1, 0);

	if (r == 1)
		return;
	say("the program's memory cannot be read (process_vm_readv): %s", strerror((int)-r));
	fail(s);
}

static void receive_handover(struct server *s)
{
	struct handover h;

	s->pidfd = (int)raw6(SYS_pidfd_open, s->pid, 0, 0, 0, 0, 0);
	if (s->pidfd < 0) {
		say("processes cannot be watched (pidfd_open): %s", strerror(-s->pidfd));
		fail(s);
	}
	if (read(s->target, &h, sizeof(h)) != sizeof(h)) {
		say("the program ended before it began");
		fail(s);
	}
	if (h.step == STEP_PRIVILEGES) {
		say("no_new_privs cannot be set: %s", strerror(-h.value));
		fail(s);
	}
	if (h.step == STEP_FILTER) {
		say("%s (%s)", filter_refusal(h.value), strerror(-h.value));
		fail(s);
	}
	take_listener(s, h.value);
	check_memory(s);
}

static void release_target(struct server *s)
{
	tell(s, NEWS_STARTED, 0, s->pidfd);
	if (write(s->target, "g", 1) != 1)
		fail(s);
	close(s->target);
}

/* --------------------------------------------------------------------- end */

/** is_unused() - No process is left under the filter */
static bool is_unused(int listener)
{
	struct pollfd p = {.fd = listener, .events = 0};

	return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP) != 0;
}

/** report_end() - Of the target; with background processes left, nobody waits for our stderr */
static void report_end(struct server *s, int status)
{
	int null;

	s->ended = true;
	if (is_unused(s->listener)) {
		tell(s, NEWS_ENDED_ALL, status, -1);
		_exit(0);
	}
	null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (null >= 0)
		dup2(null, STDERR_FILENO);
	tell(s, NEWS_ENDED, status, -1);
}

/** reap() - Collect whoever ended */
static void reap(struct server *s)
{
	struct signalfd_siginfo info;
	int status, end = 0;
	bool target_ended = false;
	pid_t pid;

	while (read(s->signals, &info, sizeof(info)) == sizeof(info))
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != s->pid || s->ended)
			continue;
		target_ended = true;
		end = status;
	}
	if (target_ended)
		report_end(s, end);
}

/** run_down() - The front was killed while the target ran */
_Noreturn static void run_down(void)
{
	end_children();
	_exit(EXIT_FAILURE_OF_RUN);
}

_Noreturn static void watch(struct server *s)
{
	struct pollfd set[3] = {{.fd = s->signals, .events = POLLIN},
				{.fd = s->listener, .events = 0},
				{.fd = s->front, .events = 0}};

	for (;;) {
		if (poll(set, 3, -1) < 0 && errno != EINTR)
			run_down();
		if (set[0].revents != 0)
			reap(s);
		if (set[2].revents != 0) {
			if (!s->ended)
				run_down();
			set[2].fd = -1;
		}
		if ((set[1].revents & POLLHUP) != 0) {
			if (s->ended)
				_exit(0);
			set[1].fd = -1;
		}
		if (s->ended && set[1].fd < 0)
			_exit(0);
	}
}

_Noreturn void serve_main(int front, char **argv, const sigset_t *mask)
{
	struct server s = {.front = front, .pidfd = -1, .listener = -1};

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	start_target(&s, argv, mask);
	keep_only(front, s.target);
	setsid();
	signal(SIGPIPE, SIG_IGN);
	s.signals = watch_children(mask);
	raise_limits();
	receive_handover(&s);
	prctl(PR_SET_DUMPABLE, 0);
	if (!pool_start(s.listener)) {
		say("no thread: %s", strerror(errno));
		fail(&s);
	}
	release_target(&s);
	watch(&s);
}
