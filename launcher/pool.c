/**
 * pool.c - The threads that answer
 *
 * One thread at a time waits for a call; having one, it lets the next thread wait and answers the
 * call itself, however long that takes. So a blocking accept() or a slow service keeps nobody
 * else waiting. Threads are made when nobody is left to wait, up to a limit; beyond the limit of
 * blocked calls a call that would wait is refused instead, so the rest is always answered.
 */
#include "run.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

/* Ours: threads, and how many of them may sit in calls that wait. Stacks are 256 KiB of address
 * space; a call needs about 8 KiB, transfers take their buffers from the heap. */
#define THREADS_MAX 1024
#define BLOCKED_MAX 1000
#define STACK_LEN   (256 * 1024)
/* Ours: threads that stay when there is nothing to do. */
#define SPARE 4

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static atomic_int waiting; /* threads that have the turn or queue for it */
static atomic_int threads;
static atomic_int blocked;

bool pool_may_block(void)
{
	return atomic_load(&blocked) < BLOCKED_MAX;
}

int pool_blocked(void)
{
	return atomic_load(&blocked);
}

void pool_blocks(bool begins)
{
	atomic_fetch_add(&blocked, begins ? 1 : -1);
}

/** next_call() - Wait for a call; false when the last process under the filter is gone */
static bool next_call(int listener, struct call *c)
{
	struct pollfd p = {.fd = listener, .events = POLLIN};
	int r;

	for (;;) {
		if (poll(&p, 1, -1) < 0) {
			if (errno == EINTR)
				continue;
			return false;
		}
		if ((p.revents & POLLIN) == 0)
			return false;
		r = call_begin(listener, c);
		if (r != 0)
			return r > 0;
	}
}

static bool spawn(int listener);

static void *serve(void *argument)
{
	int listener = (int)(intptr_t)argument;
	struct call c;
	bool more;

	for (;;) {
		pthread_mutex_lock(&turn);
		more = next_call(listener, &c);
		atomic_fetch_sub(&waiting, 1);
		pthread_mutex_unlock(&turn);
		if (!more)
			break;
		if (atomic_load(&waiting) == 0)
			spawn(listener);
		dispatch(&c);
		call_end(&c);
		if (atomic_fetch_add(&waiting, 1) >= SPARE) {
			atomic_fetch_sub(&waiting, 1);
			break;
		}
	}
	atomic_fetch_sub(&threads, 1);
	return NULL;
}

/** spawn() - One more thread; without one the running threads answer later */
static bool spawn(int listener)
{
	pthread_attr_t attributes;
	pthread_t thread;
	bool made;

	if (atomic_fetch_add(&threads, 1) >= THREADS_MAX) {
		atomic_fetch_sub(&threads, 1);
		return false;
	}
	atomic_fetch_add(&waiting, 1);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_LEN);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	made = pthread_create(&thread, &attributes, serve, (void *)(intptr_t)listener) == 0;
	pthread_attr_destroy(&attributes);
	if (!made) {
		atomic_fetch_sub(&waiting, 1);
		atomic_fetch_sub(&threads, 1);
	}
	return made;
}

bool pool_start(int listener)
{
	return spawn(listener);
}
