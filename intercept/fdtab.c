/**
 * fdtab.c - Hints and cached names by descriptor number
 *
 * A hint only makes the slow path of a data call reachable; it may be stale in either direction
 * of time (close() is not tracked), so whoever acts on one verifies the token with the kernel.
 * Cached names belong to a token and are ignored when the descriptor now carries another one
 * [5 sections 9.2 and 9.3].
 *
 * Lock-free and safe in signal handlers: readers use a sequence counter per entry, a writer that
 * finds another one at work simply does not cache.
 */
#include "zt.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "raw.h"

#define TABLE_LEN 65536
/* Without /proc only the usual range of numbers is looked through. */
#define SCAN_WITHOUT_PROC 1024

struct entry {
	atomic_uint sequence; /* odd while being written */
	uint8_t token[TOKEN_LEN];
	struct fd_info info;
};

static _Atomic uint8_t hints[TABLE_LEN];
static struct entry *_Atomic entries;

static bool in_table(int fd)
{
	return fd >= 0 && fd < TABLE_LEN;
}

enum fd_hint fdtab_hint(int fd)
{
	if (!in_table(fd))
		return fd < 0 || zt_env.mode == MODE_INERT ? HINT_NONE : HINT_VERIFY;
	return (enum fd_hint)atomic_load_explicit(&hints[fd], memory_order_relaxed);
}

void fdtab_mark(int fd, enum fd_hint hint)
{
	if (!in_table(fd) || fdtab_hint(fd) == hint)
		return;
	/* What a vfork() child does to its descriptors is nothing to its parent, nor the reverse.
	 */
	if (!rpc_sandboxed() && rpc_memory_is_borrowed()) {
		if (hint == HINT_NONE)
			return;
		if (fdtab_hint(fd) != HINT_NONE)
			hint = HINT_VERIFY;
	}
	atomic_store(&hints[fd], (uint8_t)hint);
}

static void mark_token(int fd, const struct zt_token *t)
{
	/* Nothing is known of a stream that came from elsewhere: the first call asks. */
	fdtab_mark(fd, t->kind == 's' ? HINT_IDLE : HINT_DATAGRAM);
}

void fdtab_forget(int fd)
{
	struct zt_token t;

	fdtab_mark(fd, HINT_NONE);
	/* Whoever makes a socket marks it after it has its name: later than this, or seen here. */
	if (token_of(fd, &t))
		mark_token(fd, &t);
}

void fdtab_adopt(int fd)
{
	struct zt_token t;

	if (token_of(fd, &t))
		mark_token(fd, &t);
	else
		fdtab_forget(fd);
}

/** table() - The entries, mapped at first use; NULL when there is no memory */
static struct entry *table(void)
{
	struct entry *seen = atomic_load_explicit(&entries, memory_order_acquire);
	struct entry *mine;
	long p;

	if (seen != NULL)
		return seen;
	p = raw6(SYS_mmap, 0, (long)(TABLE_LEN * sizeof(struct entry)), PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p < 0 && p > -4096)
		return NULL;
	mine = (struct entry *)p;
	if (!atomic_compare_exchange_strong(&entries, &seen, mine)) {
		raw6(SYS_munmap, p, (long)(TABLE_LEN * sizeof(struct entry)), 0, 0, 0, 0);
		return seen;
	}
	return mine;
}

bool fdtab_get(int fd, const struct zt_token *token, struct fd_info *out)
{
	struct entry *all = atomic_load_explicit(&entries, memory_order_acquire);
	struct entry *e;
	unsigned before;
	bool same;

	if (all == NULL || !in_table(fd))
		return false;
	e = &all[fd];
	before = atomic_load_explicit(&e->sequence, memory_order_acquire);
	if (before == 0 || (before & 1) != 0)
		return false;
	same = memcmp(e->token, token->id, TOKEN_LEN) == 0;
	*out = e->info;
	atomic_thread_fence(memory_order_acquire);
	return same && atomic_load_explicit(&e->sequence, memory_order_relaxed) == before;
}

void fdtab_put(int fd, const struct zt_token *token, const struct fd_info *info)
{
	struct entry *all = table();
	struct entry *e;
	unsigned before;

	if (all == NULL || !in_table(fd))
		return;
	e = &all[fd];
	before = atomic_load_explicit(&e->sequence, memory_order_relaxed);
	if ((before & 1) != 0 ||
	    !atomic_compare_exchange_strong_explicit(&e->sequence, &before, before + 1,
						     memory_order_acquire, memory_order_relaxed))
		return;
	atomic_thread_fence(memory_order_release);
	memcpy(e->token, token->id, TOKEN_LEN);
	e->info = *info;
	atomic_store_explicit(&e->sequence, before + 2, memory_order_release);
}

void fdtab_copy(int from, int to)
{
	struct zt_token t;
	struct fd_info info;
	enum fd_hint hint = fdtab_hint(from);

	if (hint == HINT_NONE && fdtab_hint(to) == HINT_NONE)
		return;
	fdtab_adopt(to);
	if (fdtab_hint(to) == HINT_NONE || !token_of(to, &t))
		return;
	if (hint == HINT_STREAM && t.kind == 's')
		fdtab_mark(to, hint);
	if (fdtab_get(from, &t, &info))
		fdtab_put(to, &t, &info);
}

static void scan_range(void)
{
	for (int fd = 0; fd < SCAN_WITHOUT_PROC; fd++)
		fdtab_adopt(fd);
}

static int decimal(const char *s)
{
	int v = 0;

	if (*s < '0' || *s > '9')
		return -1;
	for (; *s >= '0' && *s <= '9'; s++) {
		if (v > TABLE_LEN)
			return -1;
		v = v * 10 + (*s - '0');
	}
	return v;
}

void fdtab_scan(void)
{
	char buffer[2048] __attribute__((aligned(8)));
	long dir = raw_open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	long n;

	if (dir < 0) {
		scan_range();
		return;
	}
	while ((n = raw6(SYS_getdents64, dir, (long)buffer, sizeof(buffer), 0, 0, 0)) > 0) {
		for (long at = 0; at < n;) {
			unsigned short record_len;
			int fd = decimal(buffer + at + offsetof(struct dirent64, d_name));

			memcpy(&record_len, buffer + at + offsetof(struct dirent64, d_reclen), 2);
			if (fd >= 0 && fd != (int)dir)
				fdtab_adopt(fd);
			at += record_len;
		}
	}
	raw_close((int)dir);
}
