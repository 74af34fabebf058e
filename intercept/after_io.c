/**
 * after_io.c - The rare answers of a stream that are looked at again [5 sections 7 and 9.5]
 *
 * An end that may be a reset, and errors that AF_UNIX words differently. What was pending at the
 * service is told once, by whichever call asks first, as Linux does with the error of a socket.
 * Behind a seccomp filter nothing is asked, not even the socket for its name [5 section 9.7].
 */
#include "zt.h"

#include <poll.h>
#include <signal.h>

#include "raw.h"

/* ------------------------------------------------------------ after a read */

/** asked_error() - The pending error by TAKEERR or EOFINFO; 0 none, RPC_UNREACHABLE */
static int asked_error(int fd, const struct zt_token *t, enum proto_op op)
{
	uint8_t request[4] = {0};
	uint8_t reply[8] = {0};
	struct rpc rpc = {.op = op,
			  .token = t->id,
			  .request = request,
			  .request_len = op == OP_TAKEERR ? sizeof(request) : 0,
			  .reply = reply,
			  .reply_cap = sizeof(reply),
			  .fd = fd};
	int r = rpc_call(&rpc);
	int e = get32s(reply);

	if (r < 0)
		return RPC_UNREACHABLE;
	return e < 0 ? EIO : -errnomap_result(-e, PLACE_OPTION);
}

/** end_of_stream() - A read returned 0: tell an orderly end from a reset */
static ssize_t end_of_stream(int fd, const struct zt_token *t)
{
	int e;

	if ((raw_poll_one(fd, POLLRDHUP) & POLLHUP) == 0)
		return 0;
	e = asked_error(fd, t, OP_EOFINFO);
	log_call(LOG_DATA, "end", fd, t->id, e);
	/* Of an end of our own making a service that is still busy with its beginning knows
	 * nothing. */
	if (e == 0 || (e == RPC_UNREACHABLE && zt_shut_both(fd, t)))
		return 0;
	errno = e == RPC_UNREACHABLE ? ECONNRESET : e;
	return -1;
}

/** read_error() - AF_UNIX says ECONNRESET when the service closed before it had read all */
static ssize_t read_error(int fd, const struct zt_token *t, int error)
{
	int e = error;

	if (error == EINVAL && !rpc_is_attached(fd))
		e = ENOTCONN;
	else if (error == ECONNRESET)
		e = asked_error(fd, t, OP_EOFINFO);
	if (e == 0)
		return 0;
	errno = e == RPC_UNREACHABLE ? ECONNRESET : e;
	return -1;
}

ssize_t after_read(int fd, ssize_t r)
{
	struct zt_token t;
	int error = errno;

	if (r > 0 || rpc_sandboxed() || (r < 0 && (error == EAGAIN || error == EINTR)))
		return r;
	if (!token_of(fd, &t)) {
		fdtab_forget(fd);
		errno = error;
		return r;
	}
	if (r == 0)
		return end_of_stream(fd, &t);
	return read_error(fd, &t, error);
}

/* ----------------------------------------------------------- after a write */

static void raise_sigpipe(void)
{
	raw6(SYS_tgkill, raw_getpid(), raw_gettid(), SIGPIPE, 0, 0, 0);
}

ssize_t refuse_write(int flags)
{
	if ((flags & MSG_NOSIGNAL) == 0)
		raise_sigpipe();
	return zt_ret(-EPIPE);
}

/**
 * write_error() - What a write on a stream that was closed fails with
 * @error:	The kernel's: EPIPE, or ECONNRESET where the write was waiting
 */
static int write_error(int fd, const struct zt_token *t, int error)
{
	socklen_t len = sizeof(int);
	int kernels, e;

	if ((raw_poll_one(fd, POLLRDHUP) & POLLHUP) == 0)
		return error;
	e = asked_error(fd, t, OP_TAKEERR);
	log_call(LOG_DATA, "write", fd, t->id, e);
	if (e == RPC_UNREACHABLE)
		return error;
	if (e == 0)
		return EPIPE;
	raw_getsockopt(fd, SOL_SOCKET, SO_ERROR, &kernels, &len);
	return e;
}

ssize_t after_write(int fd, ssize_t r, int flags)
{
	struct zt_token t;
	int error = errno;

	if (r >= 0 || rpc_sandboxed() ||
	    (error != ENOTCONN && error != EPIPE && error != ECONNRESET))
		return r;
	if (token_is_stream(fd, &t))
		error = error == ENOTCONN ? EPIPE : write_error(fd, &t, error);
	if (error == EPIPE && (flags & MSG_NOSIGNAL) == 0)
		raise_sigpipe();
	errno = error;
	return -1;
}
