/**
 * accept.c - accept(): a record of the listening stream becomes a descriptor of the caller
 *
 * [5 section 6.2]. The number is made in the caller before the connection is claimed, so that a
 * caller without room for one leaves the connection to others.
 */
#include "run.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "raw.h"

/* [5 section 10] pause per call on a listener whose service died, so that a loop cannot spin */
#define DEAD_LISTENER_MS 100

/** check_listening() - 0, or what accept() fails with */
static int check_listening(int fd, const struct zt_token *t)
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

static void answer_record(int listener, uint32_t op, const uint8_t *record)
{
	uint8_t answer[UPSTREAM_LEN] = {0};

	memcpy(answer, "ZTNR", 4);
	put32(answer + 4, op);
	memcpy(answer + 8, record + ACCEPT_ID, 8);
	raw_send(listener, answer, sizeof(answer), MSG_DONTWAIT | MSG_NOSIGNAL);
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

/** next_record() - 0, -EAGAIN when there is none, or what accept() fails with */
static int next_record(int fd, const struct zt_token *t, uint8_t record[ACCEPT_LEN])
{
	long n = raw_recv(fd, record, ACCEPT_LEN, MSG_DONTWAIT);

	if (n < 0)
		return n == -ENOTCONN ? -EINVAL : (int)n;
	if (n == 0)
		return end_of_listener(fd, t);
	return n == ACCEPT_LEN && memcmp(record, "ZTNA", 4) == 0 ? 0 : -EINVAL;
}

/** claim() - Attach the caller's new descriptor @number to the connection of @record */
static void claim(const struct call *c, int listener, int fd, const struct zt_token *accepted,
		  const uint8_t *record, int number)
{
	struct fd_info info = {.flags = INFO_NAMES};

	if (rpc_attach_accepted(fd, accepted, record + ACCEPT_ID) < 0) {
		/* The number cannot be taken back: the program sees a connection that ended. */
		answer_record(listener, UPSTREAM_REJECT, record);
		raw_shutdown(fd, SHUT_RDWR);
		say("the service cannot be reached: a connection was refused");
	}
	memcpy(info.peer, record + ACCEPT_PEER, ZTADDR_LEN);
	memcpy(info.local, record + ACCEPT_LOCAL, ZTADDR_LEN);
	fdtab_put(fd, accepted, &info);
	answer_value(c, number);
}

static void take(const struct call *c, int listener, const struct zt_token *t,
		 const uint8_t *record, int flags)
{
	struct zt_token accepted = *t;
	int fd = token_open(&accepted, SOCK_CLOEXEC);
	int number;

	if (fd < 0) {
		answer_record(listener, UPSTREAM_REQUEUE, record);
		answer_result(c, fd == -EMFILE ? -ENFILE : fd);
		return;
	}
	if ((flags & SOCK_NONBLOCK) != 0)
		raw_fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
	number = c->arg[1] == 0
			 ? 0
			 : write_address(c, record + ACCEPT_PEER, t->family, c->arg[1], c->arg[2]);
	if (number < 0) {
		answer_record(listener, UPSTREAM_REJECT, record);
		answer_result(c, number);
	} else {
		number = give_fd(c, fd, -1, (flags & SOCK_CLOEXEC) != 0);
		if (number >= 0) {
			claim(c, listener, fd, &accepted, record, number);
		} else {
			answer_record(listener, UPSTREAM_REQUEUE, record);
			answer_result(c, number);
		}
	}
	raw_close(fd);
}

void call_accept(struct call *c, int fd, const struct zt_token *t)
{
	uint8_t record[ACCEPT_LEN];
	int flags = c->nr == SYS_accept4 ? (int)c->arg[3] : 0;
	int64_t deadline = deadline_of(fd, SO_RCVTIMEO);
	enum waited w;
	int r;

	if ((flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != 0)
		r = -EINVAL;
	else
		r = t->kind != 's' ? -EOPNOTSUPP : check_listening(fd, t);
	if (r == 0)
		r = next_record(fd, t, record);
	while (r == -EAGAIN && is_blocking(fd)) {
		w = wait_for(c, fd, POLLIN, deadline);
		if (w != WAITED_READY) {
			answer_waited(c, w, deadline, EAGAIN);
			return;
		}
		r = next_record(fd, t, record);
	}
	if (r < 0)
		answer_result(c, r);
	else
		take(c, fd, t, record, flags);
}
