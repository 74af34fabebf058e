/**
 * hook_read.c - Reading
 *
 * Data of a virtual TCP socket is data of its AF_UNIX stream: the real call is made, and only its
 * rare answers are looked at again (after_io.c) [5 sections 7 and 9.5]. On every other descriptor
 * the cost is one byte load.
 *
 * Calls on datagram sockets become one struct msghdr for hook_dgram.c.
 *
 * recvmsg() also looks at descriptors that arrive by SCM_RIGHTS, since they may be virtual.
 */
#include "zt.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "raw.h"
#include "real.h"

/* [5 section 7] most that one MSG_TRUNC read discards */
#define DISCARD_MAX 65536

static ssize_t receive_datagram(int fd, const struct zt_token *t, const struct iovec *iov,
				size_t count, int flags)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = count};

	return zt_ret(dgram_receive(fd, t, &msg, flags));
}

/* ------------------------------------------------------ flags of a receive */

/** discard() - recv(MSG_TRUNC): take bytes without storing them */
static ssize_t discard(int fd, size_t len, int flags)
{
	size_t part = len < DISCARD_MAX ? len : DISCARD_MAX;
	long scratch;
	ssize_t r;

	if (len == 0)
		return 0;
	scratch = raw6(SYS_mmap, 0, DISCARD_MAX, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (scratch < 0 && scratch > -4096)
		return zt_ret(scratch);
	r = real_recv(fd, (void *)scratch, part, flags & ~MSG_TRUNC);
	if (r <= 0)
		r = after_read(fd, r);
	raw6(SYS_munmap, scratch, DISCARD_MAX, 0, 0, 0, 0);
	return r;
}

/** odd_receive() - Flags that AF_UNIX treats differently; true when @r is the answer */
static bool odd_receive(int fd, enum fd_hint hint, size_t len, int flags, ssize_t *r)
{
	if ((flags & (MSG_TRUNC | MSG_OOB | MSG_ERRQUEUE)) == 0 || !io_is_stream(fd, hint))
		return false;
	if ((flags & MSG_ERRQUEUE) != 0)
		*r = zt_ret(-EAGAIN);
	else if ((flags & MSG_OOB) != 0)
		*r = zt_ret(io_is_listener(fd, hint) ? -ENOTCONN : -EINVAL);
	else if (io_is_idle(fd, hint))
		*r = zt_ret(-ENOTCONN);
	else
		*r = discard(fd, len, flags);
	return true;
}

/** receive() - recv() on a descriptor that is probably virtual */
static ssize_t receive(int fd, enum fd_hint hint, void *buf, size_t len, int flags)
{
	struct iovec iov = io_buffer(buf, len);
	struct zt_token t;
	ssize_t r;

	if (io_is_datagram(fd, hint, &t))
		return receive_datagram(fd, &t, &iov, 1, flags);
	if (odd_receive(fd, hint, len, flags, &r))
		return r;
	if (io_is_idle(fd, hint))
		return zt_ret(-ENOTCONN);
	r = real_recv(fd, buf, len, flags);
	return len == 0 && r == 0 ? r : after_read(fd, r);
}

/** adopt_rights() - Look at every descriptor that arrived in the control data of @msg */
static void adopt_rights(struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			fdtab_adopt(fd);
		}
	}
}

/** receive_message() - recvmsg() of a stream, whose message mem_take_received() has copied */
static ssize_t receive_message(int fd, enum fd_hint hint, struct msghdr *msg, int flags)
{
	struct msghdr inner;
	size_t total = io_total(msg->msg_iov, msg->msg_iovlen);
	ssize_t r;

	if (odd_receive(fd, hint, total, flags, &r)) {
		/* answered */
	} else if (io_is_idle(fd, hint)) {
		r = zt_ret(-ENOTCONN);
	} else {
		inner = (struct msghdr){.msg_iov = msg->msg_iov, .msg_iovlen = msg->msg_iovlen};
		r = real_recvmsg(fd, &inner, flags);
		if (total != 0)
			r = after_read(fd, r);
	}
	if (r >= 0) {
		msg->msg_namelen = 0;
		msg->msg_controllen = 0;
		msg->msg_flags = 0;
	}
	return r;
}

/* ------------------------------------------------------------ read family */

HOOK ssize_t read(int fd, void *buf, size_t len)
{
	enum fd_hint hint = fdtab_hint(fd);
	struct iovec iov = io_buffer(buf, len);
	struct zt_token t;
	ssize_t r;

	if (hint == HINT_NONE)
		return real_read(fd, buf, len);
	if (io_is_datagram(fd, hint, &t))
		return len == 0 ? 0 : receive_datagram(fd, &t, &iov, 1, 0);
	if (len > 0 && io_is_idle(fd, hint))
		return zt_ret(-ENOTCONN);
	r = real_read(fd, buf, len);
	return len == 0 ? r : after_read(fd, r);
}

/** read_list() - readv() of a stream: the list is looked at when the kernel has accepted it */
static ssize_t read_list(int fd, enum fd_hint hint, const struct iovec *iov, int count)
{
	ssize_t r;

	if (io_is_idle(fd, hint)) {
		r = io_check_list(fd, iov, count);
		return zt_ret(r > 0 ? -ENOTCONN : r);
	}
	r = real_readv(fd, iov, count);

	if (r == 0 && io_total(iov, (size_t)count) == 0)
		return 0;
	if (r < 0 && errno == EINVAL && mem_buffers(fd, iov, (size_t)count) < 0)
		return zt_ret(-EINVAL);
	return after_read(fd, r);
}

HOOK ssize_t readv(int fd, const struct iovec *iov, int count)
{
	enum fd_hint hint = fdtab_hint(fd);
	struct zt_token t;
	ssize_t len;

	if (hint == HINT_NONE || io_is_no_list(count))
		return real_readv(fd, iov, count);
	if (!io_is_datagram(fd, hint, &t))
		return read_list(fd, hint, iov, count);
	len = io_check_list(fd, iov, count);
	return len <= 0 ? zt_ret(len) : receive_datagram(fd, &t, iov, (size_t)count, 0);
}

HOOK ssize_t recv(int fd, void *buf, size_t len, int flags)
{
	enum fd_hint hint = fdtab_hint(fd);

	if (hint == HINT_NONE)
		return real_recv(fd, buf, len, flags);
	return receive(fd, hint, buf, len, flags);
}

/** receive_from() - recvfrom() with an address; Linux looks at its pointers after the receive */
static ssize_t receive_from(int fd, const struct zt_token *t, void *buf, size_t len, int flags,
			    struct sockaddr *addr, socklen_t *addr_len)
{
	struct iovec iov = io_buffer(buf, len);
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	int bad = mem_length(fd, addr_len, &msg.msg_namelen);
	ssize_t r;

	if (bad == 0)
		msg.msg_name = addr;
	mem_begin();
	r = dgram_receive(fd, t, &msg, flags);
	if (r >= 0 && bad == 0 && !mem_put(fd, addr_len, &msg.msg_namelen, sizeof(msg.msg_namelen)))
		bad = -EFAULT;
	mem_end();
	return zt_ret(r >= 0 && bad < 0 ? bad : r);
}

/** without_name() - A stream has no address to give: @r, or what is wrong with its length */
static ssize_t without_name(int fd, ssize_t r, socklen_t *addr_len)
{
	socklen_t none = 0;
	int bad = r < 0 ? 0 : mem_length(fd, addr_len, &none);

	none = 0;
	if (r >= 0 && bad == 0 && !mem_put(fd, addr_len, &none, sizeof(none)))
		bad = -EFAULT;
	return bad < 0 ? zt_ret(bad) : r;
}

HOOK ssize_t recvfrom(int fd, void *buf, size_t len, int flags, __SOCKADDR_ARG address,
		      socklen_t *addr_len)
{
	struct sockaddr *addr = address.__sockaddr__;
	enum fd_hint hint = fdtab_hint(fd);
	struct zt_token t;
	ssize_t r;

	/* The address buffer must not reach AF_UNIX, so a hint has to be right here. */
	if (hint == HINT_NONE || (addr != NULL && !token_of(fd, &t)))
		return real_recvfrom(fd, buf, len, flags, addr, addr_len);
	if (addr != NULL && t.kind != 's')
		return receive_from(fd, &t, buf, len, flags, addr, addr_len);
	r = receive(fd, hint, buf, len, flags);
	return addr == NULL ? r : without_name(fd, r, addr_len);
}

/** receive_virtual() - recvmsg() of a virtual socket */
static ssize_t receive_virtual(int fd, enum fd_hint hint, const struct zt_token *t,
			       struct msghdr *msg, int flags)
{
	struct msghdr inner;
	ssize_t r;
	int given;

	mem_begin();
	given = mem_take_received(fd, msg, &inner);
	if (given < 0) {
		mem_end();
		return zt_ret(given);
	}
	r = t->kind == 's' ? receive_message(fd, hint, &inner, flags)
			   : zt_ret(dgram_receive(fd, t, &inner, flags));
	if (r >= 0)
		given = mem_give_received(fd, msg, &inner);
	mem_end();
	return given < 0 ? zt_ret(given) : r;
}

HOOK ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	enum fd_hint hint = fdtab_hint(fd);
	struct zt_token t;
	ssize_t r;

	if (hint != HINT_NONE && token_of(fd, &t))
		return receive_virtual(fd, hint, &t, msg, flags);
	r = real_recvmsg(fd, msg, flags);
	if (r >= 0 && msg->msg_controllen > 0 && zt_active())
		adopt_rights(msg);
	return r;
}

/* How long recvmmsg() goes on */
struct limit {
	struct timespec start;
	struct timespec left; /* at the beginning, then after each datagram */
	bool none;
};

static struct timespec now(void)
{
	struct timespec t;

	raw6(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&t, 0, 0, 0, 0);
	return t;
}

/** limit_begin() - Check @timeout as Linux does: 0, -EFAULT or -EINVAL */
static int limit_begin(int fd, const struct timespec *timeout, struct limit *out)
{
	out->none = timeout == NULL;
	if (out->none)
		return 0;
	if (!mem_readable(fd, timeout, sizeof(*timeout)))
		return -EFAULT;
	out->left = *timeout;
	out->start = now();
	return out->left.tv_sec < 0 || out->left.tv_nsec < 0 || out->left.tv_nsec >= 1000000000
		       ? -EINVAL
		       : 0;
}

/** limit_passed() - Count the time since the last look; true when none is left */
static bool limit_passed(struct limit *l)
{
	struct timespec at;

	if (l->none)
		return false;
	at = now();
	l->left.tv_sec -= at.tv_sec - l->start.tv_sec;
	l->left.tv_nsec -= at.tv_nsec - l->start.tv_nsec;
	if (l->left.tv_nsec < 0) {
		l->left.tv_sec--;
		l->left.tv_nsec += 1000000000;
	} else if (l->left.tv_nsec >= 1000000000) {
		l->left.tv_sec++;
		l->left.tv_nsec -= 1000000000;
	}
	l->start = at;
	if (l->left.tv_sec < 0)
		l->left = (struct timespec){0, 0};
	return l->left.tv_sec == 0 && l->left.tv_nsec == 0;
}

/** receive_next() - One message of recvmmsg(), with its length; its header comes first in @m */
static ssize_t receive_next(int fd, struct mmsghdr *m, int flags)
{
	ssize_t r = recvmsg(fd, (struct msghdr *)m, flags & ~MSG_WAITFORONE);
	unsigned len = (unsigned)r;

	if (r >= 0 && !mem_put(fd, &m->msg_len, &len, sizeof(len)))
		return zt_ret(-EFAULT);
	return r;
}

static int receive_messages(int fd, const struct zt_token *t, struct mmsghdr *msgs, unsigned count,
			    int flags, struct limit *limit)
{
	unsigned done = 0;

	while (done < count) {
		ssize_t r = receive_next(fd, &msgs[done], flags);

		if (r < 0)
			break;
		done++;
		/* Nothing follows the end of a stream; an empty datagram is one like any other. */
		if ((r == 0 && t->kind == 's') || limit_passed(limit))
			break;
		if ((flags & MSG_WAITFORONE) != 0)
			flags |= MSG_DONTWAIT;
	}
	return done == 0 && count > 0 ? -1 : (int)done;
}

HOOK int recvmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags, struct timespec *timeout)
{
	struct limit limit;
	struct zt_token t;
	int r;

	if (fdtab_hint(fd) == HINT_NONE || !token_of(fd, &t)) {
		r = real_recvmmsg(fd, msgs, count, flags, timeout);
		for (int i = 0; i < r && zt_active(); i++)
			adopt_rights(&msgs[i].msg_hdr);
		return r;
	}
	r = limit_begin(fd, timeout, &limit);
	if (r < 0)
		return (int)zt_ret(r);
	r = receive_messages(fd, &t, msgs, count, flags, &limit);
	if (r > 0 && !limit.none && !mem_put(fd, timeout, &limit.left, sizeof(limit.left)))
		return (int)zt_ret(-EFAULT);
	return r;
}

/* ------------------------------------------------- checked and inner names */

/** check_room() - What libc's __*_chk() functions do before the call */
static void check_room(size_t len, size_t room)
{
	if (len > room)
		abort();
}

HOOK ssize_t __read_chk(int fd, void *buf, size_t len, size_t room);
HOOK ssize_t __read_chk(int fd, void *buf, size_t len, size_t room)
{
	check_room(len, room);
	return read(fd, buf, len);
}

HOOK ssize_t __recv_chk(int fd, void *buf, size_t len, size_t room, int flags);
HOOK ssize_t __recv_chk(int fd, void *buf, size_t len, size_t room, int flags)
{
	check_room(len, room);
	return recv(fd, buf, len, flags);
}

HOOK ssize_t __recvfrom_chk(int fd, void *buf, size_t len, size_t room, int flags,
			    struct sockaddr *addr, socklen_t *addr_len);
HOOK ssize_t __recvfrom_chk(int fd, void *buf, size_t len, size_t room, int flags,
			    struct sockaddr *addr, socklen_t *addr_len)
{
	check_room(len, room);
	return recvfrom(fd, buf, len, flags, addr, addr_len);
}

ALIAS(__read, read)
