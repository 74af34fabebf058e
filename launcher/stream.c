/**
 * stream.c - Sending and receiving on TCP where the kernel's call on the stream would not be right
 *
 * Plain reads and writes never come here. What does: calls that name an address, which AF_UNIX
 * would refuse or fill with its own, and flags that it treats differently.
 */
#include "run.h"

#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "raw.h"

/* Ours: bytes that are moved at once through memory of ours. */
#define PART_MAX 65536

/* ------------------------------------------------------------------- sending */

/** send_part() - Bytes taken by the stream, or a negative errno */
static long send_part(const struct call *c, int fd, const struct areas *a, size_t done,
		      uint8_t *buffer, int flags)
{
	size_t want = a->total - done < PART_MAX ? a->total - done : PART_MAX;
	long n = memory_gather(c, a->iov, a->count, done, buffer, want);

	if (n <= 0)
		return n;
	n = raw_send(fd, buffer, (size_t)n, (flags & MSG_MORE) | MSG_DONTWAIT | MSG_NOSIGNAL);
	/* A fresh TCP socket answers EPIPE. */
	return n == -ENOTCONN ? -EPIPE : n;
}

static void answer_sent(struct call *c, size_t done, long error, int flags)
{
	if (done > 0) {
		answer_value(c, (int64_t)done);
		return;
	}
	if (error == -EPIPE && (flags & MSG_NOSIGNAL) == 0)
		caller_sigpipe(c);
	answer_result(c, error);
}

static void send_stream(struct call *c, int fd, const struct areas *a, uint8_t *buffer, int flags)
{
	int64_t deadline = deadline_of(fd, SO_SNDTIMEO);
	size_t done = 0;
	long n = 0;

	while (done < a->total) {
		n = send_part(c, fd, a, done, buffer, flags);
		if (n == -EAGAIN && may_wait(fd, flags)) {
			enum waited w = wait_for(c, fd, POLLOUT, deadline);

			if (w == WAITED_READY)
				continue;
			if (done == 0) {
				answer_waited(c, w, deadline, EAGAIN);
				return;
			}
		}
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	answer_sent(c, done, n, flags);
}

/* ----------------------------------------------------------------- receiving */

static int end_error(int fd, const struct zt_token *t)
{
	uint8_t reply[8] = {0};
	int r = rpc_about(fd, t, OP_EOFINFO, NULL, 0, reply, sizeof(reply));

	return r < 0 ? ECONNRESET : get32s(reply);
}

/** judge() - What a result of 0 or an error of the stream means for TCP [5 section 9.5] */
static long judge(int fd, const struct zt_token *t, long r)
{
	if (r == -ECONNRESET || (r == 0 && (raw_poll_one(fd, POLLRDHUP) & POLLHUP) != 0))
		return -end_error(fd, t);
	return r == -EINVAL && !rpc_is_attached(fd) ? -ENOTCONN : r;
}

/** receive_part() - Bytes given to the caller, 0 at the end, or a negative errno */
static long receive_part(const struct call *c, int fd, const struct zt_token *t,
			 const struct areas *a, size_t done, uint8_t *buffer, int flags)
{
	size_t want = a->total - done < PART_MAX ? a->total - done : PART_MAX;
	long n = raw_recv(fd, buffer, want, (flags & MSG_PEEK) | MSG_DONTWAIT);

	if (n <= 0)
		return n == -EAGAIN ? n : judge(fd, t, n);
	/* On TCP this flag means: take the bytes, store none. */
	if ((flags & MSG_TRUNC) != 0)
		return n;
	return memory_scatter(c, a->iov, a->count, done, buffer, (size_t)n);
}

/**
 * receive_stream() - Move bytes to the caller
 *
 * Return: false when the call was answered already, else @result is to be answered
 */
static bool receive_stream(struct call *c, int fd, const struct zt_token *t, const struct areas *a,
			   uint8_t *buffer, int flags, long *result)
{
	int64_t deadline = deadline_of(fd, SO_RCVTIMEO);
	bool all = (flags & (MSG_WAITALL | MSG_PEEK)) == MSG_WAITALL;
	size_t done = 0;
	long n = 0;

	while (done < a->total && (done == 0 || all)) {
		n = receive_part(c, fd, t, a, done, buffer, flags);
		if (n == -EAGAIN && may_wait(fd, flags)) {
			enum waited w = wait_for(c, fd, POLLIN, deadline);

			if (w == WAITED_READY)
				continue;
			if (done == 0) {
				answer_waited(c, w, deadline, EAGAIN);
				return false;
			}
		}
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	*result = done > 0 ? (long)done : n;
	return true;
}

/** odd_flags() - The answer that flags alone give, or 0 */
static int odd_flags(int flags)
{
	if ((flags & MSG_ERRQUEUE) != 0)
		return -EAGAIN;
	return (flags & MSG_OOB) != 0 ? -EINVAL : 0;
}

static bool receive_areas(struct call *c, int fd, const struct zt_token *t, const struct areas *a,
			  int flags, long *result)
{
	uint8_t *buffer;
	bool open;

	*result = odd_flags(flags);
	if (*result < 0)
		return true;
	buffer = malloc(PART_MAX);
	if (buffer == NULL) {
		*result = -ENOMEM;
		return true;
	}
	open = receive_stream(c, fd, t, a, buffer, flags, result);
	free(buffer);
	return open;
}

static void send_areas(struct call *c, int fd, const struct areas *a, int flags)
{
	uint8_t *buffer = (flags & MSG_FASTOPEN) != 0 ? NULL : malloc(PART_MAX);

	if (buffer == NULL)
		answer_result(c, (flags & MSG_FASTOPEN) != 0 ? stream_fast_open(fd) : -ENOMEM);
	else
		send_stream(c, fd, a, buffer, flags);
	free(buffer);
}

/* --------------------------------------------------------------------- calls */

void stream_sendto(struct call *c, int fd, const struct zt_token *t)
{
	struct iovec iov;
	struct areas a = one_area(&iov, c->arg[1], c->arg[2]);

	(void)t;
	send_areas(c, fd, &a, (int)c->arg[3]);
}

void stream_recvfrom(struct call *c, int fd, const struct zt_token *t)
{
	static const socklen_t none;
	struct iovec iov;
	struct areas a = one_area(&iov, c->arg[1], c->arg[2]);
	long r;

	if (!receive_areas(c, fd, t, &a, (int)c->arg[3], &r))
		return;
	if (r >= 0 && c->arg[4] != 0 && memory_write(c, c->arg[5], &none, sizeof(none)) < 0)
		r = -EFAULT;
	answer_result(c, r);
}

void stream_sendmsg(struct call *c, int fd, const struct zt_token *t)
{
	struct msghdr msg;
	struct areas a;
	int flags = (int)c->arg[2];
	int r = sent_header_read(c, c->arg[1], &msg);

	(void)t;
	if (r == 0 && msg.msg_name == NULL && msg.msg_controllen == 0 &&
	    (flags & (MSG_OOB | MSG_FASTOPEN | MSG_ZEROCOPY)) == 0) {
		answer_continue(c);
		return;
	}
	if (r == 0)
		r = areas_read(c, &msg, &a);
	if (r < 0) {
		answer_result(c, r);
		return;
	}
	r = control_check(c, &msg);
	if (r < 0)
		answer_result(c, r);
	else
		send_areas(c, fd, &a, flags);
	areas_free(&a);
}

/** give_header() - A TCP socket reports no name, no control data and no flags */
static int give_header(const struct call *c, struct msghdr *msg)
{
	msg->msg_namelen = 0;
	msg->msg_controllen = 0;
	msg->msg_flags = 0;
	return memory_write(c, c->arg[1], msg, sizeof(*msg));
}

void stream_recvmsg(struct call *c, int fd, const struct zt_token *t)
{
	struct msghdr msg;
	struct areas a;
	int flags = (int)c->arg[2];
	long r;

	r = header_read(c, c->arg[1], &msg);
	if (r == 0 && msg.msg_name == NULL && (flags & (MSG_TRUNC | MSG_OOB | MSG_ERRQUEUE)) == 0) {
		answer_continue(c);
		return;
	}
	if (r == 0)
		r = areas_read(c, &msg, &a);
	if (r < 0) {
		answer_result(c, r);
		return;
	}
	if (receive_areas(c, fd, t, &a, flags, &r)) {
		if (r >= 0 && give_header(c, &msg) < 0)
			r = -EFAULT;
		answer_result(c, r);
	}
	areas_free(&a);
}
