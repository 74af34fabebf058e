/**
 * hook_io.c - Reading and writing
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

#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "raw.h"
#include "real.h"

/* [5 section 7] most that one MSG_TRUNC read discards */
#define DISCARD_MAX 65536

/* --------------------------------------------------------------- datagrams */

/** is_datagram() - @fd is a virtual datagram socket named @t; corrects a stale hint */
static bool is_datagram(int fd, enum fd_hint hint, struct zt_token *t)
{
	if (hint == HINT_NONE || hint == HINT_STREAM)
		return false;
	if (!token_of(fd, t)) {
		fdtab_mark(fd, HINT_NONE);
		return false;
	}
	return t->kind != 's';
}

static ssize_t receive_datagram(int fd, const struct zt_token *t, const struct iovec *iov,
				size_t count, int flags)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = count};

	return zt_ret(dgram_receive(fd, t, &msg, flags));
}

static ssize_t send_datagram(int fd, const struct zt_token *t, const struct iovec *iov,
			     size_t count, int flags)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = count};

	return zt_ret(dgram_send(fd, t, &msg, flags));
}

/** buffer() - One buffer as a list; the kernel writes through it only when receiving */
static struct iovec buffer(const void *buf, size_t len)
{
	return (struct iovec){(void *)(uintptr_t)buf, len};
}

/* ------------------------------------------------------ flags of a receive */

/** is_stream() - Verified answer for flags whose AF_UNIX meaning differs */
static bool is_stream(int fd, enum fd_hint hint)
{
	struct zt_token t;

	return hint != HINT_NONE && token_is_stream(fd, &t);
}

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
	if ((flags & (MSG_TRUNC | MSG_OOB | MSG_ERRQUEUE)) == 0 || !is_stream(fd, hint))
		return false;
	if ((flags & MSG_ERRQUEUE) != 0)
		*r = zt_ret(-EAGAIN);
	else if ((flags & MSG_OOB) != 0)
		*r = zt_ret(-EINVAL);
	else
		*r = discard(fd, len, flags);
	return true;
}

/** receive() - recv() on a descriptor that is probably virtual */
static ssize_t receive(int fd, enum fd_hint hint, void *buf, size_t len, int flags)
{
	struct iovec iov = buffer(buf, len);
	struct zt_token t;
	ssize_t r;

	if (is_datagram(fd, hint, &t))
		return receive_datagram(fd, &t, &iov, 1, flags);
	if (odd_receive(fd, hint, len, flags, &r))
		return r;
	r = real_recv(fd, buf, len, flags);
	return len == 0 ? r : after_read(fd, r);
}

static size_t iov_total(const struct iovec *iov, size_t count)
{
	size_t total = 0;

	for (size_t i = 0; iov != NULL && i < count; i++)
		total += iov[i].iov_len;
	return total;
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

static ssize_t receive_message(int fd, enum fd_hint hint, struct msghdr *msg, int flags)
{
	struct msghdr inner;
	size_t total = iov_total(msg->msg_iov, msg->msg_iovlen);
	ssize_t r;

	if (!odd_receive(fd, hint, total, flags, &r)) {
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

/** iov_is_empty() - Nothing to transfer (Linux returns 0 at once), or a list to be refused */
static bool iov_is_empty(const struct iovec *iov, int count)
{
	return count <= 0 || count > IOV_MAX || iov_total(iov, (size_t)count) == 0;
}

/* ------------------------------------------------------------ read family */

HOOK ssize_t read(int fd, void *buf, size_t len)
{
	enum fd_hint hint = fdtab_hint(fd);
	struct iovec iov = buffer(buf, len);
	struct zt_token t;
	ssize_t r;

	if (hint == HINT_NONE)
		return real_read(fd, buf, len);
	if (is_datagram(fd, hint, &t))
		return len == 0 ? 0 : receive_datagram(fd, &t, &iov, 1, 0);
	r = real_read(fd, buf, len);
	return len == 0 ? r : after_read(fd, r);
}

HOOK ssize_t readv(int fd, const struct iovec *iov, int count)
{
	enum fd_hint hint = fdtab_hint(fd);
	struct zt_token t;
	ssize_t r;

	if (hint == HINT_NONE || iov_is_empty(iov, count))
		return real_readv(fd, iov, count);
	if (is_datagram(fd, hint, &t))
		return receive_datagram(fd, &t, iov, (size_t)count, 0);
	r = real_readv(fd, iov, count);
	return after_read(fd, r);
}

HOOK ssize_t recv(int fd, void *buf, size_t len, int flags)
{
	enum fd_hint hint = fdtab_hint(fd);

	if (hint == HINT_NONE)
		return real_recv(fd, buf, len, flags);
	return receive(fd, hint, buf, len, flags);
}

static ssize_t receive_from(int fd, const struct zt_token *t, void *buf, size_t len, int flags,
			    struct sockaddr *addr, socklen_t *addr_len)
{
	struct iovec iov = buffer(buf, len);
	struct msghdr msg = {.msg_name = addr, .msg_iov = &iov, .msg_iovlen = 1};
	ssize_t r;

	if (addr_len == NULL)
		return zt_ret(-EFAULT);
	msg.msg_namelen = *addr_len;
	r = dgram_receive(fd, t, &msg, flags);
	if (r >= 0)
		*addr_len = msg.msg_namelen;
	return zt_ret(r);
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
	if (r >= 0 && addr != NULL && addr_len != NULL)
		*addr_len = 0;
	return r;
}

HOOK ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	enum fd_hint hint = fdtab_hint(fd);
	struct zt_token t;
	ssize_t r;

	if (hint != HINT_NONE && msg != NULL && token_of(fd, &t)) {
		if (t.kind != 's')
			return zt_ret(dgram_receive(fd, &t, msg, flags));
		return receive_message(fd, hint, msg, flags);
	}
	r = real_recvmsg(fd, msg, flags);
	if (r >= 0 && msg->msg_controllen > 0 && zt_active())
		adopt_rights(msg);
	return r;
}

/** elapsed() - Whether @timeout, counted from @start, is over */
static bool elapsed(const struct timespec *start, const struct timespec *timeout)
{
	struct timespec now;
	long s, ns;

	if (timeout == NULL)
		return false;
	raw6(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&now, 0, 0, 0, 0);
	s = now.tv_sec - start->tv_sec;
	ns = now.tv_nsec - start->tv_nsec;
	if (ns < 0) {
		s--;
		ns += 1000000000;
	}
	return s > timeout->tv_sec || (s == timeout->tv_sec && ns >= timeout->tv_nsec);
}

HOOK int recvmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags, struct timespec *timeout)
{
	struct timespec start;
	struct zt_token t;
	unsigned done = 0;

	if (fdtab_hint(fd) == HINT_NONE || !token_of(fd, &t))
		return real_recvmmsg(fd, msgs, count, flags, timeout);
	if (msgs == NULL && count > 0)
		return (int)zt_ret(-EFAULT);
	raw6(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&start, 0, 0, 0, 0);
	while (done < count) {
		ssize_t r = recvmsg(fd, &msgs[done].msg_hdr, flags & ~MSG_WAITFORONE);

		if (r < 0)
			break;
		msgs[done++].msg_len = (unsigned)r;
		/* Nothing follows the end of a stream; an empty datagram is one like any other. */
		if ((r == 0 && t.kind == 's') || elapsed(&start, timeout))
			break;
		if ((flags & MSG_WAITFORONE) != 0)
			flags |= MSG_DONTWAIT;
	}
	return done == 0 && count > 0 ? -1 : (int)done;
}

/* ----------------------------------------------------------- write family */

static ssize_t write_plainly(int fd, const struct iovec *iov, int count)
{
	return count == 1 ? real_write(fd, iov->iov_base, iov->iov_len)
			  : real_writev(fd, iov, count);
}

/**
 * write_stream() - write() and writev(), as a send() whose signal is ours to raise
 *
 * After a reset the first write is an error without a signal, which a write() on AF_UNIX cannot
 * give. Behind a seccomp filter no other call than the program's own is made [5 section 9.7].
 */
static ssize_t write_stream(int fd, enum fd_hint hint, const struct iovec *iov, int count)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov,
			     .msg_iovlen = (size_t)count};
	ssize_t r;

	if (rpc_sandboxed() || (hint != HINT_STREAM && !is_stream(fd, hint)))
		return after_write(fd, write_plainly(fd, iov, count), MSG_NOSIGNAL);
	r = count == 1 ? real_send(fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL)
		       : real_sendmsg(fd, &msg, MSG_NOSIGNAL);
	if (r < 0 && errno == ENOTSOCK) {
		fdtab_mark(fd, HINT_NONE);
		return write_plainly(fd, iov, count);
	}
	/* A filter that an earlier program set may know write() alone. */
	if (r < 0 && (errno == EPERM || errno == EACCES || errno == ENOSYS))
		return after_write(fd, write_plainly(fd, iov, count), MSG_NOSIGNAL);
	return after_write(fd, r, 0);
}

HOOK ssize_t write(int fd, const void *buf, size_t len)
{
	enum fd_hint hint = fdtab_hint(fd);
	struct iovec iov = buffer(buf, len);
	struct zt_token t;

	if (hint == HINT_NONE)
		return real_write(fd, buf, len);
	if (is_datagram(fd, hint, &t))
		return send_datagram(fd, &t, &iov, 1, 0);
	return write_stream(fd, hint, &iov, 1);
}

HOOK ssize_t writev(int fd, const struct iovec *iov, int count)
{
	enum fd_hint hint = fdtab_hint(fd);
	struct zt_token t;

	if (hint == HINT_NONE || iov_is_empty(iov, count))
		return real_writev(fd, iov, count);
	if (is_datagram(fd, hint, &t))
		return send_datagram(fd, &t, iov, (size_t)count, 0);
	return write_stream(fd, hint, iov, count);
}

/** stream_flags() - Flags of a send as the stream may see them; a negative errno to refuse */
static int stream_flags(int fd, int flags)
{
	if ((flags & MSG_FASTOPEN) != 0)
		return stream_fast_open(fd);
	flags &= ~(MSG_OOB | MSG_ZEROCOPY);
	return rpc_sandboxed() ? flags : flags | MSG_NOSIGNAL;
}

/** sent() - after_write() of a send with @flags, in which stream_flags() took charge of the signal
 */
static ssize_t sent(int fd, ssize_t r, int flags)
{
	return after_write(fd, r, rpc_sandboxed() ? MSG_NOSIGNAL : flags);
}

HOOK ssize_t send(int fd, const void *buf, size_t len, int flags)
{
	enum fd_hint hint = fdtab_hint(fd);
	struct iovec iov = buffer(buf, len);
	struct zt_token t;
	int inner;

	if (hint == HINT_NONE)
		return real_send(fd, buf, len, flags);
	if (is_datagram(fd, hint, &t))
		return send_datagram(fd, &t, &iov, 1, flags);
	if (!is_stream(fd, hint))
		return real_send(fd, buf, len, flags);
	inner = stream_flags(fd, flags);
	if (inner < 0)
		return zt_ret(inner);
	return sent(fd, real_send(fd, buf, len, inner), flags);
}

static ssize_t send_to(int fd, const struct zt_token *t, const void *buf, size_t len, int flags,
		       const struct sockaddr *addr, socklen_t addr_len)
{
	struct iovec iov = buffer(buf, len);
	struct msghdr msg = {.msg_name = (void *)(uintptr_t)addr,
			     .msg_namelen = addr_len,
			     .msg_iov = &iov,
			     .msg_iovlen = 1};

	return zt_ret(dgram_send(fd, t, &msg, flags));
}

/** send_message() - sendmsg() of a datagram socket; a name of no length is none */
static ssize_t send_message(int fd, const struct zt_token *t, const struct msghdr *msg, int flags)
{
	struct msghdr inner = *msg;

	if (inner.msg_namelen == 0)
		inner.msg_name = NULL;
	return zt_ret(dgram_send(fd, t, &inner, flags));
}

HOOK ssize_t sendto(int fd, const void *buf, size_t len, int flags, __CONST_SOCKADDR_ARG address,
		    socklen_t addr_len)
{
	const struct sockaddr *addr = address.__sockaddr__;
	enum fd_hint hint = fdtab_hint(fd);
	struct zt_token t;

	if (hint == HINT_NONE || (addr != NULL && !token_of(fd, &t)))
		return real_sendto(fd, buf, len, flags, addr, addr_len);
	if (addr != NULL && t.kind != 's')
		return send_to(fd, &t, buf, len, flags, addr, addr_len);
	return send(fd, buf, len, flags);
}

HOOK ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct msghdr inner;
	struct zt_token t;
	int inner_flags;

	if (fdtab_hint(fd) == HINT_NONE || msg == NULL || !token_of(fd, &t))
		return real_sendmsg(fd, msg, flags);
	if (t.kind != 's')
		return send_message(fd, &t, msg, flags);
	inner_flags = stream_flags(fd, flags);
	if (inner_flags < 0)
		return zt_ret(inner_flags);
	inner = (struct msghdr){.msg_iov = msg->msg_iov, .msg_iovlen = msg->msg_iovlen};
	return sent(fd, real_sendmsg(fd, &inner, inner_flags), flags);
}

HOOK int sendmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags)
{
	struct zt_token t;
	unsigned done = 0;

	if (fdtab_hint(fd) == HINT_NONE || !token_of(fd, &t))
		return real_sendmmsg(fd, msgs, count, flags);
	if (msgs == NULL && count > 0)
		return (int)zt_ret(-EFAULT);
	while (done < count) {
		ssize_t r = sendmsg(fd, &msgs[done].msg_hdr, flags);

		if (r < 0)
			break;
		msgs[done++].msg_len = (unsigned)r;
	}
	return done == 0 && count > 0 ? -1 : (int)done;
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
ALIAS(__write, write)
ALIAS(__send, send)
ALIAS(__sendmmsg, sendmmsg)
