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

/* The stream that the caller's number stands for; @owned once it was replaced. */
struct stream {
	int fd;
	bool owned;
	struct zt_token token;
};

/* -------------------------------------------------------------- replacement */

/** replace() - Put a fresh stream, with the old one's options and binding, under the number */
static int replace(const struct call *c, struct stream *s)
{
	struct zt_token fresh = s->token;
	int number = (int)c->arg[0];
	int carrier = token_open(&fresh, SOCK_CLOEXEC);
	int r;

	if (carrier < 0)
		return carrier;
	carrier_copy_settings(s->fd, carrier);
	r = rpc_attach(carrier, &fresh);
	if (r == 0)
		r = rpc_about(carrier, &fresh, OP_INHERIT, s->token.id, TOKEN_LEN, NULL, 0);
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

static int send_connect(const struct stream *s, const uint8_t *payload, size_t len)
{
	return rpc_about(s->fd, &s->token, OP_CONNECT, payload, len, NULL, 0);
}

/** started() - The service has sent the SYN: make the stream look like a pending one */
static int started(const struct stream *s)
{
	long sent = carrier_pad(s->fd, &s->token);

	return sent < 0 ? (int)sent : carrier_padded(s->fd, &s->token, (uint32_t)sent);
}

/** begin_connect() - 0 connected, -EINPROGRESS begun, -EALREADY under way, or the failure */
static int begin_connect(const struct call *c, struct stream *s, const uint8_t *payload, size_t len)
{
	int r = rpc_attach(s->fd, &s->token);

	if (r == 0)
		r = send_connect(s, payload, len);
	/* -ENOTCONN: a service that was restarted, or has forgotten, does not know the token. */
	if (r == CONNECT_REPLACE || (r == -ENOTCONN && carrier_is_dead(s->fd))) {
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
		r = rpc_about(s->fd, &s->token, OP_DISCONNECT, NULL, 0, NULL, 0);
	if (r == CONNECT_REPLACE)
		r = replace(c, s);
	answer_result(c, errnomap_result(r, PLACE_CONNECT));
}

static void connect_stream(const struct call *c, struct stream *s, const uint8_t *payload,
			   size_t len)
{
	int r = begin_connect(c, s, payload, len);

	if (r == -ENETUNREACH)
		log_no_route(s->token.kind, payload);
	if ((r == -EINPROGRESS || r == -EALREADY) && raw_is_blocking(s->fd))
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
