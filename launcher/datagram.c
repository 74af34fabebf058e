/**
 * datagram.c - Transfers on datagram sockets that name an address, or are made of messages
 *
 * Arguments come from the caller's memory and results go there; waiting is done here, since
 * record.c never waits.
 */
#include "run.h"

#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "raw.h"

/* Longest payload that is looked at; longer ones are refused or cut whatever they are. */
#define PAYLOAD_MAX 65536
/* Ours: control data of one message; IP_PKTINFO and its kind need less than 200 bytes. */
#define CONTROL_MAX 1024
/* Nanoseconds of a second */
#define NS 1000000000L

/* One message in memory of ours, and where its parts are in the caller's. */
struct message {
	struct msghdr theirs;
	struct areas areas;
	struct msghdr ours;
	struct iovec payload;
	struct sockaddr_storage name;
	_Alignas(struct cmsghdr) uint8_t control[CONTROL_MAX];
};

static void message_free(struct message *m)
{
	if (m == NULL)
		return;
	areas_free(&m->areas);
	free(m->payload.iov_base);
	free(m);
}

/** message_new() - A copy of @theirs, whose vector is read too; NULL with @error set */
static struct message *message_new(const struct call *c, const struct msghdr *theirs, int *error)
{
	struct message *m = calloc(1, sizeof(*m));

	*error = -ENOMEM;
	if (m == NULL)
		return NULL;
	m->theirs = *theirs;
	*error = areas_read(c, theirs, &m->areas);
	if (*error == 0) {
		m->payload.iov_len = m->areas.total < PAYLOAD_MAX ? m->areas.total : PAYLOAD_MAX;
		m->payload.iov_base = malloc(m->payload.iov_len + 1);
		*error = m->payload.iov_base == NULL ? -ENOMEM : 0;
	}
	if (*error < 0) {
		message_free(m);
		return NULL;
	}
	m->ours.msg_iov = &m->payload;
	m->ours.msg_iovlen = 1;
	return m;
}

/* ----------------------------------------------------------------- sending */

/** fill_name() - The destination, as sendto() and sendmsg() take it */
static int fill_name(const struct call *c, struct message *m)
{
	int r;

	if (m->theirs.msg_name == NULL)
		return 0;
	r = read_address(c, (uintptr_t)m->theirs.msg_name, m->theirs.msg_namelen, &m->name);
	m->ours.msg_name = &m->name;
	m->ours.msg_namelen = r < 0 ? 0 : (socklen_t)r;
	return r < 0 ? r : 0;
}

/** fill() - Payload, destination and control data of a message to be sent; 0 or negative errno */
static int fill(const struct call *c, struct message *m)
{
	int r = fill_name(c, m);
	size_t len = m->theirs.msg_controllen;

	if (r == 0 && m->areas.total > PAYLOAD_MAX - 1)
		r = -EMSGSIZE;
	if (r == 0 && len > CONTROL_MAX)
		r = -ENOBUFS;
	if (r == 0 && len > 0) {
		r = memory_read(c, (uintptr_t)m->theirs.msg_control, m->control, len);
		m->ours.msg_control = m->control;
		m->ours.msg_controllen = len;
	}
	if (r == 0 && m->payload.iov_len > 0 &&
	    memory_gather(c, m->areas.iov, m->areas.count, 0, m->payload.iov_base,
			  m->payload.iov_len) != (long)m->payload.iov_len)
		r = -EFAULT;
	return r;
}

/** send_one() - A result, or -EAGAIN with @w set when the wait ended otherwise */
static long send_one(const struct call *c, int fd, const struct zt_token *t, struct message *m,
		     int flags, int64_t deadline, enum waited *w)
{
	long r;

	*w = WAITED_READY;
	for (;;) {
		r = record_send(fd, t, &m->ours, flags);
		if (r != -EAGAIN || !may_wait(fd, flags))
			return r;
		*w = wait_for(c, fd, POLLOUT, deadline);
		if (*w != WAITED_READY)
			return r;
	}
}

static long send_message(const struct call *c, int fd, const struct zt_token *t,
			 const struct msghdr *theirs, int flags, int64_t deadline, enum waited *w)
{
	int error;
	struct message *m = message_new(c, theirs, &error);
	long r = error;

	*w = WAITED_READY;
	if (m != NULL)
		r = control_check(c, theirs);
	if (r == 0)
		r = fill(c, m);
	if (r == 0)
		r = send_one(c, fd, t, m, flags, deadline, w);
	message_free(m);
	return r;
}

static void answer_transfer(const struct call *c, long r, enum waited w, int64_t deadline)
{
	if (w == WAITED_READY)
		answer_result(c, r);
	else
		answer_waited(c, w, deadline, EAGAIN);
}

/* --------------------------------------------------------------- receiving */

/** give() - Payload, control data and flags of a received message to the caller */
static int give(const struct call *c, struct message *m, long len)
{
	size_t stored = (size_t)len < m->payload.iov_len ? (size_t)len : m->payload.iov_len;

	if (stored > 0 && memory_scatter(c, m->areas.iov, m->areas.count, 0, m->payload.iov_base,
					 stored) != (long)stored)
		return -EFAULT;
	/* What cannot be stored is left out, as Linux does. */
	if (m->ours.msg_controllen > 0 && memory_write(c, (uintptr_t)m->theirs.msg_control,
						       m->control, m->ours.msg_controllen) < 0)
		m->ours.msg_controllen = 0;
	m->theirs.msg_controllen = m->ours.msg_controllen;
	m->theirs.msg_flags = m->ours.msg_flags;
	return 0;
}

/** give_name() - The source, cut to @room bytes */
static int give_name(const struct call *c, const struct message *m, socklen_t room)
{
	socklen_t len = m->ours.msg_namelen;

	if (m->theirs.msg_name == NULL)
		return 0;
	return memory_write(c, (uintptr_t)m->theirs.msg_name, &m->name, room < len ? room : len);
}

/** receive_one() - A result, or -EAGAIN with @w set when the wait ended otherwise */
static long receive_one(const struct call *c, int fd, const struct zt_token *t, struct message *m,
			int flags, int64_t deadline, enum waited *w)
{
	long r;

	*w = WAITED_READY;
	for (;;) {
		m->ours.msg_name = &m->name;
		m->ours.msg_namelen = sizeof(m->name);
		m->ours.msg_control = m->theirs.msg_control == NULL ? NULL : m->control;
		m->ours.msg_controllen = m->theirs.msg_control == NULL ? 0
					 : m->theirs.msg_controllen < CONTROL_MAX
						 ? m->theirs.msg_controllen
						 : CONTROL_MAX;
		r = record_receive(fd, t, &m->ours, flags);
		if (r != -EAGAIN || (flags & MSG_ERRQUEUE) != 0 || !may_wait(fd, flags))
			return r;
		*w = wait_for(c, fd, POLLIN, deadline);
		if (*w != WAITED_READY)
			return r;
	}
}

/** receive_message() - As recvmsg(); @theirs gets what the kernel stores in a msghdr */
static long receive_message(const struct call *c, int fd, const struct zt_token *t,
			    struct msghdr *theirs, int flags, int64_t deadline, enum waited *w)
{
	int error;
	struct message *m = message_new(c, theirs, &error);
	long r;

	*w = WAITED_READY;
	if (m == NULL)
		return error;
	r = receive_one(c, fd, t, m, flags, deadline, w);
	if (r >= 0 && (give(c, m, r) < 0 || give_name(c, m, theirs->msg_namelen) < 0))
		r = -EFAULT;
	if (r >= 0) {
		theirs->msg_controllen = m->theirs.msg_controllen;
		theirs->msg_flags = m->theirs.msg_flags;
		if (theirs->msg_name != NULL)
			theirs->msg_namelen = m->ours.msg_namelen;
	}
	message_free(m);
	return r;
}

/* ------------------------------------------------------ one message a call */

void datagram_sendto(struct call *c, int fd, const struct zt_token *t)
{
	int64_t deadline = deadline_of(fd, SO_SNDTIMEO);
	struct iovec iov;
	struct areas a = one_area(&iov, c->arg[1], c->arg[2]);
	struct message *m = calloc(1, sizeof(*m));
	enum waited w = WAITED_READY;
	long r = -ENOMEM;

	if (m != NULL) {
		m->areas = a;
		m->theirs = (struct msghdr){.msg_name = (void *)(uintptr_t)c->arg[4],
					    .msg_namelen = (socklen_t)c->arg[5]};
		m->payload.iov_len = a.total < PAYLOAD_MAX ? a.total : PAYLOAD_MAX;
		m->payload.iov_base = malloc(m->payload.iov_len + 1);
		m->ours = (struct msghdr){.msg_iov = &m->payload, .msg_iovlen = 1};
		r = m->payload.iov_base == NULL ? -ENOMEM : fill(c, m);
		if (r == 0)
			r = send_one(c, fd, t, m, (int)c->arg[3], deadline, &w);
		m->areas.iov = NULL;
	}
	message_free(m);
	answer_transfer(c, r, w, deadline);
}

/** give_source() - The address of recvfrom() and its length */
static int give_source(const struct call *c, const struct message *m)
{
	socklen_t full = m->ours.msg_namelen;
	int room;

	if (c->arg[4] == 0)
		return 0;
	if (memory_read(c, c->arg[5], &room, sizeof(room)) < 0)
		return -EFAULT;
	if (room < 0)
		return -EINVAL;
	if (give_name(c, m, (socklen_t)room) < 0)
		return -EFAULT;
	return memory_write(c, c->arg[5], &full, sizeof(full));
}

void datagram_recvfrom(struct call *c, int fd, const struct zt_token *t)
{
	int64_t deadline = deadline_of(fd, SO_RCVTIMEO);
	struct iovec iov;
	struct areas a = one_area(&iov, c->arg[1], c->arg[2]);
	struct message *m = calloc(1, sizeof(*m));
	enum waited w = WAITED_READY;
	long r = -ENOMEM;

	if (m != NULL) {
		m->areas = a;
		m->theirs.msg_name = (void *)(uintptr_t)c->arg[4];
		m->payload.iov_len = a.total < PAYLOAD_MAX ? a.total : PAYLOAD_MAX;
		m->payload.iov_base = malloc(m->payload.iov_len + 1);
		m->ours = (struct msghdr){.msg_iov = &m->payload, .msg_iovlen = 1};
		if (m->payload.iov_base != NULL)
			r = receive_one(c, fd, t, m, (int)c->arg[3], deadline, &w);
		if (r >= 0 && give(c, m, r) < 0)
			r = -EFAULT;
		if (r >= 0) {
			int e = give_source(c, m);

			r = e < 0 ? e : r;
		}
		m->areas.iov = NULL;
	}
	message_free(m);
	answer_transfer(c, r, w, deadline);
}

void datagram_sendmsg(struct call *c, int fd, const struct zt_token *t)
{
	int64_t deadline = deadline_of(fd, SO_SNDTIMEO);
	enum waited w = WAITED_READY;
	struct msghdr msg;
	long r = sent_header_read(c, c->arg[1], &msg);

	if (r == 0)
		r = send_message(c, fd, t, &msg, (int)c->arg[2], deadline, &w);
	answer_transfer(c, r, w, deadline);
}

void datagram_recvmsg(struct call *c, int fd, const struct zt_token *t)
{
	int64_t deadline = deadline_of(fd, SO_RCVTIMEO);
	enum waited w = WAITED_READY;
	struct msghdr msg;
	long r = header_read(c, c->arg[1], &msg);

	if (r == 0)
		r = receive_message(c, fd, t, &msg, (int)c->arg[2], deadline, &w);
	if (r >= 0 && memory_write(c, c->arg[1], &msg, sizeof(msg)) < 0)
		r = -EFAULT;
	answer_transfer(c, r, w, deadline);
}

/* --------------------------------------------------- many messages a call */

static uint64_t element(const struct call *c, unsigned i)
{
	return c->arg[1] + (uint64_t)i * sizeof(struct mmsghdr);
}

static unsigned message_count(const struct call *c)
{
	unsigned count = (unsigned)c->arg[2];

	return count < IOV_MAX ? count : IOV_MAX;
}

/** store_length() - msg_len of element @i */
static int store_length(const struct call *c, unsigned i, long len)
{
	unsigned value = (unsigned)len;

	return memory_write(c, element(c, i) + offsetof(struct mmsghdr, msg_len), &value,
			    sizeof(value));
}

/** answer_many() - The number of messages, or what stopped the first one */
static void answer_many(const struct call *c, unsigned done, long r, enum waited w,
			int64_t deadline)
{
	if (done > 0)
		answer_value(c, done);
	else
		answer_transfer(c, r, w, deadline);
}

void datagram_sendmmsg(struct call *c, int fd, const struct zt_token *t)
{
	int64_t deadline = deadline_of(fd, SO_SNDTIMEO);
	enum waited w = WAITED_READY;
	unsigned done = 0;
	struct msghdr msg;
	long r = 0;

	while (done < message_count(c)) {
		r = sent_header_read(c, element(c, done), &msg);
		if (r == 0)
			r = send_message(c, fd, t, &msg, (int)c->arg[3], deadline, &w);
		if (r < 0 || store_length(c, done, r) < 0)
			break;
		done++;
	}
	answer_many(c, done, r, w, deadline);
}

/** limit_read() - recvmmsg()'s own limit, looked at after each message: when it passes */
static int limit_read(const struct call *c, struct timespec *end)
{
	struct timespec limit;
	int r;

	*end = (struct timespec){0, 0};
	if (c->arg[4] == 0)
		return 0;
	r = memory_read(c, c->arg[4], &limit, sizeof(limit));
	if (r < 0)
		return r;
	if (limit.tv_sec < 0 || limit.tv_nsec < 0 || limit.tv_nsec >= NS)
		return -EINVAL;
	clock_gettime(CLOCK_MONOTONIC, end);
	if (limit.tv_sec > INT32_MAX)
		limit.tv_sec = INT32_MAX;
	end->tv_sec += limit.tv_sec;
	end->tv_nsec += limit.tv_nsec;
	if (end->tv_nsec >= NS) {
		end->tv_sec++;
		end->tv_nsec -= NS;
	}
	return 0;
}

/** limit_left() - What is left until @end; nothing when it has passed */
static struct timespec limit_left(const struct timespec *end)
{
	struct timespec now, left;

	clock_gettime(CLOCK_MONOTONIC, &now);
	left = (struct timespec){end->tv_sec - now.tv_sec, end->tv_nsec - now.tv_nsec};
	if (left.tv_nsec < 0) {
		left.tv_sec--;
		left.tv_nsec += NS;
	}
	return left.tv_sec < 0 ? (struct timespec){0, 0} : left;
}

static bool is_past(const struct call *c, const struct timespec *end)
{
	struct timespec left;

	if (c->arg[4] == 0)
		return false;
	left = limit_left(end);
	return left.tv_sec == 0 && left.tv_nsec == 0;
}

/** answer_received() - As answer_many(); the caller's limit becomes what is left of it */
static void answer_received(const struct call *c, unsigned done, long r, enum waited w,
			    int64_t deadline, const struct timespec *end)
{
	struct timespec left = limit_left(end);

	if (done > 0 && c->arg[4] != 0 && memory_write(c, c->arg[4], &left, sizeof(left)) < 0)
		answer_result(c, -EFAULT);
	else
		answer_many(c, done, r, w, deadline);
}

static long receive_element(const struct call *c, int fd, const struct zt_token *t, unsigned i,
			    int flags, int64_t deadline, enum waited *w)
{
	struct msghdr msg;
	long r = header_read(c, element(c, i), &msg);

	if (r == 0)
		r = receive_message(c, fd, t, &msg, flags & ~MSG_WAITFORONE, deadline, w);
	if (r < 0)
		return r;
	if (memory_write(c, element(c, i), &msg, sizeof(msg)) < 0 || store_length(c, i, r) < 0)
		return -EFAULT;
	return r;
}

void datagram_recvmmsg(struct call *c, int fd, const struct zt_token *t)
{
	int64_t deadline = deadline_of(fd, SO_RCVTIMEO);
	struct timespec end;
	int flags = (int)c->arg[3];
	enum waited w = WAITED_READY;
	unsigned done = 0;
	long r = limit_read(c, &end);

	while (r >= 0 && done < message_count(c) && (done == 0 || !is_past(c, &end))) {
		r = receive_element(c, fd, t, done, flags, deadline, &w);
		if (r < 0)
			break;
		done++;
		if ((flags & MSG_WAITFORONE) != 0)
			flags |= MSG_DONTWAIT;
	}
	answer_received(c, done, r, w, deadline, &end);
}
