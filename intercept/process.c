/**
 * process.c - Whose memory this is, and whether its process may make calls of its own
 *
 * A child of fork() or clone() has a copy of the library's memory, a vfork() child shares it with
 * its parent: neither may use the parent's connection to the service. A process that has installed
 * a seccomp filter makes no call but the program's [5 section 9.7].
 *
 * No allocation, no lock, no errno.
 */
#include "zt.h"

#include <stdatomic.h>
#include <sys/mman.h>

#include "raw.h"

/* Filters that were installed, or are being installed now */
static atomic_uint sandboxes;
/*
 * In memory that a child of fork() or clone() finds wiped: not set there, whatever process id it
 * has, unless it shares all memory with its parent as a vfork() child does.
 */
static atomic_bool known_by_id = true; /* where there is no such memory */
static atomic_bool *process_is_known = &known_by_id;
static int own_pid;

void rpc_start(void)
{
	long p = raw6(SYS_mmap, 0, sizeof(*process_is_known), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p > 0 || p < -4095) {
		if (raw6(SYS_madvise, p, sizeof(*process_is_known), MADV_WIPEONFORK, 0, 0, 0) == 0)
			process_is_known = (atomic_bool *)p;
		else
			raw6(SYS_munmap, p, sizeof(*process_is_known), 0, 0, 0, 0);
	}
	atomic_store(process_is_known, true);
	own_pid = raw_getpid();
}

bool rpc_sandboxed(void)
{
	return atomic_load_explicit(&sandboxes, memory_order_relaxed) != 0;
}

bool rpc_memory_is_borrowed(void)
{
	return own_pid != 0 && atomic_load(process_is_known) && own_pid != raw_getpid();
}

bool rpc_note_sandbox(void)
{
	/* The filter of a vfork() child is not its parent's, whose memory this is. */
	if (!rpc_sandboxed() && rpc_memory_is_borrowed())
		return false;
	atomic_fetch_add(&sandboxes, 1);
	return true;
}

void rpc_unnote_sandbox(void)
{
	atomic_fetch_sub(&sandboxes, 1);
}

bool process_is_own(void)
{
	return atomic_load(process_is_known) && own_pid == raw_getpid();
}

void process_after_fork(void)
{
	own_pid = raw_getpid();
	atomic_store(process_is_known, true);
}
