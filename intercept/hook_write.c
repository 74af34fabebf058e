/**
 * hook_write.c - Writing
 *
 * As hook_read.c: a write on a virtual TCP socket is one on its AF_UNIX stream, a write on a
 * datagram socket one struct msghdr for hook_dgram.c.
 */
#include "zt.h"

#include <unistd.h>

#include "real.h"

static ssize_t send_datagram(int fd, const struct zt_token *t, const struct iovec *iov,
			     size_t count, int flags)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = count};

	return zt_ret(dgram_send(fd, t, &msg, flags));
}

/* What a write on a stream was called with: one buffer, or a list that nobody has looked at */
struct output {
	const void *buf;
	size_t len;
	const struct iovec *list; /* NULL: the buffer */
	int count;
};

static ssize_t write_plainly(int fd, const struct output *o)
{
	return o->list == NULL ? real_write(fd, o->buf, o->len)
			       : real_writev(fd, o->list, o->count);
}

static ssize_t send_quietly(int fd, const struct output *o)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)o->list,
			     .msg_iovlen = (size_t)o->count};

	return o->list == NULL ? real_send(fd, o->buf, o->len, MSG_NOSIGNAL)
			       : real_sendmsg(fd, &msg, MSG_NOSIGNAL);
}

/** is_nothing() - A list without bytes, which writev() takes in any state of the socket */
static bool is_nothing(const struct output *o)
{
	return o->list != NULL && io_total(o->list, (size_t)o->count) == 0;
}

/** refuse_list() - A write where there is no connection: the list is looked at first */
static ssize_t refuse_list(int fd, const struct output *o)
{
	ssize_t len = o->list == NULL ? 1 : io_check_list(fd, o->list, o->count);

	return len > 0 ? refuse_write(0) : zt_ret(len);
}

/**
 * write_stream() - write() and writev(), as a send() whose signal is ours to raise
 *
 * After a reset the first write is an error without a signal, which a write() on AF_UNIX cannot
 * give. Behind a seccomp filter no other call than the program's own is made [5 section 9.7].
 */
static ssize_t write_stream(int fd, enum fd_hint hint, const struct output *o)
{
	ssize_t r;

	if (io_is_idle(fd, hint))
		return refuse_list(fd, o);
	if (rpc_sandboxed() || (hint != HINT_STREAM && !io_is_stream(fd, hint)))
		return after_write(fd, write_plainly(fd, o), MSG_NOSIGNAL);
	r = send_quietly(fd, o);
	if (r < 0 && errno == ENOTSOCK) {
		fdtab_forget(fd);
		return write_plainly(fd, o);
	}
	/* A filter that an earlier program set may know write() alone. */
	if (r < 0 && (errno == EPERM || errno == EACCES || errno == ENOSYS))
		return after_write(fd, write_plainly(fd, o), MSG_NOSIGNAL);
	/* The kernel has read the list before it complained of the socket. */
	if (r < 0 && errno != EBADF && errno != EFAULT && errno != EINVAL && is_nothing(o))
		return 0;
	return after_write(fd, r, 0);
}

HOOK ssize_t write(int fd, const void *buf, size_t len)
{
	enum fd_hint hint = fdtab_hint(fd);
	struct output o = {.buf = buf, .len = len};
	struct iovec iov = io_buffer(buf, len);
	struct zt_token t;

	if (hint == HINT_NONE)
		return real_write(fd, buf, len);
	if (io_is_datagram(fd, hint, &t))
		return send_datagram(fd, &t, &iov, 1, 0);
	return write_stream(fd, hint, &o);
}

HOOK ssize_t writev(int fd, const struct iovec *iov, int count)
{
	enum fd_hint hint = fdtab_hint(fd);
	struct output o = {.list = iov, .count = count};
	struct zt_token t;
	ssize_t len;

	/* No list at all is the kernel's to refuse. */
	if (hint == HINT_NONE || io_is_no_list(count) || iov == NULL)
		return real_writev(fd, iov, count);
	if (!io_is_datagram(fd, hint, &t))
		return write_stream(fd, hint, &o);
	len = io_check_list(fd, iov, count);
	return len <= 0 ? zt_ret(len) : send_datagram(fd, &t, iov, (size_t)count, 0);
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
	struct iovec iov = io_buffer(buf, len);
	struct zt_token t;
	int inner;

	if (hint == HINT_NONE)
		return real_send(fd, buf, len, flags);
	if (io_is_datagram(fd, hint, &t))
		return send_datagram(fd, &t, &iov, 1, flags);
	if (!io_is_stream(fd, hint))
		return real_send(fd, buf, len, flags);
	inner = stream_flags(fd, flags);
	if (inner < 0)
		return zt_ret(inner);
	if (io_is_idle(fd, hint))
		return refuse_write(flags);
	return sent(fd, real_send(fd, buf, len, inner), flags);
}

static ssize_t send_to(int fd, const struct zt_token *t, const void *buf, size_t len, int flags,
		       const struct sockaddr *addr, socklen_t addr_len)
{
	struct iovec iov = io_buffer(buf, len);
	struct msghdr msg = {.msg_name = (void *)(uintptr_t)addr,
			     .msg_namelen = addr_len,
			     .msg_iov = &iov,
			     .msg_iovlen = 1};
	int r = addr_check(fd, addr, addr_len);

	return zt_ret(r < 0 ? r : dgram_send(fd, t, &msg, flags));
}

HOOK ssize_t sendto(int fd, const void *buf, size_t len, int flags, __CONST_SOCKADDR_ARG address,
		    socklen_t addr_len)
{
	const struct sockaddr *addr = address.__sockaddr__;
	enum fd_hint hint = fdtab_hint(fd);
	struct zt_token t;
	int r;

	if (hint == HINT_NONE || (addr != NULL && !token_of(fd, &t)))
		return real_sendto(fd, buf, len, flags, addr, addr_len);
	if (addr != NULL && t.kind != 's')
		return send_to(fd, &t, buf, len, flags, addr, addr_len);
	r = addr == NULL ? 0 : addr_check(fd, addr, addr_len);
	return r < 0 ? zt_ret(r) : send(fd, buf, len, flags);
}

/** send_stream() - sendmsg() of a stream, whose control data may only be wrong */
static ssize_t send_stream(int fd, enum fd_hint hint, const struct zt_token *t,
			   const struct msghdr *msg, int flags)
{
	struct msghdr inner = {.msg_iov = msg->msg_iov, .msg_iovlen = msg->msg_iovlen};
	int inner_flags = stream_flags(fd, flags);
	int r;

	if (inner_flags < 0)
		return zt_ret(inner_flags);
	if (io_is_idle(fd, hint))
		return refuse_write(flags);
	r = control_mistake(msg, t);
	if (r < 0)
		return zt_ret(r);
	return sent(fd, real_sendmsg(fd, &inner, inner_flags), flags);
}

HOOK ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	enum fd_hint hint = fdtab_hint(fd);
	struct msghdr inner;
	struct zt_token t;
	int r;

	if (hint == HINT_NONE || !token_of(fd, &t))
		return real_sendmsg(fd, msg, flags);
	mem_begin();
	r = mem_take_sent(fd, msg, &inner);
	mem_end();
	if (r < 0)
		return zt_ret(r);
	return t.kind == 's' ? send_stream(fd, hint, &t, &inner, flags)
			     : zt_ret(dgram_send(fd, &t, &inner, flags));
}

/** send_next() - One message of sendmmsg(), with its length; its header comes first in @m */
static ssize_t send_next(int fd, struct mmsghdr *m, int flags)
{
	ssize_t r = sendmsg(fd, (struct msghdr *)m, flags);
	unsigned len = (unsigned)r;

	if (r >= 0 && !mem_put(fd, &m->msg_len, &len, sizeof(len)))
		return zt_ret(-EFAULT);
	return r;
}

HOOK int sendmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags)
{
	struct zt_token t;
	unsigned done = 0;

	if (fdtab_hint(fd) == HINT_NONE || !token_of(fd, &t))
		return real_sendmmsg(fd, msgs, count, flags);
	while (done < count) {
		if (send_next(fd, &msgs[done], flags) < 0)
			break;
		done++;
	}
	return done == 0 && count > 0 ? -1 : (int)done;
}

ALIAS(__write, write)
ALIAS(__send, send)
ALIAS(__sendmmsg, sendmmsg)
