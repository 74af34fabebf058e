/**
 * fork.c - Continuity across fork
 *
 * Virtual sockets need nothing: they are kernel descriptors. Only the shared control connection
 * must not be used by parent and child at once, so the child forgets it. A vfork() or raw clone()
 * child runs no handler; rpc.c sees its other process id and leaves everything alone.
 */
#include "zt.h"

#include <pthread.h>

void fork_start(void)
{
	if (zt_env.mode == MODE_ACTIVE)
		pthread_atfork(NULL, NULL, rpc_after_fork);
}
