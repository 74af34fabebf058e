/**
 * hook_async.c - getaddrinfo_a() and its relatives: look-ups beside the program
 *
 * libc's own would look names up with its own getaddrinfo(), past every hook. Here the requests
 * wait in one queue and threads of this library answer them with ours; a thread ends when the queue
 * is empty. Who waits sleeps on a count of answers (a futex), so that a signal ends the wait as it
 * does with libc's gai_suspend().
 *
 * An item belongs to the queue from getaddrinfo_a() until its request has its result; the request
 * is not touched after that, because its owner may free it. A child of fork() starts empty.
 */
#include "zt.h"

#include <limits.h>
#include <linux/futex.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "raw.h"
#include "real.h"

/* Ours: look-ups at a time, and requests that wait or are under way (then EAI_AGAIN) */
#define THREADS_MAX 16
#define ITEMS_MAX   4096

/* The requests of one call; gone with the last of them. */
struct batch {
	int left;
	struct sigevent event;
};

struct item {
	struct item *next;
	struct gaicb *request;
	struct batch *batch;
	bool is_running;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct item *items; /* in the order of their calls */
static unsigned item_count, threads;
static atomic_uint answers; /* how often a request got its result */

void async_after_fork(void)
{
	lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	items = NULL;
	item_count = threads = 0;
}

/* ------------------------------------------------------------ notification */

static void *call_function(void *event)
{
	struct sigevent e = *(struct sigevent *)event;

	free(event);
	e.sigev_notify_function(e.sigev_value);
	return NULL;
}

/** start_thread() - A detached thread that gets no signals; false when there is none to be had */
static bool start_thread(const pthread_attr_t *wanted, void *(*run)(void *), void *argument)
{
	sigset_t all, before;
	pthread_t thread;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&thread, wanted, run, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r == 0)
		pthread_detach(thread);
	return r == 0;
}

static void notify(const struct sigevent *event)
{
	siginfo_t info = {.si_signo = event->sigev_signo, .si_code = SI_ASYNCNL};
	struct sigevent *copy;

	if (event->sigev_notify == SIGEV_SIGNAL) {
		info.si_pid = raw_getpid();
		info.si_uid = (uid_t)raw6(SYS_getuid, 0, 0, 0, 0, 0, 0);
		info.si_value = event->sigev_value;
		raw6(SYS_rt_sigqueueinfo, raw_getpid(), event->sigev_signo, (long)&info, 0, 0, 0);
	}
	if (event->sigev_notify != SIGEV_THREAD)
		return;
	copy = malloc(sizeof(*copy));
	if (copy == NULL)
		return;
	*copy = *event;
	if (!start_thread(event->sigev_notify_attributes, call_function, copy))
		free(copy);
}

/* ------------------------------------------------------------------- queue */

/** forget() - Take @item out of the queue */
static void forget(const struct item *item)
{
	struct item **at = &items;

	while (*at != item)
		at = &(*at)->next;
	*at = item->next;
	item_count--;
}

/** finish() - Give an item of the queue its result; the lock is held, but not during @notify */
static void finish(struct item *item, int result)
{
	struct batch *batch = item->batch;

	forget(item);
	__atomic_store_n(&item->request->__return, result, __ATOMIC_RELEASE);
	free(item);
	atomic_fetch_add(&answers, 1);
	raw6(SYS_futex, (long)&answers, FUTEX_WAKE_PRIVATE, INT_MAX, 0, 0, 0);
	if (--batch->left > 0)
		return;
	pthread_mutex_unlock(&lock);
	notify(&batch->event);
	free(batch);
	pthread_mutex_lock(&lock);
}

static struct item *first_waiting(void)
{
	struct item *item = items;

	while (item != NULL && item->is_running)
		item = item->next;
	return item;
}

/** work() - Answer requests until none waits; the body of a thread */
static void *work(void *unused)
{
	struct item *item;

	pthread_mutex_lock(&lock);
	while ((item = first_waiting()) != NULL) {
		struct gaicb *request = item->request;
		int r;

		item->is_running = true;
		pthread_mutex_unlock(&lock);
		r = getaddrinfo(request->ar_name, request->ar_service, request->ar_request,
				&request->ar_result);
		pthread_mutex_lock(&lock);
		finish(item, r);
	}
	threads--;
	pthread_mutex_unlock(&lock);
	return unused;
}

/** enqueue() - @request at the end of the queue; false when there is no room. The lock is held */
static bool enqueue(struct gaicb *request, struct batch *batch)
{
	struct item **end = &items;
	struct item *item = item_count == ITEMS_MAX ? NULL : malloc(sizeof(*item));

	if (item == NULL) {
		request->__return = EAI_AGAIN;
		return false;
	}
	while (*end != NULL)
		end = &(*end)->next;
	*item = (struct item){.request = request, .batch = batch};
	*end = item;
	item_count++;
	batch->left++;
	request->__return = EAI_INPROGRESS;
	return true;
}

/** staff() - Threads for @wanted more requests; without any the caller does the work */
static void staff(int wanted)
{
	bool is_alone;

	for (bool more = true; more && wanted > 0; wanted--) {
		pthread_mutex_lock(&lock);
		more = threads < THREADS_MAX;
		threads += more;
		pthread_mutex_unlock(&lock);
		if (!more || start_thread(NULL, work, NULL))
			continue;
		more = false;
		pthread_mutex_lock(&lock);
		threads--;
		pthread_mutex_unlock(&lock);
	}
	pthread_mutex_lock(&lock);
	is_alone = threads == 0 && items != NULL;
	threads += is_alone;
	pthread_mutex_unlock(&lock);
	if (is_alone)
		work(NULL);
}

/* ------------------------------------------------------------------- waiting */

static int in_progress(const struct gaicb *const *list, int count)
{
	int n = 0;

	for (int i = 0; i < count; i++)
		n += list[i] != NULL &&
		     __atomic_load_n(&list[i]->__return, __ATOMIC_ACQUIRE) == EAI_INPROGRESS;
	return n;
}

/** await() - Until no more than @rest of @list are in progress: 0, EAI_AGAIN or EAI_INTR */
static int await(const struct gaicb *const *list, int count, int rest, const struct timespec *until)
{
	for (;;) {
		unsigned seen = atomic_load(&answers);
		long r;

		if (in_progress(list, count) <= rest)
			return 0;
		r = raw6(SYS_futex, (long)&answers, FUTEX_WAIT_BITSET_PRIVATE, (long)seen,
			 (long)until, 0, (long)FUTEX_BITSET_MATCH_ANY);
		if (r == -ETIMEDOUT)
			return EAI_AGAIN;
		if (r == -EINTR)
			return EAI_INTR;
	}
}

static struct timespec from_now(const struct timespec *wait)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += wait->tv_sec;
	t.tv_nsec += wait->tv_nsec;
	if (t.tv_nsec >= 1000000000) {
		t.tv_nsec -= 1000000000;
		t.tv_sec++;
	}
	return t;
}

/* --------------------------------------------------------------------- hooks */

/** begin() - Put the requests into the queue; how many of them, or -1 when some found no room */
static int begin(struct gaicb **list, int count, struct batch *batch, int *taken)
{
	bool is_whole = true;

	*taken = 0;
	pthread_mutex_lock(&lock);
	for (int i = 0; i < count; i++) {
		if (list[i] == NULL)
			continue;
		if (enqueue(list[i], batch))
			(*taken)++;
		else
			is_whole = false;
	}
	pthread_mutex_unlock(&lock);
	return is_whole ? 0 : EAI_AGAIN;
}

HOOK int getaddrinfo_a(int mode, struct gaicb *list[restrict], int count,
		       struct sigevent *restrict event)
{
	struct batch *batch;
	int result, taken;

	if (!zt_active())
		return real_getaddrinfo_a(mode, list, count, event);
	if (mode != GAI_WAIT && mode != GAI_NOWAIT) {
		errno = EINVAL;
		return EAI_SYSTEM;
	}
	batch = malloc(sizeof(*batch));
	if (batch == NULL)
		return EAI_MEMORY;
	*batch = (struct batch){.event = {.sigev_notify = SIGEV_NONE}};
	if (mode == GAI_NOWAIT && event != NULL)
		batch->event = *event;
	result = begin(list, count, batch, &taken);
	if (taken == 0) {
		notify(&batch->event);
		free(batch);
		return result;
	}
	staff(taken);
	if (mode == GAI_WAIT)
		while (await((const struct gaicb *const *)list, count, 0, NULL) == EAI_INTR)
			continue;
	return result;
}

HOOK int gai_suspend(const struct gaicb *const list[], int count, const struct timespec *wait)
{
	struct timespec until;
	int n;

	if (!zt_active())
		return real_gai_suspend(list, count, wait);
	n = in_progress(list, count);
	if (n == 0)
		return EAI_ALLDONE;
	if (wait != NULL)
		until = from_now(wait);
	return await(list, count, n - 1, wait == NULL ? NULL : &until);
}

HOOK int gai_cancel(struct gaicb *request)
{
	struct item *item;
	int result = EAI_ALLDONE;

	if (!zt_active())
		return real_gai_cancel(request);
	pthread_mutex_lock(&lock);
	item = items;
	while (item != NULL && item->request != request)
		item = item->next;
	if (item != NULL)
		result = item->is_running ? EAI_NOTCANCELED : EAI_CANCELED;
	if (result == EAI_CANCELED)
		finish(item, EAI_CANCELED);
	pthread_mutex_unlock(&lock);
	return result;
}
