/**
 * trace.c - Which hooks a probe calls, and with which kinds of argument
 *
 * A shared object loaded before the preload library. Every wrapped function of hooks.list that
 * takes a descriptor (and the name functions, by call alone) is noted as `case hook kind class`,
 * one line each, in the file of PROBE_TRACE. Classes follow from the descriptor and arguments at
 * the moment of the call, so the table made of them is measured, not claimed.
 *
 * usage: PROBE_TRACE=file LD_PRELOAD="trace.so libztintercept.so" probe
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "raw.h"

#define FDS 1024

enum class {
	VALID = 1,
	WRONG_FD = 2,
	NOT_OURS = 4,
	NULL_POINTER = 8,
	WRONG_LENGTH = 16,
	NON_BLOCKING = 32,
	AFTER_SHUTDOWN = 64,
	AFTER_RESET = 128,
	DUPLICATE = 256,
	FORKED = 512,
	OVER_EXEC = 1024,
	THREADS = 2048,
};

static const char *const names[] = {
	"valid",	  "wrong-fd", "not-ours", "null",   "wrong-length", "non-blocking",
	"after-shutdown", "reset",    "dup",	  "forked", "exec",	    "threads",
};

/* What is known of a descriptor number. */
static int made_by[FDS]; /* process that got it from socket() or accept(); 0 unknown, -1 at start */
static bool is_duplicate[FDS], was_shut[FDS];

static bool in_range(int fd)
{
	return fd >= 0 && fd < FDS;
}

/** kind_of() - 's' TCP, 'd' UDP, 'e' echo, '-' another descriptor */
static char kind_of(int fd)
{
	struct sockaddr_un un = {0};
	socklen_t len = sizeof(un);

	if (raw_getsockname(fd, &un, &len) != 0 || len != 47 ||
	    memcmp(un.sun_path + 1, "ztnc1.", 6) != 0)
		return '-';
	return un.sun_path[8];
}

struct seen {
	unsigned classes;
	char kind;
};

static unsigned state_of(int fd)
{
	unsigned classes = 0;
	long flags = raw_fcntl(fd, F_GETFL, 0);

	if (flags < 0)
		return WRONG_FD;
	if ((flags & O_NONBLOCK) != 0)
		classes |= NON_BLOCKING;
	if (!in_range(fd))
		return classes;
	if (was_shut[fd])
		classes |= AFTER_SHUTDOWN;
	else if (raw_poll_one(fd, POLLRDHUP) == (POLLHUP | POLLRDHUP))
		classes |= AFTER_RESET;
	if (is_duplicate[fd])
		classes |= DUPLICATE;
	if (made_by[fd] == -1)
		classes |= OVER_EXEC;
	else if (made_by[fd] != 0 && made_by[fd] != raw_getpid())
		classes |= FORKED;
	return classes;
}

static struct seen before(int fd, bool null, bool wrong_length, int flags)
{
	struct seen s = {.classes = state_of(fd), .kind = kind_of(fd)};

	if (s.kind == '-' && (s.classes & WRONG_FD) == 0)
		s.classes = NOT_OURS;
	if (null)
		s.classes |= NULL_POINTER;
	if (wrong_length)
		s.classes |= WRONG_LENGTH;
	if ((flags & MSG_DONTWAIT) != 0)
		s.classes |= NON_BLOCKING;
	if (raw_gettid() != raw_getpid())
		s.classes |= THREADS;
	return s;
}

static void note(const char *hook, const struct seen *s, long result)
{
	static int out = -1;
	const char *const *current = dlsym(RTLD_DEFAULT, "probe_current");
	const char *file = getenv("PROBE_TRACE");
	unsigned classes = s->classes | (result >= 0 ? VALID : 0);
	int saved = errno;
	char line[256];

	if (out < 0 && file != NULL)
		out = (int)raw_open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		static char done[64][256];
		int n;

		if ((classes & (1U << i)) == 0)
			continue;
		n = snprintf(line, sizeof(line), "%s %s %c %s\n",
			     current != NULL && *current != NULL ? *current : "-", hook, s->kind,
			     names[i]);
		/* Loops say the same thing again and again. */
		unsigned h = 0;
		for (int k = 0; k < n; k++)
			h = h * 31 + (unsigned char)line[k];
		if (strcmp(done[h & 63], line) == 0)
			continue;
		strcpy(done[h & 63], line);
		raw_write(out, line, (size_t)n);
	}
	errno = saved;
}

static void made(long fd)
{
	if (fd < 0 || !in_range((int)fd))
		return;
	made_by[fd] = raw_getpid();
	is_duplicate[fd] = was_shut[fd] = false;
}

static void copied(long fd)
{
	made(fd);
	if (in_range((int)fd))
		is_duplicate[fd] = true;
}

__attribute__((constructor)) static void start(void)
{
	for (int fd = 3; fd < FDS; fd++) {
		if (raw_fcntl(fd, F_GETFD, 0) >= 0)
			made_by[fd] = -1;
	}
}

/*
 * FD_CALL() - A function whose first argument is a descriptor. The definition has a name of its
 * own and the symbol's by its assembler name, since libc's headers declare some with types that
 * no definition can repeat.
 */
#define CALL(type, name, params, args, first, then)                                                \
	type trace_##name params __asm__(#name);                                                   \
	type trace_##name params                                                                   \
	{                                                                                          \
		static type(*next) params;                                                         \
		struct seen s = first;                                                             \
		type r;                                                                            \
                                                                                                   \
		if (next == NULL)                                                                  \
			next = (type(*) params)dlsym(RTLD_NEXT, #name);                            \
		r = next args;                                                                     \
		then;                                                                              \
		note(#name, &s, (long)r);                                                          \
		return r;                                                                          \
	}

#define FD_CALL(type, name, params, args, null, wrong, flags)                                      \
	CALL(type, name, params, args, before(fd, null, wrong, flags), (void)0)

#define IN_ADDR	  const struct sockaddr *addr, socklen_t len
#define OUT_ADDR  struct sockaddr *addr, socklen_t *len
#define OUT_NULL  (addr == NULL || len == NULL)
#define OUT_SHORT (len != NULL && (int)*len < 16)
#define NO_SOCKET ((struct seen){.kind = '-'})
#define IOV	  const struct iovec *v, int n

CALL(int, socket, (int family, int type, int protocol), (family, type, protocol), NO_SOCKET,
     made(r))
FD_CALL(int, bind, (int fd, IN_ADDR), (fd, addr, len), addr == NULL, len < 16, 0)
FD_CALL(int, connect, (int fd, IN_ADDR), (fd, addr, len), addr == NULL, len < 16, 0)
FD_CALL(int, __connect, (int fd, IN_ADDR), (fd, addr, len), addr == NULL, len < 16, 0)
FD_CALL(int, listen, (int fd, int backlog), (fd, backlog), false, false, 0)
CALL(int, accept, (int fd, OUT_ADDR), (fd, addr, len), before(fd, OUT_NULL, OUT_SHORT, 0), made(r))
CALL(int, accept4, (int fd, OUT_ADDR, int flags), (fd, addr, len, flags),
     before(fd, OUT_NULL, OUT_SHORT, 0), made(r))
FD_CALL(int, getsockname, (int fd, OUT_ADDR), (fd, addr, len), OUT_NULL, OUT_SHORT, 0)
FD_CALL(int, getpeername, (int fd, OUT_ADDR), (fd, addr, len), OUT_NULL, OUT_SHORT, 0)
CALL(int, shutdown, (int fd, int how), (fd, how), before(fd, false, false, 0),
     if (r == 0 && in_range(fd)) was_shut[fd] = true)
FD_CALL(int, getsockopt, (int fd, int level, int name, void *v, socklen_t *len),
	(fd, level, name, v, len), v == NULL || len == NULL, len != NULL && *len < 4, 0)
FD_CALL(int, setsockopt, (int fd, int level, int name, const void *v, socklen_t len),
	(fd, level, name, v, len), v == NULL, len < 4, 0)

FD_CALL(ssize_t, read, (int fd, void *b, size_t n), (fd, b, n), b == NULL, n == 0, 0)
FD_CALL(ssize_t, __read, (int fd, void *b, size_t n), (fd, b, n), b == NULL, n == 0, 0)
FD_CALL(ssize_t, __read_chk, (int fd, void *b, size_t n, size_t room), (fd, b, n, room), b == NULL,
	n == 0, 0)
FD_CALL(ssize_t, readv, (int fd, IOV), (fd, v, n), v == NULL, n < 1, 0)
FD_CALL(ssize_t, recv, (int fd, void *b, size_t n, int flags), (fd, b, n, flags), b == NULL, n == 0,
	flags)
FD_CALL(ssize_t, __recv_chk, (int fd, void *b, size_t n, size_t room, int flags),
	(fd, b, n, room, flags), b == NULL, n == 0, flags)
FD_CALL(ssize_t, recvfrom, (int fd, void *b, size_t n, int flags, OUT_ADDR),
	(fd, b, n, flags, addr, len), b == NULL || OUT_NULL, OUT_SHORT, flags)
FD_CALL(ssize_t, __recvfrom_chk, (int fd, void *b, size_t n, size_t room, int flags, OUT_ADDR),
	(fd, b, n, room, flags, addr, len), b == NULL || OUT_NULL, OUT_SHORT, flags)
FD_CALL(ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags), m == NULL,
	m != NULL && m->msg_iovlen == 0, flags)
FD_CALL(int, recvmmsg, (int fd, struct mmsghdr *m, unsigned n, int flags, struct timespec *t),
	(fd, m, n, flags, t), m == NULL, n == 0, flags)
FD_CALL(ssize_t, write, (int fd, const void *b, size_t n), (fd, b, n), b == NULL, n == 0, 0)
FD_CALL(ssize_t, __write, (int fd, const void *b, size_t n), (fd, b, n), b == NULL, n == 0, 0)
FD_CALL(ssize_t, writev, (int fd, IOV), (fd, v, n), v == NULL, n < 1, 0)
FD_CALL(ssize_t, send, (int fd, const void *b, size_t n, int flags), (fd, b, n, flags), b == NULL,
	n == 0, flags)
FD_CALL(ssize_t, __send, (int fd, const void *b, size_t n, int flags), (fd, b, n, flags), b == NULL,
	n == 0, flags)
FD_CALL(ssize_t, sendto, (int fd, const void *b, size_t n, int flags, IN_ADDR),
	(fd, b, n, flags, addr, len), b == NULL || addr == NULL, len < 16, flags)
FD_CALL(ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags), m == NULL,
	m != NULL && m->msg_iovlen == 0, flags)
FD_CALL(int, sendmmsg, (int fd, struct mmsghdr *m, unsigned n, int flags), (fd, m, n, flags),
	m == NULL, n == 0, flags)
FD_CALL(int, __sendmmsg, (int fd, struct mmsghdr *m, unsigned n, int flags), (fd, m, n, flags),
	m == NULL, n == 0, flags)

CALL(int, dup, (int fd), (fd), before(fd, false, false, 0), copied(r))
CALL(int, dup2, (int fd, int to), (fd, to), before(fd, false, false, 0), copied(r))
CALL(int, __dup2, (int fd, int to), (fd, to), before(fd, false, false, 0), copied(r))
CALL(int, dup3, (int fd, int to, int flags), (fd, to, flags), before(fd, false, false, 0),
     copied(r))
CALL(int, pidfd_getfd, (int process, int fd, unsigned flags), (process, fd, flags),
     before(fd, false, false, 0), copied(r))
FD_CALL(int, fcntl, (int fd, int command, long argument), (fd, command, argument), false, false, 0)
FD_CALL(int, __fcntl, (int fd, int command, long argument), (fd, command, argument), false, false,
	0)
FD_CALL(int, fcntl64, (int fd, int command, long argument), (fd, command, argument), false, false,
	0)
FD_CALL(int, ioctl, (int fd, unsigned long request, void *argument), (fd, request, argument),
	argument == NULL, false, 0)
FD_CALL(int, bindresvport, (int fd, struct sockaddr_in *sin), (fd, sin), sin == NULL, false, 0)
CALL(long, syscall, (long n, long a, long b, long c, long d, long e, long f), (n, a, b, c, d, e, f),
     before((int)a, false, false, 0), (void)0)
CALL(int, prctl, (int option, long a, long b, long c, long d), (option, a, b, c, d), NO_SOCKET,
     (void)0)

#define BY_CALL				    ((struct seen){.kind = '-', .classes = VALID})
#define NAME_CALL(type, name, params, args) CALL(type, name, params, args, BY_CALL, (void)0)

NAME_CALL(int, getaddrinfo,
	  (const char *node, const char *service, const void *hints, void *result),
	  (node, service, hints, result))
NAME_CALL(int, getnameinfo,
	  (const void *addr, socklen_t len, char *host, socklen_t host_len, char *service,
	   socklen_t service_len, int flags),
	  (addr, len, host, host_len, service, service_len, flags))
NAME_CALL(void *, gethostbyname, (const char *name), (name))
NAME_CALL(void *, gethostbyname2, (const char *name, int family), (name, family))
NAME_CALL(int, gethostbyname_r,
	  (const char *name, void *entry, char *buf, size_t len, void *result, int *error),
	  (name, entry, buf, len, result, error))
NAME_CALL(int, gethostbyname2_r,
	  (const char *name, int family, void *entry, char *buf, size_t len, void *result,
	   int *error),
	  (name, family, entry, buf, len, result, error))
NAME_CALL(void *, gethostbyaddr, (const void *addr, socklen_t len, int family), (addr, len, family))
NAME_CALL(int, gethostbyaddr_r,
	  (const void *addr, socklen_t len, int family, void *entry, char *buf, size_t buf_len,
	   void *result, int *error),
	  (addr, len, family, entry, buf, buf_len, result, error))
NAME_CALL(int, getifaddrs, (void *list), (list))
NAME_CALL(void *, if_nameindex, (void), ())
NAME_CALL(unsigned, if_nametoindex, (const char *name), (name))
NAME_CALL(char *, if_indextoname, (unsigned index, char *name), (index, name))
#define RES_PARAMS const char *name, int class, int type, unsigned char *answer, int len
NAME_CALL(int, res_query, (RES_PARAMS), (name, class, type, answer, len))
NAME_CALL(int, res_search, (RES_PARAMS), (name, class, type, answer, len))
NAME_CALL(int, res_nquery, (void *state, RES_PARAMS), (state, name, class, type, answer, len))
NAME_CALL(int, res_nsearch, (void *state, RES_PARAMS), (state, name, class, type, answer, len))
NAME_CALL(int, __res_query, (RES_PARAMS), (name, class, type, answer, len))
NAME_CALL(int, __res_search, (RES_PARAMS), (name, class, type, answer, len))
NAME_CALL(int, __res_nquery, (void *state, RES_PARAMS), (state, name, class, type, answer, len))
NAME_CALL(int, __res_nsearch, (void *state, RES_PARAMS), (state, name, class, type, answer, len))
#define DOMAIN_PARAMS                                                                              \
	const char *name, const char *domain, int class, int type, unsigned char *answer, int len
NAME_CALL(int, res_querydomain, (DOMAIN_PARAMS), (name, domain, class, type, answer, len))
NAME_CALL(int, __res_querydomain, (DOMAIN_PARAMS), (name, domain, class, type, answer, len))
NAME_CALL(int, res_nquerydomain, (void *state, DOMAIN_PARAMS),
	  (state, name, domain, class, type, answer, len))
NAME_CALL(int, __res_nquerydomain, (void *state, DOMAIN_PARAMS),
	  (state, name, domain, class, type, answer, len))
#define SEND_PARAMS const unsigned char *m, int n, unsigned char *answer, int len
NAME_CALL(int, res_send, (SEND_PARAMS), (m, n, answer, len))
NAME_CALL(int, __res_send, (SEND_PARAMS), (m, n, answer, len))
NAME_CALL(int, res_nsend, (void *state, SEND_PARAMS), (state, m, n, answer, len))
NAME_CALL(int, __res_nsend, (void *state, SEND_PARAMS), (state, m, n, answer, len))
NAME_CALL(int, getaddrinfo_a, (int mode, void *list, int n, void *event), (mode, list, n, event))
NAME_CALL(int, gai_suspend, (const void *list, int n, const void *wait), (list, n, wait))
NAME_CALL(int, gai_cancel, (void *request), (request))
NAME_CALL(int, rresvport, (int *port), (port))
NAME_CALL(int, rresvport_af, (int *port, sa_family_t family), (port, family))
#define REMOTE_PARAMS const char *a, const char *b, const char *c, int *error
NAME_CALL(int, rcmd, (void *host, unsigned short port, REMOTE_PARAMS), (host, port, a, b, c, error))
NAME_CALL(int, rcmd_af, (void *host, unsigned short port, REMOTE_PARAMS, sa_family_t family),
	  (host, port, a, b, c, error, family))
NAME_CALL(int, rexec, (void *host, int port, REMOTE_PARAMS), (host, port, a, b, c, error))
NAME_CALL(int, rexec_af, (void *host, int port, REMOTE_PARAMS, sa_family_t family),
	  (host, port, a, b, c, error, family))
