/**
 * carrier.c - The client's half of connect() and accept() on the stream behind a TCP socket
 *
 * What the preload library and the launcher do alike [5 sections 6.1 to 6.3]: the padding of a
 * pending connect, what survives when a stream is replaced, and the records of a listener. How
 * they wait differs, and stands in stream.c here and in the launcher's connect.c and accept.c.
 *
 * Async-signal-safe: no allocation, no lock that blocks, no stdio, and never waits but for the
 * pause of a listener that died.
 */
#include "zt.h"

#include "raw.h"

/* [5 section 6.3] largest padding of a pending connect */
#define PADDING_MAX (1 << 20)
/* [5 section 10] pause per call on a listener whose service died, so that a loop cannot spin */
#define DEAD_LISTENER_MS 100

static const uint8_t zeros[65536];

/* ----------------------------------------------------------------- padding */

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

long carrier_pad(int fd, const struct zt_token *t)
{
	long sent = pad(fd);
	int e;

	if (sent >= 0)
		return sent;
	e = take_error(fd, t);
	if (e > 0)
		return -e;
	/* Without an error: ended by a service that is gone, or by another thread's shutdown(). */
	return e < 0 ? RPC_UNREACHABLE : -ECONNABORTED;
}

int carrier_padded(int fd, const struct zt_token *t, uint32_t sent)
{
	uint8_t request[4];
	struct rpc rpc = {.op = OP_PADDED,
			  .token = t->id,
			  .request = request,
			  .request_len = sizeof(request),
			  .fd = fd};

	put32(request, sent);
	rpc_notify(&rpc);
	return -EINPROGRESS;
}

/* ------------------------------------------------------------- replacement */

bool carrier_is_dead(int fd)
{
	return (raw_poll_one(fd, POLLRDHUP) & POLLHUP) != 0;
}

static bool is_zero(const uint8_t *value, socklen_t len)
{
	for (socklen_t i = 0; i < len; i++)
		if (value[i] != 0)
			return false;
	return true;
}

/** copy_option() - @to is new: what is zero in @from need not be set */
static void copy_option(int from, int to, int name)
{
	uint8_t value[16];
	socklen_t len = sizeof(value);

	if (raw_getsockopt(from, SOL_SOCKET, name, value, &len) == 0 && !is_zero(value, len))
		raw_setsockopt(to, SOL_SOCKET, name, value, len);
}

static int int_option(int fd, int name)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return raw_getsockopt(fd, SOL_SOCKET, name, &value, &len) == 0 ? value : 0;
}

static void copy_buffer(int from, int to, int name)
{
	int size = int_option(from, name);

	if (size == 0 || size == int_option(to, name))
		return;
	/* The kernel doubles what is set. */
	size /= 2;
	raw_setsockopt(to, SOL_SOCKET, name, &size, sizeof(size));
}

void carrier_copy_options(int from, int to)
{
	static const int options[] = {SO_RCVTIMEO,  SO_SNDTIMEO,  SO_RCVLOWAT, SO_REUSEADDR,
				      SO_KEEPALIVE, SO_BROADCAST, SO_PRIORITY, SO_LINGER};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		copy_option(from, to, options[i]);
	copy_buffer(from, to, SO_SNDBUF);
	copy_buffer(from, to, SO_RCVBUF);
}

void carrier_copy_settings(int from, int to)
{
	long flags = raw_fcntl(from, F_GETFL, 0);

	carrier_copy_options(from, to);
	if (flags > 0)
		raw_fcntl(to, F_SETFL, flags);
}

/* --------------------------------------------------------------- listeners */

int listener_check(int fd, const struct zt_token *t)
{
	struct fd_info info;
	int r;

	if (fdtab_get(fd, t, &info) && (info.flags & INFO_LISTENING) != 0)
		return (info.flags & INFO_SHUT) != 0 ? -EINVAL : 0;
	r = zt_names(fd, t, &info);
	if (r == RPC_UNREACHABLE)
		return -ENETDOWN;
	if (r != STATE_LISTENING)
		return r < 0 ? errnomap_result(r, PLACE_OPTION) : -EINVAL;
	info = (struct fd_info){.flags = INFO_LISTENING};
	fdtab_put(fd, t, &info);
	return 0;
}

/** end_of_listener() - The stream has ended: shut down by the program, or the service died */
static int end_of_listener(int fd, const struct zt_token *t)
{
	struct fd_info info;

	if (fdtab_get(fd, t, &info) && (info.flags & INFO_SHUT) != 0)
		return -EINVAL;
	raw_sleep_ms(DEAD_LISTENER_MS);
	return -ENETDOWN;
}

int listener_judge(int fd, const struct zt_token *t, const uint8_t record[ACCEPT_LEN], long n)
{
	if (n < 0)
		return n == -ENOTCONN ? -EINVAL : (int)n;
	if (n == 0)
		return end_of_listener(fd, t);
	return n == ACCEPT_LEN && memcmp(record, "ZTNA", 4) == 0 ? 0 : -EINVAL;
}

void listener_answer(int listener, uint32_t op, const uint8_t record[ACCEPT_LEN])
{
	uint8_t answer[UPSTREAM_LEN] = {0};

	memcpy(answer, "ZTNR", 4);
	put32(answer + 4, op);
	memcpy(answer + 8, record + ACCEPT_ID, 8);
	raw_send(listener, answer, sizeof(answer), MSG_DONTWAIT | MSG_NOSIGNAL);
}
