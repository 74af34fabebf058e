/**
 * tcp_ends_write.c - TCP over IPv4 and over IPv6: what a write says after an end, and its signal
 *
 * usage: tcp_ends_write [CASE...]
 *
 * Each case runs once per family.
 */
#define _GNU_SOURCE
#include "ends.h"

#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static volatile int signals;

static void count_signal(int number)
{
	(void)number;
	signals++;
}

/** by_call() - One byte by the call of that number, with MSG_NOSIGNAL where it takes flags */
static ssize_t by_call(int fd, int call)
{
	struct iovec parts[2] = {{"x", 1}, {"y", 1}};
	struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 1};

	switch (call) {
	case 0:
		return write(fd, "x", 1);
	case 1:
		return writev(fd, parts, 2);
	case 2:
		return send(fd, "x", 1, 0);
	case 3:
		return sendmsg(fd, &msg, 0);
	case 4:
		return send(fd, "x", 1, MSG_NOSIGNAL);
	default:
		return sendmsg(fd, &msg, MSG_NOSIGNAL);
	}
}

/* A writer that waits when the reset comes hears it once too. */
static void blocked_writer(void)
{
	static char block[1 << 16];
	struct pair p = connected();
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		const char *first, *second;
		int early;

		signal(SIGPIPE, count_signal);
		close(p.server);
		while (write(p.client, block, sizeof(block)) > 0)
			;
		first = ename(errno);
		early = signals;
		second = num(write(p.client, "x", 1));
		say("write %s signals %d, again %s signals %d", first, early, second, signals);
		fflush(NULL);
		_exit(0);
	}
	close(p.client);
	/* Some time for the writer to fill all buffers; one that has not yet hears the same. */
	nap(300);
	reset_on_close(p.server);
	close(p.server);
	waitpid(child, NULL, 0);
}

/* In strict mode the kernel kills who makes any other call than read() and write(). */
static void strict_mode(void)
{
	struct pair ended = connected(), reset = connected();
	pid_t child;
	int status;

	close(ended.server);
	reset_on_close(reset.server);
	close(reset.server);
	settled(ended.client, POLLRDHUP);
	settled(reset.client, POLLHUP);
	fflush(NULL);
	child = fork();
	if (child == 0) {
		char byte;
		bool good;

		signal(SIGPIPE, SIG_IGN);
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
		good = read(ended.client, &byte, 1) == 0;
		good = write(reset.client, "x", 1) < 0 && good;
		syscall(SYS_exit, good ? 0 : 1);
	}
	waitpid(child, &status, 0);
	say("ended by %d, status %d", WTERMSIG(status), WEXITSTATUS(status));
}

/* Of a reset the first write tells, without a signal; the next ones say EPIPE, with one. */
static void write_after_reset(void)
{
	signal(SIGPIPE, count_signal);
	for (int call = 0; call < 6; call++) {
		struct pair p = connected();
		const char *first, *error;
		int early;

		reset_on_close(p.server);
		close(p.server);
		settled(p.client, POLLHUP);
		signals = 0;
		first = num(by_call(p.client, call));
		early = signals;
		error = ename(so_error(p.client));
		say("%d: %s signals %d SO_ERROR %s", call, first, early, error);
		first = num(by_call(p.client, call));
		say("%d: again %s signals %d, read %s", call, first, signals, reads(p.client));
	}
}

/* A write after the own end, which is no error of the connection. */
static void write_after_end(void)
{
	struct pair p = connected();
	const char *result;

	signal(SIGPIPE, count_signal);
	shutdown(p.client, SHUT_WR);
	for (int call = 0; call < 6; call++) {
		signals = 0;
		result = num(by_call(p.client, call));
		say("%d: %s signals %d", call, result, signals);
	}
}

/* The first write tells a refused connection too. */
static void write_refused(void)
{
	const char *result;
	int fd;

	signal(SIGPIPE, count_signal);
	signals = 0;
	fd = knock();
	settled(fd, POLLHUP);
	result = num(by_call(fd, 0));
	say("write %s signals %d", result, signals);
	result = num(by_call(fd, 0));
	say("again %s signals %d", result, signals);
}

BOTH(writes, write_after_reset)
BOTH(ended, write_after_end)
BOTH(dead, write_refused)
BOTH(block, blocked_writer)
BOTH(strict, strict_mode)

static const struct probe_case cases[] = {
	{"E-write4", writes4},	{"E-write6", writes6},	{"E-ended4", ended4}, {"E-ended6", ended6},
	{"E-dead4", dead4},	{"E-dead6", dead6},	{"E-block4", block4}, {"E-block6", block6},
	{"E-strict4", strict4}, {"E-strict6", strict6},
};
PROBE_MAIN(cases)
