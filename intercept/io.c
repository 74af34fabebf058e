/**
 * io.c - What reading and writing share: which kind of socket it is, and lists of buffers
 *
 * The stream of a listener carries records of connections, and what is written to one that is only
 * bound would be data before its HELLO's answer: neither is left to the kernel.
 */
#include "zt.h"

#include <limits.h>

bool io_is_datagram(int fd, enum fd_hint hint, struct zt_token *t)
{
	if (hint == HINT_NONE || hint == HINT_STREAM || hint == HINT_IDLE)
		return false;
	if (!token_of(fd, t)) {
		fdtab_forget(fd);
		return false;
	}
	return t->kind != 's';
}

bool io_is_stream(int fd, enum fd_hint hint)
{
	struct zt_token t;

	return hint != HINT_NONE && token_is_stream(fd, &t);
}

/** idle_state() - State of a stream that is no connection, or -1; corrects a stale hint */
static int idle_state(int fd, enum fd_hint hint)
{
	struct fd_info info;
	struct zt_token t;
	int state;

	if (hint != HINT_IDLE || rpc_sandboxed() || !token_is_stream(fd, &t) ||
	    !rpc_is_attached(fd))
		return -1;
	state = zt_names(fd, &t, &info);
	if (state == STATE_FRESH || state == STATE_BOUND || state == STATE_LISTENING ||
	    state == STATE_FAILED)
		return state;
	if (state >= 0)
		fdtab_mark(fd, HINT_STREAM);
	return -1;
}

bool io_is_idle(int fd, enum fd_hint hint)
{
	return idle_state(fd, hint) >= 0;
}

bool io_is_listener(int fd, enum fd_hint hint)
{
	return idle_state(fd, hint) == STATE_LISTENING;
}

struct iovec io_buffer(const void *buf, size_t len)
{
	return (struct iovec){(void *)(uintptr_t)buf, len};
}

size_t io_total(const struct iovec *iov, size_t count)
{
	size_t total = 0;

	/* Linux takes no more than INT_MAX of a longer list. */
	for (size_t i = 0; i < count && total <= INT_MAX; i++)
		total += iov[i].iov_len;
	return total;
}

bool io_is_no_list(int count)
{
	return count <= 0 || count > IOV_MAX;
}

/** io_check_list() - The list of a datagram's buffers: its length, 0 for none, or a negative errno
 */
ssize_t io_check_list(int fd, const struct iovec *iov, int count)
{
	int r = mem_buffers(fd, iov, (size_t)count);

	return r < 0 ? r : (ssize_t)io_total(iov, (size_t)count);
}
