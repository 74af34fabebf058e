/**
 * memory.c - Memory of the program whose pointers came as arguments
 *
 * Linux answers EFAULT to a pointer that leads nowhere; a hook that followed it would end the
 * program instead. What the library itself reads or writes is therefore first touched by the
 * kernel, in calls about the socket at hand: an option that does not exist is looked up after its
 * value was read, and a name that is asked for is stored where ours will be. What is only passed
 * on to the kernel needs none of this.
 *
 * Memory that another thread takes away between the check and the use is that thread's fault.
 * Behind a seccomp filter nothing is asked: there the library trusts the pointers.
 */
#include "zt.h"

#include <limits.h>
#include <stdint.h>

#include "raw.h"

/* The smallest page of Linux: what is checked more often than needed does no harm. */
#define PAGE	4096
#define NO_PAGE UINTPTR_MAX
/* What the kernel reads for an option, and the option that no socket has. */
#define VALUE_LEN 4
#define NO_OPTION INT_MAX

static uintptr_t next_page(uintptr_t at)
{
	return (at | (PAGE - 1)) + 1;
}

/** is_range() - Neither nothing nor around the end of the address space */
static bool is_range(const void *p, size_t len)
{
	return p != NULL && (uintptr_t)p <= UINTPTR_MAX - len - PAGE;
}

/*
 * Pages that the call under way has found good. A signal handler that makes such a call in between
 * ends it, and the interrupted one asks again.
 */
static __thread struct {
	bool is_open;
	uintptr_t readable;
	uintptr_t writable;
} seen __attribute__((tls_model("initial-exec")));

void mem_begin(void)
{
	seen.readable = NO_PAGE;
	seen.writable = NO_PAGE;
	seen.is_open = true;
}

void mem_end(void)
{
	seen.is_open = false;
}

static uintptr_t page_of(uintptr_t at)
{
	return at / PAGE;
}

static bool is_seen(uintptr_t at, bool for_writing)
{
	if (!seen.is_open)
		return false;
	return seen.writable == page_of(at) || (!for_writing && seen.readable == page_of(at));
}

bool mem_readable(int fd, const void *p, size_t len)
{
	uintptr_t at = (uintptr_t)p;
	uintptr_t end = at + len;
	uintptr_t from;

	if (len == 0)
		return true;
	if (!is_range(p, len))
		return false;
	if (rpc_sandboxed())
		return true;
	for (; at < end; at = next_page(at)) {
		if (is_seen(at, false))
			continue;
		from = end - at >= VALUE_LEN ? at : end - VALUE_LEN;
		/* Less than a value: the word that it is in, which lies in the same page. */
		if (len < VALUE_LEN)
			from = at & ~(uintptr_t)(VALUE_LEN - 1);
		if (raw_setsockopt(fd, SOL_SOCKET, NO_OPTION, (void *)from, VALUE_LEN) == -EFAULT)
			return false;
		seen.readable = page_of(from);
	}
	return true;
}

bool mem_writable(int fd, void *p, size_t len)
{
	uintptr_t at = (uintptr_t)p;
	uintptr_t end = at + len;
	socklen_t part;

	if (len == 0)
		return true;
	if (!is_range(p, len))
		return false;
	if (rpc_sandboxed())
		return true;
	for (; at < end; at = next_page(at)) {
		if (is_seen(at, true))
			continue;
		part = end - at < TOKEN_ADDR_LEN ? (socklen_t)(end - at) : TOKEN_ADDR_LEN;
		if (raw_getsockname(fd, (void *)at, &part) == -EFAULT)
			return false;
		seen.writable = page_of(at);
	}
	return true;
}

int mem_length(int fd, const socklen_t *p, socklen_t *out)
{
	socklen_t *len = (socklen_t *)(uintptr_t)p;

	if (p == NULL)
		return -EFAULT;
	/* Looks the length up, and stores nothing, since there is no such option. */
	if (!rpc_sandboxed() && raw_getsockopt(fd, SOL_SOCKET, NO_OPTION, NULL, len) == -EFAULT)
		return -EFAULT;
	*out = *p;
	return (int)*out < 0 ? -EINVAL : 0;
}

bool mem_put(int fd, void *to, const void *from, size_t len)
{
	if (!mem_writable(fd, to, len))
		return false;
	if (len > 0)
		memcpy(to, from, len);
	return true;
}

/* ---------------------------------------------------------------- messages */

/* net.core.optmem_max: what Linux takes as control data of one send, in bytes */
#define CONTROL_MAX 131072

/** has_negative() - A buffer below nothing, which Linux refuses whatever it points to */
static bool has_negative(const struct iovec *iov, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if ((ssize_t)iov[i].iov_len < 0)
			return true;
	}
	return false;
}

int mem_buffers(int fd, const struct iovec *iov, size_t count)
{
	if (!mem_readable(fd, iov, count * sizeof(*iov)))
		return -EFAULT;
	return has_negative(iov, count) ? -EINVAL : 0;
}

static int take_header(int fd, const struct msghdr *msg, struct msghdr *out)
{
	if (!mem_readable(fd, msg, sizeof(*msg)))
		return -EFAULT;
	*out = *msg;
	if (out->msg_name == NULL)
		out->msg_namelen = 0;
	if ((int)out->msg_namelen < 0)
		return -EINVAL;
	if (out->msg_namelen > sizeof(struct sockaddr_storage))
		out->msg_namelen = sizeof(struct sockaddr_storage);
	return 0;
}

static int take_buffers(int fd, const struct msghdr *msg)
{
	if (msg->msg_iovlen > IOV_MAX)
		return -EMSGSIZE;
	return mem_buffers(fd, msg->msg_iov, msg->msg_iovlen);
}

int mem_take_sent(int fd, const struct msghdr *msg, struct msghdr *out)
{
	int r = take_header(fd, msg, out);

	if (r < 0)
		return r;
	if (out->msg_namelen == 0)
		out->msg_name = NULL;
	if (!mem_readable(fd, out->msg_name, out->msg_namelen))
		return -EFAULT;
	r = take_buffers(fd, out);
	if (r < 0)
		return r;
	if (out->msg_controllen > CONTROL_MAX)
		return -ENOBUFS;
	return mem_readable(fd, out->msg_control, out->msg_controllen) ? 0 : -EFAULT;
}

int mem_take_received(int fd, const struct msghdr *msg, struct msghdr *out)
{
	int r = take_header(fd, msg, out);

	return r < 0 ? r : take_buffers(fd, out);
}

int mem_give_received(int fd, struct msghdr *msg, const struct msghdr *from)
{
	const size_t told = offsetof(struct msghdr, msg_flags) + sizeof(msg->msg_flags) -
			    offsetof(struct msghdr, msg_controllen);

	if (from->msg_name != NULL &&
	    !mem_put(fd, &msg->msg_namelen, &from->msg_namelen, sizeof(msg->msg_namelen)))
		return -EFAULT;
	/* These two are neighbours, and all that recvmsg() tells of a message without a name. */
	if (!mem_writable(fd, &msg->msg_controllen, told))
		return -EFAULT;
	msg->msg_controllen = from->msg_controllen;
	msg->msg_flags = from->msg_flags;
	return 0;
}
