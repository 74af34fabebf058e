/**
 * stream.c - connect() and accept() of TCP sockets: the client's half of [5 sections 6.1 to 6.3]
 *
 * Contents: connect; accept. A pending connect is a stream full of padding that the service reads
 * when the handshake is done; a connection to accept is a record on the listener's stream. The
 * steps that do not wait are in carrier.c, which the launcher uses too.
 *
 * Async-signal-safe: no allocation, no lock that blocks, no stdio.
 */
#include "zt.h"

#include <sys/time.h>

#include "raw.h"
#include "real.h"

/* --------------------------------------------------------------- connect */

/**
 * replace_stream() - Give @fd a fresh stream that inherits options and binding
 *
 * Only after a failed or finished connection is used again: the old stream cannot carry another
 * one. Epoll registrations of @fd end here, as the kernel drops them with the old file.
 */
static int replace_stream(int fd, struct zt_token *t)
{
	struct zt_token fresh = *t;
	long flags = raw_fcntl(fd, F_GETFD, 0);
	int carrier = token_open(&fresh, SOCK_CLOEXEC);
	long r;
	int result;

	if (carrier < 0)
		return carrier;
	carrier_copy_settings(fd, carrier);
	r = raw_dup3(carrier, fd, (flags & FD_CLOEXEC) != 0 ? O_CLOEXEC : 0);
	raw_close(carrier);
	if (r < 0)
		return (int)r;
	result = rpc_attach(fd, &fresh);
	if (result == 0)
		result = rpc_about(fd, &fresh, OP_INHERIT, t->id, TOKEN_LEN, NULL, 0);
	*t = fresh;
	return result;
}

/* [5 section 9.4] patience with a service that does not answer, in seconds */
#define ANSWER_TIMEOUT_S 10

/**
 * await_outcome() - Wait for the end of the handshake as a blocking connect(2) does
 * @padding:	Bytes of padding sent now, or PADDING_UNCHANGED
 * @pending:	errno when SO_SNDTIMEO passes first
 */
static int await_outcome(struct rpc_line *line, struct rpc *rpc, uint32_t padding, int pending,
			 const struct timeval *limit)
{
	uint8_t request[4];
	int r;

	put32(request, padding);
	rpc->op = OP_WAITCONN;
	rpc->request = request;
	rpc->request_len = sizeof(request);
	r = rpc_line_call(line, rpc, limit, true);
	return r == -EAGAIN ? -pending : r;
}

/** started() - The service has sent the SYN: make the stream look like a pending one, and wait */
static int started(int fd, const struct zt_token *t, struct rpc_line *line, struct rpc *rpc,
		   const struct timeval *limit)
{
	long sent = carrier_pad(fd, t);

	if (sent < 0)
		return (int)sent;
	if (!line->interrupted)
		return await_outcome(line, rpc, (uint32_t)sent, EINPROGRESS, limit);
	carrier_padded(fd, t, (uint32_t)sent);
	return -EINTR;
}

/** judge_answer() - The answer to CONNECT; CONNECT_REPLACE when the stream cannot be used again */
static int judge_answer(int fd, int r)
{
	/* -ENOTCONN: a service that was restarted, or has forgotten, does not know the token. */
	return r == -ENOTCONN && carrier_is_dead(fd) ? CONNECT_REPLACE : r;
}

/**
 * connect_blocking() - CONNECT and the wait for its outcome, over one connection
 *
 * A signal ends both, as it ends connect(2), but not before the answer to CONNECT: until then
 * nobody knows whether a connection goes on in the background, and the stream must not be padded.
 * The kernel tells us of signals that restart connect(2) if the connection has a time limit, as
 * connect(2) itself does with SO_SNDTIMEO.
 */
static int connect_blocking(int fd, const struct zt_token *t, const uint8_t *request, size_t len)
{
	struct rpc rpc = {
		.op = OP_CONNECT, .token = t->id, .request = request, .request_len = len, .fd = fd};
	struct timeval limit = {0, 0};
	struct timeval patience = {0, 0};
	socklen_t limit_len = sizeof(limit);
	struct rpc_line line;
	int r = rpc_line_open(&line, fd);

	if (r < 0)
		return r;
	raw_getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, &limit_len);
	if (limit.tv_sec != 0 || limit.tv_usec != 0)
		patience.tv_sec = ANSWER_TIMEOUT_S;
	r = judge_answer(fd, rpc_line_call(&line, &rpc, &patience, false));
	if (r == CONNECT_STARTED)
		r = started(fd, t, &line, &rpc, &limit);
	else if (r == -EALREADY)
		r = line.interrupted
			    ? -EINTR
			    : await_outcome(&line, &rpc, PADDING_UNCHANGED, EALREADY, &limit);
	rpc_line_close(&line);
	return r;
}

static int connect_nonblocking(int fd, const struct zt_token *t, const uint8_t *request, size_t len)
{
	int r = judge_answer(fd, rpc_about(fd, t, OP_CONNECT, request, len, NULL, 0));
	long sent;

	if (r != CONNECT_STARTED)
		return r;
	sent = carrier_pad(fd, t);
	return sent < 0 ? (int)sent : carrier_padded(fd, t, (uint32_t)sent);
}

/** connect_once() - 0, CONNECT_DONE, CONNECT_REPLACE, or a failure */
static int connect_once(int fd, const struct zt_token *t, const uint8_t *request, size_t len)
{
	return raw_is_blocking(fd) ? connect_blocking(fd, t, request, len)
				   : connect_nonblocking(fd, t, request, len);
}

int stream_disconnect(int fd, const struct zt_token *t)
{
	struct zt_token current = *t;
	int r;

	if (!rpc_is_attached(fd))
		return 0;
	r = rpc_about(fd, t, OP_DISCONNECT, NULL, 0, NULL, 0);
	if (r == CONNECT_REPLACE)
		r = replace_stream(fd, &current);
	return errnomap_result(r, PLACE_CONNECT);
}

/** has_failed() - The stream is no connection, and none is on its way */
static bool has_failed(int r)
{
	return r < 0 && r != -EINPROGRESS && r != -EALREADY && r != -EINTR && r != -EISCONN;
}

int stream_connect(int fd, const struct zt_token *token, const uint8_t *request, size_t len)
{
	struct zt_token t = *token;
	enum fd_hint before = fdtab_hint(fd);
	int r = rpc_attach(fd, &t);

	fdtab_mark(fd, HINT_STREAM);
	if (r == 0)
		r = connect_once(fd, &t, request, len);
	if (r == CONNECT_REPLACE) {
		r = replace_stream(fd, &t);
		if (r == 0)
			r = connect_once(fd, &t, request, len);
	}
	/* A listener says EISCONN as well. */
	if (has_failed(r) || (r == -EISCONN && before == HINT_IDLE))
		fdtab_mark(fd, HINT_IDLE);
	return r == CONNECT_DONE ? 0 : r;
}

/* ---------------------------------------------------------------- accept */

/** next_record() - Wait for an accept record as the descriptor's own flags and timeouts say */
static int next_record(int fd, const struct zt_token *t, uint8_t record[ACCEPT_LEN])
{
	ssize_t n = real_recv(fd, record, ACCEPT_LEN, 0);

	return listener_judge(fd, t, record, n < 0 ? -errno : n);
}

/** take_connection() - A descriptor for the connection of @record, or a negative errno */
static int take_connection(int listener, const struct zt_token *t, const uint8_t *record, int flags)
{
	static const char unreachable[] = "the service cannot be reached: a connection was refused";
	struct zt_token accepted = *t;
	struct fd_info info = {.flags = INFO_NAMES};
	int fd = token_open(&accepted, flags & SOCK_CLOEXEC);

	if (fd < 0) {
		listener_answer(listener, UPSTREAM_REQUEUE, record);
		return fd;
	}
	if (rpc_attach_accepted(fd, &accepted, record + ACCEPT_ID) < 0) {
		listener_answer(listener, UPSTREAM_REJECT, record);
		raw_close(fd);
		log_line(unreachable, NULL);
		return -ECONNABORTED;
	}
	carrier_copy_options(listener, fd);
	if ((flags & SOCK_NONBLOCK) != 0)
		raw_fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
	memcpy(info.peer, record + ACCEPT_PEER, ZTADDR_LEN);
	memcpy(info.local, record + ACCEPT_LOCAL, ZTADDR_LEN);
	fdtab_mark(fd, HINT_STREAM);
	fdtab_put(fd, &accepted, &info);
	return fd;
}

int zt_accept(int fd, const struct zt_token *t, struct sockaddr *addr, socklen_t *len, int flags)
{
	uint8_t record[ACCEPT_LEN];
	int r, accepted;

	if ((flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != 0)
		return -EINVAL;
	if (t->kind != 's')
		return -EOPNOTSUPP;
	r = listener_check(fd, t);
	if (r == 0)
		r = next_record(fd, t, record);
	if (r < 0)
		return r;
	accepted = take_connection(fd, t, record, flags);
	if (accepted < 0 || addr == NULL)
		return accepted;
	r = addr_return(fd, record + ACCEPT_PEER, t->family, addr, len);
	if (r < 0)
		raw_close(accepted);
	return r < 0 ? r : accepted;
}

int stream_fast_open(int fd)
{
	struct fd_info info;
	struct zt_token t;
	bool is_connected = token_of(fd, &t) && zt_names(fd, &t, &info) == STATE_ESTABLISHED;

	return is_connected ? -EISCONN : -EOPNOTSUPP;
}
