/**
 * stream.c - connect() and accept() of TCP sockets: the client's half of [5 sections 6.1 to 6.3]
 *
 * Contents: connect; accept. A pending connect is a stream full of padding that the service reads
 * when the handshake is done; a connection to accept is a record on the listener's stream.
 *
 * Async-signal-safe: no allocation, no lock that blocks, no stdio.
 */
#include "zt.h"

#include <sys/time.h>

#include "raw.h"
#include "real.h"

/* [5 section 6.3] largest padding of a pending connect */
#define PADDING_MAX (1 << 20)
/* [5 section 10] pause per call on a listener whose service died, so that a loop cannot spin */
#define DEAD_LISTENER_MS 100

static const uint8_t zeros[65536];

/* --------------------------------------------------------------- connect */

/** padding_len() - Bytes that make the stream unwritable: a quarter of its send buffer */
static size_t padding_len(int fd)
{
	int size = 0;
	socklen_t len = sizeof(size);

	if (raw_getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &len) != 0 || size < 4)
		return 0;
	return size / 4 < PADDING_MAX ? (size_t)size / 4 : PADDING_MAX;
}

/** pad() - Fill the stream; bytes sent, or a negative errno when the service has closed it */
static long pad(int fd)
{
	size_t left = padding_len(fd);
	long sent = 0;

	while (left > 0) {
		size_t part = left < sizeof(zeros) ? left : sizeof(zeros);
		long n = raw_send(fd, zeros, part, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n == -EAGAIN)
			break;
		if (n == -EINTR)
			continue;
		if (n < 0)
			return n;
		sent += n;
		left -= (size_t)n;
	}
	return sent;
}

static int take_error(int fd, const struct zt_token *t)
{
	uint8_t request[4] = {0};
	uint8_t reply[8] = {0};
	int r = rpc_about(fd, t, OP_TAKEERR, request, sizeof(request), reply, sizeof(reply));

	return r < 0 ? r : get32s(reply);
}

static void copy_option(int from, int to, int name)
{
	uint8_t value[16];
	socklen_t len = sizeof(value);

	if (raw_getsockopt(from, SOL_SOCKET, name, value, &len) == 0)
		raw_setsockopt(to, SOL_SOCKET, name, value, len);
}

/** copy_settings() - What the kernel keeps with the descriptor that is about to be replaced */
static void copy_settings(int from, int to)
{
	static const int options[] = {SO_RCVTIMEO,  SO_SNDTIMEO,  SO_RCVLOWAT, SO_REUSEADDR,
				      SO_KEEPALIVE, SO_BROADCAST, SO_PRIORITY};
	static const int buffers[] = {SO_SNDBUF, SO_RCVBUF};
	long flags = raw_fcntl(from, F_GETFL, 0);

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		copy_option(from, to, options[i]);
	for (size_t i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++) {
		int size = 0;
		socklen_t len = sizeof(size);

		/* The kernel doubles what is set. */
		if (raw_getsockopt(from, SOL_SOCKET, buffers[i], &size, &len) == 0) {
			size /= 2;
			raw_setsockopt(to, SOL_SOCKET, buffers[i], &size, sizeof(size));
		}
	}
	if (flags > 0)
		raw_fcntl(to, F_SETFL, flags);
}

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
	copy_settings(fd, carrier);
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

static bool is_blocking(int fd)
{
	return (raw_fcntl(fd, F_GETFL, 0) & O_NONBLOCK) == 0;
}

/**
 * await_connect() - Wait for the outcome as a blocking connect(2) does
 * @padding:	Bytes of padding sent now, or PADDING_UNCHANGED
 * @pending:	errno when SO_SNDTIMEO passes first
 */
static int await_connect(int fd, const struct zt_token *t, uint32_t padding, int pending)
{
	uint8_t request[4];
	struct timeval limit = {0, 0};
	socklen_t len = sizeof(limit);
	struct rpc rpc = {.op = OP_WAITCONN,
			  .token = t->id,
			  .request = request,
			  .request_len = sizeof(request),
			  .fd = fd};
	int r;

	put32(request, padding);
	raw_getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, &len);
	r = rpc_wait(&rpc, &limit);
	return r == -EAGAIN ? -pending : r;
}

/** connect_started() - The service has sent the SYN: make the stream look like a pending one */
static int connect_started(int fd, const struct zt_token *t)
{
	uint8_t request[4];
	struct rpc rpc = {.op = OP_PADDED,
			  .token = t->id,
			  .request = request,
			  .request_len = sizeof(request),
			  .fd = fd};
	long sent = pad(fd);

	if (sent < 0) {
		int e = take_error(fd, t);

		return e > 0 ? -e : (int)sent;
	}
	if (is_blocking(fd))
		return await_connect(fd, t, (uint32_t)sent, EINPROGRESS);
	put32(request, (uint32_t)sent);
	rpc_notify(&rpc);
	return -EINPROGRESS;
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

static bool stream_is_dead(int fd)
{
	return (raw_poll_one(fd, POLLRDHUP) & POLLHUP) != 0;
}

int stream_connect(int fd, const struct zt_token *token, const uint8_t *request, size_t len)
{
	struct zt_token t = *token;
	int r = rpc_attach(fd, &t);

	if (r == 0)
		r = rpc_about(fd, &t, OP_CONNECT, request, len, NULL, 0);
	/* -ENOTCONN: a service that was restarted, or has forgotten, does not know the token. */
	if (r == CONNECT_REPLACE || (r == -ENOTCONN && stream_is_dead(fd))) {
		r = replace_stream(fd, &t);
		if (r == 0)
			r = rpc_about(fd, &t, OP_CONNECT, request, len, NULL, 0);
	}
	if (r == CONNECT_STARTED)
		return connect_started(fd, &t);
	if (r == CONNECT_DONE)
		return 0;
	if (r == -EALREADY && is_blocking(fd))
		return await_connect(fd, &t, PADDING_UNCHANGED, EALREADY);
	return r;
}

/* ---------------------------------------------------------------- accept */

/** is_listening() - From the cache, else from the service */
static int is_listening(int fd, const struct zt_token *t)
{
	struct fd_info info;
	int r;

	if (fdtab_get(fd, t, &info)) {
		if ((info.flags & (INFO_NAMES | INFO_SHUT)) != 0)
			return 0;
		if ((info.flags & INFO_LISTENING) != 0)
			return 1;
	}
	r = zt_names(fd, t, &info);
	if (r == RPC_UNREACHABLE)
		return -ENETDOWN;
	if (r != STATE_LISTENING)
		return r < 0 ? r : 0;
	info = (struct fd_info){.flags = INFO_LISTENING};
	fdtab_put(fd, t, &info);
	return 1;
}

static void answer_record(int listener, uint32_t op, const uint8_t *record)
{
	uint8_t answer[UPSTREAM_LEN] = {0};

	memcpy(answer, "ZTNR", 4);
	put32(answer + 4, op);
	memcpy(answer + 8, record + ACCEPT_ID, 8);
	raw_send(listener, answer, sizeof(answer), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/** next_record() - Wait for an accept record as the descriptor's own flags and timeouts say */
static int next_record(int fd, const struct zt_token *t, uint8_t record[ACCEPT_LEN])
{
	struct fd_info info;
	ssize_t n = real_recv(fd, record, ACCEPT_LEN, 0);

	if (n < 0)
		return errno == ENOTCONN ? -EINVAL : -errno;
	if (n == 0) {
		if (fdtab_get(fd, t, &info) && (info.flags & INFO_SHUT) != 0)
			return -EINVAL;
		raw_sleep_ms(DEAD_LISTENER_MS);
		return -ENETDOWN;
	}
	return n == ACCEPT_LEN && memcmp(record, "ZTNA", 4) == 0 ? 0 : -EINVAL;
}

/** take_connection() - A descriptor for the connection of @record, or a negative errno */
static int take_connection(int listener, const struct zt_token *t, const uint8_t *record, int flags)
{
	static const char unreachable[] = "the service cannot be reached: a connection was refused";
	struct zt_token accepted = *t;
	struct fd_info info = {.flags = INFO_NAMES};
	int fd = token_open(&accepted, flags & SOCK_CLOEXEC);

	if (fd < 0) {
		answer_record(listener, UPSTREAM_REQUEUE, record);
		return fd;
	}
	if (rpc_attach_accepted(fd, &accepted, record + ACCEPT_ID) < 0) {
		answer_record(listener, UPSTREAM_REJECT, record);
		raw_close(fd);
		log_line(unreachable, NULL);
		return -ECONNABORTED;
	}
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
	r = is_listening(fd, t);
	if (r <= 0)
		return r < 0 ? errnomap_result(r, PLACE_OPTION) : -EINVAL;
	r = next_record(fd, t, record);
	if (r < 0)
		return r;
	accepted = take_connection(fd, t, record, flags);
	if (accepted < 0 || addr == NULL)
		return accepted;
	r = addr_return(record + ACCEPT_PEER, t->family, addr, len);
	if (r < 0)
		raw_close(accepted);
	return r < 0 ? r : accepted;
}
