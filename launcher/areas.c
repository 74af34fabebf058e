/**
 * areas.c - The pieces of a caller's memory that a transfer is about
 */
#include "run.h"

#include <limits.h>
#include <stdlib.h>

/* Most that one call moves, as in Linux. */
#define TOTAL_MAX 0x7ffff000UL

int areas_read(const struct call *c, const struct msghdr *msg, struct areas *a)
{
	size_t count = msg->msg_iovlen;

	*a = (struct areas){.count = count};
	if (count > IOV_MAX)
		return -EMSGSIZE;
	if (count == 0)
		return 0;
	a->iov = malloc(count * sizeof(*a->iov));
	if (a->iov == NULL)
		return -ENOMEM;
	if (memory_read(c, (uintptr_t)msg->msg_iov, a->iov, count * sizeof(*a->iov)) < 0) {
		areas_free(a);
		return -EFAULT;
	}
	for (size_t i = 0; i < count; i++) {
		if (a->iov[i].iov_len > TOTAL_MAX - a->total)
			a->iov[i].iov_len = TOTAL_MAX - a->total;
		a->total += a->iov[i].iov_len;
	}
	return 0;
}

void areas_free(struct areas *a)
{
	free(a->iov);
	a->iov = NULL;
}

struct areas one_area(struct iovec *iov, uint64_t address, uint64_t len)
{
	*iov = (struct iovec){(void *)(uintptr_t)address, len < TOTAL_MAX ? len : TOTAL_MAX};
	return (struct areas){iov, 1, iov->iov_len};
}
