/**
 * dispatch.c - From a stopped call to its part of the supervisor
 *
 * A descriptor is virtual when the kernel says that it is bound to a name of ours; every other
 * call on every other descriptor is done by the kernel, unchanged. Descriptors of the host's
 * network can only come from outside (inherited, or sent to the program) and stay what they are.
 */
#include "run.h"

#include <linux/audit.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "raw.h"

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#endif

typedef void handler(struct call *c, int fd, const struct zt_token *t);

static handler *handler_of(int nr)
{
	switch (nr) {
	case SYS_bind:
		return call_bind;
	case SYS_listen:
		return call_listen;
	case SYS_connect:
		return call_connect;
	case SYS_accept:
	case SYS_accept4:
		return call_accept;
	case SYS_getsockname:
		return call_getsockname;
	case SYS_getpeername:
		return call_getpeername;
	case SYS_getsockopt:
		return call_getsockopt;
	case SYS_setsockopt:
		return call_setsockopt;
	case SYS_shutdown:
		return call_shutdown;
	case SYS_ioctl:
		return call_ioctl;
	default:
		return NULL;
	}
}

static handler *transfer_of(int nr, bool is_stream)
{
	switch (nr) {
	case SYS_sendto:
		return is_stream ? stream_sendto : datagram_sendto;
	case SYS_sendmsg:
		return is_stream ? stream_sendmsg : datagram_sendmsg;
	case SYS_recvfrom:
		return is_stream ? stream_recvfrom : datagram_recvfrom;
	case SYS_recvmsg:
		return is_stream ? stream_recvmsg : datagram_recvmsg;
	/* On a stream the kernel's loop does what is meant, but for addresses that nobody gives. */
	case SYS_sendmmsg:
		return is_stream ? NULL : datagram_sendmmsg;
	case SYS_recvmmsg:
		return is_stream ? NULL : datagram_recvmmsg;
	default:
		return NULL;
	}
}

/** refuse_foreign() - A 32-bit program wants a socket; it is told, and so is its user */
static void refuse_foreign(const struct call *c)
{
	static atomic_flag said = ATOMIC_FLAG_INIT;

	if (!atomic_flag_test_and_set(&said))
		say("process %d made a 32-bit call for a socket: only 64-bit programs have one",
		    (int)c->tid);
	answer_result(c, -EAFNOSUPPORT);
}

/** without_fd() - The descriptor cannot be had */
static void without_fd(const struct call *c, int error)
{
	static atomic_flag said = ATOMIC_FLAG_INIT;

	switch (error) {
	case -EPERM:
	case -EACCES:
		if (!atomic_flag_test_and_set(&said))
			say("process %d hides from other processes (PR_SET_DUMPABLE): its virtual "
			    "sockets do not work",
			    (int)c->tid);
		answer_continue(c);
		return;
	case -EMFILE:
		answer_result(c, -ENFILE);
		return;
	default:
		answer_result(c, error);
	}
}

void dispatch(struct call *c)
{
	struct zt_token t;
	handler *handle;
	int fd;

	if (c->arch != NATIVE_ARCH) {
		refuse_foreign(c);
		return;
	}
	if (c->nr == SYS_socket) {
		call_socket(c);
		return;
	}
	fd = caller_fd(c, (int)c->arg[0]);
	if (fd < 0) {
		without_fd(c, fd);
		return;
	}
	handle = NULL;
	if (token_of(fd, &t)) {
		handle = handler_of(c->nr);
		if (handle == NULL)
			handle = transfer_of(c->nr, t.kind == 's');
	}
	if (handle == NULL)
		answer_continue(c);
	else
		handle(c, fd, &t);
	raw_close(fd);
}
