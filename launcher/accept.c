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

/** next_record() - 0, -EAGAIN when there is none, or what accept() fails with */
static int next_record(int fd, const struct zt_token *t, uint8_t record[ACCEPT_LEN])
{
	return listener_judge(fd, t, record, raw_recv(fd, record, ACCEPT_LEN, MSG_DONTWAIT));
}

/** claim() - Attach the caller's new descriptor @number to the connection of @record */
static void claim(const struct call *c, int listener, int fd, const struct zt_token *accepted,
		  const uint8_t *record, int number)
{
	struct fd_info info = {.flags = INFO_NAMES};

	if (rpc_attach_accepted(fd, accepted, record + ACCEPT_ID) < 0) {
		/* The number cannot be taken back: the program sees a connection that ended. */
		listener_answer(listener, UPSTREAM_REJECT, record);
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
		listener_answer(listener, UPSTREAM_REQUEUE, record);
		answer_result(c, fd == -EMFILE ? -ENFILE : fd);
		return;
	}
	carrier_copy_options(listener, fd);
	if ((flags & SOCK_NONBLOCK) != 0)
		raw_fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
	number = c->arg[1] == 0
			 ? 0
			 : write_address(c, record + ACCEPT_PEER, t->family, c->arg[1], c->arg[2]);
	if (number < 0) {
		listener_answer(listener, UPSTREAM_REJECT, record);
		answer_result(c, number);
	} else {
		number = give_fd(c, fd, -1, (flags & SOCK_CLOEXEC) != 0);
		if (number >= 0) {
			claim(c, listener, fd, &accepted, record, number);
		} else {
			listener_answer(listener, UPSTREAM_REQUEUE, record);
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
		r = t->kind != 's' ? -EOPNOTSUPP : listener_check(fd, t);
	if (r == 0)
		r = next_record(fd, t, record);
	while (r == -EAGAIN && raw_is_blocking(fd)) {
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
