/**
 * iov_list.c - The record of a datagram as a list of buffers: a header, then the caller's
 *
 * Nothing is copied, but where the caller has as many buffers as the kernel takes: then its last
 * two share one, and their bytes are copied.
 *
 * Async-signal-safe, no allocation; lists of more than IOV_HERE buffers are mapped for the call.
 */
#include "zt.h"

#include <limits.h>
#include <sys/mman.h>

#include "raw.h"

/* Longest payload of a datagram: what two buffers hold beyond it is never used. */
#define JOINED_MAX UINT16_MAX

static size_t joined_len(const struct iovec last[2])
{
	size_t first = last[0].iov_len < JOINED_MAX ? last[0].iov_len : JOINED_MAX;
	size_t rest = JOINED_MAX - first;

	return first + (last[1].iov_len < rest ? last[1].iov_len : rest);
}

/** map_list() - Room for the list and, behind it, for what two buffers share */
static int map_list(struct iov_list *l, size_t count, size_t shared)
{
	long p;

	l->mapped = count * sizeof(*l->iov) + shared;
	p = raw6(SYS_mmap, 0, (long)l->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		 -1, 0);
	if (p < 0 && p > -4096) {
		l->mapped = 0;
		return -ENOBUFS;
	}
	l->iov = (struct iovec *)p;
	return 0;
}

int iov_prefix(struct iov_list *l, uint8_t *head, const struct iovec *iov, size_t count)
{
	size_t shared = 0;
	int r = 0;

	if (count > IOV_MAX)
		return -EMSGSIZE;
	l->mapped = 0;
	l->iov = l->here;
	l->count = count + 1;
	l->last = NULL;
	if (count == IOV_MAX) {
		l->last = iov + count - 2;
		l->count = count;
		shared = joined_len(l->last);
	}
	if (count > IOV_HERE)
		r = map_list(l, l->count, shared);
	if (r < 0)
		return r;
	l->iov[0] = (struct iovec){head, DGRAM_LEN};
	if (count > 0)
		memcpy(l->iov + 1, iov, (l->count - 1) * sizeof(*iov));
	if (l->last != NULL)
		l->iov[count - 1] = (struct iovec){l->iov + count, shared};
	return 0;
}

int iov_fill(const struct iov_list *l, int fd)
{
	uint8_t *to;

	if (l->last == NULL)
		return 0;
	to = l->iov[l->count - 1].iov_base;
	for (int i = 0; i < 2; i++) {
		const struct iovec *from = &l->last[i];

		if (!mem_readable(fd, from->iov_base, from->iov_len))
			return -EFAULT;
		if (from->iov_len > 0)
			memcpy(to, from->iov_base, from->iov_len);
		to += from->iov_len;
	}
	return 0;
}

int iov_spread(const struct iov_list *l, int fd, size_t received)
{
	const struct iovec *shared = &l->iov[l->count - 1];
	const uint8_t *from = shared->iov_base;
	size_t left = received;

	if (l->last == NULL)
		return 0;
	for (size_t i = 0; i < l->count - 1 && left > 0; i++)
		left -= l->iov[i].iov_len < left ? l->iov[i].iov_len : left;
	if (left > shared->iov_len)
		left = shared->iov_len;
	for (int i = 0; i < 2; i++) {
		size_t part = l->last[i].iov_len < left ? l->last[i].iov_len : left;

		if (!mem_put(fd, l->last[i].iov_base, from, part))
			return -EFAULT;
		from += part;
		left -= part;
	}
	return 0;
}

void iov_done(struct iov_list *l)
{
	if (l->mapped != 0)
		raw6(SYS_munmap, (long)l->iov, (long)l->mapped, 0, 0, 0, 0);
}
