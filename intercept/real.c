/**
 * real.c - Lazy resolution of libc's versions; with real_names.c the only file that reaches them
 *
 * Symbols are resolved one by one at first use, since resolving all of them early upsets
 * debuggers and valgrind; only those that POSIX allows in signal handlers are looked up when the
 * library starts. A thread-local guard sends calls that dlsym() itself makes to the kernel.
 *
 * With ZT_STATIC (the objects of the archives) there may be no dynamic loader to ask: socket calls
 * are system calls.
 */
#include "real.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "raw.h"

static __thread bool resolving __attribute__((tls_model("initial-exec")));

static long raw_ret(long r)
{
	if (r >= 0 || r < -4095)
		return r;
	errno = (int)-r;
	return -1;
}

#ifdef ZT_STATIC
#define RESOLVE_SOCKET(slot, name) NULL
#pragma weak dlsym
#else
#define RESOLVE_SOCKET(slot, name) real_resolve(slot, name)
#endif

#ifdef ZT_STATIC
static int has_interpreter(struct dl_phdr_info *program, size_t size, void *found)
{
	(void)size;
	for (int i = 0; i < program->dlpi_phnum; i++)
		if (program->dlpi_phdr[i].p_type == PT_INTERP)
			*(bool *)found = true;
	return 1; /* the program itself comes first, and no other counts */
}

/** can_resolve() - A static program may contain dlsym() too, but nothing that it could find */
static bool can_resolve(void)
{
	bool found = false;

	if (dlsym == NULL)
		return false;
	dl_iterate_phdr(has_interpreter, &found);
	return found;
}
#else
static bool can_resolve(void)
{
	return true;
}
#endif

void *real_resolve(void *_Atomic *slot, const char *name)
{
	void *p = atomic_load_explicit(slot, memory_order_acquire);
	int saved;

	if (p != NULL || resolving || !can_resolve())
		return p;
	resolving = true;
	saved = errno;
	p = dlsym(RTLD_NEXT, name);
	errno = saved;
	resolving = false;
	atomic_store_explicit(slot, p, memory_order_release);
	return p;
}

#define A(x) ((long)(x))

/*
 * REAL() - Define real_<name>: libc's <name>, or the system call @raw until that is known.
 * ISO C has no cast from object to function pointer; the copy is what dlsym(3) recommends.
 */
#define REAL(type, name, params, args, raw)                                                        \
	type real_##name params                                                                    \
	{                                                                                          \
		static void *_Atomic slot;                                                         \
		type(*fn) params;                                                                  \
		void *p = RESOLVE_SOCKET(&slot, #name);                                            \
                                                                                                   \
		(void)slot;                                                                        \
		if (p == NULL)                                                                     \
			return (type)raw_ret(raw);                                                 \
		memcpy(&fn, &p, sizeof(fn));                                                       \
		return fn args;                                                                    \
	}

REAL(int, socket, (int domain, int type, int protocol), (domain, type, protocol),
     raw_socket(domain, type, protocol))
REAL(int, bind, (int fd, const struct sockaddr *addr, socklen_t len), (fd, addr, len),
     raw_bind(fd, addr, len))
REAL(int, listen, (int fd, int backlog), (fd, backlog), raw6(SYS_listen, fd, backlog, 0, 0, 0, 0))
REAL(int, connect, (int fd, const struct sockaddr *addr, socklen_t len), (fd, addr, len),
     raw_connect(fd, addr, len))
REAL(int, accept, (int fd, struct sockaddr *addr, socklen_t *len), (fd, addr, len),
     raw6(SYS_accept, fd, A(addr), A(len), 0, 0, 0))
REAL(int, accept4, (int fd, struct sockaddr *addr, socklen_t *len, int flags),
     (fd, addr, len, flags), raw6(SYS_accept4, fd, A(addr), A(len), flags, 0, 0))
REAL(int, getsockname, (int fd, struct sockaddr *addr, socklen_t *len), (fd, addr, len),
     raw_getsockname(fd, addr, len))
REAL(int, getpeername, (int fd, struct sockaddr *addr, socklen_t *len), (fd, addr, len),
     raw_getpeername(fd, addr, len))
REAL(int, getsockopt, (int fd, int level, int name, void *value, socklen_t *len),
     (fd, level, name, value, len), raw_getsockopt(fd, level, name, value, len))
REAL(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t len),
     (fd, level, name, value, len), raw_setsockopt(fd, level, name, value, len))
REAL(int, shutdown, (int fd, int how), (fd, how), raw_shutdown(fd, how))

REAL(ssize_t, read, (int fd, void *buf, size_t len), (fd, buf, len), raw_read(fd, buf, len))
REAL(ssize_t, readv, (int fd, const struct iovec *iov, int count), (fd, iov, count),
     raw6(SYS_readv, fd, A(iov), count, 0, 0, 0))
REAL(ssize_t, recv, (int fd, void *buf, size_t len, int flags), (fd, buf, len, flags),
     raw_recv(fd, buf, len, flags))
REAL(ssize_t, recvfrom,
     (int fd, void *buf, size_t len, int flags, struct sockaddr *addr, socklen_t *addr_len),
     (fd, buf, len, flags, addr, addr_len),
     raw6(SYS_recvfrom, fd, A(buf), A(len), flags, A(addr), A(addr_len)))
REAL(ssize_t, recvmsg, (int fd, struct msghdr *msg, int flags), (fd, msg, flags),
     raw6(SYS_recvmsg, fd, A(msg), flags, 0, 0, 0))
REAL(int, recvmmsg,
     (int fd, struct mmsghdr *msgs, unsigned count, int flags, struct timespec *timeout),
     (fd, msgs, count, flags, timeout),
     raw6(SYS_recvmmsg, fd, A(msgs), A(count), flags, A(timeout), 0))
REAL(ssize_t, write, (int fd, const void *buf, size_t len), (fd, buf, len), raw_write(fd, buf, len))
REAL(ssize_t, writev, (int fd, const struct iovec *iov, int count), (fd, iov, count),
     raw6(SYS_writev, fd, A(iov), count, 0, 0, 0))
REAL(ssize_t, send, (int fd, const void *buf, size_t len, int flags), (fd, buf, len, flags),
     raw_send(fd, buf, len, flags))
REAL(ssize_t, sendto,
     (int fd, const void *buf, size_t len, int flags, const struct sockaddr *addr,
      socklen_t addr_len),
     (fd, buf, len, flags, addr, addr_len),
     raw6(SYS_sendto, fd, A(buf), A(len), flags, A(addr), A(addr_len)))
REAL(ssize_t, sendmsg, (int fd, const struct msghdr *msg, int flags), (fd, msg, flags),
     raw_sendmsg(fd, msg, flags))
REAL(int, sendmmsg, (int fd, struct mmsghdr *msgs, unsigned count, int flags),
     (fd, msgs, count, flags), raw6(SYS_sendmmsg, fd, A(msgs), A(count), flags, 0, 0))

REAL(int, dup, (int fd), (fd), raw6(SYS_dup, fd, 0, 0, 0, 0, 0))
REAL(int, dup3, (int from, int to, int flags), (from, to, flags), raw_dup3(from, to, flags))

/** raw_dup2() - There is no dup2 system call on newer processors; equal numbers need care */
static long raw_dup2(int from, int to)
{
	if (from != to)
		return raw_dup3(from, to, 0);
	return raw_fcntl(from, F_GETFD, 0) < 0 ? -EBADF : to;
}

REAL(int, dup2, (int from, int to), (from, to), raw_dup2(from, to))
REAL(int, pidfd_getfd, (int process, int fd, unsigned flags), (process, fd, flags),
     raw6(SYS_pidfd_getfd, process, fd, A(flags), 0, 0, 0))
REAL(int, prctl, (int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d),
     (option, a, b, c, d), raw6(SYS_prctl, option, A(a), A(b), A(c), A(d), 0))

int real_fcntl(int fd, int command, long argument)
{
	static void *_Atomic slot;
	int (*fn)(int, int, ...);
	void *p = RESOLVE_SOCKET(&slot, "fcntl");

	(void)slot;
	if (p == NULL)
		return (int)raw_ret(raw_fcntl(fd, command, argument));
	memcpy(&fn, &p, sizeof(fn));
	return fn(fd, command, argument);
}

int real_ioctl(int fd, unsigned long request, void *argument)
{
	static void *_Atomic slot;
	int (*fn)(int, unsigned long, ...);
	void *p = RESOLVE_SOCKET(&slot, "ioctl");

	(void)slot;
	if (p == NULL)
		return (int)raw_ret(raw6(SYS_ioctl, fd, A(request), A(argument), 0, 0, 0));
	memcpy(&fn, &p, sizeof(fn));
	return fn(fd, request, argument);
}

long real_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	return raw_ret(raw6(number, a, b, c, d, e, f));
}

void real_start(void)
{
	int saved = errno;

	/* A call with an impossible descriptor resolves the symbol and does nothing else. */
	real_read(-1, NULL, 0);
	real_readv(-1, NULL, 0);
	real_write(-1, NULL, 0);
	real_writev(-1, NULL, 0);
	real_recv(-1, NULL, 0, 0);
	real_recvfrom(-1, NULL, 0, 0, NULL, NULL);
	real_recvmsg(-1, NULL, 0);
	real_send(-1, NULL, 0, 0);
	real_sendto(-1, NULL, 0, 0, NULL, 0);
	real_sendmsg(-1, NULL, 0);
	real_dup(-1);
	real_dup2(-1, -1);
	real_fcntl(-1, 0, 0);
	errno = saved;
}
