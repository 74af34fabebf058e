/**
 * errnomap.c - From results of the service to errno, the only place that does so
 *
 * The service answers with negative Linux errno values (its table is [5 section 10]); anything
 * outside the range that this library knows becomes EIO, and a service that cannot be reached
 * becomes what the kernel says when there is no network, by the place of the call.
 */
#include "zt.h"

/* Largest errno of Linux. */
#define ERRNO_MAX 133

static int unreachable(enum zt_place place)
{
	switch (place) {
	case PLACE_CONNECT:
		return -ENETUNREACH;
	case PLACE_BIND:
		return -EADDRNOTAVAIL;
	case PLACE_OPTION:
		return -ENETDOWN;
	}
	return -EIO;
}

int errnomap_result(int result, enum zt_place place)
{
	if (result == RPC_UNREACHABLE)
		return unreachable(place);
	/* Of the calls that are served here none tells more than success. */
	if (result > 0 || result < -ERRNO_MAX)
		return -EIO;
	return result;
}
