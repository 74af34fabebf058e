/**
 * record.c - Datagrams of virtual sockets, one at a time and without waiting
 *
 * A UDP socket of a program under the launcher has carrier `u`: its records are bare datagrams, so
 * the program's own read() and write() need nobody. What the preload library writes before a
 * datagram, the header, comes here as a note: a file in memory that is passed with the record. A
 * record from here that has an address or control data goes with its header in front, stamped
 * with half of the token (src/host/plain-records.ts).
 *
 * The library's own code checks, builds and takes apart the records: it works on one end of a pair
 * of ours, and the record passes through the other end.
 */
#include "run.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "raw.h"

/* Header and the longest datagram, and one byte more. */
#define RECORD_MAX (DGRAM_LEN + 65536)
#define STAMP_LEN  8

#ifndef F_GET_SEALS
#define F_GET_SEALS 1034
#endif

/* A pair of record sockets; the library works on [0], we on [1]. */
static int pair_open(int pair[2])
{
	int flags = SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC;

	return (int)raw6(SYS_socketpair, AF_UNIX, flags, 0, (long)pair, 0, 0);
}

static void pair_close(const int pair[2])
{
	raw_close(pair[0]);
	raw_close(pair[1]);
}

int record_open(struct zt_token *t, int flags)
{
	long fd = raw_socket(AF_UNIX, SOCK_SEQPACKET | flags, 0);
	int r;

	if (fd < 0)
		return (int)fd;
	r = token_bind((int)fd, t);
	if (r < 0) {
		raw_close((int)fd);
		return r;
	}
	/* Without a service the socket exists, and its I/O says that there is no network. */
	rpc_attach((int)fd, t);
	return (int)fd;
}

/** carrier_error() - What a failed call on the carrier means for the datagram socket */
static int carrier_error(long error)
{
	switch (error) {
	case -ENOTCONN:
		return -ENETUNREACH;
	case -ECONNRESET:
		return -ENETDOWN;
	default:
		return (int)error;
	}
}

/* ------------------------------------------------------------------- notes */

/** note_read() - The header in a passed file; false when it is none of the service's notes */
static bool note_read(int note, uint8_t head[DGRAM_LEN])
{
	/* Only files in memory have seals: reading one neither waits nor has an effect. */
	if (raw_fcntl(note, F_GET_SEALS, 0) < 0)
		return false;
	return raw6(SYS_pread64, note, (long)head, DGRAM_LEN, 0, 0, 0) == DGRAM_LEN;
}

/** take_notes() - The header that came with a record; closes whatever was passed */
static bool take_notes(struct msghdr *msg, uint8_t head[DGRAM_LEN])
{
	bool found = false;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			found = found || note_read(fd, head);
			raw_close(fd);
		}
	}
	return found;
}

/**
 * take_record() - The record at the head of the queue
 * @record:	Room for RECORD_MAX bytes: header, then the datagram
 *
 * Return: length of the whole record, 0 at the end of the carrier, or a negative errno
 */
static long take_record(int fd, uint8_t *record, int flags)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct iovec iov = {record + DGRAM_LEN, RECORD_MAX - DGRAM_LEN};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	int how = (flags & MSG_PEEK) | MSG_DONTWAIT | MSG_CMSG_CLOEXEC;
	long n = raw6(SYS_recvmsg, fd, (long)&msg, how, 0, 0, 0);

	if (n < 0)
		return n;
	if (take_notes(&msg, record))
		return DGRAM_LEN + n;
	return n == 0 ? 0 : -EIO;
}

int record_error(int fd, const struct zt_token *t)
{
	uint8_t *record;
	int error = 0;
	long n;

	if (t->carrier != 'u')
		return dgram_take_error(fd);
	record = malloc(RECORD_MAX);
	if (record == NULL)
		return 0;
	n = take_record(fd, record, MSG_PEEK);
	if (n == DGRAM_LEN && record[DGRAM_KIND] == DGRAM_ERROR) {
		error = (int)get16(record + DGRAM_ERRNO);
		take_record(fd, record, 0);
	}
	free(record);
	return error;
}

int record_pending(int fd, const struct zt_token *t)
{
	uint8_t byte;
	long n;

	if (t->carrier != 'u')
		return dgram_pending(fd);
	n = raw_recv(fd, &byte, 1, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
	return n > 0 ? (int)n : 0;
}

/* --------------------------------------------------------------- receiving */

/** open_record() - Take a whole record apart as the library does */
static long open_record(const struct zt_token *t, const uint8_t *record, size_t len,
			struct msghdr *msg, int flags)
{
	int pair[2];
	long r = pair_open(pair);

	if (r < 0)
		return r == -EMFILE ? -ENFILE : r;
	r = raw_send(pair[1], record, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (r >= 0)
		r = dgram_receive(pair[0], t, msg, (flags & ~MSG_PEEK) | MSG_DONTWAIT);
	pair_close(pair);
	return r;
}

/** service_is_gone() - Whether the carrier ended without a shutdown() of the program */
static bool service_is_gone(int fd, const struct zt_token *t)
{
	struct fd_info info;

	return (raw_poll_one(fd, POLLRDHUP) & POLLHUP) != 0 && zt_names(fd, t, &info) < 0;
}

static long receive_plain(int fd, const struct zt_token *t, struct msghdr *msg, int flags)
{
	uint8_t *record = malloc(RECORD_MAX);
	long n;

	if (record == NULL)
		return -ENOMEM;
	n = take_record(fd, record, flags);
	if (n > 0 && (flags & MSG_PEEK) != 0 && record[DGRAM_KIND] == DGRAM_ERROR)
		n = take_record(fd, record, 0);
	if (n > 0)
		n = open_record(t, record, (size_t)n, msg, flags);
	else if (n == 0)
		n = service_is_gone(fd, t) ? -ENETDOWN : 0;
	else
		n = carrier_error(n);
	free(record);
	return n;
}

long record_receive(int fd, const struct zt_token *t, struct msghdr *msg, int flags)
{
	if (t->carrier != 'u')
		return dgram_receive(fd, t, msg, flags | MSG_DONTWAIT);
	return (flags & MSG_ERRQUEUE) != 0 ? -EAGAIN : receive_plain(fd, t, msg, flags);
}

/* ----------------------------------------------------------------- sending */

static void copy_broadcast(int from, int to)
{
	int on = 0;
	socklen_t len = sizeof(on);

	raw_getsockopt(from, SOL_SOCKET, SO_BROADCAST, &on, &len);
	raw_setsockopt(to, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
}

/** build_record() - As the library builds it; its length, or a negative errno */
static long build_record(int fd, const struct zt_token *t, const struct msghdr *msg, int flags,
			 uint8_t *record)
{
	int pair[2];
	long r = pair_open(pair);

	if (r < 0)
		return r == -EMFILE ? -ENFILE : r;
	copy_broadcast(fd, pair[0]);
	r = dgram_send(pair[0], t, msg, flags | MSG_DONTWAIT);
	if (r >= 0)
		r = raw_recv(pair[1], record, RECORD_MAX, MSG_DONTWAIT);
	pair_close(pair);
	return r;
}

/** pending_error() - Linux fails a send on a connected socket with an error not yet reported */
static int pending_error(int fd, const struct zt_token *t)
{
	struct fd_info info;

	if (!fdtab_get(fd, t, &info) || (info.flags & INFO_CONNECTED) == 0)
		return 0;
	return record_error(fd, t);
}

static long send_plain(int fd, const struct zt_token *t, const struct msghdr *msg, int flags)
{
	uint8_t *record;
	int error = pending_error(fd, t);
	long n, sent;

	if (error != 0)
		return -error;
	/* What the library asks while it builds the record is about a socket that is known. */
	if (!rpc_is_attached(fd))
		rpc_attach(fd, t);
	record = malloc(RECORD_MAX);
	if (record == NULL)
		return -ENOMEM;
	n = build_record(fd, t, msg, flags, record);
	if (n >= DGRAM_LEN) {
		memcpy(record + DGRAM_TIME, t->id, STAMP_LEN);
		sent = raw_send(fd, record, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent == -ENOTCONN && rpc_attach(fd, t) == 0)
			sent = raw_send(fd, record, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
		n = sent < 0 ? carrier_error(sent) : sent - DGRAM_LEN;
	}
	free(record);
	return n;
}

long record_send(int fd, const struct zt_token *t, const struct msghdr *msg, int flags)
{
	if (t->carrier != 'u')
		return dgram_send(fd, t, msg, flags | MSG_DONTWAIT);
	return send_plain(fd, t, msg, flags);
}
