/**
 * fork.c - Continuity across fork
 *
 * Virtual sockets need nothing: they are kernel descriptors. Only the shared control connection
 * must not be used by parent and child at once, so the child forgets it, and the look-ups whose
 * threads it does not have. A vfork() or raw clone()
 * child runs no handler; rpc.c sees its other process id and leaves everything alone.
 */
#include "zt.h"

#include <pthread.h>

static void after_fork(void)
{
	rpc_after_fork();
	async_after_fork();
}

void fork_start(void)
{
	if (zt_env.mode == MODE_ACTIVE)
		pthread_atfork(NULL, NULL, after_fork);
}
