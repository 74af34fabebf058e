/**
 * nss.c - Functions of libc that look up host names inside libc ask no name server
 *
 * gethostid(), getnetbyname(), ruserok() and others reach libc's name service switch without a
 * hook in between, and the switch has its own DNS client (or asks nscd). It is told to use files
 * alone for hosts and networks, which sends nothing to anybody. Done in the constructor and not at
 * the first call, since the switch allocates.
 */
#include "zt.h"

#include <nss.h>

#ifdef ZT_STATIC
#pragma weak __nss_configure_lookup
#endif

void nss_start(void)
{
#ifdef ZT_STATIC
	/* A program without libc's switch has no functions that use it either. */
	if (__nss_configure_lookup == NULL)
		return;
#endif
	__nss_configure_lookup("hosts", "files");
	__nss_configure_lookup("networks", "files");
}
