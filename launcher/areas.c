/**
 * areas.c - The pieces of a caller's memory that a transfer is about
 */
#include "run.h"

#include <limits.h>
#include <stdlib.h>

/* Most that one call moves, as in Linux. */
#define TOTAL_MAX 0x7ffff000UL

/* net.core.optmem_max: what Linux takes as control data of one send, in bytes */
#define CONTROL_LIMIT 131072

int header_read(const struct call *c, uint64_t address, struct msghdr *out)
{
	int r = memory_read(c, address, out, sizeof(*out));

	if (r < 0)
		return r;
	if (out->msg_name == NULL)
		return 0;
	if ((int)out->msg_namelen < 0)
		return -EINVAL;
	if (out->msg_namelen > sizeof(struct sockaddr_storage))
		out->msg_namelen = sizeof(struct sockaddr_storage);
	return 0;
}

int sent_header_read(const struct call *c, uint64_t address, struct msghdr *out)
{
	struct sockaddr_storage name;
	int r = header_read(c, address, out);

	if (r == 0 && out->msg_namelen == 0)
		out->msg_name = NULL;
	if (r == 0 && out->msg_name != NULL)
		r = memory_read(c, (uintptr_t)out->msg_name, &name, out->msg_namelen);
	return r;
}

int control_check(const struct call *c, const struct msghdr *msg)
{
	uintptr_t at = (uintptr_t)msg->msg_control;
	uint8_t byte;
	int r;

	if (msg->msg_controllen > CONTROL_LIMIT)
		return -ENOBUFS;
	if (msg->msg_controllen == 0)
		return 0;
	r = memory_read(c, at, &byte, 1);
	return r < 0 ? r : memory_read(c, at + msg->msg_controllen - 1, &byte, 1);
}

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
		if ((ssize_t)a->iov[i].iov_len < 0) {
			areas_free(a);
			return -EINVAL;
		}
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
