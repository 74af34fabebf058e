/**
 * hook_load.c - Modules find this library before libc, also those loaded with RTLD_DEEPBIND
 *
 * That flag puts a module's own dependencies, libc among them, before what was preloaded: its
 * sockets would be the host's without a word (PHP loads its extensions so). While a network is
 * named the flag is dropped.
 *
 * libc looks at the return address to find the caller, whose RUNPATH counts: the calls must be the
 * last thing done here, jumps and not calls. A test loads a module by the RUNPATH of its program.
 *
 * Not in the archives: what is linked into a program comes before libc in its own calls alone.
 */
#include "zt.h"

#ifndef ZT_STATIC

#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "real.h"

static int mode_of(int mode)
{
	return zt_active() ? mode & ~RTLD_DEEPBIND : mode;
}

HOOK void *dlopen(const char *file, int mode)
{
	static void *_Atomic slot;
	void *(*next)(const char *, int);
	void *p = real_resolve(&slot, "dlopen");

	if (p == NULL)
		return NULL;
	memcpy(&next, &p, sizeof(next));
	return next(file, mode_of(mode));
}

HOOK void *dlmopen(Lmid_t space, const char *file, int mode)
{
	static void *_Atomic slot;
	void *(*next)(Lmid_t, const char *, int);
	void *p = real_resolve(&slot, "dlmopen");

	if (p == NULL)
		return NULL;
	memcpy(&next, &p, sizeof(next));
	return next(space, file, mode_of(mode));
}

#endif
