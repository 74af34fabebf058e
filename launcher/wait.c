/**
 * wait.c - Calls that block, and the signals that end them
 *
 * A stopped caller sleeps in the kernel until we answer, and with WAIT_KILLABLE_RECV only a fatal
 * signal wakes it for good. Any other signal (a handler, a stop, the freezer) wakes it once, and
 * it goes back to sleep uninterruptibly. That is how a signal shows: the state of the thread
 * turns from S to D. We look every TICK_MS (tick_ms()); then the answer "restart" makes the kernel
 * do what it does with its own blocking calls: run the handler and restart, or fail with EINTR, or
 * stop.
 *
 * That answer must never be given without a signal, since the program would see the number
 * itself. The state D counts only if the same wait was seen in S before; a signal that came
 * earlier than our first look counts if it waits for this thread alone.
 */
#include "run.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "raw.h"

/* Ours: how late a signal may reach a caller whose call blocks, in milliseconds; a look costs about
 * 20 us, so all waiting calls together look at most LOOKS_PER_MS times a millisecond. */
#define TICK_MS	     20
#define LOOKS_PER_MS 2

struct watch {
	int status; /* /proc/TID/status, or -1 */
	bool seen_asleep;
};

static void watch_open(struct watch *w, const struct call *c)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)c->tid);
	w->status = (int)raw_open(path, O_RDONLY | O_CLOEXEC, 0);
	w->seen_asleep = false;
}

static void watch_close(struct watch *w)
{
	if (w->status >= 0)
		raw_close(w->status);
}

static uint64_t signal_set(const char *status, const char *name)
{
	const char *at = strstr(status, name);

	return at == NULL ? 0 : strtoull(at + strlen(name), NULL, 16);
}

static long decimal(const char *status, const char *name)
{
	const char *at = strstr(status, name);

	return at == NULL ? -1 : strtol(at + strlen(name), NULL, 10);
}

/** own_signal() - A signal waits that only this thread can take */
static bool own_signal(const char *status)
{
	uint64_t open = ~signal_set(status, "\nSigBlk:");

	if ((signal_set(status, "\nSigPnd:") & open) != 0)
		return true;
	return (signal_set(status, "\nShdPnd:") & open) != 0 && decimal(status, "\nThreads:") == 1;
}

/** signalled() - A signal has woken the caller */
static bool signalled(struct watch *w)
{
	char status[4096];
	const char *state;
	long n;

	if (w->status < 0)
		return false;
	n = raw6(SYS_pread64, w->status, (long)status, sizeof(status) - 1, 0, 0, 0);
	if (n <= 0)
		return false;
	status[n] = '\0';
	state = strstr(status, "\nState:\t");
	if (state == NULL)
		return false;
	state += strlen("\nState:\t");
	if (*state == 'S')
		w->seen_asleep = true;
	if (*state == 'D' && w->seen_asleep)
		return true;
	return own_signal(status);
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/** tick_ms() - Time between two looks, longer when very many calls wait */
static int tick_ms(void)
{
	int shared = pool_blocked() / LOOKS_PER_MS;

	return shared > TICK_MS ? shared : TICK_MS;
}

/** tick() - Sleep until @fd is ready or it is time to look; poll's result */
static int tick(int fd, short events, int64_t deadline)
{
	struct pollfd p = {.fd = fd, .events = events};
	int64_t left = deadline - now_ms();
	int most = tick_ms();

	return poll(&p, 1, left < most ? (int)(left > 0 ? left : 0) : most);
}

static enum waited wait_watched(const struct call *c, int fd, short events, int64_t deadline,
				struct watch *w)
{
	for (;;) {
		if (!call_is_valid(c))
			return WAITED_GONE;
		if (signalled(w))
			return call_is_valid(c) ? WAITED_INTERRUPTED : WAITED_GONE;
		if (tick(fd, events, deadline) > 0)
			return call_is_valid(c) ? WAITED_READY : WAITED_GONE;
		if (now_ms() >= deadline)
			return WAITED_TIMEOUT;
	}
}

int64_t deadline_of(int fd, int name)
{
	struct timeval limit = {0, 0};
	socklen_t len = sizeof(limit);

	if (raw_getsockopt(fd, SOL_SOCKET, name, &limit, &len) != 0)
		return NO_DEADLINE;
	if (limit.tv_sec == 0 && limit.tv_usec == 0)
		return NO_DEADLINE;
	return now_ms() + (int64_t)limit.tv_sec * 1000 + (limit.tv_usec + 999) / 1000;
}

bool may_wait(int fd, int flags)
{
	return (flags & MSG_DONTWAIT) == 0 && raw_is_blocking(fd);
}

enum waited wait_for(const struct call *c, int fd, short events, int64_t deadline)
{
	struct watch w;
	enum waited r;

	if (!pool_may_block())
		return WAITED_REFUSED;
	pool_blocks(true);
	watch_open(&w, c);
	r = wait_watched(c, fd, events, deadline, &w);
	watch_close(&w);
	pool_blocks(false);
	return r;
}

void answer_waited(const struct call *c, enum waited w, int64_t deadline, int timeout)
{
	switch (w) {
	case WAITED_TIMEOUT:
		answer_result(c, -timeout);
		return;
	case WAITED_INTERRUPTED:
		/* Linux restarts only waits without a limit. */
		answer_interrupted(c, deadline == NO_DEADLINE);
		return;
	case WAITED_REFUSED:
		answer_result(c, -ENOBUFS);
		return;
	case WAITED_GONE:
	case WAITED_READY:
		return;
	}
}
