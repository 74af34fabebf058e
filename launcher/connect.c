/**
 * connect.c - connect(), started without waiting and waited for outside the service
 *
 * A pending connection is a stream full of padding [5 sections 3 M4 and 6.3]. For a program that
 * does not block that is all; for one that does, the supervisor waits until the stream is
 * writable or broken, as poll() would show it, and then asks for the outcome by a second CONNECT.
 * Nothing is lost when a signal ends the wait: the next connect() waits for the same outcome.
 */
#include "run.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "raw.h"

/* [5 section 6.3] largest padding of a pending connect */
#define PADDING_MAX (1 << 20)

static const uint8_t zeros[65536];

/* The stream that the caller's number stands for; @owned once it was replaced. */
struct stream {
	int fd;
	bool owned;
	struct zt_token token;
};

/* ------------------------------------------------------------------ padding */

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

static int take_error(const struct stream *s)
{
	uint8_t none[4] = {0};
	uint8_t reply[8] = {0};
	int r = request(s->fd, &s->token, OP_TAKEERR, none, sizeof(none), reply, sizeof(reply));

	return r < 0 ? r : get32s(reply);
}

/** started() - The service has sent the SYN: make the stream look like a pending one */
static int started(const struct stream *s)
{
	uint8_t count[4];
	struct rpc rpc = {.op = OP_PADDED,
			  .token = s->token.id,
			  .request = count,
			  .request_len = sizeof(count),
			  .fd = s->fd};
	long sent = pad(s->fd);

	if (sent < 0) {
		int e = take_error(s);

		return e > 0 ? -e : (int)sent;
	}
	put32(count, (uint32_t)sent);
	rpc_notify(&rpc);
	return -EINPROGRESS;
}

/* -------------------------------------------------------------- replacement */

static void copy_option(int from, int to, int name)
{
	uint8_t value[16];
	socklen_t len = sizeof(value);

	if (raw_getsockopt(from, SOL_SOCKET, name, value, &len) == 0)
		raw_setsockopt(to, SOL_SOCKET, name, value, len);
}

/** copy_settings() - What the kernel keeps with the stream that is about to be replaced */
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

/** replace() - Put a fresh stream, with the old one's options and binding, under the number */
static int replace(const struct call *c, struct stream *s)
{
	struct zt_token fresh = s->token;
	int number = (int)c->arg[0];
	int carrier = token_open(&fresh, SOCK_CLOEXEC);
	int r;

	if (carrier < 0)
		return carrier;
	copy_settings(s->fd, carrier);
	r = rpc_attach(carrier, &fresh);
	if (r == 0)
		r = request(carrier, &fresh, OP_INHERIT, s->token.id, TOKEN_LEN, NULL, 0);
	if (r == 0)
		r = give_fd(c, carrier, number, caller_fd_flags(c, number) != 0);
	if (r < 0) {
		raw_close(carrier);
		return r;
	}
	if (s->owned)
		raw_close(s->fd);
	*s = (struct stream){.fd = carrier, .owned = true, .token = fresh};
	return 0;
}

/* ------------------------------------------------------------------ connect */

static bool is_dead(int fd)
{
	return (raw_poll_one(fd, POLLRDHUP) & POLLHUP) != 0;
}

static int send_connect(const struct stream *s, const uint8_t *payload, size_t len)
{
	return request(s->fd, &s->token, OP_CONNECT, payload, len, NULL, 0);
}

/** begin_connect() - 0 connected, -EINPROGRESS begun, -EALREADY under way, or the failure */
static int begin_connect(const struct call *c, struct stream *s, const uint8_t *payload, size_t len)
{
	int r = rpc_attach(s->fd, &s->token);

	if (r == 0)
		r = send_connect(s, payload, len);
	/* -ENOTCONN: a service that was restarted, or has forgotten, does not know the token. */
	if (r == CONNECT_REPLACE || (r == -ENOTCONN && is_dead(s->fd))) {
		r = replace(c, s);
		if (r == 0)
			r = send_connect(s, payload, len);
	}
	if (r == CONNECT_STARTED)
		return started(s);
	return r == CONNECT_DONE ? 0 : r;
}

/** outcome() - Of a connection whose stream is writable or broken; -EALREADY: not yet */
static int outcome(const struct stream *s, const uint8_t *payload, size_t len)
{
	int r = send_connect(s, payload, len);

	if (r == CONNECT_DONE || r == -EISCONN)
		return 0;
	/* Somebody else was told the error. */
	return r == CONNECT_REPLACE ? -ECONNABORTED : r;
}

/** await_outcome() - Answer as a blocking connect() does; @pending when SO_SNDTIMEO passes */
static void await_outcome(const struct call *c, const struct stream *s, const uint8_t *payload,
			  size_t len, int pending)
{
	int64_t deadline = deadline_of(s->fd, SO_SNDTIMEO);
	int r;

	for (;;) {
		enum waited w = wait_for(c, s->fd, POLLOUT, deadline);

		if (w != WAITED_READY) {
			answer_waited(c, w, deadline, pending);
			return;
		}
		r = outcome(s, payload, len);
		if (r != -EALREADY)
			break;
		raw_sleep_ms(1);
	}
	answer_result(c, errnomap_result(r, PLACE_CONNECT));
}

static void disconnect(const struct call *c, struct stream *s)
{
	int r = 0;

	if (rpc_is_attached(s->fd))
		r = request(s->fd, &s->token, OP_DISCONNECT, NULL, 0, NULL, 0);
	if (r == CONNECT_REPLACE)
		r = replace(c, s);
	answer_result(c, errnomap_result(r, PLACE_CONNECT));
}

static void connect_stream(const struct call *c, struct stream *s, const uint8_t *payload,
			   size_t len)
{
	int r = begin_connect(c, s, payload, len);

	if ((r == -EINPROGRESS || r == -EALREADY) && is_blocking(s->fd))
		await_outcome(c, s, payload, len, -r);
	else
		answer_result(c, errnomap_result(r, PLACE_CONNECT));
}

void call_connect(struct call *c, int fd, const struct zt_token *t)
{
	uint8_t payload[ZTADDR_LEN + 4] = {0};
	struct stream s = {.fd = fd, .token = *t};
	struct sockaddr_storage addr;
	struct fd_info info;
	int r = read_address(c, c->arg[1], c->arg[2], &addr);

	if (r >= 0 && (size_t)r < sizeof(addr.ss_family))
		r = -EINVAL;
	if (r >= 0 && t->kind != 's') {
		answer_result(c, zt_connect(fd, t, (struct sockaddr *)&addr, (socklen_t)r));
	} else if (r >= 0 && addr.ss_family == AF_UNSPEC) {
		disconnect(c, &s);
	} else {
		if (r >= 0)
			r = addr_parse((struct sockaddr *)&addr, (socklen_t)r, t->family, payload);
		/* Linux looks at the state of a stream before it looks at the address. */
		if (t->kind == 's' && r < 0 && r != -EFAULT &&
		    zt_names(fd, t, &info) == STATE_ESTABLISHED)
			r = -EISCONN;
		if (r < 0)
			answer_result(c, r);
		else
			connect_stream(c, &s, payload, sizeof(payload));
	}
	if (s.owned)
		raw_close(s.fd);
}
